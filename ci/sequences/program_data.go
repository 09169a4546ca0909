package sequences

import (
	"math"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// flush is Persist, Flush or Drain of a part that can be read: that a flush of what can't
// be is a fault depends on the CPU.
func (g *generator) flush() {
	slot := g.liveMap()
	m := g.maps[slot]
	var offset, length uint64
	if m.readable() {
		offset, length = g.part(m.reach())
	}
	switch g.below(4) {
	case 0:
		g.step(func(e *execution) string { return e.flush(slot, offset, length) }, "flush m%d: %d bytes from %d on", slot, length, offset)
	case 1:
		g.step(func(e *execution) string { return e.drain(slot) }, "drain m%d", slot)
	default:
		g.step(func(e *execution) string { return e.persist(slot, offset, length) }, "persist m%d: %d bytes from %d on", slot, length, offset)
	}
}

// deepFlush is of a part that can be read, or goes past an end of the map.
func (g *generator) deepFlush() {
	slot := g.liveMap()
	m := g.maps[slot]
	var offset, length uint64
	if m.readable() {
		offset, length = g.part(m.reach())
	}
	if g.chance(25) {
		offset, length = pick(g, offset, m.length, math.MaxUint64), pick(g, 0, 1, m.length+1, math.MaxUint64)
		if offset <= m.length && length <= m.length-offset {
			length = m.length - offset + 1
		}
	}
	g.step(func(e *execution) string { return e.deepFlush(slot, offset, length) }, "deepflush m%d: %d bytes from %d on", slot, length, offset)
}

// writablePart is a part of a map that is there, and can be stored to.
func (g *generator) writablePart() (slot int, offset, length uint64, ok bool) {
	slot = g.slot(mapSlots, func(i int) bool { return g.maps[i].live && g.maps[i].writable() && g.maps[i].reach() > 0 })
	m := g.maps[slot]
	if !m.live || !m.writable() || m.reach() == 0 {
		return 0, 0, 0, false
	}
	offset, length = g.part(m.reach())
	return slot, offset, length, true
}

// stored notes what a program may have changed.
func (g *generator) stored(slot int, offset, length uint64) {
	if m := g.maps[slot]; m.object != nil && !m.private && length > 0 {
		m.object.touch(m.offset+offset, length)
	}
}

func (g *generator) copyOrSet() {
	slot, offset, length, ok := g.writablePart()
	if !ok {
		g.poke()
		return
	}
	flags := pick[pmem2.MemFlags](g, 0, 0, 0, 0, pmem2.MemNoDrain, pmem2.MemNonTemporal, pmem2.MemTemporal, pmem2.MemWC, pmem2.MemWB,
		pmem2.MemNoFlush, pmem2.MemNonTemporal|pmem2.MemNoDrain)
	if g.chance(8) {
		flags = pick[pmem2.MemFlags](g, 1<<6, pmem2.MemNonTemporal|pmem2.MemTemporal, pmem2.MemWC|pmem2.MemNoFlush, math.MaxUint32)
	}
	g.stored(slot, offset, length)
	value := g.rand.Uint64()
	switch g.below(3) {
	case 0:
		g.step(func(e *execution) string { return e.memset(slot, offset, length, byte(value), flags) },
			"memset m%d: %d bytes from %d on to %d, flags %#x", slot, length, offset, byte(value), uint32(flags))
	case 1:
		from := g.rand.Uint64N(g.maps[slot].reach() - length + 1)
		g.step(func(e *execution) string { return e.memmove(slot, offset, from, length, flags) },
			"memmove m%d: %d bytes from %d to %d, flags %#x", slot, length, from, offset, uint32(flags))
	default:
		g.step(func(e *execution) string { return e.memcpy(slot, offset, length, value, flags) },
			"memcpy m%d: %d bytes of %#x to %d, flags %#x", slot, length, value, offset, uint32(flags))
	}
}

// store is done by the program itself.
func (g *generator) store() {
	slot, offset, length, ok := g.writablePart()
	if !ok {
		g.poke()
		return
	}
	g.stored(slot, offset, length)
	value := g.rand.Uint64()
	g.step(func(e *execution) string { return e.store(slot, offset, length, value) }, "store m%d: %d bytes of %#x to %d", slot, length, value, offset)
}

func (g *generator) read() {
	slot := g.slot(mapSlots, func(i int) bool { return g.maps[i].live && g.maps[i].readable() })
	m := g.maps[slot]
	if !m.live || !m.readable() {
		g.poke()
		return
	}
	offset, length := g.part(m.reach())
	g.step(func(e *execution) string { return e.read(slot, offset, length) }, "read m%d: %d bytes from %d on", slot, length, offset)
}

// poke loads or stores one byte where that may be a fault: without the protection for it,
// or past the end of a file.
func (g *generator) poke() {
	slot := g.liveMap()
	m := g.maps[slot]
	if !m.live || m.prot == pmem2.ProtExec { // whether what can be executed can be read depends on the CPU
		return
	}
	end := m.length
	if m.object.isDevice() {
		end = m.reach()
	}
	if end == 0 {
		return
	}
	offset := g.rand.Uint64N(end)
	if o := m.object; o != nil && g.chance(40) {
		offset = pick(g, 0, end-1, min(m.reach(), end-1))
	}
	store := g.chance(50)
	if o := m.object; o != nil {
		if at := m.offset + offset; at >= o.size && at < (o.size+page-1)&^(page-1) {
			store = false // what is behind the end in the last page isn't the file's
		}
	}
	if store {
		g.stored(slot, offset, 1)
		value := byte(g.rand.Uint64())
		g.step(func(e *execution) string { return e.pokeStore(slot, offset, value) }, "poke m%d: %d to %d", slot, value, offset)
		return
	}
	g.step(func(e *execution) string { return e.pokeLoad(slot, offset) }, "peek m%d: %d", slot, offset)
}

// direct are the calls on the descriptor itself.
func (g *generator) direct() {
	o := g.objects[g.below(len(g.objects))]
	offset, length := g.part(max(o.reach(), 1))
	switch g.below(5) {
	case 0:
		g.step(func(e *execution) string { return e.fsync(o) }, "fsync %s", o.name)
	case 1, 2:
		g.step(func(e *execution) string { return e.pread(o, offset, length) }, "pread %s: %d bytes from %d on", o.name, length, offset)
	default:
		if g.chance(10) {
			offset = o.size
		}
		value := g.rand.Uint64()
		g.step(func(e *execution) string { return e.pwrite(o, offset, length, value) }, "pwrite %s: %d bytes of %#x to %d", o.name, length, value, offset)
		switch {
		case o.device:
		case o.mode == platform.ORdwr|platform.OAppend:
			o.touch(o.size, length)
			o.size += length
		case o.mode == platform.ORdwr || o.mode == platform.OWronly:
			o.touch(offset, length)
			o.size = max(o.size, offset+length)
		}
	}
}

// safe is reading and writing that survives bad blocks, also past the end.
func (g *generator) safe() {
	from := g.slot(sourceSlots, func(i int) bool { return g.sources[i].live })
	s := g.sources[from]
	size := s.bytes()
	if s.object != nil {
		size = s.object.reach()
	}
	offset, length := g.part(max(size, 1))
	if g.chance(25) {
		offset = pick(g, s.bytes(), s.bytes()-1, s.bytes()+page, 1<<62, math.MaxUint64)
	}
	if g.chance(50) {
		g.step(func(e *execution) string { return e.safeRead(from, offset, length) }, "saferead s%d: %d bytes from %d on", from, length, offset)
		return
	}
	inside := offset <= size && length <= size-offset
	if s.object.isDevice() && !inside && length <= s.bytes() && offset <= s.bytes()-length {
		return // it would change what no program knows
	}
	value := g.rand.Uint64()
	g.step(func(e *execution) string { return e.safeWrite(from, offset, length, value) }, "safewrite s%d: %d bytes of %#x to %d", from, length, value, offset)
	if s.object != nil && inside {
		s.object.touch(offset, length)
	}
}

// resize changes the size of a file, or what of it is allocated, under its maps.
func (g *generator) resize() {
	o := g.objects[g.below(len(g.objects))]
	offset, length := g.part(max(o.reach(), 1))
	if g.chance(50) {
		offset, length = offset&^(page-1), (length+page-1)&^(page-1)
	}
	writes := !o.device && (o.mode&^platform.OAppend == platform.ORdwr || o.mode == platform.OWronly)
	switch g.below(4) {
	case 0:
		g.step(func(e *execution) string { return e.fallocate(o, 0, offset, length) }, "fallocate %s: %d bytes from %d on", o.name, length, offset)
		if writes {
			o.size = max(o.size, offset+length)
		}
	case 1:
		mode := uint32(platform.FallocPunchHole | platform.FallocKeepSize)
		g.step(func(e *execution) string { return e.fallocate(o, mode, offset, length) }, "punch %s: %d bytes from %d on", o.name, length, offset)
	default:
		size := pick(g, 0, 1, o.size/2, o.size&^(page-1), o.size+page, o.size+page, o.size+16*page, page, page+1)
		g.step(func(e *execution) string { return e.truncate(o, size) }, "truncate %s: to %d bytes", o.name, size)
		if writes {
			o.size = size
		}
	}
}
