// Command vm boots a stock kernel with emulated NVDIMMs in QEMU and has it do jobs there:
//
//	vm [flags] MACHINE:JOB,JOB... ...
//	vm [flags] power-cut
//	vm [flags] prepare
//
// The machines are those of vm.Machines. The jobs are conformance, the suite of this
// project's libraries on real device DAX and file systems; conformance-dax, the same without
// what a file system without DAX can show; cpu, what of it depends on the CPU's
// flush instructions; libpmem2, the suite of the C library on DAX; survey, what the kernel
// answers, for ci/parity; survey-hardware, what of it depends on the hardware; and sequences, random programs that have to end as on the emulated machine.
// prepare gets what machines need, installing and downloading it, and boots none.
//
// The exit status is 0 if every job of every machine did what it should.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"pmemlab/ci/vm"
	"pmemlab/conformance"
	"pmemlab/conformance/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(1)
	}
}

// options are what was said on the command line.
type options struct {
	guest, suite, cSuite string
	reports, merged      string
	with, suiteFlags     []string
	limit                time.Duration
	seed, sequences      uint64
	parallel, runs       int
	kvm                  bool
}

func run(ctx context.Context, args []string, w io.Writer) error {
	var o options
	f := flag.NewFlagSet("vm", flag.ExitOnError)
	f.StringVar(&o.guest, "guest", "bin/vm-guest", "the static `program` that is the first process of a machine")
	f.StringVar(&o.suite, "suite", "bin/pmemlab-conformance", "the static `program` of the conformance suite")
	f.StringVar(&o.cSuite, "c-suite", "bin/pmemlab-conformance-libpmem2", "the suite's `program` with the C library, for the job libpmem2")
	f.StringVar(&o.reports, "reports", "reports", "`folder` for vm-MACHINE.json, and for all that machines bring out, in vm/MACHINE")
	f.StringVar(&o.merged, "merged", "", "write one page of all reports of conformance to this `file`")
	f.Func("with", "a JSON `report` to be on that page too, if it is there; may be given several times", func(name string) error {
		o.with = append(o.with, name)
		return nil
	})
	f.Func("suite-flag", "a `flag` for the suites in the guest, such as -ginkgo.focus=TEXT; may be given several times", func(text string) error {
		o.suiteFlags = append(o.suiteFlags, text)
		return nil
	})
	f.DurationVar(&o.limit, "limit", 10*time.Minute, "how long a job may take")
	f.Uint64Var(&o.seed, "seed", uint64(time.Now().Unix()), "the first seed of sequences and power cuts")
	f.Uint64Var(&o.sequences, "sequences", 2000, "how many sequences")
	f.IntVar(&o.runs, "runs", 50, "how many power cuts")
	f.IntVar(&o.parallel, "parallel", 1, "how many machines at a time")
	f.BoolVar(&o.kvm, "kvm", false, "use /dev/kvm even if the CPU doesn't say that it can")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() == 0 {
		return errors.New("no machine was named: MACHINE:JOB,JOB; see -help")
	}
	start := time.Now()
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, "vm: "+format+"\n", args...) }
	lab, err := vm.NewLab(ctx, vm.LabConfig{Guest: o.guest, KVM: o.kvm, Say: say})
	if err != nil {
		return err
	}
	say("%s", lab)
	switch f.Arg(0) {
	case "power-cut":
		return powerCut(ctx, lab, o, w)
	case "prepare":
		return nil
	}
	shifts, err := parse(f.Args(), jobs(o))
	if err != nil {
		return err
	}
	err = work(ctx, lab, o, shifts, w)
	if o.merged != "" {
		err = errors.Join(err, merge(o, shifts, w))
	}
	say("%d machines in %.0f s", len(shifts), time.Since(start).Seconds())
	return err
}

// shift is a machine and its jobs.
type shift struct {
	machine vm.Machine
	folder  string // in reports/vm
	names   []string
	jobs    []job
}

// parse reads the arguments MACHINE:JOB,JOB.
func parse(args []string, known map[string]job) (shifts []shift, err error) {
	for i, arg := range args {
		name, list, _ := strings.Cut(arg, ":")
		var s shift
		if s.machine, err = vm.MachineNamed(name); err != nil {
			return nil, err
		}
		for j := range strings.SplitSeq(list, ",") {
			found, ok := known[j]
			if !ok {
				return nil, fmt.Errorf("%q: there is no job %q", arg, j)
			}
			s.names, s.jobs = append(s.names, j), append(s.jobs, found)
		}
		s.folder = name
		for _, other := range shifts {
			if other.machine.Name != name {
				continue
			}
			s.folder = fmt.Sprintf("%s-%d", name, i+1) // several of one machine share its jobs
			if slices.ContainsFunc(s.names, func(job string) bool { return slices.Contains(other.names, job) }) {
				return nil, fmt.Errorf("%q: the machine has one of these jobs twice", arg)
			}
		}
		shifts = append(shifts, s)
	}
	return shifts, nil
}

// work runs the shifts, some at a time, and writes what each says as a whole, in their order.
func work(ctx context.Context, lab *vm.Lab, o options, shifts []shift, w io.Writer) error {
	type ended struct {
		text strings.Builder
		err  error
		done chan struct{}
	}
	all := make([]ended, len(shifts))
	free := make(chan struct{}, max(1, o.parallel))
	var wg sync.WaitGroup
	for i, s := range shifts {
		all[i].done = make(chan struct{})
		wg.Go(func() {
			defer close(all[i].done)
			free <- struct{}{}
			defer func() { <-free }()
			all[i].err = s.run(ctx, lab, o, &all[i].text)
		})
	}
	var errs []error
	for i := range all {
		<-all[i].done
		_, _ = fmt.Fprint(w, all[i].text.String())
		errs = append(errs, all[i].err)
	}
	wg.Wait()
	return errors.Join(errs...)
}

// run boots the machine for its jobs.
func (s shift) run(ctx context.Context, lab *vm.Lab, o options, w io.Writer) error {
	media, err := os.MkdirTemp("", "pmemlab-media-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(media) }()
	m := s.machine
	boot := vm.Boot{
		Machine: m, Media: media, Out: filepath.Join(o.reports, "vm", s.folder), Files: map[string]string{},
		Limit: time.Duration(len(s.jobs))*o.limit + time.Minute,
	}
	if err := os.RemoveAll(boot.Out); err != nil {
		return err
	}
	for _, j := range s.jobs {
		boot.Steps = append(boot.Steps, j.step(m))
		for name, from := range j.files {
			boot.Files[name] = from
		}
	}
	r, err := lab.Run(ctx, boot)
	if err != nil {
		return err
	}
	var errs []error
	_, _ = fmt.Fprintf(w, "vm: machine %s: %.1f s", m.Name, r.Took.Seconds())
	for _, step := range r.Steps {
		_, _ = fmt.Fprintf(w, ", %s %.1f s", step.Name, step.Seconds)
	}
	_, _ = fmt.Fprintln(w)
	if len(r.Steps) != len(s.jobs) {
		return fmt.Errorf("machine %s: the guest took %d of %d steps; its console is %s", m.Name, len(r.Steps), len(s.jobs), filepath.Join(boot.Out, "console.txt"))
	}
	for i, j := range s.jobs {
		err := j.finish(w, m, boot.Out)
		if step := r.Steps[i]; step.Status != 0 {
			err = errors.Join(fmt.Errorf("status %d %s; %s", step.Status, step.Error, filepath.Join(boot.Out, step.Name+".log")), err)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("machine %s, %s: %w", m.Name, s.names[i], err))
		}
	}
	return errors.Join(errs...)
}

// merge writes one page of the reports of the shifts, and of others.
func merge(o options, shifts []shift, w io.Writer) error {
	var parts []report.Report
	files := slices.Clone(o.with)
	for _, s := range shifts {
		for _, name := range s.names {
			files = append(files, reportFile(o, s.machine, name))
		}
	}
	slices.Sort(files)
	for _, file := range slices.Compact(files) {
		r, err := report.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		parts = append(parts, r)
	}
	if len(parts) == 0 {
		return errors.New("there is no report to put on one page")
	}
	all, err := conformance.Merge(parts...)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w, "vm: %d runs side by side: %s\n", len(all.Runs), o.merged)
	return writeReport(o.merged, all.WriteHTML)
}
