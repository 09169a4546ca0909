// Command guest is the first process of a virtual machine: it loads modules, makes the
// namespaces and file systems of its plan, takes the plan's steps, and ends the machine with
// a status. With arguments it is one of the programs that steps run.
package main

import (
	"fmt"
	"os"

	"pmemlab/ci/powercut"
	"pmemlab/ci/sequences"
	"pmemlab/ci/survey"
)

func main() {
	if os.Getpid() == 1 {
		boot()
		return
	}
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "this is the first process of a virtual machine; nothing else runs it")
		os.Exit(1)
	}
	program, ok := programs[os.Args[1]]
	if !ok {
		fmt.Fprintf(os.Stderr, "%q is none of the programs of steps\n", os.Args[1])
		os.Exit(1)
	}
	os.Exit(program(os.Args[2:]))
}

// programs are those that steps can run: /init NAME ARGUMENTS.
var programs = map[string]func(args []string) int{
	"survey":    survey.Main,
	"sequences": sequences.Main,
	"powercut":  powercut.Main,
}
