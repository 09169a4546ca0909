package emu

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxMemfdName is how many bytes the name of a memfd can have.
const maxMemfdName = 249

// newMemfd makes an empty memfd. Its name, cut to what a memfd can have, shows in
// /proc/self/maps.
func newMemfd(name string) (int, error) {
	name = "pmemlab:" + name
	return unix.MemfdCreate(name[:min(len(name), maxMemfdName)], unix.MFD_CLOEXEC)
}

// allocatedBytes is how much memory a memfd takes, in bytes.
func allocatedBytes(fd int) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	return uint64(st.Blocks) * 512, nil
}

// dataExtent finds the first range of data of a memfd that ends after from. It
// moves the file offset of the descriptor. There is none if start equals end.
func dataExtent(fd int, from uint64) (start, end uint64, err error) {
	at, err := unix.Seek(fd, int64(from), unix.SEEK_DATA)
	if err == syscall.ENXIO {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	to, err := unix.Seek(fd, at, unix.SEEK_HOLE)
	if err != nil {
		return 0, 0, err
	}
	return uint64(at), uint64(to), nil
}

// hasSwap says whether the host can take memory away from memfds for a time.
func hasSwap() bool {
	var info unix.Sysinfo_t
	return unix.Sysinfo(&info) != nil || info.Totalswap > 0
}

// changeTime is when the memfd fd was changed last, in nanoseconds, and how many bytes of memory
// it takes.
func changeTime(fd int) (at int64, data uint64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, 0, err
	}
	return st.Ctim.Nano(), uint64(st.Blocks) * 512, nil
}

// recent says whether something could change after this time that gets the same one: before
// Linux 6.13 files know the time of the last tick, which is up to 10 ms.
func recent(at int64) bool { return time.Since(time.Unix(0, at)) < 20*time.Millisecond }

// The host's calls that platform leaves out.

func hostSeek(fd int, off int64, whence int) (int64, error) { return unix.Seek(fd, off, whence) }

func hostFlock(fd, how int) error { return unix.Flock(fd, how) }

func hostLockOFD(fd int, kind int16) error {
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
}

func hostMprotect(addr uintptr, n uint64, prot int) error {
	return errnoOrNil(unix.Syscall(unix.SYS_MPROTECT, addr, uintptr(n), uintptr(prot)))
}

func hostMadvise(addr uintptr, n uint64, advice int) error {
	return errnoOrNil(unix.Syscall(unix.SYS_MADVISE, addr, uintptr(n), uintptr(advice)))
}

func errnoOrNil(_, _ uintptr, errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
