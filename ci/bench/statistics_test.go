package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		x    []float64
		want float64
	}{
		{[]float64{7}, 7},
		{[]float64{3, 1}, 2},
		{[]float64{9, 1, 2}, 2},
		{[]float64{1000, 1, 2, 3}, 2.5},
	} {
		if got := median(c.x); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.x, got, c.want)
		}
	}
}

// TestStudentT holds the quantiles against those of printed tables.
func TestStudentT(t *testing.T) {
	for _, c := range []struct {
		df   int
		want float64
	}{
		{1, 12.706}, {2, 4.303}, {5, 2.571}, {7, 2.365}, {10, 2.228},
		{11, 2.201}, {12, 2.179}, {15, 2.131}, {20, 2.086}, {30, 2.042}, {60, 2.000}, {120, 1.980}, {100000, 1.960},
	} {
		if got := studentT(c.df); math.Abs(got-c.want) > 0.001 {
			t.Errorf("studentT(%d) = %.4f, want %.3f", c.df, got, c.want)
		}
	}
}

func TestTrimmedMean(t *testing.T) {
	for _, c := range []struct {
		name string
		x    []float64
		want estimate
	}{
		{"constant", []float64{4, 4, 4, 4, 4, 4}, estimate{4, 4, 4}},
		// Kept 2, 3, 4; winsorised 2, 2, 3, 4, 4, of deviation 1; t(2) * 1 * sqrt(5) / 3.
		{"the ends of five don't count", []float64{1000, 2, 3, 4, -1000}, estimate{3, -0.207, 6.207}},
		{"nothing is cut from four", []float64{1, 2, 3, 4}, estimate{2.5, 0.446, 4.554}},
	} {
		got := trimmedMean(c.x)
		if math.Abs(got.value-c.want.value) > 0.001 || math.Abs(got.low-c.want.low) > 0.001 || math.Abs(got.high-c.want.high) > 0.001 {
			t.Errorf("%s: trimmedMean(%v) = %.3f, want %.3f", c.name, c.x, got, c.want)
		}
	}
}

// synthetic is a run whose true ratio C/Go is known: each process is off by a little, each
// batch by a little more, and one batch in ten has been disturbed.
func synthetic(rng *rand.Rand, rounds, pairs int, truth float64) (goNs, cNs [][]float64) {
	batch := func(ns, process float64) float64 {
		ns *= math.Exp(process + 0.02*rng.NormFloat64())
		if rng.IntN(10) == 0 {
			ns *= 1 + 5*rng.Float64()
		}
		return ns
	}
	for range rounds {
		var g, c []float64
		gp, cp := 0.005*rng.NormFloat64(), 0.005*rng.NormFloat64()
		for range pairs {
			// The speed of the machine drifts by half: both of a pair have it.
			speed := 100 * (1 + rng.Float64()/2)
			g, c = append(g, batch(speed, gp)), append(c, batch(speed*truth, cp))
		}
		goNs, cNs = append(goNs, g), append(cNs, c)
	}
	return goNs, cNs
}

// TestIntervalCovers: of many synthetic runs about 95 % have the true ratio in their
// interval, and the intervals are narrow in spite of the outliers.
func TestIntervalCovers(t *testing.T) {
	for _, truth := range []float64{0.5, 0.97, 1, 3} {
		for seed := range uint64(3) {
			rng := rand.New(rand.NewPCG(seed, 7))
			const runs = 1000
			var covered int
			var width float64
			for range runs {
				goNs, cNs := synthetic(rng, 12, 10, truth)
				e := ratio(cNs, goNs)
				if e.low <= truth && truth <= e.high {
					covered++
				}
				width += (e.high - e.low) / truth / runs
			}
			if share := float64(covered) / runs; share < 0.92 || share > 0.98 {
				t.Errorf("truth %v, seed %d: %.1f %% of the intervals cover it, want 92 to 98", truth, seed, 100*share)
			}
			if width > 0.03 {
				t.Errorf("truth %v, seed %d: the intervals are %.1f %% wide, want 3 at most", truth, seed, 100*width)
			}
		}
	}
}

// TestDisturbedRounds: rounds in which a neighbour slowed one side down threefold, two
// of twelve, leave the estimate where it was.
func TestDisturbedRounds(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 9))
		goNs, cNs := synthetic(rng, 12, 10, 1)
		for _, r := range rng.Perm(12)[:2] {
			for i := range cNs[r] {
				cNs[r][i] *= 3
			}
		}
		if e := ratio(cNs, goNs); math.Abs(e.value-1) > 0.02 || e.high-e.low > 0.06 {
			t.Errorf("seed %d: ratio %.3f, want 1 within 0.02 and an interval of 0.06 at most", seed, e)
		}
	}
}

// TestConstantSeries: without noise the interval is the point.
func TestConstantSeries(t *testing.T) {
	g, c := [][]float64{{10, 10}, {10, 10}, {10, 10}}, [][]float64{{8, 8}, {8, 8}, {8, 8}}
	if e := ratio(c, g); math.Abs(e.value-0.8) > 1e-12 || e.high-e.low > 1e-12 {
		t.Errorf("ratio of 8 and 10 is %v, want 0.8 and nothing around", e)
	}
}
