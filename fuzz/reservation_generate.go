package fuzz

import (
	"math/rand/v2"
	"sync"

	gofuzz "github.com/google/gofuzz"
)

// reservationInputBytes makes sequences that mostly do what can be done: bytes that are
// random alone seldom have two maps in a reservation.
func reservationInputBytes(r *rand.Rand) []byte {
	f := opFillers.Get().(*gofuzz.Fuzzer)
	defer opFillers.Put(f)
	var ops [maxReservationOps]ReservationOp
	n := 2 + r.IntN(maxReservationOps-1)
	f.RandSource(source{r})
	for i := range n {
		f.Fuzz(&ops[i])
	}
	return EncodeAll(make([]byte, 0, n*reservationOpSize), ops[:n])
}

// opFillers are kept, since one costs more than an input.
var opFillers = sync.Pool{New: func() any { return gofuzz.New().NilChance(0).Funcs(likelyOp) }}

// likelyOffsets and likelyLengths are places in anchors: of the multiples, and of the ends of
// what there is.
var (
	likelyOffsets = [...]byte{21, 25, 25, 25, 25, 37, 1, 5, 16, 16}
	likelyLengths = [...]byte{21, 21, 37, 37, 37, 25, 25, 6, 17}
)

// likelyOp fills an operation in.
func likelyOp(op *ReservationOp, c gofuzz.Continue) {
	bits := c.Uint64()
	op.Kind, op.Reservation, op.Map = byte(bits), byte(bits>>8), byte(bits>>16)
	if bits>>24%2 == 0 {
		op.Reservation = 0 // the first, so that more happens to one
	}
	likelyNumber(&op.A, likelyOffsets[:], c)
	likelyNumber(&op.B, likelyLengths[:], c)
}

func likelyNumber(n *Number, anchors []byte, c gofuzz.Continue) {
	bits := c.Uint64()
	n.Anchor, n.Delta, n.Raw = byte(bits), byte(bits>>8), c.Uint64()
	if bits>>16%8 != 0 {
		n.Anchor = anchors[bits>>24%uint64(len(anchors))]
	}
	if bits>>20%4 != 0 {
		n.Delta = 0
	}
}

// reservationSeeds are sequences that get far.
func reservationSeeds() [][]byte {
	const page = 4096
	at := func(v uint64) Number { return Number{Anchor: 0, Raw: v} }
	// Which operation has which number: see reservationSteps.
	const (
		newOne, anonymous, extend, shrink, deleteMap, device, findMap, findFree = 0, 1, 5, 6, 7, 8, 9, 10
		prepare, commit                                                         = 18, 19
	)
	sequences := [][]ReservationOp{
		{
			{Kind: newOne, Map: 1, A: at(0), B: at(16 * page)},
			{Kind: anonymous, A: at(4 * page), B: at(2 * page)},
			{Kind: anonymous, A: at(6 * page), B: at(page + 1)},
			{Kind: findMap, A: at(5 * page), B: at(0)},
			{Kind: findFree, A: at(4 * page), B: at(12)},
			{Kind: prepare, A: at(2)},
			{Kind: commit},
			{Kind: extend, A: at(page)},
			{Kind: shrink, A: at(0), B: at(page)},
		},
		{
			{Kind: newOne, A: at(0), B: at(16 << 20)},
			{Kind: device, A: at(2 << 20), B: at(4 << 20)},
			{Kind: deleteMap},
			{Kind: device, A: at(0), B: at(16 << 20)},
		},
	}
	var seeds [][]byte
	for _, ops := range sequences {
		seeds = append(seeds, EncodeAll(nil, ops))
	}
	return seeds
}
