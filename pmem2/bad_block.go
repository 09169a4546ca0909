package pmem2

import (
	"cmp"
	"errors"
	"math"
	"path"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"pmemlab/pmem2/platform"
)

// BadBlock is a range of a source whose media can't be read: struct pmem2_badblock,
// in bytes.
type BadBlock struct{ Offset, Length uint64 }

// BadBlockContext lists the bad blocks of a source and clears them. It is safe for
// any number of goroutines; each bad block is handed to one of them.
//
// Touching a bad block in a mapping is a SIGBUS, which ends the program unless
// debug.SetPanicOnFault makes a panic of it.
type BadBlockContext struct {
	source *Source
	kind   fileKind
	device *badDevice // that source is, of a device DAX

	mu      sync.Mutex
	left    []BadBlock
	deleted bool
}

// badDevice is where a device DAX lies.
type badDevice struct {
	region *region
	start  uint64 // system physical address
	size   uint64 // in bytes
}

// NewBadBlockContext is pmem2_badblock_context_new(3): the bad blocks of the source
// as they are now, from what the kernel knows. Of a regular file they are whole
// blocks of its file system; one that lies on no region of the nvdimm bus has none.
// The source must be usable, and its descriptor open, for as long as Clear is called.
// What sysfs tells of a device DAX's addresses is for root only.
//
// Errors; the context is then nil: ErrNoSupp if the source is anonymous or the
// machine has no sysfs; ErrInvalidFileType if the descriptor refers to something that
// can't be a source any more; ErrDaxRegionNotFound if sysfs has no region for a
// device DAX; ErrCannotReadBounds if it doesn't tell where the device begins or ends;
// else the errno of fstat (EBADF for a closed descriptor), of reading sysfs (EINVAL
// for what can't be parsed) or of FIEMAP; EINVAL on a nil or deleted source.
func NewBadBlockContext(src *Source) (*BadBlockContext, error) {
	const op = "NewBadBlockContext"
	called(op)
	if err := src.usable(op); err != nil {
		return nil, err
	}
	if src.fd < 0 {
		return nil, fail(op, ErrNoSupp, "the source is anonymous memory")
	}
	defer runtime.KeepAlive(src)
	var st platform.Stat
	if err := src.fstat(&st); err != nil {
		return nil, failErrno(op, err, "fstat of descriptor %d", src.fd)
	}
	kind, err := src.fileType(op, &st)
	if err != nil {
		return nil, err
	}
	r, err := src.findRegion(op, kind, &st)
	if err != nil {
		return nil, err
	}
	c := &BadBlockContext{source: src, kind: kind}
	switch {
	case r != nil && kind == deviceDAX:
		c.device, c.left, err = r.badBlocksOfDevice(op)
	case r != nil:
		c.left, err = src.badBlocksOfFile(op, r, &st)
	case kind == deviceDAX:
		err = fail(op, ErrDaxRegionNotFound, "sysfs has no region for device DAX %s", deviceNode(&st))
	default:
		// Where it isn't mounted, as in a chroot, there is an empty directory.
		if names, failure := src.machine.List(""); errors.Is(failure, syscall.ENOENT) || failure == nil && len(names) == 0 {
			err = fail(op, ErrNoSupp, "the machine has no sysfs")
		}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Delete is pmem2_badblock_context_delete(3). It returns nil always: on nil and on a
// context that has been deleted, too.
func (c *BadBlockContext) Delete() error {
	if c != nil {
		c.mu.Lock()
		c.deleted, c.left = true, nil
		c.mu.Unlock()
	}
	return nil
}

// lock takes the lock of a context that is in use. Where bad blocks aren't supported
// there is no context.
func (c *BadBlockContext) lock(op string) error {
	if c == nil || c.source == nil {
		return fail(op, ErrNoSupp, "the context is nil or empty")
	}
	c.mu.Lock()
	if c.deleted {
		c.mu.Unlock()
		return invalid(op, "the context has been deleted")
	}
	return nil
}

// Next is pmem2_badblock_next(3): the next bad block of the source, in the order of
// their offsets. It gives each once, whether it is cleared or not. The kernel lists no
// more than a page of text: a new context may have more when these are cleared.
//
// Errors: ErrNoBadBlockFound if there are no more; ErrNoSupp on a nil context, EINVAL
// on a deleted one. The block is then zero.
func (c *BadBlockContext) Next() (BadBlock, error) {
	const op = "BadBlockContext.Next"
	called(op)
	if err := c.lock(op); err != nil {
		return BadBlock{}, err
	}
	defer c.mu.Unlock()
	if len(c.left) == 0 {
		return BadBlock{}, fail(op, ErrNoBadBlockFound, "there are no more bad blocks")
	}
	b := c.left[0]
	c.left = c.left[1:]
	return b, nil
}

// Clear is pmem2_badblock_clear(3): it puts healthy storage, filled with zeroes, in
// the place of the block, whose content is lost, bad or not. The block need not come
// from Next.
//
// In a regular file a hole is punched and allocated anew: the file must be open for
// writing. For a device DAX the firmware is told to clear the range, through the
// device of its nvdimm bus, which takes root; zeroes are then written if the
// descriptor is open for writing and no other bad block is in the page.
//
// Errors, the first of these: ErrNoSupp on a nil context, EINVAL on a deleted one;
// ErrOffsetOutOfRange, ErrLengthOutOfRange: the offset, the length is above 2^63-1,
// or the block ends behind a device DAX. Of a regular file then the errno of
// fallocate: EINVAL for length 0, EBADF for a descriptor open for reading only; if
// the second one fails the block is a hole. Of a device DAX: EINVAL if the length is
// 0, the block no multiple of the unit in which the firmware clears, or the firmware
// knows no such range; ErrInvalidFileHandle for a closed descriptor; the errno of
// opening the bus, of the two commands to it, or of fcntl; ENXIO if not all has been
// cleared, or a page that should be still faults; those of NewMap, when the block has
// been cleared and isn't filled with zeroes.
func (c *BadBlockContext) Clear(b BadBlock) error {
	const op = "BadBlockContext.Clear"
	called(op)
	if err := c.lock(op); err != nil {
		return err
	}
	c.mu.Unlock()
	defer runtime.KeepAlive(c) // and with it the file
	switch {
	case b.Offset > math.MaxInt64:
		return fail(op, ErrOffsetOutOfRange, "offset %d is above %d", b.Offset, int64(math.MaxInt64))
	case b.Length > math.MaxInt64:
		return fail(op, ErrLengthOutOfRange, "length %d is above %d", b.Length, int64(math.MaxInt64))
	}
	err := c.source.usable(op)
	switch {
	case err != nil:
	case c.kind == deviceDAX:
		err = c.source.clearDevice(op, c.device, b)
	default:
		err = c.source.clearFile(op, b)
	}
	if err == nil && debugLog.level >= logOperations {
		debugLog.printf(logOperations, "%d bytes at offset %d cleared", b.Length, b.Offset)
	}
	return err
}

// clearFile replaces a part of a regular file.
func (s *Source) clearFile(op string, b BadBlock) error {
	if err := s.fstat(new(platform.Stat)); err != nil {
		return failErrno(op, err, "fstat of descriptor %d", s.fd)
	}
	off, n := int64(b.Offset), int64(b.Length)
	if err := s.machine.Fallocate(s.fd, platform.FallocPunchHole|platform.FallocKeepSize, off, n); err != nil {
		return failErrno(op, err, "fallocate: punching a hole of %d bytes at offset %d", n, off)
	}
	if err := s.machine.Fallocate(s.fd, platform.FallocKeepSize, off, n); err != nil {
		err = failErrno(op, err, "fallocate: allocating %d bytes at offset %d", n, off)
		return leaves(err, "the block, a hole in the file")
	}
	return nil
}

// clearDevice has the firmware clear a part of a device DAX.
func (s *Source) clearDevice(op string, d *badDevice, b BadBlock) (err error) {
	switch {
	case b.Offset > d.size || b.Length > d.size-b.Offset:
		return fail(op, ErrLengthOutOfRange, "%d bytes at offset %d are past the end of the device, which has %d bytes", b.Length, b.Offset, d.size)
	case b.Length == 0:
		return failErrno(op, syscall.EINVAL, "the length is 0")
	}
	if err := s.stat(op, new(platform.Stat)); err != nil {
		return err
	}
	flags, err := s.machine.GetFL(s.fd)
	if err != nil {
		return failErrno(op, err, "fcntl(F_GETFL) of descriptor %d", s.fd)
	}
	if err := d.region.clear(op, d.start+b.Offset, b.Length); err != nil {
		return err
	}
	if flags&platform.OAccmode == platform.ORdonly {
		return nil
	}
	m, pmem, err := s.mapAround(op, b.Offset, b.Length, ProtRead|ProtWrite)
	if err != nil {
		return err
	}
	defer func() { err = m.dispose(err) }()
	for len(pmem) > 0 {
		n := min(machineCheckUnit-uintptr(unsafe.Pointer(&pmem[0]))%machineCheckUnit, uintptr(len(pmem)))
		// A fault in a part of a page may be one of another bad block in it.
		failed, _ := guard(pmem[:n], func() { err = m.Memset(pmem[:n], 0, 0) })
		if failed && n == machineCheckUnit {
			err = failErrno(op, syscall.ENXIO, "the page at offset %d can't be written to (SIGBUS) although it was cleared", b.Offset+b.Length-uint64(len(pmem)))
		}
		if err != nil {
			return err
		}
		pmem = pmem[n:]
	}
	return nil
}

// clear has the firmware clear [addr, addr+n), system physical addresses.
func (r *region) clear(op string, addr, n uint64) (err error) {
	names, err := r.machine.List(r.bus + "/nd")
	if err != nil {
		return failErrno(op, err, "listing %s/nd in sysfs", r.bus)
	}
	if len(names) == 0 {
		return failErrno(op, syscall.ENODEV, "%s has no device", path.Base(r.bus))
	}
	bus := "/dev/" + names[0]
	fd, err := r.machine.Open(bus, platform.ORdwr, 0)
	if err != nil {
		return failErrno(op, err, "opening %s", bus)
	}
	defer func() {
		// Not again: Linux has closed it whatever it says, and the number may be
		// another's by now.
		if failure := r.machine.Close(fd); failure != nil {
			if err == nil {
				err = failErrno(op, failure, "closing %s", bus)
			}
			err = leaves(err, "descriptor %d of %s may be open", fd, bus)
		}
	}()
	capabilities, err := r.machine.ARSCapabilities(fd, addr, n)
	if err != nil {
		return failErrno(op, err, "asking %s for its address range scrub capabilities for %d bytes at %#x", bus, n, addr)
	}
	unit := uint64(max(capabilities.ClearErrorUnit, 1))
	switch {
	case capabilities.Status&0xffff != 0: // what is above says what can be scrubbed
		return failErrno(op, syscall.EINVAL, "%s: no address range scrub for %d bytes at %#x: status %#x", bus, n, addr, capabilities.Status)
	case addr%unit != 0 || n%unit != 0:
		return failErrno(op, syscall.EINVAL, "%d bytes at %#x: the firmware clears multiples of %d bytes", n, addr, unit)
	}
	cleared, err := r.machine.ClearError(fd, addr, n)
	if err != nil {
		return failErrno(op, err, "having %s clear %d bytes at %#x", bus, n, addr)
	}
	if cleared < n {
		return failErrno(op, syscall.ENXIO, "%s has cleared %d of %d bytes at %#x", bus, cleared, n, addr)
	}
	return nil
}

// badBlocksOfDevice lists the bad blocks of a device DAX: those of its region that
// are inside its namespace.
func (r *region) badBlocksOfDevice(op string) (*badDevice, []BadBlock, error) {
	regionStart, err := r.address(r.dir + "/resource")
	if err != nil {
		return nil, nil, failErrno(op, err, "reading %s/resource in sysfs", r.dir)
	}
	d := &badDevice{region: r}
	namespace := path.Dir(r.device)
	if path.Base(namespace) == "dax" { // with the class model of kernels up to 5.16
		namespace = path.Dir(namespace)
	}
	for _, bound := range []struct {
		name string
		at   *uint64
	}{{"resource", &d.start}, {"size", &d.size}} {
		if *bound.at, err = r.address(namespace + "/" + bound.name); err != nil {
			return nil, nil, fail(op, ErrCannotReadBounds, "reading %s/%s in sysfs: %v", namespace, bound.name, err)
		}
	}
	if d.start < regionStart || d.size > math.MaxInt64 || d.start > math.MaxInt64 {
		return nil, nil, fail(op, ErrCannotReadBounds, "%s: %d bytes at %#x can't be part of the region at %#x", namespace, d.size, d.start, regionStart)
	}
	bad, err := r.badSectors(op, r.dir+"/badblocks")
	if err != nil {
		return nil, nil, err
	}
	whole := extent{physical: d.start - regionStart, length: d.size}
	return d, badBlocks(bad, []extent{whole}, 1), nil
}

// badBlocksOfFile lists the bad blocks of a regular file: those of its block device
// that are part of it.
func (s *Source) badBlocksOfFile(op string, r *region, st *platform.Stat) ([]BadBlock, error) {
	extents, err := s.extents(op)
	if err != nil {
		return nil, err
	}
	disk, start := r.device, uint64(0)
	// A partition has no list of its own.
	if _, partition, err := r.attribute(op, disk+"/partition"); err != nil {
		return nil, err
	} else if partition {
		first, err := r.address(disk + "/start")
		if err == nil && first > math.MaxInt64/sectorSize {
			err = syscall.EINVAL
		}
		if err != nil {
			return nil, failErrno(op, err, "reading %s/start in sysfs", disk)
		}
		disk, start = path.Dir(disk), first*sectorSize
	}
	bad, err := r.badSectors(op, disk+"/badblocks")
	if err != nil {
		return nil, err
	}
	for i := range extents {
		extents[i].physical += start
	}
	return badBlocks(bad, extents, uint64(max(st.BlockSize, 1))), nil
}

// extent is a part of a source: length bytes from logical on lie at physical of what
// a list of bad blocks counts from.
type extent struct{ logical, physical, length uint64 }

// extents lists where a regular file lies on its block device.
func (s *Source) extents(op string) ([]extent, error) {
	const nowhere = platform.FiemapExtentUnknown | platform.FiemapExtentDelalloc |
		platform.FiemapExtentEncoded | platform.FiemapExtentDataInline
	var all []extent
	batch := make([]platform.FiemapExtent, 16) // most files have fewer
	for from := uint64(0); ; {
		n, err := s.machine.Fiemap(s.fd, from, math.MaxInt64-from, platform.FiemapFlagSync, batch)
		if err != nil {
			return nil, failErrno(op, err, "FIEMAP of descriptor %d from offset %d", s.fd, from)
		}
		if n == 0 {
			return all, nil
		}
		for _, e := range batch[:n] {
			if e.Flags&nowhere == 0 {
				all = append(all, extent{e.Logical, e.Physical, e.Length})
			}
		}
		last := batch[n-1]
		next := last.Logical + last.Length
		if last.Flags&platform.FiemapExtentLast != 0 || next <= from || next >= math.MaxInt64 {
			return all, nil
		}
		if from = next; len(batch) < 256 {
			batch = make([]platform.FiemapExtent, 256)
		}
	}
}

// badBlocks are the parts of extents that bad names, widened to multiples of unit
// within their extent, in the order of their offsets and merged where they overlap
// because of that.
func badBlocks(bad []sectors, extents []extent, unit uint64) []BadBlock {
	var list []BadBlock
	for _, e := range extents {
		for _, b := range bad {
			from, to := max(b.start, e.physical), min(b.start+b.length, e.physical+e.length)
			if from >= to {
				continue
			}
			from, to = from-e.physical, to-e.physical
			from -= from % unit
			to = min(e.length, (to+unit-1)/unit*unit)
			list = append(list, BadBlock{e.logical + from, to - from})
		}
	}
	slices.SortFunc(list, func(a, b BadBlock) int { return cmp.Compare(a.Offset, b.Offset) })
	merged := list[:0]
	for _, b := range list {
		if n := len(merged); n > 0 && b.Offset < merged[n-1].Offset+merged[n-1].Length {
			merged[n-1].Length = max(merged[n-1].Length, b.Offset+b.Length-merged[n-1].Offset)
			continue
		}
		merged = append(merged, b)
	}
	return merged
}
