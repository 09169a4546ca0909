package emu_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// memfds counts the descriptors of the process that are memfds of a machine with
// something of that name in their own.
func memfds(t *testing.T, name string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil &&
			strings.Contains(target, "memfd:pmemlab:") && strings.Contains(target, name) {
			n++
		}
	}
	return n
}

func TestAfterShutdown(t *testing.T) {
	t.Parallel()
	m := emu.NewMachine(emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 2 << 20})
	fs := m.AddFS(emu.FS{Size: 1 << 20})
	f, err := fs.Create("after-shutdown", 4096)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), m.Err(), m.Shutdown()); err != nil {
		t.Fatal(err)
	}
	lateDax, lateFS := m.AddDevDax(emu.DevDax{Size: 2 << 20}), m.AddFS(emu.FS{Size: 1 << 20})
	lateTmpfs := m.AddFS(emu.FS{Size: 1 << 20, Type: emu.Tmpfs})
	path := fs.Path("after-shutdown")
	for call, err := range map[string]error{
		"Err":                           m.Err(),
		"AddDevDax":                     second(lateDax.Open(platform.ORdwr)),
		"AddFS":                         second(lateFS.Create("after-shutdown", 1)),
		"AddFS, its block device":       second(lateFS.BlockDevice().Open(platform.ORdwr)),
		"AddFS of a tmpfs":              lateTmpfs.Mkdir("after-shutdown"),
		"Create":                        second(fs.Create("after-shutdown2", 1)),
		"Create with a directory":       second(fs.Create("after-shutdown3/f", 1)),
		"Mkdir":                         fs.Mkdir("after-shutdown4"),
		"Remove":                        fs.Remove("after-shutdown"),
		"Truncate":                      fs.Truncate("after-shutdown", 0),
		"SetAppendOnly":                 fs.SetAppendOnly("after-shutdown", true),
		"SetImmutable":                  fs.SetImmutable("after-shutdown", true),
		"FileSystem.Open":               second(fs.Open("after-shutdown", platform.ORdonly, 0)),
		"FileSystem.Open with O_CREAT":  second(fs.Open("after-shutdown5", platform.ORdwr|platform.OCreat, 0o600)),
		"Device.Open":                   second(dax.Open(platform.ORdwr)),
		"Device.Open of /dev/zero":      second(m.DevZero().Open(platform.ORdwr)),
		"Machine.Open":                  second(m.Open(path, platform.ORdonly, 0)),
		"Machine.Open with O_CREAT":     second(m.Open(path+"6", platform.ORdwr|platform.OCreat, 0o600)),
		"Machine.Open with O_TMPFILE":   second(m.Open(fs.Path(""), platform.ORdwr|platform.OTmpfile, 0o600)),
		"Machine.Open of /dev/null":     second(m.Open("/dev/null", platform.ORdonly, 0)),
		"Machine.Open of what is never": second(m.Open("/none", platform.ORdonly, 0)),
		"Unlink":                        m.Unlink(path),
	} {
		if !errors.Is(err, unix.ENODEV) {
			t.Errorf("%s after Shutdown: got %v, want ENODEV", call, err)
		}
	}
	if n := memfds(t, "after-shutdown"); n != 0 {
		t.Errorf("after Shutdown %d memfds are open", n)
	}
	if names, err := m.List("bus/nd/devices"); err != nil || strings.Contains(strings.Join(names, " "), "region2") {
		t.Errorf("sysfs after Shutdown: %v, %v; want no region2", names, err)
	}
	if err := m.Shutdown(); err != nil {
		t.Errorf("second Shutdown: %v", err)
	}
}

func TestLongNames(t *testing.T) {
	t.Parallel()
	for _, typ := range []emu.FSType{emu.Ext4, emu.XFS, emu.Tmpfs} {
		fs := newMachine(t, emu.Config{}).AddFS(emu.FS{Size: 1 << 20, Type: typ})
		for _, n := range []int{230, 231, 249, 255} {
			name := strings.Repeat("a", n)
			create(t, fs, name, 0)
			if err := fs.Mkdir("d" + name[1:]); err != nil {
				t.Errorf("%v: Mkdir of %d bytes: %v", typ, n, err)
			}
			open := func(name string, flags int) {
				t.Helper()
				f, err := fs.Open(name, flags, 0o600)
				if err == nil {
					err = f.Close()
				}
				if err != nil {
					t.Errorf("%v: %d bytes: %v", typ, n, err)
				}
			}
			open("b"+name[1:], platform.ORdwr|platform.OCreat)
			open("b"+name[1:], platform.ORdonly)
			open("d"+name[1:], platform.ORdwr|platform.OTmpfile)
		}
		deep := strings.Repeat("deep/", 300) + "file"
		create(t, fs, deep, 0)
		if f, err := fs.Open(deep, platform.ORdonly, 0); err != nil {
			t.Errorf("%v: a deep path: %v", typ, err)
		} else if err := f.Close(); err != nil {
			t.Error(err)
		}
		long := strings.Repeat("c", 256)
		for call, err := range map[string]error{
			"Create":            second(fs.Create(long, 0)),
			"Create below":      second(fs.Create(long+"/f", 0)),
			"Open with O_CREAT": second(fs.Open(long, platform.ORdwr|platform.OCreat, 0o600)),
			"Mkdir":             fs.Mkdir(long),
			"Mkdir with a /":    fs.Mkdir(long + "/"),
			"Remove":            fs.Remove(long),
		} {
			if !errors.Is(err, unix.ENAMETOOLONG) {
				t.Errorf("%v: %s of 256 bytes: got %v, want ENAMETOOLONG", typ, call, err)
			}
		}
	}
}

func TestMkdirOfTheRoot(t *testing.T) {
	t.Parallel()
	fs := newMachine(t, emu.Config{}).AddFS(emu.FS{Size: 1 << 20})
	if err := fs.Mkdir("dir"); err != nil {
		t.Fatal(err)
	}
	create(t, fs, "file", 0)
	for name, want := range map[string]unix.Errno{
		"": unix.EEXIST, "/": unix.EEXIST, "//": unix.EEXIST, ".": unix.EEXIST, "./": unix.EEXIST, "..": unix.EEXIST,
		"dir/": unix.EEXIST, "dir/.": unix.EEXIST, "dir/..": unix.EEXIST, "file": unix.EEXIST, "file/": unix.EEXIST,
		"file/x": unix.ENOTDIR, "file/.": unix.ENOTDIR, "none/x": unix.ENOENT,
	} {
		if err := fs.Mkdir(name); !errors.Is(err, want) {
			t.Errorf("Mkdir(%q): got %v, want %v", name, err, want)
		}
	}
	if err := fs.Remove("dir"); err != nil {
		t.Errorf("Remove of a directory in which nothing was made: %v", err)
	}
}

// full says whether the file system has no room for one page more.
func full(t *testing.T, m *emu.Machine, f *emu.File) bool {
	t.Helper()
	n, err := m.Pwrite(f.FD(), make([]byte, 4096), 0)
	if err == nil && n == 4096 {
		err = m.Fallocate(f.FD(), platform.FallocPunchHole|platform.FallocKeepSize, 0, 4096)
	}
	if err != nil && err != unix.ENOSPC {
		t.Fatal(err)
	}
	return err != nil
}

// A file without a name takes room as long as it is mapped, and the machine keeps it.
func TestUnlinkedFileTakesRoomWhileMapped(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 64 << 10})
	other := create(t, fs, "other", 4096)
	f := create(t, fs, "unlinked-and-mapped", 64<<10)
	if _, err := m.Pwrite(f.FD(), make([]byte, 64<<10), 0); err != nil {
		t.Fatal(err)
	}
	addr, err := m.Mmap(0, 8192, readWrite, platform.MapShared, f.FD(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Unlink(fs.Path("unlinked-and-mapped")), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, page := range []uintptr{0, 4096} {
		if !full(t, m, other) {
			t.Errorf("with %d bytes unmapped the file takes no room any more", page)
		}
		if n := memfds(t, "unlinked-and-mapped"); n != 1 {
			t.Errorf("with %d bytes unmapped %d memfds hold the file, want 1", page, n)
		}
		if err := m.Munmap(addr+page, 4096); err != nil {
			t.Error(err)
		}
	}
	if full(t, m, other) {
		t.Error("the file takes room after it was unmapped")
	}
	if n := memfds(t, "unlinked-and-mapped"); n != 0 {
		t.Errorf("%d memfds hold the file after it was unmapped", n)
	}
}

// Close of a number that was dup2ed over counts neither for the object that the machine
// had opened by it nor for the one that it has become.
func TestCloseOfADescriptorDuplicatedOver(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 64 << 10})
	other := create(t, fs, "other", 4096)
	f := create(t, fs, "f", 0)
	if _, err := m.Pwrite(f.FD(), make([]byte, 64<<10), 0); err != nil {
		t.Fatal(err)
	}
	over, err := m.Open(fs.Path("other"), platform.ORdwr, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(f.FD(), over, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(fs.Remove("f"), m.Close(over)); err != nil {
		t.Fatal(err)
	}
	if !full(t, m, other) {
		t.Error("a file without a name takes no room though it is open")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if full(t, m, other) {
		t.Error("the file takes room after its last Close")
	}
}

// The host's kernel looks at the lower 32 bits of a descriptor.
func TestDescriptorsAbove32Bits(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	f := create(t, m.AddFS(emu.FS{Size: 1 << 20}), "f", 4096)
	const bits32 = int64(1) << 32
	for _, fd := range []int64{int64(f.FD()) + bits32, int64(f.FD()) - bits32, int64(f.FD()) | 1<<31, int64(f.FD()) + bits32<<8} {
		if int64(int(fd)) != fd {
			t.Skip("an int has 32 bits here")
		}
		for call, err := range everyCall(m, int(fd)) {
			if err != unix.EBADF {
				t.Errorf("%s of %#x: got %v, want EBADF", call, fd, err)
			}
		}
	}
	if _, err := m.Fstat(f.FD()); err != nil {
		t.Errorf("a call on %#x and the like closed %d: %v", bits32, f.FD(), err)
	}
}
