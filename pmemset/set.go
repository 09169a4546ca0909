package pmemset

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Coalescing says where a new part is mapped: see
// pmemset_set_contiguous_part_coalescing(3).
type Coalescing int

const (
	// CoalescingNone: every part is a part map of its own.
	CoalescingNone Coalescing = iota
	// CoalescingOpportunistic: as CoalescingFull where that is possible, else as
	// CoalescingNone.
	CoalescingOpportunistic
	// CoalescingFull: a part starts where the part map made last ends, and becomes part
	// of it.
	CoalescingFull
)

// Set is a set of parts mapped into the address space: pmemset_new(3). The memory goes
// with Delete, or with the removal of a part, not with the collector.
//
// Every method may be called by any number of goroutines, also from the event callback
// of the same set. Events of calls that run at the same time come in any order, but for
// EventSDSUpdate: see there.
type Set struct {
	settings settings // a copy of the config's

	// data is a mapping of the set, whose operations are those of all; nil if it has
	// none. It changes under mu, before the mapping goes.
	data    atomic.Pointer[pmem2.Map]
	deleted atomic.Bool // set under mu

	// flushing is held for reading by deep flushes, which may take their time, and for
	// writing where mappings go. It is taken before mu.
	flushing sync.RWMutex

	mu          sync.RWMutex
	coalescing  Coalescing
	parts       partIndex
	previous    *part             // the one made last, or its neighbour
	departing   []*part           // that are being unmapped, and may come back
	granularity pmem2.Granularity // of all parts, if there is one
	machine     platform.Platform // of all parts, if there is one
	configured  *region           // that of the config, or nil
	strays      []*pmem2.Map      // of calls that failed, which couldn't be deleted yet
	litter      []*region         // that couldn't be given back yet
	quiet       bool              // the last part came from a Part: no events of removals
}

// region is a reservation and how many part maps lie in it.
type region struct {
	*pmem2.VMReservation
	own   bool   // made by the set
	slack uint64 // see sizeFor
	parts int    // under Set.mu
}

// New is pmemset_new(3): a set without parts, with a copy of what the config says. The
// config's reservation, if any, must not be deleted before the set.
//
// Errors: ErrGranularityNotSet: the config has no required store granularity; EINVAL on
// a nil or deleted config. The set is then nil.
func New(cfg *Config) (*Set, error) {
	const op = "New"
	called(op)
	c, err := cfg.snapshot(op)
	if err != nil {
		return nil, err
	}
	if !c.granularitySet {
		return nil, fail(op, ErrGranularityNotSet, nil, "the config has no granularity; see SetRequiredStoreGranularity")
	}
	s := &Set{settings: *c}
	if c.reservation != nil {
		s.configured = &region{VMReservation: c.reservation}
	}
	return s, nil
}

// usable is for methods that need a set that hasn't been deleted.
func (s *Set) usable(op string) error {
	if s == nil || !s.settings.granularitySet {
		return invalid(op, "the set is nil or empty")
	}
	if s.deleted.Load() {
		return invalid(op, "the set has been deleted")
	}
	return nil
}

// lock takes the write lock of a set that hasn't been deleted.
func (s *Set) lock(op string) error {
	s.mu.Lock()
	if s.deleted.Load() {
		s.mu.Unlock()
		return invalid(op, "the set has been deleted")
	}
	return nil
}

// Delete is pmemset_delete(3): it unmaps all parts, also those that references are held
// on. Nothing is flushed. There is an EventSDSUpdate for each mapping whose source has
// such data, and no other event. It returns nil always: on nil and on a set that has
// been deleted, too. What the kernel refuses to unmap goes to the logs, and Delete can
// be called again to try once more. A part map that another goroutine is just removing is
// unmapped by that one.
func (s *Set) Delete() error {
	const op = "Delete"
	called(op)
	if s == nil || !s.settings.granularitySet {
		return nil
	}
	s.mu.Lock()
	s.deleted.Store(true)
	s.previous = nil
	s.pickData()
	s.sweep()
	s.mu.Unlock()
	var kept []*part
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range kept {
			s.parts.insert(p)
		}
	}()
	for {
		p, gone := s.deleteFirst(op)
		switch {
		case p == nil:
			return nil
		case gone:
			s.forget(p.pieces)
		default:
			kept = append(kept, p)
		}
	}
}

// deleteFirst unmaps the part map at the lowest address; there may be none.
func (s *Set) deleteFirst(op string) (p *part, gone bool) {
	s.flushing.Lock()
	s.mu.Lock()
	defer s.unlockAfterRemoval()
	if len(s.parts) == 0 {
		return nil, false
	}
	p = s.parts[0].part
	s.parts = s.parts[1:]
	p.gone = true
	if unmapAll(op, p.pieces) != nil {
		return p, false
	}
	s.leave(p.region)
	return p, true
}

// unmapAll deletes mappings that lie side by side, at once or else one by one.
func unmapAll(op string, pieces []piece) error {
	const text = "%d of the %d mappings of the part map at %#x stay"
	d, err := pmem2.PrepareDelete(maps(pieces)...)
	if err == nil {
		var gone bool
		if gone, err = d.Commit(); gone {
			if err != nil { // about something else: for the logs
				_ = failPMem2(op, err, text, 0, len(pieces), pieces[0].addr)
			}
			return nil
		}
	}
	if errors.Is(err, pmem2.ErrMappingNotFound) {
		err = nil // by somebody who found it in the reservation
	}
	left := 0
	for _, q := range pieces {
		if q.m.Address() == 0 {
			continue // deleted earlier, or by that somebody
		}
		if failure := q.m.Delete(); failure != nil {
			err = errors.Join(err, failure)
			if q.m.Address() != 0 {
				left++
			}
		}
	}
	if err != nil {
		err = failPMem2(op, err, text, left, len(pieces), pieces[0].addr)
	}
	if left == 0 {
		return nil
	}
	return err
}

// StoreGranularity is pmemset_get_store_granularity(3): the effective granularity,
// which all parts of the set share.
//
// Errors: ErrNoPartMapped: the set has no part, no more or not yet; EINVAL on a nil or
// deleted set. The granularity is then 0.
func (s *Set) StoreGranularity() (pmem2.Granularity, error) {
	const op = "StoreGranularity"
	called(op)
	if err := s.usable(op); err != nil {
		return 0, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.parts) == 0 {
		return 0, fail(op, ErrNoPartMapped, nil, "the set has no part")
	}
	return s.granularity, nil
}

// SetContiguousPartCoalescing is pmemset_set_contiguous_part_coalescing(3): where the
// parts mapped from now on lie. CoalescingNone is the default.
//
// Errors: ErrInvalidCoalescingValue: the value is none of the three; the set keeps the
// one it had; EINVAL on a nil or deleted set.
func (s *Set) SetContiguousPartCoalescing(c Coalescing) error {
	const op = "SetContiguousPartCoalescing"
	called(op)
	if err := s.usable(op); err != nil {
		return err
	}
	if c < CoalescingNone || c > CoalescingFull {
		return fail(op, ErrInvalidCoalescingValue, nil, "%d is none of %d (none), %d (opportunistic), %d (full)",
			int(c), int(CoalescingNone), int(CoalescingOpportunistic), int(CoalescingFull))
	}
	if err := s.lock(op); err != nil {
		return err
	}
	s.coalescing = c
	s.mu.Unlock()
	return nil
}

// leave takes a part map off a region, which goes with the last one if the set has made
// it. mu is held.
func (s *Set) leave(r *region) {
	r.parts--
	s.trim(r)
}

// trim gives back what a region has too much. mu is held. What can't be given back
// stays until another time, and hurts nobody.
func (s *Set) trim(r *region) {
	s.sweep()
	if !r.own {
		return
	}
	if r.parts == 0 {
		if r.Delete() != nil {
			s.litter = append(s.litter, r)
		}
		return
	}
	first, err := r.MapFindFirst()
	if err != nil {
		return
	}
	if spare := uint64(first.Address() - r.Address()); spare > 0 {
		_ = r.Shrink(0, spare)
	}
	last, err := r.MapFindLast()
	if err != nil {
		return
	}
	keep := sizeFor(uint64(last.Address()-r.Address())+last.Size(), r.slack)
	if size := r.Size(); size > keep {
		_ = r.Shrink(keep, size-keep)
	}
}

// sweep tries once more to give back what couldn't be given back. mu is held.
func (s *Set) sweep() {
	s.strays = slices.DeleteFunc(s.strays, func(m *pmem2.Map) bool { return m.Delete() == nil || m.Address() == 0 })
	s.litter = slices.DeleteFunc(s.litter, func(r *region) bool { return r.Delete() == nil })
}
