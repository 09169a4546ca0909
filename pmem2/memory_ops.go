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
	// MemNoFlush: nothing is flushed; the caller persists. Ordinary stores.
	MemNoFlush

	memValidFlags = MemNoFlush<<1 - 1
)

// Memmove is what pmem2_get_memmove_fn(3) returns, called: it copies src to dst,
// which is mapped memory, and makes it durable unless a flag says otherwise. They
// may overlap.
//
// Errors: EINVAL if dst and src differ in length, if flags has an unknown bit or
// asks for both kinds of stores; those of Flush. After an error of Flush the
// bytes are there but not durable, after any other nothing has been stored.
func (m *Map) Memmove(dst, src []byte, flags MemFlags) error {
	const op = "Memmove"
	if len(dst) != len(src) {
		return failErrno(op, syscall.EINVAL, "the destination has %d bytes, the source %d", len(dst), len(src))
	}
	return m.store(op, dst, flags, func(nonTemporal bool) {
		move := m.ops.Copy
		if nonTemporal {
			move = m.ops.CopyNT
		}
		move(unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src)), uintptr(len(dst)))
	})
}

// Memcpy is Memmove; that dst and src don't overlap is the caller's promise.
func (m *Map) Memcpy(dst, src []byte, flags MemFlags) error { return m.Memmove(dst, src, flags) }

// Memset fills dst, which is mapped memory, with c, and makes it durable as
// Memmove does. Errors as for Memmove.
func (m *Map) Memset(dst []byte, c byte, flags MemFlags) error {
	return m.store("Memset", dst, flags, func(nonTemporal bool) {
		set := m.ops.Set
		if nonTemporal {
			set = m.ops.SetNT
		}
		set(unsafe.Pointer(unsafe.SliceData(dst)), c, uintptr(len(dst)))
	})
}

func (m *Map) store(op string, dst []byte, flags MemFlags, write func(nonTemporal bool)) error {
	const wantNT, wantT = MemNonTemporal | MemWC, MemTemporal | MemWB
	switch {
	case !m.live():
		return notFound(op)
	case flags&^memValidFlags != 0:
		return &Error{Op: op, Errno: syscall.EINVAL, Detail: "flags have bits besides the six that are known"}
	case flags&wantNT != 0 && flags&wantT != 0:
		return &Error{Op: op, Errno: syscall.EINVAL, Detail: "flags ask for temporal and for non-temporal stores"}
	case len(dst) == 0:
		return nil
	}
	threshold := m.ops.NonTemporalFrom
	switch {
	case flags&(wantT|MemNoFlush) != 0 || m.granularity == GranularityByte && flags&wantNT == 0:
		threshold = math.MaxUint64
	case flags&wantNT != 0:
		threshold = 0
	}
	nonTemporal := uint64(len(dst)) >= threshold
	write(nonTemporal)
	if flags&MemNoFlush != 0 {
		return nil
	}
	// Non-temporal stores need no cache flush, but pages need their msync.
	if !nonTemporal || m.granularity == GranularityPage {
		if err := m.flush(op, dst); err != nil {
			return err
		}
	}
	if flags&MemNoDrain == 0 {
		m.ops.Fence()
	}
	return nil
}
