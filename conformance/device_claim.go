package conformance

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"pmemlab/pmem2/platform"
)

// claimDevice makes sure that a device whose data is to be destroyed is nobody else's,
// and that it stays so until what it returns is closed. contentsToo says that what looks
// like data may be destroyed too.
func claimDevice(m platform.Platform, d *daxDevice, contentsToo bool) (*deviceLock, error) {
	if d.driver == "" {
		return nil, fmt.Errorf("%s isn't destroyed: no driver is bound to it in sysfs, so that it can't be told from system RAM", d.path)
	}
	if names, err := m.List(d.sysfs + "/holders"); err == nil && len(names) > 0 {
		return nil, fmt.Errorf("%s isn't destroyed: it is in use by %s (/sys/%s/holders)", d.path, strings.Join(names, ", "), d.sysfs)
	}
	if m == platform.Host() {
		if users := usersOfDevice(d); users != nil {
			return nil, fmt.Errorf("%s isn't destroyed: it is in use by %s", d.path, strings.Join(users, ", "))
		}
	}
	lock, err := lockDevice(m, d)
	if err != nil {
		return nil, err
	}
	if !contentsToo {
		if err := refuseContents(m, lock.fd, d); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	return lock, nil
}

// refuseContents is an error if a device looks as if it held somebody's data.
func refuseContents(m platform.Platform, fd int, d *daxDevice) error {
	found, err := contentsOf(m, fd, d)
	if err != nil {
		return fmt.Errorf("%s isn't destroyed: what it holds can't be read: %w (to destroy it all the same: -pmem.destroy-contents)", d.path, err)
	}
	if found != nil {
		return fmt.Errorf("%s isn't destroyed: it carries %s (to destroy it all the same: -pmem.destroy-contents)", d.path, strings.Join(found, ", "))
	}
	return nil
}

// deviceLock is the exclusive lock of a device: a descriptor.
type deviceLock struct {
	machine platform.Platform
	fd      int
	file    *os.File // the same, on the machine that the process runs on
}

// lockDevice takes the lock, flock(2), that all runs of this suite take.
func lockDevice(m platform.Platform, d *daxDevice) (*deviceLock, error) {
	fd, err := m.Open(d.path, platform.ORdonly, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d.path, err)
	}
	st, err := m.Fstat(fd)
	if err == nil && st.Rdev != d.rdev {
		err = fmt.Errorf("%s became another device", d.path)
	}
	if err == nil {
		if err = flockExclusively(fd); err != nil {
			err = fmt.Errorf("%s isn't destroyed: it is in use, somebody holds a lock on it (flock: %w)", d.path, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, m.Close(fd))
	}
	l := &deviceLock{machine: m, fd: fd}
	if m == platform.Host() {
		l.file = os.NewFile(uintptr(fd), d.path)
	}
	return l, nil
}

// Close gives the lock back.
func (l *deviceLock) Close() error {
	if l.fd < 0 {
		return nil
	}
	fd := l.fd
	l.fd = -1
	if l.file != nil {
		return l.file.Close()
	}
	return l.machine.Close(fd)
}
