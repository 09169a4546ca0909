package emu

import (
	"reflect"
	"slices"
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

// withNames is the blueprint with what the i-th file system said once.
func (b *blueprint) withNames(i int, names *fileSystemBlueprint) *blueprint {
	older := *b
	older.FileSystems = slices.Clone(b.FileSystems)
	older.FileSystems[i] = *names
	return &older
}

// sameNames: names, sizes and attributes are the same; where the blocks lie doesn't matter.
func (f *fileSystemBlueprint) sameNames(g *fileSystemBlueprint) bool {
	return reflect.DeepEqual(f.bareInodes(), g.bareInodes())
}

func (f *fileSystemBlueprint) bareInodes() []inodeBlueprint {
	bare := slices.Clone(f.Inodes)
	for i := range bare {
		bare[i].Allocated, bare[i].Written, bare[i].Blocks = nil, nil, nil
	}
	return bare
}
