package model

import (
	"syscall"

	"pmemlab/pmem2"
)

// Kind is what a source is made of.
type Kind int

// The kinds of source.
const (
	Anonymous Kind = iota
	File
	DeviceDAX
)

// Access is how the descriptor of a source was opened.
type Access int

// The open modes.
const (
	ReadWrite Access = iota
	ReadOnly
	WriteOnly
	PathOnly
)

// Source is where a mapping is to come from.
type Source struct {
	Kind       Kind
	Size       uint64 // in bytes
	Align      uint64 // of offsets and lengths, in bytes: the page size but for device DAX
	Access     Access
	AppendOnly bool
}

// Reservation is one that a mapping is to lie in.
type Reservation struct {
	Addr, Size uint64
	Taken      []Extent // addresses of what is mapped in it
	Offset     uint64   // of the mapping
	Deleted    bool
}

// Machine is what the kernel and the CPU have.
type Machine struct {
	Page uint64
	EADR bool
	// Sync says that the kernel grants MAP_SYNC for the source, NoValidate that it doesn't
	// know MAP_SHARED_VALIDATE.
	Sync, NoValidate bool
	// AddressSpace is how long a mapping can be at most. From Doubtful bytes on, or from
	// Memory bytes on that have no file to go to, it depends on what else there is whether
	// the kernel has room; NoRoom says that it hadn't.
	AddressSpace, Doubtful, Memory uint64
	NoRoom                         bool
	// AnswerSync, AnswerPlain and AnswerMove are what mmap with MAP_SYNC, mmap without, and
	// the mremap into a reservation answer instead of being done, unless they are 0.
	AnswerSync, AnswerPlain, AnswerMove syscall.Errno
}

// MapRequest are the arguments of pmem2_map_new(3).
type MapRequest struct {
	Source         Source
	Offset, Length uint64 // Length 0: to the end
	Granularity    pmem2.Granularity
	GranularitySet bool
	Forced         pmem2.Granularity
	IsForced       bool
	Sharing        pmem2.Sharing
	Prot           pmem2.Prot
	Reservation    *Reservation
	Machine        Machine
}

// Mapping is what a request must lead to: a result, or a mapping as described.
type Mapping struct {
	Result      Result
	Offset      uint64 // in the source; 0 if that is anonymous
	Size        uint64 // as pmem2_map_get_size(3) tells it
	Length      uint64 // of the address range that it takes
	Granularity pmem2.Granularity
	Addr        uint64 // 0: anywhere
	Align       uint64 // that the address is a multiple of
}

// OpenSource is the result of pmem2_source_from_fd(3).
func OpenSource(s Source) Result {
	if s.Kind != Anonymous && s.Access == WriteOnly {
		return Fails(pmem2.ErrInvalidFileHandle)
	}
	return OK
}

// SetOffset is the result of pmem2_config_set_offset(3).
func SetOffset(offset uint64) Result {
	if offset > 1<<63-1 {
		return Fails(pmem2.ErrOffsetOutOfRange)
	}
	return OK
}

// Map is pmem2_map_new(3). The checks stand in their order.
func Map(q MapRequest) Mapping {
	refuse := func(r Result) Mapping { return Mapping{Result: r} }
	s := q.Source
	if s.Kind == Anonymous {
		q.Offset, s.Align = 0, q.Machine.Page
	}
	length := q.Length
	if length == 0 && q.Offset < s.Size {
		length = s.Size - q.Offset
	}
	switch {
	case !q.GranularitySet:
		return refuse(Fails(pmem2.ErrGranularityNotSet))
	case q.Offset%s.Align != 0:
		return refuse(Fails(pmem2.ErrOffsetUnaligned))
	case s.Kind == DeviceDAX && q.Sharing == pmem2.Private:
		return refuse(Fails(pmem2.ErrSrcDevDaxPrivate))
	case s.Size == 0:
		return refuse(Fails(pmem2.ErrSourceEmpty))
	case q.Length%s.Align != 0:
		return refuse(Fails(pmem2.ErrLengthUnaligned))
	case q.Offset >= s.Size || length > s.Size-q.Offset:
		return refuse(Fails(pmem2.ErrMapRange))
	}
	m := Mapping{Offset: q.Offset, Size: length, Align: s.Align}
	pages := length / s.Align
	if length%s.Align != 0 {
		pages++
	}
	if pages > ^uint64(0)/s.Align {
		return refuse(FailsWith(syscall.ENOMEM))
	}
	m.Length = pages * s.Align
	if q.Reservation != nil {
		r := q.Reservation
		at := r.Addr + r.Offset
		switch {
		case r.Deleted:
			return refuse(FailsWith(syscall.EINVAL))
		case s.Kind != DeviceDAX && r.Offset%q.Machine.Page != 0:
			return refuse(Fails(pmem2.ErrOffsetUnaligned))
		case at%s.Align != 0:
			return refuse(Fails(pmem2.ErrAddressUnaligned))
		case r.Offset > r.Size || m.Length > r.Size-r.Offset:
			return refuse(Fails(pmem2.ErrAddressUnaligned))
		}
		for _, e := range r.Taken {
			if e.Overlaps(Extent{at, m.Length}) {
				return refuse(Fails(pmem2.ErrMappingExists))
			}
		}
		m.Addr = at
	}
	errno, synced := q.mmap(m.Length)
	if errno != 0 {
		return refuse(q.refusal(errno))
	}
	if m.Granularity = q.granularity(synced); m.Granularity > q.Granularity {
		return refuse(Fails(pmem2.ErrGranularityNotSupported))
	}
	if q.Reservation != nil && q.Machine.AnswerMove != 0 {
		return refuse(FailsWith(q.Machine.AnswerMove))
	}
	return m
}

// mmap is what the kernel answers. Shared mappings of files are tried with MAP_SYNC first; a
// kernel that can't answers EOPNOTSUPP or, one that is too old, EINVAL.
func (q MapRequest) mmap(length uint64) (errno syscall.Errno, synced bool) {
	if q.Source.Kind == Anonymous || q.Sharing == pmem2.Private {
		return q.plain(length, q.Machine.AnswerPlain), false
	}
	m := q.Machine
	switch {
	case m.AnswerSync != 0:
		errno = m.AnswerSync
	case q.Source.Access == PathOnly:
		errno = syscall.EBADF
	case m.NoValidate:
		errno = syscall.EINVAL
	default:
		if errno = q.plain(length, 0); errno == 0 && !m.Sync {
			errno = syscall.EOPNOTSUPP
		}
	}
	if errno == syscall.EOPNOTSUPP || errno == syscall.EINVAL {
		return q.plain(length, m.AnswerPlain), false
	}
	return errno, true
}

// Doubtful says whether it depends on what else there is whether the kernel has room for so
// many bytes.
func (q MapRequest) Doubtful(length uint64) bool {
	if q.Source.Kind == Anonymous || q.Sharing == pmem2.Private {
		return length >= q.Machine.Memory
	}
	return length >= q.Machine.Doubtful
}

func (q MapRequest) plain(length uint64, answer syscall.Errno) syscall.Errno {
	m, s := q.Machine, q.Source
	switch {
	case answer != 0:
		return answer
	case s.Kind != Anonymous && s.Access == PathOnly:
		return syscall.EBADF
	case length >= m.AddressSpace, q.Doubtful(length) && m.NoRoom:
		return syscall.ENOMEM
	case s.Kind != Anonymous && q.Sharing == pmem2.Shared &&
		(q.Prot&pmem2.ProtWrite != 0 && s.Access == ReadOnly || s.AppendOnly && s.Access == ReadWrite):
		return syscall.EACCES
	}
	return 0
}

// refusal is the result for an errno of mmap. EACCES is the open mode's fault, unless that
// allows the protection and the file is append-only.
func (q MapRequest) refusal(errno syscall.Errno) Result {
	switch errno {
	case syscall.EACCES:
		writes := q.Sharing == pmem2.Shared && q.Prot&pmem2.ProtWrite != 0
		allowed := q.Source.Access == ReadWrite || q.Source.Access == ReadOnly && !writes
		if q.Source.Kind == File && q.Source.AppendOnly && allowed {
			return FailsWith(errno)
		}
		return Fails(pmem2.ErrNoAccess)
	case syscall.EOPNOTSUPP:
		return Fails(pmem2.ErrNoSupp)
	}
	return FailsWith(errno)
}

// granularity is that of a mapping, as libpmem2(7) tells it.
func (q MapRequest) granularity(synced bool) pmem2.Granularity {
	switch {
	case q.Sharing == pmem2.Private || q.Source.Kind == Anonymous:
		return pmem2.GranularityByte
	case q.IsForced:
		return q.Forced
	case !synced:
		return pmem2.GranularityPage
	case q.Machine.EADR:
		return pmem2.GranularityByte
	}
	return pmem2.GranularityCacheLine
}
