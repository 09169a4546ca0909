package exact

import (
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// lineSize is that of a cache line, in bytes.
const lineSize = 64

const (
	bitsPage    = 4096         // bytes of bits that one bit of the sums stands for
	linesOfPage = bitsPage * 8 // lines, 2 MiB
)

// words returns the bits and the sums of a range, which are memory of readBits.
func (w *watched) words() (lines, sums []uint64) {
	lineBytes, sumBytes := bitsSize(w)
	// The memory stays mapped for good, see freeBits.
	lines = unsafe.Slice((*uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&w.bits))), lineBytes/8)
	sums = unsafe.Slice((*uint64)(*(*unsafe.Pointer)(unsafe.Pointer(&w.sums))), sumBytes/8)
	return lines, sums
}

// bitsSize is how much memory the bits and the sums of a range take, in bytes.
func bitsSize(w *watched) (lines, sums uintptr) {
	n := (w.end - w.base + lineSize - 1) / lineSize
	pages := (n + linesOfPage - 1) / linesOfPage
	return pages * bitsPage, (pages + 63) / 64 * 8
}

// Reads returns which lines of the watched memory were loaded from since they were watched
// or since the last call with reset, in order of their addresses: whole cache lines of 64
// bytes, neighbours joined. As the compiler doesn't tell the size of a scalar, the next line
// counts too if the largest one would reach it. Atomic operations other than a store count.
func Reads(reset bool) []Range {
	if !Enabled() {
		return nil
	}
	table.mu.Lock()
	defer table.mu.Unlock()
	var out []Range
	add := func(addr uintptr) {
		if n := len(out); n > 0 && out[n-1].Addr+uintptr(out[n-1].Len) >= addr {
			out[n-1].Len = uint64(addr + lineSize - out[n-1].Addr)
		} else {
			out = append(out, Range{addr, lineSize})
		}
	}
	for i := range table.ranges {
		w := &table.ranges[i]
		// Of a range that was cut, the parts share the bits.
		first, last := (w.start-w.base)/lineSize, (w.end-1-w.base)/lineSize
		lines, sums := w.words()
		for page := first / linesOfPage; page <= last/linesOfPage; page++ {
			if atomic.LoadUint64(&sums[page/64])&(1<<(page%64)) == 0 {
				continue
			}
			from, to := max(first, page*linesOfPage), min(last, (page+1)*linesOfPage-1)
			for k := from / 64; k <= to/64; k++ {
				mask := ^uint64(0)
				if k == from/64 {
					mask <<= from % 64
				}
				if k == to/64 {
					mask &= ^uint64(0) >> (63 - to%64)
				}
				found := atomic.LoadUint64(&lines[k]) & mask
				if reset && found != 0 {
					atomic.AndUint64(&lines[k], ^found)
				}
				for ; found != 0; found &= found - 1 {
					add(w.base + (k*64+uintptr(bits.TrailingZeros64(found)))*lineSize)
				}
			}
		}
	}
	return out
}
