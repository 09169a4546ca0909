// Package selftest proves that the conformance suite works: a bank of subjects each of
// which breaks one sentence of a manual page, and which the cases of that sentence have
// to catch.
//
// A broken subject is conformance.Go behind objects of our own, which hand every call on
// but those in which the fault lies, or on a machine that doesn't do all that it is
// asked for. It is caught if the row that it breaks fails. That the row passes without
// the fault, behind the same objects, is checked in the same run: else nothing would be
// known.
package selftest

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// Broken is a subject with a fault.
type Broken struct {
	// Name is unique, in a few words.
	Name string
	// Row is the id of the contract's row that the fault breaks.
	Row string
	// Page is the manual page with that sentence.
	Page string
	// OfC says that the C library has the fault.
	OfC bool

	subject *subject
}

// Subject is the faulty library. Its name is known to child processes if they are told
// Subjects.
func (b Broken) Subject() conformance.Subject { return b.subject }

// Bank returns all broken subjects, by page.
func Bank() []Broken {
	pages := map[string]string{}
	for _, row := range conformance.Rows() {
		pages[row.ID] = row.Page
	}
	var all []Broken
	again := alsoBroken()
	for _, of := range [][]fault{
		sourceFaults(), deviceFaults(), badBlockFaults(), configFaults(), mapFaults(),
		reservationFaults(), storeFaults(),
		setMapFaults(), setFaultsOfPages(), setEventFaults(), setSourceFaults(),
		subtleFaults(), subtleSetFaults(),
	} {
		for _, f := range of {
			all = append(all, Broken{
				Name: f.name, Row: f.row, Page: pages[f.row], OfC: f.ofC,
				subject: &subject{name: "broken: " + f.name, make: f.make},
			})
			if row, ok := again[f.name]; ok {
				all = append(all, Broken{
					Name: f.name + ", again", Row: row, Page: pages[row], OfC: f.ofC,
					subject: &subject{name: "broken: " + f.name + ", again", make: f.make},
				})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Broken) int { return strings.Compare(a.Page, b.Page) })
	return all
}

// alsoBroken are second rows that faults of C break: a code has one, its sentence another.
func alsoBroken() map[string]string {
	return map[string]string{
		"contexts: one comes with the error":        "pmem2_badblock_context_new/null-on-failure",
		"usc: 0 with the error":                     "pmem2_source_device_usc/unmodified-on-failure",
		"anonymous: an unaligned offset is refused": "pmem2_source_from_anon/offset-ignored",
		"reservation: its range isn't given back":   "pmem2_vm_reservation_delete/unmaps-region",
	}
}

// Subjects are those of the bank and the one without a fault, for conformance.RunChild.
func Subjects() []conformance.Subject {
	subjects := []conformance.Subject{Healthy()}
	for _, b := range Bank() {
		subjects = append(subjects, b.Subject())
	}
	return subjects
}

// Healthy is the library behind the objects that faults are planted in, without a fault.
func Healthy() conformance.Subject {
	return &subject{name: "healthy", make: func() *faults { return &faults{} }}
}

// fault is an entry of the bank.
type fault struct {
	name, row string
	ofC       bool
	make      func() *faults
}

// Result is what became of a broken subject.
type Result struct {
	Broken
	Caught bool
	// Why is what the row failed with, or why the subject isn't caught.
	Why string
}

// Run checks the bank: first the healthy subject, then each broken one, by the cases of
// its row. Before each it calls progress, which may be nil.
func Run(target conformance.Target, bank []Broken, progress func(done, total int, name string)) []Result {
	var needed []conformance.Case
	for _, c := range conformance.Cases() {
		if slices.ContainsFunc(bank, func(b Broken) bool { return slices.Contains(c.Rows, b.Row) }) {
			needed = append(needed, c)
		}
	}
	healthy := rows(conformance.Check(Healthy(), target, needed, nil))
	var results []Result
	for i, b := range bank {
		if progress != nil {
			progress(i, len(bank), b.Name)
		}
		cases := slices.DeleteFunc(slices.Clone(needed), func(c conformance.Case) bool { return !slices.Contains(c.Rows, b.Row) })
		r := Result{Broken: b}
		r.Caught, r.Why = verdict(b.Row, healthy, rows(conformance.Check(b.subject, target, cases, nil)))
		b.subject.forget()
		results = append(results, r)
	}
	return results
}

// rows are those of a run, by id. What is wrong with the run itself has the id "".
func rows(run report.Run) map[string]report.Row {
	byID := map[string]report.Row{}
	for _, r := range run.Rows {
		if r.Page == "(suite)" {
			r.ID = ""
		}
		byID[r.ID] = r
	}
	return byID
}

// verdict says whether a fault in a row is caught, and why.
func verdict(id string, healthy, broken map[string]report.Row) (caught bool, why string) {
	for _, run := range []map[string]report.Row{healthy, broken} {
		if wrong, ok := run[""]; ok {
			return false, "suite: " + wrong.Reason
		}
	}
	if h := healthy[id]; h.Status != report.Pass {
		return false, fmt.Sprintf("without the fault the row has the status %q: %s", h.Status, h.Reason)
	}
	b := broken[id]
	if b.Status != report.Fail {
		return false, fmt.Sprintf("the row has the status %q: %s", b.Status, b.Reason)
	}
	return true, b.Reason
}

// WriteTable writes a line for each result and in the end how many there are. It reports
// whether there are any, and all were caught.
func WriteTable(w io.Writer, results []Result) (allCaught bool, err error) {
	caught, page := 0, ""
	var text strings.Builder
	for _, r := range results {
		if r.Page != page {
			page = r.Page
			fmt.Fprintf(&text, "\n%s\n", page)
		}
		word := "SURVIVED"
		if r.Caught {
			word = "caught"
			caught++
		}
		fmt.Fprintf(&text, "  %-8s  %s\n            %s\n            %s\n", word, r.Name, r.Row, shortened(r.Why))
	}
	fmt.Fprintf(&text, "\nselftest: %d broken subjects, %d caught, %d survived\n", len(results), caught, len(results)-caught)
	_, err = io.WriteString(w, text.String())
	return caught == len(results) && caught > 0, err
}

// shortened is the beginning of a text, on one line.
func shortened(text string) string {
	const most = 160
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}
