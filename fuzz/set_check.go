package fuzz

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// check compares all that can be seen after an operation.
func (t *setTry) check() error {
	if t.misheard != nil {
		return t.misheard
	}
	if t.listens && !slices.Equal(t.heard, t.wanted) {
		return fmt.Errorf("events: got %x, want %x", t.heard, t.wanted)
	}
	for i, s := range t.sets {
		m := t.space.Sets[i]
		if err := t.lists(s, m); err != nil {
			return err
		}
		want, result := m.Granularity()
		got, err := s.StoreGranularity()
		if err := ends("StoreGranularity", err, result); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("StoreGranularity: got %v, want %v", got, want)
		}
	}
	return t.maps()
}

// lists goes through the part maps of a set.
func (t *setTry) lists(s *pmemset.Set, m *model.PartSet) error {
	n := 0
	for p := s.FirstPartMap(); p != nil; n++ {
		d := p.Descriptor()
		next := s.NextPartMap(p)
		p.Drop()
		p.Drop() // does nothing any more
		p = next
		if n >= len(m.Parts) {
			next.Drop()
			return fmt.Errorf("part map %d: got %d bytes at %#x, want none", n, d.Size, d.Addr)
		}
		if err := t.describes("part map", d, m.Parts[n].Extent()); err != nil {
			next.Drop()
			return err
		}
	}
	if n < len(m.Parts) {
		e := m.Parts[n].Extent()
		return fmt.Errorf("part map %d: got none, want %d bytes at %#x", n, e.Size, e.Start)
	}
	return nil
}

// maps holds what is mapped against the pieces of the model, and what is reserved.
func (t *setTry) maps() error {
	t.pieces = t.pieces[:0]
	least, most := t.space.Reservation.Size, t.space.Reservation.Size
	for _, s := range t.space.Sets {
		for _, p := range s.Parts {
			t.pieces = append(t.pieces, p.Pieces...)
		}
		l, m := s.Reserved()
		least += l
		most += m
	}
	for _, e := range t.space.Foreign {
		t.pieces = append(t.pieces, model.SetPiece{Extent: e})
	}
	slices.SortFunc(t.pieces, func(a, b model.SetPiece) int { return cmp.Compare(a.Start, b.Start) })
	held, n := uint64(0), 0
	for e := range t.m.mappings.All() {
		held += e.Len
		if !e.Value.used {
			continue
		}
		if n == len(t.pieces) {
			return fmt.Errorf("%d bytes are mapped at %#x, where no part is", e.Len, e.Addr)
		}
		want := t.pieces[n]
		fd := -1
		if want.Source != nil {
			fd = t.m.sources[t.index(want.Source)].mapper
		}
		if uint64(e.Addr) != want.Start || e.Len != want.Size || e.Value.fd != fd || e.Value.offset != want.Offset {
			return fmt.Errorf("mapped: got %d bytes at %#x from offset %d of descriptor %d, want %d at %#x from %d of %d",
				e.Len, e.Addr, e.Value.offset, e.Value.fd, want.Size, want.Start, want.Offset, fd)
		}
		n++
	}
	switch {
	case n < len(t.pieces):
		return fmt.Errorf("%d bytes at %#x aren't mapped", t.pieces[n].Size, t.pieces[n].Start)
	case held < least || held > most:
		return fmt.Errorf("%d bytes of the address space are taken, want %d to %d", held, least, most)
	}
	return nil
}

// hear is the callback. The part map that an event is about can be looked up, or can't be any
// more.
func (t *setTry) hear(s *pmemset.Set, e *pmemset.Event) error {
	t.heard = append(t.heard, model.SetEvent{Type: e.Type, Extent: model.Extent{Start: uint64(e.Addr), Size: e.Len}})
	if e.Type != pmemset.EventPartAdd && e.Type != pmemset.EventPartRemove {
		return nil
	}
	p, err := s.PartMapByAddress(e.Addr)
	if there := e.Type == pmemset.EventPartAdd; there != (err == nil) {
		t.misheard = fmt.Errorf("at %v of %d bytes at %#x: %w", e.Type, e.Len, e.Addr, err)
	}
	p.Drop()
	return nil
}

// end takes everything away; nothing must be left. References that are held don't matter.
func (t *setTry) end() error {
	t.said(setStep{what: setEnds})
	if t.tags {
		if err := t.maps(); err != nil {
			return err
		}
		if err := t.tag(); err != nil {
			return err
		}
	}
	if t.reservation != nil && slices.ContainsFunc(t.space.Sets, func(s *model.PartSet) bool { return s.Configured && len(s.Parts) > 0 }) {
		if err := t.reservation.Delete(); model.Of(err) != model.Fails(pmem2.ErrVMReservationNotEmpty) {
			return fmt.Errorf("deleting the reservation with parts in it: %w", err)
		}
	}
	for _, f := range t.foreign {
		if err := f.Delete(); err != nil {
			return err
		}
	}
	t.foreign = t.foreign[:0]
	t.heard = t.heard[:0]
	for i, s := range t.sets {
		if err := s.Delete(); err != nil {
			return err
		}
		t.space.Sets[i] = &model.PartSet{Space: &t.space}
	}
	if len(t.heard) > 0 {
		return fmt.Errorf("events of Delete: %x", t.heard)
	}
	for i, used := range t.used {
		if used {
			if err := t.hasSize(i); err != nil {
				return err
			}
		}
	}
	if t.reservation != nil {
		r := t.space.Reservation
		d := pmemset.PartDescriptor{Addr: t.reservation.Address(), Size: t.reservation.Size()}
		if err := errors.Join(t.describes("the reservation", d, r), t.reservation.Delete()); err != nil {
			return err
		}
		t.reservation = nil
	}
	if t.m.mappings.Len() > 0 {
		for e := range t.m.mappings.All() {
			return fmt.Errorf("%d bytes at %#x stay mapped", e.Len, e.Addr)
		}
	}
	return t.m.leftovers()
}

// abandon takes away what it can after a failure.
func (t *setTry) abandon() {
	m := t.m
	m.answers, m.full = answers{}, 0
	for _, f := range t.foreign {
		_ = f.Delete()
	}
	for _, s := range t.sets {
		_ = s.Delete()
	}
	if t.reservation != nil {
		_ = t.reservation.Delete()
	}
	for e := range m.mappings.All() {
		_ = m.emulated.Munmap(e.Addr, e.Len)
	}
	m.mappings.Remove(0, 1<<64-1)
	m.held = 0
	for _, s := range m.sources { // whatever has become of it
		s.size = 1<<64 - 1
	}
}
