//go:build libpmem2

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pmemlab/fuzz"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2/platform"
)

// files are the files that one library's sources are made of. They have no names any more.
type files struct {
	// fds are the open files: first the plain one, then the append-only one if the file
	// system has such, each in every model.Access.
	fds  []*os.File
	size uint64 // of the plain one
}

const (
	// unknownSize is the size of a file that isn't known.
	unknownSize = 1<<64 - 1
	// appendSize is how long the append-only file is.
	appendSize = mib
	// fsAppend is FS_APPEND_FL of linux/fs.h.
	fsAppend = 0x20
)

var openFlags = [...]int{
	model.ReadWrite: os.O_RDWR, model.ReadOnly: os.O_RDONLY, model.WriteOnly: os.O_WRONLY, model.PathOnly: platform.OPath,
}

// newFiles makes the files in dir.
func newFiles(dir string) (*files, error) {
	f := &files{}
	for _, appends := range []bool{false, true} {
		if err := f.add(filepath.Join(dir, "file"), appends); err != nil {
			return nil, errors.Join(err, f.close())
		}
	}
	return f, nil
}

func (f *files) add(path string, appends bool) error {
	var fds []*os.File
	for _, flags := range openFlags {
		fd, err := os.OpenFile(path, flags|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		f.fds = append(f.fds, fd)
	}
	if err := os.Remove(path); err != nil || !appends {
		return err
	}
	err := fds[model.ReadWrite].Truncate(appendSize)
	if err != nil || unix.IoctlSetPointerInt(int(fds[model.ReadWrite].Fd()), unix.FS_IOC_SETFLAGS, fsAppend) == nil {
		return err
	}
	// The file system doesn't know the attribute, or the process may not set it.
	f.fds = f.fds[:len(f.fds)-len(fds)]
	for _, fd := range fds {
		err = errors.Join(err, fd.Close())
	}
	return err
}

func (f *files) close() error {
	var errs []error
	for _, fd := range f.fds {
		errs = append(errs, fd.Close())
	}
	return errors.Join(errs...)
}

// appends says whether there is an append-only file.
func (f *files) appends() bool { return len(f.fds) > len(openFlags) }

// descriptor is that of a source. The plain file gets its size.
func (f *files) descriptor(s model.Source, clean bool) (int, error) {
	if s.AppendOnly {
		return int(f.fds[len(openFlags)+int(s.Access)].Fd()), nil
	}
	set := func(size uint64) error {
		if f.size == size {
			return nil
		}
		f.size = size
		return f.fds[model.ReadWrite].Truncate(int64(size))
	}
	var err error
	if clean {
		err = set(0)
	}
	if err = errors.Join(err, set(s.Size)); err != nil {
		return -1, fmt.Errorf("the file can't get %d bytes: %w", s.Size, err)
	}
	return int(f.fds[s.Access].Fd()), nil
}

// hostOf is what inputs are tried on. tmpfs doesn't grant MAP_SYNC.
func hostOf(f *files) fuzz.Host {
	h := fuzz.Host{Machine: model.Machine{Page: pageSize, AddressSpace: 1 << 47, Doubtful: 1 << 44, Memory: plenty}}
	if f.appends() {
		h.AppendOnly = appendSize
	}
	return h
}
