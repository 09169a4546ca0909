package conformance

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance/report"
)

// shardsOf runs a page on the emulated machine in n parts, and as a whole.
func shardsOf(t *testing.T, n int) (whole report.Report, parts []report.Report) {
	t.Helper()
	needsLinux(t)
	selected := Select(Cases(), func(r Row) bool {
		return r.Page == "pmem2_map_getters" || r.Page == "pmem2_config_set_offset" || r.Page == "pmem2_config_new"
	})
	run := func(p Shard) report.Report {
		part, err := selected.Shard(p)
		if err != nil {
			t.Fatal(err)
		}
		r := part.NewRunner(Go, Emulated())
		r.runAll(nil)
		return report.New(r.Finish())
	}
	for i := 1; i <= n; i++ {
		parts = append(parts, run(Shard{i, n}))
	}
	return run(Shard{}), parts
}

// TestMerge makes of the parts of a run, written and read again, the run.
func TestMerge(t *testing.T) {
	whole, parts := shardsOf(t, 3)
	for i, p := range parts {
		var b bytes.Buffer
		if err := p.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		read, err := report.Read(&b)
		if err != nil {
			t.Fatal(err)
		}
		parts[i] = read
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}} {
		merged, err := Merge(parts[order[0]], parts[order[1]], parts[order[2]])
		if err != nil {
			t.Fatal(err)
		}
		for _, write := range []func(report.Report, *bytes.Buffer) error{
			func(r report.Report, b *bytes.Buffer) error { return r.WriteText(b) },
			func(r report.Report, b *bytes.Buffer) error { return r.WriteJSON(b) },
			func(r report.Report, b *bytes.Buffer) error { return r.WriteHTML(b) },
			func(r report.Report, b *bytes.Buffer) error { return r.WriteJUnit(b) },
		} {
			var got, want bytes.Buffer
			if err := write(merged, &got); err != nil {
				t.Fatal(err)
			}
			if err := write(whole, &want); err != nil {
				t.Fatal(err)
			}
			if got.String() != want.String() {
				t.Errorf("merged in order %v:\n%.2000s\nwant what one run writes:\n%.2000s", order, got.String(), want.String())
			}
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	whole, parts := shardsOf(t, 2)
	foreign := parts[1]
	foreign.Runs = slices.Clone(foreign.Runs)
	foreign.Runs[0].Rows = append(slices.Clone(foreign.Runs[0].Rows), parts[0].Runs[0].Rows[0])
	odd := parts[1]
	odd.Runs = slices.Clone(odd.Runs)
	odd.Runs[0].Shard = "3/7"
	filtered := parts[1]
	filtered.Runs = slices.Clone(filtered.Runs)
	filtered.Runs[0].Whole = "0123"
	nonsense := parts[1]
	nonsense.Runs = slices.Clone(nonsense.Runs)
	nonsense.Runs[0].Shard = "x"
	for _, row := range []struct {
		name  string
		parts []report.Report
		want  string
	}{
		{"one is missing", parts[:1], "go on emulated: shard 2/2 is missing"},
		{"one is there twice", []report.Report{parts[0], parts[1], parts[0]}, "shard 1/2 is there 2 times"},
		{"the whole and a part", []report.Report{whole, parts[1]}, "shard 2/2 isn't one of 1"},
		{"the whole twice", []report.Report{whole, whole}, "shard 1/1 is there 2 times"},
		{"a row in both", []report.Report{parts[0], foreign}, "is in shard 1/2 and in shard 2/2"},
		{"of another number", []report.Report{parts[0], parts[1], odd}, "shard 3/7 isn't one of 2"},
		{"of another selection", []report.Report{parts[0], filtered}, "chose other rows"},
		{"nonsense", []report.Report{parts[0], nonsense}, `shard "x"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := Merge(row.parts...); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("the error is %v, want one with %q", err, row.want)
			}
		})
	}
}

// TestMergeOfWhatIsWrong keeps what is wrong with a run once, and both of two facts.
func TestMergeOfWhatIsWrong(t *testing.T) {
	part := func(shard string, fact report.Fact, wrong ...string) report.Report {
		run := report.Run{Subject: "go", Target: "x", Shard: shard, Facts: []report.Fact{fact}}
		for i, w := range wrong {
			run.Rows = append(run.Rows, suiteRow(i, w))
		}
		return report.New(run)
	}
	merged, err := Merge(
		part("1/2", report.Fact{Name: "kernel", Has: true, Value: "6.1"}, "both", "first"),
		part("2/2", report.Fact{Name: "kernel", Has: true, Value: "6.2"}, "second", "both"))
	if err != nil {
		t.Fatal(err)
	}
	run := merged.Runs[0]
	var got []string
	for _, r := range run.Rows {
		got = append(got, r.ID+" "+r.Reason)
	}
	if want := []string{"(suite)/1 both", "(suite)/2 first", "(suite)/3 second"}; !slices.Equal(got, want) || run.Summary.Error != 3 {
		t.Errorf("rows are %q, %d errors, want %q", got, run.Summary.Error, want)
	}
	if want := (report.Fact{Name: "kernel", Has: true, Value: "6.1 | 6.2"}); len(run.Facts) != 1 || run.Facts[0] != want {
		t.Errorf("facts are %+v, want %+v", run.Facts, want)
	}
}
