package fuzz

import (
	"fmt"
	"slices"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// SetStepKind is what a program has done with sets.
type SetStepKind int

// The steps. In brackets, which fields of a SetStep they take besides Set.
const (
	SetMaps        SetStepKind = iota // (Way, File, Size, Offset, Length, At, Until, Answer)
	SetCoalesces                      // (Length: the mode)
	SetRemoves                        // (Addr, Length)
	SetHolds                          // (Addr: of the part map, Handle: its number)
	SetDrops                          // (Handle)
	SetRemovesPart                    // (Handle)
	SetLooksUp                        // (Addr)
	SetDeletes                        // ()
	SetMapsForeign                    // (Offset in the reservation, Length): a map of the program's own
)

// SetStep is one of them, with the addresses of the program.
type SetStep struct {
	Kind           SetStepKind
	Set            int // 0 or 1
	Way            model.Way
	File           SetFile
	Size           uint64 // of the file, before
	Offset, Length uint64
	At, Until      uint64 // where the part map lies, if there is one then
	Answer         SetAnswer
	Addr           uint64
	Handle         int
}

// SetFile is a source of the target Set.
type SetFile int

// The sources.
const (
	SetPageFile SetFile = iota
	SetDAXFile
	SetFlaggedFile // not to grow
	SetTemporaryFile
	SetPMem2File
	SetReadOnlyFile
	SetDeviceDAX
	SetTemporaryPageFile
)

// SetAnswer is what the kernel answers to a map call instead of doing what it is asked.
type SetAnswer int

// The answers.
const (
	SetDone           SetAnswer = 0
	SetNoFallocate    SetAnswer = 12
	SetDiskFull       SetAnswer = 13
	SetMmapRefused    SetAnswer = 14
	SetMremapRefused  SetAnswer = 15
	setAnswersAskedBy           = 15 // a distance of a number that is none and asks for an answer
)

// SetProgram is a sequence of steps, and what it begins with.
type SetProgram struct {
	Sets        int // 1 or 2
	Reservation uint64
	Granularity pmem2.Granularity // that is required
	Listens     bool
	Steps       []SetStep
}

// SetSeed is the input of the target Set for the first steps of a program: what of them the
// target can do, with sources of its own.
func SetSeed(p SetProgram) (input []byte, err error) {
	m, err := newSetMachine()
	if err != nil {
		return nil, err
	}
	s := setSeeder{p: p, handles: map[int]int{}}
	s.t.reset(m)
	err = s.run()
	if err != nil {
		err = fmt.Errorf("%s: %w", s.t.words(), err)
		s.t.abandon()
	}
	if end := m.close(); err == nil {
		err = end
	}
	return EncodeAll(Encode(nil, &s.world), s.ops), err
}

// setSeeder does the steps of a program, and knows what is what there.
type setSeeder struct {
	p       SetProgram
	t       setTry
	world   setWorld
	ops     []setOp
	handles map[int]int  // by the program's numbers
	places  []spacePlace // of pieces
}

func (s *setSeeder) run() error {
	w := &s.world
	*w = setWorld{Required: 1, Sets: 1, Behind: 7, Tags: 1}
	if s.p.Granularity == pmem2.GranularityCacheLine {
		w.Required = 0
	}
	if s.p.Sets > 1 {
		w.Sets = 0
	}
	if s.p.Listens {
		w.Listens = 1
	}
	const page = 4096
	if n := s.p.Reservation; n > 0 {
		w.Reserve = 3
		w.Room = Number{Anchor: 2, Raw: min((n+page-1)/page, 64) - 1}
		if n > 64*page {
			w.Room = Number{Anchor: 0, Raw: min((n+2*mib-1)/(2*mib), 8) - 1}
		}
	}
	sized := map[SetFile]bool{}
	for _, st := range s.p.Steps {
		if st.Kind == SetMaps && !sized[st.File] {
			sized[st.File] = true
			w.Sizes[st.File] = nearestSize(st.Size)
		}
	}
	if err := s.t.begin(w); err != nil {
		return err
	}
	for i := range s.p.Steps {
		st := &s.p.Steps[i]
		if st.Kind == SetMaps {
			if err := s.resize(st); err != nil {
				return err
			}
		}
		if len(s.ops) == maxSetOps {
			break
		}
		if err := s.step(st); err != nil {
			return err
		}
	}
	return s.t.end()
}

// nearestSize is the place in setSizes of the one that is nearest.
func nearestSize(n uint64) byte {
	best := 0
	for i, size := range setSizes {
		if max(size, n)-min(size, n) < max(setSizes[best], n)-min(setSizes[best], n) {
			best = i
		}
	}
	return byte(best)
}

// do does an operation.
func (s *setSeeder) do(op setOp) error {
	if len(s.ops) == maxSetOps {
		return nil
	}
	s.ops = append(s.ops, op)
	if err := s.t.step(&op); err != nil {
		return err
	}
	return s.t.check()
}

// resize gives the file of a step the size that the program's had.
func (s *setSeeder) resize(st *SetStep) error {
	_, m, err := s.t.source(int(st.File))
	if err != nil || m.Device || m.Size == st.Size || st.Size > setLargestFile {
		return err
	}
	return s.do(setOp{Kind: setKind(setResize), Pick: byte(st.File), A: Exactly(st.Size)})
}

// setKind is the byte of a kind of operation.
func setKind(k byte) byte { return byte(slices.Index(setKinds[:], k)) }

func (s *setSeeder) step(st *SetStep) error {
	op := setOp{Set: byte(st.Set)}
	set := s.t.space.Sets[st.Set%len(s.t.space.Sets)]
	switch st.Kind {
	case SetMaps:
		return s.maps(st, op)
	case SetCoalesces:
		op.Kind, op.How = setKind(setCoalescing), byte(st.Length)
		if st.Length > uint64(pmemset.CoalescingFull) {
			op.How, op.A = 15, Exactly(st.Length)
		}
		return s.do(op)
	case SetRemoves, SetLooksUp:
		op.Kind = setKind(setLookUp)
		if st.Kind == SetRemoves {
			op.Kind, op.B = setKind(setRemoveRange), Exactly(st.Length)
		}
		if !s.place(&op, set, st.Addr) {
			return nil
		}
		return s.do(op)
	case SetHolds:
		at, ok := s.address(st.Addr)
		n := slices.IndexFunc(set.Parts, func(p *model.SetPart) bool {
			e := p.Extent()
			return ok && at-e.Start < e.Size
		})
		if n < 0 || len(s.ops) == maxSetOps {
			return nil
		}
		s.handles[st.Handle] = len(s.t.handles)
		op.Kind, op.Pick = setKind(setHold), byte(n)
		return s.do(op)
	case SetDrops, SetRemovesPart:
		n, ok := s.handles[st.Handle]
		if !ok {
			return nil
		}
		op.Kind, op.Pick, op.How = setKind(setDrop), byte(n), 1
		if st.Kind == SetRemovesPart {
			op.Kind, op.How = setKind(setRemovePart), 0
		}
		return s.do(op)
	case SetDeletes:
		op.Kind = setKind(setDelete)
		return s.do(op)
	case SetMapsForeign:
		page := s.t.space.Page
		if s.p.Reservation == 0 || st.Offset%page != 0 {
			return nil
		}
		op.Kind, op.How, op.A, op.B = setKind(setForeign), 1, Exactly(st.Offset/page), Exactly(max(1, (st.Length+page-1)/page)-1)
		return s.do(op)
	}
	return nil
}

// maps is a map call.
func (s *setSeeder) maps(st *SetStep, op setOp) error {
	op.Pick = byte(slices.Index(setPicks[:], int(st.File)))
	op.How = byte(slices.Index(setWays[:], st.Way)) << 2
	op.A, op.B = Exactly(st.Offset), Exactly(st.Length)
	if st.Answer != SetDone {
		op.How |= byte(st.Answer) << 4
		op.A.Delta = setAnswersAskedBy
	}
	mapped := s.t.mapped
	if err := s.do(op); err != nil || s.t.mapped == mapped {
		return err
	}
	set := s.t.space.Sets[st.Set%len(s.t.space.Sets)]
	piece := set.Previous.Pieces[len(set.Previous.Pieces)-1]
	if st.Until > st.At {
		s.places = append(s.places, spacePlace{model.Extent{Start: st.Until - piece.Size, Size: piece.Size}, piece.Start, false})
	}
	return nil
}

// address is one of the program's in the instance, if it is beside something.
func (s *setSeeder) address(v uint64) (at uint64, ok bool) {
	best := uint64(64 * mib)
	for _, p := range slices.Backward(s.places) {
		if d := p.distance(v); d < best {
			best, at, ok = d, p.at+v-p.program.Start, true
		}
	}
	return at, ok
}

// place makes an operation be about an address. It counts from a piece, so that it doesn't
// depend on the instance.
func (s *setSeeder) place(op *setOp, set *model.PartSet, v uint64) bool {
	at, ok := s.address(v)
	if !ok {
		op.How, op.A = 31, Exactly(v)
		return v < s.t.space.Page || v >= 1<<63
	}
	n, best := 0, ^uint64(0)
	for _, p := range set.Parts {
		for _, q := range p.Pieces {
			d := max(at, q.Start) - min(at, q.Start)
			if n < 64 && d < best {
				best, op.Pick, op.A = d, byte(n), Exactly(at-q.Start)
			}
			n++
		}
	}
	if n == 0 {
		start := s.t.space.Reservation.Start
		op.A = Exactly(at - start)
		return start != 0
	}
	return true
}
