package pmemset

import (
	"errors"
	"math"
	"runtime/debug"
	"syscall"
	"unsafe"

	"pmemlab/pmem2"
)

// The flags of pmemset_memmove(3).
const (
	MemNoDrain     = pmem2.MemNoDrain
	MemNonTemporal = pmem2.MemNonTemporal
	MemTemporal    = pmem2.MemTemporal
	MemWC          = pmem2.MemWC
	MemWB          = pmem2.MemWB
	MemNoFlush     = pmem2.MemNoFlush
)

// Persist is pmemset_persist(3): it makes the stores to b durable. b is memory of the
// set, and may span several parts; at GranularityPage holes in between are passed over,
// elsewhere they are a fault. It sends EventFlush, works, and sends EventDrain. On a set
// without parts it does nothing.
//
// Errors: as for pmem2's Map.Persist: the errno of msync; EINVAL on a nil or deleted set.
func (s *Set) Persist(b []byte) error {
	if s.silent() {
		if m := s.data.Load(); m != nil {
			if err := m.Persist(b); !stale(err) {
				return failed("Persist", err)
			}
		}
	}
	return s.flush("Persist", b, (*pmem2.Map).Persist, true)
}

// Flush is pmemset_flush(3): it starts writing the stores to b back; they are durable
// after Drain, by the same goroutine. It sends EventFlush, and works. Else as Persist.
func (s *Set) Flush(b []byte) error {
	if s.silent() {
		if m := s.data.Load(); m != nil {
			if err := m.Flush(b); !stale(err) {
				return failed("Flush", err)
			}
		}
	}
	return s.flush("Flush", b, (*pmem2.Map).Flush, false)
}

// Drain is pmemset_drain(3): it waits until what the calling goroutine has flushed, in
// any part, is durable, and sends EventDrain. On a set without parts it does nothing
// else.
//
// Errors: EINVAL on a nil or deleted set.
func (s *Set) Drain() error {
	const op = "Drain"
	if s.silent() {
		if m := s.data.Load(); m != nil {
			if err := m.Drain(); !stale(err) {
				return failed("Drain", err)
			}
		}
	}
	called(op)
	if err := s.usable(op); err != nil {
		return err
	}
	if err := s.on((*pmem2.Map).Drain); err != nil {
		return failed(op, err)
	}
	s.drained()
	return nil
}

// Memmove is pmemset_memmove(3): it copies src to dst, which is memory of the set and
// may span several parts, and makes it durable unless a flag says otherwise. They may
// overlap. It sends EventMove, works, and sends EventDrain, unless flags has MemNoDrain
// or MemNoFlush. See pmem2's Map.Memmove for the stores. On a set without parts it is
// Go's copy.
//
// Errors: as for pmem2's Map.Memmove: EINVAL for invalid flags and for lengths that
// differ, the errno of msync; EINVAL on a nil or deleted set.
func (s *Set) Memmove(dst, src []byte, flags pmem2.MemFlags) error {
	if s.silent() {
		if m := s.data.Load(); m != nil {
			if err := m.Memmove(dst, src, flags); !stale(err) {
				return failed("Memmove", err)
			}
		}
	}
	return s.move("Memmove", EventMove, dst, src, flags)
}

// Memcpy is pmemset_memcpy(3): Memmove with EventCopy; that dst and src don't overlap is
// the caller's promise.
func (s *Set) Memcpy(dst, src []byte, flags pmem2.MemFlags) error {
	if s.silent() {
		if m := s.data.Load(); m != nil {
			if err := m.Memcpy(dst, src, flags); !stale(err) {
				return failed("Memcpy", err)
			}
		}
	}
	return s.move("Memcpy", EventCopy, dst, src, flags)
}

// Memset is pmemset_memset(3): it fills dst with c, else as Memmove, with EventSet.
func (s *Set) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	if s.silent() {
		if m := s.data.Load(); m != nil {
			if err := m.Memset(dst, c, flags); !stale(err) {
				return failed("Memset", err)
			}
		}
	}
	const op = "Memset"
	if err := s.mayStore(op, flags); err != nil {
		return err
	}
	if s.listening() {
		s.tell(&Event{Type: EventSet, Dst: address(dst), Len: uint64(len(dst)), Value: c, Flags: flags})
	}
	empty := true
	err := s.on(func(m *pmem2.Map) error {
		empty = false
		return m.Memset(dst, c, flags)
	})
	if empty {
		for i := range dst {
			dst[i] = c
		}
	}
	return s.stored(op, flags, err)
}

// DeepFlush is pmemset_deep_flush(3): it brings the stores to b into the most reliable
// persistence domain that software can reach. b may span several parts; what lies in
// none is passed over.
//
// Errors: ErrDeepFlushFail: the region of a device DAX is not found, msync fails, …, with
// pmem2's error: parts at higher addresses haven't been flushed; EINVAL on a nil or
// deleted set.
func (s *Set) DeepFlush(b []byte) error { return s.DeepFlushRange(address(b), uint64(len(b))) }

// DeepFlushRange is DeepFlush for the n bytes at addr.
func (s *Set) DeepFlushRange(addr uintptr, n uint64) error {
	const op = "DeepFlush"
	called(op)
	if err := s.usable(op); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	return s.deepFlush(op, addr, lastOf(addr, n))
}

// deepFlush flushes [first, last].
func (s *Set) deepFlush(op string, first, last uintptr) error {
	return s.eachPiece(first, last, func(m *pmem2.Map, addr uintptr, n uint64) error {
		if err := m.DeepFlushRange(addr, n); err != nil {
			return fail(op, ErrDeepFlushFail, err, "%d bytes at %#x", n, addr)
		}
		return nil
	})
}

// flushRemoved is the deep flush of memory that is about to go: as much of it as there
// is. A bad block in it, whose mapping is to be removed, mustn't end the program.
func (s *Set) flushRemoved(first, last uintptr) {
	_ = s.eachPiece(first, last, func(m *pmem2.Map, addr uintptr, n uint64) error {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if reason := recover(); reason != nil {
				if _, fault := reason.(interface{ Addr() uintptr }); !fault {
					panic(reason)
				}
			}
		}()
		_ = m.DeepFlushRange(addr, n)
		return nil
	})
}

// eachPiece calls f with what of each mapping lies in [first, last], until it fails. No
// mapping goes meanwhile.
func (s *Set) eachPiece(first, last uintptr, f func(m *pmem2.Map, addr uintptr, n uint64) error) error {
	s.flushing.RLock()
	defer s.flushing.RUnlock()
	for _, q := range s.piecesIn(first, last) {
		start := max(q.addr, first)
		end := min(q.addr+uintptr(q.size-1), last)
		if err := f(q.m, start, uint64(end-start)+1); err != nil {
			return err
		}
	}
	return nil
}

// piecesIn are the mappings with a byte in [first, last], those of departing parts last.
func (s *Set) piecesIn(first, last uintptr) (pieces []piece) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	add := func(p *part) {
		from, to := p.overlapping(first, last)
		pieces = append(pieces, p.pieces[from:to]...)
	}
	for i := max(s.parts.behind(first)-1, 0); i < len(s.parts) && s.parts[i].addr <= last; i++ {
		add(s.parts[i].part)
	}
	for _, p := range s.departing {
		add(p)
	}
	return pieces
}

// silent is for the fast path: a set with no callback, and no log of calls.
func (s *Set) silent() bool { return s != nil && s.settings.callback == nil && !listens(logCalls) }

// on calls f for a mapping of the set, or not at all if it has none. The mapping may be
// removed by another goroutine in between, as no lock is held: then f, which has done
// nothing, is called for another one.
func (s *Set) on(f func(*pmem2.Map) error) error {
	for {
		m := s.data.Load()
		if m == nil {
			return nil
		}
		if err := f(m); !stale(err) || s.data.Load() == m {
			return err
		}
	}
}

// stale reports whether an operation has done nothing, as the mapping has been removed.
func stale(err error) bool { return err != nil && errors.Is(err, pmem2.ErrMappingNotFound) }

// failed is the error of an operation on memory: pmem2's, or nil.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return failPMem2(op, err, "on memory of the set")
}

func (s *Set) flush(op string, b []byte, work func(*pmem2.Map, []byte) error, drains bool) error {
	called(op)
	if err := s.usable(op); err != nil {
		return err
	}
	if s.listening() {
		s.tell(&Event{Type: EventFlush, Addr: address(b), Len: uint64(len(b))})
	}
	if err := s.on(func(m *pmem2.Map) error { return work(m, b) }); err != nil {
		return failed(op, err)
	}
	if drains {
		s.drained()
	}
	return nil
}

func (s *Set) move(op string, event EventType, dst, src []byte, flags pmem2.MemFlags) error {
	if len(dst) != len(src) {
		return failErrno(op, syscall.EINVAL, "the destination has %d bytes, the source %d", len(dst), len(src))
	}
	if err := s.mayStore(op, flags); err != nil {
		return err
	}
	if s.listening() {
		s.tell(&Event{Type: event, Dst: address(dst), Src: address(src), Len: uint64(len(dst)), Flags: flags})
	}
	empty := true
	err := s.on(func(m *pmem2.Map) error {
		empty = false
		if event == EventCopy {
			return m.Memcpy(dst, src, flags)
		}
		return m.Memmove(dst, src, flags)
	})
	if empty {
		copy(dst, src)
	}
	return s.stored(op, flags, err)
}

// mayStore checks what a memory operation checks before its event.
func (s *Set) mayStore(op string, flags pmem2.MemFlags) error {
	called(op)
	if err := s.usable(op); err != nil {
		return err
	}
	if !flags.Valid() {
		return failErrno(op, syscall.EINVAL, "flags %#x: unknown, or they exclude each other", uint32(flags))
	}
	return nil
}

// stored ends a memory operation.
func (s *Set) stored(op string, flags pmem2.MemFlags, err error) error {
	if err != nil {
		return failed(op, err)
	}
	if flags&(MemNoDrain|MemNoFlush) == 0 {
		s.drained()
	}
	return nil
}

func (s *Set) drained() {
	if s.listening() {
		s.tell(&Event{Type: EventDrain})
	}
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// lastOf is the address of the last of n bytes, or of the address space.
func lastOf(addr uintptr, n uint64) uintptr {
	return addr + uintptr(min(n-1, uint64(math.MaxUint-uint(addr))))
}
