package pmem2

import "math"

// freeSearch remembers how far a reservation is known to have no gap that is of any
// use, so that filling it from its start doesn't look at all its maps each time.
type freeSearch struct {
	length uint64  // no gap of this many bytes or more lies
	from   uintptr // below this address
	freed  uint64  // as long as registry.freed is this
}

// FindFree finds the lowest offset, in bytes from the start of the reservation, at
// which length bytes are free, and which gives an address that is a multiple of
// alignment, a power of two. ok says whether there is one: there is none for a length
// of 0, in a nil reservation and in one that has been deleted. By the time that a map
// is made there another goroutine may have taken it: NewMap is then ErrMappingExists.
// The C library has no such function.
func (r *VMReservation) FindFree(length, alignment uint64) (offset uint64, ok bool) {
	const op = "FindFree"
	called(op)
	if r == nil || r.machine == nil || length == 0 || alignment == 0 || alignment&(alignment-1) != 0 {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted || length > r.size {
		return 0, false
	}
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	s := &r.search
	if s.freed != registry.freed || s.from < r.addr {
		*s = freeSearch{length: math.MaxUint64, from: r.addr, freed: registry.freed}
	}
	at, end := uint64(s.from), uint64(r.addr)+r.size
	if length < s.length {
		at, s.length = uint64(r.addr), length
	}
	remembered := false
	for i := registry.maps.after(uintptr(at)); ; i++ {
		gapEnd, behind := end, true
		if i < len(registry.maps) && uint64(registry.maps[i].addr) < end {
			gapEnd, behind = uint64(registry.maps[i].addr), false
		}
		if !remembered && (behind || gapEnd >= at && gapEnd-at >= s.length) {
			s.from, remembered = uintptr(at), true // later searches start here
		}
		// At the top of the address space rounding up wraps round.
		if start := roundUp(at, alignment); start >= at && start <= gapEnd && gapEnd-start >= length {
			return start - uint64(r.addr), true
		}
		if behind {
			return 0, false
		}
		if at = uint64(registry.maps[i].lastByte()) + 1; at == 0 {
			return 0, false // the map reaches to the top of the address space
		}
	}
}

// freed tells the search that the map at addr, which is still in the list, goes.
func (r *VMReservation) freed(addr uintptr) {
	if addr >= r.search.from {
		return
	}
	r.search.from = r.addr
	if i := r.maps.after(addr); i > 0 {
		r.search.from = max(r.addr, r.maps[i-1].lastByte()+1)
	}
}
