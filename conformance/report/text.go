package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteText writes a line for each page of each run, or for each edition of a library
// that is told by edition, a line for each row that failed or broke, and a last line
// with the sums of all runs, where each row counts once:
//
//	conformance: 534 rows, 480 pass, 0 known-divergence, 34 not-applicable, 20 not-supported, 0 fail, 0 error
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	width := 0
	for _, run := range r.Runs {
		for _, g := range run.groups() {
			width = max(width, len(g.name))
		}
	}
	for _, run := range r.Runs {
		told := map[string]bool{} // rows that stand below an edition already
		for _, g := range run.groups() {
			sum := Summarize(g.rows)
			fmt.Fprintf(&b, "%s: %-*s  %d of %d rows pass%s\n", run.Name(), width, g.name, sum.Pass, len(g.rows), others(sum))
			for _, row := range g.rows {
				if (row.Status == Fail || row.Status == Error) && !told[row.ID] {
					told[row.ID] = true
					fmt.Fprintf(&b, "  %s %s: %s\n", strings.ToUpper(string(row.Status)), row.ID, row.Reason)
				}
			}
		}
	}
	fmt.Fprintln(&b, r.LastLine())
	_, err := io.WriteString(w, b.String())
	return err
}

// LastLine is the last line of WriteText, without the line feed.
func (r Report) LastLine() string {
	sum := r.Summary()
	line := fmt.Sprintf("conformance: %d rows", sum.Total())
	for _, s := range []Status{Pass, KnownDivergence, NotApplicable, NotSupported, Fail, Error} {
		line += fmt.Sprintf(", %d %s", sum.Count(s), s)
	}
	return line
}

// others counts what hasn't passed.
func others(sum Summary) string {
	var parts []string
	for _, s := range Statuses()[1:] {
		if n := sum.Count(s); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// group are rows that the text has one line for.
type group struct {
	name string // of the page, or the label of the edition
	rows []Row
}

// groups are the pages of a run, then the editions of a library that is told by edition,
// in the order in which they appear. A row is in several if it is in several editions.
func (r Run) groups() []group {
	var groups []group
	at := map[string]int{}
	rank := func(row Row) int {
		if row.labels() == nil {
			return 0
		}
		return 1
	}
	rows := slices.Clone(r.Rows)
	slices.SortStableFunc(rows, func(a, b Row) int { return rank(a) - rank(b) })
	for _, row := range rows {
		names := row.labels()
		if names == nil {
			names = []string{row.Page}
		}
		for _, name := range names {
			i, ok := at[name]
			if !ok {
				i = len(groups)
				at[name] = i
				groups = append(groups, group{name: name})
			}
			groups[i].rows = append(groups[i].rows, row)
		}
	}
	return groups
}
