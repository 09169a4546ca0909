package conformance

import (
	"fmt"

	"pmemlab/pmem2/platform"
)

// zeroDevice is a character device that isn't DAX, where there is one: a root made for one
// program may be without.
func zeroDevice(m platform.Platform) (Object, error) {
	const path = "/dev/zero"
	fd, err := m.Open(path, platform.ORdonly, 0)
	if err != nil {
		return nil, &UnavailableError{fmt.Sprintf("no character device: %s: %v", path, err)}
	}
	return object{machine: m, path: path, sysfs: "dev/char/1:5"}, m.Close(fd)
}

// terminal is a character device that sysfs doesn't know; what makes it go away is added
// to undo.
func terminal(m platform.Platform, undo *[]func() error) (Object, error) {
	o, closeMaster, err := newPTY()
	if err != nil {
		return nil, &UnavailableError{fmt.Sprintf("no pseudo-terminal: %v", err)}
	}
	*undo = append(*undo, closeMaster)
	o.machine = m
	return o, nil
}
