// Package twofile changes two files in persistent memory together: after a power failure
// both have the changes of a transaction, or neither has.
package twofile

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pmemlab/emu/examples/pmem"
	"pmemlab/pmem2"
)

// The first file: the length in bytes of a log that is committed, 0 if there's none; the
// log; the first file's data. The second file is data alone.
//
// The log is a redo log: for each write a word with the file (the highest bit) and the offset
// in its data, a word with the length in bytes, and the bytes, filled up to a multiple of 8.
const (
	committedAt = 0
	logAt       = pmem.Line
	logSize     = 1024
	dataAt      = logAt + logSize
	secondFile  = 1 << 63
)

// Write is a change of a transaction: Data, at Off bytes in the data of file 0 or 1.
type Write struct {
	File int
	Off  uint64
	Data []byte
}

// ErrTooLarge says that the writes of a transaction don't fit in the log.
var ErrTooLarge = errors.New("twofile: the transaction is too large")

// Store is an open pair of files. It isn't safe for concurrent use.
type Store struct {
	first, second pmem.Memory
}

// OpenMaps is Open for two maps. It fails if they don't share operations: one drain, which
// is what Commit uses, is then not enough for both.
func OpenMaps(first, second *pmem2.Map) (*Store, error) {
	if !first.SharesOps(second) {
		return nil, fmt.Errorf("twofile: maps of granularity %v and %v don't share operations", first.StoreGranularity(), second.StoreGranularity())
	}
	return Open(first, second)
}

// Open opens the pair, or a new one if both are zero, and finishes the transaction that was
// committed when the power failed. The memories must share operations: see
// [pmem2.Map.SharesOps]. It fails if the first isn't a file of a pair.
func Open(first, second pmem.Memory) (*Store, error) {
	if n := len(first.Bytes()); n < dataAt {
		return nil, fmt.Errorf("twofile: the first file has %d bytes, at least %d are needed", n, dataAt)
	}
	s := &Store{first, second}
	if pmem.Load(first.Bytes(), committedAt) == 0 {
		return s, nil // what is in the log was never committed, or has been applied
	}
	return s, s.apply() // as often as power fails: the writes are the same each time
}

// Data is the data of file 0 or 1: a part of the mapping, to be changed by Commit alone.
func (s *Store) Data(file int) []byte {
	if file == 0 {
		return s.first.Bytes()[dataAt:]
	}
	return s.second.Bytes()
}

// Commit makes all writes, durably, or none of them if the power fails before. Errors: a
// write is outside its file; ErrTooLarge; those of the memory, after which the pair must be
// opened again.
func (s *Store) Commit(writes ...Write) error {
	b, at := s.first.Bytes(), uint64(logAt)
	for _, w := range writes {
		if w.File&^1 != 0 || w.Off > uint64(len(s.Data(w.File))) || uint64(len(w.Data)) > uint64(len(s.Data(w.File)))-w.Off {
			return fmt.Errorf("twofile: a write of %d bytes at %d in file %d is outside of the data", len(w.Data), w.Off, w.File)
		}
		frame := make([]byte, frameSize(uint64(len(w.Data))))
		binary.NativeEndian.PutUint64(frame, uint64(w.File)<<63|w.Off)
		binary.NativeEndian.PutUint64(frame[8:], uint64(len(w.Data)))
		copy(frame[16:], w.Data)
		if uint64(len(frame)) > dataAt-at {
			return ErrTooLarge
		}
		// Not drained: the writes needn't get to the log in their order.
		if err := s.first.Memcpy(b[at:at+uint64(len(frame))], frame, pmem2.MemNoDrain); err != nil {
			return err
		}
		at += uint64(len(frame))
	}
	if at == logAt {
		return nil
	}
	// The log is whole before the word that commits it is stored.
	if err := s.first.Drain(); err != nil {
		return err
	}
	pmem.Store(b, committedAt, at-logAt) // at once: all writes or none
	// Durable before the first write to the data is: from here on the log is the truth.
	if err := s.first.Persist(b[committedAt : committedAt+8]); err != nil {
		return err
	}
	return s.apply()
}

// apply does what the committed log says, in both files, and ends the transaction.
func (s *Store) apply() error {
	b := s.first.Bytes()
	n := pmem.Load(b, committedAt)
	if n > logSize || n%8 != 0 {
		return fmt.Errorf("twofile: the log has %d bytes, want a multiple of 8 up to %d", n, logSize)
	}
	for log := b[logAt : logAt+n]; len(log) > 0; {
		if len(log) < 16 {
			return errors.New("twofile: the log ends in the middle of a write")
		}
		where, n := pmem.Load(log, 0), pmem.Load(log, 8)
		mem, data, off := s.first, s.Data(0), where&^secondFile
		if where&secondFile != 0 {
			mem, data = s.second, s.Data(1)
		}
		if n > uint64(len(log))-16 || off > uint64(len(data)) || n > uint64(len(data))-off {
			return fmt.Errorf("twofile: the log has a write of %d bytes at %d, outside of the data or the log", n, off)
		}
		// Not drained: one drain serves all writes, in both files.
		if err := mem.Memcpy(data[off:off+n], log[16:16+n], pmem2.MemNoDrain); err != nil {
			return err
		}
		log = log[frameSize(n):]
	}
	// All data is durable before the log is given up. The maps share operations, so this
	// waits for what was flushed through the second one too.
	if err := s.first.Drain(); err != nil {
		return err
	}
	pmem.Store(b, committedAt, 0)
	// Durable before the next transaction writes its log over this one: a log that is
	// committed is never written to.
	return s.first.Persist(b[committedAt : committedAt+8])
}

func frameSize(n uint64) uint64 { return 16 + (n+7)&^7 }
