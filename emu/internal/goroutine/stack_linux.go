//go:build gc && (amd64 || arm64)

package goroutine

// fast: there is assembly for this system. It was tried on Linux alone.
const fast = true

// word is the word that stands off bytes into the runtime's structure of the running
// goroutine. The address never leaves the assembly: as a pointer it would be one into an
// object whose type isn't known here.
//
//go:noescape
func word(off uintptr) uintptr

// callers is Callers by frame pointers, with the frames between counted by skip.
//
// The walk can't fault: it reads pairs of words that lie within the bounds of the stack,
// above the last pair. It can't be preempted, as assembly never is, so the stack doesn't
// move beneath it.
//
//go:noescape
func callers(skip int, pcs *[Depth]uintptr)
