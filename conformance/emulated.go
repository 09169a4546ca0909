package conformance

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
)

// Emulated is the target that has everything: a fresh emu.Machine for each case.
func Emulated() Target { return emulated{} }

type emulated struct{}

func (emulated) Name() string { return "emulated" }

func (t emulated) Capabilities() []Need {
	if t.Lacks(NeedNothing) != "" {
		return nil
	}
	return Needs()
}

func (emulated) Lacks(Need) string {
	if runtime.GOOS != "linux" {
		return "not supported: the emulated machine needs Linux, this is " + runtime.GOOS
	}
	return ""
}

func (emulated) forChild(string) (any, error) { return nil, nil }

func (emulated) Variants() []string { return []string{"x86"} }

func (emulated) NewEnv(string) (Env, error) {
	m := emu.NewMachine(emu.Config{})
	l := ledger.New(&elbowRoom{m})
	return &emulatedEnv{
		m: m, ledger: l, machine: newHeldFiles(l),
		files: map[string]emulatedFile{}, devices: map[string]*emu.DaxDevice{},
	}, m.Err()
}

// emulatedEnv adds devices to its machine when they are asked for.
type emulatedEnv struct {
	m          *emu.Machine
	ledger     *ledger.Ledger
	machine    *heldFiles // on top of the ledger
	plain, dax *emu.FileSystem
	ordinary   *emu.FileSystem // without persistent memory below
	made       int             // files and directories, for their names
	files      map[string]emulatedFile
	devices    map[string]*emu.DaxDevice
}

// emulatedFile is a file by its name.
type emulatedFile struct {
	fs   *emu.FileSystem
	name string
}

// room is the size of a file system. Files are sparse: it costs nothing.
const room = 1 << 40

func (e *emulatedEnv) Machine() platform.Platform { return e.machine }

func (e *emulatedEnv) plainFS() *emu.FileSystem {
	if e.plain == nil {
		e.plain = e.m.AddFS(emu.FS{Size: room, Type: emu.Ext4})
	}
	return e.plain
}

func (e *emulatedEnv) daxFS() *emu.FileSystem {
	if e.dax == nil {
		e.dax = e.m.AddFS(emu.FS{Size: room, Type: emu.Ext4, DAX: true})
	}
	return e.dax
}

// file makes a file and returns its name too.
func (e *emulatedEnv) file(fs *emu.FileSystem, size uint64) (Object, string, error) {
	e.made++
	name := fmt.Sprintf("%s%d", testDirPrefix, e.made)
	f, err := fs.Create(name, size)
	if err != nil {
		return nil, "", err
	}
	e.files[fs.Path(name)] = emulatedFile{fs, name}
	return e.object(fs.Path(name), ""), name, f.Close()
}

func (e *emulatedEnv) object(path, sysfs string) Object {
	return object{machine: e.machine, path: path, sysfs: sysfs}
}

func (e *emulatedEnv) File(size uint64) (Object, error) {
	o, _, err := e.file(e.plainFS(), size)
	return o, err
}

func (e *emulatedEnv) DAXFile(size uint64) (Object, error) {
	o, _, err := e.file(e.daxFS(), size)
	return o, err
}

func (e *emulatedEnv) OrdinaryFile(size uint64) (Object, error) {
	if e.ordinary == nil {
		e.ordinary = e.m.AddFS(emu.FS{Size: room, Type: emu.Tmpfs})
	}
	o, _, err := e.file(e.ordinary, size)
	return o, err
}

func (e *emulatedEnv) DAXFileOn(size uint64, r emu.Region) (Object, error) {
	fs := e.m.AddFS(emu.FS{Size: room, Type: emu.Ext4, DAX: true, Region: r})
	if err := e.m.Err(); err != nil {
		return nil, err
	}
	o, _, err := e.file(fs, size)
	return o, err
}

func (e *emulatedEnv) AppendOnlyFile(size uint64) (Object, error) {
	o, name, err := e.file(e.plainFS(), size)
	if err != nil {
		return nil, err
	}
	return o, e.plain.SetAppendOnly(name, true)
}

func (e *emulatedEnv) DevDax(size, alignment uint64) (Object, error) {
	if alignment == 0 {
		return nil, fmt.Errorf("a device DAX of alignment 0")
	}
	size = max(size, alignment)
	size = (size + alignment - 1) / alignment * alignment
	return e.devDax(emu.DevDax{Size: size, Align: alignment})
}

func (e *emulatedEnv) DevDaxOn(size uint64, r emu.Region) (Object, error) {
	return e.devDax(emu.DevDax{Size: (size + daxAlign - 1) / daxAlign * daxAlign, Align: daxAlign, Region: r})
}

func (e *emulatedEnv) devDax(cfg emu.DevDax) (Object, error) {
	d := e.m.AddDevDax(cfg)
	e.devices[d.Path()] = d
	return e.object(d.Path(), d.SysfsPath()), e.m.Err()
}

func (e *emulatedEnv) Storage(o Object) (Storage, error) {
	var d *emu.Device
	if dax, ok := e.devices[o.Path()]; ok {
		d = &dax.Device
	} else if f, ok := e.files[o.Path()]; ok {
		d = f.fs.BlockDevice()
	}
	if d == nil || d.RegionPath() == "" {
		return Storage{}, fmt.Errorf("%s isn't on persistent memory", o.Path())
	}
	return Storage{Device: d.SysfsPath(), Region: d.RegionPath(), DIMMs: d.DIMMPaths(), DeepFlushes: d.DeepFlushes}, nil
}

func (e *emulatedEnv) AddBadBlock(o Object, offset, n uint64) error {
	if d, ok := e.devices[o.Path()]; ok {
		return d.AddBadBlock(offset, n)
	}
	f, ok := e.files[o.Path()]
	if !ok {
		return fmt.Errorf("%s is neither a file nor a device DAX", o.Path())
	}
	return f.fs.AddBadBlock(f.name, offset, n)
}

func (e *emulatedEnv) Directory() (Object, error) {
	e.made++
	name := fmt.Sprintf("%s%d", testDirPrefix, e.made)
	return e.object(e.plainFS().Path(name), ""), e.plain.Mkdir(name)
}

func (e *emulatedEnv) BlockDevice() (Object, error) {
	d := e.daxFS().BlockDevice()
	return e.object(d.Path(), d.SysfsPath()), e.m.Err()
}

func (e *emulatedEnv) CharDevice() (Object, error) {
	d := e.m.DevZero()
	return e.object(d.Path(), d.SysfsPath()), nil
}

func (e *emulatedEnv) CharDeviceWithoutNode() (Object, error) {
	return e.object(e.m.PTY().Path(), ""), nil
}

func (e *emulatedEnv) SetEADR(on bool) error {
	e.m.SetEADR(on)
	return nil
}

func (e *emulatedEnv) Sysfs() SysfsEditor { return emulatedSysfs{e.m.Sysfs()} }

func (e *emulatedEnv) Close() error {
	held := e.ledger.Outstanding()
	err := e.m.Shutdown()
	if held != nil {
		// Shutdown names the same again.
		return &LeakError{held}
	}
	return err
}

type emulatedSysfs struct{ *emu.Sysfs }

func (s emulatedSysfs) Fail(path string, errno error) error {
	var e syscall.Errno
	if !errors.As(errno, &e) {
		return fmt.Errorf("%v is no errno", errno)
	}
	return s.Sysfs.Fail(path, e)
}
