package emu

import (
	"os"
	"strconv"
	"strings"
)

// umask is that of the process, as on the machine that it runs on. umask(2) would
// change it, for all goroutines.
func umask() uint32 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "\nUmask:")
	line, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(line), 8, 9)
	if err != nil {
		return 0 // a kernel older than 4.7
	}
	return uint32(mask)
}
