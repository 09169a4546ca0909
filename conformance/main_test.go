package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

var (
	reportsFlag = flag.String("pmem.reports", "", "write conformance.json, conformance.html and junit.xml to this `directory`")
	targetFlag  = flag.String("pmem.target", "emulated,files", "run on these `targets`, separated by commas: emulated, files")
	tmpfsFlag   = flag.String("pmem.files.tmpfs", "", "`directory` on a tmpfs for the target files; looked for if empty")
	diskFlag    = flag.String("pmem.files.disk", "", "`directory` on a disk for the target files; looked for if empty")
)

// result is set by the Ginkgo suite when it has run.
var result *report.Report

func TestMain(m *testing.M) {
	conformance.RunChild(conformance.PlantedInChildren)
	flag.Parse()
	code := m.Run()
	if result != nil {
		if err := result.WriteText(os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		if result.Failed() {
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// targets are those of the flag.
func targets() ([]conformance.Target, error) {
	known := map[string]func() conformance.Target{
		"emulated": conformance.Emulated,
		"files": func() conformance.Target {
			return conformance.Files(conformance.FilesConfig{Tmpfs: *tmpfsFlag, Disk: *diskFlag})
		},
	}
	var all []conformance.Target
	var names []string
	for name := range strings.SplitSeq(*targetFlag, ",") {
		make, ok := known[name]
		if !ok || slices.Contains(names, name) {
			return nil, fmt.Errorf("-pmem.target=%s: %q isn't a target or is there twice; targets are emulated and files", *targetFlag, name)
		}
		names = append(names, name)
		all = append(all, make())
	}
	return all, nil
}
