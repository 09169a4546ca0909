package conformance

import (
	"fmt"
	"regexp"
	"sync"

	"pmemlab/emu/fault"
)

// injection is a plan that a case has armed, and what it has done.
type injection struct {
	mu     sync.Mutex
	failed []string // since the last line of evidence
	total  int
	line   int // of the evidence that tells the total
}

// Inject returns the library on the machine of Env with calls failing as the plan
// says: "(EAGAIN (And (Op mmap) (OnIndex 0)))". The calls of a plan are counted
// from here on. What is made with the returned library stays on that machine: a
// source of it fails as planned whatever library it is then given to.
//
// The evidence has the plan, how many calls it failed in all, and at each call of
// the library which system calls had failed by its end.
func (t *T) Inject(plan string) Library {
	parsed, err := fault.Parse(plan)
	t.suite(err, "parse the fault plan %s", plan)
	if t.foreign() {
		if op := unreached.FindString(plan); op != "" {
			t.NotSupportedf("the library %s makes the call %s) itself: it can't be made to fail", t.subject.Name(), op)
		}
	}
	in := &injection{}
	p := fault.Wrap(t.Machine(), parsed)
	p.SetHook(func(c fault.Call) {
		if !c.Injected {
			return
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		in.total++
		in.failed = append(in.failed, fmt.Sprintf("%v fails with %v", c.Op, c.Err))
	})
	t.mu.Lock()
	in.line = len(t.calls)
	t.calls = append(t.calls, evidence{Call: Call{Call: "inject " + plan}, times: 1})
	t.injected = append(t.injected, in)
	t.mu.Unlock()
	return t.subject.On(p)
}

// unreached are the calls that a library which calls the kernel itself doesn't make through
// the program.
var unreached = regexp.MustCompile(`\(Op (open|fiemap|ars-capabilities|clear-error|read-attr|write-attr|readlink|list|sysfs)\b`)

// takeInjected says which system calls were failed since it was last asked.
func (t *T) takeInjected() (suffix string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, in := range t.injected {
		in.mu.Lock()
		for _, f := range in.failed {
			suffix += ", injected: " + f
		}
		in.failed = nil
		in.mu.Unlock()
	}
	return suffix
}

// tellInjected completes the lines of the plans when the case has ended. mu must be
// held.
func (t *T) tellInjected() {
	for _, in := range t.injected {
		in.mu.Lock()
		t.calls[in.line].Outcome = fmt.Sprintf("%d calls failed", in.total)
		in.mu.Unlock()
	}
}
