//go:build !linux

package mce

import (
	"fmt"
	"runtime"
)

// Inject needs Linux.
func Inject(address, length uint64) error {
	return fmt.Errorf("machine check for %d bytes at %#x: %s has no mce-inject", length, address, runtime.GOOS)
}
