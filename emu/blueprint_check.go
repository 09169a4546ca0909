package emu

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"math"
	"path"
	"strings"

	"pmemlab/pmem2/platform"
)

// What a blueprint may hold: it can come from a file that anyone has written.

const (
	maxPlanned = 1 << 20 // sysfs nodes, and objects: each takes a descriptor
	maxErrno   = 4095
	maxCount   = 1 << 40
	maxAddress = 1 << 62
	rootIno    = 2
	rootMode   = 0o755
)

// blueprintCheck is what the parts of a blueprint must agree in.
type blueprintCheck struct {
	*blueprint
	numbers map[int]bool // of objects
	devices map[int]*nodeBlueprint
	taken   map[int]bool // regions and block devices that have a device or file system
	dimms   map[int]bool
	rdevs   map[[2]uint64]bool
	paths   map[string]bool // of device nodes and mounts
}

// check says what is wrong with the blueprint, or with what it is changed into. It returns
// how many sysfs nodes it has.
func (b *blueprint) check() (sysfsNodes int, err error) {
	c := blueprintCheck{
		blueprint: b,
		numbers:   map[int]bool{}, devices: map[int]*nodeBlueprint{}, taken: map[int]bool{},
		dimms: map[int]bool{}, rdevs: map[[2]uint64]bool{}, paths: map[string]bool{},
	}
	if err := c.machine(); err != nil {
		return 0, fmt.Errorf("emu: blueprint: %w", err)
	}
	phys := uint64(firstRegion)
	for i := range b.Regions {
		if err := c.region(&b.Regions[i], phys); err != nil {
			return 0, fmt.Errorf("emu: blueprint: region %d: %w", i, err)
		}
		phys = b.Regions[i].Start + b.Regions[i].Size
	}
	if b.Phys < phys || b.Phys > maxAddress {
		return 0, fmt.Errorf("emu: blueprint: the next region begins from %#x on, allowed are %#x to %#x", b.Phys, phys, uint64(maxAddress))
	}
	for i := range b.Nodes {
		if err = c.node(&b.Nodes[i]); err == nil && i > 0 && b.Nodes[i].Number < b.Nodes[i-1].Number {
			err = fmt.Errorf("number %d comes after %d, allowed are ascending ones", b.Nodes[i].Number, b.Nodes[i-1].Number)
		}
		if err != nil {
			return 0, fmt.Errorf("emu: blueprint: device %q: %w", b.Nodes[i].Path, err)
		}
	}
	for i := range b.Regions {
		if b.Regions[i].BadListed && !c.taken[i] {
			return 0, fmt.Errorf("emu: blueprint: region %d lists bad blocks but has no device", i)
		}
	}
	for i := range b.FileSystems {
		if err := c.fileSystem(&b.FileSystems[i]); err != nil {
			return 0, fmt.Errorf("emu: blueprint: file system %q: %w", b.FileSystems[i].Mount, err)
		}
	}
	if where, err := b.Sysfs.check(0, len(b.Regions), &sysfsNodes); err != nil {
		return 0, fmt.Errorf("emu: blueprint: sysfs node %q %w", strings.TrimSuffix(where, "/"), err)
	}
	return sysfsNodes, nil
}

// allowed says what is wrong with the number v of what is called name.
func allowed[T int | uint64](name string, v, from, to T) error {
	if v < from || v > to {
		return fmt.Errorf("%s is %d, allowed are %d to %d", name, v, from, to)
	}
	return nil
}

func (c *blueprintCheck) machine() error {
	n := c.Counts
	errs := []error{
		allowed("Config.Model", int(c.Config.Model), int(X86), int(Arm64)),
		allowed("DIMMs", c.DIMMs, 0, maxPlanned),
		allowed("the number of regions", len(c.Regions), 0, maxPlanned),
		allowed("Counts.Dax", n.Dax, 0, maxPlanned), allowed("Counts.Block", n.Block, 0, maxPlanned),
		allowed("Counts.Tmpfs", n.Tmpfs, 0, maxPlanned), allowed("Counts.Virtio", n.Virtio, 0, maxPlanned),
		allowed("Counts.Bus", n.Bus, 0, maxPlanned), allowed("Counts.Inode", n.Inode, 0, maxPlanned),
		allowed("Counts.Object", n.Object, 0, maxCount),
	}
	if c.NVDIMMBus != "" {
		errs = append(errs, c.bus(c.NVDIMMBus))
	}
	return errors.Join(errs...)
}

// bus is what is wrong with the path of a bus in sysfs.
func (c *blueprintCheck) bus(p string) error {
	n, ok := numberIn("ndbus%d", path.Base(p))
	if !iofs.ValidPath(p) || !ok || n >= c.Counts.Bus {
		return fmt.Errorf("bus is %q, allowed are paths of one of %d", p, c.Counts.Bus)
	}
	return nil
}

// numberIn is the number that name has where format has %d.
func numberIn(format, name string) (n int, ok bool) {
	if _, err := fmt.Sscanf(name, format, &n); err != nil {
		return 0, false
	}
	return n, n >= 0 && fmt.Sprintf(format, n) == name
}

func (c *blueprintCheck) region(r *regionBlueprint, phys uint64) error {
	for _, n := range r.DIMMs {
		if n < 0 || n >= c.DIMMs || c.dimms[n] {
			return fmt.Errorf("its DIMM is %d, allowed are those below %d that no other region has", n, c.DIMMs)
		}
		c.dimms[n] = true
	}
	switch {
	case r.Start < phys || r.Start > maxAddress || r.Start%(128<<20) != 0:
		return fmt.Errorf("its Start is %#x, allowed is a multiple of 128 MiB from %#x to %#x", r.Start, phys, uint64(maxAddress))
	case r.InfoBlock != 2<<20 && r.InfoBlock != 1<<30:
		return fmt.Errorf("its InfoBlock is %d, allowed are %d and %d", r.InfoBlock, 2<<20, 1<<30)
	case r.Size <= r.InfoBlock || r.Size > 2*MaxSize || r.Size%pageSize != 0:
		return fmt.Errorf("its Size is %d, allowed is a multiple of %d above %d and at most %d", r.Size, pageSize, r.InfoBlock, uint64(2*MaxSize))
	case len(r.DIMMs) > maxDIMMs:
		return fmt.Errorf("there are %d DIMMs, allowed are at most %d", len(r.DIMMs), maxDIMMs)
	case (len(r.DIMMs) > 0) != (r.Bus == c.NVDIMMBus):
		return fmt.Errorf("there are %d DIMMs on the bus %q, where DIMMs are on %q", len(r.DIMMs), r.Bus, c.NVDIMMBus)
	case r.Legacy && len(r.DIMMs) > 0:
		return fmt.Errorf("there are %d DIMMs, allowed with Legacy are none", len(r.DIMMs))
	case !r.BadListed && r.Bad != nil:
		return errors.New("there are bad blocks, which the region doesn't list")
	}
	return errors.Join(
		c.bus(r.Bus),
		allowed("NUMANode", r.NUMANode, -1, maxNUMANode),
		allowed("TargetNode", r.TargetNode, -1, maxNUMANode),
		checkExtents("Bad", r.Bad, sectorSize, r.Size),
	)
}

// checkExtents says what is wrong with a list of ranges of whole units up to end.
func checkExtents(name string, xs []extentBlueprint, unit, end uint64) error {
	var before uint64
	for i, s := range xs {
		if i > 0 && s.Start <= before || s.End <= s.Start || s.End > end || (s.Start|s.End)%unit != 0 {
			return fmt.Errorf("%s has [%d, %d) behind %d, allowed are ranges of multiples of %d up to %d, ascending and apart",
				name, s.Start, s.End, before, unit, end)
		}
		before = s.End
	}
	return nil
}

// number is what is wrong with the number of an object.
func (c *blueprintCheck) number(n int) error {
	if n < 1 || n > c.Counts.Object || c.numbers[n] {
		return fmt.Errorf("number is %d, allowed are those from 1 to %d that no other object has", n, c.Counts.Object)
	}
	c.numbers[n] = true
	if len(c.numbers) > maxPlanned {
		return fmt.Errorf("it is one object more than the %d that are allowed", maxPlanned)
	}
	return nil
}

func (c *blueprintCheck) node(n *nodeBlueprint) error {
	if err := c.number(n.Number); err != nil {
		return err
	}
	rdev := platform.Stat{Rdev: n.Rdev}
	wantMode, minors := uint32(platform.SIFCHR), 0
	wantPath, wantRdev := n.Path, uint64(0)
	switch n.Class {
	case classDevDax:
		minors = c.Counts.Dax
		wantPath, wantRdev = fmt.Sprintf("/dev/dax%d.0", n.Region), platform.Mkdev(daxMajor, rdev.Minor())
	case classBlock:
		wantMode, minors = platform.SIFBLK, c.Counts.Block
		wantPath, wantRdev = fmt.Sprintf("/dev/pmem%d", n.Region), platform.Mkdev(blockMajor, rdev.Minor())
	default:
		minors = math.MaxInt
		if dev, ok := charDevices[n.Path]; ok && dev.class == n.Class {
			wantRdev = platform.Mkdev(dev.major, dev.minor)
		} else if bus, ok := numberIn("/dev/ndctl%d", n.Path); ok && bus < c.Counts.Bus && n.Class == classNull {
			wantRdev = platform.Mkdev(ndctlMajor, uint32(bus))
		} else if dimm, ok := numberIn("/dev/nmem%d", n.Path); ok && dimm < c.DIMMs && n.Class == classNull {
			wantRdev = platform.Mkdev(nvdimmMajor, uint32(dimm))
		} else {
			name, _ := n.Class.MarshalText()
			return fmt.Errorf("it is of class %q, which the machine has no such device of", name)
		}
	}
	key := [2]uint64{uint64(wantMode), n.Rdev}
	switch {
	case n.Path != wantPath || c.paths[n.Path]:
		return fmt.Errorf("its path is %q, allowed is %q, once", n.Path, wantPath)
	case n.Rdev != wantRdev || int(rdev.Minor()) >= minors || c.rdevs[key]:
		return fmt.Errorf("its Rdev is %#x, allowed is %#x, once, of %d minor numbers", n.Rdev, wantRdev, minors)
	case n.Mode&^0o7777 != wantMode:
		return fmt.Errorf("its Mode is %#o, allowed are %#o and permissions", n.Mode, wantMode)
	case n.Ino <= devtmpfsInode || n.Ino > uint64(devtmpfsInode+c.Counts.Inode) || c.rdevs[[2]uint64{0, n.Ino}]:
		return fmt.Errorf("its Ino is %d, allowed are those from %d to %d that no other device has",
			n.Ino, devtmpfsInode+1, devtmpfsInode+c.Counts.Inode)
	}
	c.paths[n.Path], c.rdevs[key], c.rdevs[[2]uint64{0, n.Ino}] = true, true, true
	c.devices[n.Number] = n
	if n.Class != classDevDax && n.Class != classBlock {
		if n.Size != 0 || n.Align != 0 || n.Region != -1 || n.Bad != nil {
			return fmt.Errorf("its Size is %d, Align %d, Region %d and there are %d bad blocks, allowed are 0, 0, -1 and none",
				n.Size, n.Align, n.Region, len(n.Bad))
		}
		return nil
	}
	return c.media(n)
}

// media is what is wrong with a device on a region.
func (c *blueprintCheck) media(n *nodeBlueprint) error {
	unit := uint64(pageSize)
	if n.Class == classDevDax {
		if unit = n.Align; unit != 4<<10 && unit != 2<<20 && unit != 1<<30 {
			return fmt.Errorf("its Align is %d, allowed are %d, %d and %d", n.Align, 4<<10, 2<<20, 1<<30)
		}
	} else if n.Align != 0 {
		return fmt.Errorf("its Align is %d, allowed is 0", n.Align)
	}
	if n.Region < 0 || n.Region >= len(c.Regions) || c.taken[n.Region] {
		return fmt.Errorf("its Region is %d, allowed are those below %d that no other device is on", n.Region, len(c.Regions))
	}
	c.taken[n.Region] = true
	r := &c.Regions[n.Region]
	if most := min(MaxSize, r.Size-r.InfoBlock); n.Size == 0 || n.Size%unit != 0 || n.Size > most {
		return fmt.Errorf("its Size is %d, allowed is a multiple of %d from %d to %d", n.Size, unit, unit, most)
	}
	if n.Bad != nil && !r.BadListed {
		return fmt.Errorf("there are bad blocks, and region %d doesn't list any", n.Region)
	}
	return checkExtents("Bad", n.Bad, sectorSize, n.Size)
}
