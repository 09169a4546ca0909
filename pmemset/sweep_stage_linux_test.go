package pmemset_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
	"pmemlab/pmemset"
)

const (
	sweepPage    = 4096
	sweepDevPage = 2 << 20
)

// sweepStage is an emulated machine on which every platform call can be made to fail,
// and what has been made there for an operation.
type sweepStage struct {
	t *testing.T
	*sweepMachine
	faults *fault.Platform
	*ledger.Ledger

	paths        []string // of files that are there, or may come to be
	sets         []*sweepSet
	reservations []*pmem2.VMReservation
	undo         func()   // takes back what the callback does in the call
	ends         []func() // what finish does first, the last one first
}

// sweepMachine is a machine with what has been added to it.
type sweepMachine struct {
	m       *emu.Machine
	systems map[bool]*emu.FileSystem // by whether it is DAX
	devDax  string                   // the path of a device DAX, if there is one
}

// sweepLab runs stage after stage of one operation on the same machine, which takes long
// to make, as long as each leaves it as it was. A nil lab makes one for each.
type sweepLab struct {
	machine *sweepMachine
}

func newSweepLab(t *testing.T) *sweepLab {
	lab := &sweepLab{}
	t.Cleanup(func() {
		if lab.machine == nil {
			return
		}
		if err := lab.machine.m.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

func (lab *sweepLab) stage(t *testing.T) *sweepStage {
	if lab == nil || lab.machine == nil {
		return newSweepStage(t)
	}
	return lab.machine.stage(t)
}

// end finishes a stage. If nothing can be left of it the next one gets its machine.
func (lab *sweepLab) end(s *sweepStage, left bool) []string {
	if lab != nil {
		lab.machine = nil
	}
	if lab == nil || left {
		return s.finish(left)
	}
	wrong := s.clear(false)
	for _, path := range s.paths {
		if err := s.m.Unlink(path); err != nil && !errors.Is(err, unix.ENOENT) {
			wrong = append(wrong, err.Error())
		}
	}
	if len(wrong) > 0 {
		return append(wrong, s.shutdown(false)...)
	}
	lab.machine = s.sweepMachine
	return nil
}

// sweepSpace is a machine that puts each placeholder where much is free behind it, and
// at an address that no large page can start at: which calls a reservation takes, and
// whether it can be extended, isn't left to chance.
type sweepSpace struct{ *emu.Machine }

func (p sweepSpace) Mmap(addr uintptr, n uint64, prot, flags, fd int, off int64) (uintptr, error) {
	const spare, huge = 64 << 20, 2 << 20
	if addr != 0 || flags&platform.MapNoreserve == 0 || n > 1<<40 {
		return p.Machine.Mmap(addr, n, prot, flags, fd, off)
	}
	for {
		start, err := platform.Host().Mmap(0, n+spare, prot, flags, fd, off)
		if err != nil {
			return 0, err
		}
		if err := platform.Host().Munmap(start, n+spare); err != nil {
			return 0, err
		}
		start = (start+huge-1)&^(huge-1) + huge/2
		got, err := p.Machine.Mmap(start, n, prot, flags|platform.MapFixedNoreplace, fd, off)
		if !errors.Is(err, unix.EEXIST) {
			return got, err
		}
	}
}

func newSweepStage(t *testing.T) *sweepStage {
	m := emu.NewMachine(emu.Config{})
	systems := map[bool]*emu.FileSystem{false: m.AddFS(sweepPageCache), true: m.AddFS(sweepDAX)}
	return (&sweepMachine{m: m, systems: systems}).stage(t)
}

func (m *sweepMachine) stage(t *testing.T) *sweepStage {
	faults := fault.Wrap(sweepSpace{m.m})
	return &sweepStage{t: t, sweepMachine: m, faults: faults, Ledger: ledger.New(faults)}
}

var (
	sweepPageCache = emu.FS{Size: 1 << 30}
	sweepDAX       = emu.FS{Size: 1 << 30, DAX: true}
)

func (s *sweepStage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *sweepStage) on() pmemset.Option { return pmemset.On(s) }

// path is that of a file of that kind, which may not be there.
func (s *sweepStage) path(kind emu.FS, name string) string {
	path := s.systems[kind.DAX].Path(name)
	if !slices.Contains(s.paths, path) {
		s.paths = append(s.paths, path)
	}
	return path
}

// file makes a file of that many bytes, full of its own content.
func (s *sweepStage) file(kind emu.FS, name string, size uint64) string {
	s.t.Helper()
	path := s.path(kind, name)
	fd, err := s.m.Open(path, platform.ORdwr|platform.OCreat, 0o640)
	s.must(err)
	s.must(s.m.Ftruncate(fd, int64(size)))
	if size > 0 {
		_, err = s.m.Pwrite(fd, slices.Repeat([]byte(name+" "), 8), 0)
		s.must(err)
	}
	s.must(s.m.Close(fd))
	return path
}

// device is the path of a device DAX, the same each time.
func (s *sweepStage) device() string {
	if s.devDax == "" {
		s.devDax = s.m.AddDevDax(emu.DevDax{Size: 4 * sweepDevPage, Align: sweepDevPage}).Path()
	}
	return s.devDax
}

// source makes a source that goes at the end.
func (s *sweepStage) source(path string, flags pmemset.SourceFlags) *pmemset.Source {
	s.t.Helper()
	src, err := pmemset.XSourceFromFile(path, flags, s.on())
	s.must(err)
	return s.keep(src)
}

func (s *sweepStage) keep(src *pmemset.Source) *pmemset.Source {
	s.ends = append(s.ends, func() { s.must(src.Delete()) })
	return src
}

func (s *sweepStage) reservation(size uint64) *pmem2.VMReservation {
	s.t.Helper()
	r, err := pmem2.NewVMReservation(0, size, pmem2.On(s))
	s.must(err)
	s.reservations = append(s.reservations, r)
	return r
}

// sweepSet is a set, the events that it has sent, and the part maps that it must have
// by them.
type sweepSet struct {
	*pmemset.Set
	events []string
	mirror map[uintptr]uint64
	hook   func(e *pmemset.Event)
}

func (s *sweepStage) set(r *pmem2.VMReservation, c pmemset.Coalescing) *sweepSet {
	s.t.Helper()
	set := &sweepSet{mirror: map[uintptr]uint64{}}
	cfg := pmemset.NewConfig()
	s.must(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage))
	s.must(cfg.SetReservation(r))
	s.must(cfg.SetEventCallback(set.hear))
	var err error
	set.Set, err = pmemset.New(cfg)
	s.must(err)
	s.must(set.SetContiguousPartCoalescing(c))
	s.sets = append(s.sets, set)
	return set
}

func (set *sweepSet) hear(_ *pmemset.Set, e *pmemset.Event) error {
	text := e.Type.String()
	switch e.Type {
	case pmemset.EventPartAdd:
		set.mirror[e.Addr] = e.Len
		text += fmt.Sprint(" ", e.Len)
	case pmemset.EventPartRemove:
		delete(set.mirror, e.Addr)
		text += fmt.Sprint(" ", e.Len)
	case pmemset.EventSDSUpdate:
		text += fmt.Sprintf(" %d of %s", e.SDS.RefCount, strings.TrimRight(string(e.SDS.ID[:]), "\x00"))
	}
	set.events = append(set.events, text)
	if set.hook != nil {
		set.hook(e)
	}
	return nil
}

// list is the part maps of the set, by looking them up.
func (set *sweepSet) list() (list []pmemset.PartDescriptor) {
	for p := set.FirstPartMap(); p != nil; {
		list = append(list, p.Descriptor())
		next := set.NextPartMap(p)
		p.Drop()
		p = next
	}
	return list
}

// forget makes what has been sent so far the past. What the events don't tell, that
// a part map has become smaller, the list does.
func (set *sweepSet) forget() {
	set.events = nil
	clear(set.mirror)
	for _, d := range set.list() {
		set.mirror[d.Addr] = d.Size
	}
}

// differs says how the mirror differs from the part maps, or nothing.
func (set *sweepSet) differs() string {
	real := map[uintptr]uint64{}
	for _, d := range set.list() {
		real[d.Addr] = d.Size
	}
	if maps.Equal(real, set.mirror) {
		return ""
	}
	return fmt.Sprintf("the part maps are %v, by the events %v", real, set.mirror)
}

// events are those of all sets, in one line each.
func (s *sweepStage) events() (all []string) {
	for _, set := range s.sets {
		all = append(all, set.events...)
	}
	return all
}

// snapshot describes everything that a failing call must leave alone.
func (s *sweepStage) snapshot() []string {
	state := s.Outstanding()
	for _, path := range s.paths {
		state = append(state, "file "+path+": "+s.content(path))
	}
	for i, r := range s.reservations {
		text := fmt.Sprintf("reservation %d: %d bytes at %#x:", i, r.Size(), r.Address())
		for m, err := r.MapFindFirst(); err == nil; m, err = r.MapFindNext(m) {
			text += fmt.Sprintf(" %d bytes at %d", m.Size(), m.Address()-r.Address())
		}
		state = append(state, text)
	}
	for i, set := range s.sets {
		g, err := set.StoreGranularity()
		text := fmt.Sprintf("set %d: %v %s:", i, g, sweepOutcome(err))
		for _, d := range set.list() {
			text += fmt.Sprintf(" %d bytes at %#x, %#x;", d.Size, d.Addr, sweepSum(d.Bytes()))
		}
		state = append(state, text)
	}
	return state
}

// sweepSample bytes at the start hold all that a stage writes, but for bad blocks.
const sweepSample = 8 * sweepPage

// sweepSum is a checksum of memory: of its start and, if it is large, its last page.
func sweepSum(b []byte) uint32 {
	n := min(len(b), sweepSample)
	return crc32.Update(crc32.ChecksumIEEE(b[:n]), crc32.IEEETable, b[max(n, len(b)-sweepPage):])
}

// content describes a file without the calls that are recorded.
func (s *sweepStage) content(path string) string {
	fd, err := s.m.Open(path, platform.ORdonly, 0)
	if err != nil {
		return err.Error()
	}
	defer s.m.Close(fd)
	st, err := s.m.Fstat(fd)
	s.must(err)
	b := make([]byte, min(st.Size, sweepSample))
	n, err := s.m.Pread(fd, b, 0)
	return fmt.Sprintf("%d bytes, %#x, %v", st.Size, crc32.ChecksumIEEE(b[:n]), err)
}

// sweepOutcome names an error: the code, and that of pmem2 or the errno below it.
func sweepOutcome(err error) string {
	var names []string
	var code pmemset.Code
	var below pmem2.Code
	var errno syscall.Errno
	if err == nil {
		return "0"
	}
	if errors.As(err, &code) {
		names = append(names, strings.TrimPrefix(code.Symbol(), "PMEMSET_E_"))
	}
	switch {
	case errors.As(err, &below):
		names = append(names, below.Symbol())
	case errors.Is(err, unix.EOPNOTSUPP):
		names = append(names, "EOPNOTSUPP") // not ENOTSUP, which is the same
	case errors.As(err, &errno):
		names = append(names, unix.ErrnoName(errno))
	}
	return strings.Join(names, ": ")
}

// probe maps a page more behind the part map that was made last, and says where it
// went.
func (s *sweepStage) probe(set *sweepSet) string {
	kind := sweepPageCache
	if g, err := set.StoreGranularity(); err == nil && g != pmem2.GranularityPage {
		kind = sweepDAX
	}
	before := set.list()
	if err := set.SetContiguousPartCoalescing(pmemset.CoalescingFull); err != nil {
		return sweepOutcome(err)
	}
	d, err := set.Map(s.source(s.file(kind, "probe", sweepPage), 0), nil)
	if err != nil {
		return sweepOutcome(err)
	}
	i := slices.IndexFunc(before, func(p pmemset.PartDescriptor) bool { return p.Addr == d.Addr })
	return fmt.Sprintf("part map %d of %d has %d bytes", i, len(before), d.Size)
}

// refill removes all parts of a set, which must then take one of another granularity.
func (s *sweepStage) refill(set *sweepSet) error {
	kind := sweepDAX
	if g, err := set.StoreGranularity(); err == nil && g != pmem2.GranularityPage {
		kind = sweepPageCache
	}
	for range len(set.list()) {
		if err := set.RemovePartMap(set.FirstPartMap()); err != nil {
			return err
		}
	}
	_, err := set.Map(s.source(s.file(kind, "refill", sweepPage), 0), nil)
	return err
}

// finish is the end of the stage and of its machine.
func (s *sweepStage) finish(left bool) []string {
	return append(s.clear(left), s.shutdown(left)...)
}

func (s *sweepStage) shutdown(left bool) []string {
	if err := s.m.Shutdown(); err != nil && !left {
		return []string{err.Error()}
	}
	return nil
}

// clear removes the parts, one by one, and deletes everything. Unless something was
// left behind, nothing is there then.
func (s *sweepStage) clear(left bool) (wrong []string) {
	s.faults.Set()
	for _, set := range s.sets {
		set.hook = nil
		for range len(set.list()) {
			if err := set.RemovePartMap(set.FirstPartMap()); err != nil {
				wrong = append(wrong, fmt.Sprintf("removing the part maps one by one: %v", err))
			}
		}
		if err := set.Delete(); err != nil {
			wrong = append(wrong, err.Error())
		}
		updates := slices.DeleteFunc(set.events, func(e string) bool { return !strings.HasPrefix(e, "SDS_UPDATE") })
		if n := len(updates); n > 0 && !strings.HasPrefix(updates[n-1], "SDS_UPDATE 0 of ") && !left {
			wrong = append(wrong, "the last that is told of the shutdown data is "+updates[n-1])
		}
	}
	for _, end := range slices.Backward(s.ends) {
		end()
	}
	for _, r := range s.reservations {
		if err := r.Delete(); err != nil && !left {
			wrong = append(wrong, err.Error())
		}
	}
	if held := s.Outstanding(); len(held) > 0 && !left {
		wrong = append(wrong, "in the end these are left: "+strings.Join(held, ", "))
	}
	return wrong
}
