package pmemset

import (
	"errors"
	"fmt"

	"pmemlab/pmem2"
)

// PreadMCSafe is pmemset_source_pread_mcsafe(3): it fills p with the bytes of the
// source from off on, and survives bad blocks. After an error p may hold a part of
// them.
//
// Errors: ErrLengthOutOfRange if a byte of [off, off+len(p)) is past the end of the
// source as it is now: a temporary one has none before something of it is mapped;
// ErrIOFail if the media can't be read; else those of pmem2's PreadMCSafe; EINVAL on a
// nil or deleted source.
func (s *Source) PreadMCSafe(p []byte, off uint64) error {
	return s.mcsafe("PreadMCSafe", (*pmem2.Source).PreadMCSafe, p, off)
}

// PwriteMCSafe is pmemset_source_pwrite_mcsafe(3): it stores p in the source from off
// on, and survives bad blocks. The source doesn't grow. What is written to a device DAX
// is durable on return; a file needs an fsync. After an error a part of p may have
// been written.
//
// Errors: as PreadMCSafe, with writing for reading. The descriptor of a pmem2 source
// may be open for reading only: EBADF, of device DAX pmem2.ErrNoAccess.
func (s *Source) PwriteMCSafe(p []byte, off uint64) error {
	return s.mcsafe("PwriteMCSafe", (*pmem2.Source).PwriteMCSafe, p, off)
}

func (s *Source) mcsafe(op string, transfer func(*pmem2.Source, []byte, uint64) error, p []byte, off uint64) error {
	called(op)
	if err := s.use(op); err != nil {
		return err
	}
	defer s.release()
	growing.RLock()
	defer growing.RUnlock()
	if err := transfer(s.pmem2, p, off); err != nil {
		return s.mediaError(op, err, "%d bytes at offset %d", len(p), off)
	}
	return nil
}

// mediaCodes are the codes of pmem2 that have one here, where the media of a source
// are accessed.
var mediaCodes = []struct {
	pmem2 pmem2.Code
	code  Code
}{
	{pmem2.ErrIOFail, ErrIOFail},
	{pmem2.ErrLengthOutOfRange, ErrLengthOutOfRange},
	{pmem2.ErrOffsetOutOfRange, ErrOffsetOutOfRange},
	{pmem2.ErrDaxRegionNotFound, ErrDaxRegionNotFound},
	{pmem2.ErrCannotReadBounds, ErrCannotReadBounds},
}

// mediaError is an error of pmem2's with the code that it has here, if it has one.
func (s *Source) mediaError(op string, err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	for _, c := range mediaCodes {
		if errors.Is(err, c.pmem2) {
			return fail(op, c.code, err, "%s: %s", s.name(), what)
		}
	}
	return failPMem2(op, err, "%s: %s", s.name(), what)
}

// name names the source in messages and logs.
func (s *Source) name() string {
	switch {
	case s == nil || s.machine == nil:
		return "no source"
	case s.kind == fromTemporary:
		return fmt.Sprintf("temporary file in %q", s.path)
	case s.kind == fromPMem2:
		return fmt.Sprintf("pmem2 source of descriptor %d", s.fd)
	}
	return fmt.Sprintf("file %q", s.path)
}
