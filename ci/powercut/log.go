package powercut

import (
	"errors"
	"fmt"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// logSize is how many bytes the log of a place has.
const logSize = 256 << 10

// log is a mapped log: a file, or a part of a device DAX near its end.
type log struct {
	machine platform.Platform
	fd      int
	m       *pmem2.Map
	b       []byte // logSize of them
}

// openLog opens and maps a log. With create a file is made if need be, empty and all of it
// allocated, and so are its name and size durable before anything is stored.
func openLog(machine platform.Platform, place plan.Place, o Options, create bool) (l *log, err error) {
	l = &log{machine: machine, fd: -1}
	defer func() {
		if err != nil {
			err = fmt.Errorf("place %s: %w", place.Name, errors.Join(err, l.close()))
			l = nil
		}
	}()
	var offset, length uint64 = 0, logSize
	switch {
	case place.Kind == plan.DevDax:
		align := place.Align
		if align == 0 {
			align = 2 << 20
		}
		length = (logSize + align - 1) / align * align
		if place.Bytes/align*align < 2*length {
			return l, fmt.Errorf("%s has %d bytes, two logs need %d", place.Device, place.Bytes, 2*length)
		}
		if offset = place.Bytes/align*align - 2*length; o.NoPersist {
			offset += length
		}
		l.fd, err = machine.Open(place.Device, platform.ORdwr|platform.OCloexec, 0)
	case place.Kind == plan.Tmpfs || place.Mount == "":
		return l, errors.New("it is neither device DAX nor a file system that outlives a power cut")
	default:
		name := "powercut"
		if o.NoPersist {
			name += "-unpersisted"
		}
		err = l.openFile(place.Mount, place.Mount+"/"+name, create)
	}
	if err != nil {
		return l, err
	}
	source, err := pmem2.SourceFromFD(l.fd, pmem2.On(machine))
	if err != nil {
		return l, err
	}
	c := pmem2.NewConfig()
	err = errors.Join(c.SetRequiredStoreGranularity(pmem2.GranularityPage), c.SetOffset(offset), c.SetLength(length))
	if err != nil {
		return l, err
	}
	if l.m, err = pmem2.NewMap(c, source); err != nil {
		return l, err
	}
	l.b = l.m.Bytes()[:logSize]
	return l, nil
}

func (l *log) openFile(dir, name string, create bool) (err error) {
	flags := platform.ORdwr | platform.OCloexec
	if create {
		flags |= platform.OCreat
	}
	if l.fd, err = l.machine.Open(name, flags, 0o600); err != nil {
		l.fd = -1
		return fmt.Errorf("open %s: %w", name, err)
	}
	if !create {
		return nil
	}
	if err := l.machine.Fallocate(l.fd, 0, 0, logSize); err != nil {
		return fmt.Errorf("fallocate of %d bytes of %s: %w", logSize, name, err)
	}
	if err := l.machine.Fsync(l.fd); err != nil {
		return fmt.Errorf("fsync of %s: %w", name, err)
	}
	fd, err := l.machine.Open(dir, platform.ORdonly|platform.ODirectory|platform.OCloexec, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	if err := errors.Join(l.machine.Fsync(fd), l.machine.Close(fd)); err != nil {
		return fmt.Errorf("fsync of %s: %w", dir, err)
	}
	return nil
}

// clear empties the log, durably.
func (l *log) clear() error { return l.m.Memset(l.b, 0, 0) }

func (l *log) close() error {
	var err error
	if l.m != nil {
		err = l.m.Delete()
	}
	if l.fd >= 0 {
		err = errors.Join(err, l.machine.Close(l.fd))
	}
	return err
}
