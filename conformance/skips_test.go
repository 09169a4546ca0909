package conformance_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

// skip is what a run leaves out for want of the same thing.
type skip struct{ lacking, text string }

// skips are those of a run, in the order of its rows.
func skips(run report.Run) []skip {
	// A spec is skipped if the case runs in no variant; a row isn't checked if no
	// case of it runs.
	type count struct {
		lacking, why string
		specs, rows  int
	}
	var counts []*count
	counted := func(reason string) *count {
		lacking, why := lackingNeeds(reason)
		for _, c := range counts {
			if c.lacking == lacking && c.why == why {
				return c
			}
		}
		counts = append(counts, &count{lacking: lacking, why: why})
		return counts[len(counts)-1]
	}
	seen := map[string]bool{}
	for _, row := range run.Rows {
		if row.Status == report.NotSupported {
			counted(row.Reason).rows++
		}
		for _, c := range row.Cases {
			ran := slices.ContainsFunc(row.Cases, func(o report.Case) bool {
				return o.Name == c.Name && o.Status != report.NotSupported
			})
			if !ran && !seen[c.Name] {
				counted(c.Reason).specs++
			}
			seen[c.Name] = true
		}
	}
	var all []skip
	for _, c := range counts {
		text := fmt.Sprintf("%s skipped, %s not checked: %s", number(c.specs, "spec"), number(c.rows, "row"), c.why)
		i := slices.IndexFunc(all, func(s skip) bool { return s.lacking == c.lacking })
		if i < 0 {
			all = append(all, skip{c.lacking, text})
		} else {
			all[i].text += "\n" + text
		}
	}
	return all
}

// lackingNeeds tells the needs that stand in a reason, if any, from what is left.
func lackingNeeds(reason string) (needs, why string) {
	var found []string
	for _, n := range conformance.Needs() {
		if strings.Contains("; "+reason, "; "+string(n)+": ") {
			found = append(found, string(n))
		}
	}
	switch len(found) {
	case 0:
		return "something else", reason
	case 1:
		return found[0], strings.TrimPrefix(reason, found[0]+": ")
	}
	return strings.Join(found, " and "), reason
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// reportSkips says in Go's words what Ginkgo's specs have left out.
func reportSkips(t *testing.T, rep report.Report) {
	for _, run := range rep.Runs {
		for _, s := range skips(run) {
			t.Run(run.Name()+": "+s.lacking, func(t *testing.T) { t.Skip(s.text) })
		}
	}
}

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

// TestSkipsAreReported runs one spec that ordinary files can't satisfy, as a program
// of its own.
func TestSkipsAreReported(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("on other systems no spec runs")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, verbose := range []bool{true, false} {
		args := []string{"-test.run=^TestConformance$", "-pmem.target=files", "-ginkgo.focus=device DAX, private", fmt.Sprintf("-test.v=%t", verbose)}
		// It fails, since the other specs don't run.
		text, _ := exec.Command(self, args...).CombinedOutput()
		skipped := regexp.MustCompile(`(?m)^ *--- SKIP: TestConformance/go_on_files:_(\S+) `).FindAllSubmatch(text, -1)
		if verbose && (len(skipped) != 1 || string(skipped[0][1]) != "devdax") {
			t.Errorf("skipped subtests are %q, want that of devdax:\n%s", skipped, text)
		}
		if verbose && !strings.Contains(string(text), "1 spec skipped, 1 row not checked: ordinary files") {
			t.Errorf("nothing says what is skipped:\n%s", text)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, fmt.Sprintf("conformance: %d rows, ", len(conformance.Rows()))) {
			t.Errorf("the last line is %q, want the sums", last)
		}
	}
}
