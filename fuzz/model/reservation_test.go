package model

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"pmemlab/pmem2"
)

const page = 4096

// reserved is a space with a reservation of 16 pages, maps of it at pages 2, 3 (of a page and
// a byte) and 8, and something of the program's own right behind it.
func reserved() *Space {
	s := &Space{
		Page: page, Lo: 1 << 32, Mid: 2 << 32, Hi: 4 << 32,
		Device: Source{Kind: DeviceDAX, Size: 16 << 20, Align: 2 << 20},
	}
	for _, st := range []Step{
		{Kind: NewReservation, Offset: s.Lo, Length: 16 * page},
		{Kind: Occupy, Offset: s.Lo + 16*page, Length: page},
		{Kind: MapAnonymous, Offset: 2 * page, Length: page},
		{Kind: MapAnonymous, Offset: 8 * page, Length: page},
		{Kind: MapAnonymous, Offset: 3 * page, Length: page + 1},
	} {
		s.Apply(st, s.Outcome(st))
	}
	return s
}

// TestReservations are what the pages and the rulings say of single operations.
func TestReservations(t *testing.T) {
	s := reserved()
	if len(s.Reservations) != 1 || len(s.Maps) != 3 {
		t.Fatalf("there are %d reservations and %d maps", len(s.Reservations), len(s.Maps))
	}
	const top = 1<<64 - page
	for _, row := range []struct {
		st   Step
		want Result
	}{
		{Step{Kind: NewReservation, Offset: 100, Length: 100}, Fails(pmem2.ErrAddressUnaligned)},
		{Step{Kind: NewReservation, Offset: s.Lo, Length: 100}, Fails(pmem2.ErrLengthUnaligned)},
		{Step{Kind: NewReservation, Offset: s.Lo}, Fails(pmem2.ErrLengthOutOfRange)},
		{Step{Kind: NewReservation, Offset: s.Lo, Length: page}, Fails(pmem2.ErrMappingExists)},
		{Step{Kind: NewReservation, Offset: s.Lo + 17*page, Length: page}, OK},
		{Step{Kind: NewReservation, Offset: s.Lo + 17*page, Length: top}, FailsWith(syscall.ENOMEM)},
		{Step{Kind: NewReservation, Offset: top, Length: 2 * page}, FailsWith(syscall.ENOMEM)},
		{Step{Kind: NewReservation, Length: top}, FailsWith(syscall.ENOMEM)},
		{Step{Kind: NewReservation, Length: page}, OK},
		{Step{Kind: Extend, Length: 1}, Fails(pmem2.ErrLengthUnaligned)},
		{Step{Kind: Extend, Length: page}, Fails(pmem2.ErrMappingExists)},
		{Step{Kind: Extend, Length: top}, FailsWith(syscall.ENOMEM)},
		{Step{Kind: Extend, Reservation: -1, Length: page}, FailsWith(syscall.EINVAL)},
		{Step{Kind: Shrink, Offset: 1, Length: 1}, Fails(pmem2.ErrOffsetUnaligned)},
		{Step{Kind: Shrink, Length: 1}, Fails(pmem2.ErrLengthUnaligned)},
		{Step{Kind: Shrink, Offset: 16 * page, Length: 0}, Fails(pmem2.ErrOffsetOutOfRange)},
		{Step{Kind: Shrink, Offset: page, Length: 0}, Fails(pmem2.ErrLengthOutOfRange)},
		{Step{Kind: Shrink, Offset: page, Length: 16 * page}, Fails(pmem2.ErrLengthOutOfRange)},
		{Step{Kind: Shrink, Offset: page, Length: top}, Fails(pmem2.ErrLengthOutOfRange)},
		{Step{Kind: Shrink, Length: 16 * page}, Fails(pmem2.ErrNoSupp)},
		{Step{Kind: Shrink, Offset: page, Length: page}, Fails(pmem2.ErrNoSupp)},
		{Step{Kind: Shrink, Length: 2 * page}, OK},
		{Step{Kind: Shrink, Length: 3 * page}, Fails(pmem2.ErrVMReservationNotEmpty)},
		{Step{Kind: Shrink, Offset: 9 * page, Length: 7 * page}, OK},
		{Step{Kind: Shrink, Offset: 8 * page, Length: 8 * page}, Fails(pmem2.ErrVMReservationNotEmpty)},
		{Step{Kind: DeleteReservation}, Fails(pmem2.ErrVMReservationNotEmpty)},
		{Step{Kind: MapAnonymous, Offset: 9 * page, Length: 7 * page}, OK},
		{Step{Kind: MapAnonymous, Offset: 9 * page, Length: 7*page + 1}, Fails(pmem2.ErrAddressUnaligned)},
		{Step{Kind: MapAnonymous, Offset: top, Length: 2 * page}, Fails(pmem2.ErrAddressUnaligned)},
		{Step{Kind: MapAnonymous, Offset: 16 * page, Length: page}, Fails(pmem2.ErrAddressUnaligned)},
		{Step{Kind: MapAnonymous, Offset: 1, Length: page}, Fails(pmem2.ErrOffsetUnaligned)},
		{Step{Kind: MapAnonymous, Offset: 4 * page, Length: page}, Fails(pmem2.ErrMappingExists)},
		{Step{Kind: MapDevice, Offset: page, Length: 2 << 20}, Fails(pmem2.ErrAddressUnaligned)},
		{Step{Kind: MapDevice, Offset: 1, Length: 2 << 20}, Fails(pmem2.ErrAddressUnaligned)},
		{Step{Kind: MapExisting, Offset: s.Lo + 5*page - 1, Length: 1}, Fails(pmem2.ErrMappingExists)},
		{Step{Kind: MapExisting, Offset: s.Lo + 5*page, Length: 3 * page}, OK},
		{Step{Kind: DeleteMap, Map: -1}, Fails(pmem2.ErrMappingNotFound)},
		{Step{Kind: PrepareDelete, Maps: []int{0, 2}}, OK},
		{Step{Kind: PrepareDelete, Maps: []int{2, 0}}, FailsWith(syscall.EINVAL)},
		{Step{Kind: PrepareDelete, Maps: []int{2, 1}}, FailsWith(syscall.EINVAL)},
		{Step{Kind: PrepareDelete}, FailsWith(syscall.EINVAL)},
		{Step{Kind: PrepareDelete, Maps: []int{-1}}, Fails(pmem2.ErrMappingNotFound)},
		{Step{Kind: CommitDelete}, FailsWith(syscall.EINVAL)},
	} {
		if got := s.Outcome(row.st).Result; got != row.want {
			t.Errorf("%+v: got %v, want %v", row.st, got, row.want)
		}
	}
}

// TestFindingMaps are ranges, and the maps that are found in them.
func TestFindingMaps(t *testing.T) {
	s := reserved()
	for _, row := range []struct {
		st   Step
		want int
	}{
		{Step{Kind: FindMap, Offset: 2 * page}, 0},
		{Step{Kind: FindMap, Offset: 3*page - 1}, 0},
		{Step{Kind: FindMap, Offset: 2*page - 1}, -1},
		{Step{Kind: FindMap, Offset: 2*page - 1, Length: 1}, -1},
		{Step{Kind: FindMap, Offset: 2*page - 1, Length: 2}, 0},
		{Step{Kind: FindMap, Offset: 5*page - 1, Length: page}, 2}, // in what it is rounded up by
		{Step{Kind: FindMap, Offset: 5 * page, Length: 3 * page}, -1},
		{Step{Kind: FindMap, Offset: 5 * page, Length: 1<<64 - 1}, 1},
		{Step{Kind: FindMap, Offset: 1<<64 - 1, Length: 1<<64 - 1}, -1},
		{Step{Kind: FindFirst}, 0},
		{Step{Kind: FindLast}, 1},
		{Step{Kind: FindNext, Map: 0}, 2},
		{Step{Kind: FindNext, Map: 1}, -1},
		{Step{Kind: FindNext, Map: -1}, -1},
		{Step{Kind: FindPrev, Map: 1}, 2},
		{Step{Kind: FindPrev, Map: 0}, -1},
	} {
		o := s.Outcome(row.st)
		if o.Map != row.want || (o.Result == OK) != (row.want >= 0) {
			t.Errorf("%+v: got map %d (%v), want %d", row.st, o.Map, o.Result, row.want)
		}
	}
	for _, row := range []struct {
		length, align, offset uint64
		found                 bool
	}{
		{page, 1, 0, true},
		{2 * page, page, 0, true},
		{3 * page, page, 5 * page, true},
		{4 * page, page, 9 * page, true},
		{7 * page, page, 9 * page, true},
		{7*page + 1, page, 0, false},
		{3 * page, 4 * page, 12 * page, true},
		{4 * page, 16 * page, 0, false},
		{0, 1, 0, false},
		{1<<64 - 1, 1, 0, false},
		{1, 1 << 63, 0, false},
	} {
		o := s.Outcome(Step{Kind: FindFree, Length: row.length, Align: row.align})
		if o.Offset != row.offset || o.Found != row.found {
			t.Errorf("%d bytes aligned to %d: got %d, %t, want %d, %t", row.length, row.align, o.Offset, o.Found, row.offset, row.found)
		}
	}
}

// TestAreas: what is mapped is without gaps and overlaps where it should be.
func TestAreas(t *testing.T) {
	s := reserved()
	at := func(from, pages uint64, w What) Area { return Area{Extent{s.Lo + from*page, pages * page}, w} }
	want := []Area{
		at(0, 2, Placeholder), at(2, 3, AnonymousMap), at(5, 3, Placeholder), at(8, 1, AnonymousMap),
		at(9, 7, Placeholder), at(16, 1, OtherMap),
	}
	if got := s.Areas(nil); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if got, want := s.Behind(s.Lo+17*page), s.Hi-s.Lo-17*page; got != want {
		t.Errorf("behind all: got %d bytes, want %d", got, want)
	}
	if got := s.Behind(s.Lo + 15*page); got != 0 {
		t.Errorf("behind a byte of the reservation: got %d bytes, want 0", got)
	}
}

// TestReservationsAreTotal: there is an outcome for any numbers.
func TestReservationsAreTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	number := func() uint64 { return r.Uint64() >> (r.Uint64() % 64) << (r.Uint64() % 16) }
	for range 2000 {
		s := reserved()
		for range 8 {
			st := Step{
				Kind: StepKind(r.IntN(int(Vacate) + 1)), Reservation: r.IntN(len(s.Reservations)+1) - 1, Map: r.IntN(len(s.Maps)+1) - 1,
				Offset: number(), Length: number(), Align: number(), Granularity: pmem2.Granularity(r.IntN(4)),
			}
			for range r.IntN(4) {
				st.Maps = append(st.Maps, r.IntN(len(s.Maps)+1)-1)
			}
			if st.Kind == Occupy || st.Kind == Vacate {
				continue // the program's own, which it does where it can
			}
			o := s.Outcome(st)
			if o.Result == OK && o.Addr == 0 {
				o.Addr = s.Mid + uint64(len(s.Maps)+len(s.Reservations))<<30
			}
			s.Apply(st, o)
		}
	}
}
