package emu

import (
	"encoding/json"
	"errors"
	"fmt"

	"os"

	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pmemlab/pmem2/platform"
)

// must is for calls of a test's own that can't fail.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func planOf(t testing.TB, m *Machine) *blueprint {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.blueprint()
	must(t, err)
	return b
}

func errOf[T any](_ T, err error) error { return err }

// descriptors is how many the process has.
func descriptors(t testing.TB) int {
	t.Helper()
	startPoller()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(names)
}

// startPoller has the runtime open the descriptors that it polls with.
var startPoller = sync.OnceFunc(func() {
	if r, w, err := os.Pipe(); err == nil {
		_ = r.Close()
		_ = w.Close()
	}
})

// asJSON is the blueprint after a way through JSON.
func asJSON(t testing.TB, b *blueprint) (*blueprint, []byte) {
	t.Helper()
	text, err := json.Marshal(b)
	must(t, err)
	var back blueprint
	must(t, json.Unmarshal(text, &back))
	return &back, text
}

// difference is where two blueprints are not the same.
func difference(t testing.TB, got, want *blueprint) string {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		return ""
	}
	_, a := asJSON(t, got)
	_, b := asJSON(t, want)
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	from := max(0, i-200)
	return fmt.Sprintf("got  …%s\nwant …%s", a[from:min(len(a), i+200)], b[from:min(len(b), i+200)])
}

// zoo is machines of many kinds. What add opens it returns.
var zoo = []struct {
	name string
	cfg  Config
	add  func(t testing.TB, m *Machine) []*File
}{
	{"empty", Config{}, func(testing.TB, *Machine) []*File { return nil }},
	{"device DAX of each alignment", Config{}, func(t testing.TB, m *Machine) []*File {
		m.AddDevDax(DevDax{Size: 8 << 20, Align: 4 << 10})
		m.AddDevDax(DevDax{Size: 8 << 20})
		m.AddDevDax(DevDax{Size: 2 << 30, Align: 1 << 30, Region: Region{NUMANode: 1}})
		return nil
	}},
	{"eADR, switched off", Config{EADR: true}, func(t testing.TB, m *Machine) []*File {
		m.AddDevDax(DevDax{Size: 8 << 20, Region: Region{NoFlushHints: true, NUMANode: -1}})
		m.SetEADR(false)
		return nil
	}},
	{"arm64, without persistence domain, with all other switches", Config{
		Model: Arm64, NoPersistenceDomain: true, NoSharedValidate: true, NoClearError: true,
		CPU: platform.Settings{NoMOVNT: true, MOVNTThreshold: 77},
	}, func(t testing.TB, m *Machine) []*File {
		m.AddFS(FS{Size: 8 << 20, DAX: true, Region: Region{NoDeepFlush: true}})
		return nil
	}},
	{"all file systems", Config{}, func(t testing.TB, m *Machine) []*File {
		for _, cfg := range []FS{
			{Size: 64 << 20, DAX: true}, {Size: 64 << 20}, {Size: 64 << 20, DAX: true, Type: XFS},
			{Size: 64 << 20, Type: XFS}, {Size: 64 << 20, Type: Tmpfs}, {Size: 1 << 20, Type: Tmpfs},
			{Size: 64 << 20, DAX: true, VirtioPmem: true}, {Size: MaxSize, DAX: true, Region: Region{Legacy: true}},
		} {
			fs := m.AddFS(cfg)
			if cfg.Type == Tmpfs {
				continue
			}
			f, err := fs.Create("a/b/c", 12345)
			must(t, err)
			must(t, errOf(m.Pwrite(f.FD(), []byte("data"), 8190)), m.Fallocate(f.FD(), platform.FallocKeepSize, 1<<20, 1<<16))
			must(t, f.Close(), fs.Mkdir("a/empty"), fs.SetImmutable("a/b/c", true))
		}
		return nil
	}},
	{"several DIMMs, and more regions", Config{}, func(t testing.TB, m *Machine) []*File {
		m.AddDevDax(DevDax{Size: 30 << 20, Region: Region{DIMMs: []DIMM{
			{DirtyShutdowns: 3}, {NoID: true}, {ID: "8089-a2-1837-000019c4", Flags: "not_armed flush_fail"},
		}}})
		m.AddFS(FS{Size: 30 << 20, Region: Region{Legacy: true}})
		m.AddDevDax(DevDax{Size: 30 << 20, Region: Region{DIMMs: []DIMM{{NoDirtyShutdown: true}}}})
		m.AddDevDax(DevDax{Size: 30 << 20, Region: Region{Legacy: true}})
		m.AddFS(FS{Size: 30 << 20, VirtioPmem: true})
		return nil
	}},
	{"bad blocks of devices", Config{}, func(t testing.TB, m *Machine) []*File {
		d := m.AddDevDax(DevDax{Size: 8 << 20})
		must(t, d.AddBadBlock(0, 1), d.AddBadBlock(4096, 4096), d.AddBadBlock(1<<20, 512), d.AddBadBlock(8<<20-1, 1))
		d = m.AddDevDax(DevDax{Size: 8 << 20, Align: 4096, Region: Region{Legacy: true}})
		must(t, d.AddBadBlock(12345, 6789))
		b := m.AddFS(FS{Size: 8 << 20}).BlockDevice()
		must(t, b.AddBadBlock(0, 4096), b.AddBadBlock(1<<20, 1<<20))
		// One that was cleared, so that the lists of the region and of the driver differ.
		bus, err := m.Open("/dev/ndctl0", platform.ORdwr, 0)
		must(t, err)
		r := b.region
		must(t, errOf(m.ClearError(bus, r.start+r.infoBlock, 512)), m.Close(bus))
		return nil
	}},
	{"bad blocks of files", Config{}, func(t testing.TB, m *Machine) []*File {
		for _, dax := range []bool{true, false} {
			fs := m.AddFS(FS{Size: 8 << 20, DAX: dax})
			f, err := fs.Create("f", 1<<20)
			must(t, err)
			must(t, m.Fallocate(f.FD(), 0, 4096, 1<<19), fs.AddBadBlock("f", 8192, 600), fs.AddBadBlock("f", 20480, 4096))
			g, err := fs.Create("g", 0)
			must(t, err)
			must(t, m.Fallocate(g.FD(), platform.FallocKeepSize, 0, 1<<16), fs.AddBadBlock("g", 4096, 1))
			// A hole punched and allocated again, and one written over.
			must(t, m.Fallocate(f.FD(), platform.FallocKeepSize|platform.FallocPunchHole, 8192, 4096))
			must(t, m.Fallocate(f.FD(), 0, 8192, 4096), errOf(m.Pwrite(f.FD(), make([]byte, 8192), 20480)))
			must(t, fs.AddBadBlock("f", 1<<18, 1), f.Close(), g.Close())
		}
		return nil
	}},
	{"directories and attributes", Config{}, func(t testing.TB, m *Machine) []*File {
		fs := m.AddFS(FS{Size: 1 << 30, DAX: true})
		for _, name := range []string{"a", "b/c/d/e/f", "b/c/append", "b/\xff\xfe", "b/\u2028 <&>"} {
			f, err := fs.Create(name, uint64(1000*len(name)))
			must(t, err, f.Close())
		}
		must(t, fs.SetAppendOnly("b/c/append", true), fs.SetImmutable("b/c/d", true), fs.SetAppendOnly("", true))
		fd, err := m.Open(fs.Path("exec"), platform.ORdwr|platform.OCreat, 0o4711)
		must(t, err, m.Close(fd))
		// Numbers that nothing has any more.
		f, err := fs.Create("gone", 1<<20)
		must(t, err, m.Fallocate(f.FD(), 0, 0, 1<<20), f.Close(), fs.Remove("gone"))
		must(t, fs.Mkdir("gone"), fs.Remove("gone"))
		g, err := fs.Create("large", 1<<43)
		must(t, err, errOf(m.Pwrite(g.FD(), []byte{1}, 1<<42)), g.Close())
		// What is open without a name.
		f, err = fs.Create("unlinked", 4096)
		must(t, err, fs.Remove("unlinked"))
		h, err := fs.Open("b", platform.OTmpfile|platform.ORdwr, 0o600)
		must(t, err)
		return []*File{f, h}
	}},
	{"edits of sysfs", Config{}, func(t testing.TB, m *Machine) []*File {
		d := m.AddDevDax(DevDax{Size: 8 << 20})
		e := m.AddDevDax(DevDax{Size: 8 << 20})
		m.AddFS(FS{Size: 8 << 20})
		s := m.Sysfs()
		must(t, s.Set(d.SysfsPath()+"/size", "no number"), s.Set("new/attr", "\xff\x00\n"), s.Set("\xff/\x00", "\x00"), s.Set("new/empty/attr", ""))
		must(t, s.Remove("new/empty/attr"), s.Remove(d.RegionPath()+"/persistence_domain"), s.Remove("bus/nd/devices/nmem2"))
		must(t, s.Fail(e.RegionPath(), syscall.EIO), s.Fail(d.SysfsPath()+"/align", syscall.EACCES), s.Link("new/link", "../dev"))
		must(t, s.Set(d.RegionPath()+"/deep_flush", "12\n"), m.WriteAttr(d.RegionPath()+"/deep_flush", "1"))
		must(t, m.WriteAttr("bus/nd/devices/ndbus0/nfit/scrub", "1"), s.Fail(e.RegionPath(), 0), s.Fail("bus/nd/devices/region1", syscall.EPERM))
		return nil
	}},
	{"character devices", Config{}, func(t testing.TB, m *Machine) []*File {
		var open []*File
		for _, d := range []*Device{m.PTY(), m.DevZero()} {
			f, err := d.Open(platform.ORdwr)
			must(t, err)
			open = append(open, f)
		}
		m.AddDevDax(DevDax{Size: 8 << 20})
		return open
	}},
}

// answers is what the machine answers of all that it has, but for what lies in its memory.
func answers(t testing.TB, m *Machine) []string {
	t.Helper()
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	var walk func(dir string)
	walk = func(dir string) {
		names, err := m.List(dir)
		say("list %q: %q %v", dir, names, err)
		for _, name := range names {
			p := strings.TrimPrefix(dir+"/"+name, "/")
			target, err := m.Readlink(p)
			say("link %q: %q %v", p, target, err)
			if err == nil {
				continue
			}
			text, err := m.ReadAttr(p)
			say("attr %q: %q %v", p, text, err)
			if err == syscall.EISDIR {
				walk(p)
			}
		}
	}
	walk("")
	walk("../bus")
	var paths []string
	m.mu.Lock()
	for p := range m.nodes {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	var tree func(p string, o *object)
	tree = func(p string, o *object) {
		paths = append(paths, p)
		if o.class == classDirectory {
			paths = append(paths, p+"/..")
		}
		for _, name := range sortedNames(o.children) {
			tree(p+"/"+name, o.children[name])
		}
	}
	for _, fs := range m.mounts {
		tree(fs.mount, fs.root)
	}
	m.mu.Unlock()
	for _, p := range paths {
		for _, flags := range []int{platform.ORdonly, platform.OWronly, platform.ORdwr | platform.OAppend, platform.ORdwr} {
			fd, err := m.Open(p, flags, 0)
			say("open %q %#x: %v", p, flags, err)
			if err != nil {
				continue
			}
			all = append(all, answersOf(t, m, p, fd)...)
			must(t, m.Close(fd))
		}
	}
	return all
}

func sortedNames[T any](m map[string]T) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// answersOf is what the machine answers of the open object at p.
func answersOf(t testing.TB, m *Machine, p string, fd int) []string {
	t.Helper()
	var all []string
	say := func(format string, args ...any) { all = append(all, p+": "+fmt.Sprintf(format, args...)) }
	st, err := m.Fstat(fd)
	say("fstat %+v %v", st, err)
	stx, err := m.Statx(fd)
	say("statx %+v %v", stx, err)
	extents := make([]platform.FiemapExtent, 64)
	n, err := m.Fiemap(fd, 0, 1<<63-1, 0, extents)
	say("fiemap %+v %v", extents[:n], err)
	o, _, err := m.lookup(fd)
	must(t, err)
	m.mu.Lock()
	align, size := max(o.align, pageSize), max(o.size, uint64(st.Size))
	var bad []BadBlock
	if o.fs == nil || o.fs.onBlocks() {
		bad = badBlocks(o.badBytes())
	}
	m.mu.Unlock()
	say("bad %v", bad)
	for _, flags := range []int{
		platform.MapShared, platform.MapPrivate, platform.MapSharedValidate, platform.MapSharedValidate | platform.MapSync,
	} {
		for _, length := range []uint64{1, align, 3 * align} {
			for _, prot := range []int{platform.ProtRead, platform.ProtRead | platform.ProtWrite} {
				at, err := m.Mmap(0, length, prot, flags, fd, 0)
				say("mmap %#x of %d for %d: %v", flags, length, prot, err)
				if err == nil {
					must(t, m.Munmap(at, length))
				}
			}
		}
	}
	// Around the bad blocks, and elsewhere.
	offs := []uint64{0, 4096, 8192, 12288, 1 << 18, 1 << 20, size / 2, size - min(size, 1)}
	for _, b := range bad {
		offs = append(offs, b.Offset-min(b.Offset, 4096), b.Offset, b.Offset+b.Length-1, b.Offset+b.Length)
	}
	for _, off := range offs {
		_, err := m.Pread(fd, make([]byte, 1), int64(off))
		say("pread at %d: %v", off, err)
		from := off &^ (align - 1)
		at, err := m.Mmap(0, align, platform.ProtRead, platform.MapShared, fd, int64(from))
		if err != nil {
			continue
		}
		say("access at %d faults: %t", off, faults(at+uintptr(off-from)))
		must(t, m.Munmap(at, align))
	}
	return all
}

// faults says whether a load from addr is a SIGBUS.
func faults(addr uintptr) (yes bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { yes = recover() != nil }()
	_ = platform.Bytes(addr, 1)[0] + 1
	loaded = platform.Bytes(addr, 1)[0]
	return false
}

var loaded byte

// extend adds more of everything, and returns what the machine says then.
func extend(t testing.TB, m *Machine) []string {
	t.Helper()
	var all []string
	for _, d := range []*DaxDevice{
		m.AddDevDax(DevDax{Size: 8 << 20}), m.AddDevDax(DevDax{Size: 8 << 20, Region: Region{Legacy: true}}),
	} {
		all = append(all, d.Path(), d.SysfsPath(), d.RegionPath(), fmt.Sprint(d.DIMMPaths()), fmt.Sprint(d.AddBadBlock(4096, 1)))
	}
	added := []*FileSystem{
		m.AddFS(FS{Size: 8 << 20, DAX: true}), m.AddFS(FS{Size: 8 << 20, VirtioPmem: true}), m.AddFS(FS{Size: 1 << 20, Type: Tmpfs}),
	}
	must(t, m.Err())
	m.mu.Lock()
	mounts := slices.Clone(m.mounts)
	m.mu.Unlock()
	for _, fs := range append(added, mounts...) {
		f, err := fs.Create("new/dir/file", 1<<16)
		all = append(all, fs.Path(""), fmt.Sprint(err))
		if err != nil {
			continue
		}
		all = append(all, fmt.Sprint(m.Fallocate(f.FD(), 0, 0, 1<<20), fs.BlockDevice().AddBadBlock(1<<18, 1<<16)))
		all = append(all, answersOf(t, m, f.Name(), f.FD())...)
		must(t, f.Close())
	}
	for _, d := range []*Device{m.DevNull(), m.DevZero(), m.PTY()} {
		f, err := d.Open(platform.ORdonly)
		must(t, err, f.Close())
	}
	m.SetEADR(true)
	bus, err := m.Open("/dev/ndctl0", platform.ORdwr, 0)
	must(t, err)
	m.mu.Lock()
	regions := slices.Clone(m.regions)
	m.mu.Unlock()
	for _, r := range regions {
		for _, at := range []uint64{r.start, r.start + r.infoBlock, r.start + r.infoBlock + 4096, r.start + r.size - 8192} {
			capable, err := m.ARSCapabilities(bus, at, 4096)
			n, clearErr := m.ClearError(bus, at, 8192)
			all = append(all, fmt.Sprint(at, capable, err, n, clearErr))
		}
	}
	must(t, m.Close(bus))
	for _, p := range []string{"bus/nd/devices/ndbus0/nfit/scrub", "bus/nd/devices/region0/deep_flush"} {
		err := m.WriteAttr(p, "1")
		text, readErr := m.ReadAttr(p)
		all = append(all, fmt.Sprint(p, err, text, readErr))
	}
	return all
}

func compareAnswers(t testing.TB, what string, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: got %s\nwant %s", what, got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: got %d answers, want %d", what, len(got), len(want))
	}
}

// checkRebuilt checks that the machine built from the blueprint of m is as m. open is what is
// open on m.
func checkRebuilt(t testing.TB, m *Machine, open []*File) {
	t.Helper()
	b := planOf(t, m)
	back, text := asJSON(t, b)
	if d := difference(t, back, b); d != "" {
		t.Fatalf("after a way through JSON: %s", d)
	}
	if _, again := asJSON(t, planOf(t, m)); string(again) != string(text) {
		t.Error("told again, the blueprint is another one")
	}
	built, err := back.build()
	must(t, err)
	if d := difference(t, planOf(t, built), b); d != "" {
		t.Errorf("of the machine that was built: %s", d)
	}
	compareBad(t, built, m)
	compareAnswers(t, "built", answers(t, built), answers(t, m))
	compareAnswers(t, "extended", extend(t, built), extend(t, m))
	got, want := planOf(t, built), planOf(t, m)
	if d := difference(t, got, want); d != "" {
		t.Errorf("of the machine that was extended: %s", d)
	}
	if d := difference(t, back, b); d != "" {
		t.Errorf("the machine shares something with its blueprint: %s", d)
	}
	must(t, built.Shutdown())
	for _, f := range open {
		must(t, f.Close())
	}
	must(t, m.Shutdown())
}

// compareBad compares which pages fault, of all objects, and the blocks that files took.
func compareBad(t testing.TB, got, want *Machine) {
	t.Helper()
	pages := func(m *Machine) map[int]string {
		m.mu.Lock()
		defer m.mu.Unlock()
		all := map[int]string{}
		for _, o := range m.objects {
			if o.linked && (o.fs == nil || o.fs.onBlocks()) { // and not of a tmpfs
				all[o.number] = fmt.Sprint(o.class, o.badPages, o.badBytes(), o.ino, o.mode)
			}
		}
		return all
	}
	if g, w := pages(got), pages(want); !reflect.DeepEqual(g, w) {
		t.Errorf("pages that fault, by number: got %v, want %v", g, w)
	}
}

func TestBlueprint(t *testing.T) {
	for _, c := range zoo {
		t.Run(c.name, func(t *testing.T) {
			before := descriptors(t)
			m := NewMachine(c.cfg)
			open := c.add(t, m)
			must(t, m.Err())
			checkRebuilt(t, m, open)
			if after := descriptors(t); after != before {
				t.Errorf("there are %d descriptors, there were %d", after, before)
			}
		})
	}
}

// Neither the blueprint nor the machine that is built share what the caller's config held.
func TestBlueprintCopiesConfig(t *testing.T) {
	dimms := []DIMM{{ID: "8680-56341200"}}
	m := NewMachine(Config{})
	m.AddFS(FS{Size: 1 << 20, Region: Region{DIMMs: dimms}})
	b := planOf(t, m)
	built, err := b.build()
	must(t, err)
	dimms[0].ID = "8680-00000000"
	if got := b.FileSystems[0].Config.Region.DIMMs[0].ID; got != "8680-56341200" {
		t.Errorf("the blueprint: got %s", got)
	}
	b.FileSystems[0].Config.Region.DIMMs[0].ID = "8680-11111111"
	if got := planOf(t, built).FileSystems[0].Config.Region.DIMMs[0].ID; got != "8680-56341200" {
		t.Errorf("the machine that was built: got %s", got)
	}
	must(t, m.Shutdown(), built.Shutdown())
}

// A tmpfs is empty after a boot, and its root is another one.
func TestBlueprintTmpfs(t *testing.T) {
	m := NewMachine(Config{})
	fs := m.AddFS(FS{Size: 1 << 20, Type: Tmpfs})
	f, err := fs.Create("a/b", 4096)
	must(t, err, fs.SetAppendOnly("", true))
	built, err := planOf(t, m).build()
	must(t, err)
	fs, err = built.FS("/mnt/tmpfs0")
	must(t, err)
	if _, err := fs.Open("a", platform.ORdonly, 0); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("a directory of a tmpfs: got %v, want ENOENT", err)
	}
	g, err := fs.Create("c", 0)
	must(t, err)
	st, err := built.Fstat(g.FD())
	if err != nil || st.Ino != rootIno+1 {
		t.Errorf("the first file: got inode number %d, %v; want %d", st.Ino, err, rootIno+1)
	}
	if fs.BlockDevice().err == nil {
		t.Error("a tmpfs has a block device")
	}
	must(t, g.Close(), f.Close(), m.Shutdown(), built.Shutdown())
}
