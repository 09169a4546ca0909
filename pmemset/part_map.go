package pmemset

import (
	"math"
	"math/bits"
	"slices"
	"sync/atomic"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// PartDescriptor tells where a part map lies: struct pmemset_part_descriptor.
type PartDescriptor struct {
	Addr uintptr
	Size uint64 // bytes
}

// Bytes is the memory of the part map. The slice is dead once the part map is unmapped.
func (d PartDescriptor) Bytes() []byte {
	if d.Addr == 0 {
		return nil
	}
	return platform.Bytes(d.Addr, min(d.Size, math.MaxInt))
}

// part is a part map: one range of addresses, made of one mapping or, if parts were
// coalesced, of several.
type part struct {
	set    *Set
	region *region
	refs   atomic.Int64 // handles that haven't been dropped; grows under Set.mu only

	// The rest is under Set.mu.
	addr   uintptr
	size   uint64
	pieces []piece // in the order of their addresses, side by side
	gone   bool    // not in the set any more
}

// piece is a mapping, the finest unit that can be removed.
type piece struct {
	addr uintptr
	size uint64
	m    *pmem2.Map
	src  *Source
	sds  bool // counted in the source's shutdown data
}

func (p *part) end() uintptr { return p.addr + uintptr(p.size) }

func (p *part) descriptor() PartDescriptor { return PartDescriptor{Addr: p.addr, Size: p.size} }

// overlapping are the indexes [i, j) of the pieces with a byte in [first, last].
func (p *part) overlapping(first, last uintptr) (i, j int) {
	i, _ = slices.BinarySearchFunc(p.pieces, first, func(q piece, at uintptr) int {
		if q.addr+uintptr(q.size-1) < at {
			return -1
		}
		return 1
	})
	j, _ = slices.BinarySearchFunc(p.pieces, last, func(q piece, at uintptr) int {
		if q.addr <= at {
			return -1
		}
		return 1
	})
	return i, max(i, j)
}

func maps(pieces []piece) []*pmem2.Map {
	list := make([]*pmem2.Map, len(pieces))
	for i, q := range pieces {
		list[i] = q.m
	}
	return list
}

// partIndex are the part maps of a set in the order of their addresses, which stand
// beside the pointers so that a search stays in one piece of memory.
type partIndex []indexEntry

type indexEntry struct {
	addr uintptr
	part *part
}

// behind is the index of the first part map that starts above addr. What is found
// decides on no branch, since every second one would be predicted wrong.
func (x partIndex) behind(addr uintptr) int {
	low := 0
	for n := len(x); n > 0; {
		half := (n + 1) >> 1
		_, above := bits.Sub(uint(addr), uint(x[low+half-1].addr), 0) // 1 or 0
		low += half &^ -int(above)
		n -= half
	}
	return low
}

// at is the part map that holds addr, or nil.
func (x partIndex) at(addr uintptr) *part {
	if i := x.behind(addr); i > 0 {
		if p := x[i-1].part; uint64(addr-p.addr) < p.size {
			return p
		}
	}
	return nil
}

// from is the first part map with a byte at addr or above, or nil.
func (x partIndex) from(addr uintptr) *part {
	if p := x.at(addr); p != nil {
		return p
	}
	if i := x.behind(addr); i < len(x) {
		return x[i].part
	}
	return nil
}

func (x *partIndex) insert(p *part) {
	*x = slices.Insert(*x, x.behind(p.addr), indexEntry{p.addr, p})
}

func (x *partIndex) remove(p *part) {
	i := x.behind(p.addr) - 1
	*x = slices.Delete(*x, i, i+1)
}

// PartMap is a counted reference to a part map: what pmemset_first_part_map(3),
// pmemset_next_part_map(3) and pmemset_part_map_by_address(3) give. As long as one is
// held, nobody else can remove the part map. Each look-up gives a reference of its own,
// which can be dropped once; Same tells whether two are of one part map.
type PartMap struct {
	part    *part
	dropped atomic.Bool
}

// reference adds a reference to a part map; mu is held at least for reading.
func (p *part) reference() *PartMap {
	if p == nil {
		return nil
	}
	p.refs.Add(1)
	return &PartMap{part: p}
}

// held is the part map of a reference, or nil.
func (p *PartMap) held() *part {
	if p == nil || p.part == nil || p.dropped.Load() {
		return nil
	}
	return p.part
}

// FirstPartMap is pmemset_first_part_map(3): a reference to the part map at the lowest
// address; nil if the set has none, is nil or has been deleted.
func (s *Set) FirstPartMap() *PartMap {
	const op = "FirstPartMap"
	called(op)
	if s.usable(op) != nil {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.parts.from(0).reference()
}

// NextPartMap is pmemset_next_part_map(3): a reference to the part map that follows cur
// in the order of addresses; nil behind the last. cur is kept. It is nil, too, if cur is
// nil, has been dropped or belongs to another set.
func (s *Set) NextPartMap(cur *PartMap) *PartMap {
	const op = "NextPartMap"
	called(op)
	if s.usable(op) != nil {
		return nil
	}
	p := cur.held()
	if p == nil || p.set != s {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if p.gone {
		return nil
	}
	return s.parts.from(p.end()).reference()
}

// PartMapByAddress is pmemset_part_map_by_address(3): a reference to the part map that
// holds the byte at addr.
//
// Errors: ErrCannotFindPartMap: there is none; EINVAL on a nil or deleted set. The
// reference is then nil.
func (s *Set) PartMapByAddress(addr uintptr) (*PartMap, error) {
	const op = "PartMapByAddress"
	called(op)
	if err := s.usable(op); err != nil {
		return nil, err
	}
	s.mu.RLock()
	p := s.parts.at(addr).reference()
	s.mu.RUnlock()
	if p == nil {
		return nil, fail(op, ErrCannotFindPartMap, nil, "no part map holds the address %#x", addr)
	}
	return p, nil
}

// Drop is pmemset_part_map_drop(3): it gives the reference back. On nil and on one that
// has been given back it does nothing.
func (p *PartMap) Drop() {
	called("Drop")
	if p != nil && p.part != nil && p.dropped.CompareAndSwap(false, true) {
		p.part.refs.Add(-1)
	}
}

// Same reports whether both are references to one part map.
func (p *PartMap) Same(other *PartMap) bool {
	return p != nil && other != nil && p.part != nil && p.part == other.part
}

// Descriptor is pmemset_descriptor_part_map(3): where the part map lies now, all of it.
// It is zero once the reference has been dropped or the set deleted.
func (p *PartMap) Descriptor() PartDescriptor {
	called("Descriptor")
	q := p.held()
	if q == nil {
		return PartDescriptor{}
	}
	q.set.mu.RLock()
	defer q.set.mu.RUnlock()
	if q.gone || q.set.deleted.Load() {
		return PartDescriptor{}
	}
	return q.descriptor()
}
