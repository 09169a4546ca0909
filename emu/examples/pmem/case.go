package pmem

import (
	"errors"
	"fmt"
	"math/rand/v2"
)

// Case is a life of a program, for a crash test: what it does to its files, what it does
// after a power failure, and what must then hold. The functions take the files of the
// program in a fixed order, and hold no state: after a crash they may run in
// another process.
type Case struct {
	// Workload runs the program on new files, which are zero, and calls ack with the
	// name of an operation when the program has promised that it's durable.
	Workload func(files []Memory, ack func(what string)) error
	// Recover opens what a power failure left, and repairs it.
	Recover func(files []Memory) error
	// Check looks at recovered files. They must be consistent, hold everything that was
	// acknowledged, and at most the operation that was under way besides.
	Check func(files []Memory, acks []string) error
}

// What can be wrong with recovered files that are consistent in themselves.
var (
	// ErrLost is the error of Check if an operation that was acknowledged isn't there.
	ErrLost = errors.New("an acknowledged operation is lost")
	// ErrTorn is the error of Check if what's there was never written so.
	ErrTorn = errors.New("the content was never written")
)

// Steps makes a case of a program that does one operation after the other. do performs
// the i-th of n operations on what open returns; recovery is to open. states[i] is what
// read must find when i of them, 0 to n, were done.
func Steps[P, S any](open func(files []Memory) (P, error), n int, do func(p P, i int) error,
	read func(p P) S, states []S, equal func(a, b S) bool) Case {
	name := func(i int) string { return fmt.Sprint("operation ", i) }
	return Case{
		Workload: func(files []Memory, ack func(string)) error {
			p, err := open(files)
			if err != nil {
				return err
			}
			for i := range n {
				if err := do(p, i); err != nil {
					return err
				}
				ack(name(i))
			}
			return nil
		},
		Recover: func(files []Memory) error {
			_, err := open(files)
			return err
		},
		Check: func(files []Memory, acks []string) error {
			p, err := open(files)
			if err != nil {
				return err
			}
			done, got := len(acks), read(p)
			if done > n || done > 0 && acks[done-1] != name(done-1) {
				return fmt.Errorf("acknowledged are %q, want a beginning of %d operations", acks, n)
			}
			if equal(got, states[done]) || done < n && equal(got, states[done+1]) {
				return nil
			}
			kind := ErrTorn
			for _, s := range states[:done] {
				if equal(got, s) {
					kind = ErrLost
				}
			}
			return fmt.Errorf("%w: after %d of %d operations: found %v, want %v, or the next: %v",
				kind, done, n, got, states[done], states[min(done+1, n)])
		},
	}
}

// Rand is the source of what a case does: the same for the same seed.
func Rand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// Fill returns n bytes, none of them zero, so that lost ones show in new files.
func Fill(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + r.IntN(255))
	}
	return b
}
