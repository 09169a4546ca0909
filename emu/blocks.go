package emu

import (
	"cmp"
	"slices"
)

// Which blocks of the block device a file is on. Blocks are given when somebody asks
// where a file is (FIEMAP, a bad block, fallocate) and go when a hole is punched or the
// file is cut or removed. Behind the block before, if that is free, else where there
// first is room: so that one history always gives the same addresses. A block with a
// bad sector isn't given.

// blockRun is a range of a file that lies on the block device in one piece: in bytes,
// whole blocks of pageSize.
type blockRun struct{ logical, physical, length uint64 }

// metadataBytes is how much at the beginning of the block device is given to files
// last, since a file system keeps its own data there.
func (fs *FileSystem) metadataBytes() uint64 {
	return min(fs.cfg.Size/64, 16<<20) &^ (pageSize - 1)
}

// placed is the ranges of the file that have blocks.
func (o *object) placed() []extent {
	xs := make([]extent, len(o.blocks))
	for i, b := range o.blocks {
		xs[i] = extent{b.logical, b.logical + b.length}
	}
	return addExtents(xs, nil)
}

// blocksAt is the parts of the runs that are in the range x of the file.
func (o *object) blocksAt(x extent) []blockRun {
	i, _ := slices.BinarySearchFunc(o.blocks, x.start, func(b blockRun, at uint64) int {
		return cmp.Compare(b.logical+b.length, at+1) // the first that ends behind it
	})
	var runs []blockRun
	for _, b := range o.blocks[i:] {
		if b.logical >= x.end {
			break
		}
		from, to := max(b.logical, x.start), min(b.logical+b.length, x.end)
		runs = append(runs, blockRun{from, b.physical + from - b.logical, to - from})
	}
	return runs
}

// place gives o a block for each byte of want and takes back those it has beside.
// Where the device has no room a part of want stays without. mu must be held.
func (fs *FileSystem) place(o *object, want []extent) {
	have := o.placed()
	fs.freeBlocks(o, cutExtents(have, want))
	missing := cutExtents(want, have)
	if len(missing) == 0 {
		return
	}
	meta := fs.metadataBytes()
	taken := addExtents(fs.taken, pagesOfAll(fs.node.bad))
	gaps := []gapList{
		{cutExtents([]extent{{meta, fs.cfg.Size}}, taken)},
		{cutExtents([]extent{{0, meta}}, taken)},
	}
	if o.class == classDirectory {
		slices.Reverse(gaps)
	}
	var given []blockRun
	var goal uint64
	for _, x := range missing {
		if before := o.blocksAt(extent{x.start - min(x.start, pageSize), x.start}); len(before) > 0 {
			b := before[len(before)-1]
			goal = b.physical + b.length
		}
		for x.start < x.end {
			got, ok := gaps[0].take(goal, x.end-x.start)
			if !ok {
				if got, ok = gaps[1].take(goal, x.end-x.start); !ok {
					break
				}
			}
			given = append(given, blockRun{x.start, got.start, got.end - got.start})
			x.start += got.end - got.start
			goal = got.end
		}
	}
	o.blocks = mergeRuns(append(o.blocks, given...))
	phys := make([]extent, len(given))
	for i, b := range given {
		phys[i] = extent{b.physical, b.physical + b.length}
	}
	fs.taken = addExtents(fs.taken, phys)
}

// freeBlocks takes the blocks of the ranges xs of o back. mu must be held.
func (fs *FileSystem) freeBlocks(o *object, xs []extent) {
	if len(xs) == 0 || len(o.blocks) == 0 {
		return
	}
	var freed []extent
	for _, x := range xs {
		for _, b := range o.blocksAt(x) {
			freed = append(freed, extent{b.physical, b.physical + b.length})
		}
	}
	var left []blockRun
	for _, x := range cutExtents(o.placed(), xs) {
		left = append(left, o.blocksAt(x)...)
	}
	o.blocks = mergeRuns(left)
	fs.taken = cutExtents(fs.taken, addExtents(freed, nil))
}

// mergeRuns sorts runs and makes one of those that go on in each other on both sides.
func mergeRuns(runs []blockRun) []blockRun {
	slices.SortFunc(runs, func(a, b blockRun) int { return cmp.Compare(a.logical, b.logical) })
	merged := runs[:0]
	for _, b := range runs {
		if n := len(merged); n > 0 {
			if last := &merged[n-1]; last.logical+last.length == b.logical && last.physical+last.length == b.physical {
				last.length += b.length
				continue
			}
		}
		merged = append(merged, b)
	}
	return merged
}

// gapList is free room: sorted and apart.
type gapList struct{ gaps []extent }

// take takes n bytes at goal, or as many as there are, if goal is free; else where n
// bytes are free first; else the first room there is.
func (g *gapList) take(goal, n uint64) (extent, bool) {
	if len(g.gaps) == 0 {
		return extent{}, false
	}
	i, _ := slices.BinarySearchFunc(g.gaps, goal, func(x extent, at uint64) int { return cmp.Compare(x.end, at+1) })
	if i == len(g.gaps) || g.gaps[i].start > goal {
		i = max(slices.IndexFunc(g.gaps, func(x extent) bool { return x.end-x.start >= n }), 0)
		goal = g.gaps[i].start
	}
	x := g.gaps[i]
	got := extent{goal, min(goal+n, x.end)}
	g.gaps = slices.Replace(g.gaps, i, i+1, cutExtents([]extent{x}, []extent{got})...)
	return got, true
}

// placeFile gives o its blocks as they are now. mu must be held.
func (fs *FileSystem) placeFile(o *object) error {
	xs, err := o.extents()
	if err == nil {
		fs.place(o, xs)
	}
	return err
}

// files are the files that take room, by inode number. mu must be held.
func (fs *FileSystem) files() []*object {
	all := make([]*object, 0, len(fs.inodes))
	for o := range fs.inodes {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *object) int { return cmp.Compare(a.ino, b.ino) })
	return all
}
