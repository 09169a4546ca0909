//go:build !linux

package emu

import (
	"errors"
	"runtime"
	"syscall"
)

// The emulated machine stands on memfds, which Linux alone has.
var errNotSupported = errors.New("emu: not supported on " + runtime.GOOS)

func newMemfd(string) (int, error) { return -1, errNotSupported }

func allocatedBytes(int) (uint64, error) { return 0, errNotSupported }

func dataExtent(int, uint64) (start, end uint64, err error) { return 0, 0, errNotSupported }

func hasSwap() bool { return false }

func changeTime(int) (int64, uint64, error) { return 0, 0, syscall.ENOSYS }

func recent(int64) bool { return false }

func hostSeek(int, int64, int) (int64, error) { return 0, errNotSupported }

func hostFlock(int, int) error { return errNotSupported }

func hostLockOFD(int, int16) error { return errNotSupported }

func hostMprotect(uintptr, uint64, int) error { return errNotSupported }

func hostMadvise(uintptr, uint64, int) error { return errNotSupported }
