package platform

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"unsafe"
)

// variant is one choice of instructions, forced through Settings.
type variant struct {
	settings    Settings
	granularity Granularity
	instruction string // that Flush has to execute
}

// variants runs test for every instruction set, flush instruction and kind of store
// that this architecture knows. What the CPU lacks is skipped by its name.
func variants(t *testing.T, test func(t *testing.T, ops *CacheOps)) {
	for _, v := range allVariants() {
		name := fmt.Sprintf("%s/%s", v.settings.ISA, v.instruction)
		if v.instruction == "" {
			name = fmt.Sprintf("%s/no_flush", v.settings.ISA)
		}
		if v.settings.NoMOVNT {
			name += "/NoMOVNT"
		}
		t.Run(name, func(t *testing.T) { test(t, v.ops(t)) })
	}
}

func allVariants() []variant {
	isas := []ISA{ISASSE2, ISAAVX2, ISAAVX512, ISAGeneric}
	flushes := []variant{
		{Settings{}, GranularityCacheLine, "CLWB"},
		{Settings{NoCLWB: true}, GranularityCacheLine, "CLFLUSHOPT"},
		{Settings{NoCLWB: true, NoCLFLUSHOPT: true}, GranularityCacheLine, "CLFLUSH"},
		{Settings{}, GranularityByte, ""},
	}
	if runtime.GOARCH == "arm64" {
		isas = []ISA{ISAARM64, ISAGeneric}
		flushes = []variant{
			{Settings{}, GranularityCacheLine, "DC CVAP"},
			{Settings{}, GranularityCacheLine, "DC CVAC"},
			{Settings{}, GranularityByte, ""},
		}
	}
	var all []variant
	for _, isa := range isas {
		for _, v := range flushes {
			for _, no := range []bool{false, true} {
				v.settings.ISA, v.settings.NoMOVNT = isa, no
				all = append(all, v)
			}
		}
	}
	return all
}

// ops are the operations of v. A CPU without an instruction is no failure, but one
// that has it and executes another is.
func (v variant) ops(t *testing.T) *CacheOps {
	t.Helper()
	if !slices.Contains(ISAs(), v.settings.ISA) {
		t.Skipf("this CPU or its operating system has no %s, only %q", v.settings.ISA, ISAs())
	}
	h, err := NewHost(v.settings)
	if err != nil {
		t.Fatal(err)
	}
	ops := h.CacheOps(v.granularity)
	if ops.Instruction != v.instruction {
		t.Skipf("this CPU has no %s: %s takes its place", v.instruction, ops.Instruction)
	}
	if ops.ISA != v.settings.ISA {
		t.Fatalf("ISA %q is asked for, %q is used", v.settings.ISA, ops.ISA)
	}
	return ops
}

// copies and sets are the routines of ops by name. Those of Go alone join where there
// is no flush, once for each instruction set.
func copies(ops *CacheOps) map[string]copyFunc {
	all := map[string]copyFunc{"Copy": ops.Copy, "CopyNT": ops.CopyNT}
	if ops.Instruction == "" {
		all["twin"] = generic.copy
	}
	return all
}

func sets(ops *CacheOps) map[string]setFunc {
	all := map[string]setFunc{"Set": ops.Set, "SetNT": ops.SetNT}
	if ops.Instruction == "" {
		all["twin"] = generic.set
	}
	return all
}

// edgeLengths are those where the routines change what they do: around a word, a
// vector, a line, a batch of each instruction set, a page.
var edgeLengths = []int{
	0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257,
	319, 320, 321, 511, 512, 513, 575, 576, 577, 1023, 1024, 1025, 4095, 4096,
}

// bench is memory for one comparison: the bytes of the source are 128 and more,
// those that a destination has before are less, so that a missing store shows as
// well as a stray one.
type bench struct {
	dst, want, canary, src, filled []byte
}

func newBench(t *testing.T, n int) *bench {
	b := &bench{}
	for _, mem := range []*[]byte{&b.dst, &b.want, &b.canary, &b.src, &b.filled} {
		*mem = pages(t, uint64(n))
	}
	generic.set(at(b.filled, 0), 0xa5, uintptr(n))
	for i := range n {
		b.canary[i] = byte(i*7+i>>8) & 0x7f
		b.src[i] = byte(i*13+i>>8*5) | 0x80
	}
	return b
}

// pages are n bytes of fresh memory, page-aligned. The collector and the race detector
// know nothing of it: the latter makes copies of the heap slow.
func pages(t *testing.T, n uint64) []byte {
	t.Helper()
	base, err := Host().Mmap(0, n, ProtRead|ProtWrite, MapPrivate|MapAnonymous, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Host().Munmap(base, n); err != nil {
			t.Error(err)
		}
	})
	return Bytes(base, n)
}

const canaryBytes = 64

func at(b []byte, i int) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i) }

// copy compares one copy with Go's. dst and src are offsets.
func (b *bench) copy(t *testing.T, name string, f copyFunc, dst, src, n int) {
	end := dst + n + canaryBytes
	copy(b.dst[:end], b.canary)
	copy(b.want[:end], b.canary)
	copy(b.want[dst:], b.src[src:src+n])
	f(at(b.dst, dst), at(b.src, src), uintptr(n))
	if !bytes.Equal(b.dst[:end], b.want[:end]) {
		t.Fatalf("%s(dst %d, src %d, n %d): %s", name, dst, src, n, b.difference(dst, end))
	}
}

func (b *bench) set(t *testing.T, name string, f setFunc, dst, n int) {
	end := dst + n + canaryBytes
	const c = 0xa5
	copy(b.dst[:end], b.canary)
	copy(b.want[:end], b.canary)
	copy(b.want[dst:dst+n], b.filled)
	f(at(b.dst, dst), c, uintptr(n))
	if !bytes.Equal(b.dst[:end], b.want[:end]) {
		t.Fatalf("%s(dst %d, n %d): %s", name, dst, n, b.difference(dst, end))
	}
}

func (b *bench) difference(dst, end int) string {
	for i := range end {
		if b.dst[i] != b.want[i] {
			return fmt.Sprintf("byte %d of the destination is %#x, want %#x", i-dst, b.dst[i], b.want[i])
		}
	}
	return "no difference"
}

// TestMemOpsLengths: every length up to a page, at alignments that cut the words and
// the lines of both sides differently.
func TestMemOpsLengths(t *testing.T) {
	alignments := [][2]int{{64, 64}, {65, 64}, {64, 67}, {72, 79}, {103, 120}, {127, 65}}
	variants(t, func(t *testing.T, ops *CacheOps) {
		b := newBench(t, 16<<10)
		for name, f := range copies(ops) {
			for n := range 4097 {
				for _, a := range alignments {
					b.copy(t, name, f, a[0], a[1], n)
				}
			}
		}
		for name, f := range sets(ops) {
			for n := range 4097 {
				for _, a := range alignments {
					b.set(t, name, f, a[0], n)
				}
			}
		}
		ops.Fence()
	})
}

// TestMemOpsAlignments: every alignment of both sides in a line.
func TestMemOpsAlignments(t *testing.T) {
	variants(t, func(t *testing.T, ops *CacheOps) {
		b := newBench(t, 16<<10)
		for _, n := range edgeLengths {
			for dst := range 64 {
				for name, f := range copies(ops) {
					for src := range 64 {
						b.copy(t, name, f, 64+dst, 64+src, n)
					}
				}
				for name, f := range sets(ops) {
					b.set(t, name, f, 64+dst, n)
				}
			}
		}
		ops.Fence()
	})
}

// TestMemOpsLarge: lengths around what the loops of whole lines take at a time.
func TestMemOpsLarge(t *testing.T) {
	variants(t, func(t *testing.T, ops *CacheOps) {
		b := newBench(t, 2<<20)
		for _, n := range []int{64<<10 - 1, 64 << 10, 1<<20 - 1, 1 << 20, 1<<20 + 1, 1<<20 + 4096 + 513} {
			for _, a := range [][2]int{{64, 64}, {65, 64}, {64, 65}, {99, 4095}} {
				for name, f := range copies(ops) {
					b.copy(t, name, f, a[0], a[1], n)
				}
				for name, f := range sets(ops) {
					b.set(t, name, f, a[0], n)
				}
			}
		}
		ops.Fence()
	})
}

// TestMemOpsHuge: copies so long that they prefetch.
func TestMemOpsHuge(t *testing.T) {
	const n = 33<<20 + 77
	for _, isa := range ISAs() {
		t.Run(string(isa), func(t *testing.T) {
			h, err := NewHost(Settings{ISA: isa})
			if err != nil {
				t.Fatal(err)
			}
			ops := h.CacheOps(GranularityCacheLine)
			b := newBench(t, 34<<20)
			b.copy(t, "CopyNT", ops.CopyNT, 67, 64, n)
			b.copy(t, "Copy", ops.Copy, 67, 64, n)
			b.set(t, "SetNT", ops.SetNT, 67, n)
			ops.Fence()

			// Overlap, upwards and downwards.
			for _, distance := range []int{-4097, 4097} {
				const src = 128 << 10
				copy(b.want, b.canary)
				copy(b.dst, b.canary)
				copy(b.want[src+distance:], b.canary[src:src+n])
				ops.CopyNT(at(b.dst, src+distance), at(b.dst, src), n)
				ops.Fence()
				if !bytes.Equal(b.dst, b.want) {
					t.Errorf("CopyNT of %d bytes by %d differs from memmove: %s", n, distance, b.difference(0, len(b.dst)))
				}
			}
		})
	}
}

// TestMemOpsFlush: a flush and a persist leave what they flush as it is, whatever
// their length, and take none at all.
func TestMemOpsFlush(t *testing.T) {
	variants(t, func(t *testing.T, ops *CacheOps) {
		b := newBench(t, 16<<10)
		copy(b.dst, b.canary)
		for _, n := range edgeLengths {
			for at0 := range 65 {
				ops.Flush(at(b.dst, at0), uintptr(n))
				ops.Persist(at(b.dst, at0), uintptr(n))
			}
		}
		ops.Flush(nil, 0)
		ops.Persist(nil, 0)
		ops.Fence()
		if !bytes.Equal(b.dst, b.canary) {
			t.Error("a flush has changed memory")
		}
	})
}

// TestOverlap: memmove, over every distance between destination and source.
func TestOverlap(t *testing.T) {
	variants(t, func(t *testing.T, ops *CacheOps) {
		arena := pages(t, 16<<10)
		pattern, want := pages(t, uint64(len(arena))), pages(t, uint64(len(arena)))
		for i := range pattern {
			pattern[i] = byte(i*31 + i>>8*17)
		}
		for name, f := range copies(ops) {
			for _, n := range edgeLengths {
				for _, src := range []int{4224, 4225, 4287} {
					for distance := -n - 1; distance <= n+1; distance++ {
						if n > 1025 && distance%61 != 0 && max(distance, -distance) > 300 && max(distance, -distance) < n-100 {
							continue // a sample in the middle of long ones
						}
						dst := src + distance
						lo, hi := min(src, dst)-canaryBytes, max(src, dst)+n+canaryBytes
						copy(arena[lo:hi], pattern[lo:hi])
						copy(want[lo:hi], pattern[lo:hi])
						copy(want[dst:dst+n], want[src:src+n])
						f(at(arena, dst), at(arena, src), uintptr(n))
						if !bytes.Equal(arena[lo:hi], want[lo:hi]) {
							t.Fatalf("%s(dst %d, src %d, n %d) differs from memmove", name, dst, src, n)
						}
					}
				}
			}
		}
		ops.Fence()
	})
}

// TestOverlapLarge: the same where the loops run long.
func TestOverlapLarge(t *testing.T) {
	const n = 1<<20 + 77
	variants(t, func(t *testing.T, ops *CacheOps) {
		arena := pages(t, 4<<20)
		pattern, want := pages(t, uint64(len(arena))), pages(t, uint64(len(arena)))
		for i := range pattern {
			pattern[i] = byte(i*31 + i>>8*17 + i>>16*3)
		}
		for name, f := range copies(ops) {
			for _, distance := range []int{1, 8, 64, 511, 70001, n - 1} {
				for _, d := range []int{distance, -distance} {
					src := 3<<19 + 5
					dst := src + d
					copy(arena, pattern)
					copy(want, pattern)
					copy(want[dst:dst+n], want[src:src+n])
					f(at(arena, dst), at(arena, src), n)
					if !bytes.Equal(arena, want) {
						t.Fatalf("%s(dst %d, src %d, n %d) differs from memmove", name, dst, src, n)
					}
				}
			}
		}
		ops.Fence()
	})
}
