package pmem2

import (
	"errors"
	"math"
	"syscall"
	"unsafe"

	"pmemlab/pmem2/platform"
)

// Persist is what pmem2_get_persist_fn(3) returns, called: it makes the stores to
// b durable. b is mapped memory; it may span adjacent maps that share operations,
// see SharesOps. It is Flush and Drain. Nothing about it is atomic: after a power
// failure in the middle any part of b may be durable.
//
// Errors: as for Flush. A range that isn't mapped, or a bad block in it, is a fault at
// the granularities that use the CPU.
func (m *Map) Persist(b []byte) error {
	// Nothing but these loads stands between a caller and the instruction.
	if m != nil && m.direct && !m.deleted.Load() {
		m.ops.Persist(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
		return nil
	}
	const op = "Persist"
	if err := m.flush(op, b); err != nil {
		return err
	}
	m.ops.Fence()
	return nil
}

// Flush is what pmem2_get_flush_fn(3) returns, called: it starts writing the
// stores to b back; they are durable after Drain, by the same goroutine. At
// GranularityByte there is nothing to do; at GranularityCacheLine the lines that
// hold a byte of b are flushed, with the instruction that
// [platform.CacheOps.Instruction] names; at GranularityPage the pages of every map
// in the range are synced with msync, and what no map covers is passed over.
//
// Errors: the errno of msync, which the C library ends the process for: EINVAL if
// device DAX is forced to GranularityPage, since the kernel can't sync it;
// ErrMappingNotFound if the map is nil or has been deleted.
func (m *Map) Flush(b []byte) error {
	if m != nil && m.direct && !m.deleted.Load() {
		m.ops.Flush(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
		return nil
	}
	return m.flush("Flush", b)
}

// Drain is what pmem2_get_drain_fn(3) returns, called: it waits until all that
// the calling goroutine has flushed is durable, through any map that shares
// operations with this one.
//
// Errors: ErrMappingNotFound if the map is nil or has been deleted.
func (m *Map) Drain() error {
	if m != nil && m.direct && !m.deleted.Load() {
		m.ops.Fence()
		return nil
	}
	const op = "Drain"
	if !m.live() {
		return notFound(op)
	}
	called(op)
	m.ops.Fence()
	return nil
}

func notFound(op string) error {
	return fail(op, ErrMappingNotFound, "the map is nil or has been deleted")
}

func (m *Map) flush(op string, b []byte) error {
	if !m.live() {
		return notFound(op)
	}
	called(op)
	if len(b) == 0 {
		return nil
	}
	if m.granularity == GranularityPage {
		return m.sync(op, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uint64(len(b)))
	}
	if err := m.assertMapped(op, b); err != nil {
		return err
	}
	m.ops.Flush(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
	return nil
}

// sync is msync of the pages of [addr, addr+n), one call for each map in it. The
// registry isn't locked meanwhile: a disk may take its time.
func (m *Map) sync(op string, addr uintptr, n uint64) error {
	last := addr + uintptr(n-1)
	for at := addr; ; {
		found := registered(at, last)
		if found == nil {
			return nil
		}
		from, to := max(at, found.addr), min(last, found.lastByte())
		from &^= uintptr(m.machine.PageSize() - 1)
		if err := m.machine.Msync(from, uint64(to-from)+1, platform.MsSync); err != nil {
			if found.kind == deviceDAX && errors.Is(err, syscall.EINVAL) {
				return failErrno(op, err, "msync of %d bytes at %#x: the kernel can't sync device DAX, whose granularity is finer than %v",
					uint64(to-from)+1, from, m.granularity)
			}
			return failErrno(op, err, "msync of %d bytes at %#x (granularity %v)", uint64(to-from)+1, from, m.granularity)
		}
		if to == last || to == math.MaxUint64 {
			return nil
		}
		at = to + 1
	}
}
