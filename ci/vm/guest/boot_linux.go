package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pmemlab/ci/vm/plan"
)

// boot does all that the first process does; it doesn't return.
func boot() {
	// Without a status of its own the machine ends as one that died.
	status := plan.MaxStatus
	defer func() {
		if r := recover(); r != nil {
			fmt.Println("guest: panic:", r)
		}
		end(status)
	}()
	if err := mountKernel(); err != nil {
		fmt.Println("guest:", err)
		return
	}
	p, err := readPlan()
	if err != nil {
		fmt.Println("guest:", err)
		return
	}
	report := plan.End{Status: status}
	if report.Steps, err = carryOut(p); err != nil {
		fmt.Println("guest:", err)
		report.Error = err.Error()
	} else {
		status = worst(report.Steps)
		report.Status = status
	}
	if err := sendOut(report); err != nil {
		fmt.Println("guest: bring out:", err)
		status = plan.MaxStatus
	}
}

// carryOut does what the plan says.
func carryOut(p plan.Plan) ([]plan.StepResult, error) {
	clock := &stopwatch{last: time.Now()}
	for _, m := range p.Modules {
		if err := loadModule(m); err != nil {
			return nil, err
		}
	}
	clock.lap("modules")
	places, err := makeNamespaces(p.Namespaces, p.Keep)
	if err != nil {
		return nil, err
	}
	clock.lap("namespaces")
	for i := range places {
		if err := makeFileSystem(&places[i], p.Keep); err != nil {
			return nil, err
		}
	}
	clock.lap("file systems")
	text, err := json.MarshalIndent(places, "", "  ")
	if err != nil {
		return nil, err
	}
	for _, file := range []string{plan.Places, filepath.Join(plan.Out, "places.json")} {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return nil, err
		}
	}
	var results []plan.StepResult
	for _, s := range p.Steps {
		r := take(s, places)
		fmt.Printf("guest: %s: status %d, %.1f s %s\n", r.Name, r.Status, r.Seconds, r.Error)
		results = append(results, r)
	}
	return results, nil
}

// stopwatch tells how long things take.
type stopwatch struct{ last time.Time }

func (s *stopwatch) lap(what string) {
	now := time.Now()
	fmt.Printf("guest: %s: %.2f s\n", what, now.Sub(s.last).Seconds())
	s.last = now
}

// worst is the status of all steps: the first that isn't 0.
func worst(results []plan.StepResult) int {
	for _, r := range results {
		if r.Status != 0 {
			return min(r.Status, plan.MaxStatus)
		}
	}
	return 0
}

// mountKernel mounts what the kernel offers, and room for files.
func mountKernel() error {
	for _, m := range []struct{ kind, where string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"devpts", "/dev/pts"}, {"tmpfs", "/dev/shm"},
		{"tmpfs", "/run"}, {"tmpfs", "/tmp"}, {"tmpfs", plan.Out}, {"debugfs", "/sys/kernel/debug"},
	} {
		if err := os.MkdirAll(m.where, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.where, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.where, err)
		}
	}
	return errors.Join(
		os.Setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin"), os.Setenv("HOME", "/run"), os.Setenv("TMPDIR", "/tmp"))
}

func readPlan() (p plan.Plan, err error) {
	text, err := os.ReadFile(plan.File)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("%s: %w", plan.File, err)
	}
	return p, nil
}

// loadModule loads one from the initramfs.
func loadModule(name string) error {
	f, err := os.Open(filepath.Join(plan.Modules, name+".ko"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", name, err)
	}
	return nil
}

// take runs the program of a step. What it prints goes to the console and to a file in Out.
func take(s plan.Step, places []plan.Place) plan.StepResult {
	result := plan.StepResult{Name: s.Name, Status: plan.MaxStatus}
	start := time.Now()
	fail := func(err error) plan.StepResult {
		result.Error = err.Error()
		result.Seconds = time.Since(start).Seconds()
		return result
	}
	log, err := os.Create(filepath.Join(plan.Out, s.Name+".log"))
	if err != nil {
		return fail(err)
	}
	defer func() { _ = log.Close() }()
	fill := strings.NewReplacer(placeholders(places)...)
	var args []string
	for _, a := range s.Args {
		args = append(args, fill.Replace(a))
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Dir = "/tmp"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	limit := time.AfterFunc(s.Limit, func() {
		// Its goroutines say where they are before it is killed for good.
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGQUIT)
		time.AfterFunc(3*time.Second, func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	})
	err = cmd.Wait()
	if !limit.Stop() {
		err = fmt.Errorf("it took longer than %v", s.Limit)
	}
	result.Status = cmd.ProcessState.ExitCode()
	if err != nil {
		result.Error = err.Error()
		if result.Status <= 0 {
			result.Status = plan.MaxStatus
		}
	}
	result.Seconds = time.Since(start).Seconds()
	if result.Status != 0 {
		tail(log.Name())
	}
	return result
}

// placeholders are what stands for places in arguments, and what for.
func placeholders(places []plan.Place) (pairs []string) {
	for _, p := range places {
		pairs = append(pairs, "{"+p.Name+"}", p.Device, "{"+p.Name+"/}", p.Mount)
	}
	return pairs
}

// tail prints the end of a file to the console.
func tail(file string) {
	const most = 4000
	text, err := os.ReadFile(file)
	if err != nil {
		fmt.Println("guest:", err)
		return
	}
	if len(text) > most {
		text = text[len(text)-most:]
	}
	fmt.Printf("%s\n", text)
}
