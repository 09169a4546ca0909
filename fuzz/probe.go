package fuzz

import (
	"fmt"
	"syscall"

	"pmemlab/pmem2/platform"
)

// probe stands between a library and the machine beneath it. It gives the answers that an
// input asks for instead of the machine's, remembers what was answered, and keeps account
// of what is mapped. It is for one goroutine.
type probe struct {
	platform.Platform
	answers answers
	asked   asked
	held    int64 // bytes mapped and not unmapped
}

// answers are errnos that calls get in place of being made; 0 is that they are made.
type answers struct {
	sync  syscall.Errno // mmap with MAP_SYNC
	plain syscall.Errno // mmap of a file without
	move  syscall.Errno // mremap
}

// asked is what the calls of one input were answered.
type asked struct {
	sync, plain, move syscall.Errno
	synced, mapped    bool // mmap of a source: with MAP_SYNC at all, successfully
	last              mapping
}

// mapping is the last mmap of a source that succeeded.
type mapping struct {
	addr        uintptr
	length      uint64
	prot, flags int
	fd          int
	offset      int64
}

// errno is that of what a machine returns: a plain syscall.Errno, or nil.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return err.(syscall.Errno)
}

// begin forgets the input before.
func (p *probe) begin(a answers) { p.answers, p.asked = a, asked{} }

// Mmap is mmap(2).
func (p *probe) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (got uintptr, err error) {
	placeholder := fd < 0 && prot == platform.ProtNone && flags&platform.MapNoreserve != 0
	answer := &p.asked.plain
	e := p.answers.plain
	if flags&platform.MapSync != 0 {
		p.asked.synced = true
		answer, e = &p.asked.sync, p.answers.sync
	}
	if placeholder {
		e = 0
	}
	if e != 0 {
		*answer = e
		return 0, e
	}
	got, err = p.Platform.Mmap(addr, length, prot, flags, fd, off)
	if err == nil {
		p.held += int64(p.pages(length))
		if flags&platform.MapFixed != 0 && flags&platform.MapFixedNoreplace == 0 {
			p.held -= int64(p.pages(length)) // in place of what was there
		}
	}
	if !placeholder {
		*answer = errno(err)
		if err == nil {
			p.asked.mapped = true
			p.asked.last = mapping{got, length, prot, flags, fd, off}
		}
	}
	return got, err
}

// Munmap is munmap(2).
func (p *probe) Munmap(addr uintptr, length uint64) error {
	err := p.Platform.Munmap(addr, length)
	if err == nil {
		p.held -= int64(p.pages(length))
	}
	return err
}

// Mremap is mremap(2). With MremapFixed it takes the place of what was there.
func (p *probe) Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error) {
	if p.answers.move != 0 && p.asked.mapped && addr == p.asked.last.addr {
		p.asked.move = p.answers.move
		return 0, p.answers.move
	}
	got, err := p.Platform.Mremap(addr, length, newLength, flags, newAddr)
	if err == nil {
		p.held -= int64(p.pages(length))
		if addr == p.asked.last.addr {
			p.asked.last.addr = got
		}
	}
	return got, err
}

func (p *probe) pages(n uint64) uint64 { return (n + p.PageSize() - 1) &^ (p.PageSize() - 1) }

// leftovers says what inputs have left mapped, and forgets it.
func (p *probe) leftovers() error {
	held := p.held
	p.held = 0
	if held != 0 {
		return fmt.Errorf("%d bytes more are mapped than were before", held)
	}
	return nil
}
