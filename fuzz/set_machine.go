package fuzz

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/vma"
	"pmemlab/pmemset"
)

// The addresses of what sets reserve don't depend on luck: each reservation has a slot of its
// own in a stretch of the address space where nothing else is, its arena.
const (
	setArenas    = 1 << 44
	setArenasEnd = 1 << 45
	setSlot      = 8 << 30
	setSlots     = 64
	setArena     = setSlots * setSlot
	// setAddressSpace is how long a reservation can be at most. Parts are setDoubtful bytes
	// shorter or longer than that: what the library adds to a reservation doesn't matter then.
	setAddressSpace, setDoubtful = 1 << 45, 8 << 30
	// setLargestFile is how long files may become: larger ones take long to move.
	setLargestFile = 8 << 30
	setDevice      = 16 * mib
	setFiles       = 8
)

// setSource is what parts are mapped from.
type setSource struct {
	name   string
	model  model.SetSource // but for its size
	open   func() (*pmemset.Source, error)
	source *pmemset.Source
	sizer  int    // descriptor that gives it its size; 0: device DAX
	mapper int    // descriptor that is mapped
	size   uint64 // that it has
	gone   bool   // the source has been deleted
}

// setMachine is the machine that the sets live on. It stands between the library and an
// emulated machine, and keeps the addresses of what is mapped.
type setMachine struct {
	probe
	emulated *emu.Machine
	anon     *pmem2.Source // for mappings of the program's own
	sources  [setFiles]*setSource
	config   *pmemset.Config
	ops      platform.CacheOps
	mappings *vma.Map[setMapping]
	open     int // descriptors opened and not closed
	opened   int // the last one

	arena  uintptr
	stride int               // odd: between one and the next
	slot   int               // that comes next
	limits [setSlots]uintptr // where what a reservation can be extended to ends; 0: not known yet
	behind uint64
	full   syscall.Errno // that fallocate answers; 0: it is done
}

// setMapping is what is mapped somewhere.
type setMapping struct {
	fd     int // -1: anonymous memory
	offset uint64
	used   bool // not a placeholder
}

func newSetMachine() (m *setMachine, err error) {
	e := emu.NewMachine(emu.Config{TraceEvents: -1})
	m = &setMachine{
		probe: probe{Platform: e}, emulated: e, config: pmemset.NewConfig(),
		mappings: vma.New(func(v setMapping, off uint64) setMapping {
			v.offset += off
			return v
		}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	// What is flushed doesn't matter here, and takes long.
	m.ops = *e.CacheOps(platform.GranularityCacheLine)
	m.ops.Flush, m.ops.Persist = func(unsafe.Pointer, uintptr) {}, func(unsafe.Pointer, uintptr) {}
	device := e.AddDevDax(emu.DevDax{Size: setDevice, Align: 2 * mib})
	dax := e.AddFS(emu.FS{Size: 1 << 40, DAX: true})
	disk := e.AddFS(emu.FS{Size: 1 << 40})
	if err := e.Err(); err != nil {
		return m, err
	}
	if m.anon, err = pmem2.SourceFromAnon(mib, pmem2.On(m)); err != nil {
		return m, err
	}
	byPath := func(path string, flags pmemset.SourceFlags) func() (*pmemset.Source, error) {
		return func() (*pmemset.Source, error) { return pmemset.XSourceFromFile(path, flags, pmemset.On(m)) }
	}
	line, page := pmem2.GranularityCacheLine, pmem2.GranularityPage
	const create = pmemset.SourceFileCreateIfNeeded
	m.sources = [setFiles]*setSource{
		{name: "a file of the page cache", model: model.SetSource{Granularity: page}, open: byPath(disk.Path("page"), create)},
		{name: "a DAX file", model: model.SetSource{Granularity: line}, open: byPath(dax.Path("dax"), create)},
		{
			name: "a DAX file not to grow, once: to truncate if needed", model: model.SetSource{Granularity: line, Flagged: true},
			open: byPath(dax.Path("flagged"), create|pmemset.SourceFileDoNotGrow),
		},
		{
			name: "a temporary DAX file", model: model.SetSource{Granularity: line, Temporary: true},
			open: func() (*pmemset.Source, error) { return pmemset.SourceFromTemporary(dax.Path(""), pmemset.On(m)) },
		},
		m.fromPMem2("pmem2's source of a DAX file", dax.Path("pmem2"), os.O_RDWR),
		m.fromPMem2("pmem2's source of a DAX file, read-only,", dax.Path("readonly"), os.O_RDONLY),
		{
			name: "device DAX", model: model.SetSource{Granularity: line, Align: 2 * mib, Size: setDevice, Device: true},
			open: byPath(device.Path(), 0),
		},
		{
			name: "a temporary file of the page cache", model: model.SetSource{Granularity: page, Temporary: true},
			open: func() (*pmemset.Source, error) { return pmemset.SourceFromTemporary(disk.Path(""), pmemset.On(m)) },
		},
	}
	for _, s := range m.sources {
		if s.model.Align == 0 {
			s.model.Align = m.PageSize()
		}
		if err := m.openSource(s); err != nil {
			return m, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return m, m.findArena()
}

// fromPMem2 is a source of a file that the program has opened.
func (m *setMachine) fromPMem2(name, path string, flags int) *setSource {
	s := &setSource{name: name, model: model.SetSource{Granularity: pmem2.GranularityCacheLine, ReadOnly: flags == os.O_RDONLY}}
	var borrowed *pmem2.Source
	s.open = func() (_ *pmemset.Source, err error) {
		if borrowed == nil {
			if s.sizer, err = m.emulated.Open(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
				return nil, err
			}
			if s.mapper, err = m.emulated.Open(path, flags, 0); err != nil {
				return nil, err
			}
			if borrowed, err = pmem2.SourceFromFD(s.mapper, pmem2.On(m)); err != nil {
				return nil, err
			}
		}
		return pmemset.SourceFromPMem2(borrowed)
	}
	return s
}

// openSource makes a source, or makes one again.
func (m *setMachine) openSource(s *setSource) (err error) {
	before := m.open
	if s.source, err = s.open(); err != nil {
		return err
	}
	s.gone = false
	if m.open > before { // it has a descriptor of its own
		s.mapper = m.opened
		if !s.model.Device {
			s.sizer = m.opened
		}
		if s.model.Temporary {
			s.size = 0
		}
	}
	return nil
}

// findArena takes the first stretch of addresses that no other machine has. Its first page
// says that it is taken.
func (m *setMachine) findArena() error {
	const flags = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve | platform.MapFixedNoreplace
	for at := uintptr(setArenas); at < setArenasEnd; at += setArena {
		got, err := platform.Host().Mmap(at, setArena, platform.ProtNone, flags, -1, 0)
		switch {
		case err != nil:
			continue
		case got == at:
			m.arena = at
			return platform.Host().Munmap(at+setSlot, setArena-setSlot)
		}
		if err := platform.Host().Munmap(got, setArena); err != nil {
			return err
		}
	}
	return errors.New("no stretch of the address space is left for another machine")
}

func (m *setMachine) close() error {
	var errs []error
	for _, s := range m.sources {
		if s == nil {
			continue
		}
		errs = append(errs, s.source.Delete())
		if s.sizer != s.mapper && s.sizer != 0 {
			errs = append(errs, m.emulated.Close(s.sizer), m.emulated.Close(s.mapper))
		}
	}
	if m.arena != 0 {
		errs = append(errs, platform.Host().Munmap(m.arena, setSlot))
	}
	return errors.Join(append(errs, m.emulated.Shutdown())...)
}

// beginSlots makes all slots empty. behind is how much is free behind a reservation. The n-th
// one goes into slot n*stride.
func (m *setMachine) beginSlots(behind uint64, stride int) {
	m.slot, m.limits, m.behind, m.stride = 1, [setSlots]uintptr{}, behind, stride
}

// nextSlot is where the next reservation of n bytes goes; 0 leaves it to the kernel.
func (m *setMachine) nextSlot(n uint64) uintptr {
	if n > setSlot/2 || m.slot == setSlots {
		return 0
	}
	m.slot++
	return m.arena + uintptr((m.slot-1)*m.stride%setSlots)*setSlot
}

// slotOf is the slot that an address lies in.
func (m *setMachine) slotOf(addr uintptr) (n int, ok bool) {
	if addr < m.arena+setSlot || addr-m.arena >= setArena {
		return 0, false
	}
	return int((addr - m.arena) / setSlot), true
}

// behindOf is how many bytes are free behind a reservation of the library's at addr.
func (m *setMachine) behindOf(addr uintptr) uint64 {
	if _, ok := m.slotOf(addr); ok {
		return m.behind
	}
	return 0
}

// Mmap is mmap(2). Placeholders get a slot, and behind a reservation something is taken.
func (m *setMachine) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	placeholder := fd < 0 && prot == platform.ProtNone
	if placeholder {
		switch noreplace := flags&platform.MapFixedNoreplace != 0; {
		case length >= setAddressSpace:
			return 0, syscall.ENOMEM
		case noreplace && m.taken(addr, length):
			return 0, syscall.EEXIST
		case addr == 0:
			addr = m.nextSlot(length)
		}
	}
	got, err := m.probe.Mmap(addr, length, prot, flags, fd, off)
	if err == nil {
		m.mappings.Insert(got, m.pages(length), setMapping{fd, uint64(off), !placeholder})
	}
	return got, err
}

// taken says whether something lies in a range that isn't the machine's to give.
func (m *setMachine) taken(addr uintptr, n uint64) bool {
	slot, ok := m.slotOf(addr)
	if !ok {
		return true
	}
	limit := m.limits[slot]
	return limit != 0 && n > uint64(limit-addr)
}

// Munmap is munmap(2). What a new reservation gives back first is what it has taken for the
// sake of its alignment: it ends there.
func (m *setMachine) Munmap(addr uintptr, length uint64) error {
	err := m.probe.Munmap(addr, length)
	if err == nil {
		m.mappings.Remove(addr, m.pages(length))
		if n, ok := m.slotOf(addr); ok && m.limits[n] == 0 {
			m.limits[n] = addr + uintptr(m.behind)
		}
	}
	return err
}

// Mremap is mremap(2) of one mapping, the only one that the library makes.
func (m *setMachine) Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error) {
	got, err := m.probe.Mremap(addr, length, newLength, flags, newAddr)
	if err == nil {
		moved := m.mappings.Remove(addr, m.pages(length))
		if len(moved) == 1 {
			m.mappings.Insert(got, m.pages(newLength), moved[0].Value)
		}
	}
	return got, err
}

// Fallocate is fallocate(2).
func (m *setMachine) Fallocate(fd int, mode uint32, off, length int64) error {
	switch {
	case m.full != 0:
		return m.full
	case off+length > setLargestFile:
		return syscall.EFBIG
	}
	return m.probe.Fallocate(fd, mode, off, length)
}

// Ftruncate is ftruncate(2).
func (m *setMachine) Ftruncate(fd int, size int64) error {
	if size > setLargestFile {
		return syscall.EFBIG
	}
	return m.probe.Ftruncate(fd, size)
}

// Open is open(2).
func (m *setMachine) Open(path string, flags int, mode uint32) (int, error) {
	fd, err := m.probe.Open(path, flags, mode)
	if err == nil {
		m.open++
		m.opened = fd
	}
	return fd, err
}

// Close is close(2).
func (m *setMachine) Close(fd int) error {
	m.open--
	return m.probe.Close(fd)
}

// Msync is msync(2) that does nothing.
func (m *setMachine) Msync(uintptr, uint64, int) error { return nil }

// CacheOps are operations that flush nothing.
func (m *setMachine) CacheOps(platform.Granularity) *platform.CacheOps { return &m.ops }
