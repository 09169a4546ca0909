package pmem2_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
)

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
	case c.Op == fault.OpMmap && c.Flags&platform.MapNoreserve != 0 && c.Flags&platform.MapFixed != 0:
		return "mmap of a placeholder over maps"
	case c.Op == fault.OpMmap && c.Flags&platform.MapNoreserve != 0:
		return "mmap of a placeholder"
	case c.Op == fault.OpMmap && c.Flags&platform.MapSync != 0:
		return "mmap with MAP_SYNC"
	case c.Op == fault.OpMmap && c.Flags&platform.MapAnonymous != 0:
		return "mmap of anonymous memory"
	case c.Op == fault.OpReadlink && strings.Contains(c.Path[strings.LastIndex(c.Path, "/"):], ":"):
		return "readlink device"
	case c.Op == fault.OpFallocate && c.Flags&platform.FallocPunchHole != 0:
		return "fallocate punching a hole"
	case c.Op == fault.OpReadAttr && strings.HasPrefix(c.Path, "devices/"):
		return "read-attr " + c.Path[strings.LastIndex(c.Path, "/")+1:] + " of the device"
	case c.Op == fault.OpReadAttr, c.Op == fault.OpReadlink, c.Op == fault.OpWriteAttr:
		return c.Op.String() + " " + c.Path[strings.LastIndex(c.Path, "/")+1:]
	}
	return c.Op.String()
}

// errnosOf are the errnos that each kind of call can give, from its manual page
// and, for sysfs, those of open, read and close of an attribute.
var errnosOf = map[string]string{
	"get-fl":                            "EBADF EIO",
	"fstat":                             "EBADF EIO ENOMEM EOVERFLOW ESTALE",
	"statx":                             "EACCES EBADF EINVAL EIO ENOMEM ENOSYS",
	"readlink subsystem":                "EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR",
	"read-attr align":                   "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr size":                    "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr persistence_domain":      "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"list":                              "EACCES EIO EMFILE ENFILE ENOENT ENOMEM ENOTDIR",
	"mmap with MAP_SYNC":                "EACCES EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOPNOTSUPP EOVERFLOW EPERM ETXTBSY",
	"mmap":                              "EACCES EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOPNOTSUPP EOVERFLOW EPERM ETXTBSY",
	"mmap of anonymous memory":          "EAGAIN EINVAL ENFILE ENOMEM EPERM",
	"mmap of a placeholder":             "EAGAIN EINVAL ENOMEM EPERM",
	"mmap of a placeholder, fixed":      "EAGAIN EEXIST EINVAL ENOMEM EPERM",
	"mmap of a placeholder over maps":   "EAGAIN EINVAL ENOMEM EPERM",
	"munmap":                            "EINVAL ENOMEM",
	"mremap":                            "EAGAIN EFAULT EINVAL ENOMEM",
	"msync":                             "EBUSY EINVAL EIO ENOMEM",
	"readlink device":                   "EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR",
	"read-attr mappings":                "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr mapping0":                "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr id":                      "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr dirty_shutdown":          "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr numa_node":               "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr deep_flush":              "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"write-attr deep_flush":             "EACCES EINTR EINVAL EIO EMFILE ENFILE ENODEV ENOENT ENOMEM EPERM EROFS",
	"read-attr resource of the device":  "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr size of the device":      "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr badblocks of the device": "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr partition of the device": "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr resource":                "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"read-attr badblocks":               "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO",
	"pread":                             "EAGAIN EBADF EFAULT EINVAL EIO EISDIR ENXIO",
	"pwrite":                            "EAGAIN EBADF EDQUOT EFAULT EFBIG EINVAL EIO ENOSPC EPERM",
	"fallocate":                         "EBADF EFBIG EINTR EINVAL EIO ENODEV ENOSPC EOPNOTSUPP EPERM ETXTBSY",
	"fallocate punching a hole":         "EBADF EFBIG EINTR EINVAL EIO ENODEV EOPNOTSUPP EPERM ETXTBSY",
	"fiemap":                            "EBADF EFAULT EINTR EINVAL EIO ENOMEM ENOTTY EOPNOTSUPP",
	"open":                              "EACCES EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO EPERM",
	"close":                             "EINTR EIO",
	"ars-capabilities":                  "EBADF EFAULT EINVAL EIO ENOMEM ENOTTY ENXIO",
	"clear-error":                       "EBADF EFAULT EINVAL EIO ENOMEM ENOTTY ENXIO EOPNOTSUPP",
}

// asksNothing are the operations that make no platform call, failsAnyway those
// whose situation is itself an error.
var (
	asksNothing = []string{"MapFromExisting", "Persist, DAX", "Drain, page cache"}
	failsAnyway = []string{"NewMap, append-only", "NewMap, too coarse", "NewMap, reservation, too coarse", "DeviceID, no region"}
)

// TestFaultSweep fails every call of every operation once with every errno that
// it can give, and holds what comes of it against faultTable.
func TestFaultSweep(t *testing.T) {
	table := faultTableByKey(t, faultTable+deviceFaultTable)
	used := map[string]bool{}
	cells := 0
	for _, op := range slices.Concat(operations, deviceOperations) {
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
			nth := map[string]int{}
			for _, c := range calls {
				nth[kindOf(c)]++
				if c.Injected {
					continue // the given fault
				}
				errnos, ok := errnosOf[kindOf(c)]
				if !ok {
					t.Errorf("call %v: errnosOf has no %q", c, kindOf(c))
				}
				for name := range strings.FieldsSeq(errnos) {
					key := fmt.Sprintf("%s: %s#%d: %s", op.name, kindOf(c), nth[kindOf(c)], name)
					want, ok := table[key]
					if !ok {
						key = op.name + ": " + kindOf(c) + ": " + name
						want, ok = table[key]
					}
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
	t.Logf("%d operations, %d (operation, call, errno) checked", len(operations)+len(deviceOperations), cells)
}

// TestFaultSweepTwice fails a call and then each call that only this failure has
// brought about: a second try, a question why, a rollback. Whatever comes, it is
// reported or got over, what is left behind is named, and the call then works.
func TestFaultSweepTwice(t *testing.T) {
	pairs := 0
	for _, op := range slices.Concat(operations, deviceOperations) {
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
		"Source.Size": "Size", "Source.Alignment": "Alignment", "Source.FD": "", "Source.Platform": "", "Source.Delete": "",
		"NewConfig": "", "Config.SetLength": "", "Config.SetOffset": "", "Config.SetProtection": "", "Config.SetSharing": "",
		"Config.SetRequiredStoreGranularity": "", "Config.ForceGranularity": "", "Config.SetVMReservation": "", "Config.Delete": "",
		"NewMap": "NewMap", "MapFromExisting": "MapFromExisting", "Map.Delete": "Map.Delete",
		"PrepareDelete": "PrepareDelete", "PreparedDelete.Commit": "PrepareDelete, Commit", "PreparedDelete.Cancel": "PrepareDelete, Cancel",
		"Map.Address": "", "Map.Size": "", "Map.StoreGranularity": "", "Map.Bytes": "", "Map.SharesOps": "",
		"Map.Persist": "Persist", "Map.Flush": "Flush", "Map.Drain": "Drain",
		"Map.Memmove": "Memmove", "Map.Memcpy": "Memcpy", "Map.Memset": "Memset",
		"NewVMReservation": "NewVMReservation", "VMReservation.Delete": "VMReservation.Delete",
		"VMReservation.Extend": "Extend", "VMReservation.Shrink": "Shrink", "VMReservation.Address": "", "VMReservation.Size": "",
		"VMReservation.FindFree": "", "VMReservation.MapFind": "", "VMReservation.MapFindFirst": "", "VMReservation.MapFindLast": "",
		"VMReservation.MapFindNext": "", "VMReservation.MapFindPrev": "",
		"Map.PersistFunc": "", "Map.FlushFunc": "", "Map.DrainFunc": "", "Map.MemmoveFunc": "", "Map.MemcpyFunc": "", "Map.MemsetFunc": "",
		"Map.DeepFlush": "DeepFlush", "Map.DeepFlushRange": "DeepFlush",
		"Source.DeviceID": "DeviceID", "Source.ReadDeviceID": "DeviceID", "Source.DeviceUSC": "DeviceUSC", "Source.NUMANode": "NUMANode",
		"Source.PreadMCSafe": "PreadMCSafe", "Source.PwriteMCSafe": "PwriteMCSafe",
		"NewBadBlockContext": "NewBadBlockContext", "BadBlockContext.Next": "", "BadBlockContext.Clear": "Clear",
		"BadBlockContext.Delete": "", "Perror": "",
		"MemFlags.Valid": "", "On": "", "Errno": "", "Code.Error": "", "Code.Symbol": "", "Error.Error": "", "Error.Detail": "", "Error.Unwrap": "",
	}
	exported := exportedFunctions(t)
	for _, name := range exported {
		prefix, known := functions[name]
		if !known {
			t.Errorf("%s is exported and not in the table", name)
		}
		swept := slices.ContainsFunc(slices.Concat(operations, deviceOperations), func(op operation) bool {
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
		left:      errno,
		tolerated: want.outcome,
		rollback:  plain, // the first error
	}[want.kind]
	if s.result != wanted {
		t.Errorf("got %s (%v), want %s", s.result, s.err, wanted)
	}
	if s.saysLeft() != (want.kind == left) {
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
	s.leaks = changed || strings.Contains(s.err.Error(), "may be open") // the ledger believes any close
	if _, err := call(); err != nil && !slices.Contains(failsAnyway, op.name) {
		t.Errorf("without the fault it fails, too: %v", err)
	}
	return s
}

func (s *stage) saysLeft() bool {
	return s.err != nil && strings.Contains(s.err.Error(), "left behind")
}
