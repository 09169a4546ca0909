//go:build !linux

package emu

const oNofollow = 0x20000 // as on Linux on amd64
