package emu

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// The sysfs entries of the machine's devices, as a 6.1 kernel with NVDIMMs (or with
// virtio-pmem, or memmap=) was seen to list them. By choice the firmware is one that
// gives flush hints, tells the count of dirty shutdowns, which takes the command "smart"
// of the first DSM family, and scrubs address ranges; Region and DIMM say otherwise.

// firstRegion is the system physical address of the first region: memory ends at 4 GiB.
const firstRegion = 4 << 30

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
	s.edits.Add(1)
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

// newRegion makes the next region, with its bus and its NVDIMMs. usable is what its
// namespace offers at an address that is a multiple of align, both in bytes; what the
// DIMMs have beyond that, to have equal shares, is cut off. cfg was checked, and is zero
// with virtio. mu must be held.
func (m *Machine) newRegion(usable, align uint64, virtio bool, cfg Region) *region {
	r := &region{
		number: len(m.regions), infoBlock: max(align, 2<<20),
		numaNode: cfg.NUMANode, targetNode: cfg.NUMANode, legacy: cfg.Legacy,
	}
	dimms := cfg.DIMMs
	if len(dimms) == 0 && !virtio && !cfg.Legacy {
		dimms = []DIMM{{}}
	}
	row := max(1, uint64(len(dimms))) * interleaveLine
	r.size = (r.infoBlock + usable + row - 1) / row * row
	r.start = roundUp(m.phys, max(align, 128<<20))
	m.phys = r.start + r.size
	s := m.sysfs
	var set []member
	switch {
	case virtio:
		r.numaNode = -1
		r.bus = m.newVirtioBus()
	case cfg.Legacy:
		r.bus = m.legacyBus()
	default:
		r.bus = m.firmwareBus()
		for i, d := range dimms {
			serial := m.newNVDIMM(r, d)
			set = append(set, member{offset: uint64(i) * interleaveLine, serial: serial})
			r.readOnly = r.readOnly || d.has("not_armed")
		}
	}
	rangeIndex := 1
	for _, other := range m.regions {
		if other.nmems != nil {
			rangeIndex++
		}
	}
	r.dir = fmt.Sprintf("%s/region%d", r.bus, r.number)
	m.regions = append(m.regions, r)
	s.populate(r.dir, r.numa()+fmt.Sprintf(`
		align 0644 %#[3]x
		badblocks 0444 ""
		devtype 0444 nd_pmem
		driver -> %[1]sbus/nd/drivers/nd_region
		init_namespaces 0444 1/1
		mappings 0444 %[4]d
		max_available_extent 0444 0
		modalias 0444 nd:t2
		namespace_seed 0444 namespace%[2]d.0
		nstype 0444 4
		read_only 0644 %[5]d
		resource 0400 %#[6]x
		size 0444 %[7]d
		subsystem -> %[1]sbus/nd
		uevent 0644 "DEVTYPE=nd_pmem\nDRIVER=nd_region\nMODALIAS=nd:t2\n"`,
		up(r.dir), r.number, r.align(), len(r.nmems), digit(r.readOnly), r.start, r.size))
	s.populate("bus/nd/devices", fmt.Sprintf("region%d -> ../../../%s", r.number, r.dir))
	s.populate("bus/nd/drivers/nd_region", fmt.Sprintf("region%d -> ../../../../%s", r.number, r.dir))
	if r.nmems == nil {
		return r
	}
	s.populate(r.dir, fmt.Sprintf(`
		available_size 0444 0
		nfit/range_index 0444 %d
		set_cookie 0444 %#x`, rangeIndex, setCookie(set)))
	for i, nmem := range r.nmems {
		s.populate(r.dir, fmt.Sprintf("mapping%d 0444 nmem%d,0,%d,%d", i, nmem, r.size/uint64(len(r.nmems)), i))
	}
	if !m.cfg.NoPersistenceDomain {
		s.populate(r.dir, "persistence_domain 0444 "+m.domain())
	}
	switch {
	case cfg.NoDeepFlush:
	case cfg.NoFlushHints:
		s.populate(r.dir, "deep_flush 0444 0")
	default:
		r.flushHints = true
		s.populate(r.dir, "deep_flush 0644 1")
		s.onWrite(r.dir+"/deep_flush", (*deepFlush)(r))
	}
	return r
}

// digit is a truth value as sysfs prints it.
func digit(v bool) int {
	if v {
		return 1
	}
	return 0
}

func (s *Sysfs) onWrite(path string, w attrWriter) {
	s.mu.Lock()
	s.edits.Add(1)
	defer s.mu.Unlock()
	if n, err := s.lookup(path, true); err == nil {
		n.onWrite = w
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
		firmware
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

// legacyBus returns the bus of the memory that memmap= told of, which it makes before
// the first region on it. mu must be held.
func (m *Machine) legacyBus() string {
	for _, r := range m.regions {
		if r.legacy {
			return r.bus
		}
	}
	dir := fmt.Sprintf("devices/platform/e820_pmem/ndbus%d", m.counts.bus)
	m.newBus(dir, "e820", "\n")
	return dir
}

// firmwareBus returns the bus that the NVDIMMs are on, which it makes before the first
// of them. mu must be held.
func (m *Machine) firmwareBus() string {
	if m.nvdimmBus == "" {
		m.nvdimmBus = fmt.Sprintf("devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0012:00/ndbus%d", m.counts.bus)
		if m.cfg.NoClearError {
			m.newBus(m.nvdimmBus, "ACPI.NFIT", "cmd_call \n")
			m.sysfs.populate(m.nvdimmBus, "nfit/dsm_mask 0444 0x0")
		} else {
			m.newBus(m.nvdimmBus, "ACPI.NFIT", "ars_cap ars_start ars_status clear_error cmd_call \n")
			// The kernel has scrubbed once when the machine is up.
			scrub := m.nvdimmBus + "/nfit/scrub"
			m.sysfs.populate(m.nvdimmBus, `
				nfit/dsm_mask 0444 0x1e
				nfit/scrub 0644 1`)
			m.sysfs.onWrite(scrub, &scrubber{s: m.sysfs, path: scrub, scrubs: 1})
		}
		m.sysfs.populate(m.nvdimmBus, `
			nfit/hw_error_scrub 0644 0
			nfit/revision 0444 1`)
	}
	return m.nvdimmBus
}

// scrubber is what a write to the attribute scrub at path does: 1 scrubs, which takes no
// time here and is counted.
type scrubber struct {
	s      *Sysfs
	path   string
	scrubs int
}

func (w *scrubber) writeAttr(text string) error {
	if text == "" {
		return nil
	}
	if v, err := strconv.ParseInt(strings.TrimSuffix(text, "\n"), 0, 64); err != nil || v != 1 {
		return syscall.EINVAL
	}
	n, err := w.s.lookup(w.path, true) // mu is held
	if err != nil {
		return err
	}
	w.scrubs++
	n.text = fmt.Sprintf("%d\n", w.scrubs)
	return nil
}

// newNVDIMM makes the next DIMM, under region r, and returns its serial number. mu must
// be held.
func (m *Machine) newNVDIMM(r *region, d DIMM) uint32 {
	s := m.sysfs
	n := len(m.nmems)
	r.nmems = append(r.nmems, n)
	dir := fmt.Sprintf("%s/nmem%d", r.bus, n)
	m.nmems = append(m.nmems, dir)
	id, vendor, serial := d.identity(n)
	s.populate(dir, fmt.Sprintf(`
		available_slots 0444 !ENXIO
		dev 0444 %[2]d:%[3]d
		devtype 0444 nvdimm
		driver -> %[1]sbus/nd/drivers/nvdimm
		firmware
		flags 0444 "\n"
		modalias 0444 nd:t1
		nfit/device 0444 0x0100
		nfit/flags 0444 %[7]q
		nfit/format 0444 0x0301
		nfit/formats 0444 1
		nfit/handle 0444 %#[4]x
		nfit/phys_id 0444 %#[3]x
		nfit/rev_id 0444 0x0100
		nfit/serial 0444 0x%08[5]x
		nfit/subsystem_device 0444 0x0000
		nfit/subsystem_rev_id 0444 0x0000
		nfit/subsystem_vendor 0444 0x0000
		nfit/vendor 0444 0x%[6]s
		state 0444 idle
		subsystem -> %[1]sbus/nd
		uevent 0644 "MAJOR=%[2]d\nMINOR=%[3]d\nDEVNAME=nmem%[3]d\nDEVTYPE=nvdimm\nDRIVER=nvdimm\nMODALIAS=nd:t1\n"`,
		up(dir), nvdimmMajor, n, n+1, serial, vendor, d.flags()))
	if !d.NoID {
		s.populate(dir, "nfit/id 0444 "+id)
	}
	if d.NoDirtyShutdown {
		s.populate(dir, `
			commands 0444 "cmd_call \n"
			nfit/dsm_mask 0444 !ENXIO
			nfit/family 0444 !ENXIO`)
	} else {
		s.populate(dir, fmt.Sprintf(`
			commands 0444 "smart cmd_call \n"
			nfit/dirty_shutdown 0444 %d
			nfit/dsm_mask 0444 0x2
			nfit/family 0444 0`, int32(uint32(d.DirtyShutdowns))))
	}
	s.populate("bus/nd/devices", fmt.Sprintf("nmem%d -> ../../../%s", n, dir))
	s.populate("bus/nd/drivers/nvdimm", fmt.Sprintf("nmem%d -> ../../../../%s", n, dir))
	s.populate("dev/char", fmt.Sprintf("%d:%d -> ../../%s", nvdimmMajor, n, dir))
	m.addCharNode(fmt.Sprintf("/dev/nmem%d", n), nvdimmMajor, n)
	return serial
}
