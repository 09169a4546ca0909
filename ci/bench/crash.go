package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

// The second half of the program, for the emulated machine: what its memory of power
// failures costs.
//
//   - images: how many of the states that a power failure can leave are gone through in a
//     second. The program under test stores a byte in each of some lines and flushes none. A
//     check reads all of these lines; it sees to it that no image comes twice
//   - persist: of 64 bytes, with a store before it, on the emulated machine and on the host
//   - looks: of some pages, each of which was written to since the look before

// crashArg as first argument makes the program measure the emulated machine. With
// explorerVariable in the environment it's a process for recoveries: emu starts it like a test.
const (
	crashArg         = "crash"
	explorerVariable = "PMEMLAB_EXPLORE_WORKER"
	explorerArg      = "-test.run="
)

// crashOptions are the flags of that half.
type crashOptions struct {
	rounds     int
	sample     uint64
	batch      time.Duration
	seed       uint64
	dir        string
	text, json string
}

// special runs what the first argument asks for, if it does.
func special(args []string, stdout, stderr io.Writer) (status int, ok bool) {
	switch {
	case len(args) == 0:
		return 0, false
	case args[0] == workerArg:
		return goWorker(args[1:], os.Stdin, stdout), true
	case os.Getenv(explorerVariable) != "":
		for _, arg := range args { // beside the flags that this program was given
			if pattern, ok := strings.CutPrefix(arg, explorerArg); ok {
				return exploreInProcess(pattern, stderr), true
			}
		}
	case args[0] == crashArg:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		return runCrash(ctx, args[1:], stdout, stderr), true
	}
	return 0, false
}

// runCrash measures the emulated machine; it returns the exit status: 2 if there is no result.
func runCrash(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseCrash(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var r crashReport
	if err == nil {
		began := time.Now()
		r, err = measureCrash(ctx, o, stderr)
		r.Seconds = time.Since(began).Round(time.Second).Seconds()
	}
	if err == nil {
		err = errors.Join(r.writeText(stdout), writeFile(o.text, r.writeText), writeFile(o.json, r.writeJSON))
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	return 0
}

func parseCrash(args []string, stderr io.Writer) (crashOptions, error) {
	var o crashOptions
	fs := flag.NewFlagSet("bench "+crashArg, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.rounds, "rounds", 5, "how many `rounds` to make, 3 at least")
	fs.Uint64Var(&o.sample, "sample", 100_000, "how many `images` of those of 20 lines to go through, 1000 at least")
	fs.DurationVar(&o.batch, "batch", 5*time.Millisecond, "how long a batch of persists takes, about")
	fs.Uint64Var(&o.seed, "seed", 1, "of the sample")
	fs.StringVar(&o.dir, "dir", "/dev/shm", "`directory` on a tmpfs for a file")
	fs.StringVar(&o.text, "text", "", "write the tables to this `file` also")
	fs.StringVar(&o.json, "json", "", "write the results to this `file`, as JSON")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("argument %q: there are flags only", fs.Arg(0))
	case o.rounds < 3:
		return o, fmt.Errorf("-rounds is %d, an interval needs 3 at least", o.rounds)
	case o.sample < 1000 || o.sample > 1<<manyLines:
		return o, fmt.Errorf("-sample is %d, allowed are 1000 to %d", o.sample, 1<<manyLines)
	case o.batch <= 0 || o.batch > time.Second:
		return o, fmt.Errorf("-batch is %v, it must be above 0 and at most 1s", o.batch)
	}
	return o, nil
}
