package main

import (
	"fmt"
	"regexp"
)

// row is one operation of one size.
type row struct {
	op    string // as the report calls it
	size  uint64 // bytes
	verb  string // as the workers call it
	shift uint64 // bytes from a cache line to the destination
}

func (r row) String() string { return r.op + "/" + bytesText(r.size) }

// copies reports whether the row is a copy or a set.
func (r row) copies() bool { return r.verb == "memcpy" || r.verb == "memset" }

// bytesText is a number of bytes in the largest unit that divides it.
func bytesText(n uint64) string {
	switch {
	case n >= 1<<40 && n%(1<<40) == 0:
		return fmt.Sprintf("%dTiB", n>>40)
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%dGiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return fmt.Sprintf("%dB", n)
}

const (
	smallFile = 4 << 10 // is mapped by a row
	largeFile = 64 << 20
	// dataFile is what is stored to. The longest row ends behind its first 64 MiB,
	// and it is a multiple of the alignment of a large page.
	dataFile = 66 << 20
	// sourceAt is where a copy's source lies in its file: half a page off, so that no
	// load waits for a store whose address has the same last 12 bits.
	sourceAt = 2 << 10
	// fill is what a set stores. Some CPUs have a short cut for zeros.
	fill = 0x5a
)

// allRows are the rows of a full run. Sizes lie close where the libraries change from
// one way of storing to another.
func allRows() []row {
	var rows []row
	add := func(op, verb string, shift uint64, sizes ...uint64) {
		for _, n := range sizes {
			rows = append(rows, row{op, n, verb, shift})
		}
	}
	const kib, mib = 1 << 10, 1 << 20
	add("persist", "persist", 0, 8, 64, 128, 256, 512, kib, 4*kib, 16*kib, 64*kib, 256*kib, mib)
	sizes := []uint64{64, 128, 256, 512, kib, 2 * kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib, 16 * mib, 64 * mib}
	add("memcpy", "memcpy", 0, sizes...)
	add("memcpy+1", "memcpy", 1, sizes...)
	add("memset", "memset", 0, sizes...)
	add("memset+1", "memset", 1, sizes...)
	add("NewMap+Delete", "map", 0, smallFile, largeFile)
	add("NewMap refused: offset", "map-offset", 0, largeFile)
	add("NewMap refused: granularity", "map-granularity", 0, largeFile)
	return rows
}

func selectRows(only *regexp.Regexp) []row {
	var rows []row
	for _, r := range allRows() {
		if only.MatchString(r.String()) {
			rows = append(rows, r)
		}
	}
	return rows
}
