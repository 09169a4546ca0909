package emu_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// TestOpenAsHost holds open(2) of an emulated file system against that of the kernel
// beneath, for every combination of flags on every kind of name: the errno, what the
// descriptor is of, and what is there afterwards.
func TestOpenAsHost(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 64 << 20})
	host := platform.Host()
	root := t.TempDir()
	bits := []struct {
		name string
		flag int
	}{
		{"O_CREAT", platform.OCreat},
		{"O_EXCL", platform.OExcl},
		{"O_TRUNC", platform.OTrunc},
		{"O_DIRECTORY", platform.ODirectory},
		{"__O_TMPFILE", platform.OTmpfile &^ platform.ODirectory},
		{"O_PATH", platform.OPath},
	}
	names := []string{
		"missing", "file", "dir", "full", "missing/", "file/", "dir/", "no/file", "file/x", "dir/x", "full/file",
		"dir/.", "dir/..", "file/.", "dir//x", "", "/", ".", "./missing", "file\x00", "missing\x00x",
		strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("dir/../", 600) + "file",
	}
	n := 0
	for access, accessName := range []string{"O_RDONLY", "O_WRONLY", "O_RDWR"} {
		for set := range 1 << len(bits) {
			flags, text := access, accessName
			for i, b := range bits {
				if set&(1<<i) != 0 {
					flags |= b.flag
					text += "|" + b.name
				}
			}
			// What O_CREAT with O_DIRECTORY does depends on the kernel's age.
			if flags&platform.OCreat != 0 && flags&platform.OTmpfile == platform.ODirectory && flags&platform.OPath == 0 {
				continue
			}
			for _, name := range names {
				n++
				d := fmt.Sprintf("%d", n)
				want := openIn(t, host, filepath.Join(root, d), name, flags, func(dir string) {
					for _, f := range []string{dir + "/dir", dir + "/full"} {
						if err := os.MkdirAll(f, 0o755); err != nil {
							t.Fatal(err)
						}
					}
					for _, f := range []string{dir + "/file", dir + "/full/file"} {
						if err := os.WriteFile(f, make([]byte, 5), 0o644); err != nil {
							t.Fatal(err)
						}
					}
				})
				got := openIn(t, m, fs.Path(d), name, flags, func(string) {
					if err := fs.Mkdir(d); err != nil {
						t.Fatal(err)
					}
					if err := fs.Mkdir(d + "/dir"); err != nil {
						t.Fatal(err)
					}
					for _, f := range []string{d + "/file", d + "/full/file"} {
						f, err := fs.Create(f, 5)
						if err != nil {
							t.Fatal(err)
						}
						if err := f.Close(); err != nil {
							t.Fatal(err)
						}
					}
				})
				if got != want {
					t.Errorf("open(%.40q, %s): got %s, want as the host %s", name, text, got, want)
				}
				for _, name := range []string{"missing", "file", "dir/x", "dir", strings.Repeat("n", 255), "full/file", "full", ""} {
					if err := fs.Remove(d + "/" + name); err != nil && !errors.Is(err, syscall.ENOENT) && name != "" {
						t.Fatal(err)
					}
				}
				if err := os.RemoveAll(filepath.Join(root, d)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// openIn opens a name in a fresh directory and says what came of it.
func openIn(t *testing.T, p platform.Platform, dir, name string, flags int, populate func(dir string)) string {
	t.Helper()
	populate(dir)
	var answer string
	fd, err := p.Open(dir+"/"+name, flags, 0o6753)
	if err != nil {
		answer = unix.ErrnoName(err.(syscall.Errno))
	} else {
		st, err := p.Fstat(fd)
		if err != nil {
			t.Fatal(err)
		}
		size := st.Size
		if st.Type() == platform.SIFDIR {
			size = 0
		}
		fl, err := p.GetFL(fd)
		if err != nil {
			t.Fatal(err)
		}
		const told = platform.OAccmode | platform.OPath
		answer = fmt.Sprintf("mode %#o, %d bytes, flags %#x", st.Mode, size, fl&told)
		if err := p.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
	answer += "; then"
	for _, f := range []string{"missing", "file", "dir/x"} {
		fd, err := p.Open(dir+"/"+f, platform.OPath, 0)
		if err != nil {
			answer += " " + unix.ErrnoName(err.(syscall.Errno))
			continue
		}
		st, err := p.Fstat(fd)
		if err != nil {
			t.Fatal(err)
		}
		answer += fmt.Sprintf(" %#o/%d", st.Mode, st.Size)
		if err := p.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
	return answer
}

// TestUmask: the umask of the process counts on the emulated machine as on its own.
func TestUmask(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 64 << 20})
	host, root := platform.Host(), t.TempDir()
	defer unix.Umask(unix.Umask(0))
	for i, mask := range []int{0, 0o022, 0o027, 0o077, 0o400, 0o777} {
		unix.Umask(mask)
		for _, mode := range []uint32{0, 0o600, 0o644, 0o777, 0o4755, 0o7777} {
			for flags, name := range map[int]string{
				platform.OCreat | platform.OExcl: fmt.Sprintf("/%d-%o", i, mode),
				platform.OTmpfile:                "/.",
			} {
				var modes [2]uint32
				for i, on := range []struct {
					platform.Platform
					root string
				}{{m, fs.Path("")}, {host, root}} {
					fd, err := on.Open(on.root+name, platform.ORdwr|flags, mode)
					if err != nil {
						t.Fatal(err)
					}
					st, err := on.Fstat(fd)
					if err != nil {
						t.Fatal(err)
					}
					modes[i] = st.Mode
					if err := on.Close(fd); err != nil {
						t.Fatal(err)
					}
				}
				if modes[0] != modes[1] {
					t.Errorf("mode %#o, umask %#o, flags %#x: got %#o, want %#o as the host", mode, mask, flags, modes[0], modes[1])
				}
			}
		}
	}
}

// TestOpenWithoutDescriptors: an open that fails for want of a descriptor makes no file.
func TestOpenWithoutDescriptors(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 20})
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	lowest, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(lowest); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(lowest) + 1 // enough for the file, not for who opens it
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	_, err = m.Open(fs.Path("f"), platform.ORdwr|platform.OCreat, 0o644)
	if failure := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); failure != nil {
		t.Fatal(failure)
	}
	if err != unix.EMFILE {
		t.Errorf("open without descriptors: got %v, want EMFILE", err)
	}
	f, err := fs.Open("f", platform.ORdwr|platform.OCreat|platform.OExcl, 0o644)
	if err != nil {
		t.Fatalf("the name is taken: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
