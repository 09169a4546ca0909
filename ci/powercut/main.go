package powercut

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2/platform"
)

const usage = `powercut write | check | cycle, with flags (-help prints them):
  write  appends records to the logs of the places, one place after the other
  check  looks for the records of a seed and writes what it finds as JSON
  cycle  checks the seed before, unless it is the first, then writes this one to all places at once,
         with a control that isn't persisted
`

// Main is the program for the machine that it runs on, without its name in args. It returns
// the exit status: 0, or 1 if something failed, or 2 for wrong arguments. Missing records
// are no failure: they are in the results.
func Main(args []string) int {
	return run(platform.Host(), args, os.Stdout, os.Stderr)
}

func run(machine platform.Platform, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		return complain(stderr, 2, usage)
	}
	flags := flag.NewFlagSet("powercut "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o Options
	flags.Uint64Var(&o.Seed, "seed", 1, "the seed of the records")
	flags.IntVar(&o.Records, "records", 100, "how many records, 0 for all that fit; for check, how many were acknowledged")
	names := flags.String("place", "", "names of `places`, separated by commas")
	flags.StringVar(names, "places", "", "the same")
	from := flags.String("places-file", plan.Places, "`file` that tells the places, as JSON")
	out := flags.String("out", plan.Out+"/powercut.json", "`file` for the results of check and cycle")
	acks := flags.String("ack", "", "`file` or device for a line on each record that is durable, and on what cycle finds; standard output without")
	acked := flags.String("acked", "", "`LOG=N,...`: how many records of the seed before were acknowledged, for cycle; without it, as many as -records")
	first := flags.Bool("first", false, "cycle has nothing to check")
	flags.BoolVar(&o.NoPersist, "no-persist", false, "the control: store, and persist nothing")
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	err := func() error {
		places, err := readPlaces(*from, *names)
		if err != nil {
			return err
		}
		ackTo := stdout
		if *acks != "" {
			f, err := os.OpenFile(*acks, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // nothing is buffered
			ackTo = f
		}
		switch args[0] {
		case "write":
			for _, p := range places {
				if err := Write(machine, p, o, func(n int) error { return sendAck(ackTo, LogName(p, o), o.Seed, n) }); err != nil {
					return err
				}
			}
			return nil
		case "check":
			found := []Result{}
			for _, p := range places {
				r, err := Check(machine, p, o)
				if err != nil {
					return err
				}
				found = append(found, r)
			}
			return writeResults(*out, found)
		case "cycle":
			acked, err := parseAcked(*acked)
			if err != nil {
				return err
			}
			found, err := Cycle(machine, places, CycleOptions{Seed: o.Seed, First: *first, Records: o.Records, Acked: acked}, ackTo)
			return errors.Join(err, writeResults(*out, found))
		}
		return fmt.Errorf("there is no %q:\n%s", args[0], usage)
	}()
	if err != nil {
		return complain(stderr, 1, "powercut: "+err.Error()+"\n")
	}
	return 0
}

// complain says what is wrong and returns the status.
func complain(stderr io.Writer, status int, text string) int {
	_, _ = io.WriteString(stderr, text)
	return status
}

func readPlaces(file, names string) ([]plan.Place, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all, places []plan.Place
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for name := range strings.SplitSeq(names, ",") {
		p, err := plan.Find(all, name)
		if err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	return places, nil
}

func writeResults(file string, found []Result) error {
	if found == nil {
		found = []Result{}
	}
	text, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}
