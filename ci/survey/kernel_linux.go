package survey

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"pmemlab/pmem2/platform"
)

// host is the kernel that the process runs on.
type host struct{ platform.Platform }

// Host returns the kernel that the process runs on.
func Host() Kernel { return &host{platform.Host()} }

func (*host) Lseek(fd int, off int64, whence int) (int64, error) { return unix.Seek(fd, off, whence) }

func (*host) Fdatasync(fd int) error { return unix.Fdatasync(fd) }

func (*host) SyncFileRange(fd int, off, length int64, flags int) error {
	return unix.SyncFileRange(fd, off, length, flags)
}

func (*host) Syncfs(fd int) error { return unix.Syncfs(fd) }

func (*host) Flock(fd, how int) error { return unix.Flock(fd, how) }

func (*host) LockOFD(fd int, kind int16) error {
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
}

func (*host) Fstatfs(fd int) (kind, blockSize int64, err error) {
	var st unix.Statfs_t
	err = unix.Fstatfs(fd, &st)
	return int64(st.Type), int64(st.Bsize), err //nolint:unconvert // other types on other architectures
}

func (*host) Mprotect(addr uintptr, length uint64, prot int) error {
	return call(unix.SYS_MPROTECT, addr, uintptr(length), uintptr(prot))
}

func (*host) Madvise(addr uintptr, length uint64, advice int) error {
	return call(unix.SYS_MADVISE, addr, uintptr(length), uintptr(advice))
}

func (*host) Mlock(addr uintptr, length uint64) error {
	return call(unix.SYS_MLOCK, addr, uintptr(length), 0)
}

func (*host) Munlock(addr uintptr, length uint64) error {
	return call(unix.SYS_MUNLOCK, addr, uintptr(length), 0)
}

func (*host) Mincore(addr uintptr, length uint64) error {
	vec := make([]byte, (length+4095)/4096+1)
	return call(unix.SYS_MINCORE, addr, uintptr(length), uintptr(unsafe.Pointer(&vec[0])))
}

// call is a system call of the address space of which nothing but the errno counts.
func call(nr, a, b, c uintptr) error {
	_, _, errno := unix.Syscall(nr, a, b, c) //nolint:forbidigo // the survey asks the kernel for what platform leaves out
	if errno != 0 {
		return errno
	}
	return nil
}

func (*host) VMFlags(addr uintptr) (string, error) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	here := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if first, _, _ := strings.Cut(line, " "); !strings.HasSuffix(first, ":") { // the mapping's own line
			from, to, _ := strings.Cut(first, "-")
			low, err := strconv.ParseUint(from, 16, 64)
			high, highErr := strconv.ParseUint(to, 16, 64)
			here = err == nil && highErr == nil && low <= uint64(addr) && uint64(addr) < high
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); here && ok {
			return strings.TrimSpace(flags), nil
		}
	}
	return "", syscall.ENOMEM
}

func (*host) Mkdir(path string) error { return unix.Mkdir(path, 0o755) }

func (h *host) SetFlags(path string, appendOnly, immutable bool) error {
	const appendFlag, immutableFlag = 0x20, 0x10
	fd, err := h.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = h.Close(fd) }()
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	flags &^= appendFlag | immutableFlag
	if appendOnly {
		flags |= appendFlag
	}
	if immutable {
		flags |= immutableFlag
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags)
}

func (*host) SysfsMode(path string) (uint32, error) {
	var st unix.Stat_t
	err := unix.Lstat("/sys/"+path, &st)
	return st.Mode, err
}
