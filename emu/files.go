package emu

import (
	"syscall"

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
	o, through, err := m.lookup(fd)
	if err != nil {
		return platform.Stat{}, err
	}
	st, err := m.host.Fstat(fd)
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

// Pread is pread(2).
func (m *Machine) Pread(fd int, p []byte, off int64) (int, error) {
	o, through, err := m.lookup(fd)
	if err != nil {
		return 0, err
	}
	if through || o.class == classRegular || o.class == classBlock {
		return m.host.Pread(fd, p, off)
	}
	if err := m.checkIO(o, fd, off, canRead); err != nil {
		return 0, err
	}
	switch o.class {
	case classDirectory:
		return 0, syscall.EISDIR
	case classZero:
		clear(p)
		return len(p), nil
	case classNull:
		return 0, nil
	}
	return 0, syscall.EINVAL // device DAX has no read
}

// Pwrite is pwrite(2). ENOSPC: the file system has no room for it.
func (m *Machine) Pwrite(fd int, p []byte, off int64) (int, error) {
	o, through, err := m.lookup(fd)
	if err != nil {
		return 0, err
	}
	if through {
		return m.host.Pwrite(fd, p, off)
	}
	if err := m.checkIO(o, fd, off, canWrite); err != nil {
		return 0, err
	}
	switch o.class {
	case classRegular:
		return m.writeFile(o, fd, p, off)
	case classBlock:
		if uint64(off) >= o.size && len(p) > 0 {
			return 0, syscall.ENOSPC
		}
		return m.host.Pwrite(fd, p[:min(uint64(len(p)), o.size-min(o.size, uint64(off)))], off)
	case classZero, classNull:
		return len(p), nil
	}
	return 0, syscall.EINVAL // device DAX has no write
}

// checkIO is what the kernel looks at before it asks the object.
func (m *Machine) checkIO(o *object, fd int, off int64, allowed func(openFlags int) bool) error {
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
	}
	return nil
}

func (m *Machine) writeFile(o *object, fd int, p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.immutable {
		return 0, syscall.EPERM
	}
	if len(p) > 0 {
		flags, err := m.host.GetFL(fd)
		if err != nil {
			return 0, err
		}
		at := uint64(off)
		if flags&platform.OAppend != 0 { // pwrite appends, whatever the offset
			st, err := m.host.Fstat(fd)
			if err != nil {
				return 0, err
			}
			at = uint64(st.Size)
		}
		if n := uint64(len(p)); at <= maxFileOffset-n {
			if err := m.makeRoom(o, pagesOf(at, n)); err != nil {
				return 0, err
			}
		}
	}
	return m.host.Pwrite(fd, p, off)
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
	case size < 0 || through || o.class != classRegular || !canWrite(flags):
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
	if err := m.host.Ftruncate(fd, size); err != nil {
		return err
	}
	o.allocated = cutExtents(o.allocated, []extent{{roundUp(uint64(size), pageSize), 1<<64 - 1}})
	return nil
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
	case o.immutable, o.appendOnly && mode != platform.FallocKeepSize:
		return syscall.EPERM
	case o.class != classRegular && o.class != classBlock:
		return syscall.ENODEV
	case off > maxFileOffset-length:
		return syscall.EFBIG
	case o.class == classBlock && mode != punch:
		return syscall.EOPNOTSUPP
	}
	if mode == punch {
		if err := m.host.Fallocate(fd, mode, off, length); err != nil {
			return err
		}
		whole := extent{roundUp(uint64(off), pageSize), uint64(off+length) &^ (pageSize - 1)}
		if whole.start < whole.end {
			o.allocated = cutExtents(o.allocated, []extent{whole})
		}
		return nil
	}
	pages := pagesOf(uint64(off), uint64(length))
	if err := m.makeRoom(o, pages); err != nil {
		return err
	}
	st, err := m.host.Fstat(fd)
	if err == nil && mode == 0 && off+length > st.Size {
		err = m.host.Ftruncate(fd, off+length)
	}
	if err == nil {
		o.allocated = addExtents(o.allocated, []extent{pages})
	}
	return err
}

// Fsync is fsync(2); character devices don't have it: EINVAL.
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
	}
	return m.host.Fsync(fd)
}

// Flags of struct fiemap and struct fiemap_extent.
const (
	fiemapSync        = 1
	fiemapXattr       = 2
	fiemapCache       = 4
	fiemapLast        = 0x1
	fiemapUnwritten   = 0x800
	errBadRequest     = syscall.Errno(53) // EBADR
	filePhysicalRange = 1 << 44           // 16 TiB, more than the largest file of an ext4
	maxFileExt4       = filePhysicalRange - pageSize
)

// Fiemap is the FS_IOC_FIEMAP ioctl. On ext4 and xfs it tells the extents that hold
// data and, as unwritten, those that are allocated without. A file's physical
// addresses follow its logical ones from a base of its own. With FIEMAP_FLAG_XATTR
// there are none, as of files without extended attributes. A directory of ext4 has
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
	base := o.ino * filePhysicalRange
	if o.class == classDirectory {
		return []platform.FiemapExtent{{Physical: base, Length: pageSize, Flags: fiemapLast}}, nil
	}
	data := o.keeper
	if data < 0 { // without a name: only fd still leads there
		var err error
		if data, err = m.host.Open(procFD(fd), platform.ORdonly, 0); err != nil {
			return nil, err
		}
		defer func() { _ = m.host.Close(data) }()
	}
	xs, err := written(data)
	if err != nil {
		return nil, err
	}
	unwritten := cutExtents(o.allocated, xs)
	var all []platform.FiemapExtent
	for len(xs) > 0 || len(unwritten) > 0 {
		flag, next := uint32(0), &xs
		if len(xs) == 0 || len(unwritten) > 0 && unwritten[0].start < xs[0].start {
			flag, next = fiemapUnwritten, &unwritten
		}
		x := (*next)[0]
		*next = (*next)[1:]
		all = append(all, platform.FiemapExtent{
			Logical: x.start, Physical: base + x.start, Length: x.end - x.start, Flags: flag,
		})
	}
	if len(all) > 0 {
		all[len(all)-1].Flags |= fiemapLast
	}
	return all, nil
}

// ARSCapabilities is the ND_IOCTL_ARS_CAP ioctl. The nvdimm buses of this machine
// offer no address range scrub: ENOTTY, as from anything that is no bus.
func (m *Machine) ARSCapabilities(fd int, addr, length uint64) (platform.ARSCap, error) {
	return platform.ARSCap{}, m.notABus(fd)
}

// ClearError is the ND_IOCTL_CLEAR_ERROR ioctl: ENOTTY, as for ARSCapabilities.
func (m *Machine) ClearError(fd int, addr, length uint64) (uint64, error) {
	return 0, m.notABus(fd)
}

func (m *Machine) notABus(fd int) error {
	if _, _, err := m.lookup(fd); err != nil {
		return err
	}
	if flags, err := m.host.GetFL(fd); err != nil || flags&platform.OPath != 0 {
		return syscall.EBADF
	}
	return syscall.ENOTTY
}
