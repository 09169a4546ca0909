package emu

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestExtents compares the lists with sets of single bytes.
func TestExtents(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	const end = 24
	random := func() (xs []extent, set [end]bool) {
		for range rng.IntN(4) {
			at, n := rng.IntN(end), 1+rng.IntN(6)
			for i := at; i < min(at+n, end); i++ {
				set[i] = true
			}
		}
		return listOf(set[:]), set
	}
	for range 2000 {
		xs, x := random()
		ys, y := random()
		var both, rest [end]bool
		covered := uint64(0)
		for i := range end {
			both[i] = x[i] || y[i]
			rest[i] = x[i] && !y[i]
			if x[i] && i >= 5 && i < 17 {
				covered++
			}
		}
		if got := addExtents(xs, ys); !slices.Equal(got, listOf(both[:])) {
			t.Fatalf("%v and %v: got %v, want %v", xs, ys, got, listOf(both[:]))
		}
		if got := cutExtents(xs, ys); !slices.Equal(got, listOf(rest[:])) {
			t.Fatalf("%v without %v: got %v, want %v", xs, ys, got, listOf(rest[:]))
		}
		if got := coveredBytes(xs, extent{5, 17}); got != covered {
			t.Fatalf("%v in [5, 17): got %d, want %d", xs, got, covered)
		}
	}
}

func listOf(set []bool) []extent {
	var xs []extent
	for i, in := range set {
		if !in {
			continue
		}
		if n := len(xs); n > 0 && xs[n-1].end == uint64(i) {
			xs[n-1].end++
		} else {
			xs = append(xs, extent{uint64(i), uint64(i) + 1})
		}
	}
	return xs
}
