package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pmemlab/conformance/report"
)

const evil = `<script>alert("x")</script> & 'y' ]]>`

// sample has a row of each status, in two runs.
func sample() report.Report {
	var runs []report.Run
	for i, target := range []string{"emulated", "files"} {
		run := report.Run{Subject: "go", Target: target, Capabilities: []string{"nothing", "file"}}
		for j, s := range report.Statuses() {
			row := report.Row{
				ID: "p/" + string(s), Library: "pmem2", Page: []string{"p", "q"}[j%2], Editions: []string{"2.x"}, Code: "0",
				Condition: "when " + evil, Ruling: "as-page", Status: s, Reason: "because " + evil,
				Cases: []report.Case{{Name: "c", Variant: "v", Status: s, Reason: evil, Calls: []report.Call{{Call: evil, Outcome: "0"}}}},
				About: report.About{Function: "f", Reference: "C does " + evil},
			}
			run.Rows = append(run.Rows, row)
			if i == 1 && s == report.Pass {
				row.ID = "p/another"
				run.Rows = append(run.Rows, row)
			}
		}
		run.Summary = report.Summarize(run.Rows)
		runs = append(runs, run)
	}
	return report.New(runs...)
}

// counts is how many rows of each status there are.
type counts map[report.Status]int

func written(t *testing.T, r report.Report) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "a", "b")
	if err := r.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReportAloneAsJSON(t *testing.T) {
	r := sample()
	dir := written(t, r)
	file := filepath.Join(t.TempDir(), "new", "report.json")
	if err := r.WriteFiles(file); err != nil {
		t.Fatal(err)
	}
	if read(t, file) != read(t, dir, "conformance.json") {
		t.Error("the JSON file alone isn't that of the directory")
	}
	if found, err := os.ReadDir(filepath.Dir(file)); err != nil || len(found) != 1 {
		t.Errorf("there are %d files, want the JSON alone: %v", len(found), err)
	}
}

func TestReportsAgree(t *testing.T) {
	r := sample()
	want := counts{}
	for _, s := range report.Statuses() {
		want[s] = r.Summary().Count(s)
	}
	if want[report.Pass] != 3 || want[report.Error] != 2 {
		t.Fatalf("the sums are %v, want 3 pass and 2 error", want)
	}
	dir := written(t, r)
	same := func(from string, got counts) {
		t.Helper()
		for _, s := range report.Statuses() {
			if got[s] != want[s] {
				t.Errorf("%s: %d rows are %s, want %d", from, got[s], s, want[s])
			}
		}
	}

	var back report.Report
	if err := json.Unmarshal([]byte(read(t, dir, "conformance.json")), &back); err != nil {
		t.Fatal(err)
	}
	fromJSON, fromSummary := counts{}, counts{}
	for _, run := range back.Runs {
		for _, row := range run.Rows {
			fromJSON[row.Status]++
		}
		for _, s := range report.Statuses() {
			fromSummary[s] += run.Summary.Count(s)
		}
	}
	same("JSON rows", fromJSON)
	same("JSON summary", fromSummary)

	fromHTML := counts{}
	cell := regexp.MustCompile(`<span class="status ([a-z-]+)"><span class="mark" aria-hidden="true">.</span>([a-z-]+)<span class="runname`)
	for _, m := range cell.FindAllStringSubmatch(read(t, dir, "conformance.html"), -1) {
		if m[1] != m[2] {
			t.Errorf("HTML: a cell has the class %s and says %s", m[1], m[2])
		}
		fromHTML[report.Status(m[2])]++
	}
	same("HTML", fromHTML)

	var suites struct {
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
		Tests    int `xml:"tests,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Failure, Error, Skipped *struct {
					Message string `xml:"message,attr"`
				}
				Out string `xml:"system-out"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	text := strings.NewReplacer("<failure", "<Failure", "</failure", "</Failure", "<error", "<Error", "</error", "</Error",
		"<skipped", "<Skipped", "</skipped", "</Skipped").Replace(read(t, dir, "junit.xml"))
	if err := xml.Unmarshal([]byte(text), &suites); err != nil {
		t.Fatal(err)
	}
	fromXML := counts{}
	for _, s := range suites.Suites {
		for _, c := range s.Cases {
			switch {
			case c.Failure != nil:
				fromXML[report.Fail]++
			case c.Error != nil:
				fromXML[report.Error]++
			case c.Skipped != nil:
				status, _, _ := strings.Cut(c.Skipped.Message, ":")
				fromXML[report.Status(status)]++
			case strings.HasPrefix(c.Out, "known-divergence: "):
				fromXML[report.KnownDivergence]++
			default:
				fromXML[report.Pass]++
			}
		}
	}
	same("JUnit cases", fromXML)
	if suites.Failures != 2 || suites.Errors != 2 || suites.Skipped != 4 || suites.Tests != 13 || len(suites.Suites) != 2 {
		t.Errorf("JUnit: the sums are %+v", suites)
	}
}

func TestJSONFormat(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(read(t, written(t, sample()), "conformance.json")), &doc); err != nil {
		t.Fatal(err)
	}
	if doc["schema"] != "pmemlab.conformance/v1" {
		t.Errorf("schema is %v", doc["schema"])
	}
	first := func(v any, key string) map[string]any { return v.(map[string]any)[key].([]any)[0].(map[string]any) }
	run := first(doc, "runs")
	row := first(run, "rows")
	cas := first(row, "cases")
	for _, want := range []struct {
		of   map[string]any
		keys string
	}{
		{doc, "runs schema"},
		{run, "capabilities rows subject summary target"},
		{run["summary"].(map[string]any), "error fail known-divergence not-applicable not-supported pass"},
		{row, "cases code condition editions id library page reason ruling status"},
		{cas, "calls name reason status variant"},
		{first(cas, "calls"), "call outcome"},
	} {
		var keys []string
		for k := range want.of {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if got := strings.Join(keys, " "); got != want.keys {
			t.Errorf("keys are %q, want %q", got, want.keys)
		}
	}
}

func TestHTML(t *testing.T) {
	page := read(t, written(t, sample()), "conformance.html")
	if strings.Contains(page, "<script>alert") {
		t.Error("the page has the text of a row as markup")
	}
	if n := strings.Count(page, "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp; &#39;y&#39;"); n == 0 {
		t.Error("the page lacks the text of a row")
	}
	if found := regexp.MustCompile(`https?://|//[a-z]+\.|\bsrc=|@import|url\(|<link`).FindString(page); found != "" {
		t.Errorf("the page refers to something else: %q", found)
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("html/template refused a value")
	}
	for _, s := range report.Statuses() {
		if !strings.Contains(page, `value="`+string(s)+`" checked`) {
			t.Errorf("there is no filter for %s", s)
		}
	}
	if !strings.Contains(page, "no such row") {
		t.Error("nothing says that a run lacks a row")
	}
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	if err := sample().WriteText(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	const last = "conformance: 13 rows, 3 pass, 2 known-divergence, 2 not-applicable, 2 not-supported, 2 fail, 2 error"
	if got := lines[len(lines)-1]; got != last {
		t.Errorf("last line %q, want %q", got, last)
	}
	if got, want := lines[0], "go on emulated: p  1 of 3 rows pass (1 known-divergence, 1 not-supported)"; got != want {
		t.Errorf("first line %q, want %q", got, want)
	}
	for _, want := range []string{"  FAIL p/fail: because", "  ERROR p/error: because"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, out.String())
		}
	}
}

func TestEmptyReport(t *testing.T) {
	r := report.New()
	written(t, r)
	if r.Failed() {
		t.Error("nothing has failed")
	}
	var out bytes.Buffer
	if err := r.WriteJSON(&out); err != nil || !strings.Contains(out.String(), `"runs": []`) {
		t.Errorf("JSON is %q, %v; want an empty list of runs", out.String(), err)
	}
}

func TestWorse(t *testing.T) {
	order := []report.Status{report.NotSupported, report.Pass, report.NotApplicable, report.KnownDivergence, report.Fail, report.Error}
	for i, a := range order {
		for j, b := range order {
			if got := a.Worse(b); got != (i > j) {
				t.Errorf("%s is worse than %s: %t", a, b, got)
			}
		}
	}
}

func TestUnknownStatusIsAnError(t *testing.T) {
	sum := report.Summarize([]report.Row{{Status: "splendid"}})
	if sum.Error != 1 || sum.Total() != 1 {
		t.Errorf("the sums are %+v, want 1 error", sum)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrorsAreReturned(t *testing.T) {
	r := sample()
	for name, write := range map[string]func() error{
		"JSON": func() error { return r.WriteJSON(full{}) }, "HTML": func() error { return r.WriteHTML(full{}) },
		"JUnit": func() error { return r.WriteJUnit(full{}) }, "text": func() error { return r.WriteText(full{}) },
	} {
		if err := write(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestLongEvidence leaves out the middle of what a case that passes tells, and nothing
// of any other.
func TestLongEvidence(t *testing.T) {
	for _, row := range []struct {
		status report.Status
		lines  int
		want   int
	}{
		{report.Pass, 0, 0}, {report.Pass, 60, 60}, {report.Pass, 61, 60}, {report.Pass, 5000, 60}, {report.NotSupported, 5000, 60},
		{report.Fail, 5000, 5000}, {report.KnownDivergence, 5000, 5000}, {report.Error, 61, 61},
	} {
		calls := make([]report.Call, row.lines)
		for i := range calls {
			calls[i].Call = strconv.Itoa(i)
		}
		rep := report.New(report.Run{Rows: []report.Row{{ID: "x", Status: row.status, Cases: []report.Case{{Status: row.status, Calls: calls}}}}})
		got := rep.Runs[0].Rows[0].Cases[0].Calls
		if len(got) != row.want {
			t.Errorf("%d lines of a case with %s are %d, want %d", row.lines, row.status, len(got), row.want)
			continue
		}
		if n := len(got); row.want < row.lines {
			if got[0] != calls[0] || got[49] != calls[49] || got[n-1] != calls[row.lines-1] || got[n-9] != calls[row.lines-9] ||
				got[50].Call != "… "+strconv.Itoa(row.lines-59)+" lines" {
				t.Errorf("%d lines are shortened to %v", row.lines, got)
			}
		}
		if again := report.New(rep.Runs...); len(again.Runs[0].Rows[0].Cases[0].Calls) != row.want {
			t.Errorf("%d lines are shortened twice", row.lines)
		}
	}
}
