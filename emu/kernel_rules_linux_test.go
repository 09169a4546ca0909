package emu_test

import (
	"cmp"
	"fmt"
	"maps"
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
	// answer is what a cell must be, given what was measured on 6.1.
	answer func(cell cellID, measured string) string
	// complete: it must have every object.
	complete bool
	// unmeasured: why no cell is compared; there are no objects then.
	unmeasured string
	// absent says why there is no object of that name, where it isn't that the host has
	// nothing of the kind.
	absent map[string]string

	compared   int
	uncompared map[gap]int
}

// gap is why cells aren't compared, with the name of an object or of a group of them.
type gap struct{ name, reason string }

func newSubject(name string, p platform.Platform) *subject {
	return &subject{
		name: name, p: p, objects: map[string]cellObject{}, absent: map[string]string{}, uncompared: map[gap]int{},
	}
}

// kinds are the groups of objects that a subject has or hasn't.
var kinds = map[string]string{
	"dax4K": "device DAX of 4 KiB", "dax2M": "device DAX of 2 MiB", "dax1G": "device DAX of 1 GiB",
	"ext4-dax": "ext4 with DAX", "xfs-dax": "xfs with DAX", "ext4": "ext4 without DAX",
	"ext4-virtio": "ext4 on virtio-pmem", "tmpfs": "tmpfs", "block": "block device",
	"zero": "/dev/zero", "null": "/dev/null", "nmem": "/dev/nmem0",
}

// miss counts n cells of an object that isn't there.
func (s *subject) miss(object string, n int) {
	kind := object
	for kinds[kind] == "" && s.absent[kind] == "" && strings.Contains(kind, "-") {
		kind = kind[:strings.LastIndex(kind, "-")]
	}
	reason := s.absent[kind]
	if reason == "" {
		reason = "no " + kinds[kind] + " here"
	}
	s.uncompared[gap{kind, reason}] += n
}

// total is how many cells there are.
func (s *subject) total() int {
	sum := s.compared
	for _, n := range s.uncompared {
		sum += n
	}
	return sum
}

// report ends a test of s: a subtest that is skipped for each gap.
func (s *subject) report(t *testing.T) {
	t.Helper()
	if s.unmeasured != "" {
		t.Skip(s.unmeasured + countOf(s.total()))
	}
	t.Logf("%s: %d of %d cells compared", s.name, s.compared, s.total())
	if s.complete && (s.compared == 0 || s.compared != s.total()) {
		t.Errorf("%s: %d of %d cells compared, want all", s.name, s.compared, s.total())
	}
	gaps := slices.SortedFunc(maps.Keys(s.uncompared), func(a, b gap) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.reason, b.reason))
	})
	for _, g := range gaps {
		t.Run(g.name, func(t *testing.T) { t.Skip(g.reason + countOf(s.uncompared[g])) })
	}
}

func countOf(cells int) string {
	switch cells {
	case 0:
		return ""
	case 1:
		return ": 1 cell"
	}
	return fmt.Sprintf(": %d cells", cells)
}

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
			s.checkCells(t)
			s.report(t)
		})
	}
	sameTotal(t, emulated, host)
}

func (s *subject) checkCells(t *testing.T) {
	s.checkMatrix(t)
	s.checkGeometry(t)
	s.checkHints(t)
}

// sameTotal checks that no cell of either was lost.
func sameTotal(t *testing.T, emulated, host *subject) {
	t.Helper()
	e, h := emulated.total(), host.total()
	if e != h && e > 0 && h > 0 { // 0: -run left it out
		t.Errorf("%s: %d cells, %s: %d", emulated.name, e, host.name, h)
	}
}

// What isn't measured is counted and skipped, whatever the host has.
func TestUnmeasuredKernels(t *testing.T) {
	emulated := emulatedSubject(t, newMachine(t, emu.Config{}))
	emulated.checkCells(t)
	for kernel, want := range map[kernelVersion]string{
		{5, 14}: "unmeasured: Linux 5.14",
		{6, 0}:  "unmeasured: Linux 6.0",
		{6, 1}:  "",
		{6, 12}: "unmeasured: Linux 6.12",
		{6, 18}: "",
		{6, 19}: "unmeasured: Linux 6.19",
		{7, 2}:  "unmeasured: Linux 7.2",
	} {
		if got := kernel.unmeasured(); got != want {
			t.Errorf("%v: got %q, want %q", kernel, got, want)
		}
		s := hostSubjectOf(t, kernel)
		if s.unmeasured != want {
			t.Errorf("subject of %v: got %q, want %q", kernel, s.unmeasured, want)
		}
		if want == "" {
			continue
		}
		s.checkCells(t)
		if s.compared != 0 {
			t.Errorf("%v: %d cells compared", kernel, s.compared)
		}
		sameTotal(t, emulated, s)
	}
	other := newSubject("host of another file system", platform.Host())
	if other.addHostFS(t, "/proc"); len(other.objects) != 0 || other.total() != 0 ||
		!maps.Equal(other.uncompared, map[gap]int{{"fs-0x9fa0", "unmeasured: fs-0x9fa0"}: 0}) {
		t.Errorf("with /proc: %d objects, %v", len(other.objects), other.uncompared)
	}
	// A host with nothing, with half of the objects and with all has as many cells.
	for _, has := range []func(string) bool{
		func(string) bool { return false },
		func(name string) bool { return len(name)%2 == 0 },
		func(string) bool { return true },
	} {
		s := newSubject("host with less", emulated.p)
		s.luck, s.answer = func() string { return "" }, emulated.answer
		for name, o := range emulated.objects {
			if has(name) {
				s.objects[name] = o
			}
		}
		s.checkCells(t)
		if e := emulated.total(); s.total() != e || s.compared > e || len(s.objects) == 0 && s.compared > 0 {
			t.Errorf("with %d objects: %d of %d cells compared, want %d", len(s.objects), s.compared, s.total(), e)
		}
		for g := range s.uncompared {
			if strings.Contains(g.reason, "no  here") {
				t.Errorf("no kind of %s", g.name)
			}
		}
	}
}

func TestLaterCells(t *testing.T) {
	cell := cellID{"tmpfs", "RDWR", "r", "V"}
	later := []laterCell{
		{kernelVersion{6, 18}, cell, "ENODEV"},
		{kernelVersion{6, 30}, cell, "EPERM"},
		{kernelVersion{6, 18}, cellID{"ext4", "RDWR", "r", "V"}, "EIO"},
	}
	for kernel, want := range map[kernelVersion]string{{6, 1}: "ok", {6, 18}: "ENODEV", {6, 30}: "EPERM"} {
		for range 2 {
			if got := kernel.answerOf(later, cell, "ok"); got != want {
				t.Errorf("%v: got %s, want %s", kernel, got, want)
			}
			slices.Reverse(later)
		}
	}
	for _, c := range laterCells {
		if !slices.Contains(measuredKernels, c.since) {
			t.Errorf("%+v is of a kernel that wasn't measured", c)
		}
	}
}

func emulatedSubject(t *testing.T, m *emu.Machine) *subject {
	s := newSubject("emulated", m)
	s.complete = true
	s.luck = func() string { return "EINVAL" }
	s.answer = func(_ cellID, measured string) string { return measured }
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

// hostSubject finds what objects this host has, if its kernel is one that was measured.
func hostSubject(t *testing.T) *subject {
	t.Helper()
	return hostSubjectOf(t, hostKernel(t))
}

// hostSubjectOf is hostSubject for a host that is to have this kernel.
func hostSubjectOf(t *testing.T, kernel kernelVersion) *subject {
	t.Helper()
	s := newSubject("host "+kernel.String(), platform.Host())
	if s.unmeasured = kernel.unmeasured(); s.unmeasured != "" {
		return s
	}
	s.luck = func() string { return "" }
	s.answer = func(cell cellID, measured string) string { return kernel.answerOf(laterCells, cell, measured) }
	for name, path := range map[string]string{"zero": "/dev/zero", "null": "/dev/null"} {
		if runtime.GOARCH == "amd64" {
			s.objects[name] = cellObject{path: path, length: 4 << 10}
		} else {
			s.absent[name] = "unmeasured: " + path + " on " + runtime.GOARCH
		}
	}
	shm, err := os.MkdirTemp("/dev/shm", "emu-cells")
	if err != nil {
		s.absent["tmpfs"] = fmt.Sprintf("no tmpfs here: %v", err)
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
		s.unmeasuredFS(fmt.Sprintf("fs-%#x", st.Type))
		return
	case "ext4", "tmpfs":
	default:
		s.unmeasuredFS(name)
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
			s.absent[name+"-"+attr] = fmt.Sprintf("no files with %s of %s here: %v", attr, name, err)
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
	} else {
		s.absent[name+"-late"] = s.absent[name+"-append"]
	}
}

// unmeasuredFS reports a file system that the tables know nothing of. No cell is of it.
func (s *subject) unmeasuredFS(name string) {
	s.uncompared[gap{name, "unmeasured: " + name}] += 0
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
					s.miss(name, cellsOf(row[2], row[3]))
					continue
				}
				s.checkOpen(t, name, o, open, row[2], row[3])
			}
		}
	}
}

// cellsOf counts the cells of a row of mmapCells, for one object and open mode.
func cellsOf(prots, answers string) int {
	if strings.HasPrefix(answers, "open: ") {
		return 1
	}
	n := 0
	for _, answer := range strings.Fields(answers) {
		if answer != "-" {
			n += len(strings.Fields(prots))
		}
	}
	return n
}

// checkOpen checks the cells of one object and open mode.
func (s *subject) checkOpen(t *testing.T, name string, o cellObject, open, prots, answers string) {
	fd, err := s.p.Open(o.path, openFlags[open], 0)
	if want, ok := strings.CutPrefix(answers, "open: "); ok {
		want = s.answer(cellID{name, open, "", "open"}, want)
		if s.compared++; errnoName(err) != want {
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
			want := s.answer(cellID{name, open, set, column}, measured)
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
