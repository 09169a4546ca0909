package conformance_test

import (
	"os"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// TestConformance makes Ginkgo's tree: a container for each run, in it one for each
// page, in it a spec for each case. The cases know nothing of Ginkgo. What the specs
// have skipped, and why, stands in skipped subtests.
func TestConformance(t *testing.T) {
	RegisterFailHandler(Fail)
	all, err := targets()
	if err != nil {
		t.Fatal(err)
	}
	cases := conformance.Cases()
	line := newProgress(len(all) * len(cases))
	var runners []*conformance.Runner
	for _, target := range all {
		r := conformance.NewRunner(conformance.Go, target, cases)
		runners = append(runners, r)
		addRun(r, conformance.Go.Name()+" on "+target.Name(), cases, line)
	}
	_ = ReportAfterSuite("reports", func(Report) {
		line.end()
		var runs []report.Run
		for _, r := range runners {
			runs = append(runs, r.Finish())
		}
		rep := report.New(runs...)
		result = &rep
		if *reportsFlag != "" {
			Expect(rep.WriteFiles(*reportsFlag)).To(Succeed())
		}
	})
	suite, reporter := GinkgoConfiguration()
	reporter.Succinct = true
	if st, err := os.Stdout.Stat(); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		reporter.NoColor = true
	}
	RunSpecs(t, "Conformance", suite, reporter)
	if result != nil {
		reportSkips(t, *result)
	}
}

// addRun makes the container of a run.
func addRun(r *conformance.Runner, name string, cases []conformance.Case, line *progress) {
	pages := map[string][]conformance.Case{}
	var order []string
	for _, c := range cases {
		page, _, _ := strings.Cut(c.Name, "/")
		if pages[page] == nil {
			order = append(order, page)
		}
		pages[page] = append(pages[page], c)
	}
	Describe(name, func() {
		for _, page := range order {
			Describe(page, func() {
				for _, c := range pages[page] {
					It(strings.TrimPrefix(c.Name, page+"/"), func() { check(r, c, line) })
				}
			})
		}
	})
}

// check runs a case as a spec.
func check(r *conformance.Runner, c conformance.Case, line *progress) {
	line.next(c.Name)
	var wrong, skipped []string
	results := r.RunCase(c)
	for _, res := range results {
		text := res.Variant + ": " + res.Reason
		switch res.Status {
		case report.Fail, report.Error, report.NotApplicable:
			wrong = append(wrong, string(res.Status)+" on "+text)
		case report.NotSupported:
			skipped = append(skipped, text)
		}
	}
	if wrong != nil {
		Fail(strings.Join(wrong, "\n"))
	}
	if len(skipped) == len(results) {
		Skip(strings.Join(skipped, "\n"))
	}
}
