package emu_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// A mapping with MAP_FIXED that fails may have unmapped what was in its place. Measured
// on Linux 6.1 and 6.18: ext4 without DAX leaves the hole, whether MAP_SYNC comes with
// MAP_SHARED_VALIDATE, MAP_SHARED or MAP_PRIVATE; a refusal that doesn't ask the file
// system leaves none.
var holeCells = []struct {
	object, column, open string
	errno                unix.Errno
	hole                 bool
}{
	{"ext4", "V+S", "RDWR", unix.EOPNOTSUPP, true},
	{"ext4", "SHARED+S", "RDWR", unix.EOPNOTSUPP, true},
	{"ext4", "PRIVATE+S", "RDWR", unix.EOPNOTSUPP, true},
	{"ext4", "V+S", "RDONLY", unix.EACCES, false},
	{"ext4", "V+bogus", "RDWR", unix.EOPNOTSUPP, false},
	{"ext4-dir", "V+S", "RDONLY", unix.EOPNOTSUPP, false},
	{"ext4-dir", "PRIVATE", "RDONLY", unix.ENODEV, false},
	{"tmpfs", "V+S", "RDWR", unix.EOPNOTSUPP, false},
	{"tmpfs", "V", "RDONLY", unix.EACCES, false},
	{"null", "SHARED", "RDWR", unix.ENODEV, false},
	// Device DAX, by the place of its checks in the driver.
	{"dax2M", "PRIVATE", "RDWR", unix.EINVAL, true},
	{"dax2M", "V+bogus", "RDWR", unix.EOPNOTSUPP, false},
	{"dax2M", "V+S", "RDONLY", unix.EACCES, false},
	{"dax2M-4K", "SHARED", "RDWR", unix.EINVAL, true},
	{"ext4-virtio", "V+S", "RDWR", unix.EOPNOTSUPP, true},
}

func TestMapFixedHole(t *testing.T) {
	emulated, host := emulatedSubject(t, newMachine(t, emu.Config{})), hostSubject(t)
	for _, s := range []*subject{emulated, host} {
		t.Run(s.name, func(t *testing.T) {
			for i, c := range holeCells {
				if o, ok := s.objects[c.object]; ok {
					s.compared++
					s.checkHole(t, i, o)
				} else {
					s.miss(c.object, 1)
				}
			}
			s.report(t)
		})
	}
	sameTotal(t, emulated, host)
}

// checkHole checks holeCells[i] with the object o.
func (s *subject) checkHole(t *testing.T, i int, o cellObject) {
	c := holeCells[i]
	fd, err := s.p.Open(o.path, openFlags[c.open], 0)
	if err != nil {
		t.Fatal(err)
	}
	const room, aligned = 8 << 20, 2 << 20
	start, err := s.p.Mmap(lowRoom(), room, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	base := (start + aligned - 1) &^ (aligned - 1)
	_, err = s.p.Mmap(base, o.length, platform.ProtRead|platform.ProtWrite,
		columnFlags[c.column]|platform.MapFixed, fd, 0)
	if err != c.errno {
		t.Errorf("%s: %s %s opened %s: got %v, want %v", s.name, c.object, c.column, c.open, err, c.errno)
	}
	hole := s.p.Msync(base, o.length, platform.MsAsync) == unix.ENOMEM
	if hole != c.hole {
		t.Errorf("%s: %s %s opened %s: hole %t, want %t", s.name, c.object, c.column, c.open, hole, c.hole)
	}
	if outside := s.p.Msync(base+uintptr(o.length), 4096, platform.MsAsync); outside != nil {
		t.Errorf("%s: %s %s: behind the range: %v", s.name, c.object, c.column, outside)
	}
	left := []extent{{uint64(start), uint64(start) + room}}
	if hole { // it isn't ours any more
		left = []extent{{uint64(start), uint64(base)}, {uint64(base) + o.length, uint64(start) + room}}
	}
	for _, x := range left {
		if x.start == x.end {
			continue
		}
		if err := s.p.Munmap(uintptr(x.start), x.end-x.start); err != nil {
			t.Error(err)
		}
	}
	if err := s.p.Close(fd); err != nil {
		t.Error(err)
	}
}

// The file of the host that a test of the hole needs must not be one of the machine.
func TestForeignDescriptors(t *testing.T) {
	m := newMachine(t, emu.Config{})
	other := newMachine(t, emu.Config{})
	dax := other.AddDevDax(emu.DevDax{Size: 2 << 20})
	f, err := dax.Open(platform.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	hostFile, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer hostFile.Close()
	closed, err := unix.Dup(int(hostFile.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	// Far from what other tests open meanwhile.
	const unused = 999
	if err := unix.Dup2(closed, unused); err != nil {
		t.Fatal(err)
	}
	unix.Close(closed)
	unix.Close(unused)
	for name, fd := range map[string]int{
		"another machine's": f.FD(), "the host's file": int(hostFile.Fd()), "closed": unused, "-1": -1,
	} {
		for call, err := range everyCall(m, fd) {
			if err != unix.EBADF {
				t.Errorf("%s of %s descriptor: got %v, want EBADF", call, name, err)
			}
		}
	}
	if _, err := hostFile.Stat(); err != nil {
		t.Errorf("the machine closed a file of the host: %v", err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	st, err := m.Fstat(pipe[0])
	if err != nil || st.Type() != platform.SIFIFO {
		t.Errorf("Fstat of a pipe: %+v, %v", st, err)
	}
	if _, err := m.Mmap(0, 4096, platform.ProtRead, platform.MapShared, pipe[0], 0); err != unix.ENODEV {
		t.Errorf("Mmap of a pipe: got %v, want ENODEV", err)
	}
	for _, fd := range pipe {
		if err := m.Close(fd); err != nil {
			t.Error(err)
		}
	}
}

// everyCall makes each call that takes a descriptor.
func everyCall(m *emu.Machine, fd int) map[string]error {
	errs := map[string]error{}
	_, errs["Fstat"] = m.Fstat(fd)
	_, errs["Statx"] = m.Statx(fd)
	_, errs["GetFL"] = m.GetFL(fd)
	_, errs["Pread"] = m.Pread(fd, make([]byte, 1), 0)
	_, errs["Pwrite"] = m.Pwrite(fd, make([]byte, 1), 0)
	errs["Ftruncate"] = m.Ftruncate(fd, 0)
	errs["Fallocate"] = m.Fallocate(fd, 0, 0, 1)
	_, errs["Fiemap"] = m.Fiemap(fd, 0, 1, 0, nil)
	errs["Fsync"] = m.Fsync(fd)
	_, errs["ARSCapabilities"] = m.ARSCapabilities(fd, 0, 1)
	_, errs["ClearError"] = m.ClearError(fd, 0, 1)
	_, errs["Mmap"] = m.Mmap(0, 4096, platform.ProtRead, platform.MapShared, fd, 0)
	errs["Close"] = m.Close(fd)
	return errs
}
