package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// Result is what a run of the cases has come to; nil if there was none.
type Result struct{ Report *report.Report }

// Main does what the options say and returns the exit code: 0 if all is well, 1 if a row
// failed, the suite broke or reports differ, 2 if the options can't be followed. c is the
// C library, or nil. run runs the cases in this process, puts their report into result and
// returns an exit code.
func Main(o *Options, c conformance.Subject, run func() int, result *Result) (code int) {
	err := o.FromEnvironment(os.LookupEnv)
	if err == nil {
		err = o.Check()
	}
	if err == nil {
		o.subject, err = o.subjectNamed(c)
	}
	if err == nil && !o.List && !o.Merge && !o.Diff {
		o.targets, err = o.targetsNamed()
	}
	if err != nil {
		return usage(err)
	}
	defer func() { code = max(code, failing(errors.Join(o.closeTargets(), conformance.RemoveLeft()))) }()
	procs, err := o.processes()
	switch {
	case err != nil:
		return usage(err)
	case o.List:
		return failing(List(os.Stdout))
	case o.Doctor:
		return failing(conformance.Doctor(os.Stdout, o.targets...))
	case o.Merge:
		rep, err := merge(o.flags.Args())
		if err != nil {
			return usage(err)
		}
		return o.conclude(rep, true)
	case o.Diff:
		return diff(os.Stdout, o.flags.Arg(0), o.flags.Arg(1))
	case procs > 1:
		rep, code, err := o.share(procs)
		if err != nil {
			return usage(err)
		}
		return max(code, o.conclude(rep, true))
	}
	code = run()
	if result.Report == nil {
		return max(code, failing(errNothing))
	}
	if os.Getenv(progressVariable) != "" {
		return code // the process that started this one tells
	}
	return max(code, o.conclude(*result.Report, false))
}

// closeTargets gives back what targets hold: the locks of devices.
func (o *Options) closeTargets() error {
	var errs []error
	for _, target := range o.targets {
		if c, ok := target.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// usage tells why the options can't be followed.
func usage(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 2
}

func failing(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// conclude tells the result, and writes its files unless the run has done so.
func (o *Options) conclude(rep report.Report, write bool) int {
	code := 0
	if write && o.Reports != "" {
		code = failing(rep.WriteFiles(o.Reports))
	}
	if o.Divergences != "" {
		code = max(code, failing(o.writeDivergences(rep)))
	}
	if underGitHub() {
		code = max(code, failing(rep.WriteAnnotations(os.Stdout)))
	}
	code = max(code, failing(rep.WriteText(os.Stdout)))
	if rep.Failed() {
		code = max(code, 1)
	}
	if sum := rep.Summary(); sum.Total() == sum.NotApplicable+sum.NotSupported {
		code = max(code, failing(errNothing))
	}
	return code
}

// errNothing is the answer to a run that chose no row, or none that could be checked.
var errNothing = errors.New("no row was checked")

// merge makes one report of those in files.
func merge(paths []string) (report.Report, error) {
	var parts []report.Report
	for _, path := range paths {
		part, err := report.ReadFile(path)
		if err != nil {
			return report.Report{}, err
		}
		parts = append(parts, part)
	}
	return conformance.Merge(parts...)
}

// diff tells in what two reports differ.
func diff(w io.Writer, before, after string) int {
	old, err := report.ReadFile(before)
	if err != nil {
		return usage(err)
	}
	now, err := report.ReadFile(after)
	if err != nil {
		return usage(err)
	}
	changes := report.Diff(old, now)
	if err := report.WriteChanges(w, changes); err != nil {
		return failing(err)
	}
	return min(len(changes), 1)
}

// List writes a line for each row of the contract and a last line with their number:
//
//	pmem2_map_new/PMEM2_E_MAP_RANGE#2  file  as-page  1.12.1,2.x  pmem2_map_new/range past the end
//	conformance: 987 rows on 79 pages, 833 cases
func List(w io.Writer) error {
	cases := conformance.Cases()
	of := map[string][]string{}
	for _, c := range cases {
		needs := ""
		for _, n := range c.Needs {
			needs += " +" + string(n)
		}
		for _, id := range c.Rows {
			of[id] = append(of[id], c.Name+needs)
		}
	}
	rows := conformance.Rows()
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ROW\tNEEDS\tRULING\tEDITIONS\tCASES")
	for _, r := range rows {
		checked := strings.Join(of[r.ID], "; ")
		if r.NotApplicable() {
			checked = "none: " + r.Ruling.Text()
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", r.ID, r.Needs, r.Ruling.Kind(), strings.Join(r.Editions, ","), checked)
	}
	// Flush has the error of what was written before.
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "conformance: %d rows on %d pages, %d cases\n", len(rows), len(conformance.Pages(rows)), len(cases))
	return err
}

// LabelsOf are the labels of the rows that a case checks, each once.
func LabelsOf(c conformance.Case) []string {
	var labels []string
	for _, id := range c.Rows {
		if r, ok := conformance.RowByID(id); ok {
			labels = append(labels, r.Labels()...)
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}
