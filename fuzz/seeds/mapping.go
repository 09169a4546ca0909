package seeds

import (
	"pmemlab/conformance"
	"pmemlab/pmem2"
)

// mapping stands before a map.
type mapping struct {
	conformance.Map
	r      *recorder
	w      *watch
	of     Memory
	number Object

	persist, flush  func(b []byte) error
	drain           func() error
	memmove, memcpy func(dst, src []byte, flags pmem2.MemFlags) error
	memset          func(dst []byte, c byte, flags pmem2.MemFlags) error
}

func (m *mapping) bare() conformance.Map { return m.Map }

// mapping returns the wrapper of a map.
func (r *recorder) mapping(w *watch, m conformance.Map, of Memory, number Object) conformance.Map {
	if m == nil {
		return nil
	}
	return wrap(r, m, func() *mapping {
		of.Addr, of.Size, of.Granularity = uint64(m.Address()), m.Size(), m.StoreGranularity()
		own := &mapping{Map: m, r: r, w: w, of: of, number: number}
		own.getFunctions()
		return own
	})
}

// numberOf is which map it is, by the order in which they were made.
func numberOf(m conformance.Map) Object {
	if own, ok := m.(*mapping); ok {
		return own.number
	}
	return None
}

// getFunctions are what the getters return: one function, however often they are asked.
func (m *mapping) getFunctions() {
	persist, flush, drain := m.Map.PersistFunc(), m.Map.FlushFunc(), m.Map.DrainFunc()
	memmove, memcpy, memset := m.Map.MemmoveFunc(), m.Map.MemcpyFunc(), m.Map.MemsetFunc()
	m.persist = func(b []byte) error { return m.flushed(Persist, b, true, func() error { return persist(b) }) }
	m.flush = func(b []byte) error { return m.flushed(Flush, b, true, func() error { return flush(b) }) }
	m.drain = func() error { return m.flushed(Drain, nil, true, drain) }
	m.memmove = func(dst, src []byte, flags pmem2.MemFlags) error {
		return m.stored(moved(Memmove, dst, src, flags), true, func() error { return memmove(dst, src, flags) })
	}
	m.memcpy = func(dst, src []byte, flags pmem2.MemFlags) error {
		return m.stored(moved(Memcpy, dst, src, flags), true, func() error { return memcpy(dst, src, flags) })
	}
	m.memset = func(dst []byte, c byte, flags pmem2.MemFlags) error {
		return m.stored(filled(dst, c, flags), true, func() error { return memset(dst, c, flags) })
	}
}

func moved(op Op, dst, src []byte, flags pmem2.MemFlags) Call {
	return Call{Op: op, Addr: addressOf(dst), Src: addressOf(src), Length: uint64(len(dst)), Source: uint64(len(src)), Flags: flags}
}

func filled(dst []byte, c byte, flags pmem2.MemFlags) Call {
	return Call{Op: Memset, Addr: addressOf(dst), Length: uint64(len(dst)), Source: uint64(len(dst)), Value: c, Flags: flags}
}

// flushed notes a flush, a drain or both.
func (m *mapping) flushed(op Op, b []byte, function bool, do func() error) error {
	return m.stored(Call{Op: op, Addr: addressOf(b), Length: uint64(len(b))}, function, do)
}

// stored notes a call that is about memory.
func (m *mapping) stored(c Call, function bool, do func() error) error {
	m.w.begin()
	err := do()
	c.On, c.Made, c.OK, c.Of = m.number, None, err == nil, m.of
	c.Of.Function, c.Of.Sync = function, m.w.end().msync
	m.r.note(c)
	return err
}

// Delete is conformance.Map.Delete.
func (m *mapping) Delete() error {
	err := m.Map.Delete()
	m.of.Gone = m.of.Gone || err == nil
	m.r.note(Call{Op: DeleteMap, On: m.number, Made: None, OK: err == nil})
	return err
}

// DeepFlushRange is conformance.Map.DeepFlushRange.
func (m *mapping) DeepFlushRange(addr uintptr, n uint64) error {
	return m.stored(Call{Op: DeepFlush, Addr: uint64(addr), Length: n}, false, func() error { return m.Map.DeepFlushRange(addr, n) })
}

// Persist is conformance.Map.Persist.
func (m *mapping) Persist(b []byte) error {
	return m.flushed(Persist, b, false, func() error { return m.Map.Persist(b) })
}

// Flush is conformance.Map.Flush.
func (m *mapping) Flush(b []byte) error {
	return m.flushed(Flush, b, false, func() error { return m.Map.Flush(b) })
}

// Drain is conformance.Map.Drain.
func (m *mapping) Drain() error { return m.flushed(Drain, nil, false, m.Map.Drain) }

// Memmove is conformance.Map.Memmove.
func (m *mapping) Memmove(dst, src []byte, flags pmem2.MemFlags) error {
	return m.stored(moved(Memmove, dst, src, flags), false, func() error { return m.Map.Memmove(dst, src, flags) })
}

// Memcpy is conformance.Map.Memcpy.
func (m *mapping) Memcpy(dst, src []byte, flags pmem2.MemFlags) error {
	return m.stored(moved(Memcpy, dst, src, flags), false, func() error { return m.Map.Memcpy(dst, src, flags) })
}

// Memset is conformance.Map.Memset.
func (m *mapping) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	return m.stored(filled(dst, c, flags), false, func() error { return m.Map.Memset(dst, c, flags) })
}

// PersistFunc is conformance.Map.PersistFunc.
func (m *mapping) PersistFunc() func(b []byte) error { return m.persist }

// FlushFunc is conformance.Map.FlushFunc.
func (m *mapping) FlushFunc() func(b []byte) error { return m.flush }

// DrainFunc is conformance.Map.DrainFunc.
func (m *mapping) DrainFunc() func() error { return m.drain }

// MemmoveFunc is conformance.Map.MemmoveFunc.
func (m *mapping) MemmoveFunc() func(dst, src []byte, flags pmem2.MemFlags) error { return m.memmove }

// MemcpyFunc is conformance.Map.MemcpyFunc.
func (m *mapping) MemcpyFunc() func(dst, src []byte, flags pmem2.MemFlags) error { return m.memcpy }

// MemsetFunc is conformance.Map.MemsetFunc.
func (m *mapping) MemsetFunc() func(dst []byte, c byte, flags pmem2.MemFlags) error { return m.memset }
