package conformance

import "syscall"

// openPipe is a pipe: its read end and its write end.
func openPipe(t *T) (r, w int) {
	var ends [2]int
	t.suite(syscall.Pipe2(ends[:], syscall.O_CLOEXEC), "pipe")
	closeLater(t, ends)
	return ends[0], ends[1]
}

// openSocketPair is two sockets, one connected with the other.
func openSocketPair(t *T) (one, two int) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	t.suite(err, "socketpair")
	closeLater(t, ends)
	return ends[0], ends[1]
}

// closeLater closes descriptors that aren't the machine's.
func closeLater(t *T, fds [2]int) {
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = syscall.Close(fd)
		}
	})
}
