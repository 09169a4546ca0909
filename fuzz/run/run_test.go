package main

import (
	"archive/zip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pmemlab/fuzz"
	"pmemlab/fuzz/bank"
	"pmemlab/fuzz/corpus"
)

// TestMain lets this program be the worker of its tests.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestWorker(t *testing.T) {
	r := startWorker(t.Context(), workerOrder{Targets: []string{"Empty", "Map"}, Seed: 1, Time: 500 * time.Millisecond, Slice: 10 * time.Millisecond})
	if r.err != nil || r.Finding != nil {
		t.Fatalf("%v, %+v", r.err, r.Finding)
	}
	for _, name := range []string{"Empty", "Map"} {
		if s := r.Stats[name]; s.Executions() == 0 || s.Time() <= 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for _, o := range []workerOrder{{Targets: []string{"Nonsense"}, Time: time.Second}} {
		if r := startWorker(t.Context(), o); r.err == nil {
			t.Errorf("%+v: %+v, want an error", o, r)
		}
	}
}

// TestWorkerEnds: a worker that is interrupted has found nothing, and leaves nothing.
func TestWorkerEnds(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if os.TempDir() != dir {
		t.Skip("the directory for temporary files can't be chosen by TMPDIR here")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan workerResult)
	go func() {
		done <- startWorker(ctx, workerOrder{Targets: []string{"Empty"}, Seed: 1, Time: time.Hour, Slice: time.Hour})
	}()
	running := func() bool {
		files, err := filepath.Glob(filepath.Join(dir, "*", "input"))
		return len(files) > 0 || err != nil
	}
	for !running() {
		runtime.Gosched()
	}
	cancel()
	if r := <-done; !errors.Is(r.err, context.Canceled) || r.Finding != nil {
		t.Errorf("%v, %+v; want that it was cancelled", r.err, r.Finding)
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("%v, %v are left", left, err)
	}
}

// TestWatched: what was being run is known of a process that is gone.
func TestWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "input")
	w, err := newWatched(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := readWatched(path); err == nil {
		t.Error("nothing has been run, and it is read")
	}
	for _, input := range []string{"abc", "", strings.Repeat("x", 100), "\x00"} {
		w.watch("Map")([]byte(input))
		if target, got, err := readWatched(path); target != "Map" || string(got) != input || err != nil {
			t.Errorf("%s %q, %v; want %q", target, got, err, input)
		}
	}
	w.watch("Long")(make([]byte, 2*watchedSize))
	if _, got, err := readWatched(path); err != nil || len(got) < watchedSize/2 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := os.WriteFile(path, []byte("\xff\xff\xff\xff"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readWatched(path); err == nil {
		t.Error("a damaged file is read")
	}
}

func TestChoose(t *testing.T) {
	all, err := choose("", true)
	if err != nil || len(all) != len(fuzz.Targets()) {
		t.Errorf("%d targets, %v", len(all), err)
	}
	one, err := choose("Map", false)
	if err != nil || len(one) != 1 || one[0].Name != "Map" {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := choose("Map,Nonsense", false); err == nil || !strings.Contains(err.Error(), "Nonsense") {
		t.Errorf("%v: want the name in it", err)
	}
}

func TestTable(t *testing.T) {
	got := table([][]string{{"target", "n", ""}, {"Map", thousands(1234567), "mapped"}, {"Longer", thousands(12), ""}})
	const want = "target          n\nMap     1,234,567  mapped\nLonger         12\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1<<64 - 1: "18,446,744,073,709,551,615"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

// TestReplay runs an input in each form that there is.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	path, err := corpus.Write(dir, "Map", []byte("\x01\x02"))
	if err != nil {
		t.Fatal(err)
	}
	raw := filepath.Join(dir, "raw")
	if err := os.WriteFile(raw, []byte{1}, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"Map", path}, {"Map", `"\x01"`}, {"-raw", "Map", raw}} {
		if err := replay(args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, args := range [][]string{{}, {"Map"}, {"Nonsense", `""`}, {"Map", "nonsense"}, {"Map", raw}, {"-raw", "Map", filepath.Join(dir, "none")}} {
		if err := replay(args); err == nil {
			t.Errorf("%q: want an error", args)
		}
	}
}

func TestSeeds(t *testing.T) {
	dir := t.TempDir()
	inputs := map[string]bool{}
	for _, in := range []string{"a", "\x00\xff"} {
		if _, err := corpus.Write(dir, "Map", []byte(in)); err != nil {
			t.Fatal(err)
		}
		inputs[in] = true
	}
	file := filepath.Join(dir, "seeds.zip")
	if err := seeds([]string{"-o", file, "-corpus", dir, "Map"}); err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, f.UncompressedSize64)
		if _, err := r.Read(b); len(b) > 0 && err != nil && err.Error() != "EOF" {
			t.Fatal(err)
		}
		delete(inputs, string(b))
	}
	if len(inputs) > 0 {
		t.Errorf("%v aren't in it", inputs)
	}
}

// TestBuildRefuses: a bug that can't be planted is no bug that isn't found.
func TestBuildRefuses(t *testing.T) {
	t.Chdir("../..")
	for _, f := range []bank.Fault{
		{Name: "no-file", File: "pmem2/none.go", Old: "a", New: "b"},
		{Name: "no-text", File: "pmem2/map_new.go", Old: "this isn't there", New: "b"},
		{Name: "not-once", File: "pmem2/map_new.go", Old: "return", New: "b"},
	} {
		if _, err := hunted(t.Context(), t.TempDir(), f, workerOrder{}, time.Second); err == nil {
			t.Errorf("%s: want an error", f.Name)
		}
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	s, err := readState(dir)
	if err != nil || s.Round != 0 || s.Next != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	s.Round, s.Next, s.Targets["Map"] = 3, 2, &totals{Engine: 7, Findings: 1}
	if err := s.write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := readState(dir)
	if err != nil || got.Round != 3 || got.Next != 2 || got.Seed != s.Seed || *got.Targets["Map"] != *s.Targets["Map"] {
		t.Errorf("%+v, %v; want %+v", got, err, s)
	}
	for _, text := range []string{"", "{", `{"Next": -1, "Targets": {}}`, `{"Targets": null}`} {
		if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := readState(dir); err == nil {
			t.Errorf("%q is taken as %+v", text, s)
		}
	}
}

// TestEngineFails: the engine's own lateness is no finding, all else that it fails for is.
func TestEngineFails(t *testing.T) {
	dir := t.TempDir()
	if _, err := corpus.Write(filepath.Join(dir, "testdata", "fuzz"), "Engine", []byte("x")); err != nil {
		t.Fatal(err)
	}
	const progress = "fuzz: elapsed: 8s, execs: 10 (1/sec), new interesting: 3 (total: 4)"
	for _, c := range []struct {
		says   string
		failed bool
	}{
		{"--- FAIL: FuzzMap (8.10s)\n    context deadline exceeded", false},
		{"--- FAIL: FuzzMap (8.10s)\n    wrong", true},
		{"--- FAIL: FuzzMap (8.10s)\n    context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzEngine/" + corpus.Name([]byte("x")), true},
	} {
		program := filepath.Join(t.TempDir(), "engine")
		if err := os.WriteFile(program, []byte("#!/bin/sh\nprintf '"+progress+"\n"+c.says+"\n'\nexit 1\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		e, err := newEngine(program, t.TempDir(), 1)
		if err != nil {
			t.Fatal(err)
		}
		e.dir = dir
		r, err := e.run(t.Context(), fuzz.Empty, 8*time.Second)
		if err != nil || r.failed != c.failed || r.executions != 10 || r.interesting != 3 || r.corpus != 4 {
			t.Errorf("%q: %+v, %v; want failed %t", c.says, r, err, c.failed)
		}
	}
}
