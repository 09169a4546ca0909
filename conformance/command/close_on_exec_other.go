//go:build !unix

package command

const progressFD = 3

// closeOnExec isn't called: there are no processes that share a run here.
func closeOnExec(int) {}
