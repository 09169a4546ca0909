//go:build !linux

// Command guest is the first process of a virtual machine. It is Linux's.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "this is the first process of a virtual machine with Linux; nothing else runs it")
	os.Exit(1)
}
