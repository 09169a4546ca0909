package pmem2_test

import (
	"errors"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
)

// stage is an emulated machine on which every platform call can be made to fail
// and whatever is taken is counted.
type stage struct {
	t      *testing.T
	m      *emu.Machine
	faults *fault.Platform
	*ledger.Ledger

	log    []fault.Call // of the operation
	result string
	err    error
	leaks  bool // it has left something behind, as its error says
}

func newStage(t *testing.T, cfg emu.Config) *stage {
	t.Helper()
	m := emu.NewMachine(cfg)
	faults := fault.Wrap(m)
	s := &stage{t: t, m: m, faults: faults, Ledger: ledger.New(faults)}
	t.Cleanup(func() {
		if err := m.Shutdown(); (err != nil) != s.leaks {
			t.Errorf("left on the machine: %v; expected: %v", err, s.leaks)
		}
	})
	return s
}

func (s *stage) on() pmem2.Option { return pmem2.On(s) }

// open opens something of the machine until the test has ended.
func (s *stage) open(path string, flags int) int {
	s.t.Helper()
	fd, err := s.Open(path, flags, 0o600)
	if err != nil {
		s.t.Fatalf("open %s: %v", path, err)
	}
	s.t.Cleanup(func() { s.Close(fd) })
	return fd
}

// file makes a file on a file system of the given kind.
func (s *stage) file(kind emu.FS, size uint64) int {
	s.t.Helper()
	fs := s.m.AddFS(kind)
	f, err := fs.Create("f", size)
	if err != nil {
		s.t.Fatal(err)
	}
	f.Close()
	return s.open(fs.Path("f"), platform.ORdwr)
}

func (s *stage) source(fd int) *pmem2.Source {
	s.t.Helper()
	src, err := pmem2.SourceFromFD(fd, s.on())
	if err != nil {
		s.t.Fatal(err)
	}
	return src
}

func (s *stage) reservation(size uint64) *pmem2.VMReservation {
	s.t.Helper()
	r, err := pmem2.NewVMReservation(0, size, s.on())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := r.Delete(); err != nil && pmem2.Errno(err) != unix.EINVAL {
			s.t.Errorf("reservation: %v", err)
		}
	})
	return r
}

func (s *stage) newMap(cfg *pmem2.Config, src *pmem2.Source) *pmem2.Map {
	s.t.Helper()
	m, err := pmem2.NewMap(cfg, src)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := m.Delete(); err != nil && !errors.Is(err, pmem2.ErrMappingNotFound) {
			s.t.Errorf("map: %v", err)
		}
	})
	return m
}

func config(g pmem2.Granularity) *pmem2.Config {
	cfg := pmem2.NewConfig()
	cfg.SetRequiredStoreGranularity(g)
	return cfg
}

// outcome names an error as the contract does.
func outcome(err error) string {
	var code pmem2.Code
	var errno syscall.Errno
	switch {
	case err == nil:
		return "0"
	case errors.As(err, &code):
		return code.Symbol()
	case errors.Is(err, unix.EOPNOTSUPP):
		return "EOPNOTSUPP" // not ENOTSUP, which is the same
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}
