// Package pmem is what the example programs ask of persistent memory: the operations
// of a [pmem2.Map], behind an interface that a test can stand in front of, and words
// of 8 bytes that are stored at once.
package pmem

import "pmemlab/pmem2"

// Memory is mapped persistent memory. A *pmem2.Map is one; the methods do what those
// of the map do and fail as they fail.
type Memory interface {
	Bytes() []byte
	Persist(b []byte) error
	Flush(b []byte) error
	Drain() error
	Memcpy(dst, src []byte, flags pmem2.MemFlags) error
	Memmove(dst, src []byte, flags pmem2.MemFlags) error
	Memset(dst []byte, c byte, flags pmem2.MemFlags) error
}

var _ Memory = (*pmem2.Map)(nil)

// Line is the size of a cache line in bytes, the unit of flushes. Offsets in a mapping
// that are multiples of it begin a line.
const Line = 64
