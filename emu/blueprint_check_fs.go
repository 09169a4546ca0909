package emu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

func (c *blueprintCheck) fileSystem(f *fileSystemBlueprint) error {
	cfg := f.Config
	switch {
	case cfg.Type < Ext4 || cfg.Type > Tmpfs:
		return fmt.Errorf("its Type is %d, allowed are %d to %d", cfg.Type, Ext4, Tmpfs)
	case cfg.Size == 0 || cfg.Size > MaxSize || cfg.Size%pageSize != 0:
		return fmt.Errorf("its Size is %d, allowed is a multiple of %d from %d to %d", cfg.Size, pageSize, pageSize, uint64(MaxSize))
	case c.paths[f.Mount]:
		return errors.New("there is one mounted there already")
	case f.NextIno <= rootIno || f.NextIno > maxCount:
		return fmt.Errorf("its NextIno is %d, allowed are %d to %d", f.NextIno, rootIno+1, maxCount)
	case len(f.Inodes) == 0:
		return errors.New("it has no inodes, not even its root")
	}
	c.paths[f.Mount] = true
	err := c.medium(f)
	if err == nil {
		err = cfg.Region.check("Region")
	}
	if err != nil {
		return err
	}
	w := inodeCheck{blueprintCheck: c, fs: f, dirs: map[int]bool{}, entries: map[entry]bool{}}
	for i := range f.Inodes {
		if err := w.inode(&f.Inodes[i], i == 0); err != nil {
			return fmt.Errorf("inode %d %q: %w", f.Inodes[i].Ino, f.Inodes[i].Name, err)
		}
	}
	// A block belongs to one file.
	slices.SortFunc(w.blocks, func(a, b extent) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	for i := 1; i < len(w.blocks); i++ {
		if w.blocks[i].start < w.blocks[i-1].end {
			return fmt.Errorf("the blocks at %d belong to two files", w.blocks[i].start)
		}
	}
	return nil
}

// medium is what is wrong with the device under a file system.
func (c *blueprintCheck) medium(f *fileSystemBlueprint) error {
	cfg := f.Config
	if cfg.Type == Tmpfs {
		n, ok := numberIn("/mnt/tmpfs%d", f.Mount)
		root := f.Inodes[0]
		switch {
		case !ok || n >= c.Counts.Tmpfs || f.Device != 0 || cfg.DAX || cfg.VirtioPmem || !cfg.Region.isZero():
			return fmt.Errorf("it is a tmpfs on device %d, allowed are one of %d mounts, and no device, DAX or region",
				f.Device, c.Counts.Tmpfs)
		case len(f.Inodes) != 1 || f.NextIno != rootIno+1 || root.Mode != rootMode || root.AppendOnly || root.Immutable:
			return errors.New("it is a tmpfs with more than a new root, which is all there is after a boot")
		}
		return nil
	}
	dev := c.devices[f.Device]
	if dev == nil || dev.Class != classBlock || dev.Size != cfg.Size || f.Mount != fmt.Sprintf("/mnt/pmem%d", dev.Region) {
		return fmt.Errorf("it is on device %d, allowed are block devices of %d bytes whose number it has", f.Device, cfg.Size)
	}
	r := &c.Regions[dev.Region]
	switch virtio := !r.Legacy && len(r.DIMMs) == 0; {
	case cfg.VirtioPmem != virtio || cfg.Region.Legacy != r.Legacy:
		return fmt.Errorf("its VirtioPmem is %t and Region.Legacy %t, allowed on region %d are %t and %t",
			cfg.VirtioPmem, cfg.Region.Legacy, dev.Region, virtio, r.Legacy)
	case cfg.VirtioPmem && !cfg.Region.isZero():
		return fmt.Errorf("its Region is %+v, allowed for VirtioPmem is %+v", cfg.Region, Region{})
	}
	return nil
}

// entry is a name in a directory.
type entry struct {
	dir  int
	name raw
}

// inodeCheck is what the inodes of a file system must agree in.
type inodeCheck struct {
	*blueprintCheck
	fs        *fileSystemBlueprint
	before    uint64 // the inode number before
	dirs      map[int]bool
	entries   map[entry]bool
	blocks    []extent // of the block device
	allocated uint64   // bytes
	written   uint64
}

func (c *inodeCheck) inode(i *inodeBlueprint, root bool) error {
	if err := c.number(i.Number); err != nil {
		return err
	}
	at := entry{i.Parent, i.Name}
	switch {
	case i.Ino <= c.before || i.Ino < rootIno || i.Ino >= c.fs.NextIno:
		return fmt.Errorf("its Ino comes after %d, allowed are ascending ones from %d on below NextIno, %d", c.before, rootIno, c.fs.NextIno)
	case root && (!i.Directory || i.Parent != 0 || i.Name != "" || i.Ino != rootIno):
		return fmt.Errorf("it is the first, which must be the root: a directory without parent and name whose Ino is %d", rootIno)
	case !root && !c.dirs[i.Parent]:
		return fmt.Errorf("its Parent is %d, allowed are numbers of directories before it", i.Parent)
	case !root && (i.Name == "" || i.Name == "." || i.Name == ".." || len(i.Name) > maxName || strings.ContainsAny(string(i.Name), "/\x00")):
		return fmt.Errorf(`its Name has %d bytes, allowed are 1 to %d without "/" and zeroes, and not "." and ".."`, len(i.Name), maxName)
	case c.entries[at]:
		return errors.New("there are two of that name in one directory")
	case i.Mode&^0o7777 != 0:
		return fmt.Errorf("its Mode is %#o, allowed are permissions of at most 07777", i.Mode)
	case i.Directory && (i.Size != 0 || i.Allocated != nil || i.Written != nil):
		return errors.New("it is a directory with data")
	case c.fs.Device == 0 && i.Blocks != nil:
		return errors.New("there are blocks, and no block device")
	case i.Size > maxFileOffset:
		return fmt.Errorf("its Size is %d, allowed are at most %d", i.Size, uint64(maxFileOffset))
	}
	c.before = i.Ino
	c.entries[at] = true
	if i.Directory {
		c.dirs[i.Number] = true
	}
	return c.extents(i)
}

// extents is what is wrong with where a file or directory is.
func (c *inodeCheck) extents(i *inodeBlueprint) error {
	const end = maxFileOffset + 1
	err := errors.Join(checkExtents("Allocated", i.Allocated, pageSize, end), checkExtents("Written", i.Written, pageSize, end))
	if err != nil {
		return err
	}
	if c.allocated += bytesIn(i.Allocated); c.allocated > c.fs.Config.Size {
		return fmt.Errorf("its Allocated makes %d bytes for all files, allowed are %d", c.allocated, c.fs.Config.Size)
	}
	// Stores into holes aren't refused when the device is full.
	if c.written += bytesIn(i.Written); c.written > maxAddress {
		return fmt.Errorf("its Written makes %d bytes for all files, allowed are %d", c.written, uint64(maxAddress))
	}
	before := uint64(0)
	for _, b := range i.Blocks {
		size := c.fs.Config.Size
		if b.Length == 0 || (b.Logical|b.Physical|b.Length)%pageSize != 0 || b.Logical < before ||
			b.Logical > end || b.Length > end-b.Logical || b.Physical > size || b.Length > size-b.Physical {
			return fmt.Errorf("%d bytes at %d are on the blocks at %d, allowed are ascending ranges of multiples of %d, on blocks up to %d",
				b.Length, b.Logical, b.Physical, pageSize, size)
		}
		before = b.Logical + b.Length
		c.blocks = append(c.blocks, extent{b.Physical, b.Physical + b.Length})
	}
	return nil
}

func bytesIn(xs []extentBlueprint) uint64 {
	var n uint64
	for _, s := range xs {
		n += s.End - s.Start
	}
	return n
}
