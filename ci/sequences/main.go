package sequences

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2/platform"
)

// Main is the program for the machine that it runs on, without its name in args: it runs
// sequences on the places in plan.Places and writes the log to a file. It returns the exit
// status: 0, or 1 if the log isn't whole, or 2 for wrong flags.
func Main(args []string) int {
	flags := flag.NewFlagSet("sequences", flag.ContinueOnError)
	seed := flags.Uint64("seed", 1, "the first seed")
	count := flags.Uint64("count", 2000, "how many seeds")
	out := flags.String("out", plan.Out+"/sequences.txt", "`file` for the log")
	places := flags.String("places", plan.Places, "`file` that tells the places, as JSON")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := runOn(platform.Host(), *places, *seed, *count, *out); err != nil {
		fmt.Fprintln(os.Stderr, "sequences:", err)
		return 1
	}
	return 0
}

func runOn(machine platform.Platform, placesFile string, seed, count uint64, out string) error {
	text, err := os.ReadFile(placesFile)
	if err != nil {
		return err
	}
	var places []plan.Place
	if err := json.Unmarshal(text, &places); err != nil {
		return fmt.Errorf("%s: %w", placesFile, err)
	}
	log, err := os.Create(out)
	if err != nil {
		return err
	}
	return errors.Join(Run(machine, places, seed, count, log), log.Close())
}
