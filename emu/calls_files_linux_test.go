package emu

import (
	"fmt"
	"syscall"
	"testing"

	"pmemlab/pmem2/platform"
)

// opened opens a path of the machine for the length of the test.
func opened(t *testing.T, m *Machine, path string, flags int) int {
	t.Helper()
	fd, err := m.Open(path, flags, 0o600)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() { _ = m.Close(fd) })
	return fd
}

// What calls that only other programs make answer, as Linux 6.1 was seen to.
func TestCallsOnDescriptors(t *testing.T) {
	t.Parallel()
	m := NewMachine(Config{NoClearError: true})
	t.Cleanup(func() { _ = m.Shutdown() })
	const size, limit = 10000, 1<<44 - pageSize
	dax := m.AddDevDax(DevDax{Size: 4 << 20, Region: Region{NoFlushHints: true}})
	fs := m.AddFS(FS{Size: 8 << 20, DAX: true})
	xfs := m.AddFS(FS{Size: 8 << 20, Type: XFS, DAX: true})
	paths := map[string]string{"dax": dax.Path(), "zero": "/dev/zero", "nmem": "/dev/nmem0", "tty": "/dev/pts/0", "block": fs.BlockDevice().Path()}
	for name, on := range map[string]*FileSystem{"ext4": fs, "xfs": xfs} {
		f, err := on.Create("f", size)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Pwrite(f.FD(), make([]byte, size), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		paths[name], paths[name+" dir"] = on.Path("f"), on.Path("")[:len(on.Path(""))-1]
	}
	fds := map[string]int{"no": -1}
	for name, path := range paths {
		flags := platform.ORdwr
		if name == "ext4 dir" || name == "xfs dir" {
			flags = platform.ORdonly
		}
		fds[name] = opened(t, m, path, flags)
		fds[name+" path"] = opened(t, m, path, platform.OPath)
	}
	seek := func(off int64, whence int) func(int) any {
		return func(fd int) any { return orErr(m.Lseek(fd, off, whence)) }
	}
	srange := func(off, n int64, flags int) func(int) any {
		return func(fd int) any { return m.SyncFileRange(fd, off, n, flags) }
	}
	for _, c := range []struct {
		call string
		do   func(fd int) any
		want map[string]any
	}{
		{"lseek 1 SET", seek(1, 0), map[string]any{"dax": 0, "zero": 0, "nmem": 0, "ext4": 1, "block": 1, "tty": syscall.ESPIPE, "ext4 path": syscall.EBADF}},
		{"lseek 0 END", seek(0, 2), map[string]any{"dax": 0, "ext4": size, "block": 8 << 20}},
		{"lseek 1 END", seek(1, 2), map[string]any{"ext4": size + 1, "block": syscall.EINVAL}},
		{"lseek 0 DATA", seek(0, 3), map[string]any{"dax": 0, "ext4": 0, "block": syscall.EINVAL}},
		{"lseek 0 HOLE", seek(0, 4), map[string]any{"dax": 0, "ext4": size, "block": syscall.EINVAL}},
		{"lseek whence 5", seek(0, 5), map[string]any{"dax": syscall.EINVAL, "ext4": syscall.EINVAL}},
		{"lseek limit", seek(limit, 0), map[string]any{"ext4": limit, "xfs": limit}},
		{"lseek limit+1", seek(limit+1, 0), map[string]any{"ext4": syscall.EINVAL, "xfs": limit + 1}},
		{"lseek where it is", seek(0, 1), map[string]any{"ext4": limit, "xfs": limit + 1}},
		{"fdatasync", func(fd int) any { return m.Fdatasync(fd) }, map[string]any{"dax": syscall.EINVAL, "ext4": nil, "ext4 path": syscall.EBADF}},
		{"syncfs", func(fd int) any { return m.Syncfs(fd) }, map[string]any{"dax": nil, "ext4": nil, "ext4 dir": nil, "no": syscall.EBADF}},
		{"sync_file_range", srange(0, 0, 7), map[string]any{"dax": syscall.ESPIPE, "zero": syscall.ESPIPE, "ext4": nil, "ext4 dir": nil, "block": nil}},
		{"sync_file_range flags 8", srange(0, 0, 8), map[string]any{"dax": syscall.EINVAL, "ext4": syscall.EINVAL}},
		{"sync_file_range -1", srange(-1, 1, 2), map[string]any{"ext4": syscall.EINVAL}},
		{"sync_file_range 0 -1", srange(0, -1, 2), map[string]any{"ext4": syscall.EINVAL}},
		{"flock SH|NB", func(fd int) any { return m.Flock(fd, 5) }, map[string]any{"dax": nil, "ext4": nil, "ext4 path": syscall.EBADF}},
		{"flock 0", func(fd int) any { return m.Flock(fd, 0) }, map[string]any{"dax": syscall.EINVAL, "no": syscall.EINVAL, "ext4 path": syscall.EINVAL}},
		{"F_OFD_SETLK WRLCK", func(fd int) any { return m.LockOFD(fd, 1) }, map[string]any{"dax": nil, "ext4": nil, "ext4 dir": syscall.EBADF, "no": syscall.EBADF}},
		{"fstatfs", func(fd int) any { k, n, err := m.Fstatfs(fd); return orErr(k+n, err) }, map[string]any{
			"dax": 0x1021994 + pageSize, "ext4": 0xef53 + pageSize, "xfs": 0x58465342 + pageSize, "ext4 path": 0xef53 + pageSize}},
		{"pread", func(fd int) any { return orErr(m.Pread(fd, make([]byte, 1), 0)) }, map[string]any{"nmem": syscall.EINVAL, "zero": 1, "dax": syscall.EINVAL}},
		{"pwrite", func(fd int) any { return orErr(m.Pwrite(fd, make([]byte, 1), 0)) }, map[string]any{"nmem": syscall.EINVAL, "zero": 1}},
		{"pread past 2^63", func(fd int) any { return orErr(m.Pread(fd, make([]byte, 16), 1<<63-8)) }, map[string]any{"zero": syscall.EINVAL, "ext4 dir": syscall.EINVAL}},
		{"pread at the limit", func(fd int) any { return orErr(m.Pread(fd, make([]byte, 16), limit)) }, map[string]any{"ext4": syscall.EINVAL, "xfs": 0}},
		{"pwrite at the limit", func(fd int) any { return orErr(m.Pwrite(fd, make([]byte, 16), limit)) }, map[string]any{"ext4": syscall.EFBIG, "xfs": 16}},
		{"pwrite before the limit", func(fd int) any { return orErr(m.Pwrite(fd, make([]byte, 16), limit-8)) }, map[string]any{"ext4": 8, "xfs": 16}},
		{"fallocate past the limit", func(fd int) any { return m.Fallocate(fd, 1, limit, 1) }, map[string]any{"ext4": syscall.EFBIG, "xfs": nil}},
		{"ftruncate past the limit", func(fd int) any { return m.Ftruncate(fd, limit+1) }, map[string]any{"ext4": syscall.EFBIG, "xfs": nil}},
		{"ftruncate -1", func(fd int) any { return m.Ftruncate(fd, -1) }, map[string]any{"ext4": syscall.EINVAL, "ext4 path": syscall.EINVAL, "no": syscall.EINVAL}},
	} {
		for name, want := range c.want {
			if got := c.do(fds[name]); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s of %s: got %v, want %v", c.call, name, got, want)
			}
		}
	}
	// Locks are the object's, not the descriptor's.
	other := opened(t, m, paths["ext4"], platform.ORdwr)
	if err := m.Flock(other, 2|4); err != syscall.EAGAIN {
		t.Errorf("flock EX over another's SH: got %v, want %v", err, syscall.EAGAIN)
	}
	if err := m.LockOFD(other, 1); err != syscall.EAGAIN {
		t.Errorf("F_OFD_SETLK over another's: got %v, want %v", err, syscall.EAGAIN)
	}
}

// orErr is n, or err if there is one.
func orErr[T int | int64](n T, err error) any {
	if err != nil {
		return err
	}
	return n
}

func TestCallsOnPaths(t *testing.T) {
	t.Parallel()
	m := NewMachine(Config{})
	t.Cleanup(func() { _ = m.Shutdown() })
	dax := m.AddDevDax(DevDax{Size: 2 << 20})
	fs := m.AddFS(FS{Size: 8 << 20, DAX: true})
	open := func(flags int) func(string) any {
		return func(p string) any {
			fd, err := m.Open(p, flags, 0o600)
			if err == nil {
				err = m.Close(fd)
			}
			return err
		}
	}
	mkdir := func(p string) any { return m.Mkdir(p) }
	flags := func(a, i bool) func(string) any { return func(p string) any { return m.SetFlags(p, a, i) } }
	mode := func(p string) any { st, err := m.SysfsMode(p); return orErr(int64(st), err) }
	region := dax.RegionPath()
	for i, c := range []struct {
		call string
		do   func(path string) any
		path string
		want any
	}{
		{"open CREAT", open(platform.OCreat), dax.Path() + "/", syscall.EISDIR},
		{"open CREAT|EXCL", open(platform.OCreat | platform.OExcl), dax.Path() + "/", syscall.EISDIR},
		{"open", open(0), dax.Path() + "/", syscall.ENOTDIR},
		{"open", open(0), dax.Path() + "/x", syscall.ENOTDIR},
		{"open", open(0), "/dev/nothing/x", syscall.ENOENT},
		{"mkdir", mkdir, fs.Path("d"), nil},
		{"mkdir", mkdir, fs.Path("d"), syscall.EEXIST},
		{"mkdir", mkdir, fs.Path("e/f"), syscall.ENOENT},
		{"mkdir", mkdir, "/elsewhere", syscall.EROFS},
		{"open CREAT", open(platform.OCreat | platform.ORdwr), fs.Path("d/f"), nil},
		{"open 3", open(3), fs.Path("d"), syscall.EISDIR},
		{"open 3", open(3), fs.Path("d/f"), nil},
		{"chattr +a", flags(true, false), fs.Path("d/f"), nil},
		{"open RDWR", open(platform.ORdwr), fs.Path("d/f"), syscall.EPERM},
		{"open 3", open(3), fs.Path("d/f"), syscall.EPERM},
		{"open RDWR|APPEND", open(platform.ORdwr | platform.OAppend), fs.Path("d/f"), nil},
		{"chattr +i", flags(false, true), fs.Path("d/f"), nil},
		{"open RDWR|APPEND", open(platform.ORdwr | platform.OAppend), fs.Path("d/f"), syscall.EPERM},
		{"chattr", flags(false, false), fs.Path("d/f"), nil},
		{"open RDWR", open(platform.ORdwr), fs.Path("d/f"), nil},
		{"chattr", flags(false, false), fs.Path("none"), syscall.ENOENT},
		{"chattr", flags(false, false), dax.Path(), syscall.ENOTTY},
		{"lstat", mode, region, int64(platform.SIFLNK | 0o777)},
		{"lstat", mode, region + "/nfit", int64(platform.SIFDIR | 0o755)},
		{"lstat", mode, region + "/deep_flush", int64(platform.SIFREG | 0o644)},
		{"lstat", mode, region + "/resource", int64(platform.SIFREG | 0o400)},
		{"lstat", mode, region + "/nothing", syscall.ENOENT},
	} {
		if got := c.do(c.path); got != c.want {
			t.Errorf("%d: %s %s: got %v, want %v", i, c.call, c.path, got, c.want)
		}
	}
	// What is append-only may grow by fallocate.
	fd := opened(t, m, fs.Path("d/f"), platform.ORdwr)
	if err := m.SetFlags(fs.Path("d/f"), true, false); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[uint32]error{0: nil, 1: nil, 3: syscall.EPERM} {
		if err := m.Fallocate(fd, mode, 0, pageSize); err != want {
			t.Errorf("fallocate mode %d of an append-only file: got %v, want %v", mode, err, want)
		}
	}
}

// Where the CPU caches need no flush the kernel takes the disk for one without a cache.
func TestDiskWriteCache(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg  Config
		fs   FS
		want string
	}{
		{Config{}, FS{}, "1\n"},
		{Config{EADR: true}, FS{}, "0\n"},
		{Config{EADR: true, NoPersistenceDomain: true}, FS{}, "1\n"},
		{Config{EADR: true}, FS{VirtioPmem: true}, "1\n"},
	} {
		m := NewMachine(c.cfg)
		c.fs.Size, c.fs.DAX = 8<<20, true
		fs := m.AddFS(c.fs)
		at := fs.BlockDevice().SysfsPath() + "/dax/write_cache"
		if got, err := m.ReadAttr(at); got != c.want || err != nil {
			t.Errorf("%+v %+v: got %q, %v, want %q", c.cfg, c.fs, got, err, c.want)
		}
		if c.cfg == (Config{EADR: true}) && !c.fs.VirtioPmem {
			m.SetEADR(false)
			if got, err := m.ReadAttr(at); got != "1\n" || err != nil {
				t.Errorf("after SetEADR(false): got %q, %v, want 1", got, err)
			}
		}
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	}
}
