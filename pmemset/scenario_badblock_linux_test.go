package pmemset_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// TestScenario80: a map call tells of every bad block of the source and fails, if it is
// to look.
func TestScenario80(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil), s.newSource()
		s.must(s.bad(64*sceneK, 4096))
		s.must(s.bad(128*sceneK, 4096))
		s.must(src.SetBadBlockDetection(true))
		// The whole source is searched, before anything else is looked at.
		for _, offset := range []uint64{0, 0, 4 * sceneM, 2 * scenePmemSize, 100} {
			_, err := s.mapAt(set, src, offset, 4*sceneK)
			s.outcome("mapping a source with bad blocks", err, "IO_FAIL")
			for _, e := range s.log {
				if e.Source != src {
					s.Errorf("%v is about %p, want %p", e.Type, e.Source, src)
				}
			}
			s.events("BADBLOCK 65536 4096", "BADBLOCK 131072 4096")
			s.parts(set)
			s.granularity(set, 0, "NO_PART_MAPPED")
		}
		s.must(src.SetBadBlockDetection(false))
		s.mapsAt("A: 4K", set, src, 0, 4*sceneK)
		s.mapsAt("B: 4K", set, s.newSource(), 0, 4*sceneK) // which doesn't look, as at first
		s.events("PART_ADD A 4K", "PART_ADD B 4K")
	})
}

// TestScenario81: the callback can clear what it is told of.
func TestScenario81(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil), s.newSource()
		s.must(src.PwriteMCSafe(bytes.Repeat([]byte{7}, 3*4096), 60*sceneK))
		s.must(s.bad(64*sceneK, 4096))
		s.must(src.SetBadBlockDetection(true))
		cleared := 0
		s.hook = func(_ *pmemset.Set, e *pmemset.Event) error {
			if e.Type == pmemset.EventBadBlock {
				s.outcome("clearing", e.Source.ClearBadBlock(e.BadBlock), "0")
				cleared++
			}
			return nil
		}
		d := s.mapsAt("A: 128K", set, src, 0, 128*sceneK)
		s.events("BADBLOCK 65536 4096", "BADBLOCKS_CLEARED", "PART_ADD A 128K")
		want := append(append(bytes.Repeat([]byte{7}, 4096), make([]byte, 4096)...), bytes.Repeat([]byte{7}, 4096)...)
		if !bytes.Equal(d.Bytes()[60*sceneK:72*sceneK], want) {
			s.Errorf("the block and its neighbours don't read as 7, 0, 7")
		}
		if cleared != 1 || len(s.left()) > 0 {
			s.Errorf("%d blocks cleared, %v are left", cleared, s.left())
		}
		s.mapsAt("B: 4K", set, src, 0, 4*sceneK) // nothing is left to tell of
		s.events("PART_ADD B 4K")
	})
}

// TestScenario82: what the callback returns once all are cleared is what the map call
// returns.
func TestScenario82(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil), s.newSource()
		s.must(s.bad(64*sceneK, 4096))
		s.must(s.bad(128*sceneK, 4096))
		s.must(src.SetBadBlockDetection(true))
		refusal := errors.New("the data have to be restored first")
		s.hook = func(_ *pmemset.Set, e *pmemset.Event) error {
			if e.Type == pmemset.EventBadBlock {
				s.must(e.Source.ClearBadBlock(e.BadBlock))
			}
			return refusal // doesn't count for the others
		}
		d, err := s.mapAt(set, src, 0, 64*sceneK)
		if err != refusal || d != (pmemset.PartDescriptor{}) { //nolint:errorlint // unchanged
			s.Errorf("mapping: got %+v, %v, want the callback's error as it is", d, err)
		}
		s.events("BADBLOCK 65536 4096", "BADBLOCK 131072 4096", "BADBLOCKS_CLEARED")
		s.parts(set)
		s.granularity(set, 0, "NO_PART_MAPPED")
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
		s.events("PART_ADD A 64K")
	})
}

// TestScenario83: the shutdown data come before the bad blocks.
func TestScenario83(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil), s.newSource()
		s.must(s.bad(64*sceneK, 4096))
		s.must(src.SetBadBlockDetection(true))
		state := s.sds(src, pmemset.SDS{})
		s.hook = func(_ *pmemset.Set, e *pmemset.Event) error {
			if *state != pmemset.PartStateOK {
				s.Errorf("%v: the state is %v by then, want %v", e.Type, *state, pmemset.PartStateOK)
			}
			return nil
		}
		_, err := s.mapAt(set, src, 0, 4*sceneK)
		s.outcome("mapping", err, "IO_FAIL")
		s.state(state, pmemset.PartStateOK)
		s.events("BADBLOCK 65536 4096")
		s.hook = nil
		s.must(src.SetBadBlockDetection(false))
		s.mapsAt("A: 4K", set, src, 0, 4*sceneK)
		s.events("PART_ADD A 4K", "SDS_UPDATE "+scenePmemID+" 10 1") // nothing had been counted

		// A state that isn't acceptable: the bad blocks aren't looked for.
		other := s.newSource()
		state = s.sds(other, sceneSDS(scenePmemID, 9, 1))
		s.must(other.SetBadBlockDetection(true))
		s.refuses("UNDESIRABLE_PART_STATE", set, other, 0, 4*sceneK)
		s.state(state, pmemset.PartStateCorrupted)
	})
}

// TestScenario84: the callback may call the set, whatever the event.
func TestScenario84(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src, other := s.set(nil), s.newSource(), s.newSource()
		s.sds(src, pmemset.SDS{})
		s.must(src.SetBadBlockDetection(true))
		s.must(s.bad(0, 4096))
		var part uintptr // where the part that this is about lies
		var seen []string
		busy := false
		s.hook = func(set *pmemset.Set, e *pmemset.Event) error {
			if busy {
				return nil // an event of a call below
			}
			busy = true
			defer func() { busy = false }()
			switch e.Type {
			case pmemset.EventBadBlock:
				s.must(e.Source.ClearBadBlock(e.BadBlock))
			case pmemset.EventPartAdd:
				part = e.Addr
			case pmemset.EventPartRemove:
				if got := (pmemset.PartDescriptor{Addr: e.Addr, Size: e.Len}).Bytes()[0]; got != 5 {
					s.Errorf("PART_REMOVE: the memory has %d, want 5", got)
				}
			}
			found := "gone"
			if p, err := set.PartMapByAddress(part); err == nil {
				found = "there"
				p.Drop()
			}
			seen = append(seen, e.Type.String()+" "+found)
			d := s.maps(set, other, 64*sceneK, 8*sceneK)
			s.must(set.Memset(d.Bytes(), 9, 0))
			s.granularity(set, pmem2.GranularityCacheLine, "0")
			s.removesAt(set, d.Addr)
			return nil
		}
		wanted := func(want ...string) {
			s.Helper()
			if !slices.Equal(seen, want) {
				s.Errorf("seen: %q, want %q", seen, want)
			}
			seen = nil
		}
		d := s.maps(set, src, 0, 64*sceneK)
		wanted("BADBLOCK gone", "BADBLOCKS_CLEARED gone", "PART_ADD there", "SDS_UPDATE there")
		s.must(set.Memset(d.Bytes(), 5, 0))
		wanted("SET there", "DRAIN there")
		s.removes("0", set, d.Addr, 1)
		wanted("REMOVE_RANGE there", "PART_REMOVE gone", "SDS_UPDATE gone")
		d = s.maps(set, src, 0, 64*sceneK)
		s.removesAt(set, d.Addr)
		wanted("PART_ADD there", "SDS_UPDATE there", "PART_REMOVE gone", "SDS_UPDATE gone")

		// Of a set that is being deleted everything is refused.
		s.hook = nil
		d = s.maps(set, src, 0, 64*sceneK)
		calls := 0
		s.hook = func(set *pmemset.Set, e *pmemset.Event) error {
			calls++
			_, err := set.Map(other, nil)
			s.outcome("Map", err, "EINVAL")
			_, err = set.PartMapByAddress(d.Addr)
			s.outcome("PartMapByAddress", err, "EINVAL")
			s.outcome("RemoveRange", set.RemoveRange(d.Addr, 1), "EINVAL")
			s.outcome("Delete", set.Delete(), "0")
			if p := set.FirstPartMap(); p != nil {
				s.Errorf("the first part map is at %+v", p.Descriptor())
			}
			return nil
		}
		s.must(set.Delete())
		if calls != 1 {
			s.Errorf("%d events, want 1", calls)
		}
	})
}
