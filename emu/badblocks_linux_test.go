package emu_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

const (
	page   = 4096
	sector = 512
)

// access reads, and writes if write is set, the byte at addr: "." if that works, "B" if
// it faults, the address being in the panic.
func access(addr uintptr, write bool) (result string) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch e := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr
		}:
			if result = "B"; e.Addr() != addr {
				result = fmt.Sprintf("a fault at %#x instead of %#x", e.Addr(), addr)
			}
		default:
			result = fmt.Sprint(e)
		}
	}()
	p := (*byte)(platform.Pointer(addr))
	v := *p
	if write {
		*p = v
	}
	return "."
}

// faults is which of the pages of [addr, addr+n) fault, for loads and stores: "..B.".
func faults(t *testing.T, addr uintptr, n uint64) string {
	t.Helper()
	var text strings.Builder
	for off := uint64(0); off < n; off += page {
		r := access(addr+uintptr(off), false)
		for _, at := range []uint64{off, off + page - 1} {
			if w := access(addr+uintptr(at), true); w != r {
				t.Fatalf("page %d: the first load is %s, a store to byte %d is %s", off/page, r, at, w)
			}
		}
		text.WriteString(r)
	}
	return text.String()
}

func wantFaults(t *testing.T, what string, addr uintptr, want string) {
	t.Helper()
	if got := faults(t, addr, uint64(len(want))*page); got != want {
		t.Errorf("%s: pages that fault: got %s, want %s", what, got, want)
	}
}

func attr(t *testing.T, m *emu.Machine, path, want string) {
	t.Helper()
	if got, err := m.ReadAttr(path); err != nil || got != want {
		t.Errorf("%s: got %q, %v; want %q", path, got, err, want)
	}
}

// bus opens the bus that the DIMMs are on.
func bus(t *testing.T, m *emu.Machine, flags int) int {
	t.Helper()
	fd, err := m.Open("/dev/ndctl0", flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(fd) })
	return fd
}

// address is the system physical address of the device's byte 0.
func address(t *testing.T, m *emu.Machine, d *emu.Device) uint64 {
	t.Helper()
	var start, size uint64
	for name, v := range map[string]*uint64{"resource": &start, "size": &size} {
		// resource can be read by root alone, which the machine's processes are.
		text, err := m.ReadAttr(d.RegionPath() + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(text, v); err != nil {
			t.Fatal(err)
		}
	}
	return start + infoBlock
}

const infoBlock = 2 << 20 // of devices of an alignment up to 2 MiB

func bytesAt(addr uintptr, n int) []byte { return platform.Bytes(addr, uint64(n)) }

// A sector goes bad: its page faults in every mapping, the list in sysfs tells, and after
// ClearError the sector is zero and its neighbours are as they were.
func TestBadBlockOfDevDax(t *testing.T) {
	t.Parallel()
	for _, align := range []uint64{4 << 10, 2 << 20} {
		m := newMachine(t, emu.Config{})
		dax := m.AddDevDax(emu.DevDax{Size: 4 << 20, Align: align})
		f := open(t, dax)
		a := mmap(t, m, f.FD(), 4<<20, 0)
		alias := mmap(t, m, f.FD(), 2<<20, 0)
		for i := range 3 * page {
			bytesAt(a, 3*page)[i] = byte(i/sector) + 1
		}
		region := dax.RegionPath() + "/badblocks"
		attr(t, m, region, "")
		if err := dax.AddBadBlock(page+2*sector+100, 10); err != nil {
			t.Fatal(err)
		}
		attr(t, m, region, fmt.Sprintf("%d 1\n", infoBlock/sector+8+2))
		if got, want := dax.BadBlocks(), []emu.BadBlock{{page + 2*sector, sector}}; !slices.Equal(got, want) {
			t.Errorf("BadBlocks: got %v, want %v", got, want)
		}
		late := mmap(t, m, f.FD(), 2<<20, 0)
		for name, addr := range map[string]uintptr{"before": a, "alias": alias, "after": late} {
			wantFaults(t, name, addr, ".B.")
		}
		if err := dax.AddBadBlock(page+3*sector-1, 2); err != nil { // the same sector and the next
			t.Fatal(err)
		}
		attr(t, m, region, fmt.Sprintf("%d 2\n", infoBlock/sector+8+2))
		fd, phys := bus(t, m, platform.ORdwr), address(t, m, &dax.Device)
		// Parts of sectors are no sectors.
		if n, err := m.ClearError(fd, phys+page+2*sector+256, sector); n != sector || err != nil {
			t.Errorf("ClearError of two halves: %d, %v", n, err)
		}
		if n, err := m.ClearError(fd, phys+page+2*sector, sector); n != sector || err != nil {
			t.Errorf("ClearError of one: %d, %v", n, err)
		}
		attr(t, m, region, fmt.Sprintf("%d 1\n", infoBlock/sector+8+3))
		wantFaults(t, "one of two cleared", alias, ".B.")
		if n, err := m.ClearError(fd, phys, 4<<20); n != 4<<20 || err != nil {
			t.Errorf("ClearError of all: %d, %v", n, err)
		}
		attr(t, m, region, "")
		for name, addr := range map[string]uintptr{"before": a, "alias": alias, "after": late} {
			wantFaults(t, name, addr, "...")
			for i, v := range bytesAt(addr, 3*page) {
				want := byte(i/sector) + 1
				if s := i / sector; s == 8+2 || s == 8+3 {
					want = 0
				}
				if v != want {
					t.Fatalf("align %#x, %s: byte %d is %d, want %d", align, name, i, v, want)
				}
			}
		}
		*at(a, page+2*sector) = 77
		if got := *at(alias, page+2*sector); got != 77 {
			t.Errorf("a store after the clear shows as %d in the alias, want 77", got)
		}
	}
}

func TestBadBlockErrors(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 4 << 20})
	fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true})
	tmpfs := m.AddFS(emu.FS{Size: 1 << 20, Type: emu.Tmpfs})
	f := create(t, fs, "f", 5*page)
	create(t, tmpfs, "f", page)
	if err := fs.Mkdir("d"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Pwrite(f.FD(), make([]byte, 2*page), page); err != nil {
		t.Fatal(err)
	}
	down := emu.NewMachine(emu.Config{})
	downDax, downFS := down.AddDevDax(emu.DevDax{Size: 2 << 20}), down.AddFS(emu.FS{Size: 1 << 20})
	if err := down.Shutdown(); err != nil {
		t.Fatal(err)
	}
	bad := newMachine(t, emu.Config{})
	badDax, badFS := bad.AddDevDax(emu.DevDax{}), bad.AddFS(emu.FS{Size: 1})
	const max = math.MaxUint64
	for i, c := range []struct {
		err  error
		want error // nil: any
		text string
	}{
		{dax.AddBadBlock(0, 0), unix.EINVAL, "0 bytes at 0"},
		{dax.AddBadBlock(4<<20, 1), unix.EINVAL, "inside the 4194304"},
		{dax.AddBadBlock(4<<20-1, 2), unix.EINVAL, "2 bytes at 4194303"},
		{dax.AddBadBlock(max, 1), unix.EINVAL, "18446744073709551615"},
		{dax.AddBadBlock(1, max), unix.EINVAL, "at 1"},
		{fs.BlockDevice().AddBadBlock(1<<20, 1), unix.EINVAL, "/dev/pmem1"},
		{m.DevNull().AddBadBlock(0, 1), unix.ENODEV, "/dev/null has no media"},
		{m.PTY().AddBadBlock(0, 1), unix.ENODEV, "/dev/pts/0"},
		{tmpfs.BlockDevice().AddBadBlock(0, 1), unix.ENODEV, "tmpfs"},
		{tmpfs.AddBadBlock("f", 0, 1), unix.ENODEV, "tmpfs"},
		{second(tmpfs.BadBlocks("f")), unix.ENODEV, "tmpfs"},
		{fs.AddBadBlock("f", 0, 1), unix.EINVAL, "from 0 to 512"},
		{fs.AddBadBlock("f", 2*page, page+1), unix.EINVAL, "from 12288 to 12800"},
		{fs.AddBadBlock("f", page, 0), unix.EINVAL, "0 bytes"},
		{fs.AddBadBlock("f", page, max), unix.EINVAL, "at 4096"},
		{fs.AddBadBlock("f", max, 2), unix.EINVAL, "2 bytes"},
		{fs.AddBadBlock("d", 0, 1), unix.EISDIR, "d"},
		{fs.AddBadBlock("none", 0, 1), unix.ENOENT, "none"},
		{second(fs.BadBlocks("none")), unix.ENOENT, "none"},
		{downDax.AddBadBlock(0, 1), unix.ENODEV, "shut down"},
		{downFS.AddBadBlock("f", 0, 1), unix.ENODEV, ""},
		{badDax.AddBadBlock(0, 1), nil, "DevDax.Size"},
		{badFS.AddBadBlock("f", 0, 1), nil, "FS.Size"},
		{badFS.BlockDevice().AddBadBlock(0, 1), nil, "FS.Size"},
	} {
		if c.err == nil || c.want != nil && !errors.Is(c.err, c.want) || !strings.Contains(c.err.Error(), c.text) {
			t.Errorf("case %d: got %v, want %v with %q in it", i, c.err, c.want, c.text)
		}
	}
	for _, d := range []*emu.Device{&dax.Device, fs.BlockDevice(), m.DevNull(), &downDax.Device, &badDax.Device} {
		if got := d.BadBlocks(); len(got) > 0 {
			t.Errorf("%s: bad blocks %v after errors", d.Path(), got)
		}
	}
	attr(t, m, dax.RegionPath()+"/badblocks", "")
}

// What is listed where: entries of at most 512 sectors, of the device and of its region.
func TestBadBlockLists(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 64 << 20, DAX: true})
	dev := fs.BlockDevice()
	for _, x := range [][2]uint64{{8 << 20, 600 * sector}, {4096, 1}, {5 * sector, sector}, {8*sector + 1, 1}} {
		if err := dev.AddBadBlock(x[0], x[1]); err != nil {
			t.Fatal(err)
		}
	}
	attr(t, m, dev.SysfsPath()+"/badblocks", "5 1\n8 1\n16384 512\n16896 88\n")
	const base = infoBlock / sector
	attr(t, m, dev.RegionPath()+"/badblocks", fmt.Sprintf("%d 1\n%d 1\n%d 512\n%d 88\n", base+5, base+8, base+16384, base+16896))
	// A test's own text stays until the next change; what it has removed isn't made again.
	if err := errors.Join(m.Sysfs().Set(dev.RegionPath()+"/badblocks", "1 2\n"), m.Sysfs().Remove(dev.SysfsPath()+"/badblocks")); err != nil {
		t.Fatal(err)
	}
	attr(t, m, dev.RegionPath()+"/badblocks", "1 2\n")
	if err := dev.AddBadBlock(6*sector, 1); err != nil {
		t.Fatal(err)
	}
	attr(t, m, dev.RegionPath()+"/badblocks", fmt.Sprintf("%d 2\n%d 1\n%d 512\n%d 88\n", base+5, base+8, base+16384, base+16896))
	if _, err := m.ReadAttr(dev.SysfsPath() + "/badblocks"); err != unix.ENOENT {
		t.Errorf("the removed attribute: %v, want ENOENT", err)
	}
}

// A file faults where the device is bad, however that came, and is healed by a write of
// the whole page and by a hole that is filled again.
func TestBadBlockOfFile(t *testing.T) {
	t.Parallel()
	for _, cfg := range []emu.FS{
		{Type: emu.Ext4, DAX: true}, {Type: emu.XFS, DAX: true}, {Type: emu.Ext4},
		{Type: emu.Ext4, DAX: true, VirtioPmem: true},
	} {
		cfg.Size = 16 << 20
		m := newMachine(t, emu.Config{})
		fs := m.AddFS(cfg)
		dev := fs.BlockDevice()
		f, other := create(t, fs, "f", 0), create(t, fs, "other", 0)
		content := make([]byte, 4*page)
		for i := range content {
			content[i] = byte(i/sector) + 1
		}
		for _, file := range []*emu.File{f, other} {
			if _, err := m.Pwrite(file.FD(), content, 0); err != nil {
				t.Fatal(err)
			}
		}
		a, b := mmap(t, m, f.FD(), 4*page, 0), mmap(t, m, other.FD(), 4*page, 0)
		wantFaults(t, "f", a, "....")
		if err := fs.AddBadBlock("f", page+10, 1); err != nil {
			t.Fatal(err)
		}
		wantFaults(t, "f", a, ".B..")
		wantFaults(t, "other", b, "....")
		if got, err := fs.BadBlocks("f"); err != nil || !slices.Equal(got, []emu.BadBlock{{page, sector}}) {
			t.Errorf("BadBlocks of f: %v, %v", got, err)
		}
		bad := dev.BadBlocks()
		extents := make([]platform.FiemapExtent, 4)
		n, err := m.Fiemap(other.FD(), 0, 4*page, 0, extents)
		if n != 1 || err != nil || len(bad) != 1 || bad[0].Offset%page != 0 {
			t.Fatalf("%+v: Fiemap: %v, %v; bad blocks of the device %v", cfg, extents[:n], err, bad)
		}
		if err := dev.AddBadBlock(extents[0].Physical+3*page-sector, 2*sector); err != nil {
			t.Fatal(err)
		}
		wantFaults(t, "other", b, "..BB")
		// Renewed by a write.
		if n, err := m.Pwrite(f.FD(), content[page:2*page], page); n != page || err != nil {
			t.Errorf("%+v: Pwrite over the bad page: %d, %v", cfg, n, err)
		}
		wantFaults(t, "f after the write", a, "....")
		for i, v := range bytesAt(a, 4*page) {
			if v != content[i] {
				t.Fatalf("%+v: byte %d of f is %d, want %d", cfg, i, v, content[i])
			}
		}
		// And by a hole.
		was := dev.BadBlocks()
		if err := m.Fallocate(other.FD(), platform.FallocPunchHole|platform.FallocKeepSize, 2*page, 2*page); err != nil {
			t.Fatal(err)
		}
		wantFaults(t, "other with a hole", b, "....")
		if err := m.Fallocate(other.FD(), 0, 2*page, 2*page); err != nil {
			t.Fatal(err)
		}
		wantFaults(t, "other filled", b, "....")
		for i, v := range bytesAt(b, 4*page) {
			if want := content[i]; v != want && i < 2*page || v != 0 && i >= 2*page {
				t.Fatalf("%+v: byte %d of other is %d", cfg, i, v)
			}
		}
		if got := dev.BadBlocks(); !slices.Equal(got, was) || len(got) != 1 {
			t.Errorf("%+v: bad blocks of the device: %v before, %v after the hole", cfg, was, got)
		}
		n, err = m.Fiemap(other.FD(), 0, 4*page, 0, extents)
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		for _, e := range extents[:n] {
			if e.Physical < was[0].Offset+was[0].Length && was[0].Offset < e.Physical+e.Length || e.Physical+e.Length > cfg.Size {
				t.Errorf("%+v: extent %+v of %d is on the bad block %v or outside the device", cfg, e, n, was[0])
			}
		}
	}
}

// What cuts a file takes its bad blocks away.
func TestBadBlockOfCutFile(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(m *emu.Machine, fs *emu.FileSystem, f *emu.File) error{
		"ftruncate": func(m *emu.Machine, _ *emu.FileSystem, f *emu.File) error {
			return errors.Join(m.Ftruncate(f.FD(), page), m.Ftruncate(f.FD(), 4*page))
		},
		"truncate": func(_ *emu.Machine, fs *emu.FileSystem, _ *emu.File) error {
			return errors.Join(fs.Truncate("f", 2*page-1), fs.Truncate("f", 4*page))
		},
		"O_TRUNC": func(m *emu.Machine, fs *emu.FileSystem, f *emu.File) error {
			g, err := fs.Open("f", platform.ORdwr|platform.OTrunc, 0)
			if err != nil {
				return err
			}
			return errors.Join(g.Close(), m.Ftruncate(f.FD(), 4*page))
		},
		"hole": func(m *emu.Machine, _ *emu.FileSystem, f *emu.File) error {
			return m.Fallocate(f.FD(), platform.FallocPunchHole|platform.FallocKeepSize, 2*page-1, 2*page+1)
		},
	} {
		m := newMachine(t, emu.Config{})
		fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
		f := create(t, fs, "f", 4*page)
		a := mmap(t, m, f.FD(), 4*page, 0)
		*at(a, 3*page) = 1
		if err := errors.Join(m.Fallocate(f.FD(), 0, 0, 4*page), fs.AddBadBlock("f", 2*page, page+sector)); err != nil {
			t.Fatal(err)
		}
		wantFaults(t, name+": before", a, "..BB")
		if err := cut(m, fs, f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantFaults(t, name+": after", a, "....")
		if *at(a, 3*page) != 0 {
			t.Errorf("%s: what was lost is there again", name)
		}
		if got := fs.BlockDevice().BadBlocks(); len(got) != 1 || got[0].Length != page+sector {
			t.Errorf("%s: bad blocks of the device: %v", name, got)
		}
	}
	// An unlinked file has its bad blocks as long as it is mapped.
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	f := create(t, fs, "f", 4*page)
	a := mmap(t, m, f.FD(), 4*page, 0)
	if err := errors.Join(m.Fallocate(f.FD(), 0, 0, 4*page), fs.AddBadBlock("f", page, 1), fs.Remove("f"), f.Close()); err != nil {
		t.Fatal(err)
	}
	wantFaults(t, "unlinked", a, ".B..")
	// The edge of a hole in a bad page can't be zeroed.
	g := create(t, fs, "g", 4*page)
	if err := errors.Join(m.Fallocate(g.FD(), 0, 0, 4*page), fs.AddBadBlock("g", page, 1)); err != nil {
		t.Fatal(err)
	}
	if err := m.Fallocate(g.FD(), platform.FallocPunchHole|platform.FallocKeepSize, page+100, page); err != unix.EIO {
		t.Errorf("a hole from the middle of a bad page on: %v, want EIO", err)
	}
}

// A terabyte with a bad block costs a few pages, and so does a bad gigabyte.
func TestBadBlockIsSparse(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	const size, bad = 1 << 40, 64 << 20
	dax := m.AddDevDax(emu.DevDax{Size: size, Align: 1 << 30})
	fs := m.AddFS(emu.FS{Size: size, DAX: true})
	file := create(t, fs, "big", size)
	if err := m.Fallocate(file.FD(), 0, 0, size/2); err != nil {
		t.Fatal(err)
	}
	d := open(t, dax)
	for _, f := range []*emu.File{d, file} {
		addr := mmap(t, m, f.FD(), size, 0)
		add := dax.AddBadBlock
		if f == file {
			add = func(off, n uint64) error { return fs.AddBadBlock("big", off, n) }
		}
		if err := errors.Join(add(size/4, 1), add(1<<30, bad)); err != nil {
			t.Fatal(err)
		}
		wantFaults(t, f.Name(), addr+size/4-page, ".B.")
		wantFaults(t, f.Name(), addr+1<<30-page, ".BB")
		wantFaults(t, f.Name(), addr+1<<30+bad-page, "B.")
		var st unix.Stat_t
		if err := unix.Fstat(f.FD(), &st); err != nil {
			t.Fatal(err)
		}
		if got := st.Blocks * 512; got > 8*2<<20 {
			t.Errorf("%s takes %d bytes", f.Name(), got)
		}
	}
	phys := address(t, m, &dax.Device) - infoBlock + 1<<30
	if n, err := m.ClearError(bus(t, m, platform.ORdwr), phys, size); n != size || err != nil {
		t.Fatal(n, err)
	}
	if got := dax.BadBlocks(); len(got) > 0 {
		t.Errorf("after the clear: %v", got)
	}
}

const badBlockChild = "EMU_BAD_BLOCK_CHILD"

// TestBadBlockSignal lets processes of two users run into a bad block: in one the panic is
// caught, the other dies of SIGBUS, code 2, at the address.
func TestBadBlockSignal(t *testing.T) {
	if how := os.Getenv(badBlockChild); how != "" {
		badBlockProcess(t, how)
		return
	}
	users := map[string]*syscall.SysProcAttr{"the same user": nil}
	if os.Getuid() == 0 {
		users["nobody"] = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else {
		t.Log("not root: no other user")
	}
	for user, attr := range users {
		for _, how := range []string{"recover", "die"} {
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestBadBlockSignal$", "-test.v")
			cmd.SysProcAttr = attr
			cmd.Dir = "/"
			cmd.Env = append(os.Environ(), badBlockChild+"="+how)
			out, err := cmd.CombinedOutput()
			text := string(out)
			var addr uint64
			if i := strings.Index(text, "bad at "); i >= 0 {
				fmt.Sscanf(text[i:], "bad at %v", &addr)
			}
			want := "healed"
			if how == "die" {
				want = fmt.Sprintf("[signal SIGBUS: bus error code=0x2 addr=%#x", addr)
			}
			if (err != nil) != (how == "die") || addr == 0 || !strings.Contains(text, want) {
				t.Errorf("%s, %s: %v; want %q in:\n%s", user, how, err, want, text)
			}
		}
	}
}

func badBlockProcess(t *testing.T, how string) {
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 2 << 20})
	fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true})
	f, g := open(t, dax), create(t, fs, "f", 4*page)
	d, first, second := mmap(t, m, f.FD(), 2<<20, 0), mmap(t, m, g.FD(), 4*page, 0), mmap(t, m, g.FD(), 4*page, 0)
	private, err := m.Mmap(0, 4*page, readWrite, platform.MapPrivate, g.FD(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Munmap(private, 4*page)
	*at(private, 0) = 5
	if err := errors.Join(dax.AddBadBlock(page, 1), m.Fallocate(g.FD(), 0, 0, 4*page), fs.AddBadBlock("f", 0, 2*page)); err != nil {
		t.Fatal(err)
	}
	fmt.Printf("bad at %#x\n", second+page)
	if how == "die" {
		slice := bytesAt(second, 4*page)
		fmt.Println(slice[page])
	}
	wantFaults(t, "device DAX", d, ".B.")
	wantFaults(t, "file", first, "BB..")
	wantFaults(t, "private", private, ".B..") // the first page is the process's own
	if _, err := m.ClearError(bus(t, m, platform.ORdwr), address(t, m, &dax.Device), 2<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Pwrite(g.FD(), make([]byte, 2*page), 0); err != nil {
		t.Fatal(err)
	}
	wantFaults(t, "device DAX", d, "...")
	wantFaults(t, "file", second, "....")
	wantFaults(t, "private", private, "....")
	if *at(private, 0) != 5 {
		t.Error("the process has lost its own page")
	}
	if !t.Failed() {
		fmt.Println("healed")
	}
}
