package emu

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pmemlab/pmem2/platform"
)

// refusingHost is a host that has no memory for one mmap or mremap: the k-th from 0 on.
type refusingHost struct {
	platform.Platform
	k *int
}

func (h refusingHost) refuse() bool {
	*h.k--
	return *h.k == -1
}

func (h refusingHost) Mmap(addr uintptr, n uint64, prot, flags, fd int, off int64) (uintptr, error) {
	if h.refuse() {
		return 0, syscall.ENOMEM
	}
	return h.Platform.Mmap(addr, n, prot, flags, fd, off)
}

func (h refusingHost) Mremap(addr uintptr, n, newN uint64, flags int, newAddr uintptr) (uintptr, error) {
	if h.refuse() {
		return 0, syscall.ENOMEM
	}
	return h.Platform.Mremap(addr, n, newN, flags, newAddr)
}

// TestBadBlocksOfShortHost refuses each call that the host is asked for, one at a time: what
// fails has changed nothing, but for what a failing mremap has unmapped of its target.
func TestBadBlocksOfShortHost(t *testing.T) {
	const (
		n     = 8 * pageSize
		fixed = platform.MremapMaymove | platform.MremapFixed
		rw    = platform.ProtRead | platform.ProtWrite
		none  = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve
		low   = 8 << 40
	)
	type state struct {
		m      *Machine
		dax    *DaxDevice
		fs     *FileSystem
		f, g   *File
		a, b   uintptr // of f; and of g
		arena  uintptr
		target uintptr
	}
	for _, c := range []struct {
		name    string
		bad     bool // pages 1 and 4 are bad before
		do      func(s *state) error
		refused int // at least so many calls can be
	}{
		{"AddBadBlock", false, func(s *state) error {
			second, err := s.m.Mmap(0, n, rw, platform.MapShared, s.f.fd, 0)
			if err != nil {
				return err
			}
			err = s.dax.AddBadBlock(pageSize, 4*pageSize)
			for i := range uint64(n / pageSize) {
				if got, want := pageAt(t, second+uintptr(i*pageSize)), fmt.Sprint(i+1); err != nil && got != want {
					t.Errorf("page %d of the second mapping is %s, want %s", i, got, want)
				}
			}
			return errors.Join(err, s.m.Munmap(second, n))
		}, 3},
		{"AddBadBlock to files", false, func(s *state) error { return s.fs.BlockDevice().AddBadBlock(0, s.fs.cfg.Size) }, 1},
		{"Mmap", true, func(s *state) error {
			addr, err := s.m.Mmap(0, n, rw, platform.MapShared, s.f.fd, 0)
			if err == nil {
				err = s.m.Munmap(addr, n)
			}
			return err
		}, 6},
		{"Mmap with MAP_FIXED", true, func(s *state) error {
			_, err := s.m.Mmap(s.target, n, rw, platform.MapShared|platform.MapFixed, s.f.fd, 0)
			if err == nil {
				return s.m.Munmap(s.target, n)
			}
			for i := range uint64(n / pageSize) {
				if got := pageAt(t, s.target+uintptr(i*pageSize)); got != "not mapped" {
					t.Errorf("page %d of the failed mapping: %s, want a hole", i, got)
				}
			}
			return err
		}, 5},
		{"Mremap", true, func(s *state) error {
			_, err := s.m.Mremap(s.a, n, n, fixed, s.target)
			if err == nil {
				s.a = s.target
			} else if got := pageAt(t, s.target); got != "not mapped" {
				t.Errorf("the target of the failed mremap: %s, want a hole", got)
			}
			return err
		}, 5},
		{"Mremap that grows", true, func(s *state) error {
			_, err := s.m.Mremap(s.a, n, 2*n, fixed, s.target)
			if err == nil {
				s.a = s.target
				err = s.m.Munmap(s.a+n, n)
			}
			return err
		}, 6},
		{"Mremap to wherever", true, func(s *state) error {
			addr, err := s.m.Mremap(s.a, n-pageSize, n, platform.MremapMaymove, 0)
			if err == nil {
				err = s.m.Munmap(s.a+n-pageSize, pageSize) // its last page was left there
				s.a = addr
			}
			return err
		}, 5},
	} {
		refused := 0
		for k := 0; ; k++ {
			m := NewMachine(Config{})
			s := &state{m: m, dax: m.AddDevDax(DevDax{Size: n, Align: pageSize}), fs: m.AddFS(FS{Size: 1 << 20, DAX: true})}
			var err error
			must := func(e error) {
				t.Helper()
				if e != nil {
					t.Fatalf("%s: %v", c.name, e)
				}
			}
			s.f, err = s.dax.Open(platform.ORdwr)
			must(err)
			s.g, err = s.fs.Create("g", n)
			must(err)
			s.arena, err = m.host.Mmap(low, 6*n, platform.ProtNone, none, -1, 0)
			must(err)
			s.a, s.target = s.arena, s.arena+4*n
			_, err = m.Mmap(s.a, n, rw, platform.MapShared|platform.MapFixed, s.f.fd, 0)
			must(err)
			s.b, err = m.Mmap(s.arena+2*n, n, rw, platform.MapShared|platform.MapFixed, s.g.fd, 0)
			must(err)
			for i := range uint64(n / pageSize) {
				*(*byte)(platform.Pointer(s.a + uintptr(i*pageSize))) = byte(i + 1)
				*(*byte)(platform.Pointer(s.b + uintptr(i*pageSize))) = byte(i + 1)
			}
			if c.bad {
				must(s.dax.AddBadBlock(pageSize, 1))
				must(s.dax.AddBadBlock(4*pageSize, 1))
			}
			was := s.dax.BadBlocks()
			left := k
			m.host = refusingHost{m.host, &left}
			err = c.do(s)
			m.host = m.host.(refusingHost).Platform
			if left >= 0 { // there is no k-th
				must(err)
			} else if err != nil {
				refused++
				if now := s.dax.BadBlocks(); !slices.Equal(now, was) || len(s.fs.BlockDevice().BadBlocks()) > 0 {
					t.Errorf("%s, call %d refused: bad blocks %v, before it %v", c.name, k, now, was)
				}
				for i := range uint64(n / pageSize) {
					want := fmt.Sprint(i + 1)
					if c.bad && (i == 1 || i == 4) {
						want = "bad block"
					}
					if got := pageAt(t, s.a+uintptr(i*pageSize)); got != want {
						t.Errorf("%s, call %d refused: page %d is %s, want %s", c.name, k, i, got, want)
					}
					if got, want := pageAt(t, s.b+uintptr(i*pageSize)), fmt.Sprint(i+1); got != want {
						t.Errorf("%s, call %d refused: page %d of the file is %s, want %s", c.name, k, i, got, want)
					}
				}
			}
			must(m.Munmap(s.a, n))
			must(m.Munmap(s.b, n))
			must(m.host.Munmap(s.arena, 6*n))
			must(s.f.Close())
			must(s.g.Close())
			must(m.Shutdown())
			if left >= 0 {
				break
			}
		}
		if refused < c.refused {
			t.Errorf("%s: failed with %d calls refused, want at least %d", c.name, refused, c.refused)
		}
	}
}

// pageAt is the first byte of the page at addr, or "bad block" if that is mapped there.
func pageAt(t *testing.T, addr uintptr) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var lo, hi uintptr
		if fmt.Sscanf(line, "%x-%x", &lo, &hi); lo <= addr && addr < hi {
			if strings.Contains(line, "memfd:pmemlab:bad block") {
				return "bad block"
			}
			if !strings.Contains(line, " rw-s ") {
				return line
			}
			return fmt.Sprint(*(*byte)(platform.Pointer(addr)))
		}
	}
	return "not mapped"
}
