// Command run compares what kernels answered with what emulated machines answer:
//
//	run REPORT...              a report of ci/survey for each machine
//	run -broken all REPORT...  the same with the emulated machine broken in ten ways, each of
//	                           which has to be seen
package main

import (
	"flag"
	"fmt"
	"os"

	"pmemlab/ci/parity"
	"pmemlab/ci/survey"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	broken := flag.String("broken", "", "break the emulated machine so: `all`, or one deviation's name")
	flag.Parse()
	if flag.NArg() == 0 {
		return fmt.Errorf("parity: no reports of kernels were named")
	}
	var reports []*survey.Report
	for _, name := range flag.Args() {
		r, err := survey.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Printf("%s: machine %s, Linux %s, %d answers in %.1f s\n", name, r.Machine, r.Kernel, len(r.Answers), r.Seconds)
		reports = append(reports, r)
	}
	if *broken != "" {
		return parity.CompareBroken(os.Stdout, reports, *broken)
	}
	c, err := parity.Compare(reports, nil)
	if err != nil {
		return err
	}
	if err := c.Write(os.Stdout); err != nil {
		return err
	}
	if c.Err() != nil {
		os.Exit(1)
	}
	return nil
}
