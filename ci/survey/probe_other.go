//go:build !linux || !amd64

package survey

import (
	"errors"
	"runtime"
)

func load(uintptr) uint64  { return 0 }
func store(uintptr) uint64 { return 0 }

func catchFaults() (end func() error, err error) {
	return nil, errors.New("survey: faults can be asked for on linux/amd64 alone, this is " + runtime.GOOS + "/" + runtime.GOARCH)
}
