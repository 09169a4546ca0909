package report

import (
	"fmt"
	"io"
	"strings"
)

// Change is a row, or a fact about the target, that two reports tell differently. Where
// the one doesn't have it, its side is empty.
type Change struct {
	Run      string // "go on hardware"
	What     string // the id of the row, or "fact kernel"
	Old, New string // the statuses, or the values
	// Condition is that of the row; Reason is why it came out as it did in the new
	// report, or in the old one if it is gone.
	Condition, Reason string
}

// Diff compares two reports run by run and row by row, so that one sees what another
// kernel, firmware or version of a library has changed. Only statuses and facts count,
// not the evidence, which has addresses.
func Diff(before, after Report) (changes []Change) {
	type pair struct{ old, new Run }
	var names []string
	runs := map[string]*pair{}
	at := func(name string) *pair {
		if runs[name] == nil {
			runs[name] = &pair{}
			names = append(names, name)
		}
		return runs[name]
	}
	for _, run := range before.Runs {
		at(run.Name()).old = run
	}
	for _, run := range after.Runs {
		at(run.Name()).new = run
	}
	for _, name := range names {
		changes = append(changes, diffFacts(name, runs[name].old.Facts, runs[name].new.Facts)...)
		changes = append(changes, diffRows(name, runs[name].old.Rows, runs[name].new.Rows)...)
	}
	return changes
}

func diffFacts(run string, before, after []Fact) (changes []Change) {
	text := func(f Fact) string {
		switch {
		case !f.Has:
			return "no"
		case f.Value == "":
			return "yes"
		}
		return f.Value
	}
	old := map[string]string{}
	for _, f := range before {
		old[f.Name] = text(f)
	}
	seen := map[string]bool{}
	for _, f := range after {
		seen[f.Name] = true
		if old[f.Name] != text(f) {
			changes = append(changes, Change{Run: run, What: "fact " + f.Name, Old: old[f.Name], New: text(f), Reason: f.Why})
		}
	}
	for _, f := range before {
		if !seen[f.Name] {
			changes = append(changes, Change{Run: run, What: "fact " + f.Name, Old: text(f), Reason: f.Why})
		}
	}
	return changes
}

func diffRows(run string, before, after []Row) (changes []Change) {
	old := map[string]Row{}
	for _, r := range before {
		old[r.key()] = r
	}
	seen := map[string]bool{}
	for _, r := range after {
		seen[r.key()] = true
		if old[r.key()].Status != r.Status {
			changes = append(changes, Change{run, r.ID, string(old[r.key()].Status), string(r.Status), r.Condition, r.Reason})
		}
	}
	for _, r := range before {
		if !seen[r.key()] {
			changes = append(changes, Change{run, r.ID, string(r.Status), "", r.Condition, r.Reason})
		}
	}
	return changes
}

// key tells rows from each other: by their ids, or where those only count what is wrong with
// a run, by what that is.
func (r Row) key() string {
	if strings.HasPrefix(r.Page, "(") {
		return r.Page + r.Reason
	}
	return r.ID
}

// WriteChanges writes a paragraph for each change and a last line with their number:
//
//	go on hardware: pmem2_map_new/-EACCES#1: pass -> fail
//	    mmap fails with EACCES
//	    pmem2_map_new/append-only file [hardware]: NewMap(offset 0): got 0 (<nil>), want -EACCES
//	diff: 1 change
func WriteChanges(w io.Writer, changes []Change) error {
	var b strings.Builder
	side := func(text string) string {
		if text == "" {
			return "(not there)"
		}
		return text
	}
	for _, c := range changes {
		fmt.Fprintf(&b, "%s: %s: %s -> %s\n", c.Run, c.What, side(c.Old), side(c.New))
		for _, text := range []string{c.Condition, c.Reason} {
			if text != "" {
				fmt.Fprintf(&b, "    %s\n", text)
			}
		}
	}
	fmt.Fprintf(&b, "diff: %s\n", count(len(changes), "change"))
	_, err := io.WriteString(w, b.String())
	return err
}
