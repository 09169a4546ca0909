package conformance

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// filePosition is where the next read(2) of a descriptor begins.
func filePosition(fd int) (int64, error) { return unix.Seek(fd, 0, unix.SEEK_CUR) }

// setFilePosition sets it.
func setFilePosition(fd int, at int64) error {
	_, err := unix.Seek(fd, at, unix.SEEK_SET)
	return err
}

// busErrors is a handler of SIGBUS of the program's own.
type busErrors struct{ got chan os.Signal }

// handleBusErrors installs it until the case has ended.
func handleBusErrors(t *T) *busErrors {
	h := &busErrors{make(chan os.Signal, 16)}
	signal.Notify(h.got, syscall.SIGBUS)
	t.Cleanup(func() { signal.Stop(h.got) })
	return h
}

// called is how often the handler has been called since it was last asked.
func (h *busErrors) called() int {
	n := 0
	for {
		select {
		case <-h.got:
			n++
		default:
			return n
		}
	}
}

// inPlace sends the process a SIGBUS and says whether the handler gets it.
func (h *busErrors) inPlace(t *T) bool {
	t.suite(unix.Kill(os.Getpid(), unix.SIGBUS), "kill")
	select {
	case <-h.got:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}
