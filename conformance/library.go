package conformance

import (
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Subject is a library under test: the Go one, the C one, or anybody's.
type Subject interface {
	// Name stands in reports: "go".
	Name() string
	// On returns the library at work on a machine.
	On(p platform.Platform) Library
}

// Library is libpmem2 as a case sees it, whichever implementation stands behind
// it. Constants are pmem2's, which have the values of C. An object returned with
// an error is nil. Objects that stand for the same map compare equal.
type Library interface {
	NewConfig() (PMem2Config, error)
	SourceFromFD(fd int) (Source, error)
	SourceFromAnon(size uint64) (Source, error)
	NewMap(cfg PMem2Config, src Source) (Map, error)
	MapFromExisting(src Source, addr uintptr, n uint64, g pmem2.Granularity) (Map, error)
	NewVMReservation(addr uintptr, size uint64) (Reservation, error)

	// Perror is pmem2_perror(3), told the error.
	Perror(err error, format string, args ...any)

	// NilConfig and NilSource are what a variable holds after Delete in C: no
	// object. Only Delete may be called on them, and NewMap without a config.
	NilConfig() PMem2Config
	NilSource() Source
	NilMap() Map
	NilBadBlocks() BadBlocks

	NewBadBlockContext(src Source) (BadBlocks, error)
	// SameFunction reports whether two functions that a getter of one map returned
	// are one and the same.
	SameFunction(f, g any) bool
	// SharesFunctions reports whether the functions of the two maps do the same, as
	// comparing the pointers does in C.
	SharesFunctions(a, b Map) bool

	// Sets is libpmemset over this library, on the same machine; nil if the subject has
	// none.
	Sets() SetLibrary

	// Outcome names the result of a call as the contract does: "0" for nil,
	// "PMEMSET_E_PART_EXISTS" for a code of libpmemset, whatever libpmem2 said below,
	// "PMEM2_E_MAP_RANGE" for one of libpmem2, "-EACCES" for an errno, "(callback)" for
	// ErrCallback.
	Outcome(err error) string
}

// PMem2Config is pmem2_config_new(3) and the setters.
type PMem2Config interface {
	SetLength(n uint64) error
	SetOffset(n uint64) error
	SetProtection(p pmem2.Prot) error
	SetRequiredStoreGranularity(g pmem2.Granularity) error
	SetSharing(s pmem2.Sharing) error
	// SetVMReservation takes nil for no reservation.
	SetVMReservation(r Reservation, offset uint64) error
	Delete() error
}

// Source is pmem2_source_from_fd(3) and what can be asked of a source.
type Source interface {
	FD() (int, error)
	Size() (uint64, error)
	Alignment() (uint64, error)
	// ReadDeviceID fills buf with the identifier and returns its length; with a nil
	// buf it only tells how long a buffer must be.
	ReadDeviceID(buf []byte) (int, error)
	DeviceUSC() (uint64, error)
	NUMANode() (int, error)
	PreadMCSafe(p []byte, off uint64) error
	PwriteMCSafe(p []byte, off uint64) error
	Delete() error
}

// BadBlocks is pmem2_badblock_context_new(3) and what can be done with one.
type BadBlocks interface {
	Next() (pmem2.BadBlock, error)
	Clear(b pmem2.BadBlock) error
	Delete() error
}

// Map is pmem2_map_new(3) and what can be done with a map.
type Map interface {
	Address() uintptr
	Size() uint64
	StoreGranularity() pmem2.Granularity
	Bytes() []byte
	Persist(b []byte) error
	Flush(b []byte) error
	Drain() error
	Memmove(dst, src []byte, flags pmem2.MemFlags) error
	Memcpy(dst, src []byte, flags pmem2.MemFlags) error
	Memset(dst []byte, c byte, flags pmem2.MemFlags) error
	PersistFunc() func(b []byte) error
	FlushFunc() func(b []byte) error
	DrainFunc() func() error
	MemmoveFunc() func(dst, src []byte, flags pmem2.MemFlags) error
	MemcpyFunc() func(dst, src []byte, flags pmem2.MemFlags) error
	MemsetFunc() func(dst []byte, c byte, flags pmem2.MemFlags) error
	DeepFlushRange(addr uintptr, n uint64) error
	Delete() error
}

// Reservation is pmem2_vm_reservation_new(3) and what can be done with one.
type Reservation interface {
	Address() uintptr
	Size() uint64
	Extend(size uint64) error
	Shrink(offset, size uint64) error
	MapFind(offset, length uint64) (Map, error)
	MapFindFirst() (Map, error)
	MapFindLast() (Map, error)
	MapFindNext(m Map) (Map, error)
	MapFindPrev(m Map) (Map, error)
	Delete() error
}
