package pmemset_test

import (
	"fmt"
	"testing"

	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// removalEvents is events for those generations that tell of removals; the other one
// must send none.
func (s *scene) removalEvents(want ...string) {
	s.Helper()
	if !s.gen.removals {
		want = nil
	}
	s.events(want...)
}

// gone compares how much of a hole in a part map, or in a reservation, is mapped with 0.
func (s *scene) gone(addr uintptr, n uint64) {
	s.Helper()
	if left := s.mapped(addr, n); left != 0 {
		s.Errorf("%d of the %d bytes removed at %s are still mapped", left, n, s.relative(addr))
	}
}

// reserved compares how much of a hole in a part map is still kept for the set.
func (s *scene) reserved(addr uintptr, n, want uint64) {
	s.Helper()
	s.gone(addr, n)
	if got := s.held(addr, n); got != want {
		s.Errorf("%d of the %d bytes of addresses at %s are reserved, want %d", got, n, s.relative(addr), want)
	}
}

// TestScenario29: one byte takes the whole part along, whose memory is there until the
// callback has been told.
func TestScenario29(t *testing.T) {
	sceneEach(t, "G2 G3", func(s *scene) {
		set := s.set(nil)
		a := s.mapsAt("A: 256K", set, s.file(), 0, 256*sceneK).Addr
		s.fill(a, 256*sceneK, 7)
		s.sent()
		told := 0
		s.hook = func(_ *pmemset.Set, e *pmemset.Event) error {
			if e.Type == pmemset.EventPartRemove {
				told++
				s.holds(e.Addr, e.Len, 7)
				s.fill(e.Addr, e.Len, 8)
			}
			return nil
		}
		s.removes("0", set, a+100*sceneK, 1)
		s.parts(set)
		s.events("REMOVE_RANGE A+100K 1", "PART_REMOVE A 256K")
		if told != 1 {
			s.Errorf("told %d times, want once", told)
		}
		s.reserved(a-4*sceneM, 8*sceneM, 0)
	})
}

// TestScenario30: a range takes what it touches and no neighbour; where nothing is left,
// nothing can be found.
func TestScenario30(t *testing.T) {
	sceneEach(t, "G2 G3", func(s *scene) {
		set := s.three64K()
		r := s.bases["R"]
		s.removes("0", set, r+64*sceneK, 64*sceneK)
		s.parts(set, "R 64K", "R+128K 64K")
		s.events("REMOVE_RANGE R+64K 64K", "PART_REMOVE R+64K 64K")
		s.gone(r+64*sceneK, 64*sceneK)
		s.removes("CANNOT_FIND_PART_MAP", set, r+64*sceneK, 64*sceneK)
		s.parts(set, "R 64K", "R+128K 64K")
		s.events("REMOVE_RANGE R+64K 64K")
		s.removes("0", set, r+64*sceneK-1, 1)
		s.parts(set, "R+128K 64K")
		s.events("REMOVE_RANGE R+65535 1", "PART_REMOVE R 64K")
	})
}

// three64K is a set with three parts of 64 KiB from the start of a reservation of
// 512 KiB; no events are waiting.
func (s *scene) three64K() *pmemset.Set {
	s.Helper()
	set := s.set(s.reservation(512 * sceneK))
	src := s.file()
	for i := range uint64(3) {
		s.mapsAt(fmt.Sprintf("R+%dK 64K", 64*i), set, src, 64*sceneK*i, 64*sceneK)
	}
	s.sent()
	return set
}

// TestScenario31: the last byte of one part and the first of the next take both.
func TestScenario31(t *testing.T) {
	sceneEach(t, "G2 G3", func(s *scene) {
		set := s.set(s.reservation(512 * sceneK))
		src := s.file()
		for i := range uint64(3) {
			s.mapsAt(fmt.Sprintf("R+%dK 32K", 32*i), set, src, 0, 32*sceneK)
		}
		s.sent()
		s.removes("0", set, s.bases["R"]+32*sceneK-1, 2)
		s.parts(set, "R+64K 32K")
		s.events("REMOVE_RANGE R+32767 2", "PART_REMOVE R 32K", "PART_REMOVE R+32K 32K")
		s.gone(s.bases["R"], 64*sceneK)
	})
}

// TestScenario32: a part that the range ends in goes whole.
func TestScenario32(t *testing.T) {
	sceneEach(t, "G2 G3", func(s *scene) {
		set := s.set(s.reservation(512 * sceneK))
		src := s.file()
		s.mapsAt("R 32K", set, src, 0, 32*sceneK)
		s.mapsAt("R+32K 64K", set, src, 0, 64*sceneK)
		s.mapsAt("R+96K 32K", set, src, 0, 32*sceneK)
		s.sent()
		s.removes("0", set, s.bases["R"], 48*sceneK)
		s.parts(set, "R+96K 32K")
		s.events("REMOVE_RANGE R 48K", "PART_REMOVE R 32K", "PART_REMOVE R+32K 64K")
		s.gone(s.bases["R"], 96*sceneK)
	})
}

// TestScenario33: the range may begin before and end behind all parts, and have holes.
func TestScenario33(t *testing.T) {
	sceneEach(t, "G2 G3", func(s *scene) {
		set := s.set(s.reservation(sceneM))
		src := s.file()
		r := s.bases["R"]
		for i := range uint64(3) {
			s.mapsAt(fmt.Sprintf("R+%dK 64K", 64*i), set, src, 0, 64*sceneK)
		}
		s.removesAt(set, r+64*sceneK)
		s.parts(set, "R 64K", "R+128K 64K")
		s.sent()
		s.removes("0", set, r-4*sceneK, sceneM)
		s.parts(set)
		s.events("REMOVE_RANGE R-4K 1M", "PART_REMOVE R 64K", "PART_REMOVE R+128K 64K")
		s.gone(r, sceneM)
	})
}

// TestScenario34: a reference stops the removal at its part map; what lies below is gone
// by then.
func TestScenario34(t *testing.T) {
	sceneEach(t, "G2 G3", func(s *scene) {
		set := s.set(s.reservation(512 * sceneK))
		src := s.file()
		r := s.bases["R"]
		s.mapsAt("R 64K", set, src, 0, 64*sceneK)
		s.mapsAt("R+64K 64K", set, src, 64*sceneK, 64*sceneK)
		s.fill(r+64*sceneK, 64*sceneK, 5)
		p := s.at(set, r+64*sceneK)
		s.sent()
		s.removes("PART_MAP_POSSIBLE_USE_AFTER_DROP", set, r, 128*sceneK)
		s.parts(set, "R+64K 64K")
		s.events("REMOVE_RANGE R 128K", "PART_REMOVE R 64K")
		s.holds(r+64*sceneK, 64*sceneK, 5)
		p.Drop()
		s.removes("0", set, r, 128*sceneK)
		s.parts(set)
		s.events("REMOVE_RANGE R 128K", "PART_REMOVE R+64K 64K")
	})
}

// TestScenario35: an empty range removes nothing, wherever it is.
func TestScenario35(t *testing.T) {
	for _, at := range []string{"A", "A+4K", "A+128K", "A+256K", "A-4K", "A+1", "A+262143"} {
		t.Run(at, func(t *testing.T) {
			sceneEach(t, "all", func(s *scene) {
				set := s.set(nil)
				a := s.mapsAt("A: 256K", set, s.file(), 0, 256*sceneK).Addr
				s.emptyRange(set, at, "A 256K")
				s.fill(a, 256*sceneK, 1)
				s.must(set.Persist(platform.Bytes(a, 256*sceneK)))
			})
			t.Run("coalesced", func(t *testing.T) {
				sceneEach(t, "all", func(s *scene) {
					r := s.reservation(512 * sceneK)
					set := s.set(r)
					src := s.file()
					s.bases["A"] = r.Address() + 64*sceneK
					s.mapsAt("R 64K", set, src, 0, 64*sceneK)
					s.mapsAt("A 128K", set, src, 0, 128*sceneK)
					s.coalescing(set, pmemset.CoalescingFull)
					s.mapsAt("A 256K", set, src, 0, 128*sceneK)
					s.emptyRange(set, at, "R 64K", "A 256K")
				})
			})
		})
	}
}

// emptyRange removes the 0 bytes at a place, also while a reference is held, which
// leaves the parts given.
func (s *scene) emptyRange(set *pmemset.Set, at string, parts ...string) {
	s.Helper()
	s.sent()
	var addr uintptr
	if _, err := fmt.Sscanf(s.resolve(at), "0x%x", &addr); err != nil {
		s.Fatalf("%s: %v", at, err)
	}
	s.removes("0", set, addr, 0)
	s.parts(set, parts...)
	s.removalEvents("REMOVE_RANGE " + at + " 0")
	p := set.FirstPartMap()
	s.removes("0", set, addr, 0)
	s.parts(set, parts...)
	p.Drop()
}

// TestScenario37: the whole address space is a range, too, and so is one that would end
// behind it; other sets keep theirs.
func TestScenario37(t *testing.T) {
	for _, from := range []string{"0", "A"} {
		t.Run("from "+from, func(t *testing.T) {
			sceneEach(t, "all", func(s *scene) {
				r := s.reservation(512 * sceneK)
				set, other := s.set(r), s.set(r)
				src := s.file()
				s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
				s.mapsAt("C: 64K", other, src, 0, 64*sceneK)
				s.mapsAt("B: 96K", set, src, 0, 96*sceneK)
				s.sent()
				addr := uintptr(0)
				if from == "A" {
					addr = s.bases["A"]
				}
				s.removes("0", set, addr, 1<<64-1)
				s.parts(set)
				s.parts(other, "C 64K")
				s.removalEvents("REMOVE_RANGE "+sceneAddress(addr)+" 18446744073709551615", "PART_REMOVE A 64K", "PART_REMOVE B 96K")
				s.removes("CANNOT_FIND_PART_MAP", set, addr, 1<<64-1)
			})
		})
	}
}

func sceneAddress(addr uintptr) string { return fmt.Sprintf("%#x", addr) }
