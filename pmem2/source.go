package pmem2

import (
	"errors"
	"math"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"pmemlab/pmem2/platform"
)

// Source is where a mapping takes its memory from: a file, a device DAX or
// anonymous memory. It doesn't own the descriptor: whoever opened it closes it.
// Maps stay valid when the descriptor is closed or the source deleted.
type Source struct {
	machine   platform.Platform
	fd        int       // -1: anonymous
	file      *openFile // that fd is of, or nil
	anonymous uint64    // size of an anonymous source in bytes
	kind      fileKind  // what fd was when the source was made
	rdev      uint64    // and which device
	deleted   atomic.Bool
}

// SourceFromFD is pmem2_source_from_fd(3): a source of the file or device DAX
// that fd refers to, open for reading or for reading and writing. (An O_PATH
// descriptor is taken, too; NewMap then fails with EBADF.) fd isn't duplicated: it
// must stay open for as long as the source is asked anything.
//
// Errors: ErrInvalidFileHandle if fd is negative or above 2^31-1, not open, or
// open for writing only; ErrInvalidFileType if it is a directory, block device, pipe, socket, or a
// character device other than device DAX; else the errno of fcntl, fstat, or of
// reading the device's subsystem in sysfs.
func SourceFromFD(fd int, opts ...Option) (*Source, error) {
	return sourceFromFD("SourceFromFD", fd, nil, opts)
}

// SourceFromFile is SourceFromFD for an *os.File, which it keeps alive, so that
// its finalizer can't close the descriptor. A nil file, or one that is closed, is
// ErrInvalidFileHandle; one that is closed later is a closed descriptor, also when
// another file has been given its number.
func SourceFromFile(f *os.File, opts ...Option) (*Source, error) {
	const op = "SourceFromFile"
	if f == nil || *f == (os.File{}) {
		return nil, fail(op, ErrInvalidFileHandle, "the file is nil")
	}
	// Fd would put the descriptor into blocking mode; this only reads it.
	fd := -1
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Control(func(real uintptr) { fd = int(real) })
	}
	if err != nil {
		return nil, fail(op, ErrInvalidFileHandle, "file %s is closed", f.Name())
	}
	return sourceFromFD(op, fd, &openFile{f, conn}, opts)
}

// openFile is an *os.File that a source keeps alive.
type openFile struct {
	*os.File
	conn syscall.RawConn
}

// closed reports whether the file has been closed.
func (f *openFile) closed() bool { return f.conn.Control(func(uintptr) {}) != nil }

func sourceFromFD(op string, fd int, f *openFile, opts []Option) (*Source, error) {
	called(op)
	s := &Source{machine: machineOf(opts), fd: fd, file: f}
	if fd < 0 || fd > math.MaxInt32 {
		return nil, fail(op, ErrInvalidFileHandle, "descriptor %d isn't between 0 and %d", fd, math.MaxInt32)
	}
	flags, err := s.machine.GetFL(fd)
	if errors.Is(err, syscall.EBADF) {
		return nil, fail(op, ErrInvalidFileHandle, "descriptor %d is not open", fd)
	}
	if err != nil {
		return nil, failErrno(op, err, "fcntl(F_GETFL) of descriptor %d", fd)
	}
	if flags&platform.OAccmode == platform.OWronly {
		return nil, fail(op, ErrInvalidFileHandle, "descriptor %d is open for writing only, reading is needed", fd)
	}
	var st platform.Stat
	if err := s.stat(op, &st); err != nil {
		return nil, err
	}
	if s.kind, err = s.fileType(op, &st); err != nil {
		return nil, err
	}
	s.rdev = st.Rdev
	runtime.KeepAlive(f)
	return s, nil
}

// SourceFromAnon is pmem2_source_from_anon(3): a source of anonymous memory, zero
// at first, no two mappings of which share a page. size is what Size reports, in
// bytes; no mapping of the source can be longer. It returns no error.
func SourceFromAnon(size uint64, opts ...Option) (*Source, error) {
	called("SourceFromAnon")
	return &Source{machine: machineOf(opts), fd: -1, anonymous: size}, nil
}

// Delete is pmem2_source_delete(3). It returns nil always: on nil and on a source
// that has been deleted, too. The descriptor stays open, maps stay valid.
func (s *Source) Delete() error {
	if s != nil {
		s.deleted.Store(true)
	}
	return nil
}

// FD is pmem2_source_get_fd(3): the descriptor that the source was made from.
//
// Errors: ErrFileDescriptorNotSet for an anonymous source; EINVAL on a nil or
// deleted source.
func (s *Source) FD() (int, error) {
	const op = "FD"
	called(op)
	if err := s.usable(op); err != nil {
		return 0, err
	}
	if s.fd < 0 {
		return 0, fail(op, ErrFileDescriptorNotSet, "the source is anonymous memory")
	}
	return s.fd, nil
}

// Size is pmem2_source_size(3): the size in bytes of the file as it is now, of
// the device DAX, or of the anonymous memory. It needs neither the device's
// region nor a node under /dev.
//
// Errors: ErrInvalidFileHandle if the descriptor has been closed;
// ErrInvalidFileType if it refers to something that can't be a source any more;
// ErrInvalidSizeFormat if sysfs gives no decimal number for a device DAX, ERANGE
// if it needs more than 64 bits; else the errno of fstat or of reading sysfs;
// EINVAL on a nil or deleted source.
func (s *Source) Size() (uint64, error) {
	const op = "Size"
	called(op)
	if err := s.usable(op); err != nil {
		return 0, err
	}
	if s.fd < 0 {
		return s.anonymous, nil
	}
	var st platform.Stat
	if err := s.stat(op, &st); err != nil {
		return 0, err
	}
	kind, err := s.fileType(op, &st)
	if err != nil {
		return 0, err
	}
	return s.sizeOf(op, kind, &st)
}

// Alignment is pmem2_source_alignment(3): the number of bytes that offset and
// length of a mapping must be multiples of. It is the page size, or the alignment
// of the device DAX. It needs neither the device's region nor a node under /dev.
//
// Errors: EBADF if the descriptor has been closed; ErrInvalidFileType if it
// refers to something that can't be a source any more; ErrInvalidAlignmentFormat
// if sysfs gives no decimal number for a device DAX, ERANGE if it needs more than
// 64 bits, ErrInvalidAlignmentValue if it is no power of two or below the page size; else the errno of
// fstat or of reading sysfs; EINVAL on a nil or deleted source.
func (s *Source) Alignment() (uint64, error) {
	const op = "Alignment"
	called(op)
	if err := s.usable(op); err != nil {
		return 0, err
	}
	if s.fd < 0 {
		return s.machine.PageSize(), nil
	}
	var st platform.Stat
	if err := s.fstat(&st); err != nil {
		return 0, failErrno(op, err, "fstat of descriptor %d", s.fd)
	}
	kind, err := s.fileType(op, &st)
	if err != nil {
		return 0, err
	}
	return s.alignmentOf(op, kind, &st)
}

// usable says whether a method can go on.
func (s *Source) usable(op string) error {
	switch {
	case s == nil || s.machine == nil:
		return invalid(op, "the source is nil or empty")
	case s.deleted.Load():
		return invalid(op, "the source has been deleted")
	}
	return nil
}

// stat is the one fstat of a call, its failure reported as pmem2_source_size(3)
// has it.
func (s *Source) stat(op string, st *platform.Stat) error {
	err := s.fstat(st)
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.EBADF) {
		return fail(op, ErrInvalidFileHandle, "descriptor %d is not open", s.fd)
	}
	return failErrno(op, err, "fstat of descriptor %d", s.fd)
}

// fstat is fstat(2). The number of a closed file may belong to another by now.
func (s *Source) fstat(st *platform.Stat) (err error) {
	if s.file != nil && s.file.closed() {
		return syscall.EBADF
	}
	*st, err = s.machine.Fstat(s.fd)
	return err
}
