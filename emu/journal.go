package emu

// What a file system says of names, sizes and blocks gets to the media in the order of the
// changes, some time or at the next fsync or msync, which commits all of it, as the
// journals of ext4 and xfs do. Until then a power failure leaves what it was before any of
// the changes since.

// fsVersion is what a file system said at some time since its journal was committed.
type fsVersion struct {
	names *fileSystemBlueprint
	// lost are the pages of files, by the number of the object, that went when this wasn't the
	// newest version any more.
	lost map[int]map[uint64]*mediaPage
}

// maxVersions bounds how many versions of a file system are kept: the oldest and the newest.
const maxVersions = 64

// journal notes that names, sizes or blocks are about to change. The machine's mu must be
// held.
func (fs *FileSystem) journal() {
	if fs == nil {
		return
	}
	fs.m.altered++
	if fs.cfg.Type == Tmpfs || fs.root == nil || fs.m.mem.off {
		return
	}
	if len(fs.versions) == maxVersions {
		fs.versionsLost = true
		last := fs.versions[maxVersions-1]
		fs.versions = fs.versions[:maxVersions-1]
		fs.versions[maxVersions-2].keep(last.lost)
	}
	fs.versions = append(fs.versions, &fsVersion{names: fs.blueprint()})
}

func (o *object) journal() { o.fs.journal() }

// keep adds lost pages, of which older ones count.
func (v *fsVersion) keep(lost map[int]map[uint64]*mediaPage) {
	for number, pages := range lost {
		if v.lost == nil {
			v.lost = map[int]map[uint64]*mediaPage{}
		}
		if v.lost[number] == nil {
			v.lost[number] = map[uint64]*mediaPage{}
		}
		for i, page := range pages {
			if v.lost[number][i] == nil {
				v.lost[number][i] = page
			}
		}
	}
}

// keepLost keeps what was cut off o for the version of its file system in which it was there.
func (o *object) keepLost(pages map[uint64]*mediaPage) {
	if o.fs == nil || len(o.fs.versions) == 0 || len(pages) == 0 {
		return
	}
	o.fs.versions[len(o.fs.versions)-1].keep(map[int]map[uint64]*mediaPage{o.number: pages})
}

// commit makes all that the file system says durable. The machine's mu must be held.
func (fs *FileSystem) commit() {
	if fs != nil {
		fs.versions, fs.versionsLost = nil, false
	}
}

// released lets go of what is known of o, which has neither a name nor users.
func (d *durability) released(o *object) {
	if mem := d.memory(o); mem != nil && !d.off {
		for _, n := range o.spans {
			mem.Discard(n<<spanBits, 1<<spanBits)
		}
		o.keepLost(d.media.cut(o, 0, everything.end))
	}
	d.media.drop(o)
}
