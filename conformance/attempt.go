package conformance

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"pmemlab/conformance/report"
)

// attempt runs a case once, in one variant.
type attempt struct {
	subject Subject
	target  Target
	variant string
	c       Case
	timeout time.Duration
	tell    func(childNews) // of a child process that runs a case; else nil
}

// outcome is what came of it.
type outcome struct {
	report.Case
	shown []Divergence
}

// run runs the case where its subject has to be.
func (a attempt) run() outcome {
	if s, ok := a.subject.(Isolated); ok {
		return a.elsewhere(s)
	}
	return a.here()
}

// here makes a place, runs the case there, cleans up and looks at what is left. The
// user's PMEM2_FORCE_GRANULARITY is no affair of the case.
func (a attempt) here() outcome {
	defer keepForced()()
	_ = os.Unsetenv(forceGranularity)
	before := mapped()
	env, err := a.target.NewEnv(a.variant)
	if err != nil {
		return outcome{Case: a.result(report.Error, fmt.Sprintf("no place to run: %v", err), nil)}
	}
	t := &T{Env: env, subject: a.subject, target: a.target, variant: a.variant, known: knownOf(a.subject, a.c, a.variant), tell: a.tell}
	deadline := time.After(a.timeout)
	finished := t.guarded(deadline, func() {
		t.Lib = a.subject.On(env.Machine())
		a.c.Run(t)
	})
	for finished {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			break
		}
		f := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.mu.Unlock()
		finished = t.guarded(deadline, f)
	}
	if finished {
		finished = t.guarded(deadline, func() {
			if s, ok := t.Lib.(settler); ok {
				s.Settle()
			}
			t.closeEnv(env)
		})
	}
	if finished {
		if left := replaceLeft(before); left != nil {
			t.conclude(report.Fail, (&LeakError{left}).Error())
		}
	}
	if !finished {
		// Something of the case still runs: its place is left to it.
		t.conclude(report.Error, fmt.Sprintf("not at its end after %v", a.timeout))
	}
	t.concludeShown(a.c)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tellInjected()
	if r, ok := env.(Restricted); ok && t.status != report.Error && !t.unrefused {
		if why := r.Refused(); why != "" {
			t.status, t.reason = report.NotSupported, why
		}
	}
	if t.status == "" {
		t.status = report.Pass
	}
	result := a.result(t.status, t.reason, t.told())
	result.Injected = t.injected != nil
	return outcome{result, t.shown}
}

func (a attempt) result(s report.Status, reason string, calls []Call) report.Case {
	if calls == nil {
		calls = []Call{}
	}
	return report.Case{Name: a.c.Name, Variant: a.variant, Status: s, Reason: reason, Calls: calls}
}

// closeEnv tells leaks from a suite that can't clean up.
func (t *T) closeEnv(env Env) {
	err := env.Close()
	if err == nil {
		return
	}
	var leak *LeakError
	if errors.As(err, &leak) {
		t.conclude(report.Fail, leak.Error())
		if err.Error() == leak.Error() {
			return
		}
	}
	t.conclude(report.Error, fmt.Sprintf("the place can't be closed: %v", err))
}

// guarded calls f in a goroutine of its own, which f may leave, and reports whether
// it ended in time. A memory fault is the subject's doing, since it made the
// mapping; any other panic is the fault of whoever's code it came from.
func (t *T) guarded(deadline <-chan time.Time, f func()) (finished bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			r := recover()
			if r == nil {
				return
			}
			status, where := report.Fail, panicOrigin()
			what := fmt.Sprintf("panic: %v", r)
			if fault, ok := r.(interface{ Addr() uintptr }); ok {
				what = fmt.Sprintf("memory fault at %#x", fault.Addr())
			} else if where.suite {
				status = report.Error
			}
			t.conclude(status, fmt.Sprintf("%s, in %s (%s:%d)", what, where.function, where.file, where.line))
		}()
		debug.SetPanicOnFault(true)
		if t.tell != nil {
			runtime.LockOSThread() // what a library keeps for each thread is the case's
		}
		f()
	}()
	select {
	case <-done:
		return true
	case <-deadline:
		return false
	}
}

// origin is where a panic came from.
type origin struct {
	function, file string
	line           int
	suite          bool
}

// suitePackages are those whose panics are no fault of a subject.
var suitePackages = []string{"pmemlab/conformance", "pmemlab/emu", "pmemlab/pmem2/platform/ledger"}

// panicOrigin is the innermost function outside of the standard library. It is
// called while a panic is under way, by the deferred function that recovered it.
func panicOrigin() origin {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	panicking := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && !inStandardLibrary(f.Function):
			return origin{f.Function, f.File[strings.LastIndex(f.File, "/")+1:], f.Line, inSuite(f.Function)}
		}
		if !more {
			return origin{function: "an unknown function", suite: true}
		}
	}
}

func inSuite(function string) bool {
	pkg := packageOf(function)
	return slices.ContainsFunc(suitePackages, func(p string) bool {
		return pkg == p || pkg == p+"_test" || strings.HasPrefix(pkg, p+"/")
	})
}

// inStandardLibrary goes by the path: another module's begins with a domain.
func inStandardLibrary(function string) bool {
	pkg := packageOf(function)
	first, _, _ := strings.Cut(pkg, "/")
	return !strings.Contains(first, ".") && first != "main" && first != "pmemlab"
}

// packageOf is the import path of a function's package.
func packageOf(function string) string {
	slash := strings.LastIndex(function, "/") + 1
	name, _, _ := strings.Cut(function[slash:], ".")
	return function[:slash] + name
}
