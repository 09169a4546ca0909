package sequences

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"pmemlab/ci/vm/plan"
	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
)

// guestPlaces are such as a virtual machine has.
var guestPlaces = []plan.Place{
	{Namespace: plan.Namespace{Name: "dax2M", Kind: plan.DevDax}, Bytes: 62 << 20},
	{Namespace: plan.Namespace{Name: "dax4K", Kind: plan.DevDax, Align: 4 << 10}, Bytes: 62 << 20},
	{Namespace: plan.Namespace{Name: "ext4-dax", Kind: plan.FSDax, FS: "ext4", Options: "dax=always"}, Bytes: 190 << 20, Mount: "/mnt/ext4-dax"},
	{Namespace: plan.Namespace{Name: "xfs-dax", Kind: plan.FSDax, FS: "xfs", Options: "dax"}, Bytes: 318 << 20, Mount: "/mnt/xfs-dax"},
	{Namespace: plan.Namespace{Name: "ext4", Kind: plan.Raw, FS: "ext4"}, Bytes: 64 << 20, Mount: "/mnt/ext4"},
	{Namespace: plan.Namespace{Name: "tmpfs", Kind: plan.Tmpfs}, Mount: "/mnt/tmpfs"},
	{Namespace: plan.Namespace{Name: "raw", Kind: plan.Raw}, Bytes: 64 << 20, Device: "/dev/pmem5"}, // left out
}

// emulated builds a machine for a test, which must be left with nothing open or mapped.
func emulated(t *testing.T, domain string) (*emu.Machine, []plan.Place) {
	t.Helper()
	m, places, err := Emulate(guestPlaces, domain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return m, places
}

func logOf(t *testing.T, machine platform.Platform, places []plan.Place, from, count uint64) string {
	t.Helper()
	var log bytes.Buffer
	if err := Run(machine, places, from, count, &log); err != nil {
		t.Fatal(err)
	}
	return log.String()
}

// TestEmulatedTwice: two emulated machines answer the same, whatever ran before, and most
// maps are made.
func TestEmulatedTwice(t *testing.T) {
	for _, name := range []string{"memory_controller", "cpu_cache", ""} {
		m, places := emulated(t, name)
		if got := domain(m); got != name {
			t.Errorf("the machine has domain %q, want %q", got, name)
		}
		count := uint64(sweepEvery)
		if name != "memory_controller" {
			count = 50
		}
		log := logOf(t, m, places, 1, count)
		c, err := Check(strings.NewReader(log))
		if err != nil {
			t.Fatal(err)
		}
		if c.Sequences != int(count) || c.Equal != int(count) || c.Different != 0 || c.Differences != "" {
			t.Errorf("domain %q: %s%s", name, c.Differences, c.Summary())
		}
		made, all := 0, 0
		for outcome, n := range c.Outcomes {
			kind, what, _ := strings.Cut(outcome, " ")
			if kind == "map" {
				if all += n; what == "ok" {
					made += n
				}
			}
			if slices.Contains([]string{"panic", "error", "stray", outside}, what) && (what != outside || n > int(count)/20) {
				t.Errorf("domain %q: %d times %s", name, n, outcome)
			}
		}
		if made*2 < all {
			t.Errorf("domain %q: %d of %d maps were made, want half of them", name, made, all)
		}
		want := map[string]string{"cpu_cache": "BYTE"}[name]
		if want == "" {
			want = "CACHE_LINE"
		}
		if got := granularities(log); !maps.Equal(got, map[string]bool{want: true}) {
			t.Errorf("domain %q: maps of device DAX have the granularities %v, want %s", name, got, want)
		}
		// A sequence doesn't depend on those before it.
		later := logOf(t, m, places, count/2+1, count/2)
		_, later, _ = strings.Cut(later, "\n")
		if !strings.HasSuffix(log, later) {
			t.Errorf("domain %q: the second half alone has another log", name)
		}
	}
}

// granularities are those of the maps that NewMap made where a program knows device DAX alone.
func granularities(log string) map[string]bool {
	found := map[string]bool{}
	dax := false
	for line := range strings.Lines(log) {
		if name, isName := strings.CutPrefix(line, sequenceMark); isName {
			_, of, _ := strings.Cut(name, " ")
			dax = of == "A=dax2M\n" || of == "A=dax4K\n"
		}
		words, outcome, _ := strings.Cut(line, arrow)
		fields := strings.Fields(outcome)
		if dax && len(fields) == 4 && fields[0] == "ok" && strings.HasPrefix(words, "  map ") && !strings.Contains(words, "forced") && !strings.Contains(words, "of s2") {
			found[fields[3]] = true
		}
	}
	return found
}

// TestHost: a tmpfs of the kernel that the test runs on answers as the emulated one.
func TestHost(t *testing.T) {
	var fs unix.Statfs_t
	const shm = "/dev/shm"
	if err := unix.Statfs(shm, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Skipf("%s is no tmpfs here (%v)", shm, err)
	}
	dir, err := os.MkdirTemp(shm, "sequences-")
	if err != nil {
		t.Skipf("no folder can be made in %s: %v", shm, err)
	}
	defer os.RemoveAll(dir)
	text, err := json.Marshal([]plan.Place{{Namespace: plan.Namespace{Name: "tmpfs", Kind: plan.Tmpfs}, Mount: dir}})
	if err != nil {
		t.Fatal(err)
	}
	places, out := filepath.Join(t.TempDir(), "places.json"), filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(places, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if status := Main([]string{"-seed", "1", "-count", "150", "-places", places, "-out", out}); status != 0 {
		t.Fatalf("status %d, want 0", status)
	}
	log, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c, err := Check(log)
	if err != nil {
		t.Fatal(err)
	}
	if c.Different != 0 || c.Equal != 150 {
		t.Errorf("%s%s", c.Differences, c.Summary())
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left in %s: %v (%v), want nothing", dir, left, err)
	}
}

// lossy is a machine on which something gets lost.
type lossy struct {
	platform.Platform
	pwrite bool // the last byte of what is written
	size   bool // a page of each file, as fstat tells
	copies bool // the last byte of a long copy
	ops    platform.CacheOps
}

func (l *lossy) Pwrite(fd int, p []byte, off int64) (int, error) {
	if l.pwrite && len(p) > 1 {
		n, err := l.Platform.Pwrite(fd, p[:len(p)-1], off)
		return n + 1, err
	}
	return l.Platform.Pwrite(fd, p, off)
}

func (l *lossy) Fstat(fd int) (platform.Stat, error) {
	st, err := l.Platform.Fstat(fd)
	if l.size && st.Size > page {
		st.Size -= page
	}
	return st, err
}

func (l *lossy) CacheOps(g platform.Granularity) *platform.CacheOps {
	ops := l.Platform.CacheOps(g)
	if !l.copies || g != platform.GranularityCacheLine {
		return ops
	}
	if l.ops.Set == nil {
		l.ops = *ops
		l.ops.NonTemporalFrom = 1 << 62
		whole := ops.Set
		l.ops.Set = func(p unsafe.Pointer, c byte, n uintptr) { whole(p, c, max(n, 1)-1) }
	}
	return &l.ops
}

// TestDeviations: each thing that one machine does otherwise is found, and told in words.
func TestDeviations(t *testing.T) {
	const count = 120
	m, places := emulated(t, "memory_controller")
	want := logOf(t, m, places, 1, count)
	for _, deviation := range []struct {
		name string
		wrap func(*emu.Machine) platform.Platform
		tell []string // among the differences
	}{
		{"granularity", func(m *emu.Machine) platform.Platform {
			m.SetEADR(true)
			return m
		}, []string{"kernel: ok", "bytes BYTE\n", "bytes CACHE_LINE\n", "≠ map"}},
		{"alignment in sysfs", func(m *emu.Machine) platform.Platform {
			dax, err := m.DevDax("/dev/dax1.0")
			if err != nil {
				t.Fatal(err)
			}
			m.Sysfs().Set(dax.SysfsPath()+"/align", "8192\n")
			return m
		}, []string{"alignment 8192 ok", "alignment 4096 ok"}},
		{"errno of one mmap", func(m *emu.Machine) platform.Platform {
			return fault.Wrap(m, fault.MustParse("(ENFILE (And (Op mmap) (FileBacked) (OnIndex 100)))"))
		}, []string{"kernel: ENFILE", "emu:    ok"}},
		{"errno of extents", func(m *emu.Machine) platform.Platform {
			return fault.Wrap(m, fault.MustParse("(EIO (Op ftruncate))"))
		}, []string{"≠ create", "kernel: EIO"}},
		{"a byte of pwrite", func(m *emu.Machine) platform.Platform { return &lossy{Platform: m, pwrite: true} }, []string{"≠ content"}},
		{"a byte of memset", func(m *emu.Machine) platform.Platform { return &lossy{Platform: m, copies: true} }, []string{"≠ content"}},
		{"a page of fstat", func(m *emu.Machine) platform.Platform { return &lossy{Platform: m, size: true} }, []string{"≠ source"}},
	} {
		t.Run(deviation.name, func(t *testing.T) {
			m, places := emulated(t, "memory_controller")
			got := logOf(t, deviation.wrap(m), places, 1, count)
			c, err := Compare(strings.NewReader(got), strings.NewReader(want))
			if err != nil {
				t.Fatal(err)
			}
			if c.Different == 0 || c.Equal+c.Different != count {
				t.Errorf("%s: want differences", c.Summary())
			}
			for _, tell := range deviation.tell {
				if !strings.Contains(c.Differences, tell) {
					t.Errorf("the differences don't say %q:\n%s", tell, c.Differences)
				}
			}
		})
	}
}

// TestStrayByte: what is stored outside of what a program stores to is found in time.
func TestStrayByte(t *testing.T) {
	m, places := emulated(t, "memory_controller")
	b, unmap, err := mapWindow(m, places[0].Device, places[0].Bytes, places[0].Alignment())
	if err != nil {
		t.Fatal(err)
	}
	defer unmap()
	b[5<<20] = 1
	if got, want := zero(b), "stray bytes in the page at 5242880"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := zero(b); got != "ok zero" {
		t.Errorf("the second time: got %q, want all to be zero", got)
	}
	b[6<<20] = 1 // Run clears what it finds
	if log := logOf(t, m, places, sweepEvery-1, 1); !strings.Contains(log, "  sweep dax2M -> ok zero\n") {
		t.Errorf("no sweep, or not zero:\n%s", log)
	}
}

func TestRunWithoutPlaces(t *testing.T) {
	if err := Run(emu.NewMachine(emu.Config{}), guestPlaces[len(guestPlaces)-1:], 1, 1, new(bytes.Buffer)); err == nil {
		t.Error("no error where there is no place to run on")
	}
}

// TestNothingLeft: a program may put a reservation, with a map in it, in a slot that has
// another; its end deletes both, the maps first.
func TestNothingLeft(t *testing.T) {
	m, places := emulated(t, "memory_controller")
	log := logOf(t, m, places, 1795361503, 1)
	if !strings.Contains(log, "end older map -> ok") || !strings.Contains(log, "end older reservation -> ok") {
		t.Errorf("the program doesn't show it:\n%s", log)
	}
}

// TestEmulateLeavesNothing: a machine that can't be built is shut down.
func TestEmulateLeavesNothing(t *testing.T) {
	descriptors := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	places := slices.Clone(guestPlaces[:4])
	places[3].FS = "btrfs"
	before := descriptors()
	if _, _, err := Emulate(places, ""); err == nil || !strings.Contains(err.Error(), `"btrfs"`) {
		t.Errorf("%v: want the file system in it", err)
	}
	if after := descriptors(); after != before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}
