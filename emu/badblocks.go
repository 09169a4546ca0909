package emu

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// Bad blocks. Media has them in sectors of 512 bytes, mappings fault by pages of 4 KiB,
// and what a bad sector held is lost from the moment on in which it goes bad. See
// badblocks_maps.go for the mappings and badblocks_io.go for reads and writes.
//
// As in Linux there are two lists for a block device. That of its region is the media's,
// which ClearError of the bus cuts; that of the block device is what its driver goes by,
// and only the driver cuts it, after it has cleared the media: when bad blocks are
// written over. A device DAX has no list of its own.

const sectorSize = 512

// BadBlock is a range of bad bytes of a device or file, in bytes: whole sectors of 512.
type BadBlock struct{ Offset, Length uint64 }

// AddBadBlock makes the bytes [off, off+length) of the device bad, with the rest of the
// sectors of 512 bytes that they are in: a device DAX instance, or the block device of a
// file system, where what lies on it of the files goes bad too. What they held is lost,
// and until the bad block is cleared every access to its 4 KiB page through a mapping is
// a SIGBUS (si_code BUS_ADRERR), on every mapping that there is or will be. A page of a
// private mapping that was written to is the process's own and isn't concerned; one
// that is being written to for the first time while AddBadBlock runs may be lost.
//
// The other sectors of the page keep their bytes. The attribute badblocks of the region,
// and of the block device, lists it.
//
// An allocated page of a file without data counts as written from then on. (On a real
// machine loads from it read zeroes, and the first store heals it.)
//
// A block of a file is cleared by a write of whole pages over it, unless the firmware
// can't, and by [Machine.ClearError] on a device DAX. A file is also healed by punching
// the hole and allocating it again: the bad block stays bad, and no file gets it.
//
// The error wraps EINVAL if length is 0 or the range isn't inside the device, and ENODEV
// if the device has no media or the machine is shut down.
func (d *Device) AddBadBlock(off, length uint64) error {
	if d.err != nil {
		return d.err
	}
	if d.region == nil {
		return fmt.Errorf("emu: %s has no media that could have bad blocks: %w", d.path, syscall.ENODEV)
	}
	x, err := sectorsOf(d.path, off, length, d.size)
	if err != nil {
		return err
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	o, err := d.medium()
	if err != nil {
		return err
	}
	return d.m.poison(o, []extent{x})
}

// BadBlocks returns the bad blocks of the device, ascending and apart: of a block device
// those that its driver goes by.
func (d *Device) BadBlocks() []BadBlock {
	if d.region == nil {
		return nil
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	o, err := d.medium()
	if err != nil {
		return nil
	}
	return badBlocks(o.bad)
}

func badBlocks(xs []extent) []BadBlock {
	bad := make([]BadBlock, len(xs))
	for i, x := range xs {
		bad[i] = BadBlock{Offset: x.start, Length: x.end - x.start}
	}
	return bad
}

// sectorsOf is the sectors that hold [off, off+length) of what is called name.
func sectorsOf(name string, off, length, size uint64) (extent, error) {
	if length == 0 || off > size || length > size-off {
		return extent{}, fmt.Errorf("emu: bad block of %d bytes at %d, allowed is at least one byte inside the %d of %s: %w",
			length, off, size, name, syscall.EINVAL)
	}
	return extent{off &^ (sectorSize - 1), roundUp(off+length, sectorSize)}, nil
}

// medium is the object of a device that has a region. mu must be held.
func (d *Device) medium() (*object, error) {
	if d.m.down {
		return nil, errDown
	}
	o := d.m.nodes[d.path]
	if o == nil {
		return nil, fmt.Errorf("emu: there is no %s: %w", d.path, syscall.ENODEV)
	}
	o.region = d.region
	return o, nil
}

// AddBadBlock makes the blocks bad that the bytes [off, off+length) of the file name are
// on, as [Device.AddBadBlock] does. They must be allocated: written, or given by
// fallocate. The error wraps EINVAL if length is 0 or the range wraps or isn't
// allocated, EISDIR for a directory and ENODEV on a tmpfs.
func (fs *FileSystem) AddBadBlock(name string, off, length uint64) error {
	if err := fs.hasMedia(); err != nil {
		return err
	}
	x, err := sectorsOf(fs.Path(name), off, length, math.MaxInt64)
	if err != nil {
		return err
	}
	var hole error
	err = fs.do("add bad block", name, func() error {
		o, err := fs.findFile(name)
		if err != nil {
			return err
		}
		if err := fs.placeFile(o); err != nil {
			return err
		}
		if rest := cutExtents([]extent{x}, o.placed()); len(rest) > 0 {
			hole = fmt.Errorf("emu: bad block of %d bytes at %d of %s: the bytes from %d to %d are no allocated ones: %w",
				length, off, fs.Path(name), rest[0].start, rest[0].end, syscall.EINVAL)
			return nil
		}
		var physical []extent
		for _, b := range o.blocksAt(x) {
			physical = append(physical, extent{b.physical, b.physical + b.length})
		}
		return fs.m.poison(fs.node, addExtents(physical, nil))
	})
	return errors.Join(err, hole)
}

// BadBlocks returns the bad blocks under the file name, in bytes of the file, ascending
// and apart.
func (fs *FileSystem) BadBlocks(name string) ([]BadBlock, error) {
	if err := fs.hasMedia(); err != nil {
		return nil, err
	}
	var bad []BadBlock
	err := fs.do("bad blocks", name, func() error {
		o, err := fs.findFile(name)
		if err == nil {
			bad = badBlocks(o.badBytes())
		}
		return err
	})
	return bad, err
}

// findFile finds the regular file name. The machine's mu must be held.
func (fs *FileSystem) findFile(name string) (*object, error) {
	o, err := fs.find(name)
	if err == nil && o.class == classDirectory {
		err = syscall.EISDIR
	}
	return o, err
}

func (fs *FileSystem) hasMedia() error {
	if fs.err == nil && !fs.onBlocks() {
		return fmt.Errorf("emu: %s is a tmpfs, which has no media that could have bad blocks: %w", fs.mount, syscall.ENODEV)
	}
	return fs.err
}

// regionBad are the bad blocks of a region.
type regionBad struct {
	list    []extent // in bytes of the region
	devices []*object
}

// badOf is the list of the region under the device o. mu must be held.
func (m *Machine) badOf(o *object) *regionBad {
	if m.bad == nil {
		m.bad = map[*region]*regionBad{}
	}
	b := m.bad[o.region]
	if b == nil {
		b = &regionBad{}
		m.bad[o.region] = b
	}
	if !slices.Contains(b.devices, o) {
		b.devices = append(b.devices, o)
	}
	return b
}

// badBytes is the bad bytes of o, in whole sectors. mu must be held.
func (o *object) badBytes() []extent {
	if o.class != classRegular {
		return o.bad
	}
	return o.badUnder(o.fs.node.bad)
}

// badUnder is the bytes of the file o that are on the bytes bad of the block device.
func (o *object) badUnder(bad []extent) []extent {
	var xs []extent
	for _, b := range o.blocks {
		for _, x := range overlapping(bad, extent{b.physical, b.physical + b.length}) {
			xs = append(xs, extent{b.logical + x.start - b.physical, b.logical + x.end - b.physical})
		}
	}
	return addExtents(xs, nil)
}

// overlapping is the parts of the sorted list xs that are in x.
func overlapping(xs []extent, x extent) []extent {
	i, _ := slices.BinarySearchFunc(xs, x.start, func(e extent, at uint64) int { return cmp.Compare(e.end, at+1) })
	var in []extent
	for _, e := range xs[i:] {
		if e.start >= x.end {
			break
		}
		in = append(in, extent{max(e.start, x.start), min(e.end, x.end)})
	}
	return in
}

// pagesOfAll is the whole pages that hold a byte of the list xs.
func pagesOfAll(xs []extent) []extent {
	pages := make([]extent, len(xs))
	for i, x := range xs {
		pages[i] = pagesOf(x.start, x.end-x.start)
	}
	return addExtents(pages, nil)
}

// concerned are the device dev and the files on it. mu must be held.
func concerned(dev *object) []*object {
	if dev.holds == nil {
		return []*object{dev}
	}
	return append([]*object{dev}, dev.holds.files()...)
}

// poison makes the sectors xs of the device dev bad: all of it, or with an error nothing.
// mu must be held.
func (m *Machine) poison(dev *object, xs []extent) error {
	all := concerned(dev)
	for _, o := range all[1:] {
		if err := o.fs.placeFile(o); err != nil {
			return err
		}
	}
	bad := addExtents(dev.bad, xs)
	pages := make([][]extent, len(all))
	for i, o := range all {
		under := bad
		if o != dev {
			under = o.badUnder(bad)
		}
		pages[i] = pagesOfAll(under)
		o.suspects = addExtents(o.suspects, pages[i])
		if err := m.cover(o, cutExtents(pages[i], o.badPages)); err != nil {
			for j, o := range all[:i+1] {
				_ = m.uncover(o, -1, cutExtents(pages[j], o.badPages))
			}
			return err
		}
	}
	// From here on no mapping reaches what is to be lost.
	dev.bad = bad
	b := m.badOf(dev)
	b.list = addExtents(b.list, shift(xs, dev.region.infoBlock))
	var errs []error
	for i, o := range all {
		o.badPages = pages[i]
		lost := xs
		if o != dev {
			o.zeroed = addExtents(o.zeroed, pages[i])
			lost = o.badUnder(xs)
		}
		for _, x := range lost {
			errs = append(errs, m.punch(o, o.keeper, x.start, x.end-x.start))
			m.mem.adopt(o, x)
		}
	}
	m.showBad(dev)
	return errors.Join(errs...)
}

func shift(xs []extent, n uint64) []extent {
	moved := make([]extent, len(xs))
	for i, x := range xs {
		moved[i] = extent{x.start + n, x.end + n}
	}
	return moved
}

// heal takes the bytes xs out of the bad ones of the device dev and of its region: all
// is as the driver has it after it has cleared the media. Where there is no firmware to do
// it the driver takes it for done, and the region hears nothing of it. mu must be held.
func (m *Machine) heal(dev *object, xs []extent) error {
	dev.bad = cutExtents(dev.bad, xs)
	if b := m.badOf(dev); dev.region.bus == m.nvdimmBus {
		b.list = cutExtents(b.list, shift(xs, dev.region.infoBlock))
	}
	m.showBad(dev)
	var errs []error
	for _, o := range concerned(dev) {
		errs = append(errs, m.refreshBad(o, -1))
	}
	return errors.Join(errs...)
}

// refreshBad finds out which pages of o are bad, some of which may not be any more, and
// opens their mappings again. fd is a descriptor of o or -1. mu must be held.
func (m *Machine) refreshBad(o *object, fd int) error {
	if len(o.badPages) == 0 {
		return nil
	}
	was := o.badPages
	o.badPages = pagesOfAll(o.badBytes())
	return m.uncover(o, fd, cutExtents(was, o.badPages))
}

// forgetBlocks takes the blocks of [from, to) of the file o back, which hold nothing any
// more, good and bad ones. mu must be held.
func (m *Machine) forgetBlocks(o *object, fd int, from, to uint64) error {
	if from >= to {
		return nil
	}
	gone := []extent{{from, to}}
	o.allocated = cutExtents(o.allocated, gone)
	o.zeroed = cutExtents(o.zeroed, gone)
	if o.fs == nil || o.class != classRegular {
		return nil
	}
	o.fs.freeBlocks(o, gone)
	return m.refreshBad(o, fd)
}

// The kernel's limits on a list of bad blocks: sectors in an entry, and entries.
const (
	badEntrySectors = 512
	badEntries      = 512
)

// badText is how sysfs shows a list: "sector count" for each entry. A range of more than
// 512 sectors is several, and what comes after 512 entries isn't known to the kernel.
func badText(xs []extent) string {
	var text strings.Builder
	entries := 0
	for _, x := range xs {
		for sector, end := x.start/sectorSize, x.end/sectorSize; sector < end && entries < badEntries; entries++ {
			n := min(end-sector, badEntrySectors)
			fmt.Fprintf(&text, "%d %d\n", sector, n)
			sector += n
		}
	}
	return text.String()
}

// showBad writes the attributes badblocks of the device dev and of its region, where a
// test hasn't removed them. mu must be held.
func (m *Machine) showBad(dev *object) {
	m.show(dev.region.dir+"/badblocks", m.badOf(dev).list)
	if dev.class == classBlock {
		st := platform.Stat{Rdev: dev.rdev}
		m.show(fmt.Sprintf("dev/block/%d:%d/badblocks", st.Major(), st.Minor()), dev.bad)
	}
}

func (m *Machine) show(path string, xs []extent) {
	if _, err := m.sysfs.read(path); err != syscall.ENOENT {
		_ = m.sysfs.Set(path, badText(xs))
	}
}
