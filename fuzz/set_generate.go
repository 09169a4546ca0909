package fuzz

import (
	"math/rand/v2"

	gofuzz "github.com/google/gofuzz"

	"pmemlab/pmemset"
)

// setInputBytes is the input of the fast generator: mostly some parts first, since without
// them there is nothing to do anything with; then something is taken away, and another part
// comes; then anything. In one of four nothing joins at first, so that there are several part
// maps, and what comes then has to join.
func setInputBytes(r *rand.Rand) []byte {
	var ops [maxSetOps]setOp
	bits := r.Uint64()
	next := func(n uint64) uint64 {
		v := bits % n
		bits /= n
		return v
	}
	n := 8 + next(maxSetOps-7)
	fillAll(setFillers, r, ops[:n])
	world := randomBytes(r, setWorldSize)
	parts, apart := next(6), next(4) == 0
	if apart {
		world[setWorldJoins] = byte(pmemset.CoalescingNone)
		parts = 2 + parts/2
	}
	same := next(2) == 0
	for i := range parts {
		ops[i].Kind = setMap
		ops[i].How |= 1 // a few pages
		if same {
			ops[i].Pick = ops[0].Pick
		}
		if apart && ops[i].A.Delta%8 == setDeltaFull {
			ops[i].A.Delta = 0
		}
	}
	switch next(4) {
	case 0:
		ops[parts].Kind = setKindRemovesPart
	case 1:
		ops[parts].Kind, ops[parts].Pick = setKindRemovesRange, byte(next(4))
		likely(&ops[parts].A, likelySetPlaces[:], bits)
		likely(&ops[parts].B, likelySetLengths[:], bits>>8)
	}
	joins := &ops[parts+1]
	switch next(4) {
	case 0:
		joins.Kind = setMap
	case 1:
		joins.Kind, joins.A.Delta = setMap, setDeltaFull
	default:
		if apart {
			joins.Kind, joins.A.Delta = setMap, setDeltaFull
			joins.How |= 1
		} else {
			joins.Kind = setKindRemovesPart
		}
	}
	return EncodeAll(append(make([]byte, 0, setWorldSize+n*setOpSize), world...), ops[:n])
}

var setFillers = newFillers(likelySetOp)

// Places in anchors: of where pieces and part maps begin and end, of one byte, and of what is left
// of them; of modes of coalescing, and of the ends of sources and of offsets.
var (
	likelySetPlaces  = [...]byte{1, 1, 1, 1, 5, 5, 16, 3}
	likelySetLengths = [...]byte{2, 2, 3, 6, 6, 17, 17, 21}
	likelySetModes   = [...]byte{21, 21, 21, 15}
	likelySetOffsets = [...]byte{14, 14, 15, 5, 10, 1}
)

// likelySetOp fills an operation in. What is about an address is mostly about one of the
// first pieces: there are seldom more.
func likelySetOp(op *setOp, c gofuzz.Continue) {
	bits := c.Uint64()
	op.Kind, op.Set, op.Pick, op.How = byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24)
	anyNumber(&op.A, c)
	anyNumber(&op.B, c)
	switch setKinds[op.Kind%32] {
	case setMap:
		if bits>>32%4 == 0 { // where offsets end, if it's no small one
			likely(&op.A, likelySetOffsets[:], bits>>40)
		}
	case setCoalescing:
		if bits>>32%4 == 0 { // a mode just above those that there are, or far away
			op.How |= 15
			likely(&op.A, likelySetModes[:], bits>>40)
		}
	case setRemoveRange, setLookUp:
		if bits>>32%8 != 0 {
			op.Pick %= 8
		}
		likely(&op.A, likelySetPlaces[:], bits>>40)
		likely(&op.B, likelySetLengths[:], bits>>52)
	}
}
