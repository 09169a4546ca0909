package conformance

import "golang.org/x/sys/unix"

// dup2 makes the descriptor to refer to what from refers to, as dup2(2) does; what
// it referred to before is closed. The two must differ.
func dup2(from, to int) error { return unix.Dup3(from, to, unix.O_CLOEXEC) }
