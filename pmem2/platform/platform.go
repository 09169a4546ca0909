// Package platform is the seam between the persistent-memory libraries and the
// machine beneath them: everything that pmem2 asks of a kernel and a CPU, and
// nothing of pmem2's own. [Host] is the Linux machine that the process runs on.
// The emulated machine of package emu is another implementation, and package
// emu/fault wraps any of them.
//
// The methods are the system calls of the same name and the errors that they
// return are plain [syscall.Errno] values, never wrapped: which errno means
// what is the business of the caller. Constants and structures are those of
// Linux on every operating system, so that the packages above compile anywhere.
//
// Implementations are safe for any number of goroutines.
package platform

// Platform is a machine: files, memory, sysfs and a CPU. Two values are the same
// machine if they compare equal, so an implementation is a pointer.
type Platform interface {
	Files
	Memory
	Sysfs
	CPU
}

// Files are the calls on paths and descriptors. Descriptors are real ones of
// this process, also on an emulated machine.
type Files interface {
	// Open is open(2). path names a file of this machine.
	Open(path string, flags int, mode uint32) (fd int, err error)
	// Close is close(2) of a descriptor that Open returned.
	Close(fd int) error
	// Unlink is unlink(2).
	Unlink(path string) error
	// Ftruncate is ftruncate(2); size is in bytes.
	Ftruncate(fd int, size int64) error
	// Fstat is fstat(2).
	Fstat(fd int) (Stat, error)
	// Statx is statx(2) of the open file itself (AT_EMPTY_PATH), for its
	// attributes.
	Statx(fd int) (Statx, error)
	// GetFL is fcntl(F_GETFL): access mode and status flags.
	GetFL(fd int) (flags int, err error)
	// Pread and Pwrite are pread(2) and pwrite(2).
	Pread(fd int, p []byte, off int64) (int, error)
	Pwrite(fd int, p []byte, off int64) (int, error)
	// Fallocate is fallocate(2).
	Fallocate(fd int, mode uint32, off, length int64) error
	// Fiemap is the FS_IOC_FIEMAP ioctl: it fills extents with those that
	// overlap [start, start+length) and returns how many the kernel filled in.
	// With no room in extents it returns how many there are.
	Fiemap(fd int, start, length uint64, flags uint32, extents []FiemapExtent) (int, error)
	// Fsync is fsync(2).
	Fsync(fd int) error
	// ARSCapabilities is the ND_IOCTL_ARS_CAP ioctl on an nvdimm bus device
	// (/dev/ndctlN) for a range of system physical addresses.
	ARSCapabilities(fd int, addr, length uint64) (ARSCap, error)
	// ClearError is the ND_IOCTL_CLEAR_ERROR ioctl on an nvdimm bus device. It
	// returns how many bytes from addr on were cleared.
	ClearError(fd int, addr, length uint64) (cleared uint64, err error)
}

// Memory are the calls on the address space. Addresses are those of this
// process, also on an emulated machine: there is one address space.
type Memory interface {
	// Mmap is mmap(2). For an anonymous mapping fd is -1.
	Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error)
	// Munmap is munmap(2).
	Munmap(addr uintptr, length uint64) error
	// Mremap is mremap(2); newAddr counts only with MremapFixed.
	Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error)
	// Msync is msync(2).
	Msync(addr uintptr, length uint64, flags int) error
	// PageSize is the size of a page in bytes, a power of two.
	PageSize() uint64
}

// Sysfs are the accesses to sysfs. Every path is relative to its root, without
// a leading slash: "bus/nd/devices/region0/persistence_domain". Symbolic links
// inside a path are followed.
type Sysfs interface {
	// ReadAttr returns the text of an attribute, its newline included. Each
	// of open, read and close can fail; the errno is that of the first.
	ReadAttr(path string) (string, error)
	// WriteAttr writes text to an attribute in one write.
	WriteAttr(path, text string) error
	// Readlink returns the target of a symbolic link as it is stored.
	Readlink(path string) (string, error)
	// List returns the names in a directory, sorted.
	List(path string) ([]string, error)
}

// CPU are the cache operations of the machine.
type CPU interface {
	// CacheOps returns the operations for stores of the given granularity.
	// The same pointer is returned every time: two mappings share their
	// operations if and only if the pointers are equal.
	CacheOps(g Granularity) *CacheOps
}

// Granularity is the unit in which stores become durable: see libpmem2(7). The
// values are those of enum pmem2_granularity; a smaller one is a finer one.
type Granularity int

// The three granularities of libpmem2(7).
const (
	// GranularityByte: caches are inside the power-fail protected domain.
	GranularityByte Granularity = iota
	// GranularityCacheLine: the memory controller is protected, caches are not.
	GranularityCacheLine
	// GranularityPage: block storage; durable after a system call on pages.
	GranularityPage
)

// String returns the name that PMEM2_FORCE_GRANULARITY uses: BYTE, CACHE_LINE
// or PAGE.
func (g Granularity) String() string {
	switch g {
	case GranularityByte:
		return "BYTE"
	case GranularityCacheLine:
		return "CACHE_LINE"
	case GranularityPage:
		return "PAGE"
	}
	return "invalid granularity"
}

// Valid reports whether g is one of the three granularities.
func (g Granularity) Valid() bool {
	return g >= GranularityByte && g <= GranularityPage
}

// Stat is what fstat(2) tells.
type Stat struct {
	Dev, Ino  uint64
	Mode      uint32 // file type (SIFMT) and permissions
	Rdev      uint64 // of a character or block device
	Size      int64  // in bytes; 0 for a device
	BlockSize int64
}

// Type returns the file type bits of Mode: SIFREG, SIFDIR, …
func (s Stat) Type() uint32 { return s.Mode & SIFMT }

// Major and Minor split Rdev as Linux does.
func (s Stat) Major() uint32 {
	return uint32((s.Rdev&0x00000000000fff00)>>8 | (s.Rdev&0xfffff00000000000)>>32)
}

// Minor is described at Major.
func (s Stat) Minor() uint32 {
	return uint32(s.Rdev&0xff | (s.Rdev&0x00000ffffff00000)>>12)
}

// Mkdev is the device number that Major and Minor split.
func Mkdev(major, minor uint32) uint64 {
	return uint64(major&0xfff)<<8 | uint64(major&0xfffff000)<<32 |
		uint64(minor&0xff) | uint64(minor&0xffffff00)<<12
}

// Statx is what statx(2) tells beyond Stat.
type Statx struct {
	Attributes     uint64 // StatxAttr…: those that are set
	AttributesMask uint64 // those that the file system knows
}

// FiemapExtent is struct fiemap_extent: all in bytes.
type FiemapExtent struct {
	Logical, Physical, Length uint64
	Flags                     uint32
}

// ARSCap is the answer of ND_IOCTL_ARS_CAP.
type ARSCap struct {
	Status         uint32 // of the platform firmware
	MaxOut         uint32 // bytes of the longest ARS status answer
	ClearErrorUnit uint32 // bytes: the unit of ClearError
	Flags          uint16
}
