package exact

import (
	"fmt"
	"math/bits"
	"unsafe"

	"golang.org/x/sys/unix"
)

// freeAreas are areas of bits to use again, by their size in bytes, under table.mu.
var freeAreas = map[int][][]byte{}

// readBits gives a range the memory of its bits, all clear.
func readBits(w *watched) ([]byte, error) {
	lines, sums := bitsSize(w)
	size := 1 << bits.Len(uint(lines+sums-1))
	var mem []byte
	if free := freeAreas[size]; len(free) > 0 {
		mem, freeAreas[size] = free[len(free)-1], free[:len(free)-1]
	} else {
		var err error
		mem, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
		if err != nil {
			return nil, fmt.Errorf("exact: %d bytes of address space for the bits of a range: %w", size, err)
		}
	}
	w.bits = uintptr(unsafe.Pointer(&mem[0]))
	w.sums = w.bits + lines
	return mem, nil
}

// freeBits gives the memory back, but not its addresses: a hook may still be on its way
// there, and does no harm.
func freeBits(mem []byte) {
	if unix.Madvise(mem, unix.MADV_DONTNEED) != nil {
		clear(mem)
	}
	freeAreas[len(mem)] = append(freeAreas[len(mem)], mem)
}
