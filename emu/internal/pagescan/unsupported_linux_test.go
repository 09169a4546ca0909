//go:build amd64 || arm64

package pagescan

import (
	"errors"
	"syscall"
	"testing"
)

func TestOpenError(t *testing.T) {
	for _, c := range []struct {
		errno syscall.Errno
		want  bool
	}{
		{syscall.ENOSYS, true},  // no userfaultfd
		{syscall.EPERM, true},   // a sandbox
		{syscall.EACCES, true},  // no /proc/self/pagemap for this process
		{syscall.EINVAL, true},  // no asynchronous write protection
		{syscall.ENOTTY, true},  // no PAGEMAP_SCAN
		{syscall.ENOENT, true},  // no /proc
		{syscall.EMFILE, false}, // too many descriptors
		{syscall.ENOMEM, false},
	} {
		err := openError("test", c.errno)
		if got := errors.Is(err, ErrUnsupported); got != c.want {
			t.Errorf("%v: is ErrUnsupported: got %v, want %v", c.errno, got, c.want)
		}
		if !errors.Is(err, c.errno) {
			t.Errorf("got %v, want one that wraps %v", err, c.errno)
		}
	}
}
