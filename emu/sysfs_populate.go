package emu

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// The sysfs entries of the machine's devices, as a 6.1 kernel with NVDIMMs (or with
// virtio-pmem) was seen to list them. By choice the firmware is one that tells the count
// of dirty shutdowns, which takes the command "smart" of the first DSM family, and gives
// flush hints.

// firstRegion is the system physical address of the first region: memory ends at 4 GiB.
const firstRegion = 4 << 30

// region is a range of persistent memory with one namespace.
type region struct {
	number    int
	bus       string // path of its bus in sysfs
	dir       string // its own
	start     uint64 // system physical address
	size      uint64 // in bytes, info block included
	infoBlock uint64 // bytes before what can be used
	numaNode  int
}

// populate makes what listing lists in the directory dir. Each line is one of
//
//	name mode text    an attribute, newline added
//	name mode "text"  the same, quoted as in Go and without the newline
//	name mode !errno  an attribute whose read fails
//	name -> target    a symbolic link
//	name              a directory
//
// The listings are our own, so that one that can't be made is a mistake in this file,
// which the tests find.
func (s *Sysfs) populate(dir, listing string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(listing) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		n := &sysfsNode{kind: sysfsDir, children: map[string]*sysfsNode{}}
		if target, ok := strings.CutPrefix(rest, "-> "); ok {
			n = &sysfsNode{kind: sysfsLink, text: target}
		} else if rest != "" {
			n = parseAttr(rest)
		}
		parent, last, err := s.place(dir + "/" + name)
		if err != nil {
			continue
		}
		n.parent = parent
		parent.children[last] = n
	}
}

func parseAttr(line string) *sysfsNode {
	mode, text, _ := strings.Cut(line, " ")
	bits, _ := strconv.ParseUint(mode, 8, 32)
	n := &sysfsNode{kind: sysfsAttr, mode: uint32(bits)}
	switch {
	case text == "!ENXIO":
		n.readErr = syscall.ENXIO
	case text == "!EINVAL":
		n.readErr = syscall.EINVAL
	case strings.HasPrefix(text, `"`):
		n.text, _ = strconv.Unquote(text)
	default:
		n.text = text + "\n"
	}
	return n
}

// up is the way from a directory n levels below the root back to it.
func up(dir string) string { return strings.Repeat("../", strings.Count(dir, "/")+1) }

// populateVirtual makes what every machine has.
func (m *Machine) populateVirtual() {
	s := m.sysfs
	s.populate("", "bus\nclass\ndevices\ndev/block")
	for _, dev := range []struct {
		name  string
		minor int
	}{{"null", 3}, {"zero", 5}} {
		dir := "devices/virtual/mem/" + dev.name
		s.populate(dir, fmt.Sprintf(`
			dev 0444 1:%d
			subsystem -> ../../../../class/mem
			uevent 0644 "MAJOR=1\nMINOR=%d\nDEVNAME=%s\nDEVMODE=0666\n"`, dev.minor, dev.minor, dev.name))
		s.populate("class/mem", dev.name+" -> ../../"+dir)
		s.populate("dev/char", fmt.Sprintf("1:%d -> ../../%s", dev.minor, dir))
	}
}

// newRegion makes the next region, with its bus and its NVDIMM. usable is what its
// namespace offers at an address that is a multiple of align, both in bytes. mu must
// be held.
func (m *Machine) newRegion(usable, align uint64, virtio bool) *region {
	r := &region{number: len(m.regions), infoBlock: max(align, 2<<20)}
	r.size = r.infoBlock + usable
	r.start = roundUp(m.phys, max(align, 128<<20))
	m.phys = r.start + r.size
	s := m.sysfs
	if virtio {
		r.numaNode = -1
		r.bus = m.newVirtioBus()
	} else {
		m.newNVDIMM(r)
	}
	r.dir = fmt.Sprintf("%s/region%d", r.bus, r.number)
	m.regions = append(m.regions, r)
	top := up(r.dir)
	s.populate(r.dir, fmt.Sprintf(`
		align 0644 0x1000000
		badblocks 0444 ""
		devtype 0444 nd_pmem
		driver -> %[1]sbus/nd/drivers/nd_region
		init_namespaces 0444 1/1
		max_available_extent 0444 0
		modalias 0444 nd:t2
		namespace_seed 0444 namespace%[2]d.0
		nstype 0444 4
		numa_node 0444 %[3]d
		read_only 0644 0
		resource 0400 %#[4]x
		size 0444 %[5]d
		subsystem -> %[1]sbus/nd
		target_node 0444 0
		uevent 0644 "DEVTYPE=nd_pmem\nDRIVER=nd_region\nMODALIAS=nd:t2\n"`,
		top, r.number, r.numaNode, r.start, r.size))
	s.populate("bus/nd/devices", fmt.Sprintf("region%d -> ../../../%s", r.number, r.dir))
	s.populate("bus/nd/drivers/nd_region", fmt.Sprintf("region%d -> ../../../../%s", r.number, r.dir))
	if virtio {
		s.populate(r.dir, "mappings 0444 0")
		return r
	}
	nmem := len(m.nmems) - 1
	s.populate(r.dir, fmt.Sprintf(`
		available_size 0444 0
		deep_flush 0644 1
		mapping0 0444 nmem%d,0,%d,0
		mappings 0444 1
		nfit/range_index 0444 %d
		set_cookie 0444 %#x`, nmem, r.size, nmem+1, 0x2468ac00123456+uint64(nmem)*0x200000001))
	if !m.cfg.NoPersistenceDomain {
		s.populate(r.dir, "persistence_domain 0444 "+m.domain())
	}
	s.onWrite(r.dir+"/deep_flush", writeDeepFlush)
	return r
}

// writeDeepFlush takes what asks for a flush. The text stays: it says whether there are
// flush hints.
func writeDeepFlush(text string) error {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "1", "y", "yes", "on", "t", "true":
		return nil
	}
	return syscall.EINVAL
}

func (s *Sysfs) onWrite(path string, f func(string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, err := s.lookup(path, true); err == nil {
		n.onWrite = f
	}
}

// newBus makes an nvdimm bus. mu must be held.
func (m *Machine) newBus(dir, provider, commands string) {
	s := m.sysfs
	n := m.counts.bus
	m.counts.bus++
	s.populate(dir, fmt.Sprintf(`
		commands 0444 %[2]q
		driver -> %[1]sbus/nd/drivers/nd_bus
		provider 0444 %[3]s
		subsystem -> %[1]sbus/nd
		uevent 0644 "DRIVER=nd_bus\nMODALIAS=nd:t0\n"
		wait_probe 0444 1
		nd/ndctl%[4]d/dev 0444 %[5]d:%[4]d
		nd/ndctl%[4]d/device -> ../../../ndbus%[4]d
		nd/ndctl%[4]d/subsystem -> ../../%[1]sclass/nd
		nd/ndctl%[4]d/uevent 0644 "MAJOR=%[5]d\nMINOR=%[4]d\nDEVNAME=ndctl%[4]d\n"`,
		up(dir), commands, provider, n, ndctlMajor))
	s.populate("bus/nd/devices", fmt.Sprintf("ndbus%d -> ../../../%s", n, dir))
	s.populate("bus/nd/drivers/nd_bus", fmt.Sprintf("ndbus%d -> ../../../../%s", n, dir))
	s.populate("class/nd", fmt.Sprintf("ndctl%d -> ../../%s/nd/ndctl%d", n, dir, n))
	s.populate("dev/char", fmt.Sprintf("%d:%d -> ../../%s/nd/ndctl%d", ndctlMajor, n, dir, n))
	m.addCharNode(fmt.Sprintf("/dev/ndctl%d", n), ndctlMajor, n)
}

func (m *Machine) newVirtioBus() string {
	n := m.counts.virtio
	m.counts.virtio++
	dir := fmt.Sprintf("devices/pci0000:00/0000:00:%02x.0/virtio%d/ndbus%d", n+1, n, m.counts.bus)
	m.newBus(dir, "virtio-pmem", "\n")
	return dir
}

// newNVDIMM makes the DIMM that region r lies on, and its bus before the first one.
func (m *Machine) newNVDIMM(r *region) {
	s := m.sysfs
	if m.nvdimmBus == "" {
		m.nvdimmBus = fmt.Sprintf("devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus%d", m.counts.bus)
		m.newBus(m.nvdimmBus, "ACPI.NFIT", "cmd_call \n")
		s.populate(m.nvdimmBus, `
			nfit/dsm_mask 0444 0x0
			nfit/hw_error_scrub 0644 0
			nfit/revision 0444 1`)
	}
	r.bus = m.nvdimmBus
	n := len(m.nmems)
	dir := fmt.Sprintf("%s/nmem%d", r.bus, n)
	m.nmems = append(m.nmems, dir)
	serial := uint32(0x56341200) + uint32(n)<<24
	s.populate(dir, fmt.Sprintf(`
		available_slots 0444 !ENXIO
		commands 0444 "smart cmd_call \n"
		dev 0444 %[2]d:%[3]d
		devtype 0444 nvdimm
		driver -> %[1]sbus/nd/drivers/nvdimm
		firmware
		flags 0444 "\n"
		modalias 0444 nd:t1
		nfit/device 0444 0x0100
		nfit/dirty_shutdown 0444 0
		nfit/dsm_mask 0444 0x2
		nfit/family 0444 0
		nfit/flags 0444 "\n"
		nfit/format 0444 0x0301
		nfit/formats 0444 1
		nfit/handle 0444 %#[4]x
		nfit/id 0444 8680-%08[5]x
		nfit/phys_id 0444 %#[3]x
		nfit/rev_id 0444 0x0100
		nfit/serial 0444 0x%08[5]x
		nfit/subsystem_device 0444 0x0000
		nfit/subsystem_rev_id 0444 0x0000
		nfit/subsystem_vendor 0444 0x0000
		nfit/vendor 0444 0x8680
		state 0444 idle
		subsystem -> %[1]sbus/nd
		uevent 0644 "MAJOR=%[2]d\nMINOR=%[3]d\nDEVNAME=nmem%[3]d\nDEVTYPE=nvdimm\nDRIVER=nvdimm\nMODALIAS=nd:t1\n"`,
		up(dir), nvdimmMajor, n, n+1, serial))
	s.populate("bus/nd/devices", fmt.Sprintf("nmem%d -> ../../../%s", n, dir))
	s.populate("bus/nd/drivers/nvdimm", fmt.Sprintf("nmem%d -> ../../../../%s", n, dir))
	s.populate("dev/char", fmt.Sprintf("%d:%d -> ../../%s", nvdimmMajor, n, dir))
	m.addCharNode(fmt.Sprintf("/dev/nmem%d", n), nvdimmMajor, n)
}
