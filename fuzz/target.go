package fuzz

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Target is one thing that is fuzzed against its model.
type Target struct {
	// Name is that of the native target without "Fuzz".
	Name string
	// About is what is fuzzed, in half a line.
	About string
	// Accepted is what becomes of an input that isn't refused: "mapped".
	Accepted string
	// New makes an instance: the machines that inputs run on.
	New func() (Instance, error)
	// Generate makes an input of the fast generator. What it returns follows from r alone.
	Generate func(r *rand.Rand) []byte
	// Seeds are inputs to start from, besides those in testdata.
	Seeds func() [][]byte
}

// Instance runs inputs one after the other, each as if it were the only one. It is for one
// goroutine.
type Instance interface {
	// Run runs one input, any bytes at all, and says whether something was accepted. The
	// error says where what happened isn't what the model requires: the input in words,
	// what was got and what was wanted. The instance can be used on after an error.
	Run(input []byte) (accepted bool, err error)
	// Close gives everything back. The error names what inputs have left behind.
	Close() error
}

// Find returns the target of a name.
func Find(name string) (Target, error) {
	var names []string
	for _, t := range Targets() {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return Target{}, fmt.Errorf("there is no target %q, there are %s", name, strings.Join(names, ", "))
}

// Replay runs one input of a target on an instance of its own: what reproduces a finding.
func Replay(name, input string) error {
	t, err := Find(name)
	if err != nil {
		return err
	}
	i, err := t.New()
	if err != nil {
		return err
	}
	_, err = i.Run([]byte(input))
	if left := i.Close(); err == nil {
		err = left
	}
	return err
}

// Reproducer is the line of Go that runs an input again.
func Reproducer(name string, input []byte) string {
	return fmt.Sprintf("fuzz.Replay(%q, %q)", name, input)
}

// CountsVariable is the environment variable with the directory where native targets write
// how many inputs were accepted and how many there were, if it is set: a file for each process.
const CountsVariable = "PMEMLAB_FUZZ_COUNTS"

// MinimizeVariable is the environment variable with the directory of corpora that the
// instrumented tests of this package, if it is set, make as small as they can be without
// covering less, instead of running.
const MinimizeVariable = "PMEMLAB_FUZZ_MINIMIZE"
