package pmemset_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// TestScenario46: what the callback returns for events that can't be refused doesn't
// count.
func TestScenario46(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		s.hook = func(*pmemset.Set, *pmemset.Event) error { return unix.E2BIG }
		set := s.set(nil)
		d := s.mapsAt("A: 64K", set, s.file(), 0, 64*sceneK)
		s.must(set.Persist(d.Bytes()[:100]))
		s.must(set.Memset(d.Bytes()[:1], 1, 0))
		s.events("PART_ADD A 64K", "FLUSH A 100", "DRAIN", "SET A 1 1 0", "DRAIN")
		s.removes("0", set, d.Addr, 1)
		s.parts(set)
	})
}

// TestScenario47: unaligned offsets and lengths are refused, and leave the set without a
// granularity.
func TestScenario47(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		for _, r := range []*pmem2.VMReservation{nil, s.reservation(sceneM)} {
			set, src := s.set(r), s.file()
			_, err := s.mapAt(set, src, 100, 64*sceneK)
			if !errors.Is(err, pmemset.ErrInvalidPmem2Map) || !errors.Is(err, pmem2.ErrOffsetUnaligned) {
				s.Errorf("offset 100: got %v, want both codes for it", err)
			}
			for _, offset := range []uint64{100, 1, 4095, 4097} {
				s.refuses("INVALID_PMEM2_MAP", set, src, offset, 64*sceneK)
			}
			for _, length := range []uint64{64*sceneK + 1, 64*sceneK - 1, 1, 4095, 4097} {
				s.refuses("LENGTH_UNALIGNED", set, src, 0, length)
			}
			s.granularity(set, 0, "NO_PART_MAPPED")
			s.events()
			s.parts(set)
		}
	})
}

// TestScenario48: a refused part leaves no trace between the parts that follow each
// other.
func TestScenario48(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set, path := s.set(nil), s.newFile(64*sceneK)
		s.coalescing(set, pmemset.CoalescingFull)
		src := s.fixed(path)
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
		s.refuses("INVALID_PMEM2_MAP", set, s.file(), 100, 64*sceneK)
		s.refuses("SOURCE_FILE_IS_TOO_SMALL", set, src, 0, 128*sceneK)
		s.mapsAt("A 128K", set, src, 0, 64*sceneK)
		s.parts(set, "A 128K")
		s.sizeIs(path, 64*sceneK)
		s.events("PART_ADD A 64K", "PART_ADD A 128K")
	})
}

// TestScenario49: all parts of a set have one granularity.
func TestScenario49(t *testing.T) {
	sceneEmulated(t, "all", func(s *scene) {
		set, dax, page := s.set(nil), s.fixed(s.newDAXFile(8*sceneM)), s.newFile(64*sceneK)
		if s.gen.name == "G3" {
			s.coalescing(set, pmemset.CoalescingFull)
		}
		s.mapsAt("A: 64K", set, dax, 0, 64*sceneK)
		s.refuses("GRANULARITY_MISMATCH", set, s.fixed(page), 0, 64*sceneK)
		s.refuses("GRANULARITY_MISMATCH", set, s.growing(page), 64*sceneK, 64*sceneK)
		s.sizeIs(page, 64*sceneK)
		s.parts(set, "A 64K")
		s.granularity(set, pmem2.GranularityCacheLine, "0")
		if s.gen.name == "G3" {
			s.mapsAt("A 128K", set, dax, 0, 64*sceneK)
		}
	})
}

// TestScenario50: the granularity goes with the last part, and another one can follow.
func TestScenario50(t *testing.T) {
	sceneEmulated(t, "all", func(s *scene) {
		s.emu.SetEADR(true)
		set := s.set(nil)
		d := s.maps(set, s.fixed(s.newDAXFile(8*sceneM)), 0, 64*sceneK)
		s.granularity(set, pmem2.GranularityByte, "0")
		s.refuses("GRANULARITY_MISMATCH", set, s.file(), 0, 64*sceneK)
		s.removesAt(set, d.Addr)
		s.granularity(set, 0, "NO_PART_MAPPED")
		d = s.maps(set, s.file(), 0, 64*sceneK)
		s.granularity(set, pmem2.GranularityPage, "0")
		s.must(set.Memset(d.Bytes(), 7, 0))
		s.removes("0", set, d.Addr, 1)
		s.granularity(set, 0, "NO_PART_MAPPED")
	})
}

// TestScenario51: a set doesn't notice what becomes of the config that it was made with.
func TestScenario51(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		var cfg *pmemset.Config
		set := s.set(nil, func(c *pmemset.Config) {
			cfg = c
			s.must(c.SetEventCallback(nil))
		})
		s.must(errors.Join(
			cfg.SetRequiredStoreGranularity(pmem2.GranularityByte), cfg.SetEventCallback(s.record), cfg.SetReservation(s.reservation(4*sceneK))))
		other, err := pmemset.New(cfg)
		s.must(err)
		s.must(cfg.Delete())
		src := s.file()
		d := s.maps(set, src, 0, 64*sceneK)
		s.must(set.Persist(d.Bytes()))
		s.granularity(set, pmem2.GranularityPage, "0")
		s.events()
		if _, err := s.mapAt(other, src, 0, 4*sceneK); !errors.Is(err, pmem2.ErrGranularityNotSupported) {
			s.Errorf("a set made with the changed config: got %v, want %v", err, pmem2.ErrGranularityNotSupported)
		}
		s.must(other.Delete())
	})
}

// TestScenario62: a range whose end is above 2^64 is refused, and changes nothing.
func TestScenario62(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		path := s.newFile(8 * sceneM)
		for _, coalescing := range []pmemset.Coalescing{pmemset.CoalescingNone, pmemset.CoalescingFull, pmemset.CoalescingOpportunistic} {
			set := s.set(nil)
			s.coalescing(set, coalescing)
			s.mapsAt("A: 64K", set, s.fixed(path), 0, 64*sceneK)
			s.sent()
			for _, src := range []*pmemset.Source{s.growing(path), s.fixed(path)} {
				for _, r := range []struct{ offset, length uint64 }{
					{8192, 1<<64 - 4096},
					{8192, 1<<64 - 8192},    // ends at 2^64
					{4096, 1<<64 - 4096},    // ditto
					{0, 1<<64 - 4096},       // doesn't wrap
					{8192, 1<<63 - 4096},    // ends above 2^63
					{4096, 1<<63 - 4096},    // at 2^63
					{1<<63 - 4096, 1 << 63}, // at 2^64 - 4096
					{1<<63 - 4096, 4096},
					{8192, 1 << 63},
				} {
					before := s.machine.Outstanding()
					d, err := s.mapAt(set, src, r.offset, r.length)
					switch got := sceneOutcome(err); {
					case d != (pmemset.PartDescriptor{}):
						s.Errorf("%+v: maps %+v", r, d)
					case got == "CANNOT_GROW_SOURCE_FILE", got == "INVALID_PMEM2_MAP", got == "SOURCE_FILE_IS_TOO_SMALL":
					default:
						s.Errorf("%+v: got %s (%v), want that the file can't be mapped or grow", r, got, err)
					}
					if after := s.machine.Outstanding(); !slices.Equal(after, before) {
						s.Errorf("%+v: the machine holds %v, before %v", r, after, before)
					}
				}
			}
			s.sizeIs(path, 8*sceneM)
			s.parts(set, "A 64K")
			s.events()
		}
	})
}

// TestScenario64: the address space of a removed part is given back.
func TestScenario64(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set, src := s.set(nil), s.file()
		before := s.machine.Outstanding()
		for i := range 40 {
			d := s.maps(set, src, 0, 64*sceneK)
			if i%2 == 0 {
				s.removesAt(set, d.Addr)
			} else {
				s.removes("0", set, d.Addr+5, 1)
			}
			if after := s.machine.Outstanding(); !slices.Equal(after, before) {
				s.Fatalf("after removal %d the machine holds %v, before %v", i+1, after, before)
			}
		}
		s.coalescing(set, pmemset.CoalescingOpportunistic)
		for i := range 40 {
			s.maps(set, src, 0, 64*sceneK)
			d := s.maps(set, src, 0, 64*sceneK)
			s.maps(set, src, 0, 64*sceneK)
			s.removes("0", set, d.Addr, 1)
			s.removes("0", set, 0, 1<<64-1)
			if after := s.machine.Outstanding(); !slices.Equal(after, before) {
				s.Fatalf("after round %d the machine holds %v, before %v", i+1, after, before)
			}
		}
	})
}

// TestScenario65: a configured reservation ends where it ends, also for a part that
// should follow the previous one.
func TestScenario65(t *testing.T) {
	for _, tc := range []struct {
		coalescing pmemset.Coalescing
		want       string
	}{
		{pmemset.CoalescingOpportunistic, "0"},
		{pmemset.CoalescingFull, "CANNOT_COALESCE_PARTS"},
		{pmemset.CoalescingNone, "0"},
	} {
		t.Run(fmt.Sprint(tc.coalescing), func(t *testing.T) {
			sceneEach(t, "all", func(s *scene) {
				set, src := s.set(s.roomy(256*sceneK)), s.file()
				s.mapsAt("R 96K", set, src, 0, 96*sceneK)
				s.mapsAt("R+96K 160K", set, src, 0, 160*sceneK)
				s.removesAt(set, s.bases["R"])
				s.coalescing(set, tc.coalescing)
				if tc.want != "0" {
					s.refuses(tc.want, set, src, 0, 64*sceneK)
					s.refuses("CANNOT_FIT_PART_MAP", set, src, 0, 100*sceneK)
					s.parts(set, "R+96K 160K")
					s.isFree(s.bases["R"]+256*sceneK, 128*sceneK)
					return
				}
				s.mapsAt("R 64K", set, src, 0, 64*sceneK)
				s.parts(set, "R 64K", "R+96K 160K")
				s.refuses("CANNOT_FIT_PART_MAP", set, src, 0, 36*sceneK)
				if tc.coalescing == pmemset.CoalescingOpportunistic {
					s.mapsAt("R 96K", set, src, 0, 32*sceneK) // it is the previous one now
				} else {
					s.mapsAt("R+64K 32K", set, src, 0, 32*sceneK)
				}
			})
		})
	}
}

// TestScenario88: a part survives being refused, and is consumed by being mapped.
func TestScenario88(t *testing.T) {
	sceneEach(t, "G1", func(s *scene) {
		set, src := s.set(nil), s.file()
		unaligned, err := pmemset.NewPart(set, src, 0, 100)
		s.must(err)
		for range 3 {
			_, err = unaligned.Map()
			s.outcome("mapping 100 bytes", err, "LENGTH_UNALIGNED")
		}
		s.must(unaligned.Delete())
		_, err = unaligned.Map()
		s.outcome("mapping a deleted part", err, "EINVAL")
		s.must(unaligned.Delete())
		s.parts(set)

		p, err := pmemset.NewPart(set, src, 0, 64*sceneK)
		s.must(err)
		d, err := p.Map()
		s.must(err)
		s.bases["A"] = d.Addr
		_, err = p.Map()
		s.outcome("mapping a mapped part", err, "EINVAL")
		s.must(p.Delete())
		s.parts(set, "A 64K")
		s.events("PART_ADD A 64K")

		// A failure that goes away: the part can be mapped then.
		path := s.newFile(4 * sceneK)
		p, err = pmemset.NewPart(set, s.fixed(path), 0, 8*sceneK)
		s.must(err)
		_, err = p.Map()
		s.outcome("mapping past the end", err, "INVALID_PMEM2_MAP")
		fd := s.open(path, unix.O_RDWR)
		s.must(errors.Join(s.machine.Ftruncate(fd, 8*sceneK), s.machine.Close(fd)))
		_, err = p.Map()
		s.outcome("mapping what the file has now", err, "0")
	})
}
