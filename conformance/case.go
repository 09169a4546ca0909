package conformance

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"pmemlab/conformance/report"
	"pmemlab/pmem2/platform"
)

// Case checks rows of the contract. It is a plain function, so that any runner
// can call it on any subject and target.
type Case struct {
	// Name is unique: the page, a slash, and what is checked.
	Name string
	// Rows are the ids of the rows that the case checks. If it fails, all fail.
	Rows []string
	// Needs is what it needs beyond what the rows say.
	Needs []Need
	// Run checks. It returns when everything holds, or leaves through T.
	Run func(t *T)
}

// Call is one line of evidence: what was called and what came of it.
type Call = report.Call

// T is what a running case is given.
type T struct {
	// Lib is the library under test on the machine of Env.
	Lib Library
	// Env makes files and devices.
	Env Env

	subject Subject
	target  Target
	variant string

	mu       sync.Mutex
	calls    []evidence
	injected []*injection
	cleanups []func()
	sets     []Set         // not yet deleted
	status   report.Status // empty while nothing was said
	reason   string
	// unrefused tells that the case had failed when its Env had refused nothing yet.
	unrefused bool

	known []Divergence // of this case
	shown []Divergence // those of them that were there
	ended *Divergence  // the one that ended the case
	tell  func(childNews)
}

// Machine is the platform under the library.
func (t *T) Machine() platform.Platform { return t.Env.Machine() }

// Failf says that the subject is wrong and ends the case.
func (t *T) Failf(format string, args ...any) {
	if known := t.divergesIn(fmt.Sprintf(format, args...)); known != nil {
		t.show(known)
		t.endAt(known[0])
	}
	t.leave(report.Fail, format, args...)
}

// Brokenf says that the suite couldn't do its work and ends the case.
func (t *T) Brokenf(format string, args ...any) { t.leave(report.Error, format, args...) }

// NotSupportedf says that this place lacks something that is no Need, and ends the
// case.
func (t *T) NotSupportedf(format string, args ...any) {
	t.leave(report.NotSupported, format, args...)
}

// NotApplicablef says that the subject has nothing that could be checked, and ends
// the case. Which rows are not applicable is the contract's to say: for any other
// row this is an error.
func (t *T) NotApplicablef(format string, args ...any) {
	t.leave(report.NotApplicable, format, args...)
}

// leave ends the calling goroutine, which must be that of the case.
func (t *T) leave(s report.Status, format string, args ...any) {
	t.conclude(s, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// conclude keeps the worst that was said, the first of it.
func (t *T) conclude(s report.Status, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.Env.(Restricted); ok && s == report.Fail && r.Refused() == "" {
		t.unrefused = true
	}
	if t.status == "" || s.Worse(t.status) {
		t.status, t.reason = s, reason
	}
}

// Check ends the case unless ok, or unless it is known that it isn't.
func (t *T) Check(ok bool, format string, args ...any) {
	if ok {
		return
	}
	if known := t.divergesIn(fmt.Sprintf(format, args...)); known != nil {
		t.Note(fmt.Sprintf(format, args...), "as the contract says of the library")
		t.show(known)
		return
	}
	t.leave(report.Fail, format, args...)
}

// Expect compares the outcome of a call with the one that the contract wants and
// ends the case if they differ, unless it is known that they do: then it returns
// false. call is how the report shows it, with the arguments: "NewMap(offset 100)".
//
// An error with a method NoObject that returns true stands for a call that wasn't made,
// because the variable holds no object any more: that is what is meant by a clear error.
// A code can't be checked so: then the case counts as not supported unless it fails.
func (t *T) Expect(want string, err error, call string, args ...any) bool {
	call = fmt.Sprintf(call, args...)
	got := t.Lib.Outcome(err)
	known := t.divergesAt(call, want)
	same := slices.DeleteFunc(slices.Clone(known), func(d Divergence) bool { return d.Got != got })
	var none interface{ NoObject() bool }
	if errors.As(err, &none) && none.NoObject() && want != "0" {
		t.addEvidence(call, "(no object)")
		if want != "-EINVAL" {
			t.conclude(report.NotSupported, fmt.Sprintf("%s: the call can't be made, since the variable holds no object any more; %s was to be seen", call, want))
		}
		return true
	}
	call += t.takeInjected()
	t.addEvidence(call, got)
	switch {
	case len(same) > 0:
		t.show(same)
		return false
	case known != nil && got == want:
		t.leave(report.Fail, "%s: the contract says that the library returns %s here; it returns %s, which the ruling asks for: mend the contract's row %s",
			call, known[0].Got, got, known[0].Row)
	case known != nil:
		t.leave(report.Fail, "%s: got %s (%v), want %s, or %s as the contract says of the library", call, got, err, want, known[0].Got)
	case got != want:
		t.Failf("%s: got %s (%v), want %s", call, got, err, want)
	}
	return true
}

// Must is Expect of success.
func (t *T) Must(err error, call string, args ...any) bool { return t.Expect("0", err, call, args...) }

// mustQuietly is Must for a call that belongs into the evidence only if it fails.
func (t *T) mustQuietly(err error, call string, args ...any) {
	if err != nil {
		t.Must(err, call, args...)
	}
}

// expectQuietly is Expect for one of many calls, of which the evidence has a summary.
func (t *T) expectQuietly(want string, err error, call string, args ...any) {
	if t.Lib.Outcome(err) != want {
		t.Expect(want, err, call, args...)
	}
}

// Note adds a line of evidence that is no call: what was looked at, what was seen.
func (t *T) Note(what, seen string, args ...any) {
	t.addEvidence(what, fmt.Sprintf(seen, args...))
}

// evidence is a line of it, which may stand for several calls in a row.
type evidence struct {
	Call
	times int
}

func (t *T) addEvidence(call, outcome string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := Call{Call: call, Outcome: outcome}
	if t.tell != nil {
		t.tell(childNews{Evidence: &line})
	}
	if n := len(t.calls); n > 0 && t.calls[n-1].Call == line {
		t.calls[n-1].times++
		return
	}
	t.calls = append(t.calls, evidence{line, 1})
}

// told is the evidence as the report has it: "Delete() ×100". mu must be held.
func (t *T) told() (lines []Call) {
	for _, e := range t.calls {
		if e.times > 1 {
			e.Call.Call += fmt.Sprintf(" ×%d", e.times)
		}
		lines = append(lines, e.Call)
	}
	return lines
}

// Cleanup calls f when the case has ended, the last one first.
func (t *T) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

// suite ends the case as broken if the suite's own work failed, as not supported
// if the place doesn't have what was asked for.
func (t *T) suite(err error, what string, args ...any) {
	if err == nil {
		return
	}
	var unavailable *UnavailableError
	if errors.As(err, &unavailable) {
		t.NotSupportedf("%s: %s", fmt.Sprintf(what, args...), unavailable.What)
	}
	t.Brokenf("%s: %v", fmt.Sprintf(what, args...), err)
}
