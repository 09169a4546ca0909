package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"pmemlab/conformance/report"
)

// The functions that child processes of these tests run.
var _ = addChildFunctions(map[string]childFunction{
	"echo": func(t *T, args json.RawMessage) any {
		fmt.Print("out")
		fmt.Fprint(os.Stderr, "err")
		var vars []string
		for _, e := range os.Environ() {
			if isLibraryVariable(e) {
				vars = append(vars, e)
			}
		}
		return []any{string(args), vars, t.Env.Machine() != nil, os.Getpid(), t.target.Name() + "/" + t.variant}
	},
	"fails":  func(t *T, _ json.RawMessage) any { t.Failf("as planned"); return nil },
	"lacks":  func(t *T, _ json.RawMessage) any { t.NotSupportedf("no tape"); return nil },
	"broken": func(t *T, _ json.RawMessage) any { t.Brokenf("no tool"); return nil },
	"panics": func(*T, json.RawMessage) any { panic("oops") },
	"leaks": func(t *T, _ json.RawMessage) any {
		o, err := t.Env.File(1)
		t.suite(err, "file")
		_, err = o.Open(0)
		t.suite(err, "open")
		return nil
	},
	"exits": func(*T, json.RawMessage) any {
		fmt.Fprint(os.Stderr, "last words")
		os.Exit(7)
		return nil
	},
	"hangs":            func(*T, json.RawMessage) any { select {} },
	"hangs at the end": func(*T, json.RawMessage) any { return endless{} },
	"no JSON":          func(*T, json.RawMessage) any { return func() {} },
})

// endless takes forever to be written.
type endless struct{}

func (endless) MarshalJSON() ([]byte, error) {
	fmt.Fprint(os.Stderr, "waiting")
	time.Sleep(time.Hour)
	return nil, nil
}

func addChildFunctions(fs map[string]childFunction) int {
	maps.Copy(childFunctions, fs)
	return len(fs)
}

func TestChild(t *testing.T) {
	for _, row := range []struct {
		function string
		status   report.Status
		reason   string
	}{
		{"fails", report.Fail, "as planned"},
		{"lacks", report.NotSupported, "no tape"},
		{"broken", report.Error, "no tool"},
		{"panics", report.Error, "oops"},
		{"leaks", report.Fail, "left behind"},
		{"exits", report.Fail, "exit status 7; standard error: last words"},
		{"no JSON", report.Fail, "unsupported type"},
		{"not there", report.Fail, `no function "not there"`},
	} {
		t.Run(row.function, func(t *testing.T) {
			run := runCases(t, Go, Emulated(), Case{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) {
				c.Child(childRun{Function: row.function, Env: []string{"PMEM_X=1"}})
				c.Failf("the case goes on")
			}})
			wantRow(t, run, anyRow, row.status, row.reason)
		})
	}
}

// TestChildPlace looks at where a child finds itself.
func TestChildPlace(t *testing.T) {
	t.Setenv("PMEM_NO_CLWB", "1") // the user's
	t.Setenv("PMEM2_LOG_LEVEL", "4")
	t.Setenv("PMEMSET_LOG_LEVEL", "4")
	for _, target := range []Target{Emulated(), Files(FilesConfig{})} {
		run := runCases(t, Go, target, Case{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) {
			var got []any
			end := c.Child(childRun{Function: "echo", Args: map[string]int{"a": 1}, Env: []string{"PMEM2_X=y"}, Value: &got})
			want := fmt.Sprint([]any{`{"a":1}`, []any{"PMEM2_X=y"}, true, float64(end.Pid), c.target.Name() + "/" + c.variant})
			c.Check(fmt.Sprint(got) == want, "the child says %v, want %v", got, want)
			c.Check(end.Stdout == "out" && end.Stderr == "err", "on standard output %q, on standard error %q", end.Stdout, end.Stderr)
		}})
		wantRow(t, run, anyRow, report.Pass, "")
	}
}

// TestChildThatHangs is told that its time is up, or killed.
func TestChildThatHangs(t *testing.T) {
	for _, row := range []struct {
		function string
		status   report.Status
		reason   string
	}{
		{"hangs", report.Error, "not at its end after"},
		{"hangs at the end", report.Fail, "signal: killed; standard error: waiting"},
	} {
		run := runCases(t, Go, Emulated(), Case{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) {
			c.Child(childRun{Function: row.function, Within: 3 * time.Second})
		}})
		wantRow(t, run, anyRow, row.status, row.reason)
	}
}

func TestIsLibraryVariable(t *testing.T) {
	for entry, want := range map[string]bool{
		"PMEM_NO_CLWB=1": true, "PMEM2_LOG_LEVEL=4": true, "PMEMSET_DEBUG=1": true, "PMEMSET_LOG_FILE=": true,
		"PMEMSET=1": false, "PMEMLAB_X=1": false, "PMEM2": false, "XPMEMSET_DEBUG=1": false, "PATH=PMEMSET_DEBUG=1": false, "": false,
	} {
		if got := isLibraryVariable(entry); got != want {
			t.Errorf("isLibraryVariable(%q) = %t, want %t", entry, got, want)
		}
	}
}

func TestWithoutChildren(t *testing.T) {
	needsLinux(t)
	known := childSubjects.Load()
	defer childSubjects.Store(known)
	c := Case{Name: "x/c", Rows: []string{anyRow}, Run: func(c *T) { c.Child(childRun{Function: "echo"}) }}
	unknown := planted{"a stranger", PlantedInChildren.on}
	wantRow(t, runCases(t, unknown, Emulated(), c), anyRow, report.NotSupported, "doesn't name the subject a stranger")
	foreign := fakeTarget{Target: Emulated()}
	wantRow(t, runCases(t, Go, foreign, c), anyRow, report.NotSupported, "they don't know the target")
	childSubjects.Store(nil)
	wantRow(t, runCases(t, Go, Emulated(), c), anyRow, report.NotSupported, "doesn't call conformance.RunChild")
}

// TestTail keeps messages short.
func TestTail(t *testing.T) {
	if got := tail("short"); got != "short" {
		t.Errorf("got %q", got)
	}
	if got := tail(strings.Repeat("x", 5000) + "end"); len(got) > 2100 || !strings.HasSuffix(got, "end") {
		t.Errorf("got %d bytes", len(got))
	}
}
