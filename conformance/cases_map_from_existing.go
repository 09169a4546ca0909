package conformance

import (
	"fmt"
	"math"
	"time"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapFromExistingCases checks pmem2_map_from_existing(3).
func mapFromExistingCases() []Case {
	return []Case{
		{
			Name: "pmem2_map_from_existing/map of the caller's own mapping",
			Rows: []string{
				"pmem2_map_from_existing/wraps-user-mapping", "pmem2_map_from_existing/range-from-arguments",
				"pmem2_map_from_existing/zero-on-success",
			},
			Run: mapExistingWraps,
		},
		{
			Name: "pmem2_map_from_existing/source and granularity on trust",
			Rows: []string{"pmem2_map_from_existing/source-and-granularity-from-arguments"},
			Run:  mapExistingTrusts,
		},
		{
			Name: "pmem2_map_from_existing/functions can be used",
			Rows: []string{"pmem2_map_from_existing/api-usable-without-map-new"},
			Run:  mapExistingUsable,
		},
		{
			Name:  "pmem2_map_from_existing/pages are synced",
			Rows:  []string{"pmem2_map_from_existing/api-usable-without-map-new"},
			Needs: []Need{NeedFaultInjection},
			Run:   mapExistingSynced,
		},
		{
			Name: "pmem2_map_from_existing/registered already",
			Rows: []string{
				"pmem2_map_from_existing/PMEM2_E_MAPPING_EXISTS#1", "pmem2_map_from_existing/PMEM2_E_MAP_EXISTS#1",
				"pmem2_map_from_existing/zero-on-success",
			},
			Run: mapExistingTwice,
		},
		{
			Name: "pmem2_map_from_existing/taken by NewMap",
			Rows: []string{
				"pmem2_map_from_existing/PMEM2_E_MAPPING_EXISTS#1", "pmem2_map_from_existing/PMEM2_E_MAP_EXISTS#1",
			},
			Needs: []Need{NeedReservation},
			Run:   mapExistingOverNewMap,
		},
		{
			Name: "pmem2_map_from_existing/no length",
			Rows: []string{"pmem2_map_from_existing/0#1"},
			Run:  mapExistingEmpty,
		},
		{
			Name: "pmem2_map_from_existing/range wraps",
			Rows: []string{"pmem2_map_from_existing/0#2"},
			Run:  mapExistingWrapsAround,
		},
		{
			Name: "pmem2_map_from_existing/no granularity",
			Rows: []string{"pmem2_map_from_existing/(abort)#1"},
			Run:  mapExistingGranularity,
		},
		{
			Name: "pmem2_map_from_existing/address 0",
			Rows: []string{"pmem2_map_from_existing/0#3"},
			Run:  mapExistingAtZero,
		},
		{
			Name: "pmem2_map_from_existing/behind the last byte",
			Rows: []string{"pmem2_map_from_existing/0#4"},
			Run:  mapExistingInLastPage,
		},
	}
}

func mapExistingWraps(t *T) {
	page := t.Page()
	size := 8 * page
	fd, content := t.PatternFile(size, 0)
	src := t.Source(fd)
	own := t.OwnMapping(fd, size)
	for _, c := range []struct{ at, n uint64 }{
		{0, size},
		{0, page},
		{size - page, page}, // the last page
		{page, 3 * page},
		{0, 1}, // neither address nor length have to be aligned
		{size - 1, 1},
		{100, page},
		{page - 1, 2},
		{1, size - 1},
	} {
		addr := own + uintptr(c.at)
		m := t.Wrap(src, addr, c.n, pmem2.GranularityPage)
		t.Check(m.Address() == addr, "Address() is %#x, want %#x", m.Address(), addr)
		t.Check(m.Size() == c.n, "Size() is %d, want %d", m.Size(), c.n)
		t.Check(m.StoreGranularity() == pmem2.GranularityPage, "StoreGranularity() is %v, want PAGE", m.StoreGranularity())
		checkBytes(t, m.Bytes(), content[c.at:c.at+c.n], "the map of the caller's own mapping")
		m.Bytes()[c.n-1] ^= 0xff
		content[c.at+c.n-1] ^= 0xff
		t.Check(platform.Bytes(own, size)[c.at+c.n-1] == content[c.at+c.n-1], "Bytes() is other memory than the caller's own")
		// It is the caller's mapping and no second one.
		checkMappedOnce(t, fd)
		t.Delete(m)
	}
	checkFile(t, fd, 0, content, "the file of the caller's own mapping")

	// Any mapping does: private, anonymous, read-only.
	private := t.Mmap(0, size, readWrite, platform.MapPrivate, fd)
	checkBytes(t, t.Wrap(src, private, size, pmem2.GranularityByte).Bytes(), content, "the map of a private mapping")
	readOnly := t.Mmap(0, size, platform.ProtRead, platform.MapShared, fd)
	checkBytes(t, t.Wrap(src, readOnly, size, pmem2.GranularityPage).Bytes(), content, "the map of a read-only mapping")
	anon := t.Mmap(0, size, readWrite, platform.MapPrivate|platform.MapAnonymous, -1)
	checkBytes(t, t.Wrap(t.AnonSource(size), anon, size, pmem2.GranularityByte).Bytes(), make([]byte, size), "the map of an anonymous mapping")
}

func mapExistingTrusts(t *T) {
	page := t.Page()
	fd := t.FileFD(4 * page)
	own := t.OwnMapping(fd, 4*page)
	src := t.Source(fd)
	// Neither what the storage has nor what is forced counts.
	for _, force := range []string{"", "PAGE", "CACHE_LINE", "BYTE"} {
		t.Force(force)
		for _, g := range granularities {
			m := t.Wrap(src, own, 4*page, g)
			t.Check(m.StoreGranularity() == g, "StoreGranularity() is %v, want the %v that was given", m.StoreGranularity(), g)
			t.Delete(m)
		}
	}
	// Three maps side by side keep their own.
	var maps []Map
	for i, g := range granularities {
		maps = append(maps, t.Wrap(src, own+uintptr(i)*uintptr(page), page, g))
	}
	for i, g := range granularities {
		t.Check(maps[i].StoreGranularity() == g, "StoreGranularity() is %v, want the %v that was given", maps[i].StoreGranularity(), g)
	}
	for _, m := range maps {
		t.Delete(m)
	}
	// The source is taken as it is: its size bounds nothing.
	small := t.Wrap(t.FileSource(1), own, 4*page, pmem2.GranularityCacheLine)
	t.Check(small.Size() == 4*page, "Size() is %d, want %d", small.Size(), 4*page)
	t.Must(small.Persist(small.Bytes()), "Persist(all of it)")
	t.Delete(small)
	empty := t.Wrap(t.FileSource(0), own, 4*page, pmem2.GranularityPage)
	t.Check(empty.Size() == 4*page, "Size() is %d, want %d", empty.Size(), 4*page)
}

// checkReturns expects a call to succeed, and to return at all.
func checkReturns(t *T, f func() error, call string, args ...any) {
	t.Must(returns(t, f, call, args...), call, args...)
}

// returns expects a call to return.
func returns(t *T, f func() error, call string, args ...any) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(caseTimeout / 6):
		t.hang(call, args...)
	}
	return nil
}

func mapExistingUsable(t *T) {
	page := t.Page()
	size := 4 * page
	for _, g := range granularities {
		fd, content := t.PatternFile(size, byte(g))
		own := t.OwnMapping(fd, size)
		m := t.Wrap(t.Source(fd), own, size, g)
		b := m.Bytes()
		// At the start of the mapping, where C's functions hang at PAGE, elsewhere,
		// across pages and at the very end.
		for i, c := range []struct{ at, n uint64 }{
			{0, 100}, {0, 1}, {1, 100}, {page, 100}, {page - 1, 2}, {100, 3 * page}, {0, size}, {size - 100, 100}, {size - 1, 1}, {0, 0},
		} {
			part := b[c.at : c.at+c.n]
			fill := func(seed byte) []byte {
				p := pattern(c.n, seed+byte(i))
				copy(content[c.at:], p)
				return p
			}
			where := []any{c.n, c.at, g}
			copy(part, fill(0x10))
			checkReturns(t, func() error { return m.Persist(part) }, "Persist(%d bytes at %#x), %v", where...)
			copy(part, fill(0x20))
			checkReturns(t, func() error {
				if err := m.Flush(part); err != nil {
					return err
				}
				return m.Drain()
			}, "Flush(%d bytes at %#x) and Drain(), %v", where...)
			p := fill(0x40)
			checkReturns(t, func() error { return m.Memmove(part, p, 0) }, "Memmove(%d bytes to %#x), %v", where...)
			checkBytes(t, b, content, "the map after Memmove")
			p = fill(0x60)
			checkReturns(t, func() error { return m.Memcpy(part, p, 0) }, "Memcpy(%d bytes to %#x), %v", where...)
			checkBytes(t, b, content, "the map after Memcpy")
			for j := range c.n {
				content[c.at+j] = 0xc0 + byte(i)
			}
			checkReturns(t, func() error { return m.Memset(part, 0xc0+byte(i), 0) }, "Memset(%d bytes at %#x), %v", where...)
			checkBytes(t, b, content, "the map after Memset")
			checkFile(t, fd, 0, content, "the file")
		}
		// Memmove may overlap.
		checkReturns(t, func() error { return m.Memmove(b[1:page+1], b[:page], 0) }, "Memmove(one page by one byte), %v", g)
		copy(content[1:page+1], content[:page])
		checkBytes(t, b, content, "the map after Memmove of overlapping bytes")
		checkFile(t, fd, 0, content, "the file")
		t.Delete(m)
	}
}

// mapExistingSynced counts the page syncs: one for a range inside of a page, none at
// the other granularities.
func mapExistingSynced(t *T) {
	page := t.Page()
	fd := t.FileFD(4 * page)
	own := t.OwnMapping(fd, 4*page)
	for _, call := range []struct {
		name string
		f    func(m Map, b []byte) error
	}{
		{"Persist", func(m Map, b []byte) error { return m.Persist(b) }},
		{"Flush", func(m Map, b []byte) error { return m.Flush(b) }},
		{"Memmove", func(m Map, b []byte) error { return m.Memmove(b, pattern(uint64(len(b)), 1), 0) }},
		{"Memcpy", func(m Map, b []byte) error { return m.Memcpy(b, pattern(uint64(len(b)), 2), 0) }},
		{"Memset", func(m Map, b []byte) error { return m.Memset(b, 3, 0) }},
	} {
		// Large copies are done otherwise than small ones.
		for _, c := range []struct{ at, n uint64 }{{0, 100}, {100, 3000}, {3 * page, page}} {
			for _, g := range granularities {
				where := []any{call.name, c.n, c.at, g}
				// The first msync fails: it is called at PAGE.
				t.Lib = t.Inject("(EIO (And (Op msync) (OnIndex 0)))")
				m := t.Wrap(t.Source(fd), own, 4*page, g)
				b := m.Bytes()[c.at : c.at+c.n]
				if g == pmem2.GranularityPage {
					err := returns(t, func() error { return call.f(m, b) }, "%s(%d bytes at %#x), %v", where...)
					t.Expect("-EIO", err, "%s(%d bytes at %#x), %v", where...)
				}
				checkReturns(t, func() error { return call.f(m, b) }, "%s(%d bytes at %#x), %v", where...)
				t.Delete(m)
				// The second fails, and isn't called. Without PAGE there is no first.
				first := 0
				if g == pmem2.GranularityPage {
					first = 1
				}
				t.Lib = t.Inject(fmt.Sprintf("(EIO (And (Op msync) (FromIndex %d)))", first))
				m = t.Wrap(t.Source(fd), own, 4*page, g)
				b = m.Bytes()[c.at : c.at+c.n]
				checkReturns(t, func() error { return call.f(m, b) }, "%s(%d bytes at %#x), %v", where...)
				t.Delete(m)
			}
		}
	}
}

func mapExistingTwice(t *T) {
	const want = "PMEM2_E_MAPPING_EXISTS"
	page := t.Page()
	size := 8 * page
	fd, content := t.PatternFile(size, 0)
	src, own := t.Source(fd), t.OwnMapping(fd, size)
	from, n := own+uintptr(2*page), 2*page
	m := t.Wrap(src, from, n, pmem2.GranularityCacheLine)
	for _, c := range []struct {
		addr uintptr
		n    uint64
	}{
		{from, n},                    // the very same
		{from, 1},                    // its first byte
		{from + uintptr(n-1), 1},     // its last
		{from + 100, 1},              // one amid
		{from + uintptr(page), page}, // its second page
		{from - 1, 2},                // one byte before it and its first
		{from + uintptr(n-1), 2},     // its last and one behind
		{from - uintptr(page), page + 1},
		{from - 1, n + 2}, // around it
		{own, size},
		{own, uint64(from-own) + 1}, // up to its first byte
		{from + 1, n - 2},           // inside
	} {
		for _, g := range granularities {
			t.NoWrap(want, src, c.addr, c.n, g)
		}
		t.NoWrap(want, t.AnonSource(size), c.addr, c.n, pmem2.GranularityByte) // of whatever source
	}
	t.Check(m.Address() == from && m.Size() == n, "the first map has become %d bytes at %#x", m.Size(), m.Address())
	checkBytes(t, m.Bytes(), content[2*page:4*page], "the first map")
	t.Must(m.Persist(m.Bytes()[:100]), "Persist(100 bytes) of the first map")

	// Next to it on both sides there is nothing registered, and once it is deleted
	// nothing at all.
	before := t.Wrap(src, own, uint64(from-own), pmem2.GranularityPage)
	behind := t.Wrap(src, from+uintptr(n), 1, pmem2.GranularityPage)
	t.NoWrap(want, src, from+uintptr(n), 2, pmem2.GranularityPage)
	for _, m := range []Map{m, before, behind} {
		t.Delete(m)
	}
	t.Wrap(src, own, size, pmem2.GranularityPage)
}

func mapExistingOverNewMap(t *T) {
	const want = "PMEM2_E_MAPPING_EXISTS"
	page := t.Page()
	fd, content := t.PatternFile(4*page, 0)
	src := t.Source(fd)
	r := t.Reservation(0, 8*page)
	for _, s := range []mapSpec{{}, {sharing: pmem2.Private}, {in: r, at: 2 * page}} {
		m := t.MapAs(s, src)
		addr, last := m.Address(), m.Address()+uintptr(4*page-1)
		for _, c := range []struct {
			addr uintptr
			n    uint64
		}{{addr, 4 * page}, {addr, 1}, {last, 1}, {addr + 100, 1}, {addr + uintptr(page), page}, {addr - 1, 2}, {last, 2}, {addr - 1, 4*page + 2}} {
			t.NoWrap(want, src, c.addr, c.n, pmem2.GranularityPage)
		}
		checkBytes(t, m.Bytes(), content, "the map that was there before")
		if s.in != nil {
			// The rest of the reservation isn't taken.
			t.Delete(t.Wrap(src, addr-1, 1, pmem2.GranularityPage))
			t.Delete(t.Wrap(src, last+1, 1, pmem2.GranularityPage))
		}
		t.Delete(m)
	}
	// What a map was is free after it.
	m := t.MapAs(mapSpec{in: r}, src)
	t.Delete(m)
	t.Wrap(src, r.Address(), 4*page, pmem2.GranularityPage)
}

func mapExistingEmpty(t *T) {
	const want = "PMEM2_E_LENGTH_OUT_OF_RANGE"
	page := t.Page()
	fd := t.FileFD(4 * page)
	src, own := t.Source(fd), t.OwnMapping(fd, 4*page)
	addrs := []uintptr{own, own + 1, own + uintptr(page), own + uintptr(4*page), 0, math.MaxUint &^ uintptr(page-1), math.MaxUint}
	for _, addr := range addrs {
		for _, g := range granularities {
			t.NoWrap(want, src, addr, 0, g)
		}
	}
	// Nothing was registered, neither by itself nor inside of a map.
	m := t.Wrap(src, own, 4*page, pmem2.GranularityPage)
	t.NoWrap(want, src, own+uintptr(page), 0, pmem2.GranularityPage)
	checkReturns(t, func() error { return m.Persist(m.Bytes()[:100]) }, "Persist(100 bytes)")
	t.Delete(m)
	t.Delete(t.Wrap(src, own, 1, pmem2.GranularityPage)) // one byte is enough
}

func mapExistingWrapsAround(t *T) {
	const want = "PMEM2_E_LENGTH_OUT_OF_RANGE"
	page := t.Page()
	fd := t.FileFD(4 * page)
	src, own := t.Source(fd), t.OwnMapping(fd, 4*page)
	toTop := math.MaxUint - own + 1 // so many bytes there are up to the end of the address space
	for _, c := range []struct {
		addr uintptr
		n    uint64
	}{
		{own, -page}, // the row's own where a page has 4096 bytes
		{own, uint64(toTop) + 1},
		{own, uint64(toTop) + page},
		{own, math.MaxUint64},
		{own + 1, math.MaxUint64},
		{1 << 63, 1<<63 + 1},
		{1 << 63, math.MaxUint64},
		{math.MaxUint &^ uintptr(page-1), 2 * page},
		{math.MaxUint, 2},
	} {
		for _, g := range granularities {
			t.NoWrap(want, src, c.addr, c.n, g)
		}
	}
	// Nothing was registered anywhere.
	m := t.MapAs(mapSpec{}, src)
	t.Must(m.Persist(m.Bytes()[:100]), "Persist(100 bytes)")
	for _, n := range []uint64{1, page, 4 * page} {
		t.Delete(t.Wrap(src, own, n, pmem2.GranularityPage))
	}
}

func mapExistingGranularity(t *T) {
	const want = "PMEM2_E_GRANULARITY_NOT_SUPPORTED"
	page := t.Page()
	fd := t.FileFD(4 * page)
	src, own := t.Source(fd), t.OwnMapping(fd, 4*page)
	for _, g := range []pmem2.Granularity{999, 3, -1, math.MaxInt32, math.MinInt32} {
		t.NoWrap(want, src, own, 4*page, g)
		t.NoWrap(want, src, own, 1, g)
	}
	for _, g := range granularities {
		t.Delete(t.Wrap(src, own, 4*page, g)) // nothing was registered
	}
}

func mapExistingAtZero(t *T) {
	const want = "PMEM2_E_ADDRESS_NULL"
	page := t.Page()
	fd := t.FileFD(4 * page)
	src, own := t.Source(fd), t.OwnMapping(fd, 4*page)
	for _, n := range []uint64{1, page - 1, page, page + 1, 4 * page, 1 << 47, 1 << 63, math.MaxUint64} {
		for _, g := range granularities {
			t.NoWrap(want, src, 0, n, g)
		}
		t.NoWrap(want, t.AnonSource(page), 0, n, pmem2.GranularityByte)
	}
	// Nothing was registered, and any other address will do.
	for _, addr := range []uintptr{1, uintptr(page), own} {
		t.Delete(t.Wrap(src, addr, page, pmem2.GranularityPage))
	}
	// A map elsewhere changes nothing of it.
	t.Wrap(src, own, page, pmem2.GranularityPage)
	t.NoWrap(want, src, 0, page, pmem2.GranularityPage)
}

// mapExistingInLastPage has a map of a page and a part of one: what lies behind it in that
// page is its, too.
func mapExistingInLastPage(t *T) {
	page := t.Page()
	src := t.AnonSource(page)
	m := t.Map(t.Config(), t.FileSource(page+100))
	end := m.Address() + uintptr(2*page)
	for _, at := range []uintptr{m.Address() + uintptr(page) + 100, end - 2, end - 1} {
		for _, n := range []uint64{1, uint64(end - at), uint64(end-at) + page} {
			t.NoWrap("PMEM2_E_MAPPING_EXISTS", src, at, n, pmem2.GranularityPage)
		}
	}
	t.Delete(t.Wrap(src, end, page, pmem2.GranularityPage)) // the next page is nobody's
	t.Delete(m)
	t.Delete(t.Wrap(src, end-1, 1, pmem2.GranularityPage))
}
