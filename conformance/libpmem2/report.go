package libpmem2

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// WriteDivergences writes, as Markdown, what a run of the cases and the reproducers have
// shown of the library: a section for each difference.
func WriteDivergences(w io.Writer, run report.Run, reproduced []Reproduced) error {
	known := map[string]report.Row{}
	var order []string
	for _, row := range run.Rows {
		if row.Status == report.KnownDivergence {
			known[row.ID] = row
			order = append(order, row.ID)
		}
	}
	var d document
	sections := slices.Clone(reproduced)
	place := func(r Reproduced) int { return slices.Index(order, r.Rows[0]) }
	slices.SortStableFunc(sections, func(a, b Reproduced) int { return place(a) - place(b) })
	live, told := 0, map[string]bool{}
	for _, r := range sections {
		if r.Live() {
			live++
		}
		for _, id := range r.Rows {
			told[id] = true
		}
	}
	rest := slices.DeleteFunc(slices.Clone(order), func(id string) bool { return told[id] })

	d.line("# What libpmem2 does otherwise than its manual pages")
	d.line("")
	d.line("%d differences, %d of them reproduced on this machine by a few lines of C below, %d seen by the conformance cases alone.",
		len(sections)+len(rest), live, len(rest))
	d.line("They are those of version 1.12.1 that show on ordinary files, with system calls made to fail where that is needed.")
	own := report.Summarize(slices.DeleteFunc(slices.Clone(run.Rows), func(r report.Row) bool { return r.Library != "pmem2" }))
	d.line("The cases ran as \"%s\": of the contract's rows about libpmem2 %d pass, %d show a difference that was known, %d fail, %d couldn't be checked there.",
		run.Name(), own.Pass, own.KnownDivergence, own.Fail, own.NotSupported)
	d.line("")
	d.line("Each reproducer is the body of `main`; what stands before it is at the end. `cc x.c -lpmem2` is enough.")
	d.line("Where a page has no word on something the text says so, and what is asked for is this project's ruling.")
	d.line("")
	for i, r := range sections {
		d.line("%d. [%s](#%d)", i+1, r.Title, i+1)
	}
	for i, r := range sections {
		d.line("")
		d.line("<a id=\"%d\"></a>", i+1)
		d.line("## %d. %s", i+1, r.Title)
		d.line("")
		for _, id := range r.Rows {
			d.row(id, known)
		}
		d.line("")
		d.line("**Why it matters.** %s", r.Why)
		d.line("")
		d.line("```c\n%s```", r.Body)
		d.line("")
		switch {
		case r.Live():
			d.line("This prints, on this machine:")
		case r.Printed == "":
			d.line("This can't be run here, for lack of a privilege. Where it can it prints:\n\n```\n%s\n```", r.Prints)
			continue
		default:
			d.line("**Not reproduced:** expected was `%s`. On this machine it prints:", r.Prints)
		}
		d.line("\n```\n%s\n```", r.Printed)
	}
	if len(rest) > 0 {
		d.line("\n## Seen by the cases alone\n")
		for _, id := range rest {
			d.row(id, known)
		}
	}
	prelude, err := reproducerFiles.ReadFile("reproducers/prelude.h")
	if err != nil {
		return err
	}
	d.line("\n## prelude.h\n\nEach program is this, `int main(void) {`, the lines above, `}`.\n\n```c\n%s```", prelude)
	_, err = io.WriteString(w, d.String())
	return err
}

type document struct{ strings.Builder }

func (d *document) line(format string, args ...any) { _, _ = fmt.Fprintf(d, format+"\n", args...) }

// row tells what a row promises and what was seen.
func (d *document) row(id string, known map[string]report.Row) {
	row, ok := conformance.RowByID(id)
	if !ok {
		return
	}
	says := "says"
	if row.Kind == "observation" {
		says = "has no word on this"
	}
	d.line("- **%s(3)** %s: %s", row.Page, says, row.Condition)
	want := row.Expect
	if row.Ruling.Kind() == "behaviour" {
		want = row.Ruling.Text()
	}
	if want != "" {
		d.line("  Asked for: %s.%s", want, because(row))
	}
	d.line("  libpmem2 1.12.1: %s.", strings.TrimSuffix(row.Reference.Behaviour, "."))
	run, ok := known[id]
	if !ok {
		d.line("  No case has seen it in this run.")
		return
	}
	for _, seen := range seenIn(run) {
		d.line("  - %s", seen)
	}
}

func because(row conformance.Row) string {
	if row.RulingWhy == "" {
		return ""
	}
	return " (" + row.RulingWhy + ".)"
}

// seenIn are lines of evidence in which a row has shown its difference, a few.
func seenIn(row report.Row) (seen []string) {
	const most = 3
	for _, c := range row.Cases {
		for _, d := range Divergences() {
			if d.Row != row.ID || d.Case != c.Name {
				continue
			}
			for _, call := range c.Calls {
				if !d.Shown(call) || len(seen) == most {
					continue
				}
				text := fmt.Sprintf("`%s` → %s", call.Call, call.Outcome)
				if d.Want != "" {
					text += ", want " + d.Want
				}
				if !slices.Contains(seen, text) {
					seen = append(seen, text)
				}
			}
		}
	}
	return seen
}
