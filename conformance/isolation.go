package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"

	"pmemlab/conformance/report"
	"pmemlab/pmem2/platform"
)

// Isolated is a subject that isn't Go's own: its calls may end the process and may change
// what belongs to others, and it calls the kernel itself. Every case runs in a process of
// its own, on a thread of its own, and not on the emulated machine. The program has to
// call RunChild with the subject.
//
// A library of such a subject may have a method Settle, which is called when a case has
// cleaned up: it gives back what the library is known to keep for ever. What it asks the
// CPU for, flushes and fences, isn't seen; what it asks the kernel for is.
type Isolated interface {
	Subject
	// OnCall has the library tell the name of each call before it is made.
	OnCall(tell func(call string))
}

// foreign reports whether the library isn't Go's: what is only Go's way isn't asked of it
// then, the wording of messages for one.
func (t *T) foreign() bool {
	_, ok := t.subject.(Isolated)
	return ok
}

// settler is described at Isolated.
type settler interface{ Settle() }

// childCase is the function of a child process that runs a case, which it is given by
// name.
const childCase = "case"

// casesInChildren are cases that a child process knows besides Cases, subjectsInChildren
// subjects besides those that RunChild is given: those of tests.
var (
	casesInChildren    []Case
	subjectsInChildren []Subject
)

func caseByName(name string) (Case, error) {
	all := slices.Concat(Cases(), casesInChildren)
	i := slices.IndexFunc(all, func(c Case) bool { return c.Name == name })
	if i < 0 {
		return Case{}, fmt.Errorf("no case %q", name)
	}
	return all[i], nil
}

// childNews is what a child process tells while it runs a case. The last has the answer.
type childNews struct {
	Call     string       `json:",omitempty"` // the library's, which begins
	Hangs    string       `json:",omitempty"` // a call that doesn't return: the last news
	Evidence *Call        `json:",omitempty"`
	Shown    *Divergence  `json:",omitempty"`
	Answer   *childAnswer `json:",omitempty"`
}

// teller writes news, but no call that is that of the call before.
func teller(w io.Writer) func(childNews) {
	var mu sync.Mutex
	last := ""
	e := json.NewEncoder(w)
	return func(n childNews) {
		mu.Lock()
		defer mu.Unlock()
		if n.Call != "" && n.Call == last {
			return
		}
		if n.Call != "" {
			last = n.Call
		}
		if err := e.Encode(n); err != nil {
			fmt.Fprintln(os.Stderr, "conformance: child process:", err)
		}
	}
}

// answerWithCase runs a case in a child process.
func answerWithCase(r childRequest, s Subject, target Target) error {
	var name string
	if err := json.Unmarshal(r.Args, &name); err != nil {
		return err
	}
	c, err := caseByName(name)
	if err != nil {
		return err
	}
	out := os.NewFile(childAnswerFD, "answer")
	tell := teller(out)
	if s, ok := s.(Isolated); ok {
		s.OnCall(func(call string) { tell(childNews{Call: call}) })
	}
	a := attempt{subject: s, target: target, variant: r.Variant, c: c, timeout: r.Timeout, tell: tell}
	o := a.here()
	tell(childNews{Answer: &childAnswer{Result: o.Case, Shown: o.shown}})
	return out.Close()
}

// elsewhere runs the case in a child process.
func (a attempt) elsewhere(s Isolated) outcome {
	if _, ok := a.target.(emulated); ok {
		return outcome{Case: a.result(report.NotSupported, "the library "+s.Name()+" calls the kernel of this machine, not an emulated one", nil)}
	}
	if h, ok := a.target.(*hardware); ok && len(h.devices) > 0 && !h.cfg.DestroyUnguarded {
		// It calls the kernel itself, through libraries of its own too: no guard is between.
		return outcome{Case: a.result(report.NotSupported, "the library "+s.Name()+" could do to a device what nobody has allowed: -pmem.destroy-unguarded does", nil)}
	}
	if s.On(platform.Host()).Sets() == nil && !slices.ContainsFunc(a.c.Rows, func(row string) bool {
		return !strings.HasPrefix(row, "pmemset") && !strings.HasPrefix(row, "libpmemset")
	}) {
		return outcome{Case: a.result(report.NotSupported, "libpmemset: the subject "+s.Name()+" has none", nil)}
	}
	t := &T{subject: s, target: a.target, variant: a.variant, known: knownOf(s, a.c, a.variant)}
	var answer *childAnswer
	done := make(chan struct{})
	go func() { // which t may leave
		defer close(done)
		answer = a.inChild(t)
	}()
	<-done
	if answer != nil {
		return outcome{answer.Result, answer.Shown}
	}
	t.concludeShown(a.c)
	t.mu.Lock()
	defer t.mu.Unlock()
	return outcome{a.result(t.status, t.reason, t.told()), t.shown}
}

// inChild returns the answer of a child process, or concludes why there is none.
func (a attempt) inChild(t *T) *childAnswer {
	request := t.childRequest(childCase, a.c.Name, a.timeout)
	if p, ok := a.target.(childPlacer); ok {
		place, remove, err := p.childPlace(a.variant)
		t.suite(err, "a place for a child process")
		defer func() {
			if err := remove(); err != nil {
				t.conclude(report.Error, fmt.Sprintf("the place of a child process can't be removed: %v", err))
			}
		}()
		request.TargetArgs, err = json.Marshal(place)
		t.suite(err, "a place for a child process")
	}
	within := a.timeout * 3 / 2
	cmd, cancel, err := request.command(within)
	t.suite(err, "command of a child process")
	defer cancel()
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	reader, writer, err := os.Pipe()
	t.suite(err, "pipe for a child process")
	defer func() { _ = reader.Close() }()
	cmd.ExtraFiles = append([]*os.File{writer}, lockFiles(a.target)...)
	err = cmd.Start()
	_ = writer.Close()
	t.suite(err, "start of a child process")
	call, hangs, answer := t.listen(reader)
	if hangs {
		cancel()
	}
	err = cmd.Wait()
	if err == nil && answer != nil {
		return answer
	}
	var exit *exec.ExitError
	died := ""
	if errors.As(err, &exit) {
		died = signalOf(exit.Sys())
	}
	if hangs {
		died = "hang"
	}
	if died == "" || died == signalNames[syscall.SIGKILL] {
		t.Brokenf("the child process ends with %v (within %v), in %s; standard error: %s", err, within, call, tail(output.String()))
	}
	t.addEvidence(call, died)
	if known := slices.DeleteFunc(slices.Clone(t.known), func(d Divergence) bool { return d.Got != died || !matches(d.At, call) }); len(known) > 0 {
		t.show(known)
		t.endAt(known[0])
	}
	t.leave(report.Fail, "%s: the end of the process is: %s; on its way out: %s", call, died, tail(output.String()))
	return nil
}

// listen reads the news to its end: the call that began last, or that hangs, and the
// answer if there is one. What else there is it notes.
func (t *T) listen(r io.Reader) (call string, hangs bool, answer *childAnswer) {
	call = "no call of the library"
	for d := json.NewDecoder(r); ; {
		var n childNews
		if err := d.Decode(&n); err != nil {
			return call, false, answer
		}
		switch {
		case n.Hangs != "":
			return n.Hangs, true, nil
		case n.Call != "":
			call = n.Call
		case n.Evidence != nil:
			t.addEvidence(n.Evidence.Call, n.Evidence.Outcome)
		case n.Shown != nil:
			t.noteShown(*n.Shown)
		case n.Answer != nil:
			answer = n.Answer
		}
	}
}

// signalNames are the outcomes that a death is.
var signalNames = map[syscall.Signal]string{
	syscall.SIGSEGV: "SIGSEGV", syscall.SIGABRT: "abort", syscall.SIGBUS: "SIGBUS",
	syscall.SIGFPE: "SIGFPE", syscall.SIGILL: "SIGILL", syscall.SIGKILL: "SIGKILL",
}

// signalOf names the signal that ended a process, or is "".
func signalOf(state any) string {
	status, ok := state.(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return ""
	}
	if name := signalNames[status.Signal()]; name != "" {
		return name
	}
	return status.Signal().String()
}

// hang says that a call doesn't return. In a child process nothing more can be done.
func (t *T) hang(call string, args ...any) {
	if t.tell != nil {
		t.tell(childNews{Hangs: fmt.Sprintf(call, args...)})
		select {}
	}
	t.Failf(call+" doesn't return", args...)
}

// checkUnmodified expects a call that has failed to have left its output alone. What isn't
// Go's has variables for outputs: its error tells, by a method Stored, what was stored.
func (t *T) checkUnmodified(err error, call string, args ...any) {
	var s interface{ Stored() string }
	if errors.As(err, &s) && s.Stored() != "" {
		t.Check(false, "%s fails and stores all the same: %s", fmt.Sprintf(call, args...), s.Stored())
	}
}

// childPlacer is a target that makes a place for a child process which may die: remove
// removes whatever the child leaves there.
type childPlacer interface {
	childPlace(variant string) (args any, remove func() error, err error)
}

// childPlace is a directory.
func (t *files) childPlace(variant string) (args any, remove func() error, err error) {
	p, err := t.place(variant)
	if err != nil {
		return nil, nil, err
	}
	dir, err := makeOwnDirectory(p.dir)
	if err != nil {
		return nil, nil, err
	}
	return FilesConfig{Tmpfs: dir, Disk: dir}, func() error { return removeOwnDirectory(dir) }, nil
}
