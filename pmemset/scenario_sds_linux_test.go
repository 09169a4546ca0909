package pmemset_test

import (
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
	"pmemlab/pmemset"
)

// TestScenario66: the count of mappings goes up and down with them, and each change is
// announced.
func TestScenario66(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil), s.newSource()
		var own pmemset.SDS
		state := s.sds(src, own)
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOK)
		s.mapsAt("B: 128K", set, src, 64*sceneK, 128*sceneK)
		s.state(state, pmemset.PartStateOKButAlreadyOpen)
		s.removesAt(set, s.bases["A"])
		s.events(
			"PART_ADD A 64K", "SDS_UPDATE "+scenePmemID+" 10 1",
			"PART_ADD B 128K", "SDS_UPDATE "+scenePmemID+" 10 2",
			"PART_REMOVE A 64K", "SDS_UPDATE "+scenePmemID+" 10 1")
		s.must(set.Delete())
		s.events("SDS_UPDATE " + scenePmemID + " 10 0")
		if own != (pmemset.SDS{}) {
			s.Errorf("the program's struct has become %+v", own)
		}
	})
}

// TestScenario67: a source that was closed cleanly is fine wherever it lies now, and
// takes the values of that device.
func TestScenario67(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		for _, sds := range []pmemset.SDS{sceneSDS(scenePmemID, 3, 0), sceneSDS(sceneOtherID, 3, 0), sceneSDS(sceneOtherID, 10, 0)} {
			set, src := s.set(nil), s.newSource()
			state := s.sds(src, sds)
			s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
			s.state(state, pmemset.PartStateOK)
			s.events("PART_ADD A 64K", "SDS_UPDATE "+scenePmemID+" 10 1")
			s.must(set.Delete())
			s.events("SDS_UPDATE " + scenePmemID + " 10 0")
		}
	})
}

// TestScenario68: what was in use is refused, with the reason.
func TestScenario68(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		for _, tc := range []struct {
			sds  pmemset.SDS
			want pmemset.PartState
		}{
			{sceneSDS(scenePmemID, 10, 1), 8},
			{sceneSDS(scenePmemID, 9, 1), 16},
			{sceneSDS(sceneOtherID, 10, 1), 1},
			{sceneSDS(sceneOtherID, 9, 1), 1},
		} {
			set, src := s.set(nil), s.newSource()
			state := s.sds(src, tc.sds)
			s.refuses("UNDESIRABLE_PART_STATE", set, src, 0, 64*sceneK)
			s.state(state, tc.want)
			// Whatever else is wrong comes later.
			s.refuses("UNDESIRABLE_PART_STATE", set, src, 100, 100)
			s.state(state, tc.want)
			s.refuses("UNDESIRABLE_PART_STATE", set, src, 2*scenePmemSize, 64*sceneK)
			s.state(state, tc.want)
			s.events()
			s.granularity(set, 0, "NO_PART_MAPPED")
		}
	})
}

// sceneInterruptedTwice accepts an interrupted source and maps it twice, in a set that it
// deletes then.
func sceneInterruptedTwice(s *scenePmem) (src *pmemset.Source, state *pmemset.PartState) {
	set := s.set(nil, s.accepting(pmemset.PartStateOK|pmemset.PartStateOKButAlreadyOpen|pmemset.PartStateOKButInterrupted))
	src = s.newSource()
	state = s.sds(src, sceneSDS(scenePmemID, 10, 1))
	s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
	s.state(state, pmemset.PartStateOKButInterrupted)
	s.mapsAt("B: 64K", set, src, 0, 64*sceneK)
	s.state(state, pmemset.PartStateOKButAlreadyOpen)
	s.must(set.Delete())
	return src, state
}

// TestScenario69: accepting an interruption doesn't repair the count.
func TestScenario69(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		sceneInterruptedTwice(s)
		s.events(
			"PART_ADD A 64K", "SDS_UPDATE "+scenePmemID+" 10 2",
			"PART_ADD B 64K", "SDS_UPDATE "+scenePmemID+" 10 3",
			"SDS_UPDATE "+scenePmemID+" 10 2", "SDS_UPDATE "+scenePmemID+" 10 1")
	})
}

// TestScenario70: once nothing of it is mapped any more, it is as interrupted as before.
func TestScenario70(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		src, state := sceneInterruptedTwice(s)
		s.sent()
		set := s.set(nil)
		s.refuses("UNDESIRABLE_PART_STATE", set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOKButInterrupted)
		s.events()
	})
}

// TestScenario71: accepting what is corrupted or undecided doesn't repair the data: the
// state is found again.
func TestScenario71(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		for _, tc := range []struct {
			sds  pmemset.SDS
			want pmemset.PartState
			old  string
		}{
			{sceneSDS(scenePmemID, 9, 1), pmemset.PartStateCorrupted, scenePmemID + " 9 "},
			{sceneSDS(sceneOtherID, 10, 1), pmemset.PartStateIndeterminate, sceneOtherID + " 10 "},
		} {
			set, src := s.set(nil, s.accepting(sceneAllStates)), s.newSource()
			state := s.sds(src, tc.sds)
			s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
			s.state(state, tc.want)
			s.mapsAt("B: 64K", set, src, 0, 64*sceneK)
			s.state(state, tc.want)
			s.must(set.Delete())
			s.events(
				"PART_ADD A 64K", "SDS_UPDATE "+tc.old+"2", "PART_ADD B 64K", "SDS_UPDATE "+tc.old+"3",
				"SDS_UPDATE "+tc.old+"2", "SDS_UPDATE "+tc.old+"1")
		}
	})
}

// TestScenario72: an unsafe shutdown that the program lives through counts as well, until
// it has unmapped everything.
func TestScenario72(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil), s.newSource()
		state := s.sds(src, pmemset.SDS{})
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOK)
		s.count(11)
		s.refuses("UNDESIRABLE_PART_STATE", set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateCorrupted)
		s.must(set.Delete())
		s.events("PART_ADD A 64K", "SDS_UPDATE "+scenePmemID+" 10 1", "SDS_UPDATE "+scenePmemID+" 10 0")
		set = s.set(nil)
		s.mapsAt("B: 64K", set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOK)
		s.events("PART_ADD B 64K", "SDS_UPDATE "+scenePmemID+" 11 1")
	})
}

// TestScenario73: two sources of one file have data of their own, also in one part map.
func TestScenario73(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, one, two := s.set(nil), s.newSource(), s.newSource()
		s.coalescing(set, pmemset.CoalescingFull)
		first, second := s.sds(one, pmemset.SDS{}), s.sds(two, pmemset.SDS{})
		s.mapsAt("A: 64K", set, one, 0, 64*sceneK)
		s.mapsAt("A 128K", set, two, 0, 64*sceneK)
		s.state(first, pmemset.PartStateOK)
		s.state(second, pmemset.PartStateOK)
		s.removesAt(set, s.bases["A"])
		var of []*pmemset.Source
		for _, e := range s.log {
			of = append(of, e.Source)
		}
		for i, want := range []*pmemset.Source{nil, one, nil, two, nil, one, two} {
			if len(of) != 7 || of[i] != want {
				s.Fatalf("the sources of the events are %p, want those of %p and %p", of, one, two)
			}
		}
		s.events(
			"PART_ADD A 64K", "SDS_UPDATE "+scenePmemID+" 10 1", "PART_ADD A 128K", "SDS_UPDATE "+scenePmemID+" 10 1",
			"PART_REMOVE A 128K", "SDS_UPDATE "+scenePmemID+" 10 0", "SDS_UPDATE "+scenePmemID+" 10 0")
	})
}

// TestScenario74: data stored while a source is mapped tell any other source of an
// interruption.
func TestScenario74(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, one, two := s.set(nil), s.newSource(), s.newSource()
		s.sds(one, pmemset.SDS{})
		s.mapsAt("A: 64K", set, one, 0, 64*sceneK)
		state := s.sds(two, s.stored())
		s.refuses("UNDESIRABLE_PART_STATE", set, two, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOKButInterrupted)
		s.events("PART_ADD A 64K", "SDS_UPDATE "+scenePmemID+" 10 1")
	})
}

// TestScenario75: removing a range counts each mapping that goes.
func TestScenario75(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil), s.newSource()
		s.coalescing(set, pmemset.CoalescingFull)
		s.sds(src, pmemset.SDS{})
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
		s.mapsAt("A 128K", set, src, 0, 64*sceneK)
		s.mapsAt("A 192K", set, src, 0, 64*sceneK)
		s.sent()
		s.removes("0", set, s.bases["A"]+64*sceneK, 64*sceneK)
		s.events("REMOVE_RANGE A+64K 64K", "SDS_UPDATE "+scenePmemID+" 10 2")
		s.parts(set, "A 64K", "A+128K 64K")
		s.removes("0", set, s.bases["A"], 192*sceneK)
		s.events(
			"REMOVE_RANGE A 192K", "PART_REMOVE A 64K", "SDS_UPDATE "+scenePmemID+" 10 1",
			"PART_REMOVE A+128K 64K", "SDS_UPDATE "+scenePmemID+" 10 0")
	})
}

// TestScenario76: a call that fails later has told the state, and counted nothing.
func TestScenario76(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil), s.newSource()
		state := s.sds(src, sceneSDS(scenePmemID, 3, 0))
		for _, tc := range []struct {
			offset, length uint64
			want           string
		}{
			{0, 100, "LENGTH_UNALIGNED"},
			{100, 64 * sceneK, "INVALID_PMEM2_MAP"},
		} {
			s.refuses(tc.want, set, src, tc.offset, tc.length)
			s.state(state, pmemset.PartStateOK)
		}
		s.events()
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOK)
		s.events("PART_ADD A 64K", "SDS_UPDATE "+scenePmemID+" 10 1")
	})
}

// TestScenario77: where unsafe shutdowns aren't counted there is no state.
func TestScenario77(t *testing.T) {
	unsupported := func(s *scene, path string) {
		s.Helper()
		set, src := s.set(nil, s.accepting(sceneAllStates)), s.fixed(path)
		state := s.sds(src, pmemset.SDS{})
		*state = 77
		s.refuses("SDS_NOSUPP", set, src, 0, 64*sceneK)
		s.state(state, 77)
		s.events()
		s.mapsAt("A: 64K", set, s.fixed(path), 0, 64*sceneK) // as a source without such data
		s.events("PART_ADD A 64K")
	}
	t.Run("host", func(t *testing.T) {
		sceneRuns(t, "G3", func(s *scene) {
			s.machine = ledger.New(platform.Host())
			unsupported(s, s.newFile(64*sceneK))
		})
	})
	for name, cfg := range map[string]emu.FS{
		"tmpfs":             {Size: sceneG, Type: emu.Tmpfs},
		"virtio-pmem":       {Size: sceneG, DAX: true, VirtioPmem: true},
		"no NVDIMM":         {Size: sceneG, DAX: true, Region: emu.Region{Legacy: true}},
		"one without an id": {Size: sceneG, DAX: true, Region: emu.Region{DIMMs: []emu.DIMM{{}, {NoID: true}}}},
		"one without count": {Size: sceneG, DAX: true, Region: emu.Region{DIMMs: []emu.DIMM{{}, {NoDirtyShutdown: true}}}},
	} {
		t.Run(name, func(t *testing.T) {
			sceneEmulated(t, "G3", func(s *scene) { unsupported(s, s.create(s.emu.AddFS(cfg), 64*sceneK)) })
		})
	}
}

// TestScenario78: a source that was never used is refused where that state isn't
// acceptable.
func TestScenario78(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		for _, acceptable := range []pmemset.PartState{
			0, pmemset.PartStateOKButAlreadyOpen, sceneAllStates &^ pmemset.PartStateOK,
		} {
			set, src := s.set(nil, s.accepting(acceptable)), s.newSource()
			state := s.sds(src, pmemset.SDS{})
			s.refuses("UNDESIRABLE_PART_STATE", set, src, 0, 64*sceneK)
			s.state(state, pmemset.PartStateOK)
			s.events()
			s.mapsAt("A: 64K", set, s.newSource(), 0, 64*sceneK) // has no such data
			s.events("PART_ADD A 64K")
		}
	})
}

// TestScenario79: the data are announced also if the source has been deleted before what
// was mapped from it.
func TestScenario79(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil), s.newSource()
		state := s.sds(src, pmemset.SDS{})
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
		s.mapsAt("B: 64K", set, src, 0, 64*sceneK)
		s.must(src.Delete())
		s.state(state, pmemset.PartStateOKButAlreadyOpen)
		s.sent()
		s.removes("0", set, s.bases["A"], 1)
		s.must(set.Delete())
		if n := len(s.log); n != 4 || s.log[2].Source != src || s.log[3].Source != src {
			s.Errorf("%d events, which aren't about the source", n)
		}
		s.events("REMOVE_RANGE A 1", "PART_REMOVE A 64K", "SDS_UPDATE "+scenePmemID+" 10 1", "SDS_UPDATE "+scenePmemID+" 10 0")
		s.state(state, 0)
	})
}
