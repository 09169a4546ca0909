package report_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pmemlab/conformance/report"
)

// TestHTMLColumns: the grid has a column for each run, and becomes a single one
// where they'd leave less than 15rem for the text of a row.
func TestHTMLColumns(t *testing.T) {
	const width, gap = 10, .9 // of a run, in rem
	number := func(t *testing.T, page, pattern string) int {
		t.Helper()
		all := regexp.MustCompile(pattern).FindAllStringSubmatch(page, -1)
		if len(all) != 1 {
			t.Fatalf("%s matches %q, want one match", pattern, all)
		}
		n, err := strconv.Atoi(all[0][1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, runs := range []int{1, 2, 3, 5, 8} {
		t.Run(fmt.Sprint(runs), func(t *testing.T) {
			var r report.Report
			for i := range runs {
				run := sample().Runs[0]
				run.Target = fmt.Sprintf("target%d", i)
				r.Runs = append(r.Runs, run)
			}
			page := read(t, written(t, r), "conformance.html")
			if got := number(t, page, `minmax\(0, 1fr\) repeat\((\d+), 10rem\)`); got != runs {
				t.Errorf("the grid has %d columns for runs, want %d", got, runs)
			}
			_, row, _ := strings.Cut(page, "<summary>")
			row, _, _ = strings.Cut(row, "</summary>")
			if got := strings.Count(row, `<span class="status `); got != runs {
				t.Errorf("a row has %d cells, want %d", got, runs)
			}
			narrow := number(t, page, `@media \(max-width: (\d+)rem\) \{\n`)
			if got := number(t, page, `@media \(min-width: (\d+)\.01rem\)`); got != narrow {
				t.Errorf("the names of the runs go at %drem, want %d", got, narrow)
			}
			wide := number(t, page, `main, header, \.bar > div \{ max-width: (\d+)rem`)
			for _, window := range []int{narrow, 200} {
				// Off go the padding of main and that of a row.
				text := float64(min(window, wide)) - 2*1.25 - 2*.8 - float64(runs)*(width+gap)
				if text < 15 {
					t.Errorf("in a window of %drem the text has %.1frem, want 15 at least", window, text)
				}
			}
			if want := fmt.Sprintf("6 rows of the manual pages, %d run", runs); !strings.Contains(page, want) {
				t.Errorf("the page lacks %q", want)
			}
			if runs == 1 && strings.Contains(page, "1 runs") {
				t.Error("the page has 1 runs")
			}
		})
	}
}
