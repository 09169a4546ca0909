package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pmemlab/ci/sequences"
	"pmemlab/ci/vm"
	"pmemlab/ci/vm/plan"
	"pmemlab/conformance/report"
)

// job is something that a guest does, and what the host makes of what came of it.
type job struct {
	// step is what the guest runs; files are taken along.
	step  func(m vm.Machine) plan.Step
	files map[string]string
	// finish looks at what was brought out to dir, and writes what it says to w. An error is a
	// failure of the job.
	finish func(w io.Writer, m vm.Machine, dir string) error
}

// Where programs are in the guest.
const (
	goSuite = "/bin/pmemlab-conformance"
	cSuite  = "/bin/pmemlab-conformance-libpmem2"
)

// jobs are all there are; the programs are where the options say.
func jobs(o options) map[string]job {
	ask := func(name string, families ...string) job {
		return job{
			step: func(m vm.Machine) plan.Step {
				args := []string{"/init", "survey", "-machine", m.Name, "-out", "/out/survey.json.gz"}
				for _, f := range families {
					args = append(args, "-family", f)
				}
				if slices.Contains(m.Modules, "mce_inject") {
					args = append(args, "-spoil")
				}
				return plan.Step{Name: name, Limit: o.limit, Args: args}
			},
			finish: func(io.Writer, vm.Machine, string) error { return nil },
		}
	}
	suite := func(name, program, from string, place func(vm.Machine) []string, flags ...string) job {
		return job{
			files: map[string]string{program: from},
			step: func(m vm.Machine) plan.Step {
				return plan.Step{
					Name: name, Limit: o.limit,
					Args: slices.Concat([]string{program}, place(m), flags, []string{"-pmem.reports=/out/" + name + ".json"}),
					// A slow CPU collects garbage rarely.
					Env: []string{"GOMEMLIMIT=700MiB", "GOGC=800"},
				}
			},
			finish: func(w io.Writer, m vm.Machine, dir string) error { return takeReport(w, o, m, dir, name) },
		}
	}
	return map[string]job{
		"conformance": suite("conformance", goSuite, o.suite, hardwareFlags, o.suiteFlags...),
		// What is DAX alone: the rest is as on any machine with the same kernel.
		"conformance-dax": suite("conformance-dax", goSuite, o.suite, daxFlags, o.suiteFlags...),
		"cpu": suite("cpu", goSuite, o.suite, hardwareFlags,
			"-ginkgo.label-filter=pmem2_get_flush_fn || pmem2_get_persist_fn || pmem2_get_drain_fn || pmem2_get_memmove_fn || pmem2_deep_flush"),
		"libpmem2": suite("libpmem2", cSuite, o.cSuite, daxFlags, append([]string{"-pmem.subject=c", "-pmem.destroy-unguarded"}, o.suiteFlags...)...),
		"survey":   ask("survey"),
		// What depends on the hardware alone: the kernel is that of the other machines.
		"survey-hardware": ask("survey-hardware", "sysfs", "deep_flush", "library", "badblocks"),
		"sequences": {
			step: func(vm.Machine) plan.Step {
				return plan.Step{Name: "sequences", Limit: o.limit, Args: []string{
					"/init", "sequences", "-seed", fmt.Sprint(o.seed), "-count", fmt.Sprint(o.sequences), "-out", "/out/sequences.txt",
				}}
			},
			finish: func(w io.Writer, m vm.Machine, dir string) error {
				_, err := fmt.Fprintf(w, "sequences of the seeds from %d on, -seed repeats them\n", o.seed)
				return errors.Join(err, compareSequences(w, m, dir))
			},
		},
	}
}

// hardwareFlags are those of the suite for what a machine has.
func hardwareFlags(m vm.Machine) []string {
	flags := []string{"-pmem.target=hardware"}
	var devices []string
	for _, d := range m.DIMMs {
		switch {
		case d.Kind == plan.DevDax:
			devices = append(devices, "{"+d.Name+"}")
		case d.Name == "ext4-dax":
			flags = append(flags, "-pmem.fsdax={ext4-dax/}")
		case d.Name == "ext4":
			flags = append(flags, "-pmem.pagefs={ext4/}")
		}
	}
	if len(devices) > 0 {
		names := strings.Join(devices, ",")
		flags = append(flags, "-pmem.devdax="+names, "-pmem.destroy="+names, "-pmem.destroy-contents")
	}
	if len(m.Facts) > 0 {
		flags = append(flags, "-pmem.declare="+strings.Join(m.Facts, ","))
	}
	return flags
}

// daxFlags are hardwareFlags for what is DAX alone.
func daxFlags(m vm.Machine) []string {
	m.Facts = slices.DeleteFunc(slices.Clone(m.Facts), func(fact string) bool { return fact == "pagefs" })
	return slices.DeleteFunc(hardwareFlags(m), func(flag string) bool { return strings.HasPrefix(flag, "-pmem.pagefs=") })
}

// takeReport puts a machine's report beside the others, under the machine's name.
func takeReport(w io.Writer, o options, m vm.Machine, dir, name string) error {
	log, err := os.ReadFile(filepath.Join(dir, name+".log"))
	if err != nil {
		return err
	}
	r, err := report.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		return errors.Join(err, fmt.Errorf("the suite printed:\n%s", log))
	}
	for i := range r.Runs {
		r.Runs[i].Target = "vm-" + m.Name
	}
	r = report.New(r.Runs...)
	file := reportFile(o, m, name)
	if err := writeReport(file, r.WriteJSON); err != nil {
		return err
	}
	if err := r.WriteText(w); err != nil {
		return err
	}
	if name == "libpmem2" {
		if err := besideGo(w, o, m, r); err != nil {
			return err
		}
	}
	if s := r.Summary(); s.Fail+s.Error > 0 {
		return fmt.Errorf("%s: %d rows fail, %d have an error", file, s.Fail, s.Error)
	}
	return nil
}

// reportFile is the report of a job of a machine.
func reportFile(o options, m vm.Machine, job string) string {
	if job == "conformance" || job == "conformance-dax" {
		return filepath.Join(o.reports, "vm-"+m.Name+".json")
	}
	return filepath.Join(o.reports, "vm-"+m.Name+"-"+job+".json")
}

func writeReport(file string, write func(io.Writer) error) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// compareSequences runs the same sequences on the emulated machine.
func compareSequences(w io.Writer, _ vm.Machine, dir string) error {
	f, err := os.Open(filepath.Join(dir, "sequences.txt"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	c, err := sequences.Check(f)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprint(w, c.Differences)
	_, _ = fmt.Fprintln(w, c.Summary())
	if c.Different > 0 {
		return fmt.Errorf("%d sequences have other outcomes on the emulated machine", c.Different)
	}
	return nil
}
