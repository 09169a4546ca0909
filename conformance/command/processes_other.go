//go:build !unix

package command

import "os"

// endingSignals ask a program to end.
var endingSignals = []os.Signal{os.Interrupt}

const progressFD = 3

// closeOnExec isn't called: there are no processes that share a run here.
func closeOnExec(int) {}
