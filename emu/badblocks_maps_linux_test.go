package emu_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// badObject is something of 8 units with bad pages: the first of unit 2, the last of unit
// 3, both of unit 6's edges.
type badObject struct {
	name   string
	unit   uint64 // its alignment in bytes
	fd     int
	shared bool
	add    func(off, n uint64) error
	heal   func(t *testing.T)
}

func (o badObject) bad(off uint64) bool {
	u := o.unit
	switch off &^ (page - 1) {
	case 2 * u, 4*u - page, 6 * u, 7*u - page:
		return true
	}
	return off >= 8*u
}

func (o badObject) addAll(t *testing.T) {
	t.Helper()
	for _, off := range []uint64{2 * o.unit, 4*o.unit - 1, 6*o.unit + page - 1, 7*o.unit - page} {
		if err := o.add(off, 1); err != nil {
			t.Fatal(err)
		}
	}
}

func (o badObject) flags() int {
	if o.shared {
		return platform.MapShared
	}
	return platform.MapPrivate
}

// check compares the faults of n bytes of the object from off on with what is due.
func (o badObject) check(t *testing.T, what string, addr uintptr, off, n uint64, healed bool) {
	t.Helper()
	for at := uint64(0); at < n; at += page {
		want := "."
		if o.bad(off+at) && (!healed || off+at >= 8*o.unit) {
			want = "B"
		}
		// A store would make a page of a private mapping the process's own.
		if got := access(addr+uintptr(at), o.shared); got != want {
			t.Fatalf("%s: %s: page at %#x of the object: got %s, want %s", o.name, what, off+at, got, want)
		}
	}
}

func badObjects(t *testing.T, m *emu.Machine) []badObject {
	t.Helper()
	var all []badObject
	for _, align := range []uint64{page, 2 << 20} {
		dax := m.AddDevDax(emu.DevDax{Size: 8 * align, Align: align})
		all = append(all, badObject{
			name: fmt.Sprintf("device DAX of %d", align), unit: align, fd: open(t, dax).FD(), shared: true,
			add: dax.AddBadBlock,
			heal: func(t *testing.T) {
				if _, err := m.ClearError(bus(t, m, platform.ORdwr), address(t, m, &dax.Device), 8*align); err != nil {
					t.Fatal(err)
				}
			},
		})
	}
	for i, cfg := range []emu.FS{{DAX: true}, {}, {DAX: true}} {
		cfg.Size = 1 << 20
		fs := m.AddFS(cfg)
		f := create(t, fs, "f", 8*page)
		if err := m.Fallocate(f.FD(), 0, 0, 8*page); err != nil {
			t.Fatal(err)
		}
		all = append(all, badObject{
			name: fmt.Sprintf("file, DAX %t, shared %t", cfg.DAX, i < 2), unit: page, fd: f.FD(), shared: i < 2,
			add: func(off, n uint64) error { return fs.AddBadBlock("f", off, n) },
			heal: func(t *testing.T) {
				if _, err := m.Pwrite(f.FD(), make([]byte, 8*page), 0); err != nil {
					t.Fatal(err)
				}
			},
		})
	}
	return all
}

// badMoves are calls on 6 units of an object from unit 1 on, mapped to x; t is room for 8
// units elsewhere. Each says what is mapped where then.
var badMoves = []struct {
	name string
	do   func(m *emu.Machine, o badObject, x, t uintptr) (addr uintptr, err error)
	off  uint64 // in units of the object
	n    uint64
	more bool // x is still there
}{
	{"nothing", func(_ *emu.Machine, _ badObject, x, _ uintptr) (uintptr, error) { return x, nil }, 1, 6, true},
	{"move", func(m *emu.Machine, o badObject, x, t uintptr) (uintptr, error) {
		return m.Mremap(x, 6*o.unit, 6*o.unit, moveFixed, t)
	}, 1, 6, false},
	{"move a part", func(m *emu.Machine, o badObject, x, t uintptr) (uintptr, error) {
		return m.Mremap(x+uintptr(o.unit), 4*o.unit, 4*o.unit, moveFixed, t)
	}, 2, 4, false},
	{"move and grow", func(m *emu.Machine, o badObject, x, t uintptr) (uintptr, error) {
		return m.Mremap(x, 6*o.unit, 8*o.unit, moveFixed, t)
	}, 1, 8, false},
	{"move and shrink", func(m *emu.Machine, o badObject, x, t uintptr) (uintptr, error) {
		return m.Mremap(x, 6*o.unit, 3*o.unit, moveFixed, t)
	}, 1, 3, false},
	{"grow where it is", func(m *emu.Machine, o badObject, x, _ uintptr) (uintptr, error) {
		return m.Mremap(x, 6*o.unit, 8*o.unit, 0, 0)
	}, 1, 8, false},
	{"grow elsewhere", func(m *emu.Machine, o badObject, x, _ uintptr) (uintptr, error) {
		_, err := m.Mmap(x+uintptr(6*o.unit), page, platform.ProtNone, anonymous|platform.MapFixedNoreplace, -1, 0)
		if err != nil {
			return 0, err
		}
		if _, err := m.Mremap(x, 6*o.unit, 7*o.unit, 0, 0); err != unix.ENOMEM {
			return 0, fmt.Errorf("growing against the neighbour: %v, want ENOMEM", err)
		}
		addr, err := m.Mremap(x, 6*o.unit, 7*o.unit, platform.MremapMaymove, 0)
		return addr, errors.Join(err, m.Munmap(x+uintptr(6*o.unit), page))
	}, 1, 7, false},
	{"shrink", func(m *emu.Machine, o badObject, x, _ uintptr) (uintptr, error) {
		return m.Mremap(x, 6*o.unit, 2*o.unit, 0, 0)
	}, 1, 2, false},
	{"duplicate", func(m *emu.Machine, o badObject, x, t uintptr) (uintptr, error) {
		if !o.shared {
			return m.Mremap(x, 6*o.unit, 6*o.unit, moveFixed, t)
		}
		addr, err := m.Mremap(x+uintptr(o.unit), 0, 5*o.unit, moveFixed, t)
		return addr - uintptr(o.unit), errors.Join(err, m.Munmap(x+uintptr(5*o.unit), o.unit),
			second(m.Mremap(x, o.unit, o.unit, moveFixed, t-uintptr(o.unit))), m.Munmap(x+uintptr(o.unit), 4*o.unit))
	}, 1, 6, false},
	{"leave mapped", func(m *emu.Machine, o badObject, x, t uintptr) (uintptr, error) {
		return m.Mremap(x, 6*o.unit, 6*o.unit, moveFixed|4, t)
	}, 1, 6, true},
	{"unmap the bad page", func(m *emu.Machine, o badObject, x, t uintptr) (uintptr, error) {
		return x + uintptr(2*o.unit), m.Munmap(x, 2*o.unit)
	}, 3, 4, false},
	{"unmap, then move", func(m *emu.Machine, o badObject, x, t uintptr) (uintptr, error) {
		if err := m.Munmap(x+uintptr(5*o.unit), o.unit); err != nil {
			return 0, err
		}
		return m.Mremap(x, 5*o.unit, 5*o.unit, moveFixed, t)
	}, 1, 5, false},
}

const (
	moveFixed = platform.MremapMaymove | platform.MremapFixed
	anonymous = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve
)

// Whatever is done with a mapping, its bad pages fault and no others, healing opens all of
// them, and the machine knows of one mapping and no more.
func TestBadBlockMappings(t *testing.T) {
	for _, when := range []string{"bad before", "bad between", "bad after", "healed between"} {
		m := newMachine(t, emu.Config{})
		for _, o := range badObjects(t, m) {
			for _, c := range badMoves {
				what := when + ": " + c.name
				const unitsOfRoom = 10
				free, base := reserve(t, m, 2*unitsOfRoom*o.unit, o.unit)
				x, target := base, base+uintptr((unitsOfRoom+1)*o.unit)
				if when == "bad before" {
					o.addAll(t)
				}
				if _, err := m.Mmap(x, 6*o.unit, readWrite, o.flags()|platform.MapFixed, o.fd, int64(o.unit)); err != nil {
					t.Fatalf("%s: %s: %v", o.name, what, err)
				}
				if err := m.Munmap(x+uintptr(6*o.unit), 3*o.unit); err != nil {
					t.Fatal(err)
				}
				if when == "bad between" || when == "healed between" {
					o.addAll(t)
					o.check(t, what, x, o.unit, 6*o.unit, false)
				}
				healed := when == "healed between"
				if healed {
					o.heal(t)
				}
				addr, err := c.do(m, o, x, target)
				if err != nil {
					t.Fatalf("%s: %s: %v", o.name, what, err)
				}
				if when == "bad after" {
					o.addAll(t)
				}
				off, n := c.off*o.unit, c.n*o.unit
				o.check(t, what, addr, off, n, healed)
				if c.more {
					o.check(t, what+", the first", x, o.unit, 6*o.unit, healed)
				}
				// It is one mapping: it can be moved as a whole.
				if addr != target && addr != target-uintptr(o.unit) {
					if addr, err = m.Mremap(addr, n, n, moveFixed, target); err != nil {
						t.Fatalf("%s: %s: moving it all: %v", o.name, what, err)
					}
					o.check(t, what+", moved", addr, off, n, healed)
				}
				if !healed {
					o.heal(t)
					o.check(t, what+", healed", addr, off, n, true)
				}
				for at := uint64(0); at < n && o.shared && off+at < 8*o.unit; at += page {
					*at8(addr, at) = at + 1
				}
				if err := m.Munmap(addr, n); err != nil {
					t.Fatal(err)
				}
				if c.more && c.name != "nothing" {
					if err := m.Munmap(x, 6*o.unit); err != nil {
						t.Fatal(err)
					}
				}
				free()
			}
		}
	}
	if n := hostMappings(t, "bad block"); n != 0 {
		t.Errorf("%d mappings of bad blocks are left", n)
	}
}

func at8(addr uintptr, off uint64) *uint64 {
	return (*uint64)(platform.Pointer(addr + uintptr(off)))
}

// hostMappings counts the lines of /proc/self/maps with a memfd of that name.
func hostMappings(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "/memfd:pmemlab:"+name)
}

// A device DAX mapping away from its alignment faults everywhere; back at it the bad pages
// do and no others.
func TestBadBlockOfMisalignedDevDax(t *testing.T) {
	t.Parallel()
	const align = 2 << 20
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 4 * align})
	f := open(t, dax)
	free, base := reserve(t, m, 10*align, align)
	defer free()
	x, away := base, base+5*align+page
	check := func(what string, addr uintptr, bad ...uint64) {
		t.Helper()
		for off := uint64(0); off < 2*align; off += page {
			want := "."
			for _, b := range bad {
				if b == off || b == 1 {
					want = "B"
				}
			}
			if got := access(addr+uintptr(off), true); got != want {
				t.Fatalf("%s: page at %#x: got %s, want %s", what, off, got, want)
			}
		}
	}
	const all = 1
	if _, err := m.Mmap(x, 2*align, readWrite, platform.MapShared|platform.MapFixed, f.FD(), align); err != nil {
		t.Fatal(err)
	}
	if err := dax.AddBadBlock(align+page, 1); err != nil {
		t.Fatal(err)
	}
	check("mapped", x, page)
	if _, err := m.Mremap(x, 2*align, 2*align, moveFixed, away); err != nil {
		t.Fatal(err)
	}
	check("away", away, all)
	if err := dax.AddBadBlock(2*align, 1); err != nil {
		t.Fatal(err)
	}
	check("away, another one", away, all)
	if _, err := m.Mremap(away, 2*align, 2*align, moveFixed, x); err != nil {
		t.Fatal(err)
	}
	check("back", x, page, align)
	if _, err := m.Mremap(x, 2*align, 2*align, moveFixed, away); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ClearError(bus(t, m, platform.ORdwr), address(t, m, &dax.Device), 2*align); err != nil {
		t.Fatal(err)
	}
	check("away, the first cleared", away, all)
	if _, err := m.Mremap(away, 2*align, 2*align, moveFixed, x); err != nil {
		t.Fatal(err)
	}
	check("back again", x, align)
	if err := m.Munmap(x, 2*align); err != nil {
		t.Fatal(err)
	}
}

// mprotect by the program concerns bad pages too, and healing keeps what it has set.
func TestBadBlockProtection(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 8 * page, Align: page})
	a := mmap(t, m, open(t, dax).FD(), 8*page, 0)
	fd, phys := bus(t, m, platform.ORdwr), address(t, m, &dax.Device)
	protect := func(first, n uint64, prot int) {
		t.Helper()
		if err := unix.Mprotect(bytesAt(a+uintptr(first*page), int(n*page)), prot); err != nil {
			t.Fatal(err)
		}
	}
	perms := func(want string) {
		t.Helper()
		text, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for line := range strings.Lines(string(text)) {
			var lo, hi uintptr
			var p string
			fmt.Sscanf(line, "%x-%x %s", &lo, &hi, &p)
			for at := max(lo, a); at < min(hi, a+8*page); at += page {
				got += p[:2] + " "
			}
		}
		if got != want {
			t.Errorf("protections: got %s, want %s", got, want)
		}
	}
	protect(2, 3, unix.PROT_READ)
	if err := dax.AddBadBlock(page, 2*page); err != nil { // one page of each
		t.Fatal(err)
	}
	perms("rw rw r- r- r- rw rw rw ")
	protect(1, 1, unix.PROT_READ)
	protect(2, 1, unix.PROT_READ|unix.PROT_WRITE)
	if _, err := m.ClearError(fd, phys, 8*page); err != nil {
		t.Fatal(err)
	}
	perms("rw r- rw r- r- rw rw rw ")
	if got := access(a+2*page, true); got != "." {
		t.Errorf("the page that may be written: %s", got)
	}
	if err := dax.AddBadBlock(0, 1); err != nil {
		t.Fatal(err)
	}
	// As on a real machine these are several mappings now.
	if _, err := m.Mremap(a, 8*page, 9*page, platform.MremapMaymove, 0); err != unix.EFAULT {
		t.Errorf("mremap over parts of different protection: %v, want EFAULT", err)
	}
}

// Others store to the neighbours of a page that goes bad and is cleared, while it is moved
// to and fro, and nothing of it is lost.
func TestBadBlockNeighbours(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 16 * page, Align: page})
	f := open(t, dax)
	still := mmap(t, m, f.FD(), 16*page, 0)
	free, base := reserve(t, m, 60*page, page)
	moving := base + 40*page
	if _, err := m.Mmap(moving, 16*page, readWrite, platform.MapShared|platform.MapFixed, f.FD(), 0); err != nil {
		t.Fatal(err)
	}
	fd, phys := bus(t, m, platform.ORdwr), address(t, m, &dax.Device)
	var stop atomic.Bool
	var wg sync.WaitGroup
	counts := make([]uint64, 3)
	for g, off := range []uint64{4*page - 8, 5 * page, 12 * page} {
		wg.Go(func() {
			for n := uint64(1); !stop.Load(); n++ {
				p := at8(still, off)
				if was := *p; was != n-1 {
					t.Errorf("at %#x: %d was stored, %d is there", off, n-1, was)
					return
				}
				*p = n
				counts[g] = n
			}
		})
	}
	for i := range 300 {
		if err := dax.AddBadBlock(4*page, page); err != nil {
			t.Fatal(err)
		}
		to := base + uintptr(i%2*20*page)
		if _, err := m.Mremap(moving, 16*page, 16*page, moveFixed, to); err != nil {
			t.Fatal(err)
		}
		moving = to
		for _, addr := range []uintptr{still, moving} {
			if got := access(addr+4*page, true); got != "B" {
				t.Fatalf("round %d: the bad page: %s", i, got)
			}
		}
		if _, err := m.ClearError(fd, phys+4*page, page); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	for g, off := range []uint64{4*page - 8, 5 * page, 12 * page} {
		for name, addr := range map[string]uintptr{"still": still, "moving": moving} {
			if got := *at8(addr, off); got != counts[g] || got == 0 {
				t.Errorf("%s: at %#x: %d, want %d", name, off, got, counts[g])
			}
		}
	}
	if err := m.Munmap(moving, 16*page); err != nil {
		t.Error(err)
	}
	free()
}

// What lives on after Shutdown: the mapping with its bad page, which can still be moved.
func TestBadBlockAfterShutdown(t *testing.T) {
	t.Parallel()
	m := emu.NewMachine(emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 8 * page, Align: page})
	f, err := dax.Open(platform.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.Mmap(0, 4*page, readWrite, platform.MapShared, f.FD(), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctl, err := m.Open("/dev/ndctl0", platform.ORdwr, 0)
	if err != nil {
		t.Fatal(err)
	}
	phys := address(t, m, &dax.Device)
	if err := dax.AddBadBlock(page, 1); err != nil {
		t.Fatal(err)
	}
	err = m.Shutdown()
	if err == nil || strings.Contains(err.Error(), "bad block") || strings.Count(err.Error(), "is mapped") != 1 {
		t.Errorf("Shutdown: %v, want one mapping, not of a bad block", err)
	}
	if _, err := m.ClearError(ctl, phys, 4*page); err != unix.ENXIO {
		t.Errorf("ClearError: %v, want ENXIO", err)
	}
	wantFaults(t, "after Shutdown", a, ".B..")
	b, err := m.Mmap(0, 4*page, platform.ProtNone, anonymous, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Mremap(a, 4*page, 4*page, moveFixed, b); err != nil {
		t.Errorf("Mremap: %v", err)
	}
	wantFaults(t, "after the move", b, ".B..")
	if err := errors.Join(m.Munmap(b, 4*page), m.Close(ctl), f.Close()); err != nil {
		t.Error(err)
	}
}
