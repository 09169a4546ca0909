package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"pmemlab/ci/vm"
	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// TestBesideGo puts rows of C beside those of Go: one alike, one that the contract says
// differs, one that it doesn't, and those that didn't run.
func TestBesideGo(t *testing.T) {
	var agrees, differs string
	for _, row := range conformance.Rows() {
		if row.Differs() {
			differs = row.ID
		} else if !row.NotApplicable() {
			agrees = row.ID
		}
	}
	run := func(subject string, statuses map[string]report.Status) report.Report {
		r := report.Run{Subject: subject, Target: "vm-m"}
		for id, s := range statuses {
			r.Rows = append(r.Rows, report.Row{ID: id, Status: s})
		}
		r.Summary = report.Summarize(r.Rows)
		return report.New(r)
	}
	o, m := options{reports: t.TempDir()}, vm.Machine{Name: "m"}
	var out bytes.Buffer
	if err := besideGo(&out, o, m, run("c", nil)); err != nil || !strings.Contains(out.String(), "vm-m.json isn't there") {
		t.Errorf("without Go's report: %v, %s", err, out.String())
	}
	golang := run("go", map[string]report.Status{agrees: report.Pass, differs: report.Pass, "c alone": report.NotSupported})
	if err := writeReport(reportFile(o, m, "conformance"), golang.WriteJSON); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		agrees, differs report.Status
		want, wrong     string
	}{
		{report.Pass, report.KnownDivergence, "2 rows ran for both: 1 alike, 1 differ as the contract says, 0 otherwise", ""},
		{report.Pass, report.Pass, "2 rows ran for both: 2 alike, 0 differ as the contract says, 0 otherwise", ""},
		{report.NotSupported, report.Fail, "1 rows ran for both: 0 alike, 1 differ as the contract says, 0 otherwise", ""},
		{report.Fail, report.KnownDivergence, "2 rows ran for both: 0 alike, 1 differ as the contract says, 1 otherwise", "row " + agrees + " is pass for Go and fail for C"},
	} {
		out.Reset()
		err := besideGo(&out, o, m, run("c", map[string]report.Status{agrees: c.agrees, differs: c.differs, "c alone": report.Pass, "unknown": report.Pass}))
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: want %q", out.String(), c.want)
		}
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%v: want %q", err, c.wrong)
		}
	}
	if err := os.WriteFile(reportFile(o, m, "conformance"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := besideGo(&out, o, m, golang); err == nil {
		t.Error("no error for a report that can't be read")
	}
}
