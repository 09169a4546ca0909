//go:build libpmem2

package libpmem2

// #include "calls.h"
import "C"

import (
	"sync"
	"unsafe" // pointers to what is stored and flushed

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// vmap is a variable that holds a map.
type vmap struct {
	*machine
	c *C.struct_pmem2_map
}

// maps are those that are not deleted: what finds a map finds the same object.
var maps = known{all: map[*C.struct_pmem2_map]*vmap{}}

type known struct {
	sync.Mutex
	all map[*C.struct_pmem2_map]*vmap
}

// of is the object of a map, if there is one.
func (k *known) of(machine *machine, c *C.struct_pmem2_map, err error) (conformance.Map, error) {
	if c == nil {
		return nil, err
	}
	if err != nil {
		return &vmap{machine: machine}, err // whatever the variable holds is no map
	}
	k.Lock()
	defer k.Unlock()
	m, ok := k.all[c]
	if !ok {
		m = &vmap{machine, c}
		k.all[c] = m
	}
	return m, err
}

func (k *known) forget(c *C.struct_pmem2_map) {
	k.Lock()
	defer k.Unlock()
	delete(k.all, c)
}

func (m *vmap) Address() (addr uintptr) {
	if m.c == nil {
		return 0
	}
	m.do("pmem2_map_get_address", func() { addr = uintptr(C.pmem2_map_get_address(m.c)) })
	return addr
}

func (m *vmap) Size() (n uint64) {
	if m.c == nil {
		return 0
	}
	m.do("pmem2_map_get_size", func() { n = uint64(C.pmem2_map_get_size(m.c)) })
	return n
}

func (m *vmap) StoreGranularity() (g pmem2.Granularity) {
	if m.c == nil {
		return 0
	}
	m.do("pmem2_map_get_store_granularity", func() { g = pmem2.Granularity(C.pmem2_map_get_store_granularity(m.c)) })
	return g
}

func (m *vmap) Bytes() []byte {
	if m.c == nil {
		return nil
	}
	return platform.Bytes(m.Address(), m.Size())
}

func (m *vmap) DeepFlushRange(addr uintptr, n uint64) error {
	if m.c == nil {
		return gone("pmem2_deep_flush")
	}
	return m.call("pmem2_deep_flush", func() C.int {
		return C.pmem2_deep_flush(m.c, C.as_pointer(C.uintptr_t(addr)), C.size_t(n))
	})
}

func (m *vmap) Delete() error {
	if m.c == nil {
		return gone("pmem2_map_delete")
	}
	was := m.c
	err := m.call("pmem2_map_delete", func() C.int { return C.pmem2_map_delete(&m.c) })
	if m.c == nil {
		maps.forget(was)
	}
	return err
}

// functions are the pointers that the getters return.
func (m *vmap) functions() (all [6]C.uintptr_t) {
	for i := range all {
		all[i] = m.pointer(getter(i))
	}
	return all
}

// getter is one of the functions that return a function.
type getter int

const (
	persist getter = iota
	flush
	drain
	memmove
	memcpy
	memset
)

var getterNames = [...]string{
	"pmem2_get_persist_fn", "pmem2_get_flush_fn", "pmem2_get_drain_fn",
	"pmem2_get_memmove_fn", "pmem2_get_memcpy_fn", "pmem2_get_memset_fn",
}

// pointer is what a getter returns.
func (m *vmap) pointer(g getter) (f C.uintptr_t) {
	m.do(getterNames[g], func() {
		switch g {
		case persist:
			f = C.persist_of(m.c)
		case flush:
			f = C.flush_of(m.c)
		case drain:
			f = C.drain_of(m.c)
		case memmove:
			f = C.memmove_of(m.c)
		case memcpy:
			f = C.memcpy_of(m.c)
		case memset:
			f = C.memset_of(m.c)
		}
	})
	return f
}

// functions of Go's for pointers of C's, one each: functions can be compared then.
var functions struct {
	sync.Mutex
	of map[function]any
}

type function struct {
	machine *machine
	pointer C.uintptr_t
	kind    string // what pointer is to: two getters may return one pointer
}

// functionFor is the function for a pointer, nil for NULL. make is called at most once.
func functionFor[F any](m *vmap, kind string, g getter, make func(f C.uintptr_t) F) (none F) {
	if m.c == nil {
		return none
	}
	p := m.pointer(g)
	if p == 0 {
		return none
	}
	functions.Lock()
	defer functions.Unlock()
	key := function{m.machine, p, kind}
	if f, ok := functions.of[key]; ok {
		return f.(F)
	}
	if functions.of == nil {
		functions.of = map[function]any{}
	}
	f := make(p)
	functions.of[key] = f
	return f
}

// rangeFunction is for persist and flush, which return nothing.
func (m *vmap) rangeFunction(g getter, name string) func([]byte) error {
	machine := m.machine
	return functionFor(m, "range", g, func(f C.uintptr_t) func([]byte) error {
		return func(b []byte) error {
			machine.do(name, func() { C.call_range(f, unsafe.Pointer(unsafe.SliceData(b)), C.size_t(len(b))) })
			return nil
		}
	})
}

func (m *vmap) copyFunction(g getter, name string) func(dst, src []byte, flags pmem2.MemFlags) error {
	machine := m.machine
	return functionFor(m, "copy", g, func(f C.uintptr_t) func(dst, src []byte, flags pmem2.MemFlags) error {
		return func(dst, src []byte, flags pmem2.MemFlags) error {
			machine.do(name, func() {
				C.call_copy(f, unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src)), C.size_t(len(src)), C.uint(flags))
			})
			return nil
		}
	})
}

func (m *vmap) PersistFunc() func(b []byte) error { return m.rangeFunction(persist, "persist") }
func (m *vmap) FlushFunc() func(b []byte) error   { return m.rangeFunction(flush, "flush") }

func (m *vmap) DrainFunc() func() error {
	machine := m.machine
	return functionFor(m, "drain", drain, func(f C.uintptr_t) func() error {
		return func() error {
			machine.do("drain", func() { C.call_drain(f) })
			return nil
		}
	})
}

func (m *vmap) MemmoveFunc() func(dst, src []byte, flags pmem2.MemFlags) error {
	return m.copyFunction(memmove, "memmove")
}

func (m *vmap) MemcpyFunc() func(dst, src []byte, flags pmem2.MemFlags) error {
	return m.copyFunction(memcpy, "memcpy")
}

func (m *vmap) MemsetFunc() func(dst []byte, c byte, flags pmem2.MemFlags) error {
	machine := m.machine
	return functionFor(m, "set", memset, func(f C.uintptr_t) func(dst []byte, c byte, flags pmem2.MemFlags) error {
		return func(dst []byte, c byte, flags pmem2.MemFlags) error {
			machine.do("memset", func() {
				C.call_set(f, unsafe.Pointer(unsafe.SliceData(dst)), C.int(c), C.size_t(len(dst)), C.uint(flags))
			})
			return nil
		}
	})
}

func (m *vmap) Persist(b []byte) error {
	if m.c == nil {
		return gone("persist")
	}
	return m.PersistFunc()(b)
}

func (m *vmap) Flush(b []byte) error {
	if m.c == nil {
		return gone("flush")
	}
	return m.FlushFunc()(b)
}

func (m *vmap) Drain() error {
	if m.c == nil {
		return gone("drain")
	}
	return m.DrainFunc()()
}

func (m *vmap) Memmove(dst, src []byte, flags pmem2.MemFlags) error {
	if m.c == nil {
		return gone("memmove")
	}
	return m.MemmoveFunc()(dst, src, flags)
}

func (m *vmap) Memcpy(dst, src []byte, flags pmem2.MemFlags) error {
	if m.c == nil {
		return gone("memcpy")
	}
	return m.MemcpyFunc()(dst, src, flags)
}

func (m *vmap) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	if m.c == nil {
		return gone("memset")
	}
	return m.MemsetFunc()(dst, c, flags)
}
