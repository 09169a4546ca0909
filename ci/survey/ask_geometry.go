package survey

import (
	"pmemlab/pmem2/platform"
)

// span is a length and an offset; the texts are what rules call them.
type span struct {
	rule   string
	length uint64
	off    int64
	// luck: device DAX with huge pages answers as the address that it finds happens to be
	// aligned, so that nothing is asked of the mapping.
	luck bool
}

// spans is the geometry of an object: A is its alignment, S its size in whole pages.
func spans(o *object) []span {
	a, size := o.align, (o.size+page-1)&^(page-1)
	if o.empty {
		size = page
	}
	return []span{
		{rule: "len 0"},
		{rule: "len 1", length: 1},
		{rule: "len 4K", length: page},
		{rule: "len 4K-1", length: page - 1},
		{rule: "len A/2", length: a / 2},
		{rule: "len A-1", length: a - 1},
		{rule: "len A", length: a},
		{rule: "len A+1", length: a + 1},
		{rule: "len A+4K", length: a + page},
		{rule: "len 2A", length: 2 * a},
		{rule: "len S", length: size},
		{rule: "len S+4K", length: size + page},
		{rule: "len S+A", length: size + a},
		{rule: "len 4S", length: 4 * size},
		// Half the address space would fit only if nothing of the process lay amid it.
		{rule: "len 2^45", length: 1 << 45},
		{rule: "len 2^47", length: 1 << 47},
		{rule: "len 2^63", length: 1 << 63},
		{rule: "len -1", length: 1<<64 - 1},
		{rule: "len A off 1", length: a, off: 1},
		{rule: "len A off 4K", length: a, off: page, luck: true},
		{rule: "len A off A/2", length: a, off: int64(a / 2), luck: true},
		{rule: "len A off A", length: a, off: int64(a)},
		{rule: "len A off S-A", length: a, off: int64(size - a)},
		{rule: "len A off S-4K", length: a, off: int64(size - page), luck: true},
		{rule: "len A off S", length: a, off: int64(size)},
		{rule: "len A off S+A", length: a, off: int64(size + a)},
		{rule: "len 2A off S-A", length: 2 * a, off: int64(size - a)},
		{rule: "len A off 2^62", length: a, off: 1 << 62},
		{rule: "len A off -A", length: a, off: -int64(a)},
		{rule: "len A off -4K", length: a, off: -page},
		{rule: "len 4K off A", length: page, off: int64(a)},
		{rule: "len 4K off S-4K", length: page, off: int64(size - page)},
		{rule: "len 4K off S", length: page, off: int64(size)},
	}
}

func (s *session) askGeometry() {
	s.each(func(o *object) {
		if o.closed {
			return
		}
		s.with(o, readWrite, func(fd int) {
			for _, f := range mmapFlags {
				switch f.name {
				case "SHARED", "V+S":
					s.askSpans(o, f.name, fd, protRW, f.flags)
				case "PRIVATE": // a large private mapping that can be written to may want memory
					s.askSpans(o, f.name+" R", fd, platform.ProtRead, f.flags)
				}
			}
		})
	}, deviceDAX, file)
}

func (s *session) askSpans(o *object, how string, fd, prot, flags int) {
	for _, sp := range spans(o) {
		rule := how + " " + sp.rule
		at, err := s.k.Mmap(0, sp.length, prot, flags, fd, sp.off)
		s.ask("mmap", rule, errnoText(err))
		if err != nil {
			continue
		}
		n := (sp.length + page - 1) &^ (page - 1)
		if !sp.luck || o.kind != deviceDAX || o.align == page {
			s.askEnds(rule, at, n, prot)
		}
		s.unmap(at, n)
	}
}

// askEnds asks where accesses to a mapping of n bytes fault.
func (s *session) askEnds(rule string, at uintptr, n uint64, prot int) {
	s.ask("read the first byte", rule, faultText(load(at)))
	s.ask("read the last byte", rule, faultText(load(at+uintptr(n)-1)))
	if prot&platform.ProtWrite != 0 {
		s.ask("write the last byte", rule, faultText(store(at+uintptr(n)-1)))
	}
}

// fixedSpans is what is mapped at delta bytes above an address that is a multiple of A.
func fixedSpans(o *object) []struct {
	span
	delta uint64
} {
	a, size := o.align, (o.size+page-1)&^(page-1)
	return []struct {
		span
		delta uint64
	}{
		{span{rule: "len A", length: a}, 0},
		{span{rule: "len A at A*k+4K", length: a}, page},
		{span{rule: "len A at A*k+A/2", length: a}, a / 2},
		{span{rule: "len A at A*k+1", length: a}, 1},
		{span{rule: "len 4K", length: page}, 0},
		{span{rule: "len A-4K", length: a - page}, 0},
		{span{rule: "len A-1", length: a - 1}, 0},
		{span{rule: "len A+4K", length: a + page}, 0},
		{span{rule: "len A off 4K", length: a, off: page}, 0},
		{span{rule: "len A off A/2", length: a, off: int64(a / 2)}, 0},
		{span{rule: "len A off A-4K", length: a, off: int64(a - page)}, 0},
		{span{rule: "len A at A*k+4K off 4K", length: a, off: page}, page},
		{span{rule: "len 2A off 4K", length: 2 * a, off: page}, 0},
		{span{rule: "len A off S-A", length: a, off: int64(size - a)}, 0},
		{span{rule: "len A off S-4K", length: a, off: int64(size - page)}, 0},
		{span{rule: "len A off S", length: a, off: int64(size)}, 0},
		{span{rule: "len S off A", length: size, off: int64(a)}, 0},
	}
}

func (s *session) askFixed() {
	s.each(func(o *object) {
		if o.closed || o.empty {
			return
		}
		s.with(o, readWrite, func(fd int) {
			a, ok := s.reserve(o.size+o.align, o.align)
			if !ok {
				return
			}
			defer a.release()
			for _, f := range mmapFlags {
				if f.name != "SHARED" && f.name != "V+S" {
					continue
				}
				for _, sp := range fixedSpans(o) {
					if sp.length == 0 || o.align == page && sp.delta == o.align/2 {
						continue // for 4 KiB these are other cases
					}
					rule := f.name + " " + sp.rule
					want := a.base + uintptr(sp.delta)
					at, err := s.k.Mmap(want, sp.length, protRW, f.flags|platform.MapFixed, fd, sp.off)
					answer := errnoText(err)
					if err == nil && at != want {
						answer = "elsewhere"
					}
					s.ask("mmap", rule, answer)
					if err == nil {
						n := (sp.length + page - 1) &^ (page - 1)
						s.askEnds(rule, at, n, protRW)
					}
					a.renew()
				}
			}
		})
	}, deviceDAX, file)
}

func (s *session) askPlace() {
	s.each(func(o *object) {
		if o.closed || o.empty {
			return
		}
		s.with(o, readWrite, func(fd int) {
			for _, f := range mmapFlags {
				switch f.name {
				case "SHARED", "V", "V+S":
					s.askHints(o, f.name, f.flags, fd)
				}
			}
		})
	}, deviceDAX, file)
}

func (s *session) askHints(o *object, how string, flags, fd int) {
	n := o.align
	for _, c := range []struct {
		rule     string
		delta    uint64
		flags    int
		occupied bool
	}{
		{"hint, free A*k", 0, 0, false},
		{"hint, free A*k+4K", page, 0, false},
		{"hint, free A*k+A/2", n / 2, 0, false},
		{"hint, free A*k+1", 1, 0, false},
		{"hint, occupied A*k", 0, 0, true},
		{"NOREPLACE, free A*k", 0, platform.MapFixedNoreplace, false},
		{"NOREPLACE, free A*k+4K", page, platform.MapFixedNoreplace, false},
		{"NOREPLACE, free A*k+1", 1, platform.MapFixedNoreplace, false},
		{"NOREPLACE, occupied A*k", 0, platform.MapFixedNoreplace, true},
		{"NOREPLACE+FIXED, occupied A*k", 0, platform.MapFixedNoreplace | platform.MapFixed, true},
	} {
		if n == page && c.delta == n/2 {
			continue
		}
		a, ok := s.reserve(2*n, n)
		if !ok {
			return
		}
		want := a.base + uintptr(c.delta)
		if !c.occupied {
			s.unmap(a.start, a.length)
		}
		at, err := s.k.Mmap(want, n, protRW, flags|c.flags, fd, 0)
		answer := errnoText(err)
		switch {
		case err != nil:
		case at == want&^(page-1):
			answer = "ok, there"
		default:
			answer = "ok, elsewhere"
		}
		s.ask("mmap", how+" "+c.rule, answer)
		if err == nil {
			s.unmap(at, n)
		}
		if c.occupied {
			a.release()
		}
	}
}
