//go:build !linux

package conformance

import "syscall"

// No target runs cases here.

func filePosition(int) (int64, error)  { return 0, syscall.ENOSYS }
func setFilePosition(int, int64) error { return syscall.ENOSYS }

type busErrors struct{}

func handleBusErrors(*T) *busErrors  { return nil }
func (*busErrors) called() int       { return 0 }
func (*busErrors) inPlace(t *T) bool { return false }
