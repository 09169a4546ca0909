package emu_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
)

func read(t *testing.T, m *emu.Machine, path string) string {
	t.Helper()
	text, err := m.ReadAttr(path)
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return text
}

// What a library reads of each device, and the links on the way there.
func TestSysfsOfDevices(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	m.AddDevDax(emu.DevDax{Size: 62 << 20})
	m.AddDevDax(emu.DevDax{Size: 62 << 20, Align: 4096})
	m.AddFS(emu.FS{Size: 62 << 20, DAX: true})
	m.AddFS(emu.FS{Size: 126 << 20, DAX: true, VirtioPmem: true})
	for path, want := range map[string]string{
		"dev/char/252:0/size":                                 "65011712\n",
		"dev/char/252:0/align":                                "2097152\n",
		"dev/char/252:0/dev":                                  "252:0\n",
		"dev/char/252:0/resource":                             "0x100200000\n",
		"dev/char/252:0/mapping0/end":                         "0x103ffffff\n",
		"dev/char/252:0/uevent":                               "MAJOR=252\nMINOR=0\nDEVNAME=dax0.0\nDRIVER=device_dax\nMODALIAS=dax:t0\n",
		"dev/char/252:0/../dax_region/size":                   "65011712\n",
		"dev/char/252:0/../../deep_flush":                     "1\n",
		"dev/char/252:0/../../persistence_domain":             "memory_controller\n",
		"dev/char/252:0/../../mapping0":                       "nmem0,0,67108864,0\n",
		"dev/char/252:1/align":                                "4096\n",
		"dev/char/252:1/target_node":                          "0\n",
		"bus/dax/devices/dax1.0/numa_node":                    "0\n",
		"bus/nd/devices/region1/resource":                     "0x108000000\n",
		"bus/nd/devices/region0/set_cookie":                   "0x2468ac00123456\n",
		"bus/nd/devices/region0/badblocks":                    "",
		"bus/nd/devices/namespace0.0/holder":                  "dax0.0\n",
		"bus/nd/devices/dax0.0/supported_alignments":          "4096 2097152 1073741824 \n",
		"bus/nd/devices/nmem0/nfit/id":                        "8680-56341200\n",
		"bus/nd/devices/nmem1/nfit/id":                        "8680-57341200\n",
		"bus/nd/devices/nmem2/nfit/handle":                    "0x3\n",
		"bus/nd/devices/nmem0/nfit/flags":                     "\n",
		"bus/nd/devices/nmem0/nfit/dirty_shutdown":            "0\n",
		"bus/nd/devices/nmem0/nfit/family":                    "0\n",
		"bus/nd/devices/nmem0/nfit/dsm_mask":                  "0x2\n",
		"bus/nd/devices/nmem0/commands":                       "smart cmd_call \n",
		"bus/nd/devices/ndbus0/provider":                      "ACPI.NFIT\n",
		"class/nd/ndctl0/device/wait_probe":                   "1\n",
		"dev/block/259:0/size":                                "126976\n",
		"dev/block/259:0/queue/dax":                           "1\n",
		"dev/block/259:0/dax/write_cache":                     "1\n",
		"dev/block/259:0/badblocks":                           "",
		"dev/block/259:0/device/resource":                     "0x110200000\n",
		"dev/block/259:0/device/../persistence_domain":        "memory_controller\n",
		"dev/block/259:0/queue/write_cache":                   "write back\n",
		"bus/nd/devices/region2/size":                         "67108864\n",
		"bus/nd/devices/pfn2.0/size":                          "65011712\n",
		"bus/nd/devices/region0/btt_seed":                     "btt0.0\n",
		"bus/nd/devices/region0/dax_seed":                     "dax0.1\n",
		"bus/nd/devices/region0/pfn_seed":                     "pfn0.0\n",
		"bus/nd/devices/region2/dax_seed":                     "dax2.0\n",
		"bus/nd/devices/region2/pfn_seed":                     "pfn2.1\n",
		"bus/nd/devices/dax0.1/namespace":                     "\n",
		"bus/nd/devices/dax0.1/uevent":                        "DEVTYPE=nd_dax\nMODALIAS=nd:t7\n",
		"bus/nd/devices/pfn0.0/mode":                          "none\n",
		"bus/nd/devices/btt0.0/sector_size":                   "512 520 528 4096 4104 4160 4224 \n",
		"bus/nd/devices/region3/mappings":                     "0\n",
		"bus/nd/devices/region3/numa_node":                    "-1\n",
		"bus/nd/devices/ndbus1/provider":                      "virtio-pmem\n",
		"dev/block/259:1/device/../nstype":                    "4\n",
		"bus/nd/drivers/nd_region/region3/devtype":            "nd_pmem\n",
		"bus/nd/devices/region0/driver/region1/nstype":        "4\n",
		"bus/nd/devices/region0/nfit/range_index":             "1\n",
		"dev/char/1:5/uevent":                                 "MAJOR=1\nMINOR=5\nDEVNAME=zero\nDEVMODE=0666\n",
		"class/mem/null/dev":                                  "1:3\n",
		"class/block/pmem2/bdi/read_ahead_kb":                 "128\n",
		"bus/nd/devices/../../../dev/block/259:1/dev":         "259:1\n",
		"bus/dax/drivers/device_dax/dax0.0/driver/dax1.0/dev": "252:1\n",
	} {
		if got := read(t, m, path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"dev/char/252:0":              "../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0/dax0.0/dax0.0",
		"dev/char/252:0/subsystem":    "../../../../../../../../bus/dax",
		"dev/char/252:0/driver":       "../../../../../../../../bus/dax/drivers/device_dax",
		"dev/block/259:0":             "../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region2/pfn2.0/block/pmem2",
		"dev/block/259:0/device":      "../../../pfn2.0",
		"dev/block/259:0/subsystem":   "../../../../../../../../../class/block",
		"bus/nd/devices/region0":      "../../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/region0",
		"dev/char/1:5":                "../../devices/virtual/mem/zero",
		"bus/nd/devices/region3":      "../../../devices/pci0000:00/0000:00:01.0/virtio0/ndbus1/region3",
		"class/nd/ndctl0":             "../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus0/nd/ndctl0",
		"bus/nd/devices/nmem0/driver": "../../../../../../bus/nd/drivers/nvdimm",
	} {
		if got, err := m.Readlink(path); err != nil || got != want {
			t.Errorf("link %s: got %q, %v; want %q", path, got, err, want)
		}
	}
	for path, want := range map[string]error{
		"dev/char/252:7/size":                       unix.ENOENT,
		"dev/char/252:0":                            unix.EISDIR,
		"dev/char/252:0/size/x":                     unix.ENOTDIR,
		"bus/nd/devices/dax0.1/size":                unix.ENXIO,
		"bus/nd/devices/region3/persistence_domain": unix.ENOENT,
		"bus/nd/devices/region3/deep_flush":         unix.ENOENT,
		"bus/nd/devices/region3/mapping0":           unix.ENOENT,
	} {
		if _, err := m.ReadAttr(path); err != want {
			t.Errorf("read %s: got %v, want %v", path, err, want)
		}
	}
	names, err := m.List("bus/nd/devices")
	if err != nil || !slices.IsSorted(names) || !slices.Contains(names, "region3") || slices.Contains(names, "nmem3") {
		t.Errorf("List: %v, %v", names, err)
	}
	// Every link leads somewhere.
	var walk func(dir string)
	walk = func(dir string) {
		names, err := m.List(dir)
		if err != nil {
			t.Errorf("list %s: %v", dir, err)
		}
		for _, name := range names {
			path := strings.TrimPrefix(dir+"/"+name, "/")
			target, err := m.Readlink(path)
			switch {
			case err == nil:
				if _, err := m.List(path); err != nil {
					t.Errorf("%s -> %s: %v", path, target, err)
				}
			case second(m.ReadAttr(path)) == unix.EISDIR:
				walk(path)
			}
		}
	}
	walk("")
}

func TestSysfsEdit(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 2 << 20})
	tree := m.Sysfs()
	region := dax.RegionPath()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(tree.Set(dax.SysfsPath()+"/size", "12345\n"))
	if got := read(t, m, "bus/dax/devices/dax0.0/size"); got != "12345\n" {
		t.Errorf("size after Set: %q", got)
	}
	must(tree.Set("new/dir/attr", "text"))
	if got := read(t, m, "new/dir/attr"); got != "text" {
		t.Errorf("a new attribute: %q", got)
	}
	long := strings.Repeat("x", 5000)
	must(tree.Set("new/long", long))
	if got := read(t, m, "new/long"); len(got) != int(m.PageSize())-1 {
		t.Errorf("a long attribute reads %d bytes, want one less than a page", len(got))
	}
	must(tree.Link("new/link", "dir"))
	if got := read(t, m, "new/link/attr"); got != "text" {
		t.Errorf("through a link: %q", got)
	}
	must(tree.Link("new/loop", "loop"))
	if _, err := m.ReadAttr("new/loop/x"); err != unix.ELOOP {
		t.Errorf("through a loop: got %v, want ELOOP", err)
	}
	must(tree.Link("new/absolute", "/sys/new/dir"))
	if got := read(t, m, "new/absolute/attr"); got != "text" {
		t.Errorf("through an absolute link: %q", got)
	}

	must(tree.Fail(region+"/persistence_domain", unix.EACCES))
	if _, err := m.ReadAttr(region + "/persistence_domain"); err != unix.EACCES {
		t.Errorf("failing attribute: got %v, want EACCES", err)
	}
	must(tree.Fail(region+"/persistence_domain", 0))
	read(t, m, region+"/persistence_domain")
	must(tree.Fail(dax.SysfsPath(), unix.EIO))
	for call, err := range map[string]error{
		"read":     second(m.ReadAttr(dax.SysfsPath() + "/align")),
		"write":    m.WriteAttr(dax.SysfsPath()+"/align", "1"),
		"list":     second(m.List(dax.SysfsPath())),
		"readlink": second(m.Readlink(dax.SysfsPath())),
	} {
		if err != unix.EIO {
			t.Errorf("%s through a failing link: got %v, want EIO", call, err)
		}
	}
	read(t, m, "bus/dax/devices/dax0.0/align") // another way there
	must(tree.Fail("bus/dax/devices/dax0.0/mapping0", unix.EPERM))
	if _, err := m.ReadAttr("bus/dax/devices/dax0.0/mapping0/start"); err != unix.EPERM {
		t.Errorf("in a failing directory: got %v, want EPERM", err)
	}

	must(tree.Remove(region + "/deep_flush"))
	if _, err := m.ReadAttr(region + "/deep_flush"); err != unix.ENOENT {
		t.Errorf("removed attribute: got %v, want ENOENT", err)
	}
	must(tree.Remove(region))
	if _, err := m.List(region); err != unix.ENOENT {
		t.Errorf("removed link: got %v, want ENOENT", err)
	}
	for call, c := range map[string]struct{ err, want error }{
		"Remove of nothing":      {tree.Remove("none"), unix.ENOENT},
		"Fail of nothing":        {tree.Fail("none/attr", unix.EIO), unix.ENOENT},
		"Set of a directory":     {tree.Set("new/dir", "x"), unix.EISDIR},
		"Set below an attribute": {tree.Set("new/dir/attr/x", "x"), unix.ENOTDIR},
		"Remove of the root":     {tree.Remove(""), unix.EINVAL},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: got %v, want %v", call, c.err, c.want)
		}
	}
}

func TestSysfsWrite(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	region := m.AddDevDax(emu.DevDax{Size: 2 << 20}).RegionPath()
	for _, c := range []struct {
		path, text string
		want       error
		then       string
	}{
		{region + "/read_only", "1", nil, "1\n"},
		{region + "/deep_flush", "1", nil, "1\n"},
		{region + "/deep_flush", "1\n", nil, "1\n"},
		{region + "/deep_flush", "0", unix.EINVAL, "1\n"},
		{region + "/deep_flush", "?", unix.EINVAL, "1\n"},
		{region + "/size", "1", unix.EACCES, "4194304\n"},
	} {
		if err := m.WriteAttr(c.path, c.text); err != c.want {
			t.Errorf("write %q to %s: got %v, want %v", c.text, c.path, err, c.want)
		}
		if got := read(t, m, c.path); got != c.then {
			t.Errorf("%s after %q: got %q, want %q", c.path, c.text, got, c.then)
		}
	}
	if err := m.WriteAttr(region+"/none", "1"); err != unix.ENOENT {
		t.Errorf("write to nothing: got %v, want ENOENT", err)
	}
	if err := m.WriteAttr(region, "1"); err != unix.EISDIR {
		t.Errorf("write to a directory: got %v, want EISDIR", err)
	}
}

func TestPersistenceDomain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg        emu.Config
		want, then string
	}{
		{emu.Config{}, "memory_controller\n", "cpu_cache\n"},
		{emu.Config{EADR: true}, "cpu_cache\n", "memory_controller\n"},
		{emu.Config{NoPersistenceDomain: true, EADR: true}, "", ""},
	} {
		m := newMachine(t, c.cfg)
		m.AddDevDax(emu.DevDax{Size: 2 << 20})
		paths := []string{"bus/nd/devices/region0/persistence_domain"}
		if !c.cfg.NoPersistenceDomain {
			m.AddFS(emu.FS{Size: 1 << 20})
			paths = append(paths, "bus/nd/devices/region1/persistence_domain")
		}
		check := func(want string) {
			t.Helper()
			for _, path := range paths {
				got, err := m.ReadAttr(path)
				if got != want || want == "" && err != error(syscall.ENOENT) {
					t.Errorf("%+v: %s is %q, %v; want %q", c.cfg, path, got, err, want)
				}
			}
		}
		check(c.want)
		m.SetEADR(!c.cfg.EADR)
		check(c.then)
		m.AddDevDax(emu.DevDax{Size: 2 << 20})
		if c.then != "" {
			paths = append(paths, "bus/nd/devices/region2/persistence_domain")
		}
		check(c.then)
	}
	// A test that took the attribute away keeps it away.
	m := newMachine(t, emu.Config{})
	path := m.AddDevDax(emu.DevDax{Size: 2 << 20}).RegionPath() + "/persistence_domain"
	if err := m.Sysfs().Remove(path); err != nil {
		t.Fatal(err)
	}
	m.SetEADR(true)
	if _, err := m.ReadAttr(path); err != unix.ENOENT {
		t.Errorf("after SetEADR: got %v, want ENOENT", err)
	}
}
