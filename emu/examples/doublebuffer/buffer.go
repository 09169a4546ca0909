// Package doublebuffer keeps one value in persistent memory that is replaced as a whole:
// there are two slots, and a number that says which of them holds it.
package doublebuffer

import (
	"fmt"

	"pmemlab/emu/examples/pmem"
	"pmemlab/pmem2"
)

// The file: the number of values published so far, in a line for itself, and the two slots.
// The value is in the first slot if the number is even, else in the second.
const (
	countAt = 0
	slotsAt = pmem.Line
)

// Buffer is an open double buffer. It isn't safe for concurrent use.
type Buffer struct {
	mem  pmem.Memory
	size uint64
}

// Open opens the double buffer in mem, whose values have at most size bytes, or a new one,
// whose value is zero, if mem is zero. Nothing needs repair after a power failure: the slot
// that the number names is whole. It fails if mem is too small.
func Open(mem pmem.Memory, size uint64) (*Buffer, error) {
	n := uint64(len(mem.Bytes()))
	if n < slotsAt || size > (n-slotsAt)/2/pmem.Line*pmem.Line {
		return nil, fmt.Errorf("doublebuffer: %d bytes can't hold two slots of %d and a line of %d", n, size, pmem.Line)
	}
	return &Buffer{mem: mem, size: size}, nil
}

// Value is the value, filled up with zeroes: a part of the mapping, good until Publish
// is called for the second time.
func (d *Buffer) Value() []byte { return d.slot(pmem.Load(d.mem.Bytes(), countAt)) }

// Publish replaces the value, durably. Errors: the value has more bytes than a slot; those of
// the memory.
func (d *Buffer) Publish(value []byte) error {
	if uint64(len(value)) > d.size {
		return fmt.Errorf("doublebuffer: a value of %d bytes, at most %d are allowed", len(value), d.size)
	}
	b := d.mem.Bytes()
	count := pmem.Load(b, countAt) + 1
	s := d.slot(count) // the one that nobody reads
	// Non-temporal: nobody will read it soon. Nothing is flushed, since these stores pass the
	// caches, but they too need the drain, and until then are in no order.
	if err := d.mem.Memcpy(s[:len(value)], value, pmem2.MemNonTemporal|pmem2.MemNoDrain); err != nil {
		return err
	}
	// The rest holds the value before the last. Not drained: one drain serves both.
	if err := d.mem.Memset(s[len(value):], 0, pmem2.MemNoDrain); err != nil {
		return err
	}
	// The slot must be whole before the number that names it is stored.
	if err := d.mem.Drain(); err != nil {
		return err
	}
	pmem.Store(b, countAt, count) // at once: the old value or the new one
	// The caller is told that the value is durable; and the next Publish overwrites the
	// other slot, which a durable old number would still name.
	return d.mem.Persist(b[countAt : countAt+8])
}

func (d *Buffer) slot(count uint64) []byte {
	at := slotsAt + count%2*((d.size+pmem.Line-1)&^(pmem.Line-1))
	return d.mem.Bytes()[at : at+d.size]
}
