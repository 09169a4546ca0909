//go:build libpmem2

package main

import (
	"slices"
	"strings"
	"syscall"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// known is a place where the contract says that C does otherwise.
type known struct {
	row string // of the contract
	why string
	// explains says whether a difference is this one.
	explains func(d *difference) bool
	// foreseen says of a call, from what is wanted, that C will end the process, or leave
	// in it what can't be undone. Nil: none.
	foreseen func(c *call, want *seen) bool
}

var (
	mapRange      = model.Fails(pmem2.ErrMapRange)
	lengthOut     = model.Fails(pmem2.ErrLengthOutOfRange)
	offUnaligned  = model.Fails(pmem2.ErrOffsetUnaligned)
	addrUnaligned = model.Fails(pmem2.ErrAddressUnaligned)
	noAccess      = model.Fails(pmem2.ErrNoAccess)
	exists        = model.Fails(pmem2.ErrMappingExists)
	mapExists     = model.Fails(pmem2.ErrMapExists)
	invalid       = model.FailsWith(syscall.EINVAL)
)

// knowns are all of them. No two explain the same difference.
var knowns = slices.Concat(knownMaps, knownReservations, knownMemory)

// knownMaps are about pmem2_map_new(3) and pmem2_map_from_existing(3).
var knownMaps = []known{
	{
		row: "pmem2_map_new/-EINVAL#1",
		why: "an offset at the end of the file leaves a length of 0, which mmap refuses, or before it the check of the reservation",
		explains: func(d *difference) bool {
			q := &d.call.request
			if d.call.op != opMap || d.want.Result != mapRange || q.Source.Kind != model.File || q.Length != 0 || q.Offset != q.Source.Size {
				return false
			}
			r := q.Reservation
			switch {
			case r != nil && r.Offset%pageSize != 0:
				return d.c.Result == offUnaligned
			case r != nil && r.Offset > r.Size:
				return d.c.Result == lengthOut
			case r != nil && d.c.Result == exists:
				return overlapsAny(r.Taken, r.Addr+r.Offset-pageSize, 2*pageSize)
			}
			return d.c.Result == invalid || q.Source.Access == model.PathOnly && d.c.Result == model.FailsWith(syscall.EBADF)
		},
	},
	{
		row: "pmem2_map_new/PMEM2_E_ADDRESS_UNALIGNED#3",
		why: "what doesn't fit into its reservation has another code",
		explains: func(d *difference) bool {
			return exceeds(d) && !wraps(d.call) && d.c.Result == lengthOut
		},
	},
	{
		row: "pmem2_map_new/0#1",
		why: "the sum of the offset in the reservation and the length wraps, so that it is mapped like anywhere else",
		explains: func(d *difference) bool {
			if d.call.op == opKept { // of a mapping that was undone
				return d.plan.replaces() && d.c.Numbers[0] > d.plan.padding()
			}
			if taken(d) { // by a mapping that failed where another was, and stays
				return d.plan.replaces() && !blocks(d.call, func(kept) bool { return true })
			}
			told := d.c.Result == offUnaligned || d.c.Result == mapRange // before C looks at the reservation
			return exceeds(d) && wraps(d.call) && (outside(d) || far(d.call) && !told)
		},
		foreseen: func(c *call, want *seen) bool {
			return c.op == opMap && want.Result == addrUnaligned && wraps(c) && far(c)
		},
	},
	{
		row: "pmem2_map_new/-EACCES#1", why: "an append-only file has the code of a wrong open mode",
		explains: func(d *difference) bool {
			return d.call.op == opMap && d.want.Result == model.FailsWith(syscall.EACCES) && d.call.request.Source.AppendOnly && d.c.Result == noAccess
		},
	},
	{
		row: "pmem2_map_new/-EEXIST#1", why: "a place that a map from pmem2_map_from_existing has taken is a raw errno",
		explains: func(d *difference) bool {
			if d.call.op != opMap || d.want.Result != exists || d.c.Result != model.FailsWith(syscall.EEXIST) {
				return false
			}
			r := d.call.request.Reservation
			return overlapsAny(d.call.before, r.Addr+r.Offset, roundUp(d.call.request.Source.Size))
		},
	},
	{
		row: "pmem2_map_new/0#2",
		why: "a map from pmem2_map_from_existing behind the last byte of the new one, but in its last page, isn't seen and is replaced",
		explains: func(d *difference) bool {
			if d.call.op != opMap || d.want.Result != exists || d.c.Result != model.OK || d.call.request.Reservation == nil {
				return false
			}
			at, size := d.call.request.Reservation.Addr+d.call.request.Reservation.Offset, d.c.Numbers[1]
			return overlapsAny(d.call.before, at, roundUp(size)) && !overlapsAny(d.call.before, at, size)
		},
	},
	{
		row: "pmem2_source_from_anon/(text)#1", why: "an offset in anonymous memory has to be aligned all the same",
		explains: func(d *difference) bool {
			q := &d.call.request
			return d.call.op == opMap && q.Source.Kind == model.Anonymous && q.Offset%pageSize != 0 && d.c.Result == offUnaligned
		},
	},
	{
		row: "pmem2_source_from_anon/(text)#2", why: "an offset in anonymous memory counts for its end all the same",
		explains: func(d *difference) bool {
			q := &d.call.request
			return d.call.op == opMap && q.Source.Kind == model.Anonymous && q.Offset%pageSize == 0 && d.c.Result == mapRange &&
				(q.Offset > q.Source.Size || q.Length > q.Source.Size-q.Offset)
		},
	},
	{
		row: "pmem2_map_from_existing/0#1", why: "a map of no bytes is made, which can't be deleted",
		explains: func(d *difference) bool {
			return d.call.op == opExisting && d.want.Result == lengthOut && d.call.length == 0 &&
				(d.c.Result == model.OK || d.c.Result == mapExists && len(d.call.before) > 0)
		},
		foreseen: func(c *call, want *seen) bool {
			return c.op == opExisting && want.Result == lengthOut && c.length == 0
		},
	},
	{
		row: "pmem2_map_from_existing/0#2", why: "a map is made that reaches over the end of the address space; one that ends there isn't found any more",
		explains: func(d *difference) bool {
			return lost(d) || d.call.op == opExisting && d.want.Result == lengthOut && d.call.length != 0 &&
				(d.c.Result == model.OK || d.c.Result == mapExists && len(d.call.before) > 0)
		},
		foreseen: func(c *call, want *seen) bool {
			return c.op == opExisting && c.length != 0 && (want.Result == lengthOut || want.Result == model.OK && c.addr+c.length == 0)
		},
	},
	{
		row: "pmem2_map_from_existing/0#3", why: "memory at address 0 is taken for mapped",
		explains: func(d *difference) bool {
			return d.call.op == opExisting && d.want.Result == model.Fails(pmem2.ErrAddressNull) &&
				(d.c.Result == model.OK || d.c.Result == mapExists && overlapsAny(d.call.before, d.call.addr, d.call.length))
		},
	},
	{
		row: "pmem2_map_from_existing/0#4", why: "memory behind the last byte of a map that isn't whole pages, but in its last page, is taken",
		explains: func(d *difference) bool {
			return d.call.op == opExisting && d.want.Result == exists && d.c.Result == model.OK && d.call.part
		},
	},
	{
		row: "pmem2_map_from_existing/PMEM2_E_MAPPING_EXISTS#1", why: "memory that belongs to a map has another code",
		explains: func(d *difference) bool {
			return d.call.op == opExisting && d.want.Result == exists && d.c.Result == mapExists
		},
	},
	{
		row: "pmem2_map_from_existing/(abort)#1", why: "a granularity that there isn't ends the process",
		explains: func(d *difference) bool {
			return d.call.op == opExisting && !d.call.fine.Valid() && strings.Contains(d.died, "signal: aborted")
		},
		foreseen: func(c *call, _ *seen) bool { return c.op == opExisting && !c.fine.Valid() },
	},
}

// lost says whether a map that ends where addresses do, for which C's end of it wraps to 0, is
// why others aren't found either.
func lost(d *difference) bool {
	atEnd := func(c call) bool { return c.op == opExisting && c.length != 0 && c.addr+c.length == 0 }
	if !slices.ContainsFunc(d.plan.calls[:d.index+1], atEnd) {
		return false
	}
	switch d.call.op {
	case opUnmap:
		return d.c.Result == model.Fails(pmem2.ErrMappingNotFound)
	case opExisting, opMap:
		return d.want.Result == exists && d.c.Result == model.OK
	case opKept:
		return d.c.Numbers[1] != 0
	}
	return false
}

// exceeds says whether the call maps something that doesn't fit into its reservation.
func exceeds(d *difference) bool {
	return d.call.op == opMap && d.want.Result == addrUnaligned
}

// wraps says whether it does for C: the end of it wraps, and lies in the reservation then.
func wraps(c *call) bool {
	q := &c.request
	if c.op != opMap || q.Reservation == nil {
		return false
	}
	at, length := q.Reservation.Offset, lengthOf(q)
	return at+length < at && at+length <= q.Reservation.Size
}

// far says whether a mapping that wraps may lie in memory of the process's own.
func far(c *call) bool { return -c.request.Reservation.Offset > around-mib }

// replaces says whether C maps something outside of a reservation.
func (p *plan) replaces() bool {
	for i := range p.calls {
		if wraps(&p.calls[i]) && p.want[i].Result == addrUnaligned {
			return true
		}
	}
	return false
}

// lengthOf is how much address space C takes for a map.
func lengthOf(q *model.MapRequest) uint64 {
	if q.Length != 0 {
		return roundUp(q.Length)
	}
	if q.Source.Kind == model.Anonymous {
		return roundUp(q.Source.Size)
	}
	return roundUp(q.Source.Size - q.Offset)
}

// outside says whether d is what comes of a mapping for which C doesn't see that it isn't in
// its reservation: what comes of it elsewhere, unless another is there.
func outside(d *difference) bool {
	q := d.call.request
	r := *q.Reservation
	at := r.Addr + r.Offset
	q.Reservation = nil
	var p plan
	p.addMap(call{op: opMap, request: q})
	switch o := p.want[0]; {
	case overlapsAny(r.Taken, at, lengthOf(&q)):
		if d.c.Result == exists || d.c.Result == model.FailsWith(syscall.EEXIST) {
			return true
		}
		o.Numbers[0] = r.Offset // another map is in the rest of the last page, which C doesn't see
		return d.c == o && !overlapsAny(r.Taken, at, d.c.Numbers[1])
	case o.Result == model.OK:
		o.Numbers[0] = r.Offset
		return d.c == o || d.c.Result == noRoom && lengthOf(&q) >= plenty
	case o.Result == model.FailsWith(syscall.EACCES):
		return d.c.Result == noAccess
	default:
		return d.c == o
	}
}

func overlapsAny(all []model.Extent, addr, size uint64) bool {
	return slices.ContainsFunc(all, func(e model.Extent) bool { return e.Overlaps(model.Extent{Start: addr, Size: size}) })
}

// knownMemory are about what is done with the memory of a map.
var knownMemory = []known{
	{
		row: "pmem2_deep_flush/PMEM2_E_DEEP_FLUSH_RANGE#2", why: "the end of the range wraps",
		explains: func(d *difference) bool {
			return d.call.op == opDeepFlush && d.want.Result == model.Fails(pmem2.ErrDeepFlushRange) && beyondEnd(d.call.offset, d.call.length) &&
				(d.c.Result == model.OK || d.c.Result == noRoom || d.c.Result == model.Fails(pmem2.ErrNoSupp))
		},
	},
	{
		row: "pmem2_get_memmove_fn/exclusive-flags", why: "flags that exclude each other are taken",
		explains: func(d *difference) bool {
			return (d.call.op == opCopy || d.call.op == opSet) && d.want.Result == invalid && d.c.Result == model.OK
		},
	},
}

// beyondEnd says whether a range that begins at an offset in a map, wherever that is in the
// address space, ends behind 2^64.
func beyondEnd(offset, length uint64) bool {
	end := offset + length
	return end < offset || end >= 1<<64-1<<47
}
