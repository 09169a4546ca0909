package report

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes a line for each page of each run, a line for each row that
// failed or broke, and a last line with the sums of all runs:
//
//	conformance: 534 rows, 480 pass, 0 known-divergence, 34 not-applicable, 20 not-supported, 0 fail, 0 error
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	width := 0
	for _, run := range r.Runs {
		for _, row := range run.Rows {
			width = max(width, len(row.Page))
		}
	}
	for _, run := range r.Runs {
		for _, p := range run.byPage() {
			sum := Summarize(p.rows)
			fmt.Fprintf(&b, "%s: %-*s  %d of %d rows pass%s\n", run.Name(), width, p.name, sum.Pass, len(p.rows), others(sum))
			for _, row := range p.rows {
				if row.Status == Fail || row.Status == Error {
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

type page struct {
	name string
	rows []Row
}

// byPage groups the rows of a run by page, in the order in which pages appear.
func (r Run) byPage() []page {
	var pages []page
	at := map[string]int{}
	for _, row := range r.Rows {
		i, ok := at[row.Page]
		if !ok {
			i = len(pages)
			at[row.Page] = i
			pages = append(pages, page{name: row.Page})
		}
		pages[i].rows = append(pages[i].rows, row)
	}
	return pages
}
