package platform

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSysfsErrors: what a call says of a path is the errno of the kernel, plain.
func TestSysfsErrors(t *testing.T) {
	root := t.TempDir()
	h := &host{sysfs: root, pageSize: uint64(os.Getpagesize())}
	dir := filepath.Join(root, "bus/nd/devices/region0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "size"), []byte("4096\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "dev/char"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../bus/nd/devices/region0", filepath.Join(root, "dev/char/252:0")); err != nil {
		t.Fatal(err)
	}

	if got, err := h.ReadAttr("dev/char/252:0/size"); got != "4096\n" || err != nil {
		t.Errorf("ReadAttr through a link: %q, %v", got, err)
	}
	// ".." is taken from where the link leads.
	if got, err := h.List("dev/char/252:0/.."); len(got) != 1 || got[0] != "region0" || err != nil {
		t.Errorf("List of the link's parent: %q, %v", got, err)
	}
	if got, err := h.Readlink("dev/char/252:0"); got != "../../bus/nd/devices/region0" || err != nil {
		t.Errorf("Readlink: %q, %v", got, err)
	}
	if err := h.WriteAttr("dev/char/252:0/size", "8192\n"); err != nil {
		t.Errorf("WriteAttr: %v", err)
	}
	if got, _ := h.ReadAttr("bus/nd/devices/region0/size"); got != "8192\n" {
		t.Errorf("ReadAttr after WriteAttr: %q", got)
	}
	for name, tc := range map[string]struct {
		call func() error
		want syscall.Errno
	}{
		"ReadAttr, missing":   {func() error { _, err := h.ReadAttr("no/such"); return err }, syscall.ENOENT},
		"ReadAttr, directory": {func() error { _, err := h.ReadAttr("bus"); return err }, syscall.EISDIR},
		"WriteAttr, missing":  {func() error { return h.WriteAttr("no/such", "1") }, syscall.ENOENT},
		"Readlink, no link":   {func() error { _, err := h.Readlink("bus"); return err }, syscall.EINVAL},
		"Readlink, missing":   {func() error { _, err := h.Readlink("no"); return err }, syscall.ENOENT},
		"List, missing":       {func() error { _, err := h.List("no"); return err }, syscall.ENOENT},
		"List, no directory":  {func() error { _, err := h.List("bus/nd/devices/region0/size"); return err }, syscall.ENOTDIR},
		"Fstat, closed":       {func() error { _, err := h.Fstat(1 << 20); return err }, syscall.EBADF},
		"GetFL, closed":       {func() error { _, err := h.GetFL(1 << 20); return err }, syscall.EBADF},
		"ARSCapabilities, file": {func() error {
			fd, err := h.Open(filepath.Join(dir, "size"), ORdonly, 0)
			if err != nil {
				return err
			}
			defer h.Close(fd)
			_, err = h.ARSCapabilities(fd, 0, 4096)
			return err
		}, syscall.ENOTTY},
		"ClearError, closed": {func() error { _, err := h.ClearError(1<<20, 0, 4096); return err }, syscall.EBADF},
	} {
		if err := tc.call(); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		} else if _, plain := err.(syscall.Errno); !plain {
			t.Errorf("%s: %T is no plain errno", name, err)
		}
	}
}

// TestFileCalls runs the calls on a file once, on this kernel.
func TestFileCalls(t *testing.T) {
	h := Host()
	path := filepath.Join(t.TempDir(), "f")
	fd, err := h.Open(path, ORdwr|OCreat|OExcl, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(fd)
	page := int64(h.PageSize())
	if err := h.Ftruncate(fd, 4*page); err != nil {
		t.Fatal(err)
	}
	if n, err := h.Pwrite(fd, []byte("abc"), page-1); n != 3 || err != nil {
		t.Fatalf("Pwrite: %d, %v", n, err)
	}
	buf := make([]byte, 4)
	if n, err := h.Pread(fd, buf, page-1); n != 4 || err != nil || string(buf) != "abc\x00" {
		t.Fatalf("Pread: %d, %v, %q", n, err, buf)
	}
	if err := h.Fsync(fd); err != nil {
		t.Fatal(err)
	}
	st, err := h.Fstat(fd)
	if err != nil || st.Type() != SIFREG || st.Size != 4*page {
		t.Fatalf("Fstat: %+v, %v", st, err)
	}
	if fl, err := h.GetFL(fd); err != nil || fl&OAccmode != ORdwr {
		t.Fatalf("GetFL: %#x, %v", fl, err)
	}
	if stx, err := h.Statx(fd); err != nil || stx.Attributes&StatxAttrAppend != 0 {
		t.Fatalf("Statx: %+v, %v", stx, err)
	}
	n, err := h.Fiemap(fd, 0, uint64(4*page), 1 /* FIEMAP_FLAG_SYNC */, nil)
	switch {
	case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOTTY):
		t.Logf("skipped: this file system has no FIEMAP (%v)", err)
	case err != nil:
		t.Fatal(err)
	default:
		extents := make([]FiemapExtent, n)
		got, err := h.Fiemap(fd, 0, uint64(4*page), 1, extents)
		if err != nil || got != n || n == 0 {
			t.Fatalf("Fiemap: %d of %d, %v", got, n, err)
		}
		if e := extents[0]; e.Logical > uint64(page-1) || e.Logical+e.Length < uint64(page+2) {
			t.Fatalf("Fiemap: extent %+v doesn't hold the data at %d", e, page-1)
		}
	}
	addr, err := h.Mmap(0, uint64(page), ProtRead|ProtWrite, MapShared, fd, page)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(Bytes(addr, 2)); got != "bc" {
		t.Errorf("mapped bytes: %q", got)
	}
	if err := h.Msync(addr, uint64(page), MsSync); err != nil {
		t.Error(err)
	}
	moved, err := h.Mremap(addr, uint64(page), uint64(2*page), MremapMaymove, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Munmap(moved, uint64(2*page)); err != nil {
		t.Error(err)
	}
	if err := h.Fallocate(fd, FallocPunchHole|FallocKeepSize, 0, 2*page); err != nil {
		if !errors.Is(err, syscall.EOPNOTSUPP) {
			t.Error(err)
		}
	}
	if err := h.Unlink(path); err != nil {
		t.Error(err)
	}
	if err := h.Unlink(path); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("second Unlink: %v", err)
	}
}

func TestDeviceNumbers(t *testing.T) {
	for _, tc := range []struct{ major, minor uint32 }{{0, 0}, {1, 5}, {252, 0}, {259, 256}, {4095, 1048575}, {4096, 256}} {
		st := Stat{Rdev: Mkdev(tc.major, tc.minor)}
		if st.Major() != tc.major || st.Minor() != tc.minor {
			t.Errorf("%d:%d comes back as %d:%d", tc.major, tc.minor, st.Major(), st.Minor())
		}
	}
	st, err := func() (Stat, error) {
		fd, err := Host().Open("/dev/null", ORdonly, 0)
		if err != nil {
			return Stat{}, err
		}
		defer Host().Close(fd)
		return Host().Fstat(fd)
	}()
	if err != nil || st.Major() != 1 || st.Minor() != 3 {
		t.Errorf("/dev/null is %d:%d (%v), want 1:3", st.Major(), st.Minor(), err)
	}
}
