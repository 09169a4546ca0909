package conformance

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
)

// hardwareEnv is a directory of its own on each file system, and the devices.
type hardwareEnv struct {
	target  *hardware
	device  *daxDevice // of the variant
	guard   *deviceGuard
	ledger  *ledger.Ledger
	machine *heldFiles // on top of the ledger, which is on the guard
	own     map[string]string
	made    int
	using   []*daxDevice
	undo    []func() error // before the directories are removed, the last one first
}

func (t *hardware) newEnv(d *daxDevice) *hardwareEnv {
	g := newDeviceGuard(t.machine, t.devices, t.destroy)
	l := ledger.New(&elbowRoom{g})
	return &hardwareEnv{
		target: t, device: d, guard: g, ledger: l, machine: newHeldFiles(l), own: map[string]string{},
	}
}

func (e *hardwareEnv) Machine() platform.Platform { return e.machine }

// Refused is Restricted.Refused.
func (e *hardwareEnv) Refused() string { return e.guard.refused() }

// newPath is a fresh path in a directory of the env's own, below dir.
func (e *hardwareEnv) newPath(dir, what string) (string, error) {
	own, ok := e.own[dir]
	if !ok {
		var err error
		if own, err = e.target.dirs.MkdirTemp(dir, testDirPrefix); err != nil {
			return "", err
		}
		e.own[dir] = own
		if err := e.guard.own(own); err != nil {
			return "", err
		}
	}
	e.made++
	return path.Join(own, fmt.Sprintf("%s%d", what, e.made)), nil
}

// fileIn makes a file. It isn't the subject's: the ledger doesn't see it.
func (e *hardwareEnv) fileIn(dir string, size uint64) (Object, error) {
	if size > 1<<63-1 {
		return nil, fmt.Errorf("a file of %d bytes", size)
	}
	name, err := e.newPath(dir, "file")
	if err != nil {
		return nil, err
	}
	fd, err := e.guard.Open(name, platform.ORdwr|platform.OCreat|platform.OExcl, 0o600)
	if err != nil {
		return nil, err
	}
	err = e.guard.Ftruncate(fd, int64(size))
	return e.object(name, ""), errors.Join(err, e.guard.Close(fd))
}

func (e *hardwareEnv) object(name, sysfs string) Object {
	return object{machine: e.machine, path: name, sysfs: sysfs}
}

func (e *hardwareEnv) File(size uint64) (Object, error) {
	if why := e.target.lacksPageFS(); why != "" {
		return nil, &UnavailableError{why}
	}
	return e.fileIn(e.target.cfg.PageFS, size)
}

func (e *hardwareEnv) OrdinaryFile(size uint64) (Object, error) {
	if p := e.target.pagefs; p != nil && p.device != "" {
		if region := regionOf(e.guard, p.device); region != "" {
			return nil, &UnavailableError{fmt.Sprintf("no file on anything but persistent memory: %s is on /sys/%s", e.target.cfg.PageFS, region)}
		}
	}
	return e.File(size)
}

func (e *hardwareEnv) DAXFile(size uint64) (Object, error) {
	if why := e.target.Lacks(NeedFSDax); why != "" {
		return nil, &UnavailableError{why}
	}
	return e.fileIn(e.target.cfg.FSDax, size)
}

func (e *hardwareEnv) AppendOnlyFile(size uint64) (Object, error) {
	if !e.target.onHost() {
		return nil, &UnavailableError{"no file of this machine can be made append-only"}
	}
	o, err := e.File(size)
	if err != nil {
		return nil, err
	}
	return o, makeAppendOnly(o.Path(), &e.undo)
}

// DevDax is the device of the variant if it fits, else another one. It may be larger. A
// case that asks twice is given the same device twice.
func (e *hardwareEnv) DevDax(size, alignment uint64) (Object, error) {
	var have []string
	for _, d := range append([]*daxDevice{e.device}, e.target.devices...) {
		if d == nil {
			continue
		}
		if d.align != alignment || d.size < size {
			have = append(have, fmt.Sprintf("%s has %d bytes and an alignment of %d", d.path, d.size, d.align))
			continue
		}
		if err := e.use(d); err != nil {
			return nil, err
		}
		return e.object(d.path, d.sysfs), nil
	}
	if have == nil {
		return nil, &UnavailableError{noDevDaxGiven}
	}
	return nil, &UnavailableError{fmt.Sprintf("no device DAX of %d bytes with an alignment of %d: %s", size, alignment, strings.Join(slices.Compact(have), ", "))}
}

// use takes a device for this case alone.
func (e *hardwareEnv) use(d *daxDevice) error {
	if slices.Contains(e.using, d) {
		return nil
	}
	if !e.target.taken[d].TryLock() {
		return fmt.Errorf("%s is in use by another case, which isn't at its end", d.path)
	}
	e.target.taken[d].ever.Store(true)
	e.using = append(e.using, d)
	return nil
}

func (e *hardwareEnv) Directory() (Object, error) {
	if why := e.target.lacksPageFS(); why != "" {
		return nil, &UnavailableError{why}
	}
	name, err := e.newPath(e.target.cfg.PageFS, "directory")
	if err != nil {
		return nil, err
	}
	return e.object(name, ""), e.target.dirs.Mkdir(name)
}

// BlockDevice is the one under FSDax, or else under PageFS.
func (e *hardwareEnv) BlockDevice() (Object, error) {
	missing := "no block device below the directories that were given"
	for _, p := range []*daxEvidence{e.target.fsdax, e.target.pagefs} {
		if p == nil || p.device == "" {
			continue
		}
		name := deviceName(e.guard, p.device)
		if name == "" {
			missing = fmt.Sprintf("/sys/%s/uevent tells no name of the block device", p.device)
			continue
		}
		fd, err := e.guard.Open("/dev/"+name, platform.ORdonly, 0)
		if err != nil {
			missing = fmt.Sprintf("the block device /sys/%s can't be opened as /dev/%s (%v)", p.device, name, err)
			continue
		}
		st, err := e.guard.Fstat(fd)
		if err := errors.Join(err, e.guard.Close(fd)); err != nil {
			return nil, err
		}
		if st.Type() == platform.SIFBLK && fmt.Sprintf("dev/block/%d:%d", st.Major(), st.Minor()) == p.device {
			return e.object("/dev/"+name, p.device), nil
		}
		missing = fmt.Sprintf("/dev/%s isn't the block device /sys/%s", name, p.device)
	}
	return nil, &UnavailableError{missing}
}

// deviceName is the name of a device below /dev, "" if sysfs doesn't tell.
func deviceName(m platform.Platform, sysfs string) string {
	text, err := m.ReadAttr(sysfs + "/uevent")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			return name
		}
	}
	return ""
}

func (e *hardwareEnv) CharDevice() (Object, error) { return zeroDevice(e.machine) }

func (e *hardwareEnv) CharDeviceWithoutNode() (Object, error) {
	if !e.target.onHost() {
		return nil, &UnavailableError{"no pseudo-terminal of this machine can be made"}
	}
	return terminal(e.machine, &e.undo)
}

// errHardwareLacks is the answer to what Lacks says isn't there.
var errHardwareLacks = errors.New("the hardware target doesn't have it")

func (e *hardwareEnv) DAXFileOn(uint64, emu.Region) (Object, error) { return nil, errHardwareLacks }
func (e *hardwareEnv) DevDaxOn(uint64, emu.Region) (Object, error)  { return nil, errHardwareLacks }
func (e *hardwareEnv) Storage(Object) (Storage, error)              { return Storage{}, errHardwareLacks }
func (e *hardwareEnv) AddBadBlock(Object, uint64, uint64) error     { return errHardwareLacks }
func (e *hardwareEnv) SetEADR(bool) error                           { return errHardwareLacks }
func (e *hardwareEnv) Sysfs() SysfsEditor                           { return nil }

func (e *hardwareEnv) Close() error {
	held := e.ledger.Outstanding()
	var errs []error
	for _, undo := range slices.Backward(e.undo) {
		errs = append(errs, undo())
	}
	for _, own := range e.own {
		errs = append(errs, e.target.dirs.RemoveAll(own))
	}
	for _, d := range e.using {
		e.target.taken[d].Unlock()
	}
	if held != nil {
		errs = append(errs, &LeakError{held})
	}
	return errors.Join(errs...)
}
