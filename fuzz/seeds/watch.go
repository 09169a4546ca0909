package seeds

import (
	"errors"
	"syscall"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2/platform"
)

// watch is a machine that notes what it answers.
type watch struct {
	platform.Platform
	r     *recorder
	fails bool // calls fail on demand
	last  answered
}

// answered is what the calls since begin were answered. r.mu guards it.
type answered struct {
	sync, plain, move, msync syscall.Errno
	fallocate                syscall.Errno
	synced                   bool // MAP_SYNC was granted
	source                   uintptr
	opened                   int
	media                    model.Kernel
}

// begin forgets what was answered.
func (w *watch) begin() {
	w.r.mu.Lock()
	w.last = answered{opened: -1}
	w.r.mu.Unlock()
}

// end is what was answered since.
func (w *watch) end() answered {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	return w.last
}

func errno(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return 0
}

// Mmap is mmap(2).
func (w *watch) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	got, err := w.Platform.Mmap(addr, length, prot, flags, fd, off)
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	switch {
	case fd < 0 && prot == platform.ProtNone && flags&platform.MapNoreserve != 0: // a placeholder
	case flags&platform.MapSync != 0:
		w.last.sync, w.last.synced = errno(err), err == nil
	default:
		w.last.plain = errno(err)
	}
	if err == nil {
		w.last.source = got
	}
	return got, err
}

// Mremap is mremap(2).
func (w *watch) Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error) {
	got, err := w.Platform.Mremap(addr, length, newLength, flags, newAddr)
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if addr == w.last.source {
		w.last.move = errno(err)
	}
	return got, err
}

// Fallocate is fallocate(2).
func (w *watch) Fallocate(fd int, mode uint32, off, length int64) error {
	err := w.Platform.Fallocate(fd, mode, off, length)
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.last.fallocate = errno(err)
	return err
}

// Msync is msync(2).
func (w *watch) Msync(addr uintptr, length uint64, flags int) error {
	err := w.Platform.Msync(addr, length, flags)
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if w.last.msync == 0 {
		w.last.msync = errno(err)
	}
	return err
}

// Open is open(2).
func (w *watch) Open(path string, flags int, mode uint32) (int, error) {
	fd, err := w.Platform.Open(path, flags, mode)
	if err == nil {
		w.r.mu.Lock()
		w.last.opened = fd
		w.r.mu.Unlock()
	}
	return fd, err
}

// ReadAttr is platform.Sysfs.ReadAttr.
func (w *watch) ReadAttr(path string) (string, error) {
	text, err := w.Platform.ReadAttr(path)
	w.r.access(Access{How: ReadAttr, Path: path, Text: text, Errno: errno(err)})
	return text, err
}

// WriteAttr is platform.Sysfs.WriteAttr.
func (w *watch) WriteAttr(path, text string) error {
	err := w.Platform.WriteAttr(path, text)
	w.r.access(Access{How: WriteAttr, Path: path, Text: text, Errno: errno(err)})
	return err
}

// Readlink is platform.Sysfs.Readlink.
func (w *watch) Readlink(path string) (string, error) {
	text, err := w.Platform.Readlink(path)
	w.r.access(Access{How: Readlink, Path: path, Text: text, Errno: errno(err)})
	return text, err
}

// List is platform.Sysfs.List.
func (w *watch) List(path string) ([]string, error) {
	names, err := w.Platform.List(path)
	w.r.access(Access{How: List, Path: path, Names: names, Errno: errno(err)})
	return names, err
}
