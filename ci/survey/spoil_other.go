//go:build !linux

package survey

func spoilingHost() Kernel { return nil }
