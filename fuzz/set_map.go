package fuzz

import (
	"errors"
	"fmt"
	"syscall"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setPicks are the sources that the remainder of a byte picks: mostly such that go together.
var setPicks = [32]int{1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 1, 1, 6, 6, 6, 0, 0, 0, 7, 7, 5}

// setWays are the ways to map that two bits pick.
var setWays = [4]model.Way{model.BySet, model.ByConfig, model.BySet, model.ByPart}

// setDeltaFull in the distance of the offset asks for FULL from this part on.
const setDeltaFull = 5

// mapPart maps a part in one of the three ways.
func (t *setTry) mapPart(i int, op *setOp) error {
	n := setPicks[op.Pick%32]
	s, src, err := t.source(n)
	if err != nil {
		return err
	}
	q := model.SetMap{Way: setWays[op.How>>2%4], Source: src}
	t.numbers(i, op, &q)
	if op.How%4 == 1 && op.How>>2%4 == 3 {
		q.Offset, q.Length = 0, 0
	}
	var how byte
	switch op.A.Delta % 8 {
	case 7:
		how = 12 + op.How>>4%4
	case setDeltaFull, 6: // a mode of coalescing for this one and those behind it
		if err := t.coalescing(i, &setOp{How: op.A.Delta % 8 % 3}); err != nil {
			return err
		}
	}
	t.said(setStep{what: setMap, set: i, source: n, at: q.Offset, n: q.Length, how: uint64(q.Way), answer: how})
	m, set := t.m, t.space.Sets[i]
	if q.Way != model.ByPart && model.SetMapOffset(q.Offset) != model.SetOK {
		return ends("SetOffset", pmemset.NewMapConfig(t.sets[i]).SetOffset(q.Offset), model.SetMapOffset(q.Offset))
	}
	descriptors := m.open
	m.begin(t.answer(how, &q))
	d, err := t.mapSource(i, s, &q)
	m.answers, m.full = answers{}, 0
	want := set.Map(q)
	s.size = want.Size
	if err := ends("mapping", err, want.Result); err != nil {
		return err
	}
	if m.open != descriptors {
		return fmt.Errorf("%d descriptors stay open", m.open-descriptors)
	}
	if want.Result != model.SetOK {
		s.size = src.Size
		return errors.Join(t.describes("a call that fails", d, model.Extent{}), t.hasSize(n))
	}
	t.mapped++
	at := uint64(d.Addr) + d.Size - want.Length
	if want.Addr != 0 && at != want.Addr || at%want.Align != 0 {
		return fmt.Errorf("%d bytes at %#x, want them at %#x, at a multiple of %#x", want.Length, at, want.Addr, want.Align)
	}
	var p *model.SetPart
	p, t.wanted = set.Add(q, want, at, m.behindOf(uintptr(at)))
	return errors.Join(t.describes("mapping", d, p.Extent()), t.hasSize(n))
}

// numbers choose offset and length: mostly a few pages of each.
func (t *setTry) numbers(i int, op *setOp, q *model.SetMap) {
	src, set := q.Source, t.space.Sets[i]
	if op.How%4 != 0 {
		most := uint64(8)
		if src.Device {
			most = 3
		}
		q.Offset, q.Length = op.A.Raw%most*src.Align, (1+op.B.Raw%most)*src.Align
		return
	}
	around := Around{Page: t.space.Page, Align: src.Align, Size: src.Size, Room: src.Size}
	q.Offset = op.A.In(around)
	around.Other = q.Offset
	if p := set.Previous; p != nil { // what is behind it
		end := p.Extent().Start + p.Extent().Size
		room := t.m.behind
		if set.Configured {
			room = t.space.Reservation.Start + t.space.Reservation.Size - end
		}
		around.Room = q.Offset + room
	}
	q.Length = op.B.In(around)
	if q.Length-(setAddressSpace-setDoubtful) < 2*setDoubtful {
		q.Length = setAddressSpace + setDoubtful
	}
}

// answer is what the kernel says to a map call instead of doing what it is asked.
func (t *setTry) answer(how byte, q *model.SetMap) (a answers) {
	switch how {
	case 15:
		q.Refused, a.move = true, syscall.ENOMEM
	case 14:
		q.Refused, a.sync, a.plain = true, syscall.ENFILE, syscall.ENFILE
	case 13:
		q.Full, t.m.full = true, syscall.ENOSPC
	case 12:
		t.m.full = syscall.EOPNOTSUPP // then ftruncate does it
	}
	return a
}

// mapSource is the map call.
func (t *setTry) mapSource(i int, s *setSource, q *model.SetMap) (pmemset.PartDescriptor, error) {
	set := t.sets[i]
	if q.Way == model.ByPart {
		return t.mapByPart(set, s, q)
	}
	cfg := pmemset.NewMapConfig(set)
	if err := errors.Join(cfg.SetOffset(q.Offset), cfg.SetLength(q.Length)); err != nil {
		return pmemset.PartDescriptor{}, err
	}
	switch {
	case q.Way == model.ByConfig:
		return pmemset.Map(s.source, cfg)
	case q.Offset == 0 && q.Length == 0:
		return set.Map(s.source, nil)
	}
	return set.Map(s.source, cfg)
}

// mapByPart maps the way that keeps the part after a failure and consumes it else.
func (t *setTry) mapByPart(set *pmemset.Set, s *setSource, q *model.SetMap) (pmemset.PartDescriptor, error) {
	part, err := pmemset.NewPart(set, s.source, q.Offset, q.Length)
	if err != nil {
		return pmemset.PartDescriptor{}, err
	}
	d, err := part.Map()
	if err == nil {
		if _, again := part.Map(); model.OfSet(again) != einval {
			return d, fmt.Errorf("mapping a part twice: %w", again)
		}
	}
	return d, errors.Join(err, part.Delete())
}

// hasSize holds the size of a file against the model's.
func (t *setTry) hasSize(i int) error {
	s, want := t.m.sources[i], t.sources[i].Size
	if s.model.Device || s.gone && s.sizer == s.mapper {
		return nil
	}
	st, err := t.m.emulated.Fstat(s.sizer)
	if err == nil && uint64(st.Size) != want {
		err = fmt.Errorf("%s has %d bytes, want %d", s.name, st.Size, want)
		s.size = uint64(st.Size)
	}
	return err
}

// tag writes through the first bytes of each piece and reads them from its file.
func (t *setTry) tag() error {
	for n, q := range t.pieces {
		if q.Source == nil || q.Source.Deleted || q.Source.Device || q.Offset >= q.Source.Size {
			continue
		}
		b := platform.Bytes(uintptr(q.Start), 1)
		b[0] = byte(n + 1)
		var got [1]byte
		fd := t.m.sources[t.index(q.Source)].sizer
		if _, err := t.m.emulated.Pread(fd, got[:], int64(q.Offset)); err != nil {
			return err
		}
		if got[0] != b[0] {
			return fmt.Errorf("what is stored at %#x isn't at offset %d of %s", q.Start, q.Offset, t.m.sources[t.index(q.Source)].name)
		}
	}
	return nil
}

// index is the number of a source.
func (t *setTry) index(s *model.SetSource) int {
	for i := range t.sources {
		if s == &t.sources[i] {
			return i
		}
	}
	return -1
}
