//go:build libpmem2

package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"syscall"

	"pmemlab/conformance"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// noRoom is the result of what has no room in the address space.
var noRoom = model.FailsWith(syscall.ENOMEM)

// subject is a library that runs programs, each as if it were the only one. It is for one
// goroutine.
type subject struct {
	lib   conformance.Library
	on    *recorder
	files *files

	sources      []conformance.Source
	reservations []conformance.Reservation
	maps         []conformance.Map
}

func newSubject(s conformance.Subject, f *files) *subject {
	on := &recorder{Platform: platform.Host()}
	return &subject{lib: s.On(on), on: on, files: f}
}

// outcome is what came of a program.
type outcome struct {
	Seen []seen
	// Stuck says that something couldn't be deleted: what is in the process isn't as it
	// was.
	Stuck bool
	// NoRoom says that mmap has answered ENOMEM.
	NoRoom bool
	// Died is how the process has ended that ran the program, if it has.
	Died string
}

// run runs a program, up to a call that succeeds where it must fail, or the other way round:
// what follows isn't meant for that state. The error is about the machine beneath.
func (s *subject) run(p plan) (o outcome, err error) {
	o.Seen = make([]seen, len(p.calls))
	apart := false
	for i := range p.calls {
		c := &p.calls[i]
		if c.op == opKept {
			if o.Stuck = s.deleteAll() != nil; o.Stuck {
				o.Seen[i].Numbers[1] = 1
			}
			o.Seen[i].Numbers[0] = s.on.kept()
			continue
		}
		if apart {
			o.Seen[i].Skipped = true
			continue
		}
		if err := s.call(c, &o.Seen[i]); err != nil {
			return o, fmt.Errorf("%s: %w", opNames[c.op], err)
		}
		apart = (o.Seen[i].Result == model.OK) != (p.want[i].Result == model.OK)
	}
	o.NoRoom = s.on.noRoom
	if settles, ok := s.lib.(interface{ Settle() }); ok {
		settles.Settle()
	}
	return o, s.on.clean()
}

// deleteAll deletes every object that is there.
func (s *subject) deleteAll() error {
	var errs []error
	for _, m := range s.maps {
		if m != nil {
			errs = append(errs, m.Delete())
		}
	}
	for _, r := range s.reservations {
		if r != nil {
			errs = append(errs, r.Delete())
		}
	}
	for _, from := range s.sources {
		if from != nil {
			errs = append(errs, from.Delete())
		}
	}
	s.maps, s.reservations, s.sources = s.maps[:0], s.reservations[:0], s.sources[:0]
	return errors.Join(errs...)
}

// at is what is in a slot, put what is put there.
func at[T any](slots []T, i int) (v T) {
	if i < 0 || i >= len(slots) {
		return v
	}
	return slots[i]
}

func put[T any](slots *[]T, i int, v T) {
	for len(*slots) <= i {
		var empty T
		*slots = append(*slots, empty)
	}
	(*slots)[i] = v
}

// call makes a call and fills in what came of it.
func (s *subject) call(c *call, o *seen) error {
	switch c.op {
	case opSource, opSize, opAlignment, opContent:
		return s.sourceCall(c, o)
	case opMap, opExisting:
		return s.makeMap(c, o)
	case opUnmap, opCopy, opSet, opPersist, opFlush, opDeepFlush:
		m := at(s.maps, c.slot)
		if m == nil {
			o.Skipped = true
			return nil
		}
		err := s.mapCall(c, m)
		if c.op == opUnmap && err == nil {
			s.maps[c.slot] = nil
		}
		o.Result = model.Of(err)
		return nil
	}
	s.reservationCall(c, o)
	return nil
}

func (s *subject) sourceCall(c *call, o *seen) (err error) {
	if c.op == opSource {
		var made conformance.Source
		q := c.request.Source
		if q.Kind == model.Anonymous {
			made, err = s.lib.SourceFromAnon(q.Size)
		} else {
			fd, noFile := s.files.descriptor(q, c.clean)
			if noFile != nil {
				return noFile
			}
			made, err = s.lib.SourceFromFD(fd)
		}
		o.Result = model.Of(err)
		put(&s.sources, c.slot, made)
		return nil
	}
	from := at(s.sources, c.slot)
	if from == nil {
		o.Skipped = true
		return nil
	}
	switch c.op {
	case opSize:
		o.Numbers[0], err = from.Size()
	case opAlignment:
		o.Numbers[0], err = from.Alignment()
	case opContent:
		b := make([]byte, s.files.size)
		_, err = s.files.fds[model.ReadWrite].ReadAt(b, 0)
		o.Numbers[0] = checksum(b)
	}
	o.Result = model.Of(err)
	return nil
}

func checksum(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}

func (s *subject) makeMap(c *call, o *seen) error {
	from := at(s.sources, c.source)
	var in conformance.Reservation
	if c.op == opMap {
		in = at(s.reservations, c.in)
	}
	if from == nil || c.op == opMap && c.in != none && in == nil {
		o.Skipped = true
		return nil
	}
	var m conformance.Map
	var err error
	if c.op == opExisting {
		m, err = s.lib.MapFromExisting(from, uintptr(c.addr), c.length, c.fine)
	} else {
		m, err = s.newMap(&c.request, from, in)
	}
	o.Result = model.Of(err)
	put(&s.maps, c.slot, m)
	if err != nil {
		if m != nil {
			return fmt.Errorf("a map is returned with error %w", err)
		}
		return nil
	}
	o.Numbers = [numbers]uint64{uint64(m.Address()), m.Size(), uint64(m.StoreGranularity())}
	if c.op == opMap {
		var start uint64
		if in != nil {
			start = uint64(in.Address())
		}
		l := s.on.last
		o.Numbers[0] = place(o.Numbers[0], start)
		o.Numbers[3], o.Numbers[4], o.Numbers[5] = l.offset, l.length, protAndSharing(l.prot, l.private)
		if c.request.Source.Kind == model.Anonymous {
			o.Numbers[5] &^= 1 << 32 // of such memory nobody else has any
		}
	}
	return nil
}

func (s *subject) newMap(q *model.MapRequest, from conformance.Source, in conformance.Reservation) (conformance.Map, error) {
	cfg, err := s.lib.NewConfig()
	if err != nil {
		return nil, err
	}
	if q.GranularitySet {
		err = errors.Join(err, cfg.SetRequiredStoreGranularity(q.Granularity))
	}
	if q.Sharing != pmem2.Shared {
		err = errors.Join(err, cfg.SetSharing(q.Sharing))
	}
	if q.Prot != pmem2.ProtRead|pmem2.ProtWrite {
		err = errors.Join(err, cfg.SetProtection(q.Prot))
	}
	if q.Offset != 0 {
		err = errors.Join(err, cfg.SetOffset(q.Offset))
	}
	if q.Length != 0 {
		err = errors.Join(err, cfg.SetLength(q.Length))
	}
	if in != nil {
		err = errors.Join(err, cfg.SetVMReservation(in, q.Reservation.Offset))
	}
	if err != nil {
		return nil, err
	}
	m, err := s.lib.NewMap(cfg, from)
	if left := cfg.Delete(); left != nil {
		return m, left
	}
	return m, err
}

func (s *subject) mapCall(c *call, m conformance.Map) error {
	part := func(start, n uint64) []byte { return m.Bytes()[start : start+n] }
	switch c.op {
	case opUnmap:
		return m.Delete()
	case opCopy:
		return m.Memmove(part(c.offset, c.length), part(c.with, c.length), c.flags)
	case opSet:
		return m.Memset(part(c.offset, c.length), c.value, c.flags)
	case opPersist:
		return m.Persist(part(c.offset, c.length))
	case opFlush:
		return m.Flush(part(c.offset, c.length))
	}
	return m.DeepFlushRange(m.Address()+uintptr(c.offset), c.length)
}

func (s *subject) reservationCall(c *call, o *seen) {
	if c.op == opReserve {
		r, err := s.lib.NewVMReservation(uintptr(c.addr), c.length)
		o.Result = model.Of(err)
		put(&s.reservations, c.slot, r)
		s.tell(r, o)
		return
	}
	r := at(s.reservations, c.slot)
	from := at(s.maps, c.from)
	if r == nil || from == nil && (c.op == opFindNext || c.op == opFindPrev) {
		o.Skipped = true
		return
	}
	var m conformance.Map
	var err error
	switch c.op {
	case opExtend:
		err = r.Extend(c.length)
	case opShrink:
		err = r.Shrink(c.offset, c.length)
	case opUnreserve:
		if err = r.Delete(); err == nil {
			s.reservations[c.slot] = nil
		}
	case opFind:
		m, err = r.MapFind(c.offset, c.length)
	case opFindFirst:
		m, err = r.MapFindFirst()
	case opFindLast:
		m, err = r.MapFindLast()
	case opFindNext:
		m, err = r.MapFindNext(from)
	case opFindPrev:
		m, err = r.MapFindPrev(from)
	}
	o.Result = model.Of(err)
	switch {
	case c.op == opExtend || c.op == opShrink:
		s.tell(r, o)
	case m != nil:
		o.Numbers[0] = unknownMap
		for i, known := range s.maps {
			if known == m {
				o.Numbers[0] = uint64(i)
			}
		}
	}
}

// unknownMap is the number of a map that is in no slot.
const unknownMap = 1 << 32

// tell fills in where a reservation is and how long.
func (*subject) tell(r conformance.Reservation, o *seen) {
	if r != nil {
		o.Numbers[0], o.Numbers[1] = uint64(r.Address()), r.Size()
	}
}
