//go:build amd64 || arm64

package pagescan_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"
)

// pageTables is how much memory the process's page tables take, in bytes.
func pageTables(t testing.TB) uint64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	_, rest, found := bytes.Cut(status, []byte("VmPTE:"))
	var kib uint64
	if _, err := fmt.Sscan(string(rest), &kib); !found || err != nil {
		t.Fatal("no VmPTE in /proc/self/status: ", err)
	}
	return kib << 10
}

// A terabyte costs what is present of it.
func TestSparse(t *testing.T) {
	s := newScanner(t)
	const pages, stride = 1 << 28, 1<<28/100 + 7
	m := newMemory(t, pages)
	before := pageTables(t)
	m.arm(s)
	var want []uint64
	for i := uint64(0); i < pages; i += stride {
		*m.at(i) = 1
		want = append(want, i)
	}
	expect(t, "written", m.scan(s, true), want...)
	expect(t, "not written", m.scan(s, true))
	for _, i := range want {
		*m.at(i) = 2
	}
	expect(t, "written again", m.scan(s, true), want...)
	expect(t, "present", m.present(s), want...)
	var absent uint64
	must(t, s.Absent(m.addr(0), m.n, func(_ uintptr, n uint64) { absent += n }))
	if got, want := absent/pageSize, pages-uint64(len(want)); got != want {
		t.Errorf("absent: got %d pages, want %d", got, want)
	}
	must(t, s.Disarm(m.addr(0), m.n))
	if got := pageTables(t) - before; int64(got) > 4<<20 {
		t.Errorf("page tables: got %d bytes more, want 4 MiB at most", got)
	}
}
