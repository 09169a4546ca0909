package pmem2

import "math"

// MapFind is pmem2_vm_reservation_map_find(3): the mapping at the lowest address
// that holds a byte of the length bytes at offset, both counted in bytes from
// the start of the reservation. With length 0 it is the one that holds the byte
// at offset. Only maps that NewMap has made in the reservation are found.
//
// Errors: ErrMappingNotFound if there is none; EINVAL on a nil or deleted
// reservation. The map is then nil.
func (r *VMReservation) MapFind(offset, length uint64) (*Map, error) {
	const op = "MapFind"
	return r.find(op, func() (*Map, error) {
		if offset >= r.size {
			return nil, fail(op, ErrMappingNotFound, "offset %d isn't below the reservation's size %d", offset, r.size)
		}
		last := min(max(length, 1)-1, r.size-1-offset) // from offset on
		m := r.maps.first(r.addr+uintptr(offset), r.addr+uintptr(offset+last))
		if m == nil {
			return nil, fail(op, ErrMappingNotFound, "no mapping in the %d bytes at offset %d", length, offset)
		}
		return m, nil
	})
}

// MapFindFirst is pmem2_vm_reservation_map_find_first(3): the mapping at the
// lowest address. Errors as for MapFind.
func (r *VMReservation) MapFindFirst() (*Map, error) {
	return r.at("MapFindFirst", func() int { return 0 })
}

// MapFindLast is pmem2_vm_reservation_map_find_last(3): the mapping at the
// highest address. Errors as for MapFind.
func (r *VMReservation) MapFindLast() (*Map, error) {
	return r.at("MapFindLast", func() int { return len(r.maps) - 1 })
}

// MapFindNext is pmem2_vm_reservation_map_find_next(3): the mapping behind m in
// the order of addresses. Errors as for MapFind; a map that isn't in the
// reservation has no neighbour there: ErrMappingNotFound.
func (r *VMReservation) MapFindNext(m *Map) (*Map, error) {
	return r.neighbour("MapFindNext", m, 1)
}

// MapFindPrev is pmem2_vm_reservation_map_find_prev(3): the mapping before m in
// the order of addresses. Errors as for MapFindNext.
func (r *VMReservation) MapFindPrev(m *Map) (*Map, error) {
	return r.neighbour("MapFindPrev", m, -1)
}

func (r *VMReservation) neighbour(op string, m *Map, step int) (*Map, error) {
	return r.at(op, func() int {
		if m == nil {
			return math.MaxInt
		}
		if i := r.maps.index(m); i >= 0 {
			return i + step
		}
		return math.MaxInt
	})
}

// at returns the map at an index that is worked out under the lock.
func (r *VMReservation) at(op string, index func() int) (*Map, error) {
	return r.find(op, func() (*Map, error) {
		i := index()
		switch {
		case i == math.MaxInt:
			return nil, fail(op, ErrMappingNotFound, "the map given isn't one of the reservation's %d mappings", len(r.maps))
		case i < 0 || i >= len(r.maps):
			return nil, fail(op, ErrMappingNotFound, "no such mapping among the reservation's %d", len(r.maps))
		}
		return r.maps[i], nil
	})
}

// find looks a map up in a reservation that is in use.
func (r *VMReservation) find(op string, look func() (*Map, error)) (*Map, error) {
	called(op)
	if r == nil || r.machine == nil {
		return nil, invalid(op, "the reservation is nil or empty")
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.deleted {
		return nil, invalid(op, "the reservation has been deleted")
	}
	return look()
}
