//go:build !naiveplacement

package pmem2

import "pmemlab/pmem2/platform"

// A mapping gets its place in a reservation in two steps: it is made at a fresh
// address, then moved over the placeholder. Mapping it there at once, with
// MAP_FIXED, isn't safe: on some file systems a failing mmap has by then unmapped
// the placeholder, another thread's mmap can be given the hole, and the next
// attempt overwrites what that thread has mapped.

// mapForPlace makes the mapping that place will move to target.
func (r request) mapForPlace(op string, _ uintptr) (fresh uintptr, synced bool, err error) {
	return r.mmap(op, 0, 0)
}

// abandon undoes mapForPlace.
func abandon(failure error, machine platform.Platform, fresh uintptr, n uint64) error {
	return unmapAfter(failure, machine, fresh, n)
}

// place moves the n bytes at fresh over the placeholder at target. If it fails the
// fresh mapping is unmapped and the placeholder stands.
func place(op string, machine platform.Platform, fresh, target uintptr, n uint64) error {
	_, err := machine.Mremap(fresh, n, n, platform.MremapMaymove|platform.MremapFixed, target)
	if err == nil {
		return nil
	}
	failure := error(failErrno(op, err, "mremap of %d bytes from %#x to %#x", n, fresh, target))
	failure = unmapAfter(failure, machine, fresh, n)
	if _, err := plug(op, machine, target, n); err != nil {
		failure = leaves(failure, "the reservation may have a hole of %d bytes at %#x (%v)", n, target, err)
	}
	return failure
}

// putPlaceholderBack replaces the mapping at target by a placeholder, in the same
// two steps. Unless it says that the mapping is gone, the mapping stands.
func putPlaceholderBack(op string, machine platform.Platform, target uintptr, n uint64) (gone bool, err error) {
	fresh, err := newPlaceholder(op, machine, n)
	if err != nil {
		return false, err
	}
	return movePlaceholder(op, machine, fresh, target, n)
}
