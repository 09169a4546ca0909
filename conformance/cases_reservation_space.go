package conformance

import (
	"errors"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// The address space as the cases need it: a place where nothing is, something in
// the way, and what stands where.

const (
	mib = 1 << 20
	gib = 1 << 30
)

const placeholderFlags = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve

// freeSpace finds an address, a multiple of 2 MiB, with nothing in the size bytes
// from there on nor in 1 GiB before and behind. It stays free: Linux hands out
// addresses from the top down, and there is more above.
func freeSpace(t *T, size uint64) uintptr {
	const around = gib
	m := t.Machine()
	all := size + 2*around
	addr, err := m.Mmap(0, all, platform.ProtNone, placeholderFlags, -1, 0)
	t.suite(err, "mmap of %d bytes in search of free space", all)
	t.suite(m.Munmap(addr, all), "munmap of %d bytes", all)
	return (addr + around) &^ (2*mib - 1)
}

// occupy maps n bytes at addr, where nothing may be, and fills them. The function
// that it returns says whether they are untouched.
func occupy(t *T, addr uintptr, n uint64) (untouched func() bool) {
	m := t.Machine()
	got, err := m.Mmap(addr, n, platform.ProtRead|platform.ProtWrite, placeholderFlags|platform.MapFixedNoreplace, -1, 0)
	t.suite(err, "mmap of %d bytes at %#x", n, addr)
	t.Cleanup(func() { _ = m.Munmap(got, n) })
	if got != addr {
		t.Brokenf("mmap of %d bytes at %#x lands at %#x", n, addr, got)
	}
	want := patterned(int(n), 13)
	copy(platform.Bytes(addr, n), want)
	return func() bool { return string(platform.Bytes(addr, n)) == string(want) }
}

// isFree reports whether nothing at all is mapped in n bytes at addr: whether a
// mapping of exactly that range succeeds.
func isFree(t *T, addr uintptr, n uint64) bool {
	m := t.Machine()
	got, err := m.Mmap(addr, n, platform.ProtNone, placeholderFlags|platform.MapFixedNoreplace, -1, 0)
	if errors.Is(err, syscall.EEXIST) {
		return false
	}
	t.suite(err, "mmap of %d bytes at %#x", n, addr)
	t.suite(m.Munmap(got, n), "munmap of %d bytes at %#x", n, got)
	return got == addr // else a kernel older than 4.17 has taken the address for a hint
}

// checkFree expects nothing to be mapped in n bytes at addr.
func checkFree(t *T, addr uintptr, n uint64, what string) {
	free := isFree(t, addr, n)
	if free {
		t.Note("mapping of the range "+what, "possible: nothing is there")
	}
	t.Check(free, "%s: something is mapped in the %d bytes at %#x", what, n, addr)
}

// checkPermissions expects all pages of n bytes at addr to have the permissions
// that /proc/self/maps shows as perms, and returns what it says of the first.
func checkPermissions(t *T, addr uintptr, n uint64, perms string) MapsEntry {
	first, _ := t.ProcMaps(addr)
	for at := addr; at-addr < uintptr(n); {
		e, ok := t.ProcMaps(at)
		t.Check(ok, "nothing is mapped at %#x, in the %d bytes at %#x", at, n, addr)
		t.Check(e.Perms == perms, "the permissions at %#x are %s, not %s", at, e.Perms, perms)
		at = e.End
	}
	t.Note("/proc/self/maps", "%d bytes at %#x are %s", n, addr, perms)
	return first
}

// checkBlank expects a placeholder in n bytes at addr: no file, no access.
func checkBlank(t *T, addr uintptr, n uint64) {
	e := checkPermissions(t, addr, n, "---p")
	t.Check(e.Path == "" || strings.HasPrefix(e.Path, "[anon:"), "the placeholder at %#x is a mapping of %s", addr, e.Path)
	for _, at := range []uint64{0, n / 2, n - 1} {
		t.Check(t.Faults(addr+uintptr(at), false), "a load at %#x in the placeholder doesn't fault", addr+uintptr(at))
		t.Check(t.Faults(addr+uintptr(at), true), "a store at %#x in the placeholder doesn't fault", addr+uintptr(at))
	}
}

// checkReservation expects a reservation to have this address and size.
func checkReservation(t *T, r Reservation, addr uintptr, size uint64) {
	t.Note("Address() and Size()", "%#x, %d", r.Address(), r.Size())
	t.Check(r.Address() == addr, "Address is %#x, not %#x", r.Address(), addr)
	t.Check(r.Size() == size, "Size is %d, not %d", r.Size(), size)
}

// reserveWith is T.Reservation with another library: one that has faults.
func reserveWith(t *T, lib Library, addr uintptr, size uint64) Reservation {
	r, err := lib.NewVMReservation(addr, size)
	t.Must(err, "NewVMReservation(%#x, %d)", addr, size)
	t.Check(r != nil, "NewVMReservation succeeds and returns no reservation")
	t.Cleanup(func() { _ = r.Delete() })
	return r
}

// noReservation expects NewVMReservation to fail and to return no reservation.
func noReservation(t *T, lib Library, want string, addr uintptr, size uint64) {
	r, err := lib.NewVMReservation(addr, size)
	t.Expect(want, err, "NewVMReservation(%#x, %#x)", addr, size)
	t.Check(r == nil, "NewVMReservation fails and returns a reservation all the same")
}

// mapIn maps the source at an offset in a reservation; length 0 is all of it.
func mapIn(t *T, src Source, r Reservation, offset, length uint64) Map {
	cfg := t.Config()
	t.Must(cfg.SetLength(length), "SetLength(%d)", length)
	t.Must(cfg.SetVMReservation(r, offset), "SetVMReservation(r, %d)", offset)
	m := t.Map(cfg, src)
	t.Check(m.Address() == r.Address()+uintptr(offset), "the map lies at %#x, not at offset %d of the reservation at %#x",
		m.Address(), offset, r.Address())
	return m
}

// anonymousSource is a source of size bytes of anonymous memory.
func anonymousSource(t *T, size uint64) Source {
	src, err := t.Lib.SourceFromAnon(size)
	t.Must(err, "SourceFromAnon(%d)", size)
	t.Check(src != nil, "SourceFromAnon succeeds and returns no source")
	return src
}
