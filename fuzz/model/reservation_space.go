package model

import (
	"cmp"
	"slices"
)

// Apply makes the state what it is after a step with an outcome: the one of Space.Outcome, in
// which Result and, if the kernel picked it, Addr are what was got.
func (s *Space) Apply(st Step, o Outcome) {
	if st.Kind == CommitDelete || st.Kind == CancelDelete {
		if s.Prepared == nil || s.Prepared.Ended {
			return
		}
		s.Prepared.Ended, s.Prepared.Fresh = true, Extent{}
		if st.Kind == CommitDelete && o.Result == OK {
			for _, i := range s.Prepared.Maps {
				s.Maps[i].Deleted = true
			}
		}
		return
	}
	if o.Result != OK {
		return
	}
	switch st.Kind {
	case NewReservation:
		s.Reservations = append(s.Reservations, Held{Extent: Extent{o.Addr, st.Length}})
	case Extend:
		s.Reservations[st.Reservation].Size += st.Length
	case Shrink:
		r := &s.Reservations[st.Reservation]
		if st.Offset == 0 {
			r.Start += st.Length
		}
		r.Size -= st.Length
	case DeleteReservation:
		s.Reservations[st.Reservation] = Held{Deleted: true}
	case MapAnonymous, MapDevice, MapExisting:
		m := o.Made
		m.Start = o.Addr
		s.Maps = append(s.Maps, m)
	case DeleteMap:
		s.Maps[st.Map].Deleted = true
	case PrepareDelete:
		s.Prepared = &Deletion{Maps: slices.Clone(st.Maps)}
	case Occupy:
		s.Others = append(s.Others, Extent{st.Offset, st.Length})
	case Vacate:
		s.Others = slices.DeleteFunc(s.Others, func(e Extent) bool { return e == Extent{st.Offset, st.Length} })
	}
}

// Fits says whether the kernel may have picked an address for what an outcome makes.
func (s *Space) Fits(o Outcome, addr, size uint64) bool {
	return addr%o.Align == 0 && addr >= s.Mid && addr <= s.Hi && size <= s.Hi-addr && !s.occupied(Extent{addr, size})
}

// taken are the extents of all maps.
func (s *Space) taken() []Extent {
	var all []Extent
	for _, m := range s.Maps {
		if !m.Deleted {
			all = append(all, m.Extent)
		}
	}
	return all
}

// mapped says whether a map has a byte in e.
func (s *Space) mapped(e Extent) bool {
	for _, m := range s.Maps {
		if !m.Deleted && m.Overlaps(e) {
			return true
		}
	}
	return false
}

// Claims says whether a map of MapFromExisting has a byte in e, which the kernel doesn't know.
func (s *Space) Claims(e Extent) bool {
	for _, m := range s.Maps {
		if m.Existing && !m.Deleted && m.Overlaps(e) {
			return true
		}
	}
	return false
}

// occupied says whether something is mapped in e, as far as the kernel knows: it doesn't of
// maps of MapFromExisting.
func (s *Space) occupied(e Extent) bool {
	for _, r := range s.Reservations {
		if !r.Deleted && r.Overlaps(e) {
			return true
		}
	}
	for _, m := range s.Maps {
		if !m.Deleted && !m.Existing && m.Overlaps(e) {
			return true
		}
	}
	for _, o := range s.Others {
		if o.Overlaps(e) {
			return true
		}
	}
	return s.Prepared != nil && s.Prepared.Fresh.Overlaps(e)
}

// room is the longest range where the kernel places mappings.
func (s *Space) room() uint64 {
	longest, at := uint64(0), s.Mid
	for _, a := range s.Areas(nil) {
		if a.Start > at {
			longest = max(longest, a.Start-at)
		}
		at = max(at, a.Start+a.Size)
	}
	if at < s.Hi {
		longest = max(longest, s.Hi-at)
	}
	return longest
}

// What is what is mapped somewhere.
type What int

// What can be mapped.
const (
	Placeholder What = iota // without access: nothing else is mapped there
	AnonymousMap
	DeviceMap
	OtherMap // the program's own
)

// Area is a range that the kernel has mapped in one way.
type Area struct {
	Extent
	What
}

// Areas appends all that is mapped, in the order of addresses. Neighbours of a kind are one.
func (s *Space) Areas(to []Area) []Area {
	from := len(to)
	for _, m := range s.Maps {
		if !m.Deleted && !m.Existing {
			what := AnonymousMap
			if m.Source == DeviceDAX {
				what = DeviceMap
			}
			to = append(to, Area{m.Extent, what})
		}
	}
	for _, o := range s.Others {
		to = append(to, Area{o, OtherMap})
	}
	maps := len(to)
	slices.SortFunc(to[from:], byStart)
	// The placeholders are what the maps leave over of the reservations.
	for _, r := range s.Reservations {
		at, end := r.Start, r.Start+r.Size
		for _, m := range to[from:maps] {
			if m.Start < at || m.Start >= end {
				continue
			}
			to = append(to, Area{Extent{at, m.Start - at}, Placeholder})
			at = m.Start + m.Size
		}
		to = append(to, Area{Extent{at, end - at}, Placeholder})
	}
	if s.Prepared != nil {
		to = append(to, Area{s.Prepared.Fresh, Placeholder})
	}
	slices.SortFunc(to[from:], byStart)
	return to[:from+len(Join(to[from:]))]
}

func byStart(a, b Area) int { return cmp.Compare(a.Start, b.Start) }

// Join makes one of neighbours of a kind, and drops those without bytes. It changes what it is
// given.
func Join(all []Area) []Area {
	n := 0
	for _, a := range all {
		switch {
		case a.Size == 0:
		case n > 0 && all[n-1].What == a.What && all[n-1].Start+all[n-1].Size == a.Start:
			all[n-1].Size += a.Size
		default:
			all[n] = a
			n++
		}
	}
	return all[:n]
}

// Behind is how many bytes from an address on are free, as far as the kernel knows.
func (s *Space) Behind(addr uint64) uint64 {
	if addr >= s.Hi || s.occupied(Extent{addr, 1}) {
		return 0
	}
	end := s.Hi
	for _, a := range s.Areas(nil) {
		if a.Start > addr {
			end = min(end, a.Start)
		}
	}
	return end - addr
}
