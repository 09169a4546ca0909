package pmem2

import (
	"errors"

	"pmemlab/pmem2/platform"
)

// PreparedDelete is the deletion of maps that lie side by side in a reservation, in
// one step: all of them or none. What can run short has been obtained; what is left
// to do is a single mremap. The C library has no such thing.
//
// It is for one goroutine, which ends it with Commit or Cancel.
type PreparedDelete struct {
	maps        []*Map
	reservation *VMReservation
	fresh       uintptr // the placeholder that will take their place; 0 when ended
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
	d := &PreparedDelete{maps: maps}
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
	fresh, err := mmapPlaceholder(d.reservation.machine, 0, d.size, 0)
	if err != nil {
		return nil, failErrno(op, err, "mmap of a placeholder of %d bytes", d.size)
	}
	d.fresh = fresh
	return d, nil
}

// Commit deletes the maps. If it doesn't say that they are gone, they are as they
// were; if it does and there is an error, something else is left behind.
//
// Errors: ErrMappingNotFound: one of the maps has been deleted by now; EINVAL after
// Commit or Cancel; else the errno of mremap.
func (d *PreparedDelete) Commit() (gone bool, err error) {
	const op = "PreparedDelete.Commit"
	called(op)
	if d == nil || d.fresh == 0 {
		return false, invalid(op, "nothing is prepared, or it has been ended")
	}
	r := d.reservation
	r.mu.Lock()
	defer r.mu.Unlock()
	registry.mu.Lock()
	defer registry.mu.Unlock()
	fresh := d.fresh
	d.fresh = 0
	for _, m := range d.maps {
		if m.deleted.Load() {
			failure := fail(op, ErrMappingNotFound, "the map at %#x has been deleted", m.addr)
			return false, unmapAfter(failure, r.machine, fresh, d.size)
		}
	}
	gone, err = movePlaceholder(op, r.machine, fresh, d.addr, d.size)
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
	if d == nil || d.fresh == 0 {
		return nil
	}
	fresh := d.fresh
	d.fresh = 0
	machine := d.reservation.machine
	err := machine.Munmap(fresh, d.size)
	if err != nil {
		err = machine.Munmap(fresh, d.size)
	}
	if err != nil {
		return failErrno(op, err, "munmap of a placeholder of %d bytes at %#x, which is left behind", d.size, fresh)
	}
	return nil
}

// movePlaceholder moves the placeholder at fresh over the mappings at target. Unless
// it says that they are gone, they stand.
func movePlaceholder(op string, machine platform.Platform, fresh, target uintptr, n uint64) (gone bool, err error) {
	_, err = machine.Mremap(fresh, n, n, platform.MremapMaymove|platform.MremapFixed, target)
	if err == nil {
		return true, nil
	}
	moving := failErrno(op, err, "mremap of a placeholder of %d bytes from %#x to %#x", n, fresh, target)
	failure := unmapAfter(moving, machine, fresh, n)
	plugged, err := plug(op, machine, target, n)
	switch {
	case err != nil:
		failure = leaves(failure, "the reservation may have a hole of %d bytes at %#x (%v)", n, target, err)
	case plugged && failure == error(moving):
		return true, nil // mremap had unmapped the mapping; now the placeholder is back
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
