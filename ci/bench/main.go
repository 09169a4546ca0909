// Bench measures pmem2 and the C library libpmem2 side by side, and both against the
// bare instructions of the CPU. With "crash" as first argument it measures the emulated
// machine instead: see crash.go.
//
// Three worker processes do the same operations: this program run again, with pmem2;
// a C program linked with libpmem2; and a C program with loops of the raw instructions,
// which is the limit. Each has its own inner loop; they map the same file on a tmpfs at
// the same address, MAP_SHARED and faulted in, with PMEM2_FORCE_GRANULARITY=CACHE_LINE
// in the environment of both libraries, and copies from a second file that they share
// too: the physical pages, and with them the sets of the caches, are the same. All are
// pinned to one CPU, where one of them runs at a time; the threads of the Go runtime are
// kept on the others. The Go worker collects garbage where the operation makes any.
//
// What an iteration does, at the same place each time:
//
//   - persist: stores a word into each cache line of the range, then persists it;
//     without the stores only the first persist would have something to write back
//   - memcpy, memset: the call with flags 0, so that each library chooses how; +1 has
//     its destination one byte behind a cache line, and its source on one
//   - NewMap+Delete: a whole file of 4 KiB or 64 MiB, of which no page is touched; config
//     and source exist before. The limit is mmap and munmap
//   - NewMap refused: for an offset of 1, before anything is mapped; and since
//     GranularityByte is required, after mmap. They have no limit
//
// A run is made of rounds, each with fresh processes and the rows in another order. A
// round measures each row in pairs of batches: Go, C and the limit one after
// another in random order, then in the reverse one. A batch is some milliseconds long and
// preceded by an eighth of it that doesn't count. The value of a round is the median over
// its batches, and for a ratio that of the logarithms of the pairs: a batch that a
// neighbour disturbed counts as one, however long it took. The value of a run is the
// mean of its rounds without the lowest and the highest fifth, the interval that of
// Tukey and McLaughlin for it: Student's t over the winsorised deviation. What differs
// from process to process is thus in the interval. Go's nanoseconds are such a mean;
// those of C and of the limit are Go's times the ratio, since from one round to the next
// the memory can be half as fast, and only the ratios don't see that.
//
// The limit has several ways of storing: SSE2, AVX2, AVX-512, MOVDIR64B, or ordinary
// stores and a flush, and several orders of copying. The fastest one is sought for each
// row before the first round.
//
// A row is behind if its interval of C/Go lies wholly below 0.97 while Go takes more than
// 1.03 times the limit; within that it is a tie.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"
)

// options are the flags.
type options struct {
	rounds, pairs int
	batch         time.Duration
	seed          uint64
	only          *regexp.Regexp
	dir           string
	cpu           int
	text, json    string
	check         bool
}

func main() {
	if status, ok := special(os.Args[1:], os.Stdout, os.Stderr); ok {
		os.Exit(status)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// workerArg as first argument makes the program the Go worker.
const workerArg = "go-worker"

// run is main; it returns the exit status: 1 if a row is behind and -check was given, 2
// if there is no result.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = measure(ctx, o, stdout, stderr)
	}
	switch {
	case errors.Is(err, errBehind):
		return 1
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	return 0
}

var errBehind = errors.New("rows are behind")

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var only string
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.rounds, "rounds", 15, "how many `rounds` to make, 3 at least")
	fs.IntVar(&o.pairs, "pairs", 10, "how many `pairs` of batches a row has in a round, 2 at least")
	fs.DurationVar(&o.batch, "batch", 5*time.Millisecond, "how long a batch of the C library takes, about")
	fs.Uint64Var(&o.seed, "seed", 0, "of the order; 0 takes one from the clock")
	fs.StringVar(&only, "run", "", "measure only the rows whose operation/size matches this `regexp`, as memset/1MiB")
	fs.StringVar(&o.dir, "dir", "/dev/shm", "`directory` on a tmpfs for the files")
	fs.IntVar(&o.cpu, "cpu", -1, "which `CPU` to measure on; -1 is the last one that is allowed")
	fs.StringVar(&o.text, "text", "", "write the table to this `file` also")
	fs.StringVar(&o.json, "json", "", "write the rows to this `file`, as JSON")
	fs.BoolVar(&o.check, "check", false, "exit with status 1 if a row is behind")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	var err error
	switch o.only, err = regexp.Compile(only); {
	case err != nil:
		return o, fmt.Errorf("-run: %w", err)
	case fs.NArg() > 0:
		return o, fmt.Errorf("argument %q: there are flags only", fs.Arg(0))
	case o.rounds < 3:
		return o, fmt.Errorf("-rounds is %d, an interval needs 3 at least", o.rounds)
	case o.pairs < 2:
		return o, fmt.Errorf("-pairs is %d, 2 is the least: an order and its reverse", o.pairs)
	case o.batch <= 0 || o.batch > time.Second:
		return o, fmt.Errorf("-batch is %v, it must be above 0 and at most 1s", o.batch)
	case o.cpu < -1:
		return o, fmt.Errorf("-cpu is %d, it must be the number of a CPU or -1", o.cpu)
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	o.pairs += o.pairs % 2
	return o, nil
}

// measure makes the whole run and writes what came of it.
func measure(ctx context.Context, o options, stdout, stderr io.Writer) error {
	selected := selectRows(o.only)
	if len(selected) == 0 {
		return fmt.Errorf("-run %q matches no row; there are %s to %s", o.only, allRows()[0], allRows()[len(allRows())-1])
	}
	began := time.Now()
	r, err := compare(ctx, o, selected, stderr)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	r.Seconds = time.Since(began).Round(time.Second).Seconds()
	if err := r.writeText(stdout); err != nil {
		return err
	}
	if err := errors.Join(writeFile(o.text, r.writeText), writeFile(o.json, r.writeJSON)); err != nil {
		return err
	}
	if o.check && len(r.behind()) > 0 {
		return errBehind
	}
	return nil
}

// writeFile writes to a file in a directory that it makes if need be; to none if the
// path is empty.
func writeFile(path string, write func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
