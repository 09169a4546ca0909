package pmemset_test

import (
	"fmt"
	"testing"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// TestScenario38: two references to one part map, only the last of which can remove it.
func TestScenario38(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set := s.set(nil)
		a := s.mapsAt("A: 64K", set, s.file(), 0, 64*sceneK)
		s.sent()
		p, q := set.FirstPartMap(), s.at(set, a.Addr)
		if !p.Same(q) || !q.Same(p) {
			s.Error("the references aren't to the same part map")
		}
		s.outcome("removing with two references", set.RemovePartMap(p), "PART_MAP_POSSIBLE_USE_AFTER_DROP")
		s.parts(set, "A 64K")
		s.events()
		if d := p.Descriptor(); d != a {
			s.Errorf("after the refusal the reference is to %+v, want %+v", d, a)
		}
		q.Drop()
		if d := q.Descriptor(); d != (pmemset.PartDescriptor{}) {
			s.Errorf("a dropped reference is to %+v", d)
		}
		s.outcome("removing with one reference", set.RemovePartMap(p), "0")
		s.parts(set)
		s.removalEvents("PART_REMOVE A 64K")
		s.gone(a.Addr, a.Size)
		if d := p.Descriptor(); d != (pmemset.PartDescriptor{}) {
			s.Errorf("after the removal the reference is to %+v", d)
		}
		s.outcome("removing again", set.RemovePartMap(p), "EINVAL")
		p.Drop() // does nothing
	})
}

// TestScenario39: a set can be emptied while it is walked through.
func TestScenario39(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set := s.set(nil)
		src := s.file()
		for i := range uint64(5) {
			s.maps(set, src, i*64*sceneK, 64*sceneK)
		}
		var last uintptr
		count := 0
		for p := set.FirstPartMap(); p != nil; count++ {
			d := p.Descriptor()
			if d.Size != 64*sceneK || d.Addr <= last {
				s.Errorf("part map %d: %+v follows one at %#x", count, d, last)
			}
			last = d.Addr
			next := set.NextPartMap(p)
			s.must(set.RemovePartMap(p))
			s.gone(d.Addr, d.Size)
			p = next
		}
		if count != 5 {
			s.Errorf("%d part maps, want 5", count)
		}
		s.parts(set)
		if p := set.FirstPartMap(); p != nil {
			s.Errorf("the first part map of an empty set is %+v", p.Descriptor())
		}
	})
}

// TestScenario40: a part map holds its bytes, from the first to the last.
func TestScenario40(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set := s.set(nil)
		a := s.mapsAt("A: 32K", set, s.file(), 0, 32*sceneK)
		for _, tc := range []struct {
			addr uintptr
			want string
		}{
			{a.Addr, "0"},
			{a.Addr + 1, "0"},
			{a.Addr + 32*sceneK - 1, "0"},
			{a.Addr + 32*sceneK, "CANNOT_FIND_PART_MAP"},
			{a.Addr - 1, "CANNOT_FIND_PART_MAP"},
			{0, "CANNOT_FIND_PART_MAP"},
			{^uintptr(0), "CANNOT_FIND_PART_MAP"},
		} {
			p, err := set.PartMapByAddress(tc.addr)
			s.outcome("PartMapByAddress of "+s.relative(tc.addr), err, tc.want)
			if found := p != nil; found != (tc.want == "0") {
				s.Errorf("%s: found: %t, with the error %v", s.relative(tc.addr), found, err)
			} else if found && p.Descriptor() != a {
				s.Errorf("%s: got %+v, want %+v", s.relative(tc.addr), p.Descriptor(), a)
			}
			p.Drop()
		}
		s.removesAt(set, a.Addr) // nothing else holds a reference
	})
}

// TestScenario41: a reference is to the part map as it is now; it keeps a range from
// being removed, and can remove the whole.
func TestScenario41(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set := s.set(nil)
		src := s.file()
		s.coalescing(set, pmemset.CoalescingFull)
		a := s.mapsAt("A: 32K", set, src, 0, 32*sceneK)
		p := s.at(set, a.Addr)
		before := p.Descriptor()
		s.mapsAt("A 96K", set, src, 32*sceneK, 64*sceneK)
		if d := p.Descriptor(); d != (pmemset.PartDescriptor{Addr: a.Addr, Size: 96 * sceneK}) {
			s.Errorf("the reference is to %+v, want 96 KiB at %#x", d, a.Addr)
		}
		if before != a || a.Size != 32*sceneK {
			s.Errorf("the descriptors from before are %+v and %+v now", before, a)
		}
		s.sent()
		s.removes("PART_MAP_POSSIBLE_USE_AFTER_DROP", set, a.Addr, 1)
		s.parts(set, "A 96K")
		s.events("REMOVE_RANGE A 1")
		s.outcome("removing the part map", set.RemovePartMap(p), "0")
		s.parts(set)
		s.events("PART_REMOVE A 96K")
	})
}

// TestScenario42: references don't keep a set from being deleted; they lead nowhere
// then.
func TestScenario42(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set := s.set(nil)
		a := s.mapsAt("A: 64K", set, s.file(), 0, 64*sceneK)
		p, q := set.FirstPartMap(), s.at(set, a.Addr)
		s.sent()
		s.outcome("deleting the set", set.Delete(), "0")
		s.events()
		s.gone(a.Addr, a.Size)
		if d := p.Descriptor(); d != (pmemset.PartDescriptor{}) {
			s.Errorf("the reference is to %+v", d)
		}
		if next := set.NextPartMap(p); next != nil {
			s.Errorf("%+v follows", next.Descriptor())
		}
		s.outcome("removing by the reference", set.RemovePartMap(p), "EINVAL")
		p.Drop()
		q.Drop()
		s.outcome("deleting the set again", set.Delete(), "0")
	})
}

// TestScenario43: a deep flush leaves no reference behind.
func TestScenario43(t *testing.T) {
	sceneEach(t, "G1 G2", func(s *scene) {
		set := s.set(nil)
		d := s.mapsAt("A: 64K", set, s.file(), 0, 64*sceneK)
		for range 3 {
			s.outcome("deep flush", set.DeepFlush(d.Bytes()), "0")
		}
		s.outcome("removal", set.RemovePartMap(s.at(set, d.Addr)), "0")
		s.parts(set)
	})
}

// TestScenario44: nor does a range that ends in a hole, of a removal or of a deep flush.
func TestScenario44(t *testing.T) {
	t.Run("removal below all parts", func(t *testing.T) {
		sceneEach(t, "G3", func(s *scene) {
			set := s.set(nil)
			a := s.mapsAt("A: 64K", set, s.file(), 0, 64*sceneK).Addr
			s.removes("CANNOT_FIND_PART_MAP", set, a-64*sceneK, 4*sceneK)
			s.parts(set, "A 64K")
			s.outcome("removal", set.RemovePartMap(s.at(set, a)), "0")
		})
	})
	t.Run("deep flush between parts", func(t *testing.T) {
		sceneEach(t, "G3", func(s *scene) {
			set := s.set(nil)
			src := s.file()
			a, b := s.maps(set, src, 0, 64*sceneK).Addr, s.maps(set, src, 0, 64*sceneK).Addr
			s.bases["A"], s.bases["B"] = max(a, b), min(a, b)
			if distance := s.bases["A"] - s.bases["B"]; distance < 4*sceneM {
				s.Fatalf("the parts are %d bytes apart", distance)
			}
			s.outcome("deep flush", set.DeepFlushRange(s.bases["B"], 68*sceneK), "0")
			for _, name := range []string{"A", "B"} {
				s.outcome("removal of "+name, set.RemovePartMap(s.at(set, s.bases[name])), "0")
			}
			s.parts(set)
		})
	})
}

// TestScenario45: which event each operation on memory sends, with which values.
func TestScenario45(t *testing.T) {
	body := func(file func(*scene) string, granularity pmem2.Granularity) func(*scene) {
		return func(s *scene) {
			set := s.set(nil)
			a := s.mapsAt("A: 64K", set, s.fixed(file(s)), 0, 64*sceneK)
			if g, err := set.StoreGranularity(); g != granularity || err != nil {
				s.Fatalf("the granularity is %v, %v; want %v", g, err, granularity)
			}
			s.fill(a.Addr, 16*sceneK, 6)
			s.sent()
			at := func(offset, n uintptr) []byte { return platform.Bytes(a.Addr+offset, uint64(n)) }
			for _, tc := range []struct {
				what string
				do   func() error
				want []string
			}{
				{"memcpy", func() error { return set.Memcpy(at(32*sceneK, 100), at(0, 100), 0) },
					[]string{"COPY A+32K A 100 0", "DRAIN"}},
				{"memmove without drain", func() error { return set.Memmove(at(33*sceneK, 200), at(1, 200), pmemset.MemNoDrain) },
					[]string{fmt.Sprintf("MOVE A+33K A+1 200 %d", pmemset.MemNoDrain)}},
				{"memset without flush", func() error { return set.Memset(at(34*sceneK, 300), 6, pmemset.MemNoFlush) },
					[]string{fmt.Sprintf("SET A+34K 300 6 %d", pmemset.MemNoFlush)}},
				{"memset", func() error { return set.Memset(at(35*sceneK, 8), 6, 0) },
					[]string{"SET A+35K 8 6 0", "DRAIN"}},
				{"persist", func() error { return set.Persist(at(32*sceneK, 4096)) },
					[]string{"FLUSH A+32K 4K", "DRAIN"}},
				{"flush", func() error { return set.Flush(at(32*sceneK+1, 63)) },
					[]string{"FLUSH A+32769 63"}},
				{"drain", set.Drain, []string{"DRAIN"}},
				{"deep flush", func() error { return set.DeepFlush(at(0, 64*sceneK)) }, nil},
			} {
				s.outcome(tc.what, tc.do(), "0")
				s.Log(tc.what) // which of them a difference below is about
				s.events(tc.want...)
			}
			for _, stored := range [][2]uint64{{32, 100}, {33, 200}, {34, 300}, {35, 8}} {
				addr := a.Addr + uintptr(stored[0]*sceneK)
				s.holds(addr, stored[1], 6)
				s.holds(addr+uintptr(stored[1]), sceneK-stored[1], 0)
			}
		}
	}
	sceneEach(t, "all", body(func(s *scene) string { return s.newFile(8 * sceneM) }, pmem2.GranularityPage))
	t.Run("DAX", func(t *testing.T) {
		sceneEmulated(t, "all", body(func(s *scene) string { return s.newDAXFile(8 * sceneM) }, pmem2.GranularityCacheLine))
	})
}
