package conformance

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setSourceCases are those about sources.
func setSourceCases() []Case {
	return slices.Concat(setSourceFileCases(), setSourceFlagCases(), setSourceTemporaryCases(), setSourceObjectCases(),
		setMCSafeCases(), setBadBlockCases())
}

// setSourceFileCases are those of pmemset_source_from_file(3) but for what the flags of
// pmemset_xsource_from_file(3) do.
func setSourceFileCases() []Case {
	const page = "pmemset_source_from_file/"
	return slices.Concat(setSourcePathCases(), []Case{{
		Name: page + "creates-source-with-path",
		Rows: []string{page + "creates-source-with-path"},
		Run:  setSourceOfPath,
	}, {
		Name: page + "ready-for-mapping",
		Rows: []string{page + "ready-for-mapping"},
		Run: func(t *T) {
			path, content := t.FreshPath(), pattern(128*kib, 1)
			t.Put(path, 0o600, content)
			src, set := t.SetSource(path), t.Set()
			d, err := set.Map(src, nil)
			t.Must(err, "Map() without a config")
			checkBytes(t, d.Bytes(), content, "the part")
			storeAndCheck(t, set, src, d, 0)
			part := t.SetMap(Release112, set, t.SetSource(path), 64*kib, 64*kib)
			checkBytes(t, part.Bytes(), content[64*kib:], "the part of the second half")
			t.CheckParts(set, d, part)
		},
	}, {
		Name: page + "ready-for-part-new",
		Rows: []string{page + "ready-for-part-new"},
		Run: func(t *T) {
			t.InGenerations(func(Generation) {
				path, content := t.FreshPath(), pattern(128*kib, 1)
				t.Put(path, 0o600, content)
				src, set := t.SetSource(path), t.Set()
				part, err := t.Sets().NewPart(set, src, 64*kib, 64*kib)
				t.Must(err, "NewPart(offset 64K, length 64K)")
				t.Check(part != nil, "NewPart succeeds and returns no part")
				t.deleteAtEnd(part)
				t.CheckParts(set)
				d, err := part.Map()
				t.Must(err, "Part.Map()")
				checkBytes(t, d.Bytes(), content[64*kib:], "the part")
				storeAndCheck(t, set, src, d, 64*kib)
				t.CheckParts(set, d)
			}, PartsAPI)
		},
	}, {
		Name: page + "result-and-object",
		Rows: []string{page + "zero-or-negative", "pmemset_xsource_from_file/zero-or-negative"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				dir := t.NewDirectory()
				path := dir + "/file"
				t.Put(path, 0o600, pattern(64*kib, 1))
				set := t.Set()
				t.NoSetSource("PMEMSET_E_INVALID_SOURCE_PATH", dir+"/none", "a path that leads nowhere")
				t.NoSetSource("-EISDIR", dir, "a directory")
				t.NoXSetSource("-ENOENT", dir+"/none", doNotGrow, "a path that leads nowhere")
				t.NoXSetSource("-EISDIR", dir, createIfNeeded, "a directory")
				t.NoXSetSource("PMEMSET_E_INVALID_SOURCE_FILE_CREATE_FLAGS", path, 8, "a file")
				a := t.SetMap(g, set, t.SetSource(path), 0, 64*kib)
				b := t.SetMap(g, set, t.XSetSource(path, 0), 0, 64*kib)
				c := t.SetMap(g, set, t.XSetSource(path, createIfNeeded|g.Fixed()), 0, 64*kib)
				d := t.SetMap(g, set, t.XSetSource(dir+"/new", createAlways|g.Growing()), 0, 64*kib)
				t.CheckParts(set, a, b, c, d)
			})
		},
	}})
}

// setSourceOfPath expects a source to be of the file that the path leads to when it is
// made, open until the source is deleted.
func setSourceOfPath(t *T) {
	watch := t.Watch("")
	t.EachGeneration(func(g Generation) {
		dir := t.NewDirectory()
		path, other := dir+"/file", dir+"/other"
		content, others, later := pattern(128*kib, 1), pattern(128*kib, 2), pattern(128*kib, 3)
		t.Put(path, 0o600, content)
		t.Put(other, 0o600, others)
		src := t.SetSource(path)
		watch.checkHeld(t, "after SourceFromFile", path)
		checkReadWrite(t, watch.only(t))
		// What has the name from now on is another file.
		t.Unlink(path)
		t.Put(path, 0o600, later)
		set := t.Set()
		d := t.SetMap(g, set, src, 64*kib, 64*kib)
		checkBytes(t, d.Bytes(), content[64*kib:], "the part")
		storeAndCheck(t, set, src, d, 64*kib)
		watch.checkHeld(t, "while a part is mapped", path)
		checkContent(t, path, later, "that has the name now")
		checkContent(t, other, others, "beside it")
		t.Delete(src)
		watch.checkHeld(t, "after Delete")

		// Two sources of one path are of one file.
		one, two := t.SetSource(path), t.SetSource(path)
		watch.checkHeld(t, "of two sources", path, path)
		storeAndCheck(t, set, two, t.SetMap(g, set, one, 0, 64*kib), 0)
		t.Delete(one)
		watch.checkHeld(t, "of the source that is left", path)
		copy(later, pattern(200, 77))
		checkContent(t, path, later, "after a store through the part")
		t.Delete(two)
		watch.checkHeld(t, "in the end")
	})
}

// setSourcePathCases are about paths that can't be a source.
func setSourcePathCases() []Case {
	const (
		page  = "pmemset_source_from_file/"
		xpage = "pmemset_xsource_from_file/"
	)
	return []Case{{
		Name: page + "no path",
		Rows: []string{page + "PMEMSET_E_INVALID_SOURCE_PATH#1"},
		Run: func(t *T) {
			const want = "PMEMSET_E_INVALID_SOURCE_PATH"
			watch := t.Watch("")
			t.NoSetSource(want, "", "the empty path")
			for _, flags := range allFlags() {
				t.NoXSetSource(want, "", flags, "the empty path")
				t.NoXSetSource(want, "", flags|pmemset.CreateMode(0o600), "the empty path")
			}
			t.NoXSetSource(want, "", 8, "the empty path")
			watch.checkHeld(t, "in the end")
		},
	}, {
		Name: page + "missing file",
		Rows: []string{page + "PMEMSET_E_INVALID_SOURCE_PATH#2"},
		Run: func(t *T) {
			const want = "PMEMSET_E_INVALID_SOURCE_PATH"
			watch := t.Watch("")
			dir := t.NewDirectory()
			missing := func(path, what string) {
				t.NoSetSource(want, path, what)
				t.NoXSetSource(want, path, 0, what)
				checkMissing(t, dir+"/none", "after that")
			}
			missing(dir+"/none", "a path that leads nowhere")
			missing(dir+"/none/file", "a path through nowhere")
			missing(dir+"/none/", "the path of a directory that isn't there")
			t.Put(dir+"/file", 0o600, pattern(100, 1))
			t.Delete(t.SetSource(dir + "/file"))
			t.Unlink(dir + "/file")
			missing(dir+"/file", "a file that is gone")
			if onHost(t) {
				symlink(t, "none", dir+"/link")
				missing(dir+"/link", "a link that leads nowhere")
			}
			watch.checkHeld(t, "in the end")
		},
	}, {
		Name: xpage + "missing file",
		Rows: []string{xpage + "-ENOENT#1"},
		Run: func(t *T) {
			watch := t.Watch("")
			dir := t.NewDirectory()
			for _, flags := range []pmemset.SourceFlags{
				doNotGrow, pmemset.CreateMode(0o600), pmemset.CreateMode(0o777), doNotGrow | pmemset.CreateMode(0o644),
			} {
				t.NoXSetSource("-ENOENT", dir+"/none", flags, "a path that leads nowhere")
				t.NoXSetSource("-ENOENT", dir+"/none/file", flags, "a path through nowhere")
				checkMissing(t, dir+"/none", "after that")
				if onHost(t) && flags == doNotGrow {
					symlink(t, "none", dir+"/link")
					t.NoXSetSource("-ENOENT", dir+"/link", flags, "a link that leads nowhere")
				}
			}
			watch.checkHeld(t, "in the end")
		},
	}, {
		Name: page + "open fails",
		Rows: []string{page + "-errno#1"},
		Run:  noSetSourceOpened,
	}, {
		Name:  page + "open is made to fail",
		Rows:  []string{page + "-errno#1"},
		Needs: []Need{NeedFaultInjection},
		Run: func(t *T) {
			path, content := t.FreshPath(), pattern(1000, 1)
			t.Put(path, 0o600, content)
			for _, errno := range []string{"EACCES", "EROFS", "EPERM", "EMFILE", "ELOOP", "ETXTBSY"} {
				watch := t.Watch("(" + errno + " (Op open))")
				t.NoSetSource("-"+errno, path, "a file that can't be opened")
				for _, flags := range allFlags() {
					t.NoXSetSource("-"+errno, path, flags, "a file that can't be opened")
				}
				watch.checkHeld(t, "after that")
			}
			checkContent(t, path, content, "that couldn't be opened")
		},
	}, {
		Name: page + "not a file",
		Rows: []string{page + "PMEM2_E_INVALID_FILE_TYPE#1"},
		Run:  noSetSourceOfTypes,
	}, {
		Name:  page + "character devices",
		Rows:  []string{page + "PMEM2_E_INVALID_FILE_TYPE#1"},
		Needs: []Need{NeedFSDax},
		Run: func(t *T) {
			watch := t.Watch("")
			for _, c := range []struct {
				what string
				o    Object
			}{
				{"a character device that isn't DAX", t.made(t.Env.CharDevice())},
				{"a character device that sysfs doesn't know", t.made(t.Env.CharDeviceWithoutNode())},
				{"a block device", t.made(t.Env.BlockDevice())},
			} {
				for _, flags := range allFlags() {
					t.NoXSetSource("PMEM2_E_INVALID_FILE_TYPE", c.o.Path(), flags, c.what)
				}
			}
			watch.checkHeld(t, "in the end")
		},
	}}
}

// allFlags are the flags in every combination.
func allFlags() (all []pmemset.SourceFlags) {
	for flags := range (createAlways | createIfNeeded | doNotGrow) + 1 {
		all = append(all, flags)
	}
	return all
}

// noSetSourceOpened is about what open(2) itself refuses.
func noSetSourceOpened(t *T) {
	watch := t.Watch("")
	dir := t.NewDirectory()
	path, content := dir+"/file", pattern(1000, 1)
	t.Put(path, 0o600, content)
	for _, c := range []struct{ want, path, what string }{
		{"-EISDIR", dir, "a directory"},
		{"-EISDIR", dir + "/", "a directory"},
		{"-ENOTDIR", path + "/x", "a path through a file"},
		{"-ENOTDIR", path + "/x/y", "a path through a file"},
		{"-ENAMETOOLONG", dir + "/" + strings.Repeat("n", 256), "a name of 256 bytes"},
	} {
		t.NoSetSource(c.want, c.path, c.what)
		for _, flags := range allFlags() {
			t.NoXSetSource(c.want, c.path, flags, c.what)
			t.NoXSetSource(c.want, c.path, flags|pmemset.CreateMode(0o600), c.what)
		}
	}
	if onHost(t) {
		symlink(t, "loop", dir+"/loop")
		for _, flags := range allFlags() {
			t.NoXSetSource("-ELOOP", dir+"/loop", flags, "a link to itself")
		}
	}
	for _, flags := range []pmemset.SourceFlags{createAlways, createIfNeeded} {
		t.NoXSetSource("-ENOENT", dir+"/none/file", flags, "a path through nowhere")
	}
	checkMissing(t, dir+"/none", "after that")
	checkContent(t, path, content, "that the paths went through")
	watch.checkHeld(t, "in the end")
}

// noSetSourceOfTypes is about files that aren't regular ones. Where none of a type can
// be made, a machine says of a regular file that it is one.
func noSetSourceOfTypes(t *T) {
	const want = "PMEM2_E_INVALID_FILE_TYPE"
	dir := t.NewDirectory()
	path, content := dir+"/file", pattern(1000, 1)
	t.Put(path, 0o600, content)
	for _, kind := range []uint32{platform.SIFIFO, platform.SIFSOCK} {
		watch := &openFiles{Platform: t.Machine(), open: map[int]string{}}
		t.Lib = t.subject.On(&disguised{watch, kind})
		for _, flags := range allFlags() {
			t.NoXSetSource(want, path, flags, typeName(kind))
			watch.checkHeld(t, "after that")
		}
		t.NoSetSource(want, path, typeName(kind))
		checkContent(t, path, content, "that was said to be none")
	}
	watch := t.Watch("")
	t.NoSetSource(want, t.made(t.Env.CharDevice()).Path(), "a character device that isn't DAX")
	if onHost(t) {
		var paths []string
		for i, kind := range []uint32{platform.SIFIFO, platform.SIFSOCK} {
			paths = append(paths, fmt.Sprintf("%s/special%d", dir, i))
			specialFile(t, paths[i], kind)
		}
		// Never the node itself: a library that takes back what it hasn't made would
		// take it away from the machine.
		symlink(t, t.made(t.Env.CharDevice()).Path(), dir+"/device")
		for _, path := range append(paths, dir+"/device") {
			for _, flags := range allFlags() {
				t.NoXSetSource(want, path, flags, "what isn't a regular file")
			}
		}
		checkNames(t, dir, "in the end", "device", "file", "special0", "special1")
	}
	watch.checkHeld(t, "in the end")
}
