package pmemset_test

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
	"pmemlab/pmemset"
)

// hazard is a machine on which something can happen just before a call: what another
// program does at the worst moment, a call that hangs, or one that fails.
type hazard struct {
	platform.Platform
	before atomic.Pointer[func(hazardCall) error]
}

// hazardCall is a call that is about to be made.
type hazardCall struct {
	op   string
	path string  // open
	fd   int     // -1 if there is none
	addr uintptr // mmap, mremap (the target), msync
	n    uint64  // bytes; the new size for ftruncate
}

// hazardEach is sceneEach on machines with a hazard.
func hazardEach(t *testing.T, gens string, body func(*scene, *hazard)) {
	t.Helper()
	t.Run("emulated", func(t *testing.T) {
		sceneRuns(t, gens, func(s *scene) {
			s.emu = emu.NewMachine(emu.Config{})
			body(s, s.hazard(s.emu))
		})
	})
	t.Run("host", func(t *testing.T) {
		sceneRuns(t, gens, func(s *scene) { body(s, s.hazard(platform.Host())) })
	})
}

// hazard has the scene take place on p, with a hazard.
func (s *scene) hazard(p platform.Platform) *hazard {
	h := &hazard{Platform: p}
	s.machine = ledger.New(h)
	return h
}

// roomySet is a set that has room to coalesce: a part map of G1 and G2 has no more
// addresses than it needs, and what lies behind it may be anybody's.
func (s *scene) roomySet() *pmemset.Set {
	s.Helper()
	if s.gen.name == "G3" {
		return s.set(nil)
	}
	return s.set(s.reservation(sceneM))
}

// mappedOf is how many bytes of the parts are memory of a file, by one look at what the
// kernel says.
func (s *scene) mappedOf(parts ...pmemset.PartDescriptor) (sum uint64) {
	s.Helper()
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		s.Errorf("%v", err)
	}
	for line := range strings.Lines(string(text)) {
		area, perms, _ := strings.Cut(line, " ")
		if len(perms) < 4 || perms[3] != 's' {
			continue
		}
		from, to, _ := strings.Cut(area, "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil {
			s.Errorf("/proc/self/maps: %q", line)
		}
		for _, d := range parts {
			if low, high := max(start, uint64(d.Addr)), min(end, uint64(d.Addr)+d.Size); low < high {
				sum += high - low
			}
		}
	}
	return sum
}

// on has f called before each call. What it returns, if not nil, is the call's answer.
func (h *hazard) on(f func(hazardCall) error) { h.before.Store(&f) }

func (h *hazard) off() { h.before.Store(nil) }

func (h *hazard) now(c hazardCall) error {
	if f := h.before.Load(); f != nil {
		return (*f)(c)
	}
	return nil
}

// appends has another program put bytes behind the end of a file, and tells where.
func (h *hazard) appends(s *scene, path string, b []byte) (at uint64) {
	fd, err := h.Platform.Open(path, platform.ORdwr, 0)
	if err != nil {
		s.Errorf("open: %v", err)
		return 0
	}
	defer h.Close(fd)
	st, err := h.Platform.Fstat(fd)
	if err != nil {
		s.Errorf("fstat: %v", err)
	}
	if n, err := h.Pwrite(fd, b, st.Size); n != len(b) || err != nil {
		s.Errorf("pwrite: %d, %v", n, err)
	}
	return uint64(st.Size)
}

func (h *hazard) Open(path string, flags int, mode uint32) (int, error) {
	if err := h.now(hazardCall{op: "open", path: path, fd: -1}); err != nil {
		return -1, err
	}
	return h.Platform.Open(path, flags, mode)
}

func (h *hazard) Fstat(fd int) (platform.Stat, error) {
	if err := h.now(hazardCall{op: "fstat", fd: fd}); err != nil {
		return platform.Stat{}, err
	}
	return h.Platform.Fstat(fd)
}

func (h *hazard) Ftruncate(fd int, size int64) error {
	if err := h.now(hazardCall{op: "ftruncate", fd: fd, n: uint64(size)}); err != nil {
		return err
	}
	return h.Platform.Ftruncate(fd, size)
}

func (h *hazard) Fallocate(fd int, mode uint32, off, n int64) error {
	if err := h.now(hazardCall{op: "fallocate", fd: fd, n: uint64(n)}); err != nil {
		return err
	}
	return h.Platform.Fallocate(fd, mode, off, n)
}

func (h *hazard) Mmap(addr uintptr, n uint64, prot, flags, fd int, off int64) (uintptr, error) {
	if err := h.now(hazardCall{op: "mmap", fd: fd, addr: addr, n: n}); err != nil {
		return 0, err
	}
	return h.Platform.Mmap(addr, n, prot, flags, fd, off)
}

func (h *hazard) Mremap(addr uintptr, n, newN uint64, flags int, newAddr uintptr) (uintptr, error) {
	if err := h.now(hazardCall{op: "mremap", fd: -1, addr: newAddr, n: newN}); err != nil {
		return 0, err
	}
	return h.Platform.Mremap(addr, n, newN, flags, newAddr)
}

func (h *hazard) Msync(addr uintptr, n uint64, flags int) error {
	if err := h.now(hazardCall{op: "msync", fd: -1, addr: addr, n: n}); err != nil {
		return err
	}
	return h.Platform.Msync(addr, n, flags)
}

// synced keeps which addresses are flushed with msync.
type synced struct {
	mu    sync.Mutex
	calls []hazardCall
}

func (y *synced) before(c hazardCall) error {
	if c.op == "msync" {
		y.mu.Lock()
		y.calls = append(y.calls, c)
		y.mu.Unlock()
	}
	return nil
}

// missed is how many of the bytes of b have not been flushed.
func (y *synced) missed(addr uintptr, b []byte) (n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for i := range b {
		found := false
		for _, c := range y.calls {
			found = found || uint64(addr+uintptr(i)-c.addr) < c.n
		}
		if !found {
			n++
		}
	}
	return n
}
