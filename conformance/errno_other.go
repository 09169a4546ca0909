//go:build !unix

package conformance

import "syscall"

// errnoName is unknown where errnos aren't those of Unix.
func errnoName(syscall.Errno) string { return "" }
