package pmemset

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// ways are the two ways to a temporary file: the second is that of a file system that
// knows no files without a name.
var ways = map[string]string{"O_TMPFILE": "", "unlinked": "(EOPNOTSUPP (Flags O_TMPFILE))"}

func TestSourceFromTemporary(t *testing.T) {
	umask(t, 0o022)
	onEachSite(t, func(t *testing.T, s *site) {
		file := s.file("file", 1000, 0o600)
		for way, plan := range ways {
			t.Run(way, func(t *testing.T) {
				if plan != "" {
					s.fault.Set(fault.MustParse(plan))
				}
				defer s.fault.Set()
				names := s.names()
				src, err := SourceFromTemporary(s.dir, On(s))
				if err != nil {
					t.Fatal(err)
				}
				st, err := s.Fstat(src.fd)
				if err != nil || st.Mode != platform.SIFREG|0o600 || st.Size != 0 {
					t.Errorf("fstat: %+v, %v; want an empty file of mode 0600", st, err)
				}
				if fl, err := s.GetFL(src.fd); err != nil || fl&platform.OAccmode != platform.ORdwr {
					t.Errorf("flags %#x, %v; want O_RDWR", fl, err)
				}
				if src.kind != fromTemporary || src.path != s.dir || src.flags != 0 {
					t.Errorf("the source is %+v", src)
				}
				if got := s.names(); got != names {
					t.Errorf("the directory holds %s, want %s", got, names)
				}
				if len(s.Outstanding()) != 1 {
					t.Errorf("held: %q", s.Outstanding())
				}
				deleteSource(t, src)
				s.holds()
			})
		}
		for path, want := range map[string]error{
			"":                               ErrInvalidSourcePath,
			s.path("none"):                   ErrInvalidSourcePath,
			s.path("none/"):                  ErrInvalidSourcePath,
			s.path("no/none"):                ErrInvalidSourcePath,
			file:                             ErrCannotCreateTempFile,
			file + "/":                       syscall.ENOTDIR,
			file + "/x":                      syscall.ENOTDIR,
			s.path(strings.Repeat("n", 256)): syscall.ENAMETOOLONG,
			s.path("n\x00"):                  syscall.EINVAL,
		} {
			src, err := SourceFromTemporary(path, On(s))
			is(t, fmt.Sprintf("%.60q", path), err, want)
			if src != nil {
				t.Errorf("%.60q: a source comes with the error", path)
			}
			s.holds()
		}
	})
}

// TestTemporaryRefusals: what open may say, and what that means.
func TestTemporaryRefusals(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		for _, tc := range []struct {
			plan string
			want error
		}{
			{"(EOPNOTSUPP (Flags O_TMPFILE))", nil},
			{"(EISDIR (Flags O_TMPFILE))", nil},
			{"(EINVAL (Flags O_TMPFILE))", nil},
			{"(ENOENT (Flags O_TMPFILE))", nil},
			{"(EACCES (Flags O_TMPFILE))", ErrCannotCreateTempFile},
			{"(EROFS (Flags O_TMPFILE))", ErrCannotCreateTempFile},
			{"(ENOSPC (Flags O_TMPFILE))", ErrCannotCreateTempFile},
			{"(EMFILE (Op open))", ErrCannotCreateTempFile},
			{"(ENFILE (Op open))", ErrCannotCreateTempFile},
			{"(EACCES (Op open))", syscall.EACCES}, // also of the directory
			{"(ENOENT (Op open))", ErrInvalidSourcePath},
			{"(EOPNOTSUPP (Flags O_TMPFILE)) (EEXIST (And (Flags O_EXCL) (OnIndex 0)))", nil},
			{"(EOPNOTSUPP (Flags O_TMPFILE)) (EEXIST (Flags O_EXCL))", ErrCannotCreateTempFile},
			{"(EOPNOTSUPP (Flags O_TMPFILE)) (EACCES (Flags O_EXCL))", ErrCannotCreateTempFile},
			{"(EOPNOTSUPP (Flags O_TMPFILE)) (ENOENT (Flags O_EXCL))", ErrCannotCreateTempFile},
			{"(EOPNOTSUPP (Flags O_TMPFILE)) (EIO (And (Op unlink) (OnIndex 0)))", nil},
		} {
			s.fault.Set(fault.MustParse(tc.plan))
			names := s.names()
			src, err := SourceFromTemporary(s.dir, On(s))
			s.fault.Set()
			is(t, tc.plan, err, tc.want)
			if (src == nil) == (tc.want == nil) {
				t.Errorf("%s: the source is %v", tc.plan, src)
			}
			if got := s.names(); got != names {
				t.Errorf("%s: the directory holds %s, want %s", tc.plan, got, names)
			}
			deleteSource(t, src)
			s.holds()
		}
	})
}

// TestTemporaryUmask: the process's umask isn't touched.
func TestTemporaryUmask(t *testing.T) {
	umask(t, 0o037)
	s := newSite(t, platform.Host(), t.TempDir())
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			status, err := os.ReadFile("/proc/self/status")
			if err == nil && !strings.Contains(string(status), "\nUmask:\t0037\n") {
				err = errors.New("the umask has changed")
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	s.fault.Set(fault.MustParse(ways["unlinked"]))
	for range 200 {
		src, err := SourceFromTemporary(s.dir, On(s))
		if err != nil {
			t.Error(err)
			break
		}
		deleteSource(t, src)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestTemporaryCrash: a process that is killed leaves no temporary file, mapped or not.
func TestTemporaryCrash(t *testing.T) {
	const variable = "PMEMSET_TEST_TEMPORARY"
	if dir := os.Getenv(variable); dir != "" {
		crashWithTemporaries(dir)
	}
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestTemporaryCrash$")
	cmd.Env = append(os.Environ(), variable+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if waited := cmd.Wait(); line != "two files\n" || waited == nil {
		t.Fatalf("the child said %q (%v) and ended with %v", line, err, waited)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended with %v, want SIGKILL", cmd.ProcessState)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// crashWithTemporaries makes two temporary files, maps them, and ends the process.
func crashWithTemporaries(dir string) {
	for _, plan := range ways {
		p := fault.Wrap(platform.Host())
		if plan != "" {
			p.Set(fault.MustParse(plan))
		}
		src, err := SourceFromTemporary(dir, On(p))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		cfg := pmem2.NewConfig()
		if err := errors.Join(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), unix.Ftruncate(src.fd, 4096)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		m, err := pmem2.NewMap(cfg, src.pmem2)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		m.Bytes()[0] = 1
	}
	fmt.Println("two files")
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
}
