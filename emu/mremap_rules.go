package emu

import (
	"syscall"

	"pmemlab/pmem2/platform"
)

// The rules by which Linux answers mremap, in the order in which it applies them. They
// were measured on Linux 6.1; 6.18 moves a source of several mappings, which here is
// EFAULT.

const mremapDontunmap = 4

// mremapCall are the arguments of mremap and what is mapped where they point.
type mremapCall struct {
	addr, newAddr     uintptr
	length, newLength uint64
	flags             int
	taskSize          uint64 // bytes of the address space

	mapped     bool    // addr is in a mapping:
	start, end uintptr // where that begins and ends
	shared     bool
	// align is what a part of it must begin and end at a multiple of.
	align uint64
	// cutsTarget, cutsTail: taking away what is in the target range, or what a
	// smaller new length leaves over of the source, cuts a mapping where it can't be.
	cutsTarget, cutsTail bool
	// room: behind the source there is room to grow, as far as anyone knows.
	room bool
}

// lengths are the old and the new length in whole pages.
func (c mremapCall) lengths() (n, newN uint64) {
	return roundUp(c.length, pageSize), roundUp(c.newLength, pageSize)
}

// fixed says that the target is newAddr and nothing else.
func (c mremapCall) fixed() bool { return c.flags&platform.MremapFixed != 0 }

// mremapAnswer is the kernel's: 0, or the errno and what it has unmapped before it
// came upon that: the target, and what the new length leaves over of the source.
type mremapAnswer struct {
	errno        syscall.Errno
	target, tail bool
}

func mremapRules(c mremapCall) mremapAnswer {
	n, newN := c.lengths()
	const known = platform.MremapMaymove | platform.MremapFixed | mremapDontunmap
	maymove, dontunmap := c.flags&platform.MremapMaymove != 0, c.flags&mremapDontunmap != 0
	switch {
	case c.flags&^known != 0, c.fixed() && !maymove,
		dontunmap && (!maymove || c.length != c.newLength),
		c.addr%pageSize != 0, newN == 0:
		return mremapAnswer{errno: syscall.EINVAL}
	case !c.mapped:
		return mremapAnswer{errno: syscall.EFAULT}
	case c.fixed() || dontunmap:
		return c.moveTo(n, newN)
	case n >= newN:
		if c.cutsTail {
			return mremapAnswer{errno: syscall.EINVAL}
		}
		return mremapAnswer{}
	}
	errno := c.checkSource(n)
	switch {
	case errno != 0:
	case newN > c.taskSize:
		errno = syscall.ENOMEM
	case n == c.sourceRoom() && c.room: // it grows where it is
	case !maymove:
		errno = syscall.ENOMEM
	default:
		errno = c.checkSplit(n)
	}
	return mremapAnswer{errno: errno}
}

// moveTo is the answer where newAddr counts: it is looked at last whether the source
// can be moved at all.
func (c mremapCall) moveTo(n, newN uint64) mremapAnswer {
	from, to := uint64(c.addr), uint64(c.newAddr)
	overlap := from+n > to && to+newN > from
	if to%pageSize != 0 || newN > c.taskSize || to > c.taskSize-newN || overlap || c.cutsTarget {
		return mremapAnswer{errno: syscall.EINVAL}
	}
	a := mremapAnswer{target: c.fixed()}
	if n > newN {
		if c.cutsTail {
			a.errno = syscall.EINVAL
			return a
		}
		a.tail, n = true, newN
	}
	if a.errno = c.checkSource(n); a.errno == 0 {
		a.errno = c.checkSplit(n)
	}
	if a.errno == 0 {
		return mremapAnswer{}
	}
	return a
}

// checkSource looks whether n bytes from addr are one mapping. For n = 0, which asks
// for a second mapping of the same, it must be a shared one.
func (c mremapCall) checkSource(n uint64) syscall.Errno {
	switch {
	case n == 0 && !c.shared:
		return syscall.EINVAL
	case n > c.sourceRoom():
		return syscall.EFAULT
	}
	return 0
}

// sourceRoom is how many bytes of its mapping there are from addr on.
func (c mremapCall) sourceRoom() uint64 { return uint64(c.end - c.addr) }

// checkSplit looks whether n bytes from addr can be split off their mapping.
func (c mremapCall) checkSplit(n uint64) syscall.Errno {
	from, to := uint64(c.addr), uint64(c.addr)+n
	if from != uint64(c.start) && from%c.align != 0 || to != uint64(c.end) && to%c.align != 0 {
		return syscall.EINVAL
	}
	return 0
}
