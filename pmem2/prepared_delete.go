package pmem2

import (
	"errors"
	"slices"
	"syscall"

	"pmemlab/pmem2/platform"
)

// PreparedDelete is the deletion of maps that lie side by side in a reservation, in
// one step: all of them or none. What can run short has been obtained; what is left
// to do is a single mremap or, if the process has as many mappings as the kernel allows,
// a single mmap. The C library has no such thing.
//
// It is for one goroutine, which ends it with Commit or Cancel.
type PreparedDelete struct {
	maps        []*Map
	reservation *VMReservation
	fresh       uintptr // the placeholder that will take their place, or 0
	ended       bool
	addr        uintptr
	size        uint64 // bytes
}

// PrepareDelete prepares the deletion of maps, which lie in one reservation, in the
// order of their addresses and with nothing between them. They are what they were
// until Commit.
//
// Errors: ErrMappingNotFound: a map is nil or has been deleted; EINVAL: there is no
// map, one lies in no reservation or in another one than the first, or doesn't start
// where the one before it ends; else the errno of mmap.
func PrepareDelete(maps ...*Map) (*PreparedDelete, error) {
	const op = "PrepareDelete"
	called(op)
	if len(maps) == 0 {
		return nil, invalid(op, "no map is given")
	}
	d := &PreparedDelete{maps: slices.Clone(maps)}
	for i, m := range maps {
		if !m.live() {
			return nil, fail(op, ErrMappingNotFound, "map %d of %d is nil or has been deleted", i, len(maps))
		}
		if i == 0 {
			d.reservation, d.addr = m.reservation, m.addr
		}
		if m.reservation == nil || m.reservation != d.reservation || m.addr != d.addr+uintptr(d.size) {
			return nil, invalid(op, "the maps don't lie side by side in one reservation")
		}
		d.size += m.reserved
	}
	var err error
	if d.fresh, err = newPlaceholder(op, d.reservation.machine, d.size); err != nil {
		return nil, err
	}
	return d, nil
}

// Commit deletes the maps. If it doesn't say that they are gone, they are as they
// were; if it does and there is an error, something else is left behind.
//
// Errors: ErrMappingNotFound: one of the maps has been deleted by now; EINVAL after
// Commit or Cancel; else the errno of mremap or mmap.
func (d *PreparedDelete) Commit() (gone bool, err error) {
	const op = "PreparedDelete.Commit"
	called(op)
	if d == nil || d.ended || len(d.maps) == 0 {
		return false, invalid(op, "nothing is prepared, or it has been ended")
	}
	r := d.reservation
	r.mu.Lock()
	defer r.mu.Unlock()
	registry.mu.Lock()
	defer registry.mu.Unlock()
	d.ended = true
	for _, m := range d.maps {
		if m.deleted.Load() {
			failure := error(fail(op, ErrMappingNotFound, "the map at %#x has been deleted", m.addr))
			if d.fresh != 0 {
				failure = unmapAfter(failure, r.machine, d.fresh, d.size)
			}
			return false, failure
		}
	}
	gone, err = movePlaceholder(op, r.machine, d.fresh, d.addr, d.size)
	if gone {
		if debugLog.level >= logOperations {
			debugLog.printf(logOperations, "%d bytes at %#x unmapped", d.size, d.addr)
		}
		for _, m := range d.maps {
			m.deleted.Store(true)
		}
		registry.maps.removeRun(d.maps)
		r.freed(d.addr)
		r.maps.removeRun(d.maps)
	}
	return gone, err
}

// Cancel gives back what was prepared. On nil, and after Commit or Cancel, it does
// nothing.
//
// Errors: the errno of munmap, in spite of a second attempt; a placeholder is then
// left behind.
func (d *PreparedDelete) Cancel() error {
	const op = "PreparedDelete.Cancel"
	called(op)
	if d == nil || d.ended {
		return nil
	}
	d.ended = true
	if d.fresh == 0 {
		return nil
	}
	machine := d.reservation.machine
	err := machine.Munmap(d.fresh, d.size)
	if err != nil {
		err = machine.Munmap(d.fresh, d.size)
	}
	if err != nil {
		return failErrno(op, err, "munmap of a placeholder of %d bytes at %#x, which is left behind", d.size, d.fresh)
	}
	return nil
}

// newPlaceholder maps a placeholder that is to be moved over mappings. Where there is no
// room for one more mapping it is 0: movePlaceholder then does without.
func newPlaceholder(op string, machine platform.Platform, n uint64) (fresh uintptr, err error) {
	fresh, err = mmapPlaceholder(machine, 0, n, 0)
	switch {
	case errors.Is(err, syscall.ENOMEM):
		return 0, nil
	case err != nil:
		return 0, failErrno(op, err, "mmap of a placeholder of %d bytes", n)
	}
	return fresh, nil
}

// movePlaceholder moves the placeholder at fresh over the mappings at target. Unless
// it says that they are gone, they stand.
func movePlaceholder(op string, machine platform.Platform, fresh, target uintptr, n uint64) (gone bool, err error) {
	if fresh == 0 {
		return overlayPlaceholder(op, machine, target, n)
	}
	_, err = machine.Mremap(fresh, n, n, platform.MremapMaymove|platform.MremapFixed, target)
	if err == nil {
		return true, nil
	}
	moving := failErrno(op, err, "mremap of a placeholder of %d bytes from %#x to %#x", n, fresh, target)
	failure := unmapAfter(moving, machine, fresh, n)
	if errors.Is(err, syscall.ENOMEM) && failure == error(moving) {
		full := false
		if full, failure = atLimit(failure, machine); full && failure == error(moving) {
			return overlayPlaceholder(op, machine, target, n)
		}
	}
	plugged, err := plug(op, machine, target, n)
	switch {
	case err != nil:
		failure = leaves(failure, "the reservation may have a hole of %d bytes at %#x (%v)", n, target, err)
	case plugged && failure == error(moving):
		return true, nil // mremap had unmapped the mapping; now the placeholder is back
	}
	return plugged, failure
}

// atLimit reports whether the process has about as many mappings as the kernel allows:
// mremap says ENOMEM then before it touches its target, here one that doesn't matter. A
// failure over the maps alone may have unmapped them, and another thread may have been
// given their place: nothing may be mapped over it then.
func atLimit(failure error, machine platform.Platform) (full bool, _ error) {
	page := machine.PageSize()
	from, err := mmapPlaceholder(machine, 0, 2*page, 0)
	if err != nil {
		return errors.Is(err, syscall.ENOMEM), failure
	}
	to := from + uintptr(page)
	if _, err = machine.Mremap(from, page, page, platform.MremapMaymove|platform.MremapFixed, to); err == nil {
		return false, unmapAfter(failure, machine, to, page)
	}
	return errors.Is(err, syscall.ENOMEM), unmapAfter(failure, machine, from, 2*page)
}

// overlayPlaceholder maps a placeholder over the mappings at target at once, which takes
// no mapping more than there are: a process that has as many as the kernel allows could
// else delete none. If the kernel refuses, the mappings may be gone all the same; then
// the hole is filled, unless another thread has been given it.
func overlayPlaceholder(op string, machine platform.Platform, target uintptr, n uint64) (gone bool, err error) {
	_, err = mmapPlaceholder(machine, target, n, platform.MapFixed)
	if err == nil {
		return true, nil
	}
	failure := error(failErrno(op, err, "mmap of a placeholder of %d bytes at %#x", n, target))
	plugged, err := plug(op, machine, target, n)
	switch {
	case err != nil:
		failure = leaves(failure, "the reservation may have a hole of %d bytes at %#x (%v)", n, target, err)
	case plugged:
		return true, nil
	}
	return plugged, failure
}

// plug fills the hole that a failing mremap can leave at its target, and nothing
// but a hole. plugged says that there was one. It is tried twice.
func plug(op string, machine platform.Platform, target uintptr, n uint64) (plugged bool, err error) {
	for range 2 {
		err = reserveAt(op, machine, target, n)
		if err == nil || errors.Is(err, ErrMappingExists) {
			return err == nil, nil
		}
	}
	return false, err
}
