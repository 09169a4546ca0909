package conformance

import (
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapGetterCases checks pmem2_map_get_address(3), pmem2_map_get_size(3) and
// pmem2_map_get_store_granularity(3).
func mapGetterCases() []Case {
	return []Case{
		{
			Name:  "pmem2_map_get_address/start of the mapping",
			Rows:  []string{"pmem2_map_get_address/address-of-mapping", "pmem2_map_get_address/(none)#1"},
			Needs: []Need{NeedReservation},
			Run:   mapGetAddress,
		},
		{
			Name:  "pmem2_map_get_size/size of the mapping",
			Rows:  []string{"pmem2_map_get_size/size-of-mapping", "pmem2_map_get_size/(none)#1"},
			Needs: []Need{NeedReservation},
			Run:   mapGetSize,
		},
		{
			Name:  "pmem2_map_get_size/size of a device DAX mapping",
			Rows:  []string{"pmem2_map_get_size/size-of-mapping"},
			Needs: []Need{NeedDevDax},
			Run:   mapGetDeviceSize,
		},
		{
			Name: "pmem2_map_get_store_granularity/effective granularity",
			Rows: []string{
				"pmem2_map_get_store_granularity/effective-granularity", "pmem2_map_get_store_granularity/(none)#1",
			},
			Run: mapGetGranularity,
		},
		{
			Name:  "pmem2_map_get_store_granularity/effective granularity with DAX",
			Rows:  []string{"pmem2_map_get_store_granularity/effective-granularity"},
			Needs: []Need{NeedFSDax, NeedDevDax, NeedEADR},
			Run:   mapGetGranularityDAX,
		},
	}
}

func mapGetAddress(t *T) {
	page := t.Page()
	fd := t.FileFD(8 * page)
	src := t.Source(fd)
	for _, s := range []mapSpec{{}, {length: page}, {offset: 3 * page}, {sharing: pmem2.Private}, {prot: pmem2.ProtRead}} {
		m := t.MapAs(s, src)
		start := checkMappedOnce(t, fd).Start
		t.Check(m.Address() == start, "Address() is %#x, the mapping is at %#x", m.Address(), start)
		t.Check(&m.Bytes()[0] == &platform.Bytes(m.Address(), 1)[0], "Bytes() starts elsewhere than at Address()")
		t.Note("Address()", "%#x, as in the process's memory map", m.Address())
		t.Check(m.Address() == start, "Address() is %#x when asked again", m.Address())
		t.Delete(m)
	}
	r := t.Reservation(0, 16*page)
	for _, at := range []uint64{0, page, 8 * page} {
		m := t.MapAs(mapSpec{in: r, at: at}, src)
		start := checkMappedOnce(t, fd).Start
		t.Check(m.Address() == start && m.Address() == r.Address()+uintptr(at),
			"Address() is %#x at %#x in the reservation at %#x, the mapping is at %#x", m.Address(), at, r.Address(), start)
		t.Note("Address()", "%#x, as in the process's memory map", m.Address())
		t.Delete(m)
	}
	own := t.OwnMapping(fd, 8*page)
	m := t.Wrap(src, own+100, page, pmem2.GranularityPage)
	t.Check(m.Address() == own+100, "Address() is %#x, want %#x", m.Address(), own+100)

	anon := t.MapAs(mapSpec{}, t.AnonSource(page))
	entry, mapped := t.ProcMaps(anon.Address())
	t.Check(mapped && entry.Perms[:2] == "rw", "Address() is %#x, where the process has %v", anon.Address(), entry)
}

func mapGetSize(t *T) {
	page := t.Page()
	size := func(m Map, want uint64) {
		t.Note("Size()", "%d", m.Size())
		t.Check(m.Size() == want, "Size() is %d, want %d", m.Size(), want)
		t.Check(uint64(len(m.Bytes())) == want, "Bytes() has %d bytes, Size() is %d", len(m.Bytes()), want)
		_ = append([]byte(nil), m.Bytes()[want-1]) // the last byte is there
	}
	large, odd := t.FileSource(1<<20), t.FileSource(5000)
	r := t.Reservation(0, 2<<20)
	for _, c := range []struct {
		spec mapSpec
		src  Source
		want uint64
	}{
		{mapSpec{}, large, 1 << 20},
		{mapSpec{length: 1 << 20}, large, 1 << 20},
		{mapSpec{length: page}, large, page},
		{mapSpec{offset: page}, large, 1<<20 - page},
		{mapSpec{offset: page, length: 2 * page}, large, 2 * page},
		{mapSpec{offset: 1<<20 - page}, large, page},
		{mapSpec{sharing: pmem2.Private, length: page}, large, page},
		{mapSpec{in: r, at: page}, large, 1 << 20},
		{mapSpec{}, odd, 5000}, // not that of its pages
		{mapSpec{in: r}, odd, 5000},
		{mapSpec{sharing: pmem2.Private}, odd, 5000},
		{mapSpec{}, t.FileSource(1), 1},
		{mapSpec{}, t.FileSource(page - 1), page - 1},
		{mapSpec{}, t.FileSource(page + 1), page + 1},
		{mapSpec{}, t.AnonSource(5000), 5000},
		{mapSpec{length: page}, t.AnonSource(5000), page},
	} {
		m := t.MapAs(c.spec, c.src)
		size(m, c.want)
		t.Delete(m)
	}
	own := t.OwnMapping(t.FileFD(2*page), 2*page)
	size(t.Wrap(odd, own, page+1, pmem2.GranularityPage), page+1)

	// It is that of the mapping: the file may become what it likes.
	fd := t.FileFD(2 * page)
	m := t.MapAs(mapSpec{}, t.Source(fd))
	t.Truncate(fd, 8*page)
	size(m, 2*page)
}

func mapGetDeviceSize(t *T) {
	_, _, src := t.Device()
	whole, err := src.Size()
	t.Must(err, "Size() of the source")
	for _, c := range []struct {
		spec mapSpec
		want uint64
	}{
		{mapSpec{}, whole},
		{mapSpec{length: daxAlign}, daxAlign},
		{mapSpec{offset: daxAlign}, whole - daxAlign},
		{mapSpec{offset: daxAlign, length: 2 * daxAlign}, 2 * daxAlign},
	} {
		m := t.MapAs(c.spec, src)
		t.Note("Size()", "%d", m.Size())
		t.Check(m.Size() == c.want, "Size() is %d, want %d", m.Size(), c.want)
		t.Delete(m)
	}
}

// checkGranularity expects a map to have a granularity.
func checkGranularity(t *T, m Map, want pmem2.Granularity, of string) {
	t.Note("StoreGranularity() of "+of, "%v", m.StoreGranularity())
	t.Check(m.StoreGranularity() == want, "StoreGranularity() of %s is %v, want %v", of, m.StoreGranularity(), want)
}

func mapGetGranularity(t *T) {
	const b, line, p = pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityPage
	page := t.Page()
	src := t.FileSource(page)
	for _, c := range []struct {
		force string
		have  pmem2.Granularity
	}{
		{"", p},
		{"CACHE_LINE", line}, // the row's own
		{"BYTE", b},
		{"PAGE", p},
	} {
		t.Force(c.force)
		// It is the one that was found, not the one that was required.
		for _, required := range granularities {
			if required < c.have {
				continue
			}
			m := t.MapAs(mapSpec{require: &required}, src)
			checkGranularity(t, m, c.have, "a map of a file")
			// What is forced later is about later maps.
			t.Force("BYTE")
			checkGranularity(t, m, c.have, "a map of a file made before")
			t.Force(c.force)
			t.Delete(m)
		}
		// Nobody else sees these stores, forced or not.
		checkGranularity(t, t.MapAs(mapSpec{sharing: pmem2.Private}, src), b, "a private map")
		checkGranularity(t, t.MapAs(mapSpec{}, t.AnonSource(page)), b, "an anonymous map")
	}
}

func mapGetGranularityDAX(t *T) {
	const b, line, p = pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityPage
	o := t.made(t.Env.DAXFile(4 << 20))
	file, plain := t.Source(t.Open(o, platform.ORdwr)), t.FileSource(4<<20)
	_, _, device := t.Device()
	for _, c := range []struct {
		eadr  bool
		force string
		dax   pmem2.Granularity
		plain pmem2.Granularity
	}{
		{false, "", line, p},
		{true, "", b, p},
		{false, "PAGE", p, p},
		{true, "CACHE_LINE", line, line},
		{false, "BYTE", b, b},
	} {
		t.suite(t.Env.SetEADR(c.eadr), "set eADR to %t", c.eadr)
		t.Note("persistence domain", "eADR: %t", c.eadr)
		t.Force(c.force)
		for _, required := range granularities {
			for _, s := range []struct {
				src  Source
				have pmem2.Granularity
				of   string
			}{{file, c.dax, "a file with DAX"}, {device, c.dax, "device DAX"}, {plain, c.plain, "a file without DAX"}} {
				spec := mapSpec{require: &required}
				if s.have > required {
					t.NoMapAs("PMEM2_E_GRANULARITY_NOT_SUPPORTED", spec, s.src)
					continue
				}
				m := t.MapAs(spec, s.src)
				checkGranularity(t, m, s.have, "a map of "+s.of)
				t.Delete(m)
			}
		}
	}
}
