package pmem2_test

import (
	"errors"
	"fmt"
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

	result string // of the operation
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

func done(err error) (string, error) { return "done", err }

var (
	emuDefault = emu.Config{}
	pageCache  = emu.FS{Size: 1 << 30}
	daxFS      = emu.FS{Size: 1 << 30, DAX: true}
)

func devDax(s *stage) int {
	return s.open(s.m.AddDevDax(emu.DevDax{Size: 4 * devPage, Align: devPage}).Path(), platform.ORdwr)
}

// operations: every exported function that asks the platform anything, in every
// situation in which it asks something else.
var operations = []operation{
	{name: "SourceFromFD, file", setup: func(s *stage) func() (string, error) {
		fd := s.file(pageCache, page)
		return func() (string, error) { _, err := pmem2.SourceFromFD(fd, s.on()); return done(err) }
	}},
	{name: "SourceFromFD, device DAX", setup: func(s *stage) func() (string, error) {
		fd := devDax(s)
		return func() (string, error) { _, err := pmem2.SourceFromFD(fd, s.on()); return done(err) }
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
		cfg := config(pmem2.GranularityPage)
		cfg.SetVMReservation(s.reservation(4*page), page)
		return maps(s, cfg, s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, reservation, too coarse", setup: func(s *stage) func() (string, error) {
		cfg := config(pmem2.GranularityByte)
		cfg.SetVMReservation(s.reservation(4*page), page)
		return maps(s, cfg, s.source(s.file(pageCache, page)))
	}},
	{name: "NewMap, reservation, mremap fails", given: "(ENOMEM (Op mremap))", setup: func(s *stage) func() (string, error) {
		cfg := config(pmem2.GranularityPage)
		cfg.SetVMReservation(s.reservation(4*page), page)
		return maps(s, cfg, s.source(s.file(pageCache, page)))
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
		cfg := config(pmem2.GranularityPage)
		cfg.SetVMReservation(s.reservation(4*page), page)
		m := s.newMap(cfg, s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Delete()) }
	}},
	{name: "Map.Delete, reservation, mremap fails", given: "(ENOMEM (Op mremap))", setup: func(s *stage) func() (string, error) {
		s.faults.Set()
		cfg := config(pmem2.GranularityPage)
		cfg.SetVMReservation(s.reservation(4*page), page)
		m := s.newMap(cfg, s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Delete()) }
	}},
	{name: "Persist, page cache", setup: func(s *stage) func() (string, error) {
		m := s.newMap(config(pmem2.GranularityPage), s.source(s.file(pageCache, page)))
		return func() (string, error) { return done(m.Persist(m.Bytes())) }
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
	asksNothing = []string{"MapFromExisting", "Persist, DAX"}
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
