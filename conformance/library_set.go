package conformance

import (
	"errors"
	"log/slog"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// SetLibrary is libpmemset as a case sees it, whichever implementation stands behind
// it, in all three generations. Constants are pmemset's, which have the values of C.
// An object returned with an error is nil. Objects that stand for the same thing
// compare equal, but for part maps. Where C takes NULL a nil interface will do, or the
// nil object of its kind.
type SetLibrary interface {
	NewSetConfig() (SetConfig, error)
	NewSet(cfg SetConfig) (Set, error)
	SourceFromFile(path string) (SetSource, error)
	XSourceFromFile(path string, flags pmemset.SourceFlags) (SetSource, error)
	SourceFromTemporary(dir string) (SetSource, error)
	SourceFromPMem2(src Source) (SetSource, error)

	// NewMapConfig makes one for a set, as Map needs it; with no set for Set.Map.
	NewMapConfig(set Set) (MapConfig, error)
	// Map is the pmemset_map(3) that finds the set in the config.
	Map(src SetSource, cfg MapConfig) (pmemset.PartDescriptor, error)
	// NewPart is pmemset_part_new(3) of the first generation.
	NewPart(set Set, src SetSource, offset, length uint64) (Part, error)

	// Cause names what libpmem2 said below an error of the library, as Outcome does; ""
	// if it said nothing.
	Cause(err error) string
	// Errno is pmemset_err_to_errno(3), Perror pmemset_perror(3), told the error.
	Errno(err error) syscall.Errno
	Perror(err error, format string, args ...any)
	// SetLogger has the whole library tell l what the pages say is in the logs; nil
	// switches that off.
	SetLogger(l *slog.Logger)

	// NilSetConfig and the others are what a variable holds after Delete in C: no
	// object.
	NilSetConfig() SetConfig
	NilSet() Set
	NilSetSource() SetSource
	NilMapConfig() MapConfig
	NilPart() Part
	NilPartMap() PartMap
}

// SetConfig is pmemset_config_new(3) and the setters.
type SetConfig interface {
	SetRequiredStoreGranularity(g pmem2.Granularity) error
	// SetReservation takes nil for none.
	SetReservation(r Reservation) error
	// SetEventCallback takes nil for none. What the callback returns to make a call
	// fail is ErrCallback.
	SetEventCallback(callback func(e SetEvent) error) error
	SetAcceptableStates(s pmemset.PartState) error
	Delete() error
}

// ErrCallback is what a case's callback returns where C's returns something other
// than 0. An error that is it has the outcome "(callback)".
var ErrCallback = errors.New("what the callback returned")

// SetEvent is what a callback is told, with the set that tells it. The values are
// those of pmemset.Event.
type SetEvent struct {
	Set  Set
	Type pmemset.EventType

	Dst, Src uintptr
	Flags    pmem2.MemFlags
	Value    byte
	Addr     uintptr
	Len      uint64

	Added       pmemset.PartDescriptor
	PMem2Source Source
	Source      SetSource
	SDS         *pmemset.SDS
	BadBlock    pmem2.BadBlock
}

// Set is pmemset_new(3) and what can be done with a set.
type Set interface {
	StoreGranularity() (pmem2.Granularity, error)
	SetContiguousPartCoalescing(c pmemset.Coalescing) error
	// Map is pmemset_map(3) of 1.12.1. It takes nil for no config.
	Map(src SetSource, cfg MapConfig) (pmemset.PartDescriptor, error)

	// FirstPartMap and NextPartMap return nil if there is none.
	FirstPartMap() PartMap
	NextPartMap(m PartMap) PartMap
	PartMapByAddress(addr uintptr) (PartMap, error)
	RemovePartMap(m PartMap) error
	RemoveRange(addr uintptr, n uint64) error

	Persist(b []byte) error
	Flush(b []byte) error
	Drain() error
	DeepFlush(b []byte) error
	DeepFlushRange(addr uintptr, n uint64) error
	Memmove(dst, src []byte, flags pmem2.MemFlags) error
	Memcpy(dst, src []byte, flags pmem2.MemFlags) error
	Memset(dst []byte, c byte, flags pmem2.MemFlags) error
	Delete() error
}

// SetSource is pmemset_source_from_file(3) and what can be done with a source.
type SetSource interface {
	// SetSDS copies sds. state, which may be nil, is where mapping stores what it finds.
	SetSDS(sds pmemset.SDS, state *pmemset.PartState) error
	SetBadBlockDetection(on bool) error
	ClearBadBlock(b pmem2.BadBlock) error
	PreadMCSafe(p []byte, off uint64) error
	PwriteMCSafe(p []byte, off uint64) error
	Alignment() (uint64, error)
	Delete() error
}

// MapConfig is pmemset_map_config_new(3) and the setters.
type MapConfig interface {
	SetOffset(n uint64) error
	SetLength(n uint64) error
	Delete() error
}

// Part is pmemset_part_new(3) of the first generation. Map consumes it if it succeeds.
type Part interface {
	Map() (pmemset.PartDescriptor, error)
	Delete() error
}

// PartMap is a counted reference to a part map.
type PartMap interface {
	// Same reports whether both stand for one part map, as comparing the pointers does
	// in C.
	Same(m PartMap) bool
	Descriptor() pmemset.PartDescriptor
	Drop()
}
