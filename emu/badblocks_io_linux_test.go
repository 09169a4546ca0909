package emu_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// Reads and writes of a file of 8 pages, all written but page 5, which is a hole; sector 3
// of page 2 is bad. off and n are bytes; the answer is a number of bytes or an errno.
var badBlockCells = []struct {
	call           string
	off, n         int64
	dax, cache     string
	healed, cHeald bool
}{
	{"read", 0, 2 * page, "8192", "8192", false, false},
	{"read", 0, 2*page + 1, "EIO", "8192", false, false}, // with DAX the extent counts
	{"read", 0, 8 * page, "EIO", "8192", false, false},
	{"read", page + 100, page, "EIO", "3996", false, false},
	{"read", 2 * page, sector, "EIO", "EIO", false, false}, // a healthy sector of the page
	{"read", 3 * page, 2 * page, "8192", "8192", false, false},
	{"read", 5 * page, 3 * page, "12288", "12288", false, false},
	{"read", 2*page + 100, 0, "0", "0", false, false},
	{"read", 100 * page, page, "0", "0", false, false},
	{"write", 0, 2 * page, "8192", "8192", false, false},
	{"write", 2 * page, page, "4096", "4096", true, true},
	{"write", 2 * page, sector, "EFAULT", "EIO", false, false},
	{"write", 2*page + 3*sector, sector, "EFAULT", "EIO", false, false},
	{"write", 2*page + 100, 2 * page, "EFAULT", "EIO", false, false},
	// One step of DAX goes up to the end of the page with the first bad sector.
	{"write", 0, 8 * page, "32768", "32768", true, true},
	{"write", 100, 4 * page, "EFAULT", "16384", false, true},
	{"write", 100, 2 * page, "EFAULT", "8092", false, false},
	{"write", page, page + sector, "EFAULT", "4096", false, false},
	{"write", 3 * page, 5*page - 1, "20479", "20479", false, false},
	{"write", 2 * page, 6*page - 1, "24575", "24575", true, true},
}

func TestBadBlockReadWrite(t *testing.T) {
	t.Parallel()
	for _, cfg := range []emu.FS{{DAX: true}, {}, {DAX: true, Type: emu.XFS}, {Type: emu.XFS}} {
		cfg.Size = 1 << 20
		for _, c := range badBlockCells {
			m := newMachine(t, emu.Config{})
			fs := m.AddFS(cfg)
			f := create(t, fs, "f", 8*page)
			content := make([]byte, 8*page)
			for i := range content {
				content[i] = byte(i/sector) + 1
			}
			clear(content[5*page : 6*page])
			for _, x := range [][2]int{{0, 5 * page}, {6 * page, 8 * page}} {
				if _, err := m.Pwrite(f.FD(), content[x[0]:x[1]], int64(x[0])); err != nil {
					t.Fatal(err)
				}
			}
			a := mmap(t, m, f.FD(), 8*page, 0)
			if err := fs.AddBadBlock("f", 2*page+3*sector, 1); err != nil {
				t.Fatal(err)
			}
			want, healed := c.cache, c.cHeald
			if cfg.DAX {
				want, healed = c.dax, c.healed
			}
			p := make([]byte, c.n)
			var n int
			var err error
			if c.call == "read" {
				n, err = m.Pread(f.FD(), p, c.off)
				if end := min(int(c.off)+n, len(content)); n > 0 && !slices.Equal(p[:n], content[c.off:end]) {
					t.Errorf("%+v: %+v: the bytes are wrong", cfg, c)
				}
			} else {
				for i := range p {
					p[i] = 200
				}
				n, err = m.Pwrite(f.FD(), p, c.off)
				copy(content[c.off:], p[:n])
			}
			got := fmt.Sprint(n)
			if err != nil {
				got = errnoName(err)
			}
			if got != want || err != nil && n != 0 {
				t.Errorf("%+v: %+v: got %s, want %s", cfg, c, got, want)
			}
			if bad, err := fs.BadBlocks("f"); err != nil || len(bad) == 0 != healed {
				t.Errorf("%+v: %+v: bad blocks after it: %v, %v", cfg, c, bad, err)
			}
			pages := "..B....."
			if healed {
				pages = "........"
			} else {
				clear(content[2*page+3*sector:][:sector])
			}
			wantFaults(t, fmt.Sprintf("%+v: %+v", cfg, c), a, pages)
			for i, v := range content {
				if i/page == 2 && !healed {
					continue
				}
				if got := *at(a, uint64(i)); got != v {
					t.Fatalf("%+v: %+v: byte %d is %d, want %d", cfg, c, i, got, v)
				}
			}
		}
	}
}

// In a file of one piece of the disk, page 1 has no data and page 2 is bad, which can't be
// cleared. ext4 goes by what has data and what hasn't; where XFS begins without, it takes what
// lies behind it for one with it. Measured on Linux 6.1.
func TestBadBlockBehindUnwritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		off, n    int
		ext4, xfs int // bytes; 0: EFAULT
	}{
		{100, 3 * page, 2*page - 100, page - 100},
		{0, 4 * page, 2 * page, page},
		{0, 2*page + 600, 2 * page, page},
		{page + 100, 2 * page, page - 100, 0},
		{page, 3 * page, page, 0},
		{page, page, page, page},
		{page, page + 600, page, 0},
		{2 * page, page + 100, 0, 0},
	} {
		for typ, want := range map[emu.FSType]int{emu.Ext4: c.ext4, emu.XFS: c.xfs} {
			m := newMachine(t, emu.Config{NoClearError: true})
			fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true, Type: typ})
			f := unwritten(t, m, fs)
			n, err := m.Pwrite(f.FD(), make([]byte, c.n), int64(c.off))
			if n != want || errors.Is(err, unix.EFAULT) != (want == 0) {
				t.Errorf("%v: %d bytes at %d: got %d, %v, want %d", typ, c.n, c.off, n, err, want)
			}
		}
	}
	// Where it can be cleared, whole pages are.
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true})
	f := unwritten(t, m, fs)
	if n, err := m.Pwrite(f.FD(), make([]byte, 3*page), 100); n != 3*page || err != nil {
		t.Errorf("a write of 3 pages from 100 on: got %d, %v, want %d", n, err, 3*page)
	}
	if bad, err := fs.BadBlocks("f"); len(bad) > 0 || err != nil {
		t.Errorf("bad blocks after it: %v, %v", bad, err)
	}
}

// unwritten makes a file of 4 pages, page 1 of which has no data, and makes page 2 bad.
func unwritten(t *testing.T, m *emu.Machine, fs *emu.FileSystem) *emu.File {
	t.Helper()
	f := create(t, fs, "f", 4*page)
	if _, err := m.Pwrite(f.FD(), make([]byte, 4*page), 0); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []uint32{platform.FallocPunchHole | platform.FallocKeepSize, platform.FallocKeepSize} {
		if err := m.Fallocate(f.FD(), mode, page, page); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.AddBadBlock("f", 2*page+2*sector, 1); err != nil {
		t.Fatal(err)
	}
	return f
}

// A file of two extents, the second of which is bad: the first one counts for itself.
func TestBadBlockInSecondExtent(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true})
	f, g := create(t, fs, "f", 4*page), create(t, fs, "g", page)
	if err := errors.Join(m.Fallocate(f.FD(), 0, 0, 2*page), m.Fallocate(g.FD(), 0, 0, page),
		m.Fallocate(f.FD(), 0, 2*page, 2*page), fs.AddBadBlock("f", 2*page+3*sector, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Pwrite(f.FD(), make([]byte, 2*page), 0); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4*page)
	for _, c := range []struct {
		off, n int64
		read   int
		write  int
	}{
		{0, 4 * page, 2 * page, -1},
		{100, 2 * page, 2*page - 100, 2*page - 100},
		{page + 1, page + sector, page - 1, page - 1},
		{0, 3 * page, 2 * page, 3 * page}, // the last, since it heals
	} {
		if n, err := m.Pread(f.FD(), p[:c.n], c.off); n != c.read || err != nil {
			t.Errorf("Pread of %d at %d: %d, %v; want %d", c.n, c.off, n, err, c.read)
		}
		if c.write < 0 {
			continue
		}
		if n, err := m.Pwrite(f.FD(), p[:c.n], c.off); n != c.write || err != nil {
			t.Errorf("Pwrite of %d at %d: %d, %v; want %d", c.n, c.off, n, err, c.write)
		}
	}
	if n, err := m.Pread(f.FD(), p, 0); n != 4*page || err != nil {
		t.Errorf("Pread after the healing write: %d, %v", n, err)
	}
}

// Firmware that can't clear errors: what the write answers, and what fsync does then. The
// driver of a bus without firmware takes it for granted that the error is gone.
func TestBadBlockWriteWithoutClear(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg          emu.FS
		write, fsync string
		healed       bool
	}{
		{emu.FS{DAX: true}, "EFAULT", "ok", false},
		{emu.FS{DAX: true, Type: emu.XFS}, "EFAULT", "ok", false},
		{emu.FS{}, "ok", "EIO", false},
		{emu.FS{DAX: true, VirtioPmem: true}, "ok", "ok", true},
		{emu.FS{VirtioPmem: true}, "ok", "ok", true},
	} {
		c.cfg.Size = 1 << 20
		m := newMachine(t, emu.Config{NoClearError: true})
		fs := m.AddFS(c.cfg)
		f := create(t, fs, "f", 2*page)
		a := mmap(t, m, f.FD(), 2*page, 0)
		if err := errors.Join(m.Fallocate(f.FD(), 0, 0, 2*page), fs.AddBadBlock("f", page, 1)); err != nil {
			t.Fatal(err)
		}
		_, err := m.Pwrite(f.FD(), make([]byte, page), page)
		sync, again := m.Fsync(f.FD()), m.Fsync(f.FD())
		if errnoName(err) != c.write || errnoName(sync) != c.fsync || again != nil {
			t.Errorf("%+v: write %v, fsync %v, again %v; want %s, %s and nil", c.cfg, err, sync, again, c.write, c.fsync)
		}
		bad, err := fs.BadBlocks("f")
		if err != nil || (len(bad) == 0) != c.healed {
			t.Errorf("%+v: bad blocks after it: %v, %v", c.cfg, bad, err)
		}
		wantFaults(t, fmt.Sprintf("%+v", c.cfg), a, map[bool]string{false: ".B", true: ".."}[c.healed])
		// The region has the bad block still: nobody has told it.
		if list, err := m.ReadAttr(fs.BlockDevice().RegionPath() + "/badblocks"); err != nil || list == "" {
			t.Errorf("%+v: the region lists %q, %v", c.cfg, list, err)
		}
	}
}

// The block device: by pages, and the file on it is healed with it.
func TestBadBlockOfBlockDevice(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true})
	dev := fs.BlockDevice()
	f := create(t, fs, "f", page)
	if err := m.Fallocate(f.FD(), 0, 0, page); err != nil {
		t.Fatal(err)
	}
	if err := fs.AddBadBlock("f", 0, 1); err != nil {
		t.Fatal(err)
	}
	a := mmap(t, m, f.FD(), page, 0)
	bad := dev.BadBlocks()
	if len(bad) != 1 {
		t.Fatal(bad)
	}
	off := int64(bad[0].Offset)
	b := open(t, dev)
	raw := mmap(t, m, b.FD(), 1<<20, 0)
	wantFaults(t, "block device", raw+uintptr(off)-page, ".B.")
	p := make([]byte, 2*page)
	if n, err := m.Pread(b.FD(), p, off-page); n != page || err != nil {
		t.Errorf("Pread up to the bad page: %d, %v", n, err)
	}
	if n, err := m.Pread(b.FD(), p, off); n != 0 || err != unix.EIO {
		t.Errorf("Pread: %d, %v; want EIO", n, err)
	}
	if n, err := m.Pwrite(b.FD(), p[:sector], off); n != 0 || err != unix.EIO {
		t.Errorf("Pwrite of a sector: %d, %v; want EIO", n, err)
	}
	wantFaults(t, "file", a, "B")
	if n, err := m.Pwrite(b.FD(), p, off-page); n != 2*page || err != nil {
		t.Errorf("Pwrite of two pages: %d, %v", n, err)
	}
	wantFaults(t, "file after the write", a, ".")
	wantFaults(t, "block device after the write", raw+uintptr(off)-page, "...")
	attr(t, m, dev.SysfsPath()+"/badblocks", "")
	attr(t, m, dev.RegionPath()+"/badblocks", "")
}

// A write that appends finds its place by the size, whatever the offset.
func TestBadBlockAppend(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true})
	f := create(t, fs, "f", 0)
	if err := errors.Join(m.Ftruncate(f.FD(), page), m.Fallocate(f.FD(), platform.FallocKeepSize, 0, 4*page),
		fs.AddBadBlock("f", 2*page+sector, 1)); err != nil {
		t.Fatal(err)
	}
	g, err := fs.Open("f", platform.ORdwr|platform.OAppend, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if n, err := m.Pwrite(g.FD(), make([]byte, sector), 2*page); n != sector || err != nil {
		t.Errorf("append to the page before: %d, %v", n, err)
	}
	p := make([]byte, 3*page-sector)
	if n, err := m.Pwrite(g.FD(), p, 0); n != 0 || err != unix.EFAULT {
		t.Errorf("append that begins in the middle of a page: %d, %v; want EFAULT", n, err)
	}
	if n, err := m.Pwrite(g.FD(), p[:page-sector], 0); n != page-sector || err != nil {
		t.Errorf("append to the end of the page: %d, %v", n, err)
	}
	if n, err := m.Pwrite(g.FD(), p[:page], 0); n != page || err != nil {
		t.Errorf("append of the bad page: %d, %v", n, err)
	}
	if st, err := m.Fstat(g.FD()); err != nil || st.Size != 3*page {
		t.Errorf("size %d, %v; want 3 pages", st.Size, err)
	}
	if bad, err := fs.BadBlocks("f"); err != nil || len(bad) > 0 {
		t.Errorf("bad blocks: %v, %v", bad, err)
	}
}
