package pmem2

import (
	"math"
	"strconv"
	"strings"
	"syscall"
)

// The numbers of sysfs are read as the kernel prints them and in no other form: what has a
// plus, a blank or Go's underscores in it, or is octal, isn't from a kernel. Each is given
// without its newline; the errno is 0, EINVAL for what is no number, or ERANGE for one that
// is too large.

// parseDecimal reads %llu.
func parseDecimal(text string) (n uint64, errno syscall.Errno) {
	if text == "" {
		return 0, syscall.EINVAL
	}
	for i := range len(text) {
		digit := uint64(text[i] - '0')
		switch {
		case digit > 9:
			return 0, syscall.EINVAL
		case n > (math.MaxUint64-digit)/10:
			errno = syscall.ERANGE // unless something else follows
		}
		n = 10*n + digit
	}
	return n, errno
}

// parseAddress reads %#llx and %llu.
func parseAddress(text string) (uint64, syscall.Errno) {
	digits, found := strings.CutPrefix(text, "0x")
	if !found {
		return parseDecimal(text)
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return 0, syscall.EINVAL
	}
	return n, 0
}

// parseInt32 reads %d.
func parseInt32(text string) (int32, syscall.Errno) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || text[0] == '+' {
		return 0, syscall.EINVAL
	}
	return int32(n), 0
}
