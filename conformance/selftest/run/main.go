// Command run checks the bank of broken subjects on the emulated machine, writes the
// table of what became of each, and fails unless all are caught.
package main

import (
	"fmt"
	"os"

	"pmemlab/conformance"
	"pmemlab/conformance/selftest"
)

func main() {
	conformance.RunChild(selftest.Subjects()...)
	target := conformance.Emulated()
	if why := target.Lacks(conformance.NeedNothing); why != "" {
		fmt.Fprintln(os.Stderr, why)
		os.Exit(1)
	}
	caught, err := selftest.WriteTable(os.Stdout, selftest.Run(target, selftest.Bank(), nil))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !caught {
		os.Exit(1)
	}
}
