package conformance

import (
	"bytes"
	"math"
	"slices"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// sourceCases are those of pmem2_source_from_fd(3), pmem2_source_from_anon(3),
// pmem2_source_get_fd(3), pmem2_source_size(3) and pmem2_source_alignment(3).
func sourceCases() []Case {
	return slices.Concat(sourceFromFDCases(), sourceFileTypeCases(), sourceDeleteCases(), sourceAnonCases(),
		sourceGetFDCases(), sourceSizeCases(), sourceAlignmentCases(), sourceReplacedCases(), sourceDaxCases(),
		sourceDaxSysfsCases(), sourceDaxSizeCases(), sourceDaxAlignmentCases())
}

// noSource expects SourceFromFD to fail and to return no source.
func noSource(t *T, want string, fd int, what string) { noSourceOf(t, t.Lib, want, fd, what) }

func noSourceOf(t *T, lib Library, want string, fd int, what string) {
	src, err := lib.SourceFromFD(fd)
	t.Expect(want, err, "SourceFromFD(%d: %s)", fd, what)
	t.Check(src == nil, "SourceFromFD fails and returns a source all the same")
}

// closedFD is a descriptor of a file that has been closed.
func closedFD(t *T) int {
	o, err := t.Env.File(t.Machine().PageSize())
	t.suite(err, "file")
	fd, err := o.Open(platform.ORdwr)
	t.suite(err, "open %s", o.Path())
	t.suite(t.Machine().Close(fd), "close")
	return fd
}

// openFile is a fresh file of size bytes, open in the given mode.
func openFile(t *T, size uint64, flags int) int {
	o, err := t.Env.File(size)
	t.suite(err, "file of %d bytes", size)
	return t.Open(o, flags)
}

// openAny opens what a method of Env makes, for reading.
func openAny(t *T, object func() (Object, error), what string) int {
	o, err := object()
	t.suite(err, "%s", what)
	return t.Open(o, platform.ORdonly)
}

func sourceFromFDCases() []Case {
	return []Case{{
		Name: "pmem2_source_from_fd/invalid-fd",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_HANDLE#1", "pmem2_source_from_fd/invalid-fd-fails"},
		Run: func(t *T) {
			for _, fd := range []int{-1, -2, math.MinInt32} {
				noSource(t, "PMEM2_E_INVALID_FILE_HANDLE", fd, "negative")
			}
			for _, fd := range []int{9999, math.MaxInt32} {
				if _, err := t.Machine().GetFL(fd); err == nil {
					t.Brokenf("descriptor %d is open", fd)
				}
				noSource(t, "PMEM2_E_INVALID_FILE_HANDLE", fd, "never opened")
			}
			noSource(t, "PMEM2_E_INVALID_FILE_HANDLE", closedFD(t), "closed")
		},
	}, {
		Name: "pmem2_source_from_fd/write-only",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_HANDLE#2"},
		Run: func(t *T) {
			page := t.Machine().PageSize()
			noSource(t, "PMEM2_E_INVALID_FILE_HANDLE", openFile(t, page, platform.OWronly), "O_WRONLY")
			noSource(t, "PMEM2_E_INVALID_FILE_HANDLE", openFile(t, page, platform.OWronly|platform.OAppend), "O_WRONLY|O_APPEND")
		},
	}, {
		Name: "pmem2_source_from_fd/rdonly-or-rdwr",
		Rows: []string{"pmem2_source_from_fd/rdonly-or-rdwr", "pmem2_source_from_fd/zero-on-success"},
		Run: func(t *T) {
			page := t.Machine().PageSize()
			o, err := t.Env.File(page)
			t.suite(err, "file")
			for _, mode := range []struct {
				flags int
				name  string
				prot  pmem2.Prot
			}{
				{platform.ORdonly, "O_RDONLY", pmem2.ProtRead},
				{platform.ORdwr, "O_RDWR", pmem2.ProtRead | pmem2.ProtWrite},
				{platform.ORdwr | platform.OAppend, "O_RDWR|O_APPEND", pmem2.ProtRead | pmem2.ProtWrite},
			} {
				src, err := t.Lib.SourceFromFD(t.Open(o, mode.flags))
				t.Must(err, "SourceFromFD(%s)", mode.name)
				mapProtected(t, src, mode.prot, "what the mode allows")
			}
			noSource(t, "PMEM2_E_INVALID_FILE_HANDLE", t.Open(o, platform.OWronly), "O_WRONLY")
		},
	}, {
		Name: "pmem2_source_from_fd/validates-and-creates",
		Rows: []string{"pmem2_source_from_fd/validates-and-creates"},
		Run: func(t *T) {
			page := t.Machine().PageSize()
			fd := t.FileFD(page)
			setFileContent(t, fd, 0, []byte("content"))
			src, err := t.Lib.SourceFromFD(fd)
			t.Must(err, "SourceFromFD(%d)", fd)
			t.Check(src != nil, "SourceFromFD succeeds and returns no source")
			t.Check(bytes.HasPrefix(t.Map(t.Config(), src).Bytes(), []byte("content")), "a map of the source isn't one of the file")
			// An empty file is one, too: that it can't be mapped is for NewMap to say.
			empty := t.Source(t.FileFD(0))
			n, err := empty.Size()
			t.Must(err, "Size() of an empty file")
			t.Check(n == 0, "an empty file has size %d", n)
		},
	}, {
		Name:  "pmem2_source_from_fd/system-call-fails",
		Rows:  []string{"pmem2_source_from_fd/-errno#2"},
		Needs: []Need{NeedFile},
		Run: func(t *T) {
			fd := t.FileFD(t.Machine().PageSize())
			for _, call := range []string{"fstat", "get-fl"} {
				lib := t.Inject("(EIO (And (Op " + call + ") (OnIndex 0)))")
				noSourceOf(t, lib, "-EIO", fd, call+" fails with EIO")
				src, err := lib.SourceFromFD(fd)
				t.Must(err, "SourceFromFD(%d) without the fault", fd)
				t.Check(src != nil, "SourceFromFD succeeds and returns no source")
			}
		},
	}}
}

func sourceFileTypeCases() []Case {
	const refused = "PMEM2_E_INVALID_FILE_TYPE"
	return []Case{{
		Name: "pmem2_source_from_fd/directory",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_TYPE#1"},
		Run: func(t *T) {
			noSource(t, refused, openAny(t, t.Env.Directory, "directory"), "a directory")
			o, err := t.Env.Directory()
			t.suite(err, "directory")
			noSource(t, refused, t.Open(o, platform.ORdonly|platform.ODirectory), "a directory, O_DIRECTORY")
		},
	}, {
		Name: "pmem2_source_from_fd/block-device",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_TYPE#2"},
		Run: func(t *T) {
			noSource(t, refused, openAny(t, t.Env.BlockDevice, "block device"), "a block device")
		},
	}, {
		Name: "pmem2_source_from_fd/pipe",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_TYPE#3"},
		Run: func(t *T) {
			r, w := openPipe(t)
			noSource(t, refused, r, "the read end of a pipe")
			noSource(t, "PMEM2_E_INVALID_FILE_HANDLE", w, "the write end of a pipe, which is O_WRONLY")
		},
	}, {
		Name: "pmem2_source_from_fd/socket",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_TYPE#4"},
		Run: func(t *T) {
			one, two := openSocketPair(t)
			noSource(t, refused, one, "a socket")
			noSource(t, refused, two, "the socket at the other end")
		},
	}, {
		Name: "pmem2_source_from_fd/character-device",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_TYPE#5"},
		Run: func(t *T) {
			o, err := t.Env.CharDevice()
			t.suite(err, "character device")
			noSource(t, refused, t.Open(o, platform.ORdonly), "a character device, O_RDONLY")
			noSource(t, refused, t.Open(o, platform.ORdwr), "a character device, O_RDWR")
		},
	}, {
		Name: "pmem2_source_from_fd/character-device-without-node",
		Rows: []string{"pmem2_source_from_fd/-ENOENT#1"},
		Run: func(t *T) {
			noSource(t, refused, openAny(t, t.Env.CharDeviceWithoutNode, "terminal"), "a character device that sysfs doesn't know")
		},
	}}
}

func sourceDeleteCases() []Case {
	return []Case{{
		Name: "pmem2_source_delete/always-zero",
		Rows: []string{"pmem2_source_delete/0#1", "pmem2_source_delete/null-is-noop", "pmem2_source_delete/always-zero"},
		Run: func(t *T) {
			page := t.Machine().PageSize()
			other := t.FileSource(page)
			for _, src := range []Source{t.FileSource(page), anonymousSource(t, page)} {
				t.Must(src.Delete(), "Delete()")
				t.Must(src.Delete(), "Delete() again")
			}
			t.Must(t.Lib.NilSource().Delete(), "Delete() of no source")
			t.Must(t.Lib.NilSource().Delete(), "Delete() of no source again")
			t.Map(t.Config(), other) // others are as they were
		},
	}, {
		Name: "pmem2_source_delete/frees-and-nulls",
		Rows: []string{"pmem2_source_delete/frees-and-nulls"},
		Run: func(t *T) {
			page := t.Machine().PageSize()
			fd := t.FileFD(page)
			src := t.Source(fd)
			m := t.Map(t.Config(), src)
			t.Must(src.Delete(), "Delete()")
			st, err := t.Machine().Fstat(fd)
			t.Check(err == nil && uint64(st.Size) == page, "the descriptor isn't as it was: fstat says %+v, %v", st, err)
			t.Note("fstat of the descriptor", "still open")
			copy(m.Bytes(), "still here")
			t.Must(m.Persist(m.Bytes()[:10]), "Persist(10 bytes) of a map made before")
			t.Check(string(fileContent(t, fd, 0, 10)) == "still here", "the map doesn't work any more")
			t.Note("types", "a method can't set the caller's variable to NULL: the object refuses further use instead")
			_, err = src.Size()
			t.Expect("-EINVAL", err, "Size() of the deleted source")
			_, err = src.Alignment()
			t.Expect("-EINVAL", err, "Alignment() of the deleted source")
			_, err = src.FD()
			t.Expect("-EINVAL", err, "FD() of the deleted source")
			t.NoMap("-EINVAL", t.Config(), src, "the deleted source")
			t.Map(t.Config(), t.Source(fd)) // a new source of the same descriptor
		},
	}}
}

func sourceGetFDCases() []Case {
	return []Case{{
		Name: "pmem2_source_get_fd/not-set",
		Rows: []string{"pmem2_source_get_fd/PMEM2_E_FILE_DESCRIPTOR_NOT_SET#1"},
		Run: func(t *T) {
			for _, size := range []uint64{0, t.Machine().PageSize()} {
				_, err := anonymousSource(t, size).FD()
				t.Expect("PMEM2_E_FILE_DESCRIPTOR_NOT_SET", err, "FD() of an anonymous source")
			}
		},
	}, {
		Name: "pmem2_source_get_fd/returns-descriptor",
		Rows: []string{"pmem2_source_get_fd/returns-descriptor", "pmem2_source_get_fd/zero-on-success"},
		Run: func(t *T) {
			o, err := t.Env.File(t.Machine().PageSize())
			t.suite(err, "file")
			for _, flags := range []int{platform.ORdonly, platform.ORdwr, platform.ORdwr} {
				fd := t.Open(o, flags)
				src := t.Source(fd)
				got, err := src.FD()
				t.Must(err, "FD()")
				t.Check(got == fd, "FD is %d, the source was made from %d", got, fd)
			}
			// What the descriptor refers to isn't asked: it stays the same number.
			fd, err := o.Open(platform.ORdwr)
			t.suite(err, "open")
			src := t.Source(fd)
			t.suite(t.Machine().Close(fd), "close")
			got, err := src.FD()
			t.Must(err, "FD() of a descriptor that is closed")
			t.Check(got == fd, "FD is %d, the source was made from %d", got, fd)
		},
	}}
}
