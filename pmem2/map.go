package pmem2

import (
	"math"
	"sync/atomic"

	"pmemlab/pmem2/platform"
)

// Map is a mapping: pmem2_map_new(3), pmem2_map_from_existing(3). Its memory
// isn't Go's: it goes with Delete, not with the collector, and must not hold
// pointers to Go objects.
//
// After Delete, Address and Size are 0 and Bytes is nil; what returns an error
// returns ErrMappingNotFound.
type Map struct {
	machine     platform.Platform
	ops         *platform.CacheOps
	addr        uintptr
	size        uint64 // bytes that the program asked for
	reserved    uint64 // bytes that the mapping takes: size rounded up, never 0
	granularity Granularity
	direct      bool           // operations go straight to the CPU: no msync, no debugging
	reservation *VMReservation // that it lies in, or nil
	existing    bool           // the memory is the program's own
	anonymous   bool           // it has no file
	kind        fileKind       // of the file
	rdev        uint64         // of the device DAX
	deleted     atomic.Bool    // set under registry.mu
	getters     atomic.Pointer[functions]
}

// lastByte is the address of the last byte; unlike the end it can't wrap.
func (m *Map) lastByte() uintptr { return m.addr + uintptr(m.reserved-1) }

// setGranularity gives a map that is being made its operations.
func (m *Map) setGranularity(g Granularity) {
	m.granularity, m.ops = g, m.machine.CacheOps(g)
	m.direct = g != GranularityPage && !debugging
}

func (m *Map) live() bool { return m != nil && m.machine != nil && !m.deleted.Load() }

// Address is pmem2_map_get_address(3): where the mapping starts.
func (m *Map) Address() uintptr {
	if !m.live() {
		return 0
	}
	return m.addr
}

// Size is pmem2_map_get_size(3): the length of the mapping in bytes as it was
// asked for, not rounded up to pages.
func (m *Map) Size() uint64 {
	if !m.live() {
		return 0
	}
	return m.size
}

// StoreGranularity is pmem2_map_get_store_granularity(3): the granularity that
// the mapping has, which may be finer than the required one. It is GranularityPage
// for a nil map.
func (m *Map) StoreGranularity() Granularity {
	if m == nil || m.machine == nil {
		return GranularityPage
	}
	return m.granularity
}

// Bytes is the mapped memory, Size bytes of it, or the first 2^63-1 if
// MapFromExisting was told more. Reading and writing need the protection that the
// map was made with: the rest is a fault, as it is in C. The slice is dead once
// the map is deleted.
func (m *Map) Bytes() []byte {
	if !m.live() {
		return nil
	}
	return platform.Bytes(m.addr, min(m.size, math.MaxInt))
}

// SharesOps reports whether the operations on the two maps are the same
// functions, which in C is seen by comparing the pointers that
// pmem2_get_persist_fn(3) and its like return.
func (m *Map) SharesOps(other *Map) bool {
	return m != nil && other != nil && m.ops != nil && m.ops == other.ops
}

// Delete is pmem2_map_delete(3): it unmaps the memory, or, in a reservation,
// puts the placeholder back. The memory of a map from MapFromExisting stays.
//
// Errors: ErrMappingNotFound if the map is nil or has been deleted; else the
// errno of munmap, or of mmap and mremap in a reservation. The map is then as it
// was and can be deleted again, unless the error says that something is left
// behind: then that may be all that is left of it.
func (m *Map) Delete() error {
	const op = "Delete"
	called(op)
	if m == nil || m.machine == nil {
		return fail(op, ErrMappingNotFound, "the map is nil or empty")
	}
	if r := m.reservation; r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
	}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if m.deleted.Load() {
		return fail(op, ErrMappingNotFound, "the map at %#x has been deleted", m.addr)
	}
	gone, err := true, error(nil)
	switch {
	case m.existing:
	case m.reservation != nil:
		gone, err = putPlaceholderBack(op, m.machine, m.addr, m.reserved)
	default:
		if err := m.machine.Munmap(m.addr, m.reserved); err != nil {
			return failErrno(op, err, "munmap of %d bytes at %#x", m.reserved, m.addr)
		}
	}
	if gone {
		if debugLog.level >= logOperations {
			debugLog.printf(logOperations, "%d bytes at %#x unmapped", m.reserved, m.addr)
		}
		m.deleted.Store(true)
		registry.maps.remove(m)
		if m.reservation != nil {
			m.reservation.freed(m.addr)
			m.reservation.maps.remove(m)
		}
		if m.existing {
			registry.freed++
		}
	}
	return err
}
