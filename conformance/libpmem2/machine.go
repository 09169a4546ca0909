//go:build libpmem2

package libpmem2

// #include "calls.h"
import "C"

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"syscall"

	"pmemlab/pmem2/platform"
)

// machines are those that libraries were put on, by number: C holds no pointers of Go's.
var machines struct {
	sync.Mutex
	all []*machine
}

// machine is what the system calls of the library go to.
type machine struct {
	platform.Platform
	number C.uintptr_t

	mu       sync.Mutex
	reserves bool          // a call that makes or extends a reservation is under way
	reserved []reservation // what such calls have mapped and is still mapped
	refused  []reservation // what munmap failed for, and wasn't called for again
	made     []reservation // what the call that is under way has mapped and not unmapped
	failing  bool          // munmap has failed in that call
}

// reservation is a piece of address space that the library keeps for one.
type reservation struct{ start, end uintptr }

func newMachine(p platform.Platform) *machine {
	m := &machine{Platform: p}
	machines.Lock()
	defer machines.Unlock()
	machines.all = append(machines.all, m)
	m.number = C.uintptr_t(len(machines.all))
	return m
}

func numbered(n C.uintptr_t) *machine {
	machines.Lock()
	defer machines.Unlock()
	return machines.all[n-1]
}

// errnoOf is 0 for no error. What isn't an errno can't be told to C.
func errnoOf(err error) C.int {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return C.int(errno)
	}
	return C.int(syscall.EIO)
}

//export libpmem2Mmap
func libpmem2Mmap(n, addr C.uintptr_t, length C.size_t, prot, flags, fd C.int, off C.long, failed *C.int) C.uintptr_t {
	m := numbered(n)
	got, err := m.Mmap(uintptr(addr), uint64(length), int(prot), int(flags), int(fd), int64(off))
	*failed = errnoOf(err)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.made = append(m.made, reservation{got, got + uintptr(length)})
	}
	if err == nil && m.reserves {
		m.reserved = append(m.reserved, reservation{got, got + uintptr(length)})
	}
	return C.uintptr_t(got)
}

//export libpmem2Munmap
func libpmem2Munmap(n, addr C.uintptr_t, length C.size_t) C.int {
	m := numbered(n)
	err := m.Munmap(uintptr(addr), uint64(length))
	r := reservation{uintptr(addr), uintptr(addr) + uintptr(length)}
	if err == nil {
		m.release(r.start, r.end)
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = append(m.refused, r)
	m.failing = true
	return errnoOf(err)
}

// release takes a range out of what is reserved and what was refused.
func (m *machine) release(start, end uintptr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	without := func(all []reservation) (left []reservation) {
		for _, r := range all {
			for _, part := range []reservation{{r.start, min(r.end, start)}, {max(r.start, end), r.end}} {
				if part.start < part.end {
					left = append(left, part)
				}
			}
		}
		return left
	}
	m.reserved, m.refused, m.made = without(m.reserved), without(m.refused), without(m.made)
}

// begin and end stand around a call. One that fails because munmap has failed can't help
// leaving something behind.
func (m *machine) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made, m.failing = nil, false
}

func (m *machine) end(failed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if failed && m.failing {
		m.refused = append(m.refused, m.made...)
	}
}

// isReserved reports whether all of a range was mapped by calls that make or extend
// reservations, and is still.
func isReserved(want reservation) bool {
	machines.Lock()
	defer machines.Unlock()
	var all []reservation
	for _, m := range machines.all {
		m.mu.Lock()
		all = append(all, m.reserved...)
		m.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b reservation) int { return cmp.Compare(a.start, b.start) })
	for _, r := range all {
		if r.start <= want.start && r.end > want.start {
			want.start = min(r.end, want.end)
		}
	}
	return want.start >= want.end
}

//export libpmem2GetFL
func libpmem2GetFL(n C.uintptr_t, fd C.int, failed *C.int) C.int {
	flags, err := numbered(n).GetFL(int(fd))
	*failed = errnoOf(err)
	return C.int(flags)
}

//export libpmem2Fallocate
func libpmem2Fallocate(n C.uintptr_t, fd, mode C.int, off, length C.long) C.int {
	return errnoOf(numbered(n).Fallocate(int(fd), uint32(mode), int64(off), int64(length)))
}

//export libpmem2Msync
func libpmem2Msync(n, addr C.uintptr_t, length C.size_t, flags C.int) C.int {
	return errnoOf(numbered(n).Msync(uintptr(addr), uint64(length), int(flags)))
}

//export libpmem2Pread
func libpmem2Pread(n C.uintptr_t, fd C.int, buf C.uintptr_t, length C.size_t, off C.long, failed *C.int) C.intptr_t {
	got, err := numbered(n).Pread(int(fd), platform.Bytes(uintptr(buf), uint64(length)), int64(off))
	*failed = errnoOf(err)
	return C.intptr_t(got)
}

//export libpmem2Pwrite
func libpmem2Pwrite(n C.uintptr_t, fd C.int, buf C.uintptr_t, length C.size_t, off C.long, failed *C.int) C.intptr_t {
	got, err := numbered(n).Pwrite(int(fd), platform.Bytes(uintptr(buf), uint64(length)), int64(off))
	*failed = errnoOf(err)
	return C.intptr_t(got)
}

//export libpmem2Fstat
func libpmem2Fstat(n C.uintptr_t, fd C.int) C.int {
	_, err := numbered(n).Fstat(int(fd))
	return errnoOf(err)
}
