package conformance

import (
	"slices"

	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setMapCases are those of pmemset_map(3), of pmemset_part_map(3) and
// pmemset_part_new(3), and of the pages of the map config.
func setMapCases() []Case {
	return slices.Concat(
		setMapMappingCases(), setMapPlaceCases(), setMapRefusalCases(), setMapGrowthCases(),
		setMapShutdownCases(), setMapBadBlockCases(), setPartCases(), setMapConfigCases(),
	)
}

const (
	setMapPage  = "pmemset_map/"
	setPartPage = "pmemset_part_map/"
)

// pageRows are rows of a page by what stands behind its name.
func pageRows(page string, names ...string) []string {
	var rows []string
	for _, name := range names {
		rows = append(rows, page+name)
	}
	return rows
}

// setMapCase is a case of pmemset_map(3) in the generations given, for rows of those.
func setMapCase(what string, run func(t *T, g Generation), generations []Generation, rows ...string) Case {
	return Case{
		Name: setMapPage + what, Rows: pageRows(setMapPage, rows...),
		Run: func(t *T) { t.InGenerations(func(g Generation) { run(t, g) }, generations...) },
	}
}

// setPartCase is one of pmemset_part_map(3).
func setPartCase(what string, run func(t *T, g Generation), rows ...string) Case {
	return Case{
		Name: setPartPage + what, Rows: pageRows(setPartPage, rows...),
		Run: func(t *T) { t.InGenerations(func(g Generation) { run(t, g) }, PartsAPI) },
	}
}

// bothMaps, oldMap and newMap are generations of pmemset_map(3).
var (
	bothMaps = []Generation{MapAPI, Release112}
	oldMap   = []Generation{MapAPI}
	newMap   = []Generation{Release112}
)

// onEachMapPage are a case of pmemset_map(3) in generations given, and one of
// pmemset_part_map(3), whose rows have the same names.
func onEachMapPage(what string, run func(t *T, g Generation), generations []Generation, rows ...string) []Case {
	return []Case{setMapCase(what, run, generations, rows...), setPartCase(what, run, rows...)}
}

// needing adds needs to those of the rows.
func (c Case) needing(needs ...Need) Case {
	c.Needs = append(c.Needs, needs...)
	return c
}

// setMapMappingCases checks what mapping does and returns.
func setMapMappingCases() []Case {
	return []Case{
		setMapCase("mapping and part map", setMapMakesParts, newMap, "creates-mapping-and-part", "retrievable-later"),
		setMapCase("mapping and part map by a config with a set", setMapMakesParts, oldMap, "gen2-creates-mapping-and-part"),
		setPartCase("mapping and part map", setMapMakesParts, "maps-part-into-set", "retrievable-later"),

		setMapCase("result", setMapResult, newMap, "zero-on-success"),
		setMapCase("result by a config with a set", setMapResult, oldMap, "gen2-zero-or-negative"),
		setPartCase("result", setMapResult, "zero-or-negative"),

		setMapCase("descriptor", setMapDescribes, newMap, "descriptor-optional", "descriptor-holds-address-and-size"),
		setMapCase("descriptor by a config with a set", setMapDescribes, oldMap, "gen2-descriptor-optional"),
		setPartCase("descriptor", setMapDescribes, "descriptor-optional"),

		setMapCase("based-on-source", setMapShowsSource, newMap, "based-on-source"),
		setMapCase("no source", setMapWithoutSource, bothMaps, "PMEMSET_E_INVALID_SOURCE_TYPE#1"),
		setMapCase("source-not-null-and-valid", setMapNeedsSource, newMap, "source-not-null-and-valid", "(libpmem2)#1"),
		setMapCase("gen2-source-not-null", setMapNeedsSource, oldMap, "gen2-source-not-null"),
		{
			Name: setMapPage + "no config with a set",
			Rows: pageRows(setMapPage, "(SIGSEGV)#1"),
			Run:  setMapWithoutConfig,
		}, {
			Name: setMapPage + "gen2-extras-argument",
			Rows: pageRows(setMapPage, "gen2-extras-argument"),
			Run:  setMapWithoutExtras,
		}, {
			Name: setMapPage + "config-gives-length-and-offset",
			Rows: pageRows(setMapPage, "config-gives-length-and-offset"),
			Run:  setMapByConfig,
		}, {
			Name: setMapPage + "null-config-maps-whole-source",
			Rows: pageRows(setMapPage, "null-config-maps-whole-source"),
			Run:  setMapWhole,
		},
	}
}

// patternSetFile is a source of a file of size bytes full of a pattern, and a
// descriptor of the file.
func (t *T) patternSetFile(size uint64, seed byte) (src SetSource, fd int, content []byte) {
	path, src := t.SetFile(size)
	fd, content = t.Open(t.FileAt(path), platform.ORdwr), pattern(size, seed)
	t.WriteFile(fd, 0, content)
	return src, fd, content
}

// checkPart expects a part map to have size bytes, to be mapped to be read and written,
// and to hold content.
func checkPart(t *T, d pmemset.PartDescriptor, content []byte, what string) {
	t.Check(d.Addr != 0 && d.Size == uint64(len(content)), "%s is %s, want %s", what, partText(d), amount(uint64(len(content))))
	checkMapped(t, d.Addr, d.Size, "rw-s")
	checkBytes(t, d.Bytes(), content, "%s", what)
}

// checkFoundIn expects a set to find a part map by addresses in it, and by no other at
// its edges.
func checkFoundIn(t *T, set Set, d pmemset.PartDescriptor) {
	for _, addr := range []uintptr{d.Addr, d.Addr + 1, d.Addr + uintptr(d.Size/2), d.Addr + uintptr(d.Size-1)} {
		m, err := set.PartMapByAddress(addr)
		t.mustQuietly(err, "PartMapByAddress(%#x)", addr)
		got := m.Descriptor()
		m.Drop()
		t.Check(got == d, "at %#x the set has %s, want %s", addr, partText(got), partText(d))
	}
	t.Note("look-ups by address", "find %s", partText(d))
}

func setMapMakesParts(t *T, g Generation) {
	const size = 512 * kib
	src, fd, content := t.patternSetFile(size, 5)
	set, other := t.Set(), t.Set()
	t.CheckParts(set)
	page := t.Page()
	ranges := []struct{ offset, length uint64 }{
		{0, 96 * kib}, {128 * kib, 160 * kib}, {0, 96 * kib}, {size - page, page}, {page, page}, {0, size}, {256 * kib, 0},
	}
	var parts []pmemset.PartDescriptor
	for _, r := range ranges {
		d := t.SetMap(g, set, src, r.offset, r.length)
		end := r.offset + r.length
		if r.length == 0 {
			end = size
		}
		checkPart(t, d, content[r.offset:end], "the part")
		parts = append(parts, d)
		t.CheckParts(set, parts...)
	}
	for i, d := range parts {
		checkFoundIn(t, set, d)
		for _, before := range parts[:i] {
			t.Check(before.Addr+uintptr(before.Size) <= d.Addr || d.Addr+uintptr(d.Size) <= before.Addr,
				"the parts %s and %s overlap", partText(before), partText(d))
		}
	}
	t.CheckParts(other)
	t.Delete(set)
	checkUnmapped(t, fd)
}

func setMapResult(t *T, g Generation) {
	_, src := t.SetFile(64 * kib)
	set := t.Set()
	for range 3 {
		d, err := g.Map(t, set, src, 0, 64*kib)
		t.Must(err, "%s", mapCall(g, 0, 64*kib))
		t.Check(d != pmemset.PartDescriptor{}, "%s succeeds and returns no descriptor", g.call())
	}
	for _, bad := range []struct{ offset, length uint64 }{{0, 100}, {100, 64 * kib}, {1, t.Page()}} {
		d, err := g.Map(t, set, src, bad.offset, bad.length)
		t.Note(mapCall(g, bad.offset, bad.length), "%s", t.Lib.Outcome(err))
		t.Check(err != nil && t.Sets().Errno(err) > 0, "%s fails without an error", mapCall(g, bad.offset, bad.length))
		t.Check(d == pmemset.PartDescriptor{}, "a failure returns the descriptor %s", partText(d))
	}
	t.Check(len(t.PartMaps(set)) == 3, "the set has the part maps %s, want three", partsText(t.PartMaps(set)))
}

// setMapDescribes compares what calls return with what the set has, for part maps of
// their own and for ones that grow.
func setMapDescribes(t *T, g Generation) {
	r := t.Reservation(0, mib)
	set, events := t.SetWithEvents(t.SetConfigIn(r))
	events.Name("R", r.Address())
	_, src := t.SetFile(256 * kib)
	at := func(offset, size uint64) pmemset.PartDescriptor {
		return pmemset.PartDescriptor{Addr: r.Address() + uintptr(offset), Size: size}
	}
	expect := func(offset, length uint64, want pmemset.PartDescriptor) {
		got := t.SetMap(g, set, src, offset, length)
		t.Check(got == want, "the descriptor is %s, want %s", partText(got), partText(want))
	}
	t.Coalesce(set, pmemset.CoalescingFull)
	expect(0, 64*kib, at(0, 64*kib))
	t.Events(set, events, "PART_ADD R 64K")
	// The whole part map, not only what is new of it.
	expect(64*kib, 96*kib, at(0, 160*kib))
	t.Events(set, events, "PART_ADD R 160K")
	t.Coalesce(set, pmemset.CoalescingNone)
	expect(0, 32*kib, at(160*kib, 32*kib))
	t.Events(set, events, "PART_ADD R+160K 32K")
	t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 0, 100)
	t.Events(set, events)

	// Nobody has to look at it.
	own := t.Set()
	_, _ = g.Map(t, own, src, 0, 64*kib)
	all := t.PartMaps(own)
	t.Note("part maps after a call whose result wasn't looked at", "%s", partsText(all))
	t.Check(len(all) == 1 && all[0].Size == 64*kib, "the part maps are %s, want one of 64K", partsText(all))
}

// setMapShowsSource writes to parts and reads the files, and the other way round.
func setMapShowsSource(t *T, g Generation) {
	src, fd, content := t.patternSetFile(256*kib, 7)
	other, otherFD, otherContent := t.patternSetFile(64*kib, 11)
	set := t.Set()
	a := t.SetMap(g, set, src, 0, 128*kib)
	b := t.SetMap(g, set, src, 64*kib, 64*kib)
	c := t.SetMap(g, set, other, 0, 64*kib)

	copy(a.Bytes()[64*kib+7:], "stored through the first part")
	copy(content[64*kib+7:], "stored through the first part")
	t.WriteFile(fd, 96*kib, []byte("written to the file"))
	copy(content[96*kib:], "written to the file")
	checkPart(t, a, content[:128*kib], "the first part")
	checkPart(t, b, content[64*kib:128*kib], "the second part, of the same file")
	checkPart(t, c, otherContent, "the third part, of another file")

	// The parts don't need the source.
	t.Delete(src)
	copy(b.Bytes()[64*kib-4:], "last")
	copy(content[128*kib-4:], "last")
	t.Must(set.Persist(b.Bytes()), "Persist()")
	checkFile(t, fd, 0, content, "the file")
	checkFile(t, otherFD, 0, otherContent, "the other file")
}

func setMapWithoutSource(t *T, g Generation) {
	set, events := t.SetWithEvents()
	_, deleted := t.SetFile(64 * kib)
	t.Delete(deleted)
	for _, none := range []SetSource{t.Sets().NilSetSource(), deleted} {
		t.NoSetMap("PMEMSET_E_INVALID_SOURCE_TYPE", g, set, none, 0, 0)
		// It is looked at first.
		t.NoSetMap("PMEMSET_E_INVALID_SOURCE_TYPE", g, set, none, 100, 100)
	}
	t.CheckParts(set)
	t.Events(set, events)
}

// setMapNeedsSource: there must be a source, and what it is of must be open.
func setMapNeedsSource(t *T, g Generation) {
	closed := map[Generation]string{MapAPI: "PMEMSET_E_INVALID_PMEM2_MAP", Release112: "PMEM2_E_INVALID_FILE_HANDLE"}[g]
	fd := t.FileFD(64 * kib)
	src := t.SetSourceOf(t.Source(fd))
	set := t.Set()
	t.NoSetMap("PMEMSET_E_INVALID_SOURCE_TYPE", g, set, t.Sets().NilSetSource(), 0, 64*kib)
	d := t.SetMap(g, set, src, 0, 64*kib)
	t.Close(fd)
	for _, length := range []uint64{0, 64 * kib} {
		cause := t.NoSetMap(closed, g, set, src, 0, length)
		t.Check(cause == "PMEM2_E_INVALID_FILE_HANDLE", "of a closed descriptor libpmem2 says %q", cause)
	}
	t.CheckParts(set, d)
}

// setMapWithoutConfig: the older pmemset_map(3) finds the set in the config.
func setMapWithoutConfig(t *T) {
	_, src := t.SetFile(64 * kib)
	set := t.Set()
	deleted := t.MapConfig(set, 0, 0)
	t.Delete(deleted)
	for _, c := range []struct {
		what string
		cfg  MapConfig
	}{
		{"no config", t.Sets().NilMapConfig()},
		{"a deleted config", deleted},
		{"a config without a set", t.MapConfig(t.Sets().NilSet(), 0, 64*kib)},
	} {
		d, err := t.Sets().Map(src, c.cfg)
		t.Expect("-EINVAL", err, "Map(%s)", c.what)
		t.Check(d == pmemset.PartDescriptor{}, "Map(%s) fails and returns the descriptor %s", c.what, partText(d))
	}
	t.CheckParts(set)
}

func setMapWithoutExtras(t *T) {
	t.Note("types", "Map takes a source and a config: no library has looked at extras")
	set, events := t.SetWithEvents()
	src, _, content := t.patternSetFile(64*kib, 3)
	d, err := t.Sets().Map(src, t.MapConfig(set, 0, 64*kib))
	t.Must(err, "Map(offset 0, length 64K)")
	checkPart(t, d, content, "the part")
	events.Name("A", d.Addr)
	t.Events(set, events, "PART_ADD A 64K")
	t.CheckParts(set, d)
}

func setMapByConfig(t *T) {
	const size = 2 * mib
	src, _, content := t.patternSetFile(size, 9)
	set := t.Set()
	var parts []pmemset.PartDescriptor
	expect := func(cfg MapConfig, offset, length uint64) {
		d, err := set.Map(src, cfg)
		t.Must(err, "Set.Map(offset %s, length %s)", amount(offset), amount(length))
		checkPart(t, d, content[offset:offset+length], "the part")
		parts = append(parts, d)
	}
	for _, r := range []struct{ offset, length uint64 }{{mib, 64 * kib}, {0, 64 * kib}, {t.Page(), 3 * t.Page()}, {mib, mib}} {
		expect(t.MapConfig(nil, r.offset, r.length), r.offset, r.length)
	}
	// Each alone, and both again and again.
	cfg := t.MapConfig(nil, 0, 0)
	t.Must(cfg.SetLength(192*kib), "SetLength(192K)")
	expect(cfg, 0, 192*kib)
	t.Must(cfg.SetOffset(mib+64*kib), "SetOffset(1M + 64K)")
	expect(cfg, mib+64*kib, 192*kib)
	t.Must(cfg.SetLength(0), "SetLength(0)")
	expect(cfg, mib+64*kib, size-mib-64*kib)
	// The set of the config is the older generation's affair.
	other := t.Set()
	expect(t.MapConfig(other, 64*kib, 64*kib), 64*kib, 64*kib)
	t.CheckParts(other)
	t.CheckParts(set, parts...)
}

func setMapWhole(t *T) {
	const size = 8 * mib
	path, src := t.SetFile(size)
	fd := t.Open(t.FileAt(path), platform.ORdwr)
	set := t.Set()
	for _, none := range []MapConfig{nil, t.Sets().NilMapConfig()} {
		d, err := set.Map(src, none)
		t.Must(err, "Set.Map() without a config")
		checkMapped(t, d.Addr, size, "rw-s")
		t.Check(d.Size == size, "the part is %s, want 8M", partText(d))
	}
	// Its size is that of the moment.
	for _, now := range []uint64{64 * kib, 128 * kib, t.Page()} {
		t.Truncate(fd, now)
		other := t.Set()
		d, err := other.Map(src, nil)
		t.Must(err, "Set.Map() without a config of %s", amount(now))
		t.Check(d.Size == now, "the part is %s, want %s", partText(d), amount(now))
		t.Delete(other)
	}
	t.Truncate(fd, 5000)
	d, err := set.Map(src, nil)
	t.Expect("PMEMSET_E_LENGTH_UNALIGNED", err, "Set.Map() without a config of 5000")
	t.Check(d == pmemset.PartDescriptor{}, "a failure returns the descriptor %s", partText(d))
	t.CheckFileSize(path, 5000, "at the end")
	t.Truncate(fd, size) // the first parts reach so far
}
