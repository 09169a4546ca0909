package model

import (
	"slices"
	"syscall"

	"pmemlab/pmem2"
)

// Space is a part of an address space, with the reservations and the maps in it: the state
// between two operations on them. What an operation must lead to follows from the state and
// the operation: see Outcome.
type Space struct {
	Page uint64
	// Mappings lie in [Lo, Hi). At a fixed address below Lo the kernel answers EPERM, behind
	// Hi ENOMEM. What may lie anywhere it places in [Mid, Hi).
	Lo, Mid, Hi uint64
	// Unknown says that in [Mid, Hi) other things are mapped that nobody told of.
	Unknown bool
	// Reservations and Maps are all that were made, in that order: an operation names them by
	// their place here.
	Reservations []Held
	Maps         []SpaceMap
	// Others are what else the program has mapped.
	Others []Extent
	// Prepared is the last PreparedDelete, or nil.
	Prepared *Deletion
	// Device is what maps of a device DAX are made of.
	Device Source
}

// Held is a reservation.
type Held struct {
	Extent
	Deleted bool
}

// SpaceMap is a map in a Space.
type SpaceMap struct {
	Extent             // the address range that it takes: whole pages, unless it is Existing
	Size        uint64 // as it is asked for
	Granularity pmem2.Granularity
	Source      Kind
	In          int  // the reservation, or -1
	Existing    bool // made by MapFromExisting
	Deleted     bool
}

// Deletion is a PreparedDelete.
type Deletion struct {
	Maps  []int
	Fresh Extent // where the library keeps what it has obtained for it, if anywhere
	Ended bool
}

// StepKind is what an operation does.
type StepKind int

// The operations. In brackets, which fields of a Step they take.
const (
	Nothing           StepKind = iota
	NewReservation             // (Offset: the address, Length)
	Extend                     // (Reservation, Length)
	Shrink                     // (Reservation, Offset, Length)
	DeleteReservation          // (Reservation)
	MapAnonymous               // (Reservation, Offset in it, Length of the source)
	MapDevice                  // (Reservation, Offset in it, Length)
	MapExisting                // (Offset: the address, Length, Granularity)
	DeleteMap                  // (Map)
	FindMap                    // (Reservation, Offset, Length)
	FindFirst                  // (Reservation)
	FindLast                   // (Reservation)
	FindNext                   // (Reservation, Map)
	FindPrev                   // (Reservation, Map)
	FindFree                   // (Reservation, Length, Align)
	PrepareDelete              // (Maps)
	CommitDelete               // ()
	CancelDelete               // ()
	Occupy                     // (Offset: the address, Length): the program maps something
	Vacate                     // (Offset: the address, Length): it unmaps one of Others
)

// Step is one operation.
type Step struct {
	Kind        StepKind
	Reservation int // -1: a nil one
	Map         int // -1: a nil one
	Maps        []int
	Offset      uint64
	Length      uint64
	Align       uint64
	Granularity pmem2.Granularity
}

// Outcome is what an operation must lead to.
type Outcome struct {
	Result Result
	// Or is what it may lead to instead: the pages leave it open. Else it is Result.
	Or Result
	// Addr is where what is made must lie. 0: where the kernel likes, at a multiple of Align.
	Addr, Align uint64
	// Made is the map that is made, but for its address.
	Made SpaceMap
	// Map is the one that is found, or -1.
	Map int
	// Offset is where room is found, if Found.
	Offset uint64
	Found  bool
}

func ends(r Result) Outcome { return Outcome{Result: r, Or: r, Map: -1} }

// Outcome is what a step must lead to. The checks stand in their order.
func (s *Space) Outcome(st Step) Outcome {
	switch st.Kind {
	case NewReservation:
		return s.reserve(st.Offset, st.Length)
	case MapExisting:
		r := Existing(st.Offset, st.Length, st.Granularity, s.taken())
		o := ends(r)
		o.Addr, o.Align = st.Offset, 1
		o.Made = SpaceMap{
			Extent: Extent{Size: st.Length}, Size: st.Length,
			Granularity: st.Granularity, In: -1, Existing: true,
		}
		return o
	case DeleteMap:
		if st.Map < 0 || s.Maps[st.Map].Deleted {
			return ends(Fails(pmem2.ErrMappingNotFound))
		}
		return ends(OK)
	case PrepareDelete, CommitDelete, CancelDelete:
		return s.deletion(st)
	case Nothing, Occupy, Vacate:
		return ends(OK)
	case MapAnonymous, MapDevice:
		return s.place(st)
	case FindFree:
		o := ends(OK)
		if s.usable(st.Reservation) {
			o.Offset, o.Found = s.free(s.Reservations[st.Reservation].Extent, st.Length, st.Align)
		}
		return o
	}
	if !s.usable(st.Reservation) {
		return ends(FailsWith(syscall.EINVAL))
	}
	r := s.Reservations[st.Reservation].Extent
	switch st.Kind {
	case Extend:
		return s.extend(r, st.Length)
	case Shrink:
		return ends(s.shrink(r, st.Offset, st.Length))
	case DeleteReservation:
		if s.mapped(r) {
			return ends(Fails(pmem2.ErrVMReservationNotEmpty))
		}
		return ends(OK)
	}
	o := ends(OK)
	if o.Map = s.find(st); o.Map < 0 {
		o.Result = Fails(pmem2.ErrMappingNotFound)
		o.Or = o.Result
	}
	return o
}

func (s *Space) usable(r int) bool {
	return r >= 0 && r < len(s.Reservations) && !s.Reservations[r].Deleted
}

// reserve is pmem2_vm_reservation_new(3).
func (s *Space) reserve(addr, size uint64) Outcome {
	switch {
	case addr%s.Page != 0:
		return ends(Fails(pmem2.ErrAddressUnaligned))
	case size%s.Page != 0:
		return ends(Fails(pmem2.ErrLengthUnaligned))
	case size == 0:
		return ends(Fails(pmem2.ErrLengthOutOfRange))
	case addr != 0:
		o := s.fixed(addr, size)
		o.Addr, o.Align = addr, s.Page
		return o
	}
	o := ends(OK)
	o.Align = 2 << 20
	if size >= 1<<30 {
		o.Align = 1 << 30
	}
	switch room := s.room(); {
	case size > room:
		return ends(FailsWith(syscall.ENOMEM))
	case s.Unknown && size >= 1<<30, size > room-min(room, o.Align):
		o.Or = FailsWith(syscall.ENOMEM) // it depends on how the room is aligned
	}
	return o
}

// fixed is the taking of an address range that must be free, neither 0 nor 0 bytes long.
func (s *Space) fixed(addr, size uint64) Outcome {
	switch e := (Extent{addr, size}); {
	case addr > s.Hi, size > s.Hi-addr: // or it wraps
		return ends(FailsWith(syscall.ENOMEM))
	case addr < s.Lo:
		return ends(FailsWith(syscall.EPERM))
	case s.occupied(e):
		return ends(Fails(pmem2.ErrMappingExists))
	case s.Unknown && e.Overlaps(Extent{s.Mid, s.Hi - s.Mid}):
		return Outcome{Or: Fails(pmem2.ErrMappingExists), Map: -1}
	}
	return ends(OK)
}

// extend is pmem2_vm_reservation_extend(3).
func (s *Space) extend(r Extent, size uint64) Outcome {
	switch {
	case size%s.Page != 0:
		return ends(Fails(pmem2.ErrLengthUnaligned))
	case size == 0:
		return ends(OK)
	}
	return s.fixed(r.Start+r.Size, size)
}

// shrink is pmem2_vm_reservation_shrink(3).
func (s *Space) shrink(r Extent, offset, size uint64) Result {
	switch {
	case offset%s.Page != 0:
		return Fails(pmem2.ErrOffsetUnaligned)
	case size%s.Page != 0:
		return Fails(pmem2.ErrLengthUnaligned)
	case offset >= r.Size:
		return Fails(pmem2.ErrOffsetOutOfRange)
	case size == 0, size > r.Size-offset:
		return Fails(pmem2.ErrLengthOutOfRange)
	case offset > 0 && offset+size < r.Size, size == r.Size:
		return Fails(pmem2.ErrNoSupp)
	case s.mapped(Extent{r.Start + offset, size}):
		return Fails(pmem2.ErrVMReservationNotEmpty)
	}
	return OK
}

// place is pmem2_map_new(3), in a reservation or, if that is nil, anywhere.
func (s *Space) place(st Step) Outcome {
	q := MapRequest{
		Source: Source{Kind: Anonymous, Size: st.Length}, Granularity: pmem2.GranularityPage, GranularitySet: true,
		Prot: pmem2.ProtRead | pmem2.ProtWrite,
		// Whether there is room is answered here.
		Machine: Machine{Page: s.Page, Sync: true, AddressSpace: s.Hi - s.Mid, Doubtful: 1<<64 - 1, Memory: 1<<64 - 1},
	}
	if st.Kind == MapDevice {
		q.Source, q.Length = s.Device, st.Length
	}
	if st.Reservation >= 0 {
		r := s.Reservations[st.Reservation]
		q.Reservation = &Reservation{Addr: r.Start, Size: r.Size, Taken: s.taken(), Offset: st.Offset, Deleted: r.Deleted}
	}
	m := Map(q)
	o := ends(m.Result)
	if m.Result != OK {
		return o
	}
	o.Addr, o.Align = m.Addr, m.Align
	o.Made = SpaceMap{
		Extent: Extent{Size: m.Length}, Size: m.Size, Granularity: m.Granularity,
		Source: q.Source.Kind, In: st.Reservation,
	}
	room := s.room()
	switch {
	case s.Unknown && m.Length >= 1<<30, st.Reservation >= 0 && m.Length > room-min(room, m.Align):
		o.Or = FailsWith(syscall.ENOMEM) // the mapping may be made elsewhere first
	case st.Reservation >= 0:
	case m.Length > room:
		return ends(FailsWith(syscall.ENOMEM))
	case m.Length > room-min(room, m.Align) && m.Align > s.Page:
		o.Or = FailsWith(syscall.ENOMEM)
	case s.Claims(Extent{s.Mid, s.Hi - s.Mid}):
		o.Or = Fails(pmem2.ErrMappingExists) // the kernel doesn't know what is claimed
	}
	return o
}

// find is pmem2_vm_reservation_map_find(3) and its like: the map, or -1.
func (s *Space) find(st Step) int {
	r := s.Reservations[st.Reservation].Extent
	if st.Kind == FindNext || st.Kind == FindPrev {
		if st.Map < 0 || s.Maps[st.Map].Deleted || s.Maps[st.Map].In != st.Reservation {
			return -1
		}
	}
	best := -1
	for i, m := range s.Maps {
		if m.Deleted || m.In != st.Reservation {
			continue
		}
		higher := st.Kind == FindLast || st.Kind == FindPrev
		switch st.Kind {
		case FindMap:
			// From the first byte of the range to the last, the length taken as at least 1.
			offset, last := m.Start-r.Start, m.Start-r.Start+(m.Extent.Size-1)
			if last < st.Offset || offset > st.Offset && offset-st.Offset >= max(st.Length, 1) {
				continue
			}
		case FindNext:
			if m.Start <= s.Maps[st.Map].Start {
				continue
			}
		case FindPrev:
			if m.Start >= s.Maps[st.Map].Start {
				continue
			}
		}
		if best < 0 || m.Start > s.Maps[best].Start == higher {
			best = i
		}
	}
	return best
}

// free is the lowest offset of room in a reservation. Room begins where the reservation does
// or behind a map, but for the alignment.
func (s *Space) free(r Extent, length, align uint64) (offset uint64, ok bool) {
	if length == 0 || align == 0 || length > r.Size {
		return 0, false
	}
	try := func(at uint64) {
		if rest := at % align; rest != 0 {
			at += align - rest
		}
		if at < r.Start || at-r.Start > r.Size-length || s.mapped(Extent{at, length}) {
			return
		}
		if !ok || at-r.Start < offset {
			offset, ok = at-r.Start, true
		}
	}
	try(r.Start)
	for _, m := range s.Maps {
		if !m.Deleted {
			try(m.Start + m.Extent.Size)
		}
	}
	return offset, ok
}

// deletion is PrepareDelete, Commit and Cancel.
func (s *Space) deletion(st Step) Outcome {
	switch d := s.Prepared; st.Kind {
	case CancelDelete:
		return ends(OK)
	case CommitDelete:
		if d == nil || d.Ended {
			return ends(FailsWith(syscall.EINVAL))
		}
		if slices.ContainsFunc(d.Maps, func(i int) bool { return s.Maps[i].Deleted }) {
			return ends(Fails(pmem2.ErrMappingNotFound))
		}
		return ends(OK)
	}
	gone, apart := false, len(st.Maps) == 0
	for k, i := range st.Maps {
		if i < 0 || s.Maps[i].Deleted {
			gone = true
			continue
		}
		if s.Maps[i].In < 0 {
			apart = true
		}
		if k == 0 || st.Maps[k-1] < 0 {
			continue
		}
		if m, before := s.Maps[i], s.Maps[st.Maps[k-1]]; m.In != before.In || m.Start != before.Start+before.Extent.Size {
			apart = true
		}
	}
	notFound, invalid := Fails(pmem2.ErrMappingNotFound), FailsWith(syscall.EINVAL)
	switch {
	case gone && (apart || len(st.Maps) > 1): // which comes first isn't said
		return Outcome{Result: notFound, Or: invalid, Map: -1}
	case gone:
		return ends(notFound)
	case apart:
		return ends(invalid)
	}
	return ends(OK)
}
