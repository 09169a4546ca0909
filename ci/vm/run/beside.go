package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"pmemlab/ci/vm"
	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// besideGo tells where C and Go differ on the same machine, if the suite of Go was run there
// too. A row that differs though the contract doesn't say that C does otherwise is an error.
func besideGo(w io.Writer, o options, m vm.Machine, c report.Report) error {
	file := reportFile(o, m, "conformance")
	golang, err := report.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		_, err = fmt.Fprintf(w, "%s isn't there: with it the rows of C would stand beside those of Go\n", file)
		return err
	}
	if err != nil {
		return err
	}
	statuses := map[string]report.Status{}
	for _, run := range golang.Runs {
		for _, row := range run.Rows {
			statuses[row.ID] = row.Status
		}
	}
	both, same := 0, 0
	var lines []string
	var errs []error
	for _, run := range c.Runs {
		for _, row := range run.Rows {
			status, known := statuses[row.ID]
			if !known || !ran(status) || !ran(row.Status) {
				continue
			}
			both++
			if status == row.Status {
				same++
				continue
			}
			lines = append(lines, fmt.Sprintf("%-62s %-6s %s", row.ID, status, row.Status))
			if contract, ok := conformance.RowByID(row.ID); !ok || !contract.Differs() {
				errs = append(errs, fmt.Errorf("row %s is %s for Go and %s for C, and the contract doesn't say that C differs", row.ID, status, row.Status))
			}
		}
	}
	_, err = fmt.Fprintf(w, "%-62s %-6s %s\n", "Go and C on the same devices", "Go", "C")
	for _, line := range lines {
		_, printErr := fmt.Fprintln(w, line)
		err = errors.Join(err, printErr)
	}
	_, printErr := fmt.Fprintf(w, "%d rows ran for both: %d alike, %d differ as the contract says, %d otherwise\n", both, same, len(lines)-len(errs), len(errs))
	return errors.Join(append(errs, err, printErr)...)
}

// ran reports whether a row with that status was checked.
func ran(s report.Status) bool { return s != report.NotSupported && s != report.NotApplicable }
