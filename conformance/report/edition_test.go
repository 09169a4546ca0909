package report_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance/report"
)

// editions is a report of rows of both libraries, of which libpmemset's are in one
// edition, in two, in all.
func editions() report.Report {
	row := func(id, library string, s report.Status, editions ...string) report.Row {
		return report.Row{ID: "p/" + id, Library: library, Page: library + "_new", Editions: editions, Status: s, Reason: "because"}
	}
	run := report.Run{Subject: "go", Target: "emulated", Rows: []report.Row{
		row("all", "pmemset", report.Pass, "parts-1.11", "map-api", "1.12.1"),
		row("two", "pmemset", report.Fail, "map-api", "1.12.1"),
		row("one", "pmemset", report.NotSupported, "parts-1.11"),
		row("last", "pmemset", report.Error, "1.12.1"),
		row("another", "pmem2", report.Pass, "2.x"),
		row("other", "pmem2", report.Pass, "1.12.1", "2.x"),
	}}
	run.Summary = report.Summarize(run.Rows)
	return report.New(run)
}

func TestEditionsAreSummedUp(t *testing.T) {
	want := []string{
		"libpmemset, parts-1.11: 2 rows, 1 pass, 1 not-supported",
		"libpmemset, map-api: 2 rows, 1 pass, 1 fail",
		"libpmemset, 1.12.1: 3 rows, 1 pass, 1 fail, 1 error",
	}
	if got, want := (report.Edition{Library: "l", Name: "e", Summary: report.Summary{Fail: 1}}).String(), "l, e: 1 row, 0 pass, 1 fail"; got != want {
		t.Errorf("an edition without a pass is %q, want %q", got, want)
	}
	r := editions()
	var got []string
	for _, e := range r.Runs[0].Editions {
		got = append(got, e.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the editions are\n%q, want\n%q", got, want)
	}
	if sum := r.Summary(); sum.Total() != 6 || sum.Pass != 3 || sum.Fail != 1 {
		t.Errorf("the sum is %+v, want each of 6 rows once", sum)
	}

	page := read(t, written(t, r), "conformance.html")
	for _, line := range want {
		if n := strings.Count(page, "<p>"+line+"</p>"); n != 1 {
			t.Errorf("the page has the line %q %d times, want once", line, n)
		}
	}
	if want := "data-editions=\"libpmemset, map-api\nlibpmemset, 1.12.1\""; strings.Count(page, want) != 1 {
		t.Errorf("the page has %q %d times, want once", want, strings.Count(page, want))
	}
	if n := strings.Count(page, "<option>libpmemset, "); n != 3 {
		t.Errorf("the page lets choose among %d editions, want 3", n)
	}
}

func TestTextTellsLibpmemsetByEdition(t *testing.T) {
	var out bytes.Buffer
	if err := editions().WriteText(&out); err != nil {
		t.Fatal(err)
	}
	const want = `go on emulated: pmem2_new               2 of 2 rows pass
go on emulated: libpmemset, parts-1.11  1 of 2 rows pass (1 not-supported)
go on emulated: libpmemset, map-api     1 of 2 rows pass (1 fail)
  FAIL p/two: because
go on emulated: libpmemset, 1.12.1      1 of 3 rows pass (1 fail, 1 error)
  ERROR p/last: because
conformance: 6 rows, 3 pass, 0 known-divergence, 0 not-applicable, 1 not-supported, 1 fail, 1 error
`
	if got := out.String(); got != want {
		t.Errorf("the text is\n%s, want\n%s", got, want)
	}
}

func TestJSONHasTheEditions(t *testing.T) {
	var out bytes.Buffer
	if err := editions().WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var back report.Report
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if got, want := back.Runs[0].Editions, editions().Runs[0].Editions; !slices.Equal(got, want) {
		t.Errorf("the editions are %+v, want %+v", got, want)
	}
	for _, want := range []string{`"library": "libpmemset"`, `"name": "parts-1.11"`, `"not-supported": 1`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the JSON lacks %s", want)
		}
	}
}

// TestOtherLibrariesHaveNoEditions: theirs are told by page, and nothing of a report
// of theirs speaks of editions of the whole run.
func TestOtherLibrariesHaveNoEditions(t *testing.T) {
	r := report.New(sample().Runs...)
	for _, run := range r.Runs {
		if run.Editions != nil {
			t.Errorf("%s has the editions %v, want none", run.Name(), run.Editions)
		}
	}
	page := read(t, written(t, r), "conformance.html")
	for _, not := range []string{`data-editions="`, `id="edition"`, "libpmemset"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %s", not)
		}
	}
}

// TestNewLeavesTheRunsAlone: the sums are put into runs of the report's own.
func TestNewLeavesTheRunsAlone(t *testing.T) {
	runs := editions().Runs
	runs[0].Editions = nil
	if r := report.New(runs...); runs[0].Editions != nil || len(r.Runs[0].Editions) != 3 {
		t.Errorf("the run given has %v, that of the report %v", runs[0].Editions, r.Runs[0].Editions)
	}
}
