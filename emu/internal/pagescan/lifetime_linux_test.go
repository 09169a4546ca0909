//go:build amd64 || arm64

package pagescan_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu/internal/pagescan"
)

func TestMremap(t *testing.T) {
	s := newScanner(t)
	m := newMemory(t, 16)
	fixed(t, m, 8, 8, -1, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS) // so that it can't grow in place
	must(t, s.Arm(m.addr(0), 8*pageSize))
	*m.at(0), *m.at(1) = 1, 1
	m.scan(s, true)
	*m.at(1) = 2

	p, err := unix.MremapPtr(m.base, uintptr(8*pageSize), nil, uintptr(16*pageSize), unix.MREMAP_MAYMOVE)
	must(t, err)
	for i := range uint64(8) {
		m.holes[i] = true
	}
	to := adopt(memory{t, m.fd, p, m.n, nil})
	expect(t, "not armed after the move", to.scan(s, false))
	*to.at(0) = 3 // not seen, so arming again must count it
	to.arm(s)
	expect(t, "armed again", to.scan(s, true), 0, 1)
	*to.at(9) = 1
	expect(t, "as ever", to.scan(s, true), 9)
}

func TestGrowAndShrinkInPlace(t *testing.T) {
	s := newScanner(t)
	m := newMemory(t, 16)
	m.unmap(8, 8)
	must(t, s.Arm(m.addr(0), 8*pageSize))
	if _, err := unix.MremapPtr(m.base, uintptr(8*pageSize), nil, uintptr(16*pageSize), 0); err != nil {
		t.Skip("can't grow in place: ", err)
	}
	clear(m.holes)
	*m.at(0), *m.at(12) = 1, 1
	expect(t, "grown", m.scan(s, true), 0, 12)
	for i := range uint64(4) {
		m.holes[12+i] = true
	}
	_, err := unix.MremapPtr(m.base, uintptr(16*pageSize), nil, uintptr(12*pageSize), 0)
	must(t, err)
	*m.at(11) = 1
	expect(t, "shrunk", m.scan(s, true), 11)
}

// What is mapped anew at an armed place is not armed.
func TestReplaced(t *testing.T) {
	s := newScanner(t)
	m := newMemory(t, 12)
	m.arm(s)
	for i := range uint64(12) {
		*m.at(i) = 1
	}
	m.scan(s, true)
	m.unmap(1, 1)
	fixed(t, m, 6, 1, m.fd, unix.MAP_SHARED)
	for i := range uint64(12) {
		if i != 1 {
			*m.at(i) = 2
		}
	}
	expect(t, "the rest", m.scan(s, true), 0, 2, 3, 4, 5, 7, 8, 9, 10, 11)
	must(t, s.Arm(m.addr(4), 3*pageSize))
	expect(t, "armed again", m.scan(s, true), 4, 5, 6)
	must(t, s.Disarm(m.addr(0), 4*pageSize)) // with a hole
	*m.at(0), *m.at(5) = 4, 4
	expect(t, "a part disarmed", m.scan(s, true), 5)
}

func TestDroppedPages(t *testing.T) {
	s := newScanner(t)
	m := newMemory(t, 8)
	m.arm(s)
	for i := range uint64(8) {
		*m.at(i) = 1
	}
	m.scan(s, true)
	expect(t, "absent", m.absent(s))
	*m.at(1), *m.at(2) = 2, 2
	m.advise(0, 3, unix.MADV_DONTNEED)
	expect(t, "written, then dropped", m.scan(s, true))
	expect(t, "absent: the written ones", m.absent(s), 1, 2)
	if v := *m.at(1); v != 2 {
		t.Errorf("page 1: got %d, want 2", v)
	}
	expect(t, "touched again", m.scan(s, true), 1)
	expect(t, "absent: the other one", m.absent(s), 2)
	if v := *m.at(0); v != 1 {
		t.Errorf("page 0: got %d, want 1", v)
	}
	expect(t, "unwritten, dropped, read", m.scan(s, true))
	m.advise(0, 1, unix.MADV_DONTNEED)
	*m.at(0) = 3
	expect(t, "unwritten, dropped, written", m.scan(s, true), 0)

	*m.at(4) = 3
	must(t, unix.Fallocate(m.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(4*pageSize), int64(2*pageSize)))
	expect(t, "a hole punched", m.scan(s, true))
	expect(t, "absent: what was written there", m.absent(s), 2, 4)
	*m.at(5), *m.at(7) = 4, 4
	expect(t, "written in the hole", m.scan(s, true), 5, 7)
	*m.at(7) = 5
	must(t, unix.Ftruncate(m.fd, int64(6*pageSize)))
	must(t, unix.Ftruncate(m.fd, int64(m.n)))
	expect(t, "truncated", m.scan(s, true))
	expect(t, "absent: what was cut off", m.absent(s), 2, 4, 7)
	*m.at(6) = 5
	expect(t, "written behind", m.scan(s, true), 6)
}

func TestClose(t *testing.T) {
	s := newScanner(t)
	m := newMemory(t, 4)
	first, err := pagescan.New()
	must(t, err)
	must(t, first.Arm(m.addr(0), m.n))
	*m.at(0), *m.at(1) = 1, 1
	m.scan(first, true)
	expect(t, "seen by another Scanner", m.scan(s, false))
	fds := descriptors(t)
	must(t, first.Close())
	must(t, first.Close())
	if got := descriptors(t); got != fds-2 {
		t.Errorf("descriptors after Close: got %d, want %d", got, fds-2)
	}
	expect(t, "not armed any more", m.scan(s, false))
	*m.at(1) = 2
	m.arm(s) // EBUSY if it still belonged to the first
	expect(t, "no protection left", m.scan(s, true), 0, 1)

	visit := func(uintptr, uint64) { t.Error("visit called") }
	for what, err := range map[string]error{
		"Arm":     first.Arm(m.addr(0), m.n),
		"Disarm":  first.Disarm(m.addr(0), m.n),
		"Scan":    first.Scan(m.addr(0), m.n, true, visit),
		"Present": first.Present(m.addr(0), m.n, visit),
		"Absent":  first.Absent(m.addr(0), m.n, visit),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: got %v, want %v", what, err, os.ErrClosed)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}
