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

// spanPlaces are where the spans of the media are, by number.
type spanPlaces struct{ all []spanPlace }

// places is where the spans are now; it stays so.
func (s *media) places() *spanPlaces {
	p := &spanPlaces{make([]spanPlace, len(s.spans))}
	for i, sp := range s.spans {
		if sp != nil {
			p.all[i] = spanPlace{sp.obj.number, sp.off}
		}
	}
	return p
}

// where tells of an offset in the common space of which object it is, by number, and where
// in it.
func (p *spanPlaces) where(off uint64) (object int, at uint64) {
	sp := p.all[off>>spanBits]
	return sp.object, sp.off | off&(1<<spanBits-1)
}

// place is the inverse of where. An object that has no span there gets one.
func (p *spanPlaces) place(object int, at uint64) uint64 {
	sp := spanPlace{object, at >> spanBits << spanBits}
	n := slices.Index(p.all, sp)
	if n < 0 {
		n = len(p.all)
		p.all = append(p.all, sp)
	}
	return uint64(n)<<spanBits | at&(1<<spanBits-1)
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
