package report

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	run := func(target string, facts []Fact, rows ...Row) Run {
		return Run{Subject: "go", Target: target, Facts: facts, Rows: rows, Summary: Summarize(rows)}
	}
	row := func(id string, s Status, reason string) Row {
		return Row{ID: id, Condition: "when " + id, Status: s, Reason: reason}
	}
	before := New(
		run("a", []Fact{{Name: "kernel", Has: true, Value: "6.1"}, {Name: "mapsync", Has: true}, {Name: "gone", Has: true}},
			row("same", Pass, ""), row("worse", Pass, ""), row("better", Fail, "was wrong"), row("gone", NotSupported, "no room"),
			row("other reason", Fail, "at 0x1000"), Row{ID: "(suite)/1", Page: "(suite)", Status: Error, Reason: "one"}),
		run("only old", nil, row("x", Pass, "")))
	after := New(
		run("a", []Fact{{Name: "kernel", Has: true, Value: "6.2"}, {Name: "mapsync", Why: "EOPNOTSUPP"}, {Name: "new", Has: true}},
			row("same", Pass, ""), row("worse", Fail, "is wrong"), row("better", Pass, ""), row("new", Error, "broke"),
			row("other reason", Fail, "at 0x2000"), Row{ID: "(suite)/1", Page: "(suite)", Status: Error, Reason: "two"}),
		run("only new", nil, row("x", Pass, "")))
	want := []Change{
		{"go on a", "fact kernel", "6.1", "6.2", "", ""},
		{"go on a", "fact mapsync", "yes", "no", "", "EOPNOTSUPP"},
		{"go on a", "fact new", "", "yes", "", ""},
		{"go on a", "fact gone", "yes", "", "", ""},
		{"go on a", "worse", "pass", "fail", "when worse", "is wrong"},
		{"go on a", "better", "fail", "pass", "when better", ""},
		{"go on a", "new", "", "error", "when new", "broke"},
		{"go on a", "(suite)/1", "", "error", "", "two"},
		{"go on a", "gone", "not-supported", "", "when gone", "no room"},
		{"go on a", "(suite)/1", "error", "", "", "one"},
		{"go on only old", "x", "pass", "", "when x", ""},
		{"go on only new", "x", "", "pass", "when x", ""},
	}
	if got := Diff(before, after); !slices.Equal(got, want) {
		t.Errorf("changes are\n%q, want\n%q", got, want)
	}
	if got := Diff(before, before); got != nil {
		t.Errorf("a report differs from itself in %q", got)
	}
	var b bytes.Buffer
	if err := WriteChanges(&b, want[4:5]); err != nil {
		t.Fatal(err)
	}
	if want := "go on a: worse: pass -> fail\n    when worse\n    is wrong\ndiff: 1 change\n"; b.String() != want {
		t.Errorf("written is %q, want %q", b.String(), want)
	}
	b.Reset()
	if err := WriteChanges(&b, []Change{want[6], want[8]}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "new: (not there) -> error\n") || !strings.HasSuffix(b.String(), "diff: 2 changes\n") {
		t.Errorf("written is %q", b.String())
	}
}

// TestRead reads what was written, and nothing else.
func TestRead(t *testing.T) {
	rows := []Row{{ID: "a", Status: Pass, Cases: []Case{}}, {ID: "b", Status: Fail, Reason: "<why>", Cases: []Case{{Name: "c", Injected: true, Calls: []Call{{Call: "x", Outcome: "0"}}}}}}
	rep := New(Run{Subject: "go", Target: "t", Shard: "1/2", Capabilities: []string{"file"}, Facts: []Fact{{Name: "kernel", Has: true, Value: "6"}}, Rows: rows, Summary: Summarize(rows)})
	var text bytes.Buffer
	if err := rep.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	read, err := Read(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := read.WriteJSON(&again); err != nil {
		t.Fatal(err)
	}
	if again.String() != text.String() {
		t.Errorf("read and written again it is\n%s, want\n%s", again.String(), text.String())
	}
	for _, row := range []struct{ name, old, new, want string }{
		{"another schema", Schema, "x/v9", "schema"},
		{"cut off", "]", "", ""},
		{"more behind", "", "{}", "behind"},
		{"a status that there isn't", `"fail",`, `"failed",`, "status"},
		{"wrong sums", `"pass": 1`, `"pass": 7`, "sums"},
		{"a row twice", `"id": "b"`, `"id": "a"`, "twice"},
	} {
		t.Run(row.name, func(t *testing.T) {
			bad := text.String()
			switch {
			case row.name == "cut off":
				bad = bad[:len(bad)/2]
			case row.old == "":
				bad += row.new
			default:
				bad = strings.Replace(bad, row.old, row.new, 1)
			}
			if _, err := Read(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("the error is %v, want one with %q", err, row.want)
			}
		})
	}
}

func TestAnnotations(t *testing.T) {
	var rows []Row
	for i := range 12 {
		rows = append(rows, Row{ID: "p/x:" + string(rune('a'+i)), Condition: "100%", Status: Fail, Reason: "one\ntwo"})
	}
	rows = append(rows, Row{ID: "p/good", Status: Pass})
	rep := New(Run{Subject: "go", Target: "t", Rows: rows, Summary: Summarize(rows)})
	var b bytes.Buffer
	if err := rep.WriteAnnotations(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 11 {
		t.Fatalf("%d lines, want ten errors and a notice:\n%s", len(lines), b.String())
	}
	for i, want := range map[int]string{
		0:  "::error title=go on t%3A p/x%3Aa::100%25%0Afail: one%0Atwo",
		8:  "::error title=go on t%3A p/x%3Ai::100%25%0Afail: one%0Atwo",
		9:  "::error title=conformance::3 more rows failed or broke: see the report",
		10: "::notice title=conformance::" + rep.LastLine(),
	} {
		if lines[i] != want {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
	rows = rows[2:]
	b.Reset()
	if err := New(Run{Rows: rows, Summary: Summarize(rows)}).WriteAnnotations(&b); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "::error"); n != 10 || strings.Contains(b.String(), "more rows") {
		t.Errorf("ten failures are %d annotations:\n%s", n, b.String())
	}
}
