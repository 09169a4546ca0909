//go:build amd64 || arm64

package pagescan_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A huge page isn't lost when a part of it is looked at or written.
func TestHugePages(t *testing.T) {
	s := newScanner(t)
	pages := (8 << 20) / pageSize
	m := newMemory(t, pages)
	m.advise(0, pages, unix.MADV_HUGEPAGE)
	*m.at(pages / 2) = 1
	before := m.present(s)
	if len(before) == 1 {
		t.Skip("the kernel gives no huge pages to memfds: /sys/kernel/mm/transparent_hugepage/shmem_enabled")
	}
	m.arm(s)
	expect(t, "present", m.present(s), before...)
	*m.at(pages / 2) = 2
	part := m.collect(func(visit func(uintptr, uint64)) error {
		return s.Scan(m.addr(pages/2+1), pageSize, true, visit)
	})
	expect(t, "a part", part, pages/2+1)
	expect(t, "the rest", m.scan(s, true), append(before[:pages/2+1-before[0]:pages/2+1-before[0]], before[pages/2+2-before[0]:]...)...)
	*m.at(pages/2 + 3) = 3
	expect(t, "written", m.scan(s, true), pages/2+3)
}
