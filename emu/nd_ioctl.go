package emu

import (
	"strconv"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// The ioctls of an nvdimm bus, as the nfit driver hands them to firmware of ACPI 6.2: the
// kernel looks whether the bus has the command and whether the descriptor may write, and
// all else the firmware answers, in the status. Linux: drivers/nvdimm/bus.c __nd_ioctl,
// drivers/acpi/nfit/core.c acpi_nfit_ctl and xlat_bus_status.

const (
	// clearErrorUnit is in bytes what Intel's modules can clear errors in.
	clearErrorUnit = 256
	// The answer to a scrub: a header of 48 bytes and as many records of 24 bytes, one
	// for an error, as begin in a page.
	arsMaxOut = 48 + 4096/24*24
	// Status: the lower half is the result, the upper half what the range can be
	// scrubbed as.
	arsPersistent = 2 << 16
	ndInvalid     = 2 // invalid input parameters
)

// ARSCapabilities is the ND_IOCTL_ARS_CAP ioctl. The status is 0x20000 for addresses
// inside one region of the bus: success, and persistent memory can be scrubbed there. For
// others it is 2, invalid parameters; that is no errno. ENOTTY: fd is no bus with DIMMs,
// or [Config].NoClearError.
func (m *Machine) ARSCapabilities(fd int, addr, length uint64) (platform.ARSCap, error) {
	if _, err := m.bus(fd); err != nil {
		return platform.ARSCap{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.regionAt(addr, length) == nil {
		return platform.ARSCap{Status: ndInvalid}, nil
	}
	return platform.ARSCap{Status: arsPersistent, MaxOut: arsMaxOut, ClearErrorUnit: clearErrorUnit}, nil
}

// ClearError is the ND_IOCTL_CLEAR_ERROR ioctl. Sectors that lie in the range as a whole
// are no longer bad, and what can be read there is zero; the answer is length. The list of
// the region loses them. That of a block device doesn't, as in Linux: its driver hasn't
// been told, and what lies there faults until it is written over or freed.
//
// EIO: the firmware's status isn't success, since addr or length is no multiple of 256,
// length is 0 or the range isn't inside one region of the bus. EPERM: fd is open for
// reading only. ENOTTY: fd is no bus with DIMMs, or [Config].NoClearError. ENXIO: the
// machine is shut down.
func (m *Machine) ClearError(fd int, addr, length uint64) (uint64, error) {
	flags, err := m.bus(fd)
	switch {
	case err != nil:
		return 0, err
	case flags&platform.OAccmode == platform.ORdonly:
		return 0, syscall.EPERM
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return 0, syscall.ENXIO
	}
	r := m.regionAt(addr, length)
	if r == nil || (addr|length)%clearErrorUnit != 0 {
		return 0, syscall.EIO
	}
	b := m.bad[r]
	if b == nil {
		return length, nil
	}
	whole := extent{roundUp(addr-r.start, sectorSize), (addr - r.start + length) &^ (sectorSize - 1)}
	if whole.start >= whole.end {
		return length, nil
	}
	b.list = cutExtents(b.list, []extent{whole})
	for _, o := range b.devices {
		if o.class == classDevDax && whole.end > r.infoBlock {
			x := extent{max(whole.start, r.infoBlock) - r.infoBlock, whole.end - r.infoBlock}
			if err := m.heal(o, []extent{x}); err != nil {
				return 0, errnoOf(err)
			}
		}
		m.showBad(o)
	}
	return length, nil
}

// bus says whether fd is a bus whose firmware has the commands, and how it was opened.
func (m *Machine) bus(fd int) (openFlags int, err error) {
	o, _, err := m.lookup(fd)
	if err != nil {
		return 0, err
	}
	flags, err := m.host.GetFL(fd)
	if err != nil || flags&platform.OPath != 0 {
		return 0, syscall.EBADF
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if o == nil || o.class != classNull || m.cfg.NoClearError || m.nvdimmBus == "" {
		return 0, syscall.ENOTTY
	}
	st := platform.Stat{Rdev: o.rdev}
	if st.Major() != ndctlMajor || !strings.HasSuffix(m.nvdimmBus, "/ndbus"+strconv.Itoa(int(st.Minor()))) {
		return 0, syscall.ENOTTY
	}
	return flags, nil
}

// regionAt finds the region of the bus with DIMMs that [addr, addr+length) is inside of.
// mu must be held.
func (m *Machine) regionAt(addr, length uint64) *region {
	for _, r := range m.regions {
		if r.bus == m.nvdimmBus && length > 0 && addr >= r.start && addr-r.start < r.size && length <= r.size-(addr-r.start) {
			return r
		}
	}
	return nil
}

// clears says whether the driver of the block device dev can clear its bad blocks. Where
// no firmware answers for the bus (virtio-pmem, memmap=), Linux takes it for granted.
func (m *Machine) clears(dev *object) bool {
	return dev.region.bus != m.nvdimmBus || !m.cfg.NoClearError
}
