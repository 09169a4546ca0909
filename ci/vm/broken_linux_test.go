package vm

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pmemlab/ci/vm/plan"
)

var boots = flag.Bool("vm.boot", false, "boot machines in QEMU too, with the kernel that is in the cache")

// cached is a lab of what is on this machine already, and the folder for what is built.
func cached(t *testing.T) (*Lab, string) {
	t.Helper()
	if !*boots {
		t.Skip("machines are booted with the flag -vm.boot only: they take most of a minute")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("machines are of amd64, and this is " + runtime.GOARCH)
	}
	dir := t.TempDir()
	build := func(name, pkg string) string {
		file := filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-o", file, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, out)
		}
		return file
	}
	l, err := NewLab(t.Context(), LabConfig{Offline: true})
	if err != nil {
		t.Skipf("this machine hasn't all that it takes: %v", err)
	}
	l.guest = build("guest", "./guest")
	build("broken", "./testdata/broken")
	return l, dir
}

// small boots fast; its folders have a name that options of QEMU end at.
func small(dir, name string, dimms ...DIMM) Boot {
	here := filepath.Join(dir, "a,b", name)
	return Boot{
		Machine: Machine{Name: name, Memory: 256, DIMMs: dimms},
		Media:   filepath.Join(here, "media"), Out: filepath.Join(here, "out"), Limit: time.Minute,
		Files: map[string]string{"/bin/broken": filepath.Join(dir, "broken")},
	}
}

func TestBrokenInits(t *testing.T) {
	l, dir := cached(t)
	for _, c := range []struct {
		name   string
		limit  time.Duration
		status int
		want   []string
	}{
		{"panics", time.Minute, plan.Died, []string{"the guest panicked, powered off or rebooted", "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300"}},
		{"hangs", 10 * time.Second, plan.TimedOut, []string{"it hangs: no end after 10s", ":\nthis hangs\n"}},
		{"silent", time.Minute, plan.Died, []string{"the guest panicked, powered off or rebooted"}},
		{"garbage", time.Minute, plan.Died, []string{"the guest ended with status 0, and sent nothing that can be read: gzip: invalid header"}},
		{"nothing", time.Minute, plan.Died, []string{"the guest ended with status 0, and sent nothing that can be read: EOF"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := small(dir, c.name)
			b.Limit, b.Init = c.limit, filepath.Join(dir, "broken")
			which := filepath.Join(dir, "which")
			if err := os.WriteFile(which, []byte(c.name), 0o644); err != nil {
				t.Fatal(err)
			}
			b.Files["/broken"] = which
			r, err := l.Run(t.Context(), b)
			if err == nil || r.Status != c.status || r.Cut {
				t.Fatalf("%+v, %v: want an error, and status %d", r, err, c.status)
			}
			t.Logf("%.1f s, status %d: %v", r.Took.Seconds(), r.Status, err)
			for _, want := range append(c.want, "machine "+c.name+": ", "The end of its console, "+b.Out) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("want %q in the error", want)
				}
			}
		})
	}
}

// TestBrokenSteps shows too that one that isn't broken works, on the same machine.
func TestBrokenSteps(t *testing.T) {
	l, dir := cached(t)
	dax := DIMM{Size: 32 * mib, Namespace: plan.Namespace{Name: "dax", Kind: plan.DevDax}}
	odd := dax
	odd.Align = 12345
	step := func(name string, args ...string) plan.Step {
		return plan.Step{Name: name, Args: append([]string{"/bin/broken"}, args...), Limit: time.Minute}
	}
	hangs := step("hangs", "hangs")
	hangs.Limit = time.Second
	gone := step("gone")
	gone.Args = []string{"/bin/no-such-program"}
	for _, c := range []struct {
		name   string
		dimm   DIMM
		steps  []plan.Step
		status int
		fails  string            // what the error says; "" if there's none
		logs   map[string]string // what logs of steps have in them
	}{
		{"works", dax, []plan.Step{step("a", "works", "{dax}"), step("b", "works", "{tmpfs/}")}, 0, "",
			map[string]string{"a": "it works: [/dev/dax0.0]", "b": "it works: [/mnt/tmpfs]"}},
		{"fails", dax, []plan.Step{step("a", "fails"), hangs, gone}, 7, "",
			map[string]string{"a": "something is wrong", "hangs": "main.hang()", "gone": ""}},
		{"hangs", dax, []plan.Step{hangs, step("after", "works")}, 2, "",
			map[string]string{"hangs": "SIGQUIT: quit", "after": "it works: []"}},
		{"no-device", odd, []plan.Step{step("a", "works")}, plan.MaxStatus, `the guest: namespace dax: write "12345": `, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := small(dir, c.name, c.dimm)
			b.Steps = c.steps
			r, err := l.Run(t.Context(), b)
			t.Logf("%.1f s, status %d, steps %+v: %v", r.Took.Seconds(), r.Status, r.Steps, err)
			if (err != nil) != (c.fails != "") || r.Status != c.status {
				t.Errorf("want status %d, and an error: %v", c.status, c.fails != "")
			}
			if err != nil && (!strings.Contains(err.Error(), c.fails) || !strings.Contains(err.Error(), "The end of its console")) {
				t.Errorf("want %q in the error, and the end of the console", c.fails)
			}
			if len(r.Steps) != len(c.logs) {
				t.Errorf("%d steps were taken: want %d", len(r.Steps), len(c.logs))
			}
			for name, want := range c.logs {
				text, err := os.ReadFile(filepath.Join(b.Out, name+".log"))
				if err != nil || !strings.Contains(string(text), want) {
					t.Errorf("%s.log, %v: want %q in it:\n%s", name, err, want, text)
				}
			}
			for _, s := range r.Steps {
				if s.Name == "hangs" && (s.Status != 2 || s.Error != "it took longer than 1s") || s.Name == "gone" && !strings.Contains(s.Error, "no such file") {
					t.Errorf("%s: %+v", s.Name, s)
				}
			}
		})
	}
}

// TestBrokenLabels: without a label area the region would be one namespace, whatever its size.
func TestBrokenLabels(t *testing.T) {
	l, dir := cached(t)
	b := small(dir, "labels", DIMM{
		Size: 64 * mib, LabelSize: 128 << 10, Namespace: plan.Namespace{Name: "dax", Kind: plan.DevDax, Size: 32 * mib},
	})
	r, err := l.Run(t.Context(), b)
	if err != nil || r.Status != 0 {
		t.Fatalf("status %d: %v", r.Status, err)
	}
	text, err := os.ReadFile(filepath.Join(b.Out, "places.json"))
	if err != nil {
		t.Fatal(err)
	}
	var places []plan.Place
	if err := json.Unmarshal(text, &places); err != nil {
		t.Fatal(err)
	}
	// Its info block takes 2 MiB.
	if p, err := plan.Find(places, "dax"); err != nil || p.Bytes != 30*mib {
		t.Errorf("%+v, %v: want a device of 30 MiB", p, err)
	}
}

// TestBrokenCommandLine needs no boot: QEMU refuses.
func TestBrokenCommandLine(t *testing.T) {
	l, dir := cached(t)
	b := small(dir, "cpu")
	b.CPU = "abacus"
	r, err := l.Run(t.Context(), b)
	if err == nil || r.Status != plan.Died || !strings.Contains(err.Error(), "QEMU failed: exit status 1") || !strings.Contains(err.Error(), "abacus") {
		t.Errorf("%+v, %v: want QEMU's own message", r, err)
	}
}

// TestBrokenOff ends QEMU and leaves no temporary files.
func TestBrokenOff(t *testing.T) {
	l, dir := cached(t)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, cancel := context.WithCancel(t.Context())
	b := small(dir, "off")
	b.Watch = func(string, func(), <-chan struct{}) { cancel() }
	r, err := l.Run(ctx, b)
	if err == nil || r.Status != plan.Died || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("%+v, %v", r, err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
