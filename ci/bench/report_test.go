package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the tests see into testdata")

func ptr(v float64) *float64 { return &v }

// sample is a report with a row of each sort.
func sample() report {
	r := report{Machine: "a CPU, Linux 6.1", Settings: "CPU 1", Seed: 42, Rounds: 12, Pairs: 10, Seconds: 300}
	add := func(w row, goNs, cNs, low, high float64, limit *float64, by string) {
		res := rowResult{Op: w.op, Size: w.size, GoNs: goNs, CNs: cNs, Ratio: round(cNs/goNs, 4), RatioLow: low, RatioHigh: high,
			LimitNs: limit, LimitBy: by, row: w}
		if limit != nil {
			share := round(*limit/goNs, 4)
			res.LimitRatio, res.LimitRatioLow, res.LimitRatioHigh = ptr(share), ptr(share-0.01), ptr(share+0.01)
		}
		r.Rows = append(r.Rows, res)
	}
	add(row{"persist", 8, "persist", 0}, 100, 100, 0.98, 1.02, ptr(99), "CLWB")
	add(row{"memcpy", 64, "memcpy", 0}, 4.5, 4, 0.88, 0.9, ptr(4.4), "AVX-512, then CLWB")
	add(row{"memcpy+1", 1 << 20, "memcpy", 1}, 50000, 40000, 0.79, 0.81, ptr(39000), "AVX-512 NT")
	add(row{"memset", 64 << 20, "memset", 0}, 3e6, 3.3e6, 1.05, 1.15, ptr(2.9e6), "MOVDIR64B")
	add(row{"NewMap refused: offset", 64 << 20, "map-offset", 0}, 1000, 500, 0.45, 0.55, nil, "")
	return r
}

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n")); !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestWriteText(t *testing.T) {
	var b bytes.Buffer
	if err := sample().writeText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", b.Bytes())
}

func TestWriteJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sample().writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", b.Bytes())

	// The keys that others read, null where there is no limit.
	var read struct{ Rows []map[string]any }
	if err := json.Unmarshal(b.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	for i, r := range read.Rows {
		for _, key := range []string{"op", "size", "go_ns", "c_ns", "ratio", "ratio_low", "ratio_high", "limit_ns"} {
			v, ok := r[key]
			if null := v == nil; !ok || null != (key == "limit_ns" && sample().Rows[i].LimitNs == nil) {
				t.Errorf("row %d: %s is %v, there: %v", i, key, v, ok)
			}
		}
	}
}

// TestBehind is the rule of -check at its edges.
func TestBehind(t *testing.T) {
	for _, c := range []struct {
		name      string
		ratioHigh float64
		goNs      float64
		limit     *float64
		want      bool
	}{
		{"the interval reaches 0.97", 0.97, 200, ptr(100), false},
		{"it ends just below", 0.9699, 200, ptr(100), true},
		{"just below, no limit", 0.9699, 200, nil, true},
		{"far below, 3 % above the limit", 0.5, 103, ptr(100), false},
		{"far below, a little more", 0.5, 103.01, ptr(100), true},
		{"far below, faster than the limit", 0.5, 90, ptr(100), false},
		{"ahead, no limit", 1.5, 200, nil, false},
	} {
		r := rowResult{RatioLow: c.ratioHigh / 2, Ratio: c.ratioHigh / 2, RatioHigh: c.ratioHigh, GoNs: c.goNs, LimitNs: c.limit}
		if got := r.behind(); got != c.want {
			t.Errorf("%s: behind is %v, want %v", c.name, got, c.want)
		}
		if got := len((report{Rows: []rowResult{r}}).behind()); got != map[bool]int{true: 1}[c.want] {
			t.Errorf("%s: the report has %d rows behind", c.name, got)
		}
	}
}

// TestVerdict: what each sort of row counts as.
func TestVerdict(t *testing.T) {
	got := strings.Split(sample().verdict(), "\n")
	want := []string{
		"bench: 5 rows, 1 ahead of C, 1 level, 1 ties at the limit, 2 behind: memcpy+1/1MiB (0.800), NewMap refused: offset/64MiB (0.500)",
		"copies and sets of 1 MiB and more: 1 of 2 ahead of C; sets: 1 of 1 at 0.95 of the limit or more",
		"intervals: half a width is 2.0 % in the median, 10.0 % at most (NewMap refused: offset/64MiB)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestResult: a line is made of the right sides, and ratios aren't upside down.
func TestResult(t *testing.T) {
	all := func(ns float64) [][]float64 { return [][]float64{{ns, ns}, {ns, ns}, {ns, ns}} }
	r := result(row{"memset", 64, "memset", 0}, samples{all(20), all(30), all(10)}, "CLWB")
	if r.GoNs != 20 || r.CNs != 30 || r.Ratio != 1.5 || r.RatioLow != 1.5 || r.RatioHigh != 1.5 || *r.LimitNs != 10 || *r.LimitRatio != 0.5 || r.LimitBy != "CLWB" {
		t.Errorf("Go 20, C 30, limit 10 gives %+v, limit %v, limit ratio %v", r, *r.LimitNs, *r.LimitRatio)
	}
	r = result(row{"NewMap refused: offset", 64, "map-offset", 0}, samples{goNs: all(20), cNs: all(30)}, "")
	if r.LimitNs != nil || r.LimitRatio != nil || r.tie() {
		t.Errorf("a row without a limit has one: %+v", r)
	}
}

// TestFlags: what can't be measured is refused with the reason, status 2.
func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-rounds 2", "-rounds is 2, an interval needs 3 at least"},
		{"-pairs 1", "-pairs is 1, 2 is the least"},
		{"-batch 0s", "-batch is 0s, it must be above 0"},
		{"-batch 2s", "-batch is 2s, it must be above 0 and at most 1s"},
		{"-cpu -2", "-cpu is -2"},
		{"-run (", "-run: error parsing regexp"},
		{"-run nothing", `-run "nothing" matches no row`},
		{"more", `argument "more": there are flags only`},
		{"-unknown", "flag provided but not defined"},
	} {
		var out, stderr bytes.Buffer
		if status := run(context.Background(), strings.Fields(c.args), &out, &stderr); status != 2 || !strings.Contains(stderr.String(), c.want) || out.Len() > 0 {
			t.Errorf("%s: status %d, output %q, error %q, want 2 and %q", c.args, status, &out, &stderr, c.want)
		}
	}
}
