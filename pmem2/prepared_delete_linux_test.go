package pmem2_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
)

// sideBySide makes maps of the given numbers of pages side by side in a reservation,
// which has a map of one page before them and one behind them, with a page between.
func (s *stage) sideBySide(pages ...uint64) []*pmem2.Map {
	s.t.Helper()
	_, maps := s.reservedSideBySide(pages...)
	return maps
}

// reservedSideBySide is sideBySide with the reservation.
func (s *stage) reservedSideBySide(pages ...uint64) (*pmem2.VMReservation, []*pmem2.Map) {
	s.t.Helper()
	total := uint64(0)
	for _, n := range pages {
		total += n
	}
	r, src := s.reservation((total+4)*page), s.source(s.file(pageCache, (total+2)*page))
	s.inside(r, src, 0, 1, 0)
	s.inside(r, src, total+3, 1, total+1)
	maps, at := []*pmem2.Map(nil), uint64(2)
	for i, n := range pages {
		maps = append(maps, s.inside(r, src, at, n, at-1))
		fillWith(maps[i].Bytes(), byte(i+1))
		at += n
	}
	return r, maps
}

// inside maps pages of the source from one on, at a page of the reservation.
func (s *stage) inside(r *pmem2.VMReservation, src *pmem2.Source, at, pages, from uint64) *pmem2.Map {
	s.t.Helper()
	cfg := config(pmem2.GranularityPage)
	cfg.SetVMReservation(r, at*page)
	cfg.SetOffset(from * page)
	cfg.SetLength(pages * page)
	m := s.newMap(cfg, src)
	fillWith(m.Bytes(), 0xee)
	return m
}

func fillWith(b []byte, c byte) { copy(b, bytes.Repeat([]byte{c}, len(b))) }

// TestPreparedDelete deletes runs of maps: they are what they were until Commit, gone
// after it, and their neighbours never notice.
func TestPreparedDelete(t *testing.T) {
	many := make([]uint64, 40)
	for i := range many {
		many[i] = uint64(i%3 + 1)
	}
	for _, row := range []struct {
		name        string
		pages       []uint64
		first, last int // of the run that is deleted
	}{
		{"one", []uint64{1}, 0, 0},
		{"one of many pages", []uint64{64}, 0, 0},
		{"two", []uint64{1, 1}, 0, 1},
		{"the first of three", []uint64{2, 1, 3}, 0, 0},
		{"the middle of three", []uint64{2, 1, 3}, 1, 1},
		{"the last of three", []uint64{2, 1, 3}, 2, 2},
		{"the first two of three", []uint64{1, 5, 1}, 0, 1},
		{"the last two of three", []uint64{1, 5, 1}, 1, 2},
		{"forty", many, 0, 39},
		{"all but the ends of forty", many, 1, 38},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newStage(t, emuDefault)
			r, maps := s.reservedSideBySide(row.pages...)
			run := maps[row.first : row.last+1]
			addr, size := run[0].Address(), uint64(0)
			for _, m := range run {
				size += m.Size()
			}
			d, err := pmem2.PrepareDelete(run...)
			if err != nil {
				t.Fatal(err)
			}
			checkContents(t, maps)
			if got := found(t, r); len(got) != len(maps)+2 {
				t.Errorf("before Commit the reservation has %d maps, want %d", len(got), len(maps)+2)
			}
			offset := uint64(addr - r.Address())
			if free, ok := r.FindFree(size, page); ok != (size == page) || ok && free != page {
				t.Errorf("FindFree before Commit: %d, %t", free, ok)
			}
			if gone, err := d.Commit(); !gone || err != nil {
				t.Fatalf("Commit: %t, %v", gone, err)
			}
			for i, m := range run {
				if m.Address() != 0 || m.Bytes() != nil || !errors.Is(m.Delete(), pmem2.ErrMappingNotFound) {
					t.Errorf("map %d of the run can still be used", i)
				}
			}
			rest := slices.Concat(maps[:row.first], maps[row.last+1:])
			checkContentsOf(t, rest, func(m *pmem2.Map) byte { return byte(slices.Index(maps, m) + 1) })
			got := found(t, r)
			if len(got) != len(rest)+2 {
				t.Errorf("the reservation has %d maps, want %d", len(got), len(rest)+2)
			}
			for _, m := range rest {
				if !slices.Contains(got, m) {
					t.Errorf("the map at %#x can't be found any more", m.Address())
				}
			}
			for _, m := range []*pmem2.Map{got[0], got[len(got)-1]} {
				if !filledWith(m.Bytes(), 0xee) {
					t.Errorf("the map at %#x has lost its content", m.Address())
				}
			}
			if m, err := r.MapFind(offset, size); !errors.Is(err, pmem2.ErrMappingNotFound) {
				t.Errorf("MapFind where the maps were: %v, %v", m, err)
			}
			if free, ok := r.FindFree(size, page); !ok || free > offset {
				t.Errorf("FindFree for what has become free: %d, %t", free, ok)
			}
			// The placeholder is back: nobody else can have the place, a map can.
			sq := &squatter{t: t, addr: addr}
			if sq.try(); sq.landed {
				t.Error("there is a hole where the maps were")
			}
			again := s.inside(r, s.source(s.file(pageCache, size)), offset/page, size/page, 0)
			if again.Address() != addr {
				t.Errorf("a new map lies at %#x, want %#x", again.Address(), addr)
			}
			if gone, err := d.Commit(); gone || !errors.Is(err, unix.EINVAL) {
				t.Errorf("second Commit: %t, %v; want EINVAL", gone, err)
			}
			if err := d.Cancel(); err != nil {
				t.Errorf("Cancel after Commit: %v", err)
			}
			if !filledWith(again.Bytes(), 0xee) {
				t.Error("Commit or Cancel after the end have touched the new map")
			}
		})
	}
}

// found are the maps of the reservation, in its order.
func found(t *testing.T, r *pmem2.VMReservation) (maps []*pmem2.Map) {
	t.Helper()
	for m, err := r.MapFindFirst(); ; m, err = r.MapFindNext(m) {
		if errors.Is(err, pmem2.ErrMappingNotFound) {
			return maps
		}
		if err != nil {
			t.Fatal(err)
		}
		maps = append(maps, m)
	}
}

func filledWith(b []byte, c byte) bool { return len(b) > 0 && bytes.Count(b, []byte{c}) == len(b) }

// checkContents holds the maps of sideBySide against what it wrote.
func checkContents(t *testing.T, maps []*pmem2.Map) {
	t.Helper()
	checkContentsOf(t, maps, func(m *pmem2.Map) byte { return byte(slices.Index(maps, m) + 1) })
}

func checkContentsOf(t *testing.T, maps []*pmem2.Map, want func(*pmem2.Map) byte) {
	t.Helper()
	for _, m := range maps {
		if !filledWith(m.Bytes(), want(m)) {
			t.Errorf("the map of %d bytes at %#x isn't full of %d", m.Size(), m.Address(), want(m))
		}
	}
}

// TestPreparedDeleteAllOrNone: when Commit fails none of the maps is gone, and they
// can be deleted then.
func TestPreparedDeleteAllOrNone(t *testing.T) {
	for _, row := range []struct{ plan, errno string }{
		{"(EAGAIN (Op mremap))", "EAGAIN"},
		{"(EFAULT (Op mremap))", "EFAULT"},
		{"(EINVAL (Op mremap))", "EINVAL"},
		// Once: it isn't for want of mappings, since other placeholders can be moved.
		{"(ENOMEM (And (Op mremap) (OnIndex 0)))", "ENOMEM"},
		{"(ENOMEM (Or (Op mremap) (Flags MAP_FIXED)))", "ENOMEM"},
		{"(ENOMEM (Op mremap)) (EAGAIN (Flags MAP_FIXED))", "EAGAIN"},
		{"(ENOMEM (Op mremap)) (EPERM (Flags MAP_FIXED)) (EINVAL (And (Flags MAP_FIXED_NOREPLACE) (OnIndex 0)))", "EPERM"},
	} {
		t.Run(row.plan, func(t *testing.T) {
			s := newStage(t, emuDefault)
			r, maps := s.reservedSideBySide(1, 3, 2)
			before := s.Outstanding()
			d, err := pmem2.PrepareDelete(maps...)
			if err != nil {
				t.Fatal(err)
			}
			s.faults.Set(fault.MustParse(row.plan))
			s.faults.Reset()
			gone, err := d.Commit()
			s.faults.Set()
			if gone || outcome(err) != row.errno {
				t.Errorf("Commit: %t, %v; want %s", gone, err, row.errno)
			}
			checkContents(t, maps)
			if after := s.Outstanding(); !slices.Equal(before, after) {
				t.Errorf("before\n%s\nafter\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			if got := found(t, r); len(got) != 5 {
				t.Errorf("the reservation has %d maps, want 5", len(got))
			}
			if gone, err := d.Commit(); gone || !errors.Is(err, unix.EINVAL) {
				t.Errorf("second Commit: %t, %v; want EINVAL", gone, err)
			}
			if err := d.Cancel(); err != nil {
				t.Errorf("Cancel after a failed Commit: %v", err)
			}
			if d, err = pmem2.PrepareDelete(maps...); err != nil {
				t.Fatal(err)
			}
			if gone, err := d.Commit(); !gone || err != nil {
				t.Errorf("Commit without the fault: %t, %v", gone, err)
			}
		})
	}
}

// TestPreparedDeleteOverDeleted: a map that is deleted between PrepareDelete and
// Commit stops Commit; the others stand.
func TestPreparedDeleteOverDeleted(t *testing.T) {
	for i := range 3 {
		for _, plan := range []string{"", "(ENOMEM (And (Op munmap) (OnIndex 0)))", "(ENOMEM (Op munmap))"} {
			s := newStage(t, emuDefault)
			maps := s.sideBySide(1, 1, 1)
			d, err := pmem2.PrepareDelete(maps...)
			if err != nil {
				t.Fatal(err)
			}
			if err := maps[i].Delete(); err != nil {
				t.Fatal(err)
			}
			s.faults.Set(fault.MustParse(plan))
			s.faults.Reset()
			gone, err := d.Commit()
			s.faults.Set()
			if gone || !errors.Is(err, pmem2.ErrMappingNotFound) {
				t.Errorf("map %d deleted, %q: Commit: %t, %v; want ErrMappingNotFound", i, plan, gone, err)
			}
			s.leaks = strings.HasSuffix(plan, "(Op munmap))")
			if left := err != nil && strings.Contains(err.Error(), "stay"); left != s.leaks {
				t.Errorf("map %d deleted, %q: %v: says that something is left: %t, want %t", i, plan, err, left, s.leaks)
			}
			for j, m := range maps {
				if (m.Address() == 0) != (j == i) {
					t.Errorf("map %d deleted: map %d lies at %#x", i, j, m.Address())
				}
				if j != i && !filledWith(m.Bytes(), byte(j+1)) {
					t.Errorf("map %d deleted: map %d has lost its content", i, j)
				}
			}
		}
	}
}

func TestPreparedDeleteCancel(t *testing.T) {
	for _, row := range []struct {
		plan  string
		fails bool
	}{{"", false}, {"(EINVAL (And (Op munmap) (OnIndex 0)))", false}, {"(ENOMEM (Op munmap))", true}} {
		s := newStage(t, emuDefault)
		maps := s.sideBySide(2, 1)
		before := s.Outstanding()
		d, err := pmem2.PrepareDelete(maps...)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(before, s.Outstanding()) {
			t.Error("PrepareDelete has obtained nothing")
		}
		s.faults.Set(fault.MustParse(row.plan))
		s.faults.Reset()
		err = d.Cancel()
		s.faults.Set()
		if row.fails && (!errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "left behind")) || !row.fails && err != nil {
			t.Errorf("%q: Cancel: %v", row.plan, err)
		}
		s.leaks = row.fails
		if !row.fails && !slices.Equal(before, s.Outstanding()) {
			t.Errorf("%q: Cancel leaves %q", row.plan, s.Outstanding())
		}
		checkContents(t, maps)
		if gone, err := d.Commit(); gone || !errors.Is(err, unix.EINVAL) {
			t.Errorf("Commit after Cancel: %t, %v; want EINVAL", gone, err)
		}
		if err := d.Cancel(); err != nil {
			t.Errorf("second Cancel: %v", err)
		}
		for _, m := range maps {
			if err := m.Delete(); err != nil {
				t.Error(err)
			}
		}
	}
	var none *pmem2.PreparedDelete
	if gone, err := none.Commit(); gone || !errors.Is(err, unix.EINVAL) {
		t.Errorf("Commit on nil: %t, %v; want EINVAL", gone, err)
	}
	if err := errors.Join(none.Cancel(), new(pmem2.PreparedDelete).Cancel()); err != nil {
		t.Errorf("Cancel on nil and on nothing: %v", err)
	}
	if gone, err := new(pmem2.PreparedDelete).Commit(); gone || !errors.Is(err, unix.EINVAL) {
		t.Errorf("Commit of nothing: %t, %v; want EINVAL", gone, err)
	}
}

// TestPreparedDeleteRefuses what doesn't lie side by side in one reservation, and asks
// the platform nothing for it.
func TestPreparedDeleteRefuses(t *testing.T) {
	s := newStage(t, emuDefault)
	maps := s.sideBySide(1, 2, 1)
	src := s.source(s.file(pageCache, 2*page))
	free := s.newMap(config(pmem2.GranularityPage), src)
	existing, err := pmem2.MapFromExisting(src, 1<<40, page, pmem2.GranularityPage)
	if err != nil {
		t.Fatal(err)
	}
	defer existing.Delete()
	deleted := s.newMap(config(pmem2.GranularityPage), src)
	if err := deleted.Delete(); err != nil {
		t.Fatal(err)
	}
	// Two reservations side by side, with maps that meet at the border.
	low := s.reservation(4 * page)
	if err := low.Shrink(2*page, 2*page); err != nil {
		t.Fatal(err)
	}
	high, err := pmem2.NewVMReservation(low.Address()+2*page, 2*page, s.on())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := high.Delete(); err != nil {
			t.Error(err)
		}
	})
	below, above := s.inside(low, src, 1, 1, 0), s.inside(high, src, 0, 1, 1)
	if below.Address()+page != above.Address() {
		t.Fatal("the maps of the two reservations don't meet")
	}
	s.faults.Reset()
	for _, row := range []struct {
		name string
		maps []*pmem2.Map
		want error
	}{
		{"none", nil, unix.EINVAL},
		{"nil", []*pmem2.Map{nil}, pmem2.ErrMappingNotFound},
		{"empty", []*pmem2.Map{{}}, pmem2.ErrMappingNotFound},
		{"nil at the end", []*pmem2.Map{maps[0], nil}, pmem2.ErrMappingNotFound},
		{"deleted", []*pmem2.Map{deleted}, pmem2.ErrMappingNotFound},
		{"deleted at the end", []*pmem2.Map{maps[0], deleted}, pmem2.ErrMappingNotFound},
		{"in no reservation", []*pmem2.Map{free}, unix.EINVAL},
		{"in no reservation at the end", []*pmem2.Map{maps[0], free}, unix.EINVAL},
		{"existing", []*pmem2.Map{existing}, unix.EINVAL},
		{"a gap", []*pmem2.Map{maps[0], maps[2]}, unix.EINVAL},
		{"the wrong way round", []*pmem2.Map{maps[1], maps[0]}, unix.EINVAL},
		{"twice the same", []*pmem2.Map{maps[0], maps[0]}, unix.EINVAL},
		{"twice the same at the end", []*pmem2.Map{maps[0], maps[1], maps[1]}, unix.EINVAL},
		{"two reservations", []*pmem2.Map{below, above}, unix.EINVAL},
	} {
		d, err := pmem2.PrepareDelete(row.maps...)
		if d != nil || !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, %v; want %v", row.name, d, err, row.want)
		}
	}
	if n := s.faults.Count(fault.All); n != 0 {
		t.Errorf("%d platform calls were made", n)
	}
	checkContents(t, maps)
}
