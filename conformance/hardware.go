package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"pmemlab/conformance/report"
	"pmemlab/pmem2/platform"
)

// HardwareConfig says what the hardware target may use. The zero value is nothing.
type HardwareConfig struct {
	// DevDax are paths of device DAX instances: "/dev/dax0.0". Their data is safe: they
	// are opened and mapped for reading only, unless Destroy has them too.
	DevDax []string
	// FSDax is a directory on a file system with DAX, PageFS one on a file system with a
	// page cache. Only directories of the target's own are written there.
	FSDax, PageFS string
	// Destroy are those of DevDax, spelled the same, whose data may be destroyed. The first
	// MiB of one that cases have used is zero when the Target has been closed.
	Destroy []string
	// DestroyContents destroys it even if it looks like a pool, a file system or part of
	// an array, or if anything in the first MiB isn't zero. It is needed too after a run
	// that didn't come to its end.
	DestroyContents bool
	// DestroyUnguarded lets a library that calls the kernel itself use the devices too, such
	// as C's: nothing holds it back. All of DevDax has to be in Destroy.
	DestroyUnguarded bool
	// Machine is where all this is; nil is platform.Host(). Any other has to have the
	// methods MkdirTemp(dir, prefix string) (path string, err error), Mkdir(path string)
	// error and RemoveAll(path string) error too.
	Machine platform.Platform `json:"-"`
}

// Hardware is the target of devices and file systems that there are. A device DAX of
// Destroy is locked, with flock(2), until the Target, an io.Closer, is closed.
//
// Its variants are the devices that cases can use: those with an alignment of 2 MiB. If
// there's one or none, the variant is "hardware". Without Destroy the cases that store to
// a device count as not supported.
//
// An error says what in the config can't be: a path of Destroy that DevDax hasn't; a
// device that is none, or is the kernel's memory; one to be destroyed that is in use, or
// carries what looks like data; a directory that is none or on the wrong kind of file
// system. Nothing was written then.
func Hardware(cfg HardwareConfig) (Target, error) {
	return newHardware(cfg, false)
}

// hardware is the target; it's for one run at a time.
type hardware struct {
	cfg     HardwareConfig
	machine platform.Platform
	dirs    directories
	devices []*daxDevice
	destroy []*daxDevice
	taken   map[*daxDevice]*deviceUse
	locks   []*deviceLock
	// fsdax is what is known of the directory FSDax, and pagefs of PageFS; nil if it isn't
	// given.
	fsdax, pagefs *daxEvidence

	lacksAppendOnly func() string
}

// deviceUse is locked by the one case that uses a device.
type deviceUse struct {
	sync.Mutex
	ever atomic.Bool // was it used by any case, or by a child process?
}

// newHardware makes the target. In a child process the devices are the parent's, who has
// looked at them and holds the locks.
func newHardware(cfg HardwareConfig, inChild bool) (_ *hardware, err error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("not supported: the hardware target needs Linux, this is " + runtime.GOOS)
	}
	t := &hardware{cfg: cfg, machine: cfg.Machine, taken: map[*daxDevice]*deviceUse{}}
	if t.machine == nil {
		t.machine = platform.Host()
	}
	for _, dir := range []*string{&t.cfg.FSDax, &t.cfg.PageFS} {
		if err := t.clean(dir); err != nil {
			return nil, err
		}
	}
	if t.dirs, err = directoriesOf(t.machine); err != nil {
		return nil, err
	}
	t.lacksAppendOnly = sync.OnceValue(t.probeAppendOnly)
	if err := t.findDevices(); err != nil {
		return nil, err
	}
	if err := t.findDirectories(); err != nil {
		return nil, err
	}
	if inChild {
		return t, nil
	}
	for _, d := range t.destroy {
		lock, err := claimDevice(t.machine, d, cfg.DestroyContents)
		if err != nil {
			return nil, errors.Join(err, t.Close())
		}
		t.locks = append(t.locks, lock)
	}
	return t, nil
}

// clean makes the path of a directory that is given one without dots, and absolute.
func (t *hardware) clean(dir *string) (err error) {
	switch {
	case *dir == "":
	case t.onHost():
		*dir, err = filepath.Abs(*dir)
	default:
		*dir = path.Clean(*dir)
	}
	return err
}

// findDevices identifies the devices, and those that may be destroyed by their spelling.
func (t *hardware) findDevices() error {
	for _, name := range t.cfg.Destroy {
		if !slices.Contains(t.cfg.DevDax, name) {
			return fmt.Errorf("-pmem.destroy=%s: it names none of -pmem.devdax=%s; it has to be spelled the same",
				name, strings.Join(t.cfg.DevDax, ","))
		}
	}
	for _, name := range t.cfg.DevDax {
		if t.cfg.DestroyUnguarded && !slices.Contains(t.cfg.Destroy, name) {
			return fmt.Errorf("-pmem.destroy-unguarded: a library that nothing guards could destroy %s, which -pmem.destroy=%s doesn't name",
				name, strings.Join(t.cfg.Destroy, ","))
		}
		d, err := identifyDevice(t.machine, name)
		if err != nil {
			return err
		}
		for _, other := range t.devices {
			if other.rdev == d.rdev {
				return fmt.Errorf("-pmem.devdax: %s and %s are the same device", other.path, name)
			}
		}
		t.devices = append(t.devices, d)
		t.taken[d] = &deviceUse{}
		if slices.Contains(t.cfg.Destroy, name) {
			t.destroy = append(t.destroy, d)
		}
	}
	return nil
}

// findDirectories looks at the kind of the two file systems.
func (t *hardware) findDirectories() error {
	for _, d := range []struct {
		flag, dir string
		found     **daxEvidence
		wrong     func(daxEvidence) string
	}{
		{"-pmem.fsdax", t.cfg.FSDax, &t.fsdax, func(e daxEvidence) string {
			if e.any() {
				return ""
			}
			return "it is on no file system with DAX"
		}},
		{"-pmem.pagefs", t.cfg.PageFS, &t.pagefs, func(e daxEvidence) string {
			if e.mapSync != nil && e.statx != yes {
				return ""
			}
			return "it is on a file system with DAX"
		}},
	} {
		if d.dir == "" {
			continue
		}
		if err := isDirectory(t.machine, d.dir); err != nil {
			return fmt.Errorf("%s=%s: %w", d.flag, d.dir, err)
		}
		e, err := daxIn(t.machine, t.dirs, d.dir)
		if err != nil {
			return fmt.Errorf("%s=%s: %w", d.flag, d.dir, err)
		}
		if wrong := d.wrong(e); wrong != "" {
			return fmt.Errorf("%s=%s: %s: %s", d.flag, d.dir, wrong, e.why())
		}
		*d.found = &e
	}
	return nil
}

// Close zeroes the beginning of the devices that were used, so that the next run doesn't
// take what is there for somebody's data, and gives them back.
func (t *hardware) Close() error {
	var errs []error
	guard := newDeviceGuard(t.machine, t.devices, t.destroy)
	for i, l := range t.locks { // of the devices in destroy
		if d := t.destroy[i]; t.taken[d].ever.Load() {
			if err := zeroFront(guard, d); err != nil {
				errs = append(errs, fmt.Errorf("the beginning of %s can't be zeroed: %w", d.path, err))
			}
		}
		errs = append(errs, l.Close())
	}
	t.locks = nil
	return errors.Join(errs...)
}

// lockFiles are the locks of devices, which a child process has to have too: it may outlive
// this one.
func (t *hardware) lockFiles() (files []*os.File) {
	for _, l := range t.locks {
		if l.file != nil {
			files = append(files, l.file)
		}
	}
	return files
}

func (*hardware) Name() string { return "hardware" }

// usable are the devices that cases can use.
func (t *hardware) usable() (found []*daxDevice) {
	for _, d := range t.devices {
		if d.align == daxAlign && d.size >= daxSize {
			found = append(found, d)
		}
	}
	return found
}

func (t *hardware) Variants() []string {
	usable := t.usable()
	if len(usable) <= 1 {
		return []string{t.Name()}
	}
	var names []string
	for _, d := range usable {
		names = append(names, d.path)
	}
	return names
}

func (t *hardware) Capabilities() []Need {
	return slices.DeleteFunc(Needs(), func(n Need) bool { return t.Lacks(n) != "" })
}

func (t *hardware) Lacks(n Need) string {
	switch n {
	case NeedFile:
		return t.lacksPageFS()
	case NeedDevDax:
		return t.lacksDevDax()
	case NeedFSDax:
		if t.fsdax == nil {
			return noFSDaxGiven
		}
		return t.fsdax.lacks()
	case NeedAppendOnly:
		return t.lacksAppendOnly()
	case NeedEADR:
		return "the persistence domain of this machine can't be chosen"
	case NeedSysfsEdit:
		return "the sysfs of this machine can't be edited"
	case NeedDIMM:
		return "the NVDIMMs of this machine can't be chosen"
	case NeedBadBlock:
		return "the media of this machine can't be made to go bad"
	case NeedCrash:
		return "the power of this machine can't be cut"
	}
	return ""
}

const (
	noDevDaxGiven = "no device DAX was given (-pmem.devdax)"
	noFSDaxGiven  = "no directory on a file system with DAX was given (-pmem.fsdax)"
	noPageFSGiven = "no directory on a file system with a page cache was given (-pmem.pagefs)"
)

func (t *hardware) lacksPageFS() string {
	if t.pagefs == nil {
		return noPageFSGiven
	}
	return ""
}

func (t *hardware) lacksDevDax() string {
	if t.devices == nil {
		return noDevDaxGiven
	}
	if t.usable() != nil {
		return ""
	}
	var have []string
	for _, d := range t.devices {
		have = append(have, fmt.Sprintf("%s has %d bytes and an alignment of %d", d.path, d.size, d.align))
	}
	return fmt.Sprintf("no device DAX of %d bytes at least with an alignment of %d: %s", daxSize, daxAlign, strings.Join(have, ", "))
}

// probeAppendOnly makes an append-only file.
func (t *hardware) probeAppendOnly() string {
	if why := t.lacksPageFS(); why != "" {
		return why
	}
	e := t.newEnv(nil)
	_, err := e.AppendOnlyFile(0)
	if err := errors.Join(err, e.Close()); err != nil {
		return fmt.Sprintf("the append-only attribute can't be set: %v", err)
	}
	return ""
}

// onHost reports whether the machine is the one that the process runs on.
func (t *hardware) onHost() bool { return t.machine == platform.Host() }

// Facts are what was found when the target was made, and in sysfs.
func (t *hardware) Facts() []report.Fact {
	p := place{
		machine: t.machine, kernel: kernelFact(), devices: t.devices, noDevices: noDevDaxGiven,
		dax: t.fsdax, daxDir: t.cfg.FSDax, noDAX: noFSDaxGiven, noPage: noPageFSGiven,
	}
	if !t.onHost() {
		p.kernel.Why += " of the kernel that the process runs on"
	}
	if t.devices != nil {
		p.noDevices = "/sys/dev/char/*/subsystem is dax"
	}
	if t.pagefs != nil {
		p.pageDirs, p.noPage = []string{t.cfg.PageFS}, t.pagefs.why()
	}
	return append(p.facts(), report.Fact{
		Name: "devdax.destroy", Has: t.destroy != nil, Value: strings.Join(t.cfg.Destroy, ","),
		Why: "cases store to no other device than those that -pmem.destroy names",
	})
}

// childHardware is what a child process is told.
type childHardware struct {
	HardwareConfig
	Parent  int      // has the locks
	Devices []uint64 // the numbers of those of DevDax, which the parent has looked at
}

func (t *hardware) forChild(string) (any, error) {
	if !t.onHost() {
		return nil, &UnavailableError{"a child process can't get at this process's machine"}
	}
	c := childHardware{HardwareConfig: t.cfg, Parent: os.Getpid()}
	for _, d := range t.devices {
		c.Devices = append(c.Devices, d.rdev)
		t.taken[d].ever.Store(true)
	}
	return c, nil
}

// childPlace is a directory in each of those that were given.
func (t *hardware) childPlace(variant string) (args any, remove func() error, err error) {
	told, err := t.forChild(variant)
	if err != nil {
		return nil, nil, err
	}
	c := told.(childHardware)
	var made []string
	remove = func() error {
		var errs []error
		for _, dir := range made {
			errs = append(errs, t.dirs.RemoveAll(dir))
		}
		return errors.Join(errs...)
	}
	for _, dir := range []*string{&c.FSDax, &c.PageFS} {
		if *dir == "" {
			continue
		}
		if *dir, err = t.dirs.MkdirTemp(*dir, testDirPrefix); err != nil {
			return nil, nil, errors.Join(err, remove())
		}
		made = append(made, *dir)
	}
	return c, remove, nil
}

// hardwareInChild is the parent's target once more.
func hardwareInChild(args json.RawMessage) (Target, error) {
	var c childHardware
	if err := json.Unmarshal(args, &c); err != nil {
		return nil, err
	}
	if c.Parent != os.Getppid() {
		return nil, fmt.Errorf("the devices are process %d's, whose child this isn't", c.Parent)
	}
	t, err := newHardware(c.HardwareConfig, true)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(t.devices, c.Devices, func(d *daxDevice, rdev uint64) bool { return d.rdev == rdev }) {
		return nil, fmt.Errorf("-pmem.devdax=%s: not the devices that the parent process has looked at", strings.Join(c.DevDax, ","))
	}
	return t, nil
}

func (t *hardware) NewEnv(variant string) (Env, error) {
	if !slices.Contains(t.Variants(), variant) {
		return nil, fmt.Errorf("the hardware target has no variant %q", variant)
	}
	for _, d := range t.usable() {
		if variant == t.Name() || variant == d.path {
			return t.newEnv(d), nil
		}
	}
	return t.newEnv(nil), nil
}
