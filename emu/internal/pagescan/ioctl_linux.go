//go:build amd64 || arm64

package pagescan

import (
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's interface, from <linux/userfaultfd.h> and <linux/fs.h>.
const (
	uffdUserModeOnly = 1

	uffdAPI            = 0xaa
	uffdioAPI          = 0xc018aa3f
	uffdioRegister     = 0xc020aa00
	uffdioUnregister   = 0x8010aa01
	uffdioWriteProtect = 0xc018aa06

	registerModeWP = 1 << 1

	featureWPHugetlbfsShmem = 1 << 12
	featureWPAsync          = 1 << 15

	pagemapScan = 0xc0606610

	scanWPMatching = 1 << 0

	pageIsWPAllowed = 1 << 0
	pageIsWritten   = 1 << 1
	pageIsPresent   = 1 << 3
	pageIsSwapped   = 1 << 4
	pageIsHuge      = 1 << 6
)

type uffdRange struct{ start, len uint64 }

type uffdAPIArg struct{ api, features, ioctls uint64 }

type uffdRegisterArg struct {
	uffdRange
	mode, ioctls uint64
}

type uffdWriteProtectArg struct {
	uffdRange
	mode uint64
}

type pageRegion struct{ start, end, _ uint64 }

type scanArg struct {
	size, flags, start, end, walkEnd                    uint64
	vec, vecLen, maxPages                               uint64
	inverted, categoryMask, categoryAnyofMask, returned uint64
}

// scanBuffer is what one scan needs. It is on the heap, since the kernel gets the address
// of its vec as a number.
type scanBuffer struct {
	arg scanArg
	vec [256]pageRegion
}

var scanBuffers = sync.Pool{New: func() any { return new(scanBuffer) }}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// userfaultfd makes a descriptor with asynchronous write protection.
func userfaultfd() (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, uffdUserModeOnly|unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	arg := uffdAPIArg{api: uffdAPI, features: featureWPHugetlbfsShmem | featureWPAsync}
	if _, err := ioctl(int(fd), uffdioAPI, unsafe.Pointer(&arg)); err != nil {
		_ = unix.Close(int(fd))
		return -1, err
	}
	return int(fd), nil
}

func register(fd int, start, n uint64) error {
	arg := uffdRegisterArg{uffdRange: uffdRange{start, n}, mode: registerModeWP}
	_, err := ioctl(fd, uffdioRegister, unsafe.Pointer(&arg))
	return err
}

func unregister(fd int, start, n uint64) error {
	arg := uffdRange{start, n}
	_, err := ioctl(fd, uffdioUnregister, unsafe.Pointer(&arg))
	return err
}

// unprotect makes all pages of the range count as written.
func unprotect(fd int, start, n uint64) error {
	arg := uffdWriteProtectArg{uffdRange: uffdRange{start, n}}
	_, err := ioctl(fd, uffdioWriteProtect, unsafe.Pointer(&arg))
	return err
}

// madvise takes numbers: the memory isn't Go's, and may be gone.
func madvise(start, n uint64, advice uintptr) error {
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(n), advice)
	if errno != 0 {
		return errno
	}
	return nil
}

// scan calls visit for each range of pages that q asks for. Adjacent ranges may come in
// pieces.
func scan(fd int, start, end uint64, q scanArg, visit func(addr uintptr, n uint64)) error {
	b := scanBuffers.Get().(*scanBuffer)
	defer scanBuffers.Put(b)
	for start < end {
		b.arg = q
		b.arg.size = uint64(unsafe.Sizeof(b.arg))
		b.arg.start, b.arg.end = start, end
		b.arg.vec, b.arg.vecLen = uint64(uintptr(unsafe.Pointer(&b.vec))), uint64(len(b.vec))
		n, err := ioctl(fd, pagemapScan, unsafe.Pointer(&b.arg))
		runtime.KeepAlive(b)
		if err == syscall.EINTR || err == syscall.EAGAIN {
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range b.vec[:n] {
			visit(uintptr(r.start), r.end-r.start)
		}
		if b.arg.walkEnd <= start {
			return syscall.EIO // the kernel doesn't get on
		}
		start = b.arg.walkEnd
	}
	return nil
}
