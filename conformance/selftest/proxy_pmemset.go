package selftest

import (
	"sync"

	"pmemlab/conformance"
	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// What stands before the objects of libpmemset.

type setLibrary struct {
	conformance.SetLibrary
	f *faults
}

func (l *library) Sets() conformance.SetLibrary { return &setLibrary{l.Library.Sets(), l.f} }

// setConfig remembers what it was told.
type setConfig struct {
	conformance.SetConfig
	f        *faults
	in       conformance.Reservation
	callback func(e conformance.SetEvent) error
}

func (o *setConfig) bare() conformance.SetConfig { return o.SetConfig }

func (f *faults) setConfig(o conformance.SetConfig) conformance.SetConfig {
	if w, ok := wrap(f, o, func() *setConfig { return &setConfig{SetConfig: o, f: f} }); ok {
		return w
	}
	return nil
}

// set remembers the config that it was made with, how it coalesces and where it has
// mapped last.
type set struct {
	conformance.Set
	f        *faults
	in       conformance.Reservation
	callback func(e conformance.SetEvent) error

	mu         sync.Mutex
	coalescing pmemset.Coalescing
	last       pmemset.PartDescriptor
}

func (o *set) bare() conformance.Set { return o.Set }

func (f *faults) set(o conformance.Set) conformance.Set {
	if w, ok := wrap(f, o, func() *set { return &set{Set: o, f: f} }); ok {
		return w
	}
	return nil
}

// previous is what was mapped last, and mode how the set coalesces.
func (s *set) previous() pmemset.PartDescriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *set) mode() pmemset.Coalescing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.coalescing
}

// setSource remembers what it was made of.
type setSource struct {
	conformance.SetSource
	f     *faults
	path  string
	flags pmemset.SourceFlags
}

func (o *setSource) bare() conformance.SetSource { return o.SetSource }

func (f *faults) setSource(o conformance.SetSource) conformance.SetSource {
	if w, ok := wrap(f, o, func() *setSource { return &setSource{SetSource: o, f: f} }); ok {
		return w
	}
	return nil
}

// mapConfig remembers what it was told.
type mapConfig struct {
	conformance.MapConfig
	f              *faults
	set            conformance.Set
	offset, length uint64
}

func (o *mapConfig) bare() conformance.MapConfig { return o.MapConfig }

func (f *faults) mapConfig(o conformance.MapConfig) conformance.MapConfig {
	if w, ok := wrap(f, o, func() *mapConfig { return &mapConfig{MapConfig: o, f: f} }); ok {
		return w
	}
	return nil
}

// part remembers what it was made with.
type part struct {
	conformance.Part
	f    *faults
	call mapCall
}

func (o *part) bare() conformance.Part { return o.Part }

func (f *faults) part(o conformance.Part) conformance.Part {
	if w, ok := wrap(f, o, func() *part { return &part{Part: o, f: f} }); ok {
		return w
	}
	return nil
}

// mapCall is a call that maps, of any generation. What the caller left out is nil.
type mapCall struct {
	generation     conformance.Generation
	set            *set
	src            *setSource
	cfg            *mapConfig
	offset, length uint64
}

// mapped maps, as the fault says if there is one.
func (f *faults) mapped(call mapCall, healthy func() (pmemset.PartDescriptor, error)) (pmemset.PartDescriptor, error) {
	if f.mapAny == nil || call.set == nil || call.src == nil {
		return call.done(healthy())
	}
	return call.done(f.mapAny(call, healthy))
}

// done notes what was mapped.
func (call mapCall) done(d pmemset.PartDescriptor, err error) (pmemset.PartDescriptor, error) {
	if err == nil && call.set != nil {
		call.set.mu.Lock()
		call.set.last = d
		call.set.mu.Unlock()
	}
	return d, err
}

// partMap isn't one for each object: a lookup returns a new reference.
type partMap struct {
	conformance.PartMap
	f *faults
}

func (m *partMap) bare() conformance.PartMap { return m.PartMap }

func (f *faults) partMap(m conformance.PartMap) conformance.PartMap {
	if m == nil {
		return nil
	}
	if w, ok := m.(*partMap); ok {
		return w
	}
	return &partMap{m, f}
}

func (m *partMap) Same(other conformance.PartMap) bool { return m.PartMap.Same(bare(other)) }

func (l *setLibrary) NewSetConfig() (conformance.SetConfig, error) {
	if l.f.newSetConfig != nil {
		cfg, err := l.f.newSetConfig(l)
		return l.f.setConfig(cfg), err
	}
	cfg, err := l.SetLibrary.NewSetConfig()
	return l.f.setConfig(cfg), l.f.told("SetLibrary.NewSetConfig", err)
}

func (l *setLibrary) NewSet(cfg conformance.SetConfig) (conformance.Set, error) {
	if l.f.newSet != nil {
		made, err := l.f.newSet(l, cfg)
		return l.f.setOf(made, cfg), err
	}
	made, err := l.SetLibrary.NewSet(bare(cfg))
	return l.f.setOf(made, cfg), l.f.told("SetLibrary.NewSet", err)
}

func (l *setLibrary) SourceFromFile(path string) (conformance.SetSource, error) {
	if l.f.sourceFromFile != nil {
		made, err := l.f.sourceFromFile(l, path)
		return l.f.setSourceOf(made, path, 0), err
	}
	made, err := l.SetLibrary.SourceFromFile(path)
	return l.f.setSourceOf(made, path, 0), l.f.told("SetLibrary.SourceFromFile", err)
}

func (l *setLibrary) XSourceFromFile(path string, flags pmemset.SourceFlags) (conformance.SetSource, error) {
	if l.f.xSourceFromFile != nil {
		made, err := l.f.xSourceFromFile(l, path, flags)
		return l.f.setSourceOf(made, path, flags), err
	}
	made, err := l.SetLibrary.XSourceFromFile(path, flags)
	return l.f.setSourceOf(made, path, flags), l.f.told("SetLibrary.XSourceFromFile", err)
}

func (l *setLibrary) SourceFromTemporary(dir string) (conformance.SetSource, error) {
	if l.f.sourceFromTemporary != nil {
		made, err := l.f.sourceFromTemporary(l, dir)
		return l.f.setSource(made), err
	}
	made, err := l.SetLibrary.SourceFromTemporary(dir)
	return l.f.setSource(made), l.f.told("SetLibrary.SourceFromTemporary", err)
}

func (l *setLibrary) SourceFromPMem2(src conformance.Source) (conformance.SetSource, error) {
	if l.f.sourceFromPMem2 != nil {
		made, err := l.f.sourceFromPMem2(l, src)
		return l.f.setSource(made), err
	}
	made, err := l.SetLibrary.SourceFromPMem2(bare(src))
	return l.f.setSource(made), l.f.told("SetLibrary.SourceFromPMem2", err)
}

func (l *setLibrary) NewMapConfig(set conformance.Set) (conformance.MapConfig, error) {
	made, err := l.SetLibrary.NewMapConfig(bare(set))
	return l.f.mapConfigOf(made, set), l.f.told("SetLibrary.NewMapConfig", err)
}

func (l *setLibrary) Map(src conformance.SetSource, cfg conformance.MapConfig) (pmemset.PartDescriptor, error) {
	if l.f.mapInto != nil {
		return l.f.mapInto(l, src, cfg)
	}
	call := mapCall{generation: conformance.MapAPI}
	call.src, _ = src.(*setSource)
	if c, ok := cfg.(*mapConfig); ok {
		call.set, _ = c.set.(*set)
		call.cfg, call.offset, call.length = c, c.offset, c.length
	}
	return l.f.mapped(call, func() (pmemset.PartDescriptor, error) { return l.SetLibrary.Map(bare(src), bare(cfg)) })
}

func (l *setLibrary) NewPart(set conformance.Set, src conformance.SetSource, offset uint64, length uint64) (conformance.Part, error) {
	if l.f.newPart != nil {
		made, err := l.f.newPart(l, set, src, offset, length)
		return l.f.partOf(made, set, src, offset, length), err
	}
	made, err := l.SetLibrary.NewPart(bare(set), bare(src), offset, length)
	return l.f.partOf(made, set, src, offset, length), l.f.told("SetLibrary.NewPart", err)
}

func (c *setConfig) SetRequiredStoreGranularity(g pmem2.Granularity) error {
	if c.f.requireOfSet != nil {
		return c.f.requireOfSet(c, g)
	}
	return c.f.told("SetConfig.SetRequiredStoreGranularity", c.SetConfig.SetRequiredStoreGranularity(g))
}

func (c *setConfig) SetReservation(r conformance.Reservation) error {
	c.in = bare(r)
	if c.f.reserveForSet != nil {
		return c.f.reserveForSet(c, r)
	}
	return c.f.told("SetConfig.SetReservation", c.SetConfig.SetReservation(bare(r)))
}

func (c *setConfig) SetAcceptableStates(s pmemset.PartState) error {
	if c.f.acceptStates != nil {
		return c.f.acceptStates(c, s)
	}
	return c.f.told("SetConfig.SetAcceptableStates", c.SetConfig.SetAcceptableStates(s))
}

func (c *setConfig) Delete() error {
	if c.f.deleteSetConfig != nil {
		return c.f.deleteSetConfig(c)
	}
	return c.f.told("SetConfig.Delete", c.SetConfig.Delete())
}

func (s *set) StoreGranularity() (pmem2.Granularity, error) {
	if s.f.granularityOfSet != nil {
		v, err := s.f.granularityOfSet(s)
		return v, err
	}
	v, err := s.Set.StoreGranularity()
	return v, s.f.told("Set.StoreGranularity", err)
}

func (s *set) SetContiguousPartCoalescing(c pmemset.Coalescing) error {
	s.mu.Lock()
	s.coalescing = c
	s.mu.Unlock()
	if s.f.coalesce != nil {
		return s.f.coalesce(s, c)
	}
	return s.f.told("Set.SetContiguousPartCoalescing", s.Set.SetContiguousPartCoalescing(c))
}

func (s *set) Map(src conformance.SetSource, cfg conformance.MapConfig) (pmemset.PartDescriptor, error) {
	call := mapCall{generation: conformance.Release112, set: s}
	call.src, _ = src.(*setSource)
	if c, ok := cfg.(*mapConfig); ok {
		call.cfg, call.offset, call.length = c, c.offset, c.length
	}
	return s.f.mapped(call, func() (pmemset.PartDescriptor, error) { return s.Set.Map(bare(src), bare(cfg)) })
}

func (s *set) FirstPartMap() conformance.PartMap {
	if s.f.firstPart != nil {
		return s.f.partMap(s.f.firstPart(s))
	}
	return s.f.partMap(s.Set.FirstPartMap())
}

func (s *set) NextPartMap(m conformance.PartMap) conformance.PartMap {
	if s.f.nextPart != nil {
		return s.f.partMap(s.f.nextPart(s, m))
	}
	return s.f.partMap(s.Set.NextPartMap(bare(m)))
}

func (s *set) PartMapByAddress(addr uintptr) (conformance.PartMap, error) {
	if s.f.partByAddress != nil {
		found, err := s.f.partByAddress(s, addr)
		return s.f.partMap(found), err
	}
	found, err := s.Set.PartMapByAddress(addr)
	return s.f.partMap(found), s.f.told("Set.PartMapByAddress", err)
}

func (s *set) RemovePartMap(m conformance.PartMap) error {
	if s.f.removePart != nil {
		return s.f.removePart(s, m)
	}
	return s.f.told("Set.RemovePartMap", s.Set.RemovePartMap(bare(m)))
}

func (s *set) RemoveRange(addr uintptr, n uint64) error {
	if s.f.removeRange != nil {
		return s.f.removeRange(s, addr, n)
	}
	return s.f.told("Set.RemoveRange", s.Set.RemoveRange(addr, n))
}

func (s *set) Persist(b []byte) error {
	if s.f.persistSet != nil {
		return s.f.persistSet(s, b)
	}
	return s.f.told("Set.Persist", s.Set.Persist(b))
}

func (s *set) Flush(b []byte) error {
	if s.f.flushSet != nil {
		return s.f.flushSet(s, b)
	}
	return s.f.told("Set.Flush", s.Set.Flush(b))
}

func (s *set) Drain() error {
	if s.f.drainSet != nil {
		return s.f.drainSet(s)
	}
	return s.f.told("Set.Drain", s.Set.Drain())
}

func (s *set) DeepFlushRange(addr uintptr, n uint64) error {
	if s.f.deepFlushSet != nil {
		return s.f.deepFlushSet(s, addr, n)
	}
	return s.f.told("Set.DeepFlushRange", s.Set.DeepFlushRange(addr, n))
}

func (s *set) Memmove(dst []byte, src []byte, flags pmem2.MemFlags) error {
	if s.f.memmoveSet != nil {
		return s.f.memmoveSet(s, dst, src, flags)
	}
	return s.f.told("Set.Memmove", s.Set.Memmove(dst, src, flags))
}

func (s *set) Memcpy(dst []byte, src []byte, flags pmem2.MemFlags) error {
	if s.f.memcpySet != nil {
		return s.f.memcpySet(s, dst, src, flags)
	}
	return s.f.told("Set.Memcpy", s.Set.Memcpy(dst, src, flags))
}

func (s *set) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	if s.f.memsetSet != nil {
		return s.f.memsetSet(s, dst, c, flags)
	}
	return s.f.told("Set.Memset", s.Set.Memset(dst, c, flags))
}

func (s *set) Delete() error {
	if s.f.deleteSet != nil {
		return s.f.deleteSet(s)
	}
	return s.f.told("Set.Delete", s.Set.Delete())
}

func (s *setSource) SetSDS(sds pmemset.SDS, state *pmemset.PartState) error {
	if s.f.setSDS != nil {
		return s.f.setSDS(s, sds, state)
	}
	return s.f.told("SetSource.SetSDS", s.SetSource.SetSDS(sds, state))
}

func (s *setSource) SetBadBlockDetection(on bool) error {
	if s.f.detectBadBlocks != nil {
		return s.f.detectBadBlocks(s, on)
	}
	return s.f.told("SetSource.SetBadBlockDetection", s.SetSource.SetBadBlockDetection(on))
}

func (s *setSource) ClearBadBlock(b pmem2.BadBlock) error {
	if s.f.clearBlockOfSet != nil {
		return s.f.clearBlockOfSet(s, b)
	}
	return s.f.told("SetSource.ClearBadBlock", s.SetSource.ClearBadBlock(b))
}

func (s *setSource) PreadMCSafe(p []byte, off uint64) error {
	if s.f.preadSet != nil {
		return s.f.preadSet(s, p, off)
	}
	return s.f.told("SetSource.PreadMCSafe", s.SetSource.PreadMCSafe(p, off))
}

func (s *setSource) PwriteMCSafe(p []byte, off uint64) error {
	if s.f.pwriteSet != nil {
		return s.f.pwriteSet(s, p, off)
	}
	return s.f.told("SetSource.PwriteMCSafe", s.SetSource.PwriteMCSafe(p, off))
}

func (s *setSource) Alignment() (uint64, error) {
	if s.f.alignmentOfSet != nil {
		v, err := s.f.alignmentOfSet(s)
		return v, err
	}
	v, err := s.SetSource.Alignment()
	return v, s.f.told("SetSource.Alignment", err)
}

func (s *setSource) Delete() error {
	if s.f.deleteSetSource != nil {
		return s.f.deleteSetSource(s)
	}
	return s.f.told("SetSource.Delete", s.SetSource.Delete())
}

func (c *mapConfig) SetOffset(n uint64) error {
	c.offset = n
	if c.f.mapOffset != nil {
		return c.f.mapOffset(c, n)
	}
	return c.f.told("MapConfig.SetOffset", c.MapConfig.SetOffset(n))
}

func (c *mapConfig) SetLength(n uint64) error {
	c.length = n
	if c.f.mapLength != nil {
		return c.f.mapLength(c, n)
	}
	return c.f.told("MapConfig.SetLength", c.MapConfig.SetLength(n))
}

func (c *mapConfig) Delete() error {
	if c.f.deleteMapConfig != nil {
		return c.f.deleteMapConfig(c)
	}
	return c.f.told("MapConfig.Delete", c.MapConfig.Delete())
}

func (p *part) Map() (pmemset.PartDescriptor, error) {
	if p.f.mapPart != nil {
		return p.f.mapPart(p)
	}
	return p.f.mapped(p.call, p.Part.Map)
}

func (p *part) Delete() error {
	if p.f.deletePart != nil {
		return p.f.deletePart(p)
	}
	return p.f.told("Part.Delete", p.Part.Delete())
}

func (m *partMap) Descriptor() pmemset.PartDescriptor {
	if m.f.descriptor != nil {
		return m.f.descriptor(m)
	}
	return m.PartMap.Descriptor()
}

func (m *partMap) Drop() {
	if m.f.drop != nil {
		m.f.drop(m)
		return
	}
	m.PartMap.Drop()
}

func (s *set) DeepFlush(b []byte) error {
	return s.DeepFlushRange(addressOf(b), uint64(len(b)))
}

func (l *setLibrary) Perror(err error, format string, args ...any) {
	if l.f.setPerror != nil {
		l.f.setPerror(l, err, format, args...)
		return
	}
	l.SetLibrary.Perror(err, format, args...)
}

// SetEventCallback has the callback told of the wrappers.
func (c *setConfig) SetEventCallback(callback func(e conformance.SetEvent) error) error {
	c.callback = callback
	if callback == nil {
		return c.SetConfig.SetEventCallback(nil)
	}
	return c.f.told("SetConfig.SetEventCallback", c.SetConfig.SetEventCallback(func(e conformance.SetEvent) error {
		e.Set, e.Source, e.PMem2Source = c.f.set(e.Set), c.f.setSource(e.Source), c.f.source(e.PMem2Source)
		if c.f.event != nil {
			return c.f.event(e, callback)
		}
		return callback(e)
	}))
}

// setOf is set with a note of its config.
func (f *faults) setOf(o conformance.Set, cfg conformance.SetConfig) conformance.Set {
	s, ok := f.set(o).(*set)
	if !ok {
		return nil
	}
	if c, ok := cfg.(*setConfig); ok {
		s.in, s.callback = c.in, c.callback
	}
	return s
}

// setSourceOf is setSource with a note of the file.
func (f *faults) setSourceOf(o conformance.SetSource, path string, flags pmemset.SourceFlags) conformance.SetSource {
	s, ok := f.setSource(o).(*setSource)
	if !ok {
		return nil
	}
	s.path, s.flags = path, flags
	return s
}

// mapConfigOf is mapConfig with a note of the set.
func (f *faults) mapConfigOf(o conformance.MapConfig, set conformance.Set) conformance.MapConfig {
	c, ok := f.mapConfig(o).(*mapConfig)
	if !ok {
		return nil
	}
	c.set = set
	return c
}

// partOf is part with a note of what it was made with.
func (f *faults) partOf(o conformance.Part, to conformance.Set, src conformance.SetSource, offset, length uint64) conformance.Part {
	p, ok := f.part(o).(*part)
	if !ok {
		return nil
	}
	p.call = mapCall{generation: conformance.PartsAPI, offset: offset, length: length}
	p.call.set, _ = to.(*set)
	p.call.src, _ = src.(*setSource)
	return p
}

func (l *setLibrary) NilSetSource() conformance.SetSource {
	if l.f.nilSetSource != nil {
		return l.f.nilSetSource()
	}
	return l.SetLibrary.NilSetSource()
}
