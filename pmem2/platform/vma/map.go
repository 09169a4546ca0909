// Package vma keeps address ranges as a kernel keeps its virtual memory areas:
// ranges that don't overlap, each with a payload. What a new range covers of
// older ones is gone, and a range may be cut anywhere.
//
// A range is given by its first address and its length in bytes. It may end at
// the very top of the address space; one that would run past the top ends
// there. A range of length 0 holds nothing: inserting, removing or looking for
// it does nothing.
package vma

import (
	"iter"
	"slices"
	"sort"
)

// Entry is the range of Len bytes, at least 1, from Addr on and its payload.
type Entry[T any] struct {
	Addr  uintptr
	Len   uint64
	Value T
}

// Last is the address of the last byte: unlike the end it can't wrap.
func (e Entry[T]) Last() uintptr { return e.Addr + uintptr(e.Len-1) }

// Map is a set of ranges that don't overlap, sorted by address. Neighbours are
// never merged, whatever their payloads.
//
// The zero Map is empty and keeps a payload as it is when its range is cut. A
// payload that depends on where its range begins, such as an offset into a
// file, needs a Map from [New].
//
// A Map isn't safe for concurrent use, and must not be changed while one of its
// iterators runs.
type Map[T any] struct {
	split   func(v T, off uint64) T
	entries []Entry[T] // by address
}

// New returns an empty Map. split returns the payload of the part of a range
// that starts off bytes in, off > 0, v being the payload of the whole.
func New[T any](split func(v T, off uint64) T) *Map[T] {
	return &Map[T]{split: split}
}

// Len is the number of entries.
func (m *Map[T]) Len() int { return len(m.entries) }

// Insert adds the range with payload v and returns what it replaced, as
// [Map.Remove] does: the rule of mmap(2) with MAP_FIXED.
func (m *Map[T]) Insert(addr uintptr, n uint64, v T) []Entry[T] {
	if n == 0 {
		return nil
	}
	removed := m.Remove(addr, n)
	e := span[T](addr, n)
	e.Value = v
	m.entries = slices.Insert(m.entries, m.search(addr), e)
	return removed
}

// Remove removes the range and returns what was there, ascending: clipped to
// the range, payloads advanced by what was clipped from their fronts.
func (m *Map[T]) Remove(addr uintptr, n uint64) []Entry[T] {
	lo, hi := m.overlap(addr, n)
	if lo == hi {
		return nil
	}
	removed := slices.Clone(m.entries[lo:hi])
	var rest []Entry[T]
	if front := m.entries[lo]; front.Addr < addr {
		front.Len = uint64(addr - front.Addr)
		rest = append(rest, front)
	}
	if last, back := span[T](addr, n).Last(), m.entries[hi-1]; back.Last() > last {
		rest = append(rest, m.clip(back, last+1, uint64(back.Last()-last)))
	}
	m.entries = slices.Replace(m.entries, lo, hi, rest...)
	for i, e := range removed {
		removed[i] = m.clip(e, addr, n)
	}
	return removed
}

// Overlapping yields what lies in the range, ascending and clipped as by
// [Map.Remove]. [Map.At] gives the whole entry of an address.
func (m *Map[T]) Overlapping(addr uintptr, n uint64) iter.Seq[Entry[T]] {
	return func(yield func(Entry[T]) bool) {
		lo, hi := m.overlap(addr, n)
		for _, e := range m.entries[lo:hi] {
			if !yield(m.clip(e, addr, n)) {
				return
			}
		}
	}
}

// At returns the entry that holds the byte at addr.
func (m *Map[T]) At(addr uintptr) (Entry[T], bool) {
	if i := m.search(addr); i < len(m.entries) && m.entries[i].Addr <= addr {
		return m.entries[i], true
	}
	return Entry[T]{}, false
}

// All yields every entry, ascending.
func (m *Map[T]) All() iter.Seq[Entry[T]] { return slices.Values(m.entries) }

// search returns the index of the first entry that ends at addr or above.
func (m *Map[T]) search(addr uintptr) int {
	return sort.Search(len(m.entries), func(i int) bool { return m.entries[i].Last() >= addr })
}

// overlap returns the indexes [lo, hi) of the entries that share a byte with
// the range.
func (m *Map[T]) overlap(addr uintptr, n uint64) (lo, hi int) {
	if n == 0 {
		return 0, 0
	}
	last := span[T](addr, n).Last()
	lo = m.search(addr)
	hi = lo + sort.Search(len(m.entries)-lo, func(i int) bool { return m.entries[lo+i].Addr > last })
	return lo, hi
}

// clip returns the part of e inside the range, which overlaps it.
func (m *Map[T]) clip(e Entry[T], addr uintptr, n uint64) Entry[T] {
	last := min(e.Last(), span[T](addr, n).Last())
	if addr > e.Addr {
		if m.split != nil {
			e.Value = m.split(e.Value, uint64(addr-e.Addr))
		}
		e.Addr = addr
	}
	e.Len = uint64(last-e.Addr) + 1
	return e
}

// span is the range, n > 0, cut off at the top of the address space.
func span[T any](addr uintptr, n uint64) Entry[T] {
	return Entry[T]{Addr: addr, Len: min(n-1, uint64(^uintptr(0)-addr)) + 1}
}
