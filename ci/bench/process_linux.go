package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dataAt is where each worker maps the data: far from where the kernel, Go or the
// loader put anything, and aligned to 1 GiB.
const dataAt = 1 << 44

// process is a worker.
type process struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
}

// kind says who does the work of a batch.
type kind int

const (
	goKind kind = iota
	cKind
	limitKind
	kinds
)

// workers are the processes of a round, by kind.
type workers [kinds]*process

// start starts the workers on one CPU, with a high priority if that is allowed. Of the Go
// worker only the thread that measures, which pins itself: the others are kept away
// from it where there is another CPU. After each wait for a command the runtime's
// monitor wakes up every 20 µs for a while, which is no part of an operation: with
// batches of 5 ms it made the Go side seem a third slower.
func start(ctx context.Context, p programs, dir string, cpu int) (w workers, err error) {
	self, err := os.Executable()
	if err != nil {
		return w, err
	}
	at := strconv.FormatUint(dataAt, 16)
	commands := [kinds][]string{
		goKind:    {self, workerArg, dir, at, strconv.Itoa(cpu)},
		cKind:     {p.libpmem2, dir, at},
		limitKind: {p.limit, dir, at},
	}
	names := [kinds]string{"Go", "C", "limit"}
	for k, c := range commands {
		if err = onCPU(cpu, kind(k) != goKind, func() (err error) {
			w[k], err = startOne(ctx, names[k], c)
			return err
		}); err != nil {
			break
		}
	}
	var first string
	for _, p := range w {
		if err != nil {
			break
		}
		var answer string
		answer, err = p.read()
		switch {
		case err != nil:
		case first == "":
			first = answer
			if want := fmt.Sprintf("ready %#x %#x", dataAt, dataAt+sourceGap+sourceAt); answer != want {
				err = fmt.Errorf("the %s worker says %q, want %q", p.name, answer, want)
			}
		case answer != first:
			err = fmt.Errorf("the %s worker says %q, that of %s %q", p.name, answer, w[0].name, first)
		}
	}
	if err != nil {
		return w, errors.Join(err, w.stop())
	}
	return w, nil
}

// onCPU calls f on a thread that runs on cpu alone, or, if on is false, on any other
// that there is, and has the highest priority that it is allowed: processes that f
// starts inherit both, for all their threads.
func onCPU(cpu int, on bool, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	if !before.IsSet(cpu) {
		return fmt.Errorf("this process may not run on CPU %d", cpu)
	}
	set := before
	if set.Clear(cpu); on || set.Count() == 0 {
		set.Zero()
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("sched_setaffinity: %w", err)
	}
	// Only the privileged may raise the priority; the others measure without.
	raised := unix.Setpriority(unix.PRIO_PROCESS, 0, -20) == nil
	err := f()
	if raised {
		err = errors.Join(err, unix.Setpriority(unix.PRIO_PROCESS, 0, 0))
	}
	return errors.Join(err, unix.SchedSetaffinity(0, &before))
}

// pin keeps the calling goroutine on a thread of its own, and that on cpu.
func pin(cpu int) error {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("sched_setaffinity to CPU %d: %w", cpu, err)
	}
	return nil
}

// lastCPU is the highest CPU that this process may run on.
func lastCPU() (int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, fmt.Errorf("sched_getaffinity: %w", err)
	}
	for cpu := 64 * len(set); cpu > 0; cpu-- {
		if set.IsSet(cpu - 1) {
			return cpu - 1, nil
		}
	}
	return 0, errors.New("this process may run on no CPU")
}

func startOne(ctx context.Context, name string, command []string) (*process, error) {
	p := &process{name: name, cmd: exec.CommandContext(ctx, command[0], command[1:]...)}
	p.cmd.Env = append(os.Environ(), "PMEM2_FORCE_GRANULARITY=CACHE_LINE", "GOMAXPROCS=1")
	p.cmd.Stderr = &p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// stop ends the processes that were started.
func (w workers) stop() error {
	var errs []error
	for _, p := range w {
		if p != nil {
			errs = append(errs, p.in.Close(), p.cmd.Wait())
		}
	}
	return errors.Join(errs...)
}

func (p *process) read() (string, error) {
	line, err := p.out.ReadString('\n')
	line = strings.TrimSuffix(line, "\n")
	if text, failed := strings.CutPrefix(line, "error "); failed {
		return "", fmt.Errorf("the %s worker: %s", p.name, text)
	}
	if err != nil {
		return "", fmt.Errorf("the %s worker ended early (%w) %s", p.name, err, p.stderr.String())
	}
	return line, nil
}

func (p *process) ask(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		return "", fmt.Errorf("the %s worker takes no command: %w", p.name, err)
	}
	return p.read()
}

// variants are the ways in which a worker can do a row, none if it can't.
func (p *process) variants(r row) ([]string, error) {
	answer, err := p.ask("variants %s %d %d", r.verb, r.size, r.shift)
	if err != nil || answer == "" {
		return nil, err
	}
	return strings.Split(answer, ";"), nil
}

// batch does a row n times after an eighth of that; it returns the nanoseconds of one.
func (p *process) batch(r row, variant, n int) (float64, error) {
	answer, err := p.ask("run %s %d %d %d %d %d", r.verb, r.size, r.shift, variant, max(1, n/8), n)
	if err != nil {
		return 0, fmt.Errorf("%v: %w", r, err)
	}
	ns, err := strconv.ParseInt(answer, 10, 64)
	if err != nil || ns <= 0 {
		return 0, fmt.Errorf("%v: the %s worker answers %q, want nanoseconds", r, p.name, answer)
	}
	return float64(ns) / float64(n), nil
}
