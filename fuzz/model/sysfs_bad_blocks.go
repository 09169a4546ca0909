package model

import (
	"math"
	"syscall"

	"pmemlab/pmem2"
)

// sector is the unit of lists of bad blocks, in bytes.
const sector = 512

// Piece is a part of a file: it lies at Start of what its list of bad blocks counts from.
type Piece struct {
	Logical uint64
	Extent
}

// BadFile is a regular file on a region: where it lies, and what sysfs says.
type BadFile struct {
	Pieces    []Piece
	Block     uint64 // of the file system, in bytes
	Partition Attr   // absent: the file system has the whole disk
	First     Attr   // sector of the partition
	List      Attr
	Page      uint64
}

// BadBlocks are those that a new context has: whole blocks of the file system, appended to a
// buffer that is empty.
func (f BadFile) BadBlocks(to []Extent) ([]Extent, Result) {
	var first uint64
	switch f.Partition.Errno {
	case 0:
		if f.First.Errno != 0 {
			return to, FailsWith(f.First.Errno)
		}
		n, ok := address(f.First.line())
		if !ok || n > math.MaxInt64/sector {
			return to, FailsWith(syscall.EINVAL)
		}
		first = n * sector
	case syscall.ENOENT:
	default:
		return to, FailsWith(f.Partition.Errno)
	}
	r := eachBad(f.List, f.Page, func(bad Extent) {
		for _, p := range f.Pieces {
			if from, n := common(bad, Extent{p.Start + first, p.Size}); n > 0 {
				to = insert(to, p.Logical, widen(Extent{from - (p.Start + first), n}, f.Block, p.Size))
			}
		}
	})
	if r != OK {
		return to[:0], r
	}
	return inOrder(to), OK
}

// BadDevice is a device DAX on a region: what sysfs says of both.
type BadDevice struct {
	Region      Attr // where the region starts
	Start, Size Attr // of the namespace
	List        Attr // of the region
	Page        uint64
}

// BadBlocks are those that a new context has, appended to a buffer that is empty.
func (d BadDevice) BadBlocks(to []Extent) ([]Extent, Result) {
	if d.Region.Errno != 0 {
		return to, FailsWith(d.Region.Errno)
	}
	region, ok := address(d.Region.line())
	if !ok {
		return to, FailsWith(syscall.EINVAL)
	}
	start, ok1 := address(d.Start.line())
	size, ok2 := address(d.Size.line())
	if d.Start.Errno != 0 || d.Size.Errno != 0 || !ok1 || !ok2 || start < region || max(start, size) > math.MaxInt64 {
		return to, Fails(pmem2.ErrCannotReadBounds)
	}
	r := eachBad(d.List, d.Page, func(bad Extent) {
		if from, n := common(bad, Extent{start - region, size}); n > 0 {
			to = insert(to, 0, Extent{from - (start - region), n})
		}
	})
	if r != OK {
		return to[:0], r
	}
	return inOrder(to), OK
}

// eachBad calls bad with each range of a list, in bytes. A line is a sector, a blank and a
// number of sectors. Without an attribute there is no bad block. A list that fills a page
// was cut off: a line without its end doesn't count.
func eachBad(list Attr, page uint64, bad func(Extent)) Result {
	switch list.Errno {
	case 0:
	case syscall.ENOENT:
		return OK
	default:
		return FailsWith(list.Errno)
	}
	full := uint64(len(list.Text)) >= page-1
	for rest := list.Text; rest != ""; {
		end, blank := 0, -1
		for end < len(rest) && rest[end] != '\n' {
			if rest[end] == ' ' && blank < 0 {
				blank = end
			}
			end++
		}
		if end == len(rest) && full {
			return OK
		}
		if blank < 0 {
			return FailsWith(syscall.EINVAL)
		}
		start, reading1 := decimal(rest[:blank])
		n, reading2 := decimal(rest[blank+1 : end])
		const most = math.MaxInt64 / sector
		if reading1 != number || reading2 != number || start > most || n > most-start {
			return FailsWith(syscall.EINVAL)
		}
		if n > 0 {
			bad(Extent{start * sector, n * sector})
		}
		rest = rest[min(end+1, len(rest)):]
	}
	return OK
}

// common is what two extents share: n bytes from a place on.
func common(a, b Extent) (from, n uint64) {
	from = max(a.Start, b.Start)
	to := min(a.Start+a.Size, b.Start+b.Size)
	if to <= from {
		return 0, 0
	}
	return from, to - from
}

// widen makes whole blocks of a part of a piece. The last block of a piece may be shorter.
func widen(e Extent, block, piece uint64) Extent {
	if block == 0 {
		block = 1
	}
	first, last := e.Start/block, (e.Start+e.Size-1)/block
	from := first * block
	if piece-last*block <= block {
		return Extent{from, piece - from}
	}
	return Extent{from, (last + 1 - first) * block}
}

// insert adds an extent, with those that share a byte with it made one.
func insert(all []Extent, logical uint64, e Extent) []Extent {
	e.Start += logical
	for i := 0; i < len(all); {
		if o := all[i]; o.Overlaps(e) {
			end := max(o.Start+o.Size, e.Start+e.Size)
			e.Start = min(o.Start, e.Start)
			e.Size = end - e.Start
			all[i] = all[len(all)-1]
			all, i = all[:len(all)-1], 0
			continue
		}
		i++
	}
	return append(all, e)
}

// inOrder sorts extents by where they start.
func inOrder(all []Extent) []Extent {
	for i := range all {
		for j := i; j > 0 && all[j].Start < all[j-1].Start; j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	return all
}
