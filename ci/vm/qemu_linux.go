package vm

import (
	"os/exec"
	"runtime"
	"syscall"
)

// bind has QEMU killed when this program is killed, and not by a Ctrl-C that is this program's
// to act upon. The kernel takes the end of the thread that started it for the program's, so
// the goroutine has to keep its thread until free is called.
func bind(cmd *exec.Cmd) (free func()) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return runtime.UnlockOSThread
}
