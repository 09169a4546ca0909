package model

import (
	"math"
	"math/rand/v2"
	"testing"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

const setPage = 4096

// setAt is a set with a reservation of n pages at 2 MiB and a page before it.
func setAt(pages uint64) *PartSet {
	sp := &SetSpace{
		Page: setPage, AddressSpace: 1 << 45, LargestFile: 1 << 33,
		Reservation: Extent{hugePage - setPage, pages * setPage},
	}
	s := &PartSet{Space: sp, Configured: true, Required: pmem2.GranularityPage}
	sp.Sets = []*PartSet{s}
	return s
}

func setFile(size uint64) *SetSource {
	return &SetSource{Size: size, Align: setPage, Granularity: pmem2.GranularityCacheLine}
}

// add maps and enters what has been mapped.
func (s *PartSet) add(q SetMap) {
	if m := s.Map(q); m.Result == SetOK {
		s.Add(q, m, m.Addr, 0)
	}
}

// TestSetMap are calls on a set that has two parts of a page each in a reservation of 8
// pages, of which the second is the previous one, and the fourth page is taken.
func TestSetMap(t *testing.T) {
	const p = setPage
	code := SetFails
	old, do := setFile(4*p), setFile(4*p)
	do.Flagged = true
	temporary := setFile(0)
	temporary.Temporary = true
	device := &SetSource{Size: 8 << 20, Align: hugePage, Granularity: pmem2.GranularityCacheLine, Device: true}
	coarse := setFile(4 * p)
	coarse.Granularity = pmem2.GranularityPage
	for _, row := range []struct {
		name   string
		mode   pmemset.Coalescing
		q      SetMap
		want   SetResult
		page   uint64 // of the reservation
		length uint64 // in pages
		grown  uint64 // the source's size, in pages
	}{
		{name: "first fit", q: SetMap{Source: old, Length: p}, page: 2, length: 1, grown: 4},
		{name: "behind what is taken", q: SetMap{Source: old, Length: 2 * p}, page: 4, length: 2, grown: 4},
		{name: "too long for all gaps", q: SetMap{Way: BySet, Source: old, Length: 5 * p}, want: code(pmemset.ErrCannotFitPartMap)},
		{name: "FULL", mode: 2, q: SetMap{Source: old, Length: p}, page: 2, length: 1, grown: 4},
		{name: "FULL, taken", mode: 2, q: SetMap{Source: old, Length: 2 * p}, want: code(pmemset.ErrCannotCoalesceParts)},
		{name: "FULL, no room", mode: 2, q: SetMap{Way: BySet, Source: old, Length: 5 * p}, want: code(pmemset.ErrCannotFitPartMap)},
		{name: "OPPORTUNISTIC, taken", mode: 1, q: SetMap{Source: old, Length: 2 * p}, page: 4, length: 2, grown: 4},
		{name: "no length", q: SetMap{Source: old, Offset: p}, page: 4, length: 3, grown: 4},
		{name: "no length, at the end", q: SetMap{Way: BySet, Source: old, Offset: 4 * p}, want: code(pmemset.ErrMapLengthUnset)},
		{name: "no length, at the end, once", q: SetMap{Source: old, Offset: 4 * p}, want: code(pmemset.ErrInvalidPmem2Map)},
		{name: "no length, may grow", q: SetMap{Way: ByConfig, Source: do, Offset: p}, page: 4, length: 4, grown: 5},
		{name: "past the end", q: SetMap{Way: BySet, Source: old, Offset: 4 * p, Length: p}, page: 2, length: 1, grown: 5},
		{name: "past the end, once", q: SetMap{Way: ByConfig, Source: old, Offset: 4 * p, Length: p}, want: code(pmemset.ErrInvalidPmem2Map)},
		{name: "not to grow", q: SetMap{Way: BySet, Source: do, Offset: 4 * p, Length: p}, want: code(pmemset.ErrSourceFileIsTooSmall)},
		{name: "to truncate if needed", q: SetMap{Source: do, Offset: 4 * p, Length: p}, page: 2, length: 1, grown: 5},
		{name: "temporary", q: SetMap{Source: temporary, Offset: 4 * p, Length: p}, page: 2, length: 1, grown: 5},
		{name: "temporary and empty", q: SetMap{Way: BySet, Source: temporary}, want: code(pmemset.ErrMapLengthUnset)},
		{
			name: "the sum wraps", q: SetMap{Way: BySet, Source: old, Offset: 2 * p, Length: math.MaxUint64 - p + 1},
			want: code(pmemset.ErrCannotGrowSourceFile),
		},
		{name: "offset 2^63", q: SetMap{Source: old, Offset: 1 << 63, Length: p}, want: code(pmemset.ErrInvalidOffsetValue)},
		{name: "half a page", q: SetMap{Source: old, Length: p / 2}, want: code(pmemset.ErrLengthUnaligned)},
		{name: "offset 100", q: SetMap{Source: old, Offset: 100, Length: p}, want: code(pmemset.ErrInvalidPmem2Map)},
		{name: "another granularity", q: SetMap{Source: coarse, Length: p}, want: code(pmemset.ErrGranularityMismatch)},
		{name: "disk full", q: SetMap{Way: BySet, Source: old, Offset: 4 * p, Length: p, Full: true}, want: code(pmemset.ErrCannotGrowSourceFile)},
		{name: "device DAX, past the end", q: SetMap{Way: BySet, Source: device, Offset: 8 << 20, Length: hugePage}, want: code(pmemset.ErrCannotGrowSourceFile)},
		{name: "device DAX, no room", q: SetMap{Way: BySet, Source: device, Length: hugePage}, want: code(pmemset.ErrCannotFitPartMap)},
	} {
		s := setAt(8)
		for range 2 {
			s.add(SetMap{Source: setFile(p)})
		}
		if s.Space.MapForeign(3*p, p) != OK || len(s.Parts) != 2 {
			t.Fatal("no parts")
		}
		s.Coalescing = row.mode
		got := s.Map(row.q)
		want := PartPlace{Result: row.want}
		if row.want == SetOK {
			want.Addr, want.Length, want.Size = s.Space.Reservation.Start+row.page*p, row.length*p, row.grown*p
		}
		got.Align, got.Joins = 0, false
		if got != want {
			t.Errorf("%s: got %+v, want %+v", row.name, got, want)
		}
	}
}

// TestSetRemoveRange cuts a part map of three pieces of two pages.
func TestSetRemoveRange(t *testing.T) {
	const p, start = setPage, hugePage - setPage
	for _, row := range []struct {
		addr, n uint64
		want    SetResult
		left    []Extent
	}{
		{start, 0, SetOK, []Extent{{start, 6 * p}}},
		{start, 1, SetOK, []Extent{{start + 2*p, 4 * p}}},
		{start + 2*p - 1, 1, SetOK, []Extent{{start + 2*p, 4 * p}}},
		{start + 2*p - 1, 2, SetOK, []Extent{{start + 4*p, 2 * p}}},
		{start + 2*p, 2 * p, SetOK, []Extent{{start, 2 * p}, {start + 4*p, 2 * p}}},
		{start + 3*p, p + 1, SetOK, []Extent{{start, 2 * p}}},
		{start + 6*p - 1, 1, SetOK, []Extent{{start, 4 * p}}},
		{start + 6*p, 1, SetFails(pmemset.ErrCannotFindPartMap), []Extent{{start, 6 * p}}},
		{0, start, SetFails(pmemset.ErrCannotFindPartMap), []Extent{{start, 6 * p}}},
		{0, start + 1, SetOK, []Extent{{start + 2*p, 4 * p}}},
		{0, math.MaxUint64, SetOK, nil},
		{start + p, math.MaxUint64, SetOK, nil},
	} {
		s := setAt(8)
		s.Coalescing = pmemset.CoalescingFull
		for range 3 {
			s.add(SetMap{Source: setFile(2 * p)})
		}
		lower := s.Parts[0]
		got, _ := s.RemoveRange(row.addr, row.n)
		if got != row.want || len(s.Parts) != len(row.left) {
			t.Errorf("%d bytes at %#x: got %v and %d part maps, want %v and %d", row.n, row.addr, got, len(s.Parts), row.want, len(row.left))
			continue
		}
		for i, e := range row.left {
			if got := s.Parts[i].Extent(); got != e {
				t.Errorf("%d bytes at %#x: part map %d: got %v, want %v", row.n, row.addr, i, got, e)
			}
		}
		if len(row.left) > 0 && (s.Previous != lower || s.Parts[0] != lower) {
			t.Errorf("%d bytes at %#x: the lower part map isn't what it was", row.n, row.addr)
		}
	}
}

// TestSetTotal: whatever the arguments, there is an outcome, and what is mapped lies in order
// and apart.
func TestSetTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	number := func() uint64 {
		n := []uint64{0, 1, setPage, 2 * setPage, hugePage, giganticPage, 1 << 45, 1 << 47, 1 << 63, math.MaxUint64, r.Uint64()}[r.IntN(11)]
		return n + []uint64{0, 0, 0, 1, math.MaxUint64, setPage}[r.IntN(6)]
	}
	for range 3000 {
		s := setAt(1 + r.Uint64N(600))
		s.Configured = r.IntN(2) == 0
		next := uint64(1 << 40)
		for range 12 {
			src := setFile(number())
			src.Device, src.Temporary, src.Flagged, src.ReadOnly = r.IntN(8) == 0, r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(16) == 0
			if src.Device {
				src.Align = hugePage
			}
			s.Coalescing = pmemset.Coalescing(r.IntN(3))
			q := SetMap{Way: Way(r.IntN(3)), Source: src, Offset: number(), Length: number(), Refused: r.IntN(16) == 0}
			if m := s.Map(q); m.Result == SetOK {
				if m.Addr == 0 {
					m.Addr, next = next, next+1<<46
				}
				s.Add(q, m, m.Addr, r.Uint64N(1<<30))
			}
			if r.IntN(3) == 0 && len(s.Parts) > 0 {
				s.RemoveRange(s.Parts[r.IntN(len(s.Parts))].Extent().Start+number(), number())
			}
			if r.IntN(4) == 0 && len(s.Parts) > 0 {
				s.RemovePart(s.Parts[r.IntN(len(s.Parts))])
			}
			at := uint64(0)
			for _, p := range s.Parts {
				for i, q := range p.Pieces {
					if q.Start < at || i > 0 && q.Start != at || q.Size == 0 {
						t.Fatalf("a piece of %d bytes at %#x behind %#x", q.Size, q.Start, at)
					}
					at = q.Start + q.Size
				}
			}
			if least, most := s.Reserved(); least > most {
				t.Fatalf("%d to %d bytes are reserved", least, most)
			}
			if (s.Previous == nil) != (len(s.Parts) == 0) {
				t.Fatal("a set with parts and no previous one, or the other way round")
			}
		}
	}
}
