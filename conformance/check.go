package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// What cases look at: bytes, files, the address space, objects. A check ends the
// case unless all is as it should be.

// checkBytes expects two pieces of memory to hold the same.
func checkBytes(t *T, got, want []byte, what string, args ...any) {
	what = fmt.Sprintf(what, args...)
	t.Check(len(got) == len(want), "%s: %d bytes, want %d", what, len(got), len(want))
	if bytes.Equal(got, want) {
		return
	}
	for i, b := range want {
		if got[i] != b {
			t.Failf("%s: byte %d is %#x, want %#x", what, i, got[i], b)
		}
	}
}

// checkFile expects a file to hold want at offset, as pread sees it.
func checkFile(t *T, fd int, offset uint64, want []byte, what string, args ...any) {
	what = fmt.Sprintf(what, args...)
	got := t.ReadFile(fd, offset, uint64(len(want)))
	t.Note("pread: "+what, "%d bytes", len(got))
	checkBytes(t, got, want, "%s", what)
}

// areas is the process's memory map, by address.
func areas(t *T) []MapsEntry {
	entries, err := addressSpace()
	t.suite(err, "read the address space")
	return entries
}

// areasOf are the areas of the file behind a descriptor.
func areasOf(t *T, fd int) []MapsEntry {
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	t.suite(err, "name of descriptor %d", fd)
	return slices.DeleteFunc(areas(t), func(a MapsEntry) bool { return a.Path != path })
}

// checkUnmapped expects nothing of the file behind fd to be mapped.
func checkUnmapped(t *T, fd int) {
	left := areasOf(t, fd)
	t.Check(len(left) == 0, "the file is mapped: %v", left)
}

// checkMappedOnce expects the file behind fd to be mapped in one place.
func checkMappedOnce(t *T, fd int) MapsEntry {
	found := areasOf(t, fd)
	t.Check(len(found) == 1, "the file is mapped as %v, want once", found)
	return found[0]
}

// checkGone expects no byte of [addr, addr+n) to belong to the file behind fd. The
// kernel may have given the range to somebody else by now.
func checkGone(t *T, fd int, addr uintptr, n uint64) {
	for _, a := range areasOf(t, fd) {
		t.Check(a.End <= addr || a.Start >= addr+uintptr(n), "still mapped: %v", a)
	}
	t.Note("/proc/self/maps", "nothing of the file at %#x", addr)
}

// checkMapped expects every byte of [addr, addr+n) to be mapped with the given
// permissions, those of "rw-s" or their first letters, and returns what is there.
func checkMapped(t *T, addr uintptr, n uint64, perms string) (there []MapsEntry) {
	at, end := addr, addr+uintptr(n)
	for _, a := range areas(t) {
		if a.End <= addr || a.Start >= end {
			continue
		}
		t.Check(a.Start <= at, "nothing is mapped at %#x, in the %d bytes at %#x", at, n, addr)
		t.Check(strings.HasPrefix(a.Perms, perms), "the permissions at %#x are %s, not %s", at, a.Perms, perms)
		at = a.End
		there = append(there, a)
	}
	t.Check(at >= end, "nothing is mapped at %#x, in the %d bytes at %#x", at, n, addr)
	t.Note("/proc/self/maps", "%d bytes at %#x are %s", n, addr, perms)
	return there
}

// checkBlank expects n bytes at addr to be the placeholder of a reservation: mapped,
// so that the kernel gives them to nobody, but no file and without access.
func checkBlank(t *T, addr uintptr, n uint64) {
	for _, a := range checkMapped(t, addr, n, "---p") {
		t.Check(a.Path == "" || strings.HasPrefix(a.Path, "[anon:"), "the placeholder at %#x is a mapping of %s", a.Start, a.Path)
	}
	for _, at := range []uint64{0, n / 2, n - 1} {
		t.Check(t.Faults(addr+uintptr(at), false), "a load at %#x in the placeholder doesn't fault", addr+uintptr(at))
		t.Check(t.Faults(addr+uintptr(at), true), "a store at %#x in the placeholder doesn't fault", addr+uintptr(at))
	}
}

// isFree reports whether nothing at all is mapped in n bytes at addr: whether a
// mapping of exactly that range succeeds.
func isFree(t *T, addr uintptr, n uint64) bool {
	got, err := t.Machine().Mmap(addr, n, platform.ProtNone, placeholderFlags|platform.MapFixedNoreplace, -1, 0)
	if errors.Is(err, syscall.EEXIST) {
		return false
	}
	t.suite(err, "mmap of %d bytes at %#x", n, addr)
	t.Munmap(got, n)
	return got == addr // else a kernel older than 4.17 has taken the address for a hint
}

// padded reports whether all that is mapped in n bytes at addr is what the library itself
// takes beside reservations, which the rows about that are to see, and no others.
func padded(t *T, addr uintptr, n uint64) bool {
	p, ok := t.Lib.(interface {
		Pads(addr uintptr, n uint64) bool
	})
	if !ok {
		return false
	}
	found := false
	end := addr + uintptr(n)
	for _, a := range areas(t) {
		if a.Start >= end || a.End <= addr {
			continue
		}
		from, to := max(a.Start, addr), min(a.End, end)
		if !p.Pads(from, uint64(to-from)) {
			return false
		}
		found = true
	}
	return found
}

// checkFree expects nothing to be mapped in n bytes at addr, padding excepted.
func checkFree(t *T, addr uintptr, n uint64, what string) {
	if padded(t, addr, n) {
		t.Note("mapping of the range "+what, "impossible: the library pads reservations")
		return
	}
	checkWhollyFree(t, addr, n, what)
}

// checkWhollyFree expects nothing at all to be mapped in n bytes at addr.
func checkWhollyFree(t *T, addr uintptr, n uint64, what string) {
	free := isFree(t, addr, n)
	if free {
		t.Note("mapping of the range "+what, "possible: nothing is there")
	}
	t.Check(free, "%s: something is mapped in the %d bytes at %#x", what, n, addr)
}

// checkReservation expects a reservation to have this address and size.
func checkReservation(t *T, r Reservation, addr uintptr, size uint64) {
	t.Note("Address() and Size()", "%#x, %d", r.Address(), r.Size())
	t.Check(r.Address() == addr, "Address is %#x, not %#x", r.Address(), addr)
	t.Check(r.Size() == size, "Size is %d, not %d", r.Size(), size)
}

// checkEmpty expects a reservation to hold no map and to be whole.
func checkEmpty(t *T, r Reservation) {
	checkBlank(t, r.Address(), r.Size())
	m, err := r.MapFindFirst()
	checkNone(t, m, err, "MapFindFirst()")
}
