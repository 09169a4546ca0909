// Package fault makes calls on a Platform fail: those of an emulated machine
// and those of a real one alike. Which calls, and with which errno, is a
// [Plan], a text that prints and parses, so that it is a flag, a line of a log
// and a golden file.
//
// A sweep fails each call of an operation in turn:
//
//	p := fault.Wrap(machine)
//	p.StartRecording(0)
//	operate(p)
//	for _, c := range p.Log() {
//		p.Set(fault.FailCall(syscall.EIO, c.Seq))
//		p.Reset()
//		err := operate(p) // c fails; check err and what is left behind
//	}
package fault

import (
	"sync"
	"syscall"

	"pmemlab/pmem2/platform"
)

// Platform passes calls on to the Platform beneath, except those that a plan
// fails: they never get there, and the caller sees the plain [syscall.Errno].
// It counts and, when asked to, records every call that can fail.
//
// It is safe for concurrent use, and holds no lock during a call. While it has
// no plan and records nothing it allocates nothing.
type Platform struct {
	platform.Platform // beneath

	mu     sync.Mutex
	rules  []armedRule
	seq    int               // of the next call
	counts [len(opNames)]int // by kind
	hook   func(Call)
	limit  int     // of log; 0: nothing is recorded
	log    []*Call // each written to under mu
}

// armedRule is a rule and how many calls reached each of its slots.
type armedRule struct {
	rule
	reached []uint64
}

var _ platform.Platform = (*Platform)(nil)

// Wrap returns a Platform on top of beneath with the given plans.
func Wrap(beneath platform.Platform, plans ...Plan) *Platform {
	p := &Platform{Platform: beneath}
	p.Set(plans...)
	return p
}

// Set replaces all plans; without any nothing fails any more. The new ones have
// counted nothing yet. Calls go on being counted, so that (Call n) of the new
// plans counts from the last Reset.
func (p *Platform) Set(plans ...Plan) {
	var rules []armedRule
	for _, plan := range plans {
		for _, r := range plan.rules {
			rules = append(rules, armedRule{r, make([]uint64, r.slots)})
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = rules
}

// Reset starts all over with the plans that are set: nothing was counted or
// recorded yet. Recording, where it was started, goes on.
func (p *Platform) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		clear(r.reached)
	}
	p.seq, p.log = 0, nil
	clear(p.counts[:])
}

// Count is how many calls of the given kinds were made since the last Reset,
// those that failed included.
func (p *Platform) Count(ops Op) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for ops &= All; ops != 0; ops &= ops - 1 {
		n += p.counts[ops.bit()]
	}
	return n
}

// DefaultLimit is how many calls StartRecording(0) keeps.
const DefaultLimit = 1 << 16

// StartRecording empties the log and records the next limit calls from here on,
// DefaultLimit of them where limit is 0 or less. Later ones aren't recorded: the
// log is whole if its last Seq is Count(All) - 1.
func (p *Platform) StartRecording(limit int) {
	if limit <= 0 {
		limit = DefaultLimit
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit, p.log = limit, nil
}

// StopRecording leaves the log as it is; calls under way still tell their result.
func (p *Platform) StopRecording() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = 0
}

// Log returns the recorded calls in the order in which they were begun.
func (p *Platform) Log() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := make([]Call, len(p.log))
	for i, c := range p.log {
		calls[i] = *c
	}
	return calls
}

// SetHook has hook called before each call, by the goroutine that makes it and
// with no lock held: a test can do something between two calls there. What the
// call is going to be is decided by then: Injected and Err tell of a fault, and
// Set or Reset in the hook is about later calls. Calls that the hook itself
// makes on p call it as well. nil ends it.
func (p *Platform) SetHook(hook func(Call)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = hook
}

// begin numbers, decides and records a call. An error is the injected fault.
// The result of a call that has an entry in the log belongs in there.
func (p *Platform) begin(c Call) (entry *Call, err error) {
	p.mu.Lock()
	kind := c.Op.bit()
	c.Seq, c.Index = p.seq, p.counts[kind]
	p.seq++
	p.counts[kind]++
	if len(p.rules) != 0 {
		if errno := decide(p.rules, c); errno != 0 {
			c.Err, c.Injected = errno, true
		}
	}
	if len(p.log) < p.limit {
		entry = record(c)
		p.log = append(p.log, entry)
	}
	hook := p.hook
	p.mu.Unlock()
	if hook != nil {
		hook(c)
	}
	return entry, c.Err
}

// decide asks every rule, since each counts every call; the first that holds
// gives the errno.
func decide(rules []armedRule, c Call) (errno syscall.Errno) {
	for _, r := range rules {
		if (r.when == nil || r.when.holds(c, r.reached)) && errno == 0 {
			errno = r.errno
		}
	}
	return errno
}

func record(c Call) *Call { return &c }

// end notes what a call that was passed on returned.
func (p *Platform) end(entry *Call, err error) {
	if entry != nil {
		p.mu.Lock()
		entry.Err = err
		p.mu.Unlock()
	}
}
