package fuzz

import (
	"slices"

	"pmemlab/fuzz/model"
)

// SpaceStep is a step that a program has done, in the program's terms: what it has made is
// named by the order in which it was, and where it lies by its own addresses.
type SpaceStep struct {
	model.Step // Offset is an address where a Step's is one
	// Made says that a reservation or a map was made, of Size bytes at At. A reservation that
	// is to be extended lies there.
	Made     bool
	At, Size uint64
}

// ReservationSeed is the input of the target Reservation for the first of steps: what of them
// the target can do, at addresses of its own. done is how many steps it has taken account of:
// the others don't fit into an input.
func ReservationSeed(steps []SpaceStep) (input []byte, done int, err error) {
	i, err := newReservationInstance()
	if err != nil {
		return nil, 0, err
	}
	return spaceSeed(i.(*spaceInstance), reservationOpFor, reservationOpSize, steps)
}

// ExistingSeed is the same for the target Existing.
func ExistingSeed(steps []SpaceStep) (input []byte, done int, err error) {
	i, err := newExistingInstance()
	if err != nil {
		return nil, 0, err
	}
	topHalf.Lock()
	defer topHalf.Unlock()
	return spaceSeed(i.(existingInstance).spaceInstance, existingOpFor, existingOpSize, steps)
}

// spaceSeeder does the steps of a program on an instance, and knows what is what there.
type spaceSeeder struct {
	i            *spaceInstance
	reservations []int // those of the program, by their place in the model; -1: not made
	maps         []int
	places       []spacePlace
	strangers    int // places for what nothing lay beside
}

// spacePlace is where something lies in the program's address space, and in the instance's.
type spacePlace struct {
	program model.Extent
	at      uint64
	// picked says that it lies where the kernel likes: what is beside it is so by luck.
	picked bool
}

func spaceSeed(i *spaceInstance, encode func(*model.Space, model.Step) []byte, opSize int, steps []SpaceStep) (input []byte, done int, err error) {
	defer func() {
		if end := i.Close(); err == nil {
			err = end
		}
	}()
	i.begin()
	s := &spaceSeeder{i: i}
	for _, st := range steps {
		if len(input) == maxReservationOps*opSize {
			break
		}
		done++
		step, ok := s.translate(st)
		var op []byte
		if ok {
			op = encode(&i.space, step)
		}
		made := -1
		if op != nil {
			reservations, maps := len(i.reservations), len(i.maps)
			if err := i.try(step); err != nil {
				return nil, done, err
			}
			input = append(input, op...)
			switch {
			case len(i.reservations) > reservations:
				made = reservations
				s.places = append(s.places, spacePlace{model.Extent{Start: st.At, Size: st.Size}, i.space.Reservations[made].Start, false})
			case len(i.maps) > maps:
				made = maps
				s.places = append(s.places, spacePlace{model.Extent{Start: st.At, Size: st.Size}, i.space.Maps[made].Start, st.Kind != model.MapExisting})
			}
		}
		switch {
		case !st.Made:
		case st.Kind == model.NewReservation:
			s.reservations = append(s.reservations, made)
		default:
			s.maps = append(s.maps, made)
		}
	}
	return input, done, i.end()
}

// translate is a step in the instance's terms.
func (s *spaceSeeder) translate(st SpaceStep) (step model.Step, ok bool) {
	step = st.Step
	find := func(n int, of []int) int {
		if n < 0 {
			return -1
		}
		if n >= len(of) || of[n] < 0 {
			ok = false
			return -1
		}
		return of[n]
	}
	ok = true
	switch step.Kind {
	case model.MapExisting, model.NewReservation:
		if step.Offset != 0 {
			step.Offset = s.address(step.Offset)
			step.Length = wrapped(step.Length, st.Offset, step.Offset)
		}
		step.Reservation, step.Map = -1, -1
	case model.Extend:
		if step.Reservation = find(step.Reservation, s.reservations); step.Reservation >= 0 {
			r := s.i.space.Reservations[step.Reservation]
			step.Length = wrapped(step.Length, st.At+st.Size, r.Start+r.Size)
		}
	case model.DeleteMap:
		step.Map = find(step.Map, s.maps)
	case model.FindNext, model.FindPrev:
		step.Map = find(step.Map, s.maps)
		step.Reservation = find(step.Reservation, s.reservations)
	default:
		step.Reservation = find(step.Reservation, s.reservations)
	}
	return step, ok
}

// address is one of the program's in the instance: as far from what lies beside it as it is
// there. What nothing lies beside gets a place in the arena, unless it is an address that no
// program has anything at: where the kernel has put it is luck.
func (s *spaceSeeder) address(v uint64) uint64 {
	const beside = 1 << 12
	space := &s.i.space
	if v < space.Page || v >= endOfAddresses {
		return v
	}
	best, at := uint64(beside+1), uint64(0)
	for _, p := range s.places {
		if d := p.distance(v); d < best && (!p.picked || d == 0 && v != p.program.Start+p.program.Size || v%space.Page != 0) {
			best, at = d, p.at+v-p.program.Start
		}
	}
	if best <= beside {
		return at
	}
	s.strangers++
	at = space.Lo + uint64(s.strangers)<<28 + v%space.Page
	s.places = append(s.places, spacePlace{model.Extent{Start: v, Size: 1}, at, false})
	return at
}

// wrapped is a length from one address on, from another: if it reaches about the end of all
// addresses it is to do so, too.
func wrapped(n, from, to uint64) uint64 {
	page := uint64(4096)
	end := from + n
	switch {
	case n < 1<<47 || end+mib > 2*mib:
		return tidy(n)
	case end >= 1<<63 && end != ^uint64(0):
		return -page - to
	case end > 1 && end < 1<<63:
		return page - to
	}
	return end - to
}

// tidy is a number without luck: a large one that isn't about a power of two comes from an
// address, and becomes another one of that kind.
func tidy(n uint64) uint64 {
	if n < 1<<40 || -n < 1<<40 {
		return n
	}
	for k := 40; k < 64; k++ {
		if p := uint64(1) << k; n-p+mib <= 2*mib {
			return n
		}
	}
	return 1 << 46
}

// lengthFrom is the number of a length from an address on, which isn't to depend on where
// the arena lies.
func lengthFrom(n, from uint64) Number {
	for d := range byte(5) {
		if v := (Number{Anchor: fromTheEnd, Delta: d}); n >= 1<<47 && v.In(Around{Page: 4096, Other: from}) == n {
			return v
		}
	}
	return Exactly(n)
}

// fromTheEnd is the place in anchors of what reaches to the end of all addresses.
const fromTheEnd = 7

// distance is how far an address is from what lies in a place.
func (p spacePlace) distance(v uint64) uint64 {
	switch start, end := p.program.Start, p.program.Start+p.program.Size; {
	case v < start:
		return start - v
	case v > end:
		return v - end
	}
	return 0
}

// reservationOpFor is the bytes of an operation that does a step in a state, or nil.
func reservationOpFor(s *model.Space, st model.Step) []byte {
	kind := byte(slices.Index(reservationSteps[:], st.Kind))
	if st.Kind == model.MapExisting && len(s.Reservations) == 0 {
		return nil
	}
	for _, high := range []uint64{s.Lo, 0} { // an address counts from here
		op := ReservationOp{Kind: kind, A: Exactly(st.Offset), B: lengthFrom(st.Length, st.Offset)}
		switch st.Kind {
		case model.NewReservation, model.MapExisting:
			op.A = Exactly(st.Offset - high)
		case model.Extend:
			r := s.Reservations[max(st.Reservation, 0)]
			op.A = lengthFrom(st.Length, r.Start+r.Size)
			op.B = Number{}
		}
		for r := range 256 {
			op.Reservation = byte(r)
			if got := op.Step(s); usesReservation(st.Kind) && got.Reservation != st.Reservation {
				continue
			}
			for m := range 256 {
				op.Map = byte(m)
				if sameStep(op.Step(s), st) {
					return Encode(nil, &op)
				}
			}
			break
		}
	}
	return nil
}

// existingOpFor is the bytes of an operation of the target Existing that does a step in a
// state, or nil.
func existingOpFor(s *model.Space, st model.Step) []byte {
	op := ExistingOp{Length: lengthFrom(st.Length, st.Offset)}
	switch st.Kind {
	case model.MapExisting:
		op.Granularity = byte(st.Granularity)
	case model.DeleteMap:
		op.Kind = 5
	case model.MapAnonymous:
		op.Kind = 7
		st.Reservation, st.Offset = -1, 0
	default:
		return nil
	}
	if st.Granularity < 0 || st.Granularity > 2 { // its number is that of the address, too
		op.Granularity, op.Addr = 252, Exactly(uint64(st.Granularity))
		return Encode(nil, &op)
	}
	if st.Kind != model.MapExisting {
		st.Offset = s.Lo
	}
	for _, from := range [][2]uint64{{0, st.Offset - s.Lo}, {5, -st.Offset}, {7, st.Offset}} {
		op.Base, op.Addr = byte(from[0]), Exactly(from[1])
		for m := range 256 {
			op.Map = byte(m)
			if sameStep(op.Step(s), st) {
				return Encode(nil, &op)
			}
		}
	}
	return nil
}

// usesReservation says whether a step of a kind is about a reservation.
func usesReservation(k model.StepKind) bool {
	return k != model.NewReservation && k != model.MapExisting && k != model.DeleteMap
}

// sameStep compares what steps of their kind have.
func sameStep(a, b model.Step) bool {
	if a.Kind != b.Kind || usesReservation(a.Kind) && a.Reservation != b.Reservation {
		return false
	}
	switch a.Kind {
	case model.DeleteReservation, model.FindFirst, model.FindLast:
		return true
	case model.DeleteMap, model.FindNext, model.FindPrev:
		return a.Map == b.Map
	case model.Extend:
		return a.Length == b.Length
	case model.MapExisting:
		return a.Offset == b.Offset && a.Length == b.Length && a.Granularity == b.Granularity
	}
	return a.Offset == b.Offset && a.Length == b.Length
}
