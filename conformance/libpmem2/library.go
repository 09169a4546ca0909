//go:build libpmem2

package libpmem2

// #cgo pkg-config: libpmem2
// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "calls.h"
import "C"

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe" // pointers of C, and to variables that C fills in

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Subject is the C library. Its cases run in processes of their own.
var Subject conformance.Subject = subject{}

type subject struct{}

// onCall is told the name of each call before it is made, if it isn't nil.
var onCall atomic.Pointer[func(string)]

// catchSignals makes a fatal signal in the library the end of the process.
var catchSignals = sync.OnceFunc(func() { C.libpmem2_catch_signals() })

// Name is "c".
func (subject) Name() string { return "c" }

// On is conformance.Subject.On.
func (subject) On(p platform.Platform) conformance.Library {
	catchSignals()
	return library{newMachine(p)}
}

// OnCall is conformance.Isolated.OnCall.
func (subject) OnCall(tell func(call string)) { onCall.Store(&tell) }

// Error is what a call of the library has returned.
type Error struct {
	Call    string
	Code    int    // negative
	Message string // pmem2_errormsg() behind the call
	stored  string
	gone    bool
}

// Error is the library's own message.
func (e *Error) Error() string { return e.Message }

// Unwrap is the code or the errno.
func (e *Error) Unwrap() error {
	if e.Code <= -100000 {
		return pmem2.Code(e.Code)
	}
	return syscall.Errno(-e.Code)
}

// Stored is what the failing call has stored in its output all the same, or "".
func (e *Error) Stored() string { return e.stored }

// NoObject reports whether the call wasn't made, because the variable is NULL.
func (e *Error) NoObject() bool { return e.gone }

type library struct{ *machine }

// call makes a call of the library, on one thread from beginning to end, and returns
// what it returned as an error.
func (m *machine) call(name string, f func() C.int) error {
	var result C.int
	message := ""
	m.begin()
	m.do(name, func() {
		if result = f(); result != 0 {
			message = C.GoString(C.pmem2_errormsg())
		}
	})
	m.end(result != 0)
	if result == 0 {
		return nil
	}
	if result > 0 {
		return fmt.Errorf("%s returns %d, which is neither 0 nor negative", name, int(result))
	}
	return &Error{Call: name, Code: int(result), Message: message}
}

// do is call of what returns no error.
func (m *machine) do(name string, f func()) {
	if tell := onCall.Load(); tell != nil {
		(*tell)(name)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	C.libpmem2_enter(m.number)
	defer C.libpmem2_leave()
	f()
}

// storing is call of what must leave a variable alone if it fails: what says what is
// there if it doesn't.
func (m *machine) storing(name string, f func() C.int, what func() string) error {
	err := m.call(name, f)
	if e, ok := err.(*Error); ok {
		e.stored = what()
	}
	return err
}

// gone answers in place of a call with a variable that is NULL.
func gone(name string) error {
	return &Error{Call: name, Code: -int(syscall.EINVAL), Message: name + "() isn't called: the variable is NULL", gone: true}
}

// Settle unmaps what the library keeps mapped for ever of reservations that are deleted,
// which some rows are about, and what a case didn't let it unmap.
func (library) Settle() {
	machines.Lock()
	all := slices.Clone(machines.all)
	machines.Unlock()
	for _, m := range all {
		m.mu.Lock()
		left, refused := m.reserved, m.refused
		m.reserved, m.refused = nil, nil
		m.mu.Unlock()
		for _, r := range refused {
			_ = m.Munmap(r.start, uint64(r.end-r.start))
		}
		for _, r := range left {
			if !reservations.hold(r) {
				_ = m.Munmap(r.start, uint64(r.end-r.start))
			}
		}
	}
}

// Pads reports whether all of a range is what the library has taken for reservations
// beyond what these are said to be.
func (l library) Pads(addr uintptr, n uint64) bool {
	r := reservation{addr, addr + uintptr(n)}
	return !reservations.hold(r) && isReserved(r)
}

func (l library) NewConfig() (conformance.PMem2Config, error) {
	c := &config{machine: l.machine, c: (*C.struct_pmem2_config)(C.nothing())}
	err := l.call("pmem2_config_new", func() C.int { return C.pmem2_config_new(&c.c) })
	if c.c == nil {
		return nil, err
	}
	if err != nil {
		c.c = nil // whatever it holds is no config
	}
	return c, err
}

func (l library) SourceFromFD(fd int) (conformance.Source, error) {
	s := &source{machine: l.machine}
	err := l.call("pmem2_source_from_fd", func() C.int { return C.pmem2_source_from_fd(&s.c, C.int(fd)) })
	if s.c == nil {
		return nil, err
	}
	return s, err
}

func (l library) SourceFromAnon(size uint64) (conformance.Source, error) {
	s := &source{machine: l.machine}
	err := l.call("pmem2_source_from_anon", func() C.int { return C.pmem2_source_from_anon(&s.c, C.size_t(size)) })
	if s.c == nil {
		return nil, err
	}
	return s, err
}

func (library) NewMap(cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
	c, s := cfg.(*config), src.(*source)
	if c.c == nil || s.c == nil {
		return nil, gone("pmem2_map_new")
	}
	m := (*C.struct_pmem2_map)(C.nothing())
	err := s.call("pmem2_map_new", func() C.int { return C.pmem2_map_new(&m, c.c, s.c) })
	return maps.of(s.machine, m, err)
}

func (library) MapFromExisting(src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error) {
	s := src.(*source)
	if s.c == nil {
		return nil, gone("pmem2_map_from_existing")
	}
	var m *C.struct_pmem2_map
	err := s.call("pmem2_map_from_existing", func() C.int {
		return C.pmem2_map_from_existing(&m, s.c, C.as_pointer(C.uintptr_t(addr)), C.size_t(n), C.enum_pmem2_granularity(g))
	})
	return maps.of(s.machine, m, err)
}

func (l library) NewVMReservation(addr uintptr, size uint64) (conformance.Reservation, error) {
	r := &vmReservation{machine: l.machine}
	err := r.reserving("pmem2_vm_reservation_new", func() C.int {
		return C.pmem2_vm_reservation_new(&r.c, C.as_pointer(C.uintptr_t(addr)), C.size_t(size))
	})
	if r.c == nil {
		return nil, err
	}
	reservations.add(r)
	return r, err
}

func (l library) NewBadBlockContext(src conformance.Source) (conformance.BadBlocks, error) {
	s := src.(*source)
	if s.c == nil {
		return nil, gone("pmem2_badblock_context_new")
	}
	b := &badBlocks{machine: s.machine, c: (*C.struct_pmem2_badblock_context)(C.nothing())}
	err := s.call("pmem2_badblock_context_new", func() C.int { return C.pmem2_badblock_context_new(&b.c, s.c) })
	if b.c == nil {
		return nil, err
	}
	if err != nil {
		b.c = nil
	}
	return b, err
}

// Perror is pmem2_perror(3): of the thread's last error, which the case had on this
// thread. What to print is put together here.
func (l library) Perror(_ error, format string, args ...any) {
	text := C.CString(fmt.Sprintf(format, args...))
	defer C.free(unsafe.Pointer(text))
	l.do("pmem2_perror", func() { C.perror_text(text) })
}

func (l library) NilConfig() conformance.PMem2Config  { return &config{machine: l.machine} }
func (l library) NilSource() conformance.Source       { return &source{machine: l.machine} }
func (l library) NilMap() conformance.Map             { return &vmap{machine: l.machine} }
func (l library) NilBadBlocks() conformance.BadBlocks { return &badBlocks{machine: l.machine} }

// Sets is nil: libpmemset is another library.
func (library) Sets() conformance.SetLibrary { return nil }

// Outcome and SameFunction are what they are of Go's subject: codes have the same
// values, and a pointer of C has one function in Go.
func (l library) Outcome(err error) string { return conformance.Go.On(l.Platform).Outcome(err) }

func (l library) SameFunction(f, g any) bool { return conformance.Go.On(l.Platform).SameFunction(f, g) }

func (library) SharesFunctions(a, b conformance.Map) bool {
	return a.(*vmap).functions() == b.(*vmap).functions()
}

// Divergences are what the package has of them.
func (subject) Divergences() []conformance.Divergence { return Divergences() }
