package emu

import "golang.org/x/sys/unix"

const oNofollow = unix.O_NOFOLLOW
