package conformance

import (
	"strings"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// transfers is a source of libpmemset for what only reads or writes a source.
type transfers struct {
	Source
	of SetSource
}

func (s transfers) PreadMCSafe(p []byte, off uint64) error  { return s.of.PreadMCSafe(p, off) }
func (s transfers) PwriteMCSafe(p []byte, off uint64) error { return s.of.PwriteMCSafe(p, off) }

// setCode is the code of libpmemset in the place of libpmem2's.
func setCode(code string) string { return strings.Replace(code, "PMEM2_E_", "PMEMSET_E_", 1) }

// setMCSafeCases are those of pmemset_source_pread_mcsafe(3) and
// pmemset_source_pwrite_mcsafe(3), which are one page.
func setMCSafeCases() []Case {
	const (
		read  = "pmemset_source_pread_mcsafe/"
		write = "pmemset_source_pwrite_mcsafe/"
		past  = "PMEMSET_E_LENGTH_OUT_OF_RANGE"
	)
	cases := []Case{{
		Name: read + "all-source-kinds",
		Rows: []string{read + "reads-size-bytes-at-offset", read + "all-source-kinds", read + "zero-on-success"},
		Run: func(t *T) {
			for _, k := range t.setSourceKinds(pattern(128*kib, 1)) {
				checkReads(t, transfers{of: k.src}, pattern(128*kib, 1), k.what)
				k.holds(pattern(128*kib, 1), k.what+" after it was read")
			}
		},
	}, {
		Name: read + "odd sizes",
		Rows: []string{read + "reads-size-bytes-at-offset", write + "writes-size-bytes-at-offset"},
		Run: func(t *T) {
			for _, size := range []uint64{0, 1, 97, 4097, 3*4096 + 5} {
				path, content := t.FreshPath(), pattern(size, 1)
				t.Put(path, 0o600, content)
				src := t.SetSource(path)
				checkReads(t, transfers{of: src}, content, "a file")
				written := pattern(size, 2)
				t.Must(src.PwriteMCSafe(written, 0), "PwriteMCSafe(all %d bytes)", size)
				checkContent(t, path, written, "after all of it was written")
			}
		},
	}, {
		Name:  read + "device",
		Rows:  []string{read + "reads-size-bytes-at-offset", read + "all-source-kinds", read + "zero-on-success"},
		Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			o, fd, own := smallDevice(t)
			content := patternDevice(t, own)
			checkReads(t, transfers{of: t.SetSource(o.Path())}, content, "a device DAX")
			checkReads(t, transfers{of: t.SetSourceOf(own)}, content, "a device DAX of libpmem2's")
			checkUnmapped(t, fd)
		},
	}, {
		Name: write + "all-source-kinds",
		Rows: []string{write + "writes-size-bytes-at-offset", write + "all-source-kinds", write + "zero-on-success"},
		Run: func(t *T) {
			for _, k := range t.setSourceKinds(pattern(128*kib, 1)) {
				checkWrites(t, transfers{of: k.src}, pattern(128*kib, 1), k.what, k.holds)
			}
		},
	}, {
		Name:  write + "device",
		Rows:  []string{write + "writes-size-bytes-at-offset", write + "all-source-kinds", write + "zero-on-success"},
		Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			o, fd, own := smallDevice(t)
			content := patternDevice(t, own)
			src := t.SetSource(o.Path())
			m := t.MapAs(mapSpec{}, own)
			checkWrites(t, transfers{of: src}, content, "a device DAX", func(want []byte, what string) {
				checkBytes(t, m.Bytes()[:len(want)], want, "%s", what)
			})
			t.Delete(m)
			checkUnmapped(t, fd)
		},
	}, {
		Name: "pmemset_source_pread_mcsafe/past the end",
		Rows: []string{read + past + "#1", read + past + "#2", write + past + "#1", write + past + "#2"},
		Run: func(t *T) {
			content := pattern(128*kib, 1)
			for _, k := range t.setSourceKinds(content) {
				checkSetRanges(t, k.src, 128*kib)
				k.holds(content, k.what+" after writes that were refused")
			}
			for _, size := range []uint64{97, 4096} {
				path := t.FreshPath()
				t.Put(path, 0o600, pattern(size, 1))
				checkSetRanges(t, t.SetSource(path), size)
				checkContent(t, path, pattern(size, 1), "after writes that were refused")
			}
		},
	}, {
		Name: "pmemset_source_pread_mcsafe/new temporary file",
		Rows: []string{read + past + "#1", read + past + "#2", write + past + "#1", write + past + "#2"},
		Run: func(t *T) {
			watch := t.Watch("")
			_, src := t.TemporarySetSource()
			for _, r := range []ioRange{{0, 1}, {0, 4096}, {1, 0}, {1, 1}, {4096, 100}, {1 << 63, 1}, {1<<64 - 1, 1}} {
				noRead(t, past, transfers{of: src}, r.offset, r.n)
				noWrite(t, past, transfers{of: src}, r.offset, r.n)
			}
			t.Must(src.PreadMCSafe(nil, 0), "PreadMCSafe(0 bytes at 0)")
			t.Must(src.PwriteMCSafe(nil, 0), "PwriteMCSafe(0 bytes at 0)")
			checkTemporary(t, watch.only(t), 0)
		},
	}, {
		Name:  "pmemset_source_pread_mcsafe/past the end of a device",
		Rows:  []string{read + past + "#1", read + past + "#2", write + past + "#1", write + past + "#2"},
		Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			o, fd, own := smallDevice(t)
			content := patternDevice(t, own)
			size, err := own.Size()
			t.suite(err, "size of the device")
			checkSetRanges(t, t.SetSource(o.Path()), size)
			checkUnmapped(t, fd)
			checkBytes(t, t.MapAs(mapSpec{length: smallSize}, own).Bytes(), content, "the device after writes that were refused")
		},
	}, {
		Name: read + "errors of libpmem2",
		Rows: []string{read + "(pmem2)#1"},
		Run: func(t *T) {
			checkNoTransfer(t, "PreadMCSafe", SetSource.PreadMCSafe)
		},
	}, {
		Name: write + "errors of libpmem2",
		Rows: []string{write + "(pmem2)#1"},
		Run: func(t *T) {
			page := t.Page()
			o := t.made(t.Env.File(page))
			fd, content := t.Open(o, platform.ORdwr), pattern(page, 1)
			t.WriteFile(fd, 0, content)
			readOnly := t.SetSourceOf(t.Source(t.Open(o, platform.ORdonly)))
			for _, n := range []int{1, 100, int(page)} {
				noWrite(t, "-EBADF", transfers{of: readOnly}, 0, n)
			}
			checkReads(t, transfers{of: readOnly}, content, "a file open for reading only")
			checkFile(t, fd, 0, content, "the file that is open for reading only")
			checkNoTransfer(t, "PwriteMCSafe", SetSource.PwriteMCSafe)
		},
	}, {
		Name:  write + "device open for reading only",
		Rows:  []string{write + "(pmem2)#1"},
		Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			o, _, own := smallDevice(t)
			content := patternDevice(t, own)
			fd := t.Open(o, platform.ORdonly)
			readOnly := t.SetSourceOf(t.Source(fd))
			for _, n := range []int{1, 100, daxAlign} {
				noWrite(t, "PMEM2_E_NO_ACCESS", transfers{of: readOnly}, daxAlign-1, n)
			}
			checkReads(t, transfers{of: readOnly}, content, "a device DAX open for reading only")
			checkUnmapped(t, fd)
			checkBytes(t, t.MapAs(mapSpec{length: smallSize}, own).Bytes(), content, "the device")
		},
	}}
	for _, c := range []struct {
		page, op string
		fails    func(t *T, want string, src Source, offset uint64, n int)
	}{
		{read, "pread", func(t *T, want string, src Source, offset uint64, n int) {
			t.Expect(want, src.PreadMCSafe(make([]byte, n), offset), "PreadMCSafe(%d bytes at %d)", n, offset)
		}},
		{write, "pwrite", noWrite},
	} {
		bad := []string{c.page + "PMEMSET_E_IO_FAIL#1", c.page + "bad-block-becomes-error"}
		// What libpmem2's source is asked is asked of a source of libpmemset.
		ask := func(t *T, want string, src Source, offset uint64, n int) {
			c.fails(t, setCode(want), transfers{of: t.SetSourceOf(src)}, offset, n)
		}
		cases = append(cases, Case{
			Name: c.page + "bad block of a file", Rows: bad,
			Run: func(t *T) {
				mcsafeBadFile(t, ask)
				o, _, _, _ := t.badFile(2, emu.Region{})
				t.poison(o, 4096, 512)
				src := t.SetSource(o.Path())
				c.fails(t, "PMEMSET_E_IO_FAIL", transfers{of: src}, 4096, 512)
				c.fails(t, "0", transfers{of: src}, 0, 4096)
			},
		}, Case{
			Name: c.page + "bad block of a device", Rows: bad,
			Run: func(t *T) { mcsafeBadDevice(t, ask) },
		}, Case{
			Name: c.page + "system call fails", Rows: []string{c.page + "(pmem2)#1"}, Needs: []Need{NeedFaultInjection},
			Run: func(t *T) {
				path, content := t.FreshPath(), pattern(t.Page(), 1)
				t.Put(path, 0o600, content)
				for _, f := range []struct{ errno, want string }{
					{"EAGAIN", "-EAGAIN"}, {"EINVAL", "-EINVAL"}, {"ENXIO", "-ENXIO"}, {"ENOSPC", "-ENOSPC"}, {"EIO", "PMEMSET_E_IO_FAIL"},
				} {
					t.Lib = t.Inject("(" + f.errno + " (Op " + c.op + "))")
					c.fails(t, f.want, transfers{of: t.SetSource(path)}, 10, 100)
				}
				checkContent(t, path, content, "that couldn't be read or written")
			},
		})
	}
	return cases
}

// setSourceKind is a source that holds something, and what expects it to hold that.
type setSourceKind struct {
	what  string
	src   SetSource
	holds func(want []byte, what string)
}

// setSourceKinds is a source of each kind, with the content.
func (t *T) setSourceKinds(content []byte) []setSourceKind {
	inFile := func(path string) func(want []byte, what string) {
		fd := t.Open(t.FileAt(path), platform.ORdonly)
		return func(want []byte, what string) {
			st, err := t.Machine().Fstat(fd)
			t.suite(err, "fstat")
			t.Check(uint64(st.Size) == uint64(len(want)), "%s: the file has %d bytes, want %d", what, st.Size, len(want))
			checkFile(t, fd, 0, want, "%s", what)
		}
	}
	dir := t.NewDirectory()
	file := func(name string) string {
		t.Put(dir+"/"+name, 0o600, content)
		return dir + "/" + name
	}
	plain, flagged, own := file("plain"), file("flagged"), file("own")
	_, temporary := t.TemporarySetSource()
	d := t.SetMap(Release112, t.Set(), temporary, 0, uint64(len(content)))
	copy(d.Bytes(), content)
	return []setSourceKind{
		{"a file", t.SetSource(plain), inFile(plain)},
		{"a file with flags", t.XSetSource(flagged, createIfNeeded|doNotGrow), inFile(flagged)},
		{"a source of libpmem2", t.SetSourceOf(t.Source(t.Open(t.FileAt(own), platform.ORdwr))), inFile(own)},
		{"a temporary file", temporary, func(want []byte, what string) {
			n := make([]byte, 1)
			t.expectQuietly("PMEMSET_E_LENGTH_OUT_OF_RANGE", temporary.PreadMCSafe(n, uint64(len(want))), "PreadMCSafe(1 byte at the end)")
			checkBytes(t, d.Bytes(), want, "%s", what)
		}},
	}
}

// checkSetRanges expects transfers past the end of a source of size bytes to fail.
func checkSetRanges(t *T, src SetSource, size uint64) {
	const want = "PMEMSET_E_LENGTH_OUT_OF_RANGE"
	for _, r := range append(rangesPastEnd(size), rangesBehindEnd(size)...) {
		noRead(t, want, transfers{of: src}, r.offset, r.n)
		noWrite(t, want, transfers{of: src}, r.offset, r.n)
	}
	t.Must(src.PreadMCSafe(nil, size), "PreadMCSafe(0 bytes at the end)")
	t.Must(src.PwriteMCSafe(nil, size), "PwriteMCSafe(0 bytes at the end)")
}

// checkNoTransfer reads or writes a source whose descriptor has been closed.
func checkNoTransfer(t *T, name string, transfer func(src SetSource, p []byte, off uint64) error) {
	const want = "PMEM2_E_INVALID_FILE_HANDLE"
	fd := t.FileFD(t.Page())
	src := t.SetSourceOf(t.Source(fd))
	t.Close(fd)
	for _, n := range []uint64{0, 1, 100} {
		p := pattern(n, 5)
		err := transfer(src, p, 0)
		t.Expect(want, err, "%s(%d bytes at 0) of a descriptor that is closed", name, n)
		checkBytes(t, p, pattern(n, 5), "the buffer after a call that failed")
		cause := t.Sets().Cause(err)
		t.Check(cause == want, "below it is %q from libpmem2, want %q", cause, want)
	}
}
