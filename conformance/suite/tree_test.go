package suite

import (
	"os"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"

	"pmemlab/conformance"
	"pmemlab/conformance/command"
	"pmemlab/conformance/report"
)

// TestConformance makes Ginkgo's tree: a container for each run, in it one for each
// page, in it a spec for each case. The cases know nothing of Ginkgo. What the specs
// have skipped, and why, stands in skipped subtests.
//
// A label filter chooses rows of the contract: the report has those and no other. A row
// that a focus leaves unchecked, or a case of it, isn't in the report either.
func TestConformance(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	filter, err := types.ParseLabelFilter(suite.LabelFilter)
	if err != nil {
		t.Fatal(err)
	}
	suite.LabelFilter = ""
	part, err := options.Shard()
	if err != nil {
		t.Fatal(err)
	}
	selected, err := conformance.Select(conformance.Cases(), func(r conformance.Row) bool { return filter(r.Labels()) }).Shard(part)
	if err != nil {
		t.Fatal(err)
	}
	subject, targets := options.Subject(), options.Targets()
	line := command.NewProgress(len(targets) * len(selected.Cases))
	var runners []*conformance.Runner
	for _, target := range targets {
		r := selected.NewRunner(subject, target)
		r.Require(options.Require...)
		r.Declare(options.Declare...)
		runners = append(runners, r)
		addRun(r, subject.Name()+" on "+target.Name(), selected.Cases, line)
	}
	focused := slices.ContainsFunc([][]string{suite.FocusStrings, suite.SkipStrings, suite.FocusFiles, suite.SkipFiles}, func(f []string) bool { return len(f) > 0 })
	_ = ReportAfterSuite("reports", func(Report) {
		line.End()
		var runs []report.Run
		for _, r := range runners {
			if focused {
				r.LeaveUnchecked()
			}
			runs = append(runs, r.Finish())
		}
		rep := report.New(runs...)
		result.Report = &rep
		if options.Reports != "" {
			Expect(rep.WriteFiles(options.Reports)).To(Succeed())
		}
	})
	reporter.Succinct = !reporter.Verbose && !reporter.VeryVerbose
	if st, err := os.Stdout.Stat(); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		reporter.NoColor = true
	}
	RunSpecs(t, "Conformance", suite, reporter)
	if result.Report != nil {
		command.ReportSkips(t, *result.Report)
	}
}

// addRun makes the container of a run.
func addRun(r *conformance.Runner, name string, cases []conformance.Case, line *command.Progress) {
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
func check(r *conformance.Runner, c conformance.Case, line *command.Progress) {
	line.Next(c.Name)
	wrong, skipped := conformance.Verdict(r.RunCase(c))
	if wrong != "" {
		Fail(wrong)
	}
	if skipped != "" {
		Skip(skipped)
	}
}
