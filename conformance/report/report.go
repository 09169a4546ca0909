// Package report holds the result of conformance runs, version 1 of its format,
// and writes it: as JSON, as one HTML page, as JUnit XML and as text. All four say
// the same.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// Schema names the format of the JSON report.
const Schema = "pmemlab.conformance/v1"

// Status is how a row or a case came out.
type Status string

// The statuses.
const (
	Pass            Status = "pass"
	Fail            Status = "fail"             // the subject does something else than the ruling
	KnownDivergence Status = "known-divergence" // it does, and that is known of this subject
	NotApplicable   Status = "not-applicable"   // the contract asks for nothing
	NotSupported    Status = "not-supported"    // the target lacks what is needed
	Error           Status = "error"            // the suite broke: nothing is known
)

// Statuses returns every status, in the order in which reports count them.
func Statuses() []Status {
	return []Status{Pass, Fail, KnownDivergence, NotApplicable, NotSupported, Error}
}

// severity puts what wasn't checked below what was: a row that passes wherever it
// can be checked has passed.
var severity = []Status{NotSupported, Pass, NotApplicable, KnownDivergence, Fail, Error}

// Worse reports whether s outweighs o where several results make up one.
func (s Status) Worse(o Status) bool {
	return slices.Index(severity, s) > slices.Index(severity, o)
}

// Report is the result of any number of runs.
type Report struct {
	Schema string `json:"schema"`
	Runs   []Run  `json:"runs"`
}

// New returns a report of the runs, with the sums of their editions. Of the evidence of a
// case that has nothing to show the middle is left out if it is long.
func New(runs ...Run) Report {
	r := Report{Schema: Schema, Runs: append([]Run{}, runs...)}
	for i := range r.Runs {
		run := &r.Runs[i]
		run.Editions = editionsOf(run.Rows)
		run.Rows = slices.Clone(run.Rows)
		for j := range run.Rows {
			row := &run.Rows[j]
			row.Cases = slices.Clone(row.Cases)
			for k := range row.Cases {
				row.Cases[k].shorten()
			}
		}
	}
	return r
}

// shorten leaves out the middle of long evidence, of which some cases have thousands of
// lines.
func (c *Case) shorten() {
	const head, tail = 50, 9
	out := len(c.Calls) - head - tail
	if out <= 1 || c.Status != Pass && c.Status != NotSupported {
		return
	}
	short := slices.Clone(c.Calls[:head])
	short = append(short, Call{Call: fmt.Sprintf("… %d lines", out), Outcome: "…"})
	c.Calls = append(short, c.Calls[len(c.Calls)-tail:]...)
}

// Run is a subject checked on a target.
type Run struct {
	Subject      string   `json:"subject"`
	Target       string   `json:"target"`
	Shard        string   `json:"shard,omitempty"` // "2/3" of a part of a run
	Whole        string   `json:"whole,omitempty"` // of a part: a digest of what the whole has
	Capabilities []string `json:"capabilities"`
	// Facts are what was found out about the place where the target is.
	Facts   []Fact  `json:"facts,omitempty"`
	Summary Summary `json:"summary"`
	// Editions are the sums of the libraries that are told by edition. New fills
	// them in.
	Editions []Edition `json:"editions,omitempty"`
	Rows     []Row     `json:"rows"`
}

// Fact is something that a target or this machine offers, or doesn't.
type Fact struct {
	Name string `json:"name"` // "mapsync", "kernel"
	// Has tells whether it is there; Value is what there is of it, if there is more to
	// say: "2097152", "6.18.5". Why says where this is known from, or why it isn't there.
	Has   bool   `json:"has"`
	Value string `json:"value,omitempty"`
	Why   string `json:"why,omitempty"`
}

// Name is the subject and the target: "go on emulated".
func (r Run) Name() string { return r.Subject + " on " + r.Target }

// Summary counts rows by status.
type Summary struct {
	Pass            int `json:"pass"`
	Fail            int `json:"fail"`
	KnownDivergence int `json:"known-divergence"`
	NotApplicable   int `json:"not-applicable"`
	NotSupported    int `json:"not-supported"`
	Error           int `json:"error"`
}

// Count is the number of rows with the status.
func (s Summary) Count(status Status) int {
	if n := s.counter(status); n != nil {
		return *n
	}
	return 0
}

// Total is the number of rows.
func (s Summary) Total() (n int) {
	for _, status := range Statuses() {
		n += s.Count(status)
	}
	return n
}

func (s *Summary) counter(status Status) *int {
	switch status {
	case Pass:
		return &s.Pass
	case Fail:
		return &s.Fail
	case KnownDivergence:
		return &s.KnownDivergence
	case NotApplicable:
		return &s.NotApplicable
	case NotSupported:
		return &s.NotSupported
	case Error:
		return &s.Error
	}
	return nil
}

// Summarize counts rows. A status that there isn't counts as an error.
func Summarize(rows []Row) (s Summary) {
	for _, r := range rows {
		n := s.counter(r.Status)
		if n == nil {
			n = &s.Error
		}
		*n++
	}
	return s
}

// Row is a row of the contract and how it came out.
type Row struct {
	ID        string   `json:"id"`
	Library   string   `json:"library"`
	Page      string   `json:"page"`
	Editions  []string `json:"editions"`
	Code      string   `json:"code"`
	Condition string   `json:"condition"`
	Ruling    string   `json:"ruling"`
	Status    Status   `json:"status"`
	Reason    string   `json:"reason"`
	Cases     []Case   `json:"cases"`

	// What else the contract says of the row, which the HTML page shows.
	About About `json:"-"`
}

// About is the part of a row that a reader of the contract has anyway.
type About struct {
	Function, Section, Kind, Needs string
	RulingWhy, Expect              string
	Reference                      string // what the C library does
}

// Case is a case in one variant of the target.
type Case struct {
	Name    string `json:"name"`
	Variant string `json:"variant"`
	Status  Status `json:"status"`
	Reason  string `json:"reason"`
	// Injected tells that system calls failed because the case wanted it, by a wrapper
	// round the machine.
	Injected bool   `json:"injected,omitempty"`
	Calls    []Call `json:"calls"`
}

// Call is one line of evidence: what was called and what came of it.
type Call struct {
	Call    string `json:"call"`
	Outcome string `json:"outcome"`
}

// Summary counts the rows of all runs.
func (r Report) Summary() (sum Summary) {
	for _, run := range r.Runs {
		for _, s := range Statuses() {
			*sum.counter(s) += run.Summary.Count(s)
		}
	}
	return sum
}

// Failed reports whether a row failed or the suite broke anywhere.
func (r Report) Failed() bool {
	sum := r.Summary()
	return sum.Fail+sum.Error > 0
}

// WriteJSON writes the report as JSON.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(r)
}
