package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pmemlab/conformance/report"
)

// What a library reads once, when it is loaded, and what it writes to standard error
// is checked in child processes: the program executes itself, with a variable in the
// environment that says what to do, and RunChild does it. The child has a place of its
// own, of the same target, and an environment without variables of the library but
// those that the case sets. Its answer goes through a pipe, so that standard output and
// standard error are the library's.

// childVariable holds a childRequest.
const childVariable = "PMEMLAB_CONFORMANCE_CHILD"

const (
	// childTime is how long a child process may take: then it is killed. What it
	// does has two thirds of it, so that it can say that it isn't at its end.
	childTime = 15 * time.Second
	// childAnswerFD is the first of exec.Cmd.ExtraFiles.
	childAnswerFD = 3
)

// childSubjects are those that a child process of this program knows; nil if the
// program doesn't call RunChild.
var childSubjects atomic.Pointer[[]Subject]

// RunChild is to be called first of all by a program that runs cases, before it reads
// its arguments: in TestMain, or main. In a process that a case has started it does
// what the case wants and exits; in any other it returns at once. Without it the cases
// that need another process are not supported.
//
// subjects are those that the program checks, besides Go. A child finds its subject by
// name.
func RunChild(subjects ...Subject) {
	subjects = slices.Concat([]Subject{Go}, subjects, subjectsInChildren)
	childSubjects.Store(&subjects)
	request, ok := os.LookupEnv(childVariable)
	if !ok {
		return
	}
	if err := answerAsChild(request, subjects); err != nil {
		fmt.Fprintln(os.Stderr, "conformance: child process:", err)
		os.Exit(2)
	}
	os.Exit(0)
}

// childRequest is what a child is to do, and where.
type childRequest struct {
	Function, Subject string
	Target, Variant   string
	TargetArgs        json.RawMessage
	Timeout           time.Duration
	Args              json.RawMessage
}

// childAnswer is what came of it.
type childAnswer struct {
	Result report.Case
	Shown  []Divergence
	Value  json.RawMessage
}

// childFunction is what a child does. args is JSON, and so is the value in the end.
type childFunction func(t *T, args json.RawMessage) any

// childFunctions are all there are.
var childFunctions = map[string]childFunction{
	childDataPath:  dataPathInChild,
	childWorkload:  workloadInChild,
	childPerror:    perrorInChild,
	childSetStores: setStoresInChild,

	childSetWorkload: setWorkloadInChild,
	childSetPerror:   setPerrorInChild,
}

// answerAsChild does what request says and writes a childAnswer.
func answerAsChild(request string, subjects []Subject) error {
	_ = os.Unsetenv(childVariable)
	var r childRequest
	if err := json.Unmarshal([]byte(request), &r); err != nil {
		return err
	}
	f, known := childFunctions[r.Function]
	i := slices.IndexFunc(subjects, func(s Subject) bool { return s.Name() == r.Subject })
	if (!known && r.Function != childCase) || i < 0 {
		return fmt.Errorf("no function %q, or no subject %q", r.Function, r.Subject)
	}
	target, err := childTarget(r)
	if err != nil {
		return err
	}
	if r.Function == childCase {
		return answerWithCase(r, subjects[i], target)
	}
	var value any
	c := Case{Name: r.Function, Run: func(t *T) { value = f(t, r.Args) }}
	a := attempt{subject: subjects[i], target: target, variant: r.Variant, c: c, timeout: r.Timeout}
	answer := childAnswer{Result: a.here().Case}
	if answer.Result.Status == report.Pass {
		if answer.Value, err = json.Marshal(value); err != nil {
			return err
		}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	out := os.NewFile(childAnswerFD, "answer")
	if _, err := out.Write(text); err != nil {
		return err
	}
	return out.Close()
}

// portable is a target that a child process can make again.
type portable interface {
	Target
	// forChild is what the child has to know, as JSON, to make the target with its
	// variant; the function of childTargets gets it.
	forChild(variant string) (any, error)
}

// lockFiles are what a target has a child process inherit, behind the pipe for the answer:
// the child needn't know of it.
func lockFiles(t Target) []*os.File {
	if l, ok := t.(interface{ lockFiles() []*os.File }); ok {
		return l.lockFiles()
	}
	return nil
}

// childTargets make the targets that a child process can be told of, by their names.
var childTargets = map[string]func(args json.RawMessage) (Target, error){
	Emulated().Name(): func(json.RawMessage) (Target, error) { return Emulated(), nil },
	(*files)(nil).Name(): func(args json.RawMessage) (Target, error) {
		var cfg FilesConfig
		err := json.Unmarshal(args, &cfg)
		return Files(cfg), err
	},
	(*hardware)(nil).Name(): hardwareInChild,
}

// childTarget is the target of the case once more.
func childTarget(r childRequest) (Target, error) {
	made, ok := childTargets[r.Target]
	if !ok {
		return nil, fmt.Errorf("no target %q", r.Target)
	}
	return made(r.TargetArgs)
}

// childRun is a child process that a case wants.
type childRun struct {
	// Function is one of childFunctions, Args what it is given.
	Function string
	Args     any
	// Env are the library's variables: "PMEM_NO_CLWB=1". No other is set.
	Env []string
	// Value is where what the function returns is put; nil if it isn't wanted.
	Value any
	// Within is how long it may take; 0 is childTime.
	Within time.Duration
}

// childEnd is what is left of a child process.
type childEnd struct {
	Pid            int
	Stdout, Stderr string
}

// Child runs a function in a child process. The case ends as the child did unless all
// went well there; what the child did is evidence of the case.
func (t *T) Child(c childRun) childEnd {
	cmd, cancel := t.childCommand(c)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd.Stdin = new(bytes.Reader) // there may be no /dev/null
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	reader, writer, err := os.Pipe()
	t.suite(err, "pipe for a child process")
	cmd.ExtraFiles = append([]*os.File{writer}, lockFiles(t.target)...)
	err = cmd.Start()
	_ = writer.Close()
	if err != nil {
		_ = reader.Close()
		t.suite(err, "start of a child process")
	}
	text, readErr := io.ReadAll(reader)
	_ = reader.Close()
	err = cmd.Wait()
	end := childEnd{Pid: cmd.Process.Pid, Stdout: stdout.String(), Stderr: stderr.String()}
	with := strings.Join(c.Env, " ")
	if with == "" {
		with = "none of the library's variables"
	}
	t.Note("child process with "+with, "%s; %d bytes on standard error", cmd.ProcessState, len(end.Stderr))
	if err != nil {
		t.Failf("the child process %s with %q ended with %v; standard error: %s", c.Function, c.Env, err, tail(end.Stderr))
	}
	t.suite(readErr, "answer of a child process")
	var answer childAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Brokenf("the answer of the child process %s: %v; standard error: %s", c.Function, err, tail(end.Stderr))
	}
	for _, call := range answer.Result.Calls {
		t.addEvidence(call.Call, call.Outcome)
	}
	if answer.Result.Status != report.Pass {
		t.leave(answer.Result.Status, "in a child process with %q: %s", c.Env, answer.Result.Reason)
	}
	if c.Value != nil {
		t.suite(json.Unmarshal(answer.Value, c.Value), "value of the child process %s", c.Function)
	}
	return end
}

// childCommand is the program itself with a request; it is killed when its time is up.
func (t *T) childCommand(c childRun) (*exec.Cmd, context.CancelFunc) {
	if c.Within == 0 {
		c.Within = childTime
	}
	r := t.childRequest(c.Function, c.Args, c.Within*2/3)
	cmd, cancel, err := r.command(c.Within, c.Env...)
	t.suite(err, "command of a child process")
	return cmd, cancel
}

// childRequest is what a child process is told.
func (t *T) childRequest(function string, args any, timeout time.Duration) childRequest {
	known := childSubjects.Load()
	if known == nil {
		t.NotSupportedf("child processes: this program doesn't call conformance.RunChild")
	}
	if !slices.ContainsFunc(*known, func(s Subject) bool { return s.Name() == t.subject.Name() }) {
		t.NotSupportedf("child processes: this program doesn't name the subject %s when it calls conformance.RunChild", t.subject.Name())
	}
	r := childRequest{
		Function: function, Subject: t.subject.Name(),
		Target: t.target.Name(), Variant: t.variant, Timeout: timeout,
	}
	target, ok := t.target.(portable)
	if !ok {
		t.NotSupportedf("child processes: they don't know the target %s", t.target.Name())
	}
	place, err := target.forChild(t.variant)
	t.suite(err, "what a child process is to know of the target")
	r.TargetArgs, err = json.Marshal(place)
	t.suite(err, "what a child process is to know of the target")
	r.Args, err = json.Marshal(args)
	t.suite(err, "arguments of a child process")
	return r
}

// command is this program with the request and those variables of the library.
func (r childRequest) command(within time.Duration, env ...string) (*exec.Cmd, context.CancelFunc, error) {
	request, err := json.Marshal(r)
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	cmd := exec.CommandContext(ctx, self)
	cmd.WaitDelay = time.Second
	cmd.Env = append(slices.DeleteFunc(os.Environ(), isLibraryVariable), env...)
	// A race detector would wait for a second at the end of each.
	cmd.Env = append(cmd.Env, "GORACE="+strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	cmd.Env = append(cmd.Env, childVariable+"="+string(request))
	return cmd, cancel, nil
}

// isLibraryVariable reports whether an entry of the environment is one that the
// libraries may read.
func isLibraryVariable(entry string) bool {
	return strings.HasPrefix(entry, "PMEM_") || strings.HasPrefix(entry, "PMEM2_") || strings.HasPrefix(entry, "PMEMSET_")
}

// tail is the end of a text, for a message.
func tail(text string) string {
	const most = 2000
	if len(text) > most {
		text = "…" + text[len(text)-most:]
	}
	return text
}

// onX86 ends the case unless this is an x86-64 CPU, whose instructions are asked for.
func onX86(t *T, what string) {
	if runtime.GOARCH != "amd64" {
		t.NotSupportedf("%s are of x86-64, this is %s", what, runtime.GOARCH)
	}
}
