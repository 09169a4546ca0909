//go:build amd64 || arm64

package pagescan_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"pmemlab/emu/internal/pagescan"
)

var pageSize = uint64(os.Getpagesize())

func newScanner(t testing.TB) *pagescan.Scanner {
	t.Helper()
	s, err := pagescan.New()
	if errors.Is(err, pagescan.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// memory is a mapping of the test's own.
type memory struct {
	t    testing.TB
	fd   int
	base unsafe.Pointer
	n    uint64
	// holes are the pages that the test unmapped: others may have mapped something there.
	holes map[uint64]bool
}

func (m memory) addr(page uint64) uintptr { return uintptr(m.base) + uintptr(page*pageSize) }

func (m memory) at(page uint64) *byte { return (*byte)(unsafe.Add(m.base, page*pageSize)) }

func (m memory) bytes() []byte { return unsafe.Slice((*byte)(m.base), m.n) }

// newMemory maps a new sparse memfd.
func newMemory(t testing.TB, pages uint64) memory {
	t.Helper()
	fd, err := unix.MemfdCreate("pagescan", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, int64(pages*pageSize)); err != nil {
		t.Fatal(err)
	}
	return mapFD(t, fd, pages, unix.MAP_SHARED)
}

func mapFD(t testing.TB, fd int, pages uint64, flags int) memory {
	t.Helper()
	n := pages * pageSize
	p, err := unix.MmapPtr(fd, 0, nil, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_NORESERVE)
	if err != nil {
		t.Fatal(err)
	}
	return adopt(memory{t, fd, p, n, map[uint64]bool{}})
}

// adopt lets m be unmapped at the end of the test.
func adopt(m memory) memory {
	m.t.Cleanup(func() {
		if len(m.holes) == 0 {
			unix.MunmapPtr(m.base, uintptr(m.n))
			return
		}
		for i := range m.n / pageSize {
			if !m.holes[i] {
				unix.MunmapPtr(unsafe.Pointer(m.at(i)), uintptr(pageSize))
			}
		}
	})
	return m
}

func (m memory) unmap(page, pages uint64) {
	m.t.Helper()
	must(m.t, unix.MunmapPtr(unsafe.Pointer(m.at(page)), uintptr(pages*pageSize)))
	for i := range pages {
		m.holes[page+i] = true
	}
}

func (m memory) arm(s *pagescan.Scanner) {
	m.t.Helper()
	must(m.t, s.Arm(m.addr(0), m.n))
}

func (m memory) protect(page, pages uint64, prot uintptr) {
	m.t.Helper()
	_, _, errno := unix.Syscall(unix.SYS_MPROTECT, m.addr(page), uintptr(pages*pageSize), prot)
	if errno != 0 {
		m.t.Fatal(errno)
	}
}

func (m memory) advise(page, pages uint64, advice uintptr) {
	m.t.Helper()
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, m.addr(page), uintptr(pages*pageSize), advice)
	if errno != 0 {
		m.t.Fatal(errno)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// collect turns what a visit sees into page numbers of m, or ranges of them.
func (m memory) collect(walk func(visit func(uintptr, uint64)) error) (pages []uint64) {
	m.t.Helper()
	must(m.t, walk(func(addr uintptr, n uint64) {
		first := uint64(addr-m.addr(0)) / pageSize
		for i := range n / pageSize {
			pages = append(pages, first+i)
		}
	}))
	return pages
}

func (m memory) scan(s *pagescan.Scanner, protect bool) []uint64 {
	m.t.Helper()
	return m.collect(func(visit func(uintptr, uint64)) error { return s.Scan(m.addr(0), m.n, protect, visit) })
}

func (m memory) present(s *pagescan.Scanner) []uint64 {
	m.t.Helper()
	return m.collect(func(visit func(uintptr, uint64)) error { return s.Present(m.addr(0), m.n, visit) })
}

func (m memory) absent(s *pagescan.Scanner) []uint64 {
	m.t.Helper()
	return m.collect(func(visit func(uintptr, uint64)) error { return s.Absent(m.addr(0), m.n, visit) })
}

func expect(t *testing.T, what string, got []uint64, want ...uint64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got pages %v, want %v", what, got, want)
	}
}

func TestScan(t *testing.T) {
	s := newScanner(t)
	m := newMemory(t, 16)
	*m.at(1) = 1
	m.arm(s)
	expect(t, "present before the first scan", m.present(s), 1)
	expect(t, "written before arming", m.scan(s, false), 1)
	*m.at(2) = 1
	*m.at(3) = 1
	*m.at(9) = 1
	expect(t, "a scan without protection", m.scan(s, false), 1, 2, 3, 9)
	expect(t, "the first scan with it", m.scan(s, true), 1, 2, 3, 9)
	expect(t, "nothing written", m.scan(s, true))
	expect(t, "present", m.present(s), 1, 2, 3, 9)
	expect(t, "absent", m.absent(s), 0, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15)
	*m.at(3) = 2
	*m.at(4) = 2
	expect(t, "written again and for the first time", m.scan(s, true), 3, 4)
	if v := *m.at(9); v != 1 {
		t.Errorf("page 9: got %d, want 1", v)
	}
	expect(t, "a page read that was protected", m.scan(s, false))
	if v := *m.at(10); v != 0 {
		t.Errorf("page 10: got %d, want 0", v)
	}
	expect(t, "a page read for the first time", m.scan(s, true), 10)
	*m.at(1) = 3
	*m.at(2) = 3
	expect(t, "a part", m.collect(func(visit func(uintptr, uint64)) error {
		return s.Scan(m.addr(2), 4*pageSize, true, visit)
	}), 2)
	expect(t, "the rest", m.scan(s, true), 1)

	// Pages are protected before they're visited, not after.
	*m.at(6), *m.at(12) = 4, 4
	must(t, s.Scan(m.addr(0), m.n, true, func(addr uintptr, _ uint64) { *m.at(uint64(addr-m.addr(0)) / pageSize) = 5 }))
	expect(t, "stored while visited", m.scan(s, true), 6, 12)
}

func TestOtherWriters(t *testing.T) {
	s := newScanner(t)
	m := newMemory(t, 8)
	alias := mapFD(t, m.fd, 8, unix.MAP_SHARED)
	m.arm(s)
	for i := range uint64(8) {
		*m.at(i) = 1
	}
	m.scan(s, true)

	// System calls that write into the mapping are seen.
	src := newMemory(t, 8)
	if n, err := unix.Pread(src.fd, m.bytes()[2*pageSize:5*pageSize-1], 0); n != int(3*pageSize-1) || err != nil {
		t.Fatal(n, err)
	}
	expect(t, "pread into the mapping", m.scan(s, true), 2, 3, 4)

	*alias.at(6) = 2
	if _, err := unix.Pwrite(m.fd, []byte{2}, int64(7*pageSize)); err != nil {
		t.Fatal(err)
	}
	expect(t, "through another mapping, and pwrite", m.scan(s, true))
	alias.arm(s)
	expect(t, "the other mapping", alias.scan(s, true), 6)
	expect(t, "its protection is its own", m.scan(s, true))
}

// More ranges than a scan's buffer holds, over several mappings with parts missing, of
// other protections and of other kinds.
func TestBrokenRange(t *testing.T) {
	s := newScanner(t)
	const pages = 8192
	m := newMemory(t, pages)
	m.arm(s)
	var want []uint64
	for i := uint64(0); i < pages; i += 3 {
		*m.at(i) = 1
		want = append(want, i)
	}
	m.protect(1000, 100, unix.PROT_NONE)
	m.protect(2000, 100, unix.PROT_READ)
	expect(t, "protections", m.scan(s, true), want...)
	expect(t, "all protected", m.scan(s, true))

	m.protect(1000, 1100, unix.PROT_READ|unix.PROT_WRITE)
	for _, i := range want {
		*m.at(i) = 2
	}
	m.unmap(3000, 100)
	fixed(t, m, 4000, 100, -1, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	fixed(t, m, 5000, 100, m.fd, unix.MAP_PRIVATE)
	fixed(t, m, 6000, 100, m.fd, unix.MAP_SHARED)
	for _, from := range []uint64{4000, 5000, 6000} {
		*m.at(from) = 1
	}
	var left []uint64
	for _, i := range want {
		if h := i / 1000; h < 3 || h > 6 || i%1000 >= 100 {
			left = append(left, i)
		}
	}
	expect(t, "without protecting", m.scan(s, false), left...)
	expect(t, "what is still armed", m.scan(s, true), left...)
	must(t, s.Arm(m.addr(5900), 300*pageSize))
	expect(t, "armed again", m.scan(s, true),
		armedAgain(want)...)
	must(t, s.Disarm(m.addr(0), m.n))
	*m.at(0) = 3
	expect(t, "disarmed", m.scan(s, false))
}

// armedAgain is what of written counts as such in pages 5900 to 6199 when
// they're armed again: all, but in the new mapping at 6000 to 6099 just its first page.
func armedAgain(written []uint64) (pages []uint64) {
	for _, i := range append(slices.Clone(written), 6000) {
		if i == 6000 || i >= 5900 && i < 6200 && (i < 6000 || i >= 6100) {
			pages = append(pages, i)
		}
	}
	slices.Sort(pages)
	return slices.Compact(pages)
}

// fixed replaces pages of m.
func fixed(t *testing.T, m memory, page, pages uint64, fd, flags int) {
	t.Helper()
	off := int64(page * pageSize)
	if fd < 0 {
		off = 0
	}
	_, err := unix.MmapPtr(fd, off, unsafe.Pointer(m.at(page)), uintptr(pages*pageSize),
		unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_FIXED)
	must(t, err)
}

func TestRefusals(t *testing.T) {
	s := newScanner(t)
	m := newMemory(t, 4)
	other := newScanner(t)
	taken := newMemory(t, 4)
	taken.arm(other)
	readOnly := readOnlyMapping(t)
	unmapped := newMemory(t, 4)
	unmapped.unmap(0, 4)
	for _, c := range []struct {
		name string
		addr uintptr
		n    uint64
		want error
		text string
	}{
		{"address unaligned", m.addr(0) + 1, pageSize, nil, "multiples of"},
		{"length unaligned", m.addr(0), pageSize + 1, nil, "multiples of"},
		{"wraps", m.addr(0), -pageSize, nil, "beyond the address space"},
		{"taken", taken.addr(0), taken.n, syscall.EBUSY, ""},
		{"can't be written", readOnly.addr(0), readOnly.n, syscall.EPERM, ""},
		{"unmapped", unmapped.addr(0), unmapped.n, syscall.EINVAL, ""},
	} {
		err := s.Arm(c.addr, c.n)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: Arm(%#x, %d): got %v, want %v %q", c.name, c.addr, c.n, err, c.want, c.text)
		}
	}
	must(t, s.Arm(m.addr(0)+uintptr(pageSize), 0))
	must(t, s.Disarm(taken.addr(0), taken.n))
	*taken.at(1) = 1
	expect(t, "still the other's", taken.scan(other, true), 1)
	must(t, s.Disarm(unmapped.addr(0), unmapped.n))
	expect(t, "nothing there", unmapped.scan(s, true))
}

// readOnlyMapping is shared and can't become writable.
func readOnlyMapping(t *testing.T) memory {
	w := newMemory(t, 4)
	fd, err := unix.Open(fmt.Sprint("/proc/self/fd/", w.fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	p, err := unix.MmapPtr(fd, 0, nil, uintptr(w.n), unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	return adopt(memory{t, fd, p, w.n, nil})
}
