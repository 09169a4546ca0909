package emu

import (
	"cmp"
	"maps"
	"slices"
)

// put stores p at off of o as durable, which nothing was known of yet.
func (s *media) put(o *object, off uint64, p []byte) {
	for len(p) > 0 {
		n := min(uint64(len(p)), pageSize-off%pageSize)
		place := s.place(o, off)
		page := s.page(place)
		if page == nil {
			page = &mediaPage{}
			s.spans[place>>spanBits].pages[place&(1<<spanBits-1)/pageSize] = page
			s.lastPage = page
		}
		copy(page.data[off%pageSize:], p[:n])
		p, off = p[n:], off+n
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
