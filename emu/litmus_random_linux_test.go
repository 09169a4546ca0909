package emu_test

import (
	"flag"
	"math/rand/v2"
	"strings"
)

var (
	litmusSeed     = flag.Uint64("litmus.seed", 20261122, "seed of the random programs of TestLitmusStates")
	litmusPrograms = flag.Int("litmus.programs", 0, "how many of them for each kind of machine; 0: 150, or 30 with -short")
)

// maxRandomImages bounds the images of a random program that are compared.
const maxRandomImages = 1 << 9

// litmusLines are the lines of the random programs: two are neighbours, of one sector.
var litmusLines = []uint64{0, 64, 4096}

// linesIn are the offsets of the lines of [off, off+n) in which programs do anything.
func linesIn(off, n uint64) (lines []uint64) {
	for _, l := range litmusLines {
		if n > 0 && l < off+n && off < l+64 {
			lines = append(lines, l)
		}
	}
	return lines
}

// randomProgram favours few words and values, so that operations meet.
func randomProgram(rng *rand.Rand, rules string) []litmusOp {
	kinds := []opKind{
		opStore, opStore, opStore, opStore, opCopy, opCopy, opCopyNT,
		opFlush, opFlush, opCLFlush, opFence, opFence, opPersist, opMsync, opLook,
	}
	if rules == "page" {
		kinds = append(kinds, opMsync, opMsync)
	}
	var program []litmusOp
	nts := map[uint64]int{}
	for range 1 + rng.IntN(7) {
		o := litmusOp{kind: kinds[rng.IntN(len(kinds))], g: rng.IntN(2), off: litmusLines[rng.IntN(len(litmusLines))]}
		switch o.kind {
		case opStore, opCopy:
			o.off += []uint64{0, 0, 0, 8, 4, 56}[rng.IntN(6)]
			n := []uint64{8, 8, 8, 8, 4, 1, 12, 16}[rng.IntN(8)]
			if o.off < 128 {
				n = min(n, 128-o.off)
			} else {
				n = min(n, 4096+64-o.off)
			}
			o.data = randomBytes(rng, n)
		case opCopyNT:
			n := []uint64{64, 64, 64, 8, 72, 128}[rng.IntN(6)]
			if o.off != 0 || rules == "page" {
				n = min(n, 64)
			}
			for _, l := range linesIn(o.off, n) {
				unit := l / 64
				if rules == "page" {
					unit = l / 512
				}
				if nts[unit]++; nts[unit] > 1 && rng.IntN(50) > 0 { // two of them have 65,536 states
					n = 8
				}
			}
			o.data = randomBytes(rng, n)
		case opFlush, opCLFlush, opPersist:
			o.off += []uint64{0, 8, 63}[rng.IntN(3)]
			o.n = []uint64{1, 8, 64, 65}[rng.IntN(4)]
		case opMsync:
			o.n = 64
		}
		program = append(program, o)
	}
	return program
}

func randomBytes(rng *rand.Rand, n uint64) []byte {
	b := make([]byte, n)
	whole := rng.IntN(2) == 0
	v := byte(1 + rng.IntN(2))
	for i := range b {
		if b[i] = v; !whole {
			b[i] = byte(rng.IntN(3))
		}
	}
	return b
}

func programText(program []litmusOp) string {
	var s []string
	for _, o := range program {
		s = append(s, o.String())
	}
	return strings.Join(s, "\n\t")
}

// difference lists what one of two sets of contents has alone.
func difference(got, want map[string]bool) string {
	var b strings.Builder
	list := func(title string, a, without map[string]bool) {
		n := 0
		for c := range a {
			if n++; !without[c] && n < 9 {
				b.WriteString("\n" + title)
				for i := range len(c) {
					if c[i] != 0 {
						b.WriteString(" ")
						b.WriteString(hexAt(i, c[i]))
					}
				}
			}
		}
	}
	list("only got: ", got, want)
	list("only want:", want, got)
	return b.String()
}

// hexAt names a byte of the used lines: of the line's number, at its offset.
func hexAt(i int, v byte) string {
	return string("ABCDEFGHIJKL"[i/64]) + "+" + string('0'+byte(i%64/10)) + string('0'+byte(i%64%10)) + "=" + string('0'+v)
}
