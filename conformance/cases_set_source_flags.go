package conformance

import (
	"bytes"
	"fmt"
	"slices"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

const xsource = "pmemset_xsource_from_file/"

// setSourceFlagCases are about the flags of pmemset_xsource_from_file(3).
func setSourceFlagCases() []Case {
	return slices.Concat(setSourceCreateCases(), setSourceGrowCases(), setSourceModeCases())
}

func setSourceCreateCases() []Case {
	const unknown = "PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS"
	cases := []Case{{
		Name: xsource + "flags",
		Rows: []string{xsource + unknown + "#1"},
		Run:  sourceFlagValues,
	}, {
		Name: xsource + "flags-zero-like-plain",
		Rows: []string{xsource + "flags-zero-like-plain"},
		Run:  noFlagsLikePlain,
	}, {
		Name: xsource + "create-if-needed",
		Rows: []string{xsource + "create-if-needed"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				t.Umask(0)
				dir, content := t.NewDirectory(), []byte("data")
				t.Put(dir+"/old", 0o640, content)
				old := t.XSetSource(dir+"/old", createIfNeeded|g.Growing())
				checkMode(t, dir+"/old", 0o640, 4, "which was there")
				checkContent(t, dir+"/old", content, "which was there")
				made := t.XSetSource(dir+"/new", createIfNeeded|g.Growing())
				checkMode(t, dir+"/new", 0o644, 0, "which wasn't there")
				again := t.XSetSource(dir+"/new", createIfNeeded|g.Growing())

				set := t.Set()
				a := t.SetMap(g, set, old, 0, 64*kib)
				checkBytes(t, a.Bytes()[:8], []byte("data\x00\x00\x00\x00"), "the part of the file that was there")
				b := t.SetMap(g, set, made, 64*kib, 64*kib)
				checkBytes(t, b.Bytes(), make([]byte, 64*kib), "the part of the file that wasn't there")
				storeAndCheck(t, set, again, b, 64*kib)
				if onHost(t) {
					symlink(t, "target", dir+"/link")
					t.XSetSource(dir+"/link", createIfNeeded)
					checkMode(t, dir+"/target", 0o644, 0, "where a link led to nothing")
				}
			})
		},
	}, {
		Name: xsource + "create-always",
		Rows: []string{xsource + "create-always"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				t.Umask(0)
				for _, flags := range []pmemset.SourceFlags{createAlways, createAlways | createIfNeeded} {
					dir := t.NewDirectory()
					t.Put(dir+"/old", 0o640, pattern(128*kib, 1))
					reader := t.Open(t.FileAt(dir+"/old"), platform.ORdonly)
					old := t.XSetSource(dir+"/old", flags|g.Growing())
					checkMode(t, dir+"/old", 0o640, 0, "which was overwritten")
					st, err := t.Machine().Fstat(reader)
					t.suite(err, "fstat")
					t.Check(st.Size == 0, "a descriptor of before sees %d bytes, want the same file, emptied", st.Size)
					made := t.XSetSource(dir+"/new", flags|g.Growing())
					checkMode(t, dir+"/new", 0o644, 0, "which wasn't there")
					for _, src := range []SetSource{old, made} {
						set := t.Set()
						// Not a byte of what the file held comes back.
						d := t.SetMap(g, set, src, 0, 128*kib)
						checkBytes(t, d.Bytes(), make([]byte, 128*kib), "the part")
						storeAndCheck(t, set, src, d, 0)
					}
					// It isn't for mapping to overwrite the file again.
					t.SetMap(g, t.Set(), old, 128*kib, 64*kib)
					checkContent(t, dir+"/old", slices.Concat(pattern(200, 77), make([]byte, 192*kib-200)), "mapped again")
				}
			})
		},
	}}
	for _, c := range []struct {
		row string
		g   Generation
	}{{"no-mode-gen3", PartsAPI}, {"no-mode-gen2", MapAPI}} {
		cases = append(cases, Case{
			Name: xsource + c.row,
			Rows: []string{xsource + c.row},
			Run: func(t *T) {
				t.InGenerations(func(g Generation) { flagsWithoutMode(t, g) }, c.g)
			},
		})
	}
	return cases
}

// sourceFlagValues tries every bit that flags have.
func sourceFlagValues(t *T) {
	const unknown = "PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS"
	for _, f := range []struct {
		name      string
		got, want uint64
	}{
		{"CREATE_ALWAYS", uint64(createAlways), 1}, {"CREATE_IF_NEEDED", uint64(createIfNeeded), 2}, {"DO_NOT_GROW", uint64(doNotGrow), 4},
		{"CREATE_MODE(0600)", uint64(pmemset.CreateMode(0o600)), 0o600 << 32},
	} {
		t.Check(f.got == f.want, "%s is %#x, want %#x", f.name, f.got, f.want)
	}
	watch := t.Watch("")
	dir := t.NewDirectory()
	path, content := dir+"/file", pattern(1000, 1)
	t.Put(path, 0o600, content)
	for bit := range 64 {
		flag := pmemset.SourceFlags(1) << bit
		what := fmt.Sprintf("bit %d", bit)
		if bit < 3 || bit >= 32 && bit < 41 {
			if flag != createAlways {
				t.Delete(t.XSetSource(path, flag))
			}
			continue
		}
		for _, with := range []pmemset.SourceFlags{0, createAlways, createIfNeeded, doNotGrow, createAlways | pmemset.CreateMode(0o600)} {
			t.NoXSetSource(unknown, path, flag|with, what+", of a file")
			t.NoXSetSource(unknown, dir+"/new", flag|with, what+", of a file that isn't there")
		}
	}
	for _, mode := range []uint32{0o1000, 0o2000, 0o4000, 0o7777, 0o1600, 0o10600, 1 << 31, 1<<32 - 1} {
		what := fmt.Sprintf("mode %#o", mode)
		for _, flags := range []pmemset.SourceFlags{
			pmemset.CreateMode(mode), createAlways | pmemset.CreateMode(mode), createIfNeeded | pmemset.CreateMode(mode), pmemset.CreateAlwaysMode(mode),
		} {
			t.NoXSetSource(unknown, path, flags, what+", of a file")
			t.NoXSetSource(unknown, dir+"/new", flags, what+", of a file that isn't there")
		}
	}
	// They are looked at before the path is.
	t.NoXSetSource(unknown, dir, 8, "a directory")
	t.NoXSetSource(unknown, dir+"/none/file", 8|createAlways, "a path through nowhere")
	checkMissing(t, dir+"/new", "after flags that there aren't")
	checkContent(t, path, content, "after flags that there aren't")
	watch.checkHeld(t, "in the end")
}

// noFlagsLikePlain makes sources with the plain call, and with flags 0.
func noFlagsLikePlain(t *T) {
	t.EachGeneration(func(g Generation) {
		dir := t.NewDirectory()
		path, content := dir+"/file", pattern(64*kib, 1)
		t.Put(path, 0o600, content)
		device := t.made(t.Env.CharDevice()).Path()
		for _, c := range []struct{ want, path, what string }{
			{"PMEMSET_E_INVALID_SOURCE_PATH", "", "the empty path"},
			{"PMEMSET_E_INVALID_SOURCE_PATH", dir + "/none", "a path that leads nowhere"},
			{"-EISDIR", dir, "a directory"},
			{"-ENOTDIR", path + "/x", "a path through a file"},
			{"PMEM2_E_INVALID_FILE_TYPE", device, "a character device that isn't DAX"},
		} {
			t.NoSetSource(c.want, c.path, c.what)
			t.NoXSetSource(c.want, c.path, 0, c.what)
		}
		checkMissing(t, dir+"/none", "after that")
		for _, open := range []func() SetSource{
			func() SetSource { return t.SetSource(path) },
			func() SetSource { return t.XSetSource(path, 0) },
		} {
			src, set := open(), t.Set()
			checkContent(t, path, content, "after its source was made")
			d := t.SetMap(g, set, src, 0, 0)
			checkBytes(t, d.Bytes(), content, "the part")
			if g == Release112 {
				t.SetMap(g, set, src, 0, uint64(len(content))+64*kib)
				content = append(content, make([]byte, 64*kib)...)
			} else {
				t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 0, uint64(len(content))+64*kib)
			}
			checkContent(t, path, content, "after a part beyond its end")
		}
	})
}

// flagsWithoutMode is about a generation whose flags are three bits of 32.
func flagsWithoutMode(t *T, g Generation) {
	watch := t.Watch("")
	dir := t.NewDirectory()
	path := dir + "/file"
	for bit := 3; bit < 32; bit++ {
		for _, with := range []pmemset.SourceFlags{0, createAlways, createIfNeeded | pmemset.SourceFileTruncateIfNeeded} {
			t.NoXSetSource("PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS", path, 1<<bit|with, fmt.Sprintf("bit %d", bit))
		}
	}
	checkMissing(t, path, "after flags that there aren't")
	watch.checkHeld(t, "after that")
	for _, umask := range []int{0, 0o022, 0o077} {
		t.Umask(umask)
		for _, flags := range allFlags()[1:] {
			if flags&(createAlways|createIfNeeded) == 0 {
				t.NoXSetSource("-ENOENT", path, flags, "a path that leads nowhere")
				continue
			}
			src := t.XSetSource(path, flags)
			checkMode(t, path, 0o644&^uint32(umask), 0, "made by "+sourceFlagNames(flags))
			set := t.Set()
			if flags&pmemset.SourceFileTruncateIfNeeded != 0 {
				storeAndCheck(t, set, src, t.SetMap(g, set, src, 64*kib, 64*kib), 64*kib)
			} else {
				t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 0, 64*kib)
			}
			t.Unlink(path)
		}
	}
}

// setSourceGrowCases are about the size of the file when it is mapped.
func setSourceGrowCases() []Case {
	var cases []Case
	for _, c := range []struct {
		row string
		g   Generation
	}{{"truncate-if-needed-gen3", PartsAPI}, {"truncate-if-needed-gen2", MapAPI}, {"grows-by-default", Release112}} {
		cases = append(cases, Case{
			Name: xsource + c.row,
			Rows: []string{xsource + c.row},
			Run: func(t *T) {
				t.InGenerations(func(g Generation) { sourceGrows(t, g) }, c.g)
			},
		})
	}
	return append(cases, Case{
		Name: xsource + "do-not-grow",
		Rows: []string{xsource + "do-not-grow"},
		Run: func(t *T) {
			t.InGenerations(func(g Generation) { sourceStays(t, g, "PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL") }, Release112)
		},
	})
}

// sourceGrows maps beyond the end of a file that may grow, and within.
func sourceGrows(t *T, g Generation) {
	path, content := t.FreshPath(), pattern(64*kib, 1)
	t.Put(path, 0o600, content)
	src := t.XSetSource(path, g.Growing())
	if g == Release112 {
		src = t.SetSource(path)
	}
	t.CheckFileSize(path, 64*kib, "before it is mapped")
	set := t.Set()
	grown := t.SetMap(g, set, src, 64*kib, 128*kib)
	checkContent(t, path, append(bytes.Clone(content), make([]byte, 128*kib)...), "grown to offset 64K + length 128K")
	// A file that is long enough keeps its size.
	for _, r := range [][2]uint64{{0, 32 * kib}, {0, 64 * kib}, {128 * kib, 64 * kib}, {0, 192 * kib}} {
		t.SetMap(g, set, src, r[0], r[1])
		t.CheckFileSize(path, 192*kib, fmt.Sprintf("after %s at %s", amount(r[1]), amount(r[0])))
	}
	storeAndCheck(t, set, src, grown, 64*kib)
	t.SetMap(g, set, src, 0, 192*kib+64*kib)
	t.CheckFileSize(path, 256*kib, "after 64K more than there were")
	t.SetMap(g, set, src, gib, 64*kib)
	t.CheckFileSize(path, gib+64*kib, "after 64K at 1G")

	// Mapping that fails doesn't make it grow.
	t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 2*gib, 64*kib+1)
	t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 2*gib+100, 64*kib)
	t.Force("PAGE")
	cfg := t.NewSetConfig()
	t.Must(cfg.SetRequiredStoreGranularity(pmem2.GranularityByte), "SetRequiredStoreGranularity(BYTE)")
	t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, t.Set(cfg), src, 2*gib, 64*kib)
	t.CheckFileSize(path, gib+64*kib, "after map calls that failed")

	if g != Release112 {
		sourceStays(t, g, "PMEMSET_E_INVALID_PMEM2_MAP")
	}
}

// sourceStays maps beyond the end of files that aren't to grow, and within.
func sourceStays(t *T, g Generation, want string) {
	path, content := t.FreshPath(), pattern(128*kib, 1)
	t.Put(path, 0o600, content)
	src, set := t.XSetSource(path, g.Fixed()), t.Set()
	for _, r := range [][2]uint64{
		{128 * kib, 64 * kib}, {64 * kib, 128 * kib}, {0, 192 * kib}, {0, 128*kib + t.Page()}, {128*kib - t.Page(), 2 * t.Page()},
		{mib, 64 * kib}, {64 * kib, 1 << 62},
	} {
		t.NoSetMap(want, g, set, src, r[0], r[1])
		t.CheckFileSize(path, 128*kib, fmt.Sprintf("after %s at %s", amount(r[1]), amount(r[0])))
	}
	whole := t.SetMap(g, set, src, 0, 128*kib)
	end := t.SetMap(g, set, src, 64*kib, 64*kib)
	all := t.SetMap(g, set, src, 0, 0)
	t.CheckParts(set, whole, end, all)
	checkBytes(t, whole.Bytes(), content, "the part of exactly the file's size")
	t.CheckFileSize(path, 128*kib, "after parts that fit")

	empty := t.FreshPath()
	t.NoSetMap(want, g, set, t.XSetSource(empty, createIfNeeded|g.Fixed()), 0, 64*kib)
	t.CheckFileSize(empty, 0, "that was made and isn't to grow")
}

// setSourceModeCases are about the modes of new files.
func setSourceModeCases() []Case {
	cases := []Case{{
		Name: xsource + "create-mode-applied-to-new-file",
		Rows: []string{xsource + "create-mode-applied-to-new-file", xsource + "mode-octal-number", xsource + "default-mode"},
		Run: func(t *T) {
			m := newModes(t)
			t.Umask(0)
			for mode := range uint32(0o1000) {
				want := mode
				if mode == 0 {
					want = 0o644
				}
				m.check(t, createIfNeeded|pmemset.CreateMode(mode), want)
			}
			for _, umask := range []int{0o022, 0o027, 0o077, 0o777} {
				t.Umask(umask)
				for _, mode := range []uint32{0, 0o200, 0o400, 0o644, 0o666, 0o741, 0o777} {
					want := mode
					if mode == 0 {
						want = 0o644
					}
					m.check(t, createAlways|pmemset.CreateMode(mode), want&^uint32(umask))
				}
			}
		},
	}, {
		Name: xsource + "mode of a file that is there",
		Rows: []string{xsource + "create-mode-applied-to-new-file", xsource + "create-mode-or-with-create-flag"},
		Run: func(t *T) {
			t.Umask(0)
			dir := t.NewDirectory()
			t.Put(dir+"/file", 0o640, pattern(100, 1))
			for _, mode := range []uint32{0o600, 0o644, 0o666, 0o777} {
				for _, flags := range []pmemset.SourceFlags{0, doNotGrow, createIfNeeded} {
					t.Delete(t.XSetSource(dir+"/file", flags|pmemset.CreateMode(mode)))
					checkMode(t, dir+"/file", 0o640, 100, "after "+sourceFlagNames(flags|pmemset.CreateMode(mode)))
				}
				// A mode alone makes nothing.
				t.NoXSetSource("-ENOENT", dir+"/none", pmemset.CreateMode(mode), "a path that leads nowhere")
				checkMissing(t, dir+"/none", "after a mode alone")
			}
			t.Delete(t.XSetSource(dir+"/file", createAlways|pmemset.CreateMode(0o777)))
			checkMode(t, dir+"/file", 0o640, 0, "after CREATE_ALWAYS|MODE(0777)")
			m := newModes(t)
			for _, flags := range []pmemset.SourceFlags{createIfNeeded, createAlways, createAlways | createIfNeeded, createIfNeeded | doNotGrow} {
				m.check(t, flags|pmemset.CreateMode(0o620), 0o620)
			}
		},
	}, {
		Name: xsource + "default-mode",
		Rows: []string{xsource + "default-mode"},
		Run: func(t *T) {
			m := newModes(t)
			for _, umask := range []int{0, 0o022, 0o077} {
				t.Umask(umask)
				for _, flags := range []pmemset.SourceFlags{createIfNeeded, createAlways, createAlways | createIfNeeded, createAlways | doNotGrow} {
					m.check(t, flags, 0o644&^uint32(umask))
				}
			}
		},
	}, {
		Name: xsource + "create-always-mode-shorthand",
		Rows: []string{xsource + "create-always-mode-shorthand"},
		Run: func(t *T) {
			m := newModes(t)
			t.Umask(0)
			for mode := range uint32(0o1000) {
				short, long := pmemset.CreateAlwaysMode(mode), createAlways|pmemset.CreateMode(mode)
				t.Check(short == long, "CREATE_ALWAYS_MODE(%#o) is %#x, CREATE_ALWAYS|CREATE_MODE(%#o) %#x", mode, uint64(short), mode, uint64(long))
			}
			for _, mode := range []uint32{0o200, 0o400, 0o606, 0o741, 0o777} {
				m.check(t, pmemset.CreateAlwaysMode(mode), mode)
				m.check(t, createAlways|pmemset.CreateMode(mode), mode)
			}
			path := t.FreshPath()
			t.Put(path, 0o640, pattern(100, 1))
			t.Delete(t.XSetSource(path, pmemset.CreateAlwaysMode(0o600)))
			checkMode(t, path, 0o640, 0, "which was overwritten")
		},
	}, {
		Name: xsource + "example-three-forms-equal",
		Rows: []string{xsource + "example-three-forms-equal"},
		Run: func(t *T) {
			m := newModes(t)
			t.Umask(0)
			m.check(t, createAlways|pmemset.CreateMode(pmemset.SourceFileWUSR), 0o200)
			m.check(t, createAlways|pmemset.CreateMode(0o0200), 0o200)
			m.check(t, pmemset.CreateAlwaysMode(pmemset.SourceFileWUSR), 0o200)
		},
	}}
	for _, c := range []struct {
		row    string
		shift  int
		values [5]uint32 // RWX, RW, R, W, X
	}{
		{"mode-constants-user", 6, [5]uint32{
			pmemset.SourceFileRWXU, pmemset.SourceFileRWU, pmemset.SourceFileRUSR, pmemset.SourceFileWUSR, pmemset.SourceFileXUSR}},
		{"mode-constants-group", 3, [5]uint32{
			pmemset.SourceFileRWXG, pmemset.SourceFileRWG, pmemset.SourceFileRGRP, pmemset.SourceFileWGRP, pmemset.SourceFileXGRP}},
		{"mode-constants-others", 0, [5]uint32{
			pmemset.SourceFileRWXO, pmemset.SourceFileRWO, pmemset.SourceFileROTH, pmemset.SourceFileWOTH, pmemset.SourceFileXOTH}},
	} {
		cases = append(cases, Case{
			Name: xsource + c.row,
			Rows: []string{xsource + c.row},
			Run: func(t *T) {
				m := newModes(t)
				t.Umask(0)
				for i, bits := range []uint32{7, 6, 4, 2, 1} {
					t.Check(c.values[i] == bits<<c.shift, "the mode is %#o, want %#o", c.values[i], bits<<c.shift)
					m.check(t, createAlways|pmemset.CreateMode(c.values[i]), bits<<c.shift)
					for j, more := range []uint32{7, 6, 4, 2, 1} {
						m.check(t, createIfNeeded|pmemset.CreateMode(c.values[i]|c.values[j]), (bits|more)<<c.shift)
					}
				}
				const others = pmemset.SourceFileRUSR | pmemset.SourceFileWGRP | pmemset.SourceFileXOTH
				m.check(t, pmemset.CreateAlwaysMode(others|c.values[0]), 0o421|7<<c.shift)
			},
		})
	}
	return cases
}

// modes makes one new file after the other.
type modes struct {
	watch *openFiles
	dir   string
	files int
}

func newModes(t *T) *modes { return &modes{watch: t.Watch(""), dir: t.NewDirectory()} }

// check expects flags to make a file of that mode, and the source to be for reading and
// writing nevertheless.
func (m *modes) check(t *T, flags pmemset.SourceFlags, want uint32) {
	m.files++
	path := fmt.Sprintf("%s/%d", m.dir, m.files)
	src, err := t.Sets().XSourceFromFile(path, flags)
	t.mustQuietly(err, "XSourceFromFile(%s)", sourceFlagNames(flags))
	t.Check(src != nil, "XSourceFromFile(%s) succeeds and returns no source", sourceFlagNames(flags))
	checkReadWrite(t, m.watch.only(t))
	t.mustQuietly(src.Delete(), "Delete()")
	st, there := statAt(t, path)
	t.Check(there && st.Mode == platform.SIFREG|want && st.Size == 0, "%s makes a file of mode %#o and %d bytes (there: %t), want an empty one of mode %#o",
		sourceFlagNames(flags), st.Mode, st.Size, there, want)
	t.Note("new files", "each has the mode that is wanted")
}
