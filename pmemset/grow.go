package pmemset

import (
	"errors"
	"math"
	"sync"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// growing is held for writing while a file grows, until the mapping that it grows for
// is made or the file is cut back, and for reading by every other map call from reading
// the size on, and by transfers: no mapping and no byte can end up behind the end of a
// file.
var growing sync.RWMutex

// measure reads the source's size and alignment, settles the length and says whether
// the source must grow.
func (a *addition) measure() (grow bool, err error) {
	if a.size, err = a.src.pmem2.Size(); err == nil {
		a.alignment, err = a.src.pmem2.Alignment()
	}
	if err != nil {
		if a.gen != final {
			return false, fail(a.op, ErrInvalidPmem2Map, err, "the source's size and alignment")
		}
		return false, failPMem2(a.op, err, "the source's size and alignment")
	}
	if a.length == 0 {
		switch {
		case a.gen == mapAPI && a.size > 0 && a.mayGrow():
			a.length = a.size
		case a.size > a.offset:
			a.length = a.size - a.offset
		case a.gen == final:
			return false, fail(a.op, ErrMapLengthUnset, nil, "no length is set, and no byte is at offset %d or behind: the source has %d", a.offset, a.size)
		case a.size == 0:
			return false, fail(a.op, ErrInvalidPmem2Map, pmem2.ErrSourceEmpty, "no length is set, and the source has no byte")
		default:
			return false, fail(a.op, ErrInvalidPmem2Map, pmem2.ErrMapRange, "no length is set, and no byte is at offset %d or behind: the source has %d", a.offset, a.size)
		}
	}
	if a.offset <= a.size && a.length <= a.size-a.offset {
		return false, nil
	}
	if !a.mayGrow() {
		code, cause := ErrSourceFileIsTooSmall, error(nil)
		if a.gen != final {
			code, cause = ErrInvalidPmem2Map, pmem2.ErrMapRange
		}
		return false, fail(a.op, code, cause, "%d bytes from offset %d: the source has %d, and isn't to grow", a.length, a.offset, a.size)
	}
	return true, a.growable()
}

// mayGrow reports whether the source may grow, by its kind and flags.
func (a *addition) mayGrow() bool {
	switch flagged := a.src.flags&SourceFileDoNotGrow != 0; {
	case a.src.kind == fromTemporary:
		return true
	case a.gen == final:
		return !flagged
	default:
		return flagged // the bit means SourceFileTruncateIfNeeded
	}
}

// addressSpace is how many bytes of addresses a program can have, with five levels of
// page tables.
const addressSpace = 1 << 56

// growable refuses what can be known beforehand not to grow.
func (a *addition) growable() error {
	machine, fd := a.src.machine, a.src.fd
	if a.length > addressSpace {
		return a.cannotGrow(nil, "more than any address space holds")
	}
	if a.length > math.MaxInt64 || a.offset > math.MaxInt64-a.length {
		return a.cannotGrow(nil, "above 2^63-1")
	}
	st, err := machine.Fstat(fd)
	if err != nil {
		return a.cannotGrow(err, "fstat")
	}
	if st.Type() != platform.SIFREG {
		return a.cannotGrow(nil, "the source isn't a regular file")
	}
	flags, err := machine.GetFL(fd)
	if err != nil {
		return a.cannotGrow(err, "fcntl(F_GETFL)")
	}
	if flags&platform.OAccmode != platform.ORdwr {
		return a.cannotGrow(nil, "the source isn't open for writing")
	}
	return nil
}

func (a *addition) cannotGrow(cause error, why string) error {
	return a.fail(ErrCannotGrowSourceFile, cause, "from %d bytes to offset %d + length %d: %s", a.size, a.offset, a.length, why)
}

// grow extends the file to offset+length. The function that it returns cuts it back
// after a failure, unless somebody else has changed its size since.
func (a *addition) grow() (shrink func(failure error) error, err error) {
	machine, fd, to := a.src.machine, a.src.fd, int64(a.offset+a.length)
	st, err := machine.Fstat(fd)
	if err != nil {
		return nil, a.cannotGrow(err, "fstat")
	}
	// Unlike ftruncate, fallocate can't cut off what another program appends meanwhile.
	if st.Size < to {
		err = machine.Fallocate(fd, 0, to-1, 1)
		if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
			if st, err = machine.Fstat(fd); err == nil && st.Size < to {
				err = machine.Ftruncate(fd, to)
			}
		}
	}
	if err != nil {
		return nil, a.cannotGrow(err, "extending the file")
	}
	from := st.Size
	switch {
	case from < to:
	case a.uncut != nil: // the attempt before couldn't cut it back
		return a.uncut, nil
	default: // another program has made it grow
		return func(failure error) error { return failure }, nil
	}
	operation("%s: %s grown from %d to %d bytes", a.op, a.src.name(), from, to)
	shrink = func(failure error) error {
		for range 2 {
			if st, err = machine.Fstat(fd); err == nil {
				if st.Size != to {
					return failure
				}
				err = machine.Ftruncate(fd, from)
			}
			if err == nil {
				return failure
			}
		}
		a.uncut = shrink
		return leaves(failure, "the file has grown from %d to %d bytes (%v)", from, to, err)
	}
	return shrink, nil
}
