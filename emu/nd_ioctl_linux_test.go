package emu_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

func TestARSCapabilities(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 4 << 20})
	virtio := m.AddFS(emu.FS{Size: 1 << 20, VirtioPmem: true})
	phys := address(t, m, &dax.Device)
	good := platform.ARSCap{Status: 0x20000, MaxOut: 4128, ClearErrorUnit: 256}
	bad := platform.ARSCap{Status: 2}
	for _, flags := range []int{platform.ORdonly, platform.OWronly, platform.ORdwr} {
		fd := bus(t, m, flags)
		for _, c := range []struct {
			addr, n uint64
			want    platform.ARSCap
		}{
			{phys, 4 << 20, good},
			{phys - infoBlock, infoBlock + 4<<20, good},
			{phys + 4<<20 - 1, 1, good},
			{phys, 0, bad},
			{phys, 4<<20 + 1, bad},
			{phys - infoBlock - 1, 2, bad},
			{phys, math.MaxUint64, bad},
			{math.MaxUint64, 2, bad},
			{0, 4096, bad},
			{address(t, m, virtio.BlockDevice()), 4096, bad}, // on another bus
		} {
			if got, err := m.ARSCapabilities(fd, c.addr, c.n); err != nil || got != c.want {
				t.Errorf("flags %#x: ARSCapabilities(%#x, %#x): %+v, %v; want %+v", flags, c.addr, c.n, got, err, c.want)
			}
		}
	}
}

func TestClearErrorErrors(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 4 << 20})
	m.AddFS(emu.FS{Size: 1 << 20, VirtioPmem: true})
	if err := dax.AddBadBlock(0, 4<<20); err != nil {
		t.Fatal(err)
	}
	phys, fd := address(t, m, &dax.Device), bus(t, m, platform.ORdwr)
	for _, c := range [][2]uint64{
		{phys + 1, 512}, {phys + 128, 512}, {phys, 511}, {phys, 128}, {phys, 0}, {phys, 4<<20 + 256},
		{phys - infoBlock - 256, 512}, {0, 512}, {math.MaxUint64 &^ 255, 512}, {phys, math.MaxUint64 &^ 255},
	} {
		if n, err := m.ClearError(fd, c[0], c[1]); n != 0 || err != unix.EIO {
			t.Errorf("ClearError(%#x, %#x): %d, %v; want EIO", c[0], c[1], n, err)
		}
	}
	if n, err := m.ClearError(bus(t, m, platform.ORdonly), phys, 512); n != 0 || err != unix.EPERM {
		t.Errorf("ClearError by a descriptor for reading: %d, %v; want EPERM", n, err)
	}
	for _, path := range []string{"/dev/nmem0", "/dev/null", "/dev/ndctl1", dax.Path(), "/dev/pmem1"} {
		other, err := m.Open(path, platform.ORdwr, 0)
		if err != nil {
			t.Fatal(path, err)
		}
		defer m.Close(other)
		if _, err := m.ClearError(other, phys, 512); err != unix.ENOTTY {
			t.Errorf("ClearError of %s: %v, want ENOTTY", path, err)
		}
		if _, err := m.ARSCapabilities(other, phys, 512); err != unix.ENOTTY {
			t.Errorf("ARSCapabilities of %s: %v, want ENOTTY", path, err)
		}
	}
	if _, err := m.ClearError(bus(t, m, platform.OPath), phys, 512); err != unix.EBADF {
		t.Errorf("ClearError by a descriptor with O_PATH: %v, want EBADF", err)
	}
	if got := dax.BadBlocks(); !slices.Equal(got, []emu.BadBlock{{0, 4 << 20}}) {
		t.Errorf("bad blocks after the errors: %v", got)
	}
	// The half of a sector is cleared, which makes no difference.
	if n, err := m.ClearError(fd, phys+256, 256); n != 256 || err != nil {
		t.Errorf("ClearError of half a sector: %d, %v", n, err)
	}
	if n, err := m.ClearError(fd, phys+256, 1024); n != 1024 || err != nil {
		t.Errorf("ClearError of a sector and two halves: %d, %v", n, err)
	}
	if got := dax.BadBlocks(); !slices.Equal(got, []emu.BadBlock{{0, 512}, {1024, 4<<20 - 1024}}) {
		t.Errorf("bad blocks then: %v", got)
	}
}

func TestNoClearError(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{NoClearError: true})
	dax := m.AddDevDax(emu.DevDax{Size: 4 << 20})
	fd, phys := bus(t, m, platform.ORdwr), address(t, m, &dax.Device)
	if err := dax.AddBadBlock(0, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ClearError(fd, phys, 512); err != unix.ENOTTY {
		t.Errorf("ClearError: %v, want ENOTTY", err)
	}
	if _, err := m.ARSCapabilities(fd, phys, 512); err != unix.ENOTTY {
		t.Errorf("ARSCapabilities: %v, want ENOTTY", err)
	}
	wantFaults(t, "device", mmap(t, m, open(t, dax).FD(), 2<<20, 0), "B..")
}

// The bus clears the media, of which the driver of a block device isn't told: its own list
// stays, and what is there faults until it is written over.
func TestClearErrorUnderBlockDevice(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true})
	dev := fs.BlockDevice()
	f := create(t, fs, "f", page)
	if err := m.Fallocate(f.FD(), 0, 0, page); err != nil {
		t.Fatal(err)
	}
	if err := fs.AddBadBlock("f", 0, 1); err != nil {
		t.Fatal(err)
	}
	a, bad := mmap(t, m, f.FD(), page, 0), dev.BadBlocks()
	if n, err := m.ClearError(bus(t, m, platform.ORdwr), address(t, m, dev)+bad[0].Offset, 4096); n != 4096 || err != nil {
		t.Fatal(n, err)
	}
	attr(t, m, dev.RegionPath()+"/badblocks", "")
	attr(t, m, dev.SysfsPath()+"/badblocks", fmt.Sprintf("%d 1\n", bad[0].Offset/sector))
	wantFaults(t, "file", a, "B")
	if _, err := m.Pwrite(f.FD(), make([]byte, page), 0); err != nil {
		t.Error(err)
	}
	attr(t, m, dev.SysfsPath()+"/badblocks", "")
	wantFaults(t, "file after a write", a, ".")
}
