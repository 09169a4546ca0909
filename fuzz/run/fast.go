package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"pmemlab/fuzz"
	"pmemlab/fuzz/corpus"
	"pmemlab/fuzz/fast"
)

// runFast runs the fast generator: processes, one for each core, take the targets in turn.
func runFast(args []string) error {
	f := flags("fast")
	d := f.Duration("time", 10*time.Second, "how long each target is run")
	names := f.String("targets", "", "targets, with commas between; empty: all")
	seed := f.Uint64("seed", newSeed(), "seed")
	procs := f.Int("procs", cores(), "processes")
	dir := f.String("corpus", "fuzz/testdata/fuzz", "where inputs that show something wrong are put")
	_ = f.Parse(args)
	targets, err := choose(*names, false)
	if err != nil {
		return err
	}
	if *procs < 1 {
		return fmt.Errorf("-procs %d: want one or more", *procs)
	}
	fmt.Printf("fast generator: %d targets, %v each, %d processes, seed %d\n", len(targets), *d, *procs, *seed)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rows := [][]string{{"target", "executions", "per s and core", "accepted", "accepted/s", "refused/s", ""}}
	wrong := 0
	for _, t := range targets {
		var sum fast.Stats
		results := make(chan workerResult)
		for p := range *procs {
			go func() {
				results <- startWorker(ctx, workerOrder{Targets: []string{t.Name}, Seed: *seed + uint64(p), Time: *d, Slice: *d})
			}()
		}
		for range *procs {
			r := <-results
			sum.Add(r.Stats[t.Name])
			if r.Finding != nil {
				wrong++
				report(*dir, t, r.Finding)
			}
			err = errors.Join(err, r.err)
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		rows = append(rows, []string{
			t.Name, thousands(sum.Executions()), rate(sum.Executions(), sum.Time()), percent(sum.Accepted, sum.Executions()),
			rate(sum.Accepted, sum.AcceptedTime), rate(sum.Refused, sum.RefusedTime), t.Accepted,
		})
		fmt.Printf("%s: %s executions\n", t.Name, thousands(sum.Executions()))
	}
	fmt.Println()
	fmt.Print(table(rows))
	fmt.Printf("fast: %d targets, %d findings\n", len(targets), wrong)
	if err == nil && wrong > 0 {
		return exitStatus(1)
	}
	return err
}

// report prints a finding and makes it an entry of the corpus, as simple as it can be.
func report(dir string, t fuzz.Target, f *fast.Finding) {
	input := f.Input
	if input == nil { // it is about what all inputs have left behind
		fmt.Printf("%s: %s\n", t.Name, f.Err)
		return
	}
	if !strings.HasPrefix(f.Err, processDied) {
		input = fast.Minimize(t, input, 300)
	}
	path, err := corpus.Write(dir, t.Name, input)
	if err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%s: %s\n  in %s: go test ./fuzz -run 'Fuzz%s/%s'\n  %s\n", t.Name, f.Err, path, t.Name, filepath.Base(path), fuzz.Reproducer(t.Name, input))
}

func newSeed() uint64 { return uint64(time.Now().UnixNano()) }

func rate(n uint64, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return thousands(uint64(float64(n) / d.Seconds()))
}

func percent(n, of uint64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100*float64(n)/float64(of))
}

// workerOrder is what a worker is to do: it takes the targets in turn, for a slice of time
// each, until the time of all is over or one shows something wrong.
type workerOrder struct {
	Targets     []string
	Seed        uint64
	Time, Slice time.Duration
	Watch       string // file for the input that is being run
}

// workerResult is what it has done.
type workerResult struct {
	Stats   map[string]fast.Stats
	Finding *fast.Finding
	Elapsed time.Duration
	err     error
}

const processDied = "the process ended: "

// startWorker runs a worker in a process of its own, with one core. The error is that of ctx
// if that ends it.
func startWorker(ctx context.Context, o workerOrder) (r workerResult) {
	self, err := os.Executable()
	if err != nil {
		return workerResult{err: err}
	}
	return startWorkerOf(ctx, self, o)
}

func startWorkerOf(ctx context.Context, program string, o workerOrder) (r workerResult) {
	dir, err := os.MkdirTemp("", "pmemlab-fuzz-")
	if err != nil {
		return workerResult{err: err}
	}
	defer func() { r.err = errors.Join(r.err, os.RemoveAll(dir)) }()
	o.Watch = filepath.Join(dir, "input")
	order, err := json.Marshal(o)
	if err != nil {
		return workerResult{err: err}
	}
	cmd := exec.CommandContext(ctx, program, "worker", string(order))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=1600")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
		r.err = err
		return r
	}
	if ctx.Err() != nil {
		return workerResult{err: ctx.Err()}
	}
	// What it was running is what ended it.
	target, input, failure := readWatched(o.Watch)
	if failure != nil {
		return workerResult{err: fmt.Errorf("%w: %w\n%s", err, failure, said.String())}
	}
	return workerResult{Finding: &fast.Finding{Target: target, Input: input, Err: fmt.Sprintf("%s%v\n%s", processDied, err, firstLines(said.String(), 30))}}
}

func firstLines(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[:min(n, len(lines))], "")
}

// worker is the other side of startWorker.
func worker(args []string) error {
	var o workerOrder
	if len(args) != 1 {
		return errors.New("one order is needed")
	}
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		return err
	}
	debug.SetPanicOnFault(true)
	signal.Ignore(os.Interrupt) // of a terminal: it goes to all processes there, and the one that started this ends it
	w, err := newWatched(o.Watch)
	if err != nil {
		return err
	}
	start := time.Now()
	r := workerResult{Stats: map[string]fast.Stats{}}
	var runners []*fast.Runner
	for _, name := range o.Targets {
		t, err := fuzz.Find(name)
		if err != nil {
			return err
		}
		runners = append(runners, &fast.Runner{Target: t, Seed: o.Seed, Watch: w.watch(name)})
	}
	for end := start.Add(o.Time); r.Finding == nil && time.Now().Before(end); {
		for _, run := range runners {
			if r.Finding, err = run.Run(min(o.Slice, time.Until(end)), 1<<63); r.Finding != nil || err != nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	r.Elapsed = time.Since(start)
	for _, run := range runners {
		r.Stats[run.Target.Name] = run.Stats
		if err := run.Close(); err != nil && r.Finding == nil {
			r.Finding = &fast.Finding{Target: run.Target.Name, Number: run.Next, Err: "at the end: " + err.Error()}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
