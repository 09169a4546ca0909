package emu_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// Every way to map a file whose pages 1 and 2 of 6 are bad.
func TestBadBlockMmap(t *testing.T) {
	t.Parallel()
	const (
		shared, private = platform.MapShared, platform.MapPrivate
		sync            = platform.MapSharedValidate | platform.MapSync
		r               = platform.ProtRead
	)
	for _, c := range []struct {
		name        string
		open        int
		prot, flags int
		where       string // free, taken: where the address points to
		off, n      int64  // pages
		want        string
		err         error
	}{
		{"shared", platform.ORdwr, readWrite, shared, "", 0, 6, ".BB...", nil},
		{"with MAP_SYNC", platform.ORdwr, readWrite, sync, "", 0, 6, ".BB...", nil},
		{"private", platform.ORdwr, readWrite, private, "", 0, 6, ".BB...", nil},
		{"read only", platform.ORdonly, r, shared, "", 0, 6, ".BB...", nil},
		{"private of a descriptor for reading", platform.ORdonly, readWrite, private, "", 0, 6, ".BB...", nil},
		{"no access", platform.ORdwr, platform.ProtNone, shared, "", 0, 6, ".BB...", nil},
		{"MAP_POPULATE", platform.ORdwr, readWrite, shared | platform.MapPopulate, "", 0, 6, ".BB...", nil},
		{"MAP_NORESERVE", platform.ORdwr, readWrite, shared | platform.MapNoreserve, "", 0, 6, ".BB...", nil},
		{"from the bad page on", platform.ORdwr, readWrite, shared, "", 2, 4, "B...", nil},
		{"behind it", platform.ORdwr, readWrite, shared, "", 3, 3, "...", nil},
		{"before it", platform.ORdwr, readWrite, shared, "", 0, 1, ".", nil},
		{"the bad pages", platform.ORdwr, readWrite, shared, "", 1, 2, "BB", nil},
		{"past the end", platform.ORdwr, readWrite, shared, "", 2, 6, "B...BB", nil},
		{"hint, free", platform.ORdwr, readWrite, shared, "free", 0, 6, ".BB...", nil},
		{"hint, taken", platform.ORdwr, readWrite, shared, "taken", 0, 6, ".BB...", nil},
		{"MAP_FIXED", platform.ORdwr, readWrite, shared | platform.MapFixed, "taken", 0, 6, ".BB...", nil},
		{"MAP_FIXED, private", platform.ORdwr, readWrite, private | platform.MapFixed, "taken", 1, 5, "BB...", nil},
		{"MAP_FIXED_NOREPLACE, free", platform.ORdwr, readWrite, shared | platform.MapFixedNoreplace, "free", 0, 6, ".BB...", nil},
		{"MAP_FIXED_NOREPLACE, taken", platform.ORdwr, readWrite, shared | platform.MapFixedNoreplace, "taken", 0, 6, "", unix.EEXIST},
	} {
		m := newMachine(t, emu.Config{})
		fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true})
		f := create(t, fs, "f", 6*page)
		if err := errors.Join(m.Fallocate(f.FD(), 0, 0, 6*page), fs.AddBadBlock("f", 2*page-1, 2)); err != nil {
			t.Fatal(err)
		}
		fd, err := m.Open(fs.Path("f"), c.open, 0)
		if err != nil {
			t.Fatal(err)
		}
		n := uint64(c.n * page)
		free, base := reserve(t, m, 16*page, page)
		hint := uintptr(0)
		switch c.where {
		case "free":
			hint = base
			if err := m.Munmap(base, n); err != nil {
				t.Fatal(err)
			}
		case "taken":
			hint = base
		}
		addr, err := m.Mmap(hint, n, c.prot, c.flags, fd, c.off*page)
		if err != c.err {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if err == nil {
			if there := addr == base; there != (c.where == "free" || c.flags&platform.MapFixed != 0) {
				t.Errorf("%s: the mapping is at %#x, asked for was %#x", c.name, addr, hint)
			}
			if c.prot == platform.ProtNone {
				for off := uint64(0); off < n; off += page {
					if got := access(addr+uintptr(off), false); got != "B" {
						t.Errorf("%s: page at %d can be read", c.name, off)
					}
				}
				if err := unix.Mprotect(bytesAt(addr, int(n)), unix.PROT_READ|unix.PROT_WRITE); err != nil {
					t.Fatal(err)
				}
			}
			for off := range c.n {
				if got := access(addr+uintptr(off*page), c.prot != r); got != c.want[off:off+1] {
					t.Errorf("%s: page %d: got %s, want %s of %s", c.name, off, got, c.want[off:off+1], c.want)
				}
			}
			if err := m.Munmap(addr, n); err != nil {
				t.Error(err)
			}
		}
		if err := m.Close(fd); err != nil {
			t.Error(err)
		}
		free()
	}
}

// A mapping of good pages alone grows over bad ones, where it is and elsewhere.
func TestBadBlockGrownOver(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{false, true} {
		m := newMachine(t, emu.Config{})
		dax := m.AddDevDax(emu.DevDax{Size: 8 * page, Align: page})
		f := open(t, dax)
		if err := dax.AddBadBlock(5*page, 1); err != nil {
			t.Fatal(err)
		}
		free, base := reserve(t, m, 8*page, page)
		if _, err := m.Mmap(base, 4*page, readWrite, platform.MapShared|platform.MapFixed, f.FD(), 0); err != nil {
			t.Fatal(err)
		}
		if !taken {
			if err := m.Munmap(base+4*page, 4*page); err != nil {
				t.Fatal(err)
			}
		}
		addr, err := m.Mremap(base, 4*page, 8*page, platform.MremapMaymove, 0)
		if err != nil || (addr == base) == taken {
			t.Fatalf("Mremap of what is at %#x: %#x, %v", base, addr, err)
		}
		wantFaults(t, "grown", addr, ".....B..")
		if err := m.Munmap(addr, 8*page); err != nil {
			t.Fatal(err)
		}
		free()
	}
}

// A private mapping whose own page was moved away shows the file's again: the bad one.
func TestBadBlockUnderOwnPage(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true})
	f := create(t, fs, "f", 4*page)
	if err := m.Fallocate(f.FD(), 0, 0, 4*page); err != nil {
		t.Fatal(err)
	}
	a, err := m.Mmap(0, 4*page, readWrite, platform.MapPrivate, f.FD(), 0)
	if err != nil {
		t.Fatal(err)
	}
	*at(a, page) = 7
	if err := fs.AddBadBlock("f", page, page); err != nil {
		t.Fatal(err)
	}
	if got := *at(a, page); got != 7 {
		t.Errorf("the process's own page has %d, want 7", got)
	}
	free, base := reserve(t, m, 4*page, page)
	if _, err := m.Mremap(a, 4*page, 4*page, moveFixed|4, base); err != nil {
		t.Fatal(err)
	}
	if got := *at(base, page); got != 7 {
		t.Errorf("the process's own page has %d after the move, want 7", got)
	}
	if got := access(a+page, false); got != "B" {
		t.Errorf("the page that it left: %s, want B", got)
	}
	if got := access(a+2*page, false); got != "." {
		t.Errorf("the next page: %s", got)
	}
	if err := m.Munmap(a, 4*page); err != nil {
		t.Error(err)
	}
	free()
}

// A device DAX mapped at an offset that is no multiple of its alignment: the kernel maps
// from the multiple before, and the last huge page not at all. Bad or not, that faults.
func TestBadBlockAtRoundedOffset(t *testing.T) {
	t.Parallel()
	const align = 2 << 20
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 2 * align})
	f := open(t, dax)
	free, base := reserve(t, m, 2*align, align)
	defer free()
	for _, before := range []bool{true, false} {
		spoil := func() {
			t.Helper()
			if err := errors.Join(dax.AddBadBlock(page, 1), dax.AddBadBlock(align+page, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if before {
			spoil()
		}
		if _, err := m.Mmap(base, 2*align, readWrite, platform.MapShared|platform.MapFixed, f.FD(), page); err != nil {
			t.Fatal(err)
		}
		if !before {
			spoil()
		}
		wantFaults(t, "the first huge page", base, ".B.")
		wantFaults(t, "the second", base+align, "BBB")
		if _, err := m.ClearError(bus(t, m, platform.ORdwr), address(t, m, &dax.Device), 2*align); err != nil {
			t.Fatal(err)
		}
		wantFaults(t, "the first huge page, healed", base, "...")
		wantFaults(t, "the second, healed", base+align, "BBB")
	}
}
