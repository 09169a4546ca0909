//go:build !linux

package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
)

func compare(context.Context, options, []row, io.Writer) (report, error) {
	return report{}, fmt.Errorf("the comparison needs Linux with a tmpfs, a C compiler and libpmem2; this is %s", runtime.GOOS)
}

func goWorker([]string, io.Reader, io.Writer) int { return 2 }
