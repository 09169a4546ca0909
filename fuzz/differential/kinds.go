//go:build libpmem2

package main

import (
	"math/rand/v2"

	"pmemlab/fuzz"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// kind is a kind of inputs.
type kind struct {
	// name is that of the target whose inputs they are, or one of this package's own.
	name string
	// share says how often it has its turn.
	share    int
	generate func(r *rand.Rand) []byte
	// plan makes an input into a program on a machine.
	plan func(input []byte, h fuzz.Host) plan
}

// plan is what an input is made into, and what the models want of it.
type plan struct {
	calls program
	want  []seen
}

// kinds are all kinds, in the order in which they take turns.
var kinds = [...]kind{
	{name: "Map", share: 10, generate: fuzz.Map.Generate, plan: planMap},
	{name: "HostExisting", share: 3, generate: randomBytes(existingSize), plan: planExisting},
	{name: "Reservation", share: 5, generate: fuzz.Reservation.Generate, plan: planReservation},
	{name: "HostMemory", share: 2, generate: randomBytes(memorySize), plan: planMemory},
}

// kindOf is the kind of the input of a number, of kinds.
func kindOf(number uint64) int {
	all := 0
	for i := range kinds {
		all += kinds[i].share
	}
	turn := int(number % uint64(all))
	for i := range kinds {
		if turn -= kinds[i].share; turn < 0 {
			return i
		}
	}
	panic("unreachable")
}

// randomBytes generates inputs of a fixed layout.
func randomBytes(n int) func(r *rand.Rand) []byte {
	return func(r *rand.Rand) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
}

// add appends a call and what is wanted of it.
func (p *plan) add(c call, want seen) {
	p.calls, p.want = append(p.calls, c), append(p.want, want)
}

func ends(r model.Result, n ...uint64) seen {
	s := seen{Result: r}
	if r == model.OK {
		copy(s.Numbers[:], n)
	}
	return s
}

// addSource appends the calls that make a source and ask for its size, and says whether
// there is one then.
func (p *plan) addSource(slot int, q model.Source, clean bool) bool {
	made := model.OpenSource(q)
	p.add(call{op: opSource, slot: slot, request: model.MapRequest{Source: q}, clean: clean}, ends(made))
	if made != model.OK {
		return false
	}
	p.add(call{op: opSize, slot: slot}, ends(model.OK, q.Size))
	p.add(call{op: opAlignment, slot: slot}, ends(model.OK, pageSize))
	return true
}

// addMap appends pmem2_map_new(3), and says whether there is a map then.
func (p *plan) addMap(c call) bool {
	want := model.Map(c.request)
	w := ends(want.Result)
	if want.Result == model.OK {
		q := &c.request
		var start uint64
		if q.Reservation != nil {
			start = q.Reservation.Addr
		}
		w.Numbers = [numbers]uint64{
			place(want.Addr, start), want.Size, uint64(want.Granularity), want.Offset, want.Length,
			protAndSharing(protOf(q.Prot), q.Sharing == pmem2.Private && q.Source.Kind != model.Anonymous),
		}
	}
	p.add(c, w)
	return want.Result == model.OK
}

// protOf is a protection in the kernel's bits.
func protOf(p pmem2.Prot) (prot int) {
	for _, bit := range []struct {
		of   pmem2.Prot
		bits int
	}{{pmem2.ProtRead, platform.ProtRead}, {pmem2.ProtWrite, platform.ProtWrite}, {pmem2.ProtExec, platform.ProtExec}} {
		if p&bit.of != 0 {
			prot |= bit.bits
		}
	}
	return prot
}

// end appends what is looked at last.
func (p *plan) end() plan {
	p.add(call{op: opKept}, ends(model.OK, 0))
	return *p
}

// planMap makes an input of the target Map into calls.
func planMap(input []byte, h fuzz.Host) plan {
	var p plan
	m := h.HostMap(input)
	q := m.Request
	if !p.addSource(0, q.Source, false) {
		return p.end()
	}
	if q.Source.Size > 1<<64-pageSize {
		q.Reservation = nil // which of two errors is told the pages don't say
	}
	c := call{op: opMap, in: none, request: q}
	if r := q.Reservation; r != nil {
		r.Addr = room
		p.add(call{op: opReserve, addr: room, length: r.Size}, ends(model.OK, room, r.Size))
		c.in = 0
		if m.HasTaken {
			p.addSource(1, model.Source{Kind: model.Anonymous, Size: pageSize, Align: pageSize}, false)
			p.addMap(call{op: opMap, slot: 1, source: 1, request: model.MapRequest{
				Source: model.Source{Kind: model.Anonymous, Size: pageSize}, Granularity: pmem2.GranularityPage, GranularitySet: true,
				Prot: pmem2.ProtRead | pmem2.ProtWrite, Machine: h.Machine,
				Reservation: &model.Reservation{Addr: room, Size: r.Size, Offset: m.Taken},
			}})
			r.Taken = []model.Extent{{Start: room + m.Taken, Size: pageSize}}
		}
	}
	if p.addMap(c) {
		p.add(call{op: opUnmap}, ends(model.OK))
	}
	if q.Reservation != nil {
		if m.HasTaken {
			p.add(call{op: opUnmap, slot: 1}, ends(model.OK))
		}
		p.add(call{op: opUnreserve}, ends(model.OK))
	}
	return p.end()
}

// existingInput is an input about pmem2_map_from_existing(3): two maps, of which the second
// may touch the first.
type existingInput struct {
	Object, Granularity, Second byte
	At, Length, Behind, Again   fuzz.Number
}

// Layout is how it lies in bytes.
func (in *existingInput) Layout(c *fuzz.Codec) {
	for _, b := range []*byte{&in.Object, &in.Granularity, &in.Second} {
		c.Byte(b)
	}
	for _, n := range []*fuzz.Number{&in.At, &in.Length, &in.Behind, &in.Again} {
		c.Number(n)
	}
}

const existingSize = 3 + 4*fuzz.NumberBytes

// planExisting makes an existingInput into calls.
func planExisting(input []byte, h fuzz.Host) plan {
	var in existingInput
	fuzz.Decode(input, &in)
	var p plan
	q := model.Source{Kind: model.File, Align: pageSize, Size: 16 * pageSize}
	if in.Object%4 == 0 {
		q = model.Source{Kind: model.Anonymous, Align: pageSize, Size: 16 * pageSize}
	}
	p.addSource(0, q, false)
	first := model.Extent{Start: room + in.At.In(fuzz.Around{Page: pageSize, Size: 16 * pageSize})%mib, Size: 0}
	if in.At.Delta > 240 {
		first.Start = in.At.In(fuzz.Around{Page: pageSize, Size: room})
	}
	first.Size = in.Length.In(fuzz.Around{Page: pageSize, Size: 16 * pageSize, Other: first.Start})
	var taken []model.Extent
	made := func(e model.Extent, g pmem2.Granularity) bool {
		r := model.Existing(e.Start, e.Size, g, taken)
		p.add(call{op: opExisting, slot: len(taken), addr: e.Start, length: e.Size, fine: g, before: slicesOf(taken)},
			ends(r, e.Start, e.Size, uint64(g)))
		if r == model.OK {
			taken = append(taken, e)
		}
		return r == model.OK
	}
	g := pmem2.Granularity(in.Granularity % 3)
	if in.Granularity >= 252 {
		g = pmem2.Granularity(in.Granularity)
	}
	if !made(first, g) {
		return p.end()
	}
	if in.Second%2 == 0 {
		second := model.Extent{Start: first.Start + in.Behind.In(fuzz.Around{Page: pageSize, Size: first.Size, Room: -first.Start})}
		second.Size = in.Again.In(fuzz.Around{Page: pageSize, Size: first.Size, Other: second.Start, Room: first.Start})
		if made(second, pmem2.GranularityByte) {
			p.add(call{op: opUnmap, slot: 1}, ends(model.OK))
		}
	}
	p.add(call{op: opUnmap}, ends(model.OK))
	return p.end()
}

// slicesOf is what is taken by now.
func slicesOf(taken []model.Extent) []model.Extent { return taken[:len(taken):len(taken)] }
