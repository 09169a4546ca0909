package emu

import (
	"cmp"
	"slices"
)

// What a file system says of names, sizes and blocks gets to the media in the order of the
// changes, some time or at the next fsync or msync, which commits all of it, as the
// journals of ext4 and xfs do. Until then a power failure leaves what it was before any of
// the changes since.

// fsVersion is what a file system said before a change, or several, since its journal was
// committed: by what it differed from the next version, or from what it says now.
type fsVersion struct {
	created map[int]bool // the numbers of files and directories that weren't there yet
	// inodes are what others were. Those with a Parent weren't gone yet.
	inodes map[int]inodeBlueprint
	// lost is what of files went with the change, in the order in which it did.
	lost []lostRange
}

// maxVersions bounds how many versions of a file system are kept; changes past it are taken
// for one with the last.
const maxVersions = 64

// journal notes that names, sizes or blocks are about to change; its methods tell of what. It
// may be nil. The machine's mu must be held.
func (fs *FileSystem) journal() *fsVersion {
	if fs == nil {
		return nil
	}
	fs.m.altered++
	if fs.cfg.Type == Tmpfs || fs.root == nil || fs.m.mem.off {
		return nil
	}
	fs.m.catchUp() // what was stored before the change can't have committed it
	if len(fs.versions) == maxVersions {
		fs.versionsLost = true
		return fs.versions[maxVersions-1]
	}
	v := &fsVersion{created: map[int]bool{}, inodes: map[int]inodeBlueprint{}}
	fs.versions = append(fs.versions, v)
	return v
}

// creates: o wasn't there before.
func (v *fsVersion) creates(o *object) {
	if v != nil {
		v.created[o.number] = true
	}
}

// changes: o is about to change in size, blocks or attributes.
func (v *fsVersion) changes(o *object) {
	if v == nil || v.created[o.number] {
		return
	}
	if _, ok := v.inodes[o.number]; ok {
		return
	}
	v.lookBefore(o)
	b, err := o.tell()
	if err != nil {
		o.fs.m.remember(err)
	}
	v.inodes[o.number] = b
}

// removes: the name of o in dir is about to go, and o with it.
func (v *fsVersion) removes(o, dir *object, name string) {
	if v == nil || v.created[o.number] {
		return
	}
	v.changes(o)
	b := v.inodes[o.number]
	b.Parent, b.Name = dir.number, raw(name)
	v.inodes[o.number] = b
}

// before is what the file system said in version v, after which it said newer.
func (v *fsVersion) before(newer *fileSystemBlueprint) *fileSystemBlueprint {
	older := *newer
	older.Inodes = nil
	there := map[int]bool{}
	for _, n := range newer.Inodes {
		if v.created[n.Number] {
			continue
		}
		there[n.Number] = true
		if was, ok := v.inodes[n.Number]; ok {
			was.Parent, was.Name = n.Parent, n.Name
			n = was
		}
		older.Inodes = append(older.Inodes, n)
	}
	for number, was := range v.inodes {
		if !there[number] && was.Parent != 0 {
			older.Inodes = append(older.Inodes, was)
		}
	}
	slices.SortFunc(older.Inodes, func(a, b inodeBlueprint) int { return cmp.Compare(a.Ino, b.Ino) })
	// Blocks that were given to others since are found anew when somebody asks.
	var taken []extent
	for _, restored := range [...]bool{false, true} {
		for i := range older.Inodes {
			n := &older.Inodes[i]
			if _, ok := v.inodes[n.Number]; ok != restored {
				continue
			}
			for _, b := range n.Blocks {
				if restored && coveredBytes(taken, extent{b.Physical, b.Physical + b.Length}) > 0 {
					n.Blocks = nil
					break
				}
			}
			for _, b := range n.Blocks {
				taken = addExtents(taken, []extent{{b.Physical, b.Physical + b.Length}})
			}
		}
	}
	return &older
}

// lookBefore finds what the program has stored in o before the change.
func (v *fsVersion) lookBefore(o *object) {
	fs := o.fs
	if last := len(fs.versions) - 1; o.mapped && o.kept() != keptNot && fs.versions[last] == v {
		fs.versions = fs.versions[:last] // such a store commits changes before this one at most
		fs.m.look(o, extent{0, o.lastSize()})
		fs.versions = append(fs.versions, v)
	}
}

// commit makes all that the file system says durable. The machine's mu must be held.
func (fs *FileSystem) commit() {
	if fs != nil {
		fs.versions, fs.versionsLost = nil, false
	}
}

// commitInode makes durable what was done to o, and what was done before that.
func (fs *FileSystem) commitInode(o *object) {
	i := len(fs.versions) - 1
	if fs.versionsLost {
		i-- // the last one stands for changes of others since, too
	}
	for ; i >= 0; i-- {
		v := fs.versions[i]
		if _, ok := v.inodes[o.number]; ok || v.created[o.number] {
			fs.versions = slices.Delete(fs.versions, 0, i+1)
			fs.versionsLost = fs.versionsLost && len(fs.versions) == maxVersions
			return
		}
	}
}

// released lets go of what is known of o, which has neither a name nor users.
func (d *durability) released(o *object) {
	d.faulted.forget(o, everything)
	if mem := d.memory(o); mem != nil && !d.off {
		waiting := d.waiting(o, everything)
		for _, n := range o.spans {
			mem.Discard(n<<spanBits, 1<<spanBits)
		}
		o.keepLost(everything, waiting, d.media.cut(o, 0, everything.end))
	}
	d.media.drop(o)
}
