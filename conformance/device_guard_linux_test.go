package conformance

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// TestGuard asks for everything that would store to a device, on one whose data is to be
// kept and on one whose data isn't: what isn't refused is as without the guard.
func TestGuard(t *testing.T) {
	l := newLab(t, emu.Config{})
	kept, wiped, other := l.device(t, emu.DevDax{Size: 14 << 20}), l.device(t, emu.DevDax{Size: 14 << 20}), l.device(t, emu.DevDax{Size: 14 << 20})
	dir := l.mount(t, emu.FS{Size: room, DAX: true})
	block := l.mounts[0].BlockDevice().Path()
	var devices []*daxDevice
	for _, d := range []*emu.DaxDevice{kept, wiped} {
		found, err := identifyDevice(l, d.Path())
		if err != nil {
			t.Fatal(err)
		}
		devices = append(devices, found)
	}
	guard := func() *deviceGuard {
		g := newDeviceGuard(l, devices, devices[1:])
		if err := g.own(dir); err != nil {
			t.Fatal(err)
		}
		return g
	}
	const rw, size = readWrite, 2 << 20
	mmap := func(g *deviceGuard, fd, prot, flags int) error {
		addr, err := g.Mmap(0, size, prot, flags, fd, 0)
		if err == nil {
			err = g.Munmap(addr, size)
		}
		return err
	}
	ops := []struct {
		name   string
		stores bool
		do     func(g *deviceGuard, fd int) error
	}{
		{"mmap to write", true, func(g *deviceGuard, fd int) error { return mmap(g, fd, rw, platform.MapShared) }},
		{"mmap to write with MAP_SYNC", true, func(g *deviceGuard, fd int) error {
			return mmap(g, fd, platform.ProtWrite, platform.MapSharedValidate|platform.MapSync)
		}},
		{"mmap to read", false, func(g *deviceGuard, fd int) error { return mmap(g, fd, platform.ProtRead, platform.MapShared) }},
		{"mmap of nothing", false, func(g *deviceGuard, fd int) error { return mmap(g, fd, platform.ProtNone, platform.MapShared) }},
		{"private mmap", false, func(g *deviceGuard, fd int) error { return mmap(g, fd, rw, platform.MapPrivate) }},
		{"anonymous mmap", false, func(g *deviceGuard, fd int) error {
			return mmap(g, fd, rw, platform.MapShared|platform.MapAnonymous)
		}},
		{"pwrite", true, func(g *deviceGuard, fd int) error {
			_, err := g.Pwrite(fd, []byte("x"), 0)
			return err
		}},
		{"pread", false, func(g *deviceGuard, fd int) error {
			_, err := g.Pread(fd, make([]byte, 1), 0)
			return err
		}},
		{"fallocate", true, func(g *deviceGuard, fd int) error { return g.Fallocate(fd, 0, 0, size) }},
		{"ftruncate", true, func(g *deviceGuard, fd int) error { return g.Ftruncate(fd, 0) }},
		{"fcntl", false, func(g *deviceGuard, fd int) error {
			flags, err := g.GetFL(fd)
			if err == nil && flags&platform.OAccmode != platform.ORdwr {
				err = fmt.Errorf("the flags are %#x, want O_RDWR", flags)
			}
			return err
		}},
	}
	opens := []struct {
		name string
		open func(g *deviceGuard, path string) (int, error)
	}{
		{"open", func(g *deviceGuard, path string) (int, error) { return g.Open(path, platform.ORdwr, 0) }},
		{"another path", func(g *deviceGuard, path string) (int, error) {
			return g.Open("/dev/../"+path, platform.ORdwr|platform.OTrunc, 0)
		}},
		{"duplicate", func(g *deviceGuard, path string) (int, error) {
			fd, err := g.Open(path, platform.ORdwr, 0)
			if err != nil {
				return fd, err
			}
			dup, err := unix.Dup(fd)
			return dup, errors.Join(err, g.Close(fd))
		}},
		// Opened behind the guard's back.
		{"foreign", func(_ *deviceGuard, path string) (int, error) { return l.Machine.Open(path, platform.ORdwr, 0) }},
	}
	before := map[*emu.DaxDevice]string{kept: l.content(t, kept), other: l.content(t, other)}
	for _, path := range []string{kept.Path(), wiped.Path(), other.Path(), block} {
		for _, open := range opens {
			for _, op := range ops {
				name := fmt.Sprintf("%s of %s, %s", op.name, path, open.name)
				g := guard()
				fd, err := open.open(g, path)
				if err != nil {
					t.Errorf("%s: open: %v", name, err)
					continue
				}
				// Without the guard, on a descriptor of its own.
				plain, err := l.Machine.Open(path, platform.ORdwr, 0)
				if err != nil {
					t.Fatal(err)
				}
				want := op.do(&deviceGuard{Platform: l, destroy: []*daxDevice{{rdev: rdevOf(t, l, plain)}}}, plain)
				refused := op.stores && path != wiped.Path()
				if path == block && !refused {
					want = op.do(g, plain) // a block device is never free
				}
				got := op.do(g, fd)
				if refused {
					want = syscall.EACCES
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: got %v, want %v", name, got, want)
				}
				why := g.why
				if (why != "") != refused {
					t.Errorf("%s: refused is %q, want %t", name, why, refused)
				}
				if refused && path == kept.Path() && why != "the case stores to /dev/dax0.0, whose data may be destroyed only with -pmem.destroy=/dev/dax0.0" {
					t.Errorf("%s: refused is %q", name, why)
				}
				// The kernel guards too.
				if flags, err := l.GetFL(fd); open.name != "foreign" && (err != nil || (flags&platform.OAccmode == platform.ORdwr) != (path == wiped.Path())) {
					t.Errorf("%s: the descriptor's own flags are %#x, %v", name, flags, err)
				}
				if err := errors.Join(l.Close(plain), l.Close(fd)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	for d, content := range before {
		if l.content(t, d) != content {
			t.Errorf("%s has changed", d.Path())
		}
	}

	t.Run("what is no descriptor's", func(t *testing.T) {
		start, err := attrNumber(l, devices[1].sysfs+"/resource")
		if err != nil {
			t.Fatal(err)
		}
		bus, err := l.Machine.Open("/dev/ndctl0", platform.ORdwr, 0)
		if err != nil {
			t.Fatal(err)
		}
		write := func(flags int) func(*deviceGuard) error {
			return func(g *deviceGuard) error {
				fd, err := g.Open(kept.Path(), flags, 0)
				if err == nil {
					err = g.Close(fd)
				}
				return err
			}
		}
		clear := func(addr, n uint64) func(*deviceGuard) error {
			return func(g *deviceGuard) error {
				_, err := g.ClearError(bus, addr, n)
				return err
			}
		}
		region := kept.RegionPath()
		for _, row := range []struct {
			name   string
			do     func(*deviceGuard) error
			errno  error
			reason string
		}{
			{"open for writing only", write(platform.OWronly), syscall.EACCES, "opens /dev/dax0.0 for writing only"},
			{"open to look at", write(platform.OPath | platform.ORdwr), nil, ""},
			{"open for both, and nobody asks for its mode", write(platform.ORdwr), nil, "the case opens /dev/dax0.0 for writing"},
			{"open for reading", write(platform.ORdonly), nil, ""},
			{"clear errors of the free device", clear(start, wiped.Size()), nil, ""},
			{"clear errors before it", clear(start-512, 1024), syscall.EACCES, "clears errors at the physical address"},
			{"clear errors behind it", clear(start+wiped.Size()-512, 1024), syscall.EACCES, "clears errors at the physical address"},
			{"clear errors of length that wraps", clear(start+512, 1<<64-512), syscall.EACCES, "clears errors at the physical address"},
			{"unlink a device", func(g *deviceGuard) error { return g.Unlink(kept.Path()) }, syscall.EACCES, "the case unlinks /dev/dax0.0"},
			{"unlink out of the directory", func(g *deviceGuard) error { return g.Unlink(dir + "/../x") }, syscall.EACCES, "isn't in a directory of its own"},
			{"unlink in the directory", func(g *deviceGuard) error { return g.Unlink(dir + "/x") }, syscall.ENOENT, ""},
			{"deep flush", func(g *deviceGuard) error { return g.WriteAttr(region+"/deep_flush", "1") }, nil, ""},
			{"sysfs", func(g *deviceGuard) error { return g.WriteAttr(region+"/read_only", "1") }, syscall.EACCES, "where only deep_flush is written"},
		} {
			g := guard()
			err := row.do(g)
			if !errors.Is(err, row.errno) || row.errno == nil && err != nil {
				t.Errorf("%s: got %v, want %v", row.name, err, row.errno)
			}
			if why := g.refused(); (why == "") != (row.reason == "") || !strings.Contains(why, row.reason) {
				t.Errorf("%s: refused is %q, want %q", row.name, why, row.reason)
			}
		}
		if err := l.Close(bus); err != nil {
			t.Error(err)
		}
	})
}

func rdevOf(t *testing.T, m platform.Platform, fd int) uint64 {
	st, err := m.Fstat(fd)
	if err != nil {
		t.Fatal(err)
	}
	return st.Rdev
}

// TestGuardOnTheHost reaches a device by a link and by /proc/self/fd: nothing of the
// emulated machine is in the way.
func TestGuardOnTheHost(t *testing.T) {
	needsLinux(t)
	host := platform.Host()
	zero, err := host.Open("/dev/zero", platform.ORdonly, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &daxDevice{path: "/dev/zero", rdev: rdevOf(t, host, zero)}
	link := t.TempDir() + "/link"
	if err := unix.Symlink("/dev/zero", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/zero", "/dev/../dev/zero", link, fmt.Sprintf("/proc/self/fd/%d", zero)} {
		g := newDeviceGuard(host, []*daxDevice{d}, nil)
		fd, err := g.Open(path, platform.ORdwr, 0)
		if err != nil {
			t.Fatal(err)
		}
		own, err := host.GetFL(fd)
		told, toldErr := g.GetFL(fd)
		if err != nil || toldErr != nil || own&platform.OAccmode != platform.ORdonly || told&platform.OAccmode != platform.ORdwr {
			t.Errorf("%s: the flags are %#x (%v), told are %#x (%v)", path, own, err, told, toldErr)
		}
		// Without the guard too: the descriptor is for reading.
		if _, err := host.Pwrite(fd, []byte("x"), 0); !errors.Is(err, syscall.EBADF) {
			t.Errorf("%s: pwrite behind the guard's back returns %v, want EBADF", path, err)
		}
		if _, err := g.Mmap(0, 4096, readWrite, platform.MapShared, fd, 0); !errors.Is(err, syscall.EACCES) {
			t.Errorf("%s: mmap returns %v, want EACCES", path, err)
		}
		if g.refused() == "" {
			t.Errorf("%s: nothing was refused", path)
		}
		if err := g.Close(fd); err != nil {
			t.Error(err)
		}
	}
	if err := host.Close(zero); err != nil {
		t.Error(err)
	}
	if slices.ContainsFunc(mapped(), func(e MapsEntry) bool { return e.Path == "/dev/zero" }) {
		t.Error("/dev/zero is mapped")
	}
}

// TestGuardOfLinks: what counts is where a path leads to.
func TestGuardOfLinks(t *testing.T) {
	needsLinux(t)
	host := platform.Host()
	for _, row := range []struct {
		name    string
		refused bool
	}{
		{"own/file", false}, {"own/none", false}, {"own/in", false}, {"own/circle", false}, {"own/sub/../file", false}, {"alias/file", false},
		{"own/out/victim", true}, {"own/out/none", true}, {"own/out/../victim", true}, {"other/victim", true},
		{"own/../victim", true}, {"victim", true},
		{"other/victim/none", false},
	} {
		for _, way := range []string{"unlink", "open", "make"} {
			dir := t.TempDir()
			for _, d := range []string{"/own", "/own/sub", "/other", "/other/sub"} {
				if err := os.Mkdir(dir+d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range []string{"/own/file", "/victim", "/other/victim", "/other/sub/victim"} {
				if err := os.WriteFile(dir+f, []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for link, to := range map[string]string{"/own/out": dir + "/other/sub", "/alias": dir + "/own", "/own/nowhere": dir + "/new", "/own/link": dir + "/victim", "/own/in": "sub/new", "/own/circle": "circle"} {
				if err := os.Symlink(to, dir+link); err != nil {
					t.Fatal(err)
				}
			}
			g := newDeviceGuard(host, nil, nil)
			if err := g.own(dir + "/alias"); err != nil {
				t.Fatal(err)
			}
			do := func(name string) error {
				if way == "unlink" {
					return g.Unlink(dir + "/" + name)
				}
				flags := platform.ORdwr
				if way == "make" {
					flags |= platform.OCreat
				}
				fd, err := g.Open(dir+"/"+name, flags, 0o600)
				if err == nil {
					err = g.Close(fd)
				}
				return err
			}
			missing := strings.HasSuffix(row.name, "/none")
			want, refused := error(nil), row.refused
			switch {
			case row.name == "own/circle" && way != "unlink":
				want = syscall.ELOOP
			case row.name == "own/in" && way == "open":
				want = syscall.ENOENT
			case row.name == "other/victim/none":
				want = syscall.ENOTDIR
			case missing && way == "open", missing && way == "unlink" && !refused:
				want, refused = syscall.ENOENT, false
			case refused:
				want = syscall.EACCES
			}
			if err := do(row.name); !errors.Is(err, want) || (g.refused() != "") != refused {
				t.Errorf("%s %s: got %v, refused is %q, want %v", way, row.name, err, g.refused(), want)
			}
			for _, link := range []string{"own/link", "own/nowhere"} {
				want := syscall.EACCES
				if way == "unlink" {
					want = 0
				} else if way == "open" && link == "own/nowhere" {
					want = syscall.ENOENT
				}
				if err := do(link); err == nil != (want == 0) || err != nil && !errors.Is(err, want) {
					t.Errorf("%s %s: got %v, want %v", way, link, err, want)
				}
			}
			for name, there := range map[string]bool{"victim": true, "other/victim": true, "other/sub/victim": true, "new": false, "other/sub/none": false} {
				if _, err := os.Stat(dir + "/" + name); (err == nil) != there {
					t.Errorf("%s %s: %s is there: %v, want %t", way, row.name, name, err, there)
				}
			}
		}
	}
}
