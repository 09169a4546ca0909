package pmemset_test

import (
	"errors"
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// refusesWith is refuses for an error with one of pmem2's in it.
func (s *scene) refusesWith(lower pmem2.Code, set *pmemset.Set, src *pmemset.Source, offset, length uint64) {
	s.Helper()
	s.refuses("INVALID_PMEM2_MAP", set, src, offset, length)
	if _, err := s.mapAt(set, src, offset, length); !errors.Is(err, lower) {
		s.Errorf("mapping %s from %s: got %v, want %v in it", sceneSize(length), sceneSize(offset), err, lower)
	}
}

// alignedTo maps, and must get an address that is a multiple of alignment.
func (s *scene) alignedTo(alignment uint64, set *pmemset.Set, src *pmemset.Source, offset, length uint64) pmemset.PartDescriptor {
	s.Helper()
	d := s.maps(set, src, offset, length)
	if uint64(d.Addr)%alignment != 0 {
		s.Errorf("%s from %s lie at %#x, which is no multiple of %s", sceneSize(length), sceneSize(offset), d.Addr, sceneSize(alignment))
	}
	return d
}

// pastTheEnd is what mapping behind the end of a device DAX ends with.
func (g sceneGeneration) pastTheEnd() string {
	if g.name == "G3" {
		return "CANNOT_GROW_SOURCE_FILE"
	}
	return "INVALID_PMEM2_MAP"
}

// TestScenario85: parts of device DAX are as aligned as the device, at multiples of it
// too, and the device doesn't grow.
func TestScenario85(t *testing.T) {
	sceneEmulated(t, "all", func(s *scene) {
		const align = 2 * sceneM
		dax := s.emu.AddDevDax(emu.DevDax{Size: 4 * align, Align: align})
		src := s.source(dax.Path(), 0)
		if n, err := src.Alignment(); n != align || err != nil {
			s.Errorf("Alignment: got %d, %v, want %d", n, err, align)
		}
		for _, r := range []*pmem2.VMReservation{nil, s.reservation(9 * align)} {
			set := s.set(r)
			s.maps(set, s.fixed(s.newDAXFile(4*sceneK)), 0, 0) // what follows it in a reservation isn't aligned
			first := s.alignedTo(align, set, src, 0, align)
			s.refusesWith(pmem2.ErrLengthUnaligned, set, src, 0, align+4*sceneK)
			s.refusesWith(pmem2.ErrLengthUnaligned, set, src, 0, 4*sceneK)
			s.refusesWith(pmem2.ErrOffsetUnaligned, set, src, 4*sceneK, align)
			s.refuses(s.gen.pastTheEnd(), set, src, 3*align, 2*align)
			s.refuses(s.gen.pastTheEnd(), set, src, 4*align, align)
			s.refuses("LENGTH_UNALIGNED", set, src, 0, 100)
			second := s.alignedTo(align, set, src, 2*align, 2*align)
			first.Bytes()[0], second.Bytes()[0] = 1, 2
			whole := s.alignedTo(align, set, src, 0, 0)
			if b := whole.Bytes(); whole.Size != 4*align || b[0] != 1 || b[2*align] != 2 {
				s.Errorf("the whole device has %d bytes, %d and %d where 1 and 2 were stored", whole.Size, b[0], b[2*align])
			}
			first.Bytes()[0], second.Bytes()[0] = 0, 0
			s.must(set.Delete())
		}

		// A part behind a shorter one of a file isn't aligned; so it goes elsewhere.
		set := s.set(nil)
		s.coalescing(set, pmemset.CoalescingFull)
		s.mapsAt("A: 64K", set, s.fixed(s.newDAXFile(64*sceneK)), 0, 0)
		s.refuses("CANNOT_COALESCE_PARTS", set, src, 0, align)
		s.coalescing(set, pmemset.CoalescingOpportunistic)
		s.alignedTo(align, set, src, 0, align)
	})
}

// TestScenario86: an alignment of 1 GiB is kept, also for a part that is no longer.
func TestScenario86(t *testing.T) {
	sceneEmulated(t, "all", func(s *scene) {
		const align = sceneG
		dax := s.emu.AddDevDax(emu.DevDax{Size: 4 * align, Align: align})
		src := s.source(dax.Path(), 0)
		if n, err := src.Alignment(); n != align || err != nil {
			s.Errorf("Alignment: got %d, %v, want %d", n, err, align)
		}
		for _, r := range []*pmem2.VMReservation{nil, s.reservation(8 * align)} {
			set := s.set(r)
			s.maps(set, s.fixed(s.newDAXFile(4*sceneK)), 0, 0)
			s.alignedTo(align, set, src, 0, align)
			s.alignedTo(align, set, src, 2*align, 2*align)
			d := s.alignedTo(align, set, src, 3*align, align)
			d.Bytes()[align-1] = 1
			s.refusesWith(pmem2.ErrLengthUnaligned, set, src, 0, align+2*sceneM)
			s.refusesWith(pmem2.ErrLengthUnaligned, set, src, 0, 2*sceneM)
			s.refusesWith(pmem2.ErrOffsetUnaligned, set, src, 2*sceneM, align)
			s.refuses(s.gen.pastTheEnd(), set, src, 3*align, 2*align)
			s.must(set.Delete())
		}
	})
}
