package fuzz

import "math/rand/v2"

// flushStays are how many maps of a scene stay. Those of an input are behind them.
const flushStays = 13

// Places in anchors: of a byte, of pages and of lines for how long a map is; of where a map
// begins and ends, and another one ends, for a range.
var (
	likelyMapLengths   = [...]byte{2, 2, 3, 21, 21, 37}
	likelyRangeStarts  = [...]byte{1, 1, 2, 5, 16, 25}
	likelyRangeLengths = [...]byte{17, 17, 17, 16, 6, 2}
)

// flushInputBytes is an input of the fast generator. Of every other one the maps lie side by
// side, and the range is about them. To ask the caches takes a hundred times as long as all
// else, so it's seldom done.
func flushInputBytes(r *rand.Rand) []byte {
	b := randomBytes(r, flushInputSize)
	bits := r.Uint64()
	if b[0]%32 == 31 && bits%2 == 0 {
		b[0] -= 16
	}
	if bits>>1%2 == 0 {
		return b
	}
	var in flushInput
	Decode(b, &in)
	room := byte(bits >> 2 % 4)
	for i := range in.Existing {
		e := &in.Existing[i]
		if e.Kind < 224 { // else mostly none
			e.Kind = e.Kind%3 + 3*room + e.Kind/3%10*12
		}
		if i > 0 && bits>>(4+i)%4 != 0 {
			e.Start = Number{Anchor: anchorRoom}
		}
		likely(&e.Length, likelyMapLengths[:], bits>>(8+8*i))
	}
	of := r.Uint64()
	in.Of = flushStays + byte(of%3)
	in.Op = in.Op&7 | 8 | byte(flushStays+of>>2%3)<<4
	likely(&in.Start, likelyRangeStarts[:], of>>8)
	likely(&in.Length, likelyRangeLengths[:], of>>20)
	return Encode(b[:0], &in)
}
