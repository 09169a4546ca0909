package conformance

import "slices"

// Require has the run fail for each of these capabilities and needs that the target lacks.
func (r *Runner) Require(names ...string) {
	r.demands = append(r.demands, func() []string { return CheckRequired(r.target, names) })
}

// Declare has the run fail where the target isn't as it is said to be.
func (r *Runner) Declare(facts ...string) {
	r.demands = append(r.demands, func() []string { return CheckDeclared(r.target, facts) })
}

// LeaveUnchecked leaves the rows in the report of which every case was run, for who has
// chosen to run some cases only.
func (r *Runner) LeaveUnchecked() {
	unrun := map[string]bool{}
	for _, c := range r.cases {
		if _, applicable := r.needs(c); applicable && r.results[c.Name] == nil {
			for _, id := range c.Rows {
				unrun[id] = true
			}
		}
	}
	r.rows = slices.DeleteFunc(slices.Clone(r.rows), func(row Row) bool { return unrun[row.ID] || row.NotApplicable() })
}
