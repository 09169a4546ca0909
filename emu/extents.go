package emu

import (
	"cmp"
	"slices"

	"pmemlab/pmem2/platform"
)

// extent is the range [start, end) of a file or of addresses, in bytes.
type extent struct{ start, end uint64 }

// addExtents returns the union of two lists: sorted, apart, merged where they touch.
func addExtents(xs, ys []extent) []extent {
	all := slices.Concat(xs, ys)
	slices.SortFunc(all, func(a, b extent) int { return cmp.Compare(a.start, b.start) })
	merged := all[:0]
	for _, x := range all {
		if n := len(merged); n > 0 && x.start <= merged[n-1].end {
			merged[n-1].end = max(merged[n-1].end, x.end)
		} else {
			merged = append(merged, x)
		}
	}
	return merged
}

// cutExtents returns the sorted list xs without the bytes of the sorted list ys.
func cutExtents(xs, ys []extent) []extent {
	var rest []extent
	for _, x := range xs {
		for len(ys) > 0 && ys[0].end <= x.start {
			ys = ys[1:]
		}
		for _, y := range ys {
			if y.start >= x.end {
				break
			}
			if x.start < y.start {
				rest = append(rest, extent{x.start, y.start})
			}
			x.start = max(x.start, y.end)
		}
		if x.start < x.end {
			rest = append(rest, x)
		}
	}
	return rest
}

// coveredBytes is how many bytes of x are in xs.
func coveredBytes(xs []extent, x extent) uint64 {
	var n uint64
	for _, e := range xs {
		if lo, hi := max(e.start, x.start), min(e.end, x.end); lo < hi {
			n += hi - lo
		}
	}
	return n
}

// written lists where the memfd fd holds data, in whole pages. It moves the
// descriptor's file offset.
func written(fd int) ([]extent, error) {
	var xs []extent
	for from := uint64(0); ; {
		start, end, err := dataExtent(fd, from)
		if err != nil || start == end {
			return addExtents(xs, nil), err
		}
		from = end
		xs = append(xs, extent{start &^ (pageSize - 1), roundUp(end, pageSize)})
	}
}

// punch makes zeroes of the n bytes of o from off on, by fd, a descriptor of it for writing, or
// its keeper, and of whole pages holes. The kernel is told of whole pages only: of a hole within the first
// one, or one that ends with the last byte but one of a page, shmem takes pages out of the page
// tables that keep bytes, and that they were written to is forgotten. mu must be held.
func (m *Machine) punch(o *object, fd int, off, n uint64) error {
	whole := extent{roundUp(off, pageSize), (off + n) &^ (pageSize - 1)}
	edges := cutExtents([]extent{{off, off + n}}, []extent{whole})
	if whole.start >= whole.end {
		edges = []extent{{off, off + n}}
	} else if err := m.host.Fallocate(fd, platform.FallocPunchHole|platform.FallocKeepSize,
		int64(whole.start), int64(whole.end-whole.start)); err != nil {
		return err
	}
	if len(edges) == 0 {
		return nil
	}
	keeper, done, err := m.dataFD(o, fd, platform.ORdwr) // fd may append
	if err != nil {
		return err
	}
	defer done()
	st, err := m.host.Fstat(keeper)
	if err != nil {
		return err
	}
	data, err := written(keeper)
	if err != nil {
		return err
	}
	for _, x := range edges {
		// Behind the end of the file, in its last page, there is nothing to make zeroes of.
		if x.end = min(x.end, uint64(st.Size)); x.start >= x.end {
			continue
		}
		for _, x := range overlapping(data, x) {
			if _, err := m.host.Pwrite(keeper, make([]byte, x.end-x.start), int64(x.start)); err != nil {
				return err
			}
		}
	}
	return nil
}

// extents is all that the file takes room for: data, and what was allocated without.
// The machine's mu must be held.
func (o *object) extents() ([]extent, error) {
	xs, err := written(o.keeper)
	return addExtents(addExtents(xs, o.zeroed), o.allocated), err
}

// allocatedBytes is how much room the file takes. The machine's mu must be held.
func (o *object) allocatedBytes() (uint64, error) {
	if len(o.allocated) == 0 && len(o.zeroed) == 0 {
		return allocatedBytes(o.keeper)
	}
	xs, err := o.extents()
	var n uint64
	for _, x := range xs {
		n += x.end - x.start
	}
	return n, err
}

// pagesOf is the whole pages that hold a byte of [off, off+n).
func pagesOf(off, n uint64) extent {
	return extent{off &^ (pageSize - 1), roundUp(off+n, pageSize)}
}
