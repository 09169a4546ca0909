package pmemset

import (
	"slices"

	"pmemlab/pmem2"
)

// RemovePartMap is pmemset_remove_part_map(3): it removes the whole part map that p is
// the only reference to, and drops p. A deep flush comes first, whose result doesn't
// count; then EventPartRemove, while the memory can still be used; then the memory goes,
// with an EventSDSUpdate for each mapping whose source has such data.
//
// Errors: ErrPartNotFound: the part map isn't in the set;
// ErrPartMapPossibleUseAfterDrop: there are other references to it; those of pmem2 for
// deleting its mappings; EINVAL: the set or p is nil, or has been deleted or dropped. The
// part map is then as it was, and p can still be used. If the kernel refuses the very last
// step, EventPartRemove has been sent by then: EventPartAdd follows it.
func (s *Set) RemovePartMap(p *PartMap) error {
	const op = "RemovePartMap"
	called(op)
	if err := s.usable(op); err != nil {
		return err
	}
	q := p.held()
	if q == nil {
		return invalid(op, "the part map is nil or has been dropped")
	}
	if q.set != s {
		return fail(op, ErrPartNotFound, nil, "the part map belongs to another set")
	}
	if d := p.Descriptor(); d.Size > 0 {
		s.flushRemoved(d.Addr, lastOf(d.Addr, d.Size))
	}
	if err := s.lockForRemoval(op); err != nil {
		return err
	}
	if q.gone {
		s.unlockAfterRemoval()
		return fail(op, ErrPartNotFound, nil, "the part map isn't in the set any more")
	}
	if refs := q.refs.Load(); refs > 1 {
		at := q.addr
		s.unlockAfterRemoval()
		return fail(op, ErrPartMapPossibleUseAfterDrop, nil, "the part map at %#x has %d references", at, refs)
	}
	if !p.dropped.CompareAndSwap(false, true) {
		s.unlockAfterRemoval()
		return invalid(op, "the part map has been dropped")
	}
	removed := false
	defer func() {
		if !removed { // also if the callback panics
			p.dropped.Store(false)
		}
	}()
	if err := s.removeWhole(op, q); err != nil {
		return err
	}
	removed = true
	q.refs.Add(-1)
	return nil
}

// RemoveRange is pmemset_remove_range(3): it removes every mapping with a byte in the n
// bytes at addr, which need no alignment and may start and end anywhere, whole: one for
// each map call that made the part maps there. What is left of a part map stays; it
// starts later, ends earlier, or is two part maps, of which the lower one is the one that
// it was. It sends EventRemoveRange before it looks at anything, and EventPartRemove for
// each part map that goes as a whole; else see RemovePartMap. With n 0 nothing is
// removed.
//
// Errors: ErrCannotFindPartMap: no part map has a byte there;
// ErrPartMapPossibleUseAfterDrop: there is a reference to one that has; those of pmem2
// for deleting mappings; EINVAL on a nil or deleted set. Part maps are removed in the order
// of their addresses: those below the one that the error is about are gone, it and those
// above are as they were.
func (s *Set) RemoveRange(addr uintptr, n uint64) error {
	const op = "RemoveRange"
	called(op)
	if err := s.usable(op); err != nil {
		return err
	}
	if s.listening() && !s.hushed() {
		s.tell(&Event{Type: EventRemoveRange, Addr: addr, Len: n})
	}
	if n == 0 {
		return nil
	}
	last := lastOf(addr, n)
	s.flushRemoved(addr, last)
	for at, found := addr, false; ; found = true {
		next, err := s.removeFrom(op, at, last)
		switch {
		case err != nil:
			return err
		case next == 0 && !found:
			return fail(op, ErrCannotFindPartMap, nil, "no part map has a byte of the %d bytes at %#x", n, addr)
		case next == 0 || next > last: // behind last another goroutine may have mapped something
			return nil
		}
		at = next
	}
}

// hushed reports whether the last part was mapped the way that knew no events of
// removals.
func (s *Set) hushed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.quiet
}

// removeFrom removes what lies in [first, last] of the lowest part map that has
// something there. next is where that one ended; 0 if there was none.
func (s *Set) removeFrom(op string, first, last uintptr) (next uintptr, err error) {
	if err := s.lockForRemoval(op); err != nil {
		return 0, err
	}
	p := s.parts.from(first)
	if p == nil || p.addr > last {
		s.unlockAfterRemoval()
		return 0, nil
	}
	next = p.end()
	if refs := p.refs.Load(); refs > 0 {
		d := p.descriptor()
		s.unlockAfterRemoval()
		return 0, fail(op, ErrPartMapPossibleUseAfterDrop, nil, "the part map of %d bytes at %#x has %d references", d.Size, d.Addr, refs)
	}
	i, j := p.overlapping(first, last)
	if i == 0 && j == len(p.pieces) {
		return next, s.removeWhole(op, p)
	}
	return next, s.cut(op, p, i, j)
}

// lockForRemoval waits for deep flushes and takes the write lock.
func (s *Set) lockForRemoval(op string) error {
	s.flushing.Lock()
	err := s.lock(op)
	if err != nil {
		s.flushing.Unlock()
	}
	return err
}

func (s *Set) unlockAfterRemoval() {
	s.mu.Unlock()
	s.flushing.Unlock()
}

// departure is a part map on its way out: it can't be looked up any more, but its memory
// is still there to be used.
type departure struct {
	*part
	*pmem2.PreparedDelete
	was, neighbour *part // the previous part map before, and since
}

// removeWhole unmaps a part map, with its events. Both locks are held and given back.
func (s *Set) removeWhole(op string, p *part) error {
	whole, src, hushed := p.descriptor(), p.pieces[0].src.pmem2, s.quiet || !s.listening()
	d, err := pmem2.PrepareDelete(maps(p.pieces)...)
	if err != nil {
		s.unlockAfterRemoval()
		return failPMem2(op, err, "unmapping the part map of %d bytes at %#x", whole.Size, whole.Addr)
	}
	out := s.takeOut(p, d)
	s.unlockAfterRemoval()
	told := false
	defer func() {
		if !told { // the callback panics
			if gone, _ := s.conclude(out, false); gone {
				countOff(p.pieces)
			}
		}
	}()
	if !hushed {
		s.tell(&Event{Type: EventPartRemove, Addr: whole.Addr, Len: whole.Size})
	}
	told = true
	gone, err := s.conclude(out, true)
	if !gone {
		if !hushed {
			s.tell(&Event{Type: EventPartAdd, Addr: whole.Addr, Len: whole.Size, Added: whole, PMem2Source: src})
		}
		return failPMem2(op, err, "unmapping the part map of %d bytes at %#x", whole.Size, whole.Addr)
	}
	if err != nil { // about something else: for the logs
		_ = failPMem2(op, err, "the part map of %d bytes at %#x is unmapped", whole.Size, whole.Addr)
	}
	operation("%s: %d bytes at %#x unmapped", op, whole.Size, whole.Addr)
	s.forget(p.pieces)
	return nil
}

// takeOut makes a part map that is about to go unknown to look-ups; mu is held.
func (s *Set) takeOut(p *part, d *pmem2.PreparedDelete) departure {
	out := departure{part: p, PreparedDelete: d, was: s.previous}
	s.parts.remove(p)
	p.gone = true
	s.departing = append(s.departing, p)
	if s.previous == p {
		s.previous = nil
		if i := s.parts.behind(p.addr); i > 0 {
			s.previous = s.parts[i-1].part
		} else if i < len(s.parts) {
			s.previous = s.parts[i].part
		}
	}
	out.neighbour = s.previous
	return out
}

// conclude unmaps a departing part map or, if it mustn't or can't be unmapped, makes it
// what it was; its addresses were taken all the time. Of a set that has been deleted
// meanwhile nothing is to stay.
func (s *Set) conclude(out departure, unmap bool) (gone bool, err error) {
	s.flushing.Lock()
	s.mu.Lock()
	defer s.unlockAfterRemoval()
	p := out.part
	s.departing = slices.DeleteFunc(s.departing, func(q *part) bool { return q == p })
	if unmap || s.deleted.Load() {
		s.pickData()
		gone, err = out.Commit()
	} else {
		err = out.Cancel()
	}
	if gone {
		s.leave(p.region)
		return true, err
	}
	s.parts.insert(p)
	p.gone = false
	if s.previous == out.neighbour {
		s.previous = out.was
	}
	s.pickData()
	return false, err
}

// pickData chooses the mapping whose operations are used; mu is held.
func (s *Set) pickData() {
	switch {
	case s.deleted.Load():
		s.data.Store(nil)
	case len(s.parts) > 0:
		s.data.Store(s.parts[0].part.pieces[0].m)
	case len(s.departing) > 0:
		s.data.Store(s.departing[0].pieces[0].m)
	default:
		s.data.Store(nil)
	}
}

// cut unmaps the pieces [i, j) of a part map, but not all. Both locks are held and given
// back.
func (s *Set) cut(op string, p *part, i, j int) error {
	removed, at := slices.Clone(p.pieces[i:j]), p.pieces[i].addr
	stays := p.pieces[0].m
	if i == 0 {
		stays = p.pieces[j].m
	}
	s.data.Store(stays)
	gone := false
	d, err := pmem2.PrepareDelete(maps(removed)...)
	if err == nil {
		gone, err = d.Commit()
	}
	if !gone {
		s.unlockAfterRemoval()
		return failPMem2(op, err, "unmapping %d mappings at %#x, a part of a part map", j-i, at)
	}
	if err != nil { // about something else: for the logs
		_ = failPMem2(op, err, "%d mappings at %#x are unmapped", j-i, at)
	}
	end := p.end()
	switch first, last := removed[0], removed[len(removed)-1]; {
	case i == 0:
		s.parts.remove(p)
		p.pieces = slices.Clone(p.pieces[j:])
		p.addr = last.addr + uintptr(last.size)
		p.size = uint64(end - p.addr)
		s.parts.insert(p)
	case j == len(p.pieces):
		p.pieces = p.pieces[:i:i]
		p.size = uint64(first.addr - p.addr)
	default:
		upper := &part{set: s, region: p.region, addr: last.addr + uintptr(last.size), pieces: slices.Clone(p.pieces[j:])}
		upper.size = uint64(end - upper.addr)
		p.pieces = p.pieces[:i:i]
		p.size = uint64(first.addr - p.addr)
		p.region.parts++
		s.parts.insert(upper)
	}
	s.trim(p.region)
	s.unlockAfterRemoval()
	operation("%s: %d mappings at %#x unmapped", op, j-i, at)
	s.forget(removed)
	return nil
}

// forget takes mappings that are gone off the counts of their sources, one by one, with
// their events; if a callback panics, the rest without.
func (s *Set) forget(pieces []piece) {
	defer func() { countOff(pieces) }()
	for len(pieces) > 0 {
		q := pieces[0]
		pieces = pieces[1:]
		q.src.unmapped(q.sds)
		if q.sds {
			s.announceSDS(q.src)
		}
	}
}

func countOff(pieces []piece) {
	for _, q := range pieces {
		q.src.unmapped(q.sds)
	}
}
