package conformance

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"pmemlab/pmem2/platform"
)

// isTmpfs and isDisk say why a directory isn't fit for a variant.
func isTmpfs(dir string) error {
	magic, err := fsMagic(dir)
	if err == nil && magic != unix.TMPFS_MAGIC {
		err = fmt.Errorf("no tmpfs (file system type %#x)", magic)
	}
	return errors.Join(err, fitForFiles(dir))
}

func isDisk(dir string) error {
	magic, err := fsMagic(dir)
	switch {
	case err != nil:
	case magic == unix.TMPFS_MAGIC:
		err = errors.New("a tmpfs")
	case magic == unix.RAMFS_MAGIC:
		err = errors.New("a ramfs")
	}
	return errors.Join(err, fitForFiles(dir))
}

func fsMagic(dir string) (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	return st.Type, err
}

// fitForFiles makes a file in dir and removes it.
func fitForFiles(dir string) error {
	f, err := os.CreateTemp(dir, testDirPrefix)
	if err != nil {
		return err
	}
	stx, err := platform.Host().Statx(int(f.Fd()))
	if err == nil && stx.Attributes&platform.StatxAttrDAX != 0 {
		err = errors.New("files there are mapped with DAX")
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// fsAppendFlag is FS_APPEND_FL of linux/fs.h.
const fsAppendFlag = 0x20

// setAppendOnly sets or clears the append-only attribute and sees that it is so.
func setAppendOnly(path string, on bool) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(setAppendOnlyFD(fd, on), unix.Close(fd))
}

func setAppendOnlyFD(fd int, on bool) error {
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return fmt.Errorf("read the attributes: %w", err)
	}
	flags &^= fsAppendFlag
	if on {
		flags |= fsAppendFlag
	}
	if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags)); err != nil {
		return fmt.Errorf("set the attributes: %w", err)
	}
	stx, err := platform.Host().Statx(fd)
	if err == nil && (stx.Attributes&platform.StatxAttrAppend != 0) != on {
		err = fmt.Errorf("the append-only attribute is not %t after it was set so", on)
		if on {
			err = errors.Join(err, unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags&^fsAppendFlag)))
		}
	}
	return err
}

// newPTY makes a pseudo-terminal. The object is its slave side, which sysfs doesn't
// know; it lives until the master is closed.
func newPTY() (slave object, closeMaster func() error, err error) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return object{}, nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	closeMaster = func() error { return unix.Close(master) }
	err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
	number := 0
	if err == nil {
		number, err = unix.IoctlGetInt(master, unix.TIOCGPTN)
	}
	path := fmt.Sprintf("/dev/pts/%d", number)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return object{}, nil, errors.Join(err, closeMaster())
	}
	// A session leader without a terminal would get this one, and a hangup when
	// the master is closed.
	return object{path: path, flags: unix.O_NOCTTY}, closeMaster, nil
}
