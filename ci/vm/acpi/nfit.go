package acpi

import "encoding/binary"

// What DIMMs and regions are numbered from is of no meaning but to be told apart.
const (
	firstPhysicalID = 11
	// hintBase is the page of the first DIMM's flush hint address. Nothing of a q35 answers
	// there, between the interrupt controllers and the BIOS: what is written is dropped.
	hintBase = 0xfef00000
	hintPage = 4096
	// lineSize is how much of an interleaved region is on one DIMM before it's the next's.
	lineSize = 4096
)

// pmemRange says that addresses are persistent memory: 66f0d379-b4f3-4074-ac43-0d3318b78cdb.
var pmemRange = [16]byte{0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40, 0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb}

// The structures of an NFIT, ACPI 6.2 section 5.2.25. All fields are little-endian, and none
// is padded.
type (
	structureHeader struct{ Type, Length uint16 }

	addressRange struct {
		structureHeader
		Index, Flags uint16
		_            uint32
		Proximity    uint32
		Kind         [16]byte
		Base, Size   uint64
		Attributes   uint64
	}

	memoryMap struct {
		structureHeader
		Handle              uint32
		PhysicalID          uint16
		_                   uint16
		RangeIndex          uint16
		ControlIndex        uint16
		Size, Offset, Start uint64
		Interleave, Ways    uint16
		Flags               uint16
		_                   uint16
	}

	interleave struct {
		structureHeader
		Index      uint16
		_          uint16
		Lines      uint32
		LineSize   uint32
		LineOffset [1]uint32
		_          uint32 // the next structure begins at a multiple of 8
	}

	// controlRegion ends before the block windows, of which there are none.
	controlRegion struct {
		structureHeader
		Index                    uint16
		Vendor, Device, Revision uint16
		_                        [3]uint16 // of the controller
		Valid, Location          uint8
		Date                     uint16
		_                        uint16
		Serial                   uint32
		Format                   uint16
		Windows                  uint16
	}

	flushHint struct {
		structureHeader
		Handle  uint32
		Count   uint16
		_       [6]byte
		Address [1]uint64
	}

	capabilities struct {
		structureHeader
		Highest uint8
		_       [3]byte
		Bits    uint32
		_       uint32
	}
)

// nfit describes the DIMMs.
func nfit(cfg Config, regions []region) []byte {
	content := make([]byte, 4) // reserved
	for n, r := range regions {
		index := uint16(n) + 1
		const proximityValid, writeBack, nonVolatile = 2, 1 << 3, 1 << 15
		content = structure(content, addressRange{structureHeader: structureHeader{Type: 0}, Index: index, Flags: proximityValid,
			Kind: pmemRange, Base: r.Address, Size: r.Length, Attributes: writeBack | nonVolatile})
		set := uint16(0)
		if len(r.dimms) > 1 {
			set = index
			content = structure(content, interleave{structureHeader: structureHeader{Type: 2}, Index: set, Lines: 1, LineSize: lineSize})
		}
		for place, i := range r.dimms {
			content = structure(content, memoryMap{structureHeader: structureHeader{Type: 1}, Handle: handle(i), PhysicalID: firstPhysicalID + uint16(i),
				RangeIndex: index, ControlIndex: uint16(i) + 1, Size: cfg.DIMMs[i].Size, Offset: uint64(place) * lineSize,
				Interleave: set, Ways: uint16(len(r.dimms))})
		}
	}
	for i, d := range cfg.DIMMs {
		c := controlRegion{structureHeader: structureHeader{Type: 4}, Index: uint16(i) + 1, Vendor: 0x8086, Device: 1, Revision: 1,
			Serial: cfg.serial(i), Format: 0x301}
		if d.Made != nil {
			// sysfs shows the bytes of numbers from the lowest on; those of this date in order.
			c.Valid, c.Location, c.Date = 1, d.Made.Location, d.Made.Date<<8|d.Made.Date>>8
		}
		content = structure(content, c)
		if d.FlushHints {
			content = structure(content, flushHint{structureHeader: structureHeader{Type: 6}, Handle: handle(i), Count: 1,
				Address: [1]uint64{hintBase + uint64(i)*hintPage}})
		}
	}
	if cfg.Persistence != Unknown {
		bits := uint32(2) // the memory controller is flushed
		if cfg.Persistence == CPUCache {
			bits |= 1
		}
		content = structure(content, capabilities{structureHeader: structureHeader{Type: 7}, Highest: 1, Bits: bits})
	}
	return table("NFIT", "BXPC    ", content)
}

// structure appends a structure and sets its length. Appending can't fail: all structures
// have fixed sizes.
func structure(to []byte, s any) []byte {
	at := len(to)
	to, _ = binary.Append(to, binary.LittleEndian, s)
	binary.LittleEndian.PutUint16(to[at+2:], uint16(len(to)-at))
	return to
}
