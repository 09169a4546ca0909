package pmemset

import "pmemlab/pmem2"

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
	if err := s.lock(op); err != nil {
		return err
	}
	if q.gone {
		s.mu.Unlock()
		return fail(op, ErrPartNotFound, nil, "the part map isn't in the set any more")
	}
	if refs := q.refs.Load(); refs > 1 {
		at := q.addr
		s.mu.Unlock()
		return fail(op, ErrPartMapPossibleUseAfterDrop, nil, "the part map at %#x has %d references", at, refs)
	}
	if !p.dropped.CompareAndSwap(false, true) {
		s.mu.Unlock()
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
	if err := s.lock(op); err != nil {
		return 0, err
	}
	p := s.parts.from(first)
	if p == nil || p.addr > last {
		s.mu.Unlock()
		return 0, nil
	}
	next = p.end()
	if refs := p.refs.Load(); refs > 0 {
		d := p.descriptor()
		s.mu.Unlock()
		return 0, fail(op, ErrPartMapPossibleUseAfterDrop, nil, "the part map of %d bytes at %#x has %d references", d.Size, d.Addr, refs)
	}
	i, j := p.overlapping(first, last)
	if i == 0 && j == len(p.pieces) {
		return next, s.removeWhole(op, p)
	}
	return next, s.cut(op, p, i, j)
}

// removeWhole unmaps a part map, with its events. mu is held and given back.
func (s *Set) removeWhole(op string, p *part) error {
	whole, src := p.descriptor(), p.pieces[0].src.pmem2
	d, err := pmem2.PrepareDelete(maps(p.pieces)...)
	if err != nil {
		s.mu.Unlock()
		return failPMem2(op, err, "unmapping the part map of %d bytes at %#x", whole.Size, whole.Addr)
	}
	was := s.previous
	s.takeOut(p)
	neighbour, hushed := s.previous, s.quiet
	s.mu.Unlock()
	removed := false
	defer func() {
		if !removed { // the callback may panic
			_ = d.Cancel()
			s.putBack(p, was, neighbour)
		}
	}()
	if !hushed && s.listening() {
		s.tell(&Event{Type: EventPartRemove, Addr: whole.Addr, Len: whole.Size})
	}
	if removed, err = d.Commit(); !removed {
		s.putBack(p, was, neighbour)
		removed = true
		if !hushed && s.listening() {
			s.tell(&Event{Type: EventPartAdd, Addr: whole.Addr, Len: whole.Size, Added: whole, PMem2Source: src})
		}
		return failPMem2(op, err, "unmapping the part map of %d bytes at %#x", whole.Size, whole.Addr)
	}
	s.mu.Lock()
	s.departing--
	s.leave(p.region)
	s.mu.Unlock()
	operation("%s: %d bytes at %#x unmapped", op, whole.Size, whole.Addr)
	s.forget(p.pieces)
	return nil
}

// takeOut makes a part map that is about to go unknown to the set; mu is held.
func (s *Set) takeOut(p *part) {
	s.parts.remove(p)
	p.gone = true
	s.departing++
	if s.previous == p {
		s.previous = nil
		if i := s.parts.behind(p.addr); i > 0 {
			s.previous = s.parts[i-1].part
		} else if i < len(s.parts) {
			s.previous = s.parts[i].part
		}
	}
	s.pickData()
}

// putBack undoes takeOut, for a part map that couldn't be unmapped. Its addresses were
// taken all the time.
func (s *Set) putBack(p *part, was, neighbour *part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.departing--
	s.parts.insert(p)
	p.gone = s.deleted.Load() // then Delete can be called again
	if s.previous == neighbour {
		s.previous = was
	}
	if !p.gone {
		s.pickData()
	}
}

// pickData chooses the mapping whose operations are used; mu is held.
func (s *Set) pickData() {
	if len(s.parts) == 0 {
		s.data.Store(nil)
		return
	}
	s.data.Store(s.parts[0].part.pieces[0].m)
}

// cut unmaps the pieces [i, j) of a part map, but not all. mu is held and given back.
func (s *Set) cut(op string, p *part, i, j int) error {
	removed, at := p.pieces[i:j:j], p.pieces[i].addr
	d, err := pmem2.PrepareDelete(maps(removed)...)
	if err != nil {
		s.mu.Unlock()
		return failPMem2(op, err, "unmapping %d mappings at %#x, a part of a part map", j-i, at)
	}
	stays := p.pieces[len(p.pieces)-1].m
	if j == len(p.pieces) {
		stays = p.pieces[0].m
	}
	s.data.Store(stays)
	if gone, err := d.Commit(); !gone {
		s.mu.Unlock()
		return failPMem2(op, err, "unmapping %d mappings at %#x, a part of a part map", j-i, at)
	}
	removed = append([]piece(nil), removed...)
	end := p.end()
	switch first, last := removed[0], removed[len(removed)-1]; {
	case i == 0:
		s.parts.remove(p)
		p.pieces = append([]piece(nil), p.pieces[j:]...)
		p.addr = last.addr + uintptr(last.size)
		p.size = uint64(end - p.addr)
		s.parts.insert(p)
	case j == len(p.pieces):
		p.pieces = p.pieces[:i:i]
		p.size = uint64(first.addr - p.addr)
	default:
		upper := &part{set: s, region: p.region, addr: last.addr + uintptr(last.size), pieces: append([]piece(nil), p.pieces[j:]...)}
		upper.size = uint64(end - upper.addr)
		p.pieces = p.pieces[:i:i]
		p.size = uint64(first.addr - p.addr)
		p.region.parts++
		s.parts.insert(upper)
	}
	s.trim(p.region)
	s.mu.Unlock()
	operation("%s: %d mappings at %#x unmapped", op, j-i, at)
	s.forget(removed)
	return nil
}

// forget takes mappings that are gone off the counts of their sources, one by one.
func (s *Set) forget(pieces []piece) {
	for _, q := range pieces {
		q.src.unmapped(q.sds)
		if q.sds {
			s.announceSDS(q.src)
		}
	}
}
