package sequences

import (
	"fmt"
	"math"
)

// reserve makes a reservation, four times in five with nothing wrong: anywhere, or where
// nothing else ever is, so that what is behind it is known.
func (g *generator) reserve() {
	slot := g.slot(reservationSlots, func(i int) bool { return !g.reservations[i].live })
	size := pick[uint64](g, 2<<20, 4<<20, 8<<20, 16<<20, 16<<20, 32<<20, 1<<30)
	if g.chance(30) {
		size = page * (1 + g.rand.Uint64N(64))
	}
	at := pick(g, anywhere, ownPlace)
	if g.chance(20) {
		switch g.below(4) {
		case 0:
			size = pick[uint64](g, 0, 1, page+1, tooLarge, 1<<63, math.MaxUint64, math.MaxUint64-page+1)
		case 1:
			at = ownPlace + 1
		case 2:
			at = overMap
		default:
			at = noAddress
		}
	}
	over := g.liveMap()
	where := placeNames[at]
	if at == overMap {
		where = fmt.Sprintf("where m%d is", over)
	}
	g.step(func(e *execution) string { return e.reserve(slot, at, over, size) }, "reserve r%d: %d bytes, %s", slot, size, where)
	ok := (at == anywhere || at == ownPlace) && size > 0 && size < tooLarge && size%page == 0
	if g.reservations[slot].live && at == ownPlace && g.reservations[slot].fixed {
		ok = false
	}
	if ok {
		g.reservations[slot] = reservation{live: true, fixed: at == ownPlace, size: size}
		for i := range g.maps { // those in an older one of the slot
			if g.maps[i].plan.reservation == slot {
				g.maps[i].plan.reservation = unset
			}
		}
	}
}

// Where a reservation is wanted.
const (
	anywhere = iota
	ownPlace
	unalignedPlace // ownPlace + 1
	overMap        // where a map is
	noAddress      // beyond what a process has
)

var placeNames = map[int]string{
	anywhere: "anywhere", ownPlace: "at its own place", unalignedPlace: "a byte behind its own place", noAddress: "beyond all addresses",
}

// reservation is a slot that a reservation should be in.
func (g *generator) reservation() int {
	return g.slot(reservationSlots, func(i int) bool { return g.reservations[i].live })
}

func (g *generator) resizeReservation() {
	slot := g.reservation()
	r := &g.reservations[slot]
	if !r.live && g.chance(85) {
		g.reserve()
		return
	}
	if g.chance(50) {
		size := page * g.rand.Uint64N(600)
		if !r.fixed || g.chance(20) { // whether there is room behind another is luck
			size = pick[uint64](g, 0, 1, page+1, tooLarge, 1<<63, math.MaxUint64-page+1, math.MaxUint64)
		}
		g.step(func(e *execution) string { return e.extend(slot, size) }, "extend r%d: by %d bytes", slot, size)
		if r.live && size%page == 0 && size < tooLarge {
			r.size += size
		}
		return
	}
	size := page * (1 + g.rand.Uint64N(max(r.size/page/4, 1)))
	offset := pick(g, 0, r.size-size, r.size-size)
	if g.chance(20) {
		offset, size = pick(g, 0, 1, page, r.size, math.MaxUint64, -size), pick(g, 0, 1, page, size, r.size, r.size+page, math.MaxUint64)
	}
	g.step(func(e *execution) string { return e.shrink(slot, offset, size) }, "shrink r%d: %d bytes from %d on", slot, size, offset)
	if !r.live || offset%page != 0 || size%page != 0 || offset >= r.size || size == 0 || size >= r.size || size > r.size-offset || (offset != 0 && offset+size != r.size) {
		return
	}
	for _, m := range g.maps {
		if m.live && m.plan.reservation == slot && m.plan.at < offset+size && offset < m.plan.at+m.length {
			return
		}
	}
	r.size -= size
	if offset == 0 {
		for i := range g.maps {
			if g.maps[i].plan.reservation == slot {
				g.maps[i].plan.at -= size
			}
		}
	}
}

func (g *generator) find() {
	slot := g.reservation()
	r := g.reservations[slot]
	if !r.live && g.chance(85) {
		g.reserve()
		return
	}
	m := g.slot(mapSlots, func(i int) bool { return g.maps[i].live && g.maps[i].plan.reservation == slot })
	switch g.below(6) {
	case 0:
		g.step(func(e *execution) string { return e.findEnd(slot, true) }, "find-first r%d", slot)
	case 1:
		g.step(func(e *execution) string { return e.findEnd(slot, false) }, "find-last r%d", slot)
	case 2:
		g.step(func(e *execution) string { return e.findBeside(slot, m, true) }, "find-next r%d: m%d", slot, m)
	case 3:
		g.step(func(e *execution) string { return e.findBeside(slot, m, false) }, "find-prev r%d: m%d", slot, m)
	default:
		offset, length := page*g.rand.Uint64N(max(r.size/page, 1)), page*g.rand.Uint64N(1024)
		if near := g.maps[m]; near.live && near.plan.reservation == slot && g.chance(60) {
			offset = max(near.plan.at+page*g.rand.Uint64N(8), 4*page) - 4*page
		}
		if g.chance(20) {
			offset, length = pick(g, 0, 1, r.size, math.MaxUint64), pick(g, 0, 1, r.size, math.MaxUint64)
		}
		g.step(func(e *execution) string { return e.find(slot, offset, length) }, "find r%d: %d bytes from %d on", slot, length, offset)
	}
}

func (g *generator) deleteReservation() {
	slot := g.reservation()
	if !g.reservations[slot].live && g.chance(85) {
		return
	}
	g.step(func(e *execution) string { return e.deleteReservation(slot) }, "unreserve r%d", slot)
	for _, m := range g.maps {
		if m.live && m.plan.reservation == slot {
			return
		}
	}
	g.reservations[slot] = reservation{}
}
