package pmemset_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
	"pmemlab/pmemset"
)

const (
	sceneK = 1 << 10
	sceneM = 1 << 20
	sceneG = 1 << 30
)

// sceneGeneration is one of the three ways to map.
type sceneGeneration struct {
	name     string
	grows    pmemset.SourceFlags // with which a file grows
	stays    pmemset.SourceFlags // with which it doesn't
	removals bool                // tells the callback of removals
	mapAt    func(set *pmemset.Set, src *pmemset.Source, offset, length uint64) (pmemset.PartDescriptor, error)
}

var sceneGenerations = []sceneGeneration{
	{"G1", pmemset.SourceFileTruncateIfNeeded, 0, false,
		func(set *pmemset.Set, src *pmemset.Source, offset, length uint64) (pmemset.PartDescriptor, error) {
			p, err := pmemset.NewPart(set, src, offset, length)
			if err != nil {
				return pmemset.PartDescriptor{}, err
			}
			defer p.Delete()
			return p.Map()
		}},
	{"G2", pmemset.SourceFileTruncateIfNeeded, 0, true,
		func(set *pmemset.Set, src *pmemset.Source, offset, length uint64) (pmemset.PartDescriptor, error) {
			cfg, err := sceneMapConfig(set, offset, length)
			if err != nil {
				return pmemset.PartDescriptor{}, err
			}
			return pmemset.Map(src, cfg)
		}},
	{"G3", 0, pmemset.SourceFileDoNotGrow, true,
		func(set *pmemset.Set, src *pmemset.Source, offset, length uint64) (pmemset.PartDescriptor, error) {
			cfg, err := sceneMapConfig(nil, offset, length)
			if err != nil {
				return pmemset.PartDescriptor{}, err
			}
			return set.Map(src, cfg)
		}},
}

func sceneMapConfig(set *pmemset.Set, offset, length uint64) (*pmemset.MapConfig, error) {
	cfg := pmemset.NewMapConfig(set)
	return cfg, errors.Join(cfg.SetOffset(offset), cfg.SetLength(length))
}

// scene is where a scenario takes place: one machine, one generation, and what has
// been made there, which goes at the end. Nothing must be left then.
type scene struct {
	*testing.T
	gen     sceneGeneration
	machine *ledger.Ledger
	emu     *emu.Machine // nil on the host

	hook func(*pmemset.Set, *pmemset.Event) error // called by the sets' callback, may be nil

	pageFS, daxFS *emu.FileSystem
	files         int
	bases         map[string]uintptr

	mu  sync.Mutex
	log []pmemset.Event
}

// sceneEach runs body on an emulated machine and on the host, with each of the
// generations: "G2 G3", or "all".
func sceneEach(t *testing.T, gens string, body func(*scene)) {
	t.Helper()
	t.Run("emulated", func(t *testing.T) { sceneEmulated(t, gens, body) })
	t.Run("host", func(t *testing.T) {
		sceneRuns(t, gens, func(s *scene) {
			s.machine = ledger.New(platform.Host())
			body(s)
		})
	})
}

// sceneEmulated is sceneEach without the host, for scenarios that need a device.
func sceneEmulated(t *testing.T, gens string, body func(*scene)) {
	t.Helper()
	sceneRuns(t, gens, func(s *scene) {
		s.emu = emu.NewMachine(emu.Config{})
		s.machine = ledger.New(s.emu)
		body(s)
	})
}

func sceneRuns(t *testing.T, gens string, body func(*scene)) {
	t.Helper()
	t.Setenv("PMEM2_FORCE_GRANULARITY", "") // the library's own variable has no say here
	if gens == "all" {
		gens = "G1 G2 G3"
	}
	for _, name := range strings.Fields(gens) {
		i := slices.IndexFunc(sceneGenerations, func(g sceneGeneration) bool { return g.name == name })
		if i < 0 {
			t.Fatalf("no generation %q", name)
		}
		t.Run(name, func(t *testing.T) {
			s := &scene{T: t, gen: sceneGenerations[i], bases: map[string]uintptr{}}
			t.Cleanup(s.leaveNothing)
			body(s)
		})
	}
}

// leaveNothing is the leak check.
func (s *scene) leaveNothing() {
	if left := s.machine.Outstanding(); len(left) > 0 {
		s.Errorf("left on the machine: %s", strings.Join(left, "; "))
	}
	if s.emu != nil {
		if err := errors.Join(s.emu.Err(), s.emu.Shutdown()); err != nil {
			s.Errorf("the machine: %v", err)
		}
	}
}

func (s *scene) on() pmemset.Option { return pmemset.On(s.machine) }

// newFile makes a file on a file system without DAX, and tells its path.
func (s *scene) newFile(size uint64) string {
	s.Helper()
	if s.emu != nil {
		if s.pageFS == nil {
			s.pageFS = s.emu.AddFS(emu.FS{Size: sceneG})
		}
		return s.create(s.pageFS, size)
	}
	f, err := os.CreateTemp(s.TempDir(), "f")
	s.must(err)
	s.must(errors.Join(f.Truncate(int64(size)), f.Close()))
	return f.Name()
}

// newDAXFile makes a file on a file system with DAX. There is none on the host.
func (s *scene) newDAXFile(size uint64) string {
	s.Helper()
	if s.daxFS == nil {
		s.daxFS = s.emu.AddFS(emu.FS{Size: sceneG, DAX: true})
	}
	return s.create(s.daxFS, size)
}

func (s *scene) create(fs *emu.FileSystem, size uint64) string {
	s.Helper()
	s.files++
	name := fmt.Sprintf("f%d", s.files)
	f, err := fs.Create(name, size)
	s.must(err)
	s.must(f.Close())
	return fs.Path(name)
}

// newDir makes a directory on a file system without DAX.
func (s *scene) newDir() string {
	s.Helper()
	if s.emu == nil {
		return s.TempDir()
	}
	dir := filepath.Base(s.newFile(0)) + ".d"
	s.must(s.pageFS.Mkdir(dir))
	return s.pageFS.Path(dir)
}

// size is the size of a file.
func (s *scene) size(path string) uint64 {
	s.Helper()
	fd := s.open(path, platform.ORdonly)
	defer s.machine.Close(fd)
	st, err := s.machine.Fstat(fd)
	s.must(err)
	return uint64(st.Size)
}

// open opens a file of the machine. The caller closes it.
func (s *scene) open(path string, flags int) int {
	s.Helper()
	fd, err := s.machine.Open(path, flags, 0o600)
	if err != nil {
		s.Fatalf("open %s: %v", path, err)
	}
	return fd
}

// fixed is a source of a file that doesn't grow in this generation.
func (s *scene) fixed(path string) *pmemset.Source { s.Helper(); return s.source(path, s.gen.stays) }

// growing is a source of a file that grows in this generation.
func (s *scene) growing(path string) *pmemset.Source { s.Helper(); return s.source(path, s.gen.grows) }

func (s *scene) source(path string, flags pmemset.SourceFlags) *pmemset.Source {
	s.Helper()
	src, err := pmemset.XSourceFromFile(path, flags, s.on())
	s.must(err)
	return s.keep(src)
}

// temporary is a source of a temporary file.
func (s *scene) temporary() *pmemset.Source {
	s.Helper()
	src, err := pmemset.SourceFromTemporary(s.newDir(), s.on())
	s.must(err)
	return s.keep(src)
}

// keep deletes the source at the end.
func (s *scene) keep(src *pmemset.Source) *pmemset.Source {
	s.Cleanup(func() {
		if err := src.Delete(); err != nil {
			s.Errorf("deleting a source: %v", err)
		}
	})
	return src
}

// file is a source of a new file of 8 MiB without DAX, as most scenarios have it.
func (s *scene) file() *pmemset.Source { s.Helper(); return s.fixed(s.newFile(8 * sceneM)) }

// reservation is one that outlives the sets made after it, named R.
func (s *scene) reservation(size uint64) *pmem2.VMReservation {
	s.Helper()
	r, err := pmem2.NewVMReservation(0, size, pmem2.On(s.machine))
	s.must(err)
	s.bases["R"] = r.Address()
	s.Cleanup(func() {
		if err := r.Delete(); err != nil && (r.Address() != 0 || pmem2.Errno(err) != unix.EINVAL) {
			s.Errorf("deleting the reservation: %v", err)
		}
	})
	return r
}

// userMap is a mapping that the program itself makes in a reservation.
func (s *scene) userMap(r *pmem2.VMReservation, offset, length uint64) *pmem2.Map {
	s.Helper()
	fd := s.open(s.newFile(length), platform.ORdwr)
	src, err := pmem2.SourceFromFD(fd, pmem2.On(s.machine))
	s.must(err)
	cfg := pmem2.NewConfig()
	s.must(errors.Join(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetVMReservation(r, offset)))
	m, err := pmem2.NewMap(cfg, src)
	s.must(err)
	s.must(errors.Join(src.Delete(), s.machine.Close(fd)))
	s.Cleanup(func() {
		if err := m.Delete(); err != nil && !errors.Is(err, pmem2.ErrMappingNotFound) {
			s.Errorf("deleting the program's mapping: %v", err)
		}
	})
	return m
}

// set is a set that accepts every granularity and whose events are recorded, in a
// reservation unless that is nil. edit, if any, changes its config.
func (s *scene) set(r *pmem2.VMReservation, edit ...func(*pmemset.Config)) *pmemset.Set {
	s.Helper()
	cfg := pmemset.NewConfig()
	s.must(errors.Join(
		cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetReservation(r), cfg.SetEventCallback(s.record)))
	for _, f := range edit {
		f(cfg)
	}
	set, err := pmemset.New(cfg)
	s.must(err)
	s.Cleanup(func() {
		if err := set.Delete(); err != nil {
			s.Errorf("deleting a set: %v", err)
		}
	})
	return set
}

// coalescing changes what the set does with new parts.
func (s *scene) coalescing(set *pmemset.Set, c pmemset.Coalescing) {
	s.Helper()
	s.must(set.SetContiguousPartCoalescing(c))
}

func (s *scene) record(set *pmemset.Set, e *pmemset.Event) error {
	s.mu.Lock()
	s.log = append(s.log, *e)
	s.mu.Unlock()
	if s.hook != nil {
		return s.hook(set, e)
	}
	return nil
}

// mapAt maps in the way of the generation.
func (s *scene) mapAt(set *pmemset.Set, src *pmemset.Source, offset, length uint64) (pmemset.PartDescriptor, error) {
	return s.gen.mapAt(set, src, offset, length)
}

// maps maps, and must succeed. The place is that of the part map, all of it.
func (s *scene) maps(set *pmemset.Set, src *pmemset.Source, offset, length uint64) pmemset.PartDescriptor {
	s.Helper()
	d, err := s.mapAt(set, src, offset, length)
	if err != nil {
		s.Fatalf("mapping %s from %s: %v", sceneSize(length), sceneSize(offset), err)
	}
	return d
}

// mapsAt is maps, and must return the place given: "A+64K 128K". The names that are
// written with a colon, "A: 64K", are given to where the part lies.
func (s *scene) mapsAt(want string, set *pmemset.Set, src *pmemset.Source, offset, length uint64) pmemset.PartDescriptor {
	s.Helper()
	d := s.maps(set, src, offset, length)
	if name, size, found := strings.Cut(want, ":"); found {
		s.bases[name] = d.Addr
		want = name + size
	}
	if got := scenePlace(d.Addr, d.Size); got != s.resolve(want) {
		s.Fatalf("mapping %s from %s: it lies at [%s], want [%s]", sceneSize(length), sceneSize(offset), s.readable(got), want)
	}
	return d
}

// refuses maps, which must end with the error given and change nothing.
func (s *scene) refuses(want string, set *pmemset.Set, src *pmemset.Source, offset, length uint64) {
	s.Helper()
	parts, events := s.list(set), s.eventCount()
	d, err := s.mapAt(set, src, offset, length)
	s.outcome(fmt.Sprintf("mapping %s from %s", sceneSize(length), sceneSize(offset)), err, want)
	if d != (pmemset.PartDescriptor{}) {
		s.Errorf("a refused mapping lies at %+v", d)
	}
	if after := s.list(set); !slices.Equal(after, parts) {
		s.Fatalf("a refused mapping changes the parts from %s to %s", s.readable(parts...), s.readable(after...))
	}
	if got := s.eventCount(); got != events {
		s.Errorf("a refused mapping sends events")
	}
}

// removes calls RemoveRange, which must end as given: "0", "CANNOT_FIND_PART_MAP", ….
func (s *scene) removes(want string, set *pmemset.Set, addr uintptr, n uint64) {
	s.Helper()
	s.outcome(fmt.Sprintf("RemoveRange(%s, %d)", s.readable(fmt.Sprintf("%#x", addr)), n), set.RemoveRange(addr, n), want)
}

// removesAt removes the part map that holds addr, by a reference to it.
func (s *scene) removesAt(set *pmemset.Set, addr uintptr) {
	s.Helper()
	if err := set.RemovePartMap(s.at(set, addr)); err != nil {
		s.Fatalf("RemovePartMap at %s: %v", s.readable(fmt.Sprintf("%#x", addr)), err)
	}
}

// at is a reference to the part map that holds addr.
func (s *scene) at(set *pmemset.Set, addr uintptr) *pmemset.PartMap {
	s.Helper()
	p, err := set.PartMapByAddress(addr)
	if err != nil || p == nil {
		s.Fatalf("PartMapByAddress(%s): %v", s.readable(fmt.Sprintf("%#x", addr)), err)
	}
	return p
}

// must ends the test on an error.
func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// parts compares the part maps of a set with places: "A 64K", "A+192K 128K". Their
// order doesn't count, since which of A and B is lower is the kernel's choice.
func (s *scene) parts(set *pmemset.Set, want ...string) {
	s.Helper()
	got, wanted := s.list(set), make([]string, len(want))
	for i, w := range want {
		wanted[i] = s.resolve(w)
	}
	slices.Sort(wanted)
	if sorted := slices.Sorted(slices.Values(got)); !slices.Equal(sorted, wanted) {
		s.Fatalf("part maps: got [%s], want [%s]", s.readable(got...), strings.Join(want, ", "))
	}
	for _, text := range got {
		var addr uintptr
		var size uint64
		if _, err := fmt.Sscanf(text, "0x%x %d", &addr, &size); err != nil {
			s.Fatalf("%q: %v", text, err)
		}
		if n := s.mapped(addr, size); n != size {
			s.Fatalf("part map [%s]: %d of its %d bytes are mapped", s.readable(text), n, size)
		}
	}
}

// list walks through the part maps of a set, which must ascend and not overlap.
func (s *scene) list(set *pmemset.Set) []string {
	s.Helper()
	var all []string
	var end uintptr
	for p := set.FirstPartMap(); p != nil; {
		d := p.Descriptor()
		if d.Addr < end || d.Size == 0 || d.Addr+uintptr(d.Size) < d.Addr {
			s.Errorf("the part map at %#x with %d bytes follows one that ends at %#x", d.Addr, d.Size, end)
		}
		end = d.Addr + uintptr(d.Size)
		all = append(all, scenePlace(d.Addr, d.Size))
		next := set.NextPartMap(p)
		p.Drop()
		p = next
	}
	return all
}
