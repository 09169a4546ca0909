//go:build !linux

package conformance

import "errors"

func addressSpace() ([]MapsEntry, error) {
	return nil, errors.New("the address space can be read on Linux only")
}

// faults isn't called: no target runs cases here.
func faults(uintptr, bool) bool { return false }
