package seeds

import (
	"pmemlab/conformance"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// What stands before the objects of libpmemset.

// Sets is conformance.Library.Sets.
func (l *library) Sets() conformance.SetLibrary {
	sets := l.Library.Sets()
	if sets == nil {
		return nil
	}
	return &setLibrary{sets, l}
}

type setLibrary struct {
	conformance.SetLibrary
	l *library
}

// setConfig remembers what it was told last.
type setConfig struct {
	conformance.SetConfig
	l           *setLibrary
	granularity pmem2.Granularity
	in          *reservation
	listens     bool
}

func (c *setConfig) bare() conformance.SetConfig { return c.SetConfig }

// NewSetConfig is conformance.SetLibrary.NewSetConfig.
func (l *setLibrary) NewSetConfig() (conformance.SetConfig, error) {
	c, err := l.SetLibrary.NewSetConfig()
	return &setConfig{SetConfig: c, l: l, granularity: pmem2.GranularityPage}, err
}

// SetRequiredStoreGranularity is conformance.SetConfig.SetRequiredStoreGranularity.
func (c *setConfig) SetRequiredStoreGranularity(g pmem2.Granularity) error {
	err := c.SetConfig.SetRequiredStoreGranularity(g)
	if err == nil {
		c.granularity = g
	}
	return err
}

// SetReservation is conformance.SetConfig.SetReservation.
func (c *setConfig) SetReservation(r conformance.Reservation) error {
	c.in, _ = r.(*reservation)
	return c.SetConfig.SetReservation(bare(r))
}

// SetEventCallback is conformance.SetConfig.SetEventCallback.
func (c *setConfig) SetEventCallback(callback func(e conformance.SetEvent) error) error {
	c.listens = callback != nil
	if callback == nil {
		return c.SetConfig.SetEventCallback(nil)
	}
	return c.SetConfig.SetEventCallback(func(e conformance.SetEvent) error {
		e.Set = c.l.wrapSet(e.Set)
		e.PMem2Source, e.Source = c.l.l.r.known(e.PMem2Source), c.l.l.r.knownSet(e.Source)
		return callback(e)
	})
}

// known is the wrapper of a source that has one.
func (r *recorder) known(src conformance.Source) conformance.Source {
	if src == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok := r.wrappers[src].(*fdSource); ok {
		return w
	}
	return src
}

func (r *recorder) knownSet(src conformance.SetSource) conformance.SetSource {
	if src == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if w, ok := r.wrappers[src].(*setSource); ok {
		return w
	}
	return src
}

// set stands before a set.
type set struct {
	conformance.Set
	l      *setLibrary
	number Object
}

func (s *set) bare() conformance.Set { return s.Set }

func (l *setLibrary) wrapSet(s conformance.Set) conformance.Set {
	if s == nil {
		return nil
	}
	return wrap(l.l.r, s, func() *set { return &set{s, l, l.l.r.number("set")} })
}

// NewSet is conformance.SetLibrary.NewSet.
func (l *setLibrary) NewSet(cfg conformance.SetConfig) (conformance.Set, error) {
	s, err := l.SetLibrary.NewSet(bare(cfg))
	if s == nil {
		return nil, err
	}
	w := l.wrapSet(s)
	c := Call{Op: NewSet, With: None, Made: w.(*set).number, OK: err == nil}
	if own, ok := cfg.(*setConfig); ok {
		c.Granularity, c.Listens = own.granularity, own.listens
		if own.in != nil && !own.in.deleted {
			c.With, c.At, c.Size = own.in.number, uint64(own.in.Address()), own.in.Size()
		}
	}
	l.l.r.note(c)
	return w, err
}

// setSource stands before a source of a set.
type setSource struct {
	conformance.SetSource
	l       *setLibrary
	fd      int // -1: not known
	file    File
	detects bool // bad blocks, when it is mapped
}

func (s *setSource) bare() conformance.SetSource { return s.SetSource }

// now is what the source is made of by now.
func (s *setSource) now() *File {
	f := s.file
	if s.fd >= 0 {
		src, dax := s.l.l.r.describe(s.fd)
		f.Size, f.DAX, f.ReadOnly, f.Device = src.Size, dax, src.Access == model.ReadOnly, src.Kind == model.DeviceDAX
	}
	return &f
}

func (l *setLibrary) source(f File, fresh func() (conformance.SetSource, error)) (conformance.SetSource, error) {
	l.l.w.begin()
	src, err := fresh()
	if src == nil {
		return nil, err
	}
	fd := l.l.w.end().opened
	return wrap(l.l.r, src, func() *setSource { return &setSource{SetSource: src, l: l, fd: fd, file: f} }), err
}

// SourceFromFile is conformance.SetLibrary.SourceFromFile.
func (l *setLibrary) SourceFromFile(path string) (conformance.SetSource, error) {
	return l.source(File{}, func() (conformance.SetSource, error) { return l.SetLibrary.SourceFromFile(path) })
}

// XSourceFromFile is conformance.SetLibrary.XSourceFromFile.
func (l *setLibrary) XSourceFromFile(path string, flags pmemset.SourceFlags) (conformance.SetSource, error) {
	f := File{Flagged: flags&pmemset.SourceFileDoNotGrow != 0}
	return l.source(f, func() (conformance.SetSource, error) { return l.SetLibrary.XSourceFromFile(path, flags) })
}

// SourceFromTemporary is conformance.SetLibrary.SourceFromTemporary.
func (l *setLibrary) SourceFromTemporary(dir string) (conformance.SetSource, error) {
	f := File{Temporary: true}
	return l.source(f, func() (conformance.SetSource, error) { return l.SetLibrary.SourceFromTemporary(dir) })
}

// SourceFromPMem2 is conformance.SetLibrary.SourceFromPMem2.
func (l *setLibrary) SourceFromPMem2(src conformance.Source) (conformance.SetSource, error) {
	s, err := l.SetLibrary.SourceFromPMem2(bare(src))
	if s == nil {
		return nil, err
	}
	own := &setSource{SetSource: s, l: l, fd: -1, file: File{FromPMem2: true}}
	if of, ok := src.(*fdSource); ok {
		own.fd = of.fd
	}
	return wrap(l.l.r, s, func() *setSource { return own }), err
}

// mapConfig remembers what it was told last.
type mapConfig struct {
	conformance.MapConfig
	set            *set
	offset, length uint64
}

func (c *mapConfig) bare() conformance.MapConfig { return c.MapConfig }

// NewMapConfig is conformance.SetLibrary.NewMapConfig.
func (l *setLibrary) NewMapConfig(of conformance.Set) (conformance.MapConfig, error) {
	c, err := l.SetLibrary.NewMapConfig(bare(of))
	own := &mapConfig{MapConfig: c}
	own.set, _ = of.(*set)
	return own, err
}

// SetOffset is conformance.MapConfig.SetOffset.
func (c *mapConfig) SetOffset(n uint64) error {
	err := c.MapConfig.SetOffset(n)
	if err == nil {
		c.offset = n
		return nil
	}
	if c.set != nil { // a map call that ends there is one
		c.set.l.l.r.note(Call{Op: MapPart, On: c.set.number, Made: None, Offset: n, Way: model.BySet, File: &File{DAX: true}})
	}
	return err
}

// SetLength is conformance.MapConfig.SetLength.
func (c *mapConfig) SetLength(n uint64) error {
	err := c.MapConfig.SetLength(n)
	if err == nil {
		c.length = n
	}
	return err
}

// mapped notes a map call of any generation.
func (l *setLibrary) mapped(to *set, src conformance.SetSource, way model.Way, offset, length uint64, do func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
	c := Call{Op: MapPart, On: None, With: None, Made: None, Way: way, Offset: offset, Length: length}
	own, ok := src.(*setSource)
	if ok {
		c.File = own.now()
		unwatched := do
		do = func() (pmemset.PartDescriptor, error) { return own.detecting(unwatched) }
	}
	l.l.w.begin()
	d, err := do()
	if l.l.w.fails {
		c.Answered = l.l.w.end()
	}
	c.OK, c.At, c.Size = err == nil, uint64(d.Addr), d.Size
	if to != nil && ok {
		c.On = to.number
		l.l.r.note(c)
	}
	return d, err
}

// Map is conformance.SetLibrary.Map.
func (l *setLibrary) Map(src conformance.SetSource, cfg conformance.MapConfig) (pmemset.PartDescriptor, error) {
	own, _ := cfg.(*mapConfig)
	if own == nil {
		own = &mapConfig{}
	}
	return l.mapped(own.set, src, model.ByConfig, own.offset, own.length, func() (pmemset.PartDescriptor, error) {
		return l.SetLibrary.Map(bare(src), bare(cfg))
	})
}

// Map is conformance.Set.Map.
func (s *set) Map(src conformance.SetSource, cfg conformance.MapConfig) (pmemset.PartDescriptor, error) {
	own, _ := cfg.(*mapConfig)
	if own == nil {
		own = &mapConfig{}
	}
	return s.l.mapped(s, src, model.BySet, own.offset, own.length, func() (pmemset.PartDescriptor, error) {
		return s.Set.Map(bare(src), bare(cfg))
	})
}

// part stands before a part.
type part struct {
	conformance.Part
	l              *setLibrary
	to             *set
	src            conformance.SetSource
	offset, length uint64
}

// NewPart is conformance.SetLibrary.NewPart.
func (l *setLibrary) NewPart(of conformance.Set, src conformance.SetSource, offset, length uint64) (conformance.Part, error) {
	p, err := l.SetLibrary.NewPart(bare(of), bare(src), offset, length)
	if p == nil {
		return nil, err
	}
	own := &part{Part: p, l: l, src: src, offset: offset, length: length}
	own.to, _ = of.(*set)
	return own, err
}

// Map is conformance.Part.Map.
func (p *part) Map() (pmemset.PartDescriptor, error) {
	return p.l.mapped(p.to, p.src, model.ByPart, p.offset, p.length, p.Part.Map)
}

// partMap stands before a reference to a part map.
type partMap struct {
	conformance.PartMap
	s      *set
	number Object
}

func (m *partMap) bare() conformance.PartMap { return m.PartMap }

// Same is conformance.PartMap.Same.
func (m *partMap) Same(other conformance.PartMap) bool { return m.PartMap.Same(bare(other)) }

// Drop is conformance.PartMap.Drop.
func (m *partMap) Drop() {
	m.PartMap.Drop()
	_ = m.s.note(Call{Op: Drop, With: m.number}, nil)
}

func (s *set) note(c Call, err error) error {
	c.On, c.OK = s.number, err == nil
	if c.Op != Hold {
		c.Made = None
	}
	s.l.l.r.note(c)
	return err
}

// held notes a reference that the program gets.
func (s *set) held(m conformance.PartMap, c Call) conformance.PartMap {
	if m == nil {
		return nil
	}
	own := &partMap{m, s, s.l.l.r.number("part map")}
	d := m.Descriptor()
	c.Op, c.With, c.Made, c.At, c.Size = Hold, None, own.number, uint64(d.Addr), d.Size
	_ = s.note(c, nil)
	return own
}

// FirstPartMap is conformance.Set.FirstPartMap.
func (s *set) FirstPartMap() conformance.PartMap { return s.held(s.Set.FirstPartMap(), Call{}) }

// NextPartMap is conformance.Set.NextPartMap.
func (s *set) NextPartMap(m conformance.PartMap) conformance.PartMap {
	return s.held(s.Set.NextPartMap(bare(m)), Call{})
}

// PartMapByAddress is conformance.Set.PartMapByAddress.
func (s *set) PartMapByAddress(addr uintptr) (conformance.PartMap, error) {
	m, err := s.Set.PartMapByAddress(addr)
	c := Call{Op: LookUp, With: None, Addr: uint64(addr)}
	if m == nil {
		return nil, s.note(c, err)
	}
	_ = s.note(c, err)
	return s.held(m, Call{Addr: uint64(addr)}), err
}

// RemovePartMap is conformance.Set.RemovePartMap.
func (s *set) RemovePartMap(m conformance.PartMap) error {
	c := Call{Op: RemovePart, With: None}
	if own, ok := m.(*partMap); ok {
		c.With = own.number
	}
	return s.note(c, s.Set.RemovePartMap(bare(m)))
}

// RemoveRange is conformance.Set.RemoveRange.
func (s *set) RemoveRange(addr uintptr, n uint64) error {
	return s.note(Call{Op: RemoveRange, With: None, Addr: uint64(addr), Length: n}, s.Set.RemoveRange(addr, n))
}

// SetContiguousPartCoalescing is conformance.Set.SetContiguousPartCoalescing.
func (s *set) SetContiguousPartCoalescing(c pmemset.Coalescing) error {
	return s.note(Call{Op: Coalescing, With: None, Length: uint64(c)}, s.Set.SetContiguousPartCoalescing(c))
}

// Delete is conformance.Set.Delete.
func (s *set) Delete() error { return s.note(Call{Op: DeleteSet, With: None}, s.Set.Delete()) }

// stored notes a call that is about memory.
func (s *set) stored(c Call, do func() error) error {
	w := s.l.l.w
	w.begin()
	err := do()
	c.With, c.Of = None, Memory{Set: true, Sync: w.end().msync}
	m, _ := s.Set.PartMapByAddress(uintptr(c.Addr))
	if m == nil {
		m = s.Set.FirstPartMap()
	}
	if m != nil {
		d := m.Descriptor()
		c.Of.Addr, c.Of.Size = uint64(d.Addr), d.Size
		m.Drop()
	}
	c.Of.Granularity, _ = s.StoreGranularity()
	return s.note(c, err)
}

func (s *set) flushed(op Op, b []byte, do func() error) error {
	return s.stored(Call{Op: op, Addr: addressOf(b), Length: uint64(len(b))}, do)
}

// Persist is conformance.Set.Persist.
func (s *set) Persist(b []byte) error {
	return s.flushed(Persist, b, func() error { return s.Set.Persist(b) })
}

// Flush is conformance.Set.Flush.
func (s *set) Flush(b []byte) error {
	return s.flushed(Flush, b, func() error { return s.Set.Flush(b) })
}

// Drain is conformance.Set.Drain.
func (s *set) Drain() error { return s.flushed(Drain, nil, s.Set.Drain) }

// DeepFlush is conformance.Set.DeepFlush.
func (s *set) DeepFlush(b []byte) error {
	return s.flushed(DeepFlush, b, func() error { return s.Set.DeepFlush(b) })
}

// DeepFlushRange is conformance.Set.DeepFlushRange.
func (s *set) DeepFlushRange(addr uintptr, n uint64) error {
	return s.stored(Call{Op: DeepFlush, Addr: uint64(addr), Length: n}, func() error { return s.Set.DeepFlushRange(addr, n) })
}

// Memmove is conformance.Set.Memmove.
func (s *set) Memmove(dst, src []byte, flags pmem2.MemFlags) error {
	return s.stored(moved(Memmove, dst, src, flags), func() error { return s.Set.Memmove(dst, src, flags) })
}

// Memcpy is conformance.Set.Memcpy.
func (s *set) Memcpy(dst, src []byte, flags pmem2.MemFlags) error {
	return s.stored(moved(Memcpy, dst, src, flags), func() error { return s.Set.Memcpy(dst, src, flags) })
}

// Memset is conformance.Set.Memset.
func (s *set) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	return s.stored(filled(dst, c, flags), func() error { return s.Set.Memset(dst, c, flags) })
}

var _ platform.Platform = (*watch)(nil)
