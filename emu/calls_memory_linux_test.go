package emu

import (
	"syscall"
	"testing"

	"pmemlab/pmem2/platform"
)

// Each call is made on a new mapping of 8 MiB, whose pages are of 2 MiB on device DAX. The
// answers are those of Linux 6.1, and so are the flags that the mapping's first page has then.
func TestCallsOnMappings(t *testing.T) {
	t.Parallel()
	m := NewMachine(Config{})
	t.Cleanup(func() { _ = m.Shutdown() })
	const n, a, rw = 8 << 20, 2 << 20, platform.ProtRead | platform.ProtWrite
	dax := m.AddDevDax(DevDax{Size: n})
	fs, slow := m.AddFS(FS{Size: 2 * n, DAX: true}), m.AddFS(FS{Size: 2 * n})
	paths := map[string]string{"dax": dax.Path(), "fsdax": fs.Path("f"), "ext4": slow.Path("f")}
	for _, on := range []*FileSystem{fs, slow} {
		f, err := on.Create("f", n)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	protect := func(off, length uint64, prot int) func(uintptr) error {
		return func(at uintptr) error { return m.Mprotect(at+uintptr(off), length, prot) }
	}
	advise := func(off, length uint64, advice ...int) func(uintptr) error {
		return func(at uintptr) error {
			for _, a := range advice {
				if err := m.Madvise(at+uintptr(off), length, a); err != nil {
					return err
				}
			}
			return nil
		}
	}
	msync := func(at uintptr) error { return m.Msync(at, n, platform.MsSync) }
	none := func(uintptr) error { return nil }
	const einval, enomem, eacces = syscall.EINVAL, syscall.ENOMEM, syscall.EACCES
	for _, c := range []struct {
		object, how string
		call        string
		do          func(at uintptr) error
		want        error
		flags       string
	}{
		{"dax", "SHARED", "nothing", none, nil, "rd wr sh mr mw me ms sd hg"},
		{"dax", "SYNC", "nothing", none, nil, "rd wr sh mr mw me ms sf sd hg"},
		{"dax", "RDONLY", "nothing", none, nil, "rd mr me ms sd hg"},
		{"ext4", "SHARED", "nothing", none, nil, "rd wr sh mr mw me ms sd"},
		{"ext4", "PRIVATE", "nothing", none, nil, "rd wr mr mw me ac sd"},
		{"fsdax", "PRIVATE", "nothing", none, nil, "rd wr mr mw me ac sd hg"},
		{"dax", "SHARED", "msync SYNC", msync, einval, ""},
		{"dax", "RDONLY", "msync SYNC", msync, nil, ""},
		{"fsdax", "SHARED", "msync SYNC", msync, nil, ""},
		{"dax", "SHARED", "mprotect 4K NONE", protect(0, pageSize, 0), einval, "rd wr sh mr mw me ms sd hg"},
		{"dax", "SHARED", "mprotect 4K RW", protect(0, pageSize, rw), nil, "rd wr sh mr mw me ms sd hg"},
		{"dax", "SHARED", "mprotect A NONE", protect(0, a, 0), nil, "sh mr mw me ms sd hg"},
		{"dax", "SHARED", "mprotect second A NONE", protect(a, a, 0), nil, "rd wr sh mr mw me ms sd hg"},
		{"dax", "SHARED", "mprotect A+4K NONE", protect(0, a+pageSize, 0), einval, "rd wr sh mr mw me ms sd hg"},
		{"dax", "RDONLY", "mprotect RW", protect(0, n, rw), eacces, "rd mr me ms sd hg"},
		{"dax", "RDONLY", "mprotect 4K RW", protect(0, pageSize, rw), eacces, ""},
		{"fsdax", "SHARED", "mprotect 4K NONE", protect(0, pageSize, 0), nil, "sh mr mw me ms sd hg"},
		{"fsdax", "SHARED", "mprotect at +1", protect(1, pageSize, 0), einval, ""},
		{"fsdax", "SHARED", "mprotect bogus", protect(0, pageSize, 0x100), einval, ""},
		{"dax", "SHARED", "RANDOM 4K", advise(0, pageSize, adviseRandom), einval, "rd wr sh mr mw me ms sd hg"},
		{"dax", "SHARED", "NORMAL 4K", advise(0, pageSize, adviseNormal), nil, ""},
		{"dax", "SHARED", "RANDOM A", advise(0, a, adviseRandom), nil, "rd wr sh mr mw me ms rr sd hg"},
		{"dax", "SHARED", "RANDOM, SEQUENTIAL", advise(0, n, adviseRandom, adviseSequential), nil, "rd wr sh mr mw me ms sr sd hg"},
		{"dax", "SHARED", "DONTFORK, DOFORK 4K", advise(0, n, adviseDontFork, adviseDoFork), nil, "rd wr sh mr mw me ms sd hg"},
		{"dax", "SHARED", "DONTDUMP", advise(0, n, adviseDontDump), nil, "rd wr sh mr mw me ms dd sd hg"},
		{"dax", "SHARED", "NOHUGEPAGE", advise(0, n, adviseNoHugePage), nil, "rd wr sh mr mw me ms sd nh"},
		{"dax", "SHARED", "HUGEPAGE 4K", advise(0, pageSize, adviseHugePage), nil, ""},
		{"ext4", "SHARED", "HUGEPAGE", advise(0, n, adviseHugePage), nil, "rd wr sh mr mw me ms sd hg"},
		{"ext4", "PRIVATE", "MERGEABLE", advise(0, n, adviseMergeable), nil, "rd wr mr mw me ac sd mg"},
		{"dax", "SHARED", "MERGEABLE", advise(0, n, adviseMergeable), nil, "rd wr sh mr mw me ms sd hg"},
		{"dax", "SHARED", "FREE", advise(0, n, adviseFree), einval, ""},
		{"ext4", "PRIVATE", "FREE", advise(0, n, adviseFree), einval, ""},
		{"dax", "SHARED", "WIPEONFORK", advise(0, n, adviseWipeOnFork), einval, ""},
		{"dax", "SHARED", "REMOVE", advise(0, a, adviseRemove), syscall.ENODEV, ""},
		{"fsdax", "SHARED", "REMOVE", advise(0, a, adviseRemove), nil, ""},
		{"fsdax", "PRIVATE", "REMOVE", advise(0, a, adviseRemove), eacces, ""},
		{"fsdax", "RDONLY", "REMOVE", advise(0, a, adviseRemove), eacces, ""},
		{"dax", "SHARED", "DONTNEED 4K", advise(0, pageSize, adviseDontNeed), nil, ""},
		{"dax", "SHARED", "POPULATE_WRITE", advise(0, n, advisePopulateWrite), nil, ""},
		{"dax", "RDONLY", "POPULATE_WRITE", advise(0, n, advisePopulateWrite), einval, ""},
		{"dax", "SHARED", "5", advise(0, n, 5), einval, ""},
		{"dax", "SHARED", "at +1", advise(1, pageSize, adviseNormal), einval, ""},
		{"dax", "SHARED", "0 bytes", advise(0, 0, adviseFree), nil, ""},
		{"fsdax", "SHARED", "NORMAL past the end", func(at uintptr) error {
			if err := m.Munmap(at+n-a, a); err != nil {
				return err
			}
			return m.Madvise(at, n, adviseRandom)
		}, enomem, "rd wr sh mr mw me ms rr sd hg"},
		{"dax", "SHARED", "mlock, munlock", func(at uintptr) error {
			if err := m.Mlock(at+1, n-1); err != nil {
				return err
			}
			return m.Munlock(at, n)
		}, nil, "rd wr sh mr mw me ms sd hg"},
		{"dax", "SHARED", "mincore at +1", func(at uintptr) error { return m.Mincore(at+1, 1) }, einval, ""},
		{"dax", "SHARED", "mincore", func(at uintptr) error { return m.Mincore(at, n) }, nil, ""},
		{"dax", "SHARED", "mlock of what isn't mapped", func(at uintptr) error {
			if err := m.Munmap(at+n-a, a); err != nil {
				return err
			}
			if err := m.Mincore(at, n); err != enomem {
				return err
			}
			return m.Mlock(at, n)
		}, enomem, ""},
	} {
		mode, prot, flags := platform.ORdwr, rw, platform.MapShared
		switch c.how {
		case "SYNC":
			flags = platform.MapSharedValidate | platform.MapSync
		case "RDONLY":
			mode, prot = platform.ORdonly, platform.ProtRead
		case "PRIVATE":
			flags = platform.MapPrivate
		}
		fd := opened(t, m, paths[c.object], mode)
		at, err := m.Mmap(0, n, prot, flags, fd, 0)
		if err != nil {
			t.Fatalf("mmap of %s %s: %v", c.object, c.how, err)
		}
		if got := c.do(at); got != c.want {
			t.Errorf("%s of %s %s: got %v, want %v", c.call, c.object, c.how, got, c.want)
		}
		if c.flags != "" {
			if got, err := m.VMFlags(at); got != c.flags || err != nil {
				t.Errorf("%s of %s %s: VmFlags %q, %v, want %q", c.call, c.object, c.how, got, err, c.flags)
			}
		}
		if err := m.Munmap(at, n); err != nil {
			t.Fatal(err)
		}
		if _, err := m.VMFlags(at); err != enomem {
			t.Errorf("VmFlags of what isn't mapped: got %v, want %v", err, enomem)
		}
	}
}

// What mprotect and madvise change the host has, too.
func TestProtectionIsReal(t *testing.T) {
	t.Parallel()
	m := NewMachine(Config{})
	t.Cleanup(func() { _ = m.Shutdown() })
	dax := m.AddDevDax(DevDax{Size: 4 << 20})
	fd := opened(t, m, dax.Path(), platform.ORdwr)
	const n, a, rw = 4 << 20, 2 << 20, platform.ProtRead | platform.ProtWrite
	at, err := m.Mmap(0, n, rw, platform.MapShared, fd, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Mprotect(at, a, platform.ProtNone); err != nil {
		t.Fatal(err)
	}
	maps, err := hostMaps()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		off  uint64
		want int
	}{{0, platform.ProtNone}, {a, rw}} {
		in := within(maps, addresses(at+uintptr(c.off), pageSize))
		if len(in) != 1 || in[0].prot != c.want {
			t.Errorf("at %#x the host has %+v, want the protection %d", c.off, in, c.want)
		}
	}
	// What is two mappings now can't be moved as one, until it is one again.
	if _, err := m.Mremap(at, n, n+a, platform.MremapMaymove, 0); err != syscall.EFAULT {
		t.Errorf("mremap of both: got %v, want %v", err, syscall.EFAULT)
	}
	if err := m.Mprotect(at, a, rw); err != nil {
		t.Fatal(err)
	}
	moved, err := m.Mremap(at, n, n+a, platform.MremapMaymove, 0)
	if err != nil {
		t.Fatalf("mremap of what is one again: %v", err)
	}
	if err := m.Munmap(moved, n+a); err != nil {
		t.Fatal(err)
	}
}
