//go:build !linux

package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
)

const manyLines = 20

func measureCrash(context.Context, crashOptions, io.Writer) (crashReport, error) {
	return crashReport{}, fmt.Errorf("the emulated machine needs Linux; this is %s", runtime.GOOS)
}

func exploreInProcess(string, io.Writer) int { return 2 }
