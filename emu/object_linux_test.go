package emu

import (
	"errors"
	"testing"

	"pmemlab/pmem2/platform"
)

// TestTemporaryFilesAreLeft: what no one uses any more is in the way of nothing that looks at
// all objects.
func TestTemporaryFilesAreLeft(t *testing.T) {
	m := NewMachine(Config{})
	fs := m.AddFS(FS{Size: 1 << 20, DAX: true})
	known := -1
	for i := range 100 {
		f, err := fs.Create("f", 8192)
		if err != nil {
			t.Fatal(err)
		}
		addr, err := m.Mmap(0, 8192, platform.ProtRead|platform.ProtWrite, platform.MapShared, f.FD(), 0)
		if err := errors.Join(err, m.Unlink(fs.Path("f")), f.Close(), m.Munmap(addr, 8192)); err != nil {
			t.Fatal(err)
		}
		if known < 0 {
			known = len(m.objects)
		}
		if n := len(m.objects); n != known {
			t.Fatalf("with %d files made and removed there are %d objects, want %d", i+1, n, known)
		}
	}
	must(t, m.Shutdown())
}
