package persist

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The reference: the rules as they are written, over the whole history at once. It keeps
// what was done and, when asked, tries every subset of the writes of each line: is this one
// allowed? What a subset leaves is its bytes, in the order in which they were written.

type opKind int

const (
	opStore opKind = iota
	opNT
	opObserve
	opFlush
	opCLFlush
	opFence
	opSync
	opKinds
)

var opNames = [...]string{"store", "nt", "observe", "flush", "clflush", "fence", "sync"}

type op struct {
	kind opKind
	g    int64
	off  uint64
	data []byte // stores
	n    uint64 // flushes

	changes []Change // more that a look finds, in litmus tests
}

func (o op) String() string {
	switch {
	case o.kind == opFence:
		return fmt.Sprintf("g%d %s", o.g, opNames[o.kind])
	case o.kind <= opObserve:
		return fmt.Sprintf("g%d %s %d=%x", o.g, opNames[o.kind], o.off, o.data)
	}
	return fmt.Sprintf("g%d %s [%d,+%d)", o.g, opNames[o.kind], o.off, o.n)
}

func do(m *Memory, o op) {
	switch o.kind {
	case opStore:
		m.Store(o.off, o.data)
	case opNT:
		m.StoreNT(o.g, o.off, o.data)
	case opObserve:
		m.Observe(append(o.changes, Change{o.off, o.data})...)
	case opFlush:
		m.Flush(o.g, o.off, o.n)
	case opCLFlush:
		m.CLFlush(o.g, o.off, o.n)
	case opFence:
		m.Fence(o.g)
	case opSync:
		m.Sync(o.g, o.off, o.n)
	}
}

// refWrite is what one operation of the history wrote in one word.
type refWrite struct {
	op       int
	off      uint64 // of its first byte
	data     []byte
	kept     []bool // bytes that it didn't write, if any
	nt       bool
	observed bool
}

func (w refWrite) word() uint64 { return w.off / 8 }

func refUnit(model Model) uint64 {
	if model == PageCache {
		return 512
	}
	return 64
}

// refWrites splits the stores of a history into words.
func refWrites(model Model, history []op) []refWrite {
	var ws []refWrite
	memory := map[uint64]byte{}
	for i, o := range history {
		if o.kind > opObserve {
			continue
		}
		for at := uint64(0); at < uint64(len(o.data)); {
			end := min(uint64(len(o.data)), ((o.off+at)/8+1)*8-o.off)
			w := refWrite{op: i, off: o.off + at, data: o.data[at:end], nt: o.kind == opNT, observed: o.kind == opObserve}
			if model == Arm64 || model == PageCache {
				w.nt = false
			}
			w.kept = make([]bool, len(w.data))
			changed := false
			for k := range w.data { // what was observed is what changed
				w.kept[k] = w.observed && memory[w.off+uint64(k)] == w.data[k]
				changed = changed || !w.kept[k]
			}
			if changed {
				ws = append(ws, w)
			}
			at = end
		}
		for k, b := range o.data {
			memory[o.off+uint64(k)] = b
		}
	}
	return ws
}

func refTouches(unit, at uint64, o op) bool {
	return o.n > 0 && o.off/unit <= at/unit && at/unit <= (o.off+o.n-1)/unit
}

// refDurable says that w is on the media for certain at the end of the history.
func refDurable(model Model, history []op, w refWrite, proven bool) bool {
	unit := refUnit(model)
	g := history[w.op].g
	for i := w.op + 1; i < len(history); i++ {
		o := history[i]
		fence := o.kind == opFence || o.kind == opSync
		if model == PageCache {
			if o.kind == opSync && refTouches(unit, w.off, o) {
				return true
			}
			continue
		}
		if w.nt {
			if fence && o.g == g || proven && o.kind == opCLFlush && o.g == g && refTouches(unit, w.off, o) {
				return true
			}
			continue
		}
		if model == X86EADR {
			return true // the next operation finds it visible
		}
		if o.kind == opSync && refTouches(unit, w.off, o) ||
			o.kind == opCLFlush && model == X86 && refTouches(unit, w.off, o) {
			return true
		}
		if (o.kind == opFlush || o.kind == opCLFlush) && refTouches(unit, w.off, o) {
			for _, later := range history[i+1:] {
				if (later.kind == opFence || later.kind == opSync) && later.g == o.g {
					return true
				}
			}
		}
	}
	return false
}

// refAllowed says that, of two writes to one line or sector, v and the later w, or two of
// one operation, the media can have only those that are said to be there.
func refAllowed(model Model, history []op, v, w refWrite, vThere, wThere, proven bool) bool {
	sameWord := v.word() == w.word()
	inOrder := vThere || !wThere
	switch {
	case w.nt != v.nt:
		return true
	case w.nt: // those of one goroutine to one word: in order
		return inOrder || !sameWord || history[w.op].g != history[v.op].g
	case model == Arm64 || !proven:
		return inOrder || !sameWord
	case v.op < w.op:
		return inOrder
	}
	return vThere == wThere || !w.observed && model != PageCache
}

// refImages returns all images of lines 0, 1 and 8, as hashes.
func refImages(model Model, history []op, proven bool) map[uint64]bool {
	images := []uint64{hash(make([]byte, 128), 0) + hash(make([]byte, 64), 512)}
	units := map[uint64][]refWrite{}
	all := refWrites(model, history)
	unit := refUnit(model)
	inFlight := map[uint64]bool{} // words of the last operation, in all lines
	for _, w := range all {
		units[w.off/unit] = append(units[w.off/unit], w)
		if w.op == len(history)-1 {
			inFlight[w.word()] = true
		}
	}
	for _, u := range slices.Sorted(maps.Keys(units)) {
		ws := units[u]
		durable := make([]bool, len(ws))
		for i, w := range ws {
			durable[i] = refDurable(model, history, w, proven)
			if model == X86EADR && !w.nt && len(inFlight) == 1 {
				durable[i] = true // a word is visible at once
			}
			if model == X86EADR && w.observed && proven {
				durable[i] = true // what a look finds is there
			}
		}
		contents := map[uint64]bool{}
		clean := hash(make([]byte, unit), u*unit)
		there := make([]bool, len(ws))
		var decide func(i int)
		decide = func(i int) {
			if i == len(ws) {
				content := make([]byte, unit)
				for i, w := range ws {
					for k, b := range w.data {
						if there[i] && !w.kept[k] {
							content[w.off%unit+uint64(k)] = b
						}
					}
				}
				contents[hash(content, u*unit)-clean] = true
				return
			}
			for _, there[i] = range []bool{true, false} {
				allowed := there[i] || !durable[i]
				for j := range i {
					if (!durable[i] || !durable[j]) && !refAllowed(model, history, ws[j], ws[i], there[j], there[i], proven) {
						allowed = false
					}
				}
				if allowed {
					decide(i + 1)
				}
			}
		}
		decide(0)
		var next []uint64
		for _, image := range images {
			for content := range contents {
				next = append(next, image+content)
			}
		}
		images = next
	}
	set := map[uint64]bool{}
	for _, image := range images {
		set[image] = true
	}
	return set
}

var hashSeed = maphash.MakeSeed()

// hash is the sum of those of the lines, so that a product of lines has the sums as hashes.
func hash(image []byte, off uint64) uint64 {
	var sum uint64
	for i := 0; i < len(image); i += 64 {
		line := maphash.Bytes(hashSeed, image[i:i+64])
		sum += line * (2*((off+uint64(i))/64) + 1)
	}
	return sum
}

const refSize = 576 // lines 0, 1 and 8, in two sectors

// randomOp favours few words, few values and whole words, so that operations meet.
func randomOp(rng *rand.Rand, kinds []opKind) op {
	lines := []uint64{0, 64, 512}
	o := op{kind: kinds[rng.IntN(len(kinds))], g: int64(rng.IntN(2)), off: lines[rng.IntN(3)]}
	if o.kind > opObserve {
		o.n = []uint64{0, 1, 8, 64, 65, 128, 1024}[rng.IntN(7)]
		o.off += []uint64{0, 8, 63}[rng.IntN(3)]
		o.n = min(o.n, refSize-o.off) // may be 0
		return o
	}
	o.off += []uint64{0, 0, 0, 8, 4, 60}[rng.IntN(6)]
	end := refSize
	if o.off < 128 {
		end = 128
	}
	n := min([]int{8, 8, 8, 8, 4, 4, 1, 12, 16}[rng.IntN(9)], end-int(o.off))
	for range n {
		o.data = append(o.data, byte(1+rng.IntN(2)))
	}
	if rng.IntN(2) == 0 {
		for i := range o.data {
			o.data[i] = o.data[0]
		}
	}
	return o
}

var kindsOf = map[Model][]opKind{
	X86:       {opStore, opStore, opStore, opNT, opNT, opObserve, opFlush, opFlush, opCLFlush, opFence, opFence, opSync},
	X86EADR:   {opStore, opStore, opNT, opNT, opNT, opObserve, opFlush, opCLFlush, opFence, opSync},
	Arm64:     {opStore, opStore, opStore, opNT, opObserve, opFlush, opFlush, opCLFlush, opFence, opFence, opSync},
	PageCache: {opStore, opStore, opStore, opNT, opObserve, opFlush, opCLFlush, opFence, opSync, opSync},
}

var models = []Model{X86, X86EADR, Arm64, PageCache}

// TestReference compares the images, at every moment of every interleaving of random
// programs of two goroutines, with those of the reference.
func TestReference(t *testing.T) {
	programs := 5000
	if testing.Short() || raceEnabled {
		programs = 500
	}
	for _, model := range models {
		t.Run(model.String(), func(t *testing.T) {
			t.Parallel()
			const seed = 20261122
			rng := rand.New(rand.NewPCG(seed, uint64(model)))
			var moments, images, multiple int
			for program := range programs {
				var threads [2][]op
				for range 1 + min(rng.IntN(7), rng.IntN(7)) { // long ones take long
					o := randomOp(rng, kindsOf[model])
					threads[o.g] = append(threads[o.g], o)
				}
				var visit func(history []op, i, j int)
				visit = func(history []op, i, j int) {
					if t.Failed() {
						return
					}
					m := New(model, nil)
					for _, o := range history {
						do(m, o)
					}
					moments++
					for _, proven := range []bool{true, false} {
						s := m.Possible()
						if proven {
							s = m.Proven()
						}
						got, err := imagesOf(m, s)
						want := refImages(model, history, proven)
						images += len(want)
						if len(want) > 1 {
							multiple++
						}
						if err != nil || !maps.Equal(got, want) {
							t.Errorf("seed %d, program %d: %d images, want %d (proven: %v), error %v, after\n\t%s",
								seed, program, len(got), len(want), proven, err, lines(history))
							return
						}
					}
					if i < len(threads[0]) {
						visit(append(history, threads[0][i]), i+1, j)
					}
					if j < len(threads[1]) {
						visit(append(history, threads[1][j]), i, j+1)
					}
				}
				visit(make([]op, 0, 7), 0, 0)
			}
			t.Logf("%d programs, %d moments, %d images, %d sets of several", programs, moments, images, multiple)
			if multiple < programs {
				t.Errorf("only %d of %d sets have several images", multiple, 2*moments)
			}
		})
	}
}

func lines(history []op) string {
	var s []string
	for _, o := range history {
		s = append(s, o.String())
	}
	return strings.Join(s, "\n\t")
}

// imagesOf goes through all images of lines 0, 1 and 8, and checks that each comes once,
// in the order that All promises, and that there are as many as Count says.
func imagesOf(m *Memory, s *Images) (map[uint64]bool, error) {
	image, visible := make([]byte, refSize), make([]byte, refSize)
	m.Visible(0, image)
	copy(visible, image)
	set := map[uint64]bool{}
	stale := 0
	for choices := range s.All(Into(image, 0)) {
		h := hash(image[:128], 0) + hash(image[512:], 512)
		if set[h] {
			return set, fmt.Errorf("the image of %v was there before", choices)
		}
		set[h] = true
		if len(choices) < stale {
			return set, fmt.Errorf("an image with %d cells that aren't at their newest after one with %d", len(choices), stale)
		}
		if len(set) == 1 && !bytes.Equal(image, visible) {
			return set, errors.New("the first image isn't what is visible")
		}
		stale = len(choices)
	}
	if uint64(len(set)) != s.Count() || !s.Complete() {
		return set, fmt.Errorf("Count says %d, complete: %v", s.Count(), s.Complete())
	}
	if !bytes.Equal(image, visible) {
		return set, errors.New("All leaves another image than what is visible")
	}
	return set, nil
}
