package pmemset

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Source is what parts are mapped from: a file by its path, a temporary file, or a
// source of pmem2. The first two are open for reading and writing from the start, and
// later renames of the file don't matter. What is mapped doesn't need the source: its
// memory can be used, made durable and removed after Delete.
type Source struct {
	machine platform.Platform
	pmem2   *pmem2.Source
	fd      int // that pmem2 is of
	kind    sourceKind
	path    string // of the file; the directory of a temporary one
	flags   SourceFlags
	sds     sdsRecord

	detectBadBlocks atomic.Bool

	mu      sync.Mutex
	users   int // calls that are running
	deleted bool
}

// sourceKind says how a source was made, and thereby who owns what it holds: what
// is fromPMem2 is borrowed.
type sourceKind int

const (
	fromFile sourceKind = iota
	fromTemporary
	fromPMem2
)

// newSource makes a source of the open file fd, which it owns if that works.
func newSource(op string, m platform.Platform, fd int, kind sourceKind, path string, flags SourceFlags) (*Source, error) {
	src, err := pmem2.SourceFromFD(fd, pmem2.On(m))
	if err != nil {
		return nil, failPMem2(op, err, "%q can't be a source", path)
	}
	return &Source{machine: m, pmem2: src, fd: fd, kind: kind, path: path, flags: flags}, nil
}

// SourceFromPMem2 is pmemset_source_from_pmem2(3): a source of what src, of a file
// or device DAX, is of, on its machine. src is borrowed: it must be usable, and its
// descriptor open, for as long as the new source is used, and stays so after its
// Delete.
//
// Errors: ErrInvalidPmem2Source if src is nil, deleted, or of anonymous memory.
func SourceFromPMem2(src *pmem2.Source) (*Source, error) {
	const op = "SourceFromPMem2"
	called(op)
	fd, err := src.FD()
	if err != nil {
		return nil, fail(op, ErrInvalidPmem2Source, err, "a source of a file or device DAX is needed")
	}
	return &Source{machine: src.Platform(), pmem2: src, fd: fd, kind: fromPMem2}, nil
}

// Delete is pmemset_source_delete(3). It returns nil always: on nil and on a source
// that has been deleted, too. The file is closed, at the end of the calls that are
// using the source if there are any; a temporary file is gone once nothing of it is
// mapped any more. A pmem2 source stays as it is.
func (s *Source) Delete() error {
	called("Source.Delete")
	if s == nil || s.machine == nil {
		return nil
	}
	s.mu.Lock()
	last := !s.deleted && s.users == 0
	s.deleted = true
	s.mu.Unlock()
	if last {
		s.dispose()
	}
	return nil
}

// acquire takes the source for the duration of a call: until release nothing of it is
// closed. It is false on a source that is nil, empty or deleted. A call may
// acquire what it holds already; no lock is held meanwhile.
func (s *Source) acquire() bool {
	if s == nil || s.machine == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted {
		return false
	}
	s.users++
	return true
}

// release ends what acquire began.
func (s *Source) release() {
	s.mu.Lock()
	s.users--
	last := s.deleted && s.users == 0
	s.mu.Unlock()
	if last {
		s.dispose()
	}
}

// use is acquire for a method: EINVAL if the source isn't usable.
func (s *Source) use(op string) error {
	switch {
	case s.acquire():
		return nil
	case s == nil || s.machine == nil:
		return invalid(op, "the source is nil or empty")
	}
	return invalid(op, "the source has been deleted")
}

// dispose closes what the source owns.
func (s *Source) dispose() {
	if s.kind == fromPMem2 {
		return
	}
	_ = s.pmem2.Delete() // which has no error
	if err := s.machine.Close(s.fd); err != nil {
		// Not again: Linux has closed it whatever it says. The logs alone can tell.
		_ = failErrno("Source.Delete", err, "closing descriptor %d of %q", s.fd, s.path)
	}
}

// closeAfter closes a descriptor that a failing call has opened.
func closeAfter(failure error, m platform.Platform, fd int) error {
	if err := m.Close(fd); err != nil {
		return leaves(failure, "descriptor %d may be open (%v)", fd, err)
	}
	return failure
}

// revalidate says whether a part can be made of the source: the path must lead
// somewhere still.
//
// Errors: ErrInvalidSourcePath if it doesn't; the errno of open(2);
// ErrInvalidPmem2Source if the pmem2 source has been deleted.
func (s *Source) revalidate(op string) error {
	if s.kind == fromPMem2 {
		if _, err := s.pmem2.FD(); err != nil {
			return fail(op, ErrInvalidPmem2Source, err, "the pmem2 source is needed for as long as this one is used")
		}
		return nil
	}
	return checkPath(op, s.machine, s.path)
}

// checkPath says whether path leads to anything.
func checkPath(op string, m platform.Platform, path string) error {
	fd, err := m.Open(path, platform.OPath|platform.OCloexec, 0)
	if err != nil {
		return failOpen(op, err, path)
	}
	if err := m.Close(fd); err != nil {
		return leaves(failErrno(op, err, "closing %q", path), "descriptor %d may be open", fd)
	}
	return nil
}

// failOpen is the error of a path that should lead to something.
func failOpen(op string, err error, path string) error {
	if errors.Is(err, syscall.ENOENT) {
		return fail(op, ErrInvalidSourcePath, err, "there is no %q", path)
	}
	return failErrno(op, err, "opening %q", path)
}

// Alignment is pmemset_source_alignment(3): the number of bytes that offset and
// length of a part must be multiples of. It is the page size, or the alignment of
// the device DAX.
//
// Errors: ErrInvalidAlignmentValue if it can't be found, with pmem2's error as the
// cause; EINVAL on a nil or deleted source.
func (s *Source) Alignment() (uint64, error) {
	const op = "Alignment"
	called(op)
	if err := s.use(op); err != nil {
		return 0, err
	}
	defer s.release()
	n, err := s.pmem2.Alignment()
	if err != nil {
		return 0, fail(op, ErrInvalidAlignmentValue, err, "the alignment of the source is unknown")
	}
	return n, nil
}
