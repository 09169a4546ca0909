package emu_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pmemlab/emu"
	"pmemlab/emu/trace"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// regressStates spells each of the states that a failure of m now could leave.
func regressStates(t *testing.T, m *emu.Machine, o emu.CrashOptions, spell func(img *emu.Image) string) (all []string) {
	t.Helper()
	s, err := m.CrashStates(o)
	must(t, err)
	for img, err := range s.All() {
		must(t, err)
		all = append(all, spell(img))
	}
	must(t, s.Close())
	return all
}

// imageAt is the size of the file at path and its bytes at some offsets; "-" without the file.
func imageAt(t *testing.T, img *emu.Image, path string, at ...int) string {
	t.Helper()
	b, err := img.Bytes(path)
	if errors.Is(err, syscall.ENOENT) {
		return "-"
	}
	must(t, err)
	s := fmt.Sprint(len(b))
	for _, i := range at {
		if i < len(b) {
			s += fmt.Sprintf(",%d", b[i])
		}
	}
	return s
}

// contentsAt is the set of what imageAt says of the states.
func contentsAt(t *testing.T, m *emu.Machine, path string, at ...int) []string {
	t.Helper()
	all := regressStates(t, m, emu.CrashOptions{}, func(img *emu.Image) string { return imageAt(t, img, path, at...) })
	slices.Sort(all)
	return slices.Compact(all)
}

func wantContents(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: states %v, want %v", what, got, want)
	}
}

// A MAP_SYNC mapping commits at the write fault of a page what was done to the file; a store to a page
// that may be written to already commits nothing, and none commits what is done to other files later.
func TestRegressMapSyncCommitsAtFaults(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	f, err := fs.Create("f", 4096)
	must(t, err)
	defer f.Close()
	must(t, m.Fsync(f.FD()))
	must(t, m.Ftruncate(f.FD(), 8192))
	mp := mapOpen(t, m, f, pmem2.Shared)
	defer func() { must(t, mp.Delete()) }()
	b := mp.Bytes()
	path := fs.Path("f")
	wantContents(t, "grown", contentsAt(t, m, path), "4096", "8192")
	b[0] = 1
	must(t, mp.Persist(b[:1]))
	wantContents(t, "first store to a page", contentsAt(t, m, path, 0), "8192,1")

	must(t, m.Ftruncate(f.FD(), 12288))
	g, err := fs.Create("g", 0)
	must(t, err)
	must(t, g.Close())
	b[0] = 2
	must(t, mp.Persist(b[:1]))
	wantContents(t, "second store to it", contentsAt(t, m, path, 0), "8192,2", "12288,2")
	wantContents(t, "g, then", contentsAt(t, m, fs.Path("g")), "-", "0")
	b[4096] = 1
	must(t, mp.Persist(b[4096:4097]))
	wantContents(t, "first store to the next page", contentsAt(t, m, path, 0), "12288,2")
	wantContents(t, "g, then", contentsAt(t, m, fs.Path("g")), "-", "0")

	must(t, m.Ftruncate(f.FD(), 8192))
	b[0] = 4
	must(t, mp.Persist(b[:1]))
	wantContents(t, "third store to the first page", contentsAt(t, m, path, 0), "8192,4", "12288,4")
	must(t, m.Ftruncate(f.FD(), 12288))

	// A store that nobody had looked for came before the change, which it then didn't commit.
	must(t, m.Fsync(f.FD()))
	b[0] = 3
	must(t, m.Ftruncate(f.FD(), 16384))
	wantContents(t, "store, then growth", contentsAt(t, m, path, 4096), "12288,1", "16384,1")
}

// What is durable for certain is all file systems at their oldest.
func TestRegressDurableOfTwoFileSystems(t *testing.T) {
	m := newMachine(t, emu.Config{})
	var paths []string
	for i := range 3 {
		fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
		f, err := fs.Create("x", 0)
		must(t, err)
		must(t, f.Close())
		paths = append(paths, fs.Path("x"))
		s, err := m.CrashStates(emu.CrashOptions{})
		must(t, err)
		if got, want := s.Complete(), i < 2; got != want {
			t.Errorf("%d file systems: Complete is %t, want %t", i+1, got, want)
		}
		must(t, s.Close())
		got := regressStates(t, m, emu.CrashOptions{}, func(img *emu.Image) string {
			text := ""
			for _, path := range paths {
				text += imageAt(t, img, path)
			}
			return text
		})
		if want := strings.Repeat("-", i+1); !slices.Contains(got, want) || len(got) != [...]int{2, 4, 5}[i] {
			t.Errorf("%d file systems: states %v, want %d and %s among them", i+1, got, [...]int{2, 4, 5}[i], want)
		}
	}
	m2, err := m.Crash(emu.CrashConfig{})
	must(t, err)
	defer func() { must(t, m2.Shutdown()) }()
	for _, path := range paths {
		if fd, err := m2.Open(path, platform.ORdonly, 0); err == nil {
			t.Errorf("%s is there, want ENOENT: it was never synced", path)
			must(t, m2.Close(fd))
		}
	}
}

// A version from before a cut has what was cut off as it was, durable or not, and nothing of what
// came in its place; around it today's content.
func TestRegressContentBeforeCut(t *testing.T) {
	for _, dax := range []bool{false, true} {
		t.Run(fmt.Sprintf("DAX %t", dax), func(t *testing.T) {
			m := newMachine(t, emu.Config{})
			fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: dax, VirtioPmem: dax})
			f, err := fs.Create("f", 8192)
			must(t, err)
			defer f.Close()
			mp := mapOpen(t, m, f, pmem2.Shared)
			defer func() { must(t, mp.Delete()) }()
			b := mp.Bytes()
			for i := range b[:8192] {
				b[i] = 'A'
			}
			must(t, m.Fsync(f.FD()))
			b[4096] = 'a' // waits
			must(t, m.Ftruncate(f.FD(), 4096))
			must(t, m.Ftruncate(f.FD(), 8192))
			b[4096] = 'B'
			b[0] = 'C'
			got := contentsAt(t, m, fs.Path("f"), 0, 4096, 6000)
			wantContents(t, "cut and grown", got,
				"8192,65,65,65", "8192,65,97,65", "8192,67,65,65", "8192,67,97,65", // before the cut
				"4096,65", "4096,67",
				"8192,65,0,0", "8192,65,66,0", "8192,67,0,0", "8192,67,66,0")
		})
	}
}

// A line that is made durable after a cut elsewhere in its page is so in older versions, too.
func TestRegressDurableAfterCut(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true, VirtioPmem: true})
	f, err := fs.Create("f", 4096)
	must(t, err)
	defer f.Close()
	mp := mapOpen(t, m, f, pmem2.Shared)
	defer func() { must(t, mp.Delete()) }()
	b := mp.Bytes()
	for i := range b[:4096] {
		b[i] = 1
	}
	must(t, m.Fsync(f.FD()))
	must(t, m.Ftruncate(f.FD(), 3000))
	b[0], b[2999] = 2, 2 // the second is in the line at which the file ends
	for _, off := range []uintptr{0, 2999} {
		m.CacheOps(platform.GranularityCacheLine).Persist(platform.Pointer(mp.Address()+off), 1)
	}
	wantContents(t, "", contentsAt(t, m, fs.Path("f"), 0, 2999, 3000, 4000), "3000,2,2", "4096,2,2,1,1")
	b[2998] = 3 // waits
	wantContents(t, "then stored", contentsAt(t, m, fs.Path("f"), 2998, 3000), "3000,1", "3000,3", "4096,1,1", "4096,3,1")
}

// What waits in a file that is removed is in the version that has the file, or not.
func TestRegressContentOfRemoved(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	mp := mapFile(t, m, fs, 8192)
	mp.Bytes()[4096] = 1
	must(t, fs.Remove("f"))
	must(t, mp.Delete())
	// Its memory goes to another file.
	g, err := fs.Create("g", 8192)
	must(t, err)
	defer g.Close()
	gp := mapOpen(t, m, g, pmem2.Shared)
	defer func() { must(t, gp.Delete()) }()
	wantContents(t, "", contentsAt(t, m, fs.Path("f"), 4096), "-", "8192,0", "8192,1")
}

// Seed draws among more states than could be gone through, the same for the same seed.
func TestRegressCrashSeed(t *testing.T) {
	m := newMachine(t, emu.Config{})
	dax, mp := mapDax(t, m, 2<<20)
	defer func() { must(t, mp.Delete()) }()
	for i := range 100 {
		mp.Bytes()[64*i] = 1
	}
	lost := func(seed uint64) (text string) {
		m2, err := m.Crash(emu.CrashConfig{Seed: seed})
		must(t, err)
		defer func() { must(t, m2.Shutdown()) }()
		d2, err := m2.DevDax(dax.Path())
		must(t, err)
		mp2 := mapDevice(t, m2, d2)
		defer func() { must(t, mp2.Delete()) }()
		for i := range 100 {
			text += fmt.Sprint(mp2.Bytes()[64*i])
		}
		return text
	}
	one := lost(1)
	if again := lost(1); again != one {
		t.Errorf("seed 1 gave %s, then %s", one, again)
	}
	if two := lost(2); two == one {
		t.Errorf("seeds 1 and 2 gave %s", one)
	}
	if n := strings.Count(one, "0"); n < 20 || n > 80 {
		t.Errorf("%d of 100 lines are lost, want about 50", n)
	}
}

// The way to the first of the states of many lines isn't by the square of the lines, which were
// minutes here.
func TestRegressManyLines(t *testing.T) {
	m := newMachine(t, emu.Config{TraceEvents: -1})
	_, mp := mapDax(t, m, 16<<20)
	defer func() { must(t, mp.Delete()) }()
	for i := range 1 << 17 {
		mp.Bytes()[64*i] = 1
	}
	s, err := m.CrashStates(emu.CrashOptions{Max: 1 << 19})
	must(t, err)
	n := 0
	for img, err := range s.All() {
		must(t, err)
		if n += len(img.Lost()); n > 3 {
			break
		}
	}
	if n != 4 {
		t.Errorf("the first states have %d lines lost, want none and then one each", n)
	}
	must(t, s.Close())
}

// Two states differ in some byte, name or size.
func TestRegressStatesDiffer(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true})
	f, err := fs.Create("x", 0)
	must(t, err)
	must(t, f.Close())
	must(t, fs.Remove("x"))
	got := regressStates(t, m, emu.CrashOptions{}, func(img *emu.Image) string { return imageAt(t, img, fs.Path("x")) })
	if !slices.Equal(got, []string{"-", "0"}) {
		t.Errorf("made and removed: states %v, want [- 0]", got)
	}

	g, err := fs.Create("y", 100)
	must(t, err)
	defer g.Close()
	must(t, m.Fsync(g.FD()))
	mp := mapOpen(t, m, g, pmem2.Shared)
	defer func() { must(t, mp.Delete()) }()
	page := platform.Bytes(mp.Address(), 4096)
	page[110] = 1 // behind the end
	m.CacheOps(platform.GranularityCacheLine).Flush(platform.Pointer(mp.Address()+64), 64)
	for _, o := range []emu.CrashOptions{{}, {Possible: true}} {
		for range 2 {
			got = regressStates(t, m, o, func(img *emu.Image) string { return imageAt(t, img, fs.Path("y"), 70) })
			want := []string{"100,0"}
			if page[70] == 1 {
				want = []string{"100,1", "100,0"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v, stores behind the end of a file: states %v, want %v", o, got, want)
			}
			page[70] = 1 // before it
		}
		page[70] = 0
		m.Look()
		m.CacheOps(platform.GranularityCacheLine).Persist(platform.Pointer(mp.Address()+64), 1)
		page[111]++
	}
}

// Max is for all versions of the names.
func TestRegressMaxReachesVersions(t *testing.T) {
	m := newMachine(t, emu.Config{})
	fs := m.AddFS(emu.FS{Size: 16 << 20, DAX: true, VirtioPmem: true})
	mp := mapFile(t, m, fs, 8192)
	defer func() { must(t, mp.Delete()) }()
	for i := range 20 {
		mp.Bytes()[64*i] = 1
	}
	g, err := fs.Create("g", 0)
	must(t, err)
	must(t, g.Close())
	for _, limit := range []uint64{1, 2, 3, 1000, 1001} {
		count := map[string]uint64{}
		for _, s := range regressStates(t, m, emu.CrashOptions{Max: limit}, func(img *emu.Image) string { return imageAt(t, img, fs.Path("g")) }) {
			count[s]++
		}
		old, now := count["-"], count["0"]
		if old+now > limit || now == 0 || limit > 1 && (old < limit/2-limit/10 || now < limit/2-limit/10) {
			t.Errorf("Max %d: %d states with g, %d without, want half each", limit, now, old)
		}
	}
}

// persistDeep is called by many.
func persistDeep(mp *pmem2.Map, b []byte, depth int) {
	if depth > 0 {
		persistDeep(mp, b, depth-1)
		return
	}
	b[0]++
	mp.Persist(b[:1])
}

// An image file with a long trace has its newest events.
func TestRegressSaveLongTrace(t *testing.T) {
	m := newMachine(t, emu.Config{})
	dax, mp := mapDax(t, m, 2<<20)
	defer func() { must(t, mp.Delete()) }()
	b := mp.Bytes()
	persists := 70000
	if testing.Short() {
		persists = 1000
	}
	for range persists {
		persistDeep(mp, b, 10)
	}
	b[64]++
	s, err := m.CrashStates(emu.CrashOptions{})
	must(t, err)
	for img := range s.All() {
		var file bytes.Buffer
		must(t, img.Save(&file))
		if file.Len() > 64<<20 {
			t.Errorf("the file has %d bytes", file.Len())
		}
		loaded, err := emu.Load(&file)
		must(t, err)
		want, got := img.Trace(), loaded.Trace()
		gone := len(want.Events) - len(got.Events)
		if gone < 0 || got.Dropped != want.Dropped+uint64(gone) || len(got.Events) < min(2*persists, 1<<15) || !slices.EqualFunc(got.Events, want.Events[gone:],
			func(a, b trace.Event) bool { return a.Seq == b.Seq && a.Kind == b.Kind }) {
			t.Errorf("%d events, %d dropped; saved were %d, %d", len(got.Events), got.Dropped, len(want.Events), want.Dropped)
		}
		if got := imageAt(t, loaded, dax.Path(), 64); got != "2097152,1" {
			t.Errorf("the loaded image is %s, want 2097152,1", got)
		}
		must(t, loaded.Close())
		must(t, loaded.Close())
		break
	}
	must(t, s.Close())
}

// Images outside All hold what they show until they are closed, each its own.
func TestRegressImageClose(t *testing.T) {
	m := newMachine(t, emu.Config{})
	dax, mp := mapDax(t, m, 2<<20)
	defer func() { must(t, mp.Delete()) }()
	mp.Bytes()[0] = 1
	var images []*emu.Image
	regressStates(t, m, emu.CrashOptions{}, func(img *emu.Image) string {
		var file bytes.Buffer
		must(t, img.Save(&file))
		loaded, err := emu.Load(&file)
		must(t, err)
		images = append(images, loaded)
		return ""
	})
	before := openMemfds(t)
	for i, want := range []string{"2097152,1", "2097152,0"} {
		if got := imageAt(t, images[i], dax.Path(), 0); got != want {
			t.Errorf("image %d: got %s, want %s", i, got, want)
		}
	}
	for _, img := range images {
		must(t, img.Close())
	}
	if after := openMemfds(t); after != before {
		t.Errorf("%d memfds after Close, want %d as before", after, before)
	}
}

// openMemfds is how many descriptors and mappings of memfds the process has.
func openMemfds(t *testing.T) int {
	t.Helper()
	n := 0
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(target, "memfd:") {
			n++
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	must(t, err)
	return n + strings.Count(string(maps), "memfd:")
}
