package emu

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// Handles of what a machine already has, as [Machine.AddDevDax] and [Machine.AddFS] return
// them of what they add.

// DevDax returns the device DAX instance at path, such as "/dev/dax0.0". The error names
// those that there are; it wraps ENODEV.
func (m *Machine) DevDax(path string) (*DaxDevice, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	if o := m.nodes[path]; o != nil && o.class == classDevDax {
		return &DaxDevice{m.deviceOn(o)}, nil
	}
	var have []string
	for path, o := range m.nodes {
		if o.class == classDevDax {
			have = append(have, path)
		}
	}
	slices.Sort(have)
	return nil, notThere("device DAX", path, have)
}

// FS returns the file system that is mounted at mount, such as "/mnt/pmem0". The error
// names those that there are; it wraps ENODEV.
func (m *Machine) FS(mount string) (*FileSystem, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errDown
	}
	var have []string
	for _, fs := range m.mounts {
		if fs.mount == mount {
			return fs, nil
		}
		have = append(have, fs.mount)
	}
	return nil, notThere("file system", mount, have)
}

func notThere(kind, path string, have []string) error {
	there := "there is none"
	if len(have) > 0 {
		there = "there are " + strings.Join(have, ", ")
	}
	return fmt.Errorf("emu: no %s at %q, %s: %w", kind, path, there, syscall.ENODEV)
}

// deviceOn is the handle of a device DAX instance or block device. mu must be held.
func (m *Machine) deviceOn(o *object) Device {
	st := platform.Stat{Rdev: o.rdev}
	d := Device{m: m, path: o.name, size: o.size, align: o.align, region: o.region}
	d.sysfs = fmt.Sprintf("dev/char/%d:%d", st.Major(), st.Minor())
	if o.class == classBlock {
		d.align = pageSize
		d.sysfs = fmt.Sprintf("dev/block/%d:%d", st.Major(), st.Minor())
	}
	return d
}

// tmpfsBlock is the handle of the block device that fs, a tmpfs, hasn't got.
func tmpfsBlock(fs *FileSystem) Device {
	return Device{
		m: fs.m, size: fs.cfg.Size, align: pageSize,
		err: fmt.Errorf("emu: %s is a tmpfs, which has no block device: %w", fs.mount, syscall.ENODEV),
	}
}
