package emu_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/emu/check"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Faults that the machine once had in what it remembers of its memory.

// mapAt is the n bytes of f, from off on; Munmap is the caller's.
func mapAt(t *testing.T, m *emu.Machine, f *emu.File, addr uintptr, n uint64, off int64) []byte {
	t.Helper()
	flags := platform.MapShared
	if addr != 0 {
		flags |= platform.MapFixed
	}
	at, err := m.Mmap(addr, n, readWrite, flags, f.FD(), off)
	if err != nil {
		t.Fatal(err)
	}
	return platform.Bytes(at, n)
}

func addrOf(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

// noErrors fails the test of an error.
func noErrors(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// newest is the content of an object in the newest state.
func newest(t *testing.T, m *emu.Machine, path string) []byte {
	t.Helper()
	s, err := m.CrashStates(emu.CrashOptions{})
	noErrors(t, err)
	defer s.Close()
	for img, err := range s.All() {
		noErrors(t, err)
		b, err := img.Bytes(path)
		noErrors(t, err)
		return bytes.Clone(b)
	}
	t.Fatal("no state")
	return nil
}

// syncedFile is a new file whose name and size are durable.
func syncedFile(t *testing.T, m *emu.Machine, fs *emu.FileSystem, name string, size uint64) *emu.File {
	t.Helper()
	f, err := fs.Create(name, size)
	noErrors(t, err)
	noErrors(t, m.Fsync(f.FD()))
	return f
}

// large is so many bytes of data that a look doesn't compare all of them because some have changed.
const large = 1<<20 + 64<<10

// largeFile is a file with so much data, behind the first 64 KiB, which are a hole.
func largeFile(t *testing.T, m *emu.Machine, fs *emu.FileSystem) *emu.File {
	t.Helper()
	f := syncedFile(t, m, fs, "f", 0)
	_, err := m.Pwrite(f.FD(), make([]byte, large), 64<<10)
	noErrors(t, err, m.Fsync(f.FD()))
	return f
}

const punchHole = platform.FallocPunchHole | platform.FallocKeepSize

// TestRegressStoreBesideHole: a hole, or a bad block, takes nothing of what was stored elsewhere.
func TestRegressStoreBesideHole(t *testing.T) {
	for _, hole := range []struct{ off, n int64 }{{0, 512}, {100, 200}, {4196, 200}, {0, 4095}, {4096, 4095}, {100, 8000}} {
		for looked := range 3 {
			m := newMachine(t, emu.Config{})
			fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
			f := largeFile(t, m, fs)
			b := mapAt(t, m, f, 0, 64<<10, 0)
			want := make([]byte, len(b))
			set := func(v byte) {
				for _, i := range []int{8, 4095, 4100, 8191, 20000} {
					b[i], want[i] = v, v
				}
			}
			if looked > 0 {
				m.Look()
			}
			if looked > 1 {
				set(1)
				m.Look()
			}
			set(2)
			noErrors(t, m.Fallocate(f.FD(), punchHole, hole.off, hole.n))
			clear(want[hole.off : hole.off+hole.n])
			b[40000], want[40000] = 3, 3
			got := newest(t, m, fs.Path("f"))[:len(want)]
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("hole %v, looked %d: the newest state has %d at %d, want %d", hole, looked, got[i], i, want[i])
				}
			}
			if !bytes.Equal(b, want) { // not earlier: loads, too, bring pages back
				t.Errorf("hole %v: not what was to be punched", hole)
			}
			noErrors(t, m.Munmap(addrOf(b), uint64(len(b))), f.Close())
		}
	}
}

func TestRegressStoreBesideBadBlock(t *testing.T) {
	for looked := range 3 {
		m := newMachine(t, emu.Config{})
		d := m.AddDevDax(emu.DevDax{Size: 4 << 20, Align: 4 << 10})
		f, err := d.Open(platform.ORdwr)
		noErrors(t, err)
		far := mapAt(t, m, f, 0, large, 2<<20)
		copy(far, make([]byte, large))
		m.CacheOps(platform.GranularityCacheLine).Persist(platform.Pointer(addrOf(far)), large)
		b := mapAt(t, m, f, 0, 12288, 16384)
		if looked > 0 {
			m.Look()
		}
		if looked > 1 {
			b[5000] = 21
			m.Look()
		}
		b[5000] = 22
		noErrors(t, d.AddBadBlock(512, 512))
		b[10000] = 1
		if got := newest(t, m, d.Path())[16384+5000]; got != 22 {
			t.Errorf("looked %d: the newest state has %d, want 22", looked, got)
		}
		noErrors(t, m.Munmap(addrOf(b), 12288), m.Munmap(addrOf(far), large), f.Close())
	}
}

// TestRegressHoleTakesNoMemory: zeroing a part of a page that holds no data gives it none, and
// doesn't make the file longer.
func TestRegressHoleTakesNoMemory(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20})
	f := syncedFile(t, m, fs, "f", 8000)
	defer f.Close()
	for _, x := range [][2]int64{{10, 20}, {7990, 10000}, {9000, 100}} {
		noErrors(t, m.Fallocate(f.FD(), punchHole, x[0], x[1]))
	}
	st, err := m.Fstat(f.FD())
	noErrors(t, err)
	e := make([]platform.FiemapExtent, 4)
	if n, err := m.Fiemap(f.FD(), 0, 1<<20, 0, e); n != 0 || err != nil || st.Size != 8000 {
		t.Errorf("%d extents, %v, size %d, want none and 8000", n, err, st.Size)
	}
}

// TestRegressMremapBesideWatched: of two mappings mremap makes one, stores to which are still seen.
func TestRegressMremapBesideWatched(t *testing.T) {
	const page = 4096
	for _, right := range []bool{false, true} {
		m := newMachine(t, emu.Config{})
		fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
		f := largeFile(t, m, fs)
		arena, err := platform.Host().Mmap(0, 16*page, platform.ProtNone,
			platform.MapPrivate|platform.MapAnonymous|platform.MapNoreserve, -1, 0)
		noErrors(t, err)
		stays := mapAt(t, m, f, arena+4*page, 4*page, 4*page)
		to, off := arena+2*page, int64(2*page)
		if right {
			to, off = arena+8*page, 8*page
		}
		moves := mapAt(t, m, f, 0, 2*page, off)
		for _, i := range []int{0, 4*page - 1} {
			stays[i], moves[0] = 1, 1
			m.Look()
			m.Look()
		}
		_, err = m.Mremap(addrOf(moves), 2*page, 2*page, platform.MremapMaymove|platform.MremapFixed, to)
		noErrors(t, err)
		moves = platform.Bytes(to, 2*page)
		for i := range byte(2) { // the second time it's watched again
			stays[0], stays[4*page-1], moves[0] = 2+i, 2+i, 2+i
			got := newest(t, m, fs.Path("f"))
			for _, at := range []int{4 * page, 8*page - 1} {
				if got[at] != 2+i {
					t.Errorf("right %t: the newest state has %d at %d, want %d: the store was never seen", right, got[at], at, 2+i)
				}
			}
		}
		if err := m.Durable(stays[:1]); err == nil {
			t.Error("Durable: nobody flushed it")
		}
		noErrors(t, m.Munmap(arena, 16*page), f.Close())
	}
}

// TestRegressMapBesideWatched: the same of a mapping that comes beside another one.
func TestRegressMapBesideWatched(t *testing.T) {
	const page = 4096
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	f := syncedFile(t, m, fs, "f", 64<<10)
	arena, err := platform.Host().Mmap(0, 16*page, platform.ProtNone,
		platform.MapPrivate|platform.MapAnonymous|platform.MapNoreserve, -1, 0)
	noErrors(t, err)
	b := platform.Bytes(arena, 16*page)
	for i, p := range []int{4, 5, 3, 7, 6} {
		mapAt(t, m, f, arena+uintptr(p)*page, page, int64(p)*page)
		for _, q := range []int{4, 5, 3, 7, 6}[:i+1] {
			b[q*page] = byte(i + 1)
		}
		got := newest(t, m, fs.Path("f"))
		for _, q := range []int{4, 5, 3, 7, 6}[:i+1] {
			if got[q*page] != byte(i+1) {
				t.Errorf("%d mappings: the newest state has %d in page %d, want %d", i+1, got[q*page], q, i+1)
			}
		}
	}
	noErrors(t, m.Munmap(arena, 16*page), f.Close())
}

// TestRegressHoleAmidLine: a hole that begins or ends amid a line, or sector, leaves the rest of it as
// it is: visible, not durable.
func TestRegressHoleAmidLine(t *testing.T) {
	for _, dax := range []bool{true, false} {
		for _, hole := range []struct{ off, n int64 }{{4096, 100}, {4096, 96}, {4204, 4000}, {4204, 10}, {4160, 30}} {
			m := newMachine(t, emu.Config{})
			fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: dax})
			mp := mapFile(t, m, fs, 8192)
			b := mp.Bytes()
			b[4200] = 1
			m.Look()
			f, err := fs.Open("f", platform.ORdwr, 0)
			noErrors(t, err)
			noErrors(t, m.Fallocate(f.FD(), punchHole, hole.off, hole.n))
			if b[4200] != 1 {
				t.Fatal("the hole took it")
			}
			if err := m.Durable(b[4200:4201]); err == nil {
				t.Errorf("dax %t, hole %v: Durable says that a store is durable that nobody flushed", dax, hole)
			}
			if got := newest(t, m, fs.Path("f"))[4200]; got != 1 {
				t.Errorf("dax %t, hole %v: the newest state has %d, want 1, which is what is visible", dax, hole, got)
			}
			noErrors(t, mp.Delete(), f.Close())
		}
	}
}

// TestRegressSyncOfHugeFile: fsync of a file that is larger than a span concerns no other one.
func TestRegressSyncOfHugeFile(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, Type: emu.XFS})
	big := syncedFile(t, m, fs, "big", 1<<47)
	defer big.Close()
	mp := mapFile(t, m, fs, 4096)
	b := mp.Bytes()
	b[0] = 1
	m.Look()
	const far = 1<<46 + 4096
	tail := mapAt(t, m, big, 0, 4096, far)
	tail[0] = 1
	noErrors(t, m.Fsync(big.FD()))
	if err := m.Durable(b[:1]); err == nil {
		t.Error("fsync of another file has made it durable")
	}
	if err := m.Durable(tail[:1]); err != nil {
		t.Errorf("after fsync: %v", err)
	}
	noErrors(t, m.Munmap(addrOf(tail), 4096), mp.Delete())
}

// TestRegressUnsafeAfterHole: a hole deep-flushes nothing of the rest of its page.
func TestRegressUnsafeAfterHole(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	mp := mapFile(t, m, fs, 4096)
	b := mp.Bytes()
	b[0], b[1030], b[1090] = 1, 1, 1
	noErrors(t, mp.Persist(b[:4096]))
	f, err := fs.Open("f", platform.ORdwr, 0)
	noErrors(t, err)
	noErrors(t, m.Fallocate(f.FD(), punchHole, 1040, 100))
	m2, err := m.Crash(emu.CrashConfig{UnsafeShutdown: fs.BlockDevice().DIMMPaths()})
	noErrors(t, err)
	f2, err := fs2Open(m2, "/mnt/pmem0", "f")
	noErrors(t, err)
	p := make([]byte, 2048)
	_, err = m2.Pread(f2.FD(), p, 0)
	noErrors(t, err)
	for _, at := range []int{0, 1030, 1090} {
		if p[at] != 0 {
			t.Errorf("byte %d is %d after a failed flush-on-failure, want 0: nobody deep-flushed it", at, p[at])
		}
	}
	noErrors(t, f2.Close(), m2.Shutdown(), mp.Delete(), f.Close())
}

func fs2Open(m *emu.Machine, mount, name string) (*emu.File, error) {
	fs, err := m.FS(mount)
	if err != nil {
		return nil, err
	}
	return fs.Open(name, platform.ORdwr, 0)
}

// TestRegressPoisonOnFailedDIMM: only what lies on DIMMs that failed is bad.
func TestRegressPoisonOnFailedDIMM(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true, Region: emu.Region{DIMMs: []emu.DIMM{{}, {}}}})
	first, err := fs.Create("first", 0) // takes one page, so that the file behind begins on the other DIMM
	noErrors(t, err)
	_, err = m.Pwrite(first.FD(), make([]byte, 4096), 0)
	noErrors(t, err, m.Fsync(first.FD()))
	_, err = m.Fiemap(first.FD(), 0, 1<<20, 0, make([]platform.FiemapExtent, 1)) // it has its place now
	noErrors(t, err)
	mp := mapFile(t, m, fs, 16384)
	b := mp.Bytes()
	for i := range 4 {
		b[4096*i] = 1
		noErrors(t, mp.Persist(b[4096*i:][:1]))
	}
	m2, err := m.Crash(emu.CrashConfig{UnsafeShutdown: fs.BlockDevice().DIMMPaths()[:1], Poison: true})
	noErrors(t, err)
	fs2, err := m2.FS("/mnt/pmem0")
	noErrors(t, err)
	bad := fs2.BlockDevice().BadBlocks()
	for _, x := range bad {
		if info := uint64(2 << 20); (x.Offset+info)/4096%2 != 0 {
			t.Errorf("bad block at %d of the block device, which is on DIMM 1; only 0 failed", x.Offset)
		}
	}
	if len(bad) != 2 {
		t.Errorf("bad blocks %v, want two: half of the file's pages", bad)
	}
	noErrors(t, m2.Shutdown(), mp.Delete(), first.Close())
}

// TestRegressRawWrite: a write past the machine is adopted by a look.
func TestRegressRawWrite(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20})
	f := syncedFile(t, m, fs, "f", 4096)
	defer f.Close()
	_, err := platform.Host().Pwrite(f.FD(), []byte("A"), 0)
	noErrors(t, err)
	m.Look()
	if got := newest(t, m, fs.Path("f"))[0]; got != 'A' {
		t.Errorf("the newest state has %q, want 'A'", got)
	}
}

// TestRegressPersistOverMappings: a persist over several mappings tells of its parts in all of them.
func TestRegressPersistOverMappings(t *testing.T) {
	const page = 4096
	for _, kinds := range []string{"ab", "a-", "-a", "a-b", "-a-", "aa", "abc"} {
		m := newMachine(t, emu.Config{})
		fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
		n := uint64(len(kinds)) * page
		at, err := m.Mmap(0, n, readWrite, platform.MapPrivate|platform.MapAnonymous|platform.MapNoreserve, -1, 0)
		noErrors(t, err)
		b := platform.Bytes(at, n)
		ops := m.CacheOps(platform.GranularityCacheLine)
		mapped := map[rune]*emu.File{}
		for i, kind := range kinds {
			if kind == '-' {
				continue
			}
			if mapped[kind] == nil {
				mapped[kind] = syncedFile(t, m, fs, string(kind), page)
				defer mapped[kind].Close()
			}
			_, err := m.Mmap(at+uintptr(i)*page, page, readWrite,
				platform.MapSharedValidate|platform.MapSync|platform.MapFixed, mapped[kind].FD(), 0)
			noErrors(t, err)
		}
		for i := range kinds {
			b[page*i+100], b[page*i+page-100] = 1, 1
		}
		from, to := 64, len(b)-10 // not the first line
		ops.Persist(platform.Pointer(at+uintptr(from)), uintptr(to-from))
		for i, kind := range kinds {
			if kind == '-' {
				continue
			}
			noErrors(t, m.Durable(b[page*i:][:page]))
			if s := m.Findings(); len(s) > 0 {
				t.Errorf("%s: a correct program: %v", kinds, s)
			}
		}
		// A part that was of use excuses the others.
		b[page*strings.IndexAny(kinds, "abc")+100] = 2
		ops.Persist(platform.Pointer(at+uintptr(from)), uintptr(to-from))
		if s := m.Findings(); len(s) > 0 {
			t.Errorf("%s: one part: %v", kinds, s)
		}
		ops.Persist(platform.Pointer(at+uintptr(from)), uintptr(to-from))
		waste := slices.ContainsFunc(m.Findings(), func(f emu.Finding) bool {
			return f.Rule == check.FlushedTwice || f.Rule == check.FlushOfCleanLine
		})
		if !waste {
			t.Errorf("%s: findings %v, want that the last one was waste", kinds, m.Findings())
		}
		noErrors(t, m.Munmap(at, n))
	}
}

// TestRegressCommitInPageCache: CommitPoint judges files in the page cache, too.
func TestRegressCommitInPageCache(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20})
	mp := mapFile(t, m, fs, 4096)
	b := mp.Bytes()
	b[0], b[600] = 1, 1
	for range 2 {
		noErrors(t, m.CommitPoint("promised", b[:1]))
	}
	noErrors(t, m.CommitPoint("another", b[2000:3000])) // nothing is wrong there
	found := m.Findings()
	if len(found) != 1 || found[0].Rule != check.NotDurableAtCommit || found[0].Count != 2 || found[0].Object != fs.Path("f") ||
		found[0].Off != 0 || found[0].Len != 1 || !strings.Contains(found[0].Text, "promised") {
		t.Errorf("findings %v, want one, twice, of byte 0 of %s", found, fs.Path("f"))
	}
	m.ClearFindings()
	noErrors(t, m.Msync(mp.Address(), 4096, platform.MsSync))
	noErrors(t, m.CommitPoint("synced", b[:700]))
	if found := m.Findings(); len(found) > 0 {
		t.Errorf("after msync: %v", found)
	}
	noErrors(t, mp.Delete())
}

// TestRegressSeedDecides: the same seed and history, the same state.
func TestRegressSeedDecides(t *testing.T) {
	got := map[string]int{}
	for range 12 {
		m := emu.NewMachine(emu.Config{})
		var maps []*pmem2.Map
		for range 3 {
			_, mp := mapDax(t, m, 2<<20)
			maps = append(maps, mp)
		}
		for i := range 4 {
			for _, mp := range maps {
				mp.Bytes()[64*i] = 1
			}
		}
		m2, err := m.Crash(emu.CrashConfig{Seed: 7})
		noErrors(t, err)
		s := ""
		for i := range maps {
			d, err := m2.DevDax(fmt.Sprintf("/dev/dax%d.0", i))
			noErrors(t, err)
			mp := mapDevice(t, m2, d)
			for i := range 4 {
				s += fmt.Sprint(mp.Bytes()[64*i])
			}
			noErrors(t, mp.Delete())
		}
		got[s]++
		for _, mp := range maps {
			noErrors(t, mp.Delete())
		}
		noErrors(t, m.Shutdown(), m2.Shutdown())
	}
	if len(got) != 1 {
		t.Errorf("seed 7 gave %v, want one state", got)
	}
}

// What pwrite has written is a store: durable with the caches kept, else by an fsync, whose ever
// it is. It was taken for a non-temporal store by the checker alone, which then found fault with
// both.
func TestRegressPwriteFsync(t *testing.T) {
	for _, c := range []struct {
		name        string
		cfg         emu.Config
		fsync, lost bool
	}{
		{"ADR", emu.Config{}, false, true},
		{"ADR, fsync", emu.Config{}, true, false},
		{"Arm64, fsync", emu.Config{Model: emu.Arm64}, true, false},
		{"eADR", emu.Config{EADR: true}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, c.cfg)
			f, err := m.AddFS(emu.FS{Size: 16 << 20, DAX: true}).Create("f", 4096)
			must(t, err)
			defer f.Close()
			must(t, m.Fsync(f.FD()))
			mp := mapOpen(t, m, f, pmem2.Shared)
			defer func() { must(t, mp.Delete()) }()
			done := make(chan error)
			go func() {
				_, err := m.Pwrite(f.FD(), []byte("written"), 60)
				done <- err
			}()
			must(t, <-done)
			if c.fsync {
				must(t, m.Fsync(f.FD()))
			}
			s, err := m.CrashStates(emu.CrashOptions{})
			must(t, err)
			if got := s.Count() > 1; got != c.lost {
				t.Errorf("it can be lost: %t (%d states), want %t", got, s.Count(), c.lost)
			}
			must(t, s.Close())
			if got := m.Durable(mp.Bytes()) != nil; got != c.lost {
				t.Errorf("Durable says that it can be lost: %t, want %t", got, c.lost)
			}
			if all := m.Findings(); len(all) > 0 != c.lost {
				t.Errorf("findings %v; it can be lost: %t", all, c.lost)
			}
		})
	}
}
