// Package fast makes inputs and runs them as fast as it can: seeded, without
// instrumentation, one goroutine. What it leaves to the coverage engine is to learn from
// what it sees; what it has ahead of that are numbers.
package fast

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"pmemlab/fuzz"
)

// Runner runs inputs of one target, those of a seed one after the other.
type Runner struct {
	Target fuzz.Target
	Seed   uint64
	// Next is the number of the next input: the input follows from seed and number.
	Next uint64
	// Watch is told each input before it is run, if it isn't nil.
	Watch func(input []byte)

	Stats
	instance fuzz.Instance
	pcg      rand.PCG
	rand     *rand.Rand
}

// Stats say what has been run.
type Stats struct {
	Accepted, Refused         uint64        // inputs
	AcceptedTime, RefusedTime time.Duration // from making the input to the end of its run
}

// Executions is how many inputs have been run.
func (s Stats) Executions() uint64 { return s.Accepted + s.Refused }

// Time is how long that took.
func (s Stats) Time() time.Duration { return s.AcceptedTime + s.RefusedTime }

// Add adds what another runner has run.
func (s *Stats) Add(o Stats) {
	s.Accepted += o.Accepted
	s.Refused += o.Refused
	s.AcceptedTime += o.AcceptedTime
	s.RefusedTime += o.RefusedTime
}

// Finding is an input that shows something wrong.
type Finding struct {
	Target string
	Number uint64 // of the input
	Input  []byte
	Err    string
}

// Run runs inputs until the time is over or one shows something wrong, and at most a number
// of them.
func (r *Runner) Run(d time.Duration, most uint64) (*Finding, error) {
	if r.instance == nil {
		var err error
		if r.instance, err = r.Target.New(); err != nil {
			return nil, err
		}
		r.rand = rand.New(&r.pcg)
	}
	last := time.Now()
	for end := last.Add(d); most > 0 && last.Before(end); most-- {
		input := r.Input(r.Next)
		if r.Watch != nil {
			r.Watch(input)
		}
		accepted, err := Try(r.instance, input)
		if err != nil {
			return &Finding{r.Target.Name, r.Next, input, err.Error()}, nil
		}
		r.Next++
		now := time.Now()
		if accepted {
			r.Accepted++
			r.AcceptedTime += now.Sub(last)
		} else {
			r.Refused++
			r.RefusedTime += now.Sub(last)
		}
		last = now
	}
	return nil, nil
}

// Input is the input of a number.
func (r *Runner) Input(number uint64) []byte {
	if r.rand == nil {
		r.rand = rand.New(&r.pcg)
	}
	r.pcg.Seed(r.Seed, number)
	return r.Target.Generate(r.rand)
}

// Close ends the instance. The error says what the inputs have left behind.
func (r *Runner) Close() error {
	if r.instance == nil {
		return nil
	}
	i := r.instance
	r.instance = nil
	return i.Close()
}

const aPanic = "panic: "

// Try runs an input. A panic, or a fault of memory, is an error.
func Try(i fuzz.Instance, input []byte) (accepted bool, err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("%s%v\n%s", aPanic, why, debug.Stack())
		}
	}()
	return i.Run(input)
}

// Minimize makes a finding's input simpler while it goes on failing: shorter, and with as
// many zero bytes as can be. Each try has an instance of its own. A panic isn't taken for
// another failure, nor the other way round.
func Minimize(t fuzz.Target, input []byte, tries int) []byte {
	try := func(b []byte) (failed, panicked bool) {
		tries--
		i, err := t.New()
		if err != nil {
			return false, false
		}
		_, err = Try(i, b)
		panicked = err != nil && strings.HasPrefix(err.Error(), aPanic)
		return i.Close() != nil || err != nil, panicked
	}
	if tries <= 0 {
		return input
	}
	_, panics := try(input)
	fails := func(b []byte) bool {
		failed, panicked := try(b)
		return failed && panicked == panics
	}
	best := append([]byte(nil), input...)
	for n := len(best) / 2; n > 0 && tries > 0; n /= 2 {
		for len(best) > n && tries > 0 && fails(best[:len(best)-n]) {
			best = best[:len(best)-n]
		}
	}
	for n := max(len(best)/4, 1); tries > 0; n /= 2 {
		for at := 0; at < len(best) && tries > 0; at += n {
			b := append([]byte(nil), best...)
			clear(b[at:min(at+n, len(b))])
			if string(b) != string(best) && fails(b) {
				best = b
			}
		}
		if n <= 1 {
			break
		}
	}
	return best
}
