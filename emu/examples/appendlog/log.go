// Package appendlog is a log in persistent memory that only grows. No checksums: a record
// is in the log when a durable tail is behind it.
package appendlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"pmemlab/emu/examples/pmem"
	"pmemlab/pmem2"
)

// The file: the tail, which is the offset of the first byte behind the last record, 0 in a
// new file; and from the second line on the records, each a word with its length in bytes
// and its bytes, filled up to a multiple of 8. The tail has a line for itself: flushing it
// with each batch doesn't write records again.
const (
	tailAt = 0
	start  = pmem.Line
)

// ErrFull says that a batch of records is larger than the rest of the file.
var ErrFull = errors.New("appendlog: the log is full")

// Log is an open log. It isn't safe for concurrent use.
type Log struct {
	mem  pmem.Memory
	tail uint64
}

// Open opens the log in mem, or a new one if mem is zero. Nothing needs repair after a power
// failure: what lies behind the tail was never in the log. It fails if mem isn't a log.
func Open(mem pmem.Memory) (*Log, error) {
	b := mem.Bytes()
	if len(b) < start {
		return nil, fmt.Errorf("appendlog: %d bytes, at least %d are needed", len(b), start)
	}
	tail := pmem.Load(b, tailAt)
	if tail == 0 {
		tail = start
	}
	if tail < start || tail > uint64(len(b)) || tail%8 != 0 {
		return nil, fmt.Errorf("appendlog: the tail is %d, want a multiple of 8 from %d to %d", tail, start, len(b))
	}
	for at := uint64(start); at != tail; {
		n := pmem.Load(b, at)
		if n > tail-at-8 {
			return nil, fmt.Errorf("appendlog: the record at %d has %d bytes, the tail is %d", at, n, tail)
		}
		at += frameSize(n)
	}
	return &Log{mem: mem, tail: tail}, nil
}

// Append adds records, all or none of them, durably. Errors: ErrFull, those of the memory;
// after the latter the log must be opened again.
func (l *Log) Append(records ...[]byte) error {
	b, at := l.mem.Bytes(), l.tail
	for _, r := range records {
		n := frameSize(uint64(len(r)))
		if n > uint64(len(b))-at {
			return ErrFull // what was copied is behind the tail: it isn't there
		}
		frame := make([]byte, n)
		binary.NativeEndian.PutUint64(frame, uint64(len(r)))
		copy(frame[8:], r)
		// Not drained: records come in any order, as long as all come before the tail.
		if err := l.mem.Memcpy(b[at:at+n], frame, pmem2.MemNoDrain); err != nil {
			return err
		}
		at += n
	}
	// The records must be durable before the tail is stored, not only before it's
	// flushed: a line may be evicted, and so become durable, at any time.
	if err := l.mem.Drain(); err != nil {
		return err
	}
	pmem.Store(b, tailAt, at) // one word: old or new, never torn
	// The caller is told that the batch is durable.
	if err := l.mem.Persist(b[tailAt : tailAt+8]); err != nil {
		return err
	}
	l.tail = at
	return nil
}

// All goes through the records, which are parts of the mapping, in their order.
func (l *Log) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		b := l.mem.Bytes()
		for at := uint64(start); at != l.tail; {
			n := pmem.Load(b, at)
			if !yield(b[at+8 : at+8+n]) {
				return
			}
			at += frameSize(n)
		}
	}
}

func frameSize(n uint64) uint64 { return 8 + (n+7)&^7 }
