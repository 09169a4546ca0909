package emu_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

func TestDuplicatedDescriptor(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 4 << 20})
	f := open(t, dax)
	dup, err := unix.FcntlInt(uintptr(f.FD()), unix.F_DUPFD_CLOEXEC, 500)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := os.NewFile(uintptr(dup), "dax")
	defer wrapped.Close()
	want, err := m.Fstat(f.FD())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Fstat(dup); err != nil || got != want {
		t.Errorf("Fstat of the duplicate: %+v, %v; want %+v", got, err, want)
	}
	if _, err := m.Mmap(0, 4096, readWrite, platform.MapShared, dup, 0); err != unix.EINVAL {
		t.Errorf("Mmap of 4 KiB of the duplicate: got %v, want EINVAL as from device DAX", err)
	}
}

// What a device DAX descriptor answers.
func TestDevDaxCalls(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 4 << 20})
	f := open(t, dax)
	st, err := m.Fstat(f.FD())
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode != platform.SIFCHR|0o600 || st.Size != 0 || st.BlockSize != 4096 || st.Major() != 252 || st.Minor() != 0 {
		t.Errorf("Fstat: %+v (%d:%d), want a character device 252:0 of size 0", st, st.Major(), st.Minor())
	}
	stx, err := m.Statx(f.FD())
	if err != nil || stx.Attributes != platform.StatxAttrDAX || stx.AttributesMask != 0x203070 {
		t.Errorf("Statx: %+v, %v; want the DAX attribute of mask 0x203070", stx, err)
	}
	if fl, err := m.GetFL(f.FD()); err != nil || fl&platform.OAccmode != platform.ORdwr {
		t.Errorf("GetFL: %#x, %v; want O_RDWR", fl, err)
	}
	buf := make([]byte, 16)
	for call, c := range map[string]struct {
		err  error
		want syscall.Errno
	}{
		"pread":              {second(m.Pread(f.FD(), buf, 0)), unix.EINVAL},
		"pwrite":             {second(m.Pwrite(f.FD(), buf, 0)), unix.EINVAL},
		"pwrite of 0 bytes":  {second(m.Pwrite(f.FD(), nil, 0)), unix.EINVAL},
		"fsync":              {m.Fsync(f.FD()), unix.EINVAL},
		"ftruncate":          {m.Ftruncate(f.FD(), 4<<20), unix.EINVAL},
		"fallocate":          {m.Fallocate(f.FD(), 0, 0, 4096), unix.ENODEV},
		"fallocate punching": {m.Fallocate(f.FD(), platform.FallocPunchHole|platform.FallocKeepSize, 0, 4096), unix.ENODEV},
		"fiemap":             {second(m.Fiemap(f.FD(), 0, 4096, 0, nil)), unix.EOPNOTSUPP},
		"clear error":        {second(m.ClearError(f.FD(), 0, 256)), unix.ENOTTY},
		"open with O_CREAT|O_EXCL": {
			second(m.Open(dax.Path(), platform.ORdwr|platform.OCreat|platform.OExcl, 0)), unix.EEXIST,
		},
		"open as a directory": {second(m.Open(dax.Path(), platform.ODirectory, 0)), unix.ENOTDIR},
		"open a device that isn't there": {
			second(m.Open("/dev/dax7.0", platform.ORdwr, 0)), unix.ENOENT,
		},
		"unlink": {m.Unlink(dax.Path()), unix.EPERM},
	} {
		if c.err != c.want {
			t.Errorf("%s: got %v, want %v", call, c.err, c.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 20})
	create(t, fs, "dir/file", 8192)
	create(t, fs, "append", 8192)
	create(t, fs, "immutable", 8192)
	if err := errors.Join(fs.SetAppendOnly("append", true), fs.SetImmutable("immutable", true)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path  string
		flags int
		want  string
	}{
		{"none", platform.ORdonly, "ENOENT"},
		{"none/file", platform.ORdwr | platform.OCreat, "ENOENT"},
		{"none/", platform.ORdwr | platform.OCreat, "EISDIR"},
		{"dir/file", platform.ORdwr | platform.OCreat | platform.OExcl, "EEXIST"},
		{"dir/file", platform.ORdwr | platform.OCreat, "ok"},
		{"dir/../dir/./file", platform.ORdwr, "ok"},
		{"dir/file/", platform.ORdonly, "ENOTDIR"},
		{"dir/file/x", platform.ORdonly, "ENOTDIR"},
		{"dir/file", platform.ORdonly | platform.ODirectory, "ENOTDIR"},
		{"dir", platform.ORdonly, "ok"},
		{"dir", platform.ORdonly | platform.ODirectory, "ok"},
		{"dir", platform.ORdwr, "EISDIR"},
		{"dir", platform.OWronly, "EISDIR"},
		{"dir", platform.ORdonly | platform.OCreat, "EISDIR"},
		{"", platform.ORdwr, "EISDIR"},
		{strings.Repeat("n", 256), platform.ORdwr | platform.OCreat, "ENAMETOOLONG"},
		{"append", platform.ORdwr, "EPERM"},
		{"append", platform.ORdwr | platform.OAppend, "ok"},
		{"append", platform.ORdwr | platform.OAppend | platform.OTrunc, "EPERM"},
		{"append", platform.ORdonly, "ok"},
		{"immutable", platform.OWronly | platform.OAppend, "EPERM"},
		{"immutable", platform.ORdonly, "ok"},
		{"dir", platform.ORdwr | platform.OTmpfile, "ok"},
		{"dir", platform.ORdonly | platform.OTmpfile, "EINVAL"},
		{"dir/file", platform.ORdwr | platform.OTmpfile, "ENOTDIR"},
		{"dir/file", platform.OPath | platform.OTrunc, "ok"},
	} {
		fd, err := m.Open(fs.Path(c.path), c.flags, 0o600)
		if got := errnoName(err); got != c.want {
			t.Errorf("open %q with %#x: got %s, want %s", c.path, c.flags, got, c.want)
		}
		if err == nil {
			if err := m.Close(fd); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := fs.Open("none", platform.ORdonly, 0); !errors.Is(err, syscall.ENOENT) || !strings.Contains(err.Error(), "/mnt/pmem0/none") {
		t.Errorf("FileSystem.Open: %v; want ENOENT and the path", err)
	}
	if st, err := m.Fstat(create(t, fs, "stat", 8193).FD()); err != nil || st.Size != 8193 || st.Mode != platform.SIFREG|0o644 {
		t.Errorf("Fstat: %+v, %v", st, err)
	}
	for call, c := range map[string]struct {
		err  error
		want syscall.Errno
	}{
		"mkdir that exists":     {fs.Mkdir("dir"), unix.EEXIST},
		"remove a full dir":     {fs.Remove("dir"), unix.ENOTEMPTY},
		"remove append-only":    {fs.Remove("append"), unix.EPERM},
		"truncate append-only":  {fs.Truncate("append", 0), unix.EPERM},
		"truncate a directory":  {fs.Truncate("dir", 0), unix.EISDIR},
		"unlink a directory":    {m.Unlink(fs.Path("dir")), unix.EISDIR},
		"unlink nothing":        {m.Unlink(fs.Path("none")), unix.ENOENT},
		"unlink immutable":      {m.Unlink(fs.Path("immutable")), unix.EPERM},
		"attribute of nothing":  {fs.SetAppendOnly("none", true), unix.ENOENT},
		"remove what isn't one": {fs.Remove("dir/file/x"), unix.ENOTDIR},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: got %v, want %v", call, c.err, c.want)
		}
	}
}

// A file without a name lives while it is open or mapped.
func TestUnlinkedFile(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	f := create(t, fs, "f", 4096)
	addr := mmap(t, m, f.FD(), 4096, 0)
	*at(addr, 0) = 1
	dup, err := unix.FcntlInt(uintptr(f.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unlink(fs.Path("f")); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Open("f", platform.ORdonly, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("open after unlink: got %v, want ENOENT", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if got := *at(addr, 0); got != 1 {
		t.Errorf("the mapping reads %d, want 1", got)
	}
	if err := m.Munmap(addr, 4096); err != nil {
		t.Error(err)
	}
	// The machine knows of no user any more, but there is one.
	if st, err := m.Fstat(dup); err != nil || st.Size != 4096 {
		t.Errorf("Fstat of a duplicate: %+v, %v; want 4096 bytes", st, err)
	}
	if n, err := m.Pwrite(dup, []byte{2}, 0); n != 1 || err != nil {
		t.Errorf("Pwrite to a duplicate: %d, %v", n, err)
	}
	if n, err := m.Fiemap(dup, 0, 1<<20, 0, nil); n != 1 || err != nil {
		t.Errorf("Fiemap of a duplicate: %d, %v; want 1", n, err)
	}
	if err := m.Close(dup); err != nil {
		t.Error(err)
	}
}

func TestNoSpace(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	for _, typ := range []emu.FSType{emu.Ext4, emu.XFS, emu.Tmpfs} {
		fs := m.AddFS(emu.FS{Size: 64 << 10, Type: typ})
		a, b := create(t, fs, "a", 0), create(t, fs, "b", 1<<30) // sparse: larger than the file system
		page := make([]byte, 4096)
		for i := range int64(8) {
			if _, err := m.Pwrite(a.FD(), page, i*4096); err != nil {
				t.Fatalf("%v: Pwrite of page %d: %v", typ, i, err)
			}
		}
		if err := m.Fallocate(b.FD(), platform.FallocKeepSize, 0, 32<<10); err != nil {
			t.Errorf("%v: Fallocate of the rest: %v", typ, err)
		}
		if err := m.Fallocate(b.FD(), 0, 0, 32<<10); err != nil {
			t.Errorf("%v: Fallocate of what is allocated: %v", typ, err)
		}
		if _, err := m.Pwrite(b.FD(), page, 4096); err != nil {
			t.Errorf("%v: Pwrite to what is allocated: %v", typ, err)
		}
		if err := m.Fallocate(b.FD(), 0, 0, 36<<10); err != unix.ENOSPC {
			t.Errorf("%v: Fallocate of one page more: got %v, want ENOSPC", typ, err)
		}
		if _, err := m.Pwrite(b.FD(), page, 1<<20); err != unix.ENOSPC {
			t.Errorf("%v: Pwrite of one page more: got %v, want ENOSPC", typ, err)
		}
		if err := m.Fallocate(b.FD(), platform.FallocPunchHole|platform.FallocKeepSize, 0, 8192); err != nil {
			t.Errorf("%v: punching: %v", typ, err)
		}
		if _, err := m.Pwrite(b.FD(), page, 1<<20); err != nil {
			t.Errorf("%v: Pwrite after punching: %v", typ, err)
		}
		if err := fs.Remove("a"); err != nil {
			t.Error(err)
		}
		if _, err := m.Pwrite(b.FD(), make([]byte, 12<<10), 2<<20); err != unix.ENOSPC {
			t.Errorf("%v: Pwrite while a removed file is open: got %v, want ENOSPC", typ, err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if _, err := m.Pwrite(b.FD(), make([]byte, 12<<10), 2<<20); err != nil {
			t.Errorf("%v: Pwrite after the removed file is gone: %v", typ, err)
		}
		if err := errors.Join(b.Close(), fs.Remove("b")); err != nil {
			t.Error(err)
		}
		if _, err := m.Pwrite(create(t, fs, "c", 0).FD(), make([]byte, 64<<10), 0); err != nil {
			t.Errorf("%v: Pwrite to an empty file system: %v", typ, err)
		}
	}
}

func TestFiemap(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 64 << 20, DAX: true})
	f, g := create(t, fs, "f", 1<<20), create(t, fs, "g", 1<<20)
	for _, file := range []*emu.File{f, g} {
		if _, err := m.Pwrite(file.FD(), make([]byte, 5000), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Fallocate(f.FD(), 0, 4096, 64<<10); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Pwrite(f.FD(), []byte{1}, 512<<10); err != nil {
		t.Fatal(err)
	}
	list := func(file *emu.File, start, length uint64, room int) []platform.FiemapExtent {
		t.Helper()
		extents := make([]platform.FiemapExtent, room)
		n, err := m.Fiemap(file.FD(), start, length, 0, extents)
		if err != nil {
			t.Fatal(err)
		}
		return extents[:n]
	}
	all := list(f, 0, 1<<20, 10)
	const unwritten, last = 0x800, 0x1
	want := []platform.FiemapExtent{
		{Logical: 0, Length: 8192},
		{Logical: 8192, Length: 60 << 10, Flags: unwritten, Physical: 8192},
		{Logical: 512 << 10, Length: 4096, Flags: last, Physical: 68 << 10}, // where there is room
	}
	if len(all) != len(want) {
		t.Fatalf("Fiemap: %+v, want %+v", all, want)
	}
	base := all[0].Physical
	for i, e := range all {
		if want[i].Physical += base; e != want[i] {
			t.Errorf("extent %d is %+v, want %+v", i, e, want[i])
		}
	}
	if n, err := m.Fiemap(f.FD(), 0, 1<<20, 0, nil); n != 3 || err != nil {
		t.Errorf("Fiemap without room: %d, %v; want 3", n, err)
	}
	if some := list(f, 10000, 4096, 10); len(some) != 1 || some[0] != want[1] {
		t.Errorf("Fiemap of [10000, +4096): %+v, want %+v", some, want[1])
	}
	if two := list(f, 0, 1<<20, 2); len(two) != 2 || two[1] != want[1] {
		t.Errorf("Fiemap with room for two: %+v", two)
	}
	if other := list(g, 0, 1<<20, 1); other[0].Physical == base {
		t.Errorf("two files have the physical address %#x", base)
	}
	dir, err := fs.Open("", platform.ORdonly, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	if own := list(dir, 0, 1<<20, 10); len(own) != 1 || own[0].Length != 4096 || own[0].Flags != last {
		t.Errorf("Fiemap of a directory: %+v, want one extent of 4096 bytes", own)
	}
	for _, file := range []*emu.File{f, dir} {
		const xattr = 2
		if n, err := m.Fiemap(file.FD(), 0, 1<<20, xattr, nil); n != 0 || err != nil {
			t.Errorf("Fiemap of the extended attributes of %s: %d, %v; want 0", file.Name(), n, err)
		}
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	for _, c := range []struct {
		cfg       emu.FS
		mask, dax uint64
	}{
		{emu.FS{DAX: true}, 0x303874, platform.StatxAttrDAX},
		{emu.FS{}, 0x303874, 0},
		{emu.FS{DAX: true, Type: emu.XFS}, 0x203070, platform.StatxAttrDAX},
		{emu.FS{Type: emu.Tmpfs}, 0x203070, 0},
	} {
		c.cfg.Size = 1 << 20
		fs := m.AddFS(c.cfg)
		f := create(t, fs, "f", 4096)
		check := func(want uint64) {
			t.Helper()
			if stx, err := m.Statx(f.FD()); err != nil || stx.Attributes != want || stx.AttributesMask != c.mask {
				t.Errorf("%+v: Statx %#x of %#x, %v; want %#x of %#x", c.cfg, stx.Attributes, stx.AttributesMask, err, want, c.mask)
			}
		}
		check(c.dax)
		if err := fs.SetAppendOnly("f", true); err != nil {
			t.Fatal(err)
		}
		check(c.dax | platform.StatxAttrAppend)
		if err := m.Ftruncate(f.FD(), 0); err != unix.EPERM {
			t.Errorf("%+v: Ftruncate of an append-only file: got %v, want EPERM", c.cfg, err)
		}
		if err := errors.Join(fs.SetAppendOnly("f", false), fs.SetImmutable("f", true)); err != nil {
			t.Fatal(err)
		}
		check(c.dax | platform.StatxAttrImmutable)
	}
}

// st_dev of a file leads to its block device in sysfs.
func TestBlockDevice(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	m.AddDevDax(emu.DevDax{Size: 2 << 20})
	fs := m.AddFS(emu.FS{Size: 1 << 20})
	dev := fs.BlockDevice()
	if dev.Path() != "/dev/pmem1" || dev.SysfsPath() != "dev/block/259:0" || dev.RegionPath() != "bus/nd/devices/region1" {
		t.Errorf("block device: %s, %s, %s", dev.Path(), dev.SysfsPath(), dev.RegionPath())
	}
	b := open(t, dev)
	st, err := m.Fstat(b.FD())
	if err != nil || st.Type() != platform.SIFBLK {
		t.Errorf("Fstat of the device: %+v, %v", st, err)
	}
	file, err := m.Fstat(create(t, fs, "f", 1).FD())
	if err != nil || file.Dev != st.Rdev {
		t.Errorf("st_dev of a file is %#x, st_rdev of the device %#x (%v)", file.Dev, st.Rdev, err)
	}
	if n, err := m.Pwrite(b.FD(), make([]byte, 8192), 1<<20-4096); n != 4096 || err != nil {
		t.Errorf("Pwrite over the end: %d, %v; want 4096", n, err)
	}
	if _, err := m.Pwrite(b.FD(), make([]byte, 1), 1<<20); err != unix.ENOSPC {
		t.Errorf("Pwrite at the end: got %v, want ENOSPC", err)
	}
	if n, err := m.Pread(b.FD(), make([]byte, 8192), 1<<20-4096); n != 4096 || err != nil {
		t.Errorf("Pread over the end: %d, %v; want 4096", n, err)
	}
	if err := m.Ftruncate(b.FD(), 0); err != unix.EINVAL {
		t.Errorf("Ftruncate: got %v, want EINVAL", err)
	}
	if _, err := m.AddFS(emu.FS{Size: 1 << 20, Type: emu.Tmpfs}).BlockDevice().Open(platform.ORdonly); !errors.Is(err, unix.ENODEV) {
		t.Errorf("block device of a tmpfs: got %v, want ENODEV", err)
	}
}

func TestCharacterDevices(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	for _, c := range []struct {
		dev          *emu.Device
		major, minor uint32
		read         int
		err          error
	}{
		{m.DevZero(), 1, 5, 4, nil},
		{m.DevNull(), 1, 3, 0, nil},
		{m.PTY(), 136, 0, 0, unix.ESPIPE},
	} {
		f := open(t, c.dev)
		st, err := m.Fstat(f.FD())
		if err != nil || st.Type() != platform.SIFCHR || st.Major() != c.major || st.Minor() != c.minor {
			t.Errorf("%s: %+v, %v", c.dev.Path(), st, err)
		}
		buf := []byte{1, 2, 3, 4}
		n, err := m.Pread(f.FD(), buf, 0)
		if n != c.read || err != c.err || n == 4 && buf[3] != 0 {
			t.Errorf("%s: Pread: %d, %v, %v", c.dev.Path(), n, err, buf)
		}
		if err := m.Fsync(f.FD()); err != unix.EINVAL {
			t.Errorf("%s: Fsync: got %v, want EINVAL", c.dev.Path(), err)
		}
		if path := c.dev.SysfsPath(); path != "" {
			if target, err := m.Readlink(path + "/subsystem"); err != nil || target != "../../../../class/mem" {
				t.Errorf("%s: subsystem is %q, %v", path, target, err)
			}
		}
	}
	if _, err := m.Readlink("dev/char/136:0"); err != unix.ENOENT {
		t.Errorf("a terminal in sysfs: got %v, want ENOENT", err)
	}
}
