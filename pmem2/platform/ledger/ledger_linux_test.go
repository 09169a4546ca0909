package ledger_test

import (
	"path/filepath"
	"sync"
	"testing"

	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
)

// TestHostConcurrently lets goroutines map, move and unmap at once: the kernel
// hands the addresses that one gives back to the next.
func TestHostConcurrently(t *testing.T) {
	l := ledger.New(platform.Host())
	page := l.PageSize()
	path := filepath.Join(t.TempDir(), "f")
	const rw, anon = platform.ProtRead | platform.ProtWrite, platform.MapPrivate | platform.MapAnonymous
	check := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				fd, err := l.Open(path, platform.ORdwr|platform.OCreat, 0o600)
				check(err)
				check(l.Ftruncate(fd, int64(2*page)))
				at, err := l.Mmap(0, 2*page, rw, platform.MapShared, fd, 0)
				check(err)
				check(l.Close(fd))
				placeholder, err := l.Mmap(0, 4*page, platform.ProtNone, anon, -1, 0)
				check(err)
				_, err = l.Mremap(at, 2*page, 2*page, platform.MremapMaymove|platform.MremapFixed, placeholder+uintptr(page))
				check(err)
				check(l.Munmap(placeholder, page))
				check(l.Munmap(placeholder+uintptr(page), 3*page))
			}
		})
	}
	wg.Wait()
	if held := l.Outstanding(); len(held) != 0 {
		t.Errorf("outstanding at the end: %q, want nothing", held)
	}
	check(l.Unlink(path))
}
