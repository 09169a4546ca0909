package pmem2

import "math"

// MapFromExisting is pmem2_map_from_existing(3): a map of memory that the program
// has mapped itself: n bytes from addr on, whose source is src and whose stores
// have the granularity g. Both are taken on trust. Deleting the map leaves the
// memory mapped.
//
// Errors: ErrGranularityNotSupported if g is none of the three; ErrLengthOutOfRange
// if n is 0 or addr+n is above 2^64; ErrAddressNull if addr is 0; ErrMappingExists
// if a byte of the range belongs to another map; EINVAL on a nil or deleted source.
func MapFromExisting(src *Source, addr uintptr, n uint64, g Granularity) (*Map, error) {
	const op = "MapFromExisting"
	called(op)
	if err := src.usable(op); err != nil {
		return nil, err
	}
	if !g.Valid() {
		return nil, fail(op, ErrGranularityNotSupported, "granularity %d is none of 0, 1, 2", int(g))
	}
	switch left := math.MaxUint64 - uint64(addr); { // bytes behind the one at addr
	case n == 0, n-1 > left:
		return nil, fail(op, ErrLengthOutOfRange, "length %d at %#x: at least 1 is needed, and no more than there is to the end of the address space", n, addr)
	case addr == 0:
		return nil, fail(op, ErrAddressNull, "the address is 0")
	}
	m := &Map{
		machine: src.machine, addr: addr, size: n, reserved: n, existing: true,
		anonymous: src.fd < 0, kind: src.kind, rdev: src.rdev,
	}
	m.setGranularity(g)
	if taken := register(m); taken != nil {
		return nil, fail(op, ErrMappingExists, "%d bytes at %#x overlap the map of %d bytes at %#x", n, addr, taken.reserved, taken.addr)
	}
	return m, nil
}
