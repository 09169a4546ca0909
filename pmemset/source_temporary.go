package pmemset

import (
	"crypto/rand"
	"errors"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// SourceFromTemporary is pmemset_source_from_temporary(3): a source of a new file
// without a name in the directory dir, with mode 0600 less the umask, and empty. Every
// way to map lets it grow. It is gone when the source is deleted and nothing of it is
// mapped any more, or the process ends. On a file system that knows no files without
// a name it has one for a moment.
//
// Errors: ErrInvalidSourcePath if dir is empty or leads nowhere; the errno with which
// dir can't be looked at, such as ENOTDIR; ErrCannotCreateTempFile, with the cause, if
// the file can't be made there; else those of pmem2.SourceFromFD.
func SourceFromTemporary(dir string, opts ...Option) (*Source, error) {
	const op = "SourceFromTemporary"
	called(op)
	if dir == "" {
		return nil, fail(op, ErrInvalidSourcePath, nil, "the path is empty")
	}
	m := machineOf(opts)
	fd, err := openTemporary(op, m, dir)
	if err != nil {
		return nil, err
	}
	s, err := newSource(op, m, fd, fromTemporary, dir, 0)
	if err != nil {
		return nil, closeAfter(err, m, fd)
	}
	operation("temporary file created in %q", dir)
	return s, nil
}

const temporaryMode = 0o600

// openTemporary opens a new file without a name in the directory dir.
func openTemporary(op string, m platform.Platform, dir string) (int, error) {
	const access = platform.ORdwr | platform.OCloexec
	fd, refusal := m.Open(dir, access|platform.OTmpfile, temporaryMode)
	if refusal == nil {
		return fd, nil
	}
	// The errno doesn't say whether the directory can't be had or the file. Without a
	// descriptor to spare nothing more can be found out.
	if !errors.Is(refusal, syscall.EMFILE) && !errors.Is(refusal, syscall.ENFILE) {
		if err := checkPath(op, m, dir); err != nil {
			return -1, err
		}
	}
	for _, errno := range noTmpfile {
		if errors.Is(refusal, errno) {
			detail("no files without a name in %q: %v", dir, refusal)
			return openUnlinked(op, m, dir)
		}
	}
	return -1, fail(op, ErrCannotCreateTempFile, refusal, "a temporary file in %q", dir)
}

// noTmpfile is what open says of O_TMPFILE where the directory's file system or the
// kernel doesn't know it. An old kernel sees a directory that is to be opened for writing.
var noTmpfile = []syscall.Errno{syscall.EOPNOTSUPP, syscall.EISDIR, syscall.EINVAL, syscall.ENOENT}

// openUnlinked opens a new file with a name in the directory dir and takes the name
// away.
func openUnlinked(op string, m platform.Platform, dir string) (int, error) {
	const flags = platform.ORdwr | platform.OCloexec | platform.OCreat | platform.OExcl
	var err error
	for range 100 {
		path := strings.TrimRight(dir, "/") + "/.pmemset-" + rand.Text()
		var fd int
		if fd, err = m.Open(path, flags, temporaryMode); errors.Is(err, syscall.EEXIST) {
			continue
		}
		if err != nil {
			break
		}
		if err = unlink(m, path); err == nil {
			return fd, nil
		}
		failure := leaves(fail(op, ErrCannotCreateTempFile, err, "taking away the name of %q", path), "the file %q", path)
		return -1, closeAfter(failure, m, fd)
	}
	return -1, fail(op, ErrCannotCreateTempFile, err, "a file in %q", dir)
}
