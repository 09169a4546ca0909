package conformance

import "pmemlab/pmem2/platform"

// noSize expects Size to fail. What Go returns beside the error is the zero value:
// it stands for the output that a failing call leaves alone.
func noSize(t *T, want string, src Source, what string) {
	n, err := src.Size()
	if t.Expect(want, err, "Size() of %s", what) {
		t.Check(n == 0, "with the error comes the size %d", n)
		t.checkUnmodified(err, "Size() of %s", what)
	}
}

// noAlignment is noSize for Alignment.
func noAlignment(t *T, want string, src Source, what string) {
	n, err := src.Alignment()
	if t.Expect(want, err, "Alignment() of %s", what) {
		t.Check(n == 0, "with the error comes the alignment %d", n)
		t.checkUnmodified(err, "Alignment() of %s", what)
	}
}

func checkSize(t *T, src Source, want uint64, what string) {
	n, err := src.Size()
	t.Must(err, "Size() of %s", what)
	t.Note("Size() of "+what, "%d", n)
	t.Check(n == want, "Size of %s is %d, not %d", what, n, want)
}

func checkAlignment(t *T, src Source, want uint64, what string) {
	n, err := src.Alignment()
	t.Must(err, "Alignment() of %s", what)
	t.Note("Alignment() of "+what, "%d", n)
	t.Check(n == want, "Alignment of %s is %d, not %d", what, n, want)
}

// closedSource is a source whose descriptor has been closed since.
func closedSource(t *T) Source {
	fd := t.FileFD(t.Page())
	src := t.Source(fd)
	t.Close(fd)
	return src
}

func sourceSizeCases() []Case {
	return []Case{{
		Name: "pmem2_source_size/closed-descriptor",
		Rows: []string{"pmem2_source_size/PMEM2_E_INVALID_FILE_HANDLE#1", "pmem2_source_size/unmodified-on-failure"},
		Run: func(t *T) {
			src := closedSource(t)
			noSize(t, "PMEM2_E_INVALID_FILE_HANDLE", src, "a descriptor that is closed")
			noSize(t, "PMEM2_E_INVALID_FILE_HANDLE", src, "a descriptor that is closed, again")
		},
	}, {
		Name: "pmem2_source_size/size-of-file",
		Rows: []string{"pmem2_source_size/size-of-file", "pmem2_source_size/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			fd := t.FileFD(page)
			src := t.Source(fd)
			checkSize(t, src, page, "a new file")
			// It is asked each time.
			for _, n := range []uint64{2 * page, page + 1, 1, 0, 5<<30 + 1, page - 1} {
				t.Truncate(fd, n)
				checkSize(t, src, n, "the file with a new size")
			}
			readOnly := t.Source(t.Open(t.made(t.Env.File(3*page+5)), platform.ORdonly))
			checkSize(t, readOnly, 3*page+5, "a file open for reading only")
		},
	}, {
		Name:  "pmem2_source_size/fstat-fails",
		Rows:  []string{"pmem2_source_size/-errno#1"},
		Needs: []Need{NeedFile},
		Run: func(t *T) {
			page := t.Page()
			// The first fstat is that of SourceFromFD.
			t.Lib = t.Inject("(EIO (And (Op fstat) (OnIndex 1)))")
			src, err := t.Lib.SourceFromFD(t.FileFD(page))
			t.Must(err, "SourceFromFD()")
			noSize(t, "-EIO", src, "a file whose fstat fails")
			checkSize(t, src, page, "the file without the fault")
		},
	}}
}

func sourceAlignmentCases() []Case {
	return []Case{{
		Name: "pmem2_source_alignment/closed-descriptor",
		Rows: []string{"pmem2_source_alignment/-errno#1"},
		Run: func(t *T) {
			src := closedSource(t)
			noAlignment(t, "-EBADF", src, "a descriptor that is closed")
			noAlignment(t, "-EBADF", src, "a descriptor that is closed, again")
		},
	}, {
		Name:  "pmem2_source_alignment/fstat-fails",
		Rows:  []string{"pmem2_source_alignment/-errno#1"},
		Needs: []Need{NeedFaultInjection},
		Run: func(t *T) {
			// The first fstat is that of SourceFromFD.
			t.Lib = t.Inject("(EIO (And (Op fstat) (OnIndex 1)))")
			src, err := t.Lib.SourceFromFD(t.FileFD(100))
			t.Must(err, "SourceFromFD()")
			noAlignment(t, "-EIO", src, "a file whose fstat fails")
			checkAlignment(t, src, t.Page(), "the file without the fault")
		},
	}, {
		Name: "pmem2_source_alignment/alignment-map-new-needs",
		Rows: []string{"pmem2_source_alignment/alignment-map-new-needs", "pmem2_source_alignment/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			src := t.FileSource(4 * page)
			checkAlignment(t, src, page, "a file")
			checkAlignmentNeeded(t, src, page)
			checkAlignment(t, t.FileSource(0), page, "an empty file")
			checkAlignment(t, t.FileSource(page+1), page, "a file of a page and a byte")
			checkAlignment(t, t.Source(t.Open(t.made(t.Env.File(1)), platform.ORdonly)), page, "a file open for reading only")
			checkAlignment(t, t.AnonSource(2*page), page, "anonymous memory")
			checkAlignment(t, t.AnonSource(0), page, "no anonymous memory")
		},
	}}
}

// checkAlignmentNeeded expects maps of a source to take multiples of align for
// their offset and length, and nothing less. The source has two at least.
func checkAlignmentNeeded(t *T, src Source, align uint64) {
	cfg := t.Config()
	set := func(offset, length uint64) {
		t.Must(cfg.SetOffset(offset), "SetOffset(%d)", offset)
		t.Must(cfg.SetLength(length), "SetLength(%d)", length)
	}
	for _, n := range []uint64{align / 2, align - 1, align + 1, align + align/2} {
		set(n, align)
		t.NoMap("PMEM2_E_OFFSET_UNALIGNED", cfg, src, "offset %d, length %d", n, align)
		set(0, n)
		t.NoMap("PMEM2_E_LENGTH_UNALIGNED", cfg, src, "offset 0, length %d", n)
	}
	for _, offset := range []uint64{0, align} {
		set(offset, align)
		m := t.Map(cfg, src)
		t.Check(m.Size() == align, "Size is %d, not %d", m.Size(), align)
		m.Bytes()[align-1] = 1
		t.Delete(m)
	}
}

// sourceReplacedCases are about a descriptor that refers to something else by the
// time the source is asked: SourceFromFD refuses these, dup2 brings them in.
func sourceReplacedCases() []Case {
	return []Case{{
		Name: "pmem2_source_size/replaced-descriptor",
		Rows: []string{"pmem2_source_size/PMEM2_E_INVALID_FILE_TYPE#2"},
		Run: func(t *T) {
			r, w := openPipe(t)
			socket, _ := openSocketPair(t)
			for _, c := range []struct {
				what string
				fd   int
			}{
				{"a directory", t.Open(t.made(t.Env.Directory()), platform.ORdonly)},
				{"the read end of a pipe", r},
				{"the write end of a pipe", w},
				{"a socket", socket},
			} {
				replaced(t, c.fd, c.what, noSize)
			}
		},
	}, {
		Name: "pmem2_source_size/replaced-by-block-device",
		Rows: []string{"pmem2_source_size/PMEM2_E_INVALID_FILE_TYPE#2"},
		Run: func(t *T) {
			replaced(t, t.Open(t.made(t.Env.BlockDevice()), platform.ORdonly), "a block device", noSize)
		},
	}, {
		Name: "pmem2_source_size/replaced-by-character-device",
		Rows: []string{"pmem2_source_size/PMEM2_E_INVALID_FILE_TYPE#3"},
		Run: func(t *T) {
			replaced(t, t.Open(t.made(t.Env.CharDevice()), platform.ORdonly), "a character device", noSize)
		},
	}, {
		Name: "pmem2_source_alignment/replaced-by-character-device",
		Rows: []string{"pmem2_source_alignment/PMEM2_E_INVALID_FILE_TYPE#1"},
		Run: func(t *T) {
			replaced(t, t.Open(t.made(t.Env.CharDevice()), platform.ORdonly), "a character device", noAlignment)
		},
	}}
}

// replaced makes a source of a file, duplicates another descriptor over that of the
// file, and asks the source something. It is the descriptor that counts: with the
// file back in its place all is well again.
func replaced(t *T, by int, what string, ask func(t *T, want string, src Source, what string)) {
	page := t.Page()
	o := t.made(t.Env.File(3 * page))
	fd := t.Open(o, platform.ORdwr)
	src := t.Source(fd)
	back := t.Replace(fd, o, by)
	ask(t, "PMEM2_E_INVALID_FILE_TYPE", src, "a descriptor that has become "+what)
	back()
	checkSize(t, src, 3*page, "the descriptor that is the file's again")
	checkAlignment(t, src, page, "the descriptor that is the file's again")
}
