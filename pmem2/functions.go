package pmem2

// functions are what the getters of a map return. They are made once, so that a
// getter gives the same one every time.
type functions struct {
	persist, flush  func(b []byte) error
	drain           func() error
	memmove, memcpy func(dst, src []byte, flags MemFlags) error
	memset          func(dst []byte, c byte, flags MemFlags) error
}

// PersistFunc is pmem2_get_persist_fn(3): the method Persist of this map, for
// callers that keep it. It is the same function every time, and never nil: that of a
// nil map (a new one each time), or of one that has been deleted, returns ErrMappingNotFound. Those of two
// maps do the same if the maps share operations, see SharesOps; then one call may
// span both.
func (m *Map) PersistFunc() func(b []byte) error { return m.functions().persist }

// FlushFunc is pmem2_get_flush_fn(3): the method Flush, as PersistFunc.
func (m *Map) FlushFunc() func(b []byte) error { return m.functions().flush }

// DrainFunc is pmem2_get_drain_fn(3): the method Drain, as PersistFunc.
func (m *Map) DrainFunc() func() error { return m.functions().drain }

// MemmoveFunc is pmem2_get_memmove_fn(3): the method Memmove, as PersistFunc.
func (m *Map) MemmoveFunc() func(dst, src []byte, flags MemFlags) error {
	return m.functions().memmove
}

// MemcpyFunc is pmem2_get_memcpy_fn(3): the method Memcpy, as PersistFunc.
func (m *Map) MemcpyFunc() func(dst, src []byte, flags MemFlags) error { return m.functions().memcpy }

// MemsetFunc is pmem2_get_memset_fn(3): the method Memset, as PersistFunc.
func (m *Map) MemsetFunc() func(dst []byte, c byte, flags MemFlags) error {
	return m.functions().memset
}

func (m *Map) functions() *functions {
	if m != nil {
		if f := m.getters.Load(); f != nil {
			return f
		}
	}
	f := &functions{
		persist: m.Persist, flush: m.Flush, drain: m.Drain,
		memmove: m.Memmove, memcpy: m.Memcpy, memset: m.Memset,
	}
	if m == nil || m.getters.CompareAndSwap(nil, f) {
		return f
	}
	return m.getters.Load()
}
