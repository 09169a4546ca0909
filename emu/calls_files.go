package emu

import (
	"syscall"

	"pmemlab/emu/trace"
	"pmemlab/pmem2/platform"
)

// Calls on descriptors and paths that the libraries don't make and other programs do. They
// aren't part of platform.Platform; what Linux 6.1 answers to them was measured.

const (
	seekCurrent = 1
	seekData    = 3
	seekHole    = 4
)

// Lseek is lseek(2). On device DAX, /dev/zero and /dev/null every offset is 0. A file's
// holes are those of its memory: pages that were never touched.
func (m *Machine) Lseek(fd int, off int64, whence int) (int64, error) {
	o, through, err := m.lookupData(fd)
	if err != nil {
		return 0, err
	}
	if through || whence < 0 || whence > seekHole {
		return hostSeek(fd, off, whence)
	}
	switch o.class {
	case classDevDax, classZero, classNull:
		return 0, nil
	case classTTY:
		return 0, syscall.ESPIPE
	}
	limit := int64(maxFileOffset)
	switch {
	case o.class == classBlock && whence >= seekData:
		return 0, syscall.EINVAL
	case o.class == classBlock:
		limit = int64(o.size)
	case o.class == classRegular:
		limit = o.fs.maxFile()
	}
	before, err := hostSeek(fd, 0, seekCurrent)
	if err != nil {
		return 0, err
	}
	at, err := hostSeek(fd, off, whence)
	if err == nil && at > limit {
		if _, err := hostSeek(fd, before, 0); err != nil {
			return 0, err
		}
		return 0, syscall.EINVAL
	}
	return at, err
}

// lookupData is lookup of a descriptor that leads to data: with O_PATH it is EBADF.
func (m *Machine) lookupData(fd int) (o *object, through bool, err error) {
	o, through, err = m.lookup(fd)
	if err != nil {
		return nil, false, err
	}
	flags, err := m.host.GetFL(fd)
	if err == nil && flags&platform.OPath != 0 {
		err = syscall.EBADF
	}
	return o, through, err
}

// Fdatasync is fdatasync(2), which here does all that Fsync does.
func (m *Machine) Fdatasync(fd int) error { return m.Fsync(fd) }

// SyncFileRange is sync_file_range(2): it starts or awaits the writing of pages and makes
// nothing durable. ESPIPE: the descriptor is no file, directory or block device.
func (m *Machine) SyncFileRange(fd int, off, length int64, flags int) error {
	o, through, err := m.lookupData(fd)
	switch {
	case err != nil:
		return err
	case flags&^7 != 0, off < 0, off+length < 0, off+length < off:
		return syscall.EINVAL
	case through, o.class != classRegular && o.class != classDirectory && o.class != classBlock:
		return syscall.ESPIPE
	}
	return nil
}

// Syncfs is syncfs(2): all files of the file system that the descriptor is in become
// durable, and their names.
func (m *Machine) Syncfs(fd int) error {
	o, through, err := m.lookupData(fd)
	if err != nil || through || o.fs == nil {
		return err
	}
	m.rec.calling("syncfs", 0, 0)
	m.mu.Lock()
	defer m.mu.Unlock()
	for o := range o.fs.inodes {
		if o.kept() == keptNot {
			continue
		}
		m.mem.sync(o, extent{0, o.lastSize()}, trace.Event{Kind: trace.Fsync})
	}
	o.fs.commit()
	return nil
}

// Flock is flock(2). Descriptors of one object are in each other's way, also those of
// other processes.
func (m *Machine) Flock(fd, how int) error {
	const shared, exclusive, nonblock, unlock, mandatory = 1, 2, 4, 8, 32
	switch how &^ nonblock { // before the kernel looks at the descriptor
	case shared, exclusive, unlock:
	default:
		if how&mandatory != 0 {
			return nil // ignored since Linux 5.17
		}
		return syscall.EINVAL
	}
	if _, _, err := m.lookupData(fd); err != nil {
		return err
	}
	return hostFlock(fd, how)
}

// LockOFD is fcntl(F_OFD_SETLK) of the whole object; kind is F_RDLCK, F_WRLCK or F_UNLCK.
func (m *Machine) LockOFD(fd int, kind int16) error {
	if _, _, err := m.lookupData(fd); err != nil {
		return err
	}
	return hostLockOFD(fd, kind)
}

// Magic numbers of file systems, f_type of fstatfs.
var fsMagic = [...]int64{Ext4: 0xef53, XFS: 0x58465342, Tmpfs: 0x1021994}

// Fstatfs is fstatfs(2), of which it tells the type of the file system and the size of a
// block. Device nodes are in a devtmpfs, which is a tmpfs.
func (m *Machine) Fstatfs(fd int) (kind, blockSize int64, err error) {
	o, _, err := m.lookup(fd)
	if err != nil {
		return 0, 0, err
	}
	kind = fsMagic[Tmpfs]
	if o != nil && o.fs != nil {
		kind = fsMagic[o.fs.cfg.Type]
	}
	return kind, pageSize, nil
}

// Mkdir is mkdir(2) with mode 0755 of a path in a file system of this machine.
func (m *Machine) Mkdir(p string) error {
	if err := checkPath(p); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return errnoOf(errDown)
	}
	fs, name := m.mounted(p)
	if fs == nil {
		return syscall.EROFS
	}
	return fs.mkdir(name)
}

// SetFlags is the FS_IOC_SETFLAGS ioctl (chattr +a, +i) on the file p, also for those who
// have it open.
func (m *Machine) SetFlags(p string, appendOnly, immutable bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return errnoOf(errDown)
	}
	fs, name := m.mounted(p)
	if fs == nil {
		return syscall.ENOTTY
	}
	o, err := fs.find(name)
	if err == nil {
		fs.journal().changes(o)
		o.appendOnly, o.immutable = appendOnly, immutable
	}
	return err
}

// SysfsMode is st_mode of lstat(2) of a path in the machine's sysfs.
func (m *Machine) SysfsMode(path string) (uint32, error) {
	s := m.sysfs
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, err := s.lookup(path, false)
	if err != nil {
		return 0, err
	}
	switch n.kind {
	case sysfsDir:
		return platform.SIFDIR | 0o755, nil
	case sysfsLink:
		return platform.SIFLNK | 0o777, nil
	}
	return platform.SIFREG | n.mode, nil
}
