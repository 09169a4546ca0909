package fuzz

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// askGranularity maps with MAP_SYNC, or without. The input gives the persistence domain of
// each region, and after them the names on the bus if it isn't as the variant has it.
func (i *sysfsInstance) askGranularity(variant byte) (bool, error) {
	m := i.machine
	m.bus = m.bus[:0]
	regions := int(variant % 4)
	if names, told := i.section(regions); told {
		i.listBus(names)
	} else {
		m.bus = append(m.bus, model.Entry{Name: "nmem0", Attr: model.Attr{Errno: syscall.ENOENT}})
		for _, name := range regionNames[:regions] {
			m.bus = append(m.bus, model.Entry{Name: name})
		}
	}
	found := 0
	for k := range m.bus {
		e := &m.bus[k]
		if !strings.HasPrefix(e.Name, "region") {
			continue
		}
		e.Attr = model.Attr{Text: "cpu_cache\n"}
		if d, told := i.section(found); told && found < regions {
			e.Attr = d
		}
		found++
		for _, before := range m.bus[:k] {
			if before.Name == e.Name { // a directory has a name once, this one twice
				e.Attr = before.Attr
			}
		}
	}
	m.unsynced = variant&0x30 == 0x10
	required := pmem2.GranularityPage
	if variant >= 0x80 {
		required = pmem2.Granularity(variant >> 6 & 1)
	}
	accepted, err := i.granularity(required)
	m.unsynced = false
	m.defaultBus()
	return accepted, err
}

// regionNames are those of the regions that are on the bus at most.
var regionNames = []string{"region0", "region1", "region12"}

// listBus puts what is between slashes on the bus.
func (i *sysfsInstance) listBus(names model.Attr) {
	m := i.machine
	m.bus, m.listing = m.bus[:0], names.Errno
	if names.Errno == 0 {
		for name := range strings.SplitSeq(names.Text, "/") {
			m.bus = append(m.bus, model.Entry{Name: name})
		}
	}
}

func (i *sysfsInstance) granularity(required pmem2.Granularity) (bool, error) {
	want, g := model.OK, pmem2.GranularityPage
	if !i.machine.unsynced {
		g = model.SyncedGranularity(i.machine.bus, i.machine.listing)
	}
	if g > required {
		want = model.Fails(pmem2.ErrGranularityNotSupported)
	}
	mapped, err := pmem2.NewMap(i.configs[required], i.file)
	var got pmem2.Granularity
	if err == nil {
		got = mapped.StoreGranularity()
		if failure := mapped.Delete(); failure != nil {
			return false, failure
		}
	}
	return err == nil, differs(err, uint64(got), want, uint64(g))
}

// askSubsystem makes a source of a character device, or asks one that there is for its size.
func (i *sysfsInstance) askSubsystem(variant byte) (bool, error) {
	var err error
	if variant%2 == 0 {
		_, err = pmem2.SourceFromFD(deviceFD, pmem2.On(i.machine))
	} else {
		_, err = i.device.Size()
	}
	return err == nil, differs(err, 0, model.CharacterDevice(i.machine.attrs[attrSubsystem]), 0)
}

// onRegion puts names on the bus if the input gives some, behind the link.
func (i *sysfsInstance) onRegion(link int) (string, model.Result) {
	m := i.machine
	if names, told := i.section(1); told {
		i.listBus(names)
	}
	return model.OnRegion(m.attrs[link], m.bus, m.listing)
}

// askRegion asks for what a device DAX has by its region.
func (i *sysfsInstance) askRegion(variant byte) (bool, error) {
	region, want := i.onRegion(attrDevice)
	var got uint64
	var err error
	missing := pmem2.ErrDaxRegionNotFound
	switch variant % 4 {
	case 0:
		var node int
		node, err = i.device.NUMANode()
		got = uint64(node)
	case 1:
		got, err = i.device.DeviceUSC()
		missing = pmem2.ErrNoSupp
	case 2:
		_, err = i.device.DeviceID()
		missing = pmem2.ErrNoSupp
	case 3:
		err = i.mapped.DeepFlushRange(i.mapped.Address(), 64)
	}
	i.machine.defaultBus()
	number := uint64(0)
	switch {
	case want != model.OK:
	case region == "":
		want = model.Fails(missing)
	case variant%4 == 3:
	case region != "region0":
		want = model.Fails(pmem2.ErrNoSupp) // it has no attribute at all
	case variant%4 == 1:
		number = 5
	}
	return err == nil, differs(err, got, want, number)
}

// sysfsRoots are what is in sysfs: hardly ever nothing.
var sysfsRoots = [8][]string{{"bus"}, {"bus"}, {"bus"}, {"bus"}, {"bus"}, {"bus"}, {"bus"}, nil}

// askDisk asks for the bad blocks of a file, of which there is none.
func (i *sysfsInstance) askDisk(variant byte) (bool, error) {
	region, want := i.onRegion(attrBlock)
	root := sysfsRoots[variant%8]
	if want == model.OK && region == "" && len(root) == 0 {
		want = model.Fails(pmem2.ErrNoSupp)
	}
	i.machine.root = root
	c, err := pmem2.NewBadBlockContext(i.file)
	i.machine.root = sysfsRoots[0]
	i.machine.defaultBus()
	if err := differs(err, 0, want, 0); err != nil || c == nil {
		return false, err
	}
	return true, i.compareBad(c, nil)
}

// askFileBad lists the bad blocks of a file. The variant picks where it lies and how long a
// list can be.
func (i *sysfsInstance) askFileBad(variant byte) (bool, error) {
	m := i.machine
	m.layout = &fileLayouts[int(variant&15)%len(fileLayouts)]
	if smallPage(variant) {
		m.page = 64
	}
	if _, told := i.section(2); !told && variant&0x40 != 0 {
		m.attrs[attrPartition] = model.Attr{Text: "1\n"}
	}
	_, link := i.section(1)
	if link || variant&0x40 != 0 {
		m.attrs[attrBlock].Text = "../../" + partPlace
	} else {
		m.attrs[attrPartition] = model.Attr{Errno: syscall.ENOENT}
	}
	f := model.BadFile{
		Pieces: i.pieces[:0], Block: uint64(m.layout.block), Page: m.page,
		Partition: m.attrs[attrPartition], First: m.attrs[attrFirst], List: m.attrs[attrDiskBad],
	}
	for _, e := range m.layout.extents {
		if e.Flags&^last == 0 {
			f.Pieces = append(f.Pieces, model.Piece{Logical: e.Logical, Extent: model.Extent{Start: e.Physical, Size: e.Length}})
		}
	}
	i.pieces = f.Pieces
	if link || variant&0x40 != 0 {
		// Where sysfs doesn't call it a partition, it is a disk without a list.
		if m.attrs[attrPartition].Errno == syscall.ENOENT {
			f.List = model.Attr{Errno: syscall.ENOENT}
		}
	}
	bad, want := f.BadBlocks(i.bad[:0])
	i.bad = bad
	c, err := pmem2.NewBadBlockContext(i.file)
	m.layout, m.page, m.attrs[attrBlock] = &fileLayouts[0], 4096, defaultAttrs[attrBlock]
	if err := differs(err, 0, want, 0); err != nil || c == nil {
		return false, err
	}
	return true, i.compareBad(c, bad)
}

// askDeviceBad lists the bad blocks of a device DAX.
func (i *sysfsInstance) askDeviceBad(variant byte) (bool, error) {
	m := i.machine
	if smallPage(variant) {
		m.page = 64
	}
	if variant&1 != 0 { // with the class model of old kernels
		m.attrs[attrDevice].Text = "../../" + daxPlace + "/dax/dax0.0"
	}
	bad, want := model.BadDevice{
		Region: m.attrs[attrRegionStart], Start: m.attrs[attrStart], Size: m.attrs[attrNamespaceSize],
		List: m.attrs[attrRegionBad], Page: m.page,
	}.BadBlocks(i.bad[:0])
	i.bad = bad
	c, err := pmem2.NewBadBlockContext(i.device)
	m.page, m.attrs[attrDevice] = 4096, defaultAttrs[attrDevice]
	if err := differs(err, 0, want, 0); err != nil || c == nil {
		return false, err
	}
	return true, i.compareBad(c, bad)
}

// compareBad takes all bad blocks from a context.
func (i *sysfsInstance) compareBad(c *pmem2.BadBlockContext, want []model.Extent) error {
	for k := 0; ; k++ {
		b, err := c.Next()
		switch {
		case err != nil && k == len(want) && errors.Is(err, pmem2.ErrNoBadBlockFound):
			return c.Delete()
		case err != nil:
			return fmt.Errorf("after %d bad blocks got %w, want %v", k, err, want)
		case k == len(want):
			return fmt.Errorf("got a bad block of %d bytes at %d behind %d others, want %v", b.Length, b.Offset, k, want)
		case b.Offset != want[k].Start || b.Length != want[k].Size:
			return fmt.Errorf("got as number %d a bad block of %d bytes at %d, want %v", k, b.Length, b.Offset, want)
		}
	}
}

// askDeepFlush has a range of a device DAX flushed; the kernel may refuse.
func (i *sysfsInstance) askDeepFlush(variant byte) (bool, error) {
	m := i.machine
	m.writeAnswer = [8]syscall.Errno{syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EIO}[variant%8]
	told, want := model.DeepFlush(m.attrs[attrDeepFlush], m.writeAnswer)
	m.written = 0
	err := i.mapped.DeepFlushRange(i.mapped.Address(), 64)
	m.writeAnswer = 0
	if (m.written == 1) != told || m.written > 1 {
		return false, fmt.Errorf("the region is told %d times, want %t", m.written, told)
	}
	return err == nil, differs(err, 0, want, 0)
}

var _ platform.Platform = (*textMachine)(nil)
