package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pmemlab/pmem2"
)

// libraryLogCases are about the debug build, which PMEM2_DEBUG=1 stands for, and what
// it logs.
func libraryLogCases() []Case {
	file := []Need{NeedFile, NeedReservation}
	return []Case{
		{
			Name: "libpmem2/no log without debugging", Needs: file,
			Rows: []string{"libpmem2/release-build-never-logs", "libpmem2/log-variables-ignored-by-release"},
			Run:  logWithoutDebugging,
		},
		{
			Name: "libpmem2/debugging", Needs: file,
			Rows: []string{"libpmem2/debug-build-asserts-and-traces", "libpmem2/debug-build-chosen-by-library-path"},
			Run:  logDebugging,
		},
		{
			Name: "libpmem2/log level 0", Needs: file,
			Rows: []string{"libpmem2/log-level-default-zero"},
			Run:  logLevelZero,
		},
		{
			Name: "libpmem2/log level 1", Needs: file,
			Rows: []string{"libpmem2/log-level-1-errors"},
			Run:  logErrors,
		},
		{
			Name: "libpmem2/log on standard error", Needs: file,
			Rows: []string{"libpmem2/log-goes-to-stderr"},
			Run: func(t *T) {
				for _, env := range []string{"PMEM2_LOG_LEVEL=1", "PMEM2_LOG_LEVEL=4"} {
					lines, w, _ := logged(t, "PMEM2_DEBUG=1", env)
					t.Check(len(lines) >= len(w.Errors), "with %s there are %d lines on standard error for %d failures", env, len(lines), len(w.Errors))
				}
				// Nor does an empty name of a file change that.
				lines, _, _ := logged(t, "PMEM2_DEBUG=1", "PMEM2_LOG_LEVEL=1", "PMEM2_LOG_FILE=")
				t.Check(len(lines) > 0, "with an empty PMEM2_LOG_FILE there is nothing on standard error")
			},
		},
		{
			Name: "libpmem2/log level 2", Needs: file,
			Rows: []string{"libpmem2/log-level-2-basic-operations"},
			Run:  logOperations,
		},
		{
			Name: "libpmem2/log level 3", Needs: file,
			Rows: []string{"libpmem2/log-level-3-call-trace"},
			Run:  logCalls,
		},
		{
			Name: "libpmem2/log level 4", Needs: file,
			Rows: []string{"libpmem2/log-level-4-developer"},
			Run: func(t *T) {
				added, _ := addedAtLevel(t, 4)
				t.Check(len(added) > 0, "at level 4 there is no more than at 3")
				added, _ = addedAtLevel(t, 5) // there is no such level
				t.Check(len(added) == 0, "at level 5 there is more than at 4: %q", added)
			},
		},
		{
			Name: "libpmem2/log file", Needs: file,
			Rows: []string{"libpmem2/log-file", "libpmem2/log-file-pid-suffix"},
			Run:  logFile,
		},
	}
}

const childWorkload = "workload"

// workload is what workloadInChild has done.
type workload struct {
	Errors   []string // the texts of the failures
	Mapped   []string // addresses of maps, as logs have them
	Reserved string   // of the reservation
	// Overlapping is what a copy of overlapping ranges by Memcpy came to, Outside a
	// flush of memory that is no map's.
	Overlapping, Outside string
}

// workloadCalls are functions that the workload calls, by the names that errors have
// them by.
var workloadCalls = []string{
	"SourceFromFD", "Size", "Alignment", "SetLength", "SetRequiredStoreGranularity", "NewMap", "NewVMReservation",
	"MapFind", "Persist", "Flush", "Drain", "Memmove", "Memcpy", "Memset", "DeepFlush", "Delete",
}

// workloadInChild maps, stores, fails and deletes. It makes its objects without the
// methods of T, which would delete them once more: that is logged as well.
func workloadInChild(t *T, _ json.RawMessage) any {
	var w workload
	failed := func(err error) string {
		if err == nil {
			return "0"
		}
		w.Errors = append(w.Errors, err.Error())
		return t.Lib.Outcome(err)
	}
	page := t.Page()
	t.Force("CACHE_LINE")
	src := t.FileSource(4 * page)
	_, err := src.Size()
	t.Must(err, "Size()")
	_, err = src.Alignment()
	t.Must(err, "Alignment()")
	cfg := t.NewConfig()
	_, err = t.Lib.NewMap(cfg, src)
	failed(err)
	failed(cfg.SetProtection(0x80))
	t.Must(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), "SetRequiredStoreGranularity(PAGE)")
	t.Must(cfg.SetLength(2*page), "SetLength(two pages)")
	m, err := t.Lib.NewMap(cfg, src)
	t.Must(err, "NewMap()")
	b := m.Bytes()
	t.Must(m.Memset(b, 3, 0), "Memset()")
	t.Must(m.Memcpy(b[:100], b[200:300], 0), "Memcpy()")
	t.Must(m.MemmoveFunc()(b[10:110], b[:100], 0), "Memmove()")
	t.Must(m.Flush(b[:1]), "Flush()")
	t.Must(m.Drain(), "Drain()")
	t.Must(m.Persist(b[:1]), "Persist()")
	failed(m.DeepFlushRange(m.Address(), 3*page))

	w.Overlapping = failed(m.MemcpyFunc()(b[10:110], b[:100], 0))
	outside := make([]byte, 64)
	w.Outside = failed(m.Flush(outside))

	r, err := t.Lib.NewVMReservation(0, 4*page)
	t.Must(err, "NewVMReservation()")
	inside, err := t.Lib.NewMap(mapSpec{in: r, at: page, length: page}.config(t), src)
	t.Must(err, "NewMap()")
	_, err = r.MapFind(page, page)
	t.Must(err, "MapFind()")
	failed(r.Delete())
	w.Mapped = []string{fmt.Sprintf("%#x", m.Address()), fmt.Sprintf("%#x", inside.Address())}
	w.Reserved = fmt.Sprintf("%#x", r.Address())
	t.Delete(inside)
	t.Delete(m)
	failed(m.Delete())
	t.Delete(r)
	if !t.foreign() {
		w.failedTwice(t)
	}
	return w
}

// failedTwice is a call that fails and can't take back what it has done by then: its
// error has more to tell.
func (w *workload) failedTwice(t *T) {
	t.Force("PAGE")
	fd := t.FileFD(t.Page())
	src, err := t.Inject("(EINVAL (Op munmap))").SourceFromFD(fd)
	t.Must(err, "SourceFromFD()")
	_, err = t.Lib.NewMap(mapSpec{require: new(pmem2.GranularityByte)}.config(t), src)
	t.Expect("PMEM2_E_GRANULARITY_NOT_SUPPORTED", err, "NewMap()")
	w.Errors = append(w.Errors, err.Error())
	for _, a := range areasOf(t, fd) {
		t.Munmap(a.Start, uint64(a.End-a.Start))
	}
}

// logged runs the workload with these variables and returns the lines of its standard
// error, whatever is on its standard output being wrong.
func logged(t *T, env ...string) (lines []string, w workload, end childEnd) {
	if t.foreign() && slices.Contains(env, "PMEM2_DEBUG=1") {
		t.NotSupportedf("PMEM2_DEBUG=1 stands for another build of the library: what is loaded is the release build of %s", t.subject.Name())
	}
	end = t.Child(childRun{Function: childWorkload, Env: env, Value: &w})
	t.Check(end.Stdout == "", "with %q there is %q on standard output", env, tail(end.Stdout))
	if len(w.Errors) < 5 || len(w.Mapped) != 2 {
		t.Brokenf("the workload says %+v", w)
	}
	return linesOf(t, end.Stderr), w, end
}

// linesOf splits a log, whose last line has to be whole.
func linesOf(t *T, log string) []string {
	if log == "" {
		return nil
	}
	t.Check(strings.HasSuffix(log, "\n"), "the log ends with %q", tail(log))
	return strings.Split(strings.TrimSuffix(log, "\n"), "\n")
}

func logWithoutDebugging(t *T) {
	dir := t.TempDir()
	for _, debug := range []string{"", "0", "2", "yes"} {
		for _, level := range []int{0, 1, 4, 15} {
			env := []string{"PMEM2_LOG_LEVEL=" + strconv.Itoa(level)}
			if debug != "" {
				env = append(env, "PMEM2_DEBUG="+debug)
			}
			if level == 4 {
				env = append(env, "PMEM2_LOG_FILE="+filepath.Join(dir, "log"+debug))
			}
			if level == 15 {
				env = append(env, "PMEM2_LOG_FILE="+filepath.Join(dir, "log"+debug+"-"))
			}
			lines, _, _ := logged(t, env...)
			t.Check(lines == nil, "with %q the log has %q", env, lines)
			if debug != "" {
				break // other values of PMEM2_DEBUG are the next case's
			}
		}
	}
	left, err := os.ReadDir(dir)
	t.suite(err, "read a directory")
	t.Check(len(left) == 0, "without debugging there is a file %v", left)
}

func logDebugging(t *T) {
	for _, c := range []struct {
		value string
		on    bool
	}{{"1", true}, {"0", false}, {"", false}, {"2", false}, {"true", false}, {" 1", false}} {
		lines, w, _ := logged(t, "PMEM2_DEBUG="+c.value, "PMEM2_LOG_LEVEL=4")
		t.Note("lines of the log", "%d", len(lines))
		t.Check((len(lines) >= 10) == c.on && (len(lines) == 0) == !c.on, "with PMEM2_DEBUG=%q the log has %d lines", c.value, len(lines))
		want := "0"
		if c.on { // assertions
			want = "-EINVAL"
		}
		t.Check(w.Overlapping == want, "with PMEM2_DEBUG=%q Memcpy of overlapping ranges is %s, want %s", c.value, w.Overlapping, want)
		t.Check(w.Outside == want, "with PMEM2_DEBUG=%q Flush of memory outside of maps is %s, want %s", c.value, w.Outside, want)
		t.Note("Memcpy of overlapping ranges, Flush outside of maps", "%s, %s", w.Overlapping, w.Outside)
	}
}

func logLevelZero(t *T) {
	for _, env := range [][]string{{"PMEM2_DEBUG=1"}, {"PMEM2_DEBUG=1", "PMEM2_LOG_LEVEL=0"}, {"PMEM2_DEBUG=1", "PMEM2_LOG_LEVEL="}} {
		lines, _, _ := logged(t, env...)
		t.Check(lines == nil, "with %q the log has %q", env, lines)
	}
	// The variable that does it, to see that something would be logged.
	lines, _, _ := logged(t, "PMEM2_DEBUG=1", "PMEM2_LOG_LEVEL=1")
	t.Check(len(lines) > 0, "at level 1 nothing is logged")
}

// number is what differs from process to process in a line of a log.
var number = regexp.MustCompile(`0x[0-9a-f]+`)

// more are the lines that one log has beyond another, in order. lacking is one of the
// other that the first hasn't.
func more(log, than []string) (lines []string, lacking string) {
	alike := func(line string) string { return number.ReplaceAllString(line, "0x…") }
	rest := make(map[string]int)
	for _, line := range than {
		rest[alike(line)]++
	}
	for _, line := range log {
		if rest[alike(line)] > 0 {
			rest[alike(line)]--
			continue
		}
		lines = append(lines, line)
	}
	for line, n := range rest {
		if n > 0 {
			lacking = line
		}
	}
	return lines, lacking
}

// logAt is the log of a level, on standard error.
func logAt(t *T, level int) ([]string, workload) {
	lines, w, _ := logged(t, "PMEM2_DEBUG=1", "PMEM2_LOG_LEVEL="+strconv.Itoa(level))
	t.Note("level "+strconv.Itoa(level), "%d lines on standard error", len(lines))
	return lines, w
}

// addedAtLevel is what the log of a level has beyond that of the level before, of
// which it has everything.
func addedAtLevel(t *T, level int) ([]string, workload) {
	before, _ := logAt(t, level-1)
	lines, w := logAt(t, level)
	added, lacking := more(lines, before)
	t.Check(lacking == "", "at level %d there is no %q, which is there at %d", level, lacking, level-1)
	if len(added) > 0 {
		t.Note("added at level "+strconv.Itoa(level), "%s", added[0])
	}
	return added, w
}

// logErrors expects each error once, with the text that the caller has. The last one
// may have been logged before it was known that something is left behind.
func logErrors(t *T) {
	lines, w := logAt(t, 1)
	last := len(w.Errors) - 1
	if n := len(lines); n == len(w.Errors)+1 {
		lines = slices.Delete(lines, last, n-1)
	}
	t.Check(len(lines) == len(w.Errors), "there are %d failures and %d lines: %q", len(w.Errors), len(lines), lines)
	for i, text := range w.Errors {
		t.Check(strings.HasSuffix(lines[i], text), "line %d is %q, the error %q", i, lines[i], text)
	}
	t.Note("level 1", "%s", lines[0])
}

// logOperations expects to be told what is mapped, reserved and unmapped.
func logOperations(t *T) {
	added, w := addedAtLevel(t, 2)
	for _, addr := range append(w.Mapped, w.Reserved) {
		n := 0
		for _, line := range added {
			if strings.Contains(line, addr) {
				n++
			}
		}
		t.Check(n >= 2, "%d lines tell that the range at %s was mapped, or reserved, and given back: %q", n, addr, added)
	}
}

// logCalls expects the names of the functions called.
func logCalls(t *T) {
	added, _ := addedAtLevel(t, 3)
	names := map[string]bool{}
	for _, line := range added {
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" :(),", r) }) {
			names[word] = true
		}
	}
	for _, name := range workloadCalls {
		t.Check(names[name], "nothing names %s: %q", name, added)
	}
}

func logFile(t *T) {
	dir := t.TempDir()
	onStderr, _, _ := logged(t, "PMEM2_DEBUG=1", "PMEM2_LOG_LEVEL=3")
	same := func(path, what string) {
		text, err := os.ReadFile(path)
		t.Check(err == nil, "%s: %v", what, err)
		lines := linesOf(t, string(text))
		extra, lacking := more(lines, onStderr)
		t.Check(extra == nil && lacking == "", "%s has %q, which the log on standard error hasn't, and lacks %q", what, extra, lacking)
		t.Note(what, "%d lines", len(lines))
	}
	run := func(name string) childEnd {
		lines, _, end := logged(t, "PMEM2_DEBUG=1", "PMEM2_LOG_LEVEL=3", "PMEM2_LOG_FILE="+name)
		t.Check(lines == nil, "with a log file there is %q on standard error", lines)
		return end
	}
	path := filepath.Join(dir, "log")
	run(path)
	same(path, "a fresh log file")
	// One that is there is begun anew.
	t.suite(os.WriteFile(path, []byte(strings.Repeat("old\n", 10000)), 0o600), "write a file")
	run(path)
	same(path, "a log file that was there")

	prefix := filepath.Join(dir, "log-")
	end := run(prefix)
	same(prefix+strconv.Itoa(end.Pid), "the log file with the process id")
	_, err := os.Stat(prefix)
	t.Check(errors.Is(err, fs.ErrNotExist), "there is also a file without the process id: %v", err)
	left, err := os.ReadDir(dir)
	t.suite(err, "read a directory")
	t.Check(len(left) == 2, "there are the files %v", left)
}

// TempDir is a directory of this machine's that is gone when the case has ended.
func (t *T) TempDir() string {
	dir, err := makeOwnDirectory("")
	t.suite(err, "make a directory")
	t.Cleanup(func() { _ = removeOwnDirectory(dir) })
	return dir
}
