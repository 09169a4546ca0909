//go:build !linux

package conformance

func flockExclusively(int) error { return errNotLinux }

func usersOfDevice(*daxDevice) []string { return nil }
