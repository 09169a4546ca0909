package conformance

import (
	"slices"

	"pmemlab/pmemset"
)

// setShutdownCases are those of libpmemset_shutdown_state(7).
func setShutdownCases() []Case {
	const page = "libpmemset_shutdown_state/"
	return []Case{{
		Name:  page + "unsafe-shutdown-discoverable-by-usc",
		Rows:  []string{page + "unsafe-shutdown-discoverable-by-usc", page + "evaluated-from-stored-and-current"},
		Needs: []Need{NeedSysfsEdit},
		Run:   shutdownRaisesCount,
	}, {
		Name: page + "needs-smart-hardware",
		Rows: []string{page + "needs-smart-hardware"},
		Run:  sdsUnsupported,
	}, {
		Name: page + "evaluated-from-stored-and-current",
		Rows: []string{page + "evaluated-from-stored-and-current"},
		Run: func(t *T) {
			// One and the same stored SDS, on four devices.
			here := sdsFile(t, knownRegion)
			otherCount := knownRegion
			otherCount.DIMMs = slices.Clone(knownRegion.DIMMs)
			otherCount.DIMMs[0].DirtyShutdowns++
			for refs := range int32(2) {
				for _, c := range []struct {
					on   *sdsRegion
					want pmemset.PartState
				}{
					{here, pmemset.PartStateOKButInterrupted},
					{sdsFile(t, knownRegion), pmemset.PartStateOKButInterrupted},
					{sdsFile(t, otherCount), pmemset.PartStateCorrupted},
					{sdsFile(t, dimmCounts(knownUSC)), pmemset.PartStateIndeterminate},
				} {
					want := c.want
					if refs == 0 {
						want = pmemset.PartStateOK
					}
					var state pmemset.PartState
					set, _ := c.on.setOf(want)
					c.on.accepts(set, c.on.source(here.sds(knownUSC, refs), &state), &state, want)
				}
			}
		},
	}, {
		Name: page + "for-every-new-mapping-of-source",
		Rows: []string{page + "for-every-new-mapping-of-source"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				var state pmemset.PartState
				src, plain := r.source(pmemset.SDS{}, &state), r.plain()
				set, events := t.SetWithEvents()
				r.accepts(set, src, &state, pmemset.PartStateOK)
				events.Take()
				state = junk
				events.Name("A", t.SetMap(Release112, set, plain, 0, sdsPart).Addr)
				t.Check(state == junk, "mapping another source, without an SDS, writes the state %d", state)
				t.Events(set, events, "PART_ADD A 2M")
				for range 3 {
					r.accepts(set, src, &state, pmemset.PartStateOKButAlreadyOpen)
				}
			})
		},
	}, {
		Name:  page + "without an SDS the device isn't asked",
		Rows:  []string{page + "for-every-new-mapping-of-source"},
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				r.unreadable("/nfit", func() { t.SetMap(Release112, t.Set(), r.plain(), 0, sdsPart) })
			})
		},
	}, {
		Name: page + "state-returned-through-pointer",
		Rows: []string{page + "state-returned-through-pointer"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				for _, found := range sourceStates {
					var state pmemset.PartState
					src := r.inState(found, &state)
					all, _ := r.setOf(allState)
					none, _ := r.setOf(0)
					r.refuses(none, src, &state, found)
					r.accepts(all, src, &state, found)
					src = r.inState(found, nil)
					r.refuses(none, src, nil, found)
					r.accepts(all, src, nil, found)
				}
				// Also if mapping fails because of something else that comes later.
				var state pmemset.PartState = junk
				src := r.source(r.sds(3, 0), &state)
				set, events := t.SetWithEvents()
				t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", Release112, set, src, 0, 100)
				r.checkState(&state, pmemset.PartStateOK)
				t.Events(set, events)
				r.accepts(set, src, &state, pmemset.PartStateOK)
				got := lastSDS(t, events)
				t.Check(got.RefCount == 1, "after a mapping that failed and one that didn't the SDS is %s", sdsText(got))
			})
		},
	}, {
		Name: page + "default-refusal",
		Rows: []string{page + "default-refusal"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				for _, found := range sourceStates {
					var state pmemset.PartState
					src := r.inState(found, &state)
					set, events := t.SetWithEvents()
					if found == pmemset.PartStateOK || found == pmemset.PartStateOKButAlreadyOpen {
						r.accepts(set, src, &state, found)
						continue
					}
					for range 2 { // the refusal is no mapping
						r.refuses(set, src, &state, found)
						t.Events(set, events)
						t.CheckParts(set)
					}
					t.Delete(set)
					t.Events(set, events)
				}
			})
		},
	}, {
		Name: page + "acceptable-states-allow",
		Rows: []string{page + "acceptable-states-allow"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				for _, found := range sourceStates {
					for _, states := range []pmemset.PartState{found, found | pmemset.PartStateOK, allState} {
						var state pmemset.PartState
						set, _ := r.setOf(states)
						d := r.accepts(set, r.inState(found, &state), &state, found)
						t.CheckParts(set, d)
						d.Bytes()[0] = 'x'
						t.Must(set.Persist(d.Bytes()[:1]), "Persist() of the part")
						t.Delete(set)
					}
				}
			})
		},
	}, {
		Name: page + "update-event-on-each-change",
		Rows: []string{page + "update-event-on-each-change"},
		Run:  shutdownEvents,
	}, {
		Name: page + "update-event-on-each-change, coalesced parts",
		Rows: []string{page + "update-event-on-each-change"},
		Run:  shutdownEventsCoalesced,
	}, {
		Name: page + "example-accept-interrupted",
		Rows: []string{page + "example-accept-interrupted"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				stored := r.sds(knownUSC, 1)
				for range 3 { // it is the program that ends it, with a count of 0
					var state pmemset.PartState
					src := r.source(stored, &state)
					r.refuses(t.Set(), src, &state, pmemset.PartStateOKButInterrupted)
					set, events := r.setOf(pmemset.PartStateOK | pmemset.PartStateOKButInterrupted)
					d := r.accepts(set, src, &state, pmemset.PartStateOKButInterrupted)
					events.Name("A", d.Addr)
					t.Events(set, events, "PART_ADD A 2M", "SDS_UPDATE usc 12 ref 2")
					t.Delete(set)
					stored = lastSDS(t, events)
					t.Check(stored == r.sds(knownUSC, 1), "after a clean end the SDS is %s", sdsText(stored))
				}
				stored.RefCount = 0
				var state pmemset.PartState
				r.accepts(t.Set(), r.source(stored, &state), &state, pmemset.PartStateOK)
			})
		},
	}, {
		Name: page + "example-first-initialisation",
		Rows: []string{page + "example-first-initialisation"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				var state pmemset.PartState
				first, events := t.SetWithEvents()
				src := r.source(pmemset.SDS{}, &state)
				r.accepts(first, src, &state, pmemset.PartStateOK)
				open := lastSDS(t, events)
				t.Check(open == r.sds(knownUSC, 1), "the first SDS is %s", sdsText(open))
				t.Delete(first)
				closed := lastSDS(t, events)
				t.Check(closed == r.sds(knownUSC, 0), "the SDS of a clean end is %s", sdsText(closed))
				t.Delete(src)
				// The next run has what was saved last: of a program that ended well, or of
				// one that didn't come to its end.
				r.accepts(t.Set(), r.source(closed, &state), &state, pmemset.PartStateOK)
				r.refuses(t.Set(), r.source(open, &state), &state, pmemset.PartStateOKButInterrupted)
			})
		},
	}}
}

func shutdownRaisesCount(t *T) {
	onSDSRegion(t, func(r *sdsRegion) {
		dimms := t.Storage(r.o).DIMMs
		var state pmemset.PartState
		src := r.source(pmemset.SDS{}, &state)
		set, events := t.SetWithEvents()
		r.accepts(set, src, &state, pmemset.PartStateOK)
		open := lastSDS(t, events)
		raise(t, dimms[1], 1) // while it is in use: seen even by this process
		r.refuses(set, src, &state, pmemset.PartStateCorrupted)
		r.refuses(t.Set(), r.source(open, &state), &state, pmemset.PartStateCorrupted)
		t.Events(set, events)
		// One that accepts it never takes the new count over.
		all, allEvents := r.setOf(allState)
		damaged := r.source(open, &state)
		for refs := range int32(2) {
			r.accepts(all, damaged, &state, pmemset.PartStateCorrupted)
			got := lastSDS(t, allEvents)
			t.Check(got == r.sds(knownUSC, refs+2), "the SDS is %s, want %s", sdsText(got), sdsText(r.sds(knownUSC, refs+2)))
		}
		t.Delete(set)
		closed := lastSDS(t, events)
		t.Check(closed == r.sds(knownUSC, 0), "after Delete() the SDS is %s", sdsText(closed))

		// Nothing was mapped: a shutdown now does no harm, and the count is taken over.
		raise(t, dimms[0], 5)
		set, events = t.SetWithEvents()
		r.accepts(set, src, &state, pmemset.PartStateOK)
		got := lastSDS(t, events)
		t.Check(got == r.sds(knownUSC+6, 1), "the SDS is %s, want %s", sdsText(got), sdsText(r.sds(knownUSC+6, 1)))
		r.accepts(set, src, &state, pmemset.PartStateOKButAlreadyOpen)
		r.accepts(t.Set(), r.source(closed, &state), &state, pmemset.PartStateOK)
		r.refuses(t.Set(), r.source(r.sds(knownUSC, 1), &state), &state, pmemset.PartStateCorrupted)
	})
}

// shutdownEvents counts up and down, in each way that a mapping can come and go.
func shutdownEvents(t *T) {
	onSDSRegion(t, func(r *sdsRegion) {
		own := pmemset.SDS{}
		src := r.source(own, nil)
		set, events := t.SetWithEvents()
		other, otherEvents := t.SetWithEvents()
		step := func(s Set, e *SetEvents, want ...string) {
			for _, told := range t.Events(s, e, want...) {
				t.Check(told.SDS == nil || told.Source == src, "SDS_UPDATE comes with another source")
				t.Check(told.SDS == nil || string(told.SDS.ID[:len(r.id)]) == r.id, "SDS_UPDATE comes with another identifier")
			}
		}
		var parts []pmemset.PartDescriptor
		for i, name := range []string{"A", "B", "C"} {
			d := r.accepts(set, src, nil, 0)
			events.Name(name, d.Addr)
			parts = append(parts, d)
			step(set, events, "PART_ADD "+name+" 2M", []string{"SDS_UPDATE usc 12 ref 1", "SDS_UPDATE usc 12 ref 2", "SDS_UPDATE usc 12 ref 3"}[i])
		}
		otherEvents.Name("D", r.accepts(other, src, nil, 0).Addr)
		step(other, otherEvents, "PART_ADD D 2M", "SDS_UPDATE usc 12 ref 4")
		t.Must(set.RemovePartMap(t.at(set, parts[1].Addr)), "RemovePartMap() of B")
		step(set, events, "PART_REMOVE B 2M", "SDS_UPDATE usc 12 ref 3")
		t.Must(set.RemoveRange(parts[0].Addr, 1), "RemoveRange() of A")
		step(set, events, "REMOVE_RANGE A 1", "PART_REMOVE A 2M", "SDS_UPDATE usc 12 ref 2")
		t.Must(set.RemovePartMap(t.at(set, parts[2].Addr)), "RemovePartMap() of C")
		step(set, events, "PART_REMOVE C 2M", "SDS_UPDATE usc 12 ref 1")
		t.Delete(set)
		step(set, events)
		t.Delete(other)
		step(other, otherEvents, "SDS_UPDATE usc 12 ref 0")
		t.Check(own == pmemset.SDS{}, "the program's own SDS has become %s", sdsText(own))

		// Nothing comes without a change: not of failures, nor of work on the memory.
		set, events = t.SetWithEvents()
		d := r.accepts(set, src, nil, 0)
		events.Take()
		t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", Release112, set, src, 0, 100)
		t.Must(set.DeepFlush(d.Bytes()), "DeepFlush()")
		m := t.at(set, d.Addr)
		t.Expect(useAfterDrop, set.RemoveRange(d.Addr+1, 0xfff), "RemoveRange() with a reference held")
		m.Drop()
		events.Name("A", d.Addr)
		step(set, events, "REMOVE_RANGE A+1 4095")
		t.Must(src.Delete(), "Delete() of the source")
		t.Delete(set)
		left := events.Take()
		for _, e := range left { // the source has gone: the event may be left out
			t.Check(e.SDS != nil && *e.SDS == r.sds(knownUSC, 0), "after the end of the source Delete() of the set tells something else")
		}
		t.Check(len(left) <= 1, "after the end of the source there are %d events", len(left))
	})
}

// shutdownEventsCoalesced has each mapping of a part map count for its own source.
func shutdownEventsCoalesced(t *T) {
	onSDSRegion(t, func(r *sdsRegion) {
		one, two := r.source(pmemset.SDS{}, nil), r.source(r.sds(knownUSC, 4), nil)
		cfg := t.SetConfigIn(alignedReservation(t, 8*sdsPart))
		t.Must(cfg.SetAcceptableStates(allState), "SetAcceptableStates(all)")
		set, events := t.SetWithEvents(cfg)
		t.Coalesce(set, pmemset.CoalescingFull)
		var whole pmemset.PartDescriptor
		for i, src := range []SetSource{one, two, one, two} {
			whole = r.accepts(set, src, nil, 0)
			t.Check(whole.Size == uint64(i+1)*sdsPart, "coalesced, the part map is %s", partText(whole))
		}
		events.Take()
		events.Name("A", whole.Addr)
		of := func(all []SetEvent, sources ...SetSource) {
			var got []SetSource
			for _, e := range all {
				if e.SDS != nil {
					got = append(got, e.Source)
				}
			}
			t.Check(len(got) == len(sources), "%d SDS_UPDATE have come, want %d", len(got), len(sources))
			for i, src := range got {
				t.Check(src == sources[i], "SDS_UPDATE number %d is of another source", i)
			}
		}
		t.Must(set.RemoveRange(whole.Addr+sdsPart, 1), "RemoveRange() of the second mapping")
		of(t.Events(set, events, "REMOVE_RANGE A+2M 1", "SDS_UPDATE usc 12 ref 5"), two)
		t.Must(set.RemoveRange(whole.Addr+2*sdsPart, 2*sdsPart), "RemoveRange() of the third and fourth mapping")
		of(t.Events(set, events, "REMOVE_RANGE A+4M 4M", "PART_REMOVE A+4M 4M", "SDS_UPDATE usc 12 ref 1", "SDS_UPDATE usc 12 ref 4"), one, two)
		r.accepts(set, two, nil, 0) // fills the hole
		of(t.Events(set, events, "PART_ADD A 4M", "SDS_UPDATE usc 12 ref 5"), two)
		t.Must(set.RemovePartMap(t.at(set, whole.Addr)), "RemovePartMap() of two mappings")
		of(t.Events(set, events, "PART_REMOVE A 4M", "SDS_UPDATE usc 12 ref 0", "SDS_UPDATE usc 12 ref 4"), one, two)
		for _, src := range []SetSource{two, one, two} {
			r.accepts(set, src, nil, 0)
		}
		events.Take()
		t.Delete(set)
		of(t.Events(set, events, "SDS_UPDATE usc 12 ref 5", "SDS_UPDATE usc 12 ref 0", "SDS_UPDATE usc 12 ref 4"), two, one, two)
	})
}

// alignedReservation is one whose start is aligned for a device DAX.
func alignedReservation(t *T, size uint64) Reservation {
	return t.Reservation(freeSpace(t, size), size)
}
