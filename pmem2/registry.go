package pmem2

import (
	"slices"
	"sync"
)

// extents is a list of maps in the order of their addresses, no two of which
// overlap. An insertion moves what lies behind it; the kernel allows a process
// 65,530 mappings by default, so that this is at most half a megabyte.
type extents []*Map

// after is the index of the first map that ends behind addr.
func (e extents) after(addr uintptr) int {
	i, _ := slices.BinarySearchFunc(e, addr, func(m *Map, addr uintptr) int {
		if m.lastByte() < addr {
			return -1
		}
		return 1
	})
	return i
}

// first is the lowest map that holds a byte of [addr, last], or nil.
func (e extents) first(addr, last uintptr) *Map {
	if i := e.after(addr); i < len(e) && e[i].addr <= last {
		return e[i]
	}
	return nil
}

func (e *extents) insert(m *Map) { *e = slices.Insert(*e, e.after(m.addr), m) }

func (e *extents) remove(m *Map) {
	if i := e.index(m); i >= 0 {
		*e = slices.Delete(*e, i, i+1)
	}
}

// removeRun removes maps of which no two have another one between them.
func (e *extents) removeRun(maps []*Map) {
	if i := e.index(maps[0]); i >= 0 {
		*e = slices.Delete(*e, i, i+len(maps))
	}
}

// index is the place of m, or -1.
func (e extents) index(m *Map) int {
	if i := e.after(m.addr); i < len(e) && e[i] == m {
		return i
	}
	return -1
}

// registry holds every map of the process, whatever machine it belongs to: there
// is one address space. Page flushes find the mappings of a range in it, and
// MapFromExisting what is taken.
//
// A map is removed in the same critical section in which its memory is unmapped,
// so that no other goroutine can be given the range by the kernel and find it
// still registered. A reservation's mutex is taken before the registry's.
var registry struct {
	mu    sync.RWMutex
	maps  extents
	freed uint64 // maps of the program's own memory that have been deleted
}

// register adds m, or returns the map that overlaps it.
func register(m *Map) (taken *Map) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if taken = registry.maps.first(m.addr, m.lastByte()); taken == nil {
		registry.maps.insert(m)
	}
	return taken
}

func unregister(m *Map) {
	registry.mu.Lock()
	registry.maps.remove(m)
	registry.mu.Unlock()
}

// registered is the lowest map that holds a byte of [addr, last], or nil.
func registered(addr, last uintptr) *Map {
	registry.mu.RLock()
	defer registry.mu.RUnlock()
	return registry.maps.first(addr, last)
}
