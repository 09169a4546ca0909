package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"

	gofuzz "github.com/google/gofuzz"

	"pmemlab/fuzz/model"
)

// Crash is the target of what a power failure leaves: the states that a machine finds after
// a random program of two goroutines, and what it says of them, held against an
// enumeration by the rules.
var Crash = Target{
	Name:     "Crash",
	About:    "crash states: random stores, copies, flushes, fences and syncs of two goroutines, on x86, eADR, Arm64, the page cache",
	Accepted: "left in doubt",
	New:      newCrashInstance,
	Generate: crashProgram,
	Seeds:    crashSeeds,
}

// crashInput is the head of an input of the target Crash; operations follow. What a byte picks
// is picked by its remainder.
type crashInput struct {
	Subject byte // of crashSubjects
	Ask     byte // bit 0: for all that is possible; the rest: of crashRanges
	After   byte // remainder by 16: see crashAfter
	Max     byte // how many states a sample has
}

// Layout is how it lies in bytes.
func (in *crashInput) Layout(c *Codec) {
	for _, b := range []*byte{&in.Subject, &in.Ask, &in.After, &in.Max} {
		c.Byte(b)
	}
}

const crashHeadSize, crashStepSize = 4, 4

// crashStep is an operation of an input.
type crashStep struct {
	Kind  byte // remainder by 16: of crashKinds; bit 4: the goroutine; bit 5: a variant
	Where byte // bits 0 and 1: the line; the next four: of crashOffsets
	Long  byte // remainder by 8: a usual length; above 127: of a store any up to 24
	Value byte // bits 0 and 1: which pattern; the rest: of what
}

// Layout is how it lies in bytes.
func (s *crashStep) Layout(c *Codec) {
	for _, b := range []*byte{&s.Kind, &s.Where, &s.Long, &s.Value} {
		c.Byte(b)
	}
}

// What an input asks besides, for some remainders by 16 of After.
const (
	afterCrash   = iota // a machine that boots with what is durable for certain
	afterSeed           // one that boots with any state
	afterBoot           // one that boots with a state of the list
	afterSample         // fewer states than there are
	afterSample2        //
	afterAgain          // the states again, in the same order
	afterFindings
)

const (
	crashSteps = 12 // at most
	// crashStates is how many states a program can leave; it's cut short before there are more.
	crashStates = 1 << 9
	crashSize   = 8192
)

// crashLines are the lines that programs use: two neighbours, of one sector, and the last one.
var crashLines = []uint64{0, cacheLine, crashSize - cacheLine}

var (
	crashKinds = [16]model.CrashKind{
		model.CrashStore, model.CrashStore, model.CrashStore, model.CrashStore, model.CrashCopy, model.CrashCopy, model.CrashCopyNT,
		model.CrashFlush, model.CrashFlush, model.CrashCLFlush, model.CrashFence, model.CrashFence, model.CrashPersist, model.CrashMsync,
		model.CrashWrite, model.CrashLook,
	}
	crashOffsets = [16]uint64{0, 0, 0, 8, 8, 4, 16, 56, 60, 63, 1, 7, 32, 15, 24, 48}
	// Usual lengths of stores, of non-temporal copies and of flushes.
	crashStores  = [8]uint64{8, 8, 8, 16, 4, 1, 24, 12}
	crashCopies  = [8]uint64{64, 64, 64, 72, 128, 8, 65, 63}
	crashFlushes = [8]uint64{1, 8, 64, 65, 128, 2, 0, 8192}
)

// crashProgram is an input of the fast generator. Of the programs every other one is about a
// single line, where most happens; one in four runs on a whole machine, which takes six times
// as long.
func crashProgram(r *rand.Rand) []byte {
	var steps [crashSteps]crashStep
	n := 1 + r.IntN(crashSteps)
	fillAll(crashFillers, r, steps[:n])
	b := append(make([]byte, 0, crashHeadSize+n*crashStepSize), randomBytes(r, crashHeadSize)...)
	bits := r.Uint32()
	if bits%2 == 0 { // all of it in one line
		for i := range steps[:n] {
			steps[i].Where &^= 3
		}
	}
	if at := b[0] % byte(len(crashSubjects)); int(at) < crashMachines && bits>>1%2 == 0 { // one that is no whole machine
		b[0] = at + crashMachines
	}
	return EncodeAll(b, steps[:n])
}

var crashFillers = newFillers(func(s *crashStep, c gofuzz.Continue) {
	v := c.Uint32()
	*s = crashStep{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}
})

// crashSeeds are programs of the kind that everybody writes: the line of a record, then the
// line that says that it is there.
func crashSeeds() (seeds [][]byte) {
	for subject := range crashSubjects {
		seeds = append(seeds, EncodeAll(Encode(nil, &crashInput{Subject: byte(subject)}), []crashStep{
			{Kind: 0}, {Kind: 7}, {Kind: 10}, {Kind: 0, Where: 1}, {Kind: 7, Where: 1}, {Kind: 10}, {Kind: 13},
		}))
	}
	return seeds
}

// op is what a step is, its data in room.
func (s *crashStep) op(room *[128]byte) model.CrashOp {
	line := [4]int{0, 1, 2, 0}[s.Where%4]
	o := model.CrashOp{Kind: crashKinds[s.Kind%16], By: int(s.Kind >> 4 & 1)}
	end := [3]uint64{128, 128, crashSize}[line] // of where it may store
	o.Off = crashLines[line] + crashOffsets[s.Where>>2%16]
	variant := s.Kind&32 != 0
	switch o.Kind {
	case model.CrashStore, model.CrashCopy, model.CrashWrite:
		n := crashStores[s.Long%8]
		if s.Long > 127 {
			n = 1 + uint64(s.Long)%24
		}
		o.Data = s.data(room[:min(n, end-o.Off)])
	case model.CrashCopyNT:
		if !variant {
			o.Off = crashLines[line]
		}
		o.Data = s.data(room[:min(crashCopies[s.Long%8], end-o.Off)])
	case model.CrashMsync:
		o.Off &^= 4095
		o.N = 4096
		if variant {
			o.Off, o.N = 0, crashSize
		}
	case model.CrashFence:
		o.Off = 0
	case model.CrashLook:
		if variant {
			o.Kind = model.CrashCheck
		}
		o.N = 1
	default:
		o.N = min(crashFlushes[s.Long%8], crashSize-o.Off)
	}
	return o
}

// data fills b: with one value, with small ones, with some words of one, or with zeroes and
// others.
func (s *crashStep) data(b []byte) []byte {
	v := s.Value >> 2
	for i := range b {
		switch s.Value % 4 {
		case 0:
			b[i] = 1 + v%2
		case 1:
			b[i] = byte(i) * v % 3
		case 2:
			b[i] = v >> (i / 8 % 6) & 1
		default:
			b[i] = v % 8
		}
	}
	return b
}

// crashInstance runs programs.
type crashInstance struct {
	subjects [len(crashSubjects)]crashSubject // those that were used
	refs     [len(crashSubjects)][2]*model.CrashMemory
	try      crashTry
}

func newCrashInstance() (Instance, error) {
	i := &crashInstance{}
	for n := range crashSubjects {
		s, err := crashSubjects[n].make()
		if err != nil {
			return nil, errors.Join(err, i.Close())
		}
		i.subjects[n] = s
		for possible := range i.refs[n] {
			c := s.config()
			c.Lines, c.Limit, c.Possible = crashLines, crashStates, possible == 1
			i.refs[n][possible] = model.NewCrashMemory(c)
		}
	}
	for n := range i.try.wants {
		for u := range i.try.wants[n].contents {
			i.try.wants[n].contents[u] = map[model.CrashContent]int{}
		}
	}
	return i, nil
}

// Close is Instance.Close.
func (i *crashInstance) Close() error {
	var errs []error
	for _, s := range i.subjects {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// Run is Instance.Run.
func (i *crashInstance) Run(input []byte) (bool, error) {
	t := &i.try
	rest := Decode(input, &t.in)
	t.steps = DecodeAll(rest, t.steps[:0], crashSteps)
	n := int(t.in.Subject) % len(crashSubjects)
	if i.subjects[n] == nil { // what went wrong before could be left in it
		s, err := crashSubjects[n].make()
		if err != nil {
			return false, err
		}
		i.subjects[n] = s
	}
	t.s, t.refs = i.subjects[n], i.refs[n]
	t.pages = t.refs[0].Rules == model.CrashPages
	t.plan()
	err := t.run()
	if err == nil {
		err = t.s.reset()
	}
	if err != nil {
		err = fmt.Errorf("on %s, after %s: %w", crashSubjects[n].name, t.words(), errors.Join(err, t.s.close()))
		i.subjects[n] = nil
	}
	return t.wants[1].count > 1, err
}

// crashTry is one input on its way.
type crashTry struct {
	in    crashInput
	steps []crashStep
	ops   []model.CrashOp
	rooms [crashSteps][128]byte
	s     crashSubject
	refs  [2]*model.CrashMemory // [1]: all that is possible
	pages bool                  // they are in the page cache
	wants [2]crashWant
	told  [crashSteps]crashVerdict // what a check in the program has to say
	order []int                    // room
}

// crashVerdict is whether something has to be durable.
type crashVerdict int

// What is durable for certain must be called so. What can be lost must not. Bytes that are
// written with what was there already are between.
const (
	crashEither crashVerdict = iota
	crashDurable
	crashAtRisk
)

// crashWant is what all states are: any mix of the contents of the units.
type crashWant struct {
	contents [4]map[model.CrashContent]int // of each unit, by number
	count    int                           // of states
}

// plan has the reference do the program, up to where there would be too many states.
func (t *crashTry) plan() {
	t.ops = t.ops[:0]
	for i := range t.steps {
		o := t.steps[i].op(&t.rooms[i])
		if t.pages && (o.Kind == model.CrashCLFlush || o.Kind == model.CrashPersist) {
			o.Kind, o.Off, o.N = model.CrashMsync, o.Off&^4095, 4096 // which do nothing there
		}
		if t.pages && o.Kind == model.CrashFlush {
			o.N = min(o.N, 4*cacheLine) // a long one that needs no instruction isn't looked at
		}
		if o.Kind == model.CrashCLFlush && !t.s.clflush() {
			o.Kind = model.CrashFlush
		}
		t.ops = append(t.ops, o)
	}
	for n := len(t.ops); ; {
		t.ops = t.ops[:n]
		at := n
		for k, ref := range t.refs {
			at = min(at, t.do(k, ref))
		}
		if at == n && t.wants[0].of(t.refs[0]) && t.wants[1].of(t.refs[1]) {
			return
		}
		n = min(at, n-1)
	}
}

// do has a reference do the program and look at all. It returns which operation was too
// much, or how many there are.
func (t *crashTry) do(k int, ref *model.CrashMemory) int {
	ref.Clear()
	for i := range t.ops {
		if !ref.Do(t.ops[i]) {
			return i
		}
		if t.ops[i].Kind == model.CrashCheck && k == 1 {
			t.told[i] = crashVerdictOf(ref, t.ops[i].Off, t.ops[i].N)
		}
	}
	if !ref.Do(model.CrashOp{Kind: model.CrashLook}) {
		return len(t.ops) - 1
	}
	return len(t.ops)
}

// of lists what ref wants, if that isn't too much.
func (w *crashWant) of(ref *model.CrashMemory) bool {
	w.count = 1
	for i := range ref.Units() {
		ref.Contents(i, w.contents[i])
		if w.count *= len(w.contents[i]); w.count > crashStates {
			return false
		}
	}
	return true
}

// crashVerdictOf is what ref says of the lines or sectors that hold [off, off+n).
func crashVerdictOf(ref *model.CrashMemory, off, n uint64) crashVerdict {
	block := uint64(cacheLine)
	if ref.Rules == model.CrashPages {
		block = 512
	}
	end := (off + n + block - 1) &^ (block - 1)
	off &^= block - 1
	v := crashDurable
	for i := range ref.Units() {
		first, lines := ref.LinesOf(i)
		if at := ref.Lines[first]; at >= end || at+uint64(lines)*cacheLine <= off {
			continue
		}
		if _, all := ref.Durable(i); !all {
			v = crashEither
			if ref.Loses(i) {
				return crashAtRisk
			}
		}
	}
	return v
}
