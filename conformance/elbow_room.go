package conformance

import "pmemlab/pmem2/platform"

// elbowRoom is a machine that puts placeholders, for which any address will do, where
// nothing is for 1 GiB before them and behind. A kernel may do so; what it does is to put
// them as far up as there is room, and what a program's runtime maps next, a thread's stack
// say, right behind, so that whether a reservation can grow would be luck.
type elbowRoom struct{ platform.Platform }

// Mmap is platform.Memory.Mmap.
func (m *elbowRoom) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	const (
		around = gib
		align  = 2 * mib
		most   = 1 << 44
	)
	if addr != 0 || prot != platform.ProtNone || fd >= 0 || length == 0 || length > most {
		return m.Platform.Mmap(addr, length, prot, flags, fd, off)
	}
	whole := length + 2*(around+align)
	page := m.PageSize()
	start, err := m.Platform.Mmap(0, whole, prot, flags, fd, off)
	if err != nil {
		return m.Platform.Mmap(addr, length, prot, flags, fd, off)
	}
	// On an odd page: alignment is the library's to make.
	addr = (start+around+align-1)&^(align-1) + uintptr(page)
	end := addr + uintptr((length+page-1)&^(page-1))
	if err := m.Munmap(start, uint64(addr-start)); err != nil {
		return 0, err
	}
	return addr, m.Munmap(end, uint64(start)+whole-uint64(end))
}
