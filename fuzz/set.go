package fuzz

import (
	"fmt"

	"pmemlab/pmemset"
)

// Set is the target of the part operations of libpmemset: sequences of them on one or two
// sets that share an address space, of which the addresses are always the same.
var Set = Target{
	Name:     "Set",
	About:    "sequences of part operations on sets: three ways to map, coalescing, growth, removal, references",
	Accepted: "mapped",
	New:      newSetInstance,
	Generate: setInputBytes,
	Seeds:    setSeeds,
}

// setWorld is the beginning of an input: what the sequence behind it starts with.
type setWorld struct {
	Reserve  byte // odd: the sets have a reservation, of Room bytes; 1 more than multiples of 8: only the first
	Lie      byte // of setLies: where the reservation starts
	Room     Number
	Required byte           // multiples of 8: CACHE_LINE; else PAGE
	Sets     byte           // multiples of 4: two sets
	Joins    byte           // the mode of coalescing to begin with; 3 is FULL too
	Behind   byte           // of setBehinds: what is free behind the library's reservations; above, of setStrides
	Listens  byte           // multiples of 8: no event callback
	Tags     byte           // multiples of 32: contents are looked at
	Sizes    [setFiles]byte // of setSizes: of each source
}

// Layout is how it lies in bytes.
func (in *setWorld) Layout(c *Codec) {
	for _, b := range []*byte{&in.Reserve, &in.Lie, &in.Required, &in.Sets, &in.Joins, &in.Behind, &in.Listens, &in.Tags} {
		c.Byte(b)
	}
	for i := range in.Sizes {
		c.Byte(&in.Sizes[i])
	}
	c.Number(&in.Room)
}

const setWorldSize, setWorldJoins = 8 + setFiles + NumberBytes, 4

// setOp is one operation.
type setOp struct {
	Kind byte // of setKinds
	Set  byte // even: the first
	Pick byte // of setPicks, or of what the set has
	How  byte // the way to map, and its answers; the mode of coalescing; how to look up
	A, B Number
}

// Layout is how it lies in bytes.
func (op *setOp) Layout(c *Codec) {
	for _, b := range []*byte{&op.Kind, &op.Set, &op.Pick, &op.How} {
		c.Byte(b)
	}
	c.Number(&op.A)
	c.Number(&op.B)
}

const setOpSize = 4 + 2*NumberBytes

// maxSetOps is how long a sequence can be.
const maxSetOps = 16

// The kinds of operation.
const (
	setMap = iota
	setCoalescing
	setRemoveRange
	setRemovePart
	setHold
	setDrop
	setLookUp
	setForeign
	setResize
	setDelete // of a set or a source
)

// setKinds are what the remainder of a byte picks.
var setKinds = [32]byte{
	setMap, setMap, setMap, setMap, setMap, setMap, setMap, setMap, setMap, setMap, setMap, setMap, setMap, setMap, setMap,
	setRemoveRange, setRemoveRange, setRemoveRange, setRemoveRange, setRemoveRange, setCoalescing, setCoalescing,
	setRemovePart, setRemovePart, setHold, setHold, setDrop, setLookUp, setForeign, setForeign, setResize, setDelete,
}

// Where those that remove something stand among them.
const setKindRemovesRange, setKindRemovesPart = 15, 22

// setLies are where reservations start, off a multiple of 2 MiB.
var setLies = [8]uint64{4: 4096, 5: mib, 6: 2*mib - 4096, 7: 4096 * 3}

// setBehinds are how many bytes are free behind a reservation of the library's.
var setBehinds = [8]uint64{0, 4096, 8 * 4096, 2*mib - 4096, 2 * mib, 2*mib + 4096, 6 * mib, 64 * mib}

// setStrides are the ways from one reservation to the next, in slots: up, down, and to and fro.
var setStrides = [4]int{1, setSlots - 1, 29, 29}

// setSizes are those that files have.
var setSizes = [16]uint64{
	0, 100, 4096, 3*4096 + 100, 2 * mib, 4*mib + 4096, 8 * 4096,
	16 * 4096, 16 * 4096, 16 * 4096, 64 * 4096, 64 * 4096, 64 * 4096, 64 * 4096, 64 * 4096, 64 * 4096,
}

// setSeeds are sequences that matter: parts that are coalesced, cut in every place, and
// mapped into the holes again.
func setSeeds() [][]byte {
	full := setOp{Kind: 20, How: byte(pmemset.CoalescingFull)}
	add := func(pages uint64) setOp { return setOp{How: 1, Pick: 1, B: Exactly(pages - 1)} }
	cut := func(piece byte) setOp { return setOp{Kind: 15, Pick: piece, B: Number{Anchor: 2}} }
	reserve := setWorld{Reserve: 1, Required: 1, Sets: 1, Room: Exactly(64 * 4096)}
	apart := setWorld{Required: 1, Sets: 1, Behind: 7}
	var seeds [][]byte
	for _, w := range []setWorld{reserve, apart} {
		for i := range byte(3) {
			ops := []setOp{full, add(2), add(1), add(2), cut(i), add(1), add(2), cut(0), cut(1)}
			seeds = append(seeds, EncodeAll(Encode(nil, &w), ops))
		}
	}
	return seeds
}

// setInstance runs the inputs of the target Set.
type setInstance struct {
	m   *setMachine
	ops []setOp
	try setTry
}

func newSetInstance() (Instance, error) {
	m, err := newSetMachine()
	if err != nil {
		return nil, err
	}
	return &setInstance{m: m}, nil
}

// Close is Instance.Close.
func (i *setInstance) Close() error { return i.m.close() }

// Run is Instance.Run.
func (i *setInstance) Run(input []byte) (bool, error) {
	var in setWorld
	i.ops = DecodeAll(Decode(input, &in), i.ops[:0], maxSetOps)
	t := &i.try
	t.reset(i.m)
	err := t.run(&in, i.ops)
	if err != nil {
		err = fmt.Errorf("%s: %w", t.words(), err)
		t.abandon()
	}
	return t.mapped > 0, err
}
