package conformance

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pmemlab/conformance/report"
	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/vma"
)

// Rows for cases of these tests.
const (
	anyRow           = "pmem2_config_set_offset/zero-on-success" // needs nothing
	fileRow          = "pmem2_map_new/PMEM2_E_MAP_RANGE#1"
	devDaxRow        = "pmem2_map_new/PMEM2_E_SRC_DEVDAX_PRIVATE#1"
	notApplicableRow = "pmem2_config_new/-ENOMEM#1"
)

// runCases runs cases against those rows of the contract that they name.
func runCases(t *testing.T, s Subject, target Target, cases ...Case) report.Run {
	t.Helper()
	needsLinux(t)
	var rows []Row
	for _, r := range Rows() {
		if slices.ContainsFunc(cases, func(c Case) bool { return slices.Contains(c.Rows, r.ID) }) {
			rows = append(rows, r)
		}
	}
	r := newRunner(s, target, rows, cases)
	r.runAll(nil)
	return r.Finish()
}

func needsLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("cases run on Linux only")
	}
}

func rowOf(t *testing.T, run report.Run, id string) report.Row {
	t.Helper()
	for _, r := range run.Rows {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("the run has no row %q", id)
	return report.Row{}
}

func wantRow(t *testing.T, run report.Run, id string, status report.Status, reason string) {
	t.Helper()
	r := rowOf(t, run, id)
	if r.Status != status || !strings.Contains(r.Reason, reason) {
		t.Errorf("row %s: %s (%s), want %s (…%s…)", id, r.Status, r.Reason, status, reason)
	}
}

// suiteErrors are what was wrong with the run as a whole.
func suiteErrors(run report.Run) (reasons []string) {
	for _, r := range run.Rows {
		if r.Page == "(suite)" {
			reasons = append(reasons, r.Reason)
		}
	}
	return reasons
}

func passing(name string, rows ...string) Case {
	return Case{Name: name, Rows: rows, Run: func(*T) {}}
}

func TestStatusOfCases(t *testing.T) {
	rows := []struct {
		name   string
		run    func(*T)
		status report.Status
		reason string
	}{
		{"returns", func(*T) {}, report.Pass, ""},
		{"fails", func(c *T) { c.Failf("seen %d", 7) }, report.Fail, "seen 7"},
		{"check fails", func(c *T) { c.Check(false, "no") }, report.Fail, "no"},
		{"another outcome", func(c *T) { c.Expect("-EIO", nil, "F(%d)", 1) }, report.Fail, "F(1): got 0"},
		{"broken", func(c *T) { c.Brokenf("no tool") }, report.Error, "no tool"},
		{"not supported", func(c *T) { c.suite(&UnavailableError{"no tape"}, "rewind") }, report.NotSupported, "no tape"},
		{"panic of the suite", func(*T) { panic("oops") }, report.Error, "oops"},
		{"panic in the standard library, called by the suite", func(c *T) { c.Note("x", "%s", strings.Repeat("x", -1)) }, report.Error, "negative"},
		{"nil dereference of the suite", func(*T) { (*T)(nil).Env = nil }, report.Error, "nil pointer"},
		{"panic of the emulation", func(*T) { fault.MustParse("(") }, report.Error, "fault:"},
		{"panic of the subject", func(*T) { (*vma.Map[int])(nil).Len() }, report.Fail, "pmem2/platform/vma"},
		{"a clean-up fails", func(c *T) { c.Cleanup(func() { c.Failf("late") }) }, report.Fail, "late"},
		{"a broken clean-up outweighs a failure", func(c *T) {
			c.Cleanup(func() { c.Brokenf("broken") })
			c.Failf("early")
		}, report.Error, "broken"},
		{"not applicable", func(c *T) { c.NotApplicablef("no malloc") }, report.Error, "the contract doesn't: no malloc"},
		{"leaks a mapping", func(c *T) {
			_, err := c.Machine().Mmap(0, 4096, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0)
			c.suite(err, "mmap")
		}, report.Fail, "left behind: mapping of 4096 bytes"},
		{"leaks a descriptor", func(c *T) {
			o, err := c.Env.CharDevice()
			c.suite(err, "device")
			_, err = o.Open(platform.ORdonly)
			c.suite(err, "open")
		}, report.Fail, "/dev/zero"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			run := runCases(t, Go, Emulated(), Case{Name: "x/c", Rows: []string{anyRow}, Run: row.run})
			wantRow(t, run, anyRow, row.status, row.reason)
			if wrong := suiteErrors(run); wrong != nil {
				t.Errorf("suite errors %q, want none", wrong)
			}
		})
	}
}

func TestCleanupsRunLastFirst(t *testing.T) {
	var order []int
	runCases(t, Go, Emulated(), Case{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) {
		for i := range 3 {
			c.Cleanup(func() { order = append(order, i) })
		}
		c.Failf("and still")
	}})
	if want := []int{2, 1, 0}; !slices.Equal(order, want) {
		t.Errorf("clean-ups ran in the order %v, want %v", order, want)
	}
}

func TestTimeoutIsAnError(t *testing.T) {
	needsLinux(t)
	row, _ := RowByID(anyRow)
	hang := make(chan struct{})
	defer close(hang)
	c := Case{Name: "x/hangs", Rows: []string{anyRow}, Run: func(c *T) {
		c.Note("before", "seen")
		<-hang
	}}
	r := newRunner(Go, Emulated(), []Row{row}, []Case{c})
	r.timeout = time.Millisecond
	r.runAll(nil)
	run := r.Finish()
	wantRow(t, run, anyRow, report.Error, "not at its end after 1ms")
}

func TestInjectIsInTheEvidence(t *testing.T) {
	const plan = `(EAGAIN (And (Op mmap) (FileBacked)))`
	run := runCases(t, Go, Emulated(), Case{Name: "x/c", Rows: []string{fileRow}, Run: func(c *T) {
		lib := c.Inject(plan)
		src, err := lib.SourceFromFD(c.FileFD(4096))
		c.Must(err, "SourceFromFD()")
		m, err := lib.NewMap(c.Config(), src)
		c.Expect("-EAGAIN", err, "NewMap()")
		c.Check(m == nil, "a map")
		c.Map(c.Config(), c.FileSource(4096)) // the other library isn't touched
	}})
	wantRow(t, run, fileRow, report.Pass, "")
	calls := rowOf(t, run, fileRow).Cases[0].Calls
	if want := (Call{Call: "inject " + plan, Outcome: "1 calls failed"}); calls[0] != want {
		t.Errorf("first line of evidence %+v, want %+v", calls[0], want)
	}
	i := slices.IndexFunc(calls, func(c Call) bool { return strings.HasPrefix(c.Call, "NewMap()") })
	if want := "NewMap(), injected: mmap fails with resource temporarily unavailable"; calls[i].Call != want {
		t.Errorf("evidence of the call %q, want %q", calls[i].Call, want)
	}
}

func TestRepeatedCallsAreOneLine(t *testing.T) {
	run := runCases(t, Go, Emulated(), Case{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) {
		for range 3 {
			c.Must(nil, "A()")
		}
		c.Must(nil, "B()")
		c.Must(nil, "A()")
		c.Note("A()", "1")
		c.Note("A()", "1")
		for range 2 {
			c.Inject("(EIO (Op msync))")
		}
		c.Expect("-EIO", syscall.EIO, "C()")
		c.Expect("-EIO", syscall.EIO, "C()")
	}})
	wantRow(t, run, anyRow, report.Pass, "")
	want := []Call{
		{Call: "A() ×3", Outcome: "0"},
		{Call: "B()", Outcome: "0"},
		{Call: "A()", Outcome: "0"},
		{Call: "A() ×2", Outcome: "1"},
		{Call: "inject (EIO (Op msync))", Outcome: "0 calls failed"},
		{Call: "inject (EIO (Op msync))", Outcome: "0 calls failed"},
		{Call: "C() ×2", Outcome: "-EIO"},
	}
	if got := rowOf(t, run, anyRow).Cases[0].Calls; !slices.Equal(got, want) {
		t.Errorf("the evidence is\n%q, want\n%q", got, want)
	}
}

// TestManyConfigsAreFewLines: of the case that makes a hundred.
func TestManyConfigsAreFewLines(t *testing.T) {
	const name = "pmem2_config_new/result-and-object"
	i := slices.IndexFunc(Cases(), func(c Case) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no case %q", name)
	}
	c := Cases()[i]
	calls := rowOf(t, runCases(t, Go, Emulated(), c), c.Rows[0]).Cases[0].Calls
	if len(calls) > 12 || !slices.Contains(calls, Call{Call: "NewConfig() ×100", Outcome: "0"}) {
		t.Errorf("the evidence of %s has %d lines, want a few: %q", name, len(calls), calls)
	}
}

func TestNeedsLackingAreInOrder(t *testing.T) {
	var reasons []string
	for _, needs := range [][]Need{{NeedDevDax, NeedFSDax}, {NeedFSDax, NeedDevDax}} {
		run := runCases(t, Go, Files(FilesConfig{}), Case{Name: "x/c", Rows: []string{anyRow}, Needs: needs, Run: func(*T) {}})
		reasons = append(reasons, rowOf(t, run, anyRow).Reason)
	}
	if reasons[0] != reasons[1] || !strings.HasPrefix(reasons[0], "devdax: ") {
		t.Errorf("the same needs are lacking for the reasons %q", reasons)
	}
}

func TestCoverage(t *testing.T) {
	needsLinux(t)
	row := func(id string) Row {
		r, ok := RowByID(id)
		if !ok {
			t.Fatalf("no row %q", id)
		}
		return r
	}
	rows := []Row{row(anyRow), row(fileRow), row(notApplicableRow)}
	cases := []Case{
		passing("x/good", anyRow),
		passing("x/twice", anyRow), passing("x/twice", anyRow),
		passing("x/unknown", anyRow, "pmem2_map_new/nonsense"),
		passing("x/none"),
		{Name: "x/need", Rows: []string{anyRow}, Needs: []Need{"luck"}, Run: func(*T) {}},
	}
	r := newRunner(Go, Emulated(), rows, cases)
	r.runAll(nil)
	run := r.Finish()
	wantRow(t, run, anyRow, report.Pass, "")
	wantRow(t, run, fileRow, report.Error, "no case checks this row")
	wantRow(t, run, notApplicableRow, report.NotApplicable, "Go's allocator")
	got := strings.Join(suiteErrors(run), "\n")
	for _, want := range []string{
		`two cases named "x/twice"`, `checks row "pmem2_map_new/nonsense"`, `case "x/none" checks no row`, `unknown need "luck"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("suite errors lack %q:\n%s", want, got)
		}
	}
	if n := len(suiteErrors(run)); n != 4 || run.Summary.Error != 5 {
		t.Errorf("%d suite errors, %d in the summary, want 4 and 5:\n%s", n, run.Summary.Error, got)
	}
	if !report.New(run).Failed() {
		t.Error("the report hasn't failed")
	}

	unrun := newRunner(Go, Emulated(), rows[:1], cases[:1]).Finish()
	wantRow(t, unrun, anyRow, report.Error, "was not run")
}

func TestWhatTheTargetLacksIsNotRun(t *testing.T) {
	files := Files(FilesConfig{})
	ran := 0
	dax := Case{Name: "x/dax", Rows: []string{devDaxRow, anyRow}, Run: func(*T) { ran++ }}
	run := runCases(t, Go, files, dax, passing("x/any", anyRow))
	wantRow(t, run, devDaxRow, report.NotSupported, "no device DAX")
	wantRow(t, run, anyRow, report.Pass, "")
	if ran != 0 {
		t.Errorf("the case ran %d times, want 0", ran)
	}
	if wrong := suiteErrors(run); wrong != nil {
		t.Errorf("suite errors %q, want none", wrong)
	}
}

func TestOutcome(t *testing.T) {
	lib := Go.On(platform.Host())
	for _, row := range []struct {
		err  error
		want string
	}{
		{nil, "0"},
		{&pmem2.Error{Code: pmem2.ErrMapRange}, "PMEM2_E_MAP_RANGE"},
		{errors.New("x"), "no code: x"},
	} {
		if got := lib.Outcome(row.err); got != row.want {
			t.Errorf("Outcome(%v) = %q, want %q", row.err, got, row.want)
		}
	}
}

func TestWhoseCodePanics(t *testing.T) {
	for _, row := range []struct {
		function        string
		suite, standard bool
	}{
		{"pmemlab/conformance.mapCases.func1", true, false},
		{"pmemlab/conformance_test.check", true, false},
		{"pmemlab/conformance/report.New", true, false},
		{"pmemlab/emu/fault.Parse", true, false},
		{"pmemlab/pmem2/platform/ledger.(*Ledger).Open", true, false},
		{"pmemlab/pmem2.(*Map).Delete", false, false},
		{"pmemlab/emulsion.New", false, false},
		{"example.com/other.Library.NewMap", false, false},
		{"main.main", false, false},
		{"strings.Repeat", false, true},
		{"internal/bytealg.Index", false, true},
		{"runtime.panicmem", false, true},
	} {
		if got := inSuite(row.function); got != row.suite {
			t.Errorf("inSuite(%s) = %t, want %t", row.function, got, row.suite)
		}
		if got := inStandardLibrary(row.function); got != row.standard {
			t.Errorf("inStandardLibrary(%s) = %t, want %t", row.function, got, row.standard)
		}
	}
}
