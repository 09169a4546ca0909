package conformance

import (
	"math"
	"slices"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// bothCoalescing are the values that join parts.
var bothCoalescing = []pmemset.Coalescing{pmemset.CoalescingOpportunistic, pmemset.CoalescingFull}

// setCoalescingCases are those of pmemset_set_contiguous_part_coalescing(3).
func setCoalescingCases() []Case {
	const page = "pmemset_set_contiguous_part_coalescing/"
	return []Case{{
		Name:  page + "values",
		Rows:  []string{page + "sets-feature", page + "zero-on-success", page + "PMEMSET_E_INVALID_COALESCING_VALUE#1"},
		Needs: []Need{NeedReservation},
		Run:   coalescingValues,
	}, {
		Name: page + "tries-behind-previous-part",
		Rows: []string{page + "tries-behind-previous-part"},
		Run:  coalescingBehind,
	}, {
		Name: page + "none-is-default",
		Rows: []string{page + "none-is-default"},
		Run:  coalescingNone,
	}, {
		Name: page + "opportunistic-falls-back",
		Rows: []string{page + "opportunistic-falls-back", page + "(text)#1"},
		Run:  coalescingFallsBack,
	}, {
		Name: page + "full-fails-if-impossible",
		Rows: []string{page + "full-fails-if-impossible"},
		Run:  coalescingFullFails,
	}, {
		Name: page + "address space behind is taken",
		Rows: []string{page + "opportunistic-falls-back", page + "full-fails-if-impossible"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				for _, c := range bothCoalescing {
					coalescingBlocked(t, g, c)
				}
			})
		},
	}, {
		Name: page + "one-memset-over-parts",
		Rows: []string{page + "one-memset-over-parts"},
		Run:  coalescedMemory,
	}, {
		Name: page + "appear-as-one-part-map",
		Rows: []string{page + "appear-as-one-part-map"},
		Run:  coalescedAppearsAsOne,
	}}
}

// coalescingValues tells the values apart by where a second part lies, and a third one
// that can't be joined.
func coalescingValues(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(64 * kib)
		invalid := []pmemset.Coalescing{-1, 3, 4, 100, math.MinInt32, math.MaxInt32}
		for _, c := range []pmemset.Coalescing{pmemset.CoalescingNone, pmemset.CoalescingOpportunistic, pmemset.CoalescingFull} {
			r := t.Reservation(0, 192*kib)
			set := t.Set(t.SetConfigIn(r))
			low, part := t.SetMap(g, set, src, 0, 64*kib), t.SetMap(g, set, src, 0, 64*kib)
			t.Must(set.SetContiguousPartCoalescing(c), "SetContiguousPartCoalescing(%d)", int(c))
			for _, bad := range invalid {
				t.Expect("PMEMSET_E_INVALID_COALESCING_VALUE", set.SetContiguousPartCoalescing(bad), "SetContiguousPartCoalescing(%d)", int(bad))
			}
			t.CheckParts(set, low, part) // of what is mapped already nothing changes
			next := t.SetMap(g, set, src, 0, 64*kib)
			want := pmemset.PartDescriptor{Addr: part.Addr, Size: 128 * kib}
			if c == pmemset.CoalescingNone {
				want = pmemset.PartDescriptor{Addr: part.Addr + 64*kib, Size: 64 * kib}
			}
			t.Check(next == want, "with coalescing %d the part is %s, want %s", int(c), partText(next), partText(want))
			t.Must(set.RemoveRange(low.Addr, 1), "RemoveRange() of the first part")
			if c == pmemset.CoalescingFull {
				t.NoSetMap(cannotCoalesce, g, set, src, 0, 64*kib)
			} else {
				t.Check(t.SetMap(g, set, src, 0, 64*kib) == low, "with coalescing %d the part isn't where there is room", int(c))
			}
			t.Must(set.SetContiguousPartCoalescing(pmemset.CoalescingNone), "SetContiguousPartCoalescing(0)")
		}
	})
}

func coalescingBehind(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(256 * kib)
		_, other := t.SetFile(64 * kib)
		for _, c := range bothCoalescing {
			r := t.Reservation(0, mib)
			at := func(offset, size uint64) pmemset.PartDescriptor {
				return pmemset.PartDescriptor{Addr: r.Address() + uintptr(offset*kib), Size: size * kib}
			}
			set, events := t.SetWithEvents(t.SetConfigIn(r))
			place := func(src SetSource, offset, size uint64, want pmemset.PartDescriptor) {
				got := t.SetMap(g, set, src, offset*kib, size*kib)
				t.Check(got == want, "the part map is %s, want %s", partText(got), partText(want))
			}
			t.Coalesce(set, c)
			place(src, 0, 96, at(0, 96)) // there is nothing to join yet
			place(src, 64, 160, at(0, 256))
			place(other, 0, 32, at(0, 288)) // of whichever source
			events.Name("A", r.Address())
			t.Events(set, events, "PART_ADD A 96K", "PART_ADD A 256K", "PART_ADD A 288K")
			t.Coalesce(set, pmemset.CoalescingNone)
			place(src, 0, 64, at(288, 64)) // now the previous one
			t.Coalesce(set, c)
			place(src, 0, 32, at(288, 96))
			// What is made last counts, not what lies last.
			t.Must(set.RemoveRange(r.Address(), 1), "RemoveRange() of the first mapping")
			t.Coalesce(set, pmemset.CoalescingNone)
			place(src, 0, 32, at(0, 32))
			t.Coalesce(set, c)
			place(src, 32, 32, at(0, 64))
			t.CheckParts(set, at(0, 64), at(96, 192), at(288, 96))
			// If that goes, its lower neighbour follows it, or else its upper one.
			t.Must(set.RemovePartMap(t.at(set, r.Address())), "RemovePartMap() of the previous part map")
			t.Must(set.RemoveRange(r.Address()+287*kib, 1), "RemoveRange() of the end of the next one")
			place(src, 0, 32, at(96, 192))
			t.CheckParts(set, at(96, 192), at(288, 96))
			// A hole behind it is filled, and what lies behind the hole isn't joined.
			t.Must(set.RemovePartMap(t.at(set, r.Address()+96*kib)), "RemovePartMap() of the previous part map")
			place(src, 0, 64, at(288, 160))
			t.CheckParts(set, at(288, 160))
			checkMapped(t, r.Address()+288*kib, 160*kib, "rw-s")
			t.Delete(set)
		}
	})
	// Without a reservation of the program's there is room behind a part.
	for _, c := range bothCoalescing {
		_, src := t.SetFile(256 * kib)
		set := t.Set()
		t.Coalesce(set, c)
		a := t.SetMap(Release112, set, src, 0, 96*kib)
		for _, size := range []uint64{256, 288} {
			got := t.SetMap(Release112, set, src, 0, size*kib-a.Size)
			a.Size = size * kib
			t.Check(got == a, "the part map is %s, want %s", partText(got), partText(a))
		}
		t.CheckParts(set, a)
	}
}

func coalescingNone(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(64 * kib)
		// Side by side, and yet two.
		r := t.Reservation(0, mib)
		set := t.Set(t.SetConfigIn(r))
		var parts []pmemset.PartDescriptor
		for i := range uintptr(4) {
			d := t.SetMap(g, set, src, 0, 64*kib)
			t.Check(d == pmemset.PartDescriptor{Addr: r.Address() + i*64*kib, Size: 64 * kib}, "part %d is %s", i, partText(d))
			parts = append(parts, d)
		}
		t.CheckParts(set, slices.Clone(parts)...)
		for i, d := range parts {
			m := t.at(set, d.Addr+100)
			checkWhole(t, m, d, "the part map")
			m.Drop()
			t.Must(set.RemoveRange(d.Addr, d.Size), "RemoveRange() of part %d", i)
		}
		// Where the system wants them, each a part map of its own.
		set = t.Set()
		parts = mapParts(t, g, set, src, 1)
		for range 4 {
			parts = append(parts, mapParts(t, g, set, src, 1)...)
		}
		for i, a := range parts {
			t.Check(a.Size == 64*kib, "part %d is %s", i, partText(a))
			for _, b := range parts[:i] {
				t.Check(a.Addr+uintptr(a.Size) <= b.Addr || b.Addr+uintptr(b.Size) <= a.Addr, "parts %s and %s overlap", partText(a), partText(b))
			}
		}
		t.CheckParts(set, parts...)
	})
}

// coalescingFallsBack has something behind the previous part map, or the end of the
// reservation.
func coalescingFallsBack(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(64 * kib)
		r := t.Reservation(0, 256*kib)
		at := func(offset uint64) pmemset.PartDescriptor {
			return pmemset.PartDescriptor{Addr: r.Address() + uintptr(offset*kib), Size: 64 * kib}
		}
		place := func(set Set, want pmemset.PartDescriptor) {
			got := t.SetMap(g, set, src, 0, 64*kib)
			t.Check(got == want, "the part is %s, want %s", partText(got), partText(want))
		}
		set, other := t.Set(t.SetConfigIn(r)), t.Set(t.SetConfigIn(r))
		place(set, at(0))
		place(other, at(64)) // in the way
		t.Coalesce(set, pmemset.CoalescingOpportunistic)
		place(set, at(128))
		t.Coalesce(set, pmemset.CoalescingNone)
		place(set, at(192))
		t.Coalesce(set, pmemset.CoalescingOpportunistic)
		t.Must(set.RemoveRange(r.Address(), 1), "RemoveRange() of the first part")
		place(set, at(0)) // the previous one ends with the reservation; there is room elsewhere
		t.Must(other.RemoveRange(r.Address()+64*kib, 1), "RemoveRange() of what was in the way")
		got := t.SetMap(g, set, src, 0, 64*kib) // now the first one is the previous
		t.Check(got == pmemset.PartDescriptor{Addr: r.Address(), Size: 128 * kib}, "the part map is %s", partText(got))
		t.NoSetMap("PMEMSET_E_CANNOT_FIT_PART_MAP", g, set, src, 0, 64*kib)
		t.Delete(set)

		// A mapping of the program's own in the way, or not room enough.
		set = t.Set(t.SetConfigIn(r))
		t.Coalesce(set, pmemset.CoalescingOpportunistic)
		place(set, at(0))
		own := t.MapAs(mapSpec{in: r, at: 96 * kib}, t.FileSource(32*kib))
		place(set, at(128))
		t.CheckParts(set, at(0), at(128))
		checkMapped(t, own.Address(), own.Size(), "rw-s")
		checkFound(t, r, 96*kib, 1, own)
		t.Delete(own)
		// And no other mistake is hidden by it.
		t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 0, 100)
		t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 100, t.Page())
		t.CheckParts(set, at(0), at(128))
	})
}

func coalescingFullFails(t *T) {
	t.EachGeneration(func(g Generation) {
		path, src := t.SetFile(128 * kib)
		fd := t.Open(t.FileAt(path), platform.ORdwr)
		r := t.Reservation(0, 512*kib)
		set, events := t.SetWithEvents(t.SetConfigIn(r))
		other := t.Set(t.SetConfigIn(r))
		t.Coalesce(set, pmemset.CoalescingFull)
		a := t.SetMap(g, set, src, 0, 64*kib) // the first has nothing to join, and needn't
		foreign := t.SetMap(g, other, src, 0, 64*kib)
		events.Take()
		for range 3 {
			t.NoSetMap(cannotCoalesce, g, set, src, 0, 64*kib)
			t.NoSetMap(cannotCoalesce, g, set, src, 0, t.Page())
		}
		t.Events(set, events)
		t.CheckParts(other, foreign)
		checkMapped(t, foreign.Addr, foreign.Size, "rw-s")
		t.Must(other.RemoveRange(foreign.Addr, 1), "RemoveRange() of what was in the way")
		// The failures have left nothing behind: neither there nor in the set.
		b := t.SetMap(g, set, src, 0, 64*kib)
		t.Check(b == pmemset.PartDescriptor{Addr: a.Addr, Size: 128 * kib}, "the part map is %s", partText(b))
		own := t.MapAs(mapSpec{in: r, at: 192 * kib}, t.FileSource(t.Page()))
		t.NoSetMap(cannotCoalesce, g, set, src, 0, 64*kib+t.Page())
		c := t.SetMap(g, set, src, 0, 64*kib) // just in front of it
		t.Check(c.Size == 192*kib, "the part map is %s", partText(c))
		t.NoSetMap(cannotCoalesce, g, set, src, 0, t.Page())
		t.Delete(own)

		// The end of the reservation, with room elsewhere.
		for size := c.Size; size < 512*kib; size += 64 * kib {
			c = t.SetMap(g, set, src, 0, 64*kib)
			t.Check(c.Size == size+64*kib, "the part map is %s", partText(c))
		}
		t.Must(set.RemoveRange(r.Address(), 1), "RemoveRange() of the first mapping")
		t.NoSetMap(cannotCoalesce, g, set, src, 0, 64*kib)
		t.CheckParts(set, pmemset.PartDescriptor{Addr: r.Address() + 64*kib, Size: 448 * kib})
		// Without a part map there is nothing to join, again.
		t.Must(set.RemoveRange(r.Address(), 512*kib), "RemoveRange() of all")
		checkUnmapped(t, fd)
		t.Check(t.SetMap(g, set, src, 0, 64*kib) == a, "the first part isn't where the reservation begins")
	})
}

// endOfMapped is where the process's address space is free for the first time from addr
// on, which is mapped.
func endOfMapped(t *T, addr uintptr) uintptr {
	end := addr
	for _, a := range areas(t) {
		if a.Start <= end && a.End > end {
			end = a.End
		}
	}
	return end
}

// coalescingBlocked maps parts in a reservation of the library's, which can't be
// extended for long: what lies behind it is taken.
func coalescingBlocked(t *T, g Generation, c pmemset.Coalescing) {
	const most = 16
	path, src := t.SetFile(mib)
	fd := t.Open(t.FileAt(path), platform.ORdwr)
	set := t.Set()
	t.Coalesce(set, c)
	first := t.SetMap(g, set, src, 0, mib)
	untouched := occupy(t, endOfMapped(t, first.Addr), t.Page())
	whole := first
	for range most {
		got, err := g.Map(t, set, src, 0, mib)
		if c == pmemset.CoalescingFull && err != nil {
			t.Expect(cannotCoalesce, err, "%s where the address space behind is taken", mapCall(g, 0, mib))
			t.NoSetMap(cannotCoalesce, g, set, src, 0, mib)
			t.CheckParts(set, whole)
			checkMapped(t, whole.Addr, whole.Size, "rw-s")
			t.Check(untouched(), "what lay behind the reservation has changed")
			t.Delete(set)
			checkUnmapped(t, fd)
			return
		}
		t.Must(err, "%s", mapCall(g, 0, mib))
		if got.Addr == whole.Addr {
			t.Check(got.Size == whole.Size+mib, "the part map of %s has become %s", partText(whole), partText(got))
			whole = got
			continue
		}
		t.Check(c == pmemset.CoalescingOpportunistic, "a part that isn't joined is mapped: %s beside %s", partText(got), partText(whole))
		t.CheckParts(set, whole, got)
		t.Check(untouched(), "what lay behind the reservation has changed")
		// It is the previous one from now on.
		return
	}
	t.Failf("%d parts are joined as %s, where something lies behind the first", most, partText(whole))
}

func coalescedMemory(t *T) {
	t.EachGeneration(func(g Generation) {
		for _, gr := range granularities {
			t.Force(gr.String())
			tr := t.Trace()
			set := t.Set(t.SetConfigIn(t.Reservation(0, mib)))
			t.Coalesce(set, pmemset.CoalescingFull)
			var fds []int
			var d pmemset.PartDescriptor
			for i := range 3 {
				path, src := t.SetFile(64 * kib)
				fd := t.Open(t.FileAt(path), platform.ORdwr)
				t.WriteFile(fd, 0, pattern(64*kib, byte(i)))
				fds = append(fds, fd)
				d = t.SetMap(g, set, src, 0, 64*kib)
			}
			b := d.Bytes()
			t.Check(len(b) == 192*kib, "the part map is %s", partText(d))
			want := slices.Concat(pattern(64*kib, 0), pattern(64*kib, 1), pattern(64*kib, 2))
			seen := func(what string) {
				for i, fd := range fds {
					checkFile(t, fd, 0, want[i*64*kib:(i+1)*64*kib], "file %d after %s", i, what)
				}
				checkBytes(t, b, want, "the part map after %s", what)
			}
			seen("mapping")
			tr.take()
			const from, to = 60*kib + 5, 130*kib + 7
			t.Must(set.Memset(b[from:to], 0xee, pmem2.MemFlags(0)), "Memset() over three parts")
			got := tr.take()
			checkReached(t, gr, got, b[from:to], "Memset over three parts")
			for i := range want[from:to] {
				want[from+i] = 0xee
			}
			seen("Memset")
			t.Must(set.Memmove(b[100:150*kib], b[200:150*kib+100], 0), "Memmove() over three parts")
			copy(want[100:150*kib], want[200:150*kib+100])
			seen("Memmove")
			b[64*kib-1], b[64*kib], b[128*kib] = 1, 2, 3
			want[64*kib-1], want[64*kib], want[128*kib] = 1, 2, 3
			tr.take()
			t.Must(set.Persist(b), "Persist() of three parts")
			checkReached(t, gr, tr.take(), b, "Persist of three parts")
			seen("Persist")
		}
	})
}

func coalescedAppearsAsOne(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(256 * kib)
		set := t.Set(t.SetConfigIn(t.Reservation(0, mib)))
		alone := t.SetMap(g, set, src, 0, 64*kib)
		first := t.SetMap(g, set, src, 0, 64*kib)
		early := t.at(set, first.Addr)
		for i, c := range []pmemset.Coalescing{pmemset.CoalescingFull, pmemset.CoalescingOpportunistic, pmemset.CoalescingFull} {
			t.Coalesce(set, c)
			whole := pmemset.PartDescriptor{Addr: first.Addr, Size: uint64(i+2) * 64 * kib}
			got := t.SetMap(g, set, src, 0, 64*kib)
			t.Check(got == whole, "mapping returns %s, want %s", partText(got), partText(whole))
			t.CheckParts(set, alone, whole)
			for at := uint64(0); at < whole.Size; at += 32 * kib {
				m := t.at(set, whole.Addr+uintptr(at))
				checkWhole(t, m, whole, "the part map")
				t.Check(m.Same(early), "a part that was joined has a part map of its own")
				m.Drop()
			}
			walk := set.FirstPartMap()
			next := set.NextPartMap(walk)
			t.Check(next.Same(early) && !walk.Same(early), "the walk doesn't come to the part map that was joined")
			t.Check(set.NextPartMap(next) == nil, "the walk comes to another part map behind it")
			walk.Drop()
			next.Drop()
		}
		early.Drop()
	})
}
