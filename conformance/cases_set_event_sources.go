package conformance

import (
	"fmt"
	"slices"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// setSourceEventCases are about the events of shutdown data and of bad blocks.
func setSourceEventCases() []Case {
	const page = eventPage
	reservation := []Need{NeedReservation}
	return []Case{
		{
			Name: page + "SDS_UPDATE", Needs: reservation, Rows: []string{page + "sds-update-after-change", page + "sds-update-fields"},
			Run: ofGenerations(sdsUpdates, Release112),
		},
		{
			Name: page + "SDS_UPDATE, several sources", Needs: reservation,
			Rows: []string{page + "sds-update-after-change", page + "sds-update-fields"},
			Run:  ofGenerations(sdsUpdatesOfSources, Release112),
		},
		{
			Name: page + "BADBLOCK", Rows: []string{page + "badblock-for-each", page + "badblock-offset-length"},
			Run: ofGenerations(badBlockEvents, Release112),
		},
		{Name: page + "BADBLOCKS_CLEARED", Rows: []string{page + "badblocks-cleared"}, Run: ofGenerations(badBlocksCleared, Release112)},
		{
			Name: page + "a result that counts", Rows: []string{page + "(text)#1", page + "nonzero-only-where-supported"},
			Run: ofGenerations(badBlocksCallbackFails, Release112),
		},
		{
			Name: page + "results that don't count, of shutdown data", Needs: []Need{NeedDIMM},
			Rows: []string{page + "nonzero-only-where-supported"}, Run: ofGenerations(sdsResultIsIgnored, Release112),
		},
	}
}

// knownSDS is what a source on knownRegion is told to store.
func knownSDS(refs int32) pmemset.SDS {
	sds := pmemset.SDS{USC: knownUSC, RefCount: refs}
	copy(sds.ID[:], knownRegion.DIMMs[0].ID+knownRegion.DIMMs[1].ID)
	return sds
}

// checkSDS expects the SDS_UPDATE among some events to carry these.
func checkSDS(t *T, events []SetEvent, src SetSource, want ...pmemset.SDS) {
	for _, e := range events {
		if e.Type != pmemset.EventSDSUpdate {
			continue
		}
		t.Check(len(want) > 0 && *e.SDS == want[0], "the SDS is %+v, want %+v", *e.SDS, want)
		t.Check(e.Source == src, "SDS_UPDATE comes with another source")
		want = want[1:]
	}
	t.Check(len(want) == 0, "there is no SDS_UPDATE with %+v", want)
}

func sdsUpdates(t *T, g Generation) {
	other := knownSDS(0)
	other.ID[0] ^= 1
	stale := knownSDS(0)
	stale.USC--
	for _, sds := range []pmemset.SDS{{}, knownSDS(0), stale, other} {
		set, r, in := setInReservation(t)
		o, _, _ := t.DAXFileOn(256*kib, knownRegion)
		src := t.SetSource(o.Path())
		given := sds
		t.Must(src.SetSDS(sds, nil), "SetSDS(usc %d, no references)", sds.USC)
		t.Events(set, r)
		var gone, there []bool // what is at R at each event
		r.Answer = func(e SetEvent) error {
			if e.Type == pmemset.EventSDSUpdate {
				gone = append(gone, t.Faults(in.Address(), false))
				there = append(there, len(t.PartMaps(e.Set)) > 0)
			}
			return nil
		}
		t.SetMap(g, set, src, 0, 64*kib)
		checkSDS(t, t.Events(set, r, "PART_ADD R 64K", "SDS_UPDATE usc 12 ref 1"), src, knownSDS(1))
		t.Check(slices.Equal(gone, []bool{false}) && slices.Equal(there, []bool{true}), "at SDS_UPDATE the part isn't there")
		t.Coalesce(set, pmemset.CoalescingFull)
		t.SetMap(g, set, src, 64*kib, 64*kib)
		checkSDS(t, t.Events(set, r, "PART_ADD R 128K", "SDS_UPDATE usc 12 ref 2"), src, knownSDS(2))
		t.SetMap(g, set, src, 128*kib, 64*kib)
		checkSDS(t, t.Events(set, r, "PART_ADD R 192K", "SDS_UPDATE usc 12 ref 3"), src, knownSDS(3))
		t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 0, 100)
		t.Events(set, r)
		t.Must(set.RemoveRange(in.Address()+64*kib, 1), "RemoveRange(the middle)")
		checkSDS(t, t.Events(set, r, "REMOVE_RANGE R+64K 1", "SDS_UPDATE usc 12 ref 2"), src, knownSDS(2))
		gone = nil
		t.Must(set.RemoveRange(in.Address(), 192*kib), "RemoveRange(all)")
		checkSDS(t, t.Events(set, r, "REMOVE_RANGE R 192K", "PART_REMOVE R 64K", "SDS_UPDATE usc 12 ref 1",
			"PART_REMOVE R+128K 64K", "SDS_UPDATE usc 12 ref 0"), src, knownSDS(1), knownSDS(0))
		t.Check(slices.Equal(gone, []bool{true, true}), "at SDS_UPDATE of a removal the part is still mapped")
		t.Coalesce(set, pmemset.CoalescingNone)
		d := t.SetMap(g, set, src, 0, 64*kib)
		t.SetMap(g, set, src, 0, 64*kib)
		r.Take()
		removeByHandle(t, set, d)
		checkSDS(t, t.Events(set, r, "PART_REMOVE R 64K", "SDS_UPDATE usc 12 ref 1"), src, knownSDS(1))
		t.Delete(set)
		checkSDS(t, t.Events(set, r, "SDS_UPDATE usc 12 ref 0"), src, knownSDS(0))
		t.Check(sds == given, "the program's own struct has changed")
	}
}

// sdsUpdatesOfSources has a part map of parts of two sources, one of them in two sets.
func sdsUpdatesOfSources(t *T, g Generation) {
	set, r, _ := setInReservation(t)
	first, _, _ := t.DAXFileOn(64*kib, knownRegion)
	second, _, _ := t.DAXFileOn(64*kib, emu.Region{DIMMs: []emu.DIMM{{ID: "8680-0000000a", DirtyShutdowns: 3}}})
	_, plain := t.SetFile(64 * kib)
	a, b := t.SetSource(first.Path()), t.SetSource(second.Path())
	t.Must(a.SetSDS(pmemset.SDS{}, nil), "SetSDS() of the first source")
	t.Must(b.SetSDS(pmemset.SDS{}, nil), "SetSDS() of the second source")
	t.Force("CACHE_LINE")
	t.SetMap(g, set, a, 0, 0)
	t.Coalesce(set, pmemset.CoalescingFull)
	t.SetMap(g, set, b, 0, 0)
	t.SetMap(g, set, plain, 0, 0) // without shutdown data
	t.Events(set, r, "PART_ADD R 64K", "SDS_UPDATE usc 12 ref 1", "PART_ADD R 128K", "SDS_UPDATE usc 3 ref 1", "PART_ADD R 192K")
	other, told := t.SetWithEvents()
	d := t.SetMap(g, other, a, 0, 0)
	told.Name("O", d.Addr)
	checkSDS(t, t.Events(other, told, "PART_ADD O 64K", "SDS_UPDATE usc 12 ref 2"), a, knownSDS(2))
	t.Events(set, r)
	removeByHandle(t, set, t.PartMaps(set)[0])
	events := t.Events(set, r, "PART_REMOVE R 192K", "SDS_UPDATE usc 12 ref 1", "SDS_UPDATE usc 3 ref 0")
	t.Check(events[1].Source == a && events[2].Source == b, "the sources of SDS_UPDATE are others")
	t.Delete(other)
	t.Events(other, told, "SDS_UPDATE usc 12 ref 0")
}

// sdsResultIsIgnored has the callback say no to each event of shutdown data.
func sdsResultIsIgnored(t *T, g Generation) {
	set, r, in := setInReservation(t)
	r.Answer = func(SetEvent) error { return ErrCallback }
	o, _, _ := t.DAXFileOn(64*kib, knownRegion)
	src := t.SetSource(o.Path())
	t.Must(src.SetSDS(pmemset.SDS{}, nil), "SetSDS()")
	t.SetMap(g, set, src, 0, 0)
	t.SetMap(g, set, src, 0, 0)
	t.Events(set, r, "PART_ADD R 64K", "SDS_UPDATE usc 12 ref 1", "PART_ADD R+64K 64K", "SDS_UPDATE usc 12 ref 2")
	t.Must(set.RemoveRange(in.Address(), 1), "RemoveRange()")
	t.Events(set, r, "REMOVE_RANGE R 1", "PART_REMOVE R 64K", "SDS_UPDATE usc 12 ref 1")
	removeByHandle(t, set, t.PartMaps(set)[0])
	t.Events(set, r, "PART_REMOVE R+64K 64K", "SDS_UPDATE usc 12 ref 0")
}

// badBlocksAt are blocks in the order of their offsets, and how BADBLOCK tells them.
var badBlocksAt = []struct {
	block pmem2.BadBlock
	told  string
}{
	{pmem2.BadBlock{Offset: 0, Length: 4096}, "BADBLOCK 0 4K"},
	{pmem2.BadBlock{Offset: 4 * 4096, Length: 3 * 4096}, "BADBLOCK 16K 12K"},
	{pmem2.BadBlock{Offset: 20 * 4096, Length: 4096}, "BADBLOCK 80K 4K"},
	{pmem2.BadBlock{Offset: 63 * 4096, Length: 4096}, "BADBLOCK 252K 4K"},
}

// onBadSetSource calls f with sources of bad media, of which blocks have gone bad, and a
// set with events in which P is where a part is.
func onBadSetSource(t *T, blocks int, f func(src SetSource, set Set, r *SetEvents, what string)) {
	onBadMedia(t, func(o Object, _ int, _ Source, _ []byte, what string) {
		for _, i := range []int{2, 0, 3, 1} {
			if b := badBlocksAt[i].block; i < blocks {
				t.poison(o, b.Offset, b.Length)
			}
		}
		src := t.SetSource(o.Path())
		t.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(on)")
		set, r := t.SetWithEvents()
		f(src, set, r, what)
	})
}

// toldBad are the events of the first blocks.
func toldBad(blocks int) (told []string) {
	for _, b := range badBlocksAt[:blocks] {
		told = append(told, b.told)
	}
	return told
}

func badBlockEvents(t *T, g Generation) {
	for blocks := range len(badBlocksAt) + 1 {
		onBadSetSource(t, blocks, func(src SetSource, set Set, r *SetEvents, what string) {
			t.Note("media", "%d bad blocks of %s", blocks, what)
			if blocks > 0 {
				// The whole source is searched, and nothing is mapped.
				t.NoSetMap("PMEMSET_E_IO_FAIL", g, set, src, 0, daxAlign)
				for i, e := range t.Events(set, r, toldBad(blocks)...) {
					t.Check(e.Source == src, "BADBLOCK comes with another source")
					t.Check(e.BadBlock == badBlocksAt[i].block, "the block is %+v, want %+v", e.BadBlock, badBlocksAt[i].block)
				}
				t.NoSetMap("PMEMSET_E_IO_FAIL", g, set, src, 0, 0)
				t.Events(set, r, toldBad(blocks)...)
				t.Must(src.SetBadBlockDetection(false), "SetBadBlockDetection(off)")
			}
			d := t.SetMap(g, set, src, 0, 0)
			r.Name("P", d.Addr)
			t.Events(set, r, fmt.Sprintf("PART_ADD P %s", amount(d.Size)))
		})
	}
}

func badBlocksCleared(t *T, g Generation) {
	const blocks = 3
	for _, c := range []struct {
		name  string
		clear func(b pmem2.BadBlock) bool
		all   bool
	}{
		{"all", func(pmem2.BadBlock) bool { return true }, true},
		{"none", func(pmem2.BadBlock) bool { return false }, false},
		{"all but the first", func(b pmem2.BadBlock) bool { return b.Offset > 0 }, false},
		{"all but the last", func(b pmem2.BadBlock) bool { return b.Offset < 20*4096 }, false},
	} {
		onBadSetSource(t, blocks, func(src SetSource, set Set, r *SetEvents, what string) {
			var failure error
			var atEnd []pmemset.PartDescriptor
			r.Answer = func(e SetEvent) error {
				switch {
				case e.Type == pmemset.EventBadBlock && c.clear(e.BadBlock):
					if err := e.Source.ClearBadBlock(e.BadBlock); err != nil {
						failure = err
					}
				case e.Type == pmemset.EventBadBlocksCleared:
					atEnd = append(t.PartMaps(e.Set), pmemset.PartDescriptor{})
				}
				return nil
			}
			t.Note("the callback", "clears %s of %d bad blocks of %s", c.name, blocks, what)
			if !c.all {
				t.NoSetMap("PMEMSET_E_IO_FAIL", g, set, src, 0, 0)
				t.Must(failure, "ClearBadBlock()")
				t.Events(set, r, toldBad(blocks)...)
				return
			}
			d := t.SetMap(g, set, src, 0, 0)
			t.Must(failure, "ClearBadBlock()")
			r.Name("P", d.Addr)
			told := t.Events(set, r, append(toldBad(blocks), "BADBLOCKS_CLEARED", fmt.Sprintf("PART_ADD P %s", amount(d.Size)))...)
			t.Check(told[blocks].Source == src, "BADBLOCKS_CLEARED comes with another source")
			t.Check(len(atEnd) == 1, "at BADBLOCKS_CLEARED the part maps are %s", partsText(atEnd))
			// There is nothing to be cleared any more.
			d = t.SetMap(g, set, src, 0, 0)
			r.Name("Q", d.Addr)
			t.Events(set, r, fmt.Sprintf("PART_ADD Q %s", amount(d.Size)))
		})
	}
}

func badBlocksCallbackFails(t *T, g Generation) {
	const blocks = 2
	for _, failing := range []pmemset.EventType{pmemset.EventBadBlock, pmemset.EventPartAdd, pmemset.EventBadBlocksCleared} {
		onBadSetSource(t, blocks, func(src SetSource, set Set, r *SetEvents, what string) {
			var failure error
			r.Answer = func(e SetEvent) error {
				if e.Type == pmemset.EventBadBlock {
					if err := src.ClearBadBlock(e.BadBlock); err != nil {
						failure = err
					}
				}
				if e.Type == failing {
					return ErrCallback
				}
				return nil
			}
			t.Note("the callback", "fails at %v, %s", failing, what)
			if failing == pmemset.EventBadBlocksCleared {
				before := t.PartMaps(set)
				cfg := t.MapConfig(nil, 0, 0)
				d, err := set.Map(src, cfg)
				t.Expect("(callback)", err, "Set.Map()")
				t.Check(err == ErrCallback, "Set.Map returns %v, not what the callback has returned", err) //nolint:errorlint // unchanged
				t.Check(d == pmemset.PartDescriptor{}, "Set.Map fails and returns %s", partText(d))
				t.Must(failure, "ClearBadBlock()")
				t.Events(set, r, append(toldBad(blocks), "BADBLOCKS_CLEARED")...)
				t.CheckParts(set, before...)
				return
			}
			d := t.SetMap(g, set, src, 0, 0)
			t.Must(failure, "ClearBadBlock()")
			r.Name("P", d.Addr)
			t.Events(set, r, append(toldBad(blocks), "BADBLOCKS_CLEARED", fmt.Sprintf("PART_ADD P %s", amount(d.Size)))...)
			t.CheckParts(set, d)
		})
	}
}
