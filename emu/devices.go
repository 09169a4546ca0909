package emu

import (
	"fmt"

	"pmemlab/pmem2/platform"
)

// Device is a device node of a machine: device DAX, a block device or a character
// device.
type Device struct {
	m      *Machine
	err    error // what was wrong with the config
	path   string
	size   uint64
	align  uint64
	sysfs  string
	region *region
}

// Path is the path of the node on its machine, such as "/dev/dax0.0".
func (d *Device) Path() string { return d.path }

// Open opens the device. The error wraps a [syscall.Errno], or says what was wrong
// with the config that the device was made from.
func (d *Device) Open(flags int) (*File, error) {
	if d.err != nil {
		return nil, d.err
	}
	return d.m.openFile(d.path, flags, 0)
}

// Size is the size in bytes; 0 of a character device other than device DAX.
func (d *Device) Size() uint64 { return d.size }

// SysfsPath is the path of the device in sysfs, such as "dev/char/252:0"; "" for one
// that isn't there.
func (d *Device) SysfsPath() string { return d.sysfs }

// RegionPath is the path in sysfs of the region that the device is part of, such as
// "bus/nd/devices/region0"; "" if it is part of none.
func (d *Device) RegionPath() string {
	if d.region == nil {
		return ""
	}
	return fmt.Sprintf("bus/nd/devices/region%d", d.region.number)
}

// DevDax is a device DAX instance to add to a machine.
type DevDax struct {
	// Size is the usable size in bytes, a multiple of Align, at most MaxSize. In
	// sysfs the namespace is larger by its info block.
	Size uint64
	// Align is the alignment in bytes: 4 KiB, 2 MiB or 1 GiB; 0 is 2 MiB.
	Align uint64
	// Region is what it lies on.
	Region Region
}

// MaxSize is the largest size of a device or file system in bytes: 64 TiB, what x86
// can address.
const MaxSize = 1 << 46

// DaxDevice is a device DAX instance.
type DaxDevice struct{ Device }

// Align is the alignment in bytes.
func (d *DaxDevice) Align() uint64 { return d.align }

// AddDevDax adds a device DAX instance, on a region and NVDIMMs of its own. Bad
// values make a device that can't be opened; see [Machine.Err].
func (m *Machine) AddDevDax(cfg DevDax) *DaxDevice {
	if cfg.Align == 0 {
		cfg.Align = 2 << 20
	}
	d := &DaxDevice{Device{m: m, size: cfg.Size, align: cfg.Align}}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.down:
		d.err = errDown
	case cfg.Align != 4<<10 && cfg.Align != 2<<20 && cfg.Align != 1<<30:
		d.err = fmt.Errorf("emu: DevDax.Align is %d, allowed are 0 (2 MiB), %d (4 KiB), %d (2 MiB) and %d (1 GiB)",
			cfg.Align, 4<<10, 2<<20, 1<<30)
	case cfg.Size == 0 || cfg.Size > MaxSize || cfg.Size%cfg.Align != 0:
		d.err = fmt.Errorf("emu: DevDax.Size is %d, allowed is a multiple of the alignment %d from %d to %d (64 TiB)",
			cfg.Size, cfg.Align, cfg.Align, uint64(MaxSize))
	default:
		d.err = cfg.Region.check("DevDax.Region")
	}
	if d.err != nil {
		m.remember(d.err)
		return d
	}
	r := m.newRegion(cfg.Size, cfg.Align, false, cfg.Region)
	d.region = r
	d.path = fmt.Sprintf("/dev/dax%d.0", r.number)
	minor := m.counts.dax
	m.counts.dax++
	o := &object{
		class: classDevDax, size: cfg.Size, align: cfg.Align, region: r,
		mode: platform.SIFCHR | 0o600, rdev: platform.Mkdev(daxMajor, uint32(minor)),
	}
	if d.err = m.addNode(d.path, o, cfg.Size); d.err != nil {
		return d
	}
	d.sysfs = fmt.Sprintf("dev/char/%d:%d", daxMajor, minor)
	m.populateDevDax(r, minor, cfg)
	return d
}

// addNode makes the device node of o. mu must be held.
func (m *Machine) addNode(path string, o *object, size uint64) error {
	o.name = path
	o.dev = platform.Mkdev(0, devtmpfsMinor)
	m.counts.inode++
	o.ino = uint64(devtmpfsInode + m.counts.inode)
	if err := m.newObject(o, size); err != nil {
		m.remember(err)
		return err
	}
	m.nodes[path] = o
	return nil
}

// addCharNode makes the node of a character device that can be opened and not mapped.
func (m *Machine) addCharNode(path string, major, minor int) {
	o := &object{class: classNull, mode: platform.SIFCHR | 0o600, rdev: platform.Mkdev(uint32(major), uint32(minor))}
	_ = m.addNode(path, o, 0) // Err tells
}

const (
	daxMajor      = 252
	blockMajor    = 259
	nvdimmMajor   = 245
	ndctlMajor    = 250
	devtmpfsMinor = 5
	devtmpfsInode = 100
)

// The character devices that every machine has.
var charDevices = map[string]struct {
	class        class
	major, minor uint32
	mode         uint32
	sysfs        string
}{
	"/dev/null":  {classNull, 1, 3, 0o666, "dev/char/1:3"},
	"/dev/zero":  {classZero, 1, 5, 0o666, "dev/char/1:5"},
	"/dev/pts/0": {classTTY, 136, 0, 0o620, ""},
}

// DevZero returns /dev/zero: a shared mapping of it is fresh memory full of zeroes.
func (m *Machine) DevZero() *Device { return m.charDevice("/dev/zero") }

// DevNull returns /dev/null, which can't be mapped.
func (m *Machine) DevNull() *Device { return m.charDevice("/dev/null") }

// PTY returns the slave side of a pseudo-terminal, /dev/pts/0: a character device
// that has no node in sysfs and can't be mapped.
func (m *Machine) PTY() *Device { return m.charDevice("/dev/pts/0") }

func (m *Machine) charDevice(path string) *Device {
	return &Device{m: m, path: path, sysfs: charDevices[path].sysfs}
}

// node finds a device node, making those of charDevices when they are first asked
// for. mu must be held.
func (m *Machine) node(path string) *object {
	if o := m.nodes[path]; o != nil {
		return o
	}
	dev, ok := charDevices[path]
	if !ok {
		return nil
	}
	o := &object{class: dev.class, mode: platform.SIFCHR | dev.mode, rdev: platform.Mkdev(dev.major, dev.minor)}
	if m.addNode(path, o, 0) != nil {
		return nil
	}
	return o
}
