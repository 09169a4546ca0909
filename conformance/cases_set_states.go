package conformance

import "pmemlab/pmemset"

// sourceStates are all there are.
var sourceStates = []pmemset.PartState{
	pmemset.PartStateIndeterminate, pmemset.PartStateOK, pmemset.PartStateOKButAlreadyOpen,
	pmemset.PartStateOKButInterrupted, pmemset.PartStateCorrupted,
}

// inState is a source that mapping finds in that state.
func (r *sdsRegion) inState(state pmemset.PartState, to *pmemset.PartState) SetSource {
	switch state {
	case pmemset.PartStateIndeterminate:
		return r.source(sdsOf(otherID, knownUSC, 1), to)
	case pmemset.PartStateOKButInterrupted:
		return r.source(r.sds(knownUSC, 1), to)
	case pmemset.PartStateCorrupted:
		return r.source(r.sds(knownUSC-1, 1), to)
	}
	src := r.source(pmemset.SDS{}, to)
	if state == pmemset.PartStateOKButAlreadyOpen {
		r.accepts(r.t.Set(), src, to, pmemset.PartStateOK)
	}
	return src
}

// setStatesCases are those of pmemset_config_set_acceptable_states(3).
func setStatesCases() []Case {
	const page = "pmemset_config_set_acceptable_states/"
	return []Case{{
		Name: page + "values",
		Rows: []string{page + "PMEMSET_E_INVALID_PART_STATES#1", page + "bitmask-of-states", page + "zero-on-success"},
		Run: func(t *T) {
			cfg := t.NewSetConfig()
			for s := range allState + 1 {
				t.Must(cfg.SetAcceptableStates(s), "SetAcceptableStates(%#x)", uint64(s))
			}
			for bit := 5; bit < 64; bit++ {
				for _, others := range []pmemset.PartState{0, pmemset.PartStateOK, allState} {
					bad := others | 1<<bit
					t.Expect("PMEMSET_E_INVALID_PART_STATES", cfg.SetAcceptableStates(bad), "SetAcceptableStates(%#x)", uint64(bad))
				}
			}
			t.Expect("PMEMSET_E_INVALID_PART_STATES", cfg.SetAcceptableStates(1<<64-1), "SetAcceptableStates(all bits)")
		},
	}, {
		Name:  page + "a value that is refused changes nothing",
		Rows:  []string{page + "PMEMSET_E_INVALID_PART_STATES#1"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				var state pmemset.PartState
				cfg := t.SetConfig()
				for _, s := range []pmemset.PartState{allState + 1, allState*2 + 1} {
					t.Expect("PMEMSET_E_INVALID_PART_STATES", cfg.SetAcceptableStates(s), "SetAcceptableStates(%#x)", uint64(s))
				}
				set := t.Set(cfg) // has the default
				r.accepts(set, r.inState(pmemset.PartStateOK, &state), &state, pmemset.PartStateOK)
				r.refuses(set, r.inState(pmemset.PartStateCorrupted, &state), &state, pmemset.PartStateCorrupted)
				t.Must(cfg.SetAcceptableStates(pmemset.PartStateCorrupted), "SetAcceptableStates(CORRUPTED)")
				t.Expect("PMEMSET_E_INVALID_PART_STATES", cfg.SetAcceptableStates(1<<40|pmemset.PartStateOK), "SetAcceptableStates(with a bit too much)")
				set = t.Set(cfg)
				r.accepts(set, r.inState(pmemset.PartStateCorrupted, &state), &state, pmemset.PartStateCorrupted)
				r.refuses(set, r.inState(pmemset.PartStateOK, &state), &state, pmemset.PartStateOK)
			})
		},
	}, {
		Name: page + "compared-during-map",
		Rows: []string{page + "compared-during-map"},
		Run:  statesAreCompared,
	}, {
		Name: page + "depends-on-sds",
		Rows: []string{page + "depends-on-sds"},
		Run: func(t *T) {
			src := t.SetSource(t.made(t.Env.OrdinaryFile(64 * kib)).Path())
			for s := range allState + 1 {
				cfg := t.SetConfig()
				t.Must(cfg.SetAcceptableStates(s), "SetAcceptableStates(%#x)", uint64(s))
				set, events := t.SetWithEvents(cfg)
				events.Name("A", t.SetMap(Release112, set, src, 0, 64*kib).Addr)
				t.Events(set, events, "PART_ADD A 64K")
				t.Delete(set)
			}
		},
	}, {
		Name:  page + "depends-on-sds, NVDIMMs",
		Rows:  []string{page + "depends-on-sds"},
		Needs: []Need{NeedDIMM},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				set, _ := r.setOf(0)
				src := r.plain()
				for range 2 {
					t.SetMap(Release112, set, src, 0, sdsPart)
				}
				var state pmemset.PartState
				t.Must(src.SetSDS(pmemset.SDS{}, &state), "SetSDS() of a source that is mapped")
				r.refuses(set, src, &state, pmemset.PartStateOK)
			})
		},
	}, {
		Name: page + "indeterminate",
		Rows: []string{page + "indeterminate"},
		Run:  stateIndeterminate,
	}, {
		Name:  page + "a device that can't be read",
		Rows:  []string{page + "indeterminate"},
		Needs: []Need{NeedSysfsEdit},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				for _, attr := range []string{"/nfit/dirty_shutdown", "/nfit/id"} {
					r.unreadable(attr, func() {
						for _, stored := range []pmemset.SDS{{}, r.sds(knownUSC, 0), r.sds(knownUSC, 1), sdsOf(otherID, 1, 1)} {
							set, events := r.setOf(allState)
							var state pmemset.PartState = junk
							t.NoSetMap("-EIO", Release112, set, r.source(stored, &state), 0, sdsPart)
							t.Check(state == junk, "the state is %d although the device can't be read", state)
							t.Events(set, events)
						}
					})
				}
			})
		},
	}, {
		Name: page + "ok",
		Rows: []string{page + "ok"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				for _, stored := range []pmemset.SDS{
					r.sds(knownUSC, 0), r.sds(knownUSC-3, 0), r.sds(knownUSC+3, 0), {}, sdsOf(otherID, knownUSC, 0), sdsOf(otherID, 3, 0),
				} {
					r.find(stored, pmemset.PartStateOK, r.sds(knownUSC, 1))
				}
			})
		},
	}, {
		Name: page + "ok-but-already-open",
		Rows: []string{page + "ok-but-already-open"},
		Run:  stateAlreadyOpen,
	}, {
		Name: page + "ok-but-interrupted",
		Rows: []string{page + "ok-but-interrupted"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				for _, refs := range []int32{1, 2, 1000, 1 << 30} {
					r.find(r.sds(knownUSC, refs), pmemset.PartStateOKButInterrupted, r.sds(knownUSC, refs+1))
				}
				// What was saved while the source is mapped, in the hands of another source.
				var state pmemset.PartState
				set, events := t.SetWithEvents()
				r.accepts(set, r.source(pmemset.SDS{}, &state), &state, pmemset.PartStateOK)
				r.refuses(set, r.source(lastSDS(t, events), &state), &state, pmemset.PartStateOKButInterrupted)
			})
		},
	}, {
		Name: page + "corrupted",
		Rows: []string{page + "corrupted"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				for _, usc := range []uint64{0, knownUSC - 1, knownUSC + 1, 1<<64 - 1} {
					for _, refs := range []int32{1, 5} {
						r.find(r.sds(usc, refs), pmemset.PartStateCorrupted, r.sds(usc, refs+1))
					}
				}
			})
		},
	}, {
		Name: page + "default-ok-and-already-open",
		Rows: []string{page + "default-ok-and-already-open"},
		Run: func(t *T) {
			onSDSRegion(t, func(r *sdsRegion) {
				for _, found := range sourceStates {
					var state pmemset.PartState
					src := r.inState(found, &state)
					if set := t.Set(); found == pmemset.PartStateOK || found == pmemset.PartStateOKButAlreadyOpen {
						r.accepts(set, src, &state, found)
					} else {
						r.refuses(set, src, &state, found)
					}
				}
			})
		},
	}}
}

// find maps a source with what was stored: in the default set, where it is refused
// unless the state is OK; in one that accepts all but that state; and in one that
// accepts that one alone, where the SDS becomes want.
func (r *sdsRegion) find(stored pmemset.SDS, state pmemset.PartState, want pmemset.SDS) {
	t := r.t
	t.Note("stored", "%s", sdsText(stored))
	var to pmemset.PartState
	src := r.source(stored, &to)
	if state != pmemset.PartStateOK {
		r.refuses(t.Set(), src, &to, state)
	}
	without, events := r.setOf(allState &^ state)
	r.refuses(without, src, &to, state)
	t.Events(without, events)
	only, events := r.setOf(state)
	d := r.accepts(only, src, &to, state)
	events.Name("A", d.Addr)
	told := events.Take()
	t.Check(len(told) == 2 && told[1].SDS != nil, "mapping tells %d events", len(told))
	t.Check(*told[1].SDS == want, "the SDS becomes %s, want %s", sdsText(*told[1].SDS), sdsText(want))
	t.Delete(only)
	want.RefCount--
	got := lastSDS(t, events)
	t.Check(got == want, "after Delete() the SDS is %s, want %s", sdsText(got), sdsText(want))
}

func statesAreCompared(t *T) {
	onSDSRegion(t, func(r *sdsRegion) {
		for mask := range allState + 1 {
			set, events := r.setOf(mask)
			for _, found := range sourceStates {
				var state pmemset.PartState
				src := r.inState(found, &state)
				if mask&found != 0 {
					r.accepts(set, src, &state, found)
					t.Check(len(events.Take()) == 2, "mapping doesn't tell two events")
					continue
				}
				r.refuses(set, src, &state, found)
				t.Events(set, events)
			}
			t.Delete(set)
		}
	})
}

func stateIndeterminate(t *T) {
	onSDSRegion(t, func(r *sdsRegion) {
		swapped := sdsOf(r.id, knownUSC, 1)
		swapped.ID[0]++
		longer := sdsOf(r.id+"0", knownUSC, 1)
		shorter := sdsOf(r.id[:len(r.id)-1], knownUSC, 1)
		for _, stored := range []pmemset.SDS{
			sdsOf(otherID, knownUSC, 1), sdsOf(otherID, knownUSC-1, 1), sdsOf(otherID, 0, 7), sdsOf("", 0, 1), swapped, longer, shorter,
		} {
			want := stored
			want.RefCount++
			r.find(stored, pmemset.PartStateIndeterminate, want)
		}
		// It stays so while the source is mapped.
		var state pmemset.PartState
		src := r.source(sdsOf(otherID, knownUSC, 1), &state)
		set, _ := r.setOf(allState)
		for range 3 {
			r.accepts(set, src, &state, pmemset.PartStateIndeterminate)
		}
	})
}

func stateAlreadyOpen(t *T) {
	onSDSRegion(t, func(r *sdsRegion) {
		var state, other pmemset.PartState
		src := r.source(pmemset.SDS{}, &state)
		set := t.Set()
		first := r.accepts(set, src, &state, pmemset.PartStateOK)
		second := r.accepts(set, src, &state, pmemset.PartStateOKButAlreadyOpen)
		r.accepts(t.Set(), src, &state, pmemset.PartStateOKButAlreadyOpen)
		// Another source of the same file or device counts for itself.
		r.accepts(set, r.source(pmemset.SDS{}, &other), &other, pmemset.PartStateOK)
		only, _ := r.setOf(pmemset.PartStateOK)
		r.refuses(only, src, &state, pmemset.PartStateOKButAlreadyOpen)

		// As long as one mapping is left.
		t.Must(set.RemoveRange(first.Addr, 1), "RemoveRange() of the first part")
		r.accepts(set, src, &state, pmemset.PartStateOKButAlreadyOpen)
		t.Must(set.RemovePartMap(t.at(set, second.Addr)), "RemovePartMap() of the second part")
		r.accepts(set, src, &state, pmemset.PartStateOKButAlreadyOpen)

		// Mappings from before it had an SDS count, as long as they are there.
		src = r.plain()
		set, _ = r.setOf(allState)
		early := t.SetMap(Release112, set, src, 0, sdsPart)
		t.Must(src.SetSDS(r.sds(knownUSC, 1), &state), "SetSDS() of a source that is mapped")
		d := r.accepts(set, src, &state, pmemset.PartStateOKButAlreadyOpen)
		t.Must(set.RemoveRange(d.Addr, 1), "RemoveRange() of the part with an SDS")
		d = r.accepts(set, src, &state, pmemset.PartStateOKButAlreadyOpen)
		t.Must(set.RemoveRange(early.Addr, 1), "RemoveRange() of the part from before")
		t.Must(set.RemoveRange(d.Addr, 1), "RemoveRange() of the last part")
		r.accepts(set, src, &state, pmemset.PartStateOKButInterrupted)

		// Of one that was interrupted, too, and no longer than it is mapped.
		src = r.source(r.sds(knownUSC, 1), &state)
		set, _ = r.setOf(allState)
		r.accepts(set, src, &state, pmemset.PartStateOKButInterrupted)
		r.accepts(set, src, &state, pmemset.PartStateOKButAlreadyOpen)
		t.Delete(set)
		set, _ = r.setOf(allState)
		d = r.accepts(set, src, &state, pmemset.PartStateOKButInterrupted)
		t.Must(set.RemoveRange(d.Addr, 1), "RemoveRange() of the part")
		r.accepts(set, src, &state, pmemset.PartStateOKButInterrupted)
	})
}
