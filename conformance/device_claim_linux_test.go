package conformance

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// TestHardwareRefuses has everything that Hardware doesn't do, with what it says, and
// that the device is as it was.
func TestHardwareRefuses(t *testing.T) {
	type place struct {
		lab           *lab
		dax           *emu.DaxDevice
		fsdax, pagefs string
	}
	all := func(p place) HardwareConfig {
		return HardwareConfig{Machine: p.lab, DevDax: []string{p.dax.Path()}, Destroy: []string{p.dax.Path()}, FSDax: p.fsdax, PageFS: p.pagefs}
	}
	holding := func(at int64, text string) func(*testing.T, place) HardwareConfig {
		return func(t *testing.T, p place) HardwareConfig {
			p.lab.onDevice(t, p.dax, func(b []byte) {
				if at < 0 {
					at += int64(len(b))
				}
				copy(b[at:], text)
			})
			return all(p)
		}
	}
	for _, row := range []struct {
		name string
		cfg  func(t *testing.T, p place) HardwareConfig
		want string // "" is no error
	}{
		{"nothing wrong", func(_ *testing.T, p place) HardwareConfig { return all(p) }, ""},
		{"a pool", holding(0, "PMEMOBJ\x00"), "/dev/dax0.0 isn't destroyed: it carries a pool of libpmemobj (at 0x0) (to destroy it all the same: -pmem.destroy-contents)"},
		{"a file system", holding(1080, "\x53\xef"), "it carries an ext2, ext3 or ext4 file system (at 0x438)"},
		{"an mdadm header", holding(4096, "\xfc\x4e\x2b\xa9"), "it carries an mdadm header, version 1.2 (at 0x1000)"},
		{"a backup", holding(-4096, "BTT_ARENA_INFO"), "it carries a block translation table (at 0xdff000)"},
		{"nothing known", holding(70000, "x"), "it carries data that is nothing known (the first byte that isn't zero is at 0x11170)"},
		{"nothing known, and that doesn't matter", func(t *testing.T, p place) HardwareConfig {
			cfg := holding(70000, "x")(t, p)
			cfg.DestroyContents = true
			return cfg
		}, ""},
		{"a pool, and that doesn't matter", func(t *testing.T, p place) HardwareConfig {
			cfg := holding(0, "PMEMOBJ\x00")(t, p)
			cfg.DestroyContents = true
			return cfg
		}, ""},
		{"a pool, not to be destroyed", func(t *testing.T, p place) HardwareConfig {
			cfg := holding(0, "PMEMOBJ\x00")(t, p)
			cfg.Destroy = nil
			return cfg
		}, ""},
		{"a bad block in front", func(t *testing.T, p place) HardwareConfig {
			if err := p.dax.AddBadBlock(8192, 512); err != nil {
				t.Fatal(err)
			}
			return all(p)
		}, "what it holds can't be read: a memory fault in the 1048576 bytes at 0x0 of /dev/dax0.0"},
		{"another path", func(_ *testing.T, p place) HardwareConfig {
			cfg := all(p)
			cfg.Destroy = []string{"/dev/../dev/dax0.0"}
			return cfg
		}, "-pmem.destroy=/dev/../dev/dax0.0: it names none of -pmem.devdax=/dev/dax0.0; it has to be spelled the same"},
		{"twice", func(_ *testing.T, p place) HardwareConfig {
			cfg := all(p)
			cfg.DevDax = append(cfg.DevDax, cfg.DevDax[0])
			return cfg
		}, "/dev/dax0.0 and /dev/dax0.0 are the same device"},
		{"no such device", func(_ *testing.T, p place) HardwareConfig {
			return HardwareConfig{Machine: p.lab, DevDax: []string{"/dev/dax9.0"}}
		}, "open /dev/dax9.0: no such file"},
		{"a file", func(t *testing.T, p place) HardwareConfig {
			fd, err := p.lab.Open(p.pagefs+"/file", platform.ORdwr|platform.OCreat, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.lab.Close(fd); err != nil {
				t.Fatal(err)
			}
			return HardwareConfig{Machine: p.lab, DevDax: []string{p.pagefs + "/file"}}
		}, "is no device DAX: it is no character device"},
		{"another character device", func(_ *testing.T, p place) HardwareConfig {
			return HardwareConfig{Machine: p.lab, DevDax: []string{"/dev/zero"}}
		}, "/dev/zero is no device DAX: /sys/dev/char/1:5/subsystem isn't dax"},
		{"system RAM", func(t *testing.T, p place) HardwareConfig {
			if err := p.lab.Sysfs().Link(p.dax.SysfsPath()+"/driver", "../../../bus/dax/drivers/kmem"); err != nil {
				t.Fatal(err)
			}
			return HardwareConfig{Machine: p.lab, DevDax: []string{p.dax.Path()}}
		}, "/dev/dax0.0 can't be used: the kernel uses it as system RAM: its driver is kmem"},
		{"system RAM without a node", func(t *testing.T, p place) HardwareConfig {
			if err := p.lab.Sysfs().Link("bus/dax/devices/dax7.0/driver", "../../drivers/kmem"); err != nil {
				if err := p.lab.Sysfs().Set("bus/dax/devices/dax7.0/size", "1\n"); err != nil {
					t.Fatal(err)
				}
				if err := p.lab.Sysfs().Link("bus/dax/devices/dax7.0/driver", "../../drivers/kmem"); err != nil {
					t.Fatal(err)
				}
			}
			return HardwareConfig{Machine: p.lab, DevDax: []string{"/dev/dax7.0"}}
		}, "/dev/dax7.0 can't be used: the kernel uses it as system RAM: its driver is kmem"},
		{"no driver", func(t *testing.T, p place) HardwareConfig {
			if err := p.lab.Sysfs().Remove(p.dax.SysfsPath() + "/driver"); err != nil {
				t.Fatal(err)
			}
			return all(p)
		}, "no driver is bound to it"},
		{"held", func(t *testing.T, p place) HardwareConfig {
			if err := p.lab.Sysfs().Set(p.dax.SysfsPath()+"/holders/md127/dev", "9:127\n"); err != nil {
				t.Fatal(err)
			}
			return all(p)
		}, "/dev/dax0.0 isn't destroyed: it is in use by md127 (/sys/dev/char/252:0/holders)"},
		{"locked", func(t *testing.T, p place) HardwareConfig {
			mustHardware(t, all(p))
			return all(p)
		}, "/dev/dax0.0 isn't destroyed: it is in use, somebody holds a lock on it"},
		{"locked by one that is closed", func(t *testing.T, p place) HardwareConfig {
			if err := mustHardware(t, all(p)).Close(); err != nil {
				t.Fatal(err)
			}
			return all(p)
		}, ""},
		{"no directory", func(_ *testing.T, p place) HardwareConfig {
			return HardwareConfig{Machine: p.lab, PageFS: p.pagefs + "/none"}
		}, "/none: no such file or directory"},
		{"the wrong file systems, no DAX", func(_ *testing.T, p place) HardwareConfig {
			return HardwareConfig{Machine: p.lab, FSDax: p.pagefs}
		}, "-pmem.fsdax=/mnt/pmem1/lab: it is on no file system with DAX: MAP_SYNC is refused"},
		{"the wrong file systems, DAX", func(_ *testing.T, p place) HardwareConfig {
			return HardwareConfig{Machine: p.lab, PageFS: p.fsdax}
		}, "-pmem.pagefs=/mnt/pmem2/lab: it is on a file system with DAX: MAP_SYNC succeeds"},
		{"a machine without directories", func(_ *testing.T, p place) HardwareConfig {
			return HardwareConfig{Machine: p.lab.Machine}
		}, "a machine of type *emu.Machine can't make directories"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLab(t, emu.Config{})
			p := place{lab: l, dax: l.device(t, emu.DevDax{Size: 14 << 20}), pagefs: l.mount(t, emu.FS{Size: room}), fsdax: l.mount(t, emu.FS{Size: room, DAX: true})}
			cfg := row.cfg(t, p)
			bad := len(p.dax.BadBlocks()) > 0
			before := ""
			if !bad {
				before = l.content(t, p.dax)
			}
			target, err := Hardware(cfg)
			switch {
			case row.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
				t.Errorf("got %v, want %q", err, row.want)
			}
			if err == nil {
				if err := target.(*hardware).Close(); err != nil {
					t.Error(err)
				}
			}
			if !bad && l.content(t, p.dax) != before {
				t.Error("the device's content has changed")
			}
		})
	}
}

// TestUsersOfDevice looks for /dev/zero: open in this process, and mapped in one that is
// made up, since it can't be mapped as a device DAX is.
func TestUsersOfDevice(t *testing.T) {
	needsLinux(t)
	f, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	st, err := platform.Host().Fstat(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	me := fmt.Sprintf("process %d (", os.Getpid())
	users := usersOfDevice(&daxDevice{rdev: st.Rdev})
	if !strings.Contains(strings.Join(users, ", "), me) {
		t.Errorf("users of /dev/zero are %q, want %s…) among them", users, me)
	}
	if hasOpen("/proc/self", st.Rdev+1000) {
		t.Error("a device is found open that isn't there")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// Nodes that aren't below /dev.
	for link, to := range map[string]string{
		"root": "/", "node": "/dev/zero", "fd/3": dir + "/node", "map_files/7e0000000000-7e0000200000": dir + "/node",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(dir+"/"+link), 0o700), os.Symlink(to, dir+"/"+link)); err != nil {
			t.Fatal(err)
		}
	}
	if !hasOpen(dir, st.Rdev) {
		t.Error("a device isn't found open by a node that isn't below /dev")
	}
	for _, row := range []struct {
		line string
		want bool
	}{
		{"7f0000000000-7f0000200000 rw-s 00000000 00:05 5 /dev/zero", true},
		{"7f0000000000-7f0000200000 r--s 00000000 00:05 5 /dev/zero", true},
		{"7e0000000000-7e0000200000 rw-s 00000000 00:05 5 /srv/zero (deleted)", true},
		{"7f0000000000-7f0000200000 rw-p 00000000 00:05 5 /dev/zero", false},
		{"7f0000000000-7f0000200000 rw-s 00000000 00:05 5 /dev/null", false},
		{"7f0000000000-7f0000200000 rw-s 00000000 00:05 5 /etc/passwd", false},
		{"7f0000000000-7f0000200000 rw-s 00000000 00:05 5 ", false},
	} {
		if err := os.WriteFile(dir+"/maps", []byte("55-56 r-xp 0 00:01 1 /bin/sh\n"+row.line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := hasMapped(dir, st.Rdev); got != row.want {
			t.Errorf("%s: mapped is %t, want %t", row.line, got, row.want)
		}
	}
}

// openings notes how paths are opened.
type openings struct {
	platform.Platform
	flags []int
}

func (o *openings) Open(name string, flags int, mode uint32) (int, error) {
	o.flags = append(o.flags, flags)
	return o.Platform.Open(name, flags, mode)
}

// TestIdentifyLooksFirst: what isn't a device DAX isn't opened, which could last for ever.
func TestIdentifyLooksFirst(t *testing.T) {
	needsLinux(t)
	fifo := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fifo, "/dev/zero"} {
		m := &openings{Platform: platform.Host()}
		if _, err := identifyDevice(m, name); err == nil || !strings.Contains(err.Error(), "is no device DAX") {
			t.Errorf("%s: got %v", name, err)
		}
		if !slices.Equal(m.flags, []int{platform.OPath}) {
			t.Errorf("%s was opened with %#x, want O_PATH alone", name, m.flags)
		}
	}
}

// TestLockOfChild: a lock lasts as long as a process that has inherited it.
func TestLockOfChild(t *testing.T) {
	needsLinux(t)
	d := &daxDevice{path: t.TempDir() + "/lock"}
	if err := os.WriteFile(d.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := lockDevice(platform.Host(), d)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cat")
	cmd.ExtraFiles = lockFiles(&hardware{locks: []*deviceLock{l}})
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cmd.Start(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if again, err := lockDevice(platform.Host(), d); err == nil {
		t.Error("the lock is gone with the parent's descriptor")
		_ = again.Close()
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	if l, err = lockDevice(platform.Host(), d); err != nil {
		t.Fatalf("the lock outlives all who have it: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
