package seeds

import (
	"os"
	"strings"
	"unsafe" // addresses of slices, as numbers

	"pmemlab/conformance"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// What stands before the objects of libpmem2. Where the library takes an object it must get
// its own.

type library struct {
	conformance.Library
	r *recorder
	w *watch
}

// SourceFromFD is conformance.Library.SourceFromFD.
func (l *library) SourceFromFD(fd int) (conformance.Source, error) {
	src, err := l.Library.SourceFromFD(fd)
	if src == nil {
		if flags, _ := l.r.base.GetFL(fd); err != nil && flags >= 0 { // a request that ends before it is one
			d, _ := l.r.describe(fd)
			if d.Access == model.WriteOnly {
				l.r.note(Call{Op: NewMap, With: None, Made: None, Request: &model.MapRequest{Source: d}})
			}
		}
		return src, err
	}
	return wrap(l.r, src, func() *fdSource { return &fdSource{src, l, fd} }), err
}

// fdSource is a source whose file may change its size.
type fdSource struct {
	conformance.Source
	l  *library
	fd int
}

func (s *fdSource) bare() conformance.Source { return s.Source }

// SourceFromAnon is conformance.Library.SourceFromAnon.
func (l *library) SourceFromAnon(size uint64) (conformance.Source, error) {
	src, err := l.Library.SourceFromAnon(size)
	if src != nil {
		src = &anonSource{src, l, size}
		l.r.mu.Lock()
		l.r.sources[src] = model.Source{Kind: model.Anonymous, Size: size, Align: l.r.base.PageSize()}
		l.r.mu.Unlock()
	}
	return src, err
}

// sourceOf is what a source is made of by now.
func (r *recorder) sourceOf(src conformance.Source) (s model.Source, dax bool) {
	if s, ok := src.(*fdSource); ok {
		return r.describe(s.fd)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sources[src], false
}

// NewConfig is conformance.Library.NewConfig.
func (l *library) NewConfig() (conformance.PMem2Config, error) {
	cfg, err := l.Library.NewConfig()
	if cfg == nil {
		return nil, err
	}
	c := &config{PMem2Config: cfg, r: l.r, in: None}
	c.q.Prot = pmem2.ProtRead | pmem2.ProtWrite
	return c, err
}

// config remembers what it was told last.
type config struct {
	conformance.PMem2Config
	r  *recorder
	q  model.MapRequest
	in Object
	at uint64
	to *reservation
}

func (c *config) bare() conformance.PMem2Config { return c.PMem2Config }

// SetLength is conformance.PMem2Config.SetLength.
func (c *config) SetLength(n uint64) error {
	c.q.Length = n
	return c.PMem2Config.SetLength(n)
}

// SetOffset is conformance.PMem2Config.SetOffset. One that is refused is a request of its own.
func (c *config) SetOffset(n uint64) error {
	err := c.PMem2Config.SetOffset(n)
	if err == nil {
		c.q.Offset = n
		return nil
	}
	q := c.q
	q.Offset = n
	q.Source = model.Source{Kind: model.File, Size: 1 << 20, Align: c.r.base.PageSize()}
	c.r.note(Call{Op: NewMap, With: None, Made: None, Request: &q})
	return err
}

// SetProtection is conformance.PMem2Config.SetProtection.
func (c *config) SetProtection(p pmem2.Prot) error {
	err := c.PMem2Config.SetProtection(p)
	if err == nil {
		c.q.Prot = p
	}
	return err
}

// SetRequiredStoreGranularity is conformance.PMem2Config.SetRequiredStoreGranularity.
func (c *config) SetRequiredStoreGranularity(g pmem2.Granularity) error {
	err := c.PMem2Config.SetRequiredStoreGranularity(g)
	if err == nil {
		c.q.Granularity, c.q.GranularitySet = g, true
	}
	return err
}

// SetSharing is conformance.PMem2Config.SetSharing.
func (c *config) SetSharing(s pmem2.Sharing) error {
	err := c.PMem2Config.SetSharing(s)
	if err == nil {
		c.q.Sharing = s
	}
	return err
}

// SetVMReservation is conformance.PMem2Config.SetVMReservation.
func (c *config) SetVMReservation(r conformance.Reservation, offset uint64) error {
	c.in, c.at, c.to = None, offset, nil
	if own, ok := r.(*reservation); ok {
		c.in, c.to = own.number, own
	}
	return c.PMem2Config.SetVMReservation(bare(r), offset)
}

// NewMap is conformance.Library.NewMap.
func (l *library) NewMap(cfg conformance.PMem2Config, src conformance.Source) (conformance.Map, error) {
	own, _ := cfg.(*config)
	if own == nil || bare(src) == l.NilSource() || src == nil {
		m, err := l.Library.NewMap(bare(cfg), bare(src))
		return l.r.mapping(l.w, m, Memory{}, None), err
	}
	q := own.q
	q.Machine = l.r.machine()
	q.Source, q.Machine.Sync = l.r.sourceOf(src)
	q.Forced, q.IsForced = forced()
	if own.to != nil {
		q.Reservation = own.to.state()
		q.Reservation.Offset = own.at
	}
	l.w.begin()
	m, err := l.Library.NewMap(own.bare(), bare(src))
	a := l.w.end()
	q.Machine.Sync = q.Machine.Sync || a.synced
	if l.w.fails {
		q.Machine.AnswerSync, q.Machine.AnswerPlain, q.Machine.AnswerMove = a.sync, a.plain, a.move
	}
	c := Call{Op: NewMap, With: own.in, Made: None, Offset: own.at, OK: err == nil, Request: &q}
	if m != nil {
		c.Made = l.r.number("map")
		c.At, c.Size, c.Length = uint64(m.Address()), m.Size(), pages(m.Size(), q.Source.Align)
		c.Addr = c.At
	}
	l.r.note(c)
	return l.r.mapping(l.w, m, Memory{Kind: q.Source.Kind}, c.Made), err
}

func pages(n, page uint64) uint64 { return (n + page - 1) &^ (page - 1) }

// forced is the granularity that the environment asks for.
func forced() (pmem2.Granularity, bool) {
	for g, name := range []string{"BYTE", "CACHE_LINE", "PAGE"} {
		if strings.EqualFold(os.Getenv("PMEM2_FORCE_GRANULARITY"), name) {
			return pmem2.Granularity(g), true
		}
	}
	return 0, false
}

// MapFromExisting is conformance.Library.MapFromExisting.
func (l *library) MapFromExisting(src conformance.Source, addr uintptr, n uint64, g pmem2.Granularity) (conformance.Map, error) {
	m, err := l.Library.MapFromExisting(bare(src), addr, n, g)
	c := Call{Op: MapFromExisting, Made: None, Addr: uint64(addr), Length: n, Granularity: g, OK: err == nil}
	of := Memory{Existing: true}
	if src != nil && bare(src) != l.NilSource() {
		s, _ := l.r.sourceOf(src)
		of.Kind = s.Kind
	}
	if m != nil {
		c.Made, c.At, c.Size = l.r.number("map"), uint64(m.Address()), m.Size()
	}
	l.r.note(c)
	return l.r.mapping(l.w, m, of, c.Made), err
}

// NewVMReservation is conformance.Library.NewVMReservation.
func (l *library) NewVMReservation(addr uintptr, size uint64) (conformance.Reservation, error) {
	v, err := l.Library.NewVMReservation(addr, size)
	c := Call{Op: NewReservation, Made: None, Addr: uint64(addr), Length: size, OK: err == nil}
	if v == nil {
		l.r.note(c)
		return nil, err
	}
	own := &reservation{Reservation: v, l: l, number: l.r.number("reservation")}
	c.Made, c.At, c.Size = own.number, uint64(v.Address()), v.Size()
	l.r.note(c)
	return own, err
}

// SharesFunctions is conformance.Library.SharesFunctions.
func (l *library) SharesFunctions(a, b conformance.Map) bool {
	return l.Library.SharesFunctions(bare(a), bare(b))
}

// addressOf is where a slice begins.
func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// reservation stands before one of libpmem2.
type reservation struct {
	conformance.Reservation
	l       *library
	number  Object
	deleted bool
}

func (v *reservation) bare() conformance.Reservation { return v.Reservation }

// state is what a map that is made in it finds.
func (v *reservation) state() *model.Reservation {
	if v.deleted {
		return &model.Reservation{Deleted: true}
	}
	s := &model.Reservation{Addr: uint64(v.Address()), Size: v.Size()}
	m, err := v.Reservation.MapFindFirst()
	for err == nil && m != nil {
		s.Taken = append(s.Taken, model.Extent{Start: uint64(m.Address()), Size: m.Size()})
		m, err = v.Reservation.MapFindNext(m)
	}
	return s
}

func (v *reservation) note(c Call, err error) error {
	c.On, c.Made, c.OK = v.number, None, err == nil
	v.l.r.note(c)
	return err
}

// Extend is conformance.Reservation.Extend.
func (v *reservation) Extend(n uint64) error {
	c := Call{Op: Extend, Length: n, At: uint64(v.Address()), Size: v.Size()}
	return v.note(c, v.Reservation.Extend(n))
}

// Shrink is conformance.Reservation.Shrink.
func (v *reservation) Shrink(offset, n uint64) error {
	return v.note(Call{Op: Shrink, Offset: offset, Length: n}, v.Reservation.Shrink(offset, n))
}

// Delete is conformance.Reservation.Delete.
func (v *reservation) Delete() error {
	err := v.Reservation.Delete()
	v.deleted = v.deleted || err == nil
	return v.note(Call{Op: DeleteReservation}, err)
}

func (v *reservation) found(c Call, m conformance.Map, err error) (conformance.Map, error) {
	_ = v.note(c, err)
	return v.l.r.mapping(v.l.w, m, Memory{}, None), err
}

// MapFind is conformance.Reservation.MapFind.
func (v *reservation) MapFind(offset, n uint64) (conformance.Map, error) {
	m, err := v.Reservation.MapFind(offset, n)
	return v.found(Call{Op: Find, Offset: offset, Length: n}, m, err)
}

// MapFindFirst is conformance.Reservation.MapFindFirst.
func (v *reservation) MapFindFirst() (conformance.Map, error) {
	m, err := v.Reservation.MapFindFirst()
	return v.found(Call{Op: FindFirst}, m, err)
}

// MapFindLast is conformance.Reservation.MapFindLast.
func (v *reservation) MapFindLast() (conformance.Map, error) {
	m, err := v.Reservation.MapFindLast()
	return v.found(Call{Op: FindLast}, m, err)
}

// MapFindNext is conformance.Reservation.MapFindNext.
func (v *reservation) MapFindNext(of conformance.Map) (conformance.Map, error) {
	m, err := v.Reservation.MapFindNext(bare(of))
	return v.found(Call{Op: FindNext, With: numberOf(of)}, m, err)
}

// MapFindPrev is conformance.Reservation.MapFindPrev.
func (v *reservation) MapFindPrev(of conformance.Map) (conformance.Map, error) {
	m, err := v.Reservation.MapFindPrev(bare(of))
	return v.found(Call{Op: FindPrev, With: numberOf(of)}, m, err)
}
