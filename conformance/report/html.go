package report

import (
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"
)

//go:embed page.html
var pageHTML string

var pageTemplate = sync.OnceValues(func() (*template.Template, error) {
	return template.New("conformance").Funcs(template.FuncMap{
		"mark": Status.mark, "join": strings.Join, "few": Case.few, "spaced": spaced,
	}).Parse(pageHTML)
})

// mark is a sign for a status, so that nobody has to tell colours apart.
func (s Status) mark() string {
	switch s {
	case Pass:
		return "✓"
	case Fail:
		return "✗"
	case KnownDivergence:
		return "≠"
	case NotApplicable:
		return "–"
	case NotSupported:
		return "○"
	}
	return "!"
}

// few reports whether the evidence of a case is shown without being asked for.
func (c Case) few() bool {
	return len(c.Calls) <= 12 || c.Status == Fail || c.Status == Error
}

// spaced is a ruling with a blank behind its kind.
func spaced(ruling string) string { return strings.Replace(ruling, ":", ": ", 1) }

// WriteHTML writes the report as one page that needs nothing else: rows of the
// contract against runs, each row with its ruling and evidence.
func (r Report) WriteHTML(w io.Writer) error {
	t, err := pageTemplate()
	if err != nil {
		return err
	}
	return t.Execute(w, r.view())
}

// view is the report turned round: by row first, by run within.
type view struct {
	LastLine string
	Statuses []Status
	Runs     []Run
	Pages    []viewPage
	// Editions are the labels of those that rows can be chosen by.
	Editions []string
	Rows     int
	// Wide is how wide the page becomes, Narrow how wide a window may be that has
	// no room for a column for each run; in rem.
	Wide, Narrow int
}

type viewPage struct {
	Name string
	Rows []viewRow
	// Passed and Checked count over the runs: a row that isn't applicable or not
	// supported isn't checked.
	Passed, Checked int
}

type viewRow struct {
	Row
	Cells []viewCell // one for each run
	// In are the labels of the editions that the row counts in, separated by line
	// feeds.
	In string
	// Statuses is every status of the row, separated by blanks.
	Statuses string
	// Search is what the free text is looked for in, in lower case.
	Search string
}

type viewCell struct {
	Run    string
	Status Status // "" if the run doesn't have the row
	Reason string
	Cases  []Case
}

func (r Report) view() view {
	// A column takes 11rem with its gap; the rest is for the text of a row.
	narrow := 28 + 11*len(r.Runs)
	v := view{LastLine: r.LastLine(), Statuses: Statuses(), Runs: r.Runs, Editions: r.editionLabels(), Wide: max(84, narrow), Narrow: narrow}
	pageAt := map[string]int{}
	rowAt := map[string]int{}
	for i, run := range r.Runs {
		for _, row := range run.Rows {
			p, ok := pageAt[row.Page]
			if !ok {
				p = len(v.Pages)
				pageAt[row.Page] = p
				v.Pages = append(v.Pages, viewPage{Name: row.Page})
			}
			page := &v.Pages[p]
			at, ok := rowAt[row.ID]
			if !ok {
				at = len(page.Rows)
				rowAt[row.ID] = at
				page.Rows = append(page.Rows, viewRow{Row: row, Cells: make([]viewCell, len(r.Runs))})
				for j, other := range r.Runs {
					page.Rows[at].Cells[j].Run = other.Name()
				}
				v.Rows++
			}
			cell := &page.Rows[at].Cells[i]
			cell.Status, cell.Reason, cell.Cases = row.Status, row.Reason, row.Cases
			switch row.Status {
			case Pass:
				page.Passed++
				page.Checked++
			case NotApplicable, NotSupported:
			default:
				page.Checked++
			}
		}
	}
	for p := range v.Pages {
		for i := range v.Pages[p].Rows {
			v.Pages[p].Rows[i].index()
		}
	}
	return v
}

// index fills in what the filters look at.
func (r *viewRow) index() {
	var statuses []string
	search := []string{r.ID, r.Condition, r.Ruling, r.About.RulingWhy, r.Code, r.About.Function}
	for _, c := range r.Cells {
		if s := string(c.Status); s != "" && !slices.Contains(statuses, s) {
			statuses = append(statuses, s)
		}
		search = append(search, c.Reason)
		for _, k := range c.Cases {
			search = append(search, k.Name)
		}
	}
	r.In = strings.Join(r.labels(), "\n")
	r.Statuses = strings.Join(statuses, " ")
	r.Search = strings.ToLower(strings.Join(search, " "))
}
