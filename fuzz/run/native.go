package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pmemlab/fuzz"
	"pmemlab/fuzz/corpus"
)

// native runs every target with the coverage engine, and the one that does nothing first:
// what the engine costs.
func native(args []string) error {
	f := flags("native")
	d := f.Duration("time", time.Minute, "how long each target is run")
	names := f.String("targets", "", "targets, with commas between; empty: all")
	procs := f.Int("procs", cores(), "workers of the engine")
	binary := f.String("binary", "bin/fuzz.test", "the instrumented tests of package fuzz: go test -c -fuzz=.")
	cache := f.String("cache", "", "where what the engine finds interesting is kept; empty: where go test does")
	_ = f.Parse(args)
	targets, err := choose(*names, true)
	if err != nil {
		return err
	}
	e, err := newEngine(*binary, *cache, *procs)
	if err != nil {
		return err
	}
	fmt.Printf("%d targets, %v each, %d workers\n", len(targets), *d, *procs)
	rows := [][]string{{"target", "seconds", "executions", "per s", "of empty", "accepted", "new", "corpus", ""}}
	var empty float64
	wrong, total := 0, 0.0
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, t := range targets {
		r, err := e.run(ctx, t, *d)
		if err != nil {
			return err
		}
		if t.Name == fuzz.Empty.Name {
			empty = r.rate()
		}
		outcome := ""
		if r.failed {
			wrong++
			outcome = "FAILED"
		}
		total += r.seconds
		rows = append(rows, []string{
			t.Name, fmt.Sprintf("%.0f", r.seconds), thousands(r.executions), thousands(uint64(r.rate())), fmt.Sprintf("%.2f", r.rate()/empty),
			percent(r.accepted, r.counted), fmt.Sprint(r.interesting), fmt.Sprint(r.corpus), strings.TrimSpace(t.Accepted + " " + outcome),
		})
	}
	fmt.Println()
	fmt.Print(table(rows))
	fmt.Printf("fuzz: %d targets, %.0f s, %d failed\n", len(targets), total, wrong)
	if wrong > 0 {
		return exitStatus(1)
	}
	return nil
}

// engine is the fuzzing of package testing, in an instrumented test program.
type engine struct {
	binary, cache string
	dir           string // that it is run in, where testdata is
	procs         int
}

func newEngine(binary, cache string, procs int) (*engine, error) {
	if procs < 1 {
		return nil, fmt.Errorf("-procs %d: want one or more", procs)
	}
	if cache == "" {
		// Where go test -fuzz keeps it.
		out, err := exec.Command("go", "env", "GOCACHE").Output()
		if err != nil {
			return nil, fmt.Errorf("go env GOCACHE: %w", err)
		}
		cache = filepath.Join(strings.TrimSpace(string(out)), "fuzz", "pmemlab", "fuzz")
	}
	e := &engine{dir: "fuzz", procs: procs}
	var err error
	if e.binary, err = filepath.Abs(binary); err != nil {
		return nil, err
	}
	if e.cache, err = filepath.Abs(cache); err != nil {
		return nil, err
	}
	if _, err := os.Stat(e.binary); err != nil {
		return nil, fmt.Errorf("the instrumented tests aren't there: %w", err)
	}
	return e, os.MkdirAll(e.cache, 0o777)
}

// nativeResult is what the engine says of a target.
type nativeResult struct {
	seconds             float64
	executions          uint64
	interesting, corpus int
	accepted, counted   uint64 // of the inputs that workers counted
	failed              bool
}

func (r nativeResult) rate() float64 { return float64(r.executions) / r.seconds }

var (
	progress = regexp.MustCompile(`^fuzz: elapsed: (\S+), execs: (\d+) \(\d+/sec\), new interesting: (\d+) \(total: (\d+)\)`)
	written  = regexp.MustCompile(`Failing input written to (testdata/fuzz/\S+)`)
)

// run fuzzes a target and prints what the engine says. The end of ctx is an interrupt to the
// engine, and the error.
func (e *engine) run(ctx context.Context, t fuzz.Target, d time.Duration) (r nativeResult, err error) {
	counts, err := os.MkdirTemp("", "pmemlab-fuzz-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(counts)) }()
	fmt.Printf("\n%s: %s\n", t.Name, t.About)
	cmd := exec.CommandContext(ctx, e.binary, "-test.run=^$", "-test.fuzz=^Fuzz"+t.Name+"$", "-test.fuzztime="+d.String(), "-test.fuzzcachedir="+e.cache,
		"-test.fuzzminimizetime=0x", fmt.Sprintf("-test.parallel=%d", e.procs))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Dir = e.dir
	// Each input is run by a goroutine of its own; the setting spares it the growth of its stack.
	cmd.Env = append(os.Environ(), fuzz.CountsVariable+"="+counts, "GODEBUG=adaptivestackstart=1", "GOGC=400")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	cmd.Stderr = cmd.Stdout
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	crasher, late := "", false
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := progress.FindStringSubmatch(line); m != nil {
			elapsed, _ := time.ParseDuration(m[1])
			r.executions, _ = strconv.ParseUint(m[2], 10, 64)
			r.interesting, _ = strconv.Atoi(m[3])
			r.corpus, _ = strconv.Atoi(m[4])
			r.seconds = max(elapsed.Seconds(), r.seconds)
		}
		if m := written.FindStringSubmatch(line); m != nil {
			crasher = m[1]
		}
		late = late || strings.TrimSpace(line) == "context deadline exceeded"
		if line != "PASS" {
			fmt.Println(line)
		}
	}
	err = errors.Join(lines.Err(), cmd.Wait())
	r.seconds = max(r.seconds, 1e-9)
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	var status *exec.ExitError
	if errors.As(err, &status) {
		// Before Go 1.27 the end of the time can itself be what the engine fails for
		// (go.dev/issue/75804); an input that fails is written.
		r.failed, err = crasher != "" || !late || r.seconds < d.Seconds()-1, nil
		if crasher != "" {
			path := filepath.Join(e.dir, crasher)
			input, err := corpus.ReadFile(path)
			if err != nil {
				return r, err
			}
			fmt.Printf("crasher: %s\n  %s\n", path, fuzz.Reproducer(t.Name, input))
		}
	}
	if err != nil {
		return r, err
	}
	r.accepted, r.counted, err = readCounts(counts)
	if r.executions == 0 && !r.failed {
		return r, fmt.Errorf("%s: the engine ran nothing in %v", t.Name, time.Since(start))
	}
	return r, err
}

// readCounts adds up what workers have written at their ends.
func readCounts(dir string) (accepted, all uint64, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, err
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return 0, 0, err
		}
		var a, n uint64
		if _, err := fmt.Sscan(string(text), &a, &n); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", f.Name(), err)
		}
		accepted, all = accepted+a, all+n
	}
	return accepted, all, nil
}
