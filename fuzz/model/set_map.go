package model

import (
	"math"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// SetMap are the arguments of a map call, and what the kernel answers to it.
type SetMap struct {
	Way            Way
	Source         *SetSource
	Offset, Length uint64 // Length 0: not set
	Refused        bool   // the kernel doesn't map it
	Full           bool   // the file system has no room for a larger file
}

// PartPlace is what a map call must lead to: a result, or a mapping as described.
type PartPlace struct {
	Result SetResult
	Joins  bool   // the previous part map, at its end
	Addr   uint64 // 0: anywhere,
	Align  uint64 // at a multiple of this
	Length uint64
	Size   uint64 // of the source by then
}

const (
	hugePage     = 2 << 20
	giganticPage = 1 << 30
	// anyAddressSpace is more than a kernel with five levels of page tables has.
	anyAddressSpace = 1 << 56
)

// Map says what a map call must lead to; the checks stand in their order.
func (s *PartSet) Map(q SetMap) PartPlace {
	refuse := func(c pmemset.Code) PartPlace { return PartPlace{Result: SetFails(c)} }
	src := q.Source
	if src.Deleted {
		return refuse(pmemset.ErrInvalidSourceType)
	}
	if q.Offset > math.MaxInt64 {
		return refuse(pmemset.ErrInvalidOffsetValue)
	}
	length := q.length()
	grows := q.Offset > src.Size || length > src.Size-q.Offset
	switch {
	case length == 0 && q.Way == BySet:
		return refuse(pmemset.ErrMapLengthUnset)
	case length == 0:
		return refuse(pmemset.ErrInvalidPmem2Map)
	case grows && !src.grows(q.Way) && q.Way == BySet:
		return refuse(pmemset.ErrSourceFileIsTooSmall)
	case grows && !src.grows(q.Way):
		return refuse(pmemset.ErrInvalidPmem2Map)
	case grows && (src.Device || src.ReadOnly || length > anyAddressSpace || length > math.MaxInt64-q.Offset):
		return refuse(pmemset.ErrCannotGrowSourceFile)
	case length%s.Space.Page != 0:
		return refuse(pmemset.ErrLengthUnaligned)
	}
	made := s.make(q, length, grows)
	if s.Coalescing != pmemset.CoalescingNone && s.Previous != nil {
		joins := s.join(q, length)
		if joins.Result == SetOK {
			joins.Result = made
		}
		if joins.Result == SetOK || s.Coalescing == pmemset.CoalescingFull {
			return q.complete(joins, length, grows)
		}
	}
	apart := s.apart(q, length)
	if apart.Result == SetOK {
		apart.Result = made
	}
	return q.complete(apart, length, grows)
}

// complete fills in what doesn't depend on the place.
func (q SetMap) complete(p PartPlace, length uint64, grows bool) PartPlace {
	if p.Result != SetOK {
		return PartPlace{Result: p.Result}
	}
	p.Length, p.Size = length, q.Source.Size
	if grows {
		p.Size = q.Offset + length
	}
	return p
}

// length is that of the mapping; 0: there is none. What isn't set is what lies behind the
// offset, but that the first pmemset_map(3) lets a source that grows do so by the offset.
func (q SetMap) length() uint64 {
	size := q.Source.Size
	switch {
	case q.Length != 0:
		return q.Length
	case q.Way == ByConfig && q.Source.grows(q.Way):
		return size
	case q.Offset < size:
		return size - q.Offset
	}
	return 0
}

// make is the result once there is a place: of growing, of pmem2, and of the granularity.
func (s *PartSet) make(q SetMap, length uint64, grows bool) SetResult {
	src := q.Source
	g, mapped := s.Granularity()
	switch {
	case q.Offset%src.Align != 0:
		return SetFails(pmemset.ErrInvalidPmem2Map)
	case grows && (q.Full || q.Offset+length > s.Space.LargestFile):
		return SetFails(pmemset.ErrCannotGrowSourceFile)
	case length%src.Align != 0, src.ReadOnly, q.Refused, src.Granularity > s.Required:
		return SetFails(pmemset.ErrInvalidPmem2Map)
	case mapped == SetOK && src.Granularity != g:
		return SetFails(pmemset.ErrGranularityMismatch)
	}
	return SetOK
}

// join is the place behind the previous part map, or why there is none.
func (s *PartSet) join(q SetMap, n uint64) PartPlace {
	p, align := s.Previous, q.Source.Align
	behind := PartPlace{Joins: true, Addr: p.end(), Align: 1}
	cannot := PartPlace{Result: SetFails(pmemset.ErrCannotCoalesceParts)}
	unaligned := p.end()%align != 0
	if s.Configured {
		if !unaligned && s.Space.free(Extent{p.end(), n}) {
			return behind
		}
		if _, ok := s.Space.firstFit(n, align); !ok {
			return PartPlace{Result: SetFails(pmemset.ErrCannotFitPartMap)}
		}
		return cannot
	}
	for _, o := range s.Parts {
		if o.home == p.home && o.Extent().Overlaps(Extent{p.end(), n}) {
			return cannot
		}
	}
	switch {
	case unaligned:
		return cannot
	case n >= s.Space.AddressSpace:
		return PartPlace{Result: SetFails(pmemset.ErrCannotAllocateInternalStructure)}
	case n > p.home.limit-p.end():
		return cannot
	}
	return behind
}

// apart is the place of a part map of its own, or why there is none.
func (s *PartSet) apart(q SetMap, n uint64) PartPlace {
	align := q.Source.Align
	switch {
	case s.Configured:
		at, ok := s.Space.firstFit(n, align)
		if !ok {
			return PartPlace{Result: SetFails(pmemset.ErrCannotFitPartMap)}
		}
		return PartPlace{Addr: at, Align: align}
	case n >= s.Space.AddressSpace:
		return PartPlace{Result: SetFails(pmemset.ErrCannotAllocateInternalStructure)}
	}
	return PartPlace{Align: max(align, q.slack(n))}
}

// slack is what the reservation of a new part map is aligned to and has in addition.
func (q SetMap) slack(n uint64) uint64 {
	switch {
	case q.Way != BySet:
		return 0
	case n >= 2*giganticPage:
		return giganticPage
	}
	return hugePage
}

// Add enters what has been mapped: as m says, at addr. behind are the bytes behind a new
// reservation of the library's that are free.
func (s *PartSet) Add(q SetMap, m PartPlace, addr, behind uint64) (*SetPart, []SetEvent) {
	q.Source.Size = m.Size
	s.quiet = q.Way == ByPart
	piece := SetPiece{Extent{addr, m.Length}, q.Source, q.Offset}
	p := s.Previous
	if m.Joins {
		p.Pieces = append(p.Pieces, piece)
		p.home.extend(p.end(), q.Way == BySet)
	} else {
		p = &SetPart{Pieces: []SetPiece{piece}}
		if !s.Configured {
			p.home = &home{slack: q.slack(m.Length)}
			p.home.least = addr + p.home.sizeFor(m.Length)
			p.home.most, p.home.limit = p.home.least, p.home.least+behind
		}
		s.insert(p)
		s.Previous = p
	}
	return p, []SetEvent{{pmemset.EventPartAdd, p.Extent()}}
}

// extend makes a reservation reach to end. It may be extended by more, to a multiple of 2 MiB
// more than it had.
func (h *home) extend(end uint64, steps bool) {
	if h == nil || end <= h.least {
		return
	}
	h.least = end
	if steps {
		end = min(end+hugePage-1, h.limit)
	}
	h.most = max(h.most, end)
}

// MapForeign is the program's own pmem2_map_new(3) of n bytes into the reservation.
func (sp *SetSpace) MapForeign(offset, n uint64) Result {
	e := Extent{sp.Reservation.Start + offset, n}
	switch {
	case offset > sp.Reservation.Size || n > sp.Reservation.Size-offset:
		return Fails(pmem2.ErrAddressUnaligned)
	case !sp.free(e):
		return Fails(pmem2.ErrMappingExists)
	}
	sp.Foreign = append(sp.Foreign, e)
	return OK
}

// taken tells the end of something that lies in a range.
func (sp *SetSpace) taken(e Extent) (end uint64, taken bool) {
	for _, f := range sp.Foreign {
		if f.Overlaps(e) {
			return f.Start + f.Size, true
		}
	}
	for _, s := range sp.Sets {
		for _, p := range s.Parts {
			if x := p.Extent(); x.Overlaps(e) {
				return x.Start + x.Size, true
			}
		}
	}
	return 0, false
}

// free says whether a range that starts in the reservation lies in it and has nothing in it.
func (sp *SetSpace) free(e Extent) bool {
	if e.Size > sp.Reservation.Start+sp.Reservation.Size-e.Start {
		return false
	}
	_, taken := sp.taken(e)
	return !taken
}

// firstFit is the lowest multiple of align where n bytes of the reservation are free.
func (sp *SetSpace) firstFit(n, align uint64) (addr uint64, ok bool) {
	end := sp.Reservation.Start + sp.Reservation.Size
	addr = sp.Reservation.Start
	for {
		addr = (addr + align - 1) / align * align
		if addr > end || n > end-addr {
			return 0, false
		}
		next, taken := sp.taken(Extent{addr, n})
		if !taken {
			return addr, true
		}
		addr = next // whatever lies there, nothing that starts below its end is free
	}
}
