package platform

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// guarded returns n writable bytes that end where a page without access starts
// (atEnd) or start where one ends, so that a stray access faults.
func guarded(t *testing.T, n uint64, atEnd bool) []byte {
	t.Helper()
	p := Host()
	page := p.PageSize()
	inner := (n + page - 1) / page * page
	base, err := p.Mmap(0, inner+2*page, ProtNone, MapPrivate|MapAnonymous, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Munmap(base, inner+2*page); err != nil {
			t.Error(err)
		}
	})
	if _, err := p.Mmap(base+uintptr(page), inner, ProtRead|ProtWrite, MapPrivate|MapAnonymous|MapFixed, -1, 0); err != nil {
		t.Fatal(err)
	}
	start := base + uintptr(page)
	if atEnd {
		start += uintptr(inner - n)
	}
	return Bytes(start, n)
}

// lengths reach every path of the routines: no word, head and tail only, words.
var lengths = []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 23, 63, 64, 65, 127, 128, 255, 256, 257, 1000, 4096}

// TestCopyAgainstMemmove compares each copy with Go's own, for overlap in both
// directions and every alignment of both sides, and looks at the bytes around.
func TestCopyAgainstMemmove(t *testing.T) {
	ops := Host().CacheOps(GranularityCacheLine)
	rng := rand.New(rand.NewPCG(1, 2))
	arena := guarded(t, 16<<10, true)
	want := make([]byte, len(arena))
	for name, copyBytes := range map[string]func(dst, src unsafe.Pointer, n uintptr){"Copy": ops.Copy, "CopyNT": ops.CopyNT} {
		for _, n := range lengths {
			for range 64 {
				dst, src := rng.IntN(len(arena)-n+1), rng.IntN(len(arena)-n+1)
				if rng.IntN(2) == 0 { // overlap
					src = min(max(dst+rng.IntN(2*n+1)-n, 0), len(arena)-n)
				}
				for i := range arena {
					arena[i] = byte(rng.Uint32())
				}
				copy(want, arena)
				copy(want[dst:dst+n], want[src:src+n])
				base := unsafe.Pointer(unsafe.SliceData(arena))
				copyBytes(unsafe.Add(base, dst), unsafe.Add(base, src), uintptr(n))
				ops.Fence()
				if !bytes.Equal(arena, want) {
					t.Fatalf("%s(dst %d, src %d, n %d) differs from memmove", name, dst, src, n)
				}
			}
		}
	}
}

func TestSet(t *testing.T) {
	ops := Host().CacheOps(GranularityCacheLine)
	for name, set := range map[string]func(dst unsafe.Pointer, c byte, n uintptr){"Set": ops.Set, "SetNT": ops.SetNT} {
		for _, n := range lengths {
			for shift := range 9 {
				got, want := make([]byte, n+16), make([]byte, n+16)
				for i := shift; i < shift+n; i++ {
					want[i] = 0xa5
				}
				set(unsafe.Pointer(&got[shift]), 0xa5, uintptr(n))
				ops.Fence()
				if !bytes.Equal(got, want) {
					t.Fatalf("%s of %d bytes at %d stores something else", name, n, shift)
				}
			}
		}
	}
}

// TestNothingOutsideIsTouched runs every routine on ranges that start right after
// a page without access, and on ranges that end right before one.
func TestNothingOutsideIsTouched(t *testing.T) {
	ops := Host().CacheOps(GranularityCacheLine)
	for _, atEnd := range []bool{false, true} {
		for _, n := range lengths[1:] {
			dst, src := guarded(t, uint64(n), atEnd), guarded(t, uint64(n), atEnd)
			d, s := unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src))
			ops.Copy(d, s, uintptr(n))
			ops.CopyNT(d, s, uintptr(n))
			ops.Set(d, 1, uintptr(n))
			ops.SetNT(d, 2, uintptr(n))
			ops.Flush(d, uintptr(n))
			ops.Fence()
			if want := bytes.Repeat([]byte{2}, n); !bytes.Equal(dst, want) {
				t.Fatalf("n %d: got %x", n, dst)
			}
		}
	}
}

// TestFlushEdges: every byte that isn't in a whole aligned word of the range is
// in a flushed one.
func TestFlushEdges(t *testing.T) {
	arena := guarded(t, 4096, false)
	for shift := range 8 {
		for n := range 40 {
			flushed := make([]bool, len(arena))
			flushEdges(func(p unsafe.Pointer, n uintptr) {
				from := uintptr(p) - uintptr(unsafe.Pointer(unsafe.SliceData(arena)))
				for i := range n {
					flushed[from+i] = true
				}
			}, unsafe.Pointer(&arena[shift]), uintptr(n))
			for i, got := range flushed {
				word := i &^ 7
				switch inside := i >= shift && i < shift+n; {
				case got && !inside:
					t.Fatalf("shift %d, n %d: byte %d outside the range is flushed", shift, n, i-shift)
				case !got && inside && (word < shift || word+8 > shift+n):
					t.Fatalf("shift %d, n %d: byte %d is stored as a byte and not flushed", shift, n, i-shift)
				}
			}
		}
	}
}

// TestCacheOpsAreShared: one struct for each granularity, whoever asks.
func TestCacheOpsAreShared(t *testing.T) {
	seen := map[*CacheOps]Granularity{}
	for _, g := range []Granularity{GranularityByte, GranularityCacheLine, GranularityPage} {
		ops := Host().CacheOps(g)
		if again := Host().CacheOps(g); ops != again {
			t.Errorf("%v: two structs", g)
		}
		if other, ok := seen[ops]; ok {
			t.Errorf("%v and %v share one struct", g, other)
		}
		seen[ops] = g
		if flushes := ops.Instruction != ""; flushes != (g == GranularityCacheLine) {
			t.Errorf("%v: instruction %q", g, ops.Instruction)
		}
	}
}

// BenchmarkFlush: CLWB and its like on a warm line.
func BenchmarkFlush(b *testing.B) {
	ops := Host().CacheOps(GranularityCacheLine)
	for _, n := range []int{64, 4096} {
		buf := make([]byte, n)
		b.Run(fmt.Sprintf("%s/%d", ops.Instruction, n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				ops.Flush(unsafe.Pointer(unsafe.SliceData(buf)), uintptr(n))
				ops.Fence()
			}
		})
	}
}
