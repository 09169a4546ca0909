package fuzz

import (
	"math/rand/v2"
	"sync"

	"pmemlab/emu"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Existing is the target of pmem2_map_from_existing(3): maps of memory that the program says
// is its own, anywhere up to the top of the address space, beside maps of NewMap.
var Existing = Target{
	Name:     "Existing",
	About:    "maps of existing memory: ranges that touch, overlap, wrap or reach the top; deletion and reuse",
	Accepted: "registered",
	New:      newExistingInstance,
	Generate: func(r *rand.Rand) []byte { return randomBytes(r, (1+r.IntN(maxReservationOps))*existingOpSize) },
	Seeds:    existingSeeds,
}

// ExistingOp is one operation of an input of the target Existing.
type ExistingOp struct {
	Kind        byte // by its remainder by 8: see Step
	Map         byte // which one: see pick
	Granularity byte // above 251: none that there is, else by its remainder by 3
	Base        byte // what the address counts from: see address
	Addr        Number
	Length      Number
}

// Layout is how it lies in bytes.
func (op *ExistingOp) Layout(c *Codec) {
	c.Byte(&op.Kind)
	c.Byte(&op.Map)
	c.Byte(&op.Granularity)
	c.Byte(&op.Base)
	c.Number(&op.Addr)
	c.Number(&op.Length)
}

const existingOpSize = 4 + 2*NumberBytes

// topHalf is the half of all addresses that no program has memory in: one input at a time is
// about it.
var topHalf sync.Mutex

type existingInstance struct{ *spaceInstance }

func newExistingInstance() (Instance, error) {
	i, err := newSpaceInstance(func(e *emu.Machine) platform.Platform { return newKernelSpace(e) })
	if err != nil {
		return nil, err
	}
	i.next, i.top = nextExistingStep, true
	return existingInstance{i}, nil
}

// Run is Instance.Run.
func (i existingInstance) Run(input []byte) (bool, error) {
	topHalf.Lock()
	defer topHalf.Unlock()
	return i.spaceInstance.Run(input)
}

func nextExistingStep(s *model.Space, input []byte) (model.Step, []byte) {
	var op ExistingOp
	rest := Decode(input, &op)
	return op.Step(s), rest
}

// Step is what the operation does in a state: its numbers worked out.
func (op *ExistingOp) Step(s *model.Space) model.Step {
	live := func(i int) bool { return !s.Maps[i].Deleted }
	st := model.Step{Kind: model.MapExisting, Reservation: -1, Map: pick(op.Map, len(s.Maps), live)}
	switch op.Kind % 8 {
	case 5, 6:
		st.Kind = model.DeleteMap
		return st
	case 7: // of memory that the library maps itself, anywhere
		st.Kind = model.MapAnonymous
		st.Length = op.Length.In(Around{Page: s.Page, Size: 64 * s.Page}) % (1 << 20)
		return st
	}
	st.Granularity = pmem2.Granularity(op.Granularity % 3)
	if op.Granularity > 251 {
		st.Granularity = pmem2.Granularity(int(op.Addr.Raw))
	}
	near := model.Extent{Start: s.Lo, Size: 16}
	if st.Map >= 0 && s.Maps[st.Map].Start > 0 {
		near = s.Maps[st.Map].Extent
	}
	st.Offset = op.address(s, near)
	around := Around{Page: s.Page, Align: 64, Size: next(s, st.Offset) - st.Offset, Other: st.Offset, Room: near.Size + st.Offset}
	around.Size += around.Other // so that what is left of it is up to what lies behind
	st.Length = op.Length.In(around)
	endInArena(s, &st, op.Length.Raw)
	return st
}

// address is one near a map, or where addresses begin or end. Below 2^63 it is in the arena.
func (op *ExistingOp) address(s *model.Space, near model.Extent) uint64 {
	n := op.Addr.In(Around{Page: s.Page, Align: 64, Size: 1 << 20, Room: near.Size})
	at, top := n, near.Start >= 1<<63
	switch op.Base % 8 {
	case 0, 1:
		at, top = s.Lo+n, false
	case 2, 3:
		at = near.Start + near.Size + n
	case 4:
		at = near.Start - n
	case 5:
		at, top = -n, true
	case 6:
		at, top = 1<<63+n, true
	}
	if at == 0 || at >= s.Lo && at < s.Hi || at >= 1<<63 && top {
		return at
	}
	return s.Lo + n%(s.Hi-s.Lo)
}

// endInArena makes a range that begins in the arena end there, unless it wraps: elsewhere
// there may be maps of others.
func endInArena(s *model.Space, st *model.Step, raw uint64) {
	if st.Offset > 0 && st.Offset < 1<<63 && st.Length <= -st.Offset && st.Length > s.Hi-st.Offset {
		st.Length = 1 + raw%(s.Hi-st.Offset)
	}
}

// next is where the first map behind an address starts; 0 is the top of all addresses.
func next(s *model.Space, addr uint64) uint64 {
	at := uint64(0)
	for _, m := range s.Maps {
		if !m.Deleted && m.Start > addr && m.Start-1 < at-1 {
			at = m.Start
		}
	}
	return at
}

// existingSeeds are sequences with ranges that touch, and that reach the top.
func existingSeeds() [][]byte {
	at := func(v uint64) Number { return Number{Raw: v} }
	return [][]byte{
		EncodeAll(nil, []ExistingOp{
			{Addr: at(0), Length: at(100)}, {Base: 2, Addr: at(0), Length: at(1)}, {Base: 2, Addr: at(1 << 12), Length: at(1)},
			{Kind: 5}, {Addr: at(0), Length: at(101)},
		}),
		EncodeAll(nil, []ExistingOp{
			{Base: 5, Addr: at(1), Length: at(1)}, {Base: 6, Addr: at(0), Length: at(1<<63 - 1)}, {Kind: 7, Length: at(5000)},
		}),
	}
}
