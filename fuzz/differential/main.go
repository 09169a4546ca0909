//go:build libpmem2

package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"pmemlab/conformance/libpmem2"
)

func main() {
	if err := makeRoom(); err != nil {
		fmt.Fprintln(os.Stderr, "differential:", err)
		os.Exit(2)
	}
	if os.Getenv(childVariable) != "" {
		if err := runChild(libpmem2.Subject); err != nil {
			fmt.Fprintln(os.Stderr, "differential: child process:", err)
			os.Exit(3)
		}
		return
	}
	var o options
	flag.Uint64Var(&o.inputs, "n", 200000, "how many `inputs` are run")
	flag.Uint64Var(&o.seed, "seed", 1, "what they follow from")
	flag.StringVar(&o.dir, "dir", "/dev/shm", "a `directory` on a tmpfs, for the files")
	flag.StringVar(&o.save, "save", "reports/differential", "`directory` for what isn't explained")
	flag.Uint64Var(&o.most, "harm", 16, "how many `inputs` C is given for each row that it doesn't survive; the rest is counted")
	replay := flag.String("input", "", "run the input in this `file` alone, and tell every call of it")
	flag.Parse()
	start := time.Now()
	var ok bool
	var err error
	if *replay != "" {
		ok, err = o.replay(os.Stdout, *replay)
	} else {
		ok, err = o.report(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "differential:", err)
		os.Exit(2)
	}
	fmt.Printf("in %v\n", time.Since(start).Round(time.Millisecond))
	if !ok {
		os.Exit(1)
	}
}
