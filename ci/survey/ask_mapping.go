package survey

import (
	"pmemlab/pmem2/platform"
)

// mapped is a mapping in the middle of an arena: free memory lies behind it.
type mapped struct {
	*session
	arena
	o    *object
	fd   int
	at   uintptr
	n, a uint64 // its length, and the object's alignment
}

// askCases calls f for each kind of mapping that the calls on mappings are asked for.
func (s *session) askCases(f func(m *mapped, how string)) {
	s.each(func(o *object) {
		if o.closed || o.empty {
			return
		}
		for _, c := range []struct {
			how         string
			mode        openMode
			prot, flags int
		}{
			{"SHARED RW", readWrite, protRW, platform.MapShared},
			{"V+S RW", readWrite, protRW, mapSync},
			{"SHARED R of RDONLY", readOnly, platform.ProtRead, platform.MapShared},
			{"PRIVATE RW", readWrite, protRW, platform.MapPrivate},
		} {
			s.with(o, c.mode, func(fd int) {
				m := &mapped{session: s, o: o, fd: fd, a: o.align, n: 4 * o.align}
				if o.align > huge {
					m.n = o.size
				}
				var ok bool
				if m.arena, ok = s.reserve(m.n+3*m.a, m.a); !ok {
					return
				}
				defer m.release()
				if m.fresh(c.prot, c.flags) {
					f(m, c.how)
				}
			})
		}
	}, deviceDAX, file)
}

// again asks for one call on a new mapping each time.
type again struct {
	rule string
	call func(m *mapped) error
}

// fresh maps the object anew.
func (m *mapped) fresh(prot, flags int) bool {
	m.renew()
	at, err := m.k.Mmap(m.base, m.n, prot, flags|platform.MapFixed, m.fd, 0)
	m.at = at
	return err == nil
}

// state is what accesses to the places that calls are asked for find.
func (m *mapped) state() string {
	text := ""
	for _, at := range []uint64{0, page, m.a, m.n - page, m.n} {
		if text != "" {
			text += ", "
		}
		text += faultText(load(m.at + uintptr(at)))
	}
	return text
}

func (s *session) askMappings() {
	for _, group := range []struct {
		call  string
		cases []again
	}{
		{"msync", msyncCases}, {"mlock", mlockCases}, {"mprotect", mprotectCases},
		{"munmap", munmapCases}, {"mremap", mremapCases}, {"mmap FIXED over", overCases},
	} {
		s.askCases(func(m *mapped, how string) {
			prot, flags := howMapped(how)
			for _, c := range group.cases {
				if !m.fresh(prot, flags) {
					continue
				}
				s.ask(group.call, how+" "+c.rule, errnoText(c.call(m)))
				if group.call != "msync" && group.call != "mlock" {
					s.ask("accesses after "+group.call, how+" "+c.rule, m.state())
				}
			}
		})
	}
}

func howMapped(how string) (prot, flags int) {
	switch how {
	case "V+S RW":
		return protRW, mapSync
	case "SHARED R of RDONLY":
		return platform.ProtRead, platform.MapShared
	case "PRIVATE RW":
		return protRW, platform.MapPrivate
	}
	return protRW, platform.MapShared
}

var msyncCases = []again{
	{"SYNC 4K", func(m *mapped) error { return m.k.Msync(m.at, page, platform.MsSync) }},
	{"SYNC whole", func(m *mapped) error { return m.k.Msync(m.at, m.n, platform.MsSync) }},
	{"SYNC 0", func(m *mapped) error { return m.k.Msync(m.at, 0, platform.MsSync) }},
	{"SYNC 1", func(m *mapped) error { return m.k.Msync(m.at, 1, platform.MsSync) }},
	{"SYNC at +1", func(m *mapped) error { return m.k.Msync(m.at+1, page, platform.MsSync) }},
	{"SYNC past the end", func(m *mapped) error {
		m.vacate(m.at + uintptr(m.n))
		return m.k.Msync(m.at, m.n+page, platform.MsSync)
	}},
	{"ASYNC whole", func(m *mapped) error { return m.k.Msync(m.at, m.n, platform.MsAsync) }},
	{"ASYNC past the end", func(m *mapped) error {
		m.vacate(m.at + uintptr(m.n))
		return m.k.Msync(m.at, m.n+page, platform.MsAsync)
	}},
	{"INVALIDATE whole", func(m *mapped) error { return m.k.Msync(m.at, m.n, platform.MsInvalidate) }},
	{"SYNC|INVALIDATE whole", func(m *mapped) error { return m.k.Msync(m.at, m.n, platform.MsSync|platform.MsInvalidate) }},
	{"SYNC|ASYNC whole", func(m *mapped) error { return m.k.Msync(m.at, m.n, platform.MsSync|platform.MsAsync) }},
	{"8 whole", func(m *mapped) error { return m.k.Msync(m.at, m.n, 8) }},
	{"0 whole", func(m *mapped) error { return m.k.Msync(m.at, m.n, 0) }},
	{"SYNC of what isn't mapped", func(m *mapped) error {
		m.vacate(m.at + uintptr(m.n))
		return m.k.Msync(m.at+uintptr(m.n), page, platform.MsSync)
	}},
}

var mlockCases = []again{
	{"4K", func(m *mapped) error { return m.k.Mlock(m.at, page) }},
	{"4K, then munlock", func(m *mapped) error { _ = m.k.Mlock(m.at, page); return m.k.Munlock(m.at, page) }},
	{"A", func(m *mapped) error { return m.k.Mlock(m.at, min(m.a, huge)) }},
	{"0", func(m *mapped) error { return m.k.Mlock(m.at, 0) }},
	{"4K at +1", func(m *mapped) error { return m.k.Mlock(m.at+1, page) }},
	{"past the end", func(m *mapped) error { m.vacate(m.at + uintptr(m.n)); return m.k.Mlock(m.at+uintptr(m.n)-page, 2*page) }},
	{"what isn't mapped", func(m *mapped) error { m.vacate(m.at + uintptr(m.n)); return m.k.Mlock(m.at+uintptr(m.n), page) }},
	{"munlock of what isn't mapped", func(m *mapped) error { m.vacate(m.at + uintptr(m.n)); return m.k.Munlock(m.at+uintptr(m.n), page) }},
	{"mincore 4K", func(m *mapped) error { return m.k.Mincore(m.at, page) }},
	{"mincore at +1", func(m *mapped) error { return m.k.Mincore(m.at+1, page) }},
	{"mincore past the end", func(m *mapped) error {
		m.vacate(m.at + uintptr(m.n))
		return m.k.Mincore(m.at+uintptr(m.n)-page, 2*page)
	}},
}

func (m *mapped) protect(off, n uint64, prot int) error {
	return m.k.Mprotect(m.at+uintptr(off), n, prot)
}

var mprotectCases = []again{
	{"first 4K NONE", func(m *mapped) error { return m.protect(0, page, platform.ProtNone) }},
	{"first 4K R", func(m *mapped) error { return m.protect(0, page, platform.ProtRead) }},
	{"first 4K RW", func(m *mapped) error { return m.protect(0, page, protRW) }},
	{"last 4K NONE", func(m *mapped) error { return m.protect(m.n-page, page, platform.ProtNone) }},
	{"4K at +4K NONE", func(m *mapped) error { return m.protect(page, page, platform.ProtNone) }},
	{"first A NONE", func(m *mapped) error { return m.protect(0, m.a, platform.ProtNone) }},
	{"second A NONE", func(m *mapped) error { return m.protect(m.a, m.a, platform.ProtNone) }},
	{"last A NONE", func(m *mapped) error { return m.protect(m.n-m.a, m.a, platform.ProtNone) }},
	{"A+4K NONE", func(m *mapped) error { return m.protect(0, m.a+page, platform.ProtNone) }},
	{"whole NONE", func(m *mapped) error { return m.protect(0, m.n, platform.ProtNone) }},
	{"whole R", func(m *mapped) error { return m.protect(0, m.n, platform.ProtRead) }},
	{"whole RW", func(m *mapped) error { return m.protect(0, m.n, protRW) }},
	{"whole W", func(m *mapped) error { return m.protect(0, m.n, platform.ProtWrite) }},
	{"whole RX", func(m *mapped) error { return m.protect(0, m.n, platform.ProtRead|platform.ProtExec) }},
	{"whole RWX", func(m *mapped) error { return m.protect(0, m.n, protRW|platform.ProtExec) }},
	{"whole NONE and back", func(m *mapped) error {
		if err := m.protect(0, m.n, platform.ProtNone); err != nil {
			return err
		}
		return m.protect(0, m.n, platform.ProtRead)
	}},
	{"len 0", func(m *mapped) error { return m.protect(0, 0, platform.ProtNone) }},
	{"at +1", func(m *mapped) error { return m.protect(1, page, platform.ProtNone) }},
	{"bogus", func(m *mapped) error { return m.protect(0, m.n, 0x100) }},
	{"past the end NONE", func(m *mapped) error {
		m.vacate(m.at + uintptr(m.n))
		return m.protect(m.n-m.a, 2*m.a, platform.ProtNone)
	}},
	{"what isn't mapped", func(m *mapped) error { m.vacate(m.at + uintptr(m.n)); return m.protect(m.n, page, platform.ProtNone) }},
}

func (m *mapped) cut(off, n uint64) error { return m.k.Munmap(m.at+uintptr(off), n) }

var munmapCases = []again{
	{"first 4K", func(m *mapped) error { return m.cut(0, page) }},
	{"last 4K", func(m *mapped) error { return m.cut(m.n-page, page) }},
	{"4K at +4K", func(m *mapped) error { return m.cut(page, page) }},
	{"all but the first 4K", func(m *mapped) error { return m.cut(page, m.n-page) }},
	{"all but the last 4K", func(m *mapped) error { return m.cut(0, m.n-page) }},
	{"first A", func(m *mapped) error { return m.cut(0, m.a) }},
	{"second A", func(m *mapped) error { return m.cut(m.a, m.a) }},
	{"last A", func(m *mapped) error { return m.cut(m.n-m.a, m.a) }},
	{"first A-1", func(m *mapped) error { return m.cut(0, m.a-1) }},
	{"first A+4K", func(m *mapped) error { return m.cut(0, m.a+page) }},
	{"len 0", func(m *mapped) error { return m.cut(0, 0) }},
	{"at +1", func(m *mapped) error { return m.cut(1, page) }},
	{"len 2^47", func(m *mapped) error { return m.cut(0, 1<<47) }},
	{"whole, twice", func(m *mapped) error {
		if err := m.cut(0, m.n); err != nil {
			return err
		}
		return m.cut(0, m.n)
	}},
	{"past the end", func(m *mapped) error { return m.cut(m.n-m.a, 2*m.a) }},
}
