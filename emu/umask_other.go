//go:build !linux

package emu

func umask() uint32 { return 0 }
