package pmem2_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

const (
	page    = 4096
	devPage = 2 << 20
)

// operation is one function of pmem2 in one situation. setup makes the situation
// and returns the call; its text describes a success.
type operation struct {
	name  string
	setup func(s *stage) (call func() (string, error))
	// given is a fault that is there in any case, so that the calls are made
	// which follow a failure.
	given string
	cfg   emu.Config
}

// maps is a call of NewMap: its success is described by the granularity.
func maps(s *stage, cfg *pmem2.Config, src *pmem2.Source) func() (string, error) {
	return func() (string, error) {
		m, err := pmem2.NewMap(cfg, src)
		if err != nil {
			if m != nil {
				s.t.Error("NewMap fails and returns a map")
			}
			return "", err
		}
		s.t.Cleanup(func() { m.Delete() })
		return m.StoreGranularity().String(), nil
	}
}

// inReservation is a config for a mapping at offset in a fresh reservation.
func inReservation(s *stage, offset uint64) *pmem2.Config {
	cfg := config(pmem2.GranularityPage)
	cfg.SetVMReservation(s.reservation(offset+4*devPage), offset)
	return cfg
}

func done(err error) (string, error) { return "done", err }

var (
	emuDefault = emu.Config{}
	pageCache  = emu.FS{Size: 1 << 30}
	daxFS      = emu.FS{Size: 1 << 30, DAX: true}
)

func devDax(s *stage) int {
	return s.open(s.m.AddDevDax(emu.DevDax{Size: 4 * devPage, Align: devPage}).Path(), platform.ORdwr)
}

// operations: every exported function that can ask the platform anything, in the
// situations in which it asks something else. TestFaultSweepIsComplete sees to
// the functions, TestFaultSweepTwice to calls that only a failure brings about.
var operations = []operation{
	{name: "SourceFromFD, file", setup: func(s *stage) func() (string, error) {
		fd := s.file(pageCache, page)
		return func() (string, error) { _, err := pmem2.SourceFromFD(fd, s.on()); return done(err) }
	}},
	{name: "SourceFromFD, device DAX", setup: func(s *stage) func() (string, error) {
		fd := devDax(s)
		return func() (string, error) { _, err := pmem2.SourceFromFD(fd, s.on()); return done(err) }
	}},
	{name: "SourceFromFile", setup: func(s *stage) func() (string, error) {
		fd, err := unix.FcntlInt(uintptr(s.file(pageCache, page)), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "f")
		s.t.Cleanup(func() { f.Close() })
		return func() (string, error) { _, err := pmem2.SourceFromFile(f, s.on()); return done(err) }
	}},
	{name: "Size, file", setup: func(s *stage) func() (string, error) {
		src := s.source(s.file(pageCache, page))
		return func() (string, error) { n, err := src.Size(); return fmt.Sprint(n), err }
	}},
	{name: "Size, device DAX", setup: func(s *stage) func() (string, error) {
		src := s.source(devDax(s))
		return func() (string, error) { n, err := src.Size(); return fmt.Sprint(n), err }
	}},
	{name: "Alignment, file", setup: func(s *stage) func() (string, error) {
		src := s.source(s.file(pageCache, page))
		return func() (string, error) { n, err := src.Alignment(); return fmt.Sprint(n), err }
	}},
	{name: "Alignment, device DAX", setup: func(s *stage) func() (string, error) {
		src := s.source(devDax(s))
		return func() (string, error) { n, err := src.Alignment(); return fmt.Sprint(n), err }
	}},
	{name: "NewMap, page cache", setup: func(s *stage) func() (string, error) {
		return maps(s, config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, DAX", setup: func(s *stage) func() (string, error) {
		return maps(s, config(pmem2.GranularityPage), s.source(s.file(daxFS, page)))
	}},
	{name: "NewMap, eADR", cfg: emu.Config{EADR: true}, setup: func(s *stage) func() (string, error) {
		return maps(s, config(pmem2.GranularityPage), s.source(s.file(daxFS, page)))
	}},
	{name: "NewMap, device DAX", setup: func(s *stage) func() (string, error) {
		return maps(s, config(pmem2.GranularityPage), s.source(devDax(s)))
	}},
	{name: "NewMap, private", setup: func(s *stage) func() (string, error) {
		cfg := config(pmem2.GranularityPage)
		cfg.SetSharing(pmem2.Private)
		return maps(s, cfg, s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, anonymous", setup: func(s *stage) func() (string, error) {
		src, _ := pmem2.SourceFromAnon(page, s.on())
		return maps(s, config(pmem2.GranularityPage), src)
	}},
	{name: "NewMap, append-only", setup: func(s *stage) func() (string, error) {
		fs := s.m.AddFS(pageCache)
		f, err := fs.Create("f", page)
		if err != nil {
			s.t.Fatal(err)
		}
		f.Close()
		if err := fs.SetAppendOnly("f", true); err != nil {
			s.t.Fatal(err)
		}
		return maps(s, config(pmem2.GranularityPage), s.source(s.open(fs.Path("f"), platform.ORdwr|platform.OAppend)))
	}},
	{name: "NewMap, too coarse", setup: func(s *stage) func() (string, error) {
		return maps(s, config(pmem2.GranularityByte), s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, reservation", setup: func(s *stage) func() (string, error) {
		return maps(s, inReservation(s, page), s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, reservation, DAX", setup: func(s *stage) func() (string, error) {
		return maps(s, inReservation(s, page), s.source(s.file(daxFS, page)))
	}},
	{name: "NewMap, reservation, device DAX", setup: func(s *stage) func() (string, error) {
		return maps(s, inReservation(s, devPage), s.source(devDax(s)))
	}},
	{name: "NewMap, reservation, private", setup: func(s *stage) func() (string, error) {
		cfg := inReservation(s, page)
		cfg.SetSharing(pmem2.Private)
		return maps(s, cfg, s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, reservation, anonymous", setup: func(s *stage) func() (string, error) {
		src, _ := pmem2.SourceFromAnon(page, s.on())
		return maps(s, inReservation(s, page), src)
	}},
	{name: "NewMap, reservation, too coarse", setup: func(s *stage) func() (string, error) {
		cfg := config(pmem2.GranularityByte)
		cfg.SetVMReservation(s.reservation(4*page), page)
		return maps(s, cfg, s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, reservation, mremap fails", given: "(ENOMEM (Op mremap))", setup: func(s *stage) func() (string, error) {
		return maps(s, inReservation(s, page), s.source(s.file(pageCache, page)))
	}},
	{name: "MapFromExisting", setup: func(s *stage) func() (string, error) {
		src, _ := pmem2.SourceFromAnon(page, s.on())
		return func() (string, error) {
			m, err := pmem2.MapFromExisting(src, 1<<40, page, pmem2.GranularityPage)
			if err == nil {
				err = m.Delete()
			}
			return done(err)
		}
	}},
	{name: "Map.Delete", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Delete()) }
	}},
	{name: "Map.Delete, reservation", setup: func(s *stage) func() (string, error) {
		m := s.newMap(inReservation(s, page), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Delete()) }
	}},
	{name: "Map.Delete, reservation, mremap fails", given: "(ENOMEM (Op mremap))", setup: func(s *stage) func() (string, error) {
		s.faults.Set()
		m := s.newMap(inReservation(s, page), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Delete()) }
	}},
	{name: "Persist, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Persist(m.Bytes())) }
	}},
	{name: "Persist, two maps", setup: func(s *stage) func() (string, error) {
		src, r := s.source(s.file(pageCache, page)), s.reservation(2*page)
		var first *pmem2.Map
		for at := range uint64(2) {
			cfg := config(pmem2.GranularityPage)
			cfg.SetVMReservation(r, at*page)
			if m := s.newMap(cfg, src); first == nil {
				first = m
			}
		}
		return func() (string, error) { return done(first.Persist(platform.Bytes(r.Address(), 2*page))) }
	}},
	{name: "Flush, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Flush(m.Bytes())) }
	}},
	{name: "Drain, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Drain()) }
	}},
	{name: "Memcpy, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Memcpy(m.Bytes(), make([]byte, page), 0)) }
	}},
	{name: "Persist, DAX", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(daxFS, page)))
		return func() (string, error) { return done(m.Persist(m.Bytes())) }
	}},
	{name: "Memset, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Memset(m.Bytes(), 1, 0)) }
	}},
	{name: "Memmove, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Memmove(m.Bytes(), make([]byte, page), 0)) }
	}},
	{name: "NewVMReservation", setup: func(s *stage) func() (string, error) {
		return func() (string, error) {
			r, err := pmem2.NewVMReservation(0, 4*page, s.on())
			if err == nil {
				s.t.Cleanup(func() { r.Delete() })
			}
			return done(err)
		}
	}},
	{name: "NewVMReservation, trimming fails", given: "(ENOMEM (And (Op munmap) (OnIndex 0)))", setup: func(s *stage) func() (string, error) {
		return func() (string, error) {
			r, err := pmem2.NewVMReservation(0, 4*page, s.on())
			if err == nil {
				s.t.Cleanup(func() { r.Delete() })
			}
			return done(err)
		}
	}},
	{name: "NewVMReservation, address", setup: func(s *stage) func() (string, error) {
		r, err := pmem2.NewVMReservation(0, 4*page, s.on())
		if err != nil {
			s.t.Fatal(err)
		}
		addr := r.Address()
		if err := r.Delete(); err != nil {
			s.t.Fatal(err)
		}
		return func() (string, error) {
			r, err := pmem2.NewVMReservation(addr, 4*page, s.on())
			if err == nil {
				s.t.Cleanup(func() { r.Delete() })
			}
			return done(err)
		}
	}},
	{name: "VMReservation.Delete", setup: func(s *stage) func() (string, error) {
		r := s.reservation(4 * page)
		return func() (string, error) { return done(r.Delete()) }
	}},
	{name: "Extend", setup: func(s *stage) func() (string, error) {
		r := s.reservation(4 * page)
		return func() (string, error) { return done(r.Extend(page)) }
	}},
	{name: "Shrink", setup: func(s *stage) func() (string, error) {
		r := s.reservation(4 * page)
		return func() (string, error) { return done(r.Shrink(0, page)) }
	}},
}

// situation makes an operation's situation, quiet and with the given fault armed.
func (op operation) situation(t *testing.T) (*stage, func() (string, error)) {
	s := newStage(t, op.cfg)
	call := op.setup(s)
	s.faults.StartRecording(0)
	return s, call
}

func (op operation) plans(more ...fault.Plan) []fault.Plan {
	if op.given != "" {
		more = append([]fault.Plan{fault.MustParse(op.given)}, more...)
	}
	return more
}

// kindOf names a call as the tables do.
func kindOf(c fault.Call) string {
	switch {
	case c.Op == fault.OpMmap && c.Flags&platform.MapFixedNoreplace != 0:
		return "mmap of a placeholder, fixed"
	case c.Op == fault.OpMmap && c.Flags&platform.MapNoreserve != 0:
		return "mmap of a placeholder"
	case c.Op == fault.OpMmap && c.Flags&platform.MapSync != 0:
		return "mmap with MAP_SYNC"
	case c.Op == fault.OpMmap && c.Flags&platform.MapAnonymous != 0:
		return "mmap of anonymous memory"
	case c.Op == fault.OpReadAttr, c.Op == fault.OpReadlink:
		return c.Op.String() + " " + c.Path[strings.LastIndex(c.Path, "/")+1:]
	}
	return c.Op.String()
}

// errnosOf are the errnos that each kind of call can give, from its manual page
// and, for sysfs, those of open, read and close of an attribute.
var errnosOf = map[string]string{
	"get-fl":                       "EBADF EIO",
	"fstat":                        "EBADF EIO ENOMEM EOVERFLOW ESTALE",
	"statx":                        "EACCES EBADF EINVAL EIO ENOMEM ENOSYS",
	"readlink subsystem":           "EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR",
	"read-attr align":              "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr size":               "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr persistence_domain": "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"list":                         "EACCES EIO EMFILE ENFILE ENOENT ENOMEM ENOTDIR",
	"mmap with MAP_SYNC":           "EACCES EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOPNOTSUPP EOVERFLOW EPERM ETXTBSY",
	"mmap":                         "EACCES EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOPNOTSUPP EOVERFLOW EPERM ETXTBSY",
	"mmap of anonymous memory":     "EAGAIN EINVAL ENFILE ENOMEM EPERM",
	"mmap of a placeholder":        "EAGAIN EINVAL ENOMEM EPERM",
	"mmap of a placeholder, fixed": "EAGAIN EEXIST EINVAL ENOMEM EPERM",
	"munmap":                       "EINVAL ENOMEM",
	"mremap":                       "EAGAIN EFAULT EINVAL ENOMEM",
	"msync":                        "EBUSY EINVAL EIO ENOMEM",
}

// asksNothing are the operations that make no platform call, failsAnyway those
// whose situation is itself an error.
var (
	asksNothing = []string{"MapFromExisting", "Persist, DAX", "Drain, page cache"}
	failsAnyway = []string{"NewMap, append-only", "NewMap, too coarse", "NewMap, reservation, too coarse"}
)

// TestFaultSweep fails every call of every operation once with every errno that
// it can give, and holds what comes of it against faultTable.
func TestFaultSweep(t *testing.T) {
	table := faultTableByKey(t)
	used := map[string]bool{}
	cells := 0
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			s, call := op.situation(t)
			s.faults.Set(op.plans()...)
			s.faults.Reset()
			result, err := call()
			s.faults.Set()
			plain := result
			if err != nil {
				plain = outcome(err)
			}
			calls := s.faults.Log()
			if len(calls) == 0 && !slices.Contains(asksNothing, op.name) {
				t.Errorf("makes no platform call and isn't in asksNothing")
			}
			if len(calls) != 0 && slices.Contains(asksNothing, op.name) {
				t.Errorf("is in asksNothing and makes %d platform calls", len(calls))
			}
			for _, c := range calls {
				if c.Injected {
					continue // the given fault
				}
				errnos, ok := errnosOf[kindOf(c)]
				if !ok {
					t.Errorf("call %v: errnosOf has no %q", c, kindOf(c))
				}
				for name := range strings.FieldsSeq(errnos) {
					key := op.name + ": " + kindOf(c) + ": " + name
					want, ok := table[key]
					if !ok {
						t.Errorf("faultTable lacks %s", key)
						continue
					}
					used[key] = true
					cells++
					t.Run(fmt.Sprintf("%d %s %s", c.Seq, kindOf(c), name), func(t *testing.T) {
						op.check(t, c, name, want, plain)
					})
				}
			}
		})
	}
	for key := range table {
		if !used[key] {
			t.Errorf("faultTable has %s, which no operation reaches", key)
		}
	}
	t.Logf("%d operations, %d (operation, call, errno) checked", len(operations), cells)
}

// TestFaultSweepTwice fails a call and then each call that only this failure has
// brought about: a second try, a question why, a rollback. Whatever comes, it is
// reported or got over, what is left behind is named, and the call then works.
func TestFaultSweepTwice(t *testing.T) {
	pairs := 0
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			s, call := op.situation(t)
			s.faults.Set(op.plans()...)
			s.faults.Reset()
			call()
			s.faults.Set()
			plain := s.faults.Log()
			for _, c := range plain {
				for first := range strings.FieldsSeq(errnosOf[kindOf(c)]) {
					if c.Injected {
						continue
					}
					faultFirst := fmt.Sprintf("(%s (Call %d))", first, c.Seq)
					for _, d := range op.run(t, faultFirst).log {
						if d.Seq <= c.Seq || d.Injected || d.Seq < len(plain) && kindOf(plain[d.Seq]) == kindOf(d) {
							continue
						}
						errnos, ok := errnosOf[kindOf(d)]
						if !ok {
							t.Errorf("errnosOf has no %q", kindOf(d))
						}
						for second := range strings.FieldsSeq(errnos) {
							pairs++
							op.run(t, fmt.Sprintf("%s (%s (Call %d))", faultFirst, second, d.Seq))
						}
					}
				}
			}
		})
	}
	t.Logf("%d pairs of faults", pairs)
}

// TestFaultSweepIsComplete: every exported function is swept, or known to ask the
// platform nothing.
func TestFaultSweepIsComplete(t *testing.T) {
	functions := map[string]string{ // the operations of a function; "" asks nothing
		"SourceFromFD": "SourceFromFD", "SourceFromFile": "SourceFromFile", "SourceFromAnon": "",
		"Source.Size": "Size", "Source.Alignment": "Alignment", "Source.FD": "", "Source.Delete": "",
		"NewConfig": "", "Config.SetLength": "", "Config.SetOffset": "", "Config.SetProtection": "", "Config.SetSharing": "",
		"Config.SetRequiredStoreGranularity": "", "Config.ForceGranularity": "", "Config.SetVMReservation": "", "Config.Delete": "",
		"NewMap": "NewMap", "MapFromExisting": "MapFromExisting", "Map.Delete": "Map.Delete",
		"Map.Address": "", "Map.Size": "", "Map.StoreGranularity": "", "Map.Bytes": "", "Map.SharesOps": "",
		"Map.Persist": "Persist", "Map.Flush": "Flush", "Map.Drain": "Drain",
		"Map.Memmove": "Memmove", "Map.Memcpy": "Memcpy", "Map.Memset": "Memset",
		"NewVMReservation": "NewVMReservation", "VMReservation.Delete": "VMReservation.Delete",
		"VMReservation.Extend": "Extend", "VMReservation.Shrink": "Shrink", "VMReservation.Address": "", "VMReservation.Size": "",
		"VMReservation.MapFind": "", "VMReservation.MapFindFirst": "", "VMReservation.MapFindLast": "",
		"VMReservation.MapFindNext": "", "VMReservation.MapFindPrev": "",
		"On": "", "Errno": "", "Code.Error": "", "Code.Symbol": "", "Error.Error": "", "Error.Unwrap": "",
	}
	exported := exportedFunctions(t)
	for _, name := range exported {
		prefix, known := functions[name]
		if !known {
			t.Errorf("%s is exported and not in the table", name)
		}
		swept := slices.ContainsFunc(operations, func(op operation) bool {
			return prefix != "" && (op.name == prefix || strings.HasPrefix(op.name, prefix+", "))
		})
		if prefix != "" && !swept {
			t.Errorf("%s: no operation is called %q", name, prefix)
		}
		delete(functions, name)
	}
	for name := range functions {
		t.Errorf("%s is in the table and not exported", name)
	}
}

// exportedFunctions are those of the package's source, methods as "Type.Method".
func exportedFunctions(t *testing.T) (names []string) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "placement_naive.go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				receiver := f.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					receiver = star.X
				}
				typeName := receiver.(*ast.Ident).Name
				if !ast.IsExported(typeName) {
					continue
				}
				name = typeName + "." + name
			}
			names = append(names, name)
		}
	}
	return names
}

// check runs the operation with call c failing.
func (op operation) check(t *testing.T, c fault.Call, errno string, want verdict, plain string) {
	s := op.run(t, fmt.Sprintf("(%s (Call %d))", errno, c.Seq))
	wanted := map[verdictKind]string{
		reported:  strings.ReplaceAll(want.outcome, "errno", errno),
		tolerated: want.outcome,
		rollback:  plain, // the first error
	}[want.kind]
	if s.result != wanted {
		t.Errorf("got %s (%v), want %s", s.result, s.err, wanted)
	}
	if s.saysLeft() {
		t.Errorf("something is left behind: %v", s.err)
	}
	if want.kind != rollback {
		return
	}
	// When the second attempt fails as well, the error must say what is left.
	s = op.run(t, fmt.Sprintf("(%s (Or (Call %d) (Call %d)))", errno, c.Seq, c.Seq+1))
	if s.result != plain || !s.saysLeft() {
		t.Errorf("failing twice: got %s (%v), want %s and what is left behind", s.result, s.err, plain)
	}
}

// run makes the operation's situation and calls it with the faults armed. A
// failure must have changed nothing, unless it says so, and the same call must
// then work.
func (op operation) run(t *testing.T, plan string) *stage {
	s, call := op.situation(t)
	before := s.Outstanding()
	s.faults.Set(op.plans(fault.MustParse(plan))...)
	s.faults.Reset()
	s.result, s.err = call()
	s.log = s.faults.Log()
	s.faults.Set()
	if s.err == nil {
		return s
	}
	s.result = outcome(s.err)
	changed := !slices.Equal(before, s.Outstanding())
	if changed && !s.saysLeft() {
		t.Errorf("%v: before\n%s\nafter\n%s", s.err, strings.Join(before, "\n"), strings.Join(s.Outstanding(), "\n"))
	}
	s.leaks = changed
	if _, err := call(); err != nil && !slices.Contains(failsAnyway, op.name) {
		t.Errorf("without the fault it fails, too: %v", err)
	}
	return s
}

func (s *stage) saysLeft() bool {
	return s.err != nil && strings.Contains(s.err.Error(), "left behind")
}
