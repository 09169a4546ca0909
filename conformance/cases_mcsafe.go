package conformance

import (
	"bytes"
	"fmt"
	"math"
	"runtime/debug"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mcsafeCases checks pmem2_source_pread_mcsafe(3) and pmem2_source_pwrite_mcsafe(3),
// which are one page.
func mcsafeCases() []Case {
	const (
		read  = "pmem2_source_pread_mcsafe/"
		write = "pmem2_source_pwrite_mcsafe/"
	)
	return append([]Case{{
		Name: read + "reads-size-bytes-at-offset",
		Rows: []string{read + "reads-size-bytes-at-offset", read + "zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			fd, content := t.PatternFile(2*page+100, 1)
			t.suite(setFilePosition(fd, 4711), "lseek")
			checkReads(t, t.Source(fd), content, "a file")
			at, err := filePosition(fd)
			t.suite(err, "lseek")
			t.Check(at == 4711, "the position of the descriptor was 4711 and is %d", at)
			checkFile(t, fd, 0, content, "the file after it was read")
			empty := t.FileFD(0)
			checkReads(t, t.Source(empty), nil, "an empty file")
		},
	}, {
		Name:  read + "reads-device",
		Rows:  []string{read + "reads-size-bytes-at-offset", read + "zero-on-success"},
		Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			_, fd, src := smallDevice(t)
			checkReads(t, src, patternDevice(t, src), "a device DAX")
			checkUnmapped(t, fd)
		},
	}, {
		Name:  read + "short reads",
		Rows:  []string{read + "reads-size-bytes-at-offset"},
		Needs: []Need{NeedFile},
		Run: func(t *T) {
			fd, content := t.PatternFile(3*t.Page(), 1)
			for _, most := range []int{1, 7, 4096} {
				t.Lib = t.subject.On(&shortIO{t.Machine(), most})
				p := make([]byte, 5000)
				t.Must(t.Source(fd).PreadMCSafe(p, 3000), "PreadMCSafe(5000 bytes at 3000, pread gives %d at most)", most)
				checkBytes(t, p, content[3000:8000], "5000 bytes read %d at a time", most)
			}
		},
	}, {
		Name: write + "writes-size-bytes-at-offset",
		Rows: []string{write + "writes-size-bytes-at-offset", write + "zero-on-success"},
		Run: func(t *T) {
			page := t.Page()
			fd, content := t.PatternFile(2*page+100, 1)
			t.suite(setFilePosition(fd, 4711), "lseek")
			src := t.Source(fd)
			checkWrites(t, src, content, "a file", func(want []byte, what string) {
				checkFile(t, fd, 0, want, "%s", what)
			})
			at, err := filePosition(fd)
			t.suite(err, "lseek")
			t.Check(at == 4711, "the position of the descriptor was 4711 and is %d", at)
			checkSize(t, src, uint64(len(content)), "the file after the writes")
		},
	}, {
		Name:  write + "writes-device",
		Rows:  []string{write + "writes-size-bytes-at-offset", write + "zero-on-success"},
		Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			_, fd, src := smallDevice(t)
			content := patternDevice(t, src)
			checkUnmapped(t, fd)
			m := t.MapAs(mapSpec{}, src)
			checkWrites(t, src, content, "a device DAX", func(want []byte, what string) {
				checkBytes(t, m.Bytes()[:len(want)], want, "%s", what)
			})
			t.Delete(m)
			checkUnmapped(t, fd)
			// What the environment forces upon maps isn't for this one.
			for _, g := range granularities {
				t.Force(g.String())
				p := pattern(5000, byte(g)+7)
				t.Must(src.PwriteMCSafe(p, daxAlign-100), "PwriteMCSafe(5000 bytes at %d)", daxAlign-100)
				got := make([]byte, len(p))
				t.Must(src.PreadMCSafe(got, daxAlign-100), "PreadMCSafe(5000 bytes at %d)", daxAlign-100)
				checkBytes(t, got, p, "what was written with %v forced", g)
			}
		},
	}, {
		Name:  write + "short writes",
		Rows:  []string{write + "writes-size-bytes-at-offset"},
		Needs: []Need{NeedFile},
		Run: func(t *T) {
			for _, most := range []int{1, 7, 4096} {
				fd, content := t.PatternFile(3*t.Page(), 1)
				t.Lib = t.subject.On(&shortIO{t.Machine(), most})
				copy(content[3000:], pattern(5000, 9))
				t.Must(t.Source(fd).PwriteMCSafe(content[3000:8000], 3000), "PwriteMCSafe(5000 bytes at 3000, pwrite takes %d at most)", most)
				checkFile(t, fd, 0, content, "the file written %d bytes at a time", most)
			}
		},
	}, {
		Name: read + "past the end",
		Rows: []string{read + "PMEM2_E_LENGTH_OUT_OF_RANGE#1"},
		Run:  func(t *T) { checkNoRead(t, rangesPastEnd) },
	}, {
		Name: read + "behind the end",
		Rows: []string{read + "PMEM2_E_LENGTH_OUT_OF_RANGE#2"},
		Run:  func(t *T) { checkNoRead(t, rangesBehindEnd) },
	}, {
		Name: write + "past the end",
		Rows: []string{write + "PMEM2_E_LENGTH_OUT_OF_RANGE#1"},
		Run:  func(t *T) { checkNoWrite(t, rangesPastEnd) },
	}, {
		Name: write + "behind the end",
		Rows: []string{write + "PMEM2_E_LENGTH_OUT_OF_RANGE#2"},
		Run:  func(t *T) { checkNoWrite(t, rangesBehindEnd) },
	}, {
		Name: "pmem2_source_pread_mcsafe/past the end of a device",
		Rows: []string{
			read + "PMEM2_E_LENGTH_OUT_OF_RANGE#1", read + "PMEM2_E_LENGTH_OUT_OF_RANGE#2",
			write + "PMEM2_E_LENGTH_OUT_OF_RANGE#1", write + "PMEM2_E_LENGTH_OUT_OF_RANGE#2",
		},
		Needs: []Need{NeedDevDax},
		Run: func(t *T) {
			_, fd, src := smallDevice(t)
			content := patternDevice(t, src)
			size, err := src.Size()
			t.suite(err, "size of the device")
			for _, r := range append(rangesPastEnd(size), rangesBehindEnd(size)...) {
				noRead(t, "PMEM2_E_LENGTH_OUT_OF_RANGE", src, r.offset, r.n)
				noWrite(t, "PMEM2_E_LENGTH_OUT_OF_RANGE", src, r.offset, r.n)
			}
			checkUnmapped(t, fd)
			checkBytes(t, t.MapAs(mapSpec{length: smallSize}, src).Bytes(), content, "the device after writes that were refused")
		},
	}, {
		Name: read + "anonymous",
		Rows: []string{read + "PMEM2_E_SOURCE_TYPE_NOT_SUPPORTED#1"},
		Run: func(t *T) {
			for _, n := range []int{0, 1, 100} {
				noRead(t, "PMEM2_E_SOURCE_TYPE_NOT_SUPPORTED", t.AnonSource(t.Page()), 0, n)
				noRead(t, "PMEM2_E_SOURCE_TYPE_NOT_SUPPORTED", t.AnonSource(t.Page()), 1<<63, n)
			}
		},
	}, {
		Name: write + "anonymous",
		Rows: []string{write + "PMEM2_E_SOURCE_TYPE_NOT_SUPPORTED#1"},
		Run: func(t *T) {
			for _, n := range []int{0, 1, 100} {
				noWrite(t, "PMEM2_E_SOURCE_TYPE_NOT_SUPPORTED", t.AnonSource(t.Page()), 0, n)
				noWrite(t, "PMEM2_E_SOURCE_TYPE_NOT_SUPPORTED", t.AnonSource(t.Page()), 1<<63, n)
			}
		},
	}, {
		Name: read + "pread fails",
		Rows: []string{read + "-errno#1"},
		Run: func(t *T) {
			fd, content := t.PatternFile(t.Page(), 1)
			for _, c := range []struct{ errno, want string }{
				{"EAGAIN", "-EAGAIN"}, {"EINVAL", "-EINVAL"}, {"EFAULT", "-EFAULT"}, {"ENXIO", "-ENXIO"}, {"EIO", "PMEM2_E_IO_FAIL"},
			} {
				t.Lib = t.Inject("(" + c.errno + " (And (Op pread) (OnIndex 0)))")
				src := t.Source(fd)
				noRead(t, c.want, src, 10, 100)
				p := make([]byte, 100)
				t.Must(src.PreadMCSafe(p, 10), "PreadMCSafe(100 bytes at 10) without the fault")
				checkBytes(t, p, content[10:110], "100 bytes at 10")
			}
		},
	}, {
		Name: write + "pwrite fails",
		Rows: []string{write + "-errno#1"},
		Run: func(t *T) {
			page := t.Page()
			o := t.made(t.Env.File(page))
			fd, content := t.Open(o, platform.ORdwr), pattern(page, 1)
			t.WriteFile(fd, 0, content)
			src := t.Source(t.Open(o, platform.ORdonly))
			for _, n := range []int{1, 100, int(page)} {
				noWrite(t, "-EBADF", src, 0, n)
			}
			if err := src.PwriteMCSafe(nil, page); t.Lib.Outcome(err) != "-EBADF" { // the kernel may be asked all the same
				t.Must(err, "PwriteMCSafe(nothing)")
			}
			checkFile(t, fd, 0, content, "the file that is open for reading only")
		},
	}, {
		Name:  write + "pwrite is made to fail",
		Rows:  []string{write + "-errno#1"},
		Needs: []Need{NeedFile, NeedFaultInjection},
		Run: func(t *T) {
			fd, content := t.PatternFile(t.Page(), 1)
			for _, c := range []struct{ errno, want string }{
				{"EAGAIN", "-EAGAIN"}, {"ENOSPC", "-ENOSPC"}, {"EFBIG", "-EFBIG"}, {"EIO", "PMEM2_E_IO_FAIL"},
			} {
				t.Lib = t.Inject("(" + c.errno + " (Op pwrite))")
				noWrite(t, c.want, t.Source(fd), 10, 100)
				checkFile(t, fd, 0, content, "the file that can't be written")
			}
		},
	}, {
		Name: read + "closed descriptor",
		Rows: []string{read + "PMEM2_E_INVALID_FILE_HANDLE#1"},
		Run: func(t *T) {
			src := closedSource(t)
			for _, n := range []int{0, 1, 100} {
				noRead(t, "PMEM2_E_INVALID_FILE_HANDLE", src, 0, n)
			}
		},
	}, {
		Name: write + "closed descriptor",
		Rows: []string{write + "PMEM2_E_INVALID_FILE_HANDLE#1"},
		Run: func(t *T) {
			src := closedSource(t)
			for _, n := range []int{0, 1, 100} {
				noWrite(t, "PMEM2_E_INVALID_FILE_HANDLE", src, 0, n)
			}
		},
	}, {
		Name: read + "device open for reading only",
		Rows: []string{read + "(pmem2_map_new)#1"},
		Run: func(t *T) {
			o, _, src := smallDevice(t)
			content := patternDevice(t, src)
			fd := t.Open(o, platform.ORdonly)
			checkReads(t, t.Source(fd), content, "a device DAX open for reading only")
			checkUnmapped(t, fd)
		},
	}, {
		Name: write + "device open for reading only",
		Rows: []string{write + "(pmem2_map_new)#1"},
		Run: func(t *T) {
			o, _, src := smallDevice(t)
			content := patternDevice(t, src)
			fd := t.Open(o, platform.ORdonly)
			readOnly := t.Source(fd)
			for _, n := range []int{1, 100, daxAlign} {
				noWrite(t, "PMEM2_E_NO_ACCESS", readOnly, 0, n)
				noWrite(t, "PMEM2_E_NO_ACCESS", readOnly, daxAlign-1, n)
			}
			checkUnmapped(t, fd)
			checkBytes(t, t.MapAs(mapSpec{length: smallSize}, src).Bytes(), content, "the device that is open for reading only")
		},
	}}, mcsafeBadBlockCases()...)
}

// shortIO is a machine whose reads and writes move at most a few bytes.
type shortIO struct {
	platform.Platform
	most int
}

func (s *shortIO) Pread(fd int, p []byte, off int64) (int, error) {
	return s.Platform.Pread(fd, p[:min(len(p), s.most)], off)
}

func (s *shortIO) Pwrite(fd int, p []byte, off int64) (int, error) {
	return s.Platform.Pwrite(fd, p[:min(len(p), s.most)], off)
}

const smallSize = 3 * daxAlign

// smallDevice is a device DAX of smallSize bytes at least, the first of which are read again
// and again.
func smallDevice(t *T) (o Object, fd int, src Source) {
	t.Force("")
	o = t.made(t.Env.DevDax(smallSize, daxAlign))
	fd = t.Open(o, platform.ORdwr)
	return o, fd, t.Source(fd)
}

// patternDevice fills the first smallSize bytes of a device DAX, which may have more, with
// a pattern, which it returns.
func patternDevice(t *T, src Source) []byte {
	m := t.MapAs(mapSpec{length: smallSize}, src)
	content := pattern(smallSize, 1)
	copy(m.Bytes(), content)
	t.Delete(m)
	return content
}

// ioRange is n bytes of a source.
type ioRange struct {
	offset uint64
	n      int
}

// ioRanges are ranges of a source of size bytes, at its edges and those of pages.
func ioRanges(size uint64) []ioRange {
	all := []ioRange{{0, 0}, {size, 0}, {0, int(size)}}
	for _, at := range []uint64{0, 1, 50, 4046, 4050, 4095, 4096, 4097, 8192, daxAlign - 1, daxAlign, daxAlign + 4095} {
		for _, n := range []uint64{0, 1, 7, 50, 64, 100, 4096, 5000} {
			if at+n <= size {
				all = append(all, ioRange{at, int(n)}, ioRange{size - n, int(n)})
			}
		}
	}
	return all
}

// around is n bytes of fill with others around them, all bytes of the pattern.
func around(n int) (all, p []byte) {
	all = pattern(uint64(n)+128, 99)
	return all, all[64 : 64+n : 64+n]
}

// checkReads expects reads to give exactly the bytes of a source.
func checkReads(t *T, src Source, content []byte, what string) {
	for _, r := range ioRanges(uint64(len(content))) {
		all, p := around(r.n)
		want := bytes.Clone(all)
		copy(want[64:64+r.n], content[r.offset:])
		t.Must(src.PreadMCSafe(p, r.offset), "PreadMCSafe(%d bytes at %d) of %s", r.n, r.offset, what)
		checkBytes(t, all, want, "%d bytes at %d of %s, and the memory around the buffer", r.n, r.offset, what)
	}
}

// checkWrites expects writes to store exactly the bytes of a buffer. holds expects the
// source to begin with what it is given, and that is all there is.
func checkWrites(t *T, src Source, content []byte, what string, holds func(want []byte, what string)) {
	content = bytes.Clone(content)
	for i, r := range ioRanges(uint64(len(content))) {
		p := pattern(uint64(r.n), byte(100+i%100))
		before := bytes.Clone(p)
		t.Must(src.PwriteMCSafe(p, r.offset), "PwriteMCSafe(%d bytes at %d) of %s", r.n, r.offset, what)
		copy(content[r.offset:], p)
		checkBytes(t, p, before, "the buffer after the write")
		holds(content, fmt.Sprintf("%s after a write of %d bytes at %d", what, r.n, r.offset))
	}
}

// rangesPastEnd begin inside a source of size bytes, or right behind it, and end further.
func rangesPastEnd(size uint64) []ioRange {
	return []ioRange{{size - 96, 100}, {0, int(size) + 1}, {size - 1, 2}, {size, 1}, {1, int(size)}, {size / 2, int(size)}}
}

// rangesBehindEnd begin behind a source of size bytes.
func rangesBehindEnd(size uint64) []ioRange {
	return []ioRange{
		{2 * size, 1}, {size + 1, 0}, {size + 1, 1}, {2 * size, 100}, {math.MaxInt64, 1}, {1 << 63, 1}, {1 << 63, 100},
		{1<<63 + 1, int(size)}, {math.MaxUint64, 0}, {math.MaxUint64, 1}, {math.MaxUint64, 2}, {math.MaxUint64 - 99, 150}, {-size, int(size)},
	}
}

// noRead expects a read to fail and to change nothing.
func noRead(t *T, want string, src Source, offset uint64, n int) {
	all, p := around(n)
	before := bytes.Clone(all)
	t.Expect(want, src.PreadMCSafe(p, offset), "PreadMCSafe(%d bytes at %#x)", n, offset)
	checkBytes(t, all, before, "the buffer after a read that failed")
}

// noWrite expects a write to fail.
func noWrite(t *T, want string, src Source, offset uint64, n int) {
	t.Expect(want, src.PwriteMCSafe(pattern(uint64(n), 55), offset), "PwriteMCSafe(%d bytes at %#x)", n, offset)
}

func checkNoRead(t *T, ranges func(size uint64) []ioRange) {
	for _, size := range []uint64{4096, 3 * t.Page(), 97} {
		fd, _ := t.PatternFile(size, 1)
		src := t.Source(fd)
		for _, r := range ranges(size) {
			noRead(t, "PMEM2_E_LENGTH_OUT_OF_RANGE", src, r.offset, r.n)
		}
	}
}

func checkNoWrite(t *T, ranges func(size uint64) []ioRange) {
	for _, size := range []uint64{4096, 3 * t.Page(), 97} {
		fd, content := t.PatternFile(size, 1)
		src := t.Source(fd)
		for _, r := range ranges(size) {
			noWrite(t, "PMEM2_E_LENGTH_OUT_OF_RANGE", src, r.offset, r.n)
		}
		checkSize(t, src, size, "the file after writes that were refused")
		checkFile(t, fd, 0, content, "the file after writes that were refused")
	}
}

// mcsafeBadBlockCases are about media that can't be read.
func mcsafeBadBlockCases() []Case {
	var cases []Case
	for _, c := range []struct {
		function string
		fails    func(t *T, want string, src Source, offset uint64, n int)
	}{
		{"pmem2_source_pread_mcsafe", func(t *T, want string, src Source, offset uint64, n int) {
			t.Expect(want, src.PreadMCSafe(make([]byte, n), offset), "PreadMCSafe(%d bytes at %d)", n, offset)
		}},
		{"pmem2_source_pwrite_mcsafe", noWrite},
	} {
		page := c.function + "/"
		cases = append(cases, Case{
			Name: page + "bad-block-of-file",
			Rows: []string{page + "PMEM2_E_IO_FAIL#1", page + "detects-bad-blocks", page + "error-on-bad-block"},
			Run:  func(t *T) { mcsafeBadFile(t, c.fails) },
		}, Case{
			Name: page + "bad-block-of-device",
			Rows: []string{page + "PMEM2_E_IO_FAIL#1", page + "detects-bad-blocks", page + "error-on-bad-block"},
			Run:  func(t *T) { mcsafeBadDevice(t, c.fails) },
		}, Case{
			Name: page + "sigbus-handler-during-call",
			Rows: []string{page + "sigbus-handler-during-call"},
			Run: func(t *T) {
				_, fd, src := smallDevice(t)
				checkHandlerKept(t, src, fd, func() { c.fails(t, "0", src, 100, 5000) })
			},
		}, Case{
			Name:  page + "sigbus-handler-at-bad-block",
			Rows:  []string{page + "sigbus-handler-during-call"},
			Needs: []Need{NeedBadBlock},
			Run: func(t *T) {
				o, fd, src := smallDevice(t)
				t.poison(o, 4096, 512)
				checkHandlerKept(t, src, fd, func() { c.fails(t, "PMEM2_E_IO_FAIL", src, 100, 5000) })
			},
		})
	}
	return cases
}

// poison makes the media under n bytes of a DAX file or a device DAX bad.
func (t *T) poison(o Object, offset, n uint64) {
	t.suite(t.Env.AddBadBlock(o, offset, n), "bad block of %d bytes at %d of %s", n, offset, o.Path())
	t.Note("media", "%d bytes at offset %d went bad", n, offset)
}

// badFile is a DAX file of pages full of a pattern, allocated.
func (t *T) badFile(pages uint64, r emu.Region) (o Object, fd int, src Source, content []byte) {
	content = pattern(pages*t.Page(), 1)
	o, fd, src = t.DAXFileOn(uint64(len(content)), r)
	t.WriteFile(fd, 0, content)
	return o, fd, src, content
}

// mcsafeBadFile asks for the pages around a bad block of a file and for its own.
func mcsafeBadFile(t *T, ask func(t *T, want string, src Source, offset uint64, n int)) {
	const page = 4096
	o, fd, src, content := t.badFile(6, emu.Region{})
	t.poison(o, 3*page+512, 512)
	calls := handleBusErrors(t)
	for _, r := range []ioRange{{3*page + 512, 512}, {3*page + 600, 1}, {2*page + 100, page}, {3*page + 1000, 100}} {
		ask(t, "PMEM2_E_IO_FAIL", src, r.offset, r.n)
	}
	for _, r := range []ioRange{{0, 3 * page}, {3*page - 1, 1}, {4 * page, 2 * page}, {4 * page, 1}, {3 * page, 0}} {
		ask(t, "0", src, r.offset, r.n)
	}
	t.Check(calls.called() == 0, "a SIGBUS has reached the program")
	checkUnmapped(t, fd)
	st, err := t.Machine().Fstat(fd)
	t.suite(err, "fstat")
	t.Check(uint64(st.Size) == uint64(len(content)), "the file has %d bytes, had %d", st.Size, len(content))
	_, _, other, _ := t.badFile(1, emu.Region{})
	ask(t, "0", other, 0, page)
}

// mcsafeBadDevice asks for the pages around a bad block of a device and for its own.
func mcsafeBadDevice(t *T, ask func(t *T, want string, src Source, offset uint64, n int)) {
	const page, at = 4096, daxAlign + 3*4096
	o, fd, src := smallDevice(t)
	content := patternDevice(t, src)
	t.poison(o, at+512, 512)
	calls := handleBusErrors(t)
	asks := func(want string, ranges ...ioRange) {
		for _, r := range ranges {
			ask(t, want, src, r.offset, r.n)
			checkUnmapped(t, fd)
		}
	}
	asks("PMEM2_E_IO_FAIL", ioRange{at, page}, ioRange{at + 512, 512}, ioRange{at - page, 3 * page},
		ioRange{at - 1, 2}, ioRange{at + page - 1, 2}, ioRange{at + 600, 1})
	// A part of what is asked for may have been done, and no more than that.
	m := t.MapAs(mapSpec{}, src)
	checkBytes(t, m.Bytes()[:at-page], content[:at-page], "the device before the ranges")
	checkBytes(t, m.Bytes()[at+2*page:smallSize], content[at+2*page:], "the device behind the ranges")
	t.Delete(m)
	asks("PMEM2_E_IO_FAIL", ioRange{0, 2 * daxAlign}, ioRange{at - 5*page, page*5 + 1})
	asks("0", ioRange{at - page, page}, ioRange{at + page, page}, ioRange{0, at}, ioRange{at + page, smallSize - at - page}, ioRange{at, 0})
	t.Check(calls.called() == 0, "a SIGBUS has reached the program")
}

// checkHandlerKept calls f with a handler of the case's own for SIGBUS, and with each
// setting of what a memory fault does to the goroutine: both are as they were.
func checkHandlerKept(t *T, src Source, fd int, f func()) {
	h := handleBusErrors(t)
	t.Check(h.inPlace(t), "the handler isn't called by a SIGBUS")
	for _, panics := range []bool{true, false} {
		before := debug.SetPanicOnFault(panics)
		f()
		now := debug.SetPanicOnFault(before)
		t.Check(now == panics, "SetPanicOnFault was %t before the call and is %t behind it", panics, now)
	}
	t.Note("debug.SetPanicOnFault", "as before")
	t.Check(h.called() == 0, "the call has led to the program's handler")
	t.Check(h.inPlace(t), "after the call the handler isn't called by a SIGBUS any more")
	t.Note("handler of SIGBUS", "in place before and after, not called meanwhile")
	checkUnmapped(t, fd)
	// A fault in a map of the caller's is the caller's, as before.
	m := t.MapAs(mapSpec{prot: pmem2.ProtRead}, src)
	t.Check(t.Faults(m.Address(), true), "a store to a map for reading doesn't fault")
}
