package selftest

import (
	"sync"

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// subject is conformance.Go with a fault. All its objects stand before those of Go: a
// call goes to the fault if it has something to say to it, else to the healthy object.
type subject struct {
	name string
	make func() *faults

	mu sync.Mutex
	f  *faults
}

func (s *subject) Name() string { return s.name }

// On is conformance.Subject.On. All libraries of a subject share what the fault
// remembers.
func (s *subject) On(p platform.Platform) conformance.Library {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		s.f = s.make()
	}
	if s.f.machine != nil {
		p = s.f.machine(p)
	}
	s.f.on = p
	return &library{Library: conformance.Go.On(p), f: s.f}
}

// forget ends a run: what the fault remembers goes, with the machines that it holds.
func (s *subject) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.f = nil
}

// faults are what a broken subject does otherwise. What is nil is healthy. A function
// that takes the place of a call calls the healthy one by the object within its
// receiver, with bare arguments.
type faults struct {
	// machine is the one under the library.
	machine func(p platform.Platform) platform.Platform
	// after is told what the healthy library returns, by "Source.Size", and says what
	// the broken one does. An object can't be made that way.
	after map[string]func(err error) error

	newConfig          func(l *library) (conformance.PMem2Config, error)
	sourceFromFD       func(l *library, fd int) (conformance.Source, error)
	newMap             func(l *library, cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error)
	mapFromExisting    func(l *library, src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error)
	newVMReservation   func(l *library, addr uintptr, size uint64) (conformance.Reservation, error)
	newBadBlockContext func(l *library, src conformance.Source) (conformance.BadBlocks, error)
	setLength          func(c *config, n uint64) error
	setOffset          func(c *config, n uint64) error
	setProtection      func(c *config, p pmem2.Prot) error
	setGranularity     func(c *config, g pmem2.Granularity) error
	setSharing         func(c *config, s pmem2.Sharing) error
	setVMReservation   func(c *config, r conformance.Reservation, offset uint64) error
	deleteConfig       func(c *config) error
	fd                 func(s *source) (int, error)
	size               func(s *source) (uint64, error)
	alignment          func(s *source) (uint64, error)
	readDeviceID       func(s *source, buf []byte) (int, error)
	deviceUSC          func(s *source) (uint64, error)
	numaNode           func(s *source) (int, error)
	pread              func(s *source, p []byte, off uint64) error
	pwrite             func(s *source, p []byte, off uint64) error
	deleteSource       func(s *source) error
	nextBlock          func(b *badBlocks) (pmem2.BadBlock, error)
	clearBlock         func(b *badBlocks, block pmem2.BadBlock) error
	deleteBadBlocks    func(b *badBlocks) error
	address            func(m *mapping) uintptr
	mapSize            func(m *mapping) uint64
	storeGranularity   func(m *mapping) pmem2.Granularity
	deepFlush          func(m *mapping, addr uintptr, n uint64) error
	deleteMap          func(m *mapping) error
	reservationAddress func(r *reservation) uintptr
	reservationSize    func(r *reservation) uint64
	extend             func(r *reservation, size uint64) error
	shrink             func(r *reservation, offset uint64, size uint64) error
	mapFind            func(r *reservation, offset uint64, length uint64) (conformance.Map, error)
	mapFindFirst       func(r *reservation) (conformance.Map, error)
	mapFindLast        func(r *reservation) (conformance.Map, error)
	mapFindNext        func(r *reservation, m conformance.Map) (conformance.Map, error)
	mapFindPrev        func(r *reservation, m conformance.Map) (conformance.Map, error)
	deleteReservation  func(r *reservation) error
	nilBadBlocks       func() conformance.BadBlocks
	perror             func(l *library, err error, format string, args ...any)
	freshFunctions     bool // the getters of a map return another function each time
	persist            func(m *mapping, b []byte) error
	flush              func(m *mapping, b []byte) error
	drain              func(m *mapping) error
	memmove            func(m *mapping, dst, src []byte, flags pmem2.MemFlags) error
	memcpy             func(m *mapping, dst, src []byte, flags pmem2.MemFlags) error
	memset             func(m *mapping, dst []byte, c byte, flags pmem2.MemFlags) error

	setFaults

	on      platform.Platform // that of the latest library
	objects sync.Map          // wrappers by what they stand before
}

// setFaults are those of libpmemset.
type setFaults struct {
	newSetConfig        func(l *setLibrary) (conformance.SetConfig, error)
	newSet              func(l *setLibrary, cfg conformance.SetConfig) (conformance.Set, error)
	sourceFromFile      func(l *setLibrary, path string) (conformance.SetSource, error)
	xSourceFromFile     func(l *setLibrary, path string, flags pmemset.SourceFlags) (conformance.SetSource, error)
	sourceFromTemporary func(l *setLibrary, dir string) (conformance.SetSource, error)
	sourceFromPMem2     func(l *setLibrary, src conformance.Source) (conformance.SetSource, error)
	mapInto             func(l *setLibrary, src conformance.SetSource, cfg conformance.MapConfig) (pmemset.PartDescriptor, error)
	newPart             func(l *setLibrary, set conformance.Set, src conformance.SetSource, offset uint64, length uint64) (conformance.Part, error)
	requireOfSet        func(c *setConfig, g pmem2.Granularity) error
	reserveForSet       func(c *setConfig, r conformance.Reservation) error
	acceptStates        func(c *setConfig, s pmemset.PartState) error
	deleteSetConfig     func(c *setConfig) error
	granularityOfSet    func(s *set) (pmem2.Granularity, error)
	coalesce            func(s *set, c pmemset.Coalescing) error
	firstPart           func(s *set) conformance.PartMap
	nextPart            func(s *set, m conformance.PartMap) conformance.PartMap
	partByAddress       func(s *set, addr uintptr) (conformance.PartMap, error)
	removePart          func(s *set, m conformance.PartMap) error
	removeRange         func(s *set, addr uintptr, n uint64) error
	persistSet          func(s *set, b []byte) error
	flushSet            func(s *set, b []byte) error
	drainSet            func(s *set) error
	deepFlushSet        func(s *set, addr uintptr, n uint64) error
	memmoveSet          func(s *set, dst []byte, src []byte, flags pmem2.MemFlags) error
	memcpySet           func(s *set, dst []byte, src []byte, flags pmem2.MemFlags) error
	memsetSet           func(s *set, dst []byte, c byte, flags pmem2.MemFlags) error
	deleteSet           func(s *set) error
	setSDS              func(s *setSource, sds pmemset.SDS, state *pmemset.PartState) error
	detectBadBlocks     func(s *setSource, on bool) error
	clearBlockOfSet     func(s *setSource, b pmem2.BadBlock) error
	preadSet            func(s *setSource, p []byte, off uint64) error
	pwriteSet           func(s *setSource, p []byte, off uint64) error
	alignmentOfSet      func(s *setSource) (uint64, error)
	deleteSetSource     func(s *setSource) error
	mapOffset           func(c *mapConfig, n uint64) error
	mapLength           func(c *mapConfig, n uint64) error
	deleteMapConfig     func(c *mapConfig) error
	mapPart             func(p *part) (pmemset.PartDescriptor, error)
	deletePart          func(p *part) error
	descriptor          func(m *partMap) pmemset.PartDescriptor
	drop                func(m *partMap)
	// mapAny is a call of any generation that maps a source into a set.
	mapAny       func(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error)
	setPerror    func(l *setLibrary, err error, format string, args ...any)
	nilSetSource func() conformance.SetSource
	// event tells a callback of an event.
	event func(e conformance.SetEvent, tell func(e conformance.SetEvent) error) error
}

// told is what the caller is told of a call.
func (f *faults) told(call string, err error) error {
	if change := f.after[call]; change != nil {
		return change(err)
	}
	return err
}

// wrapper stands before an object of the healthy library.
type wrapper[T any] interface{ bare() T }

// bare is the healthy object, of a wrapper or of what never got one.
func bare[T any](v T) T {
	if w, ok := any(v).(wrapper[T]); ok {
		return w.bare()
	}
	return v
}

// wrap returns the one wrapper of an object, so that wrappers of one object are equal.
func wrap[W any](f *faults, object any, fresh func() W) (w W, ok bool) {
	if object == nil {
		return w, false
	}
	if w, ok := object.(W); ok {
		return w, true
	}
	known, _ := f.objects.LoadOrStore(object, fresh())
	return known.(W), true
}
