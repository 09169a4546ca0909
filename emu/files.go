package emu

import (
	"syscall"

	"pmemlab/emu/trace"
	"pmemlab/pmem2/platform"
)

// The calls on descriptors. Each finds the object first: a descriptor that isn't of
// this machine is EBADF, one that every machine takes goes to the host.

// Close is close(2) of a descriptor of this machine, however it was made. EBADF: it
// isn't of this machine; it stays open then.
func (m *Machine) Close(fd int) error {
	o, through, err := m.lookup(fd)
	if err != nil {
		return err
	}
	if through {
		return m.host.Close(fd)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	err = m.host.Close(fd)
	if m.fds[fd] == o {
		delete(m.fds, fd)
		o.opens--
	}
	m.release(o)
	return err
}

// Fstat is fstat(2): the object's type, numbers and size on this machine.
func (m *Machine) Fstat(fd int) (platform.Stat, error) {
	o, st, through, err := m.lookupStat(fd)
	if through || err != nil {
		return st, err
	}
	size := int64(0)
	if o.class == classRegular {
		size = st.Size
	}
	return platform.Stat{Dev: o.dev, Ino: o.ino, Mode: o.mode, Rdev: o.rdev, Size: size, BlockSize: pageSize}, nil
}

// What statx knows of: ext4, and all else.
const (
	statxMaskExt4 = 0x303874
	statxMask     = 0x203070
)

// Statx is statx(2), for the append-only, immutable and DAX attributes.
func (m *Machine) Statx(fd int) (platform.Statx, error) {
	o, through, err := m.lookup(fd)
	if err != nil {
		return platform.Statx{}, err
	}
	if through {
		return m.host.Statx(fd)
	}
	stx := platform.Statx{AttributesMask: statxMask}
	if o.fs != nil && o.fs.cfg.Type == Ext4 {
		stx.AttributesMask = statxMaskExt4
	}
	if o.class == classDevDax || o.class == classRegular && o.fs.cfg.DAX {
		stx.Attributes |= platform.StatxAttrDAX
	}
	m.mu.Lock()
	if o.appendOnly {
		stx.Attributes |= platform.StatxAttrAppend
	}
	if o.immutable {
		stx.Attributes |= platform.StatxAttrImmutable
	}
	m.mu.Unlock()
	if m.cfg.NoSharedValidate {
		stx.Attributes &^= platform.StatxAttrDAX
		stx.AttributesMask &^= platform.StatxAttrDAX
	}
	return stx, nil
}

// GetFL is fcntl(F_GETFL).
func (m *Machine) GetFL(fd int) (int, error) {
	if _, _, err := m.lookup(fd); err != nil {
		return 0, err
	}
	return m.host.GetFL(fd)
}

// Pread is pread(2). EIO: there is a bad block, see readMedia.
func (m *Machine) Pread(fd int, p []byte, off int64) (int, error) {
	o, through, err := m.lookup(fd)
	if err != nil {
		return 0, err
	}
	if through {
		return m.host.Pread(fd, p, off)
	}
	if o.class == classRegular || o.class == classBlock {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.readMedia(o, fd, p, off)
	}
	if err := m.checkIO(o, fd, len(p), off, canRead); err != nil {
		return 0, err
	}
	switch o.class {
	case classDirectory:
		return 0, syscall.EISDIR
	case classZero:
		clear(p)
		return len(p), nil
	case classNull:
		if o.isNull() {
			return 0, nil
		}
	}
	return 0, syscall.EINVAL // device DAX has no read, /dev/nmemN neither
}

// Pwrite is pwrite(2). ENOSPC: the file system has no room for it. EFAULT and EIO: there
// is a bad block, see writeMedia.
func (m *Machine) Pwrite(fd int, p []byte, off int64) (int, error) {
	o, through, err := m.lookup(fd)
	if err != nil {
		return 0, err
	}
	if through {
		return m.host.Pwrite(fd, p, off)
	}
	if err := m.checkIO(o, fd, len(p), off, canWrite); err != nil {
		return 0, err
	}
	switch o.class {
	case classRegular:
		return m.writeFile(o, fd, p, off)
	case classBlock:
		if uint64(off) >= o.size && len(p) > 0 {
			return 0, syscall.ENOSPC
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.writeSeen(o, fd, p[:min(uint64(len(p)), o.size-min(o.size, uint64(off)))], off, uint64(off))
	case classZero, classNull:
		if o.class == classZero || o.isNull() {
			return len(p), nil
		}
	}
	return 0, syscall.EINVAL // device DAX has no write, /dev/nmemN neither
}

// isNull tells /dev/null from the other character devices that can't be mapped.
func (o *object) isNull() bool { return o.rdev == platform.Mkdev(1, 3) }

// checkIO is what the kernel looks at before it asks the object.
func (m *Machine) checkIO(o *object, fd, n int, off int64, allowed func(openFlags int) bool) error {
	flags, err := m.host.GetFL(fd)
	switch {
	case err != nil:
		return err
	case off < 0:
		return syscall.EINVAL
	case flags&platform.OPath != 0:
		return syscall.EBADF
	case o.class == classTTY:
		return syscall.ESPIPE
	case !allowed(flags):
		return syscall.EBADF
	case o.class != classRegular && o.class != classBlock && off > maxFileOffset-int64(n):
		return syscall.EINVAL
	}
	return nil
}

func (m *Machine) writeFile(o *object, fd int, p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.immutable {
		return 0, syscall.EPERM
	}
	at := uint64(off)
	if len(p) > 0 {
		flags, err := m.host.GetFL(fd)
		if err != nil {
			return 0, err
		}
		if flags&platform.OAppend != 0 { // pwrite appends, whatever the offset
			st, err := m.host.Fstat(fd)
			if err != nil {
				return 0, err
			}
			at = uint64(st.Size)
		}
		if n, limit := uint64(len(p)), uint64(o.fs.maxFile()); at <= maxFileOffset-n && limit < maxFileOffset {
			if at >= limit {
				return 0, syscall.EFBIG
			}
			p = p[:min(n, limit-at)]
		}
		if n := uint64(len(p)); at <= maxFileOffset-n {
			if err := m.makeRoom(o, pagesOf(at, n)); err != nil {
				return 0, err
			}
		}
	}
	if at+uint64(len(p)) > o.lastSize() {
		o.fs.journal().changes(o)
	}
	return m.writeSeen(o, fd, p, off, at)
}

// writeSeen is writeMedia, with what it does to what is durable. mu must be held.
func (m *Machine) writeSeen(o *object, fd int, p []byte, off int64, at uint64) (int, error) {
	if o.mapped {
		m.look(o, pagesOf(at, uint64(len(p))))
	}
	n, err := m.writeMedia(o, fd, p, off, at)
	if n > 0 {
		m.mem.written(o, at, p[:n])
	}
	return n, err
}

// makeRoom says whether the pages of o fit that aren't allocated yet. mu must be held.
func (m *Machine) makeRoom(o *object, pages extent) error {
	if o.keeper < 0 {
		return nil // without a name, and unknown who uses it
	}
	n := pages.end - pages.start
	if o.fs.reserve(n) == nil {
		return nil // there is room even if none of them is
	}
	xs, err := o.extents()
	if err != nil {
		return err
	}
	return o.fs.reserve(n - coveredBytes(xs, pages))
}

// Ftruncate is ftruncate(2). A file grows by a hole, which takes no room.
func (m *Machine) Ftruncate(fd int, size int64) error {
	if size < 0 { // before the kernel looks at the descriptor
		return syscall.EINVAL
	}
	o, through, err := m.lookup(fd)
	if err != nil {
		return err
	}
	flags, err := m.host.GetFL(fd)
	switch {
	case err != nil:
		return err
	case flags&platform.OPath != 0:
		return syscall.EBADF
	case through || o.class != classRegular || !canWrite(flags):
		return syscall.EINVAL
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.appendOnly || o.immutable {
		return syscall.EPERM
	}
	return m.resize(o, fd, size)
}

// resize sets the size of the file o by its descriptor fd. mu must be held.
func (m *Machine) resize(o *object, fd int, size int64) error {
	if size > o.fs.maxFile() {
		return syscall.EFBIG
	}
	o.fs.journal().changes(o)
	if err := m.host.Ftruncate(fd, size); err != nil {
		return err
	}
	m.mem.zeroed(o, uint64(size), everything.end)
	return m.forgetBlocks(o, fd, roundUp(uint64(size), pageSize), 1<<64-1)
}

// Fallocate is fallocate(2): mode 0, FallocKeepSize, and FallocPunchHole with it. What
// it allocates takes room in the file system, but memory only once it is touched.
func (m *Machine) Fallocate(fd int, mode uint32, off, length int64) error {
	o, through, err := m.lookup(fd)
	if err != nil {
		return err
	}
	if through {
		return m.host.Fallocate(fd, mode, off, length)
	}
	flags, err := m.host.GetFL(fd)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	const punch = platform.FallocPunchHole | platform.FallocKeepSize
	switch {
	case flags&platform.OPath != 0:
		return syscall.EBADF
	case off < 0 || length <= 0:
		return syscall.EINVAL
	case mode != 0 && mode != platform.FallocKeepSize && mode != punch:
		return syscall.EOPNOTSUPP
	case !canWrite(flags):
		return syscall.EBADF
	case o.immutable, o.appendOnly && mode&^platform.FallocKeepSize != 0:
		return syscall.EPERM
	case o.class != classRegular && o.class != classBlock:
		return syscall.ENODEV
	case off > maxFileOffset-length, o.class == classRegular && off+length > o.fs.maxFile():
		return syscall.EFBIG
	case o.class == classBlock && mode != punch:
		return syscall.EOPNOTSUPP
	}
	if mode == punch {
		whole := extent{roundUp(uint64(off), pageSize), uint64(off+length) &^ (pageSize - 1)}
		if o.class == classRegular {
			// What is left of a page at the edges is zeroed on the media.
			for _, x := range cutExtents([]extent{{uint64(off), uint64(off + length)}}, []extent{whole}) {
				if o.hasBad(x.start, x.end-x.start) {
					return syscall.EIO
				}
			}
		}
		o.fs.journal().changes(o)
		if err := m.punch(o, fd, uint64(off), uint64(length)); err != nil {
			return err
		}
		m.mem.zeroed(o, uint64(off), uint64(off+length))
		return m.forgetBlocks(o, fd, whole.start, whole.end)
	}
	pages := pagesOf(uint64(off), uint64(length))
	if err := m.makeRoom(o, pages); err != nil {
		return err
	}
	o.fs.journal().changes(o)
	st, err := m.host.Fstat(fd)
	if err == nil && mode == 0 && off+length > st.Size {
		err = m.host.Ftruncate(fd, off+length)
	}
	if err == nil {
		o.allocated = addExtents(o.allocated, []extent{pages})
		if o.fs.onBlocks() && o.keeper >= 0 {
			err = o.fs.placeFile(o)
		}
	}
	return err
}

// Fsync is fsync(2); character devices don't have it: EINVAL. EIO, once: what was written
// to a bad block didn't reach the media.
func (m *Machine) Fsync(fd int) error {
	o, through, err := m.lookup(fd)
	if err != nil {
		return err
	}
	if !through {
		switch o.class {
		case classDevDax, classZero, classNull, classTTY:
			flags, err := m.host.GetFL(fd)
			if err == nil && flags&platform.OPath == 0 {
				err = syscall.EINVAL
			} else if err == nil {
				err = syscall.EBADF
			}
			return err
		}
		m.mu.Lock()
		lost := o.lostWrite
		o.lostWrite = false
		m.mu.Unlock()
		if lost {
			return syscall.EIO
		}
		m.rec.calling("fsync", 0, 0)
	}
	err = m.host.Fsync(fd)
	if err == nil && !through && o.kept() != keptNot {
		m.mu.Lock()
		m.mem.sync(o, extent{0, o.lastSize()}, trace.Event{Kind: trace.Fsync})
		m.mu.Unlock()
	} else if err == nil && !through && o.class == classDirectory {
		m.mu.Lock()
		o.fs.commit()
		m.mu.Unlock()
	}
	return err
}

// Flags of struct fiemap and struct fiemap_extent.
const (
	fiemapSync      = 1
	fiemapXattr     = 2
	fiemapCache     = 4
	fiemapLast      = 0x1
	fiemapUnknown   = 0x2
	fiemapDelalloc  = 0x4
	fiemapUnwritten = 0x800
	errBadRequest   = syscall.Errno(53) // EBADR
	maxFileExt4     = 1<<44 - pageSize  // 16 TiB less a block
)

// Fiemap is the FS_IOC_FIEMAP ioctl. On ext4 and xfs it tells the extents that hold
// data and, as unwritten, those that are allocated without. Physical addresses are those
// of the block device; a part of the file for which that has no room is delayed, its
// location unknown. A page of the file that was loaded from through a mapping counts as one
// with data, as if it had been stored to: here a kernel tells of what it was before.
// With FIEMAP_FLAG_XATTR there are none, as of files without extended attributes. A directory of ext4 has
// one of 4 KiB. EOPNOTSUPP: a device, tmpfs, or a directory of xfs. EINVAL: length is
// 0, or start 16 TiB - 4 KiB on ext4, the largest size of a file. EFBIG: start is
// behind that, or 2^63-1 and more on xfs. EBADR: other flags than FIEMAP_FLAG_SYNC,
// FIEMAP_FLAG_XATTR and, on ext4, FIEMAP_FLAG_CACHE.
func (m *Machine) Fiemap(fd int, start, length uint64, flags uint32, extents []platform.FiemapExtent) (int, error) {
	o, through, err := m.lookup(fd)
	if err != nil {
		return 0, err
	}
	if through {
		return m.host.Fiemap(fd, start, length, flags, extents)
	}
	fl, err := m.host.GetFL(fd)
	if err == nil && fl&platform.OPath != 0 {
		err = syscall.EBADF
	} else if err == nil {
		err = o.checkFiemap(start, length, flags)
	}
	if err != nil || flags&fiemapXattr != 0 {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all, err := m.fiemap(o, fd)
	if err != nil {
		return 0, err
	}
	n, end := 0, start+min(length, maxFileOffset-start)
	for _, e := range all {
		if e.Logical >= end || e.Logical+e.Length <= start {
			continue
		}
		if len(extents) > 0 {
			if n == len(extents) {
				break
			}
			extents[n] = e
		}
		n++
	}
	return n, nil
}

// checkFiemap is what the kernel looks at before it looks for extents.
func (o *object) checkFiemap(start, length uint64, flags uint32) error {
	ext4 := o.fs != nil && o.fs.cfg.Type == Ext4
	known := uint32(fiemapSync | fiemapXattr)
	if ext4 {
		known |= fiemapCache
	}
	switch {
	case o.fs == nil, !o.fs.onBlocks(), o.class == classDirectory && !ext4:
		return syscall.EOPNOTSUPP
	case length == 0:
		return syscall.EINVAL
	case ext4 && start > maxFileExt4, start >= maxFileOffset:
		return syscall.EFBIG
	case ext4 && start == maxFileExt4:
		return syscall.EINVAL // nothing is left of the range that could be mapped
	case flags&^known != 0:
		return errBadRequest
	}
	return nil
}

// fiemap lists all extents of a file or directory. mu must be held.
func (m *Machine) fiemap(o *object, fd int) ([]platform.FiemapExtent, error) {
	if o.class == classDirectory {
		xs := []extent{{0, pageSize}}
		o.fs.place(o, xs)
		return o.located(xs, nil), nil
	}
	// Without a name only fd still leads there.
	data, done, err := m.dataFD(o, fd, platform.ORdonly)
	if err != nil {
		return nil, err
	}
	defer done()
	xs, err := written(data)
	if err != nil {
		return nil, err
	}
	xs = addExtents(xs, o.zeroed)
	o.fs.place(o, addExtents(xs, o.allocated))
	return o.located(xs, cutExtents(o.allocated, xs)), nil
}

// located lists the extents of a file where it is on the block device.
func (o *object) located(written, unwritten []extent) []platform.FiemapExtent {
	var all []platform.FiemapExtent
	for len(written) > 0 || len(unwritten) > 0 {
		flag, next := uint32(0), &written
		if len(written) == 0 || len(unwritten) > 0 && unwritten[0].start < written[0].start {
			flag, next = fiemapUnwritten, &unwritten
		}
		x := (*next)[0]
		*next = (*next)[1:]
		for _, b := range o.blocksAt(x) {
			if x.start < b.logical {
				all = append(all, unknown(x.start, b.logical, flag))
			}
			all = append(all, platform.FiemapExtent{Logical: b.logical, Physical: b.physical, Length: b.length, Flags: flag})
			x.start = b.logical + b.length
		}
		if x.start < x.end {
			all = append(all, unknown(x.start, x.end, flag))
		}
	}
	if len(all) > 0 {
		all[len(all)-1].Flags |= fiemapLast
	}
	return all
}

func unknown(start, end uint64, flags uint32) platform.FiemapExtent {
	return platform.FiemapExtent{Logical: start, Length: end - start, Flags: flags | fiemapUnknown | fiemapDelalloc}
}
