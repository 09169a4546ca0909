package fuzz

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// flushMap is a map that flushes are tried on.
type flushMap struct {
	model.Mapped
	m    *pmem2.Map
	room int // that it lies in
}

// flushScene is a machine with maps and sets that stay, in rooms that nothing else of the
// process lies in. The last room is the end of the address space, where nothing can be.
type flushScene struct {
	emulated *emu.Machine
	probe    *flushProbe
	rooms    []model.Extent
	reserved []*pmem2.VMReservation
	sets     []*pmemset.Set
	sources  []flushSource
	gone     *pmem2.Map
	mapped   []flushMap // first those that stay
	fixed    int        // how many stay
	opened   []int

	sorted []flushMap // room for an input's
	maps   []model.Mapped
}

type flushSource struct {
	source *pmem2.Source
	kind   model.Kind
	bytes  uint64
}

const roomPages = 32

func newFlushScene(eadr bool) (*flushScene, error) {
	e := emu.NewMachine(emu.Config{EADR: eadr, TraceEvents: -1})
	s := &flushScene{emulated: e, probe: newFlushProbe(e)}
	return s, s.fill()
}

// fill makes what stays.
func (s *flushScene) fill() error {
	e, page := s.emulated, s.emulated.PageSize()
	device := e.AddDevDax(emu.DevDax{Size: 16 * page, Align: page})
	s.probe.deepFlush = device.RegionPath() + "/deep_flush"
	dax, disk := e.AddFS(emu.FS{Size: mib, DAX: true}), e.AddFS(emu.FS{Size: mib})
	if err := e.Err(); err != nil {
		return err
	}
	for _, f := range []struct {
		path string
		kind model.Kind
		size uint64
	}{
		{disk.Path("file"), model.File, 2*page + 100}, {dax.Path("file"), model.File, 3*page - 1}, {device.Path(), model.DeviceDAX, 16 * page},
	} {
		fd, err := e.Open(f.path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		s.opened = append(s.opened, fd)
		if f.kind == model.File {
			if err := e.Ftruncate(fd, int64(f.size)); err != nil {
				return err
			}
		}
		src, err := pmem2.SourceFromFD(fd, pmem2.On(s.probe))
		if err != nil {
			return err
		}
		s.sources = append(s.sources, flushSource{src, f.kind, f.size})
	}
	anon, err := pmem2.SourceFromAnon(page+1, pmem2.On(s.probe))
	if err != nil {
		return err
	}
	s.sources = append(s.sources, flushSource{anon, model.Anonymous, page + 1})
	for range 3 {
		r, err := pmem2.NewVMReservation(0, roomPages*page, pmem2.On(s.probe))
		if err != nil {
			return err
		}
		s.reserved = append(s.reserved, r)
		s.rooms = append(s.rooms, model.Extent{Start: uint64(r.Address()), Size: roomPages * page})
	}
	s.rooms = append(s.rooms, model.Extent{Start: -(roomPages * page), Size: roomPages * page})
	// In pages: the disk's file at 2 to 5, again at 5, a hole, and others.
	for _, m := range []struct{ source, at, length uint64 }{
		{0, 2, 0}, {0, 5, page}, {1, 8, 0}, {2, 11, 2 * page}, {3, 14, 0}, {2, 17, page}, {0, 18, 2 * page},
	} {
		if err := s.add(s.sources[m.source], m.at*page, m.length); err != nil {
			return err
		}
	}
	for i, sources := range [][]int{{1, 2, 1}, {0, 0, 0}} {
		if err := s.addSet(i+1, sources); err != nil {
			return err
		}
	}
	if s.fixed = len(s.mapped); s.fixed != flushStays {
		return fmt.Errorf("%d maps stay, want %d", s.fixed, flushStays)
	}
	s.gone, err = pmem2.MapFromExisting(s.sources[0].source, 1<<40, page, pmem2.GranularityPage)
	if err != nil {
		return err
	}
	return s.gone.Delete()
}

// add maps a source into the first room.
func (s *flushScene) add(src flushSource, at, length uint64) error {
	cfg := pmem2.NewConfig()
	err := errors.Join(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetVMReservation(s.reserved[0], at), cfg.SetLength(length))
	if err != nil {
		return err
	}
	m, err := pmem2.NewMap(cfg, src.source)
	if err != nil {
		return err
	}
	s.mapped = append(s.mapped, flushMap{model.Mapped{
		Taken: model.Extent{Start: uint64(m.Address()), Size: s.probe.pages(m.Size())}, Size: m.Size(),
		Kind: src.kind, Granularity: m.StoreGranularity(),
	}, m, 0})
	return nil
}

// addSet makes a set of parts of sources in a room of its own, a page apart.
func (s *flushScene) addSet(number int, sources []int) error {
	page := s.probe.PageSize()
	cfg := pmemset.NewConfig()
	if err := errors.Join(cfg.SetReservation(s.reserved[number]), cfg.SetRequiredStoreGranularity(pmem2.GranularityPage)); err != nil {
		return err
	}
	set, err := pmemset.New(cfg)
	if err != nil {
		return err
	}
	s.sets = append(s.sets, set)
	var hole *pmemset.PartMap
	for i, n := range sources {
		src, err := pmemset.SourceFromPMem2(s.sources[n].source)
		if err != nil {
			return err
		}
		request := pmemset.NewMapConfig(set)
		if err := request.SetLength(2 * page); err != nil {
			return err
		}
		part, err := set.Map(src, request)
		if err != nil {
			return err
		}
		if i == 0 { // between the first part and the others there is to be a hole
			if _, err := set.Map(src, request); err != nil {
				return err
			}
			if hole, err = set.PartMapByAddress(part.Addr + uintptr(part.Size)); err != nil {
				return err
			}
		}
		g, err := set.StoreGranularity()
		if err != nil {
			return err
		}
		s.mapped = append(s.mapped, flushMap{model.Mapped{
			Taken: model.Extent{Start: uint64(part.Addr), Size: part.Size}, Size: part.Size, Kind: s.sources[n].kind, Granularity: g, Set: number,
		}, nil, number})
	}
	return set.RemovePartMap(hole)
}

func (s *flushScene) close() error {
	var errs []error
	for _, set := range s.sets {
		errs = append(errs, set.Delete())
	}
	for _, m := range s.mapped[:min(s.fixed, len(s.mapped))] {
		if m.m != nil {
			errs = append(errs, m.m.Delete())
		}
	}
	for _, r := range s.reserved {
		errs = append(errs, r.Delete())
	}
	for _, fd := range s.opened {
		errs = append(errs, s.emulated.Close(fd))
	}
	return errors.Join(append(errs, s.emulated.Shutdown())...)
}

// flushRecord is what a call has done, as the machine beneath it sees it.
type flushRecord struct {
	lines, synced []model.Extent // lines of instructions, pages of msync
	fences        int
	fenced        bool  // there is a fence behind the last flush
	deep          bool  // deep_flush was written
	wrong         error // what no call may do
}

// flushProbe is a machine that makes nothing durable: it notes what it is asked for, and
// answers as a request says.
type flushProbe struct {
	probe
	flushRecord
	ops       [3]*platform.CacheOps
	deepFlush string // the attribute of the device DAX
	answering bool
	failing   int
	errno     syscall.Errno
	region    model.Region
}

func newFlushProbe(p platform.Platform) *flushProbe {
	f := &flushProbe{probe: probe{Platform: p}}
	for g := range f.ops {
		ops := *p.CacheOps(platform.Granularity(g))
		flush := f.flushed
		if platform.Granularity(g) != platform.GranularityCacheLine {
			flush = func(unsafe.Pointer, uintptr) {} // no instruction
		}
		ops.Flush, ops.Fence = flush, f.fence
		ops.Persist = func(p unsafe.Pointer, n uintptr) {
			flush(p, n)
			f.fence()
		}
		f.ops[g] = &ops
	}
	return f
}

// begin forgets what was noted.
func (f *flushProbe) begin(q *model.FlushRequest) {
	f.flushRecord = flushRecord{lines: f.lines[:0], synced: f.synced[:0]}
	f.answering, f.failing, f.errno, f.region = true, q.FailingSync, q.SyncErrno, q.Region
}

func (f *flushProbe) flushed(p unsafe.Pointer, n uintptr) {
	if n > 0 {
		f.lines = append(f.lines, model.Extent{Start: uint64(uintptr(p)), Size: uint64(n)}.Rounded(cacheLine))
		f.fenced = false
	}
}

func (f *flushProbe) fence() { f.fenced, f.fences = true, f.fences+1 }

// CacheOps are operations that are noted and not executed.
func (f *flushProbe) CacheOps(g platform.Granularity) *platform.CacheOps {
	if !g.Valid() {
		return nil
	}
	return f.ops[g]
}

// Msync is msync(2), which rounds lengths up to pages.
func (f *flushProbe) Msync(addr uintptr, length uint64, flags int) error {
	if !f.answering {
		return f.Platform.Msync(addr, length, flags)
	}
	f.synced = append(f.synced, model.Extent{Start: uint64(addr), Size: f.pages(length)})
	switch {
	case flags != platform.MsSync:
		f.wrong = fmt.Errorf("msync with flags %#x, want MS_SYNC", flags)
	case length == 0:
		f.wrong = fmt.Errorf("msync of nothing at %#x", addr)
	case len(f.synced) == f.failing:
		return f.errno
	}
	return nil
}

// Readlink is how the region is found.
func (f *flushProbe) Readlink(path string) (string, error) {
	switch {
	case f.answering && f.region.Find != 0:
		return "", f.region.Find
	case f.answering && f.region.Missing:
		return "", syscall.ENOENT
	}
	return f.Platform.Readlink(path)
}

// ReadAttr answers for deep_flush.
func (f *flushProbe) ReadAttr(path string) (string, error) {
	if !f.answering || !strings.HasSuffix(path, "/deep_flush") || f.region.Attr == (model.Attr{}) {
		return f.Platform.ReadAttr(path)
	}
	if e := f.region.Attr.Errno; e != 0 {
		return "", e
	}
	return f.region.Attr.Text, nil
}

// WriteAttr is only for deep_flush.
func (f *flushProbe) WriteAttr(path, text string) error {
	if !f.answering {
		return f.Platform.WriteAttr(path, text)
	}
	if path != f.deepFlush || text != "1" {
		f.wrong = fmt.Errorf("%q written to %s, want \"1\" to %s", text, path, f.deepFlush)
	}
	f.deep = true
	if e := f.region.Answer; e != 0 {
		return e
	}
	return nil
}
