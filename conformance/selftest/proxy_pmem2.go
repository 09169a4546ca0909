package selftest

import (
	"pmemlab/conformance"
	"pmemlab/pmem2"
)

// What stands before the objects of libpmem2.

type library struct {
	conformance.Library
	f *faults
}

// config remembers what it was told last.
type config struct {
	conformance.PMem2Config
	f              *faults
	offset, length uint64
	granularity    *pmem2.Granularity
	sharing        pmem2.Sharing
	in             conformance.Reservation
	at             uint64
}

func (o *config) bare() conformance.PMem2Config { return o.PMem2Config }

func (f *faults) config(o conformance.PMem2Config) conformance.PMem2Config {
	if w, ok := wrap(f, o, func() *config { return &config{PMem2Config: o, f: f} }); ok {
		return w
	}
	return nil
}

type source struct {
	conformance.Source
	f          *faults
	descriptor int // -1 of an anonymous source
}

func (o *source) bare() conformance.Source { return o.Source }

func (f *faults) source(o conformance.Source) conformance.Source {
	if w, ok := wrap(f, o, func() *source { return &source{Source: o, f: f, descriptor: -1} }); ok {
		return w
	}
	return nil
}

// sourceOf is source with a note of the descriptor.
func (f *faults) sourceOf(o conformance.Source, fd int) conformance.Source {
	s, ok := f.source(o).(*source)
	if !ok {
		return nil
	}
	s.descriptor = fd
	return s
}

type badBlocks struct {
	conformance.BadBlocks
	f *faults
}

func (o *badBlocks) bare() conformance.BadBlocks { return o.BadBlocks }

func (f *faults) badBlocks(o conformance.BadBlocks) conformance.BadBlocks {
	if w, ok := wrap(f, o, func() *badBlocks { return &badBlocks{BadBlocks: o, f: f} }); ok {
		return w
	}
	return nil
}

type reservation struct {
	conformance.Reservation
	f *faults
}

func (o *reservation) bare() conformance.Reservation { return o.Reservation }

func (f *faults) reservation(o conformance.Reservation) conformance.Reservation {
	if w, ok := wrap(f, o, func() *reservation { return &reservation{Reservation: o, f: f} }); ok {
		return w
	}
	return nil
}

func (l *library) NewConfig() (conformance.PMem2Config, error) {
	if l.f.newConfig != nil {
		cfg, err := l.f.newConfig(l)
		return l.f.config(cfg), err
	}
	cfg, err := l.Library.NewConfig()
	return l.f.config(cfg), l.f.told("Library.NewConfig", err)
}

func (l *library) SourceFromFD(fd int) (conformance.Source, error) {
	if l.f.sourceFromFD != nil {
		src, err := l.f.sourceFromFD(l, fd)
		return l.f.sourceOf(src, fd), err
	}
	src, err := l.Library.SourceFromFD(fd)
	return l.f.sourceOf(src, fd), l.f.told("Library.SourceFromFD", err)
}

func (l *library) SourceFromAnon(size uint64) (conformance.Source, error) {
	src, err := l.Library.SourceFromAnon(size)
	return l.f.source(src), l.f.told("Library.SourceFromAnon", err)
}

func (l *library) NewMap(cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
	if l.f.newMap != nil {
		found, err := l.f.newMap(l, cfg, src)
		return l.f.mappingOf(found, src, false), err
	}
	found, err := l.Library.NewMap(bare(cfg), bare(src))
	return l.f.mappingOf(found, src, false), l.f.told("Library.NewMap", err)
}

func (l *library) MapFromExisting(src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error) {
	if l.f.mapFromExisting != nil {
		found, err := l.f.mapFromExisting(l, src, addr, n, g)
		return l.f.mappingOf(found, src, true), err
	}
	found, err := l.Library.MapFromExisting(bare(src), addr, n, g)
	return l.f.mappingOf(found, src, true), l.f.told("Library.MapFromExisting", err)
}

func (l *library) NewVMReservation(addr uintptr, size uint64) (conformance.Reservation, error) {
	if l.f.newVMReservation != nil {
		res, err := l.f.newVMReservation(l, addr, size)
		return l.f.reservation(res), err
	}
	res, err := l.Library.NewVMReservation(addr, size)
	return l.f.reservation(res), l.f.told("Library.NewVMReservation", err)
}

func (l *library) NewBadBlockContext(src conformance.Source) (conformance.BadBlocks, error) {
	if l.f.newBadBlockContext != nil {
		bad, err := l.f.newBadBlockContext(l, src)
		return l.f.badBlocks(bad), err
	}
	bad, err := l.Library.NewBadBlockContext(bare(src))
	return l.f.badBlocks(bad), l.f.told("Library.NewBadBlockContext", err)
}

func (c *config) SetLength(n uint64) error {
	c.length = n
	if c.f.setLength != nil {
		return c.f.setLength(c, n)
	}
	return c.f.told("Config.SetLength", c.PMem2Config.SetLength(n))
}

func (c *config) SetOffset(n uint64) error {
	c.offset = n
	if c.f.setOffset != nil {
		return c.f.setOffset(c, n)
	}
	return c.f.told("Config.SetOffset", c.PMem2Config.SetOffset(n))
}

func (c *config) SetProtection(p pmem2.Prot) error {
	if c.f.setProtection != nil {
		return c.f.setProtection(c, p)
	}
	return c.f.told("Config.SetProtection", c.PMem2Config.SetProtection(p))
}

func (c *config) SetRequiredStoreGranularity(g pmem2.Granularity) error {
	c.granularity = &g
	if c.f.setGranularity != nil {
		return c.f.setGranularity(c, g)
	}
	return c.f.told("Config.SetRequiredStoreGranularity", c.PMem2Config.SetRequiredStoreGranularity(g))
}

func (c *config) SetSharing(s pmem2.Sharing) error {
	c.sharing = s
	if c.f.setSharing != nil {
		return c.f.setSharing(c, s)
	}
	return c.f.told("Config.SetSharing", c.PMem2Config.SetSharing(s))
}

func (c *config) SetVMReservation(r conformance.Reservation, offset uint64) error {
	c.in, c.at = bare(r), offset
	if c.f.setVMReservation != nil {
		return c.f.setVMReservation(c, r, offset)
	}
	return c.f.told("Config.SetVMReservation", c.PMem2Config.SetVMReservation(bare(r), offset))
}

func (c *config) Delete() error {
	if c.f.deleteConfig != nil {
		return c.f.deleteConfig(c)
	}
	return c.f.told("Config.Delete", c.PMem2Config.Delete())
}

func (s *source) FD() (int, error) {
	if s.f.fd != nil {
		v, err := s.f.fd(s)
		return v, err
	}
	v, err := s.Source.FD()
	return v, s.f.told("Source.FD", err)
}

func (s *source) Size() (uint64, error) {
	if s.f.size != nil {
		v, err := s.f.size(s)
		return v, err
	}
	v, err := s.Source.Size()
	return v, s.f.told("Source.Size", err)
}

func (s *source) Alignment() (uint64, error) {
	if s.f.alignment != nil {
		v, err := s.f.alignment(s)
		return v, err
	}
	v, err := s.Source.Alignment()
	return v, s.f.told("Source.Alignment", err)
}

func (s *source) ReadDeviceID(buf []byte) (int, error) {
	if s.f.readDeviceID != nil {
		v, err := s.f.readDeviceID(s, buf)
		return v, err
	}
	v, err := s.Source.ReadDeviceID(buf)
	return v, s.f.told("Source.ReadDeviceID", err)
}

func (s *source) DeviceUSC() (uint64, error) {
	if s.f.deviceUSC != nil {
		v, err := s.f.deviceUSC(s)
		return v, err
	}
	v, err := s.Source.DeviceUSC()
	return v, s.f.told("Source.DeviceUSC", err)
}

func (s *source) NUMANode() (int, error) {
	if s.f.numaNode != nil {
		v, err := s.f.numaNode(s)
		return v, err
	}
	v, err := s.Source.NUMANode()
	return v, s.f.told("Source.NUMANode", err)
}

func (s *source) PreadMCSafe(p []byte, off uint64) error {
	if s.f.pread != nil {
		return s.f.pread(s, p, off)
	}
	return s.f.told("Source.PreadMCSafe", s.Source.PreadMCSafe(p, off))
}

func (s *source) PwriteMCSafe(p []byte, off uint64) error {
	if s.f.pwrite != nil {
		return s.f.pwrite(s, p, off)
	}
	return s.f.told("Source.PwriteMCSafe", s.Source.PwriteMCSafe(p, off))
}

func (s *source) Delete() error {
	if s.f.deleteSource != nil {
		return s.f.deleteSource(s)
	}
	return s.f.told("Source.Delete", s.Source.Delete())
}

func (b *badBlocks) Next() (pmem2.BadBlock, error) {
	if b.f.nextBlock != nil {
		v, err := b.f.nextBlock(b)
		return v, err
	}
	v, err := b.BadBlocks.Next()
	return v, b.f.told("BadBlocks.Next", err)
}

func (b *badBlocks) Clear(block pmem2.BadBlock) error {
	if b.f.clearBlock != nil {
		return b.f.clearBlock(b, block)
	}
	return b.f.told("BadBlocks.Clear", b.BadBlocks.Clear(block))
}

func (b *badBlocks) Delete() error {
	if b.f.deleteBadBlocks != nil {
		return b.f.deleteBadBlocks(b)
	}
	return b.f.told("BadBlocks.Delete", b.BadBlocks.Delete())
}

func (m *mapping) Address() uintptr {
	if m.f.address != nil {
		return m.f.address(m)
	}
	return m.Map.Address()
}

func (m *mapping) Size() uint64 {
	if m.f.mapSize != nil {
		return m.f.mapSize(m)
	}
	return m.Map.Size()
}

func (m *mapping) StoreGranularity() pmem2.Granularity {
	if m.f.storeGranularity != nil {
		return m.f.storeGranularity(m)
	}
	return m.Map.StoreGranularity()
}

func (m *mapping) DeepFlushRange(addr uintptr, n uint64) error {
	if m.f.deepFlush != nil {
		return m.f.deepFlush(m, addr, n)
	}
	return m.f.told("Map.DeepFlushRange", m.Map.DeepFlushRange(addr, n))
}

func (m *mapping) Delete() error {
	if m.f.deleteMap != nil {
		return m.f.deleteMap(m)
	}
	return m.f.told("Map.Delete", m.Map.Delete())
}

func (r *reservation) Address() uintptr {
	if r.f.reservationAddress != nil {
		return r.f.reservationAddress(r)
	}
	return r.Reservation.Address()
}

func (r *reservation) Size() uint64 {
	if r.f.reservationSize != nil {
		return r.f.reservationSize(r)
	}
	return r.Reservation.Size()
}

func (r *reservation) Extend(size uint64) error {
	if r.f.extend != nil {
		return r.f.extend(r, size)
	}
	return r.f.told("Reservation.Extend", r.Reservation.Extend(size))
}

func (r *reservation) Shrink(offset uint64, size uint64) error {
	if r.f.shrink != nil {
		return r.f.shrink(r, offset, size)
	}
	return r.f.told("Reservation.Shrink", r.Reservation.Shrink(offset, size))
}

func (r *reservation) MapFind(offset uint64, length uint64) (conformance.Map, error) {
	if r.f.mapFind != nil {
		found, err := r.f.mapFind(r, offset, length)
		return r.f.mapping(found), err
	}
	found, err := r.Reservation.MapFind(offset, length)
	return r.f.mapping(found), r.f.told("Reservation.MapFind", err)
}

func (r *reservation) MapFindFirst() (conformance.Map, error) {
	if r.f.mapFindFirst != nil {
		found, err := r.f.mapFindFirst(r)
		return r.f.mapping(found), err
	}
	found, err := r.Reservation.MapFindFirst()
	return r.f.mapping(found), r.f.told("Reservation.MapFindFirst", err)
}

func (r *reservation) MapFindLast() (conformance.Map, error) {
	if r.f.mapFindLast != nil {
		found, err := r.f.mapFindLast(r)
		return r.f.mapping(found), err
	}
	found, err := r.Reservation.MapFindLast()
	return r.f.mapping(found), r.f.told("Reservation.MapFindLast", err)
}

func (r *reservation) MapFindNext(m conformance.Map) (conformance.Map, error) {
	if r.f.mapFindNext != nil {
		found, err := r.f.mapFindNext(r, m)
		return r.f.mapping(found), err
	}
	found, err := r.Reservation.MapFindNext(bare(m))
	return r.f.mapping(found), r.f.told("Reservation.MapFindNext", err)
}

func (r *reservation) MapFindPrev(m conformance.Map) (conformance.Map, error) {
	if r.f.mapFindPrev != nil {
		found, err := r.f.mapFindPrev(r, m)
		return r.f.mapping(found), err
	}
	found, err := r.Reservation.MapFindPrev(bare(m))
	return r.f.mapping(found), r.f.told("Reservation.MapFindPrev", err)
}

func (r *reservation) Delete() error {
	if r.f.deleteReservation != nil {
		return r.f.deleteReservation(r)
	}
	return r.f.told("Reservation.Delete", r.Reservation.Delete())
}

func (l *library) NilBadBlocks() conformance.BadBlocks {
	if l.f.nilBadBlocks != nil {
		return l.f.nilBadBlocks()
	}
	return l.Library.NilBadBlocks()
}

func (l *library) SharesFunctions(a, b conformance.Map) bool {
	return l.Library.SharesFunctions(bare(a), bare(b))
}

func (l *library) Perror(err error, format string, args ...any) {
	if l.f.perror != nil {
		l.f.perror(l, err, format, args...)
		return
	}
	l.Library.Perror(err, format, args...)
}
