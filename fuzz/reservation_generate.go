package fuzz

import (
	"math/rand/v2"

	gofuzz "github.com/google/gofuzz"

	"pmemlab/fuzz/model"
)

// reservationInputBytes makes sequences that mostly do what can be done: bytes that are
// random alone seldom have two maps in a reservation.
func reservationInputBytes(r *rand.Rand) []byte {
	var ops [maxReservationOps]ReservationOp
	n := 2 + r.IntN(maxReservationOps-1)
	fillAll(reservationFillers, r, ops[:n])
	switch bits := r.Uint64(); {
	case bits%8 == 0:
		likelyRun(ops[:n], bits>>3)
	case bits%16 == 1 && n > 2:
		likelyHole(ops[:3])
	}
	for i := range n - 1 {
		if reservationSteps[ops[i].Kind%byte(len(reservationSteps))] == model.DeleteMap {
			likelyBehindDeletion(ops[i+1 : n])
		}
	}
	return EncodeAll(make([]byte, 0, n*reservationOpSize), ops[:n])
}

// likelyBehindDeletion often has a sequence go on, where a map was deleted, with the question
// whether there is room now, or with another map in its place and the question what is beside the one
// that is gone.
func likelyBehindDeletion(ops []ReservationOp) {
	op := &ops[0]
	switch bits := op.B.Raw >> 56; bits % 4 {
	case 0:
		op.Kind = findFreeStep
	case 1:
		op.Kind, op.Reservation, op.Map = mapStep, 0, pickGone+op.Map%4
		op.A, op.B = Number{Anchor: anchorRoom}, Exactly(1+op.B.Raw%(2<<12))
		if len(ops) > 1 && bits>>2%2 == 0 {
			ops[1].Kind, ops[1].Reservation, ops[1].Map = findNextStep+byte(bits>>3%2), 0, op.Map
		}
	}
}

// likelyHole makes three reservations: one, one at some distance behind it, and one for which the kernel
// finds a place, perhaps between them.
func likelyHole(ops []ReservationOp) {
	for i := range ops {
		ops[i].Kind, ops[i].Map = 0, 0
	}
	ops[1].Map, ops[1].A = 64|16|1, Number{Anchor: 21, Raw: ops[1].A.Raw}
	ops[2].Reservation, ops[2].B = 0, Number{Anchor: 21, Raw: ops[2].B.Raw}
}

// likelyRun makes a sequence one of maps side by side, of which several are deleted at once.
func likelyRun(ops []ReservationOp, bits uint64) {
	maps := 2 + int(bits%4)
	for i := range ops {
		op := &ops[i]
		switch {
		case i == 0:
			op.Kind = 0 // a reservation
		case i <= maps:
			op.Kind, op.Reservation, op.Map = mapStep, 0, byte(max(i, 2)-2)
			op.A = Number{Anchor: anchorRoom} // behind the last one
			if i == 1 {
				op.A = Exactly(0)
			}
			if op.B.Raw%4 != 0 {
				op.B = Exactly(1 + op.B.Raw>>2%(3<<12))
			}
		case op.B.Raw%4 != 0:
			op.Kind, op.Reservation = likelyRunSteps[op.B.Raw>>2%uint64(len(likelyRunSteps))], 0
		}
	}
}

// likelyRunSteps are steps that have to do with such runs, in reservationSteps.
var likelyRunSteps = [...]byte{7, 7, 10, 18, 18, 19, 19, 28, 1, 6}

var reservationFillers = newFillers(likelyOp)

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
	if bits>>32%32 == 0 {
		op.Kind = existingStep
	}
	switch reservationSteps[op.Kind%byte(len(reservationSteps))] {
	case model.NewReservation:
		if bits>>40%4 == 0 {
			op.Map = op.Map&^128 | 64 // behind the one picked, unless the kernel picks the place
		}
	case model.MapExisting:
		if bits>>37%4 == 0 {
			break
		}
		op.Map &^= 64 // near a reservation, or with bit 5 a map in it
		op.A.Anchor = likelyExistingPlaces[bits>>40%uint64(len(likelyExistingPlaces))]
		op.A.Delta = likelyExistingDeltas[bits>>48%uint64(len(likelyExistingDeltas))]
		op.B.Anchor = likelyExistingLengths[bits>>56%uint64(len(likelyExistingLengths))]
	}
}

// Existing memory needs no alignment: it is mostly some bytes where a reservation or a map
// begins or ends, or beside that. The places are those in anchors.
var (
	likelyExistingPlaces  = [...]byte{5, 5, 5, anchorRoom}
	likelyExistingDeltas  = [...]byte{0, 1, 2, 2, 4}
	likelyExistingLengths = [...]byte{2, 2, 3, 21}
)

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
