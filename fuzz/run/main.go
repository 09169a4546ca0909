// Command run fuzzes the targets of package fuzz: with the coverage engine of go test, with
// the fast generator, or the bank of planted bugs with it.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"pmemlab/fuzz"
)

const usage = `usage: fuzz COMMAND [flags]

  native      every target with the coverage engine of go test, and a table
  continuous  the same in slices until it is interrupted; the corpus is kept
  fast        every target with the fast generator, one process for each core
  bank        plant bugs in the library, one by one, and find each
  replay      TARGET FILE|'"STRING"': run one input, from a corpus or as a string of Go; -raw FILE is all input
  targets     the names of the targets
  seeds       TARGET: its corpus as a zip for OSS-Fuzz
`

// commands are what there is besides workers, which the command starts itself.
var commands = map[string]func(args []string) error{
	"native": native, "continuous": continuous, "fast": runFast, "bank": runBank, "replay": replay, "worker": worker,
	"targets": listTargets, "seeds": seeds,
}

// exitStatus ends the program without a message: all has been said.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	run, ok := commands[name]
	if !ok {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	switch err := run(os.Args[2:]).(type) {
	case nil:
	case exitStatus:
		os.Exit(int(err))
	default:
		fmt.Fprintln(os.Stderr, "fuzz "+name+":", err)
		os.Exit(1)
	}
}

// flags is the set of flags of a command.
func flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet("fuzz "+name, flag.ExitOnError)
	f.SetOutput(os.Stderr)
	return f
}

// choose returns the targets of a list of names, or all for "", in their order. The one that
// does nothing is there if base is.
func choose(names string, base bool) ([]fuzz.Target, error) {
	var chosen []fuzz.Target
	var wanted []string
	if names != "" {
		wanted = strings.Split(names, ",")
	}
	for _, n := range wanted {
		if _, err := fuzz.Find(n); err != nil {
			return nil, err
		}
	}
	for _, t := range fuzz.Targets() {
		switch {
		case t.Name == fuzz.Empty.Name:
			if base {
				chosen = append(chosen, t)
			}
		case wanted == nil || slices.Contains(wanted, t.Name):
			chosen = append(chosen, t)
		}
	}
	return chosen, nil
}

// table is rows in columns: the first to the left, the others to the right, but for a
// last one that has no heading.
func table(rows [][]string) string {
	var all strings.Builder
	widths := make([]int, 0)
	for _, r := range rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(c))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, c := range r {
			switch {
			case i == 0:
				fmt.Fprintf(&line, "%-*s", widths[0], c)
			case rows[0][i] == "":
				line.WriteString("  " + c)
			default:
				fmt.Fprintf(&line, "  %*s", widths[i], c)
			}
		}
		all.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return all.String()
}

// cores is how many there are.
func cores() int { return runtime.NumCPU() }

// thousands writes a number with commas.
func thousands(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
