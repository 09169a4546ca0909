package emu

import (
	"syscall"
	"testing"

	"pmemlab/pmem2/platform"
)

// shortHost is a host that has no memory for what lies past the end of a memfd, and
// counts what is unmapped where.
type shortHost struct {
	platform.Platform
	unmapped map[uintptr]int
}

func (h shortHost) Mmap(addr uintptr, n uint64, prot, flags, fd int, off int64) (uintptr, error) {
	if off == pastEnd {
		return 0, syscall.ENOMEM
	}
	return h.Platform.Mmap(addr, n, prot, flags, fd, off)
}

func (h shortHost) Munmap(addr uintptr, n uint64) error {
	h.unmapped[addr]++
	return h.Platform.Munmap(addr, n)
}

// TestFailingMmapUnmapsOnce: a mapping that the host can't finish is taken back once,
// since the second time the range may be somebody else's, and isn't known any more.
func TestFailingMmapUnmapsOnce(t *testing.T) {
	m := NewMachine(Config{})
	host := shortHost{m.host, map[uintptr]int{}}
	m.host = host
	f, err := m.AddDevDax(DevDax{Size: 2 * hugePage, Align: hugePage}).Open(platform.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	// At an offset that is no multiple of the alignment, what is past the end is a
	// second mapping of the host.
	const hint, rw = 8 << 40, platform.ProtRead | platform.ProtWrite
	addr, err := m.Mmap(hint, hugePage, rw, platform.MapShared, f.FD(), hugePage+pageSize)
	if err != syscall.ENOMEM {
		t.Fatalf("got %#x, %v; want ENOMEM", addr, err)
	}
	if n := host.unmapped[hint]; n != 1 {
		t.Errorf("the range was unmapped %d times, want once", n)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Shutdown(); err != nil {
		t.Error(err)
	}
}
