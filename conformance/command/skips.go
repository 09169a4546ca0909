package command

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// skip is what a run leaves out for want of the same thing.
type skip struct{ lacking, text string }

// skips are those of a run, in the order of its rows.
func skips(run report.Run) []skip {
	// A spec is skipped if the case runs in no variant; a row isn't checked if no
	// case of it runs.
	type count struct {
		lacking, why string
		specs, rows  int
	}
	var counts []*count
	counted := func(reason string) *count {
		lacking, why := lackingNeeds(reason)
		for _, c := range counts {
			if c.lacking == lacking && c.why == why {
				return c
			}
		}
		counts = append(counts, &count{lacking: lacking, why: why})
		return counts[len(counts)-1]
	}
	seen := map[string]bool{}
	for _, row := range run.Rows {
		if row.Status == report.NotSupported {
			counted(row.Reason).rows++
		}
		for _, c := range row.Cases {
			ran := slices.ContainsFunc(row.Cases, func(o report.Case) bool {
				return o.Name == c.Name && o.Status != report.NotSupported
			})
			if !ran && !seen[c.Name] {
				counted(c.Reason).specs++
			}
			seen[c.Name] = true
		}
	}
	var all []skip
	for _, c := range counts {
		text := fmt.Sprintf("%s skipped, %s not checked: %s", number(c.specs, "spec"), number(c.rows, "row"), c.why)
		i := slices.IndexFunc(all, func(s skip) bool { return s.lacking == c.lacking })
		if i < 0 {
			all = append(all, skip{c.lacking, text})
		} else {
			all[i].text += "\n" + text
		}
	}
	return all
}

// lackingNeeds tells the needs that stand in a reason, if any, from what is left.
func lackingNeeds(reason string) (needs, why string) {
	var found []string
	for _, n := range conformance.Needs() {
		if strings.Contains("; "+reason, "; "+string(n)+": ") {
			found = append(found, string(n))
		}
	}
	switch len(found) {
	case 0:
		return "something else", reason
	case 1:
		return found[0], strings.TrimPrefix(reason, found[0]+": ")
	}
	return strings.Join(found, " and "), reason
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ReportSkips says in Go's words what Ginkgo's specs have left out.
func ReportSkips(t *testing.T, rep report.Report) {
	for _, run := range rep.Runs {
		for _, s := range skips(run) {
			t.Run(run.Name()+": "+s.lacking, func(t *testing.T) { t.Skip(s.text) })
		}
	}
}
