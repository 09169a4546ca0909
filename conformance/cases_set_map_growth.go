package conformance

import (
	"math"
	"slices"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// cannotGrow is one number with PMEMSET_E_CANNOT_TRUNCATE_SOURCE_FILE, its older name.
const cannotGrow = "PMEMSET_E_CANNOT_GROW_SOURCE_FILE"

// setMapGrowthCases checks the size of the source: what is mapped by default, and when
// files grow.
func setMapGrowthCases() []Case {
	const (
		small     = "PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL#"
		grow      = "PMEMSET_E_CANNOT_GROW_SOURCE_FILE#"
		truncate  = "PMEMSET_E_CANNOT_TRUNCATE_SOURCE_FILE#1"
		noMap     = "PMEMSET_E_INVALID_PMEM2_MAP#"
		undone    = "(side-effect)#2"
		injection = NeedFaultInjection
	)
	cases := []Case{
		setMapCase("nothing to map", setMapNothing, newMap, "PMEMSET_E_MAP_LENGTH_UNSET#1"),
		setMapCase("too small", setMapTooSmall, newMap, small+"1"),
		setMapCase("default length from an offset", setMapDefaultLength, newMap, small+"2", "(side-effect)#1"),
		setMapCase("doesn't grow", setMapCannotGrow, newMap, grow+"1"),
		setMapCase("file system refuses", setMapGrowthFails, newMap, grow+"1").needing(injection),
		setMapCase("read-only descriptor", setMapReadOnlyGrowth, newMap, grow+"2"),
		setMapCase("device DAX doesn't grow", setMapPastDevice, newMap, grow+"2").needing(NeedDevDax),
		setMapCase("failure after growth", setMapShrinksBack, newMap, undone),
		setMapCase("failure of mmap after growth", setMapShrinksBackAfterMmap, newMap, undone).needing(injection),
		setPartCase("does-not-grow-file", setMapGrowsByLeave, "does-not-grow-file"),
	}
	for _, c := range onEachMapPage("file system refuses, by leave", setMapGrowthFails, oldMap, truncate) {
		cases = append(cases, c.needing(injection))
	}
	return slices.Concat(cases,
		onEachMapPage("doesn't grow, by leave", setMapCannotGrow, oldMap, truncate),
		onEachMapPage("no leave to grow", setMapGrowsByLeave, oldMap, noMap+"2"),
		onEachMapPage("default length from an offset, by leave", setMapDefaultLength, oldMap, noMap+"3"),
		onEachMapPage("empty source", setMapEmptySource, oldMap, "-EINVAL#1"),
		onEachMapPage("closed descriptor", setMapClosedDescriptor, oldMap, "PMEM2_E_INVALID_FILE_HANDLE#1"),
	)
}

// noSetMapBelow is NoSetMap for a failure with a code of libpmem2's below.
func (t *T) noSetMapBelow(want, cause string, g Generation, set Set, src SetSource, offset, length uint64) {
	got := t.NoSetMap(want, g, set, src, offset, length)
	t.Check(got == cause, "%s: below it is %q from libpmem2, want %s", mapCall(g, offset, length), got, cause)
}

// sourcesOf are a file of size bytes as a source of each kind that a file can have: one
// that may grow, one that mayn't, and one of libpmem2's.
func (t *T) sourcesOf(g Generation, size uint64) (path string, growing, fixed, own SetSource) {
	o := t.made(t.Env.File(size))
	return o.Path(), t.XSetSource(o.Path(), g.Growing()), t.XSetSource(o.Path(), g.Fixed()), t.SetSourceOf(t.Source(t.Open(o, platform.ORdwr)))
}

func setMapNothing(t *T, g Generation) {
	const code = "PMEMSET_E_MAP_LENGTH_UNSET"
	set, events := t.SetWithEvents()
	for _, size := range []uint64{0, 64 * kib} {
		path, growing, fixed, own := t.sourcesOf(g, size)
		sources := []SetSource{growing, fixed, own}
		if size == 0 {
			_, temporary := t.TemporarySetSource()
			sources = append(sources, temporary)
			for _, src := range sources {
				d, err := set.Map(src, nil)
				t.Expect(code, err, "Set.Map() without a config of an empty source")
				t.Check(d == pmemset.PartDescriptor{}, "a failure returns the descriptor %s", partText(d))
			}
		}
		for _, src := range sources {
			for _, offset := range []uint64{size, size + t.Page(), size + 100, math.MaxInt64} {
				t.NoSetMap(code, g, set, src, offset, 0)
			}
		}
		t.CheckFileSize(path, size, "after the failures")
	}
	t.CheckParts(set)
	t.Events(set, events)
}

// setMapTooSmall goes to the end of a file that mustn't grow, and past it.
func setMapTooSmall(t *T, g Generation) {
	const code, size = "PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL", mib
	path, _, src, _ := t.sourcesOf(g, size)
	set, events := t.SetWithEvents()
	page := t.Page()
	for _, r := range []struct{ offset, length uint64 }{
		{0, 2 * mib}, {0, size + page}, {page, size}, {size - page, 2 * page}, {size, page}, {2 * mib, page},
		// Sums that pass 2^63 or 2^64.
		{page, math.MaxInt64 - page + 1}, {page, -page}, {2 * page, -page}, {size, math.MaxUint64 - size + 1}, {math.MaxInt64 - page + 1, page},
		{0, math.MaxUint64 - page + 1},
	} {
		t.NoSetMap(code, g, set, src, r.offset, r.length)
	}
	t.CheckFileSize(path, size, "after the failures")
	t.Events(set, events)
	parts := []pmemset.PartDescriptor{
		t.SetMap(g, set, src, 0, size), t.SetMap(g, set, src, page, size-page), t.SetMap(g, set, src, size-page, page),
	}
	t.CheckParts(set, parts...)
}

// setMapDefaultLength: without a length everything from the offset on is mapped, and
// nothing grows.
func setMapDefaultLength(t *T, g Generation) {
	const size = mib
	path, growing, fixed, own := t.sourcesOf(g, size)
	content := pattern(size, 5)
	t.WriteFile(t.Open(t.FileAt(path), platform.ORdwr), 0, content)
	sources := []SetSource{fixed, own}
	if g != MapAPI { // which lets such a source grow by as much as it has
		sources = append(sources, growing)
	}
	set := t.Set()
	for _, src := range sources {
		for _, offset := range []uint64{0, 64 * kib, t.Page(), size - t.Page()} {
			checkPart(t, t.SetMap(g, set, src, offset, 0), content[offset:], "the part")
		}
	}
	t.CheckFileSize(path, size, "at the end")
	t.Check(len(t.PartMaps(set)) == 4*len(sources), "the set has %d part maps", len(t.PartMaps(set)))
}

// setMapCannotGrow asks for sizes that no file can have.
func setMapCannotGrow(t *T, g Generation) {
	path, growing, _, own := t.sourcesOf(g, 64*kib)
	_, temporary := t.TemporarySetSource()
	set, events := t.SetWithEvents()
	page := t.Page()
	sources := []SetSource{growing, temporary}
	if g == Release112 {
		sources = append(sources, own)
	}
	for _, src := range sources {
		for _, r := range []struct{ offset, length uint64 }{
			{math.MaxInt64 - page + 1, page}, {page, math.MaxInt64 - page + 1}, {1 << 62, 1 << 62},
			{0, 1 << 62}, {page, 1 << 62}, {0, 1 << 63}, {page, -page}, {2 * page, -page}, {0, -page},
		} {
			t.NoSetMap(cannotGrow, g, set, src, r.offset, r.length)
		}
	}
	t.CheckFileSize(path, 64*kib, "after the failures")
	t.CheckParts(set)
	t.Events(set, events)
	t.SetMap(g, set, temporary, 0, 64*kib) // from its size of 0
	t.SetMap(g, set, growing, 0, 96*kib)
	t.CheckFileSize(path, 96*kib, "in the end")
}

// setMapGrowthFails has every call fail that a file can grow by.
func setMapGrowthFails(t *T, g Generation) {
	o, dir := t.made(t.Env.File(64*kib)), t.made(t.Env.Directory())
	for _, errno := range []string{"EFBIG", "ENOSPC", "EIO"} {
		lib := t.Inject("(" + errno + " (Op fallocate ftruncate))").Sets()
		file, err := lib.XSourceFromFile(o.Path(), g.Growing())
		file = t.gotSetSource(file, err, "XSourceFromFile(%s)", o.Path())
		temporary, err := lib.SourceFromTemporary(dir.Path())
		temporary = t.gotSetSource(temporary, err, "SourceFromTemporary(%s)", dir.Path())
		for _, cfg := range []SetConfig{t.SetConfig(), t.SetConfigIn(t.Reservation(0, mib))} {
			for _, src := range []SetSource{file, temporary} {
				set, events := t.SetWithEvents(cfg)
				t.NoSetMap(cannotGrow, g, set, src, 0, 128*kib)
				t.NoSetMap(cannotGrow, g, set, src, 64*kib, 64*kib)
				t.CheckFileSize(o.Path(), 64*kib, "after the failures")
				t.Events(set, events)
				t.CheckParts(set)
			}
		}
		// What needn't grow is mapped.
		set := t.Set()
		a := t.SetMap(g, set, file, 0, 64*kib)
		t.Coalesce(set, coalesceFull)
		t.NoSetMap(cannotGrow, g, set, file, 64*kib, 64*kib)
		t.CheckParts(set, a)
		t.Delete(set)
	}
}

func setMapReadOnlyGrowth(t *T, g Generation) {
	o := t.made(t.Env.File(64 * kib))
	src := t.SetSourceOf(t.Source(t.Open(o, platform.ORdonly)))
	set, events := t.SetWithEvents()
	t.NoSetMap(cannotGrow, g, set, src, 0, 128*kib)
	t.NoSetMap(cannotGrow, g, set, src, 64*kib, t.Page())
	t.CheckFileSize(o.Path(), 64*kib, "after the failures")
	t.CheckParts(set)
	t.Events(set, events)
	// A descriptor open for writing lets the file grow.
	t.SetMap(g, set, t.SetSourceOf(t.Source(t.Open(o, platform.ORdwr))), 0, 128*kib)
	t.CheckFileSize(o.Path(), 128*kib, "mapped by a descriptor open for writing")
}

func setMapPastDevice(t *T, g Generation) {
	o, _, own := t.Device()
	size, err := own.Size()
	t.suite(err, "size of %s", o.Path())
	set := t.Set()
	sources := []SetSource{t.SetSource(o.Path()), t.SetSourceOf(own)}
	for _, src := range sources {
		for _, r := range []struct{ offset, length uint64 }{{0, size + daxAlign}, {size, daxAlign}, {size - daxAlign, 2 * daxAlign}} {
			t.NoSetMap(cannotGrow, g, set, src, r.offset, r.length)
		}
		d := t.SetMap(g, set, src, size-daxAlign, daxAlign)
		t.Check(d.Addr%daxAlign == 0, "the part is at %#x, which is no multiple of the device's alignment", d.Addr)
	}
}

// setMapShrinksBack fails after, or instead of, growing, for each reason there is.
func setMapShrinksBack(t *T, g Generation) {
	const size = 64 * kib
	path, src, _, own := t.sourcesOf(g, size)
	_, temporary := t.TemporarySetSource()
	before := func() { t.CheckFileSize(path, size, "after the failure") }
	fails := func(want string, set Set, offset, length uint64) {
		for _, s := range []SetSource{src, own, temporary} {
			t.NoSetMap(want, g, set, s, offset, length)
			before()
		}
		cfg := t.MapConfig(nil, 0, 0)
		_, err := set.Map(temporary, cfg)
		t.Check(t.Lib.Outcome(err) == "PMEMSET_E_MAP_LENGTH_UNSET", "the temporary file isn't empty any more: %v", err)
	}
	t.Force("PAGE")
	set, events := t.SetWithEvents()
	fails("PMEMSET_E_LENGTH_UNALIGNED", set, size, 100)
	fails("PMEMSET_E_LENGTH_UNALIGNED", set, size, t.Page()+1)
	fails("PMEMSET_E_INVALID_PMEM2_MAP", set, size+100, t.Page())
	fine := t.NewSetConfig()
	t.Must(fine.SetRequiredStoreGranularity(pmem2.GranularityByte), "SetRequiredStoreGranularity(BYTE)")
	fails("PMEMSET_E_INVALID_PMEM2_MAP", t.Set(fine), size, t.Page())
	fails("PMEMSET_E_CANNOT_FIT_PART_MAP", t.Set(t.SetConfigIn(t.Reservation(0, size))), size, size+t.Page())
	t.Events(set, events)

	inside := t.placed(g, 3*size)
	inside.put(coalesceNone, size, 0, size)
	inside.put(coalesceNone, size, size, size)
	inside.put(coalesceNone, size, 2*size, size)
	inside.remove(0, 1)
	t.Coalesce(inside.set, coalesceFull)
	fails(cannotCoalesce, inside.set, size, size)
	t.Coalesce(inside.set, coalesceNone)
	t.Force("CACHE_LINE")
	fails("PMEMSET_E_GRANULARITY_MISMATCH", inside.set, size, size)
	t.Force("PAGE")
	t.SetMap(g, inside.set, src, size, size)
	t.CheckFileSize(path, 2*size, "when it could be mapped")
}

func setMapShrinksBackAfterMmap(t *T, g Generation) {
	o := t.made(t.Env.File(64 * kib))
	for _, plan := range []string{
		// The first mmap is that of a reservation.
		"(EPERM (And (Op mmap) (FromIndex 1)))", "(EACCES (And (Op mmap) (FromIndex 1)))",
	} {
		src, err := t.Inject(plan).Sets().SourceFromFile(o.Path())
		src = t.gotSetSource(src, err, "SourceFromFile(%s)", o.Path())
		set, events := t.SetWithEvents()
		t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 0, 128*kib)
		t.CheckFileSize(o.Path(), 64*kib, "after the failure")
		t.CheckParts(set)
		t.Events(set, events)
	}
}

// setMapGrowsByLeave: in the older generations a file grows only if its source has the
// flag, or is temporary.
func setMapGrowsByLeave(t *T, g Generation) {
	const code, size = "PMEMSET_E_INVALID_PMEM2_MAP", 64 * kib
	path, growing, fixed, own := t.sourcesOf(g, size)
	set, events := t.SetWithEvents()
	page := t.Page()
	for _, src := range []SetSource{fixed, own, t.SetSource(path), t.XSetSource(path, pmemset.SourceFileCreateIfNeeded)} {
		for _, r := range []struct{ offset, length uint64 }{
			{0, 128 * kib}, {0, size + page}, {page, size}, {size, page}, {128 * kib, page}, {size, 0}, {page, -page}, {2 * page, -page},
		} {
			t.noSetMapBelow(code, "PMEM2_E_MAP_RANGE", g, set, src, r.offset, r.length)
		}
	}
	t.CheckFileSize(path, size, "after the failures")
	t.CheckParts(set)
	t.Events(set, events)

	t.SetMap(g, set, fixed, 0, size)
	t.SetMap(g, set, growing, page, size)
	t.CheckFileSize(path, size+page, "mapped by a source with the flag")
	t.SetMap(g, set, growing, 0, page)
	t.CheckFileSize(path, size+page, "mapped where it has bytes already")
	t.SetMap(g, set, fixed, size, page)
	_, temporary := t.TemporarySetSource()
	d := t.SetMap(g, set, temporary, size, page)
	d.Bytes()[page-1] = 1 // a fault, if it isn't there
}

func setMapEmptySource(t *T, g Generation) {
	path, growing, fixed, own := t.sourcesOf(g, 0)
	_, temporary := t.TemporarySetSource()
	set, events := t.SetWithEvents()
	for _, src := range []SetSource{growing, fixed, own, temporary} {
		t.noSetMapBelow("PMEMSET_E_INVALID_PMEM2_MAP", "PMEM2_E_SOURCE_EMPTY", g, set, src, 0, 0)
	}
	t.CheckFileSize(path, 0, "after the failures")
	t.CheckParts(set)
	t.Events(set, events)
}

func setMapClosedDescriptor(t *T, g Generation) {
	fd := t.FileFD(64 * kib)
	src := t.SetSourceOf(t.Source(fd))
	set, events := t.SetWithEvents()
	t.Close(fd)
	for _, r := range []struct{ offset, length uint64 }{{0, 0}, {0, 64 * kib}, {64 * kib, 64 * kib}} {
		t.noSetMapBelow("PMEMSET_E_INVALID_PMEM2_MAP", "PMEM2_E_INVALID_FILE_HANDLE", g, set, src, r.offset, r.length)
	}
	t.CheckParts(set)
	t.Events(set, events)
}
