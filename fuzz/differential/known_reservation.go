//go:build libpmem2

package main

import (
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// knownReservations are about pmem2_vm_reservation_new(3) and what can be done with one.
var knownReservations = []known{
	{
		row: "pmem2_vm_reservation_new/0#1", why: "a reservation of no bytes is made, which can't be deleted",
		explains: func(d *difference) bool {
			return d.call.op == opReserve && d.want.Result == lengthOut && d.call.length == 0 && tried(d)
		},
		foreseen: func(c *call, want *seen) bool {
			return c.op == opReserve && want.Result == lengthOut && c.length == 0
		},
	},
	{
		row: "pmem2_vm_reservation_new/0#2", why: "the size of the reservation and its padding wraps",
		explains: func(d *difference) bool {
			return d.call.op == opReserve && d.want.Result == noRoom && paddingWraps(d.call.length) && tried(d)
		},
		foreseen: func(c *call, want *seen) bool {
			return c.op == opReserve && want.Result == noRoom && paddingWraps(c.length)
		},
	},
	{
		row: "pmem2_vm_reservation_new/PMEM2_E_MAPPING_EXISTS#2", why: "a reservation takes more than it is asked for, which is in the way of another",
		explains: func(d *difference) bool {
			return taken(d) && blocks(d.call, func(k kept) bool { return !k.deleted })
		},
	},
	{
		row: "pmem2_vm_reservation_delete/(text)#1", why: "what was taken for a reservation that is deleted is still in the way",
		explains: func(d *difference) bool {
			return taken(d) && !blocks(d.call, func(k kept) bool { return !k.deleted }) && blocks(d.call, func(k kept) bool { return k.deleted })
		},
	},
	{
		row: "pmem2_vm_reservation_delete/unmaps-region", why: "what was mapped around a reservation stays mapped",
		explains: func(d *difference) bool {
			return leaves(d) && !hasCut(d.plan) && d.c.Numbers[0] <= d.plan.padding()
		},
	},
	{
		row: "pmem2_vm_reservation_shrink/releases-range", why: "what was cut off a reservation stays mapped, and its padding is in the way even of itself",
		explains: func(d *difference) bool {
			if d.call.op == opExtend {
				return taken(d) && !blocks(d.call, func(kept) bool { return true }) && d.call.kept[d.call.slot].cut
			}
			return leaves(d) && hasCut(d.plan) && (!d.plan.replaces() || d.c.Numbers[0] <= d.plan.padding())
		},
	},
	{
		row: "pmem2_vm_reservation_extend/0#1", why: "the end that the reservation would have wraps",
		explains: func(d *difference) bool {
			return d.call.op == opExtend && d.want.Result == noRoom && d.c.Result == model.OK && endWraps(d.call)
		},
		foreseen: func(c *call, want *seen) bool {
			return c.op == opExtend && want.Result == noRoom && endWraps(c)
		},
	},
	{
		row:      "pmem2_vm_reservation_delete/0#1",
		why:      "a map from pmem2_map_from_existing in a reservation that is deleted isn't seen, and its memory is unmapped",
		explains: func(d *difference) bool { return d.call.op == opUnreserve && unseen(d) },
	},
	{
		row:      "pmem2_vm_reservation_shrink/0#1",
		why:      "a map from pmem2_map_from_existing in what is cut off a reservation isn't seen, and its memory is unmapped",
		explains: func(d *difference) bool { return d.call.op == opShrink && unseen(d) },
	},
	{
		row: "pmem2_vm_reservation_map_find/PMEM2_E_MAPPING_NOT_FOUND#2",
		why: "behind the last byte of a map that isn't whole pages, but in its last page, it isn't found, but the next one if there is one in the range",
		explains: func(d *difference) bool {
			notIt := d.c.Result == model.OK || d.c.Result == model.Fails(pmem2.ErrMappingNotFound)
			return d.call.op == opFind && d.want.Result == model.OK && notIt && d.call.part && !searchWraps(d.call)
		},
	},
	{
		row: "pmem2_vm_reservation_shrink/PMEM2_E_LENGTH_OUT_OF_RANGE#2", why: "the end of what is cut off wraps",
		explains: func(d *difference) bool {
			return d.call.op == opShrink && d.want.Result == lengthOut && d.call.offset+d.call.length < d.call.offset && d.c.Result == model.Fails(pmem2.ErrNoSupp)
		},
	},
	{
		row: "pmem2_vm_reservation_map_find/earliest-intersecting", why: "the end of the range that is looked through wraps, or where it starts does",
		explains: func(d *difference) bool {
			return d.call.op == opFind && d.want.Result != d.c.Result && searchWraps(d.call)
		},
	},
}

// searchWraps says whether the start or the end of the range that a map is looked for in is
// above 2^64.
func searchWraps(c *call) bool {
	start := c.was.Start + c.offset
	return start < c.offset || start+c.length < start
}

// leaves says whether bytes stay mapped of which everything that could be deleted is.
func leaves(d *difference) bool {
	return d.call.op == opKept && d.c.Numbers[0] > 0 && d.c.Numbers[1] == 0
}

// unseen says whether there is a map from pmem2_map_from_existing(3) in what C unmaps.
func unseen(d *difference) bool {
	e := d.call.was
	if d.call.op == opShrink {
		e = model.Extent{Start: e.Start + d.call.offset, Size: d.call.length}
	}
	return d.want.Result == model.Fails(pmem2.ErrVMReservationNotEmpty) && d.c.Result == model.OK && overlapsAny(d.call.before, e.Start, e.Size)
}

// tried is what comes of a reservation at a place where C takes room for another size.
func tried(d *difference) bool {
	return d.c.Result == model.OK || d.c.Result == exists || d.c.Result == noRoom || d.c.Result == invalid && padded(d.call.length) == 0
}

func paddingWraps(size uint64) bool { return padded(size) < size }

// endWraps says whether the address behind a reservation that is extended, and its padding, is
// above 2^64.
func endWraps(c *call) bool {
	size := c.was.Size + c.length
	return size < c.length || padded(size) < size || c.was.Start+padded(size) < c.was.Start
}

// taken says whether C finds something where there is room.
func taken(d *difference) bool {
	return (d.call.op == opReserve || d.call.op == opExtend) && d.want.Result == model.OK && d.c.Result == exists
}

// blocks says whether some of what C keeps is in the way of what it takes for a call.
func blocks(c *call, which func(kept) bool) bool {
	want := model.Extent{Start: c.addr, Size: padded(c.length)}
	if c.op == opExtend {
		want = model.Extent{Start: c.was.Start, Size: padded(c.was.Size + c.length)}
	}
	for _, k := range c.kept {
		if which(k) && k.Overlaps(want) {
			return true
		}
	}
	return false
}

// hasCut says whether a reservation is shrunk.
func hasCut(p *plan) bool {
	for i := range p.calls {
		if p.calls[i].op == opShrink && p.want[i].Result == model.OK {
			return true
		}
	}
	return false
}

// padding is the most that C may take beyond what the reservations are.
func (p *plan) padding() (n uint64) {
	for i := range p.calls {
		c := &p.calls[i]
		if p.want[i].Result != model.OK {
			continue
		}
		switch c.op {
		case opReserve:
			n += padded(c.length) - c.length
		case opExtend:
			n += padded(c.was.Size+c.length) - c.length
		}
	}
	return n
}
