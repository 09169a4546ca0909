//go:build !naiveplacement

package pmem2_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// TestDeleteAtMappingLimit: a process that can't have one mapping more can still delete
// the maps of its reservations, one by one and several at once; else it could never get
// below the limit again.
func TestDeleteAtMappingLimit(t *testing.T) {
	for limit, plan := range map[string]string{"no mapping left": noMappingLeft, "few mappings left": fewMappingsLeft} {
		for _, row := range []struct {
			name string
			del  func(maps []*pmem2.Map) error
		}{
			{"upwards", func(maps []*pmem2.Map) error { return deleteEach(maps) }},
			{"downwards", func(maps []*pmem2.Map) error { slices.Reverse(maps); return deleteEach(maps) }},
			{"the middle first", func(maps []*pmem2.Map) error { maps[0], maps[2] = maps[2], maps[0]; return deleteEach(maps) }},
			{"at once", func(maps []*pmem2.Map) error { return deletePrepared(maps) }},
			{"each prepared", func(maps []*pmem2.Map) error {
				for i := range maps {
					if err := deletePrepared(maps[i : i+1]); err != nil {
						return err
					}
				}
				return nil
			}},
			{"after Cancel", func(maps []*pmem2.Map) error {
				d, err := pmem2.PrepareDelete(maps...)
				if err == nil {
					err = d.Cancel()
				}
				return errors.Join(err, deletePrepared(maps))
			}},
		} {
			t.Run(limit+", "+row.name, func(t *testing.T) {
				s := newStage(t, emuDefault)
				r, maps := s.reservedSideBySide(1, 3, 2, 1, 1)
				addr := maps[0].Address()
				s.faults.Set(fault.MustParse(plan))
				err := row.del(slices.Clone(maps))
				s.faults.Set()
				if err != nil {
					t.Fatal(err)
				}
				for i, m := range maps {
					if m.Address() != 0 {
						t.Errorf("map %d is still there", i)
					}
				}
				rest := found(t, r)
				if len(rest) != 2 || !filledWith(rest[0].Bytes(), 0xee) || !filledWith(rest[1].Bytes(), 0xee) {
					t.Errorf("of the maps before and behind these are left, or have changed: %v", rest)
				}
				for i := range uintptr(8) {
					sq := &squatter{t: t, addr: addr + i*page}
					if sq.try(); sq.landed {
						t.Errorf("there is a hole at page %d", i)
						platform.Host().Munmap(sq.addr, page)
					}
				}
				s.inside(r, s.source(s.file(pageCache, 8*page)), uint64(addr-r.Address())/page, 8, 0)
			})
		}
	}
}

func deleteEach(maps []*pmem2.Map) error {
	for i, m := range maps {
		if err := m.Delete(); err != nil {
			return fmt.Errorf("map %d: %w", i, err)
		}
	}
	return nil
}

func deletePrepared(maps []*pmem2.Map) error {
	d, err := pmem2.PrepareDelete(maps...)
	if err != nil {
		return err
	}
	gone, err := d.Commit()
	if !gone && err == nil {
		err = errors.New("Commit: not gone, and no error")
	}
	return err
}

// holedMmap is a machine whose mmap with MAP_FIXED unmaps what is there and then fails, as
// a kernel that runs out of memory late does.
type holedMmap struct {
	*stage
	fails int // so many times
}

func (h *holedMmap) Mmap(addr uintptr, n uint64, prot, flags, fd int, off int64) (uintptr, error) {
	if h.fails == 0 || flags&platform.MapFixed == 0 {
		return h.stage.Mmap(addr, n, prot, flags, fd, off)
	}
	h.fails--
	if err := h.m.Munmap(addr, n); err != nil { // where no plan says a thing
		h.t.Error(err)
	}
	return 0, unix.ENOMEM
}

// TestOverlayLeavesHole: what comes of a placeholder that is mapped over maps, if mmap
// fails and has, or hasn't, unmapped them by then. The maps count as gone if they were,
// and the placeholder is back; a hole that couldn't be looked for is named.
func TestOverlayLeavesHole(t *testing.T) {
	const (
		refused = "(ENOMEM (Flags MAP_FIXED)) "
		once    = "(EINVAL (And (Flags MAP_FIXED_NOREPLACE) (OnIndex 0)))"
		twice   = "(EINVAL (Flags MAP_FIXED_NOREPLACE))"
	)
	for _, limit := range []string{noMappingLeft, fewMappingsLeft} {
		for _, row := range []struct {
			plan       string
			hole       bool
			gone, left bool
		}{
			{plan: "", hole: true, gone: true},
			{plan: once, hole: true, gone: true},
			{plan: refused},
			{plan: refused + once},
			{plan: refused + twice, left: true},
		} {
			for _, prepared := range []bool{false, true} {
				h := &holedMmap{stage: newStage(t, emuDefault)}
				src, err := pmem2.SourceFromFD(h.file(pageCache, 2*page), pmem2.On(h))
				if err != nil {
					t.Fatal(err)
				}
				r, err := pmem2.NewVMReservation(0, 3*page, pmem2.On(h))
				if err != nil {
					t.Fatal(err)
				}
				m := h.inside(r, src, 1, 1, 0)
				what := fmt.Sprintf("%s%s, hole %t, prepared %t", limit, row.plan, row.hole, prepared)
				if row.hole {
					h.fails = 1
				}
				h.faults.Set(fault.MustParse(limit), fault.MustParse(row.plan))
				h.faults.Reset()
				del := m.Delete
				if prepared {
					del = func() error { return deletePrepared([]*pmem2.Map{m}) }
				}
				err = del()
				h.faults.Set()
				if (m.Address() == 0) != row.gone || (err == nil) != row.gone || !row.gone && !errors.Is(err, unix.ENOMEM) {
					t.Errorf("%s: got %v, the map lies at %#x; want it gone: %t", what, err, m.Address(), row.gone)
				}
				if left := err != nil && strings.Contains(err.Error(), "left behind: the reservation may have a hole"); left != row.left {
					t.Errorf("%s: %v: names what may be left: %t, want %t", what, err, left, row.left)
				}
				if !row.gone && !filledWith(m.Bytes(), 0xee) {
					t.Errorf("%s: the map has lost its content", what)
				}
				sq := &squatter{t: t, addr: r.Address() + page}
				if sq.try(); sq.landed {
					t.Errorf("%s: there is a hole", what)
					platform.Host().Munmap(sq.addr, page)
				}
				if !row.gone {
					if err := m.Delete(); err != nil {
						t.Errorf("%s: without the faults: %v", what, err)
					}
				}
				if err := r.Delete(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
	}
}

// TestDeleteLeavesTakenHoleAlone: mremap, or mmap, fails late and leaves a hole where the
// map was, which another thread is given at once: its memory stays.
func TestDeleteLeavesTakenHoleAlone(t *testing.T) {
	for _, row := range []struct {
		name, plan   string
		mremap, mmap int // so many fail late
	}{
		{"mremap", "", 1, 0},
		{"mmap, no mapping left", noMappingLeft, 0, 1},
		{"mmap, few mappings left", fewMappingsLeft, 0, 1},
	} {
		for _, prepared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, prepared %t", row.name, prepared), func(t *testing.T) {
				s := newStage(t, emuDefault)
				p := bothHoled{s, &holedMremap{stage: s}, &holedMmap{stage: s}}
				src, err := pmem2.SourceFromFD(s.file(pageCache, 2*page), pmem2.On(p))
				if err != nil {
					t.Fatal(err)
				}
				r, err := pmem2.NewVMReservation(0, 3*page, pmem2.On(p))
				if err != nil {
					t.Fatal(err)
				}
				m := s.inside(r, src, 1, 1, 0)
				s.faults.Set(fault.MustParse(row.plan))
				p.mremap.fails, p.mmap.fails = row.mremap, row.mmap
				sq := s.squat(m.Address())
				del := m.Delete
				if prepared {
					del = func() error { return deletePrepared([]*pmem2.Map{m}) }
				}
				err = del()
				s.faults.SetHook(nil)
				s.faults.Set()
				if !errors.Is(err, unix.ENOMEM) {
					t.Errorf("got %v, want ENOMEM", err)
				}
				if !sq.landed || sq.lost() {
					t.Errorf("the other thread's page: mapped %t, lost %t; want it mapped and kept", sq.landed, sq.lost())
				}
				sq.landed = false // goes with the reservation
				if err := m.Delete(); err != nil {
					t.Error(err)
				}
				if err := r.Delete(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// bothHoled is a machine with a holedMremap and a holedMmap.
type bothHoled struct {
	*stage
	mremap *holedMremap
	mmap   *holedMmap
}

func (b bothHoled) Mremap(addr uintptr, n, newN uint64, flags int, newAddr uintptr) (uintptr, error) {
	return b.mremap.Mremap(addr, n, newN, flags, newAddr)
}

func (b bothHoled) Mmap(addr uintptr, n uint64, prot, flags, fd int, off int64) (uintptr, error) {
	return b.mmap.Mmap(addr, n, prot, flags, fd, off)
}

// TestPreparedDeletePlugsHole: mremap can unmap its target and fail. The maps are gone
// then, and so the call has done its work, with a placeholder in their place.
func TestPreparedDeletePlugsHole(t *testing.T) {
	for _, row := range []struct {
		plan       string
		gone, left bool
	}{
		{"", true, false},
		// The first munmap is the hole's.
		{"(ENOMEM (And (Op munmap) (OnIndex 1)))", true, false},
		{"(ENOMEM (And (Op munmap) (Not (OnIndex 0))))", true, true},
		{"(EAGAIN (And (Op mmap) (OnIndex 0)))", true, false},
	} {
		h := &holedMremap{stage: newStage(t, emuDefault)}
		src, err := pmem2.SourceFromFD(h.file(pageCache, 2*page), pmem2.On(h))
		if err != nil {
			t.Fatal(err)
		}
		r, err := pmem2.NewVMReservation(0, 4*page, pmem2.On(h))
		if err != nil {
			t.Fatal(err)
		}
		maps := []*pmem2.Map{h.inside(r, src, 1, 1, 0), h.inside(r, src, 2, 1, 1)}
		d, err := pmem2.PrepareDelete(maps...)
		if err != nil {
			t.Fatal(err)
		}
		h.fails = 1
		h.faults.Set(fault.MustParse(row.plan))
		h.faults.Reset()
		gone, err := d.Commit()
		h.faults.Set()
		if gone != row.gone || (err != nil) != row.left {
			t.Errorf("%q: Commit: %t, %v", row.plan, gone, err)
		}
		if err != nil && (!errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "left behind")) {
			t.Errorf("%q: got %v, want ENOMEM and what is left behind", row.plan, err)
		}
		h.leaks = row.left
		for i, m := range maps {
			if (m.Address() == 0) != row.gone {
				t.Errorf("%q: map %d lies at %#x", row.plan, i, m.Address())
			}
		}
		for i := range 4 {
			sq := &squatter{t: t, addr: r.Address() + uintptr(i)*page}
			if sq.try(); sq.landed {
				t.Errorf("%q: there is a hole at page %d", row.plan, i)
				platform.Host().Munmap(sq.addr, page)
			}
		}
		if err := r.Delete(); err != nil {
			t.Errorf("%q: %v", row.plan, err)
		}
	}
}
