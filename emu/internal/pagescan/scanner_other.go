//go:build !(linux && (amd64 || arm64))

package pagescan

import (
	"fmt"
	"runtime"
)

// Scanner scans armed ranges. There is none on this system.
type Scanner struct{}

// New fails with ErrUnsupported.
func New() (*Scanner, error) {
	return nil, fmt.Errorf("pagescan: on %s/%s: %w", runtime.GOOS, runtime.GOARCH, ErrUnsupported)
}

// Close does nothing.
func (*Scanner) Close() error { return nil }

// Arm fails with ErrUnsupported.
func (*Scanner) Arm(uintptr, uint64) error { return ErrUnsupported }

// Disarm fails with ErrUnsupported.
func (*Scanner) Disarm(uintptr, uint64) error { return ErrUnsupported }

// Scan fails with ErrUnsupported.
func (*Scanner) Scan(uintptr, uint64, bool, func(addr uintptr, n uint64)) error {
	return ErrUnsupported
}

// Present fails with ErrUnsupported.
func (*Scanner) Present(uintptr, uint64, func(addr uintptr, n uint64)) error {
	return ErrUnsupported
}

// Absent fails with ErrUnsupported.
func (*Scanner) Absent(uintptr, uint64, func(addr uintptr, n uint64)) error {
	return ErrUnsupported
}
