package platform

import (
	"errors"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// host is the Linux kernel and the CPU that the process runs on.
type host struct {
	sysfs    string // root of sysfs
	pageSize uint64
	ops      *[GranularityPage + 1]CacheOps
}

func newHost(ops *[GranularityPage + 1]CacheOps) Platform {
	return &host{sysfs: "/sys", pageSize: uint64(os.Getpagesize()), ops: ops}
}

func (*host) Open(path string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Close is not repeated after EINTR: Linux has closed the descriptor then.
func (*host) Close(fd int) error { return unix.Close(fd) }

func (*host) Unlink(path string) error { return unix.Unlink(path) }

func (*host) Ftruncate(fd int, size int64) error {
	return retry(func() error { return unix.Ftruncate(fd, size) })
}

func (*host) Fstat(fd int) (Stat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Stat{}, err
	}
	return Stat{
		Dev: st.Dev, Ino: st.Ino, Mode: st.Mode, Rdev: st.Rdev,
		Size: st.Size, BlockSize: int64(st.Blksize), //nolint:unconvert // an int32 on arm64
	}, nil
}

func (*host) Statx(fd int) (Statx, error) {
	var stx unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &stx); err != nil {
		return Statx{}, err
	}
	return Statx{Attributes: stx.Attributes, AttributesMask: stx.Attributes_mask}, nil
}

func (*host) GetFL(fd int) (int, error) {
	return unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
}

func (*host) Pread(fd int, p []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(fd, p, off)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func (*host) Pwrite(fd int, p []byte, off int64) (int, error) {
	for {
		n, err := unix.Pwrite(fd, p, off)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func (*host) Fallocate(fd int, mode uint32, off, length int64) error {
	return retry(func() error { return unix.Fallocate(fd, mode, off, length) })
}

func (*host) Fsync(fd int) error {
	return retry(func() error { return unix.Fsync(fd) })
}

func (*host) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	got, _, errno := unix.Syscall6(unix.SYS_MMAP, addr, uintptr(length), uintptr(prot),
		uintptr(flags), uintptr(fd), uintptr(off))
	if errno != 0 {
		return 0, errno
	}
	return got, nil
}

func (*host) Munmap(addr uintptr, length uint64) error {
	_, _, errno := unix.Syscall(unix.SYS_MUNMAP, addr, uintptr(length), 0)
	return orNil(errno)
}

func (*host) Mremap(addr uintptr, length, newLength uint64, flags int, newAddr uintptr) (uintptr, error) {
	got, _, errno := unix.Syscall6(unix.SYS_MREMAP, addr, uintptr(length), uintptr(newLength),
		uintptr(flags), newAddr, 0)
	if errno != 0 {
		return 0, errno
	}
	return got, nil
}

func (*host) Msync(addr uintptr, length uint64, flags int) error {
	_, _, errno := unix.Syscall(unix.SYS_MSYNC, addr, uintptr(length), uintptr(flags))
	return orNil(errno)
}

func (h *host) PageSize() uint64 { return h.pageSize }

func (h *host) CacheOps(g Granularity) *CacheOps { return &h.ops[g] }

func (h *host) ReadAttr(path string) (string, error) {
	fd, err := h.Open(h.attr(path), unix.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	// An attribute is one page at most, and one read gives all of it.
	buf := make([]byte, h.pageSize)
	n, err := unix.Read(fd, buf)
	if closeErr := h.Close(fd); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

func (h *host) WriteAttr(path, text string) error {
	fd, err := h.Open(h.attr(path), unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n != len(text) {
		err = unix.EIO
	}
	if closeErr := h.Close(fd); err == nil {
		err = closeErr
	}
	return err
}

func (h *host) Readlink(path string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(h.attr(path), buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

func (h *host) List(path string) ([]string, error) {
	entries, err := os.ReadDir(h.attr(path)) // sorted by name
	if err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) {
			return nil, errno
		}
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// attr is not cleaned: ".." after a symbolic link is for the kernel to resolve.
func (h *host) attr(path string) string { return h.sysfs + "/" + path }

// fiemapHeader is struct fiemap without its array.
type fiemapHeader struct {
	start, length uint64
	flags, mapped uint32
	count, _      uint32
}

// fiemapExtent is struct fiemap_extent.
type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

const fsIocFiemap = 0xc020660b

func (*host) Fiemap(fd int, start, length uint64, flags uint32, extents []FiemapExtent) (int, error) {
	buf := make([]uint64, (unsafe.Sizeof(fiemapHeader{})+uintptr(len(extents))*unsafe.Sizeof(fiemapExtent{}))/8)
	h := (*fiemapHeader)(unsafe.Pointer(&buf[0]))
	h.start, h.length, h.flags, h.count = start, length, flags, uint32(len(extents))
	if err := ioctl(fd, fsIocFiemap, unsafe.Pointer(h)); err != nil {
		return 0, err
	}
	if len(extents) == 0 {
		return int(h.mapped), nil
	}
	n := min(int(h.mapped), len(extents))
	raw := unsafe.Slice((*fiemapExtent)(unsafe.Pointer(&buf[unsafe.Sizeof(fiemapHeader{})/8])), n)
	for i, e := range raw {
		extents[i] = FiemapExtent{Logical: e.logical, Physical: e.physical, Length: e.length, Flags: e.flags}
	}
	return n, nil
}

// The nvdimm bus commands of linux/ndctl.h: _IOWR('N', nr, 32 bytes).
const (
	ndIoctlARSCap     = 0xc0204e01
	ndIoctlClearError = 0xc0204e04
)

type ndARSCap struct {
	address, length        uint64
	status, maxOut, clrBlk uint32
	flags, _               uint16
}

type ndClearError struct {
	address, length uint64
	status, _       uint32
	cleared         uint64
}

func (*host) ARSCapabilities(fd int, addr, length uint64) (ARSCap, error) {
	cmd := ndARSCap{address: addr, length: length}
	if err := ioctl(fd, ndIoctlARSCap, unsafe.Pointer(&cmd)); err != nil {
		return ARSCap{}, err
	}
	return ARSCap{Status: cmd.status, MaxOut: cmd.maxOut, ClearErrorUnit: cmd.clrBlk, Flags: cmd.flags}, nil
}

func (*host) ClearError(fd int, addr, length uint64) (uint64, error) {
	cmd := ndClearError{address: addr, length: length}
	if err := ioctl(fd, ndIoctlClearError, unsafe.Pointer(&cmd)); err != nil {
		return 0, err
	}
	if cmd.status != 0 {
		return cmd.cleared, unix.EIO
	}
	return cmd.cleared, nil
}

func ioctl(fd int, req uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(arg))
	return orNil(errno)
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func orNil(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
