package pmemset

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"

	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// media is an emulated machine with a DAX file system and a device DAX.
type media struct {
	*site
	m   *emu.Machine
	fs  *emu.FileSystem
	dax *emu.DaxDevice
}

func newMedia(t *testing.T) *media {
	m := emu.NewMachine(emu.Config{})
	t.Cleanup(func() {
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	return &media{newSite(t, m, strings.TrimSuffix(fs.Path(""), "/")), m, fs, m.AddDevDax(emu.DevDax{Size: 8 << 20, Align: 2 << 20})}
}

// written makes the file f of n bytes, none of which is zero.
func (s *media) written(n int) *Source {
	s.t.Helper()
	src, err := XSourceFromFile(s.path("f"), SourceFileCreateAlways, On(s))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.Ftruncate(src.fd, int64(n)); err != nil {
		s.t.Fatal(err)
	}
	if err := src.PwriteMCSafe(bytes.Repeat([]byte{'x'}, n), 0); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { deleteSource(s.t, src) })
	return src
}

// device is a source of the device DAX.
func (s *media) device() *Source {
	s.t.Helper()
	src, err := SourceFromFile(s.dax.Path(), On(s))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { deleteSource(s.t, src) })
	return src
}

// TestDeviceSource: a device DAX is a source; the flags that make or empty a file do
// nothing to it.
func TestDeviceSource(t *testing.T) {
	s := newMedia(t)
	src := s.device()
	if err := src.PwriteMCSafe([]byte("hello"), 4<<20); err != nil {
		t.Fatal(err)
	}
	for flags := SourceFlags(0); flags < 8; flags++ {
		src, err := XSourceFromFile(s.dax.Path(), flags|CreateMode(0o600), On(s))
		is(t, fmt.Sprintf("flags %d", flags), err, nil)
		deleteSource(t, src)
	}
	got := make([]byte, 5)
	if err := src.PreadMCSafe(got, 4<<20); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := SourceFromFile("/dev/dax9.0", On(s))
	is(t, "a device that isn't there", err, ErrInvalidSourcePath)
	_, err = SourceFromFile(s.fs.BlockDevice().Path(), On(s))
	is(t, "a block device", err, pmem2.ErrInvalidFileType)
}

// TestMCSafe: transfers at the edges of the source, of each kind.
func TestMCSafe(t *testing.T) {
	s := newMedia(t)
	const size = 64 << 10
	file := s.written(size)
	borrowed, err := SourceFromPMem2(file.pmem2)
	if err != nil {
		t.Fatal(err)
	}
	defer deleteSource(t, borrowed)
	tmp, err := SourceFromTemporary(s.dir, On(s))
	if err != nil {
		t.Fatal(err)
	}
	defer deleteSource(t, tmp)
	for _, tc := range []struct {
		name string
		src  *Source
		size uint64
	}{{"file", file, size}, {"pmem2", borrowed, size}, {"temporary", tmp, 0}, {"device", s.device(), 8 << 20}} {
		for _, r := range []struct {
			off uint64
			n   int
			ok  bool
		}{
			{0, 0, true},
			{tc.size, 0, true},
			{tc.size + 1, 0, false},
			{math.MaxUint64, 0, false},
			{tc.size, 1, false},
			{math.MaxUint64, 1, false},
			{math.MaxUint64 - 5, 6, false},
			{math.MaxInt64, 1, false},
			{0, int(tc.size) + 1, false},
			{0, min(9, int(tc.size)), true},
			{max(6, tc.size) - 6, min(6, int(tc.size)), true},
			{max(6, tc.size) - 6, 7, false},
		} {
			what := fmt.Sprintf("%s: %d bytes at %d", tc.name, r.n, r.off)
			var want error
			if !r.ok {
				want = ErrLengthOutOfRange
			}
			data := bytes.Repeat([]byte{'0' + byte(r.n%10)}, r.n)
			err := tc.src.PwriteMCSafe(data, r.off)
			is(t, "writing "+what, err, want)
			got := make([]byte, r.n)
			err = tc.src.PreadMCSafe(got, r.off)
			is(t, "reading "+what, err, want)
			if r.ok && !bytes.Equal(got, data) {
				t.Errorf("%s: got %q, want %q", what, got, data)
			}
			if n, err := tc.src.pmem2.Size(); n != tc.size || err != nil {
				t.Errorf("%s: the source has %d bytes, %v; want %d", what, n, err, tc.size)
			}
		}
	}
	s.fault.Set(fault.MustParse("(EIO (Op pread pwrite))"))
	is(t, "EIO reading", file.PreadMCSafe(make([]byte, 8), 0), ErrIOFail)
	is(t, "EIO writing", file.PwriteMCSafe(make([]byte, 8), 0), ErrIOFail)
	is(t, "whose cause", file.PwriteMCSafe(make([]byte, 8), 0), pmem2.ErrIOFail)
	s.fault.Set(fault.MustParse("(ENOSPC (Op pread pwrite))"))
	is(t, "ENOSPC", file.PwriteMCSafe(make([]byte, 8), 0), syscall.ENOSPC)
	s.fault.Set()

	// What comes from pmem2 stays pmem2's.
	fd, err := s.Open(s.path("f"), platform.ORdonly, 0)
	if err != nil {
		t.Fatal(err)
	}
	p2, err := pmem2.SourceFromFD(fd, pmem2.On(s))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := SourceFromPMem2(p2)
	if err != nil {
		t.Fatal(err)
	}
	defer deleteSource(t, reader)
	is(t, "reading a file open for reading", reader.PreadMCSafe(make([]byte, 1), 0), nil)
	is(t, "writing a file open for reading", reader.PwriteMCSafe(make([]byte, 1), 0), syscall.EBADF)
	if err := s.Close(fd); err != nil {
		t.Fatal(err)
	}
	is(t, "reading a closed file", reader.PreadMCSafe(make([]byte, 1), 0), pmem2.ErrInvalidFileHandle)
}

// TestMCSafeNotSupported: what the machine can't do when it transfers is no answer about
// bad blocks, though it is one where they are looked for.
func TestMCSafeNotSupported(t *testing.T) {
	s := newMedia(t)
	file, device := s.written(4096), s.device()
	for _, row := range []struct {
		plan string
		call func() error
		want error
	}{
		{"(EOPNOTSUPP (Op mmap))", func() error { return device.PreadMCSafe(make([]byte, 8), 0) }, pmem2.ErrNoSupp},
		{"(EOPNOTSUPP (Op mmap))", func() error { return device.PwriteMCSafe(make([]byte, 8), 0) }, pmem2.ErrNoSupp},
		{"(EOPNOTSUPP (Op fstat))", func() error { return device.PreadMCSafe(make([]byte, 8), 0) }, syscall.EOPNOTSUPP},
		{"(ENOENT (Op list readlink))", func() error { return file.ClearBadBlock(pmem2.BadBlock{Length: 4096}) }, ErrBadBlockNoSupp},
	} {
		s.fault.Set(fault.MustParse(row.plan))
		err := row.call()
		s.fault.Set()
		is(t, row.plan, err, row.want)
		if errors.Is(err, ErrBadBlockNoSupp) != (row.want == error(ErrBadBlockNoSupp)) {
			t.Errorf("%s: %v", row.plan, err)
		}
	}
}

// TestMCSafeBadBlock: bad media is an error, not the end of the program.
func TestMCSafeBadBlock(t *testing.T) {
	s := newMedia(t)
	file, device := s.written(64<<10), s.device()
	if err := errors.Join(s.fs.AddBadBlock("f", 8192, 512), s.dax.AddBadBlock(4096, 512)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	is(t, "reading a bad block of a file", file.PreadMCSafe(buf, 8192), ErrIOFail)
	is(t, "reading a bad block of a device", device.PreadMCSafe(buf, 4096), ErrIOFail)
	is(t, "reading beside it", device.PreadMCSafe(buf, 8192), nil)
	is(t, "writing a bad block of a device", device.PwriteMCSafe(buf, 4096), ErrIOFail)
	is(t, "clearing it", device.ClearBadBlock(pmem2.BadBlock{Offset: 4096, Length: 512}), nil)
	is(t, "clearing that of the file", file.ClearBadBlock(pmem2.BadBlock{Offset: 8192, Length: 4096}), nil)
	for _, src := range []*Source{file, device} {
		got := bytes.Repeat([]byte{1}, 512)
		is(t, "reading what was cleared", src.PreadMCSafe(got, map[*Source]uint64{file: 8192, device: 4096}[src]), nil)
		if !bytes.Equal(got, make([]byte, 512)) {
			t.Errorf("what was cleared holds %x", got)
		}
	}
}

func TestAlignment(t *testing.T) {
	s := newMedia(t)
	tmp, err := SourceFromTemporary(s.dir, On(s))
	if err != nil {
		t.Fatal(err)
	}
	defer deleteSource(t, tmp)
	device := s.device()
	for src, want := range map[*Source]uint64{s.written(5000): 4096, tmp: 4096, device: 2 << 20} {
		if n, err := src.Alignment(); n != want || err != nil {
			t.Errorf("%s: got %d, %v; want %d", src.name(), n, err, want)
		}
	}
	attr := s.dax.SysfsPath() + "/align"
	for _, text := range []string{"", "\n", "0\n", "x\n", "-1\n", "3145728\n", "2048\n", "18446744073709551616\n", "2097152 \n"} {
		if err := s.m.Sysfs().Set(attr, text); err != nil {
			t.Fatal(err)
		}
		n, err := device.Alignment()
		is(t, fmt.Sprintf("align says %q", text), err, ErrInvalidAlignmentValue)
		if n != 0 {
			t.Errorf("align says %q: got %d with the error", text, n)
		}
	}
	if err := s.m.Sysfs().Fail(attr, syscall.EACCES); err != nil {
		t.Fatal(err)
	}
	_, err = device.Alignment()
	is(t, "align can't be read", err, ErrInvalidAlignmentValue)
	if !errors.Is(err, syscall.EACCES) {
		t.Errorf("the cause is missing: %v", err)
	}
}

// TestClearBadBlockErrors: the arguments, what sysfs lacks, and what the system refuses.
func TestClearBadBlockErrors(t *testing.T) {
	s := newMedia(t)
	file, device := s.written(64<<10), s.device()
	clear := func(src *Source, off, n uint64) error {
		return src.ClearBadBlock(pmem2.BadBlock{Offset: off, Length: n})
	}
	for _, tc := range []struct {
		name          string
		off, n        uint64
		onFile, onDev error
	}{
		{"all of it", 0, 64 << 10, nil, nil},
		{"length 0", 0, 0, syscall.EINVAL, syscall.EINVAL},
		{"offset 2^63", 1 << 63, 4096, ErrOffsetOutOfRange, ErrOffsetOutOfRange},
		{"offset 2^64-1", math.MaxUint64, 4096, ErrOffsetOutOfRange, ErrOffsetOutOfRange},
		{"length 2^63", 0, 1 << 63, ErrLengthOutOfRange, ErrLengthOutOfRange},
		{"length 2^64-1", 4096, math.MaxUint64, ErrLengthOutOfRange, ErrLengthOutOfRange},
		{"both", 1 << 63, 1 << 63, ErrOffsetOutOfRange, ErrOffsetOutOfRange},
		{"length 2^63-1", 0, math.MaxInt64, nil, ErrLengthOutOfRange},
		{"sum 2^63", 1, math.MaxInt64, syscall.EFBIG, ErrLengthOutOfRange},
		{"past the end", 8 << 20, 512, nil, ErrLengthOutOfRange},
		{"no unit of the firmware", 1, 512, nil, syscall.EINVAL},
	} {
		if tc.name != "length 2^63-1" { // it would fill the file system
			is(t, tc.name+" of a file", clear(file, tc.off, tc.n), tc.onFile)
		}
		is(t, tc.name+" of a device", clear(device, tc.off, tc.n), tc.onDev)
	}

	s.fault.Set(fault.MustParse("(ENOSPC (Op fallocate))"))
	is(t, "fallocate fails", clear(file, 0, 4096), syscall.ENOSPC)
	s.fault.Set(fault.MustParse("(ENOENT (Op list readlink))"))
	is(t, "no sysfs", clear(file, 0, 4096), ErrBadBlockNoSupp)
	s.fault.Set(fault.MustParse("(EACCES (Op fstat))"))
	is(t, "fstat fails", clear(device, 0, 4096), syscall.EACCES)
	s.fault.Set(fault.MustParse("(EACCES (Op open))"))
	is(t, "the bus can't be opened", clear(device, 0, 4096), syscall.EACCES)
	s.fault.Set()

	bound := s.dax.SysfsPath() + "/../resource"
	if err := s.m.Sysfs().Fail(bound, syscall.EACCES); err != nil {
		t.Fatal(err)
	}
	is(t, "the device's bounds can't be read", clear(device, 0, 4096), ErrCannotReadBounds)
	if err := s.m.Sysfs().Remove(s.dax.RegionPath()); err != nil {
		t.Fatal(err)
	}
	is(t, "the device has no region", clear(device, 0, 4096), ErrDaxRegionNotFound)
	is(t, "the cause", clear(device, 0, 4096), pmem2.ErrDaxRegionNotFound)
}

// heard is a set whose callback keeps what it hears of bad blocks, and then does what
// the test wants.
func heard(t *testing.T, react func(*Event) error) (*Set, *[]string) {
	t.Helper()
	var events []string
	cfg := NewConfig()
	err := errors.Join(
		cfg.SetRequiredStoreGranularity(pmem2.GranularityPage),
		cfg.SetEventCallback(func(_ *Set, e *Event) error {
			line := e.Type.String()
			if e.Type == EventBadBlock {
				line += fmt.Sprintf(" %d+%d", e.BadBlock.Offset, e.BadBlock.Length)
			}
			if e.Source == nil {
				line += " without a source"
			}
			events = append(events, line)
			if react == nil {
				return nil
			}
			return react(e)
		}))
	if err != nil {
		t.Fatal(err)
	}
	set, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = set.Delete() })
	return set, &events
}

// TestSearchBadBlocks: which events come, and what the call then answers.
func TestSearchBadBlocks(t *testing.T) {
	mine := errors.New("mine")
	clearIt := func(e *Event) error {
		if e.Type == EventBadBlock {
			return e.Source.ClearBadBlock(e.BadBlock)
		}
		return nil
	}
	for _, tc := range []struct {
		name   string
		off    bool
		bad    []uint64 // offsets
		react  func(*Event) error
		want   error
		events string
	}{
		{"detection is off", true, []uint64{65536, 131072}, clearIt, nil, ""},
		{"no bad blocks", false, nil, clearIt, nil, ""},
		{"nobody clears", false, []uint64{65536, 131072}, nil, ErrIOFail, "BADBLOCK 65536+4096, BADBLOCK 131072+4096"},
		{"one is cleared", false, []uint64{131072}, clearIt, nil, "BADBLOCK 131072+4096, BADBLOCKS_CLEARED"},
		{"all are cleared", false, []uint64{0, 65536, 131072}, clearIt, nil,
			"BADBLOCK 0+4096, BADBLOCK 65536+4096, BADBLOCK 131072+4096, BADBLOCKS_CLEARED"},
		{"all but one are cleared", false, []uint64{0, 65536}, func(e *Event) error {
			if e.BadBlock.Offset == 0 {
				return clearIt(e)
			}
			return nil
		}, ErrIOFail, "BADBLOCK 0+4096, BADBLOCK 65536+4096"},
		{"the error of BADBLOCK counts for nothing", false, []uint64{0}, func(e *Event) error {
			if err := clearIt(e); err != nil {
				return err
			}
			if e.Type == EventBadBlock {
				return mine
			}
			return nil
		}, nil, "BADBLOCK 0+4096, BADBLOCKS_CLEARED"},
		{"the error of BADBLOCKS_CLEARED is the answer", false, []uint64{0}, func(e *Event) error {
			if err := clearIt(e); err != nil {
				return err
			}
			if e.Type == EventBadBlocksCleared {
				return mine
			}
			return nil
		}, mine, "BADBLOCK 0+4096, BADBLOCKS_CLEARED"},
		{"the source is deleted by the callback", false, []uint64{0}, func(e *Event) error {
			if e.Type == EventBadBlock {
				return errors.Join(clearIt(e), e.Source.Delete())
			}
			return nil
		}, nil, "BADBLOCK 0+4096, BADBLOCKS_CLEARED"},
		{"detection is switched off by the callback", false, []uint64{0, 65536}, func(e *Event) error {
			return e.Source.SetBadBlockDetection(false)
		}, ErrIOFail, "BADBLOCK 0+4096, BADBLOCK 65536+4096"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newMedia(t)
			src := s.written(256 << 10)
			for _, off := range tc.bad {
				if err := s.fs.AddBadBlock("f", off, 512); err != nil {
					t.Fatal(err)
				}
			}
			if err := src.SetBadBlockDetection(true); err != nil {
				t.Fatal(err)
			}
			if tc.off {
				if err := src.SetBadBlockDetection(false); err != nil {
					t.Fatal(err)
				}
			}
			set, events := heard(t, tc.react)
			if !src.acquire() {
				t.Fatal("the source can't be acquired")
			}
			err := src.searchBadBlocks("op", set)
			src.release()
			if tc.want == mine && err != mine { //nolint:errorlint // unchanged
				t.Errorf("got %v, want the callback's error as it is", err)
			} else if tc.want != mine {
				is(t, "the search", err, tc.want)
			}
			if got := strings.Join(*events, ", "); got != tc.events {
				t.Errorf("events %s; want %s", got, tc.events)
			}
		})
	}
}

// TestSearchBadBlocksErrors: what keeps the search from its work.
func TestSearchBadBlocksErrors(t *testing.T) {
	for _, tc := range []struct {
		plan string
		src  func(*media) *Source
		want error
	}{
		{"(ENOENT (Op list readlink))", func(s *media) *Source { return s.written(4096) }, ErrBadBlockNoSupp},
		{"(EACCES (Op fiemap))", func(s *media) *Source { return s.written(4096) }, syscall.EACCES},
		{"(EACCES (PathMatch \"*/resource\"))", (*media).device, syscall.EACCES},
		{"(EIO (Op fstat))", (*media).device, syscall.EIO},
	} {
		s := newMedia(t)
		src := tc.src(s)
		if err := src.SetBadBlockDetection(true); err != nil {
			t.Fatal(err)
		}
		set, events := heard(t, nil)
		s.fault.Set(fault.MustParse(tc.plan))
		err := src.searchBadBlocks("op", set)
		s.fault.Set()
		is(t, tc.plan, err, tc.want)
		if len(*events) > 0 {
			t.Errorf("%s: events %q", tc.plan, *events)
		}
	}
	s := newMedia(t)
	device := s.device()
	if err := errors.Join(device.SetBadBlockDetection(true), s.m.Sysfs().Fail(s.dax.SysfsPath()+"/../size", syscall.EIO)); err != nil {
		t.Fatal(err)
	}
	set, _ := heard(t, nil)
	is(t, "no bounds", device.searchBadBlocks("op", set), ErrCannotReadBounds)
	if err := s.m.Sysfs().Remove(s.dax.RegionPath()); err != nil {
		t.Fatal(err)
	}
	is(t, "no region", device.searchBadBlocks("op", set), ErrDaxRegionNotFound)
}

// TestSearchOrdinaryFile: files without a region have no bad blocks.
func TestSearchOrdinaryFile(t *testing.T) {
	s := newSite(t, platform.Host(), t.TempDir())
	src, err := SourceFromFile(s.file("f", 4096, 0o600), On(s))
	if err != nil {
		t.Fatal(err)
	}
	defer deleteSource(t, src)
	if err := src.SetBadBlockDetection(true); err != nil {
		t.Fatal(err)
	}
	set, events := heard(t, nil)
	is(t, "the search", src.searchBadBlocks("op", set), nil)
	is(t, "clearing", src.ClearBadBlock(pmem2.BadBlock{Length: 4096}), nil)
	is(t, "clearing nothing", src.ClearBadBlock(pmem2.BadBlock{}), syscall.EINVAL)
	if len(*events) > 0 {
		t.Errorf("events %q", *events)
	}
}

// TestRemoveBadMedia: a part with a bad block can be removed, though it can't be flushed;
// the program goes on, and what lies beside it is flushed and stays.
func TestRemoveBadMedia(t *testing.T) {
	remove := map[string]func(*Set, PartDescriptor) error{
		"RemoveRange": func(s *Set, d PartDescriptor) error { return s.RemoveRange(d.Addr, d.Size) },
		"RemovePartMap": func(s *Set, d PartDescriptor) error {
			p, err := s.PartMapByAddress(d.Addr)
			if err != nil {
				return err
			}
			return s.RemovePartMap(p)
		},
	}
	for name, remove := range remove {
		t.Run(name, func(t *testing.T) {
			media := newMedia(t)
			src := media.device()
			cfg := NewConfig()
			if err := cfg.SetRequiredStoreGranularity(pmem2.GranularityPage); err != nil {
				t.Fatal(err)
			}
			set, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer set.Delete()
			where := NewMapConfig(nil)
			var parts [2]PartDescriptor
			for i := range parts {
				if err := errors.Join(where.SetOffset(uint64(i)*2<<20), where.SetLength(2<<20)); err != nil {
					t.Fatal(err)
				}
				if parts[i], err = set.Map(src, where); err != nil {
					t.Fatal(err)
				}
			}
			if err := media.dax.AddBadBlock(4096, 512); err != nil {
				t.Fatal(err)
			}
			if err := remove(set, parts[0]); err != nil {
				t.Errorf("the part with a bad block: %v", err)
			}
			if _, err := set.PartMapByAddress(parts[0].Addr); !errors.Is(err, ErrCannotFindPartMap) {
				t.Errorf("it is still there: %v", err)
			}
			if err := set.Persist(parts[1].Bytes()); err != nil {
				t.Errorf("the other part: %v", err)
			}
			if err := remove(set, parts[1]); err != nil {
				t.Errorf("the other part: %v", err)
			}
		})
	}
}
