package survey

import (
	"pmemlab/pmem2/platform"
)

// failure is a mmap with MAP_FIXED that is to fail.
type failure struct {
	rule        string
	prot, flags int
	length      uint64
	off         int64
	delta       uint64
}

// askHole asks what is left of a mapping where a mmap with MAP_FIXED failed over it.
func (s *session) askHole() {
	s.each(func(o *object) {
		a, ok := s.reserve(4*o.align, o.align)
		if !ok {
			return
		}
		defer a.release()
		for _, mode := range o.modes {
			if mode.flags&platform.OAppend != 0 && !o.closed {
				continue // the same as without
			}
			s.with(o, mode, func(fd int) {
				for _, f := range failures(o) {
					s.askFailure(a, fd, mode.name+" ", f)
				}
			})
		}
	}, deviceDAX, file, directory, character)
}

func failures(o *object) []failure {
	n := o.align
	all := []failure{
		{"PRIVATE RW", protRW, platform.MapPrivate, n, 0, 0},
		{"PRIVATE R", platform.ProtRead, platform.MapPrivate, n, 0, 0},
		{"SHARED RW", protRW, platform.MapShared, n, 0, 0},
		{"SHARED R", platform.ProtRead, platform.MapShared, n, 0, 0},
		{"V+S RW", protRW, mapSync, n, 0, 0},
		{"V+S R", platform.ProtRead, mapSync, n, 0, 0},
		{"SHARED+S RW", protRW, platform.MapShared | platform.MapSync, n, 0, 0},
		{"PRIVATE+S R", platform.ProtRead, platform.MapPrivate | platform.MapSync, n, 0, 0},
		{"V+bogus RW", protRW, platform.MapSharedValidate | undefinedFlag, n, 0, 0},
		{"0 RW", protRW, 0, n, 0, 0},
		{"SHARED+HUGETLB RW", protRW, platform.MapShared | platform.MapHugetlb, n, 0, 0},
		{"SHARED+GROWSDOWN RW", protRW, platform.MapShared | mapGrowsdown, n, 0, 0},
		{"SHARED RW off 1", protRW, platform.MapShared, n, 1, 0},
		{"SHARED RW off -4K", protRW, platform.MapShared, n, -page, 0},
		{"SHARED RW len 0", protRW, platform.MapShared, 0, 0, 0},
		{"SHARED RW len 2^47", protRW, platform.MapShared, 1 << 47, 0, 0},
		{"SHARED RW A*k+1", protRW, platform.MapShared, n, 0, 1},
	}
	if o.align > page {
		all = append(all,
			failure{"SHARED RW A*k+4K", protRW, platform.MapShared, n, 0, page},
			failure{"SHARED RW len A+4K", protRW, platform.MapShared, n + page, 0, 0},
			failure{"SHARED RW len 4K", protRW, platform.MapShared, page, 0, 0},
		)
	}
	return all
}

func (s *session) askFailure(a arena, fd int, how string, f failure) {
	// Shared memory has small pages: one is touched, and no huge one has to be cleared for it.
	const shared = platform.MapShared | platform.MapAnonymous | platform.MapNoreserve
	at, err := s.k.Mmap(a.base, 2*a.align, protRW, shared|platform.MapFixed, -1, 0)
	if err != nil {
		s.fail("what is to be replaced: %w", err)
		return
	}
	if got := store(at + page); got != 0 {
		s.fail("what is to be replaced can't be written to: %s", faultText(got))
		return
	}
	_, err = s.k.Mmap(a.base+uintptr(f.delta), f.length, f.prot, f.flags|platform.MapFixed, fd, f.off)
	s.ask("mmap FIXED", how+f.rule, errnoText(err))
	if err != nil {
		inside := a.base
		if f.length > page {
			inside += page
		}
		answer := faultText(load(inside))
		if answer == "ok" {
			answer = "still there"
		}
		s.ask("what was there", how+f.rule, answer)
	}
	a.renew()
}

// askRounding maps device DAX at file offsets that are no multiples of its alignment, at
// an aligned address, and looks which byte of the device is there.
func (s *session) askRounding() {
	s.each(func(o *object) {
		s.with(o, readWrite, func(fd int) { s.askOffsets(o, fd) })
	}, deviceDAX)
	s.each(func(o *object) {
		if !o.closed && !o.empty {
			s.with(o, readWrite, func(fd int) { s.askOffsets(o, fd) })
		}
	}, file)
}

func (s *session) askOffsets(o *object, fd int) {
	n := 3 * o.align
	a, ok := s.reserve(n, o.align)
	if !ok {
		return
	}
	defer a.release()
	offsets := []uint64{
		0, page, 2 * page, 3 * page, 7 * page, o.align / 4, o.align / 2, o.align/2 + page, o.align - 2*page, o.align - page,
		o.align, o.align + page, o.align + o.align/2, 2*o.align - page, 2 * o.align,
	}
	seen := map[uint64]bool{}
	var asked []uint64
	for _, off := range offsets {
		if off%page == 0 && off < n && !seen[off] {
			seen[off] = true
			asked = append(asked, off)
		}
	}
	// Each page is marked with its offset, through a mapping of the whole.
	at, err := s.k.Mmap(a.base, n, protRW, platform.MapShared|platform.MapFixed, fd, 0)
	if err != nil {
		s.fail("mapping all of it: %w", err)
		return
	}
	for i, off := range asked {
		if got := store(at + uintptr(off)); got != 0 {
			s.fail("marking offset %#x: %s", off, faultText(got))
			return
		}
		platform.Bytes(at+uintptr(off), 1)[0] = byte(i + 1)
	}
	a.renew()
	for _, delta := range []uint64{0, o.align} {
		for _, off := range asked {
			at, err := s.k.Mmap(a.base+uintptr(delta), o.align, platform.ProtRead, platform.MapShared|platform.MapFixed, fd, int64(off))
			answer := errnoText(err)
			if err == nil {
				if answer = faultText(load(at)); answer == "ok" {
					answer = "another"
					if mark := platform.Bytes(at, 1)[0]; mark > 0 && int(mark) <= len(asked) {
						answer = "that of " + hexText(asked[mark-1])
					}
				}
			}
			rule := "off " + hexText(off)
			if delta > 0 {
				rule += " at A*(k+1)"
			}
			s.ask("the first byte", rule, answer)
			a.renew()
		}
	}
}
