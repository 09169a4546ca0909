package pmem2

import (
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"unsafe"

	"pmemlab/pmem2/platform"
)

// PreadMCSafe is pmem2_source_pread_mcsafe(3): it fills p with the bytes of the
// source from off on, and survives bad blocks. The position of the descriptor is
// neither used nor changed. After an error p may hold a part of them.
//
// A device DAX is mapped for the duration of the call, for reading only; a machine
// check there is a SIGBUS, which this goroutine turns into the error while other
// goroutines, and signal handlers, aren't concerned.
//
// Errors: ErrSourceTypeNotSupported if the source is anonymous; those of Size;
// ErrLengthOutOfRange if a byte of [off, off+len(p)) is past the end of the source;
// ErrIOFail if the media can't be read; those of NewMap for device DAX; else the
// errno of pread; EINVAL on a nil or deleted source.
func (s *Source) PreadMCSafe(p []byte, off uint64) error {
	const op = "PreadMCSafe"
	called(op)
	kind, err := s.mcsafeRange(op, uint64(len(p)), off)
	if err != nil || len(p) == 0 {
		return err
	}
	if kind == deviceDAX {
		return s.guardedCopy(op, p, off, ProtRead)
	}
	defer runtime.KeepAlive(s.file)
	for done := 0; done < len(p); {
		n, err := s.machine.Pread(s.fd, p[done:], int64(off)+int64(done))
		switch {
		case errors.Is(err, syscall.EIO):
			return fail(op, ErrIOFail, "pread of %d bytes at offset %d: %v", len(p)-done, off+uint64(done), err)
		case err != nil:
			return failErrno(op, err, "pread of %d bytes at offset %d", len(p)-done, off+uint64(done))
		case n == 0: // the file has been truncated meanwhile
			return fail(op, ErrLengthOutOfRange, "the file ends at offset %d now", off+uint64(done))
		}
		done += n
	}
	return nil
}

// PwriteMCSafe is pmem2_source_pwrite_mcsafe(3): it stores p in the source from off
// on, and survives bad blocks. The source doesn't grow. What is written to a device
// DAX is durable on return; a file needs an fsync. After an error a part of p may
// have been written.
//
// Errors: as PreadMCSafe, with pwrite for pread; ErrNoAccess if a device DAX is open
// for reading only (EBADF for a file); EINVAL for a file that is open for appending
// (O_APPEND), since pwrite then writes elsewhere.
func (s *Source) PwriteMCSafe(p []byte, off uint64) error {
	const op = "PwriteMCSafe"
	called(op)
	kind, err := s.mcsafeRange(op, uint64(len(p)), off)
	if err != nil || len(p) == 0 {
		return err
	}
	if kind == deviceDAX {
		return s.guardedCopy(op, p, off, ProtRead|ProtWrite)
	}
	if flags, err := s.machine.GetFL(s.fd); err != nil {
		return failErrno(op, err, "fcntl(F_GETFL) of descriptor %d", s.fd)
	} else if flags&platform.OAppend != 0 {
		return failErrno(op, syscall.EINVAL, "descriptor %d is open for appending, where writes go to the end of the file", s.fd)
	}
	defer runtime.KeepAlive(s.file)
	for done := 0; done < len(p); {
		n, err := s.machine.Pwrite(s.fd, p[done:], int64(off)+int64(done))
		switch {
		// Linux answers EFAULT where a DAX file is poisoned and stays so.
		case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EFAULT) && readable(p[done:]):
			return fail(op, ErrIOFail, "pwrite of %d bytes at offset %d: %v", len(p)-done, off+uint64(done), err)
		case err != nil:
			return failErrno(op, err, "pwrite of %d bytes at offset %d", len(p)-done, off+uint64(done))
		case n == 0:
			return fail(op, ErrIOFail, "pwrite of %d bytes at offset %d writes nothing", len(p)-done, off+uint64(done))
		}
		done += n
	}
	return nil
}

// mcsafeRange checks that [off, off+n) is inside the source.
func (s *Source) mcsafeRange(op string, n, off uint64) (fileKind, error) {
	if err := s.usable(op); err != nil {
		return 0, err
	}
	if s.fd < 0 {
		return 0, fail(op, ErrSourceTypeNotSupported, "the source is anonymous memory")
	}
	var st platform.Stat
	if err := s.stat(op, &st); err != nil {
		return 0, err
	}
	kind, err := s.fileType(op, &st)
	if err != nil {
		return 0, err
	}
	size, err := s.sizeOf(op, kind, &st)
	if err != nil {
		return 0, err
	}
	if off > size || n > size-off {
		return 0, fail(op, ErrLengthOutOfRange, "%d bytes at offset %d are past the end of the source, which has %d bytes", n, off, size)
	}
	return kind, nil
}

// guardedCopy copies between p and the device DAX, to the device if prot has
// ProtWrite.
func (s *Source) guardedCopy(op string, p []byte, off uint64, prot Prot) (err error) {
	m, pmem, err := s.mapAround(op, off, uint64(len(p)), prot)
	if err != nil {
		return err
	}
	defer func() { err = m.dispose(err) }()
	failed, at := guard(pmem, func() {
		if prot&ProtWrite == 0 {
			copy(p, pmem)
		} else {
			err = m.Memcpy(pmem, p, 0)
		}
	})
	if failed {
		return fail(op, ErrIOFail, "the media at offset %d can't be accessed (SIGBUS)", off+at)
	}
	return err
}

// mapAround maps what holds the n bytes at offset off of a device DAX, which it
// returns as pmem. Stores are flushed by cache lines, whatever the environment says.
func (s *Source) mapAround(op string, off, n uint64, prot Prot) (m *Map, pmem []byte, err error) {
	var st platform.Stat
	if err := s.stat(op, &st); err != nil {
		return nil, nil, err
	}
	alignment, err := s.alignmentOf(op, deviceDAX, &st)
	if err != nil {
		return nil, nil, err
	}
	from := off &^ (alignment - 1)
	cfg := new(Config)
	cfg.now.Store(&settings{
		offset: from, length: roundUp(off+n-from, alignment),
		granularity: GranularityPage, granularitySet: true,
		forced: GranularityCacheLine, forcedSet: true,
		protection: prot, protectionSet: true,
	})
	if m, err = NewMap(cfg, s); err != nil {
		var e *Error
		if errors.As(err, &e) {
			renamed := *e
			renamed.Op = op
			err = &renamed
		}
		return nil, nil, err
	}
	return m, m.Bytes()[off-from:][:n], nil
}

// dispose deletes a map that a call has made for itself. It is tried twice; if
// neither works the error says what is left.
func (m *Map) dispose(failure error) error {
	err := m.Delete()
	if err != nil {
		err = m.Delete()
	}
	if err == nil {
		return failure
	}
	unregister(m) // nobody has it who could delete it
	if failure == nil {
		failure = err
	}
	return leaves(failure, "%d bytes stay mapped at %#x (%v)", m.reserved, m.addr, err)
}

// guard calls f. If f faults in b it ends there, and the offset in b comes back.
func guard(b []byte, f func()) (failed bool, off uint64) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		reason := recover()
		if reason == nil {
			return
		}
		fault, ok := reason.(interface {
			runtime.Error
			Addr() uintptr
		})
		start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
		// A machine check may tell no more than the page.
		page := uintptr(max(os.Getpagesize(), machineCheckUnit))
		if !ok || fault.Addr() < start&^(page-1) || fault.Addr() > start+uintptr(len(b)-1) {
			panic(reason)
		}
		failed, off = true, uint64(max(fault.Addr(), start)-start)
	}()
	f()
	return false, 0
}

const machineCheckUnit = 4096

// readable reports whether reading b doesn't fault.
func readable(b []byte) bool {
	failed, _ := guard(b, func() {
		var sum byte
		for i := 0; i < len(b); i += machineCheckUnit {
			sum += b[i]
		}
		touched.Store(uint32(sum + b[len(b)-1]))
	})
	return !failed
}

// touched keeps the reads of readable from being optimized away.
var touched atomic.Uint32
