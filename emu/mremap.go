package emu

import (
	"syscall"

	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/vma"
)

// Mremap is mremap(2) as it was measured on Linux 6.1, whatever the host's kernel is.
//
// With MREMAP_FIXED the kernel unmaps what is at newAddr before it looks at all of the
// source. EFAULT, because the source isn't all in one mapping, and EINVAL, because it
// cuts a device DAX mapping elsewhere than at a multiple of the device's alignment,
// leave a hole of the new length there. Nothing is unmapped by the EINVAL of what the
// arguments alone show or of a newAddr range that cuts a device DAX mapping so, nor by
// the EFAULT of an addr that isn't mapped.
//
// A device DAX mapping can be moved to any page and grow by any number of pages, but
// while it begins or ends at no multiple of the alignment every access is SIGBUS. (On a
// real machine the huge pages that were accessed before it grew stay accessible.)
//
// Neighbouring mappings of one object that continue each other count as one. (To a real
// kernel only if they were made by the same descriptor.) Memory that wasn't mapped
// through the machine the host answers for.
func (m *Machine) Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, offset := m.mremapCall(addr, length, newLength, flags, newAddr)
	n, newN := c.lengths()
	if answer := mremapRules(c); answer.errno != 0 {
		if answer.target {
			if err := m.unmap(newAddr, newN); err != nil {
				return 0, err
			}
		}
		if answer.tail {
			if err := m.unmap(addr+uintptr(newN), n-newN); err != nil {
				return 0, err
			}
		}
		return 0, answer.errno
	}
	if n == newN && flags&(platform.MremapFixed|mremapDontunmap) == 0 {
		return addr, nil // not even whether all of it is mapped matters
	}
	m.armAlike(addr, n)
	m.leaving(addr, n)
	if c.fixed() {
		m.leaving(newAddr, newN)
	}
	at, err := m.move(c, offset)
	if err != nil {
		var ranges []extent
		if c.fixed() {
			ranges = append(ranges, addresses(newAddr, newN))
		}
		if n > newN {
			ranges = append(ranges, addresses(addr+uintptr(newN), n-newN))
		}
		m.resync(ranges...)
		return 0, err
	}
	m.moved(addr, n, at, newN, flags)
	if e, ok := m.maps.At(addr); ok && flags&mremapDontunmap != 0 && e.Value.obj != nil && !e.Value.shared {
		// The process's own pages went with the move: here are the file's again.
		_ = m.cover(e.Value.obj, e.Value.obj.badPages)
	}
	return at, nil
}

// mremapCall finds what is mapped where the arguments point, and the offset in its
// object of what is at addr. mu must be held.
func (m *Machine) mremapCall(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (mremapCall, uint64) {
	c := mremapCall{
		addr: addr, length: length, newLength: newLength, flags: flags, newAddr: newAddr,
		taskSize: m.taskSize(), align: pageSize, room: true,
	}
	n, newN := c.lengths()
	c.cutsTarget = c.fixed() && !m.cutsAligned(newAddr, newN)
	c.cutsTail = n > newN && !m.cutsAligned(addr+uintptr(newN), n-newN)
	e, ok := m.maps.At(addr)
	if !ok { // not the machine's, or nothing
		c.mapped, c.shared = m.isMapped(addr, pageSize), true
		c.start, c.end = addr, addr+uintptr(n)
		return c, 0
	}
	c.mapped, c.shared = true, e.Value.shared
	c.start, c.end = e.Addr, e.Addr+uintptr(e.Len)
	if o := e.Value.obj; o != nil && o.class == classDevDax {
		c.align = o.align
	}
	return c, e.Value.advance(uint64(addr - e.Addr)).off
}

// move is the host's mremap. Where the kernel has the choice device DAX comes to an
// address that is aligned as the offset of the source is.
func (m *Machine) move(c mremapCall, offset uint64) (uintptr, error) {
	n, newN := c.lengths()
	if e, ok := m.maps.At(c.addr); ok && e.Value.hasPieces() {
		return m.movePieces(c, e.Value.advance(uint64(c.addr-e.Addr)))
	}
	dontunmap := c.flags&mremapDontunmap != 0
	choice := !c.fixed() && (n < newN || dontunmap && c.newAddr == 0)
	if c.align <= pageSize || !choice {
		return m.host.Mremap(c.addr, n, newN, c.flags, c.newAddr)
	}
	if 0 < n && n < newN {
		at, err := m.host.Mremap(c.addr, n, newN, 0, 0)
		if err != syscall.ENOMEM {
			return at, err
		}
		c.room = false
		if errno := mremapRules(c).errno; errno != 0 {
			return 0, errno
		}
	}
	place := placement{m: m, n: newN}
	place.find(c.align, offset)
	if !place.reserved { // too small for the kernel to care
		return m.host.Mremap(c.addr, n, newN, c.flags, c.newAddr)
	}
	at, err := m.host.Mremap(c.addr, n, newN, c.flags|platform.MremapFixed, place.addr)
	if err != nil && m.isMapped(place.addr, newN) {
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
	m.mem.unmapped(gone)
	if n > 0 && flags&mremapDontunmap == 0 {
		m.maps.Remove(addr, n)
	}
	m.settleBeside(at, newN)
	m.settleBeside(addr, n)
	for i, e := range parts {
		from := uint64(e.Addr - addr)
		if from >= newN {
			break
		}
		size := min(e.Len, newN-from)
		if i == len(parts)-1 && from+e.Len == n && newN > n {
			size = newN - from // it grew
		}
		m.insert(at+uintptr(from), size, e.Value)
		m.watchStores(at+uintptr(from), size, e.Value)
		// With a neighbour of the same file the kernel makes one mapping of both, which isn't
		// watched any more.
		for _, beside := range [...]uintptr{at + uintptr(from) - 1, at + uintptr(from), at + uintptr(from+size)} {
			if e, ok := m.maps.At(beside); ok {
				m.unwatch(e.Addr, e.Len)
			}
		}
	}
	for _, e := range gone {
		m.release(e.Value.obj)
	}
	for _, e := range parts {
		m.release(e.Value.obj)
	}
}
