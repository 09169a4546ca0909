package pmem2_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// arguments are all that can be wrong about a mapping of a device DAX. Mistakes
// add up.
type arguments struct {
	granularity    func(*pmem2.Config)
	align, size    string // in sysfs, if not ""
	offset, length uint64
	sharing        pmem2.Sharing
	at             uint64 // in the reservation
	fault          string
}

// mistakes are in the order in which NewMap reports them.
var mistakes = []struct {
	name string
	make func(*arguments)
	want string
}{
	{"granularity not set", func(a *arguments) { a.granularity = func(*pmem2.Config) {} }, "PMEM2_E_GRANULARITY_NOT_SET"},
	{"alignment", func(a *arguments) { a.align = "3\n" }, "PMEM2_E_INVALID_ALIGNMENT_VALUE"},
	{"size", func(a *arguments) { a.size = "x\n" }, "PMEM2_E_INVALID_SIZE_FORMAT"},
	{"offset unaligned", func(a *arguments) { a.offset |= page }, "PMEM2_E_OFFSET_UNALIGNED"},
	{"private", func(a *arguments) { a.sharing = pmem2.Private }, "PMEM2_E_SRC_DEVDAX_PRIVATE"},
	{"empty", func(a *arguments) {
		if a.size == "" {
			a.size = "0\n"
		}
	}, "PMEM2_E_SOURCE_EMPTY"},
	{"length unaligned", func(a *arguments) { a.length |= page }, "PMEM2_E_LENGTH_UNALIGNED"},
	{"range wraps", func(a *arguments) { a.offset |= 1<<63 - devPage; a.length |= 1<<63 | devPage }, "PMEM2_E_MAP_RANGE"},
	{"past the end", func(a *arguments) { a.length |= 1 << 40 }, "PMEM2_E_MAP_RANGE"},
	{"reservation", func(a *arguments) { a.at = page }, "PMEM2_E_ADDRESS_UNALIGNED"},
	{"mmap", func(a *arguments) { a.fault = "(EAGAIN (And (Op mmap) (FileBacked)))" }, "EAGAIN"},
	{"granularity too coarse", func(a *arguments) {
		if a.granularity == nil {
			a.granularity = func(c *pmem2.Config) { c.SetRequiredStoreGranularity(pmem2.GranularityByte) }
		}
	}, "PMEM2_E_GRANULARITY_NOT_SUPPORTED"},
}

// TestOrderOfChecks: with two arguments wrong the earlier of the list is reported,
// and nothing is left.
func TestOrderOfChecks(t *testing.T) {
	unforced(t)
	for i, first := range mistakes {
		for _, second := range mistakes[i:] {
			t.Run(first.name+", "+second.name, func(t *testing.T) {
				var a arguments
				first.make(&a)
				second.make(&a)
				s := newStage(t, emuDefault)
				dax := s.m.AddDevDax(emu.DevDax{Size: 4 * devPage, Align: devPage})
				src := s.source(s.open(dax.Path(), platform.ORdwr))
				cfg := pmem2.NewConfig()
				if a.granularity == nil {
					a.granularity = func(c *pmem2.Config) { c.SetRequiredStoreGranularity(pmem2.GranularityPage) }
				}
				a.granularity(cfg)
				cfg.SetOffset(a.offset)
				cfg.SetLength(a.length)
				cfg.SetSharing(a.sharing)
				cfg.SetVMReservation(s.reservation(16*devPage), a.at)
				for name, text := range map[string]string{"/align": a.align, "/size": a.size} {
					if text == "" {
						continue
					}
					if err := s.m.Sysfs().Set(dax.SysfsPath()+name, text); err != nil {
						t.Fatal(err)
					}
				}
				if a.fault != "" {
					s.faults.Set(fault.MustParse(a.fault))
				}
				before := s.Outstanding()
				m, err := pmem2.NewMap(cfg, src)
				s.faults.Set()
				if m != nil || outcome(err) != first.want {
					t.Errorf("got %v, %v; want no map and %s", m, err, first.want)
				}
				if after := s.Outstanding(); len(after) != len(before) {
					t.Errorf("left: %q", after)
				}
			})
		}
	}
}

// TestRangeEdges: offset and length around the end and the alignment, on a file and
// on a device.
func TestRangeEdges(t *testing.T) {
	s := newStage(t, emuDefault)
	file, dev := s.source(s.file(pageCache, 8*page)), s.source(devDax(s))
	odd := s.source(s.file(pageCache, 2*page+1))
	const last = math.MaxUint64
	for _, tc := range []struct {
		name           string
		src            *pmem2.Source
		offset, length uint64
		size           uint64 // of the map
		want           string
	}{
		{"all", file, 0, 0, 8 * page, "0"},
		{"all, said", file, 0, 8 * page, 8 * page, "0"},
		{"from the last page", file, 7 * page, 0, page, "0"},
		{"the last page", file, 7 * page, page, page, "0"},
		{"the last page and one", file, 7 * page, 2 * page, 0, "PMEM2_E_MAP_RANGE"},
		{"from the end", file, 8 * page, 0, 0, "PMEM2_E_MAP_RANGE"},
		{"at the end", file, 8 * page, page, 0, "PMEM2_E_MAP_RANGE"},
		{"from behind the end", file, 9 * page, 0, 0, "PMEM2_E_MAP_RANGE"},
		{"offset 1", file, 1, page, 0, "PMEM2_E_OFFSET_UNALIGNED"},
		{"offset a page less one", file, page - 1, page, 0, "PMEM2_E_OFFSET_UNALIGNED"},
		{"length 1", file, 0, 1, 0, "PMEM2_E_LENGTH_UNALIGNED"},
		{"length a page and one", file, 0, page + 1, 0, "PMEM2_E_LENGTH_UNALIGNED"},
		{"length 2^64-1", file, 0, last, 0, "PMEM2_E_LENGTH_UNALIGNED"},
		{"length 2^64-page", file, 0, last - page + 1, 0, "PMEM2_E_MAP_RANGE"},
		{"wraps to 0", file, page, last - page + 1, 0, "PMEM2_E_MAP_RANGE"},
		{"wraps to a page", file, 2 * page, last - page + 1, 0, "PMEM2_E_MAP_RANGE"},
		{"largest offset", file, math.MaxInt64 - page + 1, page, 0, "PMEM2_E_MAP_RANGE"},
		{"unaligned file, all", odd, 0, 0, 2*page + 1, "0"},
		{"unaligned file, last byte", odd, 2 * page, 0, 1, "0"},
		{"unaligned file, last page", odd, 2 * page, page, 0, "PMEM2_E_MAP_RANGE"},
		{"unaligned file, whole pages", odd, 0, 2 * page, 2 * page, "0"},
		{"device, all", dev, 0, 0, 4 * devPage, "0"},
		{"device, the last", dev, 3 * devPage, 0, devPage, "0"},
		{"device, from the end", dev, 4 * devPage, 0, 0, "PMEM2_E_MAP_RANGE"},
		{"device, offset a page", dev, page, devPage, 0, "PMEM2_E_OFFSET_UNALIGNED"},
		{"device, offset half", dev, devPage / 2, devPage, 0, "PMEM2_E_OFFSET_UNALIGNED"},
		{"device, length a page", dev, 0, page, 0, "PMEM2_E_LENGTH_UNALIGNED"},
		{"device, length and a page", dev, 0, devPage + page, 0, "PMEM2_E_LENGTH_UNALIGNED"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := config(pmem2.GranularityPage)
			cfg.SetOffset(tc.offset)
			cfg.SetLength(tc.length)
			m, err := pmem2.NewMap(cfg, tc.src)
			if outcome(err) != tc.want {
				t.Fatalf("got %v, want %s", err, tc.want)
			}
			if err != nil {
				if m != nil {
					t.Error("an error and a map")
				}
				return
			}
			if m.Size() != tc.size || uint64(len(m.Bytes())) != tc.size {
				t.Errorf("size %d, %d bytes; want %d", m.Size(), len(m.Bytes()), tc.size)
			}
			if err := m.Delete(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMapFromExistingEdges: the range is taken on trust, but it can't wrap.
func TestMapFromExistingEdges(t *testing.T) {
	s := newStage(t, emuDefault)
	src, _ := pmem2.SourceFromAnon(page, s.on())
	const top = ^uintptr(page - 1) // the last page of the address space
	for _, tc := range []struct {
		name string
		addr uintptr
		n    uint64
		g    pmem2.Granularity
		want string
	}{
		{"one byte", 1 << 40, 1, 0, "0"},
		{"length 0", 1 << 40, 0, 0, "PMEM2_E_LENGTH_OUT_OF_RANGE"},
		{"the last page of all", top, page, 0, "0"},
		{"one byte more", top, page + 1, 0, "PMEM2_E_LENGTH_OUT_OF_RANGE"},
		{"2^64-1 bytes at 1", 1, math.MaxUint64, 0, "0"},
		{"2^64-1 bytes at 2", 2, math.MaxUint64, 0, "PMEM2_E_LENGTH_OUT_OF_RANGE"},
		{"address 0", 0, page, 0, "PMEM2_E_ADDRESS_NULL"},
		{"granularity 3", 1 << 40, page, 3, "PMEM2_E_GRANULARITY_NOT_SUPPORTED"},
		{"granularity -1", 1 << 40, page, -1, "PMEM2_E_GRANULARITY_NOT_SUPPORTED"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := pmem2.MapFromExisting(src, tc.addr, tc.n, tc.g)
			if outcome(err) != tc.want {
				t.Fatalf("got %v, want %s", err, tc.want)
			}
			if err != nil {
				return
			}
			defer m.Delete()
			if got, want := uint64(len(m.Bytes())), min(tc.n, math.MaxInt); got != want || m.Size() != tc.n {
				t.Errorf("size %d, %d bytes; want %d and %d", m.Size(), got, tc.n, want)
			}
			// Every byte of it is taken, and no other.
			for addr, taken := range map[uintptr]bool{
				tc.addr - 1: false, tc.addr: true, tc.addr + uintptr(tc.n-1): true, tc.addr + uintptr(tc.n): false,
			} {
				if tc.addr-1 > tc.addr || tc.addr+uintptr(tc.n) < tc.addr { // no neighbour on that side
					if !taken {
						continue
					}
				}
				other, err := pmem2.MapFromExisting(src, addr, 1, 0)
				if errors.Is(err, pmem2.ErrMappingExists) != taken {
					t.Errorf("a byte at %#x: got %v, taken %v", addr, err, taken)
				}
				if other != nil {
					other.Delete()
				}
			}
		})
	}
}

// mapsAt is a machine that maps wherever nothing is asked for at one address.
type mapsAt struct {
	*stage
	addr uintptr
}

func (p *mapsAt) Mmap(addr uintptr, n uint64, prot, flags, fd int, off int64) (uintptr, error) {
	if addr == 0 {
		addr, flags = p.addr, flags|platform.MapFixed
	}
	return p.stage.Mmap(addr, n, prot, flags, fd, off)
}

// TestStaleMap: memory that was unmapped behind a map's back may be given out again;
// the map that claims it stays the only one.
func TestStaleMap(t *testing.T) {
	s := newStage(t, emuDefault)
	r := s.reservation(4 * page)
	addr := r.Address()
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	src, _ := pmem2.SourceFromAnon(page, pmem2.On(&mapsAt{s, addr}))
	stale, err := pmem2.MapFromExisting(src, addr+page/2, 1, pmem2.GranularityByte)
	if err != nil {
		t.Fatal(err)
	}
	defer stale.Delete()
	if m, err := pmem2.NewMap(config(pmem2.GranularityPage), src); m != nil || !errors.Is(err, pmem2.ErrMappingExists) {
		t.Errorf("got %v, %v; want no map and %v", m, err, pmem2.ErrMappingExists)
	}
	if left := s.Outstanding(); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// TestDeviceOfOddSize: a device whose size is no multiple of its alignment is mapped
// whole, in multiples of it, as the kernel wants.
func TestDeviceOfOddSize(t *testing.T) {
	s := newStage(t, emuDefault)
	dax := s.m.AddDevDax(emu.DevDax{Size: 4 * devPage, Align: devPage})
	if err := s.m.Sysfs().Set(dax.SysfsPath()+"/size", fmt.Sprintln(3*devPage+page)); err != nil {
		t.Fatal(err)
	}
	src := s.source(s.open(dax.Path(), platform.ORdwr))
	m := s.newMap(config(pmem2.GranularityPage), src)
	if m.Size() != 3*devPage+page {
		t.Errorf("size %d", m.Size())
	}
	want := fmt.Sprintf("mapping of %d bytes at %#x", 4*devPage, m.Address())
	if got := fmt.Sprint(s.Outstanding()); !strings.Contains(got, want) {
		t.Errorf("holds %s, want a %s", got, want)
	}
}

// TestAppendOnly: EACCES is the append-only file's; a descriptor that isn't open
// for the protection is ErrNoAccess.
func TestAppendOnly(t *testing.T) {
	s := newStage(t, emuDefault)
	fs := s.m.AddFS(daxFS)
	f, err := fs.Create("f", page)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := fs.SetAppendOnly("f", true); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		flags int
		prot  pmem2.Prot
		want  string
	}{
		{"open for both, write", platform.ORdwr | platform.OAppend, pmem2.ProtRead | pmem2.ProtWrite, "EACCES"},
		{"open for both, read", platform.ORdwr | platform.OAppend, pmem2.ProtRead, "EACCES"},
		{"open for reading, write", platform.ORdonly, pmem2.ProtRead | pmem2.ProtWrite, "PMEM2_E_NO_ACCESS"},
		{"open for reading, read", platform.ORdonly, pmem2.ProtRead, "0"},
	} {
		cfg := config(pmem2.GranularityPage)
		cfg.SetProtection(tc.prot)
		m, err := pmem2.NewMap(cfg, s.source(s.open(fs.Path("f"), tc.flags)))
		if outcome(err) != tc.want {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.want)
		}
		if err == nil {
			m.Delete()
		}
	}
}

// TestClosedDescriptor: maps don't need it, sources do.
func TestClosedDescriptor(t *testing.T) {
	s := newStage(t, emuDefault)
	fd := s.file(pageCache, page)
	src := s.source(fd)
	m := s.newMap(config(pmem2.GranularityPage), src)
	if err := s.Close(fd); err != nil {
		t.Fatal(err)
	}
	copy(m.Bytes(), "still here")
	if err := m.Persist(m.Bytes()); err != nil {
		t.Errorf("Persist: %v", err)
	}
	if _, err := src.Size(); !errors.Is(err, pmem2.ErrInvalidFileHandle) {
		t.Errorf("Size: %v", err)
	}
	if _, err := src.Alignment(); !errors.Is(err, unix.EBADF) {
		t.Errorf("Alignment: %v", err)
	}
	if _, err := pmem2.NewMap(config(pmem2.GranularityPage), src); !errors.Is(err, pmem2.ErrInvalidFileHandle) {
		t.Errorf("NewMap: %v", err)
	}
}
