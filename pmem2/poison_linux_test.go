package pmem2_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// TestPoisonedPage: what a bad block does to a program, and what heals it; for this
// user and, if that is root, for one without privileges.
func TestPoisonedPage(t *testing.T) {
	t.Run("this user", func(t *testing.T) {
		t.Logf("uid %d", os.Getuid())
		t.Run("device DAX", func(t *testing.T) { poisonedPage(t, "device DAX") })
		t.Run("file", func(t *testing.T) { poisonedPage(t, "file") })
	})
	t.Run("nobody", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("not root: this user has no privileges")
		}
		cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestPoisonedPage$/^this_user$")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("uid 65534")) || bytes.Count(out, []byte("--- PASS")) != 4 {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func poisonedPage(t *testing.T, kind string) {
	const off = devPage + 5*page // of the bad block
	s := newStage(t, emuDefault)
	var fd int
	var poison func() error
	if kind == "file" {
		fs := s.m.AddFS(daxFS)
		f, err := fs.Create("f", 2*devPage)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		fd = s.open(fs.Path("f"), platform.ORdwr)
		poison = func() error { return fs.AddBadBlock("f", off, 512) }
	} else {
		d := s.m.AddDevDax(emu.DevDax{Size: 2 * devPage, Align: devPage})
		fd = s.open(d.Path(), platform.ORdwr)
		poison = func() error { return d.AddBadBlock(off, 512) }
	}
	src := s.source(fd)
	before := s.newMap(config(pmem2.GranularityCacheLine), src)
	if err := before.Memset(before.Bytes(), 7, 0); err != nil {
		t.Fatal(err)
	}
	if err := poison(); err != nil {
		t.Fatal(err)
	}
	after := s.newMap(config(pmem2.GranularityCacheLine), src)
	held := len(s.Outstanding())
	for name, m := range map[string]*pmem2.Map{"mapped before": before, "mapped after": after} {
		b := m.Bytes()
		for _, at := range []int{off, off + 511} {
			expectFault(t, name+", load", &b[at], func() { sink = b[at] })
			expectFault(t, name+", store", &b[at], func() { b[at] = 9 })
		}
		expectFault(t, name+", Memcpy from there", &b[off], func() { m.Memcpy(b[:64], b[off:][:64], 0) })
		expectFault(t, name+", Memset of it", &b[off], func() { m.Memset(b[off:][:64], 1, 0) })
		if b[off-1] != 7 || b[off+page] != 7 {
			t.Errorf("%s: the neighbours hold %d and %d, want 7", name, b[off-1], b[off+page])
		}
	}

	// A program's own handler isn't asked, and the setting is as it was.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGBUS)
	defer signal.Stop(signals)
	for _, setting := range []bool{false, true} {
		old := debug.SetPanicOnFault(setting)
		for _, r := range []struct{ off, n uint64 }{{off, 1}, {off, 512}, {off - page, 2 * page}, {0, 2 * devPage}, {off + 1, page - 1}} {
			buf := make([]byte, r.n)
			if err := src.PreadMCSafe(buf, r.off); !errors.Is(err, pmem2.ErrIOFail) {
				t.Errorf("PreadMCSafe of %d bytes at %d: %v, want ErrIOFail", r.n, r.off, err)
			}
		}
		for _, r := range []struct{ off, n uint64 }{{off, 1}, {off, 512}, {off - 64, 128}} {
			if err := src.PwriteMCSafe(bytes.Repeat([]byte{7}, int(r.n)), r.off); !errors.Is(err, pmem2.ErrIOFail) {
				t.Errorf("PwriteMCSafe of %d bytes at %d: %v, want ErrIOFail", r.n, r.off, err)
			}
		}
		for _, r := range []struct{ off, n uint64 }{{0, off}, {off + page, devPage - 6*page}} {
			buf := make([]byte, r.n)
			if err := src.PreadMCSafe(buf, r.off); err != nil || !bytes.Equal(buf, bytes.Repeat([]byte{7}, int(r.n))) {
				t.Errorf("PreadMCSafe of %d bytes at %d: %v", r.n, r.off, err)
			}
		}
		if got := debug.SetPanicOnFault(old); got != setting {
			t.Errorf("SetPanicOnFault was %t and is %t", setting, got)
		}
	}
	if len(signals) != 0 {
		t.Error("a signal handler was called")
	}
	if got := len(s.Outstanding()); got != held {
		t.Errorf("%d things are held, %d were: %v", got, held, s.Outstanding())
	}

	c, err := pmem2.NewBadBlockContext(src)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Delete()
	bad, err := c.Next()
	want := pmem2.BadBlock{Offset: off, Length: 512}
	if kind == "file" {
		want.Length = page
	}
	if err != nil || bad != want {
		t.Fatalf("Next: got %v, %v; want %v", bad, err, want)
	}
	if _, err := c.Next(); !errors.Is(err, pmem2.ErrNoBadBlockFound) {
		t.Errorf("Next again: %v", err)
	}
	if err := c.Clear(bad); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*pmem2.Map{"mapped before": before, "mapped after": after} {
		b := m.Bytes()
		if !bytes.Equal(b[off:off+bad.Length], make([]byte, bad.Length)) || b[off-1] != 7 || b[off+page] != 7 {
			t.Errorf("%s: %d %x… %d after Clear", name, b[off-1], b[off:off+16], b[off+page])
		}
	}
	after.Bytes()[off] = 3
	buf := make([]byte, 1)
	if err := src.PreadMCSafe(buf, off); err != nil || buf[0] != 3 {
		t.Errorf("PreadMCSafe after Clear: %v, %d", err, buf[0])
	}
	if c, err := pmem2.NewBadBlockContext(src); err != nil || count(c) != 0 {
		t.Errorf("a new context: %v", err)
	}
}

var sink byte

// expectFault expects f to fault at p, in a way that can be recovered from.
func expectFault(t *testing.T, what string, p *byte, f func()) {
	t.Helper()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		t.Helper()
		fault, ok := recover().(interface {
			runtime.Error
			Addr() uintptr
		})
		if !ok {
			t.Errorf("%s: no fault", what)
		} else if got, want := fault.Addr(), uintptr(unsafe.Pointer(p)); got != want {
			t.Errorf("%s: fault at %#x, want %#x", what, got, want)
		}
	}()
	f()
}

// TestGuardIsForItsRangeAlone: a fault in the caller's own buffer isn't taken for
// one of the media.
func TestGuardIsForItsRangeAlone(t *testing.T) {
	s := newStage(t, emuDefault)
	src := s.source(s.open(s.m.AddDevDax(emu.DevDax{Size: devPage}).Path(), platform.ORdwr))
	at, err := s.Mmap(0, page, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Munmap(at, page)
	buf := platform.Bytes(at, page)
	expectFault(t, "PreadMCSafe", &buf[0], func() { src.PreadMCSafe(buf, 0) })
	expectFault(t, "PwriteMCSafe", &buf[0], func() { src.PwriteMCSafe(buf, 0) })
	if n := len(s.Outstanding()); n != 2 {
		t.Errorf("%d things are held: %v", n, s.Outstanding())
	}
}
