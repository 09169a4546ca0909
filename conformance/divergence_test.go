package conformance

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"pmemlab/conformance/report"
)

// diverging is a subject of which something is known.
type diverging struct {
	Subject
	known []Divergence
}

func (d diverging) Divergences() []Divergence { return d.known }

// TestKnownDivergences runs a case of two rows against what is known of the first.
func TestKnownDivergences(t *testing.T) {
	const pass, fail, known, lacking = report.Pass, report.Fail, report.KnownDivergence, report.NotSupported
	call := Divergence{At: "A(*)", Want: "0", Got: "-EIO"}
	check := Divergence{At: "the size is * and not 7"}
	ending := func(d Divergence) Divergence { d.Ends = true; return d }
	elsewhere := func(d Divergence, at string) Divergence { d.At = at; return d }
	for _, row := range []struct {
		name          string
		known         []Divergence
		run           func(c *T)
		first, second report.Status
		reason        string // of the first row
	}{
		{"exact", []Divergence{call}, func(c *T) {
			c.Must(syscall.EIO, "A(1)")
			c.Must(nil, "B()")
		}, known, pass, "-EIO of A(*)"},
		{"every time", []Divergence{call}, func(c *T) {
			c.Must(syscall.EIO, "A(1)")
			c.Must(syscall.EIO, "A(2)")
		}, known, pass, ""},
		{"better", []Divergence{call}, func(c *T) { c.Must(nil, "A(1)") }, fail, fail, "returns -EIO here; it returns 0, which the ruling asks for: mend the contract"},
		{"better the second time", []Divergence{call}, func(c *T) {
			c.Must(syscall.EIO, "A(1)")
			c.Must(nil, "A(2)")
		}, fail, fail, "mend the contract"},
		{"worse", []Divergence{call}, func(c *T) { c.Must(syscall.ENOMEM, "A(1)") }, fail, fail, "or -EIO as the contract says"},
		{"at another call", []Divergence{call}, func(c *T) { c.Must(syscall.EIO, "B()") }, fail, fail, "B(): got -EIO"},
		{"where something else is wanted", []Divergence{call}, func(c *T) { c.Expect("-ENOMEM", syscall.EIO, "A(1)") }, fail, fail, "want -ENOMEM"},
		{"never", []Divergence{call}, func(c *T) { c.Must(nil, "B()") }, fail, fail, "with -EIO of A(*); it doesn't"},
		{"one of two", []Divergence{call, elsewhere(call, "B()")}, func(c *T) { c.Must(syscall.EIO, "A(1)") }, fail, fail, "with -EIO of B(); it doesn't"},
		{"either outcome", []Divergence{call, {At: "A(2)", Want: "0", Got: "-ENOMEM"}}, func(c *T) {
			c.Must(syscall.EIO, "A(2)")
			c.Must(syscall.ENOMEM, "A(2)")
		}, known, pass, "-EIO of A(*); -ENOMEM of A(2)"},
		{"a failure behind it", []Divergence{call}, func(c *T) {
			c.Must(syscall.EIO, "A(1)")
			c.Must(syscall.EIO, "B()")
		}, fail, fail, "B(): got -EIO"},
		{"not supported behind it", []Divergence{call}, func(c *T) {
			c.Must(syscall.EIO, "A(1)")
			c.NotSupportedf("no tape")
		}, known, lacking, ""},
		{"not supported before it", []Divergence{call}, func(c *T) { c.NotSupportedf("no tape") }, lacking, lacking, "no tape"},
		{"check", []Divergence{check}, func(c *T) {
			c.Check(false, "the size is %d and not 7", 8)
			c.Must(nil, "B()")
		}, known, pass, `that "the size is * and not 7" doesn't hold`},
		{"check that holds", []Divergence{check}, func(c *T) { c.Check(true, "the size is %d and not 7", 8) }, fail, fail, "it doesn't"},
		{"another check", []Divergence{check}, func(c *T) { c.Check(false, "the size is %d and not 8", 7) }, fail, fail, "the size is 7 and not 8"},
		{"the end of the case", []Divergence{ending(call)}, func(c *T) {
			c.Must(syscall.EIO, "A(1)")
			c.Failf("goes on")
		}, fail, fail, "unchecked pmem2_map_new/PMEM2_E_MAP_RANGE#1: it should be split"},
		{"Failf", []Divergence{check}, func(c *T) {
			c.Failf("the size is %d and not 7", 8)
			c.Brokenf("goes on")
		}, fail, fail, "it should be split"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for i := range row.known {
				row.known[i].Row, row.known[i].Case = anyRow, "x/c"
			}
			subject := diverging{Go, append(row.known, Divergence{Row: anyRow, Case: "x/other", At: "B()", Want: "0", Got: "-EIO"})}
			c := Case{Name: "x/c", Rows: []string{anyRow, fileRow}, Run: row.run}
			run := runCases(t, subject, Emulated(), c)
			wantRow(t, run, anyRow, row.first, row.reason)
			wantRow(t, run, fileRow, row.second, "")
		})
	}
}

// TestDivergencesOfSeveralRows: at one place two rows show one, of which one isn't the
// case's own, and a case that ends has shown both of its rows.
func TestDivergencesOfSeveralRows(t *testing.T) {
	at := func(row string) Divergence {
		return Divergence{Row: row, Case: "x/c", At: "A()", Want: "0", Got: "-EIO", Ends: true}
	}
	run := func(c *T) { c.Must(syscall.EIO, "A()") }
	got := runCases(t, diverging{Go, []Divergence{at(anyRow), at(fileRow)}}, Emulated(), Case{Name: "x/c", Rows: []string{anyRow, fileRow}, Run: run})
	wantRow(t, got, anyRow, report.KnownDivergence, "")
	wantRow(t, got, fileRow, report.KnownDivergence, "")
	foreign := at(fileRow)
	foreign.Ends = false
	got = runCases(t, diverging{Go, []Divergence{foreign}}, Emulated(), Case{Name: "x/c", Rows: []string{anyRow}, Run: run})
	wantRow(t, got, anyRow, report.Pass, "")
}

// TestDivergenceOfOneVariant is known of a tmpfs, and there on both.
func TestDivergenceOfOneVariant(t *testing.T) {
	known := Divergence{Row: anyRow, Case: "x/c", At: "A()", Want: "0", Got: "-EIO", Variant: "tmpfs"}
	run := runCases(t, diverging{Go, []Divergence{known}}, Files(FilesConfig{}), Case{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) {
		c.Must(syscall.EIO, "A()")
	}})
	for _, c := range rowOf(t, run, anyRow).Cases {
		want := report.Fail
		if c.Variant == "tmpfs" {
			want = report.KnownDivergence
		}
		if c.Status != want && c.Status != report.NotSupported {
			t.Errorf("on %s: %s (%s), want %s", c.Variant, c.Status, c.Reason, want)
		}
	}
}

// TestNoObject: a call that isn't made, because there is no object, is a clear error and
// no code.
func TestNoObject(t *testing.T) {
	run := runCases(t, Go, Emulated(), Case{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) {
		c.Expect("-EINVAL", noObject{}, "A()")
	}}, Case{Name: "x/code", Rows: []string{devDaxRow}, Run: func(c *T) {
		c.Expect("PMEM2_E_MAPPING_NOT_FOUND", noObject{}, "B()")
	}}, Case{Name: "x/d", Rows: []string{fileRow}, Run: func(c *T) { c.Must(noObject{}, "A()") }})
	wantRow(t, run, anyRow, report.Pass, "")
	wantRow(t, run, devDaxRow, report.NotSupported, "B(): the call can't be made")
	wantRow(t, run, fileRow, report.Fail, "A(): got no code: gone")
	if calls := rowOf(t, run, anyRow).Cases[0].Calls; !slices.Contains(calls, Call{Call: "A()", Outcome: "(no object)"}) {
		t.Errorf("the evidence is %v", calls)
	}
}

type noObject struct{}

func (noObject) Error() string  { return "gone" }
func (noObject) NoObject() bool { return true }

// storingError is an error that tells what was stored all the same.
type storingError struct{ what string }

func (s storingError) Error() string  { return "x" }
func (s storingError) Stored() string { return s.what }

func TestCheckUnmodified(t *testing.T) {
	for _, row := range []struct {
		err    error
		status report.Status
	}{{nil, report.Pass}, {syscall.EIO, report.Pass}, {storingError{}, report.Pass}, {storingError{"*n is 0"}, report.Fail}} {
		run := runCases(t, Go, Emulated(), Case{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) { c.checkUnmodified(row.err, "A(%d)", 1) }})
		reason := ""
		if row.status == report.Fail {
			reason = "A(1) fails and stores all the same: *n is 0"
		}
		wantRow(t, run, anyRow, row.status, reason)
	}
}

func TestMatches(t *testing.T) {
	for _, row := range []struct {
		pattern, text string
		want          bool
	}{
		{"A()", "A()", true}, {"A()", "A() ", false}, {"", "", true}, {"", "x", false},
		{"*", "", true}, {"*", "anything", true}, {"A(*)", "A()", true}, {"A(*)", "A(1, 2)", true}, {"A(*)", "B(1)", false},
		{"A(*)", "A(1", false}, {"A(*, 2)", "A(1, 2)", true}, {"A(*, 2)", "A(1, 3)", false}, {"a*b*c", "abc", true},
		{"a*b*c", "axbyc", true}, {"a*b*c", "acb", false}, {"a*b*b", "ab", false}, {"ab*ba", "aba", false}, {"a*b*c*d", "a c b d", false},
	} {
		if got := matches(row.pattern, row.text); got != row.want {
			t.Errorf("matches(%q, %q) = %t", row.pattern, row.text, got)
		}
	}
}

func TestShown(t *testing.T) {
	d := Divergence{At: "A(*)", Want: "0", Got: "-EIO"}
	for _, row := range []struct {
		call, outcome string
		want          bool
	}{
		{"A(1)", "-EIO", true}, {"A(1)", "0", false}, {"B(1)", "-EIO", false}, {"A(1) ×3", "-EIO", true},
		{"A(1), injected: mmap fails with x ×2", "-EIO", true},
	} {
		if got := d.Shown(Call{Call: row.call, Outcome: row.outcome}); got != row.want {
			t.Errorf("Shown(%s → %s) = %t", row.call, row.outcome, got)
		}
	}
}

// TestDiffers of rows of each kind.
func TestDiffers(t *testing.T) {
	yes, no := true, false
	for _, row := range []struct {
		name string
		row  Row
		want bool
	}{
		{"another outcome", Row{Expect: "0", Reference: Reference{Expect: "-EIO", AgreesWithPage: &no}}, true},
		{"an effect", Row{Expect: "0", Reference: Reference{Expect: "0", Effect: "more"}}, true},
		{"an effect of a sentence", Row{Reference: Reference{Effect: "more"}}, true},
		{"the page has another name", Row{Expect: "0", Reference: Reference{Expect: "0", AgreesWithPage: &no}}, false},
		{"another errno for an example", Row{Expect: "-EIO", Reference: Reference{Expect: "-ENOMEM", AgreesWithPage: &yes}}, false},
		{"unknown", Row{Expect: "0"}, false},
		{"not applicable", Row{Ruling: "not-applicable:x", Reference: Reference{Effect: "more"}}, false},
	} {
		if got := row.row.Differs(); got != row.want {
			t.Errorf("%s: Differs is %t", row.name, got)
		}
	}
}

// TestDivergencesAreNoFailure: the statuses of a run with divergences don't make it fail.
func TestDivergencesAreNoFailure(t *testing.T) {
	known := Divergence{Row: anyRow, Case: "x/c", At: "A()", Want: "0", Got: "-EIO"}
	run := runCases(t, diverging{Go, []Divergence{known}}, Emulated(), Case{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) { c.Must(syscall.EIO, "A()") }})
	if report.New(run).Failed() || run.Summary.KnownDivergence != 1 {
		t.Errorf("failed, or not one known divergence: %+v", run.Summary)
	}
	if !strings.Contains(rowOf(t, run, anyRow).Reason, "as the contract says") {
		t.Error("the reason doesn't say that it is known")
	}
}
