package emu_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// A region of n DIMMs has n mappings of equal size, which are all of it, and n nodes.
func TestRegionDIMMs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dimms int
		size  uint64 // of the device
		align uint64
		share uint64 // of each DIMM
		text  string // of the region's align
	}{
		{0, 62 << 20, 2 << 20, 64 << 20, "0x1000000\n"},
		{1, 62 << 20, 2 << 20, 64 << 20, "0x1000000\n"},
		{2, 62 << 20, 2 << 20, 32 << 20, "0x1000000\n"},
		{3, 62 << 20, 2 << 20, (64<<20 + 8<<10) / 3, "0x3000000\n"},
		{6, 4 << 10, 4 << 10, 344 << 10, "0x6000\n"},
		{31, 62 << 20, 2 << 20, 529 << 12, "0x1f000000\n"},
		{32, 62 << 20, 2 << 20, 2 << 20, "0x1000000\n"},
		{2, 1 << 30, 1 << 30, 1 << 30, "0x1000000\n"},
	} {
		m := newMachine(t, emu.Config{})
		m.AddDevDax(emu.DevDax{Size: 2 << 20}) // takes nmem0
		dax := m.AddDevDax(emu.DevDax{
			Size: c.size, Align: c.align, Region: emu.Region{DIMMs: make([]emu.DIMM, c.dimms)},
		})
		if err := m.Err(); err != nil {
			t.Fatalf("%d DIMMs: %v", c.dimms, err)
		}
		region, n := dax.RegionPath(), max(1, c.dimms)
		want := map[string]string{
			"mappings": fmt.Sprintf("%d\n", n),
			"size":     fmt.Sprintf("%d\n", c.share*uint64(n)),
			"align":    c.text,
		}
		var paths []string
		ids := map[string]bool{read(t, m, "bus/nd/devices/nmem0/nfit/id"): true}
		for i := range n {
			want[fmt.Sprintf("mapping%d", i)] = fmt.Sprintf("nmem%d,0,%d,%d\n", i+1, c.share, i)
			path := fmt.Sprintf("bus/nd/devices/nmem%d", i+1)
			paths = append(paths, path)
			id, serial := read(t, m, path+"/nfit/id"), read(t, m, path+"/nfit/serial")
			if ids[id] || "8680-"+strings.TrimPrefix(serial, "0x") != id {
				t.Errorf("%d DIMMs: %s has the id %q and the serial number %q", c.dimms, path, id, serial)
			}
			ids[id] = true
			fd, err := m.Open(fmt.Sprintf("/dev/nmem%d", i+1), platform.ORdwr, 0)
			if err != nil {
				t.Errorf("%d DIMMs: /dev/nmem%d: %v", c.dimms, i+1, err)
				continue
			}
			if err := m.Close(fd); err != nil {
				t.Error(err)
			}
		}
		if got := dax.DIMMPaths(); !slices.Equal(got, paths) {
			t.Errorf("%d DIMMs: DIMMPaths are %v, want %v", c.dimms, got, paths)
		}
		for name, text := range want {
			if got := read(t, m, region+"/"+name); got != text {
				t.Errorf("%d DIMMs: %s is %q, want %q", c.dimms, name, got, text)
			}
		}
		if _, err := m.ReadAttr(fmt.Sprintf("%s/mapping%d", region, n)); err != unix.ENOENT {
			t.Errorf("%d DIMMs: mapping%d: got %v, want ENOENT", c.dimms, n, err)
		}
		if got, want := dax.Size(), c.size; got != want || read(t, m, dax.SysfsPath()+"/size") != fmt.Sprintf("%d\n", want) {
			t.Errorf("%d DIMMs: the device has %d bytes, want %d", c.dimms, got, want)
		}
		// The next region doesn't begin before the end of this one.
		next := m.AddDevDax(emu.DevDax{Size: 2 << 20})
		var start, size, at uint64
		for path, v := range map[string]*uint64{
			region + "/resource": &start, region + "/size": &size, next.RegionPath() + "/resource": &at,
		} {
			if _, err := fmt.Sscan(read(t, m, path), v); err != nil {
				t.Fatal(err)
			}
		}
		if at < start+size {
			t.Errorf("%d DIMMs: [%#x, +%#x) is followed by a region at %#x", c.dimms, start, size, at)
		}
	}
}

func TestDIMM(t *testing.T) {
	t.Parallel()
	const none = "ENOENT"
	for _, c := range []struct {
		dimm emu.DIMM
		want map[string]string
	}{
		{emu.DIMM{}, map[string]string{
			"nfit/id": "8680-56341200\n", "nfit/dirty_shutdown": "0\n", "nfit/flags": "\n", "flags": "\n",
			"commands": "smart cmd_call \n", "nfit/dsm_mask": "0x2\n", "nfit/family": "0\n",
		}},
		{emu.DIMM{ID: "8089-a2-1837-000019c4"}, map[string]string{
			"nfit/id": "8089-a2-1837-000019c4\n", "nfit/vendor": "0x8089\n", "nfit/serial": "0x000019c4\n",
		}},
		{emu.DIMM{NoID: true}, map[string]string{"nfit/id": none, "nfit/serial": "0x56341200\n", "nfit/dirty_shutdown": "0\n"}},
		{emu.DIMM{NoDirtyShutdown: true}, map[string]string{
			"nfit/dirty_shutdown": none, "nfit/id": "8680-56341200\n",
			"commands": "cmd_call \n", "nfit/dsm_mask": "ENXIO", "nfit/family": "ENXIO",
		}},
		{emu.DIMM{DirtyShutdowns: 1<<31 - 1}, map[string]string{"nfit/dirty_shutdown": "2147483647\n"}},
		{emu.DIMM{DirtyShutdowns: 1 << 31}, map[string]string{"nfit/dirty_shutdown": "-2147483648\n"}},
		{emu.DIMM{DirtyShutdowns: 1<<32 - 1}, map[string]string{"nfit/dirty_shutdown": "-1\n"}},
		{emu.DIMM{Flags: " smart_notify  not_armed save_fail not_armed"}, map[string]string{
			"nfit/flags": "save_fail not_armed smart_notify \n", "flags": "\n",
		}},
		{emu.DIMM{Flags: "smart_notify map_fail smart_event not_armed flush_fail restore_fail save_fail"}, map[string]string{
			"nfit/flags": "save_fail restore_fail flush_fail not_armed smart_event map_fail smart_notify \n",
		}},
	} {
		m := newMachine(t, emu.Config{})
		fs := m.AddFS(emu.FS{Size: 2 << 20, Region: emu.Region{DIMMs: []emu.DIMM{{ID: "8680-56341200"}, c.dimm}}})
		dax := m.AddDevDax(emu.DevDax{Size: 2 << 20, Region: emu.Region{DIMMs: []emu.DIMM{c.dimm, c.dimm}}})
		if err := m.Err(); err != nil {
			t.Errorf("%+v: %v", c.dimm, err)
			continue
		}
		for i, path := range []string{fs.BlockDevice().DIMMPaths()[1], dax.DIMMPaths()[0], dax.DIMMPaths()[1]} {
			for name, want := range c.want {
				if c.dimm.ID == "" && i != 0 && (name == "nfit/id" || name == "nfit/serial") {
					continue // made up, and another one
				}
				if c.dimm.ID == "" && i == 0 {
					want = strings.Replace(want, "56341200", "57341200", 1)
				}
				got, err := m.ReadAttr(path + "/" + name)
				switch {
				case errors.Is(err, unix.ENOENT):
					got = none
				case errors.Is(err, unix.ENXIO):
					got = "ENXIO"
				}
				if got != want {
					t.Errorf("%+v: %s/%s is %q, %v; want %q", c.dimm, path, name, got, err, want)
				}
			}
		}
		armed := "0\n"
		if strings.Contains(c.dimm.Flags, "not_armed") {
			armed = "1\n"
		}
		for _, path := range []string{dax.RegionPath() + "/read_only", fs.BlockDevice().SysfsPath() + "/ro"} {
			if got := read(t, m, path); got != armed {
				t.Errorf("%+v: %s is %q, want %q", c.dimm, path, got, armed)
			}
		}
	}
}

// A later boot tells another count; nobody can write it.
func TestDirtyShutdownRises(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 2 << 20, Region: emu.Region{DIMMs: []emu.DIMM{{DirtyShutdowns: 5}, {DirtyShutdowns: 7}}}})
	path := dax.DIMMPaths()[1] + "/nfit/dirty_shutdown"
	if err := m.Sysfs().Set(path, "8\n"); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteAttr(path, "9\n"); err != unix.EACCES {
		t.Errorf("write: got %v, want EACCES", err)
	}
	if got := read(t, m, dax.DIMMPaths()[0]+"/nfit/dirty_shutdown") + read(t, m, path); got != "5\n8\n" {
		t.Errorf("got %q, want 5 and 8", got)
	}
}

func TestNUMANode(t *testing.T) {
	t.Parallel()
	for _, node := range []int{0, 1, 1023, -1} {
		m := newMachine(t, emu.Config{})
		region := emu.Region{NUMANode: node}
		dax := m.AddDevDax(emu.DevDax{Size: 2 << 20, Region: region})
		block := m.AddFS(emu.FS{Size: 2 << 20, Region: region}).BlockDevice()
		other := m.AddDevDax(emu.DevDax{Size: 2 << 20})
		for _, path := range []string{
			dax.SysfsPath(), dax.SysfsPath() + "/../", dax.RegionPath(), block.RegionPath(), block.SysfsPath() + "/device",
			"bus/nd/devices/namespace0.0", "bus/nd/devices/namespace1.0", "bus/nd/devices/btt0.0", "bus/nd/devices/dax0.1",
		} {
			want := fmt.Sprintf("%d\n", node)
			if got := read(t, m, path+"/numa_node"); got != want {
				t.Errorf("node %d: %s/numa_node is %q", node, path, got)
			}
			if got, err := m.ReadAttr(path + "/target_node"); node >= 0 && got != want || node < 0 && err != unix.ENOENT {
				t.Errorf("node %d: %s/target_node is %q, %v", node, path, got, err)
			}
		}
		if got := read(t, m, other.SysfsPath()+"/numa_node"); got != "0\n" {
			t.Errorf("node %d: that of another region is %q", node, got)
		}
	}
}

func TestDeepFlush(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 2 << 20})
	block := m.AddFS(emu.FS{Size: 2 << 20, DAX: true}).BlockDevice()
	path := dax.RegionPath() + "/deep_flush"
	flushes := uint64(0)
	for _, c := range []struct {
		text string
		want error
	}{
		{"1", nil}, {"1\n", nil}, {"y", nil}, {"Yes", nil}, {"t", nil}, {"TRUE\n", nil}, {"on", nil}, {"1 or 0", nil},
		{"0", unix.EINVAL}, {"0\n", unix.EINVAL}, {"n", unix.EINVAL}, {"false", unix.EINVAL}, {"off", unix.EINVAL},
		{"?", unix.EINVAL}, {"o", unix.EINVAL}, {"2", unix.EINVAL}, {" 1", unix.EINVAL}, {"\n", unix.EINVAL}, {"\x00", unix.EINVAL},
	} {
		if c.want == nil {
			flushes++
		}
		if err := m.WriteAttr(path, c.text); err != c.want {
			t.Errorf("write %q: got %v, want %v", c.text, err, c.want)
		}
		if got := dax.DeepFlushes(); got != flushes {
			t.Fatalf("after write %q: %d flushes, want %d", c.text, got, flushes)
		}
		if got := read(t, m, path); got != "1\n" {
			t.Fatalf("after write %q: %q", c.text, got)
		}
	}
	if err := m.WriteAttr(path, ""); err != nil || dax.DeepFlushes() != flushes {
		t.Errorf("write of nothing: got %v and %d flushes, want none more than %d", err, dax.DeepFlushes(), flushes)
	}
	if got := block.DeepFlushes(); got != 0 {
		t.Errorf("the other region was flushed %d times", got)
	}
	if got := m.DevZero().DeepFlushes(); got != 0 || m.DevZero().DIMMPaths() != nil {
		t.Errorf("/dev/zero was flushed %d times and has the DIMMs %v", got, m.DevZero().DIMMPaths())
	}
	var wg sync.WaitGroup
	const goroutines, each = 8, 100
	for range goroutines {
		wg.Go(func() {
			for range each {
				if err := m.WriteAttr(block.RegionPath()+"/deep_flush", "1"); err != nil {
					t.Error(err)
				}
				_ = block.DeepFlushes()
			}
		})
	}
	wg.Wait()
	if got := block.DeepFlushes(); got != goroutines*each {
		t.Errorf("got %d flushes, want %d", got, goroutines*each)
	}

	for _, c := range []struct {
		region     emu.Region
		fs         emu.FS
		text       string // of deep_flush; "" for none
		write      error
		fua        string
		dimms      int
		domainRead error
	}{
		{emu.Region{}, emu.FS{}, "1\n", nil, "1\n", 1, nil},
		{emu.Region{NoFlushHints: true}, emu.FS{}, "0\n", unix.EACCES, "0\n", 1, nil},
		{emu.Region{NoDeepFlush: true}, emu.FS{}, "", unix.ENOENT, "0\n", 1, nil},
		{emu.Region{NoDeepFlush: true, NoFlushHints: true}, emu.FS{}, "", unix.ENOENT, "0\n", 1, nil},
		{emu.Region{Legacy: true}, emu.FS{}, "", unix.ENOENT, "0\n", 0, unix.ENOENT},
		{emu.Region{}, emu.FS{VirtioPmem: true}, "", unix.ENOENT, "0\n", 0, unix.ENOENT},
	} {
		m := newMachine(t, emu.Config{})
		c.fs.Size, c.fs.Region = 2<<20, c.region
		block := m.AddFS(c.fs).BlockDevice()
		path := block.RegionPath() + "/deep_flush"
		got, err := m.ReadAttr(path)
		if got != c.text || c.text == "" && err != unix.ENOENT {
			t.Errorf("%+v: deep_flush is %q, %v; want %q", c.fs, got, err, c.text)
		}
		if err := m.WriteAttr(path, "1"); err != c.write {
			t.Errorf("%+v: write: got %v, want %v", c.fs, err, c.write)
		}
		want := uint64(0)
		if c.write == nil {
			want = 1
		}
		if got := block.DeepFlushes(); got != want {
			t.Errorf("%+v: %d flushes, want %d", c.fs, got, want)
		}
		if got := read(t, m, block.SysfsPath()+"/queue/fua"); got != c.fua {
			t.Errorf("%+v: fua is %q, want %q", c.fs, got, c.fua)
		}
		if got := block.DIMMPaths(); len(got) != c.dimms {
			t.Errorf("%+v: DIMMs are %v, want %d", c.fs, got, c.dimms)
		}
		if _, err := m.ReadAttr(block.RegionPath() + "/persistence_domain"); err != c.domainRead {
			t.Errorf("%+v: persistence_domain: got %v, want %v", c.fs, err, c.domainRead)
		}
	}
}

// Regions of all kinds side by side: each kind on its own bus, NVDIMM regions counted by
// themselves.
func TestRegionBuses(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	legacy := emu.Region{Legacy: true, NUMANode: 1}
	m.AddDevDax(emu.DevDax{Size: 2 << 20, Region: legacy})
	m.AddFS(emu.FS{Size: 2 << 20, VirtioPmem: true})
	m.AddDevDax(emu.DevDax{Size: 2 << 20, Region: emu.Region{DIMMs: []emu.DIMM{
		{ID: "8680-01100000"}, {ID: "8680-02100000"},
	}}})
	m.AddFS(emu.FS{Size: 2 << 20, Region: legacy})
	m.AddDevDax(emu.DevDax{Size: 2 << 20})
	if err := m.Err(); err != nil {
		t.Fatal(err)
	}
	m.SetEADR(true)
	for path, want := range map[string]string{
		"bus/nd/devices/region0/../provider":                 "e820\n",
		"bus/nd/devices/region1/../provider":                 "virtio-pmem\n",
		"bus/nd/devices/region2/../provider":                 "ACPI.NFIT\n",
		"bus/nd/devices/region3/../provider":                 "e820\n",
		"bus/nd/devices/region3/../../ndbus0/commands":       "\n",
		"bus/nd/devices/region3/numa_node":                   "1\n",
		"bus/nd/devices/ndbus2/commands":                     "ars_cap ars_start ars_status clear_error cmd_call \n",
		"bus/nd/devices/region2/nfit/range_index":            "1\n",
		"bus/nd/devices/region4/nfit/range_index":            "2\n",
		"bus/nd/devices/region2/mapping1":                    "nmem1,0,2097152,1\n",
		"bus/nd/devices/region2/set_cookie":                  "0xc00a00003003\n", // lines of 4 KiB
		"bus/nd/devices/region4/set_cookie":                  "0x2468b000123458\n",
		"bus/nd/devices/region4/mapping0":                    "nmem2,0,4194304,0\n",
		"bus/nd/devices/region4/persistence_domain":          "cpu_cache\n",
		"bus/nd/drivers/nvdimm/nmem2/nfit/handle":            "0x3\n",
		"bus/nd/devices/nmem2/dev":                           "245:2\n",
		"bus/nd/devices/region0/dax0.0/dax0.0/../../devtype": "nd_pmem\n",
	} {
		if got := read(t, m, path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	for _, path := range []string{"region0/persistence_domain", "region0/set_cookie", "region3/deep_flush", "region3/nfit/range_index", "nmem3"} {
		if _, err := m.ReadAttr("bus/nd/devices/" + path); err != unix.ENOENT {
			t.Errorf("%s: got %v, want ENOENT", path, err)
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	m.AddDevDax(emu.DevDax{Size: 2 << 20})
	const path = "bus/nd/devices/ndbus0/nfit/scrub"
	for _, c := range []struct {
		text string
		want error
		then string
	}{
		{"0", unix.EINVAL, "1\n"}, {"x", unix.EINVAL, "1\n"}, {"", nil, "1\n"}, {"1", nil, "2\n"}, {"1\n", nil, "3\n"}, {"2", unix.EINVAL, "3\n"},
	} {
		if err := m.WriteAttr(path, c.text); err != c.want {
			t.Errorf("write %q: got %v, want %v", c.text, err, c.want)
		}
		if got := read(t, m, path); got != c.then {
			t.Errorf("after write %q: got %q, want %q", c.text, got, c.then)
		}
	}
	m = newMachine(t, emu.Config{NoClearError: true})
	m.AddDevDax(emu.DevDax{Size: 2 << 20})
	if _, err := m.ReadAttr(path); err != unix.ENOENT {
		t.Errorf("firmware that can't scrub: got %v, want ENOENT", err)
	}
	const bus = "bus/nd/devices/ndbus0/"
	if got := read(t, m, bus+"commands") + read(t, m, bus+"nfit/dsm_mask"); got != "cmd_call \n0x0\n" {
		t.Errorf("firmware that can't scrub: commands and dsm_mask are %q", got)
	}
}

// What can't be is said of the value, by Err and by whoever opens the device.
func TestRegionErrors(t *testing.T) {
	t.Parallel()
	one := func(d emu.DIMM) emu.Region { return emu.Region{DIMMs: []emu.DIMM{{}, d}} }
	for _, c := range []struct {
		region emu.Region
		want   []string
	}{
		{emu.Region{DIMMs: make([]emu.DIMM, 33)}, []string{"Region.DIMMs has 33 ", "at most 32"}},
		{emu.Region{NUMANode: -2}, []string{"Region.NUMANode is -2", "-1 (none) to 1023"}},
		{emu.Region{NUMANode: 1024}, []string{"Region.NUMANode is 1024", "-1 (none) to 1023"}},
		{emu.Region{Legacy: true, DIMMs: make([]emu.DIMM, 1)}, []string{"Region.DIMMs has 1 ", "with Legacy are none"}},
		{one(emu.DIMM{ID: "8680"}), []string{`Region.DIMMs[1].ID is "8680"`, `"8680-56341200"`}},
		{one(emu.DIMM{ID: "8680-5634120"}), []string{`DIMMs[1].ID is "8680-5634120"`}},
		{one(emu.DIMM{ID: "8680-563412000"}), []string{`DIMMs[1].ID is "8680-563412000"`}},
		{one(emu.DIMM{ID: "8680-5634120G"}), []string{`DIMMs[1].ID is "8680-5634120G"`}},
		{one(emu.DIMM{ID: "8680-5634120A"}), []string{`DIMMs[1].ID is "8680-5634120A"`, "small"}},
		{one(emu.DIMM{ID: "8680-56341200\n"}), []string{`DIMMs[1].ID is "8680-56341200\n"`}},
		{one(emu.DIMM{ID: "8680-a2-56341200"}), []string{`DIMMs[1].ID is "8680-a2-56341200"`}},
		{one(emu.DIMM{ID: "8680-56341200", NoID: true}), []string{`DIMMs[1].ID is "8680-56341200"`, `with NoID is ""`}},
		{one(emu.DIMM{DirtyShutdowns: 1 << 32}), []string{"DIMMs[1].DirtyShutdowns is 4294967296", "at most 4294967295"}},
		{one(emu.DIMM{DirtyShutdowns: 1, NoDirtyShutdown: true}), []string{"DIMMs[1].DirtyShutdowns is 1,", "with NoDirtyShutdown is 0"}},
		{one(emu.DIMM{Flags: "not_armed dirty"}), []string{`DIMMs[1].Flags has "dirty"`, "save_fail, restore_fail, flush_fail"}},
		{one(emu.DIMM{Flags: "not_armed,flush_fail"}), []string{`DIMMs[1].Flags has "not_armed,flush_fail"`}},
	} {
		m := newMachine(t, emu.Config{})
		_, err := m.AddDevDax(emu.DevDax{Size: 2 << 20, Region: c.region}).Open(platform.ORdwr)
		if err == nil || err != m.Err() || !strings.Contains(err.Error(), "emu: DevDax.Region") {
			t.Errorf("%+v: Open gives %v, Err %v", c.region, err, m.Err())
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %q doesn't say %q", c.region, err, want)
			}
		}
		m = newMachine(t, emu.Config{})
		fs := m.AddFS(emu.FS{Size: 2 << 20, Region: c.region})
		_, err = fs.Create("a", 4096)
		_, openErr := fs.BlockDevice().Open(platform.ORdwr)
		if err == nil || err != m.Err() || err != openErr || !strings.Contains(err.Error(), "emu: FS.Region") {
			t.Errorf("%+v: Create gives %v, Open %v, Err %v", c.region, err, openErr, m.Err())
		}
		if names, err := m.List("bus/nd"); err == nil {
			t.Errorf("%+v: left %v behind", c.region, names)
		}
	}
	for _, fs := range []emu.FS{{Type: emu.Tmpfs}, {VirtioPmem: true}} {
		for _, region := range []emu.Region{
			{DIMMs: make([]emu.DIMM, 1)}, {NUMANode: 1}, {NoFlushHints: true}, {NoDeepFlush: true}, {Legacy: true},
		} {
			m := newMachine(t, emu.Config{})
			fs.Size, fs.Region = 2<<20, region
			_, err := m.AddFS(fs).Create("a", 4096)
			if err == nil || err != m.Err() || !strings.Contains(err.Error(), "emu: FS.Region is ") {
				t.Errorf("%+v: got %v, Err %v", fs, err, m.Err())
			}
		}
		m := newMachine(t, emu.Config{})
		fs.Region = emu.Region{DIMMs: []emu.DIMM{}}
		if m.AddFS(fs); m.Err() != nil {
			t.Errorf("%+v: %v", fs, m.Err())
		}
	}
}
