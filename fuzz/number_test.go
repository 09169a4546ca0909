package fuzz

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestNumber: every value can be had, and those that matter are near each other.
func TestNumber(t *testing.T) {
	around := Around{Page: 4096, Align: 2 << 20, Size: 16 << 20, Other: 4 << 20, Room: 8 << 20}
	for _, v := range []uint64{0, 1, 4095, 1 << 63, 1<<64 - 1} {
		if got := Exactly(v).In(around); got != v {
			t.Errorf("Exactly(%d) is %d", v, got)
		}
	}
	missing := map[uint64]bool{}
	for _, v := range []uint64{
		0, 1, 4096, 4095, 4097, 2 << 20, 2<<20 - 1, 2<<20 + 1, 16 << 20, 18 << 20, 14 << 20, 12 << 20, 1 << 31, 1 << 32, 1 << 47,
		1<<63 - 1, 1 << 63, 1<<63 + 1, 1<<64 - 2097152, 1<<64 - 4194304, 1<<64 - 1, 8 << 20,
	} {
		missing[v] = true
	}
	for anchor := range len(anchors) {
		for d := range 64 {
			delete(missing, Number{Anchor: byte(anchor), Delta: byte(d)}.In(around))
		}
	}
	for v := range missing {
		t.Errorf("%#x isn't two bytes away", v)
	}
}

// TestNumberAnywhere: no surroundings are too odd.
func TestNumberAnywhere(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		n := Number{byte(r.Uint32()), byte(r.Uint32()), r.Uint64()}
		a := Around{Page: 4096}
		for _, p := range []*uint64{&a.Align, &a.Size, &a.Other, &a.Room} {
			if r.IntN(2) == 0 {
				*p = r.Uint64() >> r.IntN(64)
			}
		}
		_ = n.In(a) // it doesn't divide by zero
	}
}

type testOp struct {
	Kind byte
	N    Number
	X    uint64
}

func (o *testOp) Layout(c *Codec) {
	c.Byte(&o.Kind)
	c.Number(&o.N)
	c.Uint64(&o.X)
}

// TestCodec: what is written is read, a cut input reads as zero, and a changed byte is a
// changed field.
func TestCodec(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	const size = 1 + NumberBytes + 8
	fillers := newFillers()
	for range 1000 {
		ops := make([]testOp, r.IntN(5))
		fillAll(fillers, r, ops)
		b := EncodeAll(nil, ops)
		if len(b) != size*len(ops) {
			t.Fatalf("%d operations are %d bytes", len(ops), len(b))
		}
		if got := DecodeAll[testOp](b, nil, 10); !slices.Equal(got, ops) {
			t.Fatalf("got %+v, want %+v", got, ops)
		}
		if len(ops) == 0 {
			continue
		}
		cut := r.IntN(len(b))
		got := DecodeAll[testOp](b[:cut], nil, 10)
		if whole := cut / size; !slices.Equal(got[:whole], ops[:whole]) || len(got) != (cut+size-1)/size {
			t.Fatalf("cut at %d: %+v of %+v", cut, got, ops)
		}
		at := r.IntN(len(b))
		b[at]++
		got, changed := DecodeAll[testOp](b, nil, 10), 0
		for i := range ops {
			if got[i].Kind != ops[i].Kind {
				changed++
			}
			if got[i].N != ops[i].N {
				changed++
			}
			if got[i].X != ops[i].X {
				changed++
			}
		}
		if changed != 1 {
			t.Fatalf("a changed byte changes %d fields", changed)
		}
	}
	if got := DecodeAll[testOp](make([]byte, 10*size), nil, 3); len(got) != 3 {
		t.Errorf("%d operations, want 3 at most", len(got))
	}
}
