package survey

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

func errnoName(errno syscall.Errno) string {
	switch name := unix.ErrnoName(errno); name {
	case "":
		return fmt.Sprintf("errno %d", int(errno))
	case "ENOTSUP":
		return "EOPNOTSUPP" // the same number
	default:
		return name
	}
}
