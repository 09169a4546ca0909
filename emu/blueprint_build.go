package emu

import (
	"errors"
	"fmt"
	"slices"

	"pmemlab/pmem2/platform"
)

// build makes the machine that the blueprint tells of. Its memory is all zeroes, and takes
// no room. The error says which value of the blueprint isn't allowed, or that the host has
// no descriptors left; nothing stays behind then.
func (b *blueprint) build() (*Machine, error) {
	sysfsNodes, err := b.check()
	if err != nil {
		return nil, err
	}
	cfg := b.Config
	cfg.EADR = b.EADR // as it is from now on
	m := NewMachine(cfg)
	m.cfg = b.Config
	if err := m.furnish(b, sysfsNodes); err != nil {
		return nil, errors.Join(err, m.Shutdown())
	}
	return m, nil
}

// furnish makes all that the blueprint, which was checked, tells of.
func (m *Machine) furnish(b *blueprint, sysfsNodes int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil { // what is wrong with the config
		return m.err
	}
	m.phys, m.nvdimmBus = b.Phys, b.NVDIMMBus
	for n := range b.DIMMs {
		m.nmems = append(m.nmems, fmt.Sprintf("%s/nmem%d", b.NVDIMMBus, n))
	}
	for i := range b.Regions {
		p := &b.Regions[i]
		m.regions = append(m.regions, &region{
			number: i, bus: p.Bus, dir: fmt.Sprintf("%s/region%d", p.Bus, i),
			start: p.Start, size: p.Size, infoBlock: p.InfoBlock,
			numaNode: p.NUMANode, targetNode: p.TargetNode, nmems: slices.Clone(p.DIMMs),
			legacy: p.Legacy, readOnly: p.ReadOnly, flushHints: p.FlushHints,
		})
	}
	m.rebuildSysfs(&b.Sysfs, sysfsNodes)
	blocks := map[int]*object{}
	for i := range b.Nodes {
		o, err := m.furnishNode(b, &b.Nodes[i])
		if err != nil {
			return err
		}
		blocks[o.number] = o
	}
	for i := range b.FileSystems {
		p := &b.FileSystems[i]
		if err := m.furnishFS(p, blocks[p.Device]); err != nil {
			return err
		}
	}
	n := b.Counts
	m.counts.dax, m.counts.block, m.counts.tmpfs, m.counts.virtio = n.Dax, n.Block, n.Tmpfs, n.Virtio
	m.counts.bus, m.counts.inode, m.counts.object = n.Bus, n.Inode, n.Object
	return nil
}

// furnishNode makes a device node. mu must be held.
func (m *Machine) furnishNode(b *blueprint, p *nodeBlueprint) (*object, error) {
	o := &object{
		class: p.Class, mode: p.Mode, rdev: p.Rdev, size: p.Size, align: p.Align,
		bad: extentsOf(p.Bad), badPages: pagesOfAll(extentsOf(p.Bad)),
	}
	m.counts.object = p.Number - 1
	m.counts.inode = int(p.Ino) - devtmpfsInode - 1
	if err := m.addNode(p.Path, o, p.Size); err != nil {
		return nil, err
	}
	if p.Region >= 0 {
		o.region = m.regions[p.Region]
		if r := &b.Regions[p.Region]; r.BadListed {
			m.badOf(o).list = extentsOf(r.Bad)
		}
	}
	return o, nil
}

// furnishFS makes a file system on the block device node; nil is a tmpfs. mu must be held.
func (m *Machine) furnishFS(p *fileSystemBlueprint, node *object) error {
	fs := &FileSystem{m: m, cfg: p.Config, mount: p.Mount, node: node, inodes: map[*object]struct{}{}}
	fs.cfg.Region.DIMMs = slices.Clone(p.Config.Region.DIMMs)
	if node == nil {
		n, _ := numberIn("/mnt/tmpfs%d", p.Mount)
		fs.dev = platform.Mkdev(0, uint32(firstTmpfsMinor+n))
		fs.block = tmpfsBlock(fs)
	} else {
		node.holds = fs
		fs.dev = node.rdev
		fs.block = m.deviceOn(node)
	}
	dirs := map[int]*object{}
	var taken []extent
	for i := range p.Inodes {
		o, err := fs.furnishInode(&p.Inodes[i], dirs[p.Inodes[i].Parent])
		if err != nil {
			return err
		}
		if o.class == classDirectory {
			dirs[o.number] = o
		}
		for _, b := range o.blocks {
			taken = append(taken, extent{b.physical, b.physical + b.length})
		}
	}
	fs.taken = addExtents(taken, nil)
	fs.nextIno = p.NextIno
	m.mounts = append(m.mounts, fs)
	return nil
}

// furnishInode makes a file or directory in the directory dir; nil makes the root. The
// machine's mu must be held.
func (fs *FileSystem) furnishInode(p *inodeBlueprint, dir *object) (*object, error) {
	c, name := classRegular, fs.mount
	if p.Directory {
		c = classDirectory
	}
	if dir != nil {
		if name = dir.name + "/" + string(p.Name); len(name) > maxPath {
			name = fs.mount + "/…/" + string(p.Name)
		}
	}
	fs.m.counts.object = p.Number - 1
	fs.nextIno = p.Ino
	o, err := fs.newInode(c, name, p.Mode)
	if err != nil {
		return nil, err
	}
	if dir == nil {
		o.parent = o
		fs.root = o
	} else {
		dir.children[string(p.Name)] = o
		if p.Directory {
			o.parent = dir
		}
	}
	o.appendOnly, o.immutable = p.AppendOnly, p.Immutable
	o.allocated, o.zeroed = extentsOf(p.Allocated), extentsOf(p.Written)
	for _, b := range p.Blocks {
		o.blocks = append(o.blocks, blockRun{b.Logical, b.Physical, b.Length})
	}
	if fs.node != nil && len(fs.node.bad) > 0 { // as in poison
		o.badPages = pagesOfAll(o.badBytes())
		o.zeroed = addExtents(o.zeroed, o.badPages)
	}
	if p.Directory || p.Size == 0 {
		return o, nil
	}
	if err := fs.m.host.Ftruncate(o.keeper, int64(p.Size)); err != nil {
		return nil, fmt.Errorf("emu: no %d bytes for %s: %w", p.Size, name, err)
	}
	return o, nil
}
