//go:build libpmem2

package main

import (
	"fmt"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2/platform"
)

// recorder is this machine, with an account of what a library has mapped. It is for one
// goroutine.
type recorder struct {
	platform.Platform
	last   mapping        // the last mmap that succeeded
	held   []model.Extent // mapped and not unmapped
	noRoom bool           // mmap has answered ENOMEM
}

// mapping is what an mmap was asked for.
type mapping struct {
	length, offset uint64
	prot           int
	private        bool
}

// Mmap is mmap(2).
func (r *recorder) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	got, err := r.Platform.Mmap(addr, length, prot, flags, fd, off)
	if err != nil {
		r.noRoom = r.noRoom || model.Of(err) == noRoom
		return got, err
	}
	r.last = mapping{roundUp(length), uint64(off), prot, flags&platform.MapType == platform.MapPrivate}
	r.release(uint64(got), length)
	r.held = append(r.held, model.Extent{Start: uint64(got), Size: roundUp(length)})
	return got, nil
}

// Munmap is munmap(2).
func (r *recorder) Munmap(addr uintptr, length uint64) error {
	err := r.Platform.Munmap(addr, length)
	if err == nil {
		r.release(uint64(addr), length)
	}
	return err
}

// Mremap is mremap(2), which only Go calls, to move a whole mapping.
func (r *recorder) Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error) {
	got, err := r.Platform.Mremap(addr, length, newLength, flags, newAddr)
	if err == nil {
		r.release(uint64(addr), length)
		r.release(uint64(got), newLength)
		r.held = append(r.held, model.Extent{Start: uint64(got), Size: roundUp(newLength)})
	}
	return got, err
}

// release takes a range out of what is held.
func (r *recorder) release(start, length uint64) {
	end := start + roundUp(length)
	for i := 0; i < len(r.held); i++ {
		e := r.held[i]
		last := e.Start + e.Size
		if e.Start >= end || last <= start {
			continue
		}
		r.held[i] = r.held[len(r.held)-1]
		r.held = r.held[:len(r.held)-1]
		i--
		if e.Start < start {
			r.held = append(r.held, model.Extent{Start: e.Start, Size: start - e.Start})
		}
		if last > end {
			r.held = append(r.held, model.Extent{Start: end, Size: last - end})
		}
	}
}

// kept is how many bytes are held.
func (r *recorder) kept() (n uint64) {
	for _, e := range r.held {
		n += e.Size
	}
	return n
}

// clean unmaps what is held.
func (r *recorder) clean() error {
	for len(r.held) > 0 {
		e := r.held[0]
		if err := r.Munmap(uintptr(e.Start), e.Size); err != nil {
			return fmt.Errorf("munmap of %d bytes at %#x that were left behind: %w", e.Size, e.Start, err)
		}
	}
	r.noRoom = false
	return nil
}

func roundUp(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }
