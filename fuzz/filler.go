package fuzz

import (
	"math/rand/v2"
	"sync"

	gofuzz "github.com/google/gofuzz"
)

// fillers are fuzzers that fill structured inputs, such as the operations of a sequence, with
// what follows from a generator alone. They are kept, since one costs more than an input.
type fillers struct{ pool sync.Pool }

// newFillers are fillers with functions of their own for some types.
func newFillers(functions ...any) *fillers {
	return &fillers{sync.Pool{New: func() any { return gofuzz.New().NilChance(0).Funcs(functions...) }}}
}

// fillAll fills in all of a slice.
func fillAll[T any](p *fillers, r *rand.Rand, all []T) {
	f := p.pool.Get().(*gofuzz.Fuzzer)
	defer p.pool.Put(f)
	f.RandSource(source{r})
	for i := range all {
		f.Fuzz(&all[i])
	}
}

// anyNumber fills in a number with whatever bits.
func anyNumber(n *Number, c gofuzz.Continue) {
	bits := c.Uint64()
	n.Anchor, n.Delta, n.Raw = byte(bits), byte(bits>>8), c.Uint64()
}

// likely gives a number mostly one of some anchors, and mostly no distance from it.
func likely(n *Number, anchors []byte, bits uint64) {
	if bits%8 != 0 {
		n.Anchor = anchors[bits>>3%uint64(len(anchors))]
	}
	if bits>>6%4 != 0 {
		n.Delta = 0
	}
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
