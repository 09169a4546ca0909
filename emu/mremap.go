package emu

import (
	"syscall"

	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/vma"
)

const mremapDontunmap = 4

// Mremap is mremap(2). A device DAX mapping is cut and moved at multiples of the
// device's alignment only, and only to such addresses: EINVAL. (Linux was seen to
// refuse the cuts; a move to another address it lets pass, and then every access is
// SIGBUS.)
func (m *Machine) Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, newN := roundUp(length, pageSize), roundUp(newLength, pageSize)
	fixed := flags&platform.MremapFixed != 0
	align := uint64(0) // of the device DAX mapping that addr is in
	if e, ok := m.maps.At(addr); ok && e.Value.obj != nil && e.Value.obj.class == classDevDax {
		align = e.Value.obj.align
		// The range is split off its neighbours and, if it shrinks, cut itself.
		if !m.cutsAligned(addr, n) || newN%align != 0 || fixed && uint64(newAddr)%align != 0 {
			return 0, syscall.EINVAL
		}
	}
	if fixed && newN != 0 && !m.cutsAligned(newAddr, newN) {
		return 0, syscall.EINVAL
	}
	at, err := m.move(addr, length, newLength, flags, newAddr, align)
	if err != nil {
		return 0, err
	}
	m.moved(addr, n, at, newN, flags)
	return at, nil
}

// move is the host's mremap, at an aligned address where it has the choice.
func (m *Machine) move(addr uintptr, length, newLength uint64, flags int, newAddr uintptr, align uint64) (uintptr, error) {
	choice := flags == platform.MremapMaymove && align > pageSize
	if !choice {
		return m.host.Mremap(addr, length, newLength, flags, newAddr)
	}
	if length > 0 {
		at, err := m.host.Mremap(addr, length, newLength, 0, 0)
		if err != syscall.ENOMEM {
			return at, err
		}
	}
	place := placement{m: m, n: newLength}
	place.find(align, 0)
	if !place.reserved {
		return 0, syscall.ENOMEM
	}
	at, err := m.host.Mremap(addr, length, newLength, platform.MremapMaymove|platform.MremapFixed, place.addr)
	if err != nil {
		place.giveBack()
	}
	return at, err
}

// moved follows a successful mremap of [addr, addr+n) to [at, at+newN).
func (m *Machine) moved(addr uintptr, n uint64, at uintptr, newN uint64, flags int) {
	var parts []vma.Entry[mapping]
	if n == 0 { // a second mapping of the same
		if e, ok := m.maps.At(addr); ok {
			parts = []vma.Entry[mapping]{{Addr: addr, Len: newN, Value: e.Value.advance(uint64(addr - e.Addr))}}
		}
	} else {
		for e := range m.maps.Overlapping(addr, n) {
			parts = append(parts, e)
		}
	}
	// Objects are held by the new entries before the old ones go.
	gone := m.maps.Remove(at, newN)
	if n > 0 && flags&mremapDontunmap == 0 {
		m.maps.Remove(addr, n)
	}
	for i, e := range parts {
		from := uint64(e.Addr - addr)
		if from >= newN {
			break
		}
		size := min(e.Len, newN-from)
		if i == len(parts)-1 && from+e.Len == n && newN > n {
			size = newN - from // it grew
		}
		m.maps.Insert(at+uintptr(from), size, e.Value)
	}
	for _, e := range gone {
		m.release(e.Value.obj)
	}
	for _, e := range parts {
		m.release(e.Value.obj)
	}
}
