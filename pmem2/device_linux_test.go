package pmem2_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// interleaved is a region of two NVDIMMs on node 3.
var interleaved = emu.Region{
	NUMANode: 3,
	DIMMs:    []emu.DIMM{{ID: "8680-56341200", DirtyShutdowns: 5}, {ID: "8680-56341201", DirtyShutdowns: 7}},
}

// TestDevices: what a file and a device DAX tell of what they lie on, with sysfs
// edited in every way that parsing could stumble over.
func TestDevices(t *testing.T) {
	const dimm0, dimm1, region = "bus/nd/devices/nmem0", "bus/nd/devices/nmem1", "bus/nd/devices/region0"
	for _, tc := range []struct {
		name          string
		edit          string // path = text, or path removed
		id, usc, node string
	}{
		{"as it is", "", "8680-563412008680-56341201", "12", "3"},
		{"no count", dimm1 + "/nfit/dirty_shutdown", "8680-563412008680-56341201", "PMEM2_E_NOSUPP", "3"},
		{"no identifier", dimm0 + "/nfit/id", "PMEM2_E_NOSUPP", "12", "3"},
		{"no node", region + "/numa_node", "8680-563412008680-56341201", "12", "PMEM2_E_NOSUPP"},
		{"node -1", region + "/numa_node = -1\n", "8680-563412008680-56341201", "12", "-1"},
		{"node empty", region + "/numa_node = ", "8680-563412008680-56341201", "12", "EINVAL"},
		{"node of 33 bits", region + "/numa_node = 4294967296\n", "8680-563412008680-56341201", "12", "EINVAL"},
		{"count with a sign", dimm0 + "/nfit/dirty_shutdown = -1\n", "8680-563412008680-56341201", "4294967302", "3"},
		{"count of 64 bits", dimm0 + "/nfit/dirty_shutdown = 18446744073709551608\n", "8680-563412008680-56341201", "18446744073709551615", "3"},
		{"sum of 65 bits", dimm0 + "/nfit/dirty_shutdown = 18446744073709551609\n", "8680-563412008680-56341201", "ERANGE", "3"},
		{"count of 65 bits", dimm0 + "/nfit/dirty_shutdown = 18446744073709551616\n", "8680-563412008680-56341201", "ERANGE", "3"},
		{"count is no number", dimm0 + "/nfit/dirty_shutdown = 0x5\n", "8680-563412008680-56341201", "EINVAL", "3"},
		{"mappings is no number", region + "/mappings = two\n", "EINVAL", "EINVAL", "3"},
		{"one mapping", region + "/mappings = 1\n", "8680-56341200", "5", "3"},
		{"no mapping", region + "/mappings = 0\n", "PMEM2_E_NOSUPP", "PMEM2_E_NOSUPP", "3"},
		{"three mappings", region + "/mappings = 3\n", "EINVAL", "EINVAL", "3"},
		{"a billion mappings", region + "/mappings = 1000000000\n", "EINVAL", "EINVAL", "3"},
		{"mapping without a name", region + "/mapping1 = ,0,1,2\n", "EINVAL", "EINVAL", "3"},
		{"mappings swapped", region + "/mapping0 = nmem1,0,0,0\n", "8680-563412018680-56341201", "14", "3"},
		{"region not on the bus", region, "PMEM2_E_NOSUPP", "PMEM2_E_NOSUPP", "PMEM2_E_DAX_REGION_NOT_FOUND"},
		{"no bus", "bus/nd", "PMEM2_E_NOSUPP", "PMEM2_E_NOSUPP", "PMEM2_E_DAX_REGION_NOT_FOUND"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, kind := range []string{"device DAX", "file"} {
				s := newStage(t, emuDefault)
				var fd int
				if kind == "file" {
					fd = s.file(emu.FS{Size: 1 << 30, DAX: true, Region: interleaved}, page)
				} else {
					fd = s.open(s.m.AddDevDax(emu.DevDax{Size: 2 * devPage, Region: interleaved}).Path(), platform.ORdonly)
				}
				if path, text, set := strings.Cut(tc.edit, " = "); set {
					if err := s.m.Sysfs().Set(path, text); err != nil {
						t.Fatal(err)
					}
				} else if path != "" {
					if err := s.m.Sysfs().Remove(path); err != nil {
						t.Fatal(err)
					}
				}
				src := s.source(fd)
				for _, ask := range []struct {
					what string
					of   func(*pmem2.Source) (any, error)
					want string
				}{{"DeviceID", askID, tc.id}, {"DeviceUSC", askUSC, tc.usc}, {"NUMANode", askNode, tc.node}} {
					v, err := ask.of(src)
					got := fmt.Sprint(v)
					if err != nil {
						if got != "" && got != "0" {
							t.Errorf("%s, %s: %s beside an error", kind, ask.what, got)
						}
						got = outcome(err)
					}
					if got != ask.want {
						t.Errorf("%s, %s: got %s (%v), want %s", kind, ask.what, got, err, ask.want)
					}
				}
			}
		})
	}
}

// TestReadDeviceID: the buffer holds the identifier or is as it was.
func TestReadDeviceID(t *testing.T) {
	s := newStage(t, emuDefault)
	src := s.source(s.open(s.m.AddDevDax(emu.DevDax{Size: 2 * devPage, Region: interleaved}).Path(), platform.ORdonly))
	const id = "8680-563412008680-56341201"
	if n, err := src.ReadDeviceID(nil); n != len(id) || err != nil {
		t.Errorf("no buffer: got %d, %v; want %d", n, err, len(id))
	}
	for room := range len(id) + 2 {
		buf := []byte(strings.Repeat("#", room))
		n, err := src.ReadDeviceID(buf)
		if room < len(id) {
			if n != 0 || !errors.Is(err, pmem2.ErrBufferTooSmall) || strings.Trim(string(buf), "#") != "" {
				t.Errorf("room for %d: got %d, %v, %q", room, n, err, buf)
			}
		} else if n != len(id) || err != nil || string(buf) != id+strings.Repeat("#", room-len(id)) {
			t.Errorf("room for %d: got %d, %v, %q", room, n, err, buf)
		}
	}
}

// TestDeepFlushRange: a range is inside the map or nothing is done.
func TestDeepFlushRange(t *testing.T) {
	s := newStage(t, emuDefault)
	d := s.m.AddDevDax(emu.DevDax{Size: 4 * devPage, Align: devPage})
	cfg := config(pmem2.GranularityPage)
	cfg.SetOffset(devPage)
	cfg.SetLength(devPage)
	m := s.newMap(cfg, s.source(s.open(d.Path(), platform.ORdwr)))
	at := m.Address()
	const huge = 1<<64 - 1
	done := uint64(0)
	for _, tc := range []struct {
		addr uintptr
		n    uint64
		want string
	}{
		{at, devPage, "0"},
		{at, 1, "0"},
		{at + devPage - 1, 1, "0"},
		{at + 1, devPage - 1, "0"},
		{at, 0, "nothing"},
		{at + devPage, 0, "nothing"},
		{at, devPage + 1, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{at - 1, 1, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{at - 1, 0, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{at + devPage, 1, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{at + devPage + 1, 0, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{at, huge, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{at + 1, huge, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{at + devPage, huge, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{at + devPage - 1, huge - uint64(at) - devPage + 3, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{0, 0, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{0, uint64(at) + 1, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{huge, 1, "PMEM2_E_DEEP_FLUSH_RANGE"},
		{huge, huge, "PMEM2_E_DEEP_FLUSH_RANGE"},
	} {
		got := outcome(m.DeepFlushRange(tc.addr, tc.n))
		if flushed := d.DeepFlushes() - done; flushed == 0 && got == "0" {
			got = "nothing"
		} else if flushed > 1 || flushed == 1 && got != "0" {
			t.Errorf("%d bytes at %#x: %d flushes", tc.n, tc.addr, flushed)
		}
		done = d.DeepFlushes()
		if got != tc.want {
			t.Errorf("%d bytes at %#x of [%#x, +%#x): got %s, want %s", tc.n, tc.addr, at, devPage, got, tc.want)
		}
	}
	if err := m.DeepFlush(nil); err != nil {
		t.Errorf("DeepFlush of nothing: %v", err)
	}
}

// TestDeepFlushAttribute: what the region offers.
func TestDeepFlushAttribute(t *testing.T) {
	for _, tc := range []struct {
		name   string
		region emu.Region
		fail   unix.Errno // of the attribute
		want   string
		wrote  uint64
	}{
		{"hints", emu.Region{}, 0, "0", 1},
		{"no hints", emu.Region{NoFlushHints: true}, 0, "0", 0},
		{"no attribute", emu.Region{NoDeepFlush: true}, 0, "0", 0},
		{"unreadable", emu.Region{}, unix.EACCES, "EACCES", 0},
		{"broken", emu.Region{}, unix.EIO, "EIO", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStage(t, emu.Config{EADR: true})
			d := s.m.AddDevDax(emu.DevDax{Size: devPage, Region: tc.region})
			m := s.newMap(config(pmem2.GranularityByte), s.source(s.open(d.Path(), platform.ORdwr)))
			if tc.fail != 0 {
				if err := s.m.Sysfs().Fail(d.RegionPath()+"/deep_flush", tc.fail); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.DeepFlush(m.Bytes()); outcome(err) != tc.want || d.DeepFlushes() != tc.wrote {
				t.Errorf("got %v and %d flushes, want %s and %d", err, d.DeepFlushes(), tc.want, tc.wrote)
			}
		})
	}
}

// TestDeepFlushOfOthersMemory: a map from MapFromExisting knows what its source is,
// also once the source is gone.
func TestDeepFlushOfOthersMemory(t *testing.T) {
	s := newStage(t, emuDefault)
	d := s.m.AddDevDax(emu.DevDax{Size: devPage})
	f, err := d.Open(platform.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	src := s.source(f.FD())
	own := s.newMap(config(pmem2.GranularityPage), src)
	at, err := s.Mmap(0, devPage, platform.ProtRead|platform.ProtWrite, platform.MapShared, f.FD(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Munmap(at, devPage)
	m, err := pmem2.MapFromExisting(src, at, devPage, pmem2.GranularityCacheLine)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Delete()
	src.Delete()
	f.Close()
	for i, m := range []*pmem2.Map{own, m} {
		if err := m.DeepFlush(m.Bytes()[5:6]); err != nil || d.DeepFlushes() != uint64(i+1) {
			t.Errorf("map %d: got %v, %d flushes", i, err, d.DeepFlushes())
		}
	}
}
