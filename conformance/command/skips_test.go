package command

import (
	"slices"
	"testing"

	"pmemlab/conformance/report"
)

func TestSkips(t *testing.T) {
	row := func(status report.Status, reason string, cases ...report.Case) report.Row {
		return report.Row{Status: status, Reason: reason, Cases: cases}
	}
	c := func(name, reason string) report.Case {
		if reason == "" {
			return report.Case{Name: name, Status: report.Pass}
		}
		return report.Case{Name: name, Status: report.NotSupported, Reason: reason}
	}
	const (
		devdax = "devdax: no device"
		sysfs  = "sysfs-edit: read-only"
		loop   = "open: no loop device"
		pty    = "open: no terminal"
	)
	got := skips(report.Run{Rows: []report.Row{
		row(report.Pass, "", c("runs", "")),
		row(report.NotSupported, sysfs, c("edits", sysfs), c("edits", sysfs)), // in two variants
		row(report.NotSupported, devdax, c("maps", devdax)),
		row(report.NotSupported, devdax, c("maps", devdax), c("sizes", devdax)),
		row(report.Pass, "", c("runs", ""), c("both", devdax+"; "+sysfs)),
		row(report.Pass, "", c("here", devdax), c("here", "")), // in one variant
		row(report.NotSupported, loop, c("loop", loop)),
		row(report.NotSupported, pty, c("pty", pty)),
		row(report.NotApplicable, "Windows"),
		row(report.Error, "no case checks this row"),
	}})
	want := []skip{
		{"sysfs-edit", "1 spec skipped, 1 row not checked: read-only"},
		{"devdax", "2 specs skipped, 2 rows not checked: no device"},
		{"devdax and sysfs-edit", "1 spec skipped, 0 rows not checked: devdax: no device; sysfs-edit: read-only"},
		{"something else", "1 spec skipped, 1 row not checked: open: no loop device\n1 spec skipped, 1 row not checked: open: no terminal"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("skips are\n%q, want\n%q", got, want)
	}
}
