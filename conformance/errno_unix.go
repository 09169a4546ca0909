//go:build unix

package conformance

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// errnoName is the name of an errno, "EACCES", or "". Of the two names that Linux has
// for one number it is the one that manual pages use.
func errnoName(errno syscall.Errno) string {
	if errno == syscall.EOPNOTSUPP {
		return "EOPNOTSUPP"
	}
	return unix.ErrnoName(errno)
}
