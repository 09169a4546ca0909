// Package mce makes bad blocks of a guest's NVDIMMs, by the kernel's module mce-inject: the
// nfit driver is told of a machine check that never was, and lists the address as bad.
// Nothing is wrong with the memory.
//
// It wants the modules nfit and mce-inject, and a CPU of Intel's: with QEMU,
// -cpu max,vendor=GenuineIntel. Of others' memory errors the kernel doesn't tell the driver.
package mce

import (
	"strconv"
	"strings"
)

const (
	maxLength = 4096
	sector    = 512
)

// lists says whether the text of an attribute badblocks has each sector of [first, end). A
// line of it is a sector and how many are bad from there on, in rising order.
func lists(badblocks string, first, end uint64) bool {
	for line := range strings.Lines(badblocks) {
		start, count, ok := strings.Cut(strings.TrimSpace(line), " ")
		from, err := strconv.ParseUint(start, 10, 64)
		if !ok || err != nil {
			continue
		}
		n, err := strconv.ParseUint(count, 10, 64)
		if err == nil && from <= first && first < from+n {
			first = from + n
		}
	}
	return first >= end
}
