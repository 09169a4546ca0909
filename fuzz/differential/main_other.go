//go:build !libpmem2

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "differential: this program was built without the C library; what it needs is libpmem2-dev, and\n"+
		"  CGO_ENABLED=1 go run -tags libpmem2 ./fuzz/differential")
	os.Exit(2)
}
