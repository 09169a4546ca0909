package emu

import (
	"reflect"
	"slices"

	"pmemlab/emu/persist"
)

// blueprintIndex is what is asked of a blueprint's objects by their numbers.
type blueprintIndex map[int]indexed

type indexed struct {
	path string
	size uint64 // in bytes
}

func (b *blueprint) index() blueprintIndex {
	all := blueprintIndex{}
	for i := range b.Nodes {
		all[b.Nodes[i].Number] = indexed{b.Nodes[i].Path, b.Nodes[i].Size}
	}
	for i := range b.FileSystems {
		fs := &b.FileSystems[i]
		for j := range fs.Inodes {
			n := &fs.Inodes[j]
			path := fs.Mount
			if n.Parent != 0 {
				path = all[n.Parent].path + "/" + string(n.Name) // each comes after its directory
			}
			all[n.Number] = indexed{path, n.Size}
		}
	}
	return all
}

// holds says whether some of the bytes of a cell at off are in an object of the index.
func (x blueprintIndex) holds(where func(off uint64) (int, uint64)) func(off uint64, size int) bool {
	return func(off uint64, _ int) bool {
		number, at := where(off)
		o, ok := x[number]
		return ok && at < o.size
	}
}

// trim is the images without the cells outside the objects, and without what cells differ in
// behind the end of one.
func (x blueprintIndex) trim(images *persist.Images, where func(off uint64) (int, uint64)) *persist.Images {
	return images.Edit(func(off uint64, size int) (uint64, bool, func([]byte)) {
		number, at := where(off)
		o, ok := x[number]
		if !ok || at >= o.size {
			return off, false, nil
		}
		if at+uint64(size) <= o.size {
			return off, true, nil
		}
		return off, true, func(content []byte) { clear(content[o.size-at:]) }
	})
}

// withNames is the blueprint with what the i-th file system said once.
func (b *blueprint) withNames(i int, names *fileSystemBlueprint) *blueprint {
	older := *b
	older.FileSystems = slices.Clone(b.FileSystems)
	older.FileSystems[i] = *names
	return &older
}

// same says whether the states of both are.
func (v *crashVersion) same(w *crashVersion) bool {
	for i := range v.boot.FileSystems {
		if !v.boot.FileSystems[i].sameNames(&w.boot.FileSystems[i]) {
			return false
		}
	}
	for number, o := range v.index {
		if !samePages(v.pages[number], w.pages[number], o.size) {
			return false
		}
	}
	return reflect.DeepEqual(v.images, w.images)
}

// samePages says whether two objects of one size hold the same, which is durable.
func samePages(a, b map[uint64]*mediaPage, size uint64) bool {
	if reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() {
		return true
	}
	within := func(a, b map[uint64]*mediaPage) bool {
		var zero mediaPage
		for i, p := range a {
			q := b[i]
			if q == nil {
				q = &zero
			}
			if at := i * pageSize; p != q && at < size {
				if n := min(pageSize, size-at); string(p.data[:n]) != string(q.data[:n]) {
					return false
				}
			}
		}
		return true
	}
	return within(a, b) && within(b, a)
}

// sameNames: names, sizes and attributes are the same; where the blocks lie doesn't matter.
func (f *fileSystemBlueprint) sameNames(g *fileSystemBlueprint) bool {
	if len(f.Inodes) != len(g.Inodes) {
		return false
	}
	for i := len(f.Inodes) - 1; i >= 0; i-- { // the newest differ most often
		a, b := f.Inodes[i], g.Inodes[i]
		for _, n := range [...]*inodeBlueprint{&a, &b} {
			n.Allocated, n.Written, n.Blocks = nil, nil, nil
		}
		if !reflect.DeepEqual(a, b) {
			return false
		}
	}
	return true
}
