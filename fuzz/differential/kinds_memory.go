//go:build libpmem2

package main

import (
	"pmemlab/fuzz"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// memoryInput is an input about the memory of a map: of a file of a few pages, private or
// not, or of none.
type memoryInput struct {
	Object, Size byte
	Ops          [memoryOps]memoryOp
}

// memoryOp copies, sets or flushes.
type memoryOp struct {
	Kind, Flags, Value byte
	At, From, Length   fuzz.Number
}

// Layout is how it lies in bytes.
func (in *memoryInput) Layout(c *fuzz.Codec) {
	c.Byte(&in.Object)
	c.Byte(&in.Size)
	for i := range in.Ops {
		in.Ops[i].Layout(c)
	}
}

// Layout is how it lies in bytes.
func (op *memoryOp) Layout(c *fuzz.Codec) {
	for _, b := range []*byte{&op.Kind, &op.Flags, &op.Value} {
		c.Byte(b)
	}
	for _, n := range []*fuzz.Number{&op.At, &op.From, &op.Length} {
		c.Number(n)
	}
}

const (
	memoryOps  = 6
	memorySize = 2 + memoryOps*(3+3*fuzz.NumberBytes)
)

// planMemory makes such an input into calls.
func planMemory(input []byte, h fuzz.Host) plan {
	var in memoryInput
	fuzz.Decode(input, &in)
	var p plan
	size := (uint64(in.Size%4) + 1) * pageSize
	if in.Size >= 128 {
		size -= uint64(in.Size) * 31 % pageSize
	}
	q := model.MapRequest{
		Source: model.Source{Kind: model.File, Size: size, Align: pageSize}, Granularity: pmem2.GranularityPage, GranularitySet: true,
		Prot: pmem2.ProtRead | pmem2.ProtWrite, Machine: h.Machine,
	}
	switch in.Object % 8 {
	case 0:
		q.Source.Kind = model.Anonymous
	case 1:
		q.Sharing = pmem2.Private
	}
	p.addSource(0, q.Source, true)
	p.addMap(call{op: opMap, in: none, request: q})
	want := make([]byte, size)
	granularity := pmem2.Granularity(p.want[len(p.want)-1].Numbers[2])
	for i := range in.Ops {
		p.addMemoryOp(&in.Ops[i], q.Source.Kind, granularity, want)
	}
	if q.Source.Kind == model.File {
		if q.Sharing == pmem2.Private {
			clear(want)
		}
		p.add(call{op: opContent}, ends(model.OK, checksum(want)))
	}
	p.add(call{op: opUnmap}, ends(model.OK))
	return p.end()
}

// addMemoryOp appends an operation on a map, of which content is what it holds.
func (p *plan) addMemoryOp(op *memoryOp, of model.Kind, g pmem2.Granularity, content []byte) {
	size := uint64(len(content))
	around := fuzz.Around{Page: pageSize, Align: 64, Size: size}
	c := call{offset: op.At.In(around), value: op.Value, flags: pmem2.MemFlags(op.Flags) % (pmem2.MemNoFlush << 1)}
	around.Other = c.offset
	c.length = op.Length.In(around)
	if op.Kind%8 == 7 {
		c.op = opDeepFlush
		m := model.Mapped{Taken: model.Extent{Start: room, Size: roundUp(size)}, Size: size, Kind: of, Granularity: g}
		p.add(c, ends(model.Flushes(model.FlushRequest{
			Op: model.CallDeepFlush, Maps: []model.Mapped{m}, Of: m, Page: pageSize, Line: 64,
			Range: model.Extent{Start: room + c.offset, Size: c.length},
		}).Result))
		return
	}
	c.offset %= size
	c.length %= size - c.offset + 1
	q := model.MemRequest{Length: c.length, Flags: c.flags, Granularity: g}
	var done model.Stored
	switch op.Kind % 8 {
	case 0, 1, 2:
		c.op = opCopy
		if c.with = op.From.In(around) % size; c.length > size-c.with {
			c.length = size - c.with
		}
		q.Length, q.Source = c.length, c.length
		if done = model.Memory(q); done.Bytes {
			copy(content[c.offset:c.offset+c.length], content[c.with:c.with+c.length])
		}
	case 3, 4:
		c.op, q.Op = opSet, model.SetBytes
		if done = model.Memory(q); done.Bytes {
			for i := range c.length {
				content[c.offset+i] = c.value
			}
		}
	case 5:
		c.op = opPersist
	default:
		c.op = opFlush
	}
	p.add(c, ends(done.Result))
}
