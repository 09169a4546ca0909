package emu

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// FSType is a kind of file system.
type FSType int

const (
	Ext4 FSType = iota
	XFS
	Tmpfs
)

var fsTypeNames = [...]string{"Ext4", "XFS", "Tmpfs"}

// String returns the name of the constant.
func (t FSType) String() string {
	if t < 0 || int(t) >= len(fsTypeNames) {
		return fmt.Sprintf("FSType(%d)", int(t))
	}
	return fsTypeNames[t]
}

// FS is a mounted file system to add to a machine.
type FS struct {
	// Size is how many bytes of files it has room for, a multiple of 4096 and at
	// most MaxSize. Sparse files may be larger.
	Size uint64
	// Type is the kind of file system.
	Type FSType
	// DAX mounts it with -o dax. Otherwise files go through the page cache and
	// MAP_SYNC is refused. Tmpfs has no DAX.
	DAX bool
	// VirtioPmem puts it on a virtio-pmem device, where DAX works and MAP_SYNC is
	// refused. Tmpfs has no device. What is durable there goes by cache lines as of
	// other DAX, msync and fsync being the flush that makes names and sizes durable.
	VirtioPmem bool
	// Region is what its block device lies on; the zero value for Tmpfs, which has
	// no device, and for VirtioPmem, which has no DIMMs.
	Region Region
}

// FileSystem is a mounted file system: a name space of its own. Names in its methods
// are paths from its root, "a/b". The errors of its methods wrap a [syscall.Errno]
// in an [io/fs.PathError], or say what was wrong with the FS it was made from.
type FileSystem struct {
	m     *Machine
	cfg   FS
	err   error // what was wrong with the config
	mount string
	dev   uint64 // st_dev of its files
	block Device

	// Below: guarded by the machine's mu.
	root    *object
	nextIno uint64
	inodes  map[*object]struct{} // that take room
	node    *object              // the block device; nil of a tmpfs
	taken   []extent             // of the block device, sorted and apart: blocks of files
	// versions are what the file system said before each change since the last commit, the
	// oldest first; versionsLost: some in between were forgotten.
	versions     []*fsVersion
	versionsLost bool
}

// AddFS adds a file system, with its block device on a region of its own unless it is
// a tmpfs. Bad values make one whose methods fail; see [Machine.Err].
func (m *Machine) AddFS(cfg FS) *FileSystem {
	fs := &FileSystem{m: m, cfg: cfg, inodes: map[*object]struct{}{}}
	fs.block = Device{m: m, size: cfg.Size, align: pageSize}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.down:
		fs.err = errDown
	case cfg.Type < Ext4 || cfg.Type > Tmpfs:
		fs.err = fmt.Errorf("emu: FS.Type is %d, allowed are Ext4 (%d), XFS (%d) and Tmpfs (%d)", cfg.Type, Ext4, XFS, Tmpfs)
	case cfg.Size == 0 || cfg.Size > MaxSize || cfg.Size%pageSize != 0:
		fs.err = fmt.Errorf("emu: FS.Size is %d, allowed is a multiple of %d from %d to %d (64 TiB)",
			cfg.Size, pageSize, pageSize, uint64(MaxSize))
	case cfg.Type == Tmpfs && (cfg.DAX || cfg.VirtioPmem):
		fs.err = fmt.Errorf("emu: FS.DAX is %t and FS.VirtioPmem %t, allowed for Tmpfs is false", cfg.DAX, cfg.VirtioPmem)
	case (cfg.Type == Tmpfs || cfg.VirtioPmem) && !cfg.Region.isZero():
		fs.err = fmt.Errorf("emu: FS.Region is %+v, allowed for Tmpfs and VirtioPmem is %+v", cfg.Region, Region{})
	default:
		fs.err = cfg.Region.check("FS.Region")
	}
	if fs.err != nil {
		m.remember(fs.err)
		fs.block.err = fs.err
		return fs
	}
	if cfg.Type == Tmpfs {
		fs.mount = fmt.Sprintf("/mnt/tmpfs%d", m.counts.tmpfs)
		fs.dev = platform.Mkdev(0, uint32(firstTmpfsMinor+m.counts.tmpfs))
		m.counts.tmpfs++
		fs.block.err = fmt.Errorf("emu: %s is a tmpfs, which has no block device: %w", fs.mount, syscall.ENODEV)
	} else {
		r := m.newRegion(cfg.Size, 2<<20, cfg.VirtioPmem, cfg.Region)
		minor := m.counts.block
		m.counts.block++
		fs.mount = fmt.Sprintf("/mnt/pmem%d", r.number)
		fs.dev = platform.Mkdev(blockMajor, uint32(minor))
		fs.block.path = fmt.Sprintf("/dev/pmem%d", r.number)
		fs.block.sysfs = fmt.Sprintf("dev/block/%d:%d", blockMajor, minor)
		fs.block.region = r
		node := &object{class: classBlock, holds: fs, region: r, size: cfg.Size, mode: platform.SIFBLK | 0o600, rdev: fs.dev}
		if fs.err = m.addNode(fs.block.path, node, cfg.Size); fs.err != nil {
			fs.block.err = fs.err
			return fs
		}
		fs.node = node
		m.populatePmem(r, minor, cfg)
	}
	fs.nextIno = 2 // the root of an ext4
	fs.root, fs.err = fs.newInode(classDirectory, fs.mount, 0o755)
	if fs.err != nil {
		m.remember(fs.err)
		return fs
	}
	fs.root.parent = fs.root
	m.mounts = append(m.mounts, fs)
	return fs
}

const firstTmpfsMinor = 24

// newInode makes a file or directory without a place in the name space. The
// machine's mu must be held.
func (fs *FileSystem) newInode(c class, name string, mode uint32) (*object, error) {
	o := &object{class: c, name: name, fs: fs, dev: fs.dev, ino: fs.nextIno, mode: mode & 0o7777}
	if c == classDirectory {
		o.mode |= platform.SIFDIR
		o.children = map[string]*object{}
	} else {
		o.mode |= platform.SIFREG
	}
	if err := fs.m.newObject(o, 0); err != nil {
		return nil, err
	}
	fs.nextIno++
	if c == classRegular {
		fs.inodes[o] = struct{}{}
	}
	return o, nil
}

// BlockDevice returns the /dev/pmemN that the file system is on. That of a tmpfs
// can't be opened. Its bytes aren't those of the files.
func (fs *FileSystem) BlockDevice() *Device { return &fs.block }

// Path returns the path of name on its machine: "/mnt/pmem0/a/b".
func (fs *FileSystem) Path(name string) string {
	return fs.mount + "/" + strings.TrimPrefix(name, "/")
}

// Open is open(2) of name. mode counts with O_CREAT and O_TMPFILE.
func (fs *FileSystem) Open(name string, flags int, mode uint32) (*File, error) {
	if fs.err != nil {
		return nil, fs.err
	}
	return fs.m.openFile(fs.Path(name), flags, mode)
}

// Create makes the file name of size bytes, all zeroes and none allocated, and the
// directories above it, and opens it for reading and writing. A file that exists is
// emptied first.
func (fs *FileSystem) Create(name string, size uint64) (*File, error) {
	if fs.err != nil {
		return nil, fs.err
	}
	for i, c := range name {
		if c != '/' || i == 0 {
			continue
		}
		if err := fs.Mkdir(name[:i]); err != nil && !errors.Is(err, syscall.EEXIST) {
			return nil, err
		}
	}
	f, err := fs.Open(name, platform.ORdwr|platform.OCreat|platform.OTrunc, 0o644)
	if err != nil {
		return nil, err
	}
	if err := fs.m.Ftruncate(f.fd, int64(size)); err != nil {
		_ = f.Close()
		return nil, &iofs.PathError{Op: "truncate", Path: f.name, Err: err}
	}
	return f, nil
}

// Mkdir makes the directory name.
func (fs *FileSystem) Mkdir(name string) error {
	return fs.do("mkdir", name, func() error { return fs.mkdir(name) })
}

// mkdir makes the directory name. The machine's mu must be held.
func (fs *FileSystem) mkdir(name string) error {
	dir, last, err := fs.walkParent(strings.TrimRight(name, "/"))
	if err != nil {
		return err
	}
	if _, err := fs.child(dir, last); err == nil {
		return syscall.EEXIST // also the root, "." and ".."
	} else if err != syscall.ENOENT {
		return err
	}
	o, err := fs.newInode(classDirectory, fs.Path(name), 0o755)
	if err != nil {
		return errnoOf(err)
	}
	fs.journal().creates(o)
	o.parent = dir
	dir.children[last] = o
	return nil
}

// Remove removes the file or the empty directory name. What is open or mapped lives on
// without a name. EPERM: it is append-only or immutable.
func (fs *FileSystem) Remove(name string) error {
	return fs.do("remove", name, func() error {
		dir, last, err := fs.walkParent(name)
		if err != nil {
			return err
		}
		o, err := fs.child(dir, last)
		switch {
		case err != nil:
			return err
		case o == fs.root || last == "." || last == "..":
			return syscall.EBUSY
		case len(o.children) > 0:
			return syscall.ENOTEMPTY
		}
		return fs.unlink(dir, last, o)
	})
}

// unlink takes the name of o away. The machine's mu must be held.
func (fs *FileSystem) unlink(dir *object, name string, o *object) error {
	if o.appendOnly || o.immutable {
		return syscall.EPERM
	}
	fs.journal().removes(o, dir, name)
	delete(dir.children, name)
	o.linked = false
	fs.m.release(o)
	return nil
}

// Truncate sets the size of the file name to size bytes.
func (fs *FileSystem) Truncate(name string, size uint64) error {
	return fs.do("truncate", name, func() error {
		if size > maxFileOffset {
			return syscall.EINVAL
		}
		o, err := fs.find(name)
		switch {
		case err != nil:
			return err
		case o.class == classDirectory:
			return syscall.EISDIR
		case o.appendOnly || o.immutable:
			return syscall.EPERM
		}
		return fs.m.resize(o, o.keeper, int64(size))
	})
}

// SetAppendOnly sets or clears the append-only attribute (chattr +a) of the file name,
// also for those who have it open.
func (fs *FileSystem) SetAppendOnly(name string, on bool) error {
	return fs.change(name, func(o *object) { o.appendOnly = on })
}

// SetImmutable sets or clears the immutable attribute (chattr +i) of the file name,
// also for those who have it open.
func (fs *FileSystem) SetImmutable(name string, on bool) error {
	return fs.change(name, func(o *object) { o.immutable = on })
}

func (fs *FileSystem) change(name string, set func(*object)) error {
	return fs.do("chattr", name, func() error {
		o, err := fs.find(name)
		if err == nil {
			fs.journal().changes(o)
			set(o)
		}
		return err
	})
}

// do calls f with the machine's mu held and wraps its error with the name.
func (fs *FileSystem) do(op, name string, f func() error) error {
	if fs.err != nil {
		return fs.err
	}
	fs.m.mu.Lock()
	defer fs.m.mu.Unlock()
	err := errnoOf(errDown)
	if !fs.m.down {
		err = f()
	}
	if err != nil {
		return &iofs.PathError{Op: op, Path: fs.Path(name), Err: err}
	}
	return nil
}

// used is how many bytes the files take. The machine's mu must be held.
func (fs *FileSystem) used() (uint64, error) {
	var sum uint64
	for o := range fs.inodes {
		n, err := o.allocatedBytes()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// reserve says whether n more bytes fit: nil or ENOSPC. The machine's mu must be held.
func (fs *FileSystem) reserve(n uint64) error {
	if n == 0 {
		return nil
	}
	used, err := fs.used()
	if err != nil {
		return err
	}
	room := fs.cfg.Size
	if fs.node != nil { // no file gets a bad block
		for _, x := range cutExtents(pagesOfAll(fs.node.bad), fs.taken) {
			room -= x.end - x.start
		}
	}
	if used > room || n > room-used {
		return syscall.ENOSPC
	}
	return nil
}

// maxFile is the largest size of a file in bytes.
func (fs *FileSystem) maxFile() int64 {
	if fs.cfg.Type == Ext4 {
		return maxFileExt4
	}
	return maxFileOffset
}

// onBlocks: the file system knows MAP_SYNC and extents.
func (fs *FileSystem) onBlocks() bool { return fs.cfg.Type != Tmpfs }
