package conformance

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pmemlab/conformance/report"
	"pmemlab/pmem2/platform"
)

// mortal is the Go library in processes of its own, one call of which ends them.
type mortal struct{ known []Divergence }

var mortalTell func(string)

func (mortal) Name() string                { return "mortal" }
func (mortal) OnCall(tell func(string))    { mortalTell = tell }
func (m mortal) Divergences() []Divergence { return m.known }
func (mortal) On(p platform.Platform) Library {
	return mortalLibrary{Go.On(p), p}
}

type mortalLibrary struct {
	Library
	machine platform.Platform
}

// NewConfig ends the process by a signal.
func (l mortalLibrary) NewConfig() (PMem2Config, error) {
	mortalTell("new")
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	time.Sleep(time.Hour)
	return nil, nil
}

// SourceFromAnon keeps a page for ever.
func (l mortalLibrary) SourceFromAnon(uint64) (Source, error) {
	mortalTell("anon")
	var err error
	mortalKept, err = l.machine.Mmap(0, 4096, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0)
	return nil, err
}

var mortalKept uintptr

func (l mortalLibrary) Settle() {
	if mortalKept != 0 {
		_ = l.machine.Munmap(mortalKept, 4096)
	}
}

// The cases that children of these tests run.
var mortalCases = []Case{
	{Name: "m/dies", Rows: []string{anyRow}, Run: func(c *T) {
		c.Must(nil, "before")
		c.made(c.Env.File(1))
		_, err := c.Lib.NewConfig()
		c.Must(err, "NewConfig()")
	}},
	{Name: "m/hangs", Rows: []string{anyRow}, Run: func(c *T) { c.hang("A(%d)", 1) }},
	{Name: "m/passes", Rows: []string{anyRow}, Run: func(c *T) { c.Must(nil, "A()") }},
	{Name: "m/fails", Rows: []string{anyRow}, Run: func(c *T) { c.Must(syscall.EIO, "A()") }},
	{Name: "m/keeps", Rows: []string{anyRow}, Run: func(c *T) {
		_, err := c.Lib.SourceFromAnon(1)
		c.suite(err, "mmap")
	}},
	{Name: "m/leaks", Rows: []string{anyRow}, Run: func(c *T) {
		_, err := c.Machine().Mmap(0, 4096, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0)
		c.suite(err, "mmap")
	}},
	{Name: "m/exits", Rows: []string{anyRow}, Run: func(*T) { os.Exit(3) }},
	{Name: "m/isn't seen", Rows: []string{anyRow}, Run: func(c *T) {
		checkEvents(c, events{{Kind: evMsync}}, "A()", evFlush, evMsync)
	}},
	{Name: "m/is seen", Rows: []string{anyRow}, Run: func(c *T) { checkEvents(c, nil, "A()", evFlush, evMsync) }},
}

var _ = func() bool {
	casesInChildren = append(casesInChildren, mortalCases...)
	subjectsInChildren = append(subjectsInChildren, mortal{known: []Divergence{{Row: anyRow, Case: "m/fails", At: "A()", Want: "0", Got: "-EIO"}}})
	return true
}()

// TestIsolated runs cases in processes of their own, some of which don't survive.
func TestIsolated(t *testing.T) {
	dies := func(at, got string) []Divergence {
		return []Divergence{{Row: anyRow, Case: "m/dies", At: at, Want: "0", Got: got}}
	}
	for _, row := range []struct {
		name   string
		known  []Divergence
		status report.Status
		reason string
	}{
		{"passes", nil, report.Pass, ""},
		{"fails", nil, report.KnownDivergence, "-EIO of A()"}, // as the child knows
		{"dies", nil, report.Fail, "new: the end of the process is: terminated"},
		{"dies", dies("new", "terminated"), report.KnownDivergence, "terminated of new"},
		{"dies", dies("old", "terminated"), report.Fail, "new: the end of the process is: terminated"},
		{"dies", dies("new", "SIGSEGV"), report.Fail, "new: the end of the process is: terminated"},
		{"hangs", nil, report.Fail, "A(1): the end of the process is: hang"},
		{"hangs", []Divergence{{Row: anyRow, Case: "m/hangs", At: "A(1)", Want: "0", Got: "hang"}}, report.KnownDivergence, "hang of A(1)"},
		{"keeps", nil, report.Pass, ""},
		{"leaks", nil, report.Fail, "left behind: mapping of 4096 bytes"},
		{"exits", nil, report.Error, "exit status 3"},
		{"isn't seen", nil, report.NotSupported, ""},
		{"is seen", nil, report.Fail, "A(): the machine was asked for nothing"},
	} {
		dir := t.TempDir()
		i := slices.IndexFunc(mortalCases, func(c Case) bool { return c.Name == "m/"+row.name })
		run := runCases(t, mortal{row.known}, Files(FilesConfig{Tmpfs: dir + "/none", Disk: dir}), mortalCases[i])
		wantRow(t, run, anyRow, row.status, row.reason)
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left in the directory: %v (%v)", row.name, left, err)
		}
		if row.name != "dies" {
			continue
		}
		c := rowOf(t, run, anyRow).Cases
		want := []Call{{Call: "before", Outcome: "0"}, {Call: "new", Outcome: "terminated"}}
		if i := slices.IndexFunc(c, func(c report.Case) bool { return c.Variant == "disk" }); !slices.Equal(c[i].Calls, want) {
			t.Errorf("the evidence of a case that dies is %v, want %v", c[i].Calls, want)
		}
	}
}

// TestIsolatedElsewhere: not on the emulated machine, nor for a library of sets alone.
func TestIsolatedElsewhere(t *testing.T) {
	run := runCases(t, mortal{}, Emulated(), passing("x/c", anyRow))
	wantRow(t, run, anyRow, report.NotSupported, "calls the kernel of this machine, not an emulated one")
	run = runCases(t, mortal{}, Files(FilesConfig{}), passing("x/nobody knows it", anyRow))
	if r := rowOf(t, run, anyRow); r.Status != report.Error || !strings.Contains(r.Reason, "no case") {
		t.Errorf("a case that the child doesn't know: %s (%s)", r.Status, r.Reason)
	}
}

// TestNoDevicesForTheIsolated: what calls the kernel itself gets no device.
func TestNoDevicesForTheIsolated(t *testing.T) {
	target := &hardware{devices: []*daxDevice{{}}}
	got := attempt{subject: mortal{}, target: target, c: Case{Name: "x/c", Rows: []string{anyRow}}, timeout: time.Minute}.run()
	if got.Status != report.NotSupported || !strings.Contains(got.Reason, "device") {
		t.Errorf("the result is %s (%s), want not supported", got.Status, got.Reason)
	}
}
