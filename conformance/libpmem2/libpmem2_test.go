//go:build libpmem2

package libpmem2_test

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance"
	"pmemlab/conformance/libpmem2"
	"pmemlab/conformance/report"
)

var (
	reportFlag = flag.String("divergences", "", "write the report of what the library does otherwise to this `file`")
	caseFlag   = flag.String("case", "", "run only the cases whose name has this `text` in it")
)

func TestMain(m *testing.M) {
	conformance.RunChild(libpmem2.Subject)
	os.Exit(m.Run())
}

// TestFiles has every case checked on files of this machine: each row passes, or shows
// the difference that is known, or can't be checked there. Thirty differences at least are
// reproduced.
func TestFiles(t *testing.T) {
	cases := slices.DeleteFunc(conformance.Cases(), func(c conformance.Case) bool { return !strings.Contains(c.Name, *caseFlag) })
	run := conformance.Check(libpmem2.Subject, conformance.Files(conformance.FilesConfig{}), cases, nil)
	for _, row := range run.Rows {
		switch {
		case *caseFlag != "" && len(row.Cases) == 0:
		case row.Status == report.Fail || row.Status == report.Error:
			t.Errorf("%s: %s: %s", row.ID, row.Status, row.Reason)
		case *caseFlag != "":
			t.Logf("%s: %s: %s", row.ID, row.Status, row.Reason)
		}
	}
	t.Logf("%+v", run.Summary)
	if *caseFlag != "" {
		return
	}
	reproduced, err := libpmem2.Reproduce()
	if err != nil {
		t.Fatal(err)
	}
	live := 0
	for _, r := range reproduced {
		switch {
		case r.Live():
			live++
		case r.Printed == "":
			t.Logf("reproducer %s can't be run here", r.Name)
		default:
			t.Errorf("reproducer %s prints %q, want %q", r.Name, r.Printed, r.Prints)
		}
	}
	if live < 30 || run.Summary.KnownDivergence < 30 {
		t.Errorf("%d differences were reproduced, %d rows show one; want 30 at least", live, run.Summary.KnownDivergence)
	}
	if *reportFlag == "" {
		return
	}
	f, err := os.Create(*reportFlag)
	if err != nil {
		t.Fatal(err)
	}
	if err := libpmem2.WriteDivergences(f, run, reproduced); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestNotEmulated: the library asks the kernel of this machine, whatever the target is.
func TestNotEmulated(t *testing.T) {
	run := conformance.Check(libpmem2.Subject, conformance.Emulated(), conformance.Cases()[:3], nil)
	for _, row := range run.Rows {
		if row.Status == report.NotSupported && !strings.Contains(row.Reason, "calls the kernel of this machine") {
			t.Errorf("%s: %s: %s", row.ID, row.Status, row.Reason)
		}
		if len(row.Cases) > 0 && row.Status != report.NotSupported && row.Status != report.NotApplicable {
			t.Errorf("%s: %s, want not-supported", row.ID, row.Status)
		}
	}
}
