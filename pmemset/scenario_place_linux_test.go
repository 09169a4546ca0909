package pmemset_test

import (
	"fmt"
	"testing"

	"pmemlab/pmemset"
)

// TestScenario01: without coalescing every map call makes a part map of its own; two of
// one range of a file show the same bytes.
func TestScenario01(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set := s.set(nil)
		src := s.file()
		a := s.mapsAt("A: 96K", set, src, 0, 96*sceneK)
		b := s.mapsAt("B: 160K", set, src, 96*sceneK, 160*sceneK)
		c := s.mapsAt("C: 96K", set, src, 0, 96*sceneK)
		s.parts(set, "A 96K", "B 160K", "C 96K")
		s.events("PART_ADD A 96K", "PART_ADD B 160K", "PART_ADD C 96K")
		s.fill(b.Addr, b.Size, 2)
		s.fill(a.Addr, a.Size, 1)
		s.holds(c.Addr, c.Size, 1)
		s.holds(b.Addr, b.Size, 2)
		s.fill(c.Addr+96*sceneK-1, 1, 3)
		s.holds(a.Addr+96*sceneK-1, 1, 3)
		s.holds(a.Addr, 96*sceneK-1, 1)
	})
}

// TestScenario02: the final way to map puts part maps where huge pages can begin, and
// keeps them 4 MiB apart.
func TestScenario02(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set := s.set(nil)
		src := s.file()
		var starts []uintptr
		for _, part := range [][2]uint64{{0, 96 * sceneK}, {96 * sceneK, 160 * sceneK}, {0, 96 * sceneK}} {
			d := s.maps(set, src, part[0], part[1])
			if d.Addr%(2*sceneM) != 0 {
				s.Errorf("a part starts at %#x, which is no multiple of 2 MiB", d.Addr)
			}
			for _, other := range starts {
				if distance := max(d.Addr, other) - min(d.Addr, other); distance < 4*sceneM {
					s.Errorf("parts start at %#x and %#x, %d bytes apart", d.Addr, other, distance)
				}
			}
			starts = append(starts, d.Addr)
		}
	})
}

// TestScenario03: the older ways to map promise whole pages only, and two part maps that
// touch are still two.
func TestScenario03(t *testing.T) {
	sceneEach(t, "G1 G2", func(s *scene) {
		set := s.set(nil)
		src := s.file()
		ends := map[uintptr]uintptr{} // starts by ends
		touching := 0
		var want []string
		for i := range 16 {
			d := s.maps(set, src, 0, 2*sceneM)
			if d.Addr%uintptr(s.machine.PageSize()) != 0 || d.Size != 2*sceneM {
				s.Fatalf("part %d: %+v", i, d)
			}
			name := fmt.Sprintf("P%d", i)
			s.bases[name] = d.Addr
			want = append(want, name+" 2M")
			ends[d.Addr+uintptr(d.Size)] = d.Addr
		}
		s.parts(set, want...)
		for _, start := range ends {
			lower, found := ends[start]
			if !found {
				continue
			}
			touching++
			p, q := s.at(set, start-1), s.at(set, start)
			if p.Same(q) || p.Descriptor().Addr != lower || q.Descriptor().Addr != start {
				s.Errorf("at %#x two part maps touch: %+v and %+v", start, p.Descriptor(), q.Descriptor())
			}
			p.Drop()
			s.must(set.RemovePartMap(q))
			if _, err := set.PartMapByAddress(start - 1); err != nil {
				s.Errorf("the lower neighbour went too: %v", err)
			}
			break
		}
		if touching == 0 {
			s.Fatalf("of 16 parts, no two touch: %s", s.readable(s.list(set)...))
		}
	})
}

// TestScenario04: with full coalescing parts from anywhere in a file become one part
// map, which is what call and event tell of.
func TestScenario04(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set := s.set(nil)
		src := s.file()
		s.coalescing(set, pmemset.CoalescingFull)
		a := s.mapsAt("A: 96K", set, src, 0, 96*sceneK).Addr
		s.mapsAt("A 256K", set, src, 256*sceneK, 160*sceneK)
		s.mapsAt("A 288K", set, src, 0, 32*sceneK)
		s.parts(set, "A 288K")
		s.events("PART_ADD A 96K", "PART_ADD A 256K", "PART_ADD A 288K")
		s.fill(a, 288*sceneK, 1)
		s.fill(a+256*sceneK, 32*sceneK, 2)
		s.holds(a, 32*sceneK, 2) // the third part is the first one's file range
		s.holds(a+32*sceneK, 224*sceneK, 1)
	})
}

// TestScenario05: full coalescing goes on until something is in the way, and fails from
// then on; how far that is nobody promises.
func TestScenario05(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		const piece = 512 * sceneK
		set := s.set(nil)
		src := s.file()
		s.coalescing(set, pmemset.CoalescingFull)
		a := s.mapsAt("A: 512K", set, src, 0, piece).Addr
		s.take(a + 8*sceneM)
		size := uint64(piece)
		for ; size < 8*sceneM; size += piece {
			d, err := s.mapAt(set, src, 0, piece)
			if err != nil {
				break
			}
			if d != (pmemset.PartDescriptor{Addr: a, Size: size + piece}) {
				s.Fatalf("with %d bytes more: %+v, want %d bytes at %#x", piece, d, size+piece, a)
			}
		}
		if size == piece {
			s.Error("nothing was coalesced")
		}
		s.parts(set, fmt.Sprintf("A %d", size))
		s.sent()
		s.refuses("CANNOT_COALESCE_PARTS", set, src, 0, piece)
		s.refuses("CANNOT_COALESCE_PARTS", set, src, 0, piece)
		s.parts(set, fmt.Sprintf("A %d", size))
	})
}

// TestScenario06: opportunistic coalescing never fails; where one part map can't grow
// another one begins.
func TestScenario06(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		const piece, times = 512 * sceneK, 64
		set := s.set(nil)
		src := s.file()
		s.coalescing(set, pmemset.CoalescingOpportunistic)
		a := s.mapsAt("A: 512K", set, src, 0, piece)
		s.take(a.Addr + 8*sceneM)
		current, sum, joined := a, uint64(0), 0
		var want []string
		for i := 1; i < times; i++ {
			d := s.maps(set, src, 0, piece)
			switch {
			case d.Addr == current.Addr && d.Size == current.Size+piece:
				joined++
			case d.Addr != current.Addr && d.Size == piece:
				want = append(want, scenePlace(current.Addr, current.Size))
				sum += current.Size
			default:
				s.Fatalf("part %d: %+v follows %+v", i, d, current)
			}
			current = d
		}
		want = append(want, scenePlace(current.Addr, current.Size))
		if sum += current.Size; sum != times*piece {
			s.Errorf("all parts have %d bytes, want %d", sum, times*piece)
		}
		if len(want) < 2 || joined == 0 {
			s.Errorf("%d part maps and %d coalesced parts, want some of both", len(want), joined)
		}
		s.parts(set, want...)
	})
}

// TestScenario07: what lies behind a part map is never overwritten: full coalescing
// fails, opportunistic goes elsewhere.
func TestScenario07(t *testing.T) {
	sceneEach(t, "G1 G2", func(s *scene) {
		set := s.set(nil)
		src := s.file()
		s.coalescing(set, pmemset.CoalescingFull)
		a := s.mapsAt("A: 96K", set, src, 0, 96*sceneK).Addr
		s.take(a + 96*sceneK)
		s.events("PART_ADD A 96K")
		s.refuses("CANNOT_COALESCE_PARTS", set, src, 96*sceneK, 160*sceneK)
		s.parts(set, "A 96K")
		s.events()
		s.coalescing(set, pmemset.CoalescingOpportunistic)
		s.mapsAt("B: 160K", set, src, 96*sceneK, 160*sceneK)
		s.parts(set, "A 96K", "B 160K")
		s.events("PART_ADD B 160K")
	})
}

// TestScenario08: it is the part map created last that grows.
func TestScenario08(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set := s.set(nil)
		src := s.file()
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
		s.mapsAt("B: 64K", set, src, 0, 64*sceneK)
		s.coalescing(set, pmemset.CoalescingFull)
		s.mapsAt("B 128K", set, src, 64*sceneK, 64*sceneK)
		s.parts(set, "A 64K", "B 128K")
	})
}

// TestScenario09: when the part map created last is removed, and none lies below it, it
// is the next one above that grows.
func TestScenario09(t *testing.T) {
	t.Run("anywhere", func(t *testing.T) {
		sceneEach(t, "G3", func(s *scene) {
			src := s.file()
			set := s.descending(src)
			s.removesAt(set, s.bases["C"])
			s.coalescing(set, pmemset.CoalescingFull)
			s.mapsAt("B 128K", set, src, 64*sceneK, 64*sceneK)
			s.parts(set, "A 64K", "B 128K")
		})
	})
	t.Run("reservation", func(t *testing.T) {
		sceneEach(t, "all", func(s *scene) {
			r := s.reservation(512 * sceneK)
			set := s.set(r)
			src := s.file()
			for _, at := range []uint64{256, 128, 0} { // what is below is taken meanwhile
				if at > 0 {
					below := s.userMap(r, 0, at*sceneK)
					s.mapsAt(fmt.Sprintf("R+%dK 64K", at), set, src, 0, 64*sceneK)
					s.must(below.Delete())
				} else {
					s.mapsAt("R 64K", set, src, 0, 64*sceneK)
				}
			}
			s.removesAt(set, s.bases["R"])
			s.coalescing(set, pmemset.CoalescingFull)
			s.mapsAt("R+128K 128K", set, src, 64*sceneK, 64*sceneK)
			s.parts(set, "R+128K 128K", "R+256K 64K")
		})
	})
}

// descending is a set with three parts of 64 KiB, A, B and C from top to bottom, of
// which C is the last one made. Kernels place mappings downwards mostly; where one goes
// upwards, C takes a place that was made free below. What filled a gap stays for the next attempt.
func (s *scene) descending(src *pmemset.Source) *pmemset.Set {
	s.Helper()
	for range 32 {
		set := s.set(nil)
		spare := s.maps(set, src, 0, 8*sceneM).Addr
		b := s.mapsAt("B: 64K", set, src, 0, 64*sceneK).Addr
		a := s.mapsAt("A: 64K", set, src, 0, 64*sceneK).Addr
		if a < b {
			s.bases["A"], s.bases["B"], b = b, a, a
		}
		if spare < b {
			s.removesAt(set, spare)
		}
		if c := s.mapsAt("C: 64K", set, src, 0, 64*sceneK).Addr; c < b {
			if spare > b {
				s.removesAt(set, spare)
			}
			return set
		}
	}
	s.Fatal("no part ends up below the others")
	return nil
}
