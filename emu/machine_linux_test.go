package emu_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

func TestShutdownNamesLeaks(t *testing.T) {
	t.Parallel()
	m := emu.NewMachine(emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 4 << 20})
	fs := m.AddFS(emu.FS{Size: 1 << 20})
	leaked, err := dax.Open(platform.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := fs.Create("closed", 4096)
	if err != nil {
		t.Fatal(err)
	}
	behind, err := fs.Create("behind", 4096)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := m.Mmap(0, 4096, readWrite, platform.MapShared, closed.FD(), 0)
	if err != nil {
		t.Fatal(err)
	}
	anonymous, err := m.Mmap(0, 4096, readWrite, platform.MapPrivate|platform.MapAnonymous, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(closed.Close(), unix.Close(behind.FD())); err != nil {
		t.Fatal(err)
	}
	err = m.Shutdown()
	if err == nil {
		t.Fatal("Shutdown names no leak")
	}
	for _, want := range []string{
		fmt.Sprintf("descriptor %d (/dev/dax0.0) is open", leaked.FD()),
		fmt.Sprintf("[%#x, +0x1000) (/mnt/pmem1/closed from 0) is mapped", addr),
		fmt.Sprintf("[%#x, +0x1000) (anonymous memory) is mapped", anonymous),
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Shutdown: %v; want %q in it", err, want)
		}
	}
	for _, not := range []string{"behind", "closed) is open"} {
		if strings.Contains(err.Error(), not) {
			t.Errorf("Shutdown: %v; want no %q in it", err, not)
		}
	}
	if err := m.Shutdown(); err != nil {
		t.Errorf("second Shutdown: %v", err)
	}
	for _, path := range []string{"/dev/dax0.0", "/dev/zero", fs.Path("closed")} {
		if _, err := m.Open(path, platform.ORdonly, 0); err != unix.ENODEV {
			t.Errorf("open %s after Shutdown: got %v, want ENODEV", path, err)
		}
	}
	*at(addr, 0) = 1 // memory stays mapped
	for _, a := range []uintptr{addr, anonymous} {
		if err := m.Munmap(a, 4096); err != nil {
			t.Error(err)
		}
	}
	if err := leaked.Close(); err != nil {
		t.Errorf("Close after Shutdown: %v", err)
	}
	if _, err := unix.FcntlInt(uintptr(leaked.FD()), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the descriptor after Close: %v, want EBADF", err)
	}
}

func TestBadConfigs(t *testing.T) {
	t.Parallel()
	type opener func(m *emu.Machine) error
	dax := func(cfg emu.DevDax) opener {
		return func(m *emu.Machine) error {
			d := m.AddDevDax(cfg)
			_, err := d.Open(platform.ORdwr)
			return err
		}
	}
	fs := func(cfg emu.FS) opener {
		return func(m *emu.Machine) error {
			f := m.AddFS(cfg)
			for name, err := range map[string]error{
				"Create": second(f.Create("f", 1)), "Mkdir": f.Mkdir("d"), "Remove": f.Remove("f"),
				"Truncate": f.Truncate("f", 0), "SetAppendOnly": f.SetAppendOnly("f", true),
				"BlockDevice": second(f.BlockDevice().Open(platform.ORdonly)),
			} {
				if err == nil {
					t.Errorf("%+v: %s succeeds", cfg, name)
				}
			}
			_, err := f.Open("f", platform.ORdwr, 0)
			return err
		}
	}
	for _, c := range []struct {
		open opener
		want []string
	}{
		{dax(emu.DevDax{}), []string{"DevDax.Size is 0", "multiple of the alignment 2097152"}},
		{dax(emu.DevDax{Size: 3 << 20}), []string{"DevDax.Size is 3145728"}},
		{dax(emu.DevDax{Size: 1 << 47}), []string{"DevDax.Size is 140737488355328", "70368744177664"}},
		{dax(emu.DevDax{Size: 1 << 30, Align: 8192}), []string{"DevDax.Align is 8192", "4096", "1073741824"}},
		{fs(emu.FS{}), []string{"FS.Size is 0", "4096"}},
		{fs(emu.FS{Size: 4097}), []string{"FS.Size is 4097"}},
		{fs(emu.FS{Size: math.MaxUint64 &^ 4095}), []string{"FS.Size is"}},
		{fs(emu.FS{Size: 4096, Type: 7}), []string{"FS.Type is 7", "Tmpfs"}},
		{fs(emu.FS{Size: 4096, Type: emu.Tmpfs, DAX: true}), []string{"FS.DAX is true"}},
	} {
		m := newMachine(t, emu.Config{})
		err := c.open(m)
		if err == nil {
			t.Errorf("no error where one with %q is due", c.want)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %q in it", err, want)
			}
		}
		if m.Err() == nil || m.Err().Error() != err.Error() {
			t.Errorf("Err: %v, want %v", m.Err(), err)
		}
	}
	if err := newMachine(t, emu.Config{Model: 9}).Err(); err == nil || !strings.Contains(err.Error(), "Config.Model is 9") {
		t.Errorf("Model 9: %v", err)
	}
	if err := newMachine(t, emu.Config{}).Err(); err != nil {
		t.Errorf("an empty machine: %v", err)
	}
}

func TestCacheOpsIdentity(t *testing.T) {
	t.Parallel()
	m, other := newMachine(t, emu.Config{}), newMachine(t, emu.Config{})
	seen := map[*platform.CacheOps]bool{}
	for g := platform.GranularityByte; g <= platform.GranularityPage; g++ {
		ops := m.CacheOps(g)
		if ops == nil || ops != m.CacheOps(g) || ops == other.CacheOps(g) || seen[ops] {
			t.Errorf("%v: %p, again %p, of another machine %p", g, ops, m.CacheOps(g), other.CacheOps(g))
		}
		seen[ops] = true
		if want := platform.Host().CacheOps(g).Instruction; ops.Instruction != want {
			t.Errorf("%v: instruction %q, want the host's %q", g, ops.Instruction, want)
		}
	}
	if m.CacheOps(7) != nil {
		t.Error("operations of an invalid granularity")
	}
	// They work on the machine's memory.
	f := open(t, m.AddDevDax(emu.DevDax{Size: 2 << 20}))
	addr := mmap(t, m, f.FD(), 2<<20, 0)
	ops := m.CacheOps(platform.GranularityCacheLine)
	src := []byte("persistent")
	ops.CopyNT(platform.Pointer(addr+3), platform.Pointer(addr+1024), 10)
	copy(platform.Bytes(addr+1024, 10), src)
	ops.Copy(platform.Pointer(addr+3), platform.Pointer(addr+1024), 10)
	ops.Flush(platform.Pointer(addr+3), 10)
	ops.Fence()
	if got := string(platform.Bytes(addr+3, 10)); got != string(src) {
		t.Errorf("after Copy: %q, want %q", got, src)
	}
}

// Everything at once; the race detector watches the machine's own structures.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	m := newMachine(t, emu.Config{})
	dax := m.AddDevDax(emu.DevDax{Size: 64 << 20})
	fs := m.AddFS(emu.FS{Size: 64 << 20, DAX: true})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 40 {
				if err := useMachine(m, dax, fs, g, i); err != nil {
					t.Errorf("goroutine %d, round %d: %v", g, i, err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 40 {
			m.SetEADR(i%2 == 0)
			m.AddDevDax(emu.DevDax{Size: 2 << 20})
			if _, err := m.List("bus/nd/devices"); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if err := m.Err(); err != nil {
		t.Error(err)
	}
}

func useMachine(m *emu.Machine, dax *emu.DaxDevice, fs *emu.FileSystem, g, i int) error {
	d, err := dax.Open(platform.ORdwr)
	if err != nil {
		return err
	}
	f, err := fs.Create(fmt.Sprintf("dir%d/f%d", g%3, g), 4<<20)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	err = func() error {
		for _, fd := range []int{d.FD(), f.FD()} {
			const n = 2 << 20
			addr, err := m.Mmap(0, n, readWrite, platform.MapSharedValidate|platform.MapSync, fd, 0)
			if err != nil {
				return err
			}
			*at(addr, uint64(g*64)) = byte(i)
			moved, err := m.Mremap(addr, n, 2*n, platform.MremapMaymove, 0)
			if err != nil {
				return errors.Join(err, m.Munmap(addr, n))
			}
			if got := *at(moved, uint64(g*64)); got != byte(i) {
				err = fmt.Errorf("byte is %d, want %d", got, i)
			}
			if err := errors.Join(err, m.Munmap(moved, n), m.Munmap(moved+n, n)); err != nil {
				return err
			}
		}
		if _, err := m.Pwrite(f.FD(), []byte("x"), 4096); err != nil {
			return err
		}
		if _, err := m.Fiemap(f.FD(), 0, 1<<20, 0, nil); err != nil {
			return err
		}
		return fs.Remove(fmt.Sprintf("dir%d/f%d", g%3, g))
	}()
	return errors.Join(err, f.Close(), d.Close())
}
