package pmemset_test

import (
	"errors"
	"fmt"
	"testing"

	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// TestScenario19: the piece in the middle goes, the lower half grows into the hole, and
// stays a part map of its own when the hole is full.
func TestScenario19(t *testing.T) {
	t.Run("anywhere", func(t *testing.T) {
		sceneEach(t, "G1 G2", func(s *scene) {
			src := s.file()
			set := s.growsInPlace(src)
			s.scenario19(set, src)
			// What is reserved is what the part maps need, and no more.
			a := s.bases["A"]
			s.removes("0", set, a+1152*sceneK, 1)
			s.reserved(a+1152*sceneK, 128*sceneK, 0)
			s.removes("0", set, a, 1)
			s.parts(set, "A+1M 128K")
			s.reserved(a, sceneM, 0)
		})
	})
	t.Run("reservation", func(t *testing.T) {
		sceneEach(t, "all", func(s *scene) {
			set := s.set(s.reservation(2 * sceneM))
			src := s.file()
			s.coalescing(set, pmemset.CoalescingFull)
			s.mapsAt("A: 1M", set, src, 0, sceneM)
			s.mapsAt("A 1152K", set, src, 0, 128*sceneK)
			s.mapsAt("A 1280K", set, src, 0, 128*sceneK)
			s.scenario19(set, src)
		})
	})
}

func (s *scene) scenario19(set *pmemset.Set, src *pmemset.Source) {
	s.Helper()
	a := s.bases["A"]
	s.parts(set, "A 1280K")
	s.fill(a+1152*sceneK, 128*sceneK, 3)
	s.sent()
	s.removes("0", set, a+sceneM, 1)
	s.removalEvents("REMOVE_RANGE A+1M 1")
	s.parts(set, "A 1M", "A+1152K 128K")
	s.gone(a+sceneM, 128*sceneK)
	s.mapsAt("A 1088K", set, src, 0, 64*sceneK)
	s.parts(set, "A 1088K", "A+1152K 128K")
	s.mapsAt("A 1152K", set, src, 0, 64*sceneK)
	s.parts(set, "A 1152K", "A+1152K 128K")
	s.refuses("CANNOT_COALESCE_PARTS", set, src, 0, 64*sceneK)
	s.holds(a+1152*sceneK, 128*sceneK, 3)
}

// growsInPlace is a set with one part map A of 1280 KiB, coalesced of 1 MiB and twice
// 128 KiB, where a reservation is as large as its parts. It needs free addresses behind
// the first part, and makes some: the kernel puts a reservation below the lowest mapping
// that has room there, so that taking what is above moves it.
func (s *scene) growsInPlace(src *pmemset.Source) *pmemset.Set {
	s.Helper()
	const first, more = sceneM, 128 * sceneK
	for range 32 {
		set := s.set(nil)
		s.coalescing(set, pmemset.CoalescingFull)
		a := s.mapsAt("A: 1M", set, src, 0, first).Addr
		end, free := a+first, s.freeBehind(a+first)
		if free >= 2*more {
			err := error(nil)
			for i := range uint64(2) {
				var d pmemset.PartDescriptor
				if d, err = s.mapAt(set, src, 0, more); err != nil {
					break // somebody has been faster, or the test fails in the end
				}
				if want := first + (i+1)*more; d.Addr != a || d.Size != want {
					s.Fatalf("got %+v, want %d bytes at %#x", d, want, a)
				}
			}
			switch {
			case err == nil:
				return set
			case !errors.Is(err, pmemset.ErrCannotCoalesceParts):
				s.Fatal(err)
			}
		}
		s.must(set.Delete())
		// A reservation starts at a multiple of 2 MiB. Below this it has 1 MiB free behind it.
		top := end - sceneM
		if taken := uint64(end-top) + free; s.grab(top, taken) {
			s.Cleanup(func() { s.must(s.machine.Munmap(top, taken)) })
		}
	}
	s.Fatal("nothing coalesces, also where addresses are free behind the part map")
	return nil
}

// freeBehind is how many bytes of addresses are free from end on, at most 1 MiB.
func (s *scene) freeBehind(end uintptr) uint64 {
	s.Helper()
	free := uint64(sceneM)
	for _, a := range s.areas() {
		if a.end > end {
			if a.start <= end {
				return 0
			}
			free = min(free, uint64(a.start-end))
		}
	}
	return free
}

// coalesced is a set with one part map A of n parts of 64 KiB, in a reservation of its
// own; part i is full of bytes i+1. No events are waiting.
func (s *scene) coalesced(n int) (*pmemset.Set, *pmemset.Source) {
	s.Helper()
	set := s.set(nil)
	src := s.file()
	s.coalescing(set, pmemset.CoalescingFull)
	for i := range n {
		d := s.maps(set, src, uint64(i)*64*sceneK, 64*sceneK)
		if i == 0 {
			s.bases["A"] = d.Addr
		}
		s.fill(s.bases["A"]+uintptr(i)*64*sceneK, 64*sceneK, byte(i+1))
	}
	s.parts(set, fmt.Sprintf("A %dK", 64*n))
	s.sent()
	return set, src
}

// TestScenario20: a part map cut at its tail or its head goes on growing at its end.
func TestScenario20(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set, src := s.coalesced(3)
		a := s.bases["A"]
		s.removes("0", set, a+128*sceneK, 1)
		s.parts(set, "A 128K")
		s.gone(a+128*sceneK, 64*sceneK)
		s.mapsAt("A 224K", set, src, 0, 96*sceneK)
		s.parts(set, "A 224K")
		s.removes("0", set, a, 1)
		s.parts(set, "A+64K 160K")
		s.reserved(a, 64*sceneK, 0)
		s.mapsAt("A+64K 224K", set, src, 0, 64*sceneK)
		s.parts(set, "A+64K 224K")
		s.holds(a+64*sceneK, 64*sceneK, 2)
	})
}

// upTo21 is the state after scenario 21.
func (s *scene) upTo21() (*pmemset.Set, *pmemset.Source) {
	s.Helper()
	set, src := s.coalesced(5)
	a := s.bases["A"]
	s.removes("0", set, a+68*sceneK, 64*sceneK)
	s.parts(set, "A 64K", "A+192K 128K")
	s.events("REMOVE_RANGE A+68K 65536")
	s.reserved(a+64*sceneK, 128*sceneK, 128*sceneK)
	for _, i := range []uintptr{0, 3, 4} {
		s.holds(a+i*64*sceneK, 64*sceneK, byte(i+1))
	}
	return set, src
}

// TestScenario21: removing two parts of the middle leaves two part maps, whose content
// nothing has touched.
func TestScenario21(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) { s.upTo21() })
}

// TestScenario22: the lower half grows into the hole, as far as that goes.
func TestScenario22(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set, src := s.upTo21()
		s.mapsAt("A 128K", set, src, 0, 64*sceneK)
		s.parts(set, "A 128K", "A+192K 128K")
		s.refuses("CANNOT_COALESCE_PARTS", set, src, 0, 128*sceneK)
		s.holds(s.bases["A"]+192*sceneK, 64*sceneK, 4)
	})
}

// TestScenario23: the upper half of a split part map can be cut at its tail.
func TestScenario23(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set, src := s.upTo21()
		s.removes("0", set, s.bases["A"]+316*sceneK, 4*sceneK)
		s.parts(set, "A 64K", "A+192K 64K")
		s.events("REMOVE_RANGE A+316K 4K")
		s.gone(s.bases["A"]+256*sceneK, 64*sceneK)
		s.mapsAt("A 128K", set, src, 0, 64*sceneK) // the lower half is the one that it was
		s.outcome("deleting the set", set.Delete(), "0")
	})
}

// TestScenario24: the upper half of a split part map can be cut at its head.
func TestScenario24(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set, _ := s.coalesced(6)
		a := s.bases["A"]
		s.removes("0", set, a+64*sceneK, 1)
		s.parts(set, "A 64K", "A+128K 256K")
		s.removes("0", set, a+128*sceneK, 1)
		s.parts(set, "A 64K", "A+192K 192K")
		s.events("REMOVE_RANGE A+64K 1", "REMOVE_RANGE A+128K 1")
		for i := uintptr(3); i < 6; i++ {
			s.holds(a+i*64*sceneK, 64*sceneK, byte(i+1))
		}
		s.removesAt(set, a+192*sceneK)
		s.parts(set, "A 64K")
		s.outcome("deleting the set", set.Delete(), "0")
	})
}

// before25 is a set with a part of 128 KiB at R and, behind it, a part map of three
// parts of 64 KiB.
func (s *scene) before25() (*pmemset.Set, *pmemset.Source) {
	s.Helper()
	set := s.set(s.reservation(sceneM))
	src := s.file()
	s.mapsAt("R 128K", set, src, 0, 128*sceneK)
	s.mapsAt("R+128K 64K", set, src, 0, 64*sceneK)
	s.coalescing(set, pmemset.CoalescingFull)
	s.mapsAt("R+128K 128K", set, src, 64*sceneK, 64*sceneK)
	s.mapsAt("R+128K 192K", set, src, 128*sceneK, 64*sceneK)
	s.parts(set, "R 128K", "R+128K 192K")
	for i := range uintptr(3) {
		s.fill(s.bases["R"]+128*sceneK+i*64*sceneK, 64*sceneK, byte(i+1))
	}
	s.sent()
	return set, src
}

// TestScenario25: a part map that doesn't begin where its reservation does loses its
// first part, and the place can be mapped again.
func TestScenario25(t *testing.T) {
	sceneEach(t, "all", func(s *scene) { s.cuts25(128*sceneK, "R 128K", "R+192K 128K") })
}

// TestScenario26: the same with the last and with the middle one.
func TestScenario26(t *testing.T) {
	t.Run("last", func(t *testing.T) {
		sceneEach(t, "all", func(s *scene) { s.cuts25(256*sceneK, "R 128K", "R+128K 128K") })
	})
	t.Run("middle", func(t *testing.T) {
		sceneEach(t, "all", func(s *scene) { s.cuts25(192*sceneK, "R 128K", "R+128K 64K", "R+256K 64K") })
	})
}

// cuts25 removes the part of 64 KiB that begins at an offset, with one byte, and maps
// another one there.
func (s *scene) cuts25(offset uintptr, want ...string) {
	s.Helper()
	set, src := s.before25()
	r := s.bases["R"]
	s.removes("0", set, r+offset+1, 1)
	s.parts(set, want...)
	s.removalEvents("REMOVE_RANGE " + sceneAddress(r+offset+1) + " 1")
	s.gone(r+offset, 64*sceneK)
	for i := range uintptr(3) {
		if at := 128*sceneK + i*64*sceneK; at != offset {
			s.holds(r+at, 64*sceneK, byte(i+1))
		}
	}
	s.coalescing(set, pmemset.CoalescingNone)
	again := fmt.Sprintf("R+%dK 64K", offset/sceneK)
	s.mapsAt(again, set, src, 0, 64*sceneK)
	s.parts(set, append(want, again)...)
	s.removes("0", set, r, sceneM)
	s.parts(set)
	s.gone(r, sceneM)
}

// TestEveryRunOfParts: what scenarios 20 to 26 do, for every run of parts in part maps
// of up to five, with ranges that begin and end at the first and at the last byte.
func TestEveryRunOfParts(t *testing.T) {
	const size = 64 * sceneK
	parts := 5
	if testing.Short() {
		parts = 3
	}
	sceneEach(t, "all", func(s *scene) {
		r := s.reservation(sceneM)
		src := s.file()
		for n := 1; n <= parts; n++ {
			for i := range n {
				for j := i + 1; j <= n; j++ {
					for _, edges := range [][2]int{{0, 0}, {0, 1}, {1, 0}, {1, 1}} {
						s.run(s.set(r), src, n, i, j, i*size+edges[0]*(size-1), (j-1)*size+1+edges[1]*(size-1))
					}
				}
			}
		}
	})
}

// run removes the bytes [from, to) of a part map of n parts, which hit the parts [i, j).
func (s *scene) run(set *pmemset.Set, src *pmemset.Source, n, i, j, from, to int) {
	s.Helper()
	if to <= from {
		return // the last byte of a part to its first
	}
	const size = 64 * sceneK
	what := fmt.Sprintf("bytes [%d, %d) of %d parts", from, to, n)
	s.mapsAt("A: 64K", set, src, 0, size) // in the way below
	s.mapsAt("A: 64K", set, src, 0, size)
	s.coalescing(set, pmemset.CoalescingFull)
	for k := 1; k < n; k++ {
		s.mapsAt(fmt.Sprintf("A %dK", 64*(k+1)), set, src, uint64(k)*size, size)
	}
	s.sent()
	a := s.bases["A"]
	for k := range n {
		s.fill(a+uintptr(k)*size, 1, byte(k+1))
	}
	s.outcome(what, set.RemoveRange(a+uintptr(from), uint64(to-from)), "0")
	want := []string{"R 64K"}
	events := []string{fmt.Sprintf("REMOVE_RANGE A+%d %d", from, to-from)}
	if i > 0 {
		want = append(want, fmt.Sprintf("A %dK", 64*i))
	}
	if j < n {
		want = append(want, fmt.Sprintf("A+%dK %dK", 64*j, 64*(n-j)))
	}
	if i == 0 && j == n {
		events = append(events, fmt.Sprintf("PART_REMOVE A %dK", 64*n))
	}
	s.Log(what)
	s.parts(set, want...)
	s.removalEvents(events...)
	s.gone(a+uintptr(i)*size, uint64(j-i)*size)
	for k := range n {
		if k < i || k >= j {
			s.holds(a+uintptr(k)*size, 1, byte(k+1))
		}
	}
	grows := map[bool]string{true: fmt.Sprintf("A %dK", 64*(i+1)), false: fmt.Sprintf("A+%dK %dK", 64*j, 64*(n-j+1))}[i > 0]
	if i == 0 && j == n {
		grows = "R 128K"
	}
	s.mapsAt(grows, set, src, 0, size)
	s.must(set.Delete())
}

// TestScenario27: a range from the tail of one coalesced part map into the next one cuts
// both.
func TestScenario27(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set := s.set(s.reservation(sceneM))
		src := s.file()
		for i, want := range []string{"R 32K", "R 64K", "R+64K 32K", "R+64K 64K"} {
			s.coalescing(set, [...]pmemset.Coalescing{pmemset.CoalescingNone, pmemset.CoalescingFull}[i%2])
			s.mapsAt(want, set, src, 0, 32*sceneK)
		}
		s.parts(set, "R 64K", "R+64K 64K")
		s.sent()
		s.removes("0", set, s.bases["R"]+32*sceneK, 48*sceneK)
		s.parts(set, "R 32K", "R+96K 32K")
		s.removalEvents("REMOVE_RANGE R+32K 48K")
		s.gone(s.bases["R"]+32*sceneK, 64*sceneK)
	})
}

// TestScenario28: a range that goes on into the program's own mapping leaves that alone.
func TestScenario28(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		r := s.reservation(512 * sceneK)
		m := s.userMap(r, 128*sceneK, 64*sceneK)
		s.fill(m.Address(), 64*sceneK, 9)
		set := s.set(r)
		src := s.file()
		s.coalescing(set, pmemset.CoalescingFull)
		s.mapsAt("R 64K", set, src, 0, 64*sceneK)
		s.mapsAt("R 128K", set, src, 64*sceneK, 64*sceneK)
		s.sent()
		s.removes("0", set, r.Address()+64*sceneK, 128*sceneK)
		s.parts(set, "R 64K")
		s.removalEvents("REMOVE_RANGE R+64K 128K")
		s.gone(r.Address()+64*sceneK, 64*sceneK)
		s.holds(m.Address(), 64*sceneK, 9)
		s.removes("CANNOT_FIND_PART_MAP", set, m.Address(), 64*sceneK)
		s.fill(m.Address(), 64*sceneK, 8)
		s.must(m.Persist(platform.Bytes(m.Address(), 64*sceneK)))
		s.must(m.Delete())
		s.gone(m.Address(), 64*sceneK)
	})
}

// TestScenario36: cutting a part map is no event of its own.
func TestScenario36(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set := s.set(nil)
		src := s.file()
		s.coalescing(set, pmemset.CoalescingFull)
		a := s.mapsAt("A: 32K", set, src, 0, 32*sceneK).Addr
		s.mapsAt("A 64K", set, src, 0, 32*sceneK)
		s.mapsAt("A 96K", set, src, 0, 32*sceneK)
		s.sent()
		s.removes("0", set, a+64*sceneK, 4*sceneK)
		s.parts(set, "A 64K")
		s.events("REMOVE_RANGE A+64K 4K")
		s.removes("0", set, a-4*sceneK, 8*sceneK)
		s.parts(set, "A+32K 32K")
		s.events("REMOVE_RANGE A-4K 8K")
		s.reserved(a, 32*sceneK, 0)
	})
}
