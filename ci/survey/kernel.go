// Package survey asks a kernel how it treats persistent memory, thousands of questions,
// and writes down the answers: which mmap gets which errno, where accesses fault, what the
// other calls on descriptors and mappings answer, what sysfs lists. The same questions go
// to a real kernel, see [Host], and to an emulated machine, so that the answers can be
// compared one by one.
package survey

import "pmemlab/pmem2/platform"

// Kernel is a machine that can be asked: what the libraries use of it, and the calls that
// other programs make on the same descriptors and mappings. The methods are the system
// calls of their names and their errors are plain [syscall.Errno] values.
type Kernel interface {
	platform.Platform
	Descriptors
	Mappings
	Names
}

// Descriptors are further calls on descriptors.
type Descriptors interface {
	// Lseek is lseek(2).
	Lseek(fd int, off int64, whence int) (int64, error)
	// Fdatasync is fdatasync(2).
	Fdatasync(fd int) error
	// SyncFileRange is sync_file_range(2).
	SyncFileRange(fd int, off, length int64, flags int) error
	// Syncfs is syncfs(2).
	Syncfs(fd int) error
	// Flock is flock(2).
	Flock(fd, how int) error
	// LockOFD is fcntl(F_OFD_SETLK) of the whole file; kind is F_RDLCK, F_WRLCK or
	// F_UNLCK.
	LockOFD(fd int, kind int16) error
	// Fstatfs is fstatfs(2), of which it tells the type and the size of a block.
	Fstatfs(fd int) (kind, blockSize int64, err error)
}

// Mappings are further calls on the address space.
type Mappings interface {
	// Mprotect is mprotect(2).
	Mprotect(addr uintptr, length uint64, prot int) error
	// Madvise is madvise(2).
	Madvise(addr uintptr, length uint64, advice int) error
	// Mlock and Munlock are mlock(2) and munlock(2).
	Mlock(addr uintptr, length uint64) error
	Munlock(addr uintptr, length uint64) error
	// Mincore is mincore(2) without its answer.
	Mincore(addr uintptr, length uint64) error
	// VMFlags is the line VmFlags of /proc/self/smaps of the mapping at addr, "rd wr sh".
	VMFlags(addr uintptr) (string, error)
}

// Names are calls on paths.
type Names interface {
	// Mkdir is mkdir(2) with mode 0755.
	Mkdir(path string) error
	// SetFlags is the FS_IOC_SETFLAGS ioctl on a file: chattr +a, +i.
	SetFlags(path string, appendOnly, immutable bool) error
	// SysfsMode is st_mode of lstat(2) of a path in sysfs.
	SysfsMode(path string) (uint32, error)
}
