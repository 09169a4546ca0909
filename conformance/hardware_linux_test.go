package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance/report"
	"pmemlab/emu"
	emutrace "pmemlab/emu/trace"
	"pmemlab/pmem2/platform"
)

// mustHardware is Hardware, closed at the end.
func mustHardware(t *testing.T, cfg HardwareConfig) *hardware {
	target, err := Hardware(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := target.(*hardware)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// checkRun expects nothing to have failed, and nothing to be not supported but for one of
// the reasons.
func checkRun(t *testing.T, run report.Run, reasons ...string) {
	t.Helper()
	for _, row := range run.Rows {
		switch row.Status {
		case report.Fail, report.Error:
			t.Errorf("%s: %s: %s", row.ID, row.Status, row.Reason)
		case report.NotSupported:
			if !slices.ContainsFunc(reasons, func(r string) bool { return strings.Contains(row.Reason, r) }) {
				t.Errorf("%s isn't supported for an unknown reason: %s", row.ID, row.Reason)
			}
		}
	}
}

// knownReasons are why a row isn't supported by a lab that has all that a target can use.
var knownReasons = []string{
	"child process can't get at", "no pseudo-terminal", "no file of this machine can be made append-only",
	"NVDIMMs of this machine can't be chosen", "sysfs of this machine can't be edited", "can't be made to go bad",
	"persistence domain of this machine can't be chosen", "power of this machine can't be cut",
}

// TestHardwareOnEmulatedDevices runs everything on devices that may be destroyed.
func TestHardwareOnEmulatedDevices(t *testing.T) {
	l := newLab(t, emu.Config{TraceEvents: -1})
	cfg := HardwareConfig{
		Machine: l, FSDax: l.mount(t, emu.FS{Size: room, DAX: true}), PageFS: l.mount(t, emu.FS{Size: room, Type: emu.Tmpfs}),
	}
	for _, d := range []emu.DevDax{{Size: 16 << 20, Align: 4096}, {Size: 30 << 20}} {
		cfg.DevDax = append(cfg.DevDax, l.device(t, d).Path())
	}
	cfg.Destroy = cfg.DevDax[1:]
	target := mustHardware(t, cfg)
	run := Check(Go, target, Cases(), nil)
	checkRun(t, run, knownReasons...)
	if run.Summary.Pass < 700 {
		t.Errorf("%d rows pass, want 700 at least", run.Summary.Pass)
	}
	for dir := range l.files {
		if strings.Contains(dir, testDirPrefix) {
			t.Errorf("%s is left", dir)
		}
	}
	// What the suite leaves on a device isn't taken for anybody's data.
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	mustHardware(t, cfg)
}

// casesWithNeed are those that need a device DAX or a file system with DAX, and nothing that
// a target of hardware lacks.
func casesWithNeed(target Target, needs ...Need) (found []Case) {
	r := newRunner(Go, target, Rows(), nil)
	for _, c := range Cases() {
		wanted, _ := r.needs(c)
		if slices.ContainsFunc(wanted, func(n Need) bool { return slices.Contains(needs, n) }) && lacking(target, target.Variants()[0], wanted) == "" {
			found = append(found, c)
		}
	}
	return found
}

// runOf runs cases and returns how many came out in each way; none of them may fail.
func runOf(t *testing.T, target Target, cases []Case) map[report.Status][]string {
	t.Helper()
	came := map[report.Status][]string{}
	r := NewRunner(Go, target, cases)
	for _, c := range cases {
		for _, res := range r.RunCase(c) {
			came[res.Status] = append(came[res.Status], res.Reason)
			if res.Status == report.Fail || res.Status == report.Error {
				t.Errorf("%s: %s: %s", res.Name, res.Status, res.Reason)
			}
		}
	}
	return came
}

// TestDeviceWithoutDestroy runs all that uses a device on one with a pool, which is as it
// was then: no store has reached it.
func TestDeviceWithoutDestroy(t *testing.T) {
	l := newLab(t, emu.Config{TraceEvents: 1 << 20})
	d := l.device(t, emu.DevDax{Size: 16 << 20})
	l.onDevice(t, d, func(b []byte) { copy(b, "PMEMOBJ\x00") })
	before := l.content(t, d)
	target := mustHardware(t, HardwareConfig{Machine: l, DevDax: []string{d.Path()}, PageFS: l.mount(t, emu.FS{Size: room})})
	l.Look()
	l.Mark("begin")
	began := uint64(0)
	for _, e := range l.Trace().Events {
		if e.Kind == emutrace.Mark {
			began = e.Seq
		}
	}

	came := runOf(t, target, casesWithNeed(target, NeedDevDax))
	if n := len(came[report.Pass]); n < 5 {
		t.Errorf("%d cases pass, want 5 at least: those that store nothing", n)
	}
	if n := len(came[report.NotSupported]); n < 15 {
		t.Errorf("%d cases aren't supported, want 15 at least", n)
	}
	want := "the case stores to " + d.Path() + ", whose data may be destroyed only with -pmem.destroy=" + d.Path()
	for _, reason := range came[report.NotSupported] {
		if reason != want {
			t.Errorf("not supported: %q, want %q", reason, want)
		}
	}

	l.Look()
	log := l.Trace()
	if log.Dropped > 0 || began == 0 {
		t.Fatalf("the trace has dropped %d events, and begins at %d", log.Dropped, began)
	}
	mapped := 0
	for _, e := range log.Events {
		if e.Seq < began || e.Object < 0 || log.Objects[e.Object].Name != d.Path() {
			continue
		}
		if e.Kind.IsStore() || e.Kind.IsFlush() && !e.NoEffect {
			t.Errorf("the trace has a %v of %d bytes at %#x of the device", e.Kind, e.Len, e.Off)
		}
		if e.Kind == emutrace.Map {
			mapped++
		}
	}
	if mapped == 0 {
		t.Error("the trace has no mapping of the device: nothing was tried")
	}
	if l.content(t, d) != before {
		t.Error("the device's content has changed")
	}
	crashed, err := l.Crash(emu.CrashConfig{})
	if err != nil {
		t.Fatal(err)
	}
	after, err := crashed.DevDax(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	if (&lab{Machine: crashed}).content(t, after) != before {
		t.Error("what is durable on the device has changed")
	}
	if err := crashed.Shutdown(); err != nil {
		t.Error(err)
	}
}

// TestHardwareOfManyKinds runs what uses devices and files with DAX where the firmware
// offers less, or more.
func TestHardwareOfManyKinds(t *testing.T) {
	for _, row := range []struct {
		name string
		cfg  emu.Config
		at   emu.Region
		why  string // a reason why some of it isn't supported
	}{
		{"eADR", emu.Config{EADR: true}, emu.Region{}, "this machine has eADR"},
		{"memmap", emu.Config{}, emu.Region{Legacy: true}, "without ars_cap"},
		{"no hints", emu.Config{NoClearError: true}, emu.Region{NoFlushHints: true, DIMMs: []emu.DIMM{{NoDirtyShutdown: true, NoID: true}}}, "without ars_cap"},
		{"no node", emu.Config{NoPersistenceDomain: true}, emu.Region{NoDeepFlush: true, NUMANode: -1}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.cfg.TraceEvents = -1
			l := newLab(t, row.cfg)
			d := l.device(t, emu.DevDax{Size: 14 << 20, Region: row.at})
			target := mustHardware(t, HardwareConfig{
				Machine: l, DevDax: []string{d.Path()}, Destroy: []string{d.Path()},
				FSDax: l.mount(t, emu.FS{Size: room, DAX: true, Region: row.at}), PageFS: l.mount(t, emu.FS{Size: room, Region: row.at}),
			})
			cases := slices.DeleteFunc(casesWithNeed(target, NeedDevDax, NeedFSDax), func(c Case) bool {
				return strings.Contains(c.Name, "mcsafe") // of no firmware's concern, and long
			})
			came := runOf(t, target, cases)
			found := row.why == ""
			for _, reason := range came[report.NotSupported] {
				known := row.why != "" && strings.Contains(reason, row.why) || strings.Contains(reason, "pseudo-terminal") ||
					strings.Contains(reason, "is on /sys/bus/nd/devices/region2") || strings.Contains(reason, "child process")
				if !known {
					t.Errorf("not supported: %q", reason)
				}
				found = found || strings.Contains(reason, row.why)
			}
			if !found {
				t.Errorf("nothing is not supported because of %q: %q", row.why, came[report.NotSupported])
			}
		})
	}
}

// TestHardwareOfThisMachine runs, with no more than a directory of this machine, what asks
// for kinds of files, and what runs in child processes.
func TestHardwareOfThisMachine(t *testing.T) {
	needsLinux(t)
	dir := t.TempDir()
	target := mustHardware(t, HardwareConfig{PageFS: dir})
	cases := slices.DeleteFunc(Cases(), func(c Case) bool {
		page, _, _ := strings.Cut(c.Name, "/")
		return !slices.Contains([]string{
			"libpmem2", "pmem2_source_from_fd", "pmem2_source_size", "pmem2_map_new",
			"pmemset_source_from_file", "pmemset_source_from_temporary", "pmemset_config_new",
		}, page)
	})
	came := runOf(t, target, cases)
	if n := len(came[report.Pass]); n < 60 {
		t.Errorf("%d cases pass, want 60 at least", n)
	}
	for _, reason := range came[report.NotSupported] {
		lacking := slices.ContainsFunc(Needs(), func(n Need) bool { return strings.HasPrefix(reason, string(n)+": ") })
		if !lacking && !strings.Contains(reason, "block device") {
			t.Errorf("not supported: %q", reason)
		}
	}
	if wrong := probeTarget(target); wrong != nil {
		t.Errorf("declared and probed differ: %q", wrong)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the directory are %v, %v", left, err)
	}
}

// TestHardwareDevices asks for devices in each variant.
func TestHardwareDevices(t *testing.T) {
	l := newLab(t, emu.Config{})
	var cfg HardwareConfig
	for _, d := range []emu.DevDax{{Size: 14 << 20}, {Size: 16 << 20, Align: 4096}, {Size: 30 << 20}, {Size: 2 << 20}} {
		cfg.DevDax = append(cfg.DevDax, l.device(t, d).Path())
	}
	cfg.Machine = l
	target := mustHardware(t, cfg)
	want := []string{cfg.DevDax[0], cfg.DevDax[2]}
	if got := target.Variants(); !slices.Equal(got, want) {
		t.Fatalf("variants are %q, want %q", got, want)
	}
	for _, row := range []struct {
		variant     string
		size, align uint64
		want        string // a path, or a part of the error
	}{
		{want[0], 2 << 20, 2 << 20, want[0]},
		{want[1], 2 << 20, 2 << 20, want[1]},
		{want[1], 2 << 20, 4096, cfg.DevDax[1]},
		{want[0], 16 << 20, 2 << 20, want[1]},
		{want[0], 1 << 30, 2 << 20, "no device DAX of 1073741824 bytes with an alignment of 2097152"},
		{want[0], 4096, 1 << 30, "no device DAX of 4096 bytes with an alignment of 1073741824"},
	} {
		e, err := target.NewEnv(row.variant)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the same again
			o, err := e.DevDax(row.size, row.align)
			if err == nil {
				if o.Path() != row.want {
					t.Errorf("%+v: got %s", row, o.Path())
				}
			} else if unavailable := new(UnavailableError); !errors.As(err, &unavailable) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%+v: got the error %v", row, err)
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	one, err := target.NewEnv(want[0])
	if err != nil {
		t.Fatal(err)
	}
	two, err := target.NewEnv(want[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.DevDax(4096, daxAlign); err != nil {
		t.Fatal(err)
	}
	if _, err := two.DevDax(4096, daxAlign); err == nil || !strings.Contains(err.Error(), "in use by another case") {
		t.Errorf("a device that another case uses: got the error %v", err)
	}
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Error(err)
	}
	if _, err := target.NewEnv("dax"); err == nil {
		t.Error("a variant that isn't there makes a place")
	}
	small := mustHardware(t, HardwareConfig{Machine: l, DevDax: cfg.DevDax[1:2]})
	if got := small.Variants(); !slices.Equal(got, []string{"hardware"}) {
		t.Errorf("variants without a device of use are %q", got)
	}
	if why := small.Lacks(NeedDevDax); !strings.Contains(why, "/dev/dax1.0 has 16777216 bytes and an alignment of 4096") {
		t.Errorf("lacks %q", why)
	}
}

// TestHardwareInChild makes the target of a parent again.
func TestHardwareInChild(t *testing.T) {
	needsLinux(t)
	dir := t.TempDir()
	told, err := mustHardware(t, HardwareConfig{PageFS: dir}).forChild("hardware")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		parent int
		want   string
	}{{"its child", os.Getppid(), ""}, {"another one", os.Getpid(), "whose child this isn't"}} {
		c := told.(childHardware)
		if c.Parent != os.Getpid() {
			t.Errorf("the child is told that process %d is its parent, want %d", c.Parent, os.Getpid())
		}
		c.Parent = row.parent
		args, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if row.parent == os.Getppid() {
			c.Devices = []uint64{1}
			other, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := hardwareInChild(other); err == nil || !strings.Contains(err.Error(), "not the devices that the parent process has looked at") {
				t.Errorf("a device that the child doesn't find: got %v", err)
			}
		}
		target, err := hardwareInChild(args)
		switch {
		case row.want == "" && err != nil, row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		case err == nil && target.Lacks(NeedFile) != "":
			t.Errorf("%s: lacks a file: %s", row.name, target.Lacks(NeedFile))
		}
	}
}

// TestHardwareTellsDevices: a child knows the devices by their numbers.
func TestHardwareTellsDevices(t *testing.T) {
	needsLinux(t)
	d := &daxDevice{rdev: 77}
	target := &hardware{machine: platform.Host(), devices: []*daxDevice{d}, taken: map[*daxDevice]*deviceUse{d: {}}}
	told, err := target.forChild("hardware")
	if err != nil || !slices.Equal(told.(childHardware).Devices, []uint64{77}) || !target.taken[d].ever.Load() {
		t.Errorf("told is %+v, %v", told, err)
	}
}

// TestHardwareZeroes uses one of two devices: the first MiB of that one is zero at the end.
func TestHardwareZeroes(t *testing.T) {
	l := newLab(t, emu.Config{})
	devices := []*emu.DaxDevice{l.device(t, emu.DevDax{Size: 14 << 20}), l.device(t, emu.DevDax{Size: 14 << 20})}
	cfg := HardwareConfig{Machine: l, DestroyContents: true}
	for _, d := range devices {
		l.onDevice(t, d, func(b []byte) { b[0], b[mib-1] = 1, 1 })
		cfg.DevDax = append(cfg.DevDax, d.Path())
	}
	cfg.Destroy = cfg.DevDax
	before := l.content(t, devices[0])
	target := mustHardware(t, cfg)
	env, err := target.NewEnv(cfg.DevDax[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = env.DevDax(daxSize, daxAlign)
	if err := errors.Join(err, env.Close(), target.Close()); err != nil {
		t.Fatal(err)
	}
	if l.content(t, devices[0]) != strings.Repeat("\x00", mib)+before[mib:] {
		t.Error("the first MiB of the device that was used isn't zero, or more of it has changed")
	}
	if l.content(t, devices[1]) != before {
		t.Error("the device that wasn't used has changed")
	}
}

// TestHardwareCleansPaths: files are removed however their directory was spelled.
func TestHardwareCleansPaths(t *testing.T) {
	needsLinux(t)
	dir := t.TempDir()
	for _, spelled := range []string{dir + "//", dir + "/.", dir + "/../" + filepath.Base(dir)} {
		target := mustHardware(t, HardwareConfig{PageFS: spelled})
		if target.cfg.PageFS != dir {
			t.Errorf("%s became %s, want %s", spelled, target.cfg.PageFS, dir)
		}
		e := target.newEnv(nil)
		o, err := e.File(1)
		if err == nil {
			err = e.Machine().Unlink(o.Path())
		}
		if err := errors.Join(err, e.Close()); err != nil || e.Refused() != "" {
			t.Errorf("%s: got %v, refused is %q", spelled, err, e.Refused())
		}
	}
}

// TestBlockDeviceWithoutName has a device of which sysfs tells no name.
func TestBlockDeviceWithoutName(t *testing.T) {
	l := newLab(t, emu.Config{})
	target := mustHardware(t, HardwareConfig{Machine: l, FSDax: l.mount(t, emu.FS{Size: room, DAX: true})})
	if err := l.Sysfs().Set(target.fsdax.device+"/uevent", "MAJOR=259\n"); err != nil {
		t.Fatal(err)
	}
	e := target.newEnv(nil)
	_, err := e.BlockDevice()
	if err == nil || !strings.Contains(err.Error(), "/uevent tells no name of the block device") {
		t.Errorf("got %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// inheritedFile is what the first descriptor behind the pipe for the answer refers to.
const inheritedFile = "test: inherited file"

var _ = func() bool {
	inherited := func() string {
		name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", childAnswerFD+1))
		return name
	}
	childFunctions[inheritedFile] = func(*T, json.RawMessage) any { return inherited() }
	casesInChildren = append(casesInChildren, Case{Name: "m/inherits", Rows: []string{anyRow}, Run: func(c *T) {
		c.Check(strings.HasSuffix(inherited(), "/lock"), "inherited is %q", inherited())
	}})
	return true
}()

// TestHardwareChildren runs cases in child processes, which inherit the locks and leave
// nothing behind when they die.
func TestHardwareChildren(t *testing.T) {
	needsLinux(t)
	dir := t.TempDir()
	d := &daxDevice{path: t.TempDir() + "/lock"}
	if err := os.WriteFile(d.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := lockDevice(platform.Host(), d)
	if err != nil {
		t.Fatal(err)
	}
	target := mustHardware(t, HardwareConfig{PageFS: dir})
	target.locks = []*deviceLock{l}
	child := Case{Name: "m/child", Rows: []string{anyRow}, Run: func(c *T) {
		var name string
		c.Child(childRun{Function: inheritedFile, Value: &name})
		c.Check(name == d.path, "inherited is %q", name)
	}}
	wantRow(t, runCases(t, Go, target, child), anyRow, report.Pass, "")
	inherits := casesInChildren[slices.IndexFunc(casesInChildren, func(c Case) bool { return c.Name == "m/inherits" })]
	wantRow(t, runCases(t, mortal{}, target, inherits), anyRow, report.Pass, "")
	wantRow(t, runCases(t, mortal{}, target, mortalCases[0]), anyRow, report.Fail, "the end of the process is: terminated")
	target.locks = nil
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v (%v)", left, err)
	}
}
