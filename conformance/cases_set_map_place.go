package conformance

import (
	"slices"

	"pmemlab/pmemset"
)

// setMapPlaceCases checks where parts lie, and what is said where there is no place.
func setMapPlaceCases() []Case {
	return slices.Concat([]Case{
		setMapCase("reservation", setMapKeepsToReservation, newMap, "reservation-limits-parts", "reservation-unchanged"),
		setMapCase("reservation by a config with a set", setMapKeepsToReservation, oldMap, "gen2-reservation-limits-parts"),
		setPartCase("reservation", setMapKeepsToReservation, "reservation-limits-parts"),

		setMapCase("coalescing", setMapCoalesces, newMap, "coalescing-changeable-any-time", "coalescing-maps-after-previous"),
		setMapCase("coalescing by a config with a set", setMapCoalesces, oldMap, "gen2-coalescing-places-behind"),
		setPartCase("coalescing", setMapCoalesces, "coalescing-places-behind"),
		setMapCase("coalescing without a reservation", setMapCoalescesAnywhere, newMap, "coalescing-changeable-any-time", "coalescing-maps-after-previous"),
	},
		onEachMapPage("room behind is taken", setMapBehindTaken, bothMaps, "PMEMSET_E_CANNOT_COALESCE_PARTS#1"),
		onEachMapPage("address space behind is taken", setMapAddressesTaken, bothMaps, "PMEMSET_E_CANNOT_COALESCE_PARTS#1"),
		onEachMapPage("reservation ends behind", setMapAtReservationEnd, bothMaps, "PMEMSET_E_CANNOT_COALESCE_PARTS#2"),
		onEachMapPage("no room", setMapNoRoom, bothMaps, "PMEMSET_E_CANNOT_FIT_PART_MAP#1"),
		onEachMapPage("no room, coalescing", setMapNoRoomCoalescing, bothMaps, "PMEMSET_E_CANNOT_FIT_PART_MAP#2"),
		onEachMapPage("after a removed range", setMapAfterRemoval, bothMaps, "PMEMSET_E_PART_EXISTS#1"),
		onEachMapPage("invalid coalescing value", setMapInvalidCoalescing, bothMaps, "PMEMSET_E_INVALID_COALESCING_VALUE#1"),
	)
}

// placed is a set of one generation in a reservation, with a file of 1 MiB to map.
type placed struct {
	t   *T
	g   Generation
	r   Reservation
	set Set
	src SetSource
}

func (t *T) placed(g Generation, size uint64) placed {
	r := t.Reservation(0, size)
	_, src := t.SetFile(mib)
	return placed{t, g, r, t.Set(t.SetConfigIn(r)), src}
}

// at is a part map at an offset in the reservation.
func (p placed) at(offset, size uint64) pmemset.PartDescriptor {
	return pmemset.PartDescriptor{Addr: p.r.Address() + uintptr(offset), Size: size}
}

// put maps length bytes, and expects them to be, or to become the end of, the part map.
func (p placed) put(c pmemset.Coalescing, length, at, size uint64) {
	p.t.Coalesce(p.set, c)
	got := p.t.SetMap(p.g, p.set, p.src, 0, length)
	p.t.Check(got == p.at(at, size), "the part map is %s, want %s", partText(got), partText(p.at(at, size)))
}

// refuse expects length bytes not to be mapped.
func (p placed) refuse(want string, c pmemset.Coalescing, length uint64) {
	p.t.Coalesce(p.set, c)
	p.t.NoSetMap(want, p.g, p.set, p.src, 0, length)
}

// remove removes what has a byte in n bytes at an offset in the reservation.
func (p placed) remove(offset, n uint64) {
	p.t.Must(p.set.RemoveRange(p.r.Address()+uintptr(offset), n), "RemoveRange(+%s, %s)", amount(offset), amount(n))
}

const (
	coalesceNone = pmemset.CoalescingNone
	coalesceOpp  = pmemset.CoalescingOpportunistic
	coalesceFull = pmemset.CoalescingFull

	cannotCoalesce = "PMEMSET_E_CANNOT_COALESCE_PARTS"
	cannotFit      = "PMEMSET_E_CANNOT_FIT_PART_MAP"
)

// coalescings are the three that there are.
var coalescings = []pmemset.Coalescing{coalesceNone, coalesceOpp, coalesceFull}

// setMapKeepsToReservation maps two sets and a mapping of the program's own into one
// reservation.
func setMapKeepsToReservation(t *T, g Generation) {
	p := t.placed(g, 512*kib)
	start := p.r.Address()
	unchanged := func() { checkReservation(t, p.r, start, 512*kib) }
	own := t.MapAs(mapSpec{length: 64 * kib, in: p.r}, t.FileSource(64*kib))
	other := p
	other.set = t.Set(t.SetConfigIn(p.r))

	p.put(coalesceNone, 64*kib, 64*kib, 64*kib)
	other.put(coalesceNone, 64*kib, 128*kib, 64*kib)
	p.put(coalesceOpp, 64*kib, 192*kib, 64*kib)
	p.put(coalesceFull, 64*kib, 192*kib, 128*kib)
	p.put(coalesceNone, 192*kib, 320*kib, 192*kib)
	unchanged()
	for _, c := range coalescings {
		p.refuse(cannotFit, c, t.Page())
		other.refuse(cannotFit, c, t.Page())
	}
	unchanged()
	t.CheckParts(p.set, p.at(64*kib, 64*kib), p.at(192*kib, 128*kib), p.at(320*kib, 192*kib))
	t.CheckParts(other.set, p.at(128*kib, 64*kib))
	checkMapped(t, start, 512*kib, "rw-s")

	p.remove(192*kib, 1)
	unchanged()
	checkBlank(t, start+uintptr(192*kib), 64*kib)
	p.remove(192*kib, 512*kib) // the rest of its own
	unchanged()
	checkBlank(t, start+uintptr(192*kib), 320*kib)
	other.put(coalesceFull, 320*kib, 128*kib, 384*kib) // as far as it goes
	t.Delete(p.set)
	t.Delete(other.set)
	unchanged()
	checkMapped(t, start, 64*kib, "rw-s")
	checkBlank(t, start+uintptr(64*kib), 448*kib)
	t.Check(own.Address() == start && own.Size() == 64*kib, "the program's own mapping has become %d bytes at %#x", own.Size(), own.Address())
	t.Delete(own)
	checkEmpty(t, p.r)
}

// setMapCoalesces changes the coalescing all the time, and removes what is mapped.
func setMapCoalesces(t *T, g Generation) {
	p := t.placed(g, mib)
	_, another := t.SetFile(mib)
	// Without a part map there is nothing to lie behind.
	p.put(coalesceFull, 32*kib, 0, 32*kib)
	// Parts of different files are coalesced too; the part map is the one made last.
	p.src, another = another, p.src
	p.put(coalesceFull, 32*kib, 0, 64*kib)
	p.put(coalesceOpp, 64*kib, 0, 128*kib)
	p.src = another
	p.put(coalesceNone, 128*kib, 128*kib, 128*kib)
	p.remove(0, 128*kib)
	p.put(coalesceFull, 64*kib, 128*kib, 192*kib)
	p.put(coalesceNone, 64*kib, 0, 64*kib)
	p.put(coalesceFull, 64*kib, 0, 128*kib)
	p.refuse(cannotCoalesce, coalesceFull, 64*kib)
	p.put(coalesceOpp, 64*kib, 320*kib, 64*kib)
	p.put(coalesceFull, 64*kib, 320*kib, 128*kib)
	t.CheckParts(p.set, p.at(0, 128*kib), p.at(128*kib, 192*kib), p.at(320*kib, 128*kib))

	// What is removed besides the previous part map doesn't matter. If that goes, the
	// next one below is it, or else the next one above.
	p.remove(128*kib, 192*kib)
	p.put(coalesceFull, 64*kib, 320*kib, 192*kib)
	p.remove(320*kib, 192*kib)
	p.put(coalesceFull, 64*kib, 0, 192*kib)
	p.put(coalesceNone, 64*kib, 192*kib, 64*kib)
	p.remove(0, 64*kib)
	p.remove(64*kib, 128*kib)
	p.put(coalesceNone, 64*kib, 0, 64*kib)
	p.remove(0, 64*kib)
	p.put(coalesceFull, 64*kib, 192*kib, 128*kib)
	p.remove(192*kib, 128*kib)
	t.CheckParts(p.set)
	p.put(coalesceFull, 64*kib, 0, 64*kib)
}

// setMapCoalescesAnywhere: behind a part of the release's there is room to coalesce.
func setMapCoalescesAnywhere(t *T, g Generation) {
	src, _, content := t.patternSetFile(512*kib, 3)
	set := t.Set()
	a := t.SetMap(g, set, src, 0, 64*kib)
	b := t.SetMap(g, set, src, 0, 64*kib)
	t.Coalesce(set, coalesceFull)
	b2 := t.SetMap(g, set, src, 64*kib, 192*kib)
	t.Check(b2 == pmemset.PartDescriptor{Addr: b.Addr, Size: 256 * kib}, "the part map is %s, want 256K at %#x", partText(b2), b.Addr)
	checkPart(t, b2, content[:256*kib], "the part map of two parts")
	t.Coalesce(set, coalesceNone)
	c := t.SetMap(g, set, src, 0, 96*kib)
	t.Coalesce(set, coalesceOpp)
	c2 := t.SetMap(g, set, src, 96*kib, 160*kib)
	t.Check(c2 == pmemset.PartDescriptor{Addr: c.Addr, Size: 256 * kib}, "the part map is %s, want 256K at %#x", partText(c2), c.Addr)
	checkPart(t, c2, content[:256*kib], "the part map of two parts")
	t.CheckParts(set, a, b2, c2)
}

// setMapBehindTaken: another part, one of another set, and a mapping of the program's.
func setMapBehindTaken(t *T, g Generation) {
	p := t.placed(g, 512*kib)
	p.put(coalesceNone, 64*kib, 0, 64*kib)
	p.put(coalesceNone, 64*kib, 64*kib, 64*kib)
	p.remove(0, 64*kib)
	p.put(coalesceNone, 64*kib, 0, 64*kib) // it is the previous one now
	for _, length := range []uint64{t.Page(), 64 * kib, 128 * kib} {
		p.refuse(cannotCoalesce, coalesceFull, length)
	}
	t.CheckParts(p.set, p.at(0, 64*kib), p.at(64*kib, 64*kib))
	p.put(coalesceOpp, 64*kib, 128*kib, 64*kib)

	other := p
	other.set = t.Set(t.SetConfigIn(p.r))
	other.put(coalesceNone, 64*kib, 192*kib, 64*kib)
	p.refuse(cannotCoalesce, coalesceFull, 64*kib)
	own := t.MapAs(mapSpec{length: 64 * kib, in: p.r, at: 320 * kib}, t.FileSource(64*kib))
	// There are 64K free behind it, and the other's 64K don't reach so far.
	other.refuse(cannotCoalesce, coalesceFull, 128*kib)
	other.put(coalesceFull, 64*kib, 192*kib, 128*kib)
	other.refuse(cannotCoalesce, coalesceFull, t.Page())
	t.CheckParts(other.set, p.at(192*kib, 128*kib))
	t.CheckParts(p.set, p.at(0, 64*kib), p.at(64*kib, 64*kib), p.at(128*kib, 64*kib))
	t.Check(own.Size() == 64*kib, "the program's own mapping has become %d bytes", own.Size())
	checkMapped(t, p.r.Address(), 384*kib, "rw-s")
}

// setMapAddressesTaken puts something behind a part that has a reservation of its own.
func setMapAddressesTaken(t *T, g Generation) {
	const far = 64 * mib
	path, _ := t.SetFile(64 * kib)
	src := t.XSetSource(path, g.Growing())
	set, events := t.SetWithEvents()
	a := t.SetMap(g, set, src, 0, 64*kib)
	events.Name("A", a.Addr)
	untouched := func() bool { return true }
	for at := a.Addr + uintptr(a.Size); at < a.Addr+far; at += 64 * kib {
		if isFree(t, at, t.Page()) {
			untouched = occupy(t, at, t.Page())
			t.Note("address space", "taken %s behind the part", amount(uint64(at-a.Addr)-a.Size))
			break
		}
	}
	t.Coalesce(set, coalesceFull)
	t.NoSetMap(cannotCoalesce, g, set, src, 0, far)
	t.CheckFileSize(path, 64*kib, "after the call")
	t.CheckParts(set, a)
	t.Coalesce(set, coalesceOpp)
	b := t.SetMap(g, set, src, 0, far)
	t.CheckParts(set, a, b)
	events.Name("B", b.Addr)
	t.Events(set, events, "PART_ADD A 64K", "PART_ADD B 64M")
	t.Check(untouched(), "what lay behind the part has changed")
}

// setMapAtReservationEnd: the previous part map ends where the reservation does.
func setMapAtReservationEnd(t *T, g Generation) {
	for _, end := range []uint64{192 * kib, 192*kib + 2*t.Page()} {
		p := t.placed(g, end)
		for i := range uint64(3) {
			p.put(coalesceNone, 64*kib, i*64*kib, 64*kib)
		}
		p.remove(0, 64*kib)
		p.refuse(cannotCoalesce, coalesceFull, 64*kib)
		p.refuse(cannotCoalesce, coalesceFull, 3*t.Page())
		t.CheckParts(p.set, p.at(64*kib, 64*kib), p.at(128*kib, 64*kib))
		p.put(coalesceOpp, 64*kib-t.Page(), 0, 64*kib-t.Page())
		checkReservation(t, p.r, p.r.Address(), end)
	}
	// To the last byte.
	p := t.placed(g, 128*kib)
	p.put(coalesceFull, 64*kib, 0, 64*kib)
	p.put(coalesceFull, 64*kib, 0, 128*kib)
	t.CheckParts(p.set, p.at(0, 128*kib))
}

func setMapNoRoom(t *T, g Generation) {
	p := t.placed(g, 192*kib)
	p.refuse(cannotFit, coalesceNone, 256*kib)
	p.refuse(cannotFit, coalesceNone, 192*kib+t.Page())
	p.put(coalesceNone, 192*kib, 0, 192*kib)
	p.refuse(cannotFit, coalesceNone, t.Page())
	p.remove(0, 1)
	for i := range uint64(3) {
		p.put(coalesceNone, 64*kib, i*64*kib, 64*kib)
	}
	// Two holes of 64K have no room for more.
	p.remove(0, 1)
	p.remove(128*kib, 1)
	p.refuse(cannotFit, coalesceNone, 64*kib+t.Page())
	p.refuse(cannotFit, coalesceNone, 128*kib)
	t.CheckParts(p.set, p.at(64*kib, 64*kib))
	p.put(coalesceNone, 64*kib, 0, 64*kib)
	p.put(coalesceNone, 64*kib, 128*kib, 64*kib)
}

func setMapNoRoomCoalescing(t *T, g Generation) {
	for _, c := range []pmemset.Coalescing{coalesceFull, coalesceOpp} {
		p := t.placed(g, 192*kib)
		p.refuse(cannotFit, c, 256*kib) // with nothing to lie behind
		p.put(coalesceNone, 64*kib, 0, 64*kib)
		p.put(coalesceNone, 64*kib, 64*kib, 64*kib)
		p.refuse(cannotFit, c, 64*kib+t.Page()) // behind the previous one there are 64K
		p.put(c, 64*kib, 64*kib, 128*kib)
		p.refuse(cannotFit, c, 64*kib)
		p.refuse(cannotFit, c, t.Page())
		// A hole that is too small doesn't help.
		p.remove(0, 64*kib)
		p.refuse(cannotFit, c, 64*kib+t.Page())
		t.CheckParts(p.set, p.at(64*kib, 128*kib))
	}
}

// setMapAfterRemoval maps where the head of a part map was.
func setMapAfterRemoval(t *T, g Generation) {
	p := t.placed(g, mib)
	p.put(coalesceNone, 128*kib, 0, 128*kib)
	p.put(coalesceNone, 64*kib, 128*kib, 64*kib)
	p.put(coalesceFull, 64*kib, 128*kib, 128*kib)
	p.put(coalesceFull, 64*kib, 128*kib, 192*kib)
	p.remove(128*kib, 1)
	t.CheckParts(p.set, p.at(0, 128*kib), p.at(192*kib, 128*kib))
	p.put(coalesceNone, 64*kib, 128*kib, 64*kib)
	t.CheckParts(p.set, p.at(0, 128*kib), p.at(128*kib, 64*kib), p.at(192*kib, 128*kib))
	// The same with the tail, with a part map of one part, and with what is left.
	for _, at := range []uint64{256 * kib, 128 * kib, 192*kib + 1} {
		p.remove(at, 1)
		p.put(coalesceNone, 64*kib, at/(64*kib)*64*kib, 64*kib)
	}
}

func setMapInvalidCoalescing(t *T, g Generation) {
	p := t.placed(g, mib)
	refused := func() {
		for _, c := range []pmemset.Coalescing{-1, 3, 4, 999, -1 << 31} {
			t.Expect("PMEMSET_E_INVALID_COALESCING_VALUE", p.set.SetContiguousPartCoalescing(c), "SetContiguousPartCoalescing(%d)", int(c))
		}
	}
	mapped := func(at, size uint64) {
		got := t.SetMap(g, p.set, p.src, 0, 64*kib)
		t.Check(got == p.at(at, size), "the part map is %s, want %s: the value before isn't kept", partText(got), partText(p.at(at, size)))
	}
	refused()
	mapped(0, 64*kib)
	mapped(64*kib, 64*kib)
	t.Coalesce(p.set, coalesceFull)
	refused()
	mapped(64*kib, 128*kib)
	t.Coalesce(p.set, coalesceNone)
	refused()
	mapped(192*kib, 64*kib)
}
