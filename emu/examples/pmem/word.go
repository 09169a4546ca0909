package pmem

// What is unsafe here is sound: the slice's bounds are checked for 8 bytes, and an
// offset that isn't aligned in a mapping, which begins on a page, is a panic.

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Load reads the word of 8 bytes at off, a multiple of 8, in the CPU's byte order.
func Load(b []byte, off uint64) uint64 { return atomic.LoadUint64(word(b, off)) }

// Store writes the word of 8 bytes at off, a multiple of 8, at once: a power failure
// leaves the old value or the new one. It isn't moved before the stores that precede it
// in the program, which a plain store may be, by the compiler.
func Store(b []byte, off, v uint64) { atomic.StoreUint64(word(b, off), v) }

func word(b []byte, off uint64) *uint64 {
	p := unsafe.Pointer(unsafe.SliceData(b[off : off+8]))
	if uintptr(p)%8 != 0 {
		panic(fmt.Sprintf("pmem: the word at offset %d of %d bytes at %p isn't aligned to 8", off, len(b), unsafe.SliceData(b)))
	}
	return (*uint64)(p)
}
