package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pmemlab/ci/vm"
	"pmemlab/ci/vm/plan"
	"pmemlab/conformance/report"
)

func TestParse(t *testing.T) {
	known := map[string]job{"survey": {}, "cpu": {}}
	shifts, err := parse([]string{"adr:survey,cpu", "eadr:cpu"}, known)
	if err != nil || len(shifts) != 2 {
		t.Fatalf("%+v, %v", shifts, err)
	}
	if s := shifts[0]; s.machine.Name != "adr" || strings.Join(s.names, " ") != "survey cpu" || len(s.jobs) != 2 {
		t.Errorf("machine %s: %s", s.machine.Name, s.names)
	}
	if s := shifts[1]; s.machine.Name != "eadr" || strings.Join(s.names, " ") != "cpu" {
		t.Errorf("machine %s: %s", s.machine.Name, s.names)
	}
	for arg, want := range map[string]string{
		"none:cpu": `machine "none": want one of adr`,
		"adr":      `"adr": there is no job ""`,
		"adr:":     `"adr:": there is no job ""`,
		"adr:cpu,": `"adr:cpu,": there is no job ""`,
		"eadr:cpu": `"eadr:cpu": the machine has one of these jobs twice`,
		"adr:CPU":  `"adr:CPU": there is no job "CPU"`,
	} {
		if _, err := parse([]string{"eadr:cpu", arg}, known); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v: want %q", arg, err, want)
		}
	}
}

func TestRunWithoutMachines(t *testing.T) {
	if err := run(t.Context(), nil, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "no machine was named") {
		t.Errorf("%v", err)
	}
}

// What stands for places in the steps of each machine is there, and is what the step takes it for.
func TestStepsAskForPlacesThatAreThere(t *testing.T) {
	machines, err := vm.Machines()
	if err != nil {
		t.Fatal(err)
	}
	placeholder := regexp.MustCompile(`\{([^{}]*)\}`)
	asked := 0
	for _, m := range machines {
		dims := map[string]plan.Namespace{}
		for _, d := range m.DIMMs {
			dims[d.Name] = d.Namespace
		}
		for name, j := range jobs(options{limit: time.Minute}) {
			s := j.step(m)
			if s.Name != name || s.Limit != time.Minute || len(s.Args) == 0 {
				t.Errorf("machine %s, job %s: step %+v", m.Name, name, s)
			}
			for _, found := range placeholder.FindAllStringSubmatch(strings.Join(s.Args, " "), -1) {
				asked++
				place, mounted := strings.CutSuffix(found[1], "/")
				if n, ok := dims[place]; !ok || mounted != (n.FS != "") {
					t.Errorf("machine %s, job %s: %s stands for %+v", m.Name, name, found[0], n)
				}
			}
		}
	}
	if asked == 0 {
		t.Error("no step asks for a place")
	}
}

func TestHardwareFlags(t *testing.T) {
	dimm := func(name string, kind plan.Kind) vm.DIMM {
		return vm.DIMM{Namespace: plan.Namespace{Name: name, Kind: kind}}
	}
	for _, c := range []struct {
		m         vm.Machine
		want, dax string
	}{
		{vm.Machine{}, "-pmem.target=hardware", "-pmem.target=hardware"},
		{
			vm.Machine{Facts: []string{"a", "pagefs", "!b"}, DIMMs: []vm.DIMM{dimm("d1", plan.DevDax), dimm("ext4", plan.FSDax), dimm("", ""), dimm("ext4-dax", plan.FSDax), dimm("d2", plan.DevDax)}},
			"-pmem.target=hardware -pmem.pagefs={ext4/} -pmem.fsdax={ext4-dax/} -pmem.devdax={d1},{d2} -pmem.destroy={d1},{d2} -pmem.destroy-contents -pmem.declare=a,pagefs,!b",
			"-pmem.target=hardware -pmem.fsdax={ext4-dax/} -pmem.devdax={d1},{d2} -pmem.destroy={d1},{d2} -pmem.destroy-contents -pmem.declare=a,!b",
		},
	} {
		if got := strings.Join(hardwareFlags(c.m), " "); got != c.want {
			t.Errorf("%s; want %s", got, c.want)
		}
		if got := strings.Join(daxFlags(c.m), " "); got != c.dax {
			t.Errorf("DAX: %s; want %s", got, c.dax)
		}
	}
}

func TestTakeReport(t *testing.T) {
	dir := t.TempDir()
	o, m := options{reports: filepath.Join(dir, "reports")}, vm.Machine{Name: "m"}
	var out bytes.Buffer
	take := func() error { return takeReport(&out, o, m, dir, "conformance") }
	if err := take(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a log: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "conformance.log"), []byte("the suite's last words"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := take(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "the suite's last words") {
		t.Errorf("without a report: %v: want what the suite printed", err)
	}
	if err := os.Mkdir(o.reports, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeReport(filepath.Join(dir, "conformance.json"), report.New(report.Run{Target: "hardware"}).WriteJSON); err != nil {
		t.Fatal(err)
	}
	if err := take(); err != nil {
		t.Fatal(err)
	}
	r, err := report.ReadFile(filepath.Join(o.reports, "vm-m.json"))
	if err != nil || len(r.Runs) != 1 || r.Runs[0].Target != "vm-m" {
		t.Errorf("%+v, %v: want the target vm-m", r.Runs, err)
	}
	if got := reportFile(o, m, "libpmem2"); got != filepath.Join(o.reports, "vm-m-libpmem2.json") {
		t.Errorf("another job's report: %s", got)
	}
}

func TestMergeWithoutReports(t *testing.T) {
	o := options{reports: t.TempDir(), with: []string{filepath.Join(t.TempDir(), "none.json")}}
	if err := merge(o, []shift{{machine: vm.Machine{Name: "m"}, names: []string{"survey"}}}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "no report") {
		t.Errorf("%v", err)
	}
}

func TestWatchAcks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("ack a 1 0\nack b 1 0\nack a 1 1\n")
	done, cuts := make(chan struct{}), 0
	stream, err := watchAcks(file, 3, func() {
		cuts++
		// What it told until it stopped counts; half a line doesn't.
		write("ack a 1 0\nack b 1 0\nack a 1 1\nack b 1 1\nack a 1")
		close(done)
	}, done)
	if err != nil || cuts != 1 || stream.Acked["a"] != 2 || stream.Acked["b"] != 2 {
		t.Errorf("%d cuts, %+v, %v", cuts, stream, err)
	}
	// One that ends by itself before that isn't cut.
	stream, err = watchAcks(file, 5, func() { t.Error("cut") }, done)
	if err != nil || stream.Acked["a"] != 2 {
		t.Errorf("%+v, %v", stream, err)
	}
	write("ack a 1 7\n")
	if _, err := watchAcks(file, 1, func() { t.Error("cut") }, make(chan struct{})); err == nil {
		t.Error("records out of order are no error")
	}
	if _, err := watchAcks(file+"x", 1, func() { t.Error("cut") }, make(chan struct{})); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
}
