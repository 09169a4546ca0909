// Package model says what the manual pages and the rulings on them require: pure functions
// from arguments and states to outcomes. They are written from the contract, to be read beside
// the pages, and share nothing with the libraries but the values of their constants.
package model

import (
	"errors"
	"fmt"
	"syscall"

	"pmemlab/pmem2"
)

// Result is how a call ends: with a code of libpmem2, with an errno, or, if it is the zero
// value, well.
type Result struct {
	Code  pmem2.Code
	Errno syscall.Errno
}

// OK is the result of what succeeds.
var OK Result

// Fails is the result of what fails with a code.
func Fails(c pmem2.Code) Result { return Result{Code: c} }

// FailsWith is the result of what fails with an errno.
func FailsWith(e syscall.Errno) Result { return Result{Errno: e} }

// String is what the manual pages call it.
func (r Result) String() string {
	switch {
	case r == OK:
		return "success"
	case r.Code != 0:
		return r.Code.Symbol()
	}
	return fmt.Sprintf("errno %d (%v)", int(r.Errno), r.Errno)
}

// Of is the result that an error of pmem2 stands for. An error of another kind is none that
// a page knows.
func Of(err error) Result {
	if err == nil {
		return OK
	}
	if e, ok := err.(*pmem2.Error); ok {
		return Result{Code: e.Code, Errno: e.Errno}
	}
	var code pmem2.Code
	if errors.As(err, &code) {
		return Fails(code)
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return FailsWith(errno)
	}
	return Fails(pmem2.ErrUnknown)
}

// Extent is [Start, Start+Size), in bytes.
type Extent struct{ Start, Size uint64 }

// Overlaps says whether two extents, neither of which wraps, share a byte.
func (e Extent) Overlaps(o Extent) bool {
	return e.Size > 0 && o.Size > 0 && e.Start <= o.Start+(o.Size-1) && o.Start <= e.Start+(e.Size-1)
}
