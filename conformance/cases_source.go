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
		sourceDaxQuestionCases())
}

// closedFD is a descriptor of a file that has been closed.
func closedFD(t *T) int {
	fd := t.FileFD(t.Page())
	t.Close(fd)
	return fd
}

func sourceFromFDCases() []Case {
	return []Case{{
		Name: "pmem2_source_from_fd/invalid-fd",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_HANDLE#1", "pmem2_source_from_fd/invalid-fd-fails"},
		Run: func(t *T) {
			for _, fd := range []int{-1, -2, math.MinInt32} {
				t.NoSource("PMEM2_E_INVALID_FILE_HANDLE", fd, "negative")
			}
			for _, fd := range []int{9999, math.MaxInt32} {
				if _, err := t.Machine().GetFL(fd); err == nil {
					t.Brokenf("descriptor %d is open", fd)
				}
				t.NoSource("PMEM2_E_INVALID_FILE_HANDLE", fd, "never opened")
			}
			t.NoSource("PMEM2_E_INVALID_FILE_HANDLE", closedFD(t), "closed")
		},
	}, {
		Name: "pmem2_source_from_fd/write-only",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_HANDLE#2"},
		Run: func(t *T) {
			page := t.Page()
			t.NoSource("PMEM2_E_INVALID_FILE_HANDLE", t.Open(t.made(t.Env.File(page)), platform.OWronly), "O_WRONLY")
			t.NoSource("PMEM2_E_INVALID_FILE_HANDLE", t.Open(t.made(t.Env.File(page)), platform.OWronly|platform.OAppend), "O_WRONLY|O_APPEND")
		},
	}, {
		Name: "pmem2_source_from_fd/rdonly-or-rdwr",
		Rows: []string{"pmem2_source_from_fd/rdonly-or-rdwr", "pmem2_source_from_fd/zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			o := t.made(t.Env.File(page))
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
			t.NoSource("PMEM2_E_INVALID_FILE_HANDLE", t.Open(o, platform.OWronly), "O_WRONLY")
		},
	}, {
		Name: "pmem2_source_from_fd/validates-and-creates",
		Rows: []string{"pmem2_source_from_fd/validates-and-creates"},
		Run: func(t *T) {
			page := t.Page()
			fd := t.FileFD(page)
			t.WriteFile(fd, 0, []byte("content"))
			src := t.Source(fd)
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
			fd := t.FileFD(t.Page())
			for _, call := range []string{"fstat", "get-fl"} {
				t.Lib = t.Inject("(EIO (And (Op " + call + ") (OnIndex 0)))")
				t.NoSource("-EIO", fd, call+" fails with EIO")
				t.Source(fd) // without the fault
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
			t.NoSource(refused, t.Open(t.made(t.Env.Directory()), platform.ORdonly), "a directory")
			o := t.made(t.Env.Directory())
			t.NoSource(refused, t.Open(o, platform.ORdonly|platform.ODirectory), "a directory, O_DIRECTORY")
		},
	}, {
		Name: "pmem2_source_from_fd/block-device",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_TYPE#2"},
		Run: func(t *T) {
			t.NoSource(refused, t.Open(t.made(t.Env.BlockDevice()), platform.ORdonly), "a block device")
		},
	}, {
		Name: "pmem2_source_from_fd/pipe",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_TYPE#3"},
		Run: func(t *T) {
			r, w := openPipe(t)
			t.NoSource(refused, r, "the read end of a pipe")
			t.NoSource("PMEM2_E_INVALID_FILE_HANDLE", w, "the write end of a pipe, which is O_WRONLY")
		},
	}, {
		Name: "pmem2_source_from_fd/socket",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_TYPE#4"},
		Run: func(t *T) {
			one, two := openSocketPair(t)
			t.NoSource(refused, one, "a socket")
			t.NoSource(refused, two, "the socket at the other end")
		},
	}, {
		Name: "pmem2_source_from_fd/character-device",
		Rows: []string{"pmem2_source_from_fd/PMEM2_E_INVALID_FILE_TYPE#5"},
		Run: func(t *T) {
			o := t.made(t.Env.CharDevice())
			t.NoSource(refused, t.Open(o, platform.ORdonly), "a character device, O_RDONLY")
			t.NoSource(refused, t.Open(o, platform.ORdwr), "a character device, O_RDWR")
		},
	}, {
		Name: "pmem2_source_from_fd/character-device-without-node",
		Rows: []string{"pmem2_source_from_fd/-ENOENT#1"},
		Run: func(t *T) {
			t.NoSource(refused, t.Open(t.made(t.Env.CharDeviceWithoutNode()), platform.ORdonly), "a character device that sysfs doesn't know")
		},
	}}
}

func sourceDeleteCases() []Case {
	return []Case{{
		Name: "pmem2_source_delete/always-zero",
		Rows: []string{"pmem2_source_delete/0#1", "pmem2_source_delete/null-is-noop", "pmem2_source_delete/always-zero"},
		Run: func(t *T) {
			page := t.Page()
			other := t.FileSource(page)
			for _, src := range []Source{t.FileSource(page), t.AnonSource(page)} {
				t.Delete(src)
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
			page := t.Page()
			fd := t.FileFD(page)
			src := t.Source(fd)
			m := t.Map(t.Config(), src)
			t.Delete(src)
			st, err := t.Machine().Fstat(fd)
			t.Check(err == nil && uint64(st.Size) == page, "the descriptor isn't as it was: fstat says %+v, %v", st, err)
			t.Note("fstat of the descriptor", "still open")
			copy(m.Bytes(), "still here")
			t.Must(m.Persist(m.Bytes()[:10]), "Persist(10 bytes) of a map made before")
			checkFile(t, fd, 0, []byte("still here"), "the file of a map made before")
			t.Note("types", "a method can't set the caller's variable to NULL: the object refuses further use instead")
			noSize(t, "-EINVAL", src, "the deleted source")
			noAlignment(t, "-EINVAL", src, "the deleted source")
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
			for _, size := range []uint64{0, t.Page()} {
				_, err := t.AnonSource(size).FD()
				t.Expect("PMEM2_E_FILE_DESCRIPTOR_NOT_SET", err, "FD() of an anonymous source")
			}
		},
	}, {
		Name: "pmem2_source_get_fd/returns-descriptor",
		Rows: []string{"pmem2_source_get_fd/returns-descriptor", "pmem2_source_get_fd/zero-on-success"},
		Run: func(t *T) {
			o, err := t.Env.File(t.Page())
			t.suite(err, "file")
			for _, flags := range []int{platform.ORdonly, platform.ORdwr, platform.ORdwr} {
				fd := t.Open(o, flags)
				src := t.Source(fd)
				got, err := src.FD()
				t.Must(err, "FD()")
				t.Check(got == fd, "FD is %d, the source was made from %d", got, fd)
			}
			// What the descriptor refers to isn't asked: it stays the same number.
			fd := t.Open(o, platform.ORdwr)
			src := t.Source(fd)
			t.Close(fd)
			got, err := src.FD()
			t.Must(err, "FD() of a descriptor that is closed")
			t.Check(got == fd, "FD is %d, the source was made from %d", got, fd)
		},
	}}
}
