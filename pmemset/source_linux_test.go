package pmemset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
)

// site is a machine with a directory to try sources in. Whatever is opened there must
// be closed at the end of the test.
type site struct {
	t *testing.T
	*ledger.Ledger
	fault *fault.Platform
	dir   string
}

// onEachSite runs a test on the host and on an emulated machine.
func onEachSite(t *testing.T, f func(*testing.T, *site)) {
	t.Run("host", func(t *testing.T) { f(t, newSite(t, platform.Host(), t.TempDir())) })
	t.Run("emulated", func(t *testing.T) {
		m := emu.NewMachine(emu.Config{})
		t.Cleanup(func() {
			if err := m.Shutdown(); err != nil {
				t.Error(err)
			}
		})
		f(t, newSite(t, m, strings.TrimSuffix(m.AddFS(emu.FS{Size: 64 << 20}).Path(""), "/")))
	})
}

func newSite(t *testing.T, p platform.Platform, dir string) *site {
	f := fault.Wrap(p)
	s := &site{t: t, Ledger: ledger.New(closing{f, p}), fault: f, dir: dir}
	t.Cleanup(func() { s.holds() })
	return s
}

// closing closes a descriptor also where a fault says that it didn't work, as Linux
// does.
type closing struct {
	platform.Platform
	beneath platform.Platform
}

func (c closing) Close(fd int) error {
	err := c.Platform.Close(fd)
	if err != nil {
		_ = c.beneath.Close(fd)
	}
	return err
}

func (s *site) path(name string) string { return s.dir + "/" + name }

// holds fails the test unless descriptors are open of exactly these paths.
func (s *site) holds(names ...string) {
	s.t.Helper()
	held := s.Outstanding()
	ok := len(held) == len(names)
	for i := range min(len(held), len(names)) {
		ok = ok && strings.HasSuffix(held[i], " of "+names[i])
	}
	if !ok {
		s.t.Errorf("held: %q, want descriptors of %q", held, names)
	}
}

// file makes a file of that size and mode, whatever the umask.
func (s *site) file(name string, size int64, mode uint32) string {
	s.t.Helper()
	defer unix.Umask(unix.Umask(0))
	fd, err := s.Open(s.path(name), platform.ORdwr|platform.OCreat|platform.OExcl, mode)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := errors.Join(s.Ftruncate(fd, size), s.Close(fd)); err != nil {
		s.t.Fatal(err)
	}
	return s.path(name)
}

// stat says what is at a path: "none", or the mode and size of a file.
func (s *site) stat(path string) string {
	s.t.Helper()
	fd, err := s.Open(path, platform.OPath, 0)
	if errors.Is(err, syscall.ENOENT) {
		return "none"
	}
	if err != nil {
		s.t.Fatal(err)
	}
	st, err := s.Fstat(fd)
	if err := errors.Join(err, s.Close(fd)); err != nil {
		s.t.Fatal(err)
	}
	if st.Type() == platform.SIFREG {
		return fmt.Sprintf("%#o, %d bytes", st.Mode&0o7777, st.Size)
	}
	return fmt.Sprintf("%#o", st.Mode)
}

// remove takes a file away if there is one.
func (s *site) remove(path string) {
	s.t.Helper()
	if err := s.Unlink(path); err != nil && !errors.Is(err, syscall.ENOENT) {
		s.t.Fatal(err)
	}
}

// umask sets the umask for the rest of the test.
func umask(t *testing.T, mask int) {
	old := unix.Umask(mask)
	t.Cleanup(func() { unix.Umask(old) })
}

// delete deletes a source, and once more.
func deleteSource(t *testing.T, s *Source) {
	t.Helper()
	if err := errors.Join(s.Delete(), s.Delete()); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

// is fails the test unless err is exactly that: nil, a code, pmem2's or an errno.
func is(t *testing.T, what string, err, want error) {
	t.Helper()
	if want == nil && err != nil || !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
	var e *Error
	if err != nil && !errors.As(err, &e) {
		t.Errorf("%s: %T isn't an *Error", what, err)
		return
	}
	if _, isErrno := want.(syscall.Errno); isErrno && e != nil && e.Code != 0 {
		t.Errorf("%s: %v has a code, want the errno alone", what, err)
	}
}

// TestSourceFileFlags: every combination of flags and modes, on a file that is there
// and on one that isn't.
func TestSourceFileFlags(t *testing.T) {
	umask(t, 0o027)
	modes := []uint32{0, 0o200, 0o400, 0o600, 0o644, 0o640, 0o666, 0o777,
		SourceFileRWXU, SourceFileRUSR | SourceFileWGRP | SourceFileXOTH}
	onEachSite(t, func(t *testing.T, s *site) {
		for flags := SourceFlags(0); flags < 8; flags++ {
			for _, mode := range modes {
				for _, present := range []bool{false, true} {
					what := fmt.Sprintf("flags %d, mode %#o, file there %t", flags, mode, present)
					path := s.path("f")
					if present {
						s.file("f", 1000, 0o640)
					}
					create := flags&3 != 0
					src, err := XSourceFromFile(path, flags|CreateMode(mode), On(s))
					want := "0640, 1000 bytes"
					switch {
					case !present && !create:
						want = "none"
						if flags == 0 && mode == 0 {
							is(t, what, err, ErrInvalidSourcePath)
						} else {
							is(t, what, err, syscall.ENOENT)
						}
					case !present:
						made := mode
						if made == 0 {
							made = 0o644
						}
						want = fmt.Sprintf("%#o, 0 bytes", made&^0o027)
					case flags&SourceFileCreateAlways != 0:
						want = "0640, 0 bytes"
					}
					if got := s.stat(path); got != want {
						t.Errorf("%s: there is %s, want %s", what, got, want)
					}
					if present || create {
						is(t, what, err, nil)
						s.holds(path)
						if fl, err := s.GetFL(src.fd); err != nil || fl&platform.OAccmode != platform.ORdwr {
							t.Errorf("%s: flags of the descriptor: %#x, %v", what, fl, err)
						}
						if src.kind != fromFile || src.path != path || src.flags != flags|CreateMode(mode) || src.machine != platform.Platform(s) {
							t.Errorf("%s: the source is %+v", what, src)
						}
					} else if src != nil {
						t.Errorf("%s: a source comes with the error", what)
					}
					deleteSource(t, src)
					s.holds()
					s.remove(path)
				}
			}
		}
	})
}

// TestSourceFlagValues: the bits of C, and none other is taken.
func TestSourceFlagValues(t *testing.T) {
	for _, tc := range []struct {
		name string
		got  SourceFlags
		want uint64
	}{
		{"CREATE_ALWAYS", SourceFileCreateAlways, 1},
		{"CREATE_IF_NEEDED", SourceFileCreateIfNeeded, 2},
		{"TRUNCATE_IF_NEEDED", SourceFileTruncateIfNeeded, 4},
		{"DO_NOT_GROW", SourceFileDoNotGrow, 4},
		{"CREATE_MODE(0600)", CreateMode(0o600), 0o600 << 32},
		{"CREATE_ALWAYS_MODE(0741)", CreateAlwaysMode(SourceFileRWXU | SourceFileRGRP | SourceFileXOTH), 0o741<<32 | 1},
	} {
		if uint64(tc.got) != tc.want {
			t.Errorf("%s is %#x, want %#x", tc.name, uint64(tc.got), tc.want)
		}
	}
	for _, tc := range []struct{ got, want []uint32 }{
		{[]uint32{SourceFileRWXU, SourceFileRWU, SourceFileRUSR, SourceFileWUSR, SourceFileXUSR}, []uint32{0o700, 0o600, 0o400, 0o200, 0o100}},
		{[]uint32{SourceFileRWXG, SourceFileRWG, SourceFileRGRP, SourceFileWGRP, SourceFileXGRP}, []uint32{0o070, 0o060, 0o040, 0o020, 0o010}},
		{[]uint32{SourceFileRWXO, SourceFileRWO, SourceFileROTH, SourceFileWOTH, SourceFileXOTH}, []uint32{0o007, 0o006, 0o004, 0o002, 0o001}},
	} {
		if !slices.Equal(tc.got, tc.want) {
			t.Errorf("modes %#o, want %#o", tc.got, tc.want)
		}
	}
	onEachSite(t, func(t *testing.T, s *site) {
		path := s.file("f", 1000, 0o640)
		for bit := range 64 {
			if bit < 3 || bit >= 32 && bit < 41 {
				continue
			}
			for _, with := range []SourceFlags{0, SourceFileCreateAlways, SourceFileCreateIfNeeded | SourceFileDoNotGrow} {
				for _, path := range []string{path, s.path("new")} {
					src, err := XSourceFromFile(path, 1<<bit|with, On(s))
					is(t, fmt.Sprintf("bit %d with %d", bit, with), err, ErrInvalidSourceFileCreateFlags)
					deleteSource(t, src)
				}
			}
		}
		if got := s.stat(path) + "; " + s.stat(s.path("new")); got != "0640, 1000 bytes; none" {
			t.Errorf("after flags that don't exist: %s", got)
		}
		_, err := XSourceFromFile("", 8, On(s))
		is(t, "no path and a wrong flag", err, ErrInvalidSourcePath)
	})
}

// TestSourcePaths: what isn't a file, and paths that lead nowhere.
func TestSourcePaths(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		s.file("file", 1000, 0o640)
		for _, tc := range []struct {
			path            string
			plain, opened   error // without flags, with one that doesn't create
			created, always error
		}{
			{"", ErrInvalidSourcePath, ErrInvalidSourcePath, ErrInvalidSourcePath, ErrInvalidSourcePath},
			{s.path("no/file"), ErrInvalidSourcePath, syscall.ENOENT, syscall.ENOENT, syscall.ENOENT},
			{s.path("file/x"), syscall.ENOTDIR, syscall.ENOTDIR, syscall.ENOTDIR, syscall.ENOTDIR},
			{s.path(""), syscall.EISDIR, syscall.EISDIR, syscall.EISDIR, syscall.EISDIR},
			{s.path("new/"), ErrInvalidSourcePath, syscall.ENOENT, syscall.EISDIR, syscall.EISDIR},
			{s.path("n\x00"), syscall.EINVAL, syscall.EINVAL, syscall.EINVAL, syscall.EINVAL},
			{s.path(strings.Repeat("n", 256)), syscall.ENAMETOOLONG, syscall.ENAMETOOLONG, syscall.ENAMETOOLONG, syscall.ENAMETOOLONG},
		} {
			for flags, want := range map[SourceFlags]error{
				0: tc.plain, SourceFileDoNotGrow: tc.opened, SourceFileCreateIfNeeded: tc.created, SourceFileCreateAlways: tc.always,
			} {
				src, err := XSourceFromFile(tc.path, flags, On(s))
				is(t, fmt.Sprintf("%.60q with flags %d", tc.path, flags), err, want)
				if flags == 0 {
					_, plain := SourceFromFile(tc.path, On(s))
					is(t, fmt.Sprintf("%.60q", tc.path), plain, want)
				}
				if src != nil {
					t.Errorf("%.60q with flags %d: a source comes with the error", tc.path, flags)
				}
			}
		}
		if got := s.stat(s.path("file")) + "; " + s.stat(s.path("new")); got != "0640, 1000 bytes; none" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// TestSourceTypes: links, pipes, sockets and devices of the host.
func TestSourceTypes(t *testing.T) {
	umask(t, 0o022)
	s := newSite(t, platform.Host(), t.TempDir())
	file := s.file("file", 1000, 0o640)
	if err := errors.Join(
		os.Symlink("file", s.path("link")), os.Symlink("nowhere", s.path("dangling")),
		os.Symlink("loop", s.path("loop")), unix.Mkfifo(s.path("fifo"), 0o600),
		unix.Mknod(s.path("sock"), unix.S_IFSOCK|0o600, 0),
		// Never the node itself: a fault of ours would take it away from the machine.
		os.Symlink("/dev/null", s.path("null")),
	); err != nil {
		t.Fatal(err)
	}
	noFile := error(pmem2.ErrInvalidFileType)
	for _, tc := range []struct {
		path                 string
		plain, flag, creates error
	}{
		{s.path("link"), nil, nil, nil},
		{s.path("dangling"), ErrInvalidSourcePath, syscall.ENOENT, nil},
		{s.path("loop"), syscall.ELOOP, syscall.ELOOP, syscall.ELOOP},
		{s.path("fifo"), noFile, noFile, noFile},
		{s.path("sock"), noFile, noFile, noFile},
		{s.path("null"), noFile, noFile, noFile},
	} {
		for _, flags := range []SourceFlags{0, SourceFileDoNotGrow, SourceFileCreateIfNeeded, SourceFileCreateAlways} {
			want := tc.creates
			switch flags {
			case 0:
				want = tc.plain
			case SourceFileDoNotGrow:
				want = tc.flag
			}
			what := fmt.Sprintf("%s with flags %d", tc.path, flags)
			src, err := XSourceFromFile(tc.path, flags, On(s))
			is(t, what, err, want)
			deleteSource(t, src)
			s.holds()
			got, wantFile := s.stat(file), "0640, 1000 bytes"
			if flags == SourceFileCreateAlways && tc.path == s.path("link") {
				wantFile = "0640, 0 bytes"
			}
			if got != wantFile {
				t.Errorf("%s: there is %s, want %s", what, got, wantFile)
			}
			if err := os.Truncate(file, 1000); err != nil {
				t.Fatal(err)
			}
			if tc.path == s.path("dangling") {
				want := "none"
				if flags.creates() {
					want = "0644, 0 bytes"
				}
				if got := s.stat(s.path("nowhere")); got != want {
					t.Errorf("%s: where the link leads is %s, want %s", what, got, want)
				}
				s.remove(s.path("nowhere"))
			}
		}
	}
	left, err := filepath.Glob(s.dir + "/*")
	if err != nil || len(left) != 7 {
		t.Errorf("left in the directory: %q, %v", left, err)
	}
}

// TestSourceDelete: Delete closes what the source owns, once, at the end of the calls
// that are running.
func TestSourceDelete(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		path := s.file("file", 4096, 0o600)
		src, err := SourceFromFile(path, On(s))
		if err != nil {
			t.Fatal(err)
		}
		if first, second := src.acquire(), src.acquire(); !first || !second {
			t.Fatal("a new source can't be acquired twice")
		}
		deleteSource(t, src)
		s.holds(path)
		if src.acquire() {
			t.Error("a deleted source was acquired")
		}
		src.release()
		s.holds(path)
		if _, err := src.pmem2.Size(); err != nil {
			t.Errorf("the pmem2 source has gone before the last call: %v", err)
		}
		src.release()
		s.holds()
		if got := s.fault.Count(fault.OpClose); got == 0 {
			t.Error("no Close was counted")
		}
		closes := s.fault.Count(fault.OpClose)
		deleteSource(t, src)
		if got := s.fault.Count(fault.OpClose); got != closes {
			t.Errorf("%d more closes by another Delete", got-closes)
		}
		for name, src := range map[string]*Source{"nil": nil, "empty": {}, "deleted": src} {
			if src.acquire() {
				t.Errorf("a source that is %s was acquired", name)
			}
			_, alignment := src.Alignment()
			for op, err := range map[string]error{
				"Alignment": alignment, "PreadMCSafe": src.PreadMCSafe(nil, 0), "PwriteMCSafe": src.PwriteMCSafe(nil, 0),
				"ClearBadBlock":              src.ClearBadBlock(pmem2.BadBlock{}),
				"ClearBadBlock out of range": src.ClearBadBlock(pmem2.BadBlock{Offset: 1 << 63}),
				"SetBadBlockDetection":       src.SetBadBlockDetection(true), "SetSDS": src.SetSDS(SDS{}, nil),
			} {
				is(t, op+" of a source that is "+name, err, syscall.EINVAL)
			}
			deleteSource(t, src)
		}
	})
}

// TestSourceDeleteConcurrently: whoever is last closes the file, once.
func TestSourceDeleteConcurrently(t *testing.T) {
	s := newSite(t, platform.Host(), t.TempDir())
	path := s.file("file", 4096, 0o600)
	for range 50 {
		src, err := SourceFromFile(path, On(s))
		if err != nil {
			t.Fatal(err)
		}
		before := s.fault.Count(fault.OpClose)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					if err := src.PreadMCSafe(make([]byte, 8), 8); errors.Is(err, syscall.EINVAL) {
						return
					} else if err != nil {
						t.Errorf("a read while the source is deleted: %v", err)
						return
					}
				}
			})
		}
		wg.Go(func() { deleteSource(t, src) })
		wg.Wait()
		if n := s.fault.Count(fault.OpClose) - before; n != 1 {
			t.Fatalf("closed %d times", n)
		}
	}
}

// TestSourceFromPMem2: what isn't of a file is refused; what is belongs to its owner.
func TestSourceFromPMem2(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		path := s.file("file", 8192, 0o600)
		fd, err := s.Open(path, platform.ORdwr, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(fd)
		borrowed, err := pmem2.SourceFromFD(fd, pmem2.On(s))
		if err != nil {
			t.Fatal(err)
		}
		anonymous, err := pmem2.SourceFromAnon(4096, pmem2.On(s))
		if err != nil {
			t.Fatal(err)
		}
		deleted, err := pmem2.SourceFromFD(fd, pmem2.On(s))
		if err := errors.Join(err, deleted.Delete()); err != nil {
			t.Fatal(err)
		}
		for name, p2 := range map[string]*pmem2.Source{"nil": nil, "empty": {}, "anonymous": anonymous, "deleted": deleted} {
			src, err := SourceFromPMem2(p2)
			is(t, name, err, ErrInvalidPmem2Source)
			if src != nil {
				t.Errorf("%s: a source comes with the error", name)
			}
			if name == "anonymous" {
				is(t, name, err, pmem2.ErrFileDescriptorNotSet)
			}
		}
		src, err := SourceFromPMem2(borrowed)
		if err != nil {
			t.Fatal(err)
		}
		if src.machine != platform.Platform(s) || src.fd != fd || src.kind != fromPMem2 || src.pmem2 != borrowed {
			t.Errorf("the source is %+v", src)
		}
		is(t, "revalidate", src.revalidate("op"), nil)
		if n, err := src.Alignment(); n != 4096 || err != nil {
			t.Errorf("alignment %d, %v", n, err)
		}
		deleteSource(t, src)
		s.holds(path)
		if n, err := borrowed.Size(); n != 8192 || err != nil {
			t.Errorf("the pmem2 source's size is %d, %v after Delete", n, err)
		}
		again, err := SourceFromPMem2(borrowed)
		if err := errors.Join(err, borrowed.Delete()); err != nil {
			t.Fatal(err)
		}
		is(t, "revalidate", again.revalidate("op"), ErrInvalidPmem2Source)
		is(t, "a read", again.PreadMCSafe(make([]byte, 1), 0), syscall.EINVAL)
		_, err = again.Alignment()
		is(t, "the alignment", err, ErrInvalidAlignmentValue)
		deleteSource(t, again)
	})
}

// TestRevalidate: what NewPart asks of a file's or directory's path.
func TestRevalidate(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		path := s.file("file", 4096, 0o600)
		src, err := SourceFromFile(path, On(s))
		if err != nil {
			t.Fatal(err)
		}
		defer deleteSource(t, src)
		is(t, "the file is there", src.revalidate("op"), nil)
		s.holds(path)
		s.fault.Set(fault.MustParse("(EACCES (Op open))"))
		is(t, "it can't be reached", src.revalidate("op"), syscall.EACCES)
		s.fault.Set(fault.MustParse("(EIO (Op close))"))
		is(t, "close fails", src.revalidate("op"), syscall.EIO)
		s.fault.Set()
		s.holds(path)
		s.remove(path)
		is(t, "the file is gone", src.revalidate("op"), ErrInvalidSourcePath)
		if n, err := src.pmem2.Size(); n != 4096 || err != nil {
			t.Errorf("the source's size is %d, %v without a name", n, err)
		}

		tmp, err := SourceFromTemporary(s.dir, On(s))
		if err != nil {
			t.Fatal(err)
		}
		defer deleteSource(t, tmp)
		is(t, "the directory is there", tmp.revalidate("op"), nil)
	})
}
