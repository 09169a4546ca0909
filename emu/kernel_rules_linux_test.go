package emu_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

func hostKernel(t *testing.T) kernelVersion {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	var v kernelVersion
	if _, err := fmt.Sscanf(release, "%d.%d", &v[0], &v[1]); err != nil {
		t.Fatalf("kernel release %q: %v", release, err)
	}
	return v
}

const bogusFlag = 0x800000

var columnFlags = map[string]int{
	"SHARED": platform.MapShared, "PRIVATE": platform.MapPrivate, "V": platform.MapSharedValidate,
	"V+S":       platform.MapSharedValidate | platform.MapSync,
	"SHARED+S":  platform.MapShared | platform.MapSync,
	"PRIVATE+S": platform.MapPrivate | platform.MapSync,
	"V+bogus":   platform.MapSharedValidate | bogusFlag, "SHARED+bogus": platform.MapShared | bogusFlag,
	"0": 0, "SHARED+POPULATE": platform.MapShared | platform.MapPopulate,
	"SHARED+HUGETLB": platform.MapShared | platform.MapHugetlb,
}

var openFlags = map[string]int{
	"RDONLY": platform.ORdonly, "WRONLY": platform.OWronly, "RDWR": platform.ORdwr,
	"RDWR+APPEND": platform.ORdwr | platform.OAppend, "WRONLY+APPEND": platform.OWronly | platform.OAppend,
	"PATH": platform.OPath,
}

var protSets = map[string][]int{
	"r":    {0, platform.ProtRead, platform.ProtExec, platform.ProtRead | platform.ProtExec},
	"w":    {2, 3, 6, 7},
	"late": {platform.ProtRead, platform.ProtRead | platform.ProtWrite},
}

// subject is where cells are asked: a machine with a name for each of its objects.
type subject struct {
	name    string
	p       platform.Platform
	objects map[string]cellObject
	// luck says what to expect where the measured kernel answered by luck; nil: the
	// cell isn't compared.
	luck func() string
	// answer is what a cell must be, given what was measured on 6.1; known is false
	// where nobody measured it for this kernel.
	answer func(cell cellID, measured string) (want string, known bool)

	compared   int
	unmeasured map[string]int // by reason
}

type cellID struct{ object, open, prot, column string }

// cellObject is how to open an object. late is called after the open.
type cellObject struct {
	path   string
	length uint64 // of the mappings of mmapCells
	align  uint64 // A and S of the geometry
	size   uint64
	late   func() error
	close  func() error
	// thp: addresses and offsets of mappings of 2 MiB agree modulo 2 MiB.
	thp bool
}

func errnoName(err error) string {
	if err == nil {
		return "ok"
	}
	if err == unix.EOPNOTSUPP { // on Linux the same number as ENOTSUP
		return "EOPNOTSUPP"
	}
	if errno, ok := err.(syscall.Errno); ok {
		return unix.ErrnoName(errno)
	}
	return "not an errno: " + err.Error()
}

// TestKernelRules asks every measured cell of the emulated machine and, where it has
// such an object, of the kernel of this host.
func TestKernelRules(t *testing.T) {
	m := newMachine(t, emu.Config{})
	emulated := emulatedSubject(t, m)
	host := hostSubject(t)
	for _, s := range []*subject{emulated, host} {
		t.Run(s.name, func(t *testing.T) {
			s.checkMatrix(t)
			s.checkGeometry(t)
			s.checkHints(t)
			t.Logf("%s: %d cells compared", s.name, s.compared)
			for _, reason := range sortedKeys(s.unmeasured) {
				t.Logf("%s: %d cells not compared: %s", s.name, s.unmeasured[reason], reason)
			}
			if s.compared == 0 {
				t.Error("no cell was compared")
			}
		})
	}
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func emulatedSubject(t *testing.T, m *emu.Machine) *subject {
	s := &subject{
		name: "emulated", p: m, objects: map[string]cellObject{}, unmeasured: map[string]int{},
		luck:   func() string { return "EINVAL" },
		answer: func(_ cellID, measured string) (string, bool) { return measured, true },
	}
	for name, align := range map[string]uint64{"dax4K": 4 << 10, "dax2M": 2 << 20, "dax1G": 1 << 30} {
		d := m.AddDevDax(emu.DevDax{Size: max(3*align, 16<<20), Align: align})
		s.objects[name] = cellObject{path: d.Path(), length: align, align: align, size: d.Size()}
	}
	o := s.objects["dax2M"]
	o.length = 4 << 10
	s.objects["dax2M-4K"] = o
	s.objects["zero"] = cellObject{path: m.DevZero().Path(), length: 4 << 10}
	s.objects["null"] = cellObject{path: m.DevNull().Path(), length: 4 << 10}
	s.objects["nmem"] = cellObject{path: "/dev/nmem0", length: 4 << 10}
	for name, cfg := range map[string]emu.FS{
		"ext4-dax":    {DAX: true},
		"xfs-dax":     {DAX: true, Type: emu.XFS},
		"ext4":        {},
		"ext4-virtio": {DAX: true, VirtioPmem: true},
		"tmpfs":       {Type: emu.Tmpfs},
	} {
		cfg.Size = 64 << 20
		fs := m.AddFS(cfg)
		if name == "ext4" {
			s.objects["block"] = cellObject{path: fs.BlockDevice().Path(), length: 4 << 10}
		}
		create := func(file string, size uint64) cellObject {
			f, err := fs.Create(file, size)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			return cellObject{
				path: fs.Path(file), length: 4 << 10, align: 2 << 20, size: size &^ 0xfff,
				thp: cfg.Type != emu.Tmpfs,
			}
		}
		file := create("file", 0x801388)
		file.length = 2 << 20
		s.objects[name] = file
		empty := create("empty", 0)
		empty.align, empty.size, empty.thp = 4<<10, 4<<10, false
		s.objects[name+"-empty"] = empty
		s.objects[name+"-append"] = create("append", 8192)
		s.objects[name+"-immutable"] = create("immutable", 8192)
		late := create("late", 8192)
		late.late = func() error { return fs.SetAppendOnly("late", true) }
		late.close = func() error { return fs.SetAppendOnly("late", false) }
		s.objects[name+"-late"] = late
		s.objects[name+"-dir"] = cellObject{path: fs.Path(""), length: 4 << 10}
		if err := fs.SetAppendOnly("append", true); err != nil {
			t.Fatal(err)
		}
		if err := fs.SetImmutable("immutable", true); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

var fsMagic = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.TMPFS_MAGIC: "tmpfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
}

// hostSubject finds what objects this host has.
func hostSubject(t *testing.T) *subject {
	kernel := hostKernel(t)
	s := &subject{
		name: fmt.Sprintf("host Linux %d.%d", kernel[0], kernel[1]),
		p:    platform.Host(), objects: map[string]cellObject{}, unmeasured: map[string]int{},
		luck: func() string { return "" },
	}
	s.answer = func(cell cellID, measured string) (string, bool) {
		if kernel.before(measuredOn) {
			return "", false
		}
		for _, c := range laterCells {
			if (cellID{c.object, c.open, c.prot, c.column}) == cell {
				// Between the two versions nobody knows when it changed.
				return c.answer, !kernel.before(c.since)
			}
		}
		return measured, true
	}
	if runtime.GOARCH == "amd64" {
		s.objects["zero"] = cellObject{path: "/dev/zero", length: 4 << 10}
		s.objects["null"] = cellObject{path: "/dev/null", length: 4 << 10}
	}
	shm, err := os.MkdirTemp("/dev/shm", "emu-cells")
	if err != nil {
		t.Logf("no /dev/shm: %v", err)
	} else {
		t.Cleanup(func() { os.RemoveAll(shm) })
		s.addHostFS(t, shm)
	}
	s.addHostFS(t, t.TempDir())
	return s
}

func (s *subject) addHostFS(t *testing.T, dir string) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	name := fsMagic[st.Type]
	switch name {
	case "":
		t.Logf("%s: a file system of magic %#x isn't measured", dir, st.Type)
		return
	case "ext4", "tmpfs":
	default:
		t.Logf("%s: %s has no measured cells (xfs is measured with DAX only)", dir, name)
		return
	}
	if _, ok := s.objects[name]; ok {
		return
	}
	create := func(file string, size int64) cellObject {
		path := filepath.Join(dir, file)
		f, err := os.Create(path)
		if err == nil {
			err = f.Truncate(size)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return cellObject{path: path, length: 4 << 10, align: 2 << 20, size: uint64(size) &^ 0xfff}
	}
	file := create("file", 0x801388)
	if isDAX(t, file.path) {
		name += "-dax"
	}
	file.length = 2 << 20
	s.objects[name] = file
	empty := create("empty", 0)
	empty.align, empty.size = 4<<10, 4<<10
	s.objects[name+"-empty"] = empty
	s.objects[name+"-dir"] = cellObject{path: dir, length: 4 << 10}
	const appendFlag, immutableFlag = 0x20, 0x10
	attributed := map[string]int{"append": appendFlag, "immutable": immutableFlag}
	for attr, flag := range attributed {
		o := create(attr, 8192)
		if err := setFileFlags(o.path, flag); err != nil {
			t.Logf("%s: no %s files: %v", dir, attr, err)
			continue
		}
		t.Cleanup(func() { setFileFlags(o.path, 0) })
		s.objects[name+"-"+attr] = o
	}
	if _, ok := s.objects[name+"-append"]; ok {
		late := create("late", 8192)
		late.late = func() error { return setFileFlags(late.path, appendFlag) }
		late.close = func() error { return setFileFlags(late.path, 0) }
		s.objects[name+"-late"] = late
	}
}

func isDAX(t *testing.T, path string) bool {
	var stx unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS, &stx); err != nil {
		t.Fatal(err)
	}
	return stx.Attributes&platform.StatxAttrDAX != 0
}

func setFileFlags(path string, flags int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
}

// rows splits a table into its lines and cells.
func rows(table string) [][]string {
	var all [][]string
	for line := range strings.Lines(table) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		cells := strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		all = append(all, cells)
	}
	return all
}

func (s *subject) checkMatrix(t *testing.T) {
	for _, row := range rows(mmapCells) {
		for _, name := range strings.Fields(row[0]) {
			o, ok := s.objects[name]
			for _, open := range strings.Fields(row[1]) {
				if !ok {
					s.unmeasured["no "+name+" here"] += len(strings.Fields(row[3]))
					continue
				}
				s.checkOpen(t, name, o, open, row[2], row[3])
			}
		}
	}
}

// checkOpen checks the cells of one object and open mode.
func (s *subject) checkOpen(t *testing.T, name string, o cellObject, open, prots, answers string) {
	fd, err := s.p.Open(o.path, openFlags[open], 0)
	if want, ok := strings.CutPrefix(answers, "open: "); ok {
		want, known := s.answer(cellID{name, open, "", "open"}, want)
		if !known {
			s.unmeasured["another kernel"]++
		} else if s.compared++; errnoName(err) != want {
			t.Errorf("%s: open %s %s: got %s, want %s", s.name, name, open, errnoName(err), want)
		}
		if err == nil {
			s.p.Close(fd)
		}
		return
	}
	if err != nil {
		t.Errorf("%s: open %s %s: %v", s.name, name, open, err)
		return
	}
	defer s.p.Close(fd)
	if o.late != nil {
		if err := o.late(); err != nil {
			t.Fatal(err)
		}
		defer o.close()
	}
	for i, measured := range strings.Fields(answers) {
		column := mmapColumns[i]
		if measured == "-" {
			continue
		}
		for _, set := range strings.Fields(prots) {
			want, known := s.answer(cellID{name, open, set, column}, measured)
			if !known {
				s.unmeasured["another kernel"]++
				continue
			}
			s.compared++
			for _, prot := range protSets[set] {
				addr, err := s.p.Mmap(0, o.length, prot, columnFlags[column], fd, 0)
				if got := errnoName(err); got != want {
					t.Errorf("%s: %s opened %s, prot %d, %s: got %s, want %s", s.name, name, open, prot, column, got, want)
				}
				if err != nil {
					continue
				}
				if uint64(addr)%max(o.length, 4096) != 0 && strings.HasPrefix(name, "dax") {
					t.Errorf("%s: %s prot %d %s: address %#x isn't aligned to %#x", s.name, name, prot, column, addr, o.length)
				}
				if err := s.p.Munmap(addr, o.length); err != nil {
					t.Errorf("%s: munmap: %v", s.name, err)
				}
			}
		}
	}
}
