package pmemset_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// take makes sure that somebody has the page of addresses at addr: the scene until its
// end, or whoever was there before.
func (s *scene) take(addr uintptr) {
	s.Helper()
	page := s.machine.PageSize()
	if s.grab(addr, page) {
		s.Cleanup(func() { s.must(s.machine.Munmap(addr, page)) })
	}
}

// grab takes the n bytes of addresses at addr if they are free, all of them.
func (s *scene) grab(addr uintptr, n uint64) bool {
	s.Helper()
	const flags = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve | platform.MapFixedNoreplace
	switch _, err := s.machine.Mmap(addr, n, platform.ProtNone, flags, -1, 0); {
	case errors.Is(err, syscall.EEXIST):
		return false
	case err != nil:
		s.Fatalf("taking %d bytes of addresses at %#x: %v", n, addr, err)
	}
	return true
}

// mapped is how many of the n bytes at addr are memory of a file, by what the kernel
// says.
func (s *scene) mapped(addr uintptr, n uint64) (sum uint64) {
	s.Helper()
	end := addr + uintptr(n)
	for _, a := range s.areas() {
		if start, stop := max(a.start, addr), min(a.end, end); a.shared && start < stop {
			sum += uint64(stop - start)
		}
	}
	return sum
}

// sceneArea is a line of /proc/self/maps.
type sceneArea struct {
	start, end uintptr
	shared     bool
}

// areas are what the address space consists of, ascending.
func (s *scene) areas() []sceneArea {
	s.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	s.must(err)
	var all []sceneArea
	for line := range strings.Lines(string(text)) {
		var a sceneArea
		var perms string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &a.start, &a.end, &perms); err != nil {
			s.Fatalf("/proc/self/maps: %q: %v", line, err)
		}
		a.shared = strings.HasSuffix(perms, "s")
		all = append(all, a)
	}
	return all
}

// held is how many of the n bytes of addresses at addr the library, or the scene, has
// mapped or reserved.
func (s *scene) held(addr uintptr, n uint64) (sum uint64) {
	s.Helper()
	end := addr + uintptr(n)
	for _, text := range s.machine.Outstanding() {
		var start uintptr
		var size uint64
		if _, err := fmt.Sscanf(text, "mapping of %d bytes at 0x%x:", &size, &start); err != nil {
			continue // a descriptor
		}
		if from, to := max(start, addr), min(start+uintptr(size), end); from < to {
			sum += uint64(to - from)
		}
	}
	return sum
}

// fill stores b in the n bytes at addr.
func (s *scene) fill(addr uintptr, n uint64, b byte) {
	memory := platform.Bytes(addr, n)
	for i := range memory {
		memory[i] = b
	}
}

// holds compares the n bytes at addr with b.
func (s *scene) holds(addr uintptr, n uint64, b byte) {
	s.Helper()
	for i, got := range platform.Bytes(addr, n) {
		if got != b {
			s.Fatalf("byte %d of %d at %s: got %#x, want %#x", i, n, s.relative(addr), got, b)
		}
	}
}
