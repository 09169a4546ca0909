package platform

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"
)

const (
	patternA = 0x3c
	patternB = 0xc3
	spread   = 0x0101010101010101
)

// atomicRange is a range whose whole words a writer turns from one pattern to the
// other and back.
type atomicRange struct{ offset, n int }

// atomicRanges have words at each place of the routines' vectors and at the ends,
// bytes around them, and words on both sides of a line's and a page's end. Each
// begins in an area of its own.
var atomicRanges = []atomicRange{
	{0, 8}, {8, 16}, {1, 23}, {56, 16}, {7, 41}, {40, 72}, {61, 131}, {8, 264}, {3, 600}, {4000, 1157},
}

const atomicArea = 8192

// mixed alternates the two patterns in each range, which write knows by its number,
// while it loads their whole words, loads times at least, until it has seen as many
// turns of the pattern as to show that writer and reader did run at once. It
// returns how many loads were made and the first word that was neither pattern.
func mixed(dst []byte, ranges []atomicRange, loads int, write func(r, pattern int)) (made int, bad string, err error) {
	var words []*uint64
	for i, r := range ranges {
		head, length := edges(at(dst, i*atomicArea+r.offset), uintptr(r.n))
		for w := uintptr(0); w < length; w += 8 {
			words = append(words, (*uint64)(unsafe.Add(at(dst, i*atomicArea+r.offset), head+w)))
		}
		write(i, 0)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			for i := range ranges {
				write(i, 1)
				write(i, 0)
			}
		}
	}()
	defer func() { stop.Store(true); <-done }()
	const wantTurns = 100
	turns, last := 0, make([]uint64, len(words))
	for made < loads || turns < wantTurns && made < 10_000*loads {
		for i, w := range words {
			v := atomic.LoadUint64(w)
			if v != last[i] {
				if v != patternA*spread && v != patternB*spread {
					return made, fmt.Sprintf("%#016x", v), nil
				}
				turns, last[i] = turns+1, v
			}
		}
		made += len(words)
	}
	if turns < wantTurns {
		return made, "", fmt.Errorf("%d loads saw the pattern turn %d times, want %d", made, turns, wantTurns)
	}
	return made, "", nil
}

// TestAtomic8: no reader sees a word that is half old and half new. 10^8 words are
// loaded, 10^6 with -short.
func TestAtomic8(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("needs two processors: the reader has to run while a routine does")
	}
	total := 100_000_000
	if testing.Short() {
		total = 1_000_000
	}
	runs := 0
	for _, v := range allVariants() {
		if h, err := NewHost(v.settings); err == nil && h.CacheOps(v.granularity).Instruction == v.instruction {
			runs += 4 // the routines
		}
	}
	var all atomic.Int64
	variants(t, func(t *testing.T, ops *CacheOps) {
		dst, src := pages(t, uint64(len(atomicRanges)*atomicArea)), patternPages(t)
		place := func(r int) (unsafe.Pointer, uintptr) {
			return at(dst, r*atomicArea+atomicRanges[r].offset), uintptr(atomicRanges[r].n)
		}
		for name, write := range map[string]func(r, pattern int){
			"Copy":   func(r, p int) { d, n := place(r); ops.Copy(d, at(src[p], 5), n) },
			"CopyNT": func(r, p int) { d, n := place(r); ops.CopyNT(d, at(src[p], 5), n) },
			"Set":    func(r, p int) { d, n := place(r); ops.Set(d, src[p][0], n) },
			"SetNT":  func(r, p int) { d, n := place(r); ops.SetNT(d, src[p][0], n) },
		} {
			made, bad, err := mixed(dst, atomicRanges, (total+runs-1)/runs, write)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if bad != "" {
				t.Fatalf("%s: a word read %s, want all of %#x or all of %#x", name, bad, patternA, patternB)
			}
			all.Add(int64(made))
		}
	})
	t.Logf("%d loads, no mixed word", all.Load())
	if got := all.Load(); got < int64(total) && !t.Failed() {
		t.Errorf("%d words were loaded, want %d", got, total)
	}
}

// patternPages are pages of each pattern.
func patternPages(t *testing.T) (src [2][]byte) {
	for i, c := range []byte{patternA, patternB} {
		src[i] = pages(t, 8192)
		generic.set(at(src[i], 0), c, 8192)
	}
	return src
}

// byteTail is a copy as it must not be: what its vectors leave over it stores by
// bytes, words or not.
func byteTail(dst, src unsafe.Pointer, n uintptr) {
	i := uintptr(0)
	for ; i+16 <= n; i += 16 {
		copyWord(dst, src, i)
		copyWord(dst, src, i+8)
	}
	for ; i < n; i++ {
		copyByte(dst, src, i)
	}
}

// TestAtomic8Planted: the reader of TestAtomic8 sees a word that is stored by bytes.
func TestAtomic8Planted(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("needs two processors: the reader has to run while a routine does")
	}
	dst, src := pages(t, atomicArea), patternPages(t)
	for _, r := range []atomicRange{{0, 8}, {8, 24}, {64, 264}} {
		t.Run(fmt.Sprint(r), func(t *testing.T) {
			made, bad, _ := mixed(dst, []atomicRange{r}, 100_000_000, func(_, p int) {
				byteTail(at(dst, r.offset), at(src[p], 0), uintptr(r.n))
			})
			if bad == "" {
				t.Errorf("%d loads saw no mixed word", made)
			}
		})
	}
}
