//go:build unix

package conformance

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// errnoName is the name of an errno, "EACCES", or "".
func errnoName(errno syscall.Errno) string { return unix.ErrnoName(errno) }
