package model

import (
	"errors"
	"math"
	"slices"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// SetResult is how a call of libpmemset ends: with a code, with an errno, or, if it is the
// zero value, well.
type SetResult struct {
	Code  pmemset.Code
	Errno syscall.Errno
}

// SetOK is the result of what succeeds.
var SetOK SetResult

// SetFails is the result of what fails with a code.
func SetFails(c pmemset.Code) SetResult { return SetResult{Code: c} }

// String is what the manual pages call it.
func (r SetResult) String() string {
	if r.Code != 0 {
		return r.Code.Symbol()
	}
	return Result{Errno: r.Errno}.String()
}

// OfSet is the result that an error of pmemset stands for.
func OfSet(err error) SetResult {
	if err == nil {
		return SetOK
	}
	var e *pmemset.Error
	if errors.As(err, &e) && (e.Code != 0 || e.Errno != 0) {
		return SetResult{Code: e.Code, Errno: e.Errno}
	}
	return SetFails(pmemset.ErrUnknown)
}

// Way is how a source is mapped into a set. It says which generation of the library is
// meant.
type Way int

// The ways to map.
const (
	ByPart   Way = iota // pmemset_part_map(3) of release 1.11
	ByConfig            // pmemset_map(3) with a config that was made for a set
	BySet               // pmemset_map(3) of release 1.12
)

// SetSource is a source of parts.
type SetSource struct {
	Size, Align uint64            // in bytes
	Granularity pmem2.Granularity // that its mappings have
	Device      bool              // device DAX
	ReadOnly    bool              // by a descriptor that can't write
	Temporary   bool
	Flagged     bool // SOURCE_FILE_DO_NOT_GROW, which once was SOURCE_FILE_TRUNCATE_IF_NEEDED
	Deleted     bool
}

// grows says whether mapping may let it grow.
func (s *SetSource) grows(w Way) bool {
	if s.Temporary {
		return true
	}
	return s.Flagged != (w == BySet)
}

// SetPiece is one mapping, the finest unit that can be removed.
type SetPiece struct {
	Extent
	Source *SetSource
	Offset uint64 // in the source
}

// SetPart is a part map. Its pieces lie side by side.
type SetPart struct {
	Pieces []SetPiece
	Refs   int
	home   *home // nil: the configured reservation
}

// Extent is where it lies.
func (p *SetPart) Extent() Extent {
	first := p.Pieces[0].Start
	return Extent{first, p.end() - first}
}

func (p *SetPart) end() uint64 {
	last := p.Pieces[len(p.Pieces)-1]
	return last.Start + last.Size
}

// home is a reservation that the library has made: for one part map, or for what has
// become of it.
type home struct {
	limit       uint64 // it can be extended to here
	least, most uint64 // it ends here, at least and at most
	slack       uint64 // what it is rounded up to, and has in addition
}

func (h *home) sizeFor(used uint64) uint64 {
	if h.slack == 0 {
		return used
	}
	return (used+h.slack-1)/h.slack*h.slack + h.slack
}

// SetSpace is the address space that sets share.
type SetSpace struct {
	Page         uint64
	AddressSpace uint64 // how long a reservation can be at most
	LargestFile  uint64
	Reservation  Extent   // that is configured for those of Sets that have one
	Foreign      []Extent // what the program has mapped in it
	Sets         []*PartSet
}

// PartSet is a set of parts.
type PartSet struct {
	Space      *SetSpace
	Configured bool              // its parts go into the reservation
	Required   pmem2.Granularity // the coarsest that will do
	Coalescing pmemset.Coalescing
	Parts      []*SetPart // by address
	Previous   *SetPart
	quiet      bool // the generation that maps last knows no events of removals
}

// SetEvent is an event that a call leads to.
type SetEvent struct {
	Type pmemset.EventType
	Extent
}

// SetCoalescing is pmemset_set_contiguous_part_coalescing(3).
func (s *PartSet) SetCoalescing(c pmemset.Coalescing) SetResult {
	if c < pmemset.CoalescingNone || c > pmemset.CoalescingFull {
		return SetFails(pmemset.ErrInvalidCoalescingValue)
	}
	s.Coalescing = c
	return SetOK
}

// SetMapOffset is pmemset_map_config_set_offset(3).
func SetMapOffset(offset uint64) SetResult {
	if offset > math.MaxInt64 {
		return SetFails(pmemset.ErrOffsetOutOfRange)
	}
	return SetOK
}

// Granularity is pmemset_get_store_granularity(3).
func (s *PartSet) Granularity() (pmem2.Granularity, SetResult) {
	if len(s.Parts) == 0 {
		return 0, SetFails(pmemset.ErrNoPartMapped)
	}
	return s.Parts[0].Pieces[0].Source.Granularity, SetOK
}

// ByAddress is pmemset_part_map_by_address(3); nil is PMEMSET_E_CANNOT_FIND_PART_MAP.
func (s *PartSet) ByAddress(addr uint64) *SetPart {
	for _, p := range s.Parts {
		if e := p.Extent(); addr >= e.Start && addr-e.Start < e.Size {
			return p
		}
	}
	return nil
}

// RemovePart is pmemset_remove_part_map(3), by a reference to p.
func (s *PartSet) RemovePart(p *SetPart) (SetResult, []SetEvent) {
	switch {
	case !slices.Contains(s.Parts, p):
		return SetFails(pmemset.ErrPartNotFound), nil
	case p.Refs > 1:
		return SetFails(pmemset.ErrPartMapPossibleUseAfterDrop), nil
	}
	return SetOK, s.removeWhole(p, nil)
}

func (s *PartSet) removeWhole(p *SetPart, events []SetEvent) []SetEvent {
	if !s.quiet {
		events = append(events, SetEvent{pmemset.EventPartRemove, p.Extent()})
	}
	i := slices.Index(s.Parts, p)
	s.Parts = slices.Delete(s.Parts, i, i+1)
	if s.Previous == p {
		switch {
		case i > 0:
			s.Previous = s.Parts[i-1]
		case len(s.Parts) > 0:
			s.Previous = s.Parts[0]
		default:
			s.Previous = nil
		}
	}
	s.shrink(p.home)
	return events
}

// RemoveRange is pmemset_remove_range(3). Each piece with a byte in the range goes, one part
// map after the other, until one is held by a reference.
func (s *PartSet) RemoveRange(addr, n uint64) (SetResult, []SetEvent) {
	var events []SetEvent
	if !s.quiet {
		events = []SetEvent{{pmemset.EventRemoveRange, Extent{addr, n}}}
	}
	if n == 0 {
		return SetOK, events
	}
	last := addr + (n - 1)
	if last < addr {
		last = math.MaxUint64
	}
	found := false
	for _, p := range slices.Clone(s.Parts) {
		var below, above []SetPiece
		hit := 0
		for _, q := range p.Pieces {
			switch {
			case q.Start+(q.Size-1) < addr:
				below = append(below, q)
			case q.Start > last:
				above = append(above, q)
			default:
				hit++
			}
		}
		switch {
		case hit == 0:
			continue
		case p.Refs > 0:
			return SetFails(pmemset.ErrPartMapPossibleUseAfterDrop), events
		case below == nil && above == nil:
			events = s.removeWhole(p, events)
		case below == nil:
			p.Pieces = above
		default:
			p.Pieces = below
			if above != nil {
				s.insert(&SetPart{Pieces: above, home: p.home})
			}
		}
		found = true
		s.shrink(p.home)
	}
	if !found {
		return SetFails(pmemset.ErrCannotFindPartMap), events
	}
	return SetOK, events
}

func (s *PartSet) insert(p *SetPart) {
	i := len(s.Parts)
	for i > 0 && s.Parts[i-1].Pieces[0].Start > p.Pieces[0].Start {
		i--
	}
	s.Parts = slices.Insert(s.Parts, i, p)
}

// shrink takes off a reservation what is before its first piece and far behind its last.
func (s *PartSet) shrink(h *home) {
	if first, end := s.uses(h); h != nil && end > 0 {
		kept := first + h.sizeFor(end-first)
		h.least, h.most = min(h.least, kept), min(h.most, kept)
	}
}

// uses tells from where to where the pieces in a reservation of the library's lie; 0 and 0
// if there are none.
func (s *PartSet) uses(h *home) (first, end uint64) {
	for _, p := range s.Parts {
		if p.home != h {
			continue
		}
		if end == 0 {
			first = p.Pieces[0].Start
		}
		end = p.end()
	}
	return first, end
}

// Reserved is how many bytes the set's own reservations take, at least and at most.
func (s *PartSet) Reserved() (least, most uint64) {
	if s.Configured {
		return 0, 0
	}
	var h *home
	for _, p := range s.Parts { // those of one reservation follow each other
		if p.home == h {
			continue
		}
		h = p.home
		first, _ := s.uses(h)
		least += h.least - first
		most += h.most - first
	}
	return least, most
}
