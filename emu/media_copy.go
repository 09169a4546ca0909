package emu

import (
	"cmp"
	"maps"
	"slices"
)

// spanPlace is where a span of the media is in which object.
type spanPlace struct {
	object int
	off    uint64
}

// where tells of an offset in the common space of which object it is, by number, and where
// in it. What it says stays as it is now.
func (s *media) where() func(off uint64) (object int, at uint64) {
	places := make([]spanPlace, len(s.spans))
	for i, sp := range s.spans {
		if sp != nil {
			places[i] = spanPlace{sp.obj.number, sp.off}
		}
	}
	return func(off uint64) (int, uint64) {
		p := places[off>>spanBits]
		return p.object, p.off | off&(1<<spanBits-1)
	}
}

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
