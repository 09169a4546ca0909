package sequences

import (
	"fmt"
	"math"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

const (
	unset = -1

	// What has no file counts against the memory of the machine, which says by luck how
	// much it promises: little enough, or more than there are addresses.
	mostPrivate = 16 << 20
	tooLarge    = 1 << 57

	everyPerms = pmem2.ProtRead | pmem2.ProtWrite | pmem2.ProtExec
)

// mapPlan is what NewMap is asked for. Values that a setter refuses are left unset.
type mapPlan struct {
	source         int
	offset, length uint64
	prot           pmem2.Prot
	sharing        pmem2.Sharing
	required       pmem2.Granularity // or unset
	forced         pmem2.Granularity // or unset
	reservation    int               // or unset
	at             uint64            // in the reservation
}

func (p mapPlan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "of s%d: offset %d length %d %s", p.source, p.offset, p.length, protText(p.prot))
	switch p.sharing {
	case pmem2.Shared:
	case pmem2.Private:
		b.WriteString(" private")
	default:
		fmt.Fprintf(&b, " sharing %d", int(p.sharing))
	}
	switch {
	case p.required == unset:
		b.WriteString(" no granularity")
	case p.required.Valid():
		fmt.Fprintf(&b, " %v", p.required)
	default:
		fmt.Fprintf(&b, " granularity %d", int(p.required))
	}
	if p.forced != unset {
		fmt.Fprintf(&b, " forced to %v", p.forced)
	}
	if p.reservation != unset {
		fmt.Fprintf(&b, " in r%d at %d", p.reservation, p.at)
	}
	return b.String()
}

func protText(p pmem2.Prot) string {
	if p&^everyPerms != 0 {
		return fmt.Sprintf("prot %#x", uint32(p))
	}
	text := []byte("---")
	for i, bit := range []pmem2.Prot{pmem2.ProtRead, pmem2.ProtWrite, pmem2.ProtExec} {
		if p&bit != 0 {
			text[i] = "rwx"[i]
		}
	}
	return string(text)
}

// newMap maps a source, three times in four with nothing wrong.
func (g *generator) newMap() {
	slot := g.slot(mapSlots, func(i int) bool { return !g.maps[i].live })
	p := g.mapPlan()
	if g.chance(25) {
		g.spoil(&p)
	}
	g.addMap(slot, p)
}

func (g *generator) addMap(slot int, p mapPlan) {
	g.step(func(e *execution) string { return e.newMap(slot, p) }, "map m%d %v", slot, p)
	if !g.valid(p) {
		return
	}
	s := g.sources[p.source]
	m := mapping{live: true, plan: p, object: s.object, offset: p.offset, length: p.length, prot: p.prot, private: p.sharing == pmem2.Private}
	if s.object == nil {
		m.offset = 0
	}
	if m.length == 0 {
		m.length = s.bytes() - m.offset
	}
	g.maps[slot] = m
}

// mapPlan is one that should work, as far as there is something that does.
func (g *generator) mapPlan() mapPlan {
	p := mapPlan{required: pmem2.GranularityPage, forced: unset, reservation: unset, prot: pmem2.ProtRead | pmem2.ProtWrite}
	p.source = g.slot(sourceSlots, func(i int) bool { return g.sources[i].mappable() || g.sources[i].live && g.chance(30) })
	s := g.sources[p.source]
	mode := platform.ORdwr
	if o := s.object; o != nil {
		mode = o.mode
		if o.size <= mostPrivate && !o.device && g.chance(20) {
			p.sharing = pmem2.Private
		}
	}
	switch {
	case mode == platform.ORdonly:
		p.prot = pick(g, pmem2.ProtRead, pmem2.ProtRead, pmem2.ProtRead|pmem2.ProtExec, pmem2.ProtNone)
	case g.chance(25):
		p.prot = pick(g, pmem2.ProtRead, pmem2.ProtRead, pmem2.ProtWrite, everyPerms, pmem2.ProtRead|pmem2.ProtExec, pmem2.ProtExec, pmem2.ProtNone)
	}
	if units := s.bytes() / s.align(); units > 0 && g.chance(70) {
		first := g.rand.Uint64N(min(units, 8))
		p.offset = first * s.align()
		p.length = (1 + g.rand.Uint64N(min(units-first, 8))) * s.align()
		if g.chance(5) { // up to the end
			p.offset, p.length = (units-1)*s.align(), pick(g, 0, s.align())
		}
	}
	if i := g.reservation(); g.reservations[i].live && g.chance(70) {
		p.reservation = i
		if units := g.reservations[i].size / s.align(); units > 0 {
			p.at = g.rand.Uint64N(min(units, 8)) * s.align()
		}
	}
	return p
}

// spoil gives the plan a value that is wrong, mostly.
func (g *generator) spoil(p *mapPlan) {
	s := g.sources[p.source]
	size, align := s.bytes(), s.align()
	switch g.below(8) {
	case 0, 1:
		p.offset = pick(g, 1, align/2, page, align+1, align-page, size, size+align, size-align/2, size&^(align-1)+align, 1<<46, 1<<62, math.MaxInt64, 1<<63, math.MaxUint64)
	case 2, 3:
		p.length = pick(g, 1, align/2, page, align-1, align+1, size, size+align, size&^(align-1), size&^(align-1)+align, 1<<46, 1<<57, 1<<63, math.MaxUint64, -align)
	case 4:
		p.prot = pick(g, 1, math.MaxUint32, 1<<28|pmem2.ProtRead, pmem2.ProtWrite, everyPerms)
	case 5:
		p.sharing = pick(g, pmem2.Private, pmem2.Private, 2, -2)
		if p.sharing == pmem2.Private && size > mostPrivate && !s.object.isDevice() {
			p.sharing = 2
		}
	case 6:
		p.required = pick(g, unset, 3, -2, pmem2.GranularityByte, pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityCacheLine)
		if g.chance(25) {
			p.forced = pick(g, pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityPage)
		}
	default:
		if i := g.reservation(); g.reservations[i].live || g.chance(20) {
			p.reservation = i
			rsize := g.reservations[i].size
			p.at = pick(g, 1, page, align/2, align+page, rsize, rsize-page, rsize-align, 1<<47, math.MaxUint64, -align)
		}
	}
	if s.object == nil && p.length > mostPrivate {
		p.length = max(p.length, tooLarge)
	}
}

// valid says whether the map should be there afterwards. It needn't be right always: what
// isn't there is told as such.
func (g *generator) valid(p mapPlan) bool {
	s := g.sources[p.source]
	size, align, offset := s.bytes(), s.align(), p.offset
	mode := platform.ORdwr
	if s.object == nil {
		offset = 0
	} else {
		mode = s.object.mode
	}
	switch {
	case !s.live, p.offset > math.MaxInt64, offset%align != 0, p.length%align != 0, offset >= size, p.length > size-offset:
		return false
	case p.prot&^everyPerms != 0, p.sharing == pmem2.Private && s.object != nil && s.object.device, p.sharing != pmem2.Shared && p.sharing != pmem2.Private:
		return false
	case p.required != pmem2.GranularityPage && p.sharing == pmem2.Shared:
		return false
	case s.object == nil && (p.length == 0 && size >= tooLarge || p.length >= tooLarge):
		return false
	case mode == platform.OPath, mode == platform.ORdonly && p.prot&pmem2.ProtWrite != 0 && p.sharing == pmem2.Shared:
		return false
	}
	if p.reservation == unset {
		return true
	}
	n := p.length
	if n == 0 {
		n = size - offset
	}
	r := g.reservations[p.reservation]
	if !r.live || p.at%align != 0 || p.at >= r.size || n > r.size-p.at {
		return false
	}
	for _, m := range g.maps {
		if m.live && m.plan.reservation == p.reservation && p.at < m.plan.at+m.length && m.plan.at < p.at+n {
			return false
		}
	}
	return true
}

// remap deletes a map and makes the same again.
func (g *generator) remap() {
	slot := g.liveMap()
	m := g.maps[slot]
	g.step(func(e *execution) string { return e.deleteMap(slot) }, "delete m%d", slot)
	if g.maps[slot].live = false; m.live {
		g.addMap(slot, m.plan)
	}
}

func (g *generator) deleteMap() {
	slot := g.liveMap()
	g.step(func(e *execution) string { return e.deleteMap(slot) }, "delete m%d", slot)
	g.maps[slot].live = false
}

// adopt maps a part of an object without the library, and makes a map of that.
func (g *generator) adopt() {
	slot := g.slot(mapSlots, func(i int) bool { return !g.maps[i].live })
	from := g.slot(sourceSlots, func(i int) bool { return g.sources[i].live && g.sources[i].object != nil })
	s := g.sources[from]
	if s.object == nil {
		return
	}
	o, granularity := s.object, pick(g, pmem2.GranularityPage, pmem2.GranularityCacheLine, pmem2.GranularityByte)
	if o.device && granularity == pmem2.GranularityPage {
		granularity = pmem2.GranularityCacheLine
	}
	length := o.align
	g.step(func(e *execution) string { return e.adopt(slot, from, o, length, granularity) },
		"adopt m%d of s%d: the first %d bytes of %s, %v", slot, from, length, o.name, granularity)
	if s.live && o.mode&^platform.OAppend == platform.ORdwr && o.size > 0 {
		g.maps[slot] = mapping{
			live: true, plan: mapPlan{source: from, length: length, prot: pmem2.ProtRead | pmem2.ProtWrite, required: pmem2.GranularityPage, forced: unset, reservation: unset},
			object: o, length: length, prot: pmem2.ProtRead | pmem2.ProtWrite,
		}
	}
}

// existing is MapFromExisting of what is mapped already, or can't be.
func (g *generator) existing() {
	from, over := g.slot(sourceSlots, func(i int) bool { return g.sources[i].live }), g.liveMap()
	offset := pick[uint64](g, 0, 0, page, 1)
	length := pick[uint64](g, 0, 1, page, page, math.MaxUint64, math.MaxUint64-4*page)
	granularity := pick(g, pmem2.GranularityPage, pmem2.GranularityCacheLine, pmem2.GranularityByte, pmem2.Granularity(3))
	if length > 1<<46 && !g.maps[over].live {
		length = 1
	}
	g.step(func(e *execution) string { return e.existing(from, over, offset, length, granularity) },
		"existing of s%d: %d bytes %d into m%d, granularity %d", from, length, offset, over, int(granularity))
}

func (g *generator) compareMaps() {
	a, b := g.liveMap(), g.liveMap()
	g.step(func(e *execution) string { return e.compareMaps(a, b) }, "compare m%d m%d", a, b)
}
