package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// lab is an emulated machine as a HardwareConfig wants one: it makes directories, and
// removes with them what was made in them through it.
type lab struct {
	*emu.Machine
	mounts []*emu.FileSystem

	mu    sync.Mutex
	made  int
	files map[string]bool // and directories, by path
	// statx changes what the machine answers, if it is set.
	statx func(platform.Statx) platform.Statx
}

func newLab(t *testing.T, cfg emu.Config) *lab {
	needsLinux(t)
	l := &lab{Machine: emu.NewMachine(cfg), files: map[string]bool{}}
	t.Cleanup(func() {
		if err := l.Shutdown(); err != nil {
			t.Errorf("at the end: %v", err)
		}
	})
	return l
}

// mount adds a file system with an empty directory, whose path it returns.
func (l *lab) mount(t *testing.T, cfg emu.FS) (dir string) {
	fs := l.AddFS(cfg)
	if err := fs.Mkdir("lab"); err != nil {
		t.Fatal(err)
	}
	l.mounts = append(l.mounts, fs)
	return fs.Path("lab")
}

// device adds a device DAX that isn't empty but for the first MiB.
func (l *lab) device(t *testing.T, cfg emu.DevDax) *emu.DaxDevice {
	d := l.AddDevDax(cfg)
	l.onDevice(t, d, func(b []byte) {
		for at := uint64(mib); at < d.Size(); at += mib {
			copy(b[at:], pattern(100, byte(at>>20)))
		}
		copy(b[d.Size()-100:], pattern(100, 77))
	})
	return d
}

// onDevice calls f with the memory of a device, and makes durable what it stores.
func (l *lab) onDevice(t *testing.T, d *emu.DaxDevice, f func(b []byte)) {
	fd, err := d.Open(platform.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := l.Mmap(0, d.Size(), readWrite, platform.MapShared, fd.FD(), 0)
	if err != nil {
		t.Fatal(err)
	}
	b := platform.Bytes(addr, d.Size())
	f(b)
	l.CacheOps(platform.GranularityCacheLine).Persist(platform.Pointer(addr), uintptr(len(b)))
	if err := l.Munmap(addr, d.Size()); err != nil {
		t.Fatal(err)
	}
	if err := fd.Close(); err != nil {
		t.Fatal(err)
	}
}

// content is what is on the media of a device.
func (l *lab) content(t *testing.T, d *emu.DaxDevice) string {
	fd, err := d.Open(platform.ORdonly)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := l.Mmap(0, d.Size(), platform.ProtRead, platform.MapShared, fd.FD(), 0)
	if err != nil {
		t.Fatal(err)
	}
	text := string(platform.Bytes(addr, d.Size()))
	if err := l.Munmap(addr, d.Size()); err != nil {
		t.Fatal(err)
	}
	if err := fd.Close(); err != nil {
		t.Fatal(err)
	}
	return text
}

func (l *lab) fs(path string) (*emu.FileSystem, string, error) {
	for _, fs := range l.mounts {
		if name, ok := strings.CutPrefix(path, fs.Path("")); ok {
			return fs, strings.TrimPrefix(name, "/"), nil
		}
	}
	return nil, "", fmt.Errorf("%s is on no file system", path)
}

func (l *lab) MkdirTemp(dir, prefix string) (string, error) {
	l.mu.Lock()
	l.made++
	path := fmt.Sprintf("%s/%s%d", dir, prefix, l.made)
	l.mu.Unlock()
	return path, l.Mkdir(path)
}

func (l *lab) Mkdir(path string) error {
	fs, name, err := l.fs(path)
	if err != nil {
		return err
	}
	l.add(path)
	return fs.Mkdir(name)
}

func (l *lab) add(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files[path] = true
}

func (l *lab) RemoveAll(path string) error {
	fs, _, err := l.fs(path)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range slices.Backward(slices.Sorted(maps.Keys(l.files))) {
		if p == path || strings.HasPrefix(p, path+"/") {
			_, name, _ := l.fs(p)
			_ = fs.Remove(name) // or it has been removed by the case
			delete(l.files, p)
		}
	}
	if fd, err := l.Machine.Open(path, platform.OPath, 0); err == nil {
		_ = l.Close(fd)
		return fmt.Errorf("%s is still there", path)
	}
	return nil
}

func (l *lab) Open(path string, flags int, mode uint32) (int, error) {
	fd, err := l.Machine.Open(path, flags, mode)
	if err == nil && flags&platform.OCreat != 0 {
		l.add(path)
	}
	return fd, err
}

func (l *lab) Statx(fd int) (platform.Statx, error) {
	stx, err := l.Machine.Statx(fd)
	if l.statx != nil {
		stx = l.statx(stx)
	}
	return stx, err
}
