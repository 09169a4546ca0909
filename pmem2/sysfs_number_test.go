package pmem2

import (
	"syscall"
	"testing"
)

// TestSysfsNumbers: what the kernel prints is read, and nothing else is.
func TestSysfsNumbers(t *testing.T) {
	decimal := func(s string) (uint64, syscall.Errno) { return parseDecimal(s) }
	address := func(s string) (uint64, syscall.Errno) { return parseAddress(s) }
	signed := func(s string) (uint64, syscall.Errno) {
		n, errno := parseInt32(s)
		return uint64(n), errno
	}
	const invalid, tooLarge = syscall.EINVAL, syscall.ERANGE
	for _, tc := range []struct {
		parse func(string) (uint64, syscall.Errno)
		text  string
		want  uint64
		errno syscall.Errno
	}{
		{decimal, "0", 0, 0}, {decimal, "007", 7, 0}, {decimal, "18446744073709551615", 1<<64 - 1, 0},
		{decimal, "18446744073709551616", 0, tooLarge}, {decimal, "99999999999999999999", 0, tooLarge},
		{decimal, "000000000000000000000000000000000001", 1, 0},
		// A text that isn't a number isn't one that is too large.
		{decimal, "99999999999999999999x", 0, invalid}, {decimal, "18446744073709551616\n1", 0, invalid},
		{decimal, "", 0, invalid}, {decimal, "+1", 0, invalid}, {decimal, "-1", 0, invalid}, {decimal, "1 ", 0, invalid},
		{decimal, "0x1", 0, invalid}, {decimal, "1_0", 0, invalid}, {decimal, "1\x00", 0, invalid},
		{address, "0x180000000", 0x180000000, 0}, {address, "0xffffffffffffffff", 1<<64 - 1, 0}, {address, "16777216", 1 << 24, 0},
		{address, "010", 10, 0}, // isn't octal
		{address, "0x", 0, invalid}, {address, "0x10000000000000000", 0, invalid}, {address, "0b1", 0, invalid},
		{address, "0o7", 0, invalid}, {address, "1_0", 0, invalid}, {address, "0x1_0", 0, invalid}, {address, "0x-1", 0, invalid},
		{signed, "-1", 1<<64 - 1, 0}, {signed, "2147483647", 1<<31 - 1, 0}, {signed, "-2147483648", 1<<64 - 1<<31, 0},
		{signed, "2147483648", 0, invalid}, {signed, "+1", 0, invalid}, {signed, "", 0, invalid}, {signed, "1_0", 0, invalid},
	} {
		got, errno := tc.parse(tc.text)
		if errno != tc.errno || errno == 0 && got != tc.want {
			t.Errorf("%q: got %d, errno %d; want %d, errno %d", tc.text, got, int(errno), tc.want, int(tc.errno))
		}
	}
}
