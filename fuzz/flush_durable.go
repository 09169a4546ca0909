package fuzz

import (
	"errors"
	"fmt"
	"os"

	"pmemlab/emu"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// durableScene is a machine whose caches are asked: what was stored beside the edges of a
// range before a call is durable after it, or not.
type durableScene struct {
	m        *emu.Machine
	reserved *pmem2.VMReservation
	rooms    []model.Extent // each is of one kind of granularity
	mapped   []flushMap
	maps     []model.Mapped
	opened   []int
	eadr     bool
	weak     bool // a flush without a fence settles nothing
	runs     int
}

// Pages of each map: long enough for ranges that the machine doesn't look at line by line.
const durablePages = 6

func newDurableScene(eadr bool) (*durableScene, error) {
	e := emu.NewMachine(emu.Config{EADR: eadr, TraceEvents: -1})
	s := &durableScene{m: e, eadr: eadr, weak: e.CacheOps(platform.GranularityCacheLine).Instruction != "CLFLUSH"}
	return s, s.fill()
}

func (s *durableScene) fill() (err error) {
	e, page := s.m, s.m.PageSize()
	device := e.AddDevDax(emu.DevDax{Size: durablePages * page, Align: page})
	dax, disk := e.AddFS(emu.FS{Size: mib, DAX: true}), e.AddFS(emu.FS{Size: mib})
	if err := e.Err(); err != nil {
		return err
	}
	const span = 3 * durablePages // pages of a room
	if s.reserved, err = pmem2.NewVMReservation(0, 2*span*page, pmem2.On(e)); err != nil {
		return err
	}
	base := uint64(s.reserved.Address())
	s.rooms = []model.Extent{{Start: base, Size: span * page}, {Start: base + span*page, Size: span * page}}
	for _, f := range []struct {
		path     string
		kind     model.Kind
		room, at uint64 // pages
	}{
		{dax.Path("first"), model.File, 0, 0}, {device.Path(), model.DeviceDAX, 0, durablePages}, {dax.Path("last"), model.File, 0, 2 * durablePages},
		{disk.Path("first"), model.File, 1, 0}, {disk.Path("last"), model.File, 1, durablePages + 2},
	} {
		fd, err := e.Open(f.path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		s.opened = append(s.opened, fd)
		if f.kind == model.File {
			if err := e.Ftruncate(fd, int64(durablePages*page)); err != nil {
				return err
			}
		}
		src, err := pmem2.SourceFromFD(fd, pmem2.On(e))
		if err != nil {
			return err
		}
		cfg := pmem2.NewConfig()
		at := f.room*span*page + f.at*page
		if err := errors.Join(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetVMReservation(s.reserved, at)); err != nil {
			return err
		}
		m, err := pmem2.NewMap(cfg, src)
		if err != nil {
			return err
		}
		s.mapped = append(s.mapped, flushMap{model.Mapped{
			Taken: model.Extent{Start: uint64(m.Address()), Size: m.Size()}, Size: m.Size(), Kind: f.kind, Granularity: m.StoreGranularity(),
		}, m, int(f.room)})
		s.maps = append(s.maps, s.mapped[len(s.mapped)-1].Mapped)
	}
	return nil
}

func (s *durableScene) close() error {
	var errs []error
	for _, m := range s.mapped {
		errs = append(errs, m.m.Delete())
	}
	if s.reserved != nil {
		errs = append(errs, s.reserved.Delete())
	}
	for _, fd := range s.opened {
		errs = append(errs, s.m.Close(fd))
	}
	return errors.Join(append(errs, s.m.Shutdown())...)
}

// run is Instance.Run.
func (s *durableScene) run(in *flushInput) (bool, error) {
	of := &s.mapped[int(in.Of)%len(s.mapped)]
	q := model.FlushRequest{
		Op: model.FlushOp(in.Op % 4), Maps: s.maps, Of: of.Mapped, Page: s.m.PageSize(), Line: cacheLine, Region: model.Region{Attr: hints},
	}
	q.Range = in.rangeOf(&q, s.rooms, s.mapped, of)
	near := s.near(q.Range)
	for _, addr := range near {
		*byteAt(addr)++
	}
	want := model.Flushes(q)
	err := in.call(&q, of.m, nil)
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s of %s, by a map of %s, granularity %v, EADR %t: %s", flushOpNames[q.Op], extents([]model.Extent{q.Range}),
			extents([]model.Extent{of.Taken}), of.Granularity, s.eadr, fmt.Sprintf(format, args...))
	}
	if got := model.Of(err); got != want.Result {
		return false, fail("got %v (%v), want %v", got, err, want.Result)
	}
	err = nil
	if problem := s.check(near, &want); problem != "" {
		err = fail("%s", problem)
	}
	if want.Fence == model.NotFenced && want.Result == model.OK && err == nil {
		if err = of.m.Drain(); err != nil {
			return false, fail("drain: %v", err)
		}
		want.Fence = model.Fenced
		if problem := s.check(near, &want); problem != "" {
			err = fail("and drain: %s", problem)
		}
	}
	return want.Result == model.OK, errors.Join(err, s.settle(near))
}

// near are addresses at the edges of a range, and of the lines and pages that hold it.
func (s *durableScene) near(r model.Extent) (near []uint64) {
	last := r.Start + r.Size - 1
	line, page := r.Rounded(cacheLine), r.Rounded(s.m.PageSize())
	for _, addr := range [...]uint64{
		r.Start, last, r.Start + r.Size/2, r.Start - 1, last + 1, line.Start - 1, line.Start, line.Start + line.Size - 1, line.Start + line.Size,
		page.Start - 1, page.Start, page.Start + page.Size - 1, page.Start + page.Size,
	} {
		for i := range s.maps {
			if s.maps[i].Taken.Holds(addr) {
				near = append(near, addr)
			}
		}
	}
	return near
}

// check says which byte is durable and mustn't be, or the other way round.
func (s *durableScene) check(near []uint64, f *model.Flushed) string {
	for _, addr := range near {
		var g pmem2.Granularity
		for i := range s.maps {
			if s.maps[i].Taken.Holds(addr) {
				g = s.maps[i].Granularity
			}
		}
		want := f.Durable(addr, g)
		err := s.m.Durable(platform.Bytes(uintptr(addr), 1))
		if flushed := f.Fence == model.NotFenced && len(f.Lines) > 0 && f.Lines[0].Holds(addr); flushed && !s.weak {
			continue
		}
		if want && err != nil {
			return fmt.Sprintf("the byte at %#x isn't durable: %v", addr, err)
		}
		if !want && err == nil {
			return fmt.Sprintf("the byte at %#x is durable, and nothing asks for it", addr)
		}
	}
	return ""
}

// settle makes all durable that was stored.
func (s *durableScene) settle(near []uint64) error {
	persist := s.m.CacheOps(platform.GranularityCacheLine).Persist
	var errs []error
	for _, addr := range near {
		if s.m.Durable(platform.Bytes(uintptr(addr), 1)) == nil {
			continue
		}
		if page := s.m.PageSize(); s.rooms[1].Holds(addr) {
			errs = append(errs, s.m.Msync(uintptr(addr&^(page-1)), page, platform.MsSync))
		} else {
			persist(platform.Pointer(uintptr(addr)), 1)
		}
	}
	if s.runs++; s.runs%1024 == 0 {
		s.m.ClearFindings()
	}
	return errors.Join(errs...)
}

// byteAt is a byte of mapped memory.
func byteAt(addr uint64) *byte { return (*byte)(platform.Pointer(uintptr(addr))) }
