//go:build naiveplacement

package pmem2

import "pmemlab/pmem2/platform"

// The wrong order, which the C library has: everything is mapped over the
// placeholder at once, with MAP_FIXED. It is here so that a test can show that it
// loses memory of another thread, and that the right order doesn't.

func (r request) mapForPlace(op string, target uintptr) (fresh uintptr, synced bool, err error) {
	return r.mmap(op, target, platform.MapFixed)
}

func abandon(failure error, machine platform.Platform, fresh uintptr, n uint64) error {
	if _, err := putPlaceholderBack("NewMap", machine, fresh, n); err != nil {
		return leaves(failure, "%d bytes stay mapped at %#x (%v)", n, fresh, err)
	}
	return failure
}

func place(string, platform.Platform, uintptr, uintptr, uint64) error { return nil }

func putPlaceholderBack(op string, machine platform.Platform, target uintptr, n uint64) (gone bool, err error) {
	if _, err := mmapPlaceholder(machine, target, n, platform.MapFixed); err != nil {
		return false, failErrno(op, err, "mmap of a placeholder of %d bytes at %#x", n, target)
	}
	return true, nil
}
