package selftest

import (
	"unsafe" // addresses of slices

	"pmemlab/conformance"
	"pmemlab/pmem2"
)

// mapping stands before a map. Its functions are the same whether they are called as
// methods or come from a getter.
type mapping struct {
	conformance.Map
	f *faults
	// src and wrap tell how it was made: of what, and by MapFromExisting or not.
	src  conformance.Source
	wrap bool

	functions functions
}

// functions are those that a map's getters return.
type functions struct {
	persist, flush  func(b []byte) error
	drain           func() error
	memmove, memcpy func(dst, src []byte, flags pmem2.MemFlags) error
	memset          func(dst []byte, c byte, flags pmem2.MemFlags) error
}

func (m *mapping) bare() conformance.Map { return m.Map }

func (f *faults) mapping(o conformance.Map) conformance.Map {
	fresh := func() *mapping {
		m := &mapping{Map: o, f: f}
		m.functions = m.faulty()
		return m
	}
	if w, ok := wrap(f, o, fresh); ok {
		return w
	}
	return nil
}

// mappingOf is mapping with a note of how it was made.
func (f *faults) mappingOf(o conformance.Map, src conformance.Source, wrap bool) conformance.Map {
	m, ok := f.mapping(o).(*mapping)
	if !ok {
		return nil
	}
	m.src, m.wrap = bare(src), wrap
	return m
}

// faulty are the healthy functions, or what the faults have instead.
func (m *mapping) faulty() functions {
	own := functions{
		m.Map.PersistFunc(), m.Map.FlushFunc(), m.Map.DrainFunc(),
		m.Map.MemmoveFunc(), m.Map.MemcpyFunc(), m.Map.MemsetFunc(),
	}
	if broken := m.f.persist; broken != nil {
		own.persist = func(b []byte) error { return broken(m, b) }
	}
	if broken := m.f.flush; broken != nil {
		own.flush = func(b []byte) error { return broken(m, b) }
	}
	if broken := m.f.drain; broken != nil {
		own.drain = func() error { return broken(m) }
	}
	if broken := m.f.memmove; broken != nil {
		own.memmove = func(dst, src []byte, flags pmem2.MemFlags) error { return broken(m, dst, src, flags) }
	}
	if broken := m.f.memcpy; broken != nil {
		own.memcpy = func(dst, src []byte, flags pmem2.MemFlags) error { return broken(m, dst, src, flags) }
	}
	if broken := m.f.memset; broken != nil {
		own.memset = func(dst []byte, c byte, flags pmem2.MemFlags) error { return broken(m, dst, c, flags) }
	}
	return own
}

func (m *mapping) Persist(b []byte) error { return m.functions.persist(b) }
func (m *mapping) Flush(b []byte) error   { return m.functions.flush(b) }
func (m *mapping) Drain() error           { return m.functions.drain() }

func (m *mapping) Memmove(dst, src []byte, flags pmem2.MemFlags) error {
	return m.functions.memmove(dst, src, flags)
}

func (m *mapping) Memcpy(dst, src []byte, flags pmem2.MemFlags) error {
	return m.functions.memcpy(dst, src, flags)
}

func (m *mapping) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	return m.functions.memset(dst, c, flags)
}

// A getter that is at fault returns another closure each time, which does the same.

func (m *mapping) PersistFunc() func(b []byte) error {
	if m.f.freshFunctions {
		return func(b []byte) error { return m.functions.persist(b) }
	}
	return m.functions.persist
}

func (m *mapping) FlushFunc() func(b []byte) error {
	if m.f.freshFunctions {
		return func(b []byte) error { return m.functions.flush(b) }
	}
	return m.functions.flush
}

func (m *mapping) DrainFunc() func() error {
	if m.f.freshFunctions {
		return func() error { return m.functions.drain() }
	}
	return m.functions.drain
}

func (m *mapping) MemmoveFunc() func(dst, src []byte, flags pmem2.MemFlags) error {
	if m.f.freshFunctions {
		return func(dst, src []byte, flags pmem2.MemFlags) error { return m.functions.memmove(dst, src, flags) }
	}
	return m.functions.memmove
}

func (m *mapping) MemcpyFunc() func(dst, src []byte, flags pmem2.MemFlags) error {
	if m.f.freshFunctions {
		return func(dst, src []byte, flags pmem2.MemFlags) error { return m.functions.memcpy(dst, src, flags) }
	}
	return m.functions.memcpy
}

func (m *mapping) MemsetFunc() func(dst []byte, c byte, flags pmem2.MemFlags) error {
	if m.f.freshFunctions {
		return func(dst []byte, c byte, flags pmem2.MemFlags) error { return m.functions.memset(dst, c, flags) }
	}
	return m.functions.memset
}

// addressOf is where a slice begins.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
