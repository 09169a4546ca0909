package fault_test

import (
	"errors"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
)

// placeFile maps a new file behind a placeholder and gives all of it back, also
// after a failure: the operation of the sweep.
func placeFile(p platform.Platform, path string) (err error) {
	undo := func(step func() error) { err = errors.Join(err, step()) }
	fd, err := p.Open(path, platform.ORdwr|platform.OCreat, 0o600)
	if err != nil {
		return err
	}
	defer undo(func() error { return p.Unlink(path) })
	defer undo(func() error { return p.Close(fd) })
	n := p.PageSize()
	if err := p.Ftruncate(fd, int64(n)); err != nil {
		return err
	}
	at, err := p.Mmap(0, 2*n, platform.ProtNone, platform.MapPrivate|platform.MapAnonymous, -1, 0)
	if err != nil {
		return err
	}
	defer undo(func() error { return p.Munmap(at, 2*n) })
	got, err := p.Mmap(0, n, platform.ProtRead|platform.ProtWrite, platform.MapShared, fd, 0)
	if err != nil {
		return err
	}
	if _, err := p.Mremap(got, n, n, platform.MremapMaymove|platform.MremapFixed, at+uintptr(n)); err != nil {
		return errors.Join(err, p.Munmap(got, n))
	}
	platform.Bytes(at+uintptr(n), n)[0] = 1
	return p.Msync(at, 2*n, platform.MsSync)
}

// TestSweepOnHost fails each call of an operation on the machine that the test
// runs on, and sees with a ledger what each failure leaves.
func TestSweepOnHost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f := fault.Wrap(platform.Host())
	f.StartRecording(0)
	if err := placeFile(f, path); err != nil {
		t.Fatal(err)
	}
	calls := f.Log()
	var kinds []string
	for _, c := range calls {
		kinds = append(kinds, c.Op.String())
	}
	want := []string{"open", "ftruncate", "mmap", "mmap", "mremap", "msync", "munmap", "close", "unlink"}
	if !slices.Equal(kinds, want) {
		t.Fatalf("the operation makes the calls %v, want %v", kinds, want)
	}
	for _, c := range calls {
		f.Set(fault.FailCall(syscall.EIO, c.Seq))
		f.Reset()
		l := ledger.New(f)
		if err := placeFile(l, path); !errors.Is(err, syscall.EIO) {
			t.Errorf("with a fault in %v the operation returns %v, want EIO", c, err)
		}
		if log := f.Log(); len(log) <= c.Seq || log[c.Seq].Op != c.Op || !log[c.Seq].Injected {
			t.Errorf("no fault in %v: %v", c, log)
		}
		var left int
		if c.Op == fault.OpMunmap {
			left = 2 // what is left of the placeholder, and the file
		}
		if held := l.Outstanding(); len(held) != left {
			t.Errorf("with a fault in %v these are left: %q, want %d of them", c, held, left)
		}
		f.Set()
		switch c := f.Log()[c.Seq]; c.Op { // what the fault kept from happening
		case fault.OpMunmap:
			f.Munmap(c.Addr, c.Length)
		case fault.OpClose:
			f.Close(c.FD)
		case fault.OpUnlink:
			f.Unlink(c.Path)
		}
	}
}
