package report

import (
	"fmt"
	"slices"
	"strings"
)

// byEdition are the libraries, as rows and people call them, whose editions are so
// different that a run tells the sums of each. Any other library is told by page.
var byEdition = map[string]string{"pmemset": "libpmemset"}

// Edition is how the rows of one edition of a library came out. A row that several
// editions have counts in each.
type Edition struct {
	Library string  `json:"library"` // "libpmemset"
	Name    string  `json:"name"`    // "parts-1.11"
	Summary Summary `json:"summary"`
}

// Label is how reports call the edition: "libpmemset, parts-1.11".
func (e Edition) Label() string { return e.Library + ", " + e.Name }

// String is a line about it: "libpmemset, parts-1.11: 180 rows, 178 pass, 2 fail".
func (e Edition) String() string {
	parts := []string{count(e.Summary.Total(), "row")}
	for _, s := range Statuses() {
		if n := e.Summary.Count(s); n > 0 || s == Pass {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return e.Label() + ": " + strings.Join(parts, ", ")
}

// count is a number of things: "1 row", "2 rows".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// labels are the editions that a row counts in; none if its library is told by page.
func (r Row) labels() (labels []string) {
	library, ok := byEdition[r.Library]
	if !ok {
		return nil
	}
	for _, name := range r.Editions {
		labels = append(labels, Edition{Library: library, Name: name}.Label())
	}
	return labels
}

// editionsOf sums up the rows of each edition, in the order in which editions appear.
func editionsOf(rows []Row) (editions []Edition) {
	of := map[string][]Row{}
	for _, row := range rows {
		for i, label := range row.labels() {
			if of[label] == nil {
				editions = append(editions, Edition{Library: byEdition[row.Library], Name: row.Editions[i]})
			}
			of[label] = append(of[label], row)
		}
	}
	for i, e := range editions {
		editions[i].Summary = Summarize(of[e.Label()])
	}
	return editions
}

// editionLabels are the editions of all runs, each once.
func (r Report) editionLabels() (labels []string) {
	for _, run := range r.Runs {
		for _, e := range run.Editions {
			if !slices.Contains(labels, e.Label()) {
				labels = append(labels, e.Label())
			}
		}
	}
	return labels
}
