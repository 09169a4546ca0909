//go:build unix

package command

import (
	"os"
	"syscall"
)

// endingSignals ask a program to end.
var endingSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// progressFD is the first of exec.Cmd.ExtraFiles.
const progressFD = 3

// closeOnExec keeps a descriptor from the processes that this one starts.
func closeOnExec(fd int) { syscall.CloseOnExec(fd) }
