package conformance

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pmemlab/conformance/report"
)

// Config says what Run checks, and where. The zero value checks package pmem2 and
// package pmemset on the emulated machine with every case.
type Config struct {
	// Subject is the library under test; nil is Go.
	Subject Subject
	// Targets are where it is checked, one after the other; none is Emulated.
	Targets []Target
	// Cases are what checks it; nil is Cases.
	Cases []Case
	// Rows chooses rows of the contract: the others aren't checked and aren't in the
	// report. nil takes all.
	Rows func(Row) bool
	// Shard is the part that this process does; the zero value is the whole.
	Shard Shard
	// Seed, unless 0, has the cases run in an order that it chooses.
	Seed uint64
	// Require names capabilities and needs without which the run fails: "devdax",
	// "mapsync". Declare says what the place is like: "!eadr", "devdax.align=2097152";
	// the run fails if that isn't so.
	Require, Declare []string
	// Timeout is how long a case may take; 0 is 30 s.
	Timeout time.Duration
	// Reports is a directory for conformance.json, conformance.html and junit.xml;
	// "" is none.
	Reports string
}

// Run checks a library as part of a test: a subtest for each run, in it one for each
// page, in it one for each case, which is skipped where the target lacks something. It
// may be called any number of times in one process, one after the other, and by no two
// tests at the same time.
//
// TestMain, or main, should call RunChild with the subject first of all: without it the
// cases that need a process of their own are not supported.
func Run(t *testing.T, cfg Config) report.Report {
	t.Helper()
	if cfg.Subject == nil {
		cfg.Subject = Go
	}
	if cfg.Targets == nil {
		cfg.Targets = []Target{Emulated()}
	}
	if cfg.Cases == nil {
		cfg.Cases = Cases()
	}
	selected, err := Select(cfg.Cases, cfg.Rows).Shard(cfg.Shard)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Seed != 0 {
		shuffled := rand.New(rand.NewPCG(cfg.Seed, 0))
		shuffled.Shuffle(len(selected.Cases), func(i, j int) {
			selected.Cases[i], selected.Cases[j] = selected.Cases[j], selected.Cases[i]
		})
	}
	var runs []report.Run
	for _, target := range cfg.Targets {
		r := selected.NewRunner(cfg.Subject, target)
		r.Require(cfg.Require...)
		r.Declare(cfg.Declare...)
		if cfg.Timeout != 0 {
			r.timeout = cfg.Timeout
		}
		t.Run(cfg.Subject.Name()+" on "+target.Name(), func(t *testing.T) {
			runPages(t, r, selected.Cases)
			run := r.Finish()
			runs = append(runs, run)
			// What no case has said already.
			for _, row := range run.Rows {
				if row.Status == report.Error && len(row.Cases) == 0 {
					t.Errorf("%s: %s", row.ID, row.Reason)
				}
			}
		})
	}
	rep := report.New(runs...)
	if len(selected.Rows) == 0 {
		t.Error("no row of the contract is chosen")
	}
	if cfg.Reports != "" {
		if err := rep.WriteFiles(cfg.Reports); err != nil {
			t.Error(err)
		}
	}
	return rep
}

// runPages runs the cases, those of a page one after the other.
func runPages(t *testing.T, r *Runner, cases []Case) {
	var pages []string
	of := map[string][]Case{}
	for _, c := range cases {
		page, _, _ := strings.Cut(c.Name, "/")
		if !slices.Contains(pages, page) {
			pages = append(pages, page)
		}
		of[page] = append(of[page], c)
	}
	for _, page := range pages {
		t.Run(page, func(t *testing.T) {
			for _, c := range of[page] {
				t.Run(strings.TrimPrefix(c.Name, page+"/"), func(t *testing.T) {
					wrong, skipped := Verdict(r.RunCase(c))
					if wrong != "" {
						t.Error(wrong)
					} else if skipped != "" {
						t.Skip(skipped)
					}
				})
			}
		})
	}
}

// Verdict says of the results of one case, one for each variant, what is wrong; and if the
// case ran in no variant, why. A known divergence isn't wrong.
func Verdict(results []report.Case) (wrong, skipped string) {
	var failed, lacking []string
	for _, res := range results {
		text := res.Reason
		if res.Variant != "" {
			text = res.Variant + ": " + text
		}
		switch res.Status {
		case report.Fail, report.Error, report.NotApplicable:
			failed = append(failed, string(res.Status)+" on "+text)
		case report.NotSupported:
			lacking = append(lacking, text)
		}
	}
	if len(lacking) == len(results) {
		skipped = strings.Join(lacking, "\n")
	}
	return strings.Join(failed, "\n"), skipped
}
