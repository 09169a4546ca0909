package conformance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pmemlab/conformance/report"
)

// Runner checks one subject on one target, case by case, for those who want to run
// the cases themselves; Check is the whole of it. It is for one goroutine. While a case
// runs, the process's PMEM2_FORCE_GRANULARITY is unset or what the case wants.
type Runner struct {
	subject Subject
	target  Target
	rows    []Row
	cases   []Case
	byID    map[string]Row
	before  []MapsEntry // what was mapped at the start that looks like ours
	results map[string][]report.Case
	shown   map[string][][]Divergence // by the results
	timeout time.Duration
	shard   Shard
	whole   string            // of a shard
	demands []func() []string // each says what isn't as it was demanded
}

// caseTimeout is far more than any case takes.
const caseTimeout = 30 * time.Second

// NewRunner returns a runner that has run nothing yet.
func NewRunner(subject Subject, target Target, cases []Case) *Runner {
	return newRunner(subject, target, Rows(), cases)
}

func newRunner(subject Subject, target Target, rows []Row, cases []Case) *Runner {
	r := &Runner{
		subject: subject, target: target, rows: rows, cases: cases,
		byID: map[string]Row{}, results: map[string][]report.Case{},
		shown: map[string][][]Divergence{}, timeout: caseTimeout,
	}
	for _, row := range rows {
		r.byID[row.ID] = row
	}
	r.before = mapped()
	return r
}

// Check runs every case in every variant of the target. Before each case it calls
// progress, which may be nil, with how many cases are done, how many there are, and
// the name of the next.
func Check(subject Subject, target Target, cases []Case, progress func(done, total int, name string)) report.Run {
	r := NewRunner(subject, target, cases)
	r.runAll(progress)
	return r.Finish()
}

func (r *Runner) runAll(progress func(done, total int, name string)) {
	for i, c := range r.cases {
		if progress != nil {
			progress(i, len(r.cases), c.Name)
		}
		r.RunCase(c)
	}
}

// RunCase runs a case in every variant of the target and returns the results, one
// for each variant. A case that has nothing but rows that are not applicable isn't
// run: the result is none.
func (r *Runner) RunCase(c Case) []report.Case {
	needs, applicable := r.needs(c)
	if !applicable {
		return nil
	}
	var results []report.Case
	var shown [][]Divergence
	for _, v := range r.target.Variants() {
		a := attempt{subject: r.subject, target: r.target, variant: v, c: c, timeout: r.timeout}
		if why := lacking(r.target, v, needs); why != "" {
			results, shown = append(results, a.result(report.NotSupported, why, nil)), append(shown, nil)
			continue
		}
		o := a.run()
		results, shown = append(results, o.Case), append(shown, o.shown)
	}
	r.results[c.Name] = append(r.results[c.Name], results...)
	r.shown[c.Name] = append(r.shown[c.Name], shown...)
	return results
}

// needs are those of the case and of its rows, in the order of Needs.
func (r *Runner) needs(c Case) (needs []Need, applicable bool) {
	needs = slices.Clone(c.Needs)
	for _, id := range c.Rows {
		row, known := r.byID[id]
		if known && row.NotApplicable() {
			continue
		}
		applicable = true
		if known && !slices.Contains(needs, row.Needs) {
			needs = append(needs, row.Needs)
		}
	}
	slices.SortStableFunc(needs, func(a, b Need) int { return slices.Index(Needs(), a) - slices.Index(Needs(), b) })
	return needs, applicable
}

// lacking says which of the needs can't be satisfied, or "".
func lacking(t Target, variant string, needs []Need) string {
	var why []string
	for _, n := range needs {
		if l := lacks(t, variant, n); l != "" {
			why = append(why, string(n)+": "+l)
		}
	}
	return strings.Join(why, "; ")
}

// Finish puts the results together. What is wrong with the run as a whole stands in
// it as rows of a page of their own, "(suite)", with the status error.
func (r *Runner) Finish() report.Run {
	run := report.Run{Subject: r.subject.Name(), Target: r.target.Name(), Shard: r.shard.String(), Whole: r.whole, Capabilities: []string{}}
	for _, n := range r.target.Capabilities() {
		run.Capabilities = append(run.Capabilities, string(n))
	}
	if p, ok := r.target.(Prober); ok {
		run.Facts = p.Facts()
	}
	for _, row := range r.rows {
		run.Rows = append(run.Rows, r.finishRow(row))
	}
	for i, wrong := range r.wrong() {
		run.Rows = append(run.Rows, suiteRow(i, wrong))
	}
	run.Summary = report.Summarize(run.Rows)
	return run
}

// suitePage is the page of what is wrong with a run as a whole.
const suitePage = "(suite)"

// suiteRow is the i-th thing that is wrong with a run, from 0 on.
func suiteRow(i int, wrong string) report.Row {
	return report.Row{
		ID: fmt.Sprintf("%s/%d", suitePage, i+1), Page: suitePage, Editions: []string{},
		Condition: "The suite and the target are in order.", Ruling: "as-page",
		Status: report.Error, Reason: wrong, Cases: []report.Case{},
	}
}

// wrong is what is wrong with the run as a whole.
func (r *Runner) wrong() (wrong []string) {
	seen := map[string]bool{}
	for _, c := range r.cases {
		if seen[c.Name] {
			wrong = append(wrong, fmt.Sprintf("there are two cases named %q", c.Name))
		}
		seen[c.Name] = true
		if len(c.Rows) == 0 {
			wrong = append(wrong, fmt.Sprintf("case %q checks no row", c.Name))
		}
		for _, id := range c.Rows {
			if _, known := r.byID[id]; !known {
				wrong = append(wrong, fmt.Sprintf("case %q checks row %q, which the contract doesn't have", c.Name, id))
			}
		}
		for _, n := range c.Needs {
			if !slices.Contains(Needs(), n) {
				wrong = append(wrong, fmt.Sprintf("case %q has the unknown need %q", c.Name, n))
			}
		}
	}
	wrong = append(wrong, probeTarget(r.target)...)
	for _, demand := range r.demands {
		wrong = append(wrong, demand()...)
	}
	return append(wrong, r.leftovers()...)
}

// leftovers names what is still mapped that wasn't when the run began.
func (r *Runner) leftovers() (left []string) {
	entries, err := addressSpace()
	if err != nil {
		if r.target.Lacks(NeedNothing) != "" {
			return nil // nothing ran
		}
		return []string{err.Error()}
	}
	for _, e := range ours(entries) {
		if !slices.Contains(r.before, e) {
			left = append(left, fmt.Sprintf("after the run %s is mapped at %#x-%#x", e.Path, e.Start, e.End))
		}
	}
	return left
}

// finishRow makes one status of the results of a row's cases.
func (r *Runner) finishRow(row Row) report.Row {
	out := report.Row{
		ID: row.ID, Library: row.Library, Page: row.Page, Editions: row.Editions, Code: row.Code,
		Condition: row.Condition, Ruling: string(row.Ruling), Cases: []report.Case{}, About: about(row),
	}
	if row.NotApplicable() {
		out.Status, out.Reason = report.NotApplicable, row.Ruling.Text()
		return out
	}
	covered := false
	for _, c := range r.cases {
		if !slices.Contains(c.Rows, row.ID) {
			continue
		}
		covered = true
		results := r.results[c.Name]
		if len(results) == 0 {
			results = []report.Case{{Name: c.Name, Status: report.Error, Reason: "was not run", Calls: []Call{}}}
		}
		for i, res := range results {
			if i < len(r.shown[c.Name]) {
				res = ofRow(res, r.shown[c.Name][i], row.ID)
			}
			if res.Status == report.NotApplicable {
				res.Status = report.Error
				res.Reason = "says that it is not applicable, the contract doesn't: " + res.Reason
			}
			out.Cases = append(out.Cases, res)
		}
	}
	if !covered {
		out.Status, out.Reason = report.Error, "no case checks this row"
		return out
	}
	for _, res := range out.Cases {
		if out.Status == "" || res.Status.Worse(out.Status) {
			out.Status, out.Reason = res.Status, res.Reason
			switch {
			case res.Status != report.Fail && res.Status != report.Error:
			case res.Variant == "":
				out.Reason = res.Name + ": " + res.Reason
			default:
				out.Reason = fmt.Sprintf("%s [%s]: %s", res.Name, res.Variant, res.Reason)
			}
		}
	}
	return out
}

// about is what the HTML report tells of a row beyond the other two.
func about(row Row) report.About {
	ref := row.Reference.Behaviour
	if row.Reference.Effect != "" {
		ref += "; effect: " + row.Reference.Effect
	}
	if row.Reference.HowChecked != "" {
		ref += " (how it is known: " + row.Reference.HowChecked + ")"
	}
	return report.About{
		Function: row.Function, Section: row.Section, Kind: row.Kind, Needs: string(row.Needs),
		RulingWhy: row.RulingWhy, Expect: row.Expect, Reference: ref,
	}
}
