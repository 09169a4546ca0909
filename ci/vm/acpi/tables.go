// Package acpi makes ACPI tables for a QEMU machine of type q35 with NVDIMMs: an NFIT and an
// SSDT that say more of the same DIMMs than QEMU's own do. Several DIMMs are one region,
// regions have flush hint addresses, DIMMs tell their health, and the firmware scrubs
// addresses and clears errors.
//
// Linux (CONFIG_ACPI_TABLE_UPGRADE) takes them from the initramfs: the files that [Tables]
// gives are put in an uncompressed cpio archive in front of it, or at its beginning. A table
// there takes the place of the firmware's when signature, OEM id and OEM table id are the
// same and the OEM revision is higher.
//
// With these tables DIMMs have no label area, whatever label-size QEMU was told, and
// QEMU's nvdimm-persistence and unarmed say nothing: see [Config.Persistence].
package acpi

import (
	"encoding/binary"
	"fmt"
)

// Base is the address of the first DIMM when all memory of the machine fits below 4 GiB,
// as 2 GiB do in a q35.
const Base = 1 << 32

// ClearErrorUnit is in bytes what the firmware can clear errors in; it is that of Intel's
// modules.
const ClearErrorUnit = 256

// Limits.
const (
	maxDIMMs = 32
	// sizeUnit is what the kernel wants a region to begin and to end at.
	sizeUnit = 16 << 20
	// addressLimit is that of the firmware's methods: addresses divided by ClearErrorUnit
	// are in the lower half of what an integer can be.
	addressLimit = ClearErrorUnit << 31
	// maxBadBlock is in bytes what an integer has a bit for each ClearErrorUnit of.
	maxBadBlock = 32 * ClearErrorUnit
)

// Persistence is what the platform says of what survives a loss of power.
type Persistence int

// The kinds of Persistence, by what the kernel's attribute persistence_domain reads.
const (
	Unknown          Persistence = iota // there is no attribute
	MemoryController                    // "memory_controller": caches are to be flushed
	CPUCache                            // "cpu_cache": caches are flushed by the platform
)

// Config is the NVDIMMs of a machine.
type Config struct {
	// Base is the address of the first DIMM; 0 is the constant Base. Each other begins
	// where the one before it ends, as QEMU places them.
	Base uint64
	// DIMMs are in the order of QEMU's command line. DIMM n is nmem(n-1) in the guest.
	DIMMs []DIMM
	// Interleaved makes the first two DIMMs, which must have the same size, one region.
	// The data isn't interleaved, which nothing in the guest can see: DIMM 1 has the
	// first half of the region.
	Interleaved bool
	Persistence Persistence
	// BadBlock is what a scrub finds bad until it has been cleared, at most 8 KiB.
	// Nothing faults there: the memory is good. The zero Range is none.
	BadBlock Range
}

// DIMM is one module.
type DIMM struct {
	// Size is in bytes, a multiple of 16 MiB.
	Size uint64
	// Serial is the serial number; 0 is 0x1000 and the DIMM's place from 1. sysfs shows
	// its bytes from the lowest on: 0x1001 is "8680-01100000" in nfit/id.
	Serial uint32
	// Made, if not nil, makes sysfs show place and date in nfit/id, "8680-02-1000-01100000".
	Made *Manufacturing
	// FlushHints gives the DIMM a flush hint address: the attribute deep_flush of its
	// region is "1" and can be written to.
	FlushHints bool
	// Health, if not nil, is what the DIMM answers when it's asked; otherwise it doesn't.
	Health *Health
}

// Manufacturing is where and when a DIMM was made. Both have no meaning but to be shown.
type Manufacturing struct {
	Location uint8
	Date     uint16
}

// Health is what a DIMM says of itself.
type Health struct {
	// DirtyShutdowns is how often power was lost before all had been written: the
	// attribute nfit/dirty_shutdown.
	DirtyShutdowns uint32
	// Dirty says that the last time was one: "flush_fail" in nfit/flags.
	Dirty bool
}

// Range is some of the physical addresses.
type Range struct{ Address, Length uint64 }

func (r Range) end() uint64 { return r.Address + r.Length }

// region is addresses that are backed by DIMMs, by their places in Config.
type region struct {
	Range
	dimms []int
}

// Tables makes the tables: contents of files by their names in the cpio archive.
func Tables(cfg Config) (map[string][]byte, error) {
	regions, err := cfg.regions()
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"kernel/firmware/acpi/nfit.aml": nfit(cfg, regions),
		"kernel/firmware/acpi/ssdt.aml": ssdt(cfg, regions),
	}, nil
}

// Regions are the addresses of the regions, in the order in which the kernel numbers them.
func (c Config) Regions() ([]Range, error) {
	regions, err := c.regions()
	ranges := make([]Range, len(regions))
	for i, r := range regions {
		ranges[i] = r.Range
	}
	return ranges, err
}

// regions checks the Config and places the DIMMs.
func (c Config) regions() ([]region, error) {
	if len(c.DIMMs) == 0 || len(c.DIMMs) > maxDIMMs {
		return nil, fmt.Errorf("%d DIMMs: there can be 1 to %d", len(c.DIMMs), maxDIMMs)
	}
	if c.Persistence < Unknown || c.Persistence > CPUCache {
		return nil, fmt.Errorf("persistence %d: it is Unknown, MemoryController or CPUCache", c.Persistence)
	}
	at := c.Base
	if at == 0 {
		at = Base
	}
	if at%sizeUnit != 0 || at >= addressLimit {
		return nil, fmt.Errorf("base %#x: it's to be a multiple of %d MiB below %#x", at, sizeUnit>>20, uint64(addressLimit))
	}
	var regions []region
	serials := map[uint32]int{}
	for i, d := range c.DIMMs {
		if d.Size == 0 || d.Size%sizeUnit != 0 || d.Size > addressLimit-at {
			return nil, fmt.Errorf("DIMM %d at %#x has %d bytes: it's to be a multiple of %d MiB that ends before %#x", i+1, at, d.Size, sizeUnit>>20, uint64(addressLimit))
		}
		if other, ok := serials[c.serial(i)]; ok {
			return nil, fmt.Errorf("DIMMs %d and %d: both have the serial number %#x", other+1, i+1, c.serial(i))
		}
		serials[c.serial(i)] = i
		if i == 1 && c.Interleaved {
			regions[0].Length += d.Size
			regions[0].dimms = append(regions[0].dimms, i)
		} else {
			regions = append(regions, region{Range{at, d.Size}, []int{i}})
		}
		at += d.Size
	}
	if c.Interleaved && (len(c.DIMMs) < 2 || c.DIMMs[0].Size != c.DIMMs[1].Size) {
		return nil, fmt.Errorf("interleaved: the first two DIMMs are to have the same size, of %d", len(c.DIMMs))
	}
	return regions, c.checkBadBlock(regions)
}

func (c Config) checkBadBlock(regions []region) error {
	b := c.BadBlock
	if b == (Range{}) {
		return nil
	}
	if b.Length == 0 || b.Length > maxBadBlock || (b.Address|b.Length)%ClearErrorUnit != 0 {
		return fmt.Errorf("bad block of %d bytes at %#x: both are to be multiples of %d, and the length 1 to %d of them", b.Length, b.Address, ClearErrorUnit, maxBadBlock/ClearErrorUnit)
	}
	for _, r := range regions {
		if b.Address >= r.Address && b.Address < r.end() && b.Length <= r.end()-b.Address {
			return nil
		}
	}
	return fmt.Errorf("bad block of %d bytes at %#x: it's in no region; these are %v", b.Length, b.Address, regions)
}

func (c Config) serial(i int) uint32 {
	if s := c.DIMMs[i].Serial; s != 0 {
		return s
	}
	return 0x1001 + uint32(i)
}

// String is what an error message says of a region.
func (r region) String() string { return fmt.Sprintf("%#x-%#x", r.Address, r.end()-1) }

// handle is what the NFIT and the SSDT know a DIMM by.
func handle(i int) uint32 { return uint32(i) + 1 }

// table puts the header in front of what a table has. OEM id and OEM table id are QEMU's.
func table(signature, oemTable string, content []byte) []byte {
	const headerSize, checksumAt = 36, 9
	le := binary.LittleEndian
	t := le.AppendUint32([]byte(signature), headerSize+uint32(len(content)))
	t = append(t, 1, 0) // revision, checksum
	t = append(t, "BOCHS "...)
	t = append(t, oemTable...)
	t = le.AppendUint32(t, 2) // OEM revision: QEMU's is 1
	t = append(t, "PMEM"...)  // who wrote it
	t = le.AppendUint32(t, 1) // in which revision
	t = append(t, content...)
	var sum byte
	for _, b := range t {
		sum += b
	}
	t[checksumAt] = -sum // all bytes add up to 0
	return t
}
