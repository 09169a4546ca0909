//go:build !linux

package survey

// Host returns nil: there is no kernel to ask on this operating system.
func Host() Kernel { return nil }
