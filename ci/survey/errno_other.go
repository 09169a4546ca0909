//go:build !linux

package survey

import "syscall"

func errnoName(errno syscall.Errno) string { return errno.Error() }
