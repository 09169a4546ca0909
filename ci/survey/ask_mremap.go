package survey

import "pmemlab/pmem2/platform"

// over maps something over a part of the mapping.
func (m *mapped) over(off, n uint64) error {
	_, err := m.k.Mmap(m.at+uintptr(off), n, platform.ProtNone, anonymous|platform.MapFixed, -1, 0)
	return err
}

var overCases = []again{
	{"first 4K", func(m *mapped) error { return m.over(0, page) }},
	{"4K at +4K", func(m *mapped) error { return m.over(page, page) }},
	{"last 4K", func(m *mapped) error { return m.over(m.n-page, page) }},
	{"first A", func(m *mapped) error { return m.over(0, m.a) }},
	{"second A", func(m *mapped) error { return m.over(m.a, m.a) }},
	{"whole", func(m *mapped) error { return m.over(0, m.n) }},
	{"last A and behind", func(m *mapped) error { return m.over(m.n-m.a, 2*m.a) }},
	{"last 4K and behind", func(m *mapped) error { return m.over(m.n-page, 2*page) }},
	{"itself, first A", func(m *mapped) error {
		_, err := m.k.Mmap(m.at, m.a, platform.ProtRead, platform.MapShared|platform.MapFixed, m.fd, 0)
		return err
	}},
	{"itself, second A", func(m *mapped) error {
		_, err := m.k.Mmap(m.at+uintptr(m.a), m.a, platform.ProtRead, platform.MapShared|platform.MapFixed, m.fd, int64(m.a))
		return err
	}},
}

// remap is mremap of length bytes from off on; then it looks where that is.
func (m *mapped) remap(off, length, newLength uint64, flags int, to uintptr) error {
	at, err := m.k.Mremap(m.at+uintptr(off), length, newLength, flags, to)
	if err == nil && at != m.at+uintptr(off) && (at < m.start || at >= m.start+uintptr(m.length)) {
		m.unmap(at, (newLength+page-1)&^(page-1))
	}
	return err
}

const dontUnmap = 4 // MREMAP_DONTUNMAP

// behind is an address in the arena behind the mapping that isn't next to it.
func (m *mapped) behind() uintptr { return m.at + uintptr(m.n+m.a) }

var mremapCases = []again{
	{"grow by A, free", func(m *mapped) error { m.vacate(m.at + uintptr(m.n)); return m.remap(0, m.n, m.n+m.a, 0, 0) }},
	{"grow by A, taken", func(m *mapped) error { return m.remap(0, m.n, m.n+m.a, 0, 0) }},
	{"grow by A, taken, MAYMOVE", func(m *mapped) error { return m.remap(0, m.n, m.n+m.a, platform.MremapMaymove, 0) }},
	{"grow by 4K, free", func(m *mapped) error { m.vacate(m.at + uintptr(m.n)); return m.remap(0, m.n, m.n+page, 0, 0) }},
	{"grow first A", func(m *mapped) error { return m.remap(0, m.a, 2*m.a, 0, 0) }},
	{"grow first A, MAYMOVE", func(m *mapped) error { return m.remap(0, m.a, 2*m.a, platform.MremapMaymove, 0) }},
	{"grow first 4K, MAYMOVE", func(m *mapped) error { return m.remap(0, page, 2*page, platform.MremapMaymove, 0) }},
	{"same", func(m *mapped) error { return m.remap(0, m.n, m.n, 0, 0) }},
	{"same, MAYMOVE", func(m *mapped) error { return m.remap(0, m.n, m.n, platform.MremapMaymove, 0) }},
	{"shrink by 4K", func(m *mapped) error { return m.remap(0, m.n, m.n-page, 0, 0) }},
	{"shrink by A", func(m *mapped) error { return m.remap(0, m.n, m.n-m.a, 0, 0) }},
	{"shrink to 1", func(m *mapped) error { return m.remap(0, m.n, 1, 0, 0) }},
	{"old length 0", func(m *mapped) error { return m.remap(0, 0, m.a, 0, 0) }},
	{"old length 0, MAYMOVE", func(m *mapped) error { return m.remap(0, 0, m.a, platform.MremapMaymove, 0) }},
	{"old length 0, FIXED", func(m *mapped) error {
		return m.remap(0, 0, m.a, platform.MremapMaymove|platform.MremapFixed, m.behind())
	}},
	{"new length 0", func(m *mapped) error { return m.remap(0, m.n, 0, platform.MremapMaymove, 0) }},
	{"FIXED without MAYMOVE", func(m *mapped) error { return m.remap(0, m.a, m.a, platform.MremapFixed, m.behind()) }},
	{"FIXED first A", func(m *mapped) error {
		return m.remap(0, m.a, m.a, platform.MremapMaymove|platform.MremapFixed, m.behind())
	}},
	{"FIXED second A", func(m *mapped) error {
		return m.remap(m.a, m.a, m.a, platform.MremapMaymove|platform.MremapFixed, m.behind())
	}},
	{"FIXED first 4K", func(m *mapped) error {
		return m.remap(0, page, page, platform.MremapMaymove|platform.MremapFixed, m.behind())
	}},
	{"FIXED at +1", func(m *mapped) error {
		return m.remap(0, m.a, m.a, platform.MremapMaymove|platform.MremapFixed, m.behind()+1)
	}},
	{"FIXED onto itself", func(m *mapped) error {
		return m.remap(0, 2*m.a, 2*m.a, platform.MremapMaymove|platform.MremapFixed, m.at+uintptr(m.a))
	}},
	{"FIXED onto its third A", func(m *mapped) error {
		return m.remap(0, m.a, m.a, platform.MremapMaymove|platform.MremapFixed, m.at+uintptr(2*m.a))
	}},
	{"FIXED onto 4K of its third A", func(m *mapped) error {
		return m.remap(0, m.a, page, platform.MremapMaymove|platform.MremapFixed, m.at+uintptr(2*m.a))
	}},
	{"FIXED past its end", func(m *mapped) error {
		return m.remap(m.n-m.a, 2*m.a, 2*m.a, platform.MremapMaymove|platform.MremapFixed, m.at)
	}},
	{"DONTUNMAP", func(m *mapped) error { return m.remap(0, m.a, m.a, platform.MremapMaymove|dontUnmap, 0) }},
	{"DONTUNMAP without MAYMOVE", func(m *mapped) error { return m.remap(0, m.a, m.a, dontUnmap, 0) }},
	{"flags 8", func(m *mapped) error { return m.remap(0, m.a, m.a, 8, 0) }},
	{"at +1", func(m *mapped) error { return m.remap(1, page, page, platform.MremapMaymove, 0) }},
	{"what isn't mapped", func(m *mapped) error {
		m.vacate(m.at + uintptr(m.n))
		return m.remap(m.n, page, 2*page, platform.MremapMaymove, 0)
	}},
	{"old length past the end", func(m *mapped) error {
		m.vacate(m.at + uintptr(m.n))
		return m.remap(0, m.n+m.a, m.n+2*m.a, platform.MremapMaymove, 0)
	}},
}
