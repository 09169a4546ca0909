package pmemset

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
)

// TestSourceFaults fails each call that making a source makes, in turn: no descriptor
// is left open, no file made, none emptied, unless the error says so.
func TestSourceFaults(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		path := s.path("file")
		for _, tc := range []struct {
			name    string
			present bool
			setup   string // a plan that holds all the time
			open    func() (*Source, error)
		}{
			{"SourceFromFile", true, "", func() (*Source, error) { return SourceFromFile(path, On(s)) }},
			{"if needed, not there", false, "", func() (*Source, error) { return XSourceFromFile(path, SourceFileCreateIfNeeded, On(s)) }},
			{"if needed, there", true, "", func() (*Source, error) { return XSourceFromFile(path, SourceFileCreateIfNeeded, On(s)) }},
			{"always, not there", false, "", func() (*Source, error) { return XSourceFromFile(path, CreateAlwaysMode(0o200), On(s)) }},
			{"always, there", true, "", func() (*Source, error) { return XSourceFromFile(path, SourceFileCreateAlways, On(s)) }},
			{"temporary", false, "", func() (*Source, error) { return SourceFromTemporary(s.dir, On(s)) }},
			{"temporary with a name", false, "(EOPNOTSUPP (Flags O_TMPFILE))", func() (*Source, error) { return SourceFromTemporary(s.dir, On(s)) }},
		} {
			t.Run(tc.name, func(t *testing.T) {
				for _, errno := range []syscall.Errno{syscall.EIO, syscall.EMFILE, syscall.EACCES} {
					for n := 0; ; n++ {
						s.remove(path)
						before := "none"
						if tc.present {
							s.file("file", 1000, 0o640)
							before = s.stat(path)
						}
						names := s.names()
						plans := []fault.Plan{fault.FailCall(errno, n)}
						if tc.setup != "" {
							plans = append(plans, fault.MustParse(tc.setup))
						}
						s.fault.Set(plans...)
						s.fault.Reset()
						s.fault.StartRecording(0)
						src, err := tc.open()
						failed := injected(s.fault.Log(), n)
						s.fault.Set()
						if failed == nil {
							is(t, "without a fault", err, nil)
							deleteSource(t, src)
							break
						}
						what := fmt.Sprintf("with %v", failed)
						if err == nil {
							// What is done another way, or again, may succeed.
							if failed.Op != fault.OpUnlink && failed.Op != fault.OpOpen {
								t.Errorf("%s: no error", what)
							}
							deleteSource(t, src)
							s.holds()
							continue
						}
						if src != nil || !errors.Is(err, errno) {
							t.Errorf("%s: got %v, %v", what, src, err)
						}
						s.holds()
						if got := s.stat(path); got != before {
							t.Errorf("%s: there is %s, want %s (%v)", what, got, before, err)
						}
						if got := s.names(); got != names {
							t.Errorf("%s: the directory holds %s, want %s (%v)", what, got, names, err)
						}
					}
				}
			})
		}
	})
}

// injected is the n-th call if it was made to fail.
func injected(log []fault.Call, n int) *fault.Call {
	for _, c := range log {
		if c.Seq == n && c.Injected {
			return &c
		}
	}
	return nil
}

// names lists the directory of a site on the host.
func (s *site) names() string {
	if s.fault.Platform != platform.Host() {
		return ""
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// TestSourceFaultsLeave: what can't be taken back is named.
func TestSourceFaultsLeave(t *testing.T) {
	onEachSite(t, func(t *testing.T, s *site) {
		path := s.path("file")
		s.fault.Set(fault.MustParse("(EIO (Op get-fl)) (EROFS (Op unlink))"))
		src, err := XSourceFromFile(path, SourceFileCreateIfNeeded, On(s))
		s.fault.Set()
		if src != nil || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), `left behind: the new file "`+path+`" (read-only file system)`) {
			t.Errorf("a file that can't be taken away: %v, %v", src, err)
		}
		s.holds()
		if got := s.stat(path); !strings.HasSuffix(got, " 0 bytes") {
			t.Errorf("the file is %s", got)
		}
		s.fault.Set(fault.MustParse("(EOPNOTSUPP (Flags O_TMPFILE)) (EROFS (Op unlink))"))
		src, err = SourceFromTemporary(s.dir, On(s))
		s.fault.Set()
		is(t, "a temporary file that keeps its name", err, ErrCannotCreateTempFile)
		_, name, found := strings.Cut(err.Error(), `left behind: the file "`)
		name, _, _ = strings.Cut(name, `"`)
		if src != nil || !found || s.stat(name) == "none" {
			t.Errorf("a temporary file that keeps its name: %v", err)
		}
		s.holds()
		s.remove(name)
		s.fault.Set(fault.MustParse("(EIO (Op get-fl close))"))
		_, err = SourceFromFile(path, On(s))
		s.fault.Set()
		if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "left behind: descriptor ") {
			t.Errorf("a file that can't be closed: %v", err)
		}
	})
}

// TestLinkCreatedAndLost: a file that came to be where a link leads can't be called
// ours.
func TestLinkCreatedAndLost(t *testing.T) {
	s := newSite(t, platform.Host(), t.TempDir())
	if err := os.Symlink("target", s.path("link")); err != nil {
		t.Fatal(err)
	}
	s.fault.Set(fault.MustParse("(EIO (Op get-fl))"))
	_, err := XSourceFromFile(s.path("link"), SourceFileCreateIfNeeded, On(s))
	s.fault.Set()
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), `left behind: the file "`+s.path("link")) {
		t.Errorf("got %v", err)
	}
	if got := s.names(); got != "link target" {
		t.Errorf("the directory holds %s", got)
	}
}
