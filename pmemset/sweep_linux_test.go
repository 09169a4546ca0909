package pmemset_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// sweepOperation is one function in one situation. setup makes the situation and
// returns the call, whose text describes a success.
type sweepOperation struct {
	name  string
	setup func(s *sweepStage) (call func() (string, error))
	given string // faults that are there in any case
	// fails says that the situation is itself an error.
	fails bool
	// partial says that a failing call may have done a part of its work, part map by
	// part map.
	partial bool
	// untold says that events don't tell all of what the call does to the part maps.
	untold bool
	// mute says that the call returns no error: what it leaves, the logs name.
	mute bool
}

// sweepRun is what came of one run of an operation.
type sweepRun struct {
	result string
	err    error
	log    []fault.Call
	events []string
	probe  string          // of the first set, after the call; "" if not asked
	logged strings.Builder // errors, if the operation is mute
	wrong  []string
}

func (r *sweepRun) complain(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

func (r *sweepRun) saysLeft() bool {
	return r.err != nil && strings.Contains(r.err.Error(), "left behind") || strings.Contains(r.logged.String(), "left behind")
}

func (op sweepOperation) plans(text string) []fault.Plan {
	return []fault.Plan{fault.MustParse(op.given), fault.MustParse(text)}
}

// run makes the operation's situation and calls it with the faults of the plan. A
// failure must have changed nothing, unless it says so, and the same call must then do
// what it does in plain, the run without a fault: nil for that one itself. Or, with
// probing, the previous part map is looked at instead.
func (op sweepOperation) run(t *testing.T, lab *sweepLab, plan string, plain *sweepRun, probing bool) *sweepRun {
	s := lab.stage(t)
	call := op.setup(s)
	for _, set := range s.sets {
		set.forget()
	}
	r := &sweepRun{}
	if probing && plan == "" { // of the situation itself
		r.probe = s.probe(s.sets[0])
		r.wrong = lab.end(s, false)
		return r
	}
	before := s.snapshot()
	lists := s.sizes()
	s.faults.Set(op.plans(plan)...)
	s.faults.Reset()
	s.faults.StartRecording(0)
	if op.mute {
		pmemset.SetLogger(slog.New(slog.NewTextHandler(&r.logged, &slog.HandlerOptions{Level: slog.LevelError})))
		defer pmemset.SetLogger(nil)
	}
	r.result, r.err = call()
	r.log = s.faults.Log()
	s.faults.StopRecording()
	s.faults.Set(op.plans("")...)
	if r.err != nil {
		r.result = sweepOutcome(r.err)
	}
	s.finishInjected(r.log)
	if r.err != nil && s.undo != nil {
		s.undo()
	}
	s.noNewNames(r)
	r.events = s.events()
	for _, set := range s.sets {
		if text := set.differs(); text != "" && (r.err != nil || !op.untold) {
			r.complain("%s; events %q", text, r.events)
		}
	}
	if r.err != nil {
		op.checkFailure(s, r, before, lists, plain)
		if probing {
			s.faults.Set()
			r.probe = s.probe(s.sets[0])
			if err := s.refill(s.sets[0]); err != nil {
				r.complain("all parts removed, it takes none of another granularity: %v", err)
			}
		} else if plain != nil {
			op.again(s, r, call, plain)
		}
	}
	r.wrong = append(r.wrong, lab.end(s, r.saysLeft())...)
	return r
}

// checkFailure sees what a failing call has changed and told.
func (op sweepOperation) checkFailure(s *sweepStage, r *sweepRun, before, lists []string, plain *sweepRun) {
	after := s.snapshot()
	switch changed := !slices.Equal(before, after); {
	case op.partial:
		// A suffix of the part maps is there.
		for i, list := range s.sizes() {
			if !strings.HasSuffix(lists[i], list) {
				r.complain("part maps before: %s, after: %s", lists[i], list)
			}
		}
	case changed && !r.saysLeft():
		r.complain("before\n%s\nafter\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if plain == nil || op.fails {
		return
	}
	events := slices.Clone(r.events)
	for i := 0; i+1 < len(events); i++ {
		size, ok := strings.CutPrefix(events[i], "PART_REMOVE ")
		if ok && events[i+1] == "PART_ADD "+size { // taken back
			events = slices.Delete(events, i, i+2)
		}
	}
	n := min(len(events), len(plain.events))
	if !slices.Equal(events, plain.events[:n]) || n > 0 && n == len(plain.events) && !sweepAnnounces(events[n-1]) {
		r.complain("failing it sends %q, else %q", r.events, plain.events)
	}
}

// sweepAnnounces reports whether an event comes before what it is about.
func sweepAnnounces(event string) bool {
	return slices.Contains([]string{"COPY", "MOVE", "SET", "FLUSH", "REMOVE_RANGE"}, event)
}

// sizes are the part maps of each set: their addresses and sizes.
func (s *sweepStage) sizes() (lists []string) {
	for _, set := range s.sets {
		lists = append(lists, fmt.Sprintln(set.list()))
	}
	for i := range lists {
		lists[i] = strings.TrimPrefix(lists[i], "[")
	}
	return lists
}

// again makes the call once more, without the fault.
func (op sweepOperation) again(s *sweepStage, r *sweepRun, call func() (string, error), plain *sweepRun) {
	for _, set := range s.sets {
		set.forget()
	}
	result, err := call()
	if err != nil {
		result = sweepOutcome(err)
	}
	if op.partial && err == nil || r.saysLeft() { // what was left may be in the way
		return
	}
	if result != plain.result {
		r.complain("without the fault it gives %s (%v), want %s", result, err, plain.result)
	}
	if events := s.events(); !slices.Equal(events, plain.events) {
		r.complain("without the fault it sends %q, want %q", events, plain.events)
	}
}

// finishInjected does what a fault has kept from happening and has happened by what it
// says: Linux closes a descriptor whatever close(2) returns, and a name that unlink(2)
// doesn't find isn't there.
func (s *sweepStage) finishInjected(log []fault.Call) {
	for _, c := range log {
		switch {
		case !c.Injected:
		case c.Op == fault.OpClose:
			s.must(s.m.Close(c.FD))
		case c.Op == fault.OpUnlink && c.Err == error(unix.ENOENT):
			_ = s.m.Unlink(c.Path)
		}
	}
}

// noNewNames: a file that was made with a name that nobody gave has lost it.
func (s *sweepStage) noNewNames(r *sweepRun) {
	for _, c := range r.log {
		if c.Op != fault.OpOpen || c.Flags&platform.OCreat == 0 || slices.Contains(s.paths, c.Path) {
			continue
		}
		if fd, err := s.m.Open(c.Path, platform.ORdonly, 0); err == nil {
			s.m.Close(fd)
			if !r.saysLeft() {
				r.complain("there is a file %s", c.Path)
			}
		}
	}
}

// sweepKind names a call as the table does.
func sweepKind(c fault.Call) string {
	name := c.Path[strings.LastIndex(c.Path, "/")+1:]
	switch {
	case c.Op == fault.OpMmap && c.Flags&platform.MapFixedNoreplace != 0:
		return "mmap of a placeholder, fixed"
	case c.Op == fault.OpMmap && c.Flags&platform.MapNoreserve != 0 && c.Flags&platform.MapFixed != 0:
		return "mmap of a placeholder over maps"
	case c.Op == fault.OpMmap && c.Flags&platform.MapNoreserve != 0:
		return "mmap of a placeholder"
	case c.Op == fault.OpMmap && c.Flags&platform.MapSync != 0:
		return "mmap with MAP_SYNC"
	case c.Op == fault.OpReadlink && strings.Contains(name, ":"):
		return "readlink device"
	case c.Op == fault.OpFallocate && c.Flags&platform.FallocPunchHole != 0:
		return "fallocate punching a hole"
	case c.Op == fault.OpReadAttr && strings.HasPrefix(c.Path, "devices/"):
		return "read-attr " + name + " of the device"
	case c.Op == fault.OpReadAttr, c.Op == fault.OpReadlink, c.Op == fault.OpWriteAttr:
		return c.Op.String() + " " + name
	case c.Op == fault.OpOpen && c.Flags&platform.OTmpfile == platform.OTmpfile:
		return "open with O_TMPFILE"
	case c.Op == fault.OpOpen && c.Flags&platform.OCreat != 0:
		return "open with O_CREAT"
	case c.Op == fault.OpOpen && c.Flags&platform.OPath != 0:
		return "open with O_PATH"
	}
	return c.Op.String()
}

// sweepErrnos are the errnos that each kind of call can give, from its manual page.
// Those of sysfs are of opening, reading and closing an attribute.
func sweepErrnos(kind string) string {
	const attr = "EACCES EINTR EIO EMFILE ENFILE ENODEV ENOENT ENOMEM ENXIO"
	switch {
	case strings.HasPrefix(kind, "read-attr "):
		return attr
	case strings.HasPrefix(kind, "write-attr "):
		return attr + " EINVAL EPERM EROFS"
	case strings.HasPrefix(kind, "readlink "):
		return "EACCES EINVAL EIO ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR"
	}
	return map[string]string{
		"get-fl":                          "EBADF EIO",
		"fstat":                           "EBADF EIO ENOMEM EOVERFLOW ESTALE",
		"list":                            "EACCES EIO EMFILE ENFILE ENOENT ENOMEM ENOTDIR",
		"mmap with MAP_SYNC":              "EACCES EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOPNOTSUPP EOVERFLOW EPERM ETXTBSY",
		"mmap":                            "EACCES EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOPNOTSUPP EOVERFLOW EPERM ETXTBSY",
		"mmap of a placeholder":           "EAGAIN EINVAL ENOMEM EPERM",
		"mmap of a placeholder, fixed":    "EAGAIN EEXIST EINVAL ENOMEM EPERM",
		"mmap of a placeholder over maps": "EAGAIN EINVAL ENOMEM EPERM",
		"munmap":                          "EINVAL ENOMEM",
		"mremap":                          "EAGAIN EFAULT EINVAL ENOMEM",
		"msync":                           "EBUSY EINVAL EIO ENOMEM",
		"pread":                           "EAGAIN EBADF EFAULT EINVAL EIO EISDIR ENXIO",
		"pwrite":                          "EAGAIN EBADF EDQUOT EFAULT EFBIG EINVAL EIO ENOSPC EPERM",
		"fallocate":                       "EBADF EFBIG EINTR EINVAL EIO ENODEV ENOSPC ENOSYS EOPNOTSUPP EPERM ETXTBSY",
		"fallocate punching a hole":       "EBADF EFBIG EINTR EINVAL EIO ENODEV EOPNOTSUPP EPERM ETXTBSY",
		"fiemap":                          "EBADF EFAULT EINTR EINVAL EIO ENOMEM ENOTTY EOPNOTSUPP",
		"open":                            "EACCES EINTR EISDIR ELOOP EMFILE ENFILE ENODEV ENOENT ENOMEM ENOTDIR ENXIO EPERM EROFS ETXTBSY",
		"open with O_CREAT":               "EACCES EDQUOT EEXIST EINTR EISDIR ELOOP EMFILE ENFILE ENOENT ENOMEM ENOSPC ENOTDIR EPERM EROFS",
		"open with O_TMPFILE":             "EACCES EDQUOT EINTR EINVAL EISDIR EMFILE ENFILE ENOENT ENOMEM ENOSPC ENOTDIR EOPNOTSUPP EPERM EROFS",
		"open with O_PATH":                "EACCES ELOOP EMFILE ENAMETOOLONG ENFILE ENOENT ENOMEM ENOTDIR",
		"close":                           "EINTR EIO",
		"unlink":                          "EACCES EBUSY EIO EISDIR ENOENT ENOMEM EPERM EROFS",
		"ftruncate":                       "EBADF EFBIG EINTR EINVAL EIO EPERM ETXTBSY",
		"ars-capabilities":                "EBADF EFAULT EINVAL EIO ENOMEM ENOTTY ENXIO",
		"clear-error":                     "EBADF EFAULT EINVAL EIO ENOMEM ENOTTY ENXIO EOPNOTSUPP",
	}[kind]
}

// plainRun is the operation without a fault.
func (op sweepOperation) plainRun(t *testing.T, lab *sweepLab) *sweepRun {
	t.Helper()
	plain := op.run(t, lab, "", nil, false)
	for _, text := range plain.wrong {
		t.Error(text)
	}
	if (plain.err != nil) != op.fails {
		t.Fatalf("without a fault: %v", plain.err)
	}
	return plain
}

// TestSweep fails every call of every operation once with every errno that it can
// give, and holds what comes of it against sweepTable. Then it fails, with the first, each
// call that comes of the failure.
func TestSweep(t *testing.T) {
	if testing.Short() {
		t.Skip("tens of thousands of runs, one after another")
	}
	table := parseSweepTable(t, sweepTable)
	cells, pairs := 0, 0
	for _, op := range sweepOperations() {
		t.Run(op.name, func(t *testing.T) {
			lab := newSweepLab(t)
			plain := op.plainRun(t, lab)
			if (len(plain.log) == 0) != slices.Contains(sweepAsksNothing, op.name) {
				t.Errorf("makes %d platform calls; sweepAsksNothing: %t", len(plain.log), slices.Contains(sweepAsksNothing, op.name))
			}
			var probe string
			probes := op.probes(t, lab)
			nth := map[string]int{}
			for _, c := range plain.log {
				kind := sweepKind(c)
				nth[kind]++
				if c.Injected {
					continue // the given fault
				}
				if sweepErrnos(kind) == "" {
					t.Errorf("call %v: sweepErrnos has no %q", c, kind)
				}
				var seen []string
				for i, errno := range strings.Fields(sweepErrnos(kind)) {
					cells++
					plan := fmt.Sprintf("(%s (Call %d))", errno, c.Seq)
					r := op.run(t, lab, plan, plain, false)
					op.judge(t, c, errno, r, plain, table.verdict(op.name, kind, nth[kind], errno))
					if calls := sweepKinds(r.log); !slices.Contains(seen, calls) { // else another errno has come to the same calls
						seen = append(seen, calls)
						pairs += op.twice(t, lab, c, plan, r.log, plain)
					}
					if i > 0 || r.err == nil || !probes {
						continue
					}
					if probe == "" {
						probe = op.run(t, lab, "", nil, true).probe
					}
					if r = op.run(t, lab, plan, plain, true); !op.partial && r.probe != probe {
						t.Errorf("%s in %v: a part map more: got %s, want %s", errno, c, r.probe, probe)
					}
					for _, text := range r.wrong {
						t.Errorf("%s in %v: %s", errno, c, text)
					}
				}
			}
		})
	}
	table.unused(t)
	t.Logf("%d operations, %d (operation, call, errno) checked, and %d pairs of faults", len(sweepOperations()), cells, pairs)
}

// probes reports whether the operation has a set that a part can be mapped into.
func (op sweepOperation) probes(t *testing.T, lab *sweepLab) bool {
	s := lab.stage(t)
	op.setup(s)
	ok := len(s.sets) > 0
	for _, text := range lab.end(s, false) {
		t.Error(text)
	}
	return ok
}

// judge holds a run with one fault against the table.
func (op sweepOperation) judge(t *testing.T, c fault.Call, errno string, r, plain *sweepRun, want *sweepVerdict) {
	t.Helper()
	what := fmt.Sprintf("%s in %v", errno, c)
	if c.Seq >= len(r.log) || !r.log[c.Seq].Injected || sweepKind(r.log[c.Seq]) != sweepKind(c) {
		t.Errorf("%s: the calls are others than without the fault: %v", what, r.log)
	}
	for _, text := range r.wrong {
		t.Errorf("%s: %s", what, text)
	}
	if want == nil {
		t.Errorf("%s: sweepTable has no line for it: %s (%v)", what, r.result, r.err)
		return
	}
	wanted, succeeds := strings.ReplaceAll(want.outcome, "errno", errno), want.succeeds
	if wanted == "as ever" {
		wanted, succeeds = plain.result, plain.err == nil
		if r.err == nil && !slices.Equal(r.events, plain.events) {
			t.Errorf("%s: it sends %q, want %q", what, r.events, plain.events)
		}
	}
	if r.result != wanted || (r.err == nil) != succeeds {
		t.Errorf("%s: got %s (%v), want %s", what, r.result, r.err, wanted)
	}
	if r.saysLeft() != want.left {
		t.Errorf("%s: says that something is left behind: %t, want %t: %v", what, r.saysLeft(), want.left, r.err)
	}
}

// twice fails the calls again that only the failure of c, by the plan, has brought about,
// as the log of that run has them: a second try, a question why, a rollback. What is left
// behind then is named, or goes with the set.
func (op sweepOperation) twice(t *testing.T, lab *sweepLab, c fault.Call, plan string, log []fault.Call, plain *sweepRun) (pairs int) {
	t.Helper()
	for _, d := range log {
		if d.Seq <= c.Seq || d.Injected || d.Seq < len(plain.log) && sweepKind(plain.log[d.Seq]) == sweepKind(d) {
			continue
		}
		for second := range strings.FieldsSeq(sweepErrnos(sweepKind(d))) {
			pairs++
			r := op.run(t, lab, fmt.Sprintf("%s (%s (Call %d))", plan, second, d.Seq), plain, false)
			for _, text := range r.wrong {
				t.Errorf("%s, then %s in %v: %v: %s", plan, second, d, r.err, text)
			}
		}
	}
	return pairs
}

// sweepKinds are the calls of a log, by kind.
func sweepKinds(log []fault.Call) string {
	var kinds []string
	for _, c := range log {
		kinds = append(kinds, sweepKind(c))
	}
	return strings.Join(kinds, ", ")
}
