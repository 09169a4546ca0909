package pmemset

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// indexOf is an index of part maps of the given starts and sizes.
func indexOf(ranges ...[2]uint64) (x partIndex) {
	for _, r := range ranges {
		x.insert(&part{addr: uintptr(r[0]), size: r[1]})
	}
	return x
}

// TestPartIndexSearch: the search at the edges of part maps, two of which touch, and of
// the address space.
func TestPartIndexSearch(t *testing.T) {
	const top = math.MaxUint64 - 0xfff // the last page
	x := indexOf([2]uint64{0x5000, 0x1000}, [2]uint64{0x1000, 0x2000}, [2]uint64{top, 0xfff}, [2]uint64{0x3000, 0x1000})
	const none = math.MaxUint64
	for _, tc := range []struct {
		addr     uint64
		behind   int
		at, from uint64 // starts of part maps, or none
	}{
		{0, 0, none, 0x1000},
		{0xfff, 0, none, 0x1000},
		{0x1000, 1, 0x1000, 0x1000},
		{0x1001, 1, 0x1000, 0x1000},
		{0x2fff, 1, 0x1000, 0x1000},
		{0x3000, 2, 0x3000, 0x3000},
		{0x3fff, 2, 0x3000, 0x3000},
		{0x4000, 2, none, 0x5000},
		{0x4fff, 2, none, 0x5000},
		{0x5000, 3, 0x5000, 0x5000},
		{0x5fff, 3, 0x5000, 0x5000},
		{0x6000, 3, none, top},
		{1 << 63, 3, none, top},
		{top - 1, 3, none, top},
		{top, 4, top, top},
		{math.MaxUint64 - 1, 4, top, top},
		{math.MaxUint64, 4, none, none},
	} {
		start := func(p *part) uint64 {
			if p == nil {
				return none
			}
			return uint64(p.addr)
		}
		behind, at, from := x.behind(uintptr(tc.addr)), start(x.at(uintptr(tc.addr))), start(x.from(uintptr(tc.addr)))
		if behind != tc.behind || at != tc.at || from != tc.from {
			t.Errorf("%#x: behind %d, at %#x, from %#x; want %d, %#x, %#x", tc.addr, behind, at, from, tc.behind, tc.at, tc.from)
		}
	}
	var empty partIndex
	if empty.behind(1) != 0 || empty.at(1) != nil || empty.from(0) != nil {
		t.Error("something is in an empty index")
	}
}

// TestPartIndexRandom: part maps come and go, and a search in the index finds what one
// in a list finds.
func TestPartIndexRandom(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 0))
		var x partIndex
		var list []*part
		for step := range 100 {
			start := uintptr(r.Uint64N(60))
			i := slices.IndexFunc(list, func(p *part) bool { return p.addr <= start && start < p.end() })
			next := uintptr(60)
			for _, p := range list {
				if p.addr > start {
					next = min(next, p.addr)
				}
			}
			switch {
			case i < 0:
				p := &part{addr: start, size: 1 + r.Uint64N(min(8, uint64(next-start)))}
				list = append(list, p)
				x.insert(p)
			case r.IntN(2) == 0:
				x.remove(list[i])
				list = slices.Delete(list, i, i+1)
			}
			if len(x) != len(list) || !slices.IsSortedFunc(x, func(a, b indexEntry) int { return int(a.addr) - int(b.addr) }) {
				t.Fatalf("seed %d, step %d: %v for %d part maps", seed, step, x, len(list))
			}
			for addr := range uintptr(64) {
				var at, from *part
				for _, p := range list {
					if p.addr <= addr && addr < p.end() {
						at = p
					}
					if p.end() > addr && (from == nil || p.addr < from.addr) {
						from = p
					}
				}
				if x.at(addr) != at || x.from(addr) != from {
					t.Fatalf("seed %d, step %d: %d: at %p, from %p; want %p, %p", seed, step, addr, x.at(addr), x.from(addr), at, from)
				}
			}
		}
	}
}

// TestOverlapping: which pieces of a part map have a byte in a range.
func TestOverlapping(t *testing.T) {
	const top = math.MaxUint64 - 0xfff
	low := &part{addr: 0x1000, size: 0x4000, pieces: []piece{{addr: 0x1000, size: 0x1000}, {addr: 0x2000, size: 0x2000}, {addr: 0x4000, size: 0x1000}}}
	high := &part{addr: top - 0x1000, size: 0x2000, pieces: []piece{{addr: top - 0x1000, size: 0x1000}, {addr: top, size: 0x1000}}}
	for _, tc := range []struct {
		p           *part
		first, last uint64
		i, j        int
	}{
		{low, 0, 0xfff, 0, 0},
		{low, 0, 0x1000, 0, 1},
		{low, 0, math.MaxUint64, 0, 3},
		{low, 0x1000, 0x1000, 0, 1},
		{low, 0x1fff, 0x1fff, 0, 1},
		{low, 0x1fff, 0x2000, 0, 2},
		{low, 0x2000, 0x2000, 1, 2},
		{low, 0x2001, 0x3ffe, 1, 2},
		{low, 0x3fff, 0x3fff, 1, 2},
		{low, 0x3fff, 0x4000, 1, 3},
		{low, 0x4000, 0x4fff, 2, 3},
		{low, 0x4fff, math.MaxUint64, 2, 3},
		{low, 0x5000, math.MaxUint64, 3, 3},
		{low, 1 << 63, 1 << 63, 3, 3},
		{high, 0, math.MaxUint64, 0, 2},
		{high, 0, top - 0x1001, 0, 0},
		{high, top - 1, top, 0, 2},
		{high, top, top, 1, 2},
		{high, math.MaxUint64, math.MaxUint64, 1, 2},
	} {
		if i, j := tc.p.overlapping(uintptr(tc.first), uintptr(tc.last)); i != tc.i || j != tc.j {
			t.Errorf("[%#x, %#x] of %#x: pieces [%d, %d), want [%d, %d)", tc.first, tc.last, tc.p.addr, i, j, tc.i, tc.j)
		}
	}
}
