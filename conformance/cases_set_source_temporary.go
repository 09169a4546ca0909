package conformance

import (
	"slices"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// withoutTmpfile is a file system that knows no files without a name.
const withoutTmpfile = "(EOPNOTSUPP (Flags O_TMPFILE))"

// setSourceTemporaryCases are those of pmemset_source_from_temporary(3).
func setSourceTemporaryCases() []Case {
	const page = "pmemset_source_from_temporary/"
	return []Case{{
		Name: page + "no directory",
		Rows: []string{page + "PMEMSET_E_INVALID_SOURCE_PATH#1"},
		Run: func(t *T) {
			const want = "PMEMSET_E_INVALID_SOURCE_PATH"
			watch := t.Watch("")
			dir := t.NewDirectory()
			t.NoTemporarySetSource(want, "", "the empty path")
			t.NoTemporarySetSource(want, dir+"/none", "a path that leads nowhere")
			t.NoTemporarySetSource(want, dir+"/none/", "a path that leads nowhere")
			t.NoTemporarySetSource(want, dir+"/none/none", "a path through nowhere")
			if onHost(t) {
				symlink(t, "none", dir+"/link")
				t.NoTemporarySetSource(want, dir+"/link", "a link that leads nowhere")
			}
			watch.checkHeld(t, "in the end")
		},
	}, {
		Name: page + "no file",
		Rows: []string{page + "PMEMSET_E_CANNOT_CREATE_TEMP_FILE#1"},
		Run: func(t *T) {
			const want = "PMEMSET_E_CANNOT_CREATE_TEMP_FILE"
			path, content := t.FreshPath(), pattern(1000, 1)
			t.Put(path, 0o600, content)
			watch := t.Watch("")
			t.NoTemporarySetSource(want, path, "a file instead of a directory")
			if device := t.made(t.Env.CharDevice()); !onHost(t) {
				t.NoTemporarySetSource(want, device.Path(), "a device instead of a directory")
			}
			checkContent(t, path, content, "that was named instead of a directory")
			watch.checkHeld(t, "after that")
			for _, errno := range []string{"ENOSPC", "EROFS", "EACCES", "EDQUOT"} {
				// Neither without a name nor with one.
				for _, plan := range []string{
					"(" + errno + " (Or (Flags O_TMPFILE) (Flags O_CREAT)))",
					withoutTmpfile + " (" + errno + " (Flags O_CREAT))",
				} {
					watch := t.Watch(plan)
					t.NoTemporarySetSource(want, t.NewDirectory(), "a directory where no file can be made")
					watch.checkHeld(t, "after that")
				}
			}
		},
		Needs: []Need{NeedFaultInjection},
	}, {
		Name: page + "directory can't be had",
		Rows: []string{page + "-errno#1"},
		Run: func(t *T) {
			path := t.FreshPath()
			t.Put(path, 0o600, pattern(1000, 1))
			watch := t.Watch("")
			t.NoTemporarySetSource("-ENOTDIR", path+"/x", "a path through a file")
			t.NoTemporarySetSource("-ENOTDIR", path+"/x/y", "a path through a file")
			t.NoTemporarySetSource("-ENOTDIR", path+"/", "a file as a directory")
			t.NoTemporarySetSource("-ENAMETOOLONG", path+strings.Repeat("n", 256), "a name of more than 255 bytes")
			watch.checkHeld(t, "after that")
			for _, errno := range []string{"EACCES", "ELOOP", "EIO"} {
				watch := t.Watch("(" + errno + " (Op open))")
				t.NoTemporarySetSource("-"+errno, t.NewDirectory(), "a directory that can't be looked at")
				watch.checkHeld(t, "after that")
			}
		},
		Needs: []Need{NeedFaultInjection},
	}, {
		Name: page + "dir-must-exist",
		Rows: []string{page + "dir-must-exist", page + "zero-or-negative"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				dir := t.NewDirectory()
				set := t.Set()
				t.NoTemporarySetSource("PMEMSET_E_INVALID_SOURCE_PATH", dir+"/none", "a path that leads nowhere")
				checkMissing(t, dir+"/none", "after that")
				t.Put(dir+"/file", 0o600, nil)
				t.NoTemporarySetSource("PMEMSET_E_CANNOT_CREATE_TEMP_FILE", dir+"/file", "a file")
				src, err := t.Sets().SourceFromTemporary(dir)
				t.gotSetSource(src, err, "SourceFromTemporary(a directory)")
				d := t.SetMap(g, set, src, 0, 64*kib)
				storeAndCheck(t, set, src, d, 0)
				t.CheckParts(set, d)
			})
		},
	}, {
		Name: page + "unnamed-file-in-directory",
		Rows: []string{page + "unnamed-file-in-directory"},
		Run:  func(t *T) { eachTemporary(t, checkUnnamed) },
	}, {
		Name:  page + "file systems without unnamed files",
		Rows:  []string{page + "unnamed-file-in-directory", page + "mode-0600", page + "size-zero-then-grows", page + "deleted-with-source"},
		Needs: []Need{NeedFaultInjection},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				t.Umask(0)
				watch, dir := t.Watch(withoutTmpfile), t.NewDirectory()
				src, err := t.Sets().SourceFromTemporary(dir)
				t.gotSetSource(src, err, "SourceFromTemporary()")
				checkUnnamed(t, g, watch, dir, src)
				checkTemporary(t, watch.only(t), 0)
				set := t.Set()
				storeAndCheck(t, set, src, t.SetMap(g, set, src, 64*kib, 64*kib), 64*kib)
				checkTemporary(t, watch.only(t), 128*kib)
				t.Delete(src)
				watch.checkHeld(t, "after Delete")
			})
		},
	}, {
		Name: page + "mode-0600",
		Rows: []string{page + "mode-0600"},
		Run: func(t *T) {
			for _, umask := range []int{0, 0o022, 0o077} {
				t.Umask(umask)
				eachTemporary(t, func(t *T, g Generation, watch *openFiles, _ string, src SetSource) {
					checkTemporary(t, watch.only(t), 0)
					t.SetMap(g, t.Set(), src, 0, 64*kib)
					checkTemporary(t, watch.only(t), 64*kib)
				})
			}
		},
	}, {
		Name: page + "size-zero-then-grows",
		Rows: []string{page + "size-zero-then-grows"},
		Run:  func(t *T) { eachTemporary(t, temporaryGrows) },
	}, {
		Name: page + "deleted-with-source",
		Rows: []string{page + "deleted-with-source"},
		Run: func(t *T) {
			eachTemporary(t, func(t *T, g Generation, watch *openFiles, dir string, src SetSource) {
				// Each has a file of its own.
				src2, err := t.Sets().SourceFromTemporary(dir)
				t.gotSetSource(src2, err, "SourceFromTemporary()")
				set := t.Set()
				a, b := t.SetMap(g, set, src, 0, 64*kib), t.SetMap(g, set, src2, 0, 64*kib)
				storeAndCheck(t, set, src, a, 0)
				checkBytes(t, b.Bytes(), make([]byte, 64*kib), "the part of the other file")
				t.Delete(src2)
				watch.checkHeld(t, "after Delete of the other source", dir)
				t.Delete(src)
				watch.checkHeld(t, "after Delete")
				// What is mapped doesn't need it.
				checkBytes(t, a.Bytes()[:200], pattern(200, 77), "the part without a source")
				copy(b.Bytes(), "data")
				t.Must(set.Persist(b.Bytes()[:4]), "Persist(4 bytes of a part without a source)")
				t.CheckParts(set, a, b)
				if onHost(t) {
					checkNames(t, dir, "after Delete")
				}
			})
		},
	}}
}

// NoTemporarySetSource expects SourceFromTemporary to fail and to return no source.
func (t *T) NoTemporarySetSource(want, dir, what string) {
	src, err := t.Sets().SourceFromTemporary(dir)
	t.gotNoSetSource(want, src, err, "SourceFromTemporary(%s)", what)
}

// eachTemporary calls f with a source of a new temporary file in a directory of its own,
// for each generation.
func eachTemporary(t *T, f func(t *T, g Generation, watch *openFiles, dir string, src SetSource)) {
	t.EachGeneration(func(g Generation) {
		watch, dir := t.Watch(""), t.NewDirectory()
		src, err := t.Sets().SourceFromTemporary(dir)
		f(t, g, watch, dir, t.gotSetSource(src, err, "SourceFromTemporary()"))
	})
}

// checkUnnamed expects the one file that the library has open to be in dir, without a
// name.
func checkUnnamed(t *T, _ Generation, watch *openFiles, dir string, _ SetSource) {
	fd := watch.only(t)
	checkReadWrite(t, fd)
	st, err := t.Machine().Fstat(fd)
	t.suite(err, "fstat of the temporary file")
	in, there := statAt(t, dir)
	t.Check(there, "the directory is gone")
	t.Check(st.Dev == in.Dev, "the file is on device %#x, its directory on %#x", st.Dev, in.Dev)
	watch.mu.Lock()
	opened, named := watch.open[fd], slices.Clone(watch.named)
	watch.mu.Unlock()
	t.Check(opened == dir || strings.HasPrefix(opened, dir+"/"), "the file was opened at %s, not in %s", opened, dir)
	for _, path := range named {
		checkMissing(t, path, "while the temporary file is open")
	}
	if onHost(t) {
		checkNames(t, dir, "while the temporary file is open")
	}
}

// checkTemporary expects a descriptor to be of a temporary file of that size.
func checkTemporary(t *T, fd int, size uint64) {
	st, err := t.Machine().Fstat(fd)
	t.suite(err, "fstat of the temporary file")
	t.Note("fstat of the temporary file", "mode %#o, %s", st.Mode, amount(uint64(st.Size)))
	t.Check(st.Mode == platform.SIFREG|0o600, "the temporary file has the mode %#o, want %#o", st.Mode, platform.SIFREG|0o600)
	t.Check(uint64(st.Size) == size, "the temporary file has %d bytes, want %d", st.Size, size)
}

// temporaryGrows maps beyond the end of a temporary file again and again.
func temporaryGrows(t *T, g Generation, watch *openFiles, _ string, src SetSource) {
	fd := watch.only(t)
	checkTemporary(t, fd, 0)
	t.Expect("PMEMSET_E_LENGTH_OUT_OF_RANGE", src.PwriteMCSafe([]byte("x"), 0), "PwriteMCSafe(1 byte at 0) of a new temporary file")
	set := t.Set()
	empty := map[Generation]string{Release112: "PMEMSET_E_MAP_LENGTH_UNSET"}[g]
	if empty == "" {
		empty = "PMEMSET_E_INVALID_PMEM2_MAP"
	}
	t.NoSetMap(empty, g, set, src, 0, 0)
	checkTemporary(t, fd, 0)
	a := t.SetMap(g, set, src, 0, 128*kib)
	checkTemporary(t, fd, 128*kib)
	checkBytes(t, a.Bytes(), make([]byte, 128*kib), "the part of a new file")
	storeAndCheck(t, set, src, a, 0)
	b := t.SetMap(g, set, src, 64*kib, 128*kib)
	checkTemporary(t, fd, 192*kib)
	storeAndCheck(t, set, src, b, 64*kib)
	c := t.SetMap(g, set, src, 0, 64*kib)
	checkTemporary(t, fd, 192*kib)
	checkBytes(t, c.Bytes()[:200], pattern(200, 77), "the file that has grown")
	d := t.SetMap(g, set, src, 0, 0)
	t.Check(d.Size == 192*kib, "without a length %s are mapped, want all of 192K", amount(d.Size))
	t.SetMap(g, set, src, gib, 64*kib)
	checkTemporary(t, fd, gib+64*kib)

	t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 2*gib+100, 64*kib)
	t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 2*gib, 64*kib+1)
	t.Force("PAGE")
	cfg := t.NewSetConfig()
	t.Must(cfg.SetRequiredStoreGranularity(pmem2.GranularityByte), "SetRequiredStoreGranularity(BYTE)")
	t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, t.Set(cfg), src, 2*gib, 64*kib)
	checkTemporary(t, fd, gib+64*kib)
}
