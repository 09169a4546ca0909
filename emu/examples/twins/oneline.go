package twins

import (
	"bytes"
	"fmt"

	"pmemlab/emu/examples/pmem"
)

// OneLine is a log whose records have a line each: payload, then flag, and one persist for
// both. That's in order without a flush between them: the stores to one line become
// durable in the order in which they were made. (On Arm they don't: there a
// program needs two persists, or a checksum.)
type OneLine struct {
	mem pmem.Memory
	n   uint64 // records
}

const (
	flagAt     = pmem.Line - 8 // the number of the record, from 1 on
	maxOneLine = flagAt
)

// OpenOneLine opens the log in mem, or a new one if mem is zero.
func OpenOneLine(mem pmem.Memory) (*OneLine, error) {
	o := &OneLine{mem: mem}
	for o.n < uint64(len(mem.Bytes()))/pmem.Line && pmem.Load(o.line(o.n), flagAt) == o.n+1 {
		o.n++
	}
	return o, nil
}

// Append adds a record of at most 56 bytes, durably.
func (o *OneLine) Append(record []byte) error {
	if uint64(len(o.mem.Bytes()))/pmem.Line == o.n || len(record) > maxOneLine {
		return fmt.Errorf("twins: %d bytes are too many for record %d", len(record), o.n)
	}
	l := o.line(o.n)
	copy(l, record)
	// No persist here. pmem.Store isn't moved before the copy by the compiler, which a plain
	// store might be, nor by an x86 CPU.
	pmem.Store(l, flagAt, o.n+1)
	if err := o.mem.Persist(l); err != nil {
		return err
	}
	o.n++
	return nil
}

func (o *OneLine) line(i uint64) []byte {
	return o.mem.Bytes()[pmem.Line*i : pmem.Line*(i+1)]
}

// OneLineCase is a life of a OneLine in one file: n records.
func OneLineCase(seed uint64, n int) pmem.Case {
	r := pmem.Rand(seed)
	states := make([][]byte, n+1)
	for i := range n {
		states[i+1] = append(bytes.Clone(states[i]), pmem.Fill(r, maxOneLine)...)
	}
	return pmem.Steps(
		func(files []pmem.Memory) (*OneLine, error) { return OpenOneLine(files[0]) },
		n, func(o *OneLine, i int) error { return o.Append(states[i+1][i*maxOneLine:]) },
		func(o *OneLine) (all []byte) {
			for i := range o.n {
				all = append(all, o.line(i)[:maxOneLine]...)
			}
			return all
		},
		states, bytes.Equal)
}
