package model

import "pmemlab/pmem2"

// Existing is pmem2_map_from_existing(3), with the extents of all maps. Extents end at 2^64 at
// the most.
func Existing(addr, length uint64, g pmem2.Granularity, taken []Extent) Result {
	switch {
	case g != pmem2.GranularityByte && g != pmem2.GranularityCacheLine && g != pmem2.GranularityPage:
		return Fails(pmem2.ErrGranularityNotSupported)
	case length == 0, addr > 0 && length > -addr: // -addr bytes are left from there on
		return Fails(pmem2.ErrLengthOutOfRange)
	case addr == 0:
		return Fails(pmem2.ErrAddressNull)
	}
	for _, e := range taken {
		if e.Overlaps(Extent{addr, length}) {
			return Fails(pmem2.ErrMappingExists)
		}
	}
	return OK
}
