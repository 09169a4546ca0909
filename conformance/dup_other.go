//go:build !linux

package conformance

import "syscall"

// dup2 isn't called: no target runs cases here.
func dup2(from, to int) error { return syscall.ENOSYS }
