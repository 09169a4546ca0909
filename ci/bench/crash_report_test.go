package main

import (
	"bytes"
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"testing"
)

// crashSample is a report with a row of each sort, whose aims are met but for those named.
func crashSample() crashReport {
	return crashReport{
		Version: crashSchema, Machine: "a CPU, Linux 6.18", Seed: 1, Rounds: 5, Seconds: 60,
		Images: []imagesRow{
			{Lines: 7, Check: "in place", Cores: 1, Images: 128, Distinct: 128, Of: 128, PerSecond: 4e6, CPUMicros: 0.25, Aim: 1e6},
			{Lines: 20, Check: "machine and mapping", Cores: 1, Images: 98000, Distinct: 98000, Of: 1 << 20, PerSecond: 20000, CPUMicros: 40, Aim: 30000},
			{Lines: 20, Check: "worker processes", Cores: 2, Images: 98000, Distinct: 98000, Of: 1 << 20, PerSecond: 20000, CPUMicros: 80},
		},
		Persist: persistResult{Size: 64, TracedNs: 300, RealNs: 200, Ratio: 1.5, RatioLow: 1.4, RatioHigh: 1.6, Aim: 2},
		Looks: []looksRow{
			{Pages: 100, Apart: [2]uint64{102400, 102400}, Scan: true, Sizes: [2]uint64{1 << 30, 1 << 40}, FirstUs: [2]float64{900, 950},
				LookUs: [2]float64{400, 420}, Ratio: 1.05, RatioLow: 1, RatioHigh: 1.1, TableBytes: [2]int64{0, 4096}, Aim: true},
			{Pages: 1, Apart: [2]uint64{102400, 102400}, Sizes: [2]uint64{1 << 30, 1 << 40}, LookUs: [2]float64{4, 40}, Ratio: 10},
		},
	}
}

func TestCrashWriteText(t *testing.T) {
	var b bytes.Buffer
	if err := crashSample().writeText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "crash.txt", b.Bytes())
}

func TestCrashWriteJSON(t *testing.T) {
	var b bytes.Buffer
	if err := crashSample().writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "crash.json", b.Bytes())
}

// TestCrashAims are the aims at their edges.
func TestCrashAims(t *testing.T) {
	images := imagesRow{Images: 128, Distinct: 128, CPUMicros: 1, Aim: 1e6}
	looks := looksRow{Ratio: 1.5, TableBytes: [2]int64{0, maxTableBytes - 1}}
	for _, c := range []struct {
		name string
		met  func() bool
		want bool
	}{
		{"images, as fast", images.met, true},
		{"images, slower", func() bool { r := images; r.CPUMicros = 1.01; return r.met() }, false},
		{"images, one twice", func() bool { r := images; r.Distinct = 127; return r.met() }, false},
		{"persist, as fast", persistResult{Ratio: 2, Aim: 2}.met, true},
		{"persist, slower", persistResult{Ratio: 2.01, Aim: 2}.met, false},
		{"looks, as long", looks.met, true},
		{"looks, longer", func() bool { r := looks; r.Ratio = 1.51; return r.met() }, false},
		{"looks, less than half", func() bool { r := looks; r.Ratio = 0.49; return r.met() }, false},
		{"looks, page tables", func() bool { r := looks; r.TableBytes[1]++; return r.met() }, false},
	} {
		if got := c.met(); got != c.want {
			t.Errorf("%s: met is %t, want %t", c.name, got, c.want)
		}
	}
}

func TestParseCrash(t *testing.T) {
	for args, want := range map[string]string{
		"":                "",
		"-rounds 3":       "",
		"-rounds 2":       "-rounds is 2",
		"-sample 999":     "-sample is 999",
		"-sample 1048577": "-sample is 1048577",
		"-batch 0s":       "-batch is 0s",
		"now":             `argument "now"`,
	} {
		_, err := parseCrash(strings.Fields(args), io.Discard)
		if got := err != nil; got != (want != "") || got && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", args, err, want)
		}
	}
}

// TestCrashJSONKeys: the keys that others read.
func TestCrashJSONKeys(t *testing.T) {
	var b bytes.Buffer
	if err := crashSample().writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	var read map[string]any
	if err := json.Unmarshal(b.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	if got := read["version"]; got != float64(crashSchema) {
		t.Errorf("version is %v, want %d", got, crashSchema)
	}
	for _, key := range []string{"machine", "images", "persist", "looks"} {
		if read[key] == nil {
			t.Errorf("there is no %q on %s", key, runtime.GOOS)
		}
	}
}
