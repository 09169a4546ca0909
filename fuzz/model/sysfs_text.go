package model

import "syscall"

// Attr is what the kernel says when an attribute of sysfs is read, or a link or a directory:
// a text, or an errno if there is one.
type Attr struct {
	Text  string
	Errno syscall.Errno
}

// line is a text without the newline that the kernel ends it with.
func (a Attr) line() string {
	if n := len(a.Text); n > 0 && a.Text[n-1] == '\n' {
		return a.Text[:n-1]
	}
	return a.Text
}

// The readings of a text as a number.
const (
	number   = iota
	tooLarge // a number of more than 64 bits
	noNumber
)

// decimal reads a number as printf("%llu") writes it, zeroes in front of it or not. What has
// anything but digits in it isn't one, however long it is.
func decimal(s string) (n uint64, reading int) {
	if s == "" {
		return 0, noNumber
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, noNumber
		}
	}
	for len(s) > 1 && s[0] == '0' {
		s = s[1:]
	}
	// Of numbers of one length the smaller is the first in the alphabet.
	const largest = "18446744073709551615"
	if len(s) > len(largest) || len(s) == len(largest) && s > largest {
		return 0, tooLarge
	}
	for i := range len(s) {
		n = 10*n + uint64(s[i]-'0')
	}
	return n, number
}

// address reads a number as printf("%#llx") or printf("%llu") writes it. What isn't one, or
// needs more than 64 bits, isn't ok.
func address(s string) (n uint64, ok bool) {
	if len(s) < 2 || s[:2] != "0x" {
		n, reading := decimal(s)
		return n, reading == number
	}
	digits := 0 // but for zeroes in front
	for i := 2; i < len(s); i++ {
		d := s[i]
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, false
		}
		if n = n<<4 | uint64(d); d != 0 || digits > 0 {
			digits++
		}
	}
	return n, len(s) > 2 && digits <= 16
}

// signed reads a number of 32 bits as printf("%d") writes it.
func signed(s string) (n int64, ok bool) {
	minus := len(s) > 0 && s[0] == '-'
	if minus {
		s = s[1:]
	}
	size, reading := decimal(s)
	switch {
	case reading != number:
		return 0, false
	case minus:
		return -int64(size), size <= 1<<31
	}
	return int64(size), size < 1<<31
}

// digits says whether s has nothing but digits, one at least.
func digits(s string) bool {
	_, reading := decimal(s)
	return reading != noNumber
}
