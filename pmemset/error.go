package pmemset

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"pmemlab/pmem2"
)

// Error is the error of every function of this package. It stands for both the
// result and the pmemset_errormsg(3) of the C library; it belongs to the caller and
// nothing changes it later.
type Error struct {
	// Op is the function that failed: "SourceFromFile".
	Op string
	// Code is the libpmemset code, or 0.
	Code Code
	// Errno is the errno of the system call that failed, or 0. If neither is set,
	// the error is one that pmem2 has reported.
	Errno syscall.Errno

	text  string
	cause error // or nil
}

// Detail says which value was wrong and what is allowed.
func (e *Error) Detail() string { return e.text }

// Error returns the operation, the detail, the meaning of the code or errno, and what
// pmem2 said.
func (e *Error) Error() string {
	s := "pmemset: " + e.Op
	if e.text != "" {
		s += ": " + e.text
	}
	if e.Code != 0 {
		s += ": " + e.Code.Error() + " (" + e.Code.Symbol() + ")"
	}
	switch {
	case e.cause != nil:
		return s + ": " + e.cause.Error()
	case e.Errno != 0:
		return s + ": " + e.Errno.Error()
	}
	return s
}

// Unwrap returns the Code or the Errno, and the error of pmem2 or of the system call
// that was the cause.
func (e *Error) Unwrap() []error {
	var all []error
	switch {
	case e.Code != 0:
		all = append(all, e.Code)
	case e.Errno != 0:
		all = append(all, e.Errno)
	}
	if e.cause != nil {
		all = append(all, e.cause)
	}
	return all
}

// Errno is pmemset_err_to_errno(3): the errno nearest to an error of this package or
// of pmem2. An errno is itself, ErrNoSupp is ENOTSUP, any other code EINVAL whatever
// caused it; nil is 0.
func Errno(err error) syscall.Errno {
	var e *Error
	if errors.As(err, &e) {
		switch {
		case e.Code != 0:
			err = e.Code
		case e.Errno != 0:
			return e.Errno
		default:
			return Errno(e.cause)
		}
	}
	var code Code
	switch {
	case !errors.As(err, &code):
		return pmem2.Errno(err)
	case code == ErrNoSupp:
		return syscall.ENOTSUP
	}
	return syscall.EINVAL
}

// Perror is pmemset_perror(3): it prints the text that format and args make, a colon
// and a blank, what err says, and a newline on standard error.
func Perror(err error, format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", fmt.Sprintf(format, args...), err)
}

// fail is an error with a code. cause is what pmem2 or the system said, or nil.
func fail(op string, code Code, cause error, format string, args ...any) *Error {
	return logged(&Error{Op: op, Code: code, text: fmt.Sprintf(format, args...), cause: cause})
}

// failErrno is the error of a system call whose errno is the answer. An error
// that isn't an errno can't come from a Platform; it counts as EIO.
func failErrno(op string, err error, format string, args ...any) *Error {
	errno := syscall.EIO
	_ = errors.As(err, &errno)
	return logged(&Error{Op: op, Errno: errno, text: fmt.Sprintf(format, args...), cause: err})
}

// failPMem2 is an error that pmem2 has reported and this package has no code for.
func failPMem2(op string, cause error, format string, args ...any) *Error {
	return logged(&Error{Op: op, text: fmt.Sprintf(format, args...), cause: cause})
}

// invalid is the error of what C crashes on: an object that is nil or has been
// deleted.
func invalid(op, detail string) *Error {
	return logged(&Error{Op: op, Errno: syscall.EINVAL, text: detail})
}

// leaves adds to an error what the failing call could not take back. An error that
// isn't of this package is the callback's, which stays as it is: the logs alone tell.
func leaves(failure error, format string, args ...any) error {
	what := "left behind: " + fmt.Sprintf(format, args...)
	e, ok := failure.(*Error) //nolint:errorlint // what a callback has wrapped is its own
	if !ok {
		_ = failPMem2("event callback", failure, "%s", what)
		return failure
	}
	left := *e
	if left.text != "" {
		what = left.text + "; " + what
	}
	left.text = what
	return logged(&left)
}
