package fuzz

import (
	"math/rand/v2"

	gofuzz "github.com/google/gofuzz"
)

// NewFiller returns a fuzzer that fills structured inputs, such as the operations of a
// sequence, with what follows from r alone.
func NewFiller(r *rand.Rand) *gofuzz.Fuzzer {
	return gofuzz.New().NilChance(0).RandSource(source{r})
}

// source is a generator of math/rand/v2 for what knows that of math/rand.
type source struct{ *rand.Rand }

func (s source) Int63() int64 { return s.Int64() }
func (source) Seed(int64)     {}

// randomBytes is an input of a fixed layout, of n bytes: any bytes are one.
func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		v := r.Uint64()
		for j := i; j < min(i+8, n); j++ {
			b[j] = byte(v)
			v >>= 8
		}
	}
	return b
}
