package conformance

import (
	"fmt"
	"slices"

	"pmemlab/emu/fault"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

const useAfterDrop = "PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP"

// setRemovePartMapCases are those of pmemset_remove_part_map(3).
func setRemovePartMapCases() []Case {
	const page = "pmemset_remove_part_map/"
	return []Case{{
		Name: page + "removes-part",
		Rows: []string{page + "removes-part", page + "part-from-lookups", page + "nulls-pointer", page + "zero-on-success"},
		Run:  setRemovesPart,
	}, {
		Name: page + "removes-part, in a reservation",
		Rows: []string{page + "removes-part", page + "zero-on-success"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				r := t.Reservation(0, mib)
				addr := r.Address()
				_, src := t.SetFile(64 * kib)
				set := t.Set(t.SetConfigIn(r))
				for which := range 3 {
					parts := mapParts(t, g, set, src, 1)
					parts = append(parts, mapParts(t, g, set, src, 1)...)
					parts = append(parts, mapParts(t, g, set, src, 1)...)
					gone := parts[which]
					t.Must(set.RemovePartMap(t.at(set, gone.Addr)), "RemovePartMap() of part %d", which)
					checkReservation(t, r, addr, mib)
					checkBlank(t, gone.Addr, gone.Size)
					checkNoneFound(t, r, uint64(gone.Addr-addr), gone.Size)
					for i, d := range parts {
						if i != which {
							checkMapped(t, d.Addr, d.Size, "rw-s")
							t.Must(set.RemovePartMap(t.at(set, d.Addr)), "RemovePartMap() of part %d", i)
						}
					}
					checkEmpty(t, r)
				}
			})
		},
	}, {
		Name: page + "another set's part",
		Rows: []string{page + "PMEMSET_E_PART_NOT_FOUND#1", page + "zero-on-success", page + "nulls-pointer"},
		Run:  setRemoveForeignPart,
	}, {
		Name: page + "single-reference-required",
		Rows: []string{
			page + "single-reference-required", page + "drop-releases-reference", page + "nulls-pointer",
			page + "PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP#1", page + "zero-on-success",
		},
		Run: setRemoveReferenced,
	}, {
		Name: page + "only the program's references count",
		Rows: []string{page + "single-reference-required"},
		Run:  setRemoveUsed,
	}, {
		Name: page + "removes-all-coalesced-parts",
		Rows: []string{page + "removes-all-coalesced-parts", page + "zero-on-success"},
		Run:  setRemoveCoalesced,
	}, {
		Name: page + "unmapping fails",
		Rows: []string{page + "-errno#1", page + "nulls-pointer", page + "zero-on-success"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				for _, coalesced := range []bool{false, true} {
					for _, previous := range []bool{false, true} {
						setRemoveFails(t, g, coalesced, previous)
					}
				}
			})
		},
	}}
}

// checkNull expects a reference to be as a variable that is NULL: it belongs to no
// part map any more.
func checkNull(t *T, set Set, m PartMap) {
	d := m.Descriptor()
	t.Check(d == pmemset.PartDescriptor{}, "the reference to a part map that was removed has the descriptor %s", partText(d))
	t.Check(set.NextPartMap(m) == nil, "a part map follows the one that was removed")
	t.Expect("-EINVAL", set.RemovePartMap(m), "RemovePartMap() with the same reference again")
	m.Drop()
}

func setRemovesPart(t *T) {
	t.EachGeneration(func(g Generation) {
		path, src := t.SetFile(192 * kib)
		fd := t.Open(t.FileAt(path), platform.ORdwr)
		content := pattern(192*kib, 5)
		t.WriteFile(fd, 0, content)
		for _, from := range []struct {
			name string
			get  func(set Set, parts []pmemset.PartDescriptor) PartMap
		}{
			{"FirstPartMap", func(set Set, _ []pmemset.PartDescriptor) PartMap { return set.FirstPartMap() }},
			{"NextPartMap", func(set Set, _ []pmemset.PartDescriptor) PartMap {
				first := set.FirstPartMap()
				defer first.Drop()
				return set.NextPartMap(first)
			}},
			{"PartMapByAddress", func(set Set, parts []pmemset.PartDescriptor) PartMap { return t.at(set, parts[0].Addr+70) }},
		} {
			set, events := t.SetWithEvents()
			parts := mapParts(t, g, set, src, 3)
			events.Take()
			m := from.get(set, parts)
			d := m.Descriptor()
			events.Name("X", d.Addr)
			i := slices.Index(parts, d)
			t.Check(i >= 0, "%s gives %s, which isn't among %s", from.name, partText(d), partsText(parts))
			d.Bytes()[0] ^= 0xff // the data stays in the file, persisted or not
			content[uint64(i)*64*kib] ^= 0xff
			t.Must(set.RemovePartMap(m), "RemovePartMap(a part map from %s)", from.name)
			if g == PartsAPI {
				t.Events(set, events)
			} else {
				t.Events(set, events, "PART_REMOVE X 64K")
			}
			checkNull(t, set, m)
			t.notAt(set, d.Addr, "where the part map was")
			checkGone(t, fd, d.Addr, d.Size)
			t.CheckParts(set, slices.Delete(slices.Clone(parts), i, i+1)...)
			for k, other := range parts {
				if k != i {
					checkBytes(t, other.Bytes(), content[uint64(k)*64*kib:uint64(k+1)*64*kib], "another part")
				}
			}
			for range 2 {
				t.Must(set.RemovePartMap(set.FirstPartMap()), "RemovePartMap(the first part map)")
			}
			t.CheckParts(set)
			checkUnmapped(t, fd)
			checkFile(t, fd, 0, content, "the file")
		}
	})
}

func setRemoveForeignPart(t *T) {
	const notFound = "PMEMSET_E_PART_NOT_FOUND"
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(64 * kib)
		r := t.Reservation(0, mib) // the sets share it
		set, events := t.SetWithEvents(t.SetConfigIn(r))
		owner := t.Set(t.SetConfigIn(r))
		foreign := t.SetMap(g, owner, src, 0, 64*kib)
		own := t.SetMap(g, set, src, 0, 64*kib)
		events.Take()
		m := t.at(owner, foreign.Addr)
		for range 2 {
			t.Expect(notFound, set.RemovePartMap(m), "RemovePartMap() of another set's part map")
			checkWhole(t, m, foreign, "the reference to another set's part map")
		}
		t.Check(set.NextPartMap(m) == nil, "in the set a part map follows another set's")
		also := t.at(owner, foreign.Addr)
		t.Expect(notFound, set.RemovePartMap(m), "RemovePartMap() of another set's part map, with two references")
		also.Drop()
		t.Events(set, events)
		t.CheckParts(set, own)
		t.CheckParts(owner, foreign)
		checkMapped(t, foreign.Addr, foreign.Size, "rw-s")
		t.Must(owner.RemovePartMap(m), "RemovePartMap() by its own set")
		t.CheckParts(owner)
		t.CheckParts(set, own)
	})
}

func setRemoveReferenced(t *T) {
	t.EachGeneration(func(g Generation) {
		path, src := t.SetFile(128 * kib)
		fd := t.Open(t.FileAt(path), platform.ORdwr)
		set, events := t.SetWithEvents()
		parts := mapParts(t, g, set, src, 2)
		events.Take()
		d := parts[0]
		held := []PartMap{t.at(set, d.Addr), t.at(set, d.Addr+100), t.at(set, d.Addr+64*kib-1)}
		neighbour := t.at(set, parts[1].Addr) // doesn't count
		for len(held) > 1 {
			for _, m := range held {
				t.Expect(useAfterDrop, set.RemovePartMap(m), "RemovePartMap() of a part map with %d references", len(held))
				checkWhole(t, m, d, "the reference")
			}
			t.CheckParts(set, slices.Clone(parts)...)
			t.Events(set, events)
			checkMapped(t, d.Addr, d.Size, "rw-s")
			d.Bytes()[0]++
			checkFile(t, fd, 0, d.Bytes()[:1], "the file")
			held[0].Drop()
			held = held[1:]
		}
		t.Must(set.RemovePartMap(held[0]), "RemovePartMap() with the only reference")
		checkNull(t, set, held[0])
		t.CheckParts(set, parts[1])
		checkWhole(t, neighbour, parts[1], "the other part map's reference")
		t.Must(set.RemovePartMap(neighbour), "RemovePartMap() of the other part map")
		t.CheckParts(set)
	})
}

// setRemoveUsed uses a part map in every way before it is removed.
func setRemoveUsed(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(256 * kib)
		for _, gr := range granularities {
			t.Force(gr.String())
			r := t.Reservation(0, mib)
			set := t.Set(t.SetConfigIn(r))
			low := t.SetMap(g, set, src, 0, 64*kib)
			hole := t.SetMap(g, set, src, 0, 64*kib)
			high := t.SetMap(g, set, src, 0, 64*kib)
			t.Must(set.RemoveRange(hole.Addr, 1), "RemoveRange() of the middle part")
			all := uint64(high.Addr-low.Addr) + high.Size
			for range 3 {
				t.Must(set.DeepFlushRange(low.Addr, all), "DeepFlushRange() over the hole")
				t.Must(set.DeepFlushRange(low.Addr, low.Size+100), "DeepFlushRange() into the hole")
				t.Must(set.DeepFlushRange(hole.Addr, 100), "DeepFlushRange() in the hole")
				t.Must(set.DeepFlush(high.Bytes()), "DeepFlush() of a part")
				t.Must(set.Persist(low.Bytes()), "Persist() of a part")
				t.Must(set.Memset(high.Bytes(), 7, 0), "Memset() of a part")
				t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 0, 100)
				t.Expect("PMEMSET_E_CANNOT_FIND_PART_MAP", set.RemoveRange(hole.Addr, hole.Size), "RemoveRange() of the hole")
				t.notAt(set, hole.Addr, "the hole")
			}
			for _, d := range []pmemset.PartDescriptor{high, low} {
				t.Must(set.RemovePartMap(t.at(set, d.Addr)), "RemovePartMap() of %s", partText(d))
			}
			t.CheckParts(set)
		}
	})
}

func setRemoveCoalesced(t *T) {
	t.EachGeneration(func(g Generation) {
		r := t.Reservation(0, mib)
		pathA, a := t.SetFile(64 * kib)
		pathB, b := t.SetFile(128 * kib)
		fdA, fdB := t.Open(t.FileAt(pathA), platform.ORdwr), t.Open(t.FileAt(pathB), platform.ORdwr)
		set, events := t.SetWithEvents(t.SetConfigIn(r))
		below := t.SetMap(g, set, t.SetSourceOf(t.FileSource(64*kib)), 0, 64*kib)
		t.SetMap(g, set, a, 0, 64*kib)
		t.Coalesce(set, pmemset.CoalescingFull)
		t.SetMap(g, set, b, 64*kib, 64*kib)
		t.SetMap(g, set, b, 0, 64*kib)
		whole := t.SetMap(g, set, a, 0, 64*kib)
		t.Coalesce(set, pmemset.CoalescingNone)
		above := t.SetMap(g, set, b, 0, 64*kib)
		t.CheckParts(set, below, whole, above)
		t.Check(whole.Size == 256*kib, "the four parts are %s", partText(whole))
		events.Take()
		events.Name("W", whole.Addr)
		t.Must(set.RemovePartMap(t.at(set, whole.Addr+200*kib)), "RemovePartMap() of four parts")
		if g == PartsAPI {
			t.Events(set, events)
		} else {
			t.Events(set, events, "PART_REMOVE W 256K")
		}
		t.CheckParts(set, below, above)
		checkBlank(t, whole.Addr, whole.Size)
		checkUnmapped(t, fdA)
		checkMappedOnce(t, fdB)
		for at := uint64(0); at < whole.Size; at += 32 * kib {
			t.notAt(set, whole.Addr+uintptr(at), "in the part map that was removed")
		}
		checkMapped(t, below.Addr, below.Size, "rw-s")
		checkMapped(t, above.Addr, above.Size, "rw-s")

		if g == Release112 { // in a reservation of the library's own
			set := t.Set()
			t.Coalesce(set, pmemset.CoalescingFull)
			for i := range uint64(3) {
				whole = t.SetMap(g, set, a, 0, 64*kib)
				t.Check(whole.Size == (i+1)*64*kib, "%d parts coalesced are %s", i+1, partText(whole))
			}
			t.Must(set.RemovePartMap(set.FirstPartMap()), "RemovePartMap() of three parts")
			t.CheckParts(set)
			checkUnmapped(t, fdA)
		}
	})
}

// eachMemoryFailure calls f once for each call of mmap, munmap and mremap that what f
// hands to during makes: that one fails with ENOMEM, and then, for a library that tries
// another way, all mmap and mremap from that one on. At last none fails.
func eachMemoryFailure(t *T, f func(during func(call func() error) error)) {
	for _, calls := range []string{"(Op mmap munmap mremap) (OnIndex %d)", "(Op mmap mremap) (FromIndex %d)"} {
		n := 0
		for memoryFailure(t, fmt.Sprintf(calls, n), f) {
			n++
		}
		t.Check(n > 0, "nothing was mapped or unmapped")
	}
}

// memoryFailure is one round of eachMemoryFailure, on a machine of its own. It reports
// whether a call has failed.
func memoryFailure(t *T, calls string, f func(during func(call func() error) error)) (failed bool) {
	defer func(before Library) { t.Lib = before }(t.Lib)
	machine := t.Recorded()
	machine.SetHook(func(c fault.Call) {
		if c.Injected && !failed {
			failed = true
			t.Note("injected", "ENOMEM: %v, of %s", c.Op, calls)
		}
	})
	f(func(call func() error) error {
		plan, err := fault.Parse("(ENOMEM (And " + calls + "))")
		t.suite(err, "parse a fault plan")
		machine.Set(plan)
		defer machine.Set()
		return call()
	})
	return failed
}

// setRemoveFails removes a part map with one system call failing, for each that there
// is. previous is whether it is the one that the next part is coalesced with.
func setRemoveFails(t *T, g Generation, coalesced, previous bool) {
	failures := 0
	eachMemoryFailure(t, func(during func(call func() error) error) {
		r := t.Reservation(0, mib)
		path, src := t.SetFile(128 * kib)
		fd := t.Open(t.FileAt(path), platform.ORdwr)
		content := pattern(128*kib, 9)
		t.WriteFile(fd, 0, content)
		set := t.Set(t.SetConfigIn(r))
		victim := t.SetMap(g, set, src, 0, 64*kib)
		if coalesced {
			t.Coalesce(set, pmemset.CoalescingFull)
			victim = t.SetMap(g, set, src, 64*kib, 64*kib)
			t.Coalesce(set, pmemset.CoalescingNone)
		}
		var others []pmemset.PartDescriptor
		last := victim
		if !previous {
			last = t.SetMap(g, set, src, 0, 64*kib)
			others = append(others, last)
		}
		m := t.at(set, victim.Addr)
		err := during(func() error { return set.RemovePartMap(m) })
		if err != nil {
			failures++
			t.Expect("-ENOMEM", err, "RemovePartMap()")
			t.CheckParts(set, append(others, victim)...)
			checkWhole(t, m, victim, "the reference after the failure")
			checkMapped(t, victim.Addr, victim.Size, "rw-s")
			checkBytes(t, victim.Bytes(), content[:victim.Size], "the part map that couldn't be removed")
			t.Must(set.Persist(victim.Bytes()), "Persist() of the part map that couldn't be removed")
			checkReservation(t, r, r.Address(), mib)
			// The next part is coalesced with the same part map as before.
			t.Coalesce(set, pmemset.CoalescingFull)
			grown := t.SetMap(g, set, src, 0, 64*kib)
			t.Check(grown == pmemset.PartDescriptor{Addr: last.Addr, Size: last.Size + 64*kib},
				"the next part is coalesced to %s, behind %s it should be", partText(grown), partText(last))
			if previous {
				victim = grown
			} else {
				others[0] = grown
			}
			t.Must(set.RemovePartMap(m), "RemovePartMap() again")
		} else {
			t.Must(err, "RemovePartMap()")
		}
		checkNull(t, set, m)
		t.CheckParts(set, others...)
		checkBlank(t, victim.Addr, victim.Size)
		t.Delete(set)
		checkEmpty(t, r)
		checkUnmapped(t, fd)
	})
	t.Check(failures > 0, "RemovePartMap succeeds whatever system call fails")
}
