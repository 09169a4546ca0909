package conformance

import (
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapNewCases checks what pmem2_map_new(3) says of success and failure in general.
func mapNewCases() []Case {
	return []Case{
		{
			Name: "pmem2_map_new/mapping in the address space",
			Rows: []string{"pmem2_map_new/creates-mapping-in-process", "pmem2_map_new/zero-on-success"},
			Run:  mapNewAppears,
		},
		{
			Name: "pmem2_map_new/map object",
			Rows: []string{"pmem2_map_new/object-through-pointer"},
			Run:  mapNewObject,
		},
		{
			Name:  "pmem2_map_new/no map on failure",
			Rows:  []string{"pmem2_map_new/null-on-failure", "pmem2_map_new/(text)#1", "pmem2_map_new/zero-on-success"},
			Needs: []Need{NeedReservation},
			Run:   mapNewNilOnFailure,
		},
		{
			Name:  "pmem2_map_new/nothing mapped on failure",
			Rows:  []string{"pmem2_map_new/nothing-left-on-failure"},
			Needs: []Need{NeedReservation},
			Run:   mapNewNothingLeft,
		},
		{
			Name:  "pmem2_map_new/nothing mapped after a late failure",
			Rows:  []string{"pmem2_map_new/nothing-left-on-failure"},
			Needs: []Need{NeedReservation},
			Run:   mapNewNothingLeftLate,
		},
		{
			Name: "pmem2_map_new/destroyed by delete",
			Rows: []string{"pmem2_map_new/destroy-with-map-delete"},
			Run:  mapNewManyTimes,
		},
		{
			Name:  "pmem2_map_new/destroyed by delete in a reservation",
			Rows:  []string{"pmem2_map_new/destroy-with-map-delete"},
			Needs: []Need{NeedReservation},
			Run:   mapNewManyTimesReserved,
		},
		{
			Name: "pmem2_map_new/granularity not set",
			Rows: []string{"pmem2_map_new/PMEM2_E_GRANULARITY_NOT_SET#1", "pmem2_map_new/granularity-must-be-set-suitably"},
			Run:  mapNewGranularityNotSet,
		},
		{
			Name: "pmem2_map_new/granularity too fine",
			Rows: []string{"pmem2_map_new/PMEM2_E_GRANULARITY_NOT_SUPPORTED#1", "pmem2_map_new/granularity-must-be-set-suitably"},
			Run:  mapNewGranularityTooFine,
		},
	}
}

func mapNewAppears(t *T) {
	page := t.Page()
	size := 64 * page
	fd, content := t.PatternFile(size, 0)
	src := t.Source(fd)
	checkUnmapped(t, fd)

	for _, s := range []mapSpec{
		{},
		{length: size},
		{length: page},                         // the first page
		{offset: size - page},                  // the last page
		{offset: 3 * page, length: 5 * page},   // amid
		{sharing: pmem2.Private, offset: page}, // seen by nobody else
		{prot: pmem2.ProtRead, length: size - page}, // not to be written
		{prot: pmem2.ProtRead, offset: 7 * page},
		{length: page, require: new(pmem2.GranularityPage)}, // said once more
	} {
		m := t.MapAs(s, src)
		n := s.length
		if n == 0 {
			n = size - s.offset
		}
		perms := "rw-s"
		switch {
		case s.sharing == pmem2.Private:
			perms = "rw-p"
		case s.prot == pmem2.ProtRead:
			perms = "r--s"
		}
		what := "the mapping"
		checkMapped(t, m.Address(), n, perms)
		var mapped uint64
		for _, a := range areasOf(t, fd) {
			at := uint64(a.Start - m.Address())
			t.Check(a.Start >= m.Address() && at < n && uint64(a.End-a.Start) <= n-at, "%v of the file lies outside of the map", a)
			t.Check(a.Offset == s.offset+at, "%v: want byte %#x of the file there", a, s.offset+at)
			mapped += uint64(a.End - a.Start)
		}
		t.Check(mapped == n, "%d bytes of the file are mapped, want %d", mapped, n)
		checkBytes(t, m.Bytes(), content[s.offset:s.offset+n], what)

		// Stores reach the file, or with PRIVATE they don't.
		if s.prot == 0 {
			m.Bytes()[0] ^= 0xff
			m.Bytes()[n-1] ^= 0xff
			if s.sharing == pmem2.Shared {
				content[s.offset] ^= 0xff
				content[s.offset+n-1] ^= 0xff
			}
			checkFile(t, fd, 0, content, "the file after stores to the map")
		}
		t.Delete(m)
	}
}

func mapNewObject(t *T) {
	page := t.Page()
	fd, content := t.PatternFile(8*page, 0)
	first := t.MapAs(mapSpec{length: 2 * page}, t.Source(fd))
	second := t.MapAs(mapSpec{offset: page, length: page}, t.Source(fd))
	t.Check(first != second, "two calls of NewMap return the same map")
	for _, c := range []struct {
		m       Map
		content []byte
	}{{first, content[:2*page]}, {second, content[page : 2*page]}} {
		t.Check(c.m.Address() != 0, "Address() is 0")
		t.Check(c.m.Size() == uint64(len(c.content)), "Size() is %d, want %d", c.m.Size(), len(c.content))
		t.Check(c.m.StoreGranularity().Valid(), "StoreGranularity() is %d, none of 0, 1, 2", int(c.m.StoreGranularity()))
		checkBytes(t, c.m.Bytes(), c.content, "the map")
	}
	// They describe mappings of one file.
	second.Bytes()[0] ^= 0xff
	t.Check(first.Bytes()[page] == second.Bytes()[0], "a store to one map of a page isn't seen in another")
	t.Must(second.Persist(second.Bytes()[:1]), "Persist(1 byte)")
}

// mapFailure is a call of NewMap that fails.
type mapFailure struct {
	want string
	spec mapSpec
	src  Source
}

// mapFailures are failures of NewMap that can be had with plain files, on files of
// 16 pages. fds are the descriptors of those files.
func mapFailures(t *T, r Reservation) (failures []mapFailure, fds []int) {
	page := t.Page()
	size := 16 * page
	o := t.made(t.Env.File(size))
	rw, ro, path := t.Open(o, platform.ORdwr), t.Open(o, platform.ORdonly), t.Open(o, platform.OPath)
	empty := t.FileFD(0)
	src := t.Source(rw)
	failures = []mapFailure{
		{"PMEM2_E_OFFSET_UNALIGNED", mapSpec{offset: page + 1}, src},
		{"PMEM2_E_SOURCE_EMPTY", mapSpec{}, t.Source(empty)},
		{"PMEM2_E_LENGTH_UNALIGNED", mapSpec{length: page + 1}, src},
		{"PMEM2_E_MAP_RANGE", mapSpec{length: 2 * size}, src},
		{"PMEM2_E_MAP_RANGE", mapSpec{offset: size}, src},
		{"PMEM2_E_MAP_RANGE", mapSpec{offset: page, length: -page}, src},
		{"PMEM2_E_NO_ACCESS", mapSpec{}, t.Source(ro)},
		{"-EBADF", mapSpec{prot: pmem2.ProtRead}, t.Source(path)},
		{"PMEM2_E_GRANULARITY_NOT_SUPPORTED", mapSpec{require: new(pmem2.GranularityByte)}, src},
		{"PMEM2_E_GRANULARITY_NOT_SUPPORTED", mapSpec{require: new(pmem2.GranularityCacheLine), offset: page}, src},
	}
	if r == nil {
		return failures, []int{rw, empty}
	}
	// The same again in a reservation, and what only a reservation is refused for.
	for _, f := range failures {
		f.spec.in, f.spec.at = r, page
		failures = append(failures, f)
	}
	failures = append(failures,
		mapFailure{"PMEM2_E_OFFSET_UNALIGNED", mapSpec{in: r, at: page + 1, length: page}, src},
		mapFailure{"PMEM2_E_ADDRESS_UNALIGNED", mapSpec{in: r, at: r.Size(), length: page}, src},
		mapFailure{"PMEM2_E_ADDRESS_UNALIGNED", mapSpec{in: r, at: r.Size() - page, length: 2 * page}, src},
	)
	return failures, []int{rw, empty}
}

func mapNewNilOnFailure(t *T) {
	t.Force("")
	// The row's own: 1 MiB, of which 2 MiB are wanted.
	t.NoMapAs("PMEM2_E_MAP_RANGE", mapSpec{length: 2 << 20}, t.FileSource(1<<20))

	failures, _ := mapFailures(t, t.Reservation(0, 64*t.Page()))
	for _, f := range failures {
		t.NoMapAs(f.want, f.spec, f.src)
	}
	c := t.NewConfig()
	t.NoMap("PMEM2_E_GRANULARITY_NOT_SET", c, t.FileSource(t.Page()), "a fresh config")
	t.NoMapAs("PMEM2_E_SOURCE_EMPTY", mapSpec{}, t.AnonSource(0))
}

func mapNewNothingLeft(t *T) {
	t.Force("")
	r := t.Reservation(0, 64*t.Page())
	failures, fds := mapFailures(t, r)
	for _, f := range failures {
		t.NoMapAs(f.want, f.spec, f.src)
		for _, fd := range fds {
			checkUnmapped(t, fd)
		}
		checkEmpty(t, r)
	}
	// The reservation is as good as before: all of it can be mapped, and given back.
	m := t.MapAs(mapSpec{in: r}, t.FileSource(r.Size()))
	t.Delete(m)
	t.Delete(r)
}

// mapNewNothingLeftLate is about the failure that is found only when the file is
// mapped: that the granularity is too coarse.
func mapNewNothingLeftLate(t *T) {
	t.Force("")
	page := t.Page()
	r := t.Reservation(0, 64*page)
	fd := t.FileFD(8 * page)
	src := t.Source(fd)
	taken := t.MapAs(mapSpec{in: r, at: 4 * page, length: page}, t.FileSource(page))
	copy(taken.Bytes(), "taken")
	for _, s := range []mapSpec{
		{require: new(pmem2.GranularityByte)},
		{require: new(pmem2.GranularityCacheLine)},
		{require: new(pmem2.GranularityByte), in: r, at: 8 * page},
		{require: new(pmem2.GranularityCacheLine), in: r, at: 5 * page},
		{require: new(pmem2.GranularityCacheLine), in: r, at: 64*page - 8*page},
	} {
		for range 100 {
			t.NoMapAs("PMEM2_E_GRANULARITY_NOT_SUPPORTED", s, src)
		}
		checkUnmapped(t, fd)
		checkBlank(t, r.Address(), 4*page)
		checkBlank(t, r.Address()+uintptr(5*page), 59*page)
		t.Check(string(taken.Bytes()[:5]) == "taken", "the other map in the reservation holds %q", taken.Bytes()[:5])
	}
	// The config is as it was, too: once it asks for what there is, it makes that map.
	cfg := mapSpec{require: new(pmem2.GranularityByte), in: r, at: 8 * page}.config(t)
	t.NoMap("PMEM2_E_GRANULARITY_NOT_SUPPORTED", cfg, src, "BYTE required")
	t.Must(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), "SetRequiredStoreGranularity(PAGE)")
	m := t.Map(cfg, src)
	t.Check(m.Address() == r.Address()+uintptr(8*page) && m.Size() == 8*page, "the config then makes a map of %d bytes at %#x", m.Size(), m.Address())
	checkMapped(t, m.Address(), m.Size(), "rw-s")
}

// mapOften maps and deletes often and expects the process to hold no more than before.
func mapOften(t *T, fd int, s mapSpec) {
	const times = 1000
	cfg, src := s.config(t), t.Source(fd)
	before := len(areas(t))
	for i := range times {
		m, err := t.Lib.NewMap(cfg, src)
		t.mustQuietly(err, "NewMap(%v) for the %dth time", s, i+1)
		m.Bytes()[0]++
		t.mustQuietly(m.Delete(), "Delete() for the %dth time", i+1)
	}
	after := len(areas(t))
	t.Note("NewMap and Delete", "%d times; %d areas in the memory map before, %d after", times, before, after)
	checkUnmapped(t, fd)
	// The Go runtime may have mapped something of its own meanwhile.
	t.Check(after < before+times/10, "the memory map has grown from %d areas to %d", before, after)
	checkFile(t, fd, s.offset, []byte{times % 256}, "a byte that was counted up %d times", times)
}

func mapNewManyTimes(t *T) {
	page := t.Page()
	mapOften(t, t.FileFD(4*page), mapSpec{offset: page, length: 2 * page})
}

func mapNewManyTimesReserved(t *T) {
	page := t.Page()
	r := t.Reservation(0, 8*page)
	mapOften(t, t.FileFD(4*page), mapSpec{offset: page, length: 2 * page, in: r, at: 3 * page})
	checkEmpty(t, r)
}

func mapNewGranularityNotSet(t *T) {
	page := t.Page()
	fd := t.FileFD(4 * page)
	for _, src := range []Source{t.Source(fd), t.AnonSource(4 * page), t.FileSource(0)} {
		c := t.NewConfig()
		t.NoMap("PMEM2_E_GRANULARITY_NOT_SET", c, src, "a fresh config")
		// It is the first check of all.
		wrong := mapSpec{offset: 1, length: 8*page + 1, sharing: pmem2.Private}
		wrong.set(t, c)
		t.NoMap("PMEM2_E_GRANULARITY_NOT_SET", c, src, "no granularity, %v", wrong)
		// A granularity that is refused isn't set.
		t.Expect("PMEM2_E_GRANULARITY_NOT_SUPPORTED", c.SetRequiredStoreGranularity(3), "SetRequiredStoreGranularity(3)")
		t.NoMap("PMEM2_E_GRANULARITY_NOT_SET", c, src, "no granularity, %v", wrong)
	}
	checkUnmapped(t, fd)

	// Once it is set the same config serves.
	c := t.NewConfig()
	src := t.Source(fd)
	t.NoMap("PMEM2_E_GRANULARITY_NOT_SET", c, src, "a fresh config")
	t.Must(c.SetRequiredStoreGranularity(pmem2.GranularityPage), "SetRequiredStoreGranularity(PAGE)")
	t.Check(t.Map(c, src).Size() == 4*page, "the map hasn't the size of the file")
}

func mapNewGranularityTooFine(t *T) {
	const (
		b, line, p  = pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityPage
		unsupported = "PMEM2_E_GRANULARITY_NOT_SUPPORTED"
	)
	page := t.Page()
	fd := t.FileFD(2 * page)
	src := t.Source(fd)
	// have is what the storage has, an empty force being for a file without DAX.
	for _, c := range []struct {
		force string
		have  pmem2.Granularity
	}{{"", p}, {"PAGE", p}, {"CACHE_LINE", line}, {"BYTE", b}} {
		t.Force(c.force)
		for _, required := range granularities {
			s := mapSpec{require: &required}
			if c.have > required {
				t.NoMapAs(unsupported, s, src)
				checkUnmapped(t, fd)
				continue
			}
			m := t.MapAs(s, src)
			t.Check(m.StoreGranularity() == c.have, "StoreGranularity() is %v, want %v", m.StoreGranularity(), c.have)
			t.Delete(m)
		}
	}
	// What nobody else sees needs no storage: any granularity is permitted.
	t.Force("")
	for _, required := range granularities {
		t.Delete(t.MapAs(mapSpec{require: &required, sharing: pmem2.Private}, src))
		t.Delete(t.MapAs(mapSpec{require: &required}, t.AnonSource(page)))
	}
}
