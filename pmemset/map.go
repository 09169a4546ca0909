package pmemset

import (
	"errors"
	"math"

	"pmemlab/pmem2"
)

// generation is one of the three that the library went through; the entry point says
// which.
type generation int

const (
	partsAPI generation = iota // NewPart, (*Part).Map: release 1.11
	mapAPI                     // Map
	final                      // (*Set).Map: release 1.12
)

// Map is pmemset_map(3) of release 1.12: it maps the source into the set, as cfg says,
// or, with a nil cfg, all of it. Mappings are shared, to be read and written, and stay
// when the source is deleted. It returns where the part map lies that the part is, or
// has become the end of.
//
// A length of 0 is everything from the offset to the end of the source. A source that
// ends before offset+length grows to there, unless it is a file with
// SourceFileDoNotGrow. Growing cuts off nothing that another program appends, but on file
// systems without fallocate(2). If the call then fails the file is cut back; what another
// program has appended between the two, without the file becoming longer by it than it
// has grown, or in the very moment of the cut, is lost.
//
// If the source has shutdown data (SetSDS) or looks for bad blocks
// (SetBadBlockDetection), that comes first. At the end there is an EventPartAdd and, for
// a source with shutdown data, an EventSDSUpdate.
//
// A failing call leaves everything as it was, the size of the file included. Errors;
// where several things are wrong, the first of these:
//   - EINVAL: the set or cfg is nil (but not cfg as nil itself), empty or has been deleted
//   - ErrInvalidSourceType: the source is nil or has been deleted
//   - of a source with shutdown data: ErrSDSNoSupp, ErrSDSDeviceIDLenTooBig, those of
//     pmem2 for reading them; ErrUndesirablePartState: the state, which is stored all
//     the same, isn't acceptable
//   - of a source that looks for bad blocks: ErrIOFail: one is left;
//     ErrDaxRegionNotFound, ErrCannotReadBounds, ErrBadBlockNoSupp: they can't be found
//     out about, or pmem2's error; what the callback returns for EventBadBlocksCleared
//   - those of pmem2.Source.Size: ErrInvalidFileHandle for a closed descriptor
//   - ErrMapLengthUnset: there is no length, and nothing at the offset or behind it
//   - ErrSourceFileIsTooSmall: offset+length is past the end, and the source mustn't
//     grow; ErrCannotGrowSourceFile: it can't (what only the kernel can tell of that,
//     such as a full disk, comes after the place has been found)
//   - ErrInvalidSourceType: the source lives on another machine than the set's parts
//   - ErrLengthUnaligned: the length is no multiple of the page size
//   - ErrCannotCoalesceParts: CoalescingFull, and the part can't lie behind the previous
//     one; ErrCannotFitPartMap: the configured reservation has no room for it;
//     ErrCannotAllocateInternalStructure: the address space has none, with pmem2's error
//   - ErrInvalidPmem2Map: pmem2 can't map it, with pmem2's error: the offset is
//     unaligned, the granularity is too coarse, …
//   - ErrGranularityMismatch: the mapping's granularity isn't that of the set's parts
func (s *Set) Map(src *Source, cfg *MapConfig) (PartDescriptor, error) {
	const op = "Map"
	called(op)
	if err := s.usable(op); err != nil {
		return PartDescriptor{}, err
	}
	var m mapSettings
	if cfg != nil {
		var err error
		if m, err = cfg.snapshot(op); err != nil {
			return PartDescriptor{}, err
		}
	}
	return s.mapSource(op, src, final, m.offset, m.length, nil)
}

// Map is pmemset_map(3) before release 1.12: it maps the source into the set that cfg
// was made for. It does what (*Set).Map does, but that a source only grows if it is a
// temporary file, or a file with SourceFileTruncateIfNeeded; for such a source a length
// of 0 is the size that it has, whatever the offset. And ErrInvalidPmem2Map takes the
// place of ErrMapLengthUnset, of ErrSourceFileIsTooSmall and of the errors of
// pmem2.Source.Size.
//
// Errors: as for (*Set).Map; EINVAL if cfg is nil or has been deleted, or its set is nil
// or has been deleted.
func Map(src *Source, cfg *MapConfig) (PartDescriptor, error) {
	const op = "Map"
	called(op)
	m, err := cfg.snapshot(op)
	if err != nil {
		return PartDescriptor{}, err
	}
	if err := m.set.usable(op); err != nil {
		return PartDescriptor{}, err
	}
	return m.set.mapSource(op, src, mapAPI, m.offset, m.length, nil)
}

// mapSource is a map call of any generation. Before its events it calls mapped, if that
// isn't nil: a callback can do anything, panic included.
func (s *Set) mapSource(op string, src *Source, gen generation, offset, length uint64, mapped func()) (PartDescriptor, error) {
	if !src.acquire() {
		return PartDescriptor{}, fail(op, ErrInvalidSourceType, nil, "the source is nil or has been deleted")
	}
	defer src.release()
	device, err := src.checkState(op, s.settings.acceptable)
	if err != nil {
		return PartDescriptor{}, err
	}
	if err := src.searchBadBlocks(op, s); err != nil {
		return PartDescriptor{}, err
	}
	if gen == partsAPI && offset > math.MaxInt64 {
		return PartDescriptor{}, fail(op, ErrInvalidOffsetValue, nil, "offset %d is above 2^63-1", offset)
	}
	a := addition{op: op, set: s, src: src, gen: gen, device: device, offset: offset, length: length}
	whole, err := a.run()
	if err != nil {
		return PartDescriptor{}, err
	}
	operation("%s: %d bytes from offset %d mapped at %#x", op, a.length, a.offset, a.addr)
	if mapped != nil {
		mapped()
	}
	if device.known {
		defer s.announceSDS(src) // behind the other event
	}
	if s.listening() {
		s.tell(&Event{
			Type: EventPartAdd, Addr: whole.Addr, Len: whole.Size,
			Added: PartDescriptor{Addr: a.addr, Size: a.length}, PMem2Source: src.pmem2,
		})
	}
	return whole, nil
}

// addition is one map call behind the checks of the source.
type addition struct {
	op     string
	set    *Set
	src    *Source
	gen    generation
	device device

	offset, length uint64 // in bytes; length isn't 0 from measure on
	alignment      uint64 // that the source asks for
	size           uint64 // that the source has
	spot           spot
	addr           uintptr // where the mapping lies in the end

	// uncut is what cuts the file back to the size that it had, if an attempt that failed
	// couldn't; else nil.
	uncut func(failure error) error
}

// run maps the source, and tells the part map as it is then.
func (a *addition) run() (PartDescriptor, error) {
	s := a.set
	if err := s.lock(a.op); err != nil {
		return PartDescriptor{}, err
	}
	defer s.mu.Unlock()
	s.sweep()
	// The size of a file stays what it is from its being read to the end of the call.
	growing.RLock()
	unlock := growing.RUnlock
	defer func() { unlock() }()
	asked := a.length
	grow, err := a.measure()
	if err == nil && grow {
		growing.RUnlock()
		growing.Lock()
		unlock = growing.Unlock
		a.length = asked
		grow, err = a.measure()
	}
	if err != nil {
		return PartDescriptor{}, err
	}
	if len(s.parts)+len(s.departing) > 0 && s.machine != a.src.machine {
		return PartDescriptor{}, fail(a.op, ErrInvalidSourceType, nil, "the source lives on another machine than the set's parts")
	}
	if page := a.src.machine.PageSize(); a.length%page != 0 {
		return PartDescriptor{}, fail(a.op, ErrLengthUnaligned, nil, "length %d is no multiple of the page size %d", a.length, page)
	}
	if s.coalescing != CoalescingNone && s.previous != nil {
		if err = a.behind(s.previous); err == nil {
			var whole PartDescriptor
			if whole, err = a.mapAt(grow); err == nil {
				return whole, nil
			}
		}
		if s.coalescing == CoalescingFull {
			return PartDescriptor{}, err
		}
	}
	for {
		if err := a.elsewhere(); err != nil {
			return PartDescriptor{}, err
		}
		whole, err := a.mapAt(grow)
		// In a configured reservation another set, or the program, may have been faster.
		if err == nil || a.spot.region.own || !errors.Is(err, pmem2.ErrMappingExists) {
			return whole, err
		}
	}
}

// mapAt makes the mapping at the spot and enters it into the set.
func (a *addition) mapAt(grow bool) (_ PartDescriptor, err error) {
	s := a.set
	// A misaligned offset is for pmem2 to refuse, before it looks at the size.
	if grow && a.offset%a.alignment == 0 {
		var shrink func(error) error
		if shrink, err = a.grow(); err != nil {
			return PartDescriptor{}, a.leave(err)
		}
		defer func() {
			if err != nil {
				err = shrink(err)
			}
		}()
	}
	m, err := a.newMap()
	if err != nil {
		return PartDescriptor{}, a.leave(err)
	}
	p := a.spot.extends
	if p != nil && m.Address() != p.end() {
		// The program has shrunk the configured reservation meanwhile.
		err = a.cannotCoalesce(nil, "the configured reservation has changed")
		return PartDescriptor{}, a.leave(a.undo(err, m))
	}
	g := m.StoreGranularity()
	if len(s.parts)+len(s.departing) > 0 && g != s.granularity {
		err = a.fail(ErrGranularityMismatch, nil, "the mapping has granularity %v, the set's parts have %v", g, s.granularity)
	} else {
		err = a.src.mapped(a.op, a.device, s.settings.acceptable)
	}
	if err != nil {
		return PartDescriptor{}, a.leave(a.undo(err, m))
	}
	s.granularity, s.machine, s.quiet = g, a.src.machine, a.gen == partsAPI
	a.addr = m.Address()
	if p == nil {
		p = &part{set: s, region: a.spot.region, addr: m.Address()}
		p.region.parts++
		s.parts.insert(p)
		s.previous = p
	}
	p.pieces = append(p.pieces, piece{addr: m.Address(), size: a.length, m: m, src: a.src, sds: a.device.known})
	p.size += a.length
	if s.data.Load() == nil {
		s.data.Store(m)
	}
	return p.descriptor(), nil
}

// newMap is the pmem2 mapping at the spot.
func (a *addition) newMap() (*pmem2.Map, error) {
	cfg := pmem2.NewConfig()
	for _, err := range []error{
		cfg.SetRequiredStoreGranularity(a.set.settings.granularity), cfg.SetOffset(a.offset), cfg.SetLength(a.length),
		cfg.SetVMReservation(a.spot.region.VMReservation, a.spot.offset),
	} {
		if err != nil {
			return nil, a.fail(ErrInvalidPmem2Map, err, "%d bytes from offset %d", a.length, a.offset)
		}
	}
	m, err := pmem2.NewMap(cfg, a.src.pmem2)
	if err == nil {
		return m, nil
	}
	if a.spot.extends != nil && errors.Is(err, pmem2.ErrMappingExists) {
		return nil, a.cannotCoalesce(err, "the %d bytes behind the previous part map are taken", a.length)
	}
	return nil, a.fail(ErrInvalidPmem2Map, err, "%d bytes from offset %d", a.length, a.offset)
}

// undo deletes a mapping that a failing call has made. It is tried twice; then it is the
// set's to try again.
func (a *addition) undo(failure error, m *pmem2.Map) error {
	err := m.Delete()
	if err != nil {
		err = m.Delete()
	}
	if err != nil && m.Address() != 0 {
		a.set.strays = append(a.set.strays, m)
		return leaves(failure, "a mapping of %d bytes at %#x (%v)", m.Size(), m.Address(), err)
	}
	return failure
}
