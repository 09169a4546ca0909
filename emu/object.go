package emu

import (
	"fmt"
	iofs "io/fs"
	"math"
	"sync"
	"syscall"

	"pmemlab/pmem2/platform"
)

// object is an inode of the machine: a device node, a file or a directory. It stays
// known until the machine ends, since descriptors that nobody told the machine of
// may refer to it.
type object struct {
	class class
	// number counts the objects of the machine, from 1; none is used twice.
	number int
	id     memfdID
	name   string // the path that it was made with, for messages

	// What the emulated stat tells.
	dev, ino, rdev uint64
	mode           uint32

	fs   *FileSystem // of a file or directory
	size uint64      // of a device, in bytes
	// align is that of device DAX, in bytes.
	align uint64

	// Below: guarded by the machine's mu.

	keeper                int // the machine's own descriptor; -1 once nobody needs it
	opens                 int // descriptors that the machine opened
	appendOnly, immutable bool
	linked                bool               // has a name
	spans                 []uint64           // of the machine's media
	mapped                bool               // at some time, shared
	suspects              []extent           // what may have changed since the last look: pages, sorted and apart
	suspectAll            bool               // all that holds data may have
	changeTime            int64              // of the memfd at the last look; 0: there was none
	parent                *object            // of a directory; the root's is itself
	children              map[string]*object // of a directory
	// allocated is what fallocate allocated and holds no data yet, or did when it
	// was allocated: sorted and apart, in bytes.
	allocated []extent
	// zeroed is what counts as written though the memfd may hold no data for it, since
	// it is or was bad.
	zeroed []extent
	blocks []blockRun  // of a file or directory, sorted, as far as anyone asked
	region *region     // of device DAX and block devices
	holds  *FileSystem // of a block device
	bad    []extent    // of these: the bad sectors, sorted and apart, in bytes
	// badPages are the pages whose accesses fault: sorted and apart, in bytes.
	badPages []extent
	// patched: bad pages were mapped so that they fault, or mapped back.
	patched bool
	// lostWrite: what was written didn't reach the media. The next fsync says so.
	lostWrite bool
}

// errDown says why nothing can be made, opened or changed any more.
var errDown = fmt.Errorf("emu: the machine is shut down: %w", syscall.ENODEV)

// newObject makes the memfd of o, size bytes long, and makes o known. mu must be held.
func (m *Machine) newObject(o *object, size uint64) error {
	if m.down {
		return errDown
	}
	fd, err := newMemfd(o.name)
	if err != nil {
		return fmt.Errorf("emu: no memory for %s: %w", o.name, err)
	}
	st, err := m.host.Fstat(fd)
	if err == nil {
		err = m.host.Ftruncate(fd, int64(size))
	}
	if err == nil && m.host.PageSize() != pageSize {
		err = fmt.Errorf("pages of the host have %d bytes, the machine needs %d", m.host.PageSize(), pageSize)
	}
	if err != nil {
		_ = m.host.Close(fd)
		return fmt.Errorf("emu: no memory for %s: %w", o.name, err)
	}
	o.id = memfdID{st.Dev, st.Ino}
	o.keeper = fd
	o.linked = true
	m.counts.object++
	o.number = m.counts.object
	m.objects[o.id] = o
	delete(m.released, o.id) // it had the inode before
	return nil
}

func (m *Machine) closeKeeper(o *object) error {
	if o.keeper < 0 {
		return nil
	}
	err := m.host.Close(o.keeper)
	o.keeper = -1
	return err
}

// release lets go of the memory of an object without a name that nobody uses: its
// data lives on in descriptors that the machine doesn't know, if there are any.
// mu must be held.
func (m *Machine) release(o *object) {
	if o == nil || o.linked || o.opens > 0 {
		return
	}
	for e := range m.maps.All() {
		if e.Value.obj == o {
			return
		}
	}
	if o.fs != nil {
		delete(o.fs.inodes, o)
		o.fs.freeBlocks(o, o.placed())
	}
	m.mem.released(o)
	// Closing a memfd has no error that anyone could act on.
	_ = m.closeKeeper(o)
	delete(m.objects, o.id)
	m.released[o.id] = o
}

// notForMemfd are the open flags that concern the name, which the memfd hasn't.
// OTmpfile holds ODirectory.
const notForMemfd = platform.OCreat | platform.OExcl | platform.OTrunc | platform.OTmpfile |
	platform.ODirectory | oNofollow

// openObject opens a descriptor on o. mu must be held.
func (m *Machine) openObject(o *object, flags int) (int, error) {
	if m.down {
		return -1, errnoOf(errDown)
	}
	fd, err := m.host.Open(procFD(o.keeper), flags&^notForMemfd, 0)
	if err != nil {
		return -1, err
	}
	if old := m.fds[fd]; old != nil { // it was closed behind the machine's back
		old.opens--
		m.release(old)
	}
	m.fds[fd] = o
	o.opens++
	return fd, nil
}

// lookup finds the object that fd refers to. through says that fd is none of the
// machine's but one that every machine takes: a FIFO or socket.
func (m *Machine) lookup(fd int) (o *object, through bool, err error) {
	o, _, through, err = m.lookupStat(fd)
	return o, through, err
}

// lookupStat is lookup, with what the host's fstat tells of fd.
func (m *Machine) lookupStat(fd int) (o *object, st platform.Stat, through bool, err error) {
	if fd < 0 || fd > math.MaxInt32 { // the host's kernel would look at 32 bits of it
		return nil, st, false, syscall.EBADF
	}
	if st, err = m.host.Fstat(fd); err != nil {
		return nil, st, false, err
	}
	m.mu.Lock()
	id := memfdID{st.Dev, st.Ino}
	if o = m.objects[id]; o == nil {
		o = m.released[id] // by a descriptor that was made past the machine
	}
	m.mu.Unlock()
	if o != nil {
		return o, st, false, nil
	}
	if t := st.Type(); t == platform.SIFIFO || t == platform.SIFSOCK {
		return nil, st, true, nil
	}
	return nil, platform.Stat{}, false, syscall.EBADF
}

// File is an open object of a machine. Its descriptor is a real one of this process
// and may be duplicated and wrapped at will.
type File struct {
	m    *Machine
	fd   int
	name string

	once     sync.Once
	closeErr error
}

// FD returns the descriptor, valid until Close.
func (f *File) FD() int { return f.fd }

// Name returns the path of the object on its machine.
func (f *File) Name() string { return f.name }

// Close closes the descriptor. Only the first call does anything; every call returns
// what it returned.
func (f *File) Close() error {
	f.once.Do(func() { f.closeErr = f.m.Close(f.fd) })
	return f.closeErr
}

// openFile is Machine.Open for the methods that tests call: the error has the path.
func (m *Machine) openFile(path string, flags int, mode uint32) (*File, error) {
	fd, err := m.Open(path, flags, mode)
	if err != nil {
		return nil, &iofs.PathError{Op: "open", Path: path, Err: err}
	}
	return &File{m: m, fd: fd, name: path}, nil
}

// lastSize is how long the object's memory is, in bytes; 0 if nobody needs it any more.
func (o *object) lastSize() uint64 {
	if o.class != classRegular {
		return o.size
	}
	st, err := o.fs.m.host.Fstat(o.keeper)
	if err != nil {
		return 0
	}
	return uint64(st.Size)
}
