package pmem2

import (
	"math"
	"syscall"
	"unsafe"
)

// MemFlags modify Memmove, Memcpy and Memset; the values are those of the C
// library. See pmem2_get_memmove_fn(3).
type MemFlags uint32

// The flags of pmem2_get_memmove_fn(3).
const (
	// MemNoDrain: no drain at the end; the caller drains.
	MemNoDrain MemFlags = 1 << iota
	// MemNonTemporal: use non-temporal stores where the CPU has them.
	MemNonTemporal
	// MemTemporal: use ordinary stores.
	MemTemporal
	// MemWC: write combining, the same as MemNonTemporal.
	MemWC
	// MemWB: write back, the same as MemTemporal.
	MemWB
	// MemNoFlush: nothing is flushed or drained; the caller persists. Ordinary
	// stores.
	MemNoFlush

	memValidFlags   = MemNoFlush<<1 - 1
	memNonTemporals = MemNonTemporal | MemWC
	memTemporals    = MemTemporal | MemWB
)

// Valid reports whether all flags are known and no two exclude each other.
func (f MemFlags) Valid() bool {
	nonTemporal := f&memNonTemporals != 0
	return f&^memValidFlags == 0 && (!nonTemporal || f&(memTemporals|MemNoFlush) == 0)
}

// Memmove is what pmem2_get_memmove_fn(3) returns, called: it copies src to dst,
// which is mapped memory, and makes it durable unless a flag says otherwise. They
// may overlap. Without a hint stores are ordinary below
// [platform.CacheOps.NonTemporalFrom] bytes and at GranularityByte, else
// non-temporal. Every aligned word of 8 bytes inside dst is stored at once: a power
// failure or another CPU never sees a part of it.
//
// Errors: EINVAL if dst and src differ in length, if flags has an unknown bit, asks
// for both kinds of stores, or for non-temporal ones (which are as good as flushed)
// and no flush; those of Flush. After an error of Flush the bytes are there but not
// durable, after any other nothing has been stored.
func (m *Map) Memmove(dst, src []byte, flags MemFlags) error {
	return m.move("Memmove", dst, src, flags)
}

// Memcpy is Memmove; that dst and src don't overlap is the caller's promise.
func (m *Map) Memcpy(dst, src []byte, flags MemFlags) error {
	const op = "Memcpy"
	if debugging && overlap(dst, src) {
		return failErrno(op, syscall.EINVAL, "destination and source of %d bytes overlap", len(dst))
	}
	return m.move(op, dst, src, flags)
}

// Memset fills dst, which is mapped memory, with c, and makes it durable as
// Memmove does. Errors as for Memmove.
func (m *Map) Memset(dst []byte, c byte, flags MemFlags) error {
	const op = "Memset"
	p, n := unsafe.Pointer(unsafe.SliceData(dst)), uintptr(len(dst))
	if flags == 0 && n != 0 && m != nil && m.direct && !m.deleted.Load() {
		if ops := m.ops; uint64(n) >= ops.NonTemporalFrom {
			ops.SetNT(p, c, n)
			ops.Fence()
		} else {
			ops.Set(p, c, n)
			ops.Persist(p, n)
		}
		return nil
	}
	nonTemporal, err := m.plan(op, dst, flags)
	if err != nil || n == 0 {
		return err
	}
	if nonTemporal {
		m.ops.SetNT(p, c, n)
	} else {
		m.ops.Set(p, c, n)
	}
	return m.finish(op, dst, flags, nonTemporal)
}

func (m *Map) move(op string, dst, src []byte, flags MemFlags) error {
	p, q, n := unsafe.Pointer(unsafe.SliceData(dst)), noescape(unsafe.Pointer(unsafe.SliceData(src))), uintptr(len(dst))
	if flags == 0 && n != 0 && len(src) == len(dst) && m != nil && m.direct && !m.deleted.Load() {
		if ops := m.ops; uint64(n) >= ops.NonTemporalFrom {
			ops.CopyNT(p, q, n)
			ops.Fence()
		} else {
			ops.Copy(p, q, n)
			ops.Persist(p, n)
		}
		return nil
	}
	if len(dst) != len(src) {
		return failErrno(op, syscall.EINVAL, "the destination has %d bytes, the source %d", len(dst), len(src))
	}
	nonTemporal, err := m.plan(op, dst, flags)
	if err != nil || n == 0 {
		return err
	}
	if nonTemporal {
		m.ops.CopyNT(p, q, n)
	} else {
		m.ops.Copy(p, q, n)
	}
	return m.finish(op, dst, flags, nonTemporal)
}

// noescape hides a source from escape analysis, which takes it that a function value
// keeps its arguments, so that small ones can stay on the stack. CacheOps keep nothing.
//
// No stack is moved inside it, where the pointer is a number: it is nosplit, and
// preemption in the middle of a function moves none.
//
//go:nosplit
//go:norace
func noescape(p unsafe.Pointer) unsafe.Pointer {
	hidden := uintptr(p)
	return *(*unsafe.Pointer)(unsafe.Pointer(&hidden))
}

// plan checks flags and says which kind of stores to use.
func (m *Map) plan(op string, dst []byte, flags MemFlags) (nonTemporal bool, err error) {
	switch {
	case !m.live():
		return false, notFound(op)
	case flags&^memValidFlags != 0:
		return false, failErrno(op, syscall.EINVAL, "flags %#x have bits besides %#x", uint32(flags), uint32(memValidFlags))
	case flags&memNonTemporals != 0 && flags&memTemporals != 0:
		return false, failErrno(op, syscall.EINVAL, "flags %#x ask for temporal and for non-temporal stores", uint32(flags))
	case flags&memNonTemporals != 0 && flags&MemNoFlush != 0:
		return false, failErrno(op, syscall.EINVAL, "flags %#x ask for non-temporal stores and for no flush", uint32(flags))
	}
	called(op)
	if err := m.assertMapped(op, dst); err != nil {
		return false, err
	}
	if len(dst) == 0 && flags&(MemNoDrain|MemNoFlush) == 0 {
		m.ops.Fence() // what was stored without a drain before
	}
	from := m.ops.NonTemporalFrom
	switch {
	case flags&(memTemporals|MemNoFlush) != 0:
		from = math.MaxUint64
	case flags&memNonTemporals != 0:
		from = 0
	}
	return uint64(len(dst)) >= from, nil
}

// finish flushes and drains what was stored, as flags say.
func (m *Map) finish(op string, dst []byte, flags MemFlags, nonTemporal bool) error {
	if flags&MemNoFlush != 0 {
		return nil
	}
	switch p, n := unsafe.Pointer(unsafe.SliceData(dst)), uintptr(len(dst)); {
	case m.granularity == GranularityPage: // also non-temporal stores need the msync
		if err := m.sync(op, uintptr(p), uint64(n)); err != nil {
			return err
		}
	case !nonTemporal:
		m.ops.Flush(p, n)
	}
	if flags&MemNoDrain == 0 {
		m.ops.Fence()
	}
	return nil
}

func overlap(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	at, bt := uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return at-bt < uintptr(len(b)) || bt-at < uintptr(len(a))
}
