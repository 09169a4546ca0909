package conformance

import (
	"math"
	"slices"

	"pmemlab/pmemset"
)

// setLookupCases are those of the pages about references to part maps:
// pmemset_first_part_map(3), pmemset_part_map_by_address(3),
// pmemset_descriptor_part_map(3) and pmemset_part_map_drop(3).
func setLookupCases() []Case {
	const first, next, at = "pmemset_first_part_map/", "pmemset_next_part_map/", "pmemset_part_map_by_address/"
	const drop, descriptor = "pmemset_part_map_drop/", "pmemset_descriptor_part_map/"
	return []Case{{
		Name: first + "walk",
		Rows: []string{
			first + "first-of-set", next + "next-after-given", next + "null-on-failure", next + "(void)#1",
		},
		Run: setWalk,
	}, {
		Name: first + "walk, in a reservation",
		Rows: []string{first + "first-of-set", next + "next-after-given", next + "null-on-failure"},
		Run:  setWalkReserved,
	}, {
		Name:  first + "none",
		Rows:  []string{first + "null-on-failure", first + "(void)#1"},
		Needs: []Need{NeedFile},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				_, src := t.SetFile(64 * kib)
				set, other := t.Set(), t.Set()
				t.SetMap(g, other, src, 0, 64*kib)
				none := func(what string) {
					for range 3 {
						t.Check(set.FirstPartMap() == nil, "%s has a first part map", what)
					}
					t.Note("FirstPartMap() of "+what, "none")
				}
				none("a new set")
				t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 0, 100)
				none("a set whose map call has failed")
				d := t.SetMap(g, set, src, 0, 64*kib)
				t.Must(set.RemoveRange(d.Addr, 1), "RemoveRange()")
				none("a set without its only part")
				t.SetMap(g, set, src, 0, 64*kib)
				t.Must(set.RemovePartMap(set.FirstPartMap()), "RemovePartMap()")
				none("a set without its only part")
				t.Delete(set)
				none("a deleted set")
			})
		},
	}, {
		Name: at + "part-containing-address",
		Rows: []string{at + "part-containing-address", at + "zero-or-negative"},
		Run:  setByAddress,
	}, {
		Name:  at + "nothing there",
		Rows:  []string{at + "PMEMSET_E_CANNOT_FIND_PART_MAP#1", at + "zero-or-negative"},
		Needs: []Need{NeedFile},
		Run:   setNothingByAddress,
	}, {
		Name: descriptor + "address-and-size",
		Rows: []string{descriptor + "address-and-size", descriptor + "(none)#1"},
		Run:  setDescriptors,
	}, {
		Name: drop + "each look-up's reference",
		Rows: []string{drop + "drops-reference", drop + "pointer-from-lookups", drop + "(void)#1"},
		Run:  setDropOfEachKind,
	}, {
		Name: drop + "twice",
		Rows: []string{drop + "returns-nothing-and-nulls", drop + "(void)#1", drop + "(SIGSEGV)#1"},
		Run:  setDropTwice,
	}}
}

// at is a reference to the part map that holds addr.
func (t *T) at(set Set, addr uintptr) PartMap {
	m, err := set.PartMapByAddress(addr)
	t.Must(err, "PartMapByAddress(%#x)", addr)
	t.Check(m != nil, "PartMapByAddress succeeds and returns no part map")
	return m
}

// notAt expects no part map to hold addr.
func (t *T) notAt(set Set, addr uintptr, what string) {
	m, err := set.PartMapByAddress(addr)
	t.Expect("PMEMSET_E_CANNOT_FIND_PART_MAP", err, "PartMapByAddress(%#x: %s)", addr, what)
	t.Check(m == nil, "PartMapByAddress fails and returns a part map all the same")
}

// checkWhole expects a reference to be of that part map.
func checkWhole(t *T, m PartMap, want pmemset.PartDescriptor, what string) {
	t.Check(m != nil, "%s is none, want %s", what, partText(want))
	d := m.Descriptor()
	t.Check(d == want, "%s is %s, want %s", what, partText(d), partText(want))
}

// mapParts maps n parts of 64 KiB, one after the other in the source.
func mapParts(t *T, g Generation, set Set, src SetSource, n int) (parts []pmemset.PartDescriptor) {
	const size = 64 * kib
	for i := range uint64(n) {
		parts = append(parts, t.SetMap(g, set, src, i*size, size))
	}
	return parts
}

func setWalk(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(512 * kib)
		set := t.Set()
		parts := mapParts(t, g, set, src, 8)
		// Whatever order they were made in: by address.
		slices.SortFunc(parts, func(a, b pmemset.PartDescriptor) int {
			if a.Addr < b.Addr {
				return -1
			}
			return 1
		})
		var held []PartMap
		m := set.FirstPartMap()
		for i, want := range parts {
			checkWhole(t, m, want, "the part map that follows")
			held = append(held, m)
			m = set.NextPartMap(m)
			checkWhole(t, held[i], want, "the one that was gone on from")
		}
		t.Check(m == nil, "behind the last of %d part maps there is another", len(parts))
		t.Note("walk", "%s", partsText(parts))

		// From each one the way goes on, again and again.
		for i, cur := range held {
			again := set.NextPartMap(cur)
			if i+1 == len(held) {
				t.Check(again == nil, "behind the last part map there is another")
				continue
			}
			t.Check(again.Same(held[i+1]) && !again.Same(cur), "the next part map is another one at the second time")
			again.Drop()
		}
		again := set.FirstPartMap()
		t.Check(again.Same(held[0]) && !again.Same(held[1]), "the first part map is another one at the second time")
		again.Drop()

		// Each look-up took a reference of its own, and left that of cur alone.
		for i, h := range held {
			t.Expect("PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP", set.RemoveRange(parts[i].Addr, 1), "RemoveRange() in a part map of the walk")
			t.Must(set.RemovePartMap(h), "RemovePartMap() of a part map of the walk")
			left := t.PartMaps(set)
			t.Check(slices.Equal(left, parts[i+1:]), "left are %s, want %s", partsText(left), partsText(parts[i+1:]))
		}
	})
}

// setWalkReserved walks over part maps that touch each other, over holes and over what
// other sets and the program itself have in the reservation.
func setWalkReserved(t *T) {
	t.EachGeneration(func(g Generation) {
		r := t.Reservation(0, mib)
		_, src := t.SetFile(64 * kib)
		set, other := t.Set(t.SetConfigIn(r)), t.Set(t.SetConfigIn(r))
		parts := mapParts(t, g, set, src, 1)
		parts = append(parts, mapParts(t, g, set, src, 1)...)
		foreign := t.SetMap(g, other, src, 0, 64*kib)
		t.MapAs(mapSpec{in: r, at: 192 * kib, length: 64 * kib}, t.FileSource(64*kib))
		parts = append(parts, mapParts(t, g, set, src, 1)...)
		checkParts := func(want ...pmemset.PartDescriptor) {
			got := t.PartMaps(set)
			t.Check(slices.Equal(got, want), "the walk gives %s, want %s", partsText(got), partsText(want))
			t.Note("walk", "%s", partsText(got))
		}
		t.Check(parts[2].Addr == r.Address()+256*kib, "the third part is %s, want it in the first free place", partText(parts[2]))
		checkParts(parts...)
		t.CheckParts(other, foreign)

		// The lowest is the first, also if it came last.
		t.Must(set.RemoveRange(parts[0].Addr, 1), "RemoveRange() of the first part")
		checkParts(parts[1:]...)
		last := set.FirstPartMap()
		checkWhole(t, last, parts[1], "the first part map")
		t.Check(t.SetMap(g, set, src, 0, 64*kib) == parts[0], "the part isn't where the first one was")
		first := set.FirstPartMap()
		checkWhole(t, first, parts[0], "the first part map")
		second := set.NextPartMap(first)
		t.Check(second.Same(last), "behind the new first part map comes %s", partText(second.Descriptor()))
		checkParts(parts...)
		t.CheckParts(other, foreign)
	})
}

func setByAddress(t *T) {
	t.EachGeneration(func(g Generation) {
		r := t.Reservation(0, mib)
		_, src := t.SetFile(128 * kib)
		set := t.Set(t.SetConfigIn(r))
		a := t.SetMap(g, set, src, 0, 64*kib)
		b := t.SetMap(g, set, src, 0, t.Page()) // the very next byte is another part map's
		hole := t.SetMap(g, set, src, 0, 64*kib)
		t.SetMap(g, set, src, 0, 64*kib)
		t.Coalesce(set, pmemset.CoalescingFull)
		c := t.SetMap(g, set, src, 64*kib, 64*kib)
		t.Check(c.Size == 128*kib, "coalesced, the part map is %s", partText(c))
		t.Must(set.RemoveRange(hole.Addr, 1), "RemoveRange() of the third part")
		for _, d := range []pmemset.PartDescriptor{a, b, c} {
			middle := t.at(set, d.Addr+uintptr(d.Size/2))
			for _, offset := range []uint64{0, 1, 4095, d.Size/2 - 1, d.Size - 4096, d.Size - 1} {
				m := t.at(set, d.Addr+uintptr(offset))
				checkWhole(t, m, d, "the part map that holds the address")
				t.Check(m.Same(middle), "two addresses of %s are of two part maps", partText(d))
				m.Drop()
			}
			// Each took a reference: the one that is left is one.
			t.Expect("PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP", set.RemoveRange(d.Addr, 1), "RemoveRange() with a reference held")
			middle.Drop()
		}
		one, other := t.at(set, a.Addr+uintptr(a.Size)-1), t.at(set, b.Addr)
		t.Check(!one.Same(other), "part maps side by side are one")
		one.Drop()
		other.Drop()
		for _, d := range []pmemset.PartDescriptor{a, b, c} {
			t.Must(set.RemoveRange(d.Addr, d.Size), "RemoveRange() of %s, of which no reference is left", partText(d))
		}
	})
}

func setNothingByAddress(t *T) {
	t.EachGeneration(func(g Generation) {
		r := t.Reservation(0, mib)
		start := r.Address()
		_, src := t.SetFile(64 * kib)
		set, other := t.Set(t.SetConfigIn(r)), t.Set(t.SetConfigIn(r))
		everywhere := func(what string) {
			for _, addr := range []uintptr{0, 1, 0x999, 4096, start - 1, start, start + mib - 1, start + mib, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
				t.notAt(set, addr, what)
			}
		}
		everywhere("a set without parts")
		foreign := t.SetMap(g, other, src, 0, 64*kib)
		everywhere("a set beside another one's part")
		a, b, c := t.SetMap(g, set, src, 0, 64*kib), t.SetMap(g, set, src, 0, 64*kib), t.SetMap(g, set, src, 0, 64*kib)
		t.Must(set.RemoveRange(b.Addr, 1), "RemoveRange() of the middle part")
		for _, addr := range []uintptr{
			0, 0x999, foreign.Addr, a.Addr - 1, b.Addr, b.Addr + 100, b.Addr + uintptr(b.Size) - 1,
			c.Addr + uintptr(c.Size), start + mib - 1, math.MaxUint64,
		} {
			t.notAt(set, addr, "outside of the parts")
		}
		t.at(set, a.Addr+uintptr(a.Size)-1).Drop()
		t.at(set, c.Addr).Drop()
		t.Must(set.RemoveRange(0, math.MaxUint64), "RemoveRange() of everything")
		everywhere("a set whose parts are gone")
		t.at(other, foreign.Addr).Drop()
	})
}

func setDescriptors(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(256 * kib)
		set := t.Set()
		for _, size := range []uint64{t.Page(), 64 * kib, 256 * kib} { // each in a reservation of its own
			d := t.SetMap(g, set, src, 0, size)
			m := t.at(set, d.Addr)
			checkWhole(t, m, pmemset.PartDescriptor{Addr: d.Addr, Size: size}, "the descriptor")
		}
		// The whole part map, also if it has changed since.
		set = t.Set(t.SetConfigIn(t.Reservation(0, mib)))
		t.Coalesce(set, pmemset.CoalescingFull)
		first := t.SetMap(g, set, src, 0, 64*kib)
		early := t.at(set, first.Addr)
		for i := range uint64(3) {
			whole := pmemset.PartDescriptor{Addr: first.Addr, Size: (i + 2) * 64 * kib}
			t.Check(t.SetMap(g, set, src, 0, 64*kib) == whole, "mapping doesn't return %s", partText(whole))
			late := set.FirstPartMap()
			checkWhole(t, early, whole, "the descriptor by a reference from before the part map grew")
			checkWhole(t, late, whole, "the descriptor")
			checkMapped(t, whole.Addr, whole.Size, "rw-s")
			late.Drop()
		}
		early.Drop()
		t.Must(set.RemoveRange(first.Addr, 1), "RemoveRange() of the first part")
		t.Must(set.RemoveRange(first.Addr+255*kib, 1), "RemoveRange() of the last part")
		m := set.FirstPartMap()
		checkWhole(t, m, pmemset.PartDescriptor{Addr: first.Addr + 64*kib, Size: 128 * kib}, "the descriptor of what is left")
	})
}

// setDropOfEachKind holds a reference of each kind beside another one, without which
// the part map can be removed.
func setDropOfEachKind(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(192 * kib)
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
			{"PartMapByAddress", func(set Set, parts []pmemset.PartDescriptor) PartMap { return t.at(set, parts[2].Addr) }},
		} {
			set := t.Set()
			parts := mapParts(t, g, set, src, 3)
			m := from.get(set, parts)
			d := m.Descriptor()
			other := t.at(set, d.Addr)
			const refused = "PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP"
			t.Expect(refused, set.RemovePartMap(other), "RemovePartMap() with one from %s beside", from.name)
			m.Drop()
			t.CheckParts(set, parts...)
			t.Expect(refused, set.RemoveRange(d.Addr, 1), "RemoveRange() with one reference left")
			t.Must(set.RemovePartMap(other), "RemovePartMap() after Drop() of the one from %s", from.name)
			t.notAt(set, d.Addr, "the part map that was removed")
			// And without the other one, no reference at all is left.
			for _, rest := range t.PartMaps(set) {
				t.Must(set.RemoveRange(rest.Addr, 1), "RemoveRange() of a part map that only look-ups in between had")
			}
			t.CheckParts(set)
		}
	})
}

func setDropTwice(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(64 * kib)
		set := t.Set()
		d := t.SetMap(g, set, src, 0, 64*kib)
		t.Sets().NilPartMap().Drop()
		one, two, three := set.FirstPartMap(), t.at(set, d.Addr), t.at(set, d.Addr)
		for range 5 {
			one.Drop()
			got := one.Descriptor()
			t.Check(got == pmemset.PartDescriptor{}, "a reference that was dropped has the descriptor %s", partText(got))
			t.Check(set.NextPartMap(one) == nil, "a part map follows a reference that was dropped")
			err := set.RemovePartMap(one)
			t.Expect("-EINVAL", err, "RemovePartMap() of a reference that was dropped")
		}
		checkWhole(t, two, d, "the second reference")
		// Five times dropped is one reference less: two are left.
		t.Expect("PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP", set.RemovePartMap(two), "RemovePartMap() with two references left")
		three.Drop()
		three.Drop()
		t.Expect("PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP", set.RemoveRange(d.Addr, 1), "RemoveRange() with one reference left")
		t.CheckParts(set, d)
		t.Must(set.RemovePartMap(two), "RemovePartMap() with one reference left")
		heir := t.SetMap(g, set, src, 0, 64*kib) // perhaps in the same place
		held := t.at(set, heir.Addr)
		for _, m := range []PartMap{one, two, three, t.Sets().NilPartMap()} {
			m.Drop()
		}
		t.Expect("PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP", set.RemoveRange(heir.Addr, 1), "RemoveRange() with a reference held")
		held.Drop()
		t.Must(set.RemoveRange(heir.Addr, 1), "RemoveRange() with none")
	})
}
