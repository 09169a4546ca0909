package libpmem2_test

import (
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance"
	"pmemlab/conformance/libpmem2"
	"pmemlab/conformance/report"
)

// plain are the needs that ordinary files satisfy.
var plain = []conformance.Need{
	conformance.NeedNothing, conformance.NeedFile, conformance.NeedReservation,
	conformance.NeedFaultInjection, conformance.NeedAppendOnly,
}

// TestDivergencesFitTheContract compares the list with the contract's column "reference":
// each row that differs and can be checked on files has a place where it shows, and no
// other has.
func TestDivergencesFitTheContract(t *testing.T) {
	cases := conformance.Cases()
	onFiles := func(row conformance.Row) bool {
		return slices.Contains(plain, row.Needs) && slices.ContainsFunc(cases, func(c conformance.Case) bool {
			return slices.Contains(c.Rows, row.ID) && !slices.ContainsFunc(c.Needs, func(n conformance.Need) bool { return !slices.Contains(plain, n) })
		})
	}
	own := map[string]bool{} // rows that show a difference in a case of theirs
	for _, d := range libpmem2.Divergences() {
		i := slices.IndexFunc(cases, func(c conformance.Case) bool { return c.Name == d.Case })
		row, known := conformance.RowByID(d.Row)
		switch {
		case i < 0:
			t.Errorf("%v: there is no case %q", d, d.Case)
			continue
		case !known:
			t.Errorf("%v: there is no row %q", d, d.Row)
			continue
		case !row.Differs():
			t.Errorf("%v: the contract doesn't say that row %s differs", d, d.Row)
		case (d.Want == "") != (d.Got == "") || d.At == "" || d.Want == d.Got && d.Want != "":
			t.Errorf("row %s, case %s: at %q is wanted %q and known %q", d.Row, d.Case, d.At, d.Want, d.Got)
		}
		if slices.Contains(cases[i].Rows, d.Row) {
			own[d.Row] = true
		}
	}
	for _, row := range conformance.Rows() {
		if row.Library == "pmem2" && row.Differs() && onFiles(row) && !own[row.ID] {
			t.Errorf("row %s differs (%s %s), and no case is known to show it", row.ID, row.Reference.Expect, row.Reference.Effect)
		}
	}
}

// TestEachRowHasAReproducer is about the rows that a few lines of C can show.
func TestEachRowHasAReproducer(t *testing.T) {
	all, err := libpmem2.Reproducers()
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, r := range all {
		for _, id := range r.Rows {
			if row, ok := conformance.RowByID(id); !ok || !row.Differs() {
				t.Errorf("reproducer %s: row %s isn't in the contract, or doesn't differ there", r.Name, id)
			}
			told[id] = true
		}
	}
	for _, d := range libpmem2.Divergences() {
		// Which libraries are loaded no program has to tell of itself, and a device no machine has to have.
		if !told[d.Row] && d.Variant != "hardware" && d.Row != "pmem2_source_numa_node/needs-libndctl" {
			t.Errorf("no reproducer shows row %s", d.Row)
		}
	}
}

// TestWriteDivergences writes a report of a run that was put together by hand.
func TestWriteDivergences(t *testing.T) {
	const row, unseen = "pmem2_badblock_next/PMEM2_E_NOSUPP#1", "pmem2_source_numa_node/needs-libndctl"
	known := func(id string, calls ...report.Call) report.Row {
		c := report.Case{Name: "pmem2_badblock_next/no context", Status: report.KnownDivergence, Calls: calls}
		return report.Row{ID: id, Status: report.KnownDivergence, Cases: []report.Case{c}}
	}
	run := report.Run{Subject: "c", Target: "files", Rows: []report.Row{
		known(row, report.Call{Call: "NewMap()", Outcome: "0"}, report.Call{Call: "pmem2_badblock_next", Outcome: "SIGSEGV"}), known(unseen),
	}}
	all, err := libpmem2.Reproducers()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(r libpmem2.Reproducer) bool { return r.Rows[0] == row })
	for _, c := range []struct {
		printed string
		want    []string
	}{
		{all[i].Prints, []string{"2 differences, 1 of them reproduced", "This prints, on this machine:\n\n```\n" + all[i].Prints}},
		{"PMEM2_E_NOSUPP", []string{"2 differences, 0 of them reproduced", "**Not reproduced:**", "```\nPMEM2_E_NOSUPP\n"}},
		{"", []string{"0 of them reproduced", "lack of a privilege"}},
	} {
		var text strings.Builder
		if err := libpmem2.WriteDivergences(&text, run, []libpmem2.Reproduced{{Reproducer: all[i], Printed: c.printed}}); err != nil {
			t.Fatal(err)
		}
		want := append(c.want, all[i].Title, all[i].Body, "`pmem2_badblock_next` → SIGSEGV, want PMEM2_E_NOSUPP",
			"Seen by the cases alone\n\n- **pmem2_source_numa_node(3)**", "static const char *name(int r)")
		for _, w := range want {
			if !strings.Contains(text.String(), w) {
				t.Errorf("printed %q: the report lacks %q:\n%.3000s", c.printed, w, text.String())
			}
		}
		if strings.Contains(text.String(), "NewMap()") {
			t.Error("the report has a call that shows nothing")
		}
	}
}
