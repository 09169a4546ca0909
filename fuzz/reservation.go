package fuzz

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"syscall"

	"pmemlab/emu"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Reservation is the target of the pmem2_vm_reservation_ pages: operations on reservations, on
// maps in them and beside them, one after the other.
var Reservation = Target{
	Name:     "Reservation",
	About:    "operations on reservations: make, extend, shrink, map at an offset, delete, find maps and room",
	Accepted: "mapped into a reservation",
	New:      newReservationInstance,
	Generate: reservationInputBytes,
	Seeds:    reservationSeeds,
}

// arenas hands out the parts of the address space that instances work in. The library knows
// maps of the whole process: two instances with the same addresses would be in each other's
// way. What follows from an input is the same in each.
var arenas struct {
	mu   sync.Mutex
	made uint64
	free []uint64
}

// An arena is a range that nobody maps at, neither the kernel by itself nor Go. It begins at an
// odd multiple of a power of two above all that matter in it.
const (
	firstArena = 1<<44 + arenaSize
	arenaSize  = 16 << 30
	manyArenas = 1 << 12
	arenaLo    = 4 << 30
	arenaMid   = 10<<30 + 5<<12 // not aligned to anything
)

func takeArena() uint64 {
	arenas.mu.Lock()
	defer arenas.mu.Unlock()
	if n := len(arenas.free); n > 0 {
		a := arenas.free[n-1]
		arenas.free = arenas.free[:n-1]
		return a
	}
	arenas.made++
	return firstArena + arenaSize*((arenas.made-1)%manyArenas)
}

// giveArena takes an arena back in which nothing is mapped.
func giveArena(a uint64) {
	arenas.mu.Lock()
	arenas.free = append(arenas.free, a)
	arenas.mu.Unlock()
}

// spaceInstance has a machine, and what an input has made on it so far.
type spaceInstance struct {
	// next reads an operation and gives the rest of the input.
	next     func(*model.Space, []byte) (model.Step, []byte)
	top      bool // maps may lie above what machines have, too
	emulated *emu.Machine
	machine  platform.Platform
	kernel   *kernelSpace // the machine, or nil: it is a real address space
	fd       int          // of the device DAX
	device   *pmem2.Source
	arena    uint64

	space        model.Space
	reservations []*pmem2.VMReservation
	maps         []*pmem2.Map
	prepared     *pmem2.PreparedDelete
	steps        []model.Step
	mapped       bool
	expect       []model.Area
	got          []model.Area
}

func newReservationInstance() (Instance, error) {
	i, err := newSpaceInstance(func(e *emu.Machine) platform.Platform { return newKernelSpace(e) })
	if err != nil {
		return nil, err
	}
	i.next = nextReservationStep
	return i, nil
}

func nextReservationStep(s *model.Space, input []byte) (model.Step, []byte) {
	var op ReservationOp
	rest := Decode(input, &op)
	return op.Step(s), rest
}

// newSpaceInstance makes an instance on a machine above an emulated one, which has a device.
func newSpaceInstance(above func(*emu.Machine) platform.Platform) (*spaceInstance, error) {
	e := emu.NewMachine(emu.Config{TraceEvents: -1})
	i := &spaceInstance{emulated: e, machine: above(e), fd: -1, arena: takeArena()}
	i.kernel, _ = i.machine.(*kernelSpace)
	i.space.Page = e.PageSize()
	i.space.Device = model.Source{Kind: model.DeviceDAX, Size: deviceSize, Align: deviceAlign}
	d := e.AddDevDax(emu.DevDax{Size: deviceSize, Align: deviceAlign})
	err := e.Err()
	if err == nil {
		i.fd, err = e.Open(d.Path(), os.O_RDWR, 0)
	}
	if err == nil {
		i.device, err = pmem2.SourceFromFD(i.fd, pmem2.On(i.machine))
	}
	if err != nil {
		return nil, errors.Join(err, i.Close())
	}
	i.enter()
	return i, nil
}

// enter makes the arena the address space.
func (i *spaceInstance) enter() {
	s := &i.space
	s.Lo, s.Mid, s.Hi = i.arena+arenaLo, i.arena+arenaMid, i.arena+arenaSize
	if k := i.kernel; k != nil {
		k.lo, k.mid, k.hi, k.areas = s.Lo, s.Mid, s.Hi, nil
		return
	}
	s.Unknown, s.Mid, s.Hi = true, i.arena+arenaSize, endOfAddresses
}

// endOfAddresses is where the addresses of programs end on a real machine.
const endOfAddresses = 1<<47 - 1<<12

// Close is Instance.Close.
func (i *spaceInstance) Close() error {
	giveArena(i.arena)
	var err error
	if i.fd >= 0 {
		err = i.emulated.Close(i.fd)
	}
	return errors.Join(err, i.emulated.Shutdown())
}

// Run is Instance.Run.
func (i *spaceInstance) Run(input []byte) (bool, error) {
	i.begin()
	err := i.run(input)
	if err == nil {
		err = i.end()
	}
	if err != nil {
		err = fmt.Errorf("%s%w", i.words(), err)
		i.abandon()
	}
	return i.mapped, err
}

func (i *spaceInstance) begin() {
	s := &i.space
	s.Reservations, s.Maps, s.Others, s.Prepared = s.Reservations[:0], s.Maps[:0], s.Others[:0], nil
	clear(i.reservations)
	clear(i.maps)
	i.reservations, i.maps, i.prepared, i.steps, i.mapped = i.reservations[:0], i.maps[:0], nil, i.steps[:0], false
}

func (i *spaceInstance) run(input []byte) error {
	for n := 0; n < maxReservationOps && len(input) > 0; n++ {
		var st model.Step
		st, input = i.next(&i.space, input)
		if err := i.try(st); err != nil {
			return err
		}
	}
	return nil
}

// try does one step and holds what comes of it against the model.
func (i *spaceInstance) try(st model.Step) error {
	s := &i.space
	want := s.Outcome(st)
	if i.kernel == nil && i.elsewhere(st, want) {
		return nil
	}
	i.steps = append(i.steps, st)
	got := i.do(st)
	if i.kernel != nil && want.Or == model.Fails(pmem2.ErrMappingExists) {
		if want.Or = want.Result; s.Claims(i.kernel.picked) { // by the place that the kernel picked
			want.Result = model.Fails(pmem2.ErrMappingExists)
			want.Or = want.Result
		}
	}
	if err := i.compare(st, want, got); err != nil {
		return err
	}
	if got.made {
		want.Addr = got.addr
		i.mapped = i.mapped || st.Kind != model.NewReservation && (want.Made.In >= 0 || i.top && want.Made.Existing)
	}
	want.Result = got.result
	s.Apply(st, want)
	if st.Kind == model.PrepareDelete && got.result == model.OK && i.kernel != nil {
		s.Prepared.Fresh = i.kernel.picked
	}
	return i.check()
}

// elsewhere says whether a step is about addresses where a real machine may have anything.
func (i *spaceInstance) elsewhere(st model.Step, want model.Outcome) bool {
	switch st.Kind {
	case model.NewReservation, model.Extend:
		return want.Result == model.FailsWith(syscall.EPERM) || st.Offset >= i.space.Mid ||
			want.Result == model.OK && st.Length > i.space.Mid-i.space.Lo
	case model.Occupy:
		return st.Offset+st.Length > i.space.Mid
	}
	return false
}

// stepResult is what came of a step.
type stepResult struct {
	result model.Result
	err    error
	made   bool // a reservation or a map, at
	addr   uint64
	found  *pmem2.Map
	offset uint64
	ok     bool // room is found
}

func (i *spaceInstance) reservation(n int) *pmem2.VMReservation {
	if n < 0 || n >= len(i.reservations) {
		return nil
	}
	return i.reservations[n]
}

func (i *spaceInstance) mapOf(n int) *pmem2.Map {
	if n < 0 || n >= len(i.maps) {
		return nil
	}
	return i.maps[n]
}

// do does a step.
func (i *spaceInstance) do(st model.Step) (got stepResult) {
	if i.kernel != nil {
		i.kernel.picked = model.Extent{}
	}
	r := i.reservation(st.Reservation)
	var err error
	switch st.Kind {
	case model.NewReservation:
		var made *pmem2.VMReservation
		made, err = pmem2.NewVMReservation(uintptr(st.Offset), st.Length, pmem2.On(i.machine))
		if made != nil {
			i.reservations = append(i.reservations, made)
			got.made, got.addr = true, uint64(made.Address())
		}
	case model.Extend:
		err = r.Extend(st.Length)
	case model.Shrink:
		err = r.Shrink(st.Offset, st.Length)
	case model.DeleteReservation:
		err = r.Delete()
	case model.MapAnonymous, model.MapDevice, model.MapExisting:
		var m *pmem2.Map
		m, err = i.makeMap(st, r)
		if m != nil {
			i.maps = append(i.maps, m)
			got.made, got.addr = true, uint64(m.Address())
		}
	case model.DeleteMap:
		err = i.mapOf(st.Map).Delete()
	case model.FindMap:
		got.found, err = r.MapFind(st.Offset, st.Length)
	case model.FindFirst:
		got.found, err = r.MapFindFirst()
	case model.FindLast:
		got.found, err = r.MapFindLast()
	case model.FindNext:
		got.found, err = r.MapFindNext(i.mapOf(st.Map))
	case model.FindPrev:
		got.found, err = r.MapFindPrev(i.mapOf(st.Map))
	case model.FindFree:
		got.offset, got.ok = r.FindFree(st.Length, st.Align)
	case model.PrepareDelete:
		maps := make([]*pmem2.Map, len(st.Maps))
		for k, n := range st.Maps {
			maps[k] = i.mapOf(n)
		}
		var d *pmem2.PreparedDelete
		if d, err = pmem2.PrepareDelete(maps...); err == nil {
			i.prepared = d
		}
	case model.CommitDelete:
		var gone bool
		if gone, err = i.prepared.Commit(); gone != (err == nil) {
			err = fmt.Errorf("gone is %t and the error %w", gone, err)
		}
	case model.CancelDelete:
		err = i.prepared.Cancel()
	case model.Occupy:
		_, err = i.machine.Mmap(uintptr(st.Offset), st.Length, platform.ProtRead,
			platform.MapPrivate|platform.MapAnonymous|platform.MapFixedNoreplace, -1, 0)
	case model.Vacate:
		err = i.machine.Munmap(uintptr(st.Offset), st.Length)
	}
	got.err, got.result = err, model.Of(err)
	return got
}

func (i *spaceInstance) makeMap(st model.Step, r *pmem2.VMReservation) (*pmem2.Map, error) {
	source := i.device
	if st.Kind != model.MapDevice {
		var err error
		if source, err = pmem2.SourceFromAnon(st.Length, pmem2.On(i.machine)); err != nil {
			return nil, err
		}
	}
	if st.Kind == model.MapExisting {
		return pmem2.MapFromExisting(source, uintptr(st.Offset), st.Length, st.Granularity)
	}
	cfg := pmem2.NewConfig()
	err := cfg.SetRequiredStoreGranularity(pmem2.GranularityPage)
	if st.Kind == model.MapDevice {
		err = errors.Join(err, cfg.SetLength(st.Length))
	}
	if err = errors.Join(err, cfg.SetVMReservation(r, st.Offset)); err != nil {
		return nil, err
	}
	return pmem2.NewMap(cfg, source)
}

// compare holds what came of a step against what must.
func (i *spaceInstance) compare(st model.Step, want model.Outcome, got stepResult) error {
	if got.result != want.Result && got.result != want.Or {
		if want.Or != want.Result {
			return fmt.Errorf("got %v (%v), want %v or %v", got.result, got.err, want.Result, want.Or)
		}
		return fmt.Errorf("got %v (%v), want %v", got.result, got.err, want.Result)
	}
	switch st.Kind {
	case model.NewReservation, model.MapAnonymous, model.MapDevice, model.MapExisting:
		if got.made != (got.result == model.OK) {
			return fmt.Errorf("got %v, and made is %t", got.result, got.made)
		}
		if got.made {
			return i.compareMade(st, want, got.addr)
		}
	case model.FindFree:
		if got.ok != want.Found || got.offset != want.Offset {
			return fmt.Errorf("got offset %#x, %t; want %#x, %t", got.offset, got.ok, want.Offset, want.Found)
		}
	}
	if found := i.mapOf(want.Map); got.found != found {
		return fmt.Errorf("got the map at %#x, want the one at %#x (0: none)", got.found.Address(), found.Address())
	}
	return nil
}

// compareMade is compare for what is made.
func (i *spaceInstance) compareMade(st model.Step, want model.Outcome, addr uint64) error {
	size := st.Length
	if st.Kind != model.NewReservation {
		size = want.Made.Extent.Size
		m, made := i.maps[len(i.maps)-1], want.Made
		switch {
		case m.Size() != made.Size:
			return fmt.Errorf("size: got %d, want %d", m.Size(), made.Size)
		case m.StoreGranularity() != made.Granularity:
			return fmt.Errorf("granularity: got %v, want %v", m.StoreGranularity(), made.Granularity)
		}
	}
	switch {
	case want.Addr != 0 && addr != want.Addr:
		return fmt.Errorf("address: got %#x, want %#x", addr, want.Addr)
	case want.Addr == 0 && !i.fits(want, addr, size):
		return fmt.Errorf("address: got %#x, want a multiple of %#x with %d bytes that are free", addr, want.Align, size)
	}
	return nil
}

func (i *spaceInstance) fits(want model.Outcome, addr, size uint64) bool {
	if i.kernel == nil { // it may pick any
		s := i.space
		s.Mid = s.Page
		return s.Fits(want, addr, size)
	}
	return i.space.Fits(want, addr, size)
}

// check holds all that there is against the state.
func (i *spaceInstance) check() error {
	s := &i.space
	for n, want := range s.Reservations {
		if r := i.reservations[n]; uint64(r.Address()) != want.Start || r.Size() != want.Size {
			return fmt.Errorf("reservation %d is %d bytes at %#x, want %d at %#x", n, r.Size(), r.Address(), want.Size, want.Start)
		}
	}
	for n, want := range s.Maps {
		if want.Deleted {
			want.Start, want.Size = 0, 0
		}
		if m := i.maps[n]; uint64(m.Address()) != want.Start || m.Size() != want.Size {
			return fmt.Errorf("map %d is %d bytes at %#x, want %d at %#x", n, m.Size(), m.Address(), want.Size, want.Start)
		} else if uint64(len(m.Bytes())) != min(want.Size, math.MaxInt64) {
			return fmt.Errorf("map %d has %d bytes, want %d", n, len(m.Bytes()), min(want.Size, math.MaxInt64))
		}
	}
	if i.kernel == nil {
		return nil
	}
	i.expect = s.Areas(i.expect[:0])
	i.got = model.Join(append(i.got[:0], i.kernel.areas...))
	for n := range max(len(i.expect), len(i.got)) {
		switch {
		case n >= len(i.got):
			return fmt.Errorf("nothing is mapped where there should be %s", describeArea(i.expect[n]))
		case n >= len(i.expect):
			return fmt.Errorf("mapped is %s, which shouldn't be", describeArea(i.got[n]))
		case i.got[n] != i.expect[n]:
			return fmt.Errorf("mapped is %s, want %s", describeArea(i.got[n]), describeArea(i.expect[n]))
		}
	}
	return nil
}
