package conformance

import (
	"math"

	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setMapConfigCases are those of pmemset_map_config_new(3) and of the pages of its
// setters.
func setMapConfigCases() []Case {
	const (
		page    = "pmemset_map_config_new/"
		deleted = "pmemset_map_config_delete/"
		length  = "pmemset_map_config_set_length/"
		offset  = "pmemset_map_config_set_offset/"
	)
	file := []Need{NeedFile}
	return []Case{
		{Name: page + "creates-config", Rows: pageRows(page, "creates-config", "zero-or-negative"), Needs: file, Run: mapConfigCreates},
		{
			Name: page + "describes-future-mapping", Rows: pageRows(page, "describes-future-mapping", "length-and-offset-settable"),
			Run: mapConfigServesMany,
		},
		{Name: page + "gen2-takes-set", Rows: pageRows(page, "gen2-takes-set"), Run: mapConfigTakesSet},
		{Name: page + "gen2-used-to-map", Rows: pageRows(page, "gen2-used-to-map"), Run: mapConfigUsed},
		{Name: page + "delete always succeeds", Rows: pageRows(deleted, "0#1", "always-zero"), Run: mapConfigDelete},
		{Name: page + "delete", Rows: pageRows(deleted, "frees-and-nulls"), Needs: file, Run: mapConfigDeleted},
		{Name: length + "any value", Rows: pageRows(length, "(text)#1"), Needs: file, Run: mapLengthAnything},
		{Name: length + "sets-length", Rows: pageRows(length, "sets-length"), Run: mapLengthSet},
		{Name: length + "multiple-of-alignment", Rows: pageRows(length, "multiple-of-alignment"), Run: mapLengthAligned},
		{
			Name: length + "multiple-of-a-device's-alignment", Rows: pageRows(length, "multiple-of-alignment"),
			Needs: []Need{NeedDevDax}, Run: mapLengthAlignedToDevice,
		},
		{Name: length + "default-file-size", Rows: pageRows(length, "default-file-size"), Run: mapLengthDefault},
		{
			Name: offset + "range", Rows: pageRows(offset, "PMEMSET_E_OFFSET_OUT_OF_RANGE#1", "(text)#1", "zero-on-success"),
			Needs: file, Run: mapOffsetRange,
		},
		{Name: offset + "sets-offset", Rows: pageRows(offset, "sets-offset", "used-by-map"), Run: mapOffsetUsed},
	}
}

// mapBy maps with Set.Map and expects the part to hold content.
func (t *T) mapBy(set Set, src SetSource, cfg MapConfig, content []byte, what string) pmemset.PartDescriptor {
	d, err := set.Map(src, cfg)
	t.Must(err, "Set.Map(%s)", what)
	checkPart(t, d, content, what)
	return d
}

func mapConfigCreates(t *T) {
	src, fd, content := t.patternSetFile(128*kib, 5)
	set := t.Set()
	for range 100 {
		cfg, err := t.Sets().NewMapConfig(nil)
		t.Check((cfg != nil) == (err == nil), "NewMapConfig returns the object %v with the error %v", cfg, err)
		t.Must(err, "NewMapConfig()")
		t.Delete(cfg)
	}
	t.Note("types", "in Go NewMapConfig has no way to fail: what is checked is that an object comes exactly with success")
	one, err := t.Sets().NewMapConfig(nil)
	t.Must(err, "NewMapConfig()")
	t.deleteAtEnd(one)
	two, err := t.Sets().NewMapConfig(set)
	t.Must(err, "NewMapConfig()")
	t.deleteAtEnd(two)
	checkUnmapped(t, fd)
	t.CheckParts(set)
	// Each has its own values, and both begin with the whole source.
	t.Must(one.SetOffset(64*kib), "SetOffset(64K)")
	t.mapBy(set, src, two, content, "a fresh config, while the other one has an offset")
	t.Must(two.SetLength(32*kib), "SetLength(32K)")
	t.mapBy(set, src, one, content[64*kib:], "a config with an offset, while the other one has a length")
	t.mapBy(set, src, two, content[:32*kib], "a config with a length")
}

func mapConfigServesMany(t *T) {
	src, fd, content := t.patternSetFile(256*kib, 5)
	other, _, otherContent := t.patternSetFile(256*kib, 77)
	a, b := t.Set(), t.Set()
	cfg := t.MapConfig(nil, 64*kib, 64*kib)
	checkUnmapped(t, fd)
	var parts []pmemset.PartDescriptor
	for range 3 {
		parts = append(parts, t.mapBy(a, src, cfg, content[64*kib:128*kib], "the same config"))
	}
	parts = append(parts, t.mapBy(a, other, cfg, otherContent[64*kib:128*kib], "another source"))
	in := t.mapBy(b, src, cfg, content[64*kib:128*kib], "another set")
	// A failure spoils nothing, and what is mapped doesn't change with the config.
	_, err := a.Map(t.Sets().NilSetSource(), cfg)
	t.Expect("PMEMSET_E_INVALID_SOURCE_TYPE", err, "Set.Map(no source)")
	t.Must(cfg.SetOffset(128*kib), "SetOffset(128K)")
	t.Must(cfg.SetLength(32*kib), "SetLength(32K)")
	parts = append(parts, t.mapBy(a, src, cfg, content[128*kib:160*kib], "the config with other values"))
	t.Must(cfg.SetOffset(0), "SetOffset(0)")
	t.Must(cfg.SetLength(0), "SetLength(0)")
	parts = append(parts, t.mapBy(a, src, cfg, content, "the config with the defaults again"))
	checkPart(t, parts[0], content[64*kib:128*kib], "the first part")
	t.CheckParts(a, parts...)
	t.CheckParts(b, in)
}

func mapConfigTakesSet(t *T) {
	_, src := t.SetFile(256 * kib)
	a, b := t.Set(), t.Set()
	forA, forB := t.MapConfig(a, 0, 64*kib), t.MapConfig(b, 64*kib, 96*kib)
	byMap := func(cfg MapConfig) pmemset.PartDescriptor {
		d, err := t.Sets().Map(src, cfg)
		t.Must(err, "Map()")
		return d
	}
	inB := byMap(forB)
	t.CheckParts(a)
	t.CheckParts(b, inB)
	inA := byMap(forA)
	t.CheckParts(a, inA)
	t.CheckParts(b, inB)
	t.Check(inA.Size == 64*kib && inB.Size == 96*kib, "the parts are %s and %s", partText(inA), partText(inB))
	t.Delete(a)
	d, err := t.Sets().Map(src, forA)
	t.Expect("-EINVAL", err, "Map(config of a deleted set)")
	t.Check(d == pmemset.PartDescriptor{}, "a failure returns the descriptor %s", partText(d))
	t.CheckParts(b, inB)
}

func mapConfigUsed(t *T) {
	src, fd, content := t.patternSetFile(256*kib, 5)
	set := t.Set()
	cfg := t.MapConfig(set, 0, 0)
	checkUnmapped(t, fd)
	byMap := func(want []byte, what string) {
		d, err := t.Sets().Map(src, cfg)
		t.Must(err, "Map(%s)", what)
		checkPart(t, d, want, what)
	}
	byMap(content, "a fresh config")
	t.Must(cfg.SetOffset(64*kib), "SetOffset(64K)")
	t.Must(cfg.SetLength(32*kib), "SetLength(32K)")
	for range 2 {
		byMap(content[64*kib:96*kib], "a config with offset and length")
	}
	t.Must(cfg.SetLength(100), "SetLength(100)")
	_, err := t.Sets().Map(src, cfg)
	t.Expect("PMEMSET_E_LENGTH_UNALIGNED", err, "Map(length 100)")
	t.Check(len(t.PartMaps(set)) == 3, "the part maps are %s, want three", partsText(t.PartMaps(set)))
}

func mapConfigDelete(t *T) {
	fresh := t.MapConfig(nil, 0, 0)
	for range 3 {
		t.Delete(fresh)
	}
	used := t.MapConfig(t.Sets().NilSet(), 1<<63-1, math.MaxUint64)
	t.Delete(used)
	for range 2 {
		t.Must(t.Sets().NilMapConfig().Delete(), "Delete() of no config")
	}
}

func mapConfigDeleted(t *T) {
	src, _, content := t.patternSetFile(64*kib, 5)
	set := t.Set()
	cfg, other := t.MapConfig(set, 0, 0), t.MapConfig(set, 32*kib, 32*kib)
	d := t.mapBy(set, src, cfg, content, "a fresh config")
	t.Delete(cfg)
	t.Note("types", "a method can't set the caller's variable to NULL: the object refuses further use instead")
	t.Expect("-EINVAL", cfg.SetOffset(0), "SetOffset() of the deleted config")
	t.Expect("-EINVAL", cfg.SetLength(0), "SetLength() of the deleted config")
	_, err := set.Map(src, cfg)
	t.Expect("-EINVAL", err, "Set.Map(the deleted config)")
	// What was mapped stays, and another config is what it was.
	checkPart(t, d, content, "the part")
	t.CheckParts(set, d, t.mapBy(set, src, other, content[32*kib:], "another config"))
}

func mapLengthAnything(t *T) {
	src, _, content := t.patternSetFile(64*kib, 5)
	set := t.Set()
	cfg := t.MapConfig(nil, 0, 0)
	for _, n := range []uint64{0, 1, 100, t.Page() - 1, 1 << 32, 1<<63 - 1, 1 << 63, math.MaxUint64 - 1, math.MaxUint64, 32 * kib} {
		t.Must(cfg.SetLength(n), "SetLength(%#x)", n)
	}
	t.mapBy(set, src, cfg, content[:32*kib], "the last length")
}

func mapLengthSet(t *T) {
	src, _, content := t.patternSetFile(256*kib, 5)
	set := t.Set()
	cfg := t.MapConfig(nil, 64*kib, 0)
	for _, n := range []uint64{64 * kib, t.Page(), 192 * kib, 128 * kib} {
		t.Must(cfg.SetLength(n), "SetLength(%d)", n)
		t.mapBy(set, src, cfg, content[64*kib:64*kib+n], "that length")
	}
}

func mapLengthAligned(t *T) {
	path, src := t.SetFile(64 * kib)
	set := t.Set()
	cfg := t.MapConfig(nil, 0, 0)
	page := t.Page()
	unit, err := src.Alignment()
	t.Must(err, "Alignment()")
	t.Check(unit == page, "the alignment is %d, want the page size %d", unit, page)
	for _, n := range []uint64{1, 100, page - 1, page + 1, page + page/2, 64*kib - 1, 64*kib + 1} {
		t.Must(cfg.SetLength(n), "SetLength(%d)", n)
		d, err := set.Map(src, cfg)
		t.Expect("PMEMSET_E_LENGTH_UNALIGNED", err, "Set.Map(length %d)", n)
		t.Check(d == pmemset.PartDescriptor{}, "a failure returns the descriptor %s", partText(d))
	}
	t.CheckFileSize(path, 64*kib, "after the failures")
	for _, n := range []uint64{page, 2 * page, 64 * kib} {
		t.Must(cfg.SetLength(n), "SetLength(%d)", n)
		d, err := set.Map(src, cfg)
		t.Must(err, "Set.Map(length %d)", n)
		t.Check(d.Size == n, "the part is %s", partText(d))
	}
}

func mapLengthAlignedToDevice(t *T) {
	device, _, _ := t.Device()
	src := t.SetSource(device.Path())
	set := t.Set()
	page := t.Page()
	for _, n := range []uint64{page, mib, daxAlign - page, daxAlign + page} {
		cause := t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", Release112, set, src, 0, n)
		t.Check(cause == "PMEM2_E_LENGTH_UNALIGNED", "below it is %q from libpmem2", cause)
	}
	for _, n := range []uint64{1, daxAlign + 1} {
		t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", Release112, set, src, 0, n)
	}
	for _, n := range []uint64{daxAlign, 3 * daxAlign} {
		d := t.SetMap(Release112, set, src, daxAlign, n)
		t.Check(d.Size == n && d.Addr%daxAlign == 0, "the part is %s", partText(d))
	}
}

// mapLengthDefault: what was never set, and 0, is the size that the file has then.
func mapLengthDefault(t *T) {
	path, src := t.SetFile(64 * kib)
	fd := t.Open(t.FileAt(path), platform.ORdwr)
	set := t.Set()
	cfg := t.MapConfig(nil, 0, 0)
	fresh, err := t.Sets().NewMapConfig(nil)
	t.Must(err, "NewMapConfig()")
	t.deleteAtEnd(fresh)
	for _, size := range []uint64{64 * kib, 192 * kib, t.Page(), 2 * mib} {
		t.Truncate(fd, size)
		content := pattern(size, 5)
		t.WriteFile(fd, 0, content)
		for _, c := range []MapConfig{fresh, cfg} {
			d := t.mapBy(set, src, c, content, "no length")
			t.Must(set.RemoveRange(d.Addr, 1), "RemoveRange()")
		}
		t.CheckFileSize(path, size, "mapped")
	}
}

func mapOffsetRange(t *T) {
	src, _, content := t.patternSetFile(64*kib, 5)
	set := t.Set()
	cfg := t.MapConfig(nil, 32*kib, 0)
	for _, bad := range []uint64{1 << 63, 1<<63 + 1, math.MaxUint64 - 1, math.MaxUint64} {
		t.Expect("PMEMSET_E_OFFSET_OUT_OF_RANGE", cfg.SetOffset(bad), "SetOffset(%#x)", bad)
	}
	t.mapBy(set, src, cfg, content[32*kib:], "the offset from before the failures")
	for _, fine := range []uint64{0, 1, 100, t.Page(), 1 << 32, math.MaxInt64 - 1, math.MaxInt64} {
		t.Must(cfg.SetOffset(fine), "SetOffset(%#x)", fine)
		t.Expect("PMEMSET_E_OFFSET_OUT_OF_RANGE", cfg.SetOffset(1<<63), "SetOffset(2^63)")
	}
	t.NoSetMap("PMEMSET_E_MAP_LENGTH_UNSET", Release112, set, src, math.MaxInt64, 0)
	t.Must(cfg.SetOffset(16*kib), "SetOffset(16K)")
	t.mapBy(set, src, cfg, content[16*kib:], "the last offset")
}

func mapOffsetUsed(t *T) {
	src, _, content := t.patternSetFile(256*kib, 5)
	set := t.Set()
	cfg := t.MapConfig(nil, 0, 64*kib)
	for _, at := range []uint64{64 * kib, 0, t.Page(), 192 * kib, 128*kib + t.Page()} {
		t.Must(cfg.SetOffset(at), "SetOffset(%d)", at)
		t.mapBy(set, src, cfg, content[at:at+64*kib], "that offset")
	}
	// Any is taken, and mapping wants the source's alignment.
	for _, at := range []uint64{1, 100, t.Page() - 1, t.Page() + 1} {
		t.Must(cfg.SetOffset(at), "SetOffset(%d)", at)
		_, err := set.Map(src, cfg)
		t.Expect("PMEMSET_E_INVALID_PMEM2_MAP", err, "Set.Map(offset %d)", at)
		t.Check(t.Sets().Cause(err) == "PMEM2_E_OFFSET_UNALIGNED", "below it is %q from libpmem2", t.Sets().Cause(err))
	}
}
