package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pmemlab/fuzz"
	"pmemlab/fuzz/corpus"
	"pmemlab/fuzz/fast"
)

// state is what a continuous run knows when it goes on: it is in its directory as state.json.
type state struct {
	Round   int    // how many times all targets had their turn
	Next    int    // index of the target whose turn it is
	Seed    uint64 // of the fast generator's next slice
	Targets map[string]*totals
}

// totals are those of a target.
type totals struct {
	Engine, Fast uint64  // executions
	Seconds      float64 // of both
	Corpus       int     // entries
	Findings     int
}

// continuous gives each target a slice of time after the other, of the engine and then of the
// fast generator, until it is interrupted. Behind each round corpora are minimised.
func continuous(args []string) error {
	f := flags("continuous")
	dir := f.String("dir", "fuzz-continuous", "where corpora, findings and the state are kept")
	slice := f.Duration("slice", 5*time.Minute, "how long a target is run by the engine; the fast generator gets a quarter of it")
	rounds := f.Int("rounds", 0, "end after this many rounds, those before included; 0: never")
	names := f.String("targets", "", "targets, with commas between; empty: all")
	procs := f.Int("procs", 0, "workers of the engine, and processes of the generator; 0: one for each core")
	binary := f.String("binary", "bin/fuzz.test", "the instrumented tests of package fuzz: go test -c -fuzz=.")
	_ = f.Parse(args)
	targets, err := choose(*names, false)
	if err != nil {
		return err
	}
	if *procs == 0 {
		*procs = cores()
	}
	e, err := newEngine(*binary, filepath.Join(*dir, "corpus"), *procs)
	if err != nil {
		return err
	}
	// The engine puts crashers beside the corpora of the tree that it is run in.
	e.dir = filepath.Join(*dir, "work")
	if err := os.MkdirAll(e.dir, 0o777); err != nil {
		return err
	}
	s, err := readState(*dir)
	if err != nil {
		return err
	}
	fmt.Printf("continuous: %d targets, %v each, in %s, round %d goes on with %s\n", len(targets), *slice, *dir, s.Round+1, targets[s.Next%len(targets)].Name)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for *rounds == 0 || s.Round < *rounds {
		if s.Next >= len(targets) {
			if err := minimize(e, &s); err != nil {
				return err
			}
			s.Next, s.Round = 0, s.Round+1
			printRound(&s, targets)
			if err := s.write(*dir); err != nil {
				return err
			}
			continue
		}
		t := targets[s.Next]
		if s.Targets[t.Name] == nil {
			s.Targets[t.Name] = &totals{}
		}
		err := e.slice(ctx, t, *slice, *dir, &s)
		if err == nil {
			s.Next++
		}
		if failure := s.write(*dir); failure != nil {
			return failure
		}
		if ctx.Err() != nil {
			fmt.Printf("continuous: interrupted; the same command goes on with %s\n", targets[s.Next%len(targets)].Name)
			return nil
		}
		if err != nil {
			return err
		}
	}
	found := 0
	for _, t := range s.Targets {
		found += t.Findings
	}
	if found > 0 {
		return exitStatus(1)
	}
	return nil
}

// slice runs a target for a while.
func (e *engine) slice(ctx context.Context, t fuzz.Target, d time.Duration, dir string, s *state) error {
	total := s.Targets[t.Name]
	work := filepath.Join(e.dir, "testdata", "fuzz")
	if err := os.RemoveAll(corpus.Dir(work, t.Name)); err != nil {
		return err
	}
	if err := os.MkdirAll(corpus.Dir(work, t.Name), 0o777); err != nil {
		return err
	}
	// The tree's corpus may have grown since.
	seeds, err := corpus.Read("fuzz/testdata/fuzz", t.Name)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, entry := range seeds {
		known[corpus.Name(entry.Input)] = true
		if _, err := corpus.Write(work, t.Name, entry.Input); err != nil {
			return err
		}
	}
	r, err := e.run(ctx, t, d)
	total.Engine += r.executions
	total.Seconds += r.seconds
	if err != nil {
		return err
	}
	total.Corpus = r.corpus
	findings := filepath.Join(dir, "findings")
	after, err := corpus.Read(work, t.Name)
	if err != nil {
		return err
	}
	for _, entry := range after {
		if known[corpus.Name(entry.Input)] {
			continue
		}
		total.Findings++
		path, err := corpus.Write(findings, t.Name, fast.Minimize(t, entry.Input, 300))
		if err != nil {
			return err
		}
		fmt.Printf("finding: %s\n", path)
	}
	if r.failed && len(after) == len(seeds) {
		return fmt.Errorf("%s failed, and left no input: see above", t.Name)
	}
	results := make(chan workerResult)
	for p := range e.procs {
		go func() {
			results <- startWorker(ctx, workerOrder{Targets: []string{t.Name}, Seed: s.Seed + uint64(p), Time: d / 4, Slice: d / 4})
		}()
	}
	s.Seed += uint64(e.procs)
	for range e.procs {
		r := <-results
		if ctx.Err() != nil {
			continue // the interrupt has ended them, too
		}
		err = errors.Join(err, r.err)
		total.Fast += r.Stats[t.Name].Executions()
		total.Seconds += r.Elapsed.Seconds() / float64(e.procs)
		if r.Finding != nil {
			total.Findings++
			report(findings, t, r.Finding)
		}
	}
	return errors.Join(ctx.Err(), err)
}

// minimize makes the corpora smaller.
func minimize(e *engine, s *state) error {
	cmd := exec.Command(e.binary)
	cmd.Env = append(os.Environ(), fuzz.MinimizeVariable+"="+e.cache)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("minimising corpora: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		var name string
		var before, after int
		if _, err := fmt.Sscan(line, &name, &before, &after); err != nil {
			return fmt.Errorf("minimising corpora says %q: %w", line, err)
		}
		if t := s.Targets[name]; t != nil {
			t.Corpus = after
		}
		if before != after {
			fmt.Printf("%s: corpus of %d entries minimised to %d\n", name, before, after)
		}
	}
	return nil
}

func printRound(s *state, targets []fuzz.Target) {
	rows := [][]string{{"target", "hours", "executions", "fast executions", "corpus", "findings"}}
	for _, t := range targets {
		if n := s.Targets[t.Name]; n != nil {
			rows = append(rows, []string{
				t.Name, fmt.Sprintf("%.2f", n.Seconds/3600), thousands(n.Engine), thousands(n.Fast), fmt.Sprint(n.Corpus), fmt.Sprint(n.Findings),
			})
		}
	}
	fmt.Println()
	fmt.Print(table(rows))
	fmt.Printf("continuous: round %d is over\n\n", s.Round)
}

func readState(dir string) (state, error) {
	s := state{Seed: newSeed(), Targets: map[string]*totals{}}
	text, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err == nil && (s.Next < 0 || s.Round < 0 || s.Targets == nil) {
		err = errors.New("state.json is damaged")
	}
	return s, err
}

// write replaces the state at once: it is whole at any time.
func (s *state) write(dir string) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	fresh := filepath.Join(dir, "state.json.new")
	if err := os.WriteFile(fresh, text, 0o666); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(dir, "state.json"))
}
