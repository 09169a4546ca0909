package pmem2

import (
	"errors"
	"math"
	"runtime"
	"syscall"

	"pmemlab/pmem2/platform"
)

// NewMap is pmem2_map_new(3): it maps the source as the config says. The map
// belongs to the caller, who deletes it.
//
// The granularity of the map is GranularityByte if the mapping is private or
// anonymous; else what ForceGranularity or the environment variable
// PMEM2_FORCE_GRANULARITY (BYTE, CACHE_LINE or PAGE in any case, read on every
// call; anything else counts as unset) says; else GranularityPage if the kernel
// refuses MAP_SYNC; else GranularityByte if the persistence domain of every
// region on the nvdimm bus is the CPU cache, GranularityCacheLine if not.
//
// Errors; with several arguments wrong at once, the first of these:
//   - EINVAL: config or source are nil or have been deleted
//   - ErrGranularityNotSet: the config has no granularity
//   - those of Source.Alignment, with a closed descriptor ErrInvalidFileHandle
//   - those of Source.Size
//   - ErrOffsetUnaligned: the offset is no multiple of the source's alignment
//     (the offset of an anonymous source is ignored)
//   - ErrSrcDevDaxPrivate: device DAX with private sharing
//   - ErrSourceEmpty: the source has no bytes
//   - ErrLengthUnaligned: the length, if set, is no multiple of the alignment
//   - ErrMapRange: offset+length wraps or is past the end of the source, or no
//     byte is left behind the offset
//   - EINVAL: the reservation has been deleted or is on another machine;
//     ErrOffsetUnaligned: its offset is no multiple of the page size, and the
//     source isn't device DAX; ErrAddressUnaligned: the address there is no
//     multiple of the alignment of the device DAX, or the mapping exceeds the
//     reservation; ErrMappingExists: the range there is taken
//   - EACCES: mmap refuses an append-only file whose open mode allows the
//     protection; ErrNoAccess: the open mode doesn't allow it; ErrNoSupp: mmap
//     doesn't support it; else the errno of mmap
//   - ErrGranularityNotSupported: the granularity is coarser than the required one
//   - the errno of mremap, in a reservation
//
// ErrMappingExists also comes if the kernel hands out an address that a map from
// MapFromExisting still claims.
func NewMap(cfg *Config, src *Source) (*Map, error) {
	const op = "NewMap"
	called(op)
	s, err := cfg.snapshot(op)
	if err != nil {
		return nil, err
	}
	if err := src.usable(op); err != nil {
		return nil, err
	}
	if !s.granularitySet {
		return nil, fail(op, ErrGranularityNotSet, "the config has no granularity; see SetRequiredStoreGranularity")
	}
	var req request
	alignment, err := src.request(op, s, &req)
	if err != nil {
		return nil, err
	}
	m := &Map{
		machine: src.machine, size: req.size, reserved: req.reserved,
		anonymous: src.fd < 0, kind: req.kind, rdev: req.rdev,
	}
	if s.reservation != nil {
		err = s.reservation.newMap(op, m, req, alignment, s)
	} else {
		err = m.mapAnywhere(op, req, s)
	}
	runtime.KeepAlive(src)
	if err != nil {
		return nil, err
	}
	if debugLog.level >= logOperations {
		debugLog.printf(logOperations, "%d bytes from offset %d mapped at %#x, granularity %v", m.size, req.offset, m.addr, m.granularity)
	}
	return m, nil
}

// request is one mapping that has passed the checks of its arguments.
type request struct {
	source   *Source
	kind     fileKind
	rdev     uint64 // of a device DAX
	offset   uint64
	size     uint64 // bytes that the program asked for
	reserved uint64 // size rounded up to the alignment
	prot     Prot
	sharing  Sharing
}

// request checks the arguments in their order, with one fstat for all.
func (s *Source) request(op string, set *settings, req *request) (alignment uint64, err error) {
	*req = request{source: s, offset: set.offset, size: set.length, prot: set.prot(), sharing: set.sharing}
	var sourceSize uint64
	if s.fd < 0 {
		alignment, sourceSize = s.machine.PageSize(), s.anonymous
		req.offset = 0
	} else {
		var st platform.Stat
		if err := s.stat(op, &st); err != nil {
			return 0, err
		}
		if req.kind, err = s.fileType(op, &st); err != nil {
			return 0, err
		}
		req.rdev = st.Rdev
		if alignment, err = s.alignmentOf(op, req.kind, &st); err != nil {
			return 0, err
		}
		if sourceSize, err = s.sizeOf(op, req.kind, &st); err != nil {
			return 0, err
		}
	}
	switch {
	case req.offset%alignment != 0:
		return 0, failNumbers(op, ErrOffsetUnaligned, "offset %d is no multiple of the source's alignment %d", req.offset, alignment)
	case req.kind == deviceDAX && set.sharing == Private:
		return 0, fail(op, ErrSrcDevDaxPrivate, "the source is device DAX, only Shared is possible")
	case sourceSize == 0:
		return 0, fail(op, ErrSourceEmpty, "the source has 0 bytes")
	case req.size%alignment != 0:
		return 0, failNumbers(op, ErrLengthUnaligned, "length %d is no multiple of the source's alignment %d", req.size, alignment)
	case req.offset > math.MaxUint64-req.size:
		return 0, fail(op, ErrMapRange, "offset %d + length %d is above 2^64-1", req.offset, req.size)
	case req.offset+req.size > sourceSize:
		return 0, fail(op, ErrMapRange, "offset %d + length %d is past the end of the source, which has %d bytes",
			req.offset, req.size, sourceSize)
	case req.offset == sourceSize:
		return 0, fail(op, ErrMapRange, "no byte is left behind offset %d: the source has %d bytes", req.offset, sourceSize)
	}
	if req.size == 0 {
		req.size = sourceSize - req.offset
	}
	if req.size > math.MaxUint64-(alignment-1) {
		// Only an anonymous source can be this large.
		return 0, failErrno(op, syscall.ENOMEM, "the address space has no %d bytes", req.size)
	}
	req.reserved = roundUp(req.size, alignment)
	return alignment, nil
}

// roundUp is for a power of two that n can't exceed 2^64 with.
func roundUp(n, alignment uint64) uint64 { return (n + alignment - 1) &^ (alignment - 1) }

// mapAnywhere maps where the kernel likes.
func (m *Map) mapAnywhere(op string, req request, s *settings) error {
	addr, synced, err := req.mmap(op, 0, 0)
	if err != nil {
		return err
	}
	m.addr = addr
	if err = m.settle(op, req, synced, s); err == nil {
		if taken := register(m); taken != nil {
			err = fail(op, ErrMappingExists, "the kernel maps at %#x, where the map of %d bytes at %#x is registered, whose memory was unmapped without Delete", addr, taken.reserved, taken.addr)
		}
	}
	if err != nil {
		return unmapAfter(err, m.machine, addr, m.reserved)
	}
	return nil
}

// settle gives a fresh mapping its granularity, which must not be coarser than
// the required one.
func (m *Map) settle(op string, req request, synced bool, s *settings) error {
	g, why := req.granularity(synced, s)
	if g > s.granularity {
		return fail(op, ErrGranularityNotSupported, "the mapping has granularity %v (%s), %v or finer is required", g, why, s.granularity)
	}
	if debugLog.level >= logDetails {
		debugLog.printf(logDetails, "%s: granularity %v: %s", op, g, why)
	}
	m.setGranularity(g)
	return nil
}

// mmap is the mapping of the source. A shared mapping of a file is tried with
// MAP_SYNC first; that the kernel has it is what synced says. A kernel that
// can't do it for the file answers EOPNOTSUPP; one older than 4.15, which
// doesn't know MAP_SHARED_VALIDATE, EINVAL.
func (r request) mmap(op string, addr uintptr, extra int) (got uintptr, synced bool, err error) {
	s := r.source
	prot, off := r.prot.flags(), int64(r.offset)
	shared := platform.MapShared | extra
	switch {
	case r.sharing == Private:
		shared = platform.MapPrivate | extra
	case s.fd >= 0:
		got, err = s.machine.Mmap(addr, r.reserved, prot, platform.MapSharedValidate|platform.MapSync|extra, s.fd, off)
		if err == nil {
			return got, true, nil
		}
		if !errors.Is(err, syscall.EOPNOTSUPP) && !errors.Is(err, syscall.EINVAL) {
			return 0, false, r.refused(op, err)
		}
	}
	if s.fd < 0 {
		shared |= platform.MapAnonymous
	}
	got, err = s.machine.Mmap(addr, r.reserved, prot, shared, s.fd, off)
	if err != nil {
		return 0, false, r.refused(op, err)
	}
	return got, false, nil
}

// refused is the error for mmap's errno.
func (r request) refused(op string, err error) error {
	switch errno := errnoOf(err); errno {
	case syscall.EACCES:
		if r.source.fd >= 0 && r.modeAllows() && r.appendOnly() {
			return failErrno(op, errno, "mmap: the file is append-only")
		}
		return fail(op, ErrNoAccess, "mmap: the file isn't open for protection %#x", uint32(r.prot))
	case syscall.EOPNOTSUPP:
		return fail(op, ErrNoSupp, "mmap of %d bytes with protection %#x isn't supported for the source", r.reserved, uint32(r.prot))
	default:
		return failErrno(op, errno, "mmap of %d bytes from offset %d", r.reserved, r.offset)
	}
}

// modeAllows reports whether the descriptor is open for the wanted mapping. Where
// that can't be learnt, the open mode is what mmap complained about.
func (r request) modeAllows() bool {
	flags, err := r.source.machine.GetFL(r.source.fd)
	if err != nil || flags&platform.OPath != 0 {
		return false
	}
	if r.sharing == Shared && r.prot&ProtWrite != 0 {
		return flags&platform.OAccmode == platform.ORdwr
	}
	return flags&platform.OAccmode != platform.OWronly
}

func (r request) appendOnly() bool {
	stx, err := r.source.machine.Statx(r.source.fd)
	return err == nil && stx.Attributes&platform.StatxAttrAppend != 0
}

// unmapAfter gives a mapping back that a failing call has made. It is tried
// twice; if neither works the error says what is left.
func unmapAfter(failure error, machine platform.Platform, addr uintptr, n uint64) error {
	err := machine.Munmap(addr, n)
	if err != nil {
		err = machine.Munmap(addr, n)
	}
	if err != nil {
		return leaves(failure, "%d bytes stay mapped at %#x (munmap: %v)", n, addr, err)
	}
	return failure
}
