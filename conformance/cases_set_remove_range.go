package conformance

import (
	"fmt"
	"math"
	"slices"

	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setRemoveRangeCases are those of pmemset_remove_range(3).
func setRemoveRangeCases() []Case {
	const page = "pmemset_remove_range/"
	return []Case{{
		Name: page + "removes-overlapping-parts",
		Rows: []string{page + "removes-overlapping-parts", page + "zero-on-success"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				for _, c := range separateParts {
					c.reserved(t, g)
				}
			})
		},
	}, {
		Name: page + "coalesced parts",
		Rows: []string{page + "works-with-coalesced-parts", page + "only-intersected-coalesced-part", page + "zero-on-success"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				for _, c := range coalescedParts {
					c.reserved(t, g)
				}
			})
			t.InGenerations(func(g Generation) {
				for _, c := range coalescedParts {
					if len(c.parts) == 1 && c.foreign == 0 {
						c.unreserved(t, g)
					}
				}
			}, Release112)
		},
	}, {
		Name: page + "separate parts, without a reservation",
		Rows: []string{page + "removes-overlapping-parts", page + "zero-on-success"},
		Run:  removeRangeSeparate,
	}, {
		Name: page + "nothing there",
		Rows: []string{page + "PMEMSET_E_CANNOT_FIND_PART_MAP#1", page + "zero-on-success"},
		Run:  removeRangeOfNothing,
	}, {
		Name: page + "length 0",
		Rows: []string{page + "(side-effect)#1"},
		Run:  removeRangeEmpty,
	}, {
		Name: page + "references",
		Rows: []string{
			page + "no-references-allowed", page + "drop-releases-reference", page + "zero-on-success",
			page + "PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP#1",
		},
		Run: removeRangeReferenced,
	}, {
		Name: page + "a hole below",
		Rows: []string{page + "PMEMSET_E_PART_MAP_POSSIBLE_USE_AFTER_DROP#2"},
		Run:  removeRangeBelow,
	}, {
		Name: page + "unmapping fails",
		Rows: []string{page + "(pmem2_map_delete)#1", page + "zero-on-success"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				for _, c := range []struct{ at, n uint64 }{{0, 1}, {64 * kib, 1}, {128 * kib, 1}, {192 * kib, 1}, {64 * kib, 192 * kib}} {
					removeRangeFails(t, g, c.at, c.n)
				}
			})
		},
	}}
}

// rangeCase is a set of part maps, one after the other, and what is removed from it.
// All but at and n of a step is in KiB.
type rangeCase struct {
	parts   [][]uint64 // the mappings of each part map
	foreign uint64     // of a mapping of the program's own behind them
	steps   []rangeStep
}

// rangeStep is a RemoveRange at an address relative to the first part map, and what is
// there then: {start, size} of each part map. missing is whether nothing is found.
type rangeStep struct {
	at      int64
	n       uint64
	left    [][2]uint64
	missing bool
}

// separateParts are not coalesced, though they may touch.
var separateParts = []rangeCase{
	{parts: [][]uint64{{256}}, steps: []rangeStep{{at: 100 * kib, n: 1}}},
	{parts: [][]uint64{{256}}, steps: []rangeStep{{at: 0, n: 1}}},
	{parts: [][]uint64{{256}}, steps: []rangeStep{{at: 256*kib - 1, n: 1}}},
	{parts: [][]uint64{{256}}, steps: []rangeStep{{at: -5, n: 6}}},
	{parts: [][]uint64{{256}}, steps: []rangeStep{{at: -4096, n: 4096, left: [][2]uint64{{0, 256}}, missing: true}, {at: 0, n: 256 * kib}}},
	{parts: [][]uint64{{256}}, steps: []rangeStep{{at: 256 * kib, n: 4096, left: [][2]uint64{{0, 256}}, missing: true}, {at: 1, n: mib}}},
	{parts: [][]uint64{{64}, {64}, {64}}, steps: []rangeStep{
		{at: 64 * kib, n: 64 * kib, left: [][2]uint64{{0, 64}, {128, 64}}},
		{at: 64 * kib, n: 64 * kib, left: [][2]uint64{{0, 64}, {128, 64}}, missing: true},
		{at: 64*kib - 1, n: 1, left: [][2]uint64{{128, 64}}},
		{at: 0, n: 128*kib + 1},
	}},
	{parts: [][]uint64{{64}, {64}, {64}}, steps: []rangeStep{{at: 0, n: 192 * kib}}},
	{parts: [][]uint64{{64}, {64}, {64}}, steps: []rangeStep{{at: 64*kib - 1, n: 64*kib + 2}}},
	{parts: [][]uint64{{64}, {64}, {64}}, steps: []rangeStep{
		{at: 64 * kib, n: 1, left: [][2]uint64{{0, 64}, {128, 64}}}, {at: -4096, n: mib},
	}},
	{parts: [][]uint64{{32}, {32}, {32}}, steps: []rangeStep{{at: 32*kib - 1, n: 2, left: [][2]uint64{{64, 32}}}}},
	{parts: [][]uint64{{32}, {64}, {32}}, steps: []rangeStep{{at: 0, n: 48 * kib, left: [][2]uint64{{96, 32}}}}},
	{parts: [][]uint64{{32}, {64}, {32}}, steps: []rangeStep{{at: 95 * kib, n: kib, left: [][2]uint64{{0, 32}, {96, 32}}}}},
	{parts: [][]uint64{{64}, {64}, {64}}, steps: []rangeStep{{at: 64 * kib, n: math.MaxUint64, left: [][2]uint64{{0, 64}}}}}, // to the end of the addresses
	{parts: [][]uint64{{64}, {64}}, foreign: 64, steps: []rangeStep{{at: 64 * kib, n: 128 * kib, left: [][2]uint64{{0, 64}}}}},
}

// coalescedParts are part maps of several mappings.
var coalescedParts = []rangeCase{
	{parts: [][]uint64{{64, 64, 64}}, steps: []rangeStep{ // the last ones first
		{at: 191 * kib, n: 1, left: [][2]uint64{{0, 128}}}, {at: 127 * kib, n: 1, left: [][2]uint64{{0, 64}}}, {at: 0, n: 1},
	}},
	{parts: [][]uint64{{64, 64, 64}}, steps: []rangeStep{ // the first ones first
		{at: -8, n: 9, left: [][2]uint64{{64, 128}}}, {at: 64 * kib, n: 1, left: [][2]uint64{{128, 64}}}, {at: 128 * kib, n: 1},
	}},
	{parts: [][]uint64{{64, 64, 64}}, steps: []rangeStep{ // the middle
		{at: 64 * kib, n: 64 * kib, left: [][2]uint64{{0, 64}, {128, 64}}},
		{at: 64 * kib, n: 64 * kib, left: [][2]uint64{{0, 64}, {128, 64}}, missing: true},
		{at: 0, n: 192 * kib},
	}},
	{parts: [][]uint64{{64, 64, 64}}, steps: []rangeStep{{at: 0, n: 192 * kib}}},
	{parts: [][]uint64{{64, 64, 64}}, steps: []rangeStep{{at: 64*kib - 1, n: 64*kib + 2}}},
	{parts: [][]uint64{{64, 64, 64, 64, 64}}, steps: []rangeStep{
		{at: 68 * kib, n: 64 * kib, left: [][2]uint64{{0, 64}, {192, 128}}},
		{at: 316 * kib, n: 4 * kib, left: [][2]uint64{{0, 64}, {192, 64}}},
		{at: 0, n: 4 * kib, left: [][2]uint64{{192, 64}}},
	}},
	{parts: [][]uint64{{64, 64, 64, 64, 64, 64}}, steps: []rangeStep{
		{at: 64 * kib, n: 1, left: [][2]uint64{{0, 64}, {128, 256}}},
		{at: 128 * kib, n: 1, left: [][2]uint64{{0, 64}, {192, 192}}},
		{at: 256 * kib, n: 1, left: [][2]uint64{{0, 64}, {192, 64}, {320, 64}}},
	}},
	{parts: [][]uint64{{32, 96, 64}}, steps: []rangeStep{{at: 40 * kib, n: 1, left: [][2]uint64{{0, 32}, {128, 64}}}}}, // of any size
	// Part maps that don't begin where their reservation does.
	{parts: [][]uint64{{128}, {64, 64, 64}}, steps: []rangeStep{{at: 128 * kib, n: 1, left: [][2]uint64{{0, 128}, {192, 128}}}}},
	{parts: [][]uint64{{128}, {64, 64, 64}}, steps: []rangeStep{{at: 192 * kib, n: 1, left: [][2]uint64{{0, 128}, {128, 64}, {256, 64}}}}},
	{parts: [][]uint64{{128}, {64, 64, 64}}, steps: []rangeStep{{at: 256 * kib, n: 1, left: [][2]uint64{{0, 128}, {128, 128}}}}},
	{parts: [][]uint64{{128}, {64, 64, 64}}, steps: []rangeStep{{at: 127 * kib, n: 2 * kib, left: [][2]uint64{{192, 128}}}}},
	// From the one into the other.
	{parts: [][]uint64{{32, 32}, {32, 32}}, steps: []rangeStep{{at: 32 * kib, n: 48 * kib, left: [][2]uint64{{0, 32}, {96, 32}}}}},
	{parts: [][]uint64{{32, 32}, {32}, {32, 32}}, steps: []rangeStep{{at: 63 * kib, n: 34 * kib, left: [][2]uint64{{0, 32}, {128, 32}}}}},
	{parts: [][]uint64{{64, 64}}, foreign: 64, steps: []rangeStep{{at: 64 * kib, n: 128 * kib, left: [][2]uint64{{0, 64}}}}},
	{parts: [][]uint64{{64, 64, 64}}, steps: []rangeStep{{at: 64 * kib, n: math.MaxUint64 - 100, left: [][2]uint64{{0, 64}}}}},
}

// fill maps the part maps of c into a set, so that each byte is that of a pattern at the
// offset that it has from the first. The pattern is what it returns.
func (c rangeCase) fill(t *T, g Generation, set Set) (start uintptr, fd int, content []byte) {
	t.Note("part maps", "%v, each of mappings of so many KiB", c.parts)
	path, src := t.SetFile(mib)
	fd = t.Open(t.FileAt(path), platform.ORdwr)
	content = pattern(mib, 21)
	t.WriteFile(fd, 0, content)
	at := uint64(0)
	for _, sizes := range c.parts {
		t.Coalesce(set, pmemset.CoalescingNone)
		var d pmemset.PartDescriptor
		whole := uint64(0)
		for _, size := range sizes {
			d = t.SetMap(g, set, src, at, size*kib)
			t.Coalesce(set, pmemset.CoalescingFull)
			at += size * kib
			whole += size * kib
		}
		if start == 0 {
			start = d.Addr
		}
		want := pmemset.PartDescriptor{Addr: start + uintptr(at-whole), Size: whole}
		t.Check(d == want, "the part map is %s, want %s", partText(d), partText(want))
	}
	t.Coalesce(set, pmemset.CoalescingNone)
	return start, fd, content
}

// remove takes the steps of c; look is called after each with what is left.
func (c rangeCase) remove(t *T, set Set, start uintptr, content []byte, look func(left [][2]uint64)) {
	for _, s := range c.steps {
		want := "0"
		if s.missing {
			want = "PMEMSET_E_CANNOT_FIND_PART_MAP"
		}
		t.Expect(want, set.RemoveRange(start+uintptr(s.at), s.n), "RemoveRange(start%+d, %d)", s.at, s.n)
		var left []pmemset.PartDescriptor
		for _, span := range s.left {
			d := pmemset.PartDescriptor{Addr: start + uintptr(span[0]*kib), Size: span[1] * kib}
			left = append(left, d)
			for at := uint64(0); at < d.Size; at += 32 * kib {
				m := t.at(set, d.Addr+uintptr(at))
				checkWhole(t, m, d, "the part map that is left")
				m.Drop()
			}
			checkBytes(t, d.Bytes(), content[span[0]*kib:][:d.Size], "the part map at %s that is left", amount(span[0]*kib))
			t.Must(set.Persist(d.Bytes()), "Persist() of what is left")
		}
		t.CheckParts(set, left...)
		look(s.left)
	}
}

// gaps calls f with the ranges, in KiB, between those of left, up to size.
func gaps(left [][2]uint64, size uint64, f func(at, n uint64)) {
	at := uint64(0)
	for _, span := range append(slices.Clone(left), [2]uint64{size, 0}) {
		if span[0] > at {
			f(at, span[0]-at)
		}
		at = span[0] + span[1]
	}
}

// reserved tries c in a reservation of the program's.
func (c rangeCase) reserved(t *T, g Generation) {
	r := t.Reservation(freeSpace(t, mib), mib) // with nothing in front that could be hit
	set := t.Set(t.SetConfigIn(r))
	start, fd, content := c.fill(t, g, set)
	t.Check(start == r.Address(), "the first part map is at %#x, not where the reservation begins", start)
	var own Map
	behind := uint64(0)
	for _, sizes := range c.parts {
		for _, size := range sizes {
			behind += size
		}
	}
	if c.foreign > 0 {
		own = t.MapAs(mapSpec{in: r, at: behind * kib}, t.FileSource(c.foreign*kib))
	}
	c.remove(t, set, start, content, func(left [][2]uint64) {
		checkReservation(t, r, start, mib)
		if own != nil {
			checkMapped(t, own.Address(), own.Size(), "rw-s")
			checkFound(t, r, behind*kib, 1, own)
			gaps(left, behind, func(at, n uint64) { checkBlank(t, start+uintptr(at*kib), n*kib) })
			return
		}
		gaps(left, mib/kib, func(at, n uint64) { checkBlank(t, start+uintptr(at*kib), n*kib) })
	})
	checkFile(t, fd, 0, content, "the file")
	// The set isn't confused: what is free can be mapped again, and everything goes.
	_, src := t.SetFile(32 * kib)
	for range 3 {
		t.SetMap(g, set, src, 0, 32*kib)
	}
	t.Delete(set)
	if own != nil {
		t.Delete(own)
	}
	checkEmpty(t, r)
	checkUnmapped(t, fd)
}

// unreserved tries c, of one part map, in a reservation of the library's.
func (c rangeCase) unreserved(t *T, g Generation) {
	set := t.Set()
	start, fd, content := c.fill(t, g, set)
	c.remove(t, set, start, content, func(left [][2]uint64) {
		gaps(left, mib/kib, func(at, n uint64) { checkGone(t, fd, start+uintptr(at*kib), n*kib) })
	})
	t.Delete(set)
	checkUnmapped(t, fd)
	checkFile(t, fd, 0, content, "the file")
}

func removeRangeSeparate(t *T) {
	t.EachGeneration(func(g Generation) {
		path, src := t.SetFile(192 * kib)
		fd := t.Open(t.FileAt(path), platform.ORdwr)
		set, other := t.Set(), t.Set()
		stays := t.SetMap(g, other, src, 0, 64*kib)
		for _, c := range []struct{ at, n uint64 }{{0, 1}, {64*kib - 1, 1}, {100, 1000}, {0, 64 * kib}} {
			parts := mapParts(t, g, set, src, 3)
			for len(parts) > 0 {
				d := parts[len(parts)/2]
				parts = slices.Delete(parts, len(parts)/2, len(parts)/2+1)
				t.Must(set.RemoveRange(d.Addr+uintptr(c.at), c.n), "RemoveRange(a part's start+%d, %d)", c.at, c.n)
				checkGone(t, fd, d.Addr, d.Size)
				t.CheckParts(set, slices.Clone(parts)...)
				t.notAt(set, d.Addr, "where the part was")
			}
		}
		// All at once, wherever they are.
		for _, all := range []struct {
			addr uintptr
			n    uint64
		}{{0, math.MaxUint64}, {1, math.MaxUint64}, {4096, math.MaxUint64 - 4096}} {
			mapParts(t, g, set, src, 3)
			t.Must(set.RemoveRange(all.addr, all.n), "RemoveRange(%#x, %#x)", all.addr, all.n)
			t.CheckParts(set)
			t.CheckParts(other, stays) // but for another set's
			checkMapped(t, stays.Addr, stays.Size, "rw-s")
			checkMappedOnce(t, fd)
		}
	})
}

func removeRangeOfNothing(t *T) {
	const notFound = "PMEMSET_E_CANNOT_FIND_PART_MAP"
	t.EachGeneration(func(g Generation) {
		r := t.Reservation(0, mib)
		_, src := t.SetFile(64 * kib)
		set, other := t.Set(t.SetConfigIn(r)), t.Set(t.SetConfigIn(r))
		for _, n := range []uint64{1, 4096, math.MaxUint64} {
			t.Expect(notFound, set.RemoveRange(4096, n), "RemoveRange(4096, %d) of a set without parts", n)
		}
		a, b := t.SetMap(g, set, src, 0, 64*kib), t.SetMap(g, set, src, 0, 64*kib)
		foreign := t.SetMap(g, other, src, 0, 64*kib)
		c := t.SetMap(g, set, src, 0, 64*kib)
		t.Must(set.RemoveRange(b.Addr, 1), "RemoveRange() of the second part")
		for _, at := range []struct {
			addr uintptr
			n    uint64
		}{
			{4096, 4096}, {0, 1}, {a.Addr - 100, 100}, {b.Addr, b.Size + foreign.Size}, {foreign.Addr + 1, 1},
			{c.Addr + uintptr(c.Size), 1}, {c.Addr + uintptr(c.Size), math.MaxUint64}, {math.MaxUint64, 1}, {math.MaxUint64, math.MaxUint64},
		} {
			t.Expect(notFound, set.RemoveRange(at.addr, at.n), "RemoveRange(%#x, %d)", at.addr, at.n)
			t.CheckParts(set, a, c)
			t.CheckParts(other, foreign)
		}
	})
}

func removeRangeEmpty(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(256 * kib)
		r := t.Reservation(0, mib)
		set := t.Set(t.SetConfigIn(r))
		t.Must(set.RemoveRange(0, 0), "RemoveRange(0, 0) of a set without parts")
		first := t.SetMap(g, set, src, 0, 256*kib)
		t.SetMap(g, set, src, 0, 64*kib)
		t.Coalesce(set, pmemset.CoalescingFull)
		second := t.SetMap(g, set, src, 0, 64*kib)
		t.Check(second.Size == 128*kib, "the second part map is %s", partText(second))
		held := t.at(set, first.Addr) // doesn't matter either
		for _, addr := range []uintptr{
			0, first.Addr - 1, first.Addr, first.Addr + 1, first.Addr + 4*kib, first.Addr + 255*kib, second.Addr,
			second.Addr + 10, second.Addr + 64*kib, second.Addr + 128*kib - 1, second.Addr + 128*kib, math.MaxUint64,
		} {
			t.Must(set.RemoveRange(addr, 0), "RemoveRange(%#x, 0)", addr)
			t.CheckParts(set, first, second)
			checkMapped(t, first.Addr, first.Size+second.Size, "rw-s")
		}
		held.Drop()
	})
}

func removeRangeReferenced(t *T) {
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(256 * kib)
		set := t.Set(t.SetConfigIn(t.Reservation(0, mib)))
		a := t.SetMap(g, set, src, 0, 64*kib)
		t.SetMap(g, set, src, 0, 64*kib)
		t.Coalesce(set, pmemset.CoalescingFull)
		b := t.SetMap(g, set, src, 64*kib, 64*kib)
		t.Coalesce(set, pmemset.CoalescingNone)
		c := t.SetMap(g, set, src, 0, 64*kib)

		elsewhere := make(chan PartMap) // another goroutine's reference
		go func() {
			m, _ := set.PartMapByAddress(b.Addr)
			elsewhere <- m
		}()
		theirs, own := <-elsewhere, t.at(set, b.Addr+100*kib)
		for held := 2; held > 0; held-- {
			for _, at := range []struct{ at, n uint64 }{{0, 1}, {64 * kib, 1}, {128*kib - 1, 1}, {0, 128 * kib}, {10, 100 * kib}} {
				t.Expect(useAfterDrop, set.RemoveRange(b.Addr+uintptr(at.at), at.n), "RemoveRange() in a part map with %d references", held)
				t.CheckParts(set, a, b, c)
				checkMapped(t, b.Addr, b.Size, "rw-s")
			}
			checkWhole(t, own, b, "the reference")
			if held == 2 {
				theirs.Drop()
			}
		}
		// One that reaches into others too: b stays, whatever becomes of those.
		t.Expect(useAfterDrop, set.RemoveRange(b.Addr+100, b.Size), "RemoveRange() of the referenced part map and the next")
		checkWhole(t, own, b, "the reference")
		checkMapped(t, b.Addr, b.Size+c.Size, "rw-s")
		t.CheckParts(set, a, b, c)
		// References elsewhere don't matter.
		other := t.at(set, c.Addr)
		t.Must(set.RemoveRange(a.Addr, 1), "RemoveRange() of a part map beside")
		own.Drop()
		t.Must(set.RemoveRange(b.Addr+64*kib, 1), "RemoveRange() after Drop()")
		checkWhole(t, other, c, "the reference to the other part map")
		t.Expect(useAfterDrop, set.RemoveRange(b.Addr+64*kib, 64*kib+1), "RemoveRange() up to the first byte of a part map with a reference")
		other.Drop()
		t.Must(set.RemoveRange(b.Addr, b.Size+1), "RemoveRange() of all that is left")
		t.CheckParts(set)
	})
}

func removeRangeBelow(t *T) {
	const notFound = "PMEMSET_E_CANNOT_FIND_PART_MAP"
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(192 * kib)
		set := t.Set()
		d := t.SetMap(g, set, src, 0, 64*kib) // in a reservation of its own
		for range 3 {
			t.Expect(notFound, set.RemoveRange(d.Addr-64*kib, 4*kib), "RemoveRange() below the part")
			t.Must(set.DeepFlushRange(d.Addr-64*kib, 4*kib), "DeepFlushRange() below the part")
		}
		t.Must(set.RemoveRange(d.Addr, d.Size), "RemoveRange() of the part")

		set = t.Set(t.SetConfigIn(t.Reservation(0, mib)))
		low, hole, high := t.SetMap(g, set, src, 0, 64*kib), t.SetMap(g, set, src, 0, 64*kib), t.SetMap(g, set, src, 0, 64*kib)
		t.Must(set.RemoveRange(hole.Addr, 1), "RemoveRange() of the middle part")
		for range 3 {
			t.Expect(notFound, set.RemoveRange(hole.Addr+100, 100), "RemoveRange() of the hole")
			t.Must(set.DeepFlushRange(low.Addr, low.Size+100), "DeepFlushRange() into the hole")
		}
		t.Must(set.RemoveRange(high.Addr, 1), "RemoveRange() of the part above the hole")
		t.Must(set.RemoveRange(low.Addr, 1), "RemoveRange() of the part below")
		t.CheckParts(set)
	})
}

// removeRangeFails removes a range in a part and a part map of three with one system
// call failing, for each that there is.
func removeRangeFails(t *T, g Generation, at, n uint64) {
	failures := 0
	eachMemoryFailure(t, func(during func(call func() error) error) {
		r := t.Reservation(0, mib)
		set := t.Set(t.SetConfigIn(r))
		start, fd, content := rangeCase{parts: [][]uint64{{64}, {64, 64, 64}}}.fill(t, g, set)
		before := t.PartMaps(set)
		err := during(func() error { return set.RemoveRange(start+uintptr(at), n) })
		if err != nil {
			failures++
			t.Expect("-ENOMEM", err, fmt.Sprintf("RemoveRange(start+%d, %d)", at, n))
			t.CheckParts(set, slices.Clone(before)...)
			for _, d := range before {
				checkMapped(t, d.Addr, d.Size, "rw-s")
				checkBytes(t, d.Bytes(), content[d.Addr-start:][:d.Size], "a part map after the failure")
				t.Must(set.Persist(d.Bytes()), "Persist() of a part map")
			}
			err = set.RemoveRange(start+uintptr(at), n)
		}
		t.Must(err, "RemoveRange(start+%d, %d)", at, n)
		first := at / (64 * kib)
		last := (at + n - 1) / (64 * kib)
		checkBlank(t, start+uintptr(first*64*kib), (last-first+1)*64*kib)
		t.Delete(set)
		checkEmpty(t, r)
		checkUnmapped(t, fd)
	})
	t.Check(failures > 0, "RemoveRange succeeds whatever system call fails")
}
