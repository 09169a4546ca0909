package fuzz

import "pmemlab/fuzz/model"

// Host is what inputs of the target Map are tried on besides emulated machines: anonymous
// memory, and files of one file system, whose sizes can be set.
type Host struct {
	Machine model.Machine
	// AppendOnly says that there is an append-only file too, and how long it is; 0: none.
	AppendOnly uint64
}

// HostMap is what an input of the target Map asks for on a Host.
type HostMap struct {
	// Request is that of pmem2_map_new(3). Its reservation has no address yet.
	Request model.MapRequest
	// Taken is where in the reservation a page is mapped already, if HasTaken.
	Taken    uint64
	HasTaken bool
}

// HostMap is what an input of the target Map asks for here. The machine, what it answers, and
// a forced granularity are left out of it: a host has its own. A reservation that was
// deleted, which C doesn't know from none, is none.
func (h Host) HostMap(input []byte) HostMap {
	var in mapInput
	Decode(input, &in)
	page := h.Machine.Page
	q := model.MapRequest{Machine: h.Machine}
	q.Source = model.Source{Kind: model.File, Align: page}
	if in.Access >= 208 {
		q.Source.Access = model.Access(in.Access % 4)
	}
	size := in.Size.In(Around{Page: page, Size: mib})
	switch n := in.Object % 8; {
	case n < 2:
		q.Source = model.Source{Kind: model.Anonymous, Align: page, Size: size}
	case n == 2 && h.AppendOnly != 0:
		q.Source.AppendOnly, q.Source.Size = true, h.AppendOnly
	default:
		q.Source.Size = size % (maxFile + 1)
	}
	around := Around{Page: page, Align: page, Size: q.Source.Size}
	q.Offset = in.Offset.In(around) & (1<<63 - 1)
	around.Other = q.Offset
	q.Length = in.Length.In(around)
	in.settings(&q)
	m := HostMap{Request: q}
	if in.Reserve%32 >= 22 {
		size, offset, taken := in.room(&q)
		m.Request.Reservation = &model.Reservation{Size: size, Offset: offset}
		m.Taken, m.HasTaken = taken, in.Reserve%4 == 1
	}
	return m
}
