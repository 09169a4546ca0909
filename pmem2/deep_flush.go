package pmem2

import (
	"errors"
	"syscall"
	"unsafe"

	"pmemlab/pmem2/platform"
)

// DeepFlush is pmem2_deep_flush(3): it brings the stores to b into the most reliable
// persistence domain that software can reach, so that they no longer depend on the
// hardware flushing its queues or caches when power fails. b is mapped memory of
// this map. It costs system calls and needs no Persist before.
//
// For a regular file it is msync of its pages. For device DAX the lines are flushed,
// at GranularityByte too, and the region's attribute deep_flush is written if it is
// there, offers the flush, and may be written.
//
// Errors, the first of these: ErrMappingNotFound if the map is nil or has been
// deleted; ErrDeepFlushRange if b isn't inside the map; ErrNoSupp if it is anonymous
// memory; the errno of msync; ErrDaxRegionNotFound if sysfs has no region for the
// device; else the errno of reading or writing sysfs.
func (m *Map) DeepFlush(b []byte) error {
	if len(b) == 0 && m.live() {
		return m.DeepFlushRange(m.addr, 0)
	}
	return m.DeepFlushRange(uintptr(unsafe.Pointer(unsafe.SliceData(b))), uint64(len(b)))
}

// DeepFlushRange is DeepFlush of the n bytes at addr.
func (m *Map) DeepFlushRange(addr uintptr, n uint64) error {
	const op = "DeepFlush"
	if !m.live() {
		return notFound(op)
	}
	called(op)
	// Below the map the difference wraps to more than any size.
	off := uint64(addr - m.addr)
	switch {
	case off > m.size || n > m.size-off:
		return fail(op, ErrDeepFlushRange, "%d bytes at %#x aren't inside the map of %d bytes at %#x", n, addr, m.size, m.addr)
	case m.anonymous:
		return fail(op, ErrNoSupp, "the map is anonymous memory")
	case n == 0:
		return nil
	case m.kind == regularFile:
		return m.sync(op, addr, n)
	}
	m.machine.CacheOps(GranularityCacheLine).Persist(platform.Pointer(addr), uintptr(n))
	r, err := findRegion(op, m.machine, deviceNode(&platform.Stat{Rdev: m.rdev}))
	if err != nil {
		return err
	}
	if r == nil {
		return fail(op, ErrDaxRegionNotFound, "sysfs has no region for device DAX %s", deviceNode(&platform.Stat{Rdev: m.rdev}))
	}
	return r.deepFlush(op)
}

// deepFlush makes the memory controller write its queues to the media.
func (r *region) deepFlush(op string) error {
	name := r.dir + "/deep_flush"
	text, found, err := r.attribute(op, name)
	if err != nil || !found || text != "1" { // "0": the firmware gave no flush hints
		return err
	}
	err = r.machine.WriteAttr(name, "1")
	if err == nil || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EROFS) {
		return nil // what only root may do isn't an error for all others
	}
	return failErrno(op, err, "writing %s in sysfs", name)
}
