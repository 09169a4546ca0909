// Command run writes the corpora that the contract gives, and which of its rows has which
// input.
package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"pmemlab/conformance"
	"pmemlab/fuzz/seeds"
)

func main() {
	conformance.RunChild(seeds.Subject())
	testdata := flag.String("testdata", "fuzz/testdata", "directory to write to")
	quiet := flag.Bool("quiet", false, "don't tell how far it is")
	flag.Parse()
	if err := run(os.Stdout, *testdata, *quiet); err != nil {
		fmt.Fprintln(os.Stderr, "seeds:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, testdata string, quiet bool) error {
	c, err := seeds.Make(func(done, total int, name string) {
		if !quiet {
			fmt.Fprintf(os.Stderr, "\r\x1b[K%d/%d %s", done, total, name)
		}
	})
	if !quiet {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
	if err != nil {
		return err
	}
	if err := c.Write(testdata); err != nil {
		return err
	}
	var b strings.Builder
	for _, target := range slices.Sorted(maps.Keys(c.Inputs)) {
		fmt.Fprintf(&b, "%5d inputs of %s\n", len(c.Inputs[target]), target)
	}
	seeded, reasons := seeds.Reasons(c.Rows)
	fmt.Fprintf(&b, "%5d rows have inputs\n", seeded)
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(&b, "%5d rows: %s\n", reasons[reason], reason)
	}
	_, err = io.WriteString(w, b.String())
	return err
}
