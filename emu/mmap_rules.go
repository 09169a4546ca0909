package emu

import (
	"syscall"

	"pmemlab/pmem2/platform"
)

// The rules by which Linux answers mmap, in the order in which it applies them.
// They were measured on Linux 6.1; the tests hold them against the table of what
// was measured and, where it has such an object, against the kernel of the host.

// class is what kind of object a descriptor refers to, as far as the kernel's
// answers depend on it.
type class int

const (
	classDevDax    class = iota
	classRegular         // file of a file system
	classDirectory       // of a file system
	classBlock           // block device
	classZero            // /dev/zero
	classNull            // character device without mmap: /dev/null, /dev/nmem0
	classTTY             // character device without mmap and without offsets
)

const (
	pageSize = 4096 // bytes, of the machine that was measured
	// legacyMapMask: these flags may come with MAP_SHARED_VALIDATE, and
	// MAP_SHARED drops all others. MAP_FIXED_NOREPLACE is, by an oversight that
	// Linux 6.18 still has, not among them.
	legacyMapMask = 0x7c07f900 | platform.MapShared | platform.MapPrivate | platform.MapFixed |
		platform.MapAnonymous | map32Bit | mapAbove4G
	map32Bit   = 0x40
	mapAbove4G = 0x80
	// maxFileOffset bounds offset+length of files and block devices; those of
	// character devices are unsigned.
	maxFileOffset = 1<<63 - 1
)

// mmapObject is all that mmap asks of an object.
type mmapObject struct {
	class class
	// knowsSync: the file system or driver knows MAP_SYNC, so that
	// MAP_SHARED_VALIDATE lets it through. syncs: it can do it, too.
	knowsSync, syncs bool
	align            uint64 // of device DAX, in bytes
	appendOnly       bool
}

// mmapCall are the arguments of mmap and of the open before it.
type mmapCall struct {
	openFlags   int // access mode and O_PATH
	addr        uintptr
	length      uint64
	prot, flags int
	off         int64
	// occupied: something is mapped in the range that addr asks for.
	occupied bool
	// oldKernel: older than Linux 4.15, without MAP_SHARED_VALIDATE.
	oldKernel bool
	taskSize  uint64 // bytes of the address space
}

// mmapRules is the kernel's answer: 0, or the errno. late says that it is found
// only after a MAP_FIXED mapping has already unmapped what was in its place.
func mmapRules(o mmapObject, c mmapCall) (errno syscall.Errno, late bool) {
	if c.off%pageSize != 0 {
		return syscall.EINVAL, false
	}
	if c.openFlags&platform.OPath != 0 {
		return syscall.EBADF, false
	}
	if c.oldKernel {
		// It doesn't know these bits, and unknown bits are ignored.
		c.flags &^= platform.MapSync | platform.MapFixedNoreplace
	}
	if c.flags&platform.MapHugetlb != 0 || c.length == 0 {
		return syscall.EINVAL, false
	}
	n := roundUp(c.length, pageSize)
	if n == 0 || n > c.taskSize { // 0: rounded past the end of the numbers
		return syscall.ENOMEM, false
	}
	fixed := c.flags&(platform.MapFixed|platform.MapFixedNoreplace) != 0
	if fixed {
		if uint64(c.addr) > c.taskSize-n {
			return syscall.ENOMEM, false
		}
		if c.addr%pageSize != 0 {
			return syscall.EINVAL, false
		}
	}
	if c.flags&platform.MapFixedNoreplace != 0 && c.occupied {
		return syscall.EEXIST, false
	}
	limit := uint64(1<<64 - 1)
	if o.class == classRegular || o.class == classBlock {
		limit = maxFileOffset
	}
	if n > limit || uint64(c.off)>>12 > (limit-n)>>12 {
		return syscall.EOVERFLOW, false
	}
	shared := false
	switch c.flags & platform.MapType {
	case platform.MapSharedValidate:
		allowed := legacyMapMask
		if o.knowsSync {
			allowed |= platform.MapSync
		}
		if c.oldKernel {
			return syscall.EINVAL, false
		}
		if c.flags&^allowed&^platform.MapType != 0 {
			return syscall.EOPNOTSUPP, false
		}
		fallthrough
	case platform.MapShared:
		shared = true
		writable := canWrite(c.openFlags)
		if c.prot&platform.ProtWrite != 0 && !writable || o.appendOnly && writable {
			return syscall.EACCES, false
		}
	case platform.MapPrivate:
	default:
		return syscall.EINVAL, false
	}
	if !canRead(c.openFlags) {
		return syscall.EACCES, false
	}
	switch o.class {
	case classDirectory, classNull, classTTY:
		return syscall.ENODEV, false
	case classRegular:
		// Also with MAP_SHARED and MAP_PRIVATE, which don't validate the bit.
		if o.knowsSync && !o.syncs && c.flags&platform.MapSync != 0 {
			return syscall.EOPNOTSUPP, true
		}
	case classDevDax:
		if !shared || !placedAligned(o, c, n, fixed) {
			return syscall.EINVAL, true
		}
	}
	return 0, false
}

// placedAligned says whether a device DAX mapping of n bytes begins and ends at
// multiples of the device's alignment. Where the kernel falls back on an address
// that is aligned by luck alone, the answer is no.
func placedAligned(o mmapObject, c mmapCall, n uint64, fixed bool) bool {
	if o.align <= pageSize {
		return true
	}
	if n%o.align != 0 {
		return false
	}
	hint := uint64(c.addr) &^ (pageSize - 1)
	switch {
	case fixed:
		return hint%o.align == 0
	case hint != 0:
		return hint%o.align == 0 && !c.occupied && hint <= c.taskSize-n
	}
	return uint64(c.off)%o.align == 0
}

func canRead(openFlags int) bool {
	mode := openFlags & platform.OAccmode
	return mode == platform.ORdonly || mode == platform.ORdwr
}

func canWrite(openFlags int) bool {
	mode := openFlags & platform.OAccmode
	return mode == platform.OWronly || mode == platform.ORdwr
}

// roundUp rounds n up to a multiple of the power of two align; it wraps to 0.
func roundUp(n, align uint64) uint64 { return (n + align - 1) &^ (align - 1) }
