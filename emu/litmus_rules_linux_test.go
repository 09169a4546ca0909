package emu_test

import (
	"errors"
	"maps"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// The rules that aren't about the order of stores: what survives at all.

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// describe is what the file at path is in each state that a failure of m now could leave:
// "none", or its size in pages and the first byte of each.
func describe(t testing.TB, m *emu.Machine, path string, o emu.CrashOptions) map[string]bool {
	t.Helper()
	s, err := m.CrashStates(o)
	must(t, err)
	set := map[string]bool{}
	var n uint64
	for img, err := range s.All() {
		must(t, err)
		n++
		set[describeImage(t, img, path)] = true
	}
	if n != s.Count() || !s.Complete() {
		t.Errorf("%s: All yields %d states, Count is %d, Complete %t", path, n, s.Count(), s.Complete())
	}
	must(t, s.Close())
	return set
}

func describeImage(t testing.TB, img *emu.Image, path string) string {
	t.Helper()
	b, err := img.Bytes(path)
	if errors.Is(err, syscall.ENOENT) {
		return "none"
	}
	must(t, err)
	text := strconv.Itoa(len(b)/4096) + ":"
	for i := 0; i < len(b); i += 4096 {
		text += strconv.Itoa(int(b[i]))
	}
	return text
}

func wantStates(t *testing.T, when string, got map[string]bool, want ...string) {
	t.Helper()
	set := map[string]bool{}
	for _, w := range want {
		set[w] = true
	}
	if !maps.Equal(got, set) {
		t.Errorf("%s: got %s, want %s", when, sortedSet(got), sortedSet(set))
	}
}

// small is the file f, of a page, opened, with its mapping.
type small struct {
	f  *emu.File
	mp *pmem2.Map
}

func mapSmall(t *testing.T, m *emu.Machine, fs *emu.FileSystem, sharing pmem2.Sharing) small {
	t.Helper()
	f, err := fs.Create("f", 4096)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	s := small{f, mapOpen(t, m, f, sharing)}
	t.Cleanup(func() { s.mp.Delete() })
	return s
}

// Tmpfs: nothing of it survives (tmpfs(5): its contents are in memory).
func TestLitmusTmpfs(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 20, Type: emu.Tmpfs})
	s := mapSmall(t, m, fs, pmem2.Shared)
	s.mp.Bytes()[0] = 1
	must(t, s.mp.Persist(s.mp.Bytes()[:1]))
	must(t, m.Fsync(s.f.FD()))
	wantStates(t, "after fsync", describe(t, m, fs.Path("f"), emu.CrashOptions{Possible: true}), "none")
	m2, err := m.Crash(emu.CrashConfig{})
	must(t, err)
	defer m2.Shutdown()
	if fd, err := m2.Open(fs.Path("f"), platform.ORdonly, 0); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the file after the boot: descriptor %d, error %v, want ENOENT", fd, err)
	}
}

// MAP_PRIVATE: what is stored there isn't the file's (mmap(2)), whatever is flushed.
func TestLitmusPrivate(t *testing.T) {
	for _, dax := range []bool{true, false} {
		m := newMachine(t, emu.Config{})
		fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: dax})
		s := mapSmall(t, m, fs, pmem2.Private)
		must(t, m.Fsync(s.f.FD()))
		b := s.mp.Bytes()
		ops := m.CacheOps(platform.GranularityCacheLine)
		b[0] = 1
		ops.Persist(unsafe.Pointer(&b[0]), 1)
		line := [64]byte{2}
		ops.Copy(unsafe.Pointer(&b[64]), unsafe.Pointer(&line[0]), 64)
		ops.CopyNT(unsafe.Pointer(&b[0]), unsafe.Pointer(&line[0]), 64)
		ops.Fence()
		must(t, m.Msync(s.mp.Address(), 4096, platform.MsSync))
		must(t, m.Fsync(s.f.FD()))
		wantStates(t, "DAX "+strconv.FormatBool(dax), describe(t, m, fs.Path("f"), emu.CrashOptions{Possible: true}), "1:0")
	}
}

// Names and sizes are old or new until fsync or msync (fsync(2); ext4 and XFS journals): each
// of the states in their order, whatever happened to bytes.
func TestLitmusMetadata(t *testing.T) {
	for _, kind := range []struct {
		name string
		fs   emu.FS
	}{
		{"page cache", emu.FS{Size: 1 << 20}},
		{"DAX without MAP_SYNC", emu.FS{Size: 1 << 20, DAX: true, VirtioPmem: true}},
		{"DAX", emu.FS{Size: 1 << 20, DAX: true, Type: emu.XFS}},
	} {
		for _, by := range []string{"fsync", "msync"} {
			t.Run(kind.name+", "+by, func(t *testing.T) {
				m := newMachine(t, emu.Config{})
				fs := m.AddFS(kind.fs)
				path := fs.Path("f")
				states := func(when string, want ...string) {
					t.Helper()
					wantStates(t, when, describe(t, m, path, emu.CrashOptions{}), want...)
				}
				states("before", "none")
				f, err := fs.Create("f", 4096) // opens it, and sets its size
				must(t, err)
				defer f.Close()
				states("created", "none", "0:", "1:0")
				at, err := m.Mmap(0, 2*4096, platform.ProtRead|platform.ProtWrite, platform.MapShared, f.FD(), 0)
				must(t, err)
				defer func() { must(t, m.Munmap(at, 2*4096)) }()
				mem := platform.Bytes(at, 2*4096)
				sync := func() {
					t.Helper()
					if by == "fsync" {
						must(t, m.Fsync(f.FD()))
					} else {
						must(t, m.Msync(at, 4096, platform.MsSync))
					}
				}
				sync()
				states("synced", "1:0")
				mem[0] = 1
				states("stored", "1:0", "1:1")
				must(t, fs.Truncate("f", 2*4096))
				states("grown", "1:0", "1:1", "2:00", "2:10")
				sync()
				states("synced again", "2:10")
				mem[4096] = 2
				must(t, m.Fsync(f.FD()))
				states("stored in the new page and synced", "2:12")
				must(t, fs.Truncate("f", 4096))
				states("cut", "2:12", "1:1")
				sync()
				states("cut and synced", "1:1")
				must(t, fs.Remove("f"))
				states("removed", "1:1", "none")
			})
		}
	}
}

// With MAP_SYNC a name, a size and blocks are durable before the first store (mmap(2)).
func TestLitmusMapSync(t *testing.T) {
	stores := map[string]func(ops *platform.CacheOps, p unsafe.Pointer){
		"plain": func(_ *platform.CacheOps, p unsafe.Pointer) { *(*byte)(p) = 1 },
		"persisted": func(ops *platform.CacheOps, p unsafe.Pointer) {
			*(*byte)(p) = 1
			ops.Persist(p, 1)
		},
		"copied": func(ops *platform.CacheOps, p unsafe.Pointer) {
			one := [8]byte{1}
			ops.Copy(p, unsafe.Pointer(&one[0]), 8)
		},
		"copied past the cache": func(ops *platform.CacheOps, p unsafe.Pointer) {
			one := [64]byte{1}
			ops.CopyNT(p, unsafe.Pointer(&one[0]), 64)
		},
	}
	for name, store := range stores {
		for _, synced := range []bool{true, false} {
			t.Run(name+", MAP_SYNC "+strconv.FormatBool(synced), func(t *testing.T) {
				m := newMachine(t, emu.Config{})
				fs := m.AddFS(emu.FS{Size: 1 << 20, DAX: true, VirtioPmem: !synced})
				flags := platform.MapShared
				if synced {
					flags = platform.MapSharedValidate | platform.MapSync
				}
				f, err := fs.Create("f", 4096)
				must(t, err)
				defer f.Close()
				at, err := m.Mmap(0, 4096, platform.ProtRead|platform.ProtWrite, flags, f.FD(), 0)
				must(t, err)
				defer func() { must(t, m.Munmap(at, 4096)) }()
				wantStates(t, "mapped", describe(t, m, fs.Path("f"), emu.CrashOptions{}), "none", "0:", "1:0")
				store(m.CacheOps(platform.GranularityCacheLine), platform.Pointer(at))
				want := []string{"1:1"}
				if name != "persisted" {
					want = append(want, "1:0")
				}
				if !synced {
					want = append(want, "none", "0:")
				}
				wantStates(t, "stored", describe(t, m, fs.Path("f"), emu.CrashOptions{}), want...)
			})
		}
	}
}

// A failed flush on power failure loses what was written since the last deep flush, on
// the DIMMs concerned, and their counts rise (pmem2_deep_flush(3), libpmem2_unsafe_shutdown(7)). A
// power failure that the hardware survives does neither.
func TestLitmusUnsafeShutdown(t *testing.T) {
	m := newMachine(t, emu.Config{})
	dax, mp := mapDax(t, m, 2<<20)
	defer mp.Delete()
	b := mp.Bytes()
	b[0] = 1
	must(t, mp.Persist(b[:1]))
	must(t, mp.DeepFlush(b[:1]))
	b[64] = 1
	must(t, mp.Persist(b[64:65])) // durable, and not deeply
	b[128] = 1                    // neither
	for _, c := range []struct {
		name    string
		cfg     emu.CrashConfig
		want    string
		counted int
	}{
		{"survived", emu.CrashConfig{}, "110", 0},
		{"unsafe", emu.CrashConfig{UnsafeShutdown: dax.DIMMPaths()}, "100", 1},
		{"unsafe, poisoned", emu.CrashConfig{UnsafeShutdown: dax.DIMMPaths(), Poison: true}, "poisoned", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m2, err := m.Crash(c.cfg)
			must(t, err)
			defer func() { must(t, m2.Shutdown()) }()
			d2, err := m2.DevDax(dax.Path())
			must(t, err)
			if bad := d2.BadBlocks(); c.want == "poisoned" {
				if len(bad) != 1 || bad[0].Offset != 0 || bad[0].Length != 512 {
					t.Errorf("bad blocks: got %v, want [0, +512)", bad)
				}
			} else {
				mp2 := mapDevice(t, m2, d2)
				defer mp2.Delete()
				p := mp2.Bytes()
				if got := string([]byte{'0' + p[0], '0' + p[64], '0' + p[128]}); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
			}
			for _, dimm := range dax.DIMMPaths() {
				text, err := m2.ReadAttr(dimm + "/nfit/dirty_shutdown")
				must(t, err)
				if got := strings.TrimSpace(text); got != strconv.Itoa(c.counted) {
					t.Errorf("dirty shutdowns of %s: got %s, want %d", dimm, got, c.counted)
				}
			}
		})
	}
}

// Objects are independent, as lines are: also device DAX, a file with DAX and one in the page cache.
func TestLitmusObjects(t *testing.T) {
	m := newMachine(t, emu.Config{})
	dax, mp := mapDax(t, m, 2<<20)
	defer mp.Delete()
	direct, cached := m.AddFS(emu.FS{Size: 1 << 20, DAX: true}), m.AddFS(emu.FS{Size: 1 << 20})
	mappings := []*pmem2.Map{mp, mapFile(t, m, direct, 4096), mapFile(t, m, cached, 4096)}
	paths := []string{dax.Path(), direct.Path("f"), cached.Path("f")}
	defer mappings[1].Delete()
	defer mappings[2].Delete()
	states := func(when string, want ...string) {
		t.Helper()
		s, err := m.CrashStates(emu.CrashOptions{})
		must(t, err)
		got := map[string]bool{}
		for img, err := range s.All() {
			must(t, err)
			text := ""
			for _, path := range paths {
				b, err := img.Bytes(path)
				must(t, err)
				text += strconv.Itoa(int(b[0]))
			}
			got[text] = true
		}
		must(t, s.Close())
		wantStates(t, when, got, want...)
	}
	for _, mp := range mappings {
		mp.Bytes()[0] = 1
	}
	states("stored", "000", "001", "010", "011", "100", "101", "110", "111")
	for i, want := range [][]string{{"100", "101", "110", "111"}, {"110", "111"}, {"111"}} {
		must(t, mappings[i].Persist(mappings[i].Bytes()[:1]))
		states("persisted "+paths[i], want...)
	}
}

// What was stored through a mapping is neither lost nor durable when the mapping goes, and counts
// through another one of the same bytes.
func TestLitmusMappings(t *testing.T) {
	for _, kind := range []struct {
		name string
		cfg  emu.Config
		fs   emu.FS
	}{
		{"DAX", emu.Config{}, emu.FS{Size: 1 << 20, DAX: true}},
		{"DAX, no PAGEMAP_SCAN", emu.Config{NoPageScan: true}, emu.FS{Size: 1 << 20, DAX: true}},
		{"page cache", emu.Config{}, emu.FS{Size: 1 << 20}},
		{"page cache, no PAGEMAP_SCAN", emu.Config{NoPageScan: true}, emu.FS{Size: 1 << 20}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			m := newMachine(t, kind.cfg)
			fs := m.AddFS(kind.fs)
			first := mapFile(t, m, fs, 4096)
			f, err := fs.Open("f", platform.ORdwr, 0)
			must(t, err)
			defer f.Close()
			first.Bytes()[0] = 1
			must(t, first.Delete())
			states := func(when string, want ...string) {
				t.Helper()
				wantStates(t, when, describe(t, m, fs.Path("f"), emu.CrashOptions{}), want...)
			}
			states("unmapped", "1:0", "1:1")
			second, third := mapOpen(t, m, f, pmem2.Shared), mapOpen(t, m, f, pmem2.Shared)
			defer second.Delete()
			states("mapped again", "1:0", "1:1")
			must(t, third.Persist(third.Bytes()[:1]))
			states("persisted there", "1:1")
			second.Bytes()[0] = 2
			states("stored once more", "1:1", "1:2")
			must(t, third.Persist(third.Bytes()[:1]))
			must(t, third.Delete())
			states("persisted through the other", "1:2")
		})
	}
}
