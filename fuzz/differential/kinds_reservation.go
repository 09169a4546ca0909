//go:build libpmem2

package main

import (
	"pmemlab/fuzz"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

const (
	// lane is how far apart reservations are made that have a lane of their own each: what C
	// takes around one is in the way of others else.
	lane = 64 << 30
	// addressSpace is where addresses end. What is at room and the next bytes up to
	// beyond is for programs alone.
	addressSpace, beyond = 1<<47 - pageSize, room + 16<<40
	// plenty is as much anonymous memory as there is on any machine.
	plenty = 1 << 30
)

// planReservation makes an input of the target Reservation into calls. Those of every other
// one have a lane for each reservation.
func planReservation(input []byte, h fuzz.Host) plan {
	var p plan
	b := reservations{
		apart: checksum(input)%2 == 1, machine: h.Machine,
		space: model.Space{Page: pageSize, Lo: room, Mid: beyond, Hi: addressSpace, Unknown: true},
	}
	ops := fuzz.ReservationOps(input)
	for i := range ops {
		b.step(&p, ops[i].Step(&b.space))
	}
	return p.end()
}

// reservations are the state that a plan is at.
type reservations struct {
	space   model.Space
	apart   bool
	sources int
	machine model.Machine
	kept    []kept // by C, for each reservation
}

// step appends the calls of an operation. What C doesn't have, what depends on what else the
// process has mapped, and what would be anywhere in the address space is left out.
func (b *reservations) step(p *plan, st model.Step) {
	s := &b.space
	if st.Kind == model.MapDevice {
		st.Kind = model.MapAnonymous
	}
	if st.Kind == model.NewReservation && (b.apart || st.Offset == 0) && st.Offset < beyond {
		st.Offset = room + uint64(len(s.Reservations))*lane + st.Offset%(16*mib)
	}
	switch st.Kind {
	case model.NewReservation, model.MapExisting:
		if st.Offset < room && st.Offset != 0 {
			return
		}
	case model.MapAnonymous:
		if st.Reservation < 0 || st.Length >= plenty {
			return
		}
	case model.Extend, model.Shrink, model.DeleteReservation, model.FindMap, model.FindFirst, model.FindLast:
	case model.FindNext, model.FindPrev, model.DeleteMap:
		if st.Map < 0 {
			return
		}
	default:
		return
	}
	if st.Reservation < 0 && st.Kind != model.NewReservation && st.Kind != model.MapExisting && st.Kind != model.DeleteMap {
		return
	}
	o := s.Outcome(st)
	if o.Or != o.Result {
		return
	}
	b.add(p, st, o)
	s.Apply(st, o)
	if o.Result != model.OK {
		return
	}
	switch st.Kind {
	case model.NewReservation:
		b.kept = append(b.kept, kept{Extent: model.Extent{Start: st.Offset, Size: padded(st.Length)}})
	case model.Extend:
		r, k := s.Reservations[st.Reservation], &b.kept[st.Reservation]
		k.Size = max(k.Size, r.Start+padded(r.Size)-k.Start)
	case model.Shrink:
		b.kept[st.Reservation].cut = true
	case model.DeleteReservation:
		b.kept[st.Reservation].deleted = true
	}
}

// padded is how much address space C takes for a reservation: whole large pages, and one more.
func padded(size uint64) uint64 {
	large := uint64(2 * mib)
	if size >= 2<<30 {
		large = 1 << 30
	}
	return (size+large-1)&^(large-1) + large
}

// others is what C has mapped for other reservations than one.
func (b *reservations) others(one int) []kept {
	all := append([]kept(nil), b.kept...)
	if one < len(all) {
		all[one].Size = 0
	}
	return all
}

// add appends the calls of a step with an outcome.
func (b *reservations) add(p *plan, st model.Step, o model.Outcome) {
	s := &b.space
	var in model.Extent
	if st.Reservation >= 0 && st.Reservation < len(s.Reservations) {
		in = s.Reservations[st.Reservation].Extent
		if s.Reservations[st.Reservation].Deleted && st.Kind != model.NewReservation && st.Kind != model.MapExisting && st.Kind != model.DeleteMap {
			return // the slot is empty
		}
	}
	c := call{slot: st.Reservation, offset: st.Offset, length: st.Length, was: in}
	want := ends(o.Result)
	switch st.Kind {
	case model.NewReservation:
		c.op, c.slot, c.addr, c.offset = opReserve, len(s.Reservations), st.Offset, 0
		c.kept = b.others(len(b.kept))
		want = ends(o.Result, st.Offset, st.Length)
	case model.Extend:
		c.op, c.kept = opExtend, b.others(st.Reservation)
		want.Numbers[0], want.Numbers[1] = in.Start, in.Size
		if o.Result == model.OK {
			want.Numbers[1] += st.Length
		}
	case model.Shrink:
		c.op, c.before = opShrink, b.existing()
		want.Numbers[0], want.Numbers[1] = in.Start, in.Size
		if o.Result == model.OK {
			want.Numbers[1] -= st.Length
			if st.Offset == 0 {
				want.Numbers[0] += st.Length
			}
		}
	case model.DeleteReservation:
		c.op, c.before = opUnreserve, b.existing()
	case model.MapAnonymous:
		b.addMap(p, st, in)
		return
	case model.MapExisting:
		b.addSource(p, 16*pageSize)
		c.op, c.slot, c.source, c.addr, c.fine = opExisting, len(s.Maps), b.sources-1, st.Offset, pmem2.GranularityPage
		c.before = b.taken()
		c.part = !overlapsAny(b.contents(), c.addr, c.length)
		want = ends(o.Result, st.Offset, st.Length, uint64(pmem2.GranularityPage))
	case model.DeleteMap:
		if s.Maps[st.Map].Deleted {
			return
		}
		c.op, c.slot = opUnmap, st.Map
	default:
		c.op = map[model.StepKind]op{
			model.FindMap: opFind, model.FindFirst: opFindFirst, model.FindLast: opFindLast, model.FindNext: opFindNext, model.FindPrev: opFindPrev,
		}[st.Kind]
		c.from = st.Map
		if (c.op == opFindNext || c.op == opFindPrev) && (s.Maps[st.Map].Deleted || s.Maps[st.Map].In != st.Reservation) {
			return // C takes any map for a place
		}
		if o.Result == model.OK {
			want.Numbers[0] = uint64(o.Map)
			m := s.Maps[o.Map]
			c.part = c.op == opFind && in.Start+st.Offset >= m.Start+m.Size
		}
	}
	p.add(c, want)
}

func (b *reservations) addSource(p *plan, size uint64) {
	q := model.Source{Kind: model.Anonymous, Size: size, Align: pageSize}
	p.add(call{op: opSource, slot: b.sources, request: model.MapRequest{Source: q}}, ends(model.OK))
	b.sources++
}

// addMap appends the calls that map anonymous memory into a reservation.
func (b *reservations) addMap(p *plan, st model.Step, in model.Extent) {
	b.addSource(p, st.Length)
	p.addMap(call{
		op: opMap, slot: len(b.space.Maps), source: b.sources - 1, in: st.Reservation, before: b.existing(),
		request: model.MapRequest{
			Source: model.Source{Kind: model.Anonymous, Size: st.Length}, Granularity: pmem2.GranularityPage, GranularitySet: true,
			Prot: pmem2.ProtRead | pmem2.ProtWrite, Machine: b.machine,
			Reservation: &model.Reservation{Addr: in.Start, Size: in.Size, Taken: b.taken(), Offset: st.Offset},
		},
	})
}

// taken are the extents of all maps, existing those of maps of pmem2_map_from_existing(3).
func (b *reservations) taken() []model.Extent    { return b.extents(false) }
func (b *reservations) existing() []model.Extent { return b.extents(true) }

// contents are the bytes of all maps, without what they take behind their last one.
func (b *reservations) contents() (all []model.Extent) {
	for _, m := range b.space.Maps {
		if !m.Deleted {
			all = append(all, model.Extent{Start: m.Start, Size: m.Size})
		}
	}
	return all
}

func (b *reservations) extents(existing bool) (all []model.Extent) {
	for _, m := range b.space.Maps {
		if !m.Deleted && (m.Existing || !existing) {
			all = append(all, m.Extent)
		}
	}
	return all
}
