package pmemset_test

import (
	"testing"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// upTo10 is the state after scenario 10: R 1 MiB, of three parts the middle one removed,
// and the last one grown to 96 KiB. Full coalescing is on.
func (s *scene) upTo10() (*pmemset.Set, *pmemset.Source) {
	s.Helper()
	set := s.set(s.reservation(sceneM))
	src := s.file()
	s.mapsAt("R 64K", set, src, 0, 64*sceneK)
	s.mapsAt("R+64K 64K", set, src, 64*sceneK, 64*sceneK)
	s.mapsAt("R+128K 64K", set, src, 128*sceneK, 64*sceneK)
	s.removesAt(set, s.bases["R"]+64*sceneK)
	s.coalescing(set, pmemset.CoalescingFull)
	s.mapsAt("R+128K 96K", set, src, 0, 32*sceneK)
	s.parts(set, "R 64K", "R+128K 96K")
	return set, src
}

// upTo11 is the state after scenario 11.
func (s *scene) upTo11() (*pmemset.Set, *pmemset.Source) {
	s.Helper()
	set, src := s.upTo10()
	s.removesAt(set, s.bases["R"]+128*sceneK)
	s.mapsAt("R 96K", set, src, 0, 32*sceneK)
	s.parts(set, "R 96K")
	return set, src
}

// TestScenario10: removing another part map than the one created last doesn't change
// which one grows.
func TestScenario10(t *testing.T) {
	sceneEach(t, "all", func(s *scene) { s.upTo10() })
}

// TestScenario11: when the part map created last is removed, the next one below grows.
func TestScenario11(t *testing.T) {
	sceneEach(t, "all", func(s *scene) { s.upTo11() })
}

// TestScenario12: with nothing to grow, full coalescing begins anew, in the first place
// that is free.
func TestScenario12(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set, src := s.upTo11()
		s.removesAt(set, s.bases["R"])
		s.parts(set)
		s.mapsAt("R 32K", set, src, 0, 32*sceneK)
		s.parts(set, "R 32K")
	})
}

// upTo13 is the state after scenario 13.
func (s *scene) upTo13(r *pmem2.VMReservation) (*pmemset.Set, *pmemset.Source) {
	s.Helper()
	set := s.set(r)
	src := s.file()
	s.mapsAt("R 128K", set, src, 0, 128*sceneK)
	s.mapsAt("R+128K 256K", set, src, 0, 256*sceneK)
	s.mapsAt("R+384K 64K", set, src, 0, 64*sceneK)
	s.removesAt(set, s.bases["R"]+128*sceneK)
	s.mapsAt("R+128K 192K", set, src, 0, 192*sceneK)
	s.mapsAt("R+448K 128K", set, src, 0, 128*sceneK)
	s.parts(set, "R 128K", "R+128K 192K", "R+384K 64K", "R+448K 128K")
	return set, src
}

// TestScenario13: in a reservation a part goes to the lowest place that has room for all
// of it.
func TestScenario13(t *testing.T) {
	sceneEach(t, "all", func(s *scene) { s.upTo13(s.reservation(sceneM)) })
}

// TestScenario14: a reservation is full when no gap is large enough; it stays the
// program's, and can't be deleted before the set.
func TestScenario14(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		r := s.reservation(sceneM)
		unchanged := func() {
			s.Helper()
			if r.Address() != s.bases["R"] || r.Size() != sceneM {
				s.Fatalf("the reservation has %d bytes at %#x, want %d at %#x", r.Size(), r.Address(), sceneM, s.bases["R"])
			}
		}
		set, src := s.upTo13(r)
		unchanged()
		s.refuses("CANNOT_FIT_PART_MAP", set, src, 0, sceneM)
		unchanged()
		s.outcome("deleting the reservation", r.Delete(), "PMEM2_E_VM_RESERVATION_NOT_EMPTY")
		unchanged()
		s.parts(set, "R 128K", "R+128K 192K", "R+384K 64K", "R+448K 128K")
		s.outcome("deleting the set", set.Delete(), "0")
		unchanged()
		if n := s.mapped(r.Address(), r.Size()); n != 0 {
			s.Errorf("without the set %d bytes of the reservation are mapped", n)
		}
		if m, err := r.MapFindFirst(); err == nil {
			s.Errorf("without the set a mapping of %d bytes is left", m.Size())
		}
		s.outcome("deleting the reservation", r.Delete(), "0")
	})
}

// TestScenario15: the part map created last, the modes and gaps together.
func TestScenario15(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set := s.set(s.reservation(sceneM))
		src := s.file()
		s.mapsAt("R 128K", set, src, 0, 128*sceneK)
		s.mapsAt("R+128K 128K", set, src, 0, 128*sceneK)
		s.removesAt(set, s.bases["R"])
		s.coalescing(set, pmemset.CoalescingFull)
		s.mapsAt("R+128K 192K", set, src, 0, 64*sceneK)
		s.coalescing(set, pmemset.CoalescingNone)
		s.mapsAt("R 64K", set, src, 0, 64*sceneK)
		s.coalescing(set, pmemset.CoalescingFull)
		s.mapsAt("R 128K", set, src, 64*sceneK, 64*sceneK)
		s.parts(set, "R 128K", "R+128K 192K")
		s.refuses("CANNOT_COALESCE_PARTS", set, src, 0, 64*sceneK)
		s.coalescing(set, pmemset.CoalescingOpportunistic)
		s.mapsAt("R+320K 64K", set, src, 0, 64*sceneK)
		s.parts(set, "R 128K", "R+128K 192K", "R+320K 64K")
	})
}

// TestScenario16: parts that touch are two part maps, unless they were coalesced.
func TestScenario16(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set := s.set(s.reservation(512 * sceneK))
		src := s.file()
		s.mapsAt("R 64K", set, src, 0, 64*sceneK)
		s.mapsAt("R+64K 64K", set, src, 64*sceneK, 64*sceneK)
		s.parts(set, "R 64K", "R+64K 64K")
		for _, tc := range []struct{ at, start uintptr }{
			{0, 0}, {64*sceneK - 1, 0}, {64 * sceneK, 64 * sceneK}, {128*sceneK - 1, 64 * sceneK},
		} {
			p := s.at(set, s.bases["R"]+tc.at)
			if d := p.Descriptor(); d.Addr != s.bases["R"]+tc.start || d.Size != 64*sceneK {
				s.Errorf("the byte %d of the reservation is in %+v, want the part map %d bytes in", tc.at, d, tc.start)
			}
			p.Drop()
		}
		s.coalescing(set, pmemset.CoalescingFull) // up to the last byte of the reservation
		s.mapsAt("R+64K 448K", set, src, 0, 384*sceneK)
		s.parts(set, "R 64K", "R+64K 448K")
		s.refuses("CANNOT_FIT_PART_MAP", set, src, 0, 64*sceneK)
		s.coalescing(set, pmemset.CoalescingOpportunistic)
		s.refuses("CANNOT_FIT_PART_MAP", set, src, 0, 64*sceneK)
	})
}

// TestScenario17: what the program maps into the reservation is in the way, isn't the
// set's, and stays.
func TestScenario17(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		r := s.reservation(512 * sceneK)
		m := s.userMap(r, 0, 64*sceneK)
		s.fill(m.Address(), 64*sceneK, 9)
		set := s.set(r)
		src := s.file()
		s.parts(set)
		s.mapsAt("R+64K 64K", set, src, 0, 64*sceneK)
		s.coalescing(set, pmemset.CoalescingFull)
		s.mapsAt("R+64K 128K", set, src, 64*sceneK, 64*sceneK)
		s.parts(set, "R+64K 128K")
		p, err := set.PartMapByAddress(r.Address())
		s.outcome("looking the program's mapping up", err, "CANNOT_FIND_PART_MAP")
		if p != nil {
			s.Errorf("got %+v beside the error", p.Descriptor())
		}
		s.fill(r.Address()+64*sceneK, 128*sceneK, 1)
		s.must(set.Delete())
		s.holds(m.Address(), 64*sceneK, 9)
		if n := s.mapped(r.Address(), r.Size()); n != 64*sceneK {
			s.Errorf("%d bytes of the reservation are mapped, want the program's %d", n, 64*sceneK)
		}
	})
}

// TestScenario18: two sets share a reservation; neither coalesces over the other's parts
// or knows them.
func TestScenario18(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		r := s.reservation(sceneM)
		first, second := s.set(r), s.set(r)
		src := s.file()
		s.mapsAt("R 64K", first, src, 0, 64*sceneK)
		s.mapsAt("R+64K 64K", second, src, 0, 64*sceneK)
		s.mapsAt("R+128K 64K", first, src, 0, 64*sceneK)
		s.coalescing(second, pmemset.CoalescingFull)
		s.refuses("CANNOT_COALESCE_PARTS", second, src, 0, 64*sceneK)
		s.parts(first, "R 64K", "R+128K 64K")
		s.parts(second, "R+64K 64K")
		s.removes("CANNOT_FIND_PART_MAP", second, r.Address(), 64*sceneK)
		s.must(first.Delete())
		s.parts(second, "R+64K 64K")
		s.mapsAt("R+64K 128K", second, src, 0, 64*sceneK) // which is free now
	})
}
