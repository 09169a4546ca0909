package emu_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

const readWrite = platform.ProtRead | platform.ProtWrite

// mmap maps the first n bytes from off, shared, until the test ends.
func mmap(t *testing.T, m *emu.Machine, fd int, n uint64, off int64) uintptr {
	t.Helper()
	addr, err := m.Mmap(0, n, readWrite, platform.MapShared, fd, off)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Munmap(addr, n) })
	return addr
}

// open opens a device for reading and writing, until the test ends.
func open(t *testing.T, d interface {
	Open(int) (*emu.File, error)
}) *emu.File {
	t.Helper()
	f, err := d.Open(platform.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func create(t *testing.T, fs *emu.FileSystem, name string, size uint64) *emu.File {
	t.Helper()
	f, err := fs.Create(name, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func at(addr uintptr, off uint64) *byte {
	return (*byte)(platform.Pointer(addr + uintptr(off)))
}

func TestAliasing(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 8 << 20})
	fs := m.AddFS(emu.FS{Size: 64 << 20, DAX: true})
	file := create(t, fs, "f", 8<<20)
	again, err := fs.Open("f", platform.ORdwr, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Close() })
	for _, pair := range [][2]*emu.File{
		{open(t, dax), open(t, dax)},
		{file, again},
	} {
		a := mmap(t, m, pair[0].FD(), 8<<20, 0)
		b := mmap(t, m, pair[1].FD(), 2<<20, 4<<20)
		*at(a, 4<<20+5) = 42
		if got := *at(b, 5); got != 42 {
			t.Errorf("%s: byte through the other mapping is %d, want 42", pair[0].Name(), got)
		}
		private, err := m.Mmap(0, 2<<20, readWrite, platform.MapPrivate, pair[1].FD(), 4<<20)
		if pair[0] != file {
			if err != unix.EINVAL {
				t.Errorf("private mapping of device DAX: got %v, want EINVAL", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		*at(private, 5) = 7
		if got := *at(a, 4<<20+5); got != 42 {
			t.Errorf("a store to a private mapping shows in a shared one: %d", got)
		}
		if err := m.Munmap(private, 2<<20); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 1)
		if n, err := m.Pread(file.FD(), buf, 4<<20+5); n != 1 || err != nil || buf[0] != 42 {
			t.Errorf("Pread: %d, %v, %d; want 1, nil, 42", n, err, buf[0])
		}
	}
}

func TestDevZeroIsFresh(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	f := open(t, m.DevZero())
	a, b := mmap(t, m, f.FD(), 4096, 0), mmap(t, m, f.FD(), 4096, 0)
	*at(a, 0) = 1
	if got := *at(b, 0); got != 0 {
		t.Errorf("a second shared mapping of /dev/zero reads %d, want 0", got)
	}
}

func TestSparse(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	const size = 1 << 40
	dax := m.AddDevDax(emu.DevDax{Size: size, Align: 1 << 30})
	fs := m.AddFS(emu.FS{Size: size, DAX: true})
	file := create(t, fs, "big", size)
	if err := m.Fallocate(file.FD(), 0, 0, size); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*emu.File{open(t, dax), file} {
		addr, err := m.Mmap(0, size, readWrite, platform.MapShared|platform.MapPopulate, f.FD(), 0)
		if err != nil {
			t.Fatal(err)
		}
		*at(addr, 0), *at(addr, size/2), *at(addr, size-1) = 1, 2, 3
		var st unix.Stat_t
		if err := unix.Fstat(f.FD(), &st); err != nil {
			t.Fatal(err)
		}
		// Three pages, each a huge one at most.
		if got := st.Blocks * 512; got > 3*2<<20 {
			t.Errorf("%s takes %d bytes after three stores", f.Name(), got)
		}
		if err := m.Munmap(addr, size); err != nil {
			t.Error(err)
		}
	}
}

// The answers on a part of a device DAX mapping that is no multiple of the alignment.
func TestDevDaxParts(t *testing.T) {
	t.Parallel()
	const page = 4 << 10
	for _, align := range []uint64{4 << 10, 2 << 20, 1 << 30} {
		m := newMachine(t, emu.Config{})
		f := open(t, m.AddDevDax(emu.DevDax{Size: 8 * align, Align: align}))
		file := create(t, m.AddFS(emu.FS{Size: 1 << 20, DAX: true}), "f", 4096)
		cut := func(errno error) error { // that a cut gets which isn't aligned
			if align == page {
				return nil
			}
			return errno
		}
		anon := platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve | platform.MapFixed
		mremap := func(n, newN uint64, flags int) func(addr uintptr) (uintptr, error) {
			return func(addr uintptr) (uintptr, error) { return m.Mremap(addr, n, newN, flags, 0) }
		}
		munmap := func(off, n uint64) func(addr uintptr) (uintptr, error) {
			return func(addr uintptr) (uintptr, error) { return addr, m.Munmap(addr+uintptr(off), n) }
		}
		msync := func(flags int) func(addr uintptr) (uintptr, error) {
			return func(addr uintptr) (uintptr, error) { return addr, m.Msync(addr, 4*align, flags) }
		}
		over := func(n uint64) func(addr uintptr) (uintptr, error) {
			return func(addr uintptr) (uintptr, error) { return m.Mmap(addr, n, readWrite, anon, -1, 0) }
		}
		whole := []extent{{0, 4 * align}}
		for name, c := range map[string]struct {
			do   func(addr uintptr) (uintptr, error)
			want error
			left []extent // what is mapped then, from the address that do returns
		}{
			"munmap first 4K":  {munmap(0, page), cut(unix.EINVAL), []extent{{page, 4 * align}}},
			"munmap last 4K":   {munmap(4*align-page, page), cut(unix.EINVAL), []extent{{0, 4*align - page}}},
			"munmap middle 4K": {munmap(2*align, page), cut(unix.EINVAL), []extent{{0, 2 * align}, {2*align + page, 4 * align}}},
			"munmap first A":   {munmap(0, align), nil, []extent{{align, 4 * align}}},
			"munmap middle A":  {munmap(align, align), nil, []extent{{0, align}, {2 * align, 4 * align}}},
			"mremap shrink 4K": {mremap(4*align, 4*align-page, 0), cut(unix.EINVAL), []extent{{0, 4*align - page}}},
			"mremap shrink A":  {mremap(4*align, 3*align, 0), nil, []extent{{0, 3 * align}}},
			"mremap grow A":    {mremap(4*align, 5*align, platform.MremapMaymove), nil, []extent{{0, 5 * align}}},
			"fixed over 4K":    {over(page), cut(unix.ENOMEM), whole},
			"fixed over A":     {over(align), nil, whole},
			"fixed file over 4K": {
				func(addr uintptr) (uintptr, error) {
					return m.Mmap(addr, page, readWrite, platform.MapShared|platform.MapFixed, file.FD(), 0)
				}, cut(unix.ENOMEM), whole,
			},
			"fixed file over A": {
				func(addr uintptr) (uintptr, error) {
					return m.Mmap(addr, align, readWrite, platform.MapShared|platform.MapFixed, file.FD(), 0)
				}, nil, whole,
			},
			"mremap over 4K": {
				func(addr uintptr) (uintptr, error) {
					other, err := m.Mmap(0, page, readWrite, platform.MapShared, file.FD(), 0)
					if err != nil {
						t.Fatal(err)
					}
					_, err = m.Mremap(other, page, page, platform.MremapMaymove|platform.MremapFixed, addr)
					if err != nil {
						if err := m.Munmap(other, page); err != nil {
							t.Error(err)
						}
					}
					return addr, err
				}, cut(unix.EINVAL), whole,
			},
			"msync SYNC what grew": {
				func(addr uintptr) (uintptr, error) {
					grown, err := m.Mremap(addr, 4*align, 5*align, platform.MremapMaymove, 0)
					if err != nil {
						t.Fatal(err)
					}
					if err := m.Msync(grown+uintptr(4*align), align, platform.MsSync); err != unix.EINVAL {
						t.Errorf("align %#x: msync of what grew: got %v, want EINVAL", align, err)
					}
					return grown, nil
				}, nil, []extent{{0, 5 * align}},
			},
			"msync SYNC":       {msync(platform.MsSync), unix.EINVAL, whole},
			"msync ASYNC":      {msync(platform.MsAsync), nil, whole},
			"msync INVALIDATE": {msync(platform.MsInvalidate), nil, whole},
		} {
			addr, err := m.Mmap(0, 4*align, readWrite, platform.MapShared, f.FD(), 0)
			if err != nil {
				t.Fatal(err)
			}
			now, err := c.do(addr)
			if errnoName(err) != errnoName(c.want) {
				t.Errorf("align %#x: %s: got %v, want %v", align, name, err, c.want)
			}
			left := c.left
			if err != nil {
				now, left = addr, whole
			}
			if uint64(now)%align != 0 {
				t.Errorf("align %#x: %s: the mapping is at %#x", align, name, now)
			}
			// Only what is ours: others map memory in the gaps.
			for _, x := range left {
				if err := m.Munmap(now+uintptr(x.start), x.end-x.start); err != nil {
					t.Errorf("align %#x: %s: munmap of what is left: %v", align, name, err)
				}
			}
		}
		addr := mmap(t, m, f.FD(), 4*align, 0)
		*at(addr, 3) = 9
		second, err := m.Mremap(addr, 0, 4*align, platform.MremapMaymove, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := *at(second, 3); got != 9 || uint64(second)%align != 0 {
			t.Errorf("align %#x: mremap of 0 bytes: second mapping at %#x reads %d, want 9", align, second, got)
		}
		if err := m.Munmap(second, 4*align); err != nil {
			t.Error(err)
		}
	}
}

type extent struct{ start, end uint64 }

// MAP_FIXED maps the bytes at the offset rounded down.
func TestDevDaxOffsetIsRounded(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	const align = 2 << 20
	f := open(t, m.AddDevDax(emu.DevDax{Size: 4 * align}))
	all := mmap(t, m, f.FD(), 4*align, 0)
	*at(all, align), *at(all, align+4096) = 11, 12
	free, base := reserve(t, m, 2*align, align)
	defer free()
	addr, err := m.Mmap(base, align, readWrite, platform.MapShared|platform.MapFixed, f.FD(), align+4096)
	if err != nil {
		t.Fatal(err)
	}
	if got := *at(addr, 0); got != 11 {
		t.Errorf("the first byte is %d, want 11: that at offset 2 MiB", got)
	}
}

// How a library places a file without ever leaving a hole: map anywhere, then move.
func TestMremapOverPlaceholder(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 64 << 20, DAX: true})
	for _, f := range []*emu.File{
		create(t, fs, "f", 8<<20),
		open(t, m.AddDevDax(emu.DevDax{Size: 8 << 20})),
	} {
		const n = 4 << 20
		free, base := reserve(t, m, 2*n, n)
		addr, err := m.Mmap(0, n, readWrite, platform.MapShared, f.FD(), 2<<20)
		if err != nil {
			t.Fatal(err)
		}
		*at(addr, 0) = 5
		got, err := m.Mremap(addr, n, n, platform.MremapMaymove|platform.MremapFixed, base)
		if err != nil || got != base {
			t.Fatalf("%s: Mremap to %#x: %#x, %v", f.Name(), base, got, err)
		}
		if got := *at(base, 0); got != 5 {
			t.Errorf("%s: byte after the move is %d, want 5", f.Name(), got)
		}
		free()
	}
}

func TestOldKernel(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{NoSharedValidate: true})
	f := create(t, m.AddFS(emu.FS{Size: 64 << 20, DAX: true}), "f", 4096)
	for _, c := range []struct {
		flags int
		want  string
	}{
		{platform.MapSharedValidate | platform.MapSync, "EINVAL"},
		{platform.MapSharedValidate, "EINVAL"},
		{platform.MapShared | platform.MapSync, "ok"},
		{platform.MapShared | platform.MapFixedNoreplace, "ok"},
	} {
		addr, err := m.Mmap(0, 4096, readWrite, c.flags, f.FD(), 0)
		if got := errnoName(err); got != c.want {
			t.Errorf("flags %#x: got %s, want %s", c.flags, got, c.want)
		}
		if err == nil {
			m.Munmap(addr, 4096)
		}
	}
	// An unknown MAP_FIXED_NOREPLACE is a hint: taken, so elsewhere.
	taken := mmap(t, m, f.FD(), 4096, 0)
	addr, err := m.Mmap(taken, 4096, readWrite, platform.MapShared|platform.MapFixedNoreplace, f.FD(), 0)
	if err != nil || addr == taken {
		t.Errorf("MAP_FIXED_NOREPLACE over %#x: %#x, %v; want another address", taken, addr, err)
	}
	m.Munmap(addr, 4096)
	if stx, err := m.Statx(f.FD()); err != nil || stx.AttributesMask&platform.StatxAttrDAX != 0 {
		t.Errorf("Statx: %+v, %v; want no DAX attribute", stx, err)
	}
}
