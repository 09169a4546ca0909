//go:build !linux

package conformance

func daxMounts() []string { return nil }
