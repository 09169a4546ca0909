package emu_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"pmemlab/emu"
)

func TestHandles(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	_, err := m.DevDax("/dev/dax0.0")
	refused(t, "of an empty machine", err, "there is none")
	_, err = m.FS("/mnt/pmem0")
	refused(t, "of an empty machine", err, "there is none")
	dax := []*emu.DaxDevice{m.AddDevDax(emu.DevDax{Size: 2 << 20}), m.AddDevDax(emu.DevDax{Size: 4096, Align: 4096})}
	fs := []*emu.FileSystem{
		m.AddFS(emu.FS{Size: 1 << 20}), m.AddFS(emu.FS{Size: 1 << 20, Type: emu.Tmpfs}), m.AddFS(emu.FS{Size: 1 << 20, VirtioPmem: true}),
	}
	for _, d := range dax {
		if got, err := m.DevDax(d.Path()); err != nil || *got != *d {
			t.Errorf("%s: got %+v, %v; want %+v", d.Path(), got, err, d)
		}
	}
	for _, f := range fs {
		mount := strings.TrimSuffix(f.Path(""), "/")
		if got, err := m.FS(mount); err != nil || got != f {
			t.Errorf("%s: got %p, %v; want %p", mount, got, err, f)
		}
	}
	_, err = m.DevDax("/dev/pmem2")
	refused(t, "a block device", err, "there are /dev/dax0.0, /dev/dax1.0")
	_, err = m.FS("/mnt")
	refused(t, "above a mount", err, "there are /mnt/pmem2, /mnt/tmpfs0, /mnt/pmem3")
	if err := m.Shutdown(); err != nil {
		t.Fatal(err)
	}
	_, err = m.DevDax("/dev/dax0.0")
	refused(t, "after Shutdown", err, "shut down")
	_, err = m.FS("/mnt/pmem2")
	refused(t, "after Shutdown", err, "shut down")
}

func refused(t *testing.T, what string, err error, want string) {
	t.Helper()
	if !errors.Is(err, syscall.ENODEV) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, want ENODEV and %q", what, err, want)
	}
}
