package emu_test

import (
	"flag"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"pmemlab/emu"
)

var (
	litmusSeed     = flag.Uint64("litmus.seed", 20261122, "seed of the random programs of TestLitmusReference")
	litmusProgram  = flag.Int("litmus.program", -1, "the only one of them to run")
	litmusPrograms = flag.Int("litmus.programs", 0, "how many of them for each kind of machine; 0: 2000, or 200 with -short or -race")
)

// maxRandomImages bounds the images of a random program; those with more don't count as one.
const maxRandomImages = 1 << 9

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
		o := litmusOp{kind: kinds[rng.IntN(len(kinds))], g: rng.IntN(2), off: refLines[rng.IntN(len(refLines))]}
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

// TestLitmusReference compares the states that the machine finds after random programs with
// those of the reference. A failure is run again with -litmus.seed and -litmus.program.
func TestLitmusReference(t *testing.T) {
	programs := *litmusPrograms
	if programs == 0 {
		if programs = 2000; testing.Short() || raceEnabled {
			programs = 200
		}
	}
	for i, kind := range []struct {
		rules string
		cfg   emu.Config
		on    backing
	}{
		{"adr", emu.Config{TraceEvents: -1}, onDaxFile},
		{"eadr", emu.Config{TraceEvents: -1, EADR: true}, onDaxFile},
		{"arm64", emu.Config{TraceEvents: -1, Model: emu.Arm64}, onVirtio},
		{"page", emu.Config{TraceEvents: -1}, onPages},
	} {
		t.Run(kind.rules, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, kind.cfg, kind.on)
			r.used = refLines
			var images, several, most, skipped int
			first, end := 0, programs
			if *litmusProgram >= 0 {
				first, end = *litmusProgram, *litmusProgram+1
			}
			for p := first; p < end; p++ {
				program := randomProgram(rand.New(rand.NewPCG(*litmusSeed, uint64(i<<32+p))), kind.rules)
				r.reset(t)
				refs := []*reference{newReference(refConfig{kind.rules, true}), newReference(refConfig{kind.rules, false})}
				for _, o := range program {
					r.do(t, o)
					for _, ref := range refs {
						ref.do(o)
					}
				}
				few := true
				for _, ref := range refs {
					ref.do(litmusOp{kind: opLook})
					want := ref.images(maxRandomImages)
					if want == nil {
						few = false
						continue
					}
					got := map[string]bool{}
					r.states(t, ref.possible, func(mem []byte) { got[r.content(mem)] = true })
					images += len(want)
					most = max(most, len(want))
					if len(want) > 1 {
						several++
					}
					if !maps.Equal(got, want) {
						t.Errorf("seed %d, program %d, possible %t: %d states, want %d, after\n\t%s%s",
							*litmusSeed, p, ref.possible, len(got), len(want), programText(program), difference(got, want))
					}
				}
				if t.Failed() {
					return
				}
				if !few && *litmusProgram < 0 { // another one in its place
					skipped++
					end++
				}
			}
			t.Logf("seed %d: %d programs, %d others with too many images, %d images, %d sets with several, at most %d",
				*litmusSeed, end-first-skipped, skipped, images, several, most)
			if *litmusProgram < 0 && (several < programs/4 || skipped > programs) {
				t.Errorf("of %d sets only %d have several images; %d programs have too many", 2*programs, several, skipped)
			}
		})
	}
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
