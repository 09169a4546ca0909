package pmem2_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// sharedMemoryFile is a file of size bytes on tmpfs.
func sharedMemoryFile(tb testing.TB, size int64) *os.File {
	tb.Helper()
	dir := os.Getenv("XDG_RUNTIME_DIR")
	for _, candidate := range []string{"/dev/shm", dir} {
		var st unix.Statfs_t
		if candidate == "" || unix.Statfs(candidate, &st) != nil || st.Type != unix.TMPFS_MAGIC {
			continue
		}
		f, err := os.CreateTemp(candidate, "pmem2-")
		if err != nil {
			continue
		}
		tb.Cleanup(func() { f.Close(); os.Remove(f.Name()) })
		if err := f.Truncate(size); err != nil {
			tb.Fatal(err)
		}
		return f
	}
	tb.Skip("needs a tmpfs directory, at /dev/shm for example")
	return nil
}

// BenchmarkMap maps 64 MiB of a tmpfs file and deletes the map; the second is
// refused for its length, before anything is mapped.
func BenchmarkMap(b *testing.B) {
	src, err := pmem2.SourceFromFile(sharedMemoryFile(b, 64<<20))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("NewMapDelete", func(b *testing.B) {
		b.ReportAllocs()
		cfg := config(pmem2.GranularityPage)
		for b.Loop() {
			m, err := pmem2.NewMap(cfg, src)
			if err != nil {
				b.Fatal(err)
			}
			if err := m.Delete(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Refused", func(b *testing.B) {
		b.ReportAllocs()
		cfg := config(pmem2.GranularityPage)
		cfg.SetLength(100)
		for b.Loop() {
			if _, err := pmem2.NewMap(cfg, src); !errors.Is(err, pmem2.ErrLengthUnaligned) {
				b.Fatal(err)
			}
		}
	})
	b.Run("RawMmapMunmap", func(b *testing.B) {
		b.ReportAllocs()
		fd, err := src.FD()
		if err != nil {
			b.Fatal(err)
		}
		host := platform.Host()
		for b.Loop() {
			addr, err := host.Mmap(0, 64<<20, platform.ProtRead|platform.ProtWrite, platform.MapShared, fd, 0)
			if err != nil {
				b.Fatal(err)
			}
			if err := host.Munmap(addr, 64<<20); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestKernelIsAskedLittle counts the calls on the platform, on this kernel.
func TestKernelIsAskedLittle(t *testing.T) {
	f := sharedMemoryFile(t, 64<<20)
	calls := fault.Wrap(platform.Host())
	expect := func(what string, ops fault.Op, want int) {
		t.Helper()
		if all, got := calls.Count(fault.All), calls.Count(ops); got != want || all != want {
			t.Errorf("%s: %d calls of which %d are %v, want %d and nothing else", what, all, got, ops, want)
		}
		calls.Reset()
	}

	src, err := pmem2.SourceFromFile(f, pmem2.On(calls))
	if err != nil {
		t.Fatal(err)
	}
	expect("SourceFromFile", fault.OpGetFL|fault.OpFstat, 2)

	cfg := config(pmem2.GranularityPage)
	m, err := pmem2.NewMap(cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	expect("NewMap: the stat, and mmap with and without MAP_SYNC", fault.OpFstat|fault.OpMmap, 3)
	if err := m.Delete(); err != nil {
		t.Fatal(err)
	}
	expect("Delete", fault.OpMunmap, 1)

	cfg.SetSharing(pmem2.Private)
	if m, err = pmem2.NewMap(cfg, src); err != nil {
		t.Fatal(err)
	}
	expect("NewMap, private", fault.OpFstat|fault.OpMmap, 2)
	m.Delete()
	calls.Reset()

	cfg.SetLength(100)
	if _, err := pmem2.NewMap(cfg, src); !errors.Is(err, pmem2.ErrLengthUnaligned) {
		t.Fatal(err)
	}
	expect("NewMap that is refused", fault.OpFstat, 1)
}
