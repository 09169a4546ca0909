package survey

import (
	"errors"
	"sync"
	"syscall"
	"unsafe"
)

// load reads the byte at addr, store writes it: 0, or the signal's number shifted left by
// 32 bits and its si_code. Faults end the process unless catchFaults was called.
func load(addr uintptr) uint64
func store(addr uintptr) uint64

func entries() (handler, restorer uintptr)

// The handlers that were there before: what the assembly hands on all other signals to.
var oldBus, oldSegv uintptr

// sigaction is the kernel's.
type sigaction struct {
	handler, flags, restorer, mask uintptr
}

var (
	catching sync.Mutex
	catchers int // how many catchFaults weren't ended
	previous [2]sigaction
)

// catchFaults makes load and store answer faults, until end is called. The handler is
// the process's own: what isn't concerned goes on to the one that was there.
func catchFaults() (end func() error, err error) {
	catching.Lock()
	defer catching.Unlock()
	catchers++
	if catchers > 1 {
		return letGo, nil
	}
	signals := [2]syscall.Signal{syscall.SIGBUS, syscall.SIGSEGV}
	for i, s := range signals {
		if err := setAction(s, nil, &previous[i]); err != nil {
			return nil, err
		}
	}
	oldBus, oldSegv = previous[0].handler, previous[1].handler
	if oldBus <= 1 || oldSegv <= 1 { // SIG_DFL, SIG_IGN
		catchers--
		return nil, errors.New("survey: the process has no handler of SIGBUS or SIGSEGV to hand on to")
	}
	for i, s := range signals {
		action := previous[i] // its flags: an alternate stack above all
		action.handler, action.restorer = entries()
		if err := setAction(s, &action, nil); err != nil {
			return nil, err
		}
	}
	return letGo, nil
}

func letGo() error {
	catching.Lock()
	defer catching.Unlock()
	if catchers--; catchers > 0 {
		return nil
	}
	return errors.Join(setAction(syscall.SIGBUS, &previous[0], nil), setAction(syscall.SIGSEGV, &previous[1], nil))
}

func setAction(s syscall.Signal, action, old *sigaction) error {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), //nolint:forbidigo // no memory call
		uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
