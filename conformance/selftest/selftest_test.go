package selftest

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

func TestMain(m *testing.M) {
	conformance.RunChild(Subjects()...)
	os.Exit(m.Run())
}

func needsEmulated(t *testing.T) {
	t.Helper()
	if why := conformance.Emulated().Lacks(conformance.NeedNothing); why != "" {
		t.Skip(why)
	}
}

// TestBank: every broken subject is caught by the row that it breaks.
func TestBank(t *testing.T) {
	needsEmulated(t)
	allCaught, err := WriteTable(t.Output(), Run(conformance.Emulated(), Bank(), nil))
	if err != nil {
		t.Error(err)
	}
	if !allCaught {
		t.Error("not all broken subjects are caught")
	}
}

// TestSurvivors: a subject without a fault isn't caught, nor one whose fault is in
// another row, nor one on a target that isn't as it says.
func TestSurvivors(t *testing.T) {
	needsEmulated(t)
	const row, other = "pmem2_config_set_offset/PMEM2_E_OFFSET_OUT_OF_RANGE#1", "pmem2_config_set_length/always-zero"
	healthy := func() *faults { return &faults{} }
	refuses := answers("Config.SetOffset", nil, errors.New("no"))
	for _, c := range []struct {
		name, row string
		make      func() *faults
		target    conformance.Target
		why       string
	}{
		{"no fault", row, healthy, conformance.Emulated(), `the status "pass"`},
		{"a fault elsewhere", other, refuses, conformance.Emulated(), `the status "pass"`},
		{"no such row", "pmem2_config_set_offset/none", refuses, conformance.Emulated(), `without the fault the row has the status ""`},
		{"a target that lacks it", "pmem2_deep_flush/most-reliable-domain", refuses, lacking{conformance.Emulated()}, "suite: target emulated"},
	} {
		b := Broken{Name: c.name, Row: c.row, subject: &subject{name: c.name, make: c.make}}
		results := Run(c.target, []Broken{b}, nil)
		if len(results) != 1 || results[0].Caught || !strings.Contains(results[0].Why, c.why) {
			t.Errorf("%s: %+v, want that it isn't caught (…%s…)", c.name, results, c.why)
		}
	}
}

// lacking is a target that can't cut the power.
type lacking struct{ conformance.Target }

func (l lacking) Lacks(n conformance.Need) string {
	if n == conformance.NeedCrash {
		return "no switch"
	}
	return l.Target.Lacks(n)
}

func TestVerdict(t *testing.T) {
	of := func(s report.Status) map[string]report.Row {
		return map[string]report.Row{"x": {Status: s, Reason: "because"}}
	}
	suite := of(report.Fail)
	suite[""] = report.Row{Reason: "left over"}
	for _, c := range []struct {
		healthy, broken map[string]report.Row
		caught          bool
		why             string
	}{
		{of(report.Pass), of(report.Fail), true, "because"},
		{of(report.Pass), of(report.Pass), false, "pass"},
		{of(report.Pass), of(report.Error), false, "error"},
		{of(report.Pass), of(report.NotSupported), false, "not-supported"},
		{of(report.Fail), of(report.Fail), false, "without the fault"},
		{of(report.Pass), suite, false, "suite: left over"},
		{suite, of(report.Fail), false, "suite: left over"},
	} {
		caught, why := verdict("x", c.healthy, c.broken)
		if caught != c.caught || !strings.Contains(why, c.why) {
			t.Errorf("%v, %v: %v (%s), want %v (…%s…)", c.healthy, c.broken, caught, why, c.caught, c.why)
		}
	}
}

func TestTable(t *testing.T) {
	one := Result{Broken{Name: "one", Row: "p/1", Page: "p"}, true, "got 1,\n want 2"}
	two := Result{Broken{Name: "two", Row: "q/2", Page: "q"}, false, strings.Repeat("x", 500)}
	for _, c := range []struct {
		results []Result
		all     bool
		last    string
		holds   []string
	}{
		{[]Result{one, two}, false, "selftest: 2 broken subjects, 1 caught, 1 survived", []string{"\np\n", "caught    one", "p/1", "got 1, want 2", "\nq\n", "SURVIVED  two", "xxx…"}},
		{[]Result{one}, true, "selftest: 1 broken subjects, 1 caught, 0 survived", nil},
		{nil, false, "selftest: 0 broken subjects, 0 caught, 0 survived", nil},
	} {
		var out strings.Builder
		all, err := WriteTable(&out, c.results)
		if all != c.all || err != nil {
			t.Errorf("%+v: all caught %v, %v", c.results, all, err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if last := lines[len(lines)-1]; last != c.last {
			t.Errorf("the last line is %q, want %q", last, c.last)
		}
		for _, text := range c.holds {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%q isn't in the table %s", text, out.String())
			}
		}
	}
	if _, err := WriteTable(full{}, nil); err == nil {
		t.Error("what can't be written is no error")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

// TestHealthyBehindWrappers: what stands before the objects of the library changes
// nothing, in any row. TestBank says so of the rows of the bank.
func TestHealthyBehindWrappers(t *testing.T) {
	needsEmulated(t)
	if testing.Short() {
		t.Skip("runs most cases")
	}
	inBank := map[string]bool{}
	for _, b := range Bank() {
		inBank[b.Row] = true
	}
	others := slices.DeleteFunc(conformance.Cases(), func(c conformance.Case) bool {
		return !slices.ContainsFunc(c.Rows, func(id string) bool { return !inBank[id] })
	})
	if len(others) == 0 {
		t.Error("no case is left")
	}
	run := conformance.Check(Healthy(), conformance.Emulated(), others, nil)
	for _, r := range run.Rows {
		if inBank[r.ID] && len(r.Cases) == 0 {
			continue
		}
		if r.Status != report.Pass && r.Status != report.NotApplicable {
			t.Errorf("%s: %s (%s)", r.ID, r.Status, r.Reason)
		}
	}
}
