//go:build !libfuzzer

// Command libfuzzer is a target for libFuzzer. It is built with the tag libfuzzer alone.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "this is for libFuzzer, and is built with -tags libfuzzer -buildmode=c-archive")
	os.Exit(2)
}
