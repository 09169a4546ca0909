package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"pmemlab/fuzz/bank"
)

// hunt is what became of a planted bug.
type hunt struct {
	fault      bank.Fault
	target     string // that found it; "" if none did
	executions uint64 // of all targets
	elapsed    time.Duration
	how        string
}

// runBank plants bugs one by one and lets the fast generator find them. It takes all targets
// in turn, since nobody tells it where the bug is, on one core.
func runBank(args []string) error {
	f := flags("bank")
	limit := f.Duration("limit", time.Minute, "how long a bug may take to be found")
	slice := f.Duration("slice", 50*time.Millisecond, "how long a target is run before it's the next one's turn")
	seed := f.Uint64("seed", 1, "seed")
	only := f.String("only", "", "names of bugs, with commas between; empty: all")
	procs := f.Int("procs", cores(), "bugs that are hunted at a time, each on one core")
	_ = f.Parse(args)
	faults := bank.Faults()
	if *only != "" {
		names := strings.Split(*only, ",")
		faults = slices.DeleteFunc(faults, func(f bank.Fault) bool { return !slices.Contains(names, f.Name) })
	}
	if len(faults) == 0 || *procs < 1 {
		return fmt.Errorf("%d bugs, %d at a time: there must be one of each", len(faults), *procs)
	}
	dir, err := os.MkdirTemp("", "pmemlab-bank-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	order := workerOrder{Seed: *seed, Time: *limit, Slice: *slice}
	targets, err := choose("", false)
	if err != nil {
		return err
	}
	for _, t := range targets {
		order.Targets = append(order.Targets, t.Name)
	}
	fmt.Printf("fuzz-bank: %d planted, %d targets in turn, one core for each bug, seed %d\n", len(faults), len(targets), *seed)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	// Without any there must be nothing to be found.
	clean, err := hunted(ctx, dir, bank.Fault{Name: "none"}, order, 5*time.Second)
	if err == nil && clean.target != "" {
		err = fmt.Errorf("target %s finds something where no bug is planted: %s", clean.target, clean.how)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%-34s nothing found in %s executions, as it should be\n", "(none)", thousands(clean.executions))

	hunts := make([]hunt, len(faults))
	failures := make([]error, len(faults))
	next := make(chan int)
	var wg sync.WaitGroup
	var printing sync.Mutex
	for range *procs {
		wg.Go(func() {
			for i := range next {
				hunts[i], failures[i] = hunted(ctx, dir, faults[i], order, *limit)
				if ctx.Err() != nil {
					continue
				}
				printing.Lock()
				printHunt(hunts[i], failures[i])
				printing.Unlock()
			}
		})
	}
	for i := range faults {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	found := slices.DeleteFunc(slices.Clone(hunts), func(h hunt) bool { return h.target == "" })
	slowest := slices.SortedFunc(slices.Values(found), func(a, b hunt) int { return cmp.Compare(b.elapsed, a.elapsed) })
	fmt.Println("\nthe slowest:")
	for _, h := range slowest[:min(5, len(slowest))] {
		printHunt(h, nil)
	}
	fmt.Printf("fuzz-bank: %d planted, %d found\n", len(hunts), len(found))
	if len(found) < len(hunts) {
		return exitStatus(1)
	}
	return nil
}

func printHunt(h hunt, err error) {
	switch {
	case err != nil:
		fmt.Printf("%-34s %v\n", h.fault.Name, err)
	case h.target == "":
		fmt.Printf("%-34s NOT FOUND in %s executions, %.1f s: %s\n", h.fault.Name, thousands(h.executions), h.elapsed.Seconds(), h.fault.About)
	default:
		fmt.Printf("%-34s %-12s %10s executions %6.2f s  %s\n", h.fault.Name, h.target, thousands(h.executions), h.elapsed.Seconds(), h.fault.About)
	}
}

// hunted plants a bug, builds this program with it, and runs that.
func hunted(ctx context.Context, dir string, f bank.Fault, order workerOrder, limit time.Duration) (hunt, error) {
	h := hunt{fault: f}
	program := filepath.Join(dir, f.Name)
	if err := build(program, f); err != nil {
		return h, err
	}
	defer func() { _ = os.Remove(program) }()
	if ctx.Err() != nil {
		return h, ctx.Err()
	}
	order.Time = limit
	start := time.Now()
	r := startWorkerOf(ctx, program, order)
	if r.err != nil {
		return h, r.err
	}
	h.elapsed = r.Elapsed
	for _, s := range r.Stats {
		h.executions += s.Executions()
	}
	if r.Finding != nil {
		h.target, h.how = r.Finding.Target, r.Finding.Err
		h.executions++
		if strings.HasPrefix(h.how, processDied) {
			h.elapsed = time.Since(start)
		}
	}
	return h, nil
}

// build builds this program with a bug in it, by an overlay: the tree stays as it is. It takes
// seconds, which an interrupt waits for.
func build(program string, f bank.Fault) error {
	args := []string{"build", "-ldflags", "-s -w", "-o", program}
	if !strings.HasPrefix(f.File, "conformance/") {
		args = append(args, "-tags", "nosuite")
	}
	if f.File != "" {
		text, err := os.ReadFile(f.File)
		if err != nil {
			return fmt.Errorf("%w (this is run from the root of the module)", err)
		}
		if n := strings.Count(string(text), f.Old); n != 1 {
			return fmt.Errorf("%s: %q is %d times in %s, want once", f.Name, f.Old, n, f.File)
		}
		file, err := filepath.Abs(f.File)
		if err != nil {
			return err
		}
		planted := program + filepath.Ext(f.File)
		if err := os.WriteFile(planted, []byte(strings.Replace(string(text), f.Old, f.New, 1)), 0o666); err != nil {
			return err
		}
		overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: planted}})
		if err != nil {
			return err
		}
		if err := os.WriteFile(program+".json", overlay, 0o666); err != nil {
			return err
		}
		args = append(args, "-overlay", program+".json")
	}
	cmd := exec.Command("go", append(args, "./fuzz/run")...)
	// What go leaves behind when it's interrupted lies there, too.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTMPDIR="+filepath.Dir(program))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building with %s: %w\n%s", f.Name, err, out)
	}
	return nil
}
