package main

import (
	"math"
	"slices"
)

// estimate is a value with its 95 % interval.
type estimate struct{ value, low, high float64 }

// exp turns the estimate of a logarithm into that of the number.
func (e estimate) exp() estimate {
	return estimate{math.Exp(e.value), math.Exp(e.low), math.Exp(e.high)}
}

// median is the median of x, which isn't empty and stays as it is.
func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// trimmed is the part of the values that a trimmed mean leaves out at each end.
const trimmed = 0.2

// trimmedMean is the mean of x without its lowest and highest fifth, with the interval
// of Tukey and McLaughlin: the deviation is that of the winsorised values, where what is
// left out counts as the nearest that isn't; t has as many degrees of freedom as
// values are kept, less one. x has two values at least and stays as it is.
func trimmedMean(x []float64) estimate {
	s := slices.Sorted(slices.Values(x))
	n := len(s)
	cut := int(trimmed * float64(n))
	kept := s[cut : n-cut]
	mean := sum(kept) / float64(len(kept))
	for i := range cut {
		s[i], s[n-1-i] = s[cut], s[n-1-cut]
	}
	center, squares := sum(s)/float64(n), 0.0
	for _, v := range s {
		squares += (v - center) * (v - center)
	}
	deviation := math.Sqrt(squares / float64(n-1))
	half := studentT(len(kept)-1) * deviation * math.Sqrt(float64(n)) / float64(len(kept))
	return estimate{mean, mean - half, mean + half}
}

func sum(x []float64) float64 {
	var total float64
	for _, v := range x {
		total += v
	}
	return total
}

// studentT is the 97.5 % quantile of Student's t with df >= 1 degrees of freedom.
func studentT(df int) float64 {
	table := [...]float64{12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281}
	if df <= len(table) {
		return table[max(df, 1)-1]
	}
	// The expansion of Cornish and Fisher; at 11 it is exact to three digits behind the point.
	const z = 1.959963985
	v := float64(df)
	const (
		z3 = z * z * z
		z5 = z3 * z * z
		g1 = (z3 + z) / 4
		g2 = (5*z5 + 16*z3 + 3*z) / 96
		g3 = (3*z5*z*z + 19*z5 + 17*z3 - 15*z) / 384
	)
	return z + g1/v + g2/(v*v) + g3/(v*v*v)
}

// samples are the batches of one row: for each round and pair the nanoseconds of an
// operation. limit is empty where the row has none.
type samples struct{ goNs, cNs, limitNs [][]float64 }

// medians is the median of each round.
func medians(rounds [][]float64) []float64 {
	m := make([]float64, len(rounds))
	for i, r := range rounds {
		m[i] = median(r)
	}
	return m
}

// ratio estimates a/b from the pairs.
func ratio(a, b [][]float64) estimate {
	logs := make([][]float64, len(a))
	for i := range a {
		logs[i] = make([]float64, len(a[i]))
		for k := range a[i] {
			logs[i][k] = math.Log(a[i][k] / b[i][k])
		}
	}
	return trimmedMean(medians(logs)).exp()
}
