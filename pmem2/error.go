package pmem2

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Error is the error of every function of this package. It stands for both the
// result and the pmem2_errormsg(3) of the C library; it belongs to the caller and
// nothing changes it later.
type Error struct {
	// Op is the function that failed: "NewMap".
	Op string
	// Code is the libpmem2 code, or 0 if the error is an errno.
	Code Code
	// Errno is the errno of the system call that failed, or 0 if the error is
	// a Code.
	Errno syscall.Errno

	// The text is made when it is asked for: a program that tries what is possible
	// looks at the code alone.
	text    string
	numbers [2]uint64 // not both 0: text is a format with a verb for each
	args    []any     // not empty: text is a format of these, which nothing changes
}

// Detail says which value was wrong and what is allowed.
func (e *Error) Detail() string {
	switch {
	case len(e.args) > 0:
		return fmt.Sprintf(e.text, e.args...)
	case e.numbers != [2]uint64{}:
		return fmt.Sprintf(e.text, e.numbers[0], e.numbers[1])
	}
	return e.text
}

// Error returns the operation, the detail and the meaning of the code or errno.
func (e *Error) Error() string {
	s := "pmem2: " + e.Op + ": "
	if detail := e.Detail(); detail != "" {
		s += detail + ": "
	}
	if e.Code != 0 {
		return s + e.Code.Error() + " (" + e.Code.Symbol() + ")"
	}
	return s + e.Errno.Error()
}

// Unwrap returns the Code or the Errno.
func (e *Error) Unwrap() error {
	if e.Code != 0 {
		return e.Code
	}
	return e.Errno
}

// Errno is pmem2_err_to_errno(3): the errno nearest to an error of this package.
// An errno is itself, ErrNoSupp is ENOTSUP, any other code EINVAL; nil is 0.
func Errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	if errors.Is(err, ErrNoSupp) {
		return syscall.ENOTSUP
	}
	return syscall.EINVAL
}

// Perror is pmem2_perror(3): it prints the text that format and args make, a colon
// and a blank, what err says, and a newline on standard error.
func Perror(err error, format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", fmt.Sprintf(format, args...), err)
}

func fail(op string, code Code, format string, args ...any) *Error {
	return logged(&Error{Op: op, Code: code, text: format, args: args})
}

// failNumbers is fail where NewMap refuses its arguments, with two numbers that aren't
// both 0: it keeps them without taking memory for each.
func failNumbers(op string, code Code, format string, a, b uint64) *Error {
	return logged(&Error{Op: op, Code: code, text: format, numbers: [2]uint64{a, b}})
}

// failErrno is the error of a system call whose errno is the answer. An error
// that isn't an errno can't come from a Platform; it counts as EIO.
func failErrno(op string, err error, format string, args ...any) *Error {
	return logged(&Error{Op: op, Errno: errnoOf(err), text: format, args: args})
}

func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return syscall.EIO
}

// invalid is the error of what C crashes on: an object that is nil or has been
// deleted.
func invalid(op, detail string) *Error {
	return logged(&Error{Op: op, Errno: syscall.EINVAL, text: detail})
}

// leaves adds to an error what the failing call could not take back.
func leaves(failure error, format string, args ...any) error {
	var e *Error
	if !errors.As(failure, &e) {
		return failure
	}
	left := *e
	left.text, left.numbers, left.args = e.Detail()+"; left behind: "+fmt.Sprintf(format, args...), [2]uint64{}, nil
	return logged(&left)
}
