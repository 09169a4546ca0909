package fuzz

import (
	"slices"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// ReservationOp is one operation of an input of the target Reservation. What its numbers are
// near depends on the state that it finds: see Step.
type ReservationOp struct {
	Kind        byte // of reservationSteps
	Reservation byte // which one: see pick
	Map         byte // which one: see pick; else how an address is meant
	A, B        Number
}

// Layout is how it lies in bytes.
func (op *ReservationOp) Layout(c *Codec) {
	c.Byte(&op.Kind)
	c.Byte(&op.Reservation)
	c.Byte(&op.Map)
	c.Number(&op.A)
	c.Number(&op.B)
}

const (
	reservationOpSize = 3 + 2*NumberBytes
	// maxReservationOps is how many operations an input has at most.
	maxReservationOps = 16
	// deviceAlign is the alignment of the device DAX that is mapped.
	deviceAlign, deviceSize = 2 << 20, 16 << 20
)

// ReservationOps are the operations of an input.
func ReservationOps(input []byte) []ReservationOp {
	return DecodeAll(input, make([]ReservationOp, 0, maxReservationOps), maxReservationOps)
}

// reservationSteps are what operations do, by their remainder.
var reservationSteps = [...]model.StepKind{
	model.NewReservation, model.MapAnonymous, model.NewReservation, model.MapAnonymous, model.MapAnonymous,
	model.Extend, model.Shrink, model.DeleteMap, model.MapDevice, model.FindMap, model.FindFree, model.FindMap,
	model.MapAnonymous, model.MapDevice, model.FindFirst, model.FindLast, model.FindNext, model.FindPrev,
	model.PrepareDelete, model.CommitDelete, model.MapExisting, model.Occupy, model.Extend, model.Shrink,
	model.DeleteMap, model.DeleteReservation, model.NewReservation, model.PrepareDelete, model.CancelDelete,
	model.Vacate, model.FindFree, model.MapAnonymous,
}

// Where some stand among them; FindPrev is behind FindNext.
const mapStep, findFreeStep, findNextStep, existingStep = 1, 10, 16, 20

// pickGone and what is above picks a map in a reservation among those that have been deleted.
const pickGone = 200

// pick picks one of n by a byte: mostly one that is live, now and then any that was ever
// made, or -1, which is a nil one.
func pick(b byte, n int, live func(int) bool) int {
	if n == 0 || b >= 250 {
		return -1
	}
	if b >= 240 {
		return int(b) % n
	}
	count := 0
	for i := range n {
		if live(i) {
			count++
		}
	}
	if count == 0 {
		return int(b) % n
	}
	nth := int(b) % count
	for i := range n {
		if live(i) {
			if nth == 0 {
				return i
			}
			nth--
		}
	}
	return -1
}

// Step is what the operation does in a state: its numbers worked out.
func (op *ReservationOp) Step(s *model.Space) model.Step {
	st := model.Step{
		Kind:        reservationSteps[int(op.Kind)%len(reservationSteps)],
		Reservation: pick(op.Reservation, len(s.Reservations), func(i int) bool { return !s.Reservations[i].Deleted }),
		Map:         pick(op.Map, len(s.Maps), func(i int) bool { return !s.Maps[i].Deleted }),
	}
	if len(s.Reservations) == 0 && op.Kind%4 != 0 {
		st.Kind = model.NewReservation // else there is nothing to do anything with
	}
	switch st.Kind {
	case model.FindNext, model.FindPrev, model.PrepareDelete:
		if op.Map < 240 { // of the same reservation
			st.Map = op.mapIn(s, &st)
		}
		if st.Kind == model.PrepareDelete && s.Prepared != nil && !s.Prepared.Ended {
			st.Kind = model.CommitDelete
		}
	}
	switch st.Kind {
	case model.NewReservation:
		op.newReservation(s, &st)
	case model.MapExisting, model.Occupy:
		st.Offset, st.Granularity = op.address(s, &st), pmem2.GranularityPage
		st.Length = op.B.In(op.beside(s, &st))
		if st.Kind == model.Occupy {
			op.whole(s, &st)
			break
		}
		if st.Offset != 0 && (st.Offset < s.Lo || st.Offset >= s.Hi) {
			st.Offset = s.Lo + (st.Offset-s.Lo)%(s.Hi-s.Lo)
		}
		st.Length = op.B.In(op.beside(s, &st))
		endInArena(s, &st, op.B.Raw)
	case model.Vacate:
		if len(s.Others) == 0 {
			return model.Step{}
		}
		o := s.Others[int(op.Map)%len(s.Others)]
		st.Offset, st.Length = o.Start, o.Size
	case model.PrepareDelete:
		op.several(s, &st)
	case model.FindFree:
		st.Length = op.A.In(op.within(s, &st))
		st.Align = 1 << (op.B.Raw % 22)
		if op.B.Anchor%4 == 0 {
			st.Align = 1 << (op.B.Raw % 64)
		}
	default:
		around := op.within(s, &st)
		if st.Kind == model.Extend {
			around.Other, around.Size = op.reservation(s, &st).Start+op.reservation(s, &st).Size, 64*s.Page
			around.Room = s.Behind(around.Other) // what is left up to what lies behind
			st.Length = op.A.In(around)
			break
		}
		st.Offset = op.A.In(around)
		around.Other = st.Offset
		around.Room = op.mapOffset(s, &st, false)
		st.Length = op.B.In(around)
	}
	return st
}

// newReservation works the address and the size of a new reservation out.
func (op *ReservationOp) newReservation(s *model.Space, st *model.Step) {
	around := Around{Page: s.Page, Align: s.Page, Size: 32 * s.Page, Room: 1 << 30}
	if op.Reservation%2 == 0 {
		around.Align, around.Size = deviceAlign, 12*deviceAlign
	}
	if op.Map%4 != 0 { // else the kernel picks the address
		st.Offset = op.address(s, st)
		around.Other = st.Offset
		around.Room = st.Offset + s.Behind(st.Offset)
	}
	st.Length = op.B.In(around)
}

// address is one near a reservation, or anywhere.
func (op *ReservationOp) address(s *model.Space, st *model.Step) uint64 {
	around := Around{Page: s.Page, Align: 16 * s.Page, Size: 256 * s.Page}
	if op.Map&16 != 0 {
		around.Align, around.Size = deviceAlign, 64*deviceAlign
	}
	if r := op.reservation(s, st); r.Size > 0 {
		around.Size, around.Room = r.Start+r.Size-s.Lo, r.Start-s.Lo
		if st.Map >= 0 && op.Map&32 != 0 {
			m := s.Maps[st.Map]
			around.Size, around.Room = m.Start+m.Extent.Size-s.Lo, m.Start-s.Lo
		}
	}
	switch {
	case op.Map&64 == 0:
		return s.Lo + op.A.In(around)
	case op.Map&128 == 0:
		// Beside the end of the one picked, or at a multiple behind it.
		around.Size, around.Room, around.Other = around.Align*4, 0, 0
		r := op.reservation(s, st)
		return max(r.Start+r.Size, s.Lo) + op.A.In(around)
	case op.Map&8 == 0, st.Kind == model.MapExisting:
		return s.Lo + op.A.In(around)
	}
	return op.A.In(around)
}

// beside is what the length of a range at st.Offset may matter beside.
func (op *ReservationOp) beside(s *model.Space, st *model.Step) Around {
	return Around{Page: s.Page, Size: st.Offset + 16*s.Page, Other: st.Offset, Room: st.Offset + s.Behind(st.Offset)}
}

// whole makes a range one that the program can map, or else the step nothing.
func (op *ReservationOp) whole(s *model.Space, st *model.Step) {
	st.Offset, st.Length = st.Offset&^(s.Page-1), max(st.Length%(64*s.Page)&^(s.Page-1), s.Page)
	if st.Offset < s.Lo || st.Offset > s.Hi || s.Behind(st.Offset) < st.Length {
		*st = model.Step{}
	}
}

func (op *ReservationOp) reservation(s *model.Space, st *model.Step) model.Extent {
	if st.Reservation < 0 {
		return model.Extent{}
	}
	return s.Reservations[st.Reservation].Extent
}

// within is what an offset in a reservation, or a length there, may matter beside.
func (op *ReservationOp) within(s *model.Space, st *model.Step) Around {
	around := Around{Page: s.Page, Size: op.reservation(s, st).Size, Room: op.mapOffset(s, st, true)}
	if st.Kind == model.MapDevice {
		around.Align = deviceAlign
	}
	return around
}

// mapIn is a map in the reservation, now and then one that has been deleted, or any, or -1.
func (op *ReservationOp) mapIn(s *model.Space, st *model.Step) int {
	gone := op.Map >= pickGone
	return pick(op.Map%pickGone, len(s.Maps), func(i int) bool { return s.Maps[i].Deleted == gone && s.Maps[i].In == st.Reservation })
}

// mapOffset is the offset in the reservation of where the map picked starts or ends. Without a
// map it is the end.
func (op *ReservationOp) mapOffset(s *model.Space, st *model.Step, end bool) uint64 {
	m := op.mapIn(s, st)
	if m < 0 {
		return op.reservation(s, st).Size
	}
	at := s.Maps[m].Start - op.reservation(s, st).Start
	if end && !s.Maps[m].Deleted { // else where it was
		at += s.Maps[m].Extent.Size
	}
	return at
}

// several picks maps: a run from the one picked on, mostly side by side, or any.
func (op *ReservationOp) several(s *model.Space, st *model.Step) {
	st.Maps = make([]int, 0, 4)
	n := int(op.A.Raw % 8)
	if n == 0 || st.Map < 0 || s.Maps[st.Map].Deleted || op.A.Delta%8 == 7 {
		for i := range n % 4 {
			st.Maps = append(st.Maps, pick(byte(op.B.Raw>>(8*i)), len(s.Maps), func(i int) bool { return !s.Maps[i].Deleted }))
		}
		return
	}
	for m := st.Map; m >= 0 && len(st.Maps) < n; {
		st.Maps = append(st.Maps, m)
		end := s.Maps[m].Start + s.Maps[m].Extent.Size
		m = slices.IndexFunc(s.Maps, func(o model.SpaceMap) bool {
			return !o.Deleted && (o.Start == end || o.Start > end && op.A.Delta%8 > 4)
		})
	}
}
