package pmemset

import (
	"errors"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// SourceFromFile is pmemset_source_from_file(3): a source of the regular file or
// device DAX that path leads to, which must be there. It is opened for reading and
// writing. (*Set).Map lets the file grow, the older ways to map don't.
//
// Errors: ErrInvalidSourcePath if path is empty or leads nowhere; else those of
// XSourceFromFile.
func SourceFromFile(path string, opts ...Option) (*Source, error) {
	return sourceFromFile("SourceFromFile", path, 0, opts)
}

// XSourceFromFile is pmemset_xsource_from_file(3): SourceFromFile with flags. Without
// any it is the same. Symbolic links are followed, also to a file that is then made.
// A call that fails has neither made nor emptied a file.
//
// Errors: ErrInvalidSourcePath if path is empty; ErrInvalidSourceFileCreateFlags if a
// flag is unknown or the mode above 0777; the errno of open(2), EISDIR for a directory;
// ENOENT if flags are given, none of which makes the file, and it isn't there;
// pmem2.ErrInvalidFileType for what is neither a regular file nor device DAX; with
// SourceFileCreateAlways the errno of ftruncate(2); else those of pmem2.SourceFromFD.
func XSourceFromFile(path string, flags SourceFlags, opts ...Option) (*Source, error) {
	return sourceFromFile("XSourceFromFile", path, flags, opts)
}

func sourceFromFile(op, path string, flags SourceFlags, opts []Option) (*Source, error) {
	called(op)
	if path == "" {
		return nil, fail(op, ErrInvalidSourcePath, nil, "the path is empty")
	}
	if bad := flags &^ (sourceFlagBits | CreateMode(maxMode)); bad != 0 {
		return nil, fail(op, ErrInvalidSourceFileCreateFlags, nil,
			"flags %#x have bits %#x besides those of the three flags and of modes up to %#o", uint64(flags), uint64(bad), uint32(maxMode))
	}
	m := machineOf(opts)
	fd, made, err := openFile(op, m, path, flags)
	if err != nil {
		return nil, err
	}
	s, err := newSource(op, m, fd, fromFile, path, flags)
	if err == nil && flags&SourceFileCreateAlways != 0 && made != created {
		err = s.empty(op)
	}
	if err != nil {
		return nil, made.undo(closeAfter(err, m, fd), m, path)
	}
	if made != found {
		operation("%q created with mode %#o less the umask", path, flags.mode())
	}
	return s, nil
}

// creation says who made the file that was opened.
type creation int

const (
	found     creation = iota // it was there
	created                   // this call made it
	uncertain                 // it came to be during the call
)

// openFile opens the file for reading and writing and makes it if flags say so. What
// is there is opened as it is: it may turn out not to be a file.
func openFile(op string, m platform.Platform, path string, flags SourceFlags) (int, creation, error) {
	const access = platform.ORdwr | platform.OCloexec
	if flags.creates() {
		fd, err := m.Open(path, access|platform.OCreat|platform.OExcl, flags.mode())
		if err == nil {
			return fd, created, nil
		}
		if !errors.Is(err, syscall.EEXIST) {
			return -1, found, failErrno(op, err, "creating %q", path)
		}
	}
	fd, err := m.Open(path, access, 0)
	if err == nil {
		return fd, found, nil
	}
	switch missing := errors.Is(err, syscall.ENOENT); {
	case missing && flags.creates(): // it is a link that leads nowhere, or was there until now
		if fd, err = m.Open(path, access|platform.OCreat, flags.mode()); err == nil {
			return fd, uncertain, nil
		}
	case missing && flags == 0:
		return -1, found, failOpen(op, err, path)
	case errors.Is(err, syscall.ENXIO):
		if failure := wrongType(op, m, path); failure != nil {
			return -1, found, failure
		}
	}
	return -1, found, failErrno(op, err, "opening %q", path)
}

// undo takes back the file that a failing call has made.
func (c creation) undo(failure error, m platform.Platform, path string) error {
	switch c {
	case created:
		if err := unlink(m, path); err != nil {
			return leaves(failure, "the new file %q (%v)", path, err)
		}
	case uncertain:
		return leaves(failure, "the file %q, if this call has made it", path)
	}
	return failure
}

// unlink takes a name away. It is tried twice: nobody else would.
func unlink(m platform.Platform, path string) error {
	err := m.Unlink(path)
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		err = m.Unlink(path)
	}
	if errors.Is(err, syscall.ENOENT) { // somebody has done it
		return nil
	}
	return err
}

// empty truncates the file if it is one. Nothing can fail after that.
func (s *Source) empty(op string) error {
	st, err := s.machine.Fstat(s.fd)
	if err != nil {
		return failErrno(op, err, "fstat of %q", s.path)
	}
	if st.Type() != platform.SIFREG {
		return nil
	}
	if err := s.machine.Ftruncate(s.fd, 0); err != nil {
		return failErrno(op, err, "truncating %q, which has %d bytes", s.path, st.Size)
	}
	operation("%q emptied: it had %d bytes", s.path, st.Size)
	return nil
}

// wrongType tells what open(2) refuses to open, such as a socket, from a device that
// isn't there: it is pmem2's error for a file that can't be a source.
func wrongType(op string, m platform.Platform, path string) error {
	fd, err := m.Open(path, platform.OPath|platform.OCloexec, 0)
	if err != nil {
		return nil // open has told enough
	}
	_, err = pmem2.SourceFromFD(fd, pmem2.On(m))
	var failure error
	if errors.Is(err, pmem2.ErrInvalidFileType) {
		failure = failPMem2(op, err, "%q can't be a source", path)
	}
	if err := m.Close(fd); err != nil {
		detail("descriptor %d of %q may be open: %v", fd, path, err)
	}
	return failure
}
