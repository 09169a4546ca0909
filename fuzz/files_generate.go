package fuzz

import (
	"cmp"
	"math/rand/v2"
	"slices"

	gofuzz "github.com/google/gofuzz"
)

// filesMix is how often each kind of file is tried: what takes longest is tried less often.
var filesMix = [16]byte{0, 0, 0, 1, 2, 3, 3, 3, 4, 4, 4, 5, 6, 6, 7, 8}

var filesFillers = newFillers(anyNumber, likelyPiece, likelyTraceHead, likelyTraceEvent)

// filesInputBytes makes an input.
func filesInputBytes(r *rand.Rand) []byte {
	bits := r.Uint64()
	kind := filesMix[bits%16]
	b := append(make([]byte, 0, 64), kind)
	switch kind {
	case 2:
		var pieces [5]imagePiece
		n := bits>>16&3 + 2 // the bad bytes, and pieces
		fillAll(filesFillers, r, pieces[:n])
		if bits>>18&7 != 0 {
			slices.SortStableFunc(pieces[1:n], func(a, b imagePiece) int { return cmp.Compare(a.object(), b.object()) })
		}
		if bits>>21&15 == 0 {
			pieces[1].Object, pieces[1].Cut = 0, longestCut
		}
		return EncodeAll(append(b, byte(bits>>8)), pieces[:n])
	case 4:
		var head [1]traceHead
		var events [3]traceEvent
		n := bits >> 16 & 3
		fillAll(filesFillers, r, head[:])
		fillAll(filesFillers, r, events[:n])
		return EncodeAll(EncodeAll(b, head[:]), events[:n])
	case 6:
		return append(b, randomBytes(r, reportInputSize)...)
	case 7, 8:
		for n := 1 + bits>>8&7; n > 0; n-- {
			b = append(b, byte(r.Uint64()))
		}
		return b
	}
	if kind == 3 && bits>>10&3 == 0 { // something behind one of its lines
		at := traceLineEnds[bits>>12%uint64(len(traceLineEnds))]
		e := fileEdit{likelyAtEnd[bits>>20%uint64(len(likelyAtEnd))], byte(at >> 8), byte(at), byte(bits >> 32)}
		return Encode(b, &e)
	}
	n := 1 + int(bits>>8&3)
	for range n {
		v := r.Uint64()
		e := fileEdit{byte(v), byte(v >> 8 & 0x7f), byte(v >> 16), byte(v >> 24)}
		if kind != 0 && v>>32&1 == 0 {
			e.Kind = 8 // numbers are what is still read most often
		}
		b = Encode(b, &e)
	}
	return b
}

// traceLineEnds are where the lines of the valid trace end, likelyAtEnd the edits that put
// something there, or take away what is.
var (
	traceLineEnds = func() (ends []int) {
		for at, c := range validTrace() {
			if c == '\n' {
				ends = append(ends, at)
			}
		}
		return ends
	}()
	likelyAtEnd = [...]byte{0, 4, 4, 5, 6, 10}
)

// Places in anchors of numbers that files may mostly have, so that seldom more than one thing is
// wrong with a file.
var (
	likelyPieceOffsets = [...]byte{1, 1, 25, 25, 6, 5, 10, 54}
	likelyPieceLengths = [...]byte{2, 3, 4, 4, 6, 6, 25, 10}
	likelyTraceOffsets = [...]byte{1, 2, 3, 21, 25, 25, 5, 10}
	likelyTraceLengths = [...]byte{1, 2, 3, 21, 25, 6, 6, 1}
)

// likelyPiece fills a piece in, which is mostly one of an object that there is, and short: what
// is long takes long.
func likelyPiece(p *imagePiece, c gofuzz.Continue) {
	bits := c.Uint64()
	p.Object, p.Data, p.Cut = byte(bits), byte(bits>>8), byte(bits>>16)
	if bits>>24%8 != 0 {
		p.Object = byte(bits % 6)
	}
	anyNumber(&p.Off, c)
	anyNumber(&p.Length, c)
	likely(&p.Off, likelyPieceOffsets[:], bits>>32)
	likely(&p.Length, likelyPieceLengths[:], bits>>44)
	if bits>>56%2 == 0 {
		p.Length = Exactly(p.Length.Raw % 600)
	}
}

// likelyTraceHead fills the first line of a trace in, which is mostly one of the right version.
func likelyTraceHead(h *traceHead, c gofuzz.Continue) {
	bits := c.Uint64()
	h.Version, h.Objects, h.Unit, h.Guilty = 0, byte(bits), byte(bits>>8), byte(bits>>16)
	if bits>>24%16 == 0 {
		h.Version = 250 + byte(bits>>28%6)
	}
	anyNumber(&h.Size, c)
	likelyTraceRange(&h.Off, &h.Length, c)
}

// likelyTraceEvent fills an event in. Its number is now and then a little less than the one
// before. Mostly it is of no object, or of the first.
func likelyTraceEvent(e *traceEvent, c gofuzz.Continue) {
	bits := c.Uint64()
	e.Kind, e.Seq, e.Object, e.Data = byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24)
	if bits>>32%8 == 0 {
		e.Seq = 255 - e.Seq%4
	}
	if bits>>36%4 != 0 {
		e.Object %= 2
	}
	likelyTraceRange(&e.Off, &e.Length, c)
}

func likelyTraceRange(off, length *Number, c gofuzz.Continue) {
	bits := c.Uint64()
	anyNumber(off, c)
	anyNumber(length, c)
	likely(off, likelyTraceOffsets[:], bits)
	likely(length, likelyTraceLengths[:], bits>>32)
}
