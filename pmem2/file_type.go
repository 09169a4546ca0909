package pmem2

import (
	"errors"
	"path"
	"strconv"
	"strings"
	"syscall"

	"pmemlab/pmem2/platform"
)

// fileKind is the kind of file that a source can be made of.
type fileKind int

const (
	regularFile fileKind = iota
	deviceDAX
)

// fileType tells a regular file from a device DAX and refuses anything else. A
// character device is device DAX if sysfs puts it into the subsystem "dax".
func (s *Source) fileType(op string, st *platform.Stat) (fileKind, error) {
	var what string
	switch st.Type() {
	case platform.SIFREG:
		return regularFile, nil
	case platform.SIFCHR:
		subsystem, err := s.machine.Readlink(deviceAttribute(st, "/subsystem"))
		if err == nil && path.Base(subsystem) == "dax" {
			return deviceDAX, nil
		}
		// A device that sysfs doesn't know (the slave side of a pty) is some
		// other character device.
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			return 0, failErrno(op, err, "subsystem of character device %d:%d", st.Major(), st.Minor())
		}
		what = "a character device other than device DAX"
	case platform.SIFDIR:
		what = "a directory"
	case platform.SIFBLK:
		what = "a block device"
	case platform.SIFIFO:
		what = "a pipe"
	case platform.SIFSOCK:
		what = "a socket"
	default:
		what = "of unknown type"
	}
	return 0, fail(op, ErrInvalidFileType, "descriptor %d is %s, a regular file or device DAX is needed", s.fd, what)
}

// deviceNode is the sysfs directory of a character device.
func deviceNode(st *platform.Stat) string { return deviceAttribute(st, "") }

// deviceAttribute is an attribute, "/size", in the directory of a character device.
func deviceAttribute(st *platform.Stat, name string) string {
	return nodePath("dev/char/", st.Major(), st.Minor(), name)
}

func nodePath(dir string, major, minor uint32, name string) string {
	p := append(make([]byte, 0, 64), dir...)
	p = append(strconv.AppendUint(p, uint64(major), 10), ':')
	p = strconv.AppendUint(p, uint64(minor), 10)
	return string(append(p, name...))
}

func (s *Source) sizeOf(op string, kind fileKind, st *platform.Stat) (uint64, error) {
	if kind == regularFile {
		return uint64(st.Size), nil
	}
	return s.number(op, deviceAttribute(st, "/size"), ErrInvalidSizeFormat)
}

func (s *Source) alignmentOf(op string, kind fileKind, st *platform.Stat) (uint64, error) {
	if kind == regularFile {
		return s.machine.PageSize(), nil
	}
	// Linux has this attribute since 5.10.
	name := deviceAttribute(st, "/align")
	align, err := s.number(op, name, ErrInvalidAlignmentFormat)
	if err != nil {
		return 0, err
	}
	if page := s.machine.PageSize(); align&(align-1) != 0 || align < page {
		return 0, fail(op, ErrInvalidAlignmentValue, "%s says %d, a power of two from the page size %d on is needed", name, align, page)
	}
	return align, nil
}

// number reads a sysfs attribute that holds one decimal number.
func (s *Source) number(op, name string, badFormat Code) (uint64, error) {
	text, err := s.machine.ReadAttr(name)
	if err != nil {
		return 0, failErrno(op, err, "reading %s in sysfs", name)
	}
	n, errno := parseDecimal(strings.TrimSuffix(text, "\n"))
	switch errno {
	case 0:
	case syscall.ERANGE:
		return 0, failErrno(op, errno, "%s says %q, which needs more than 64 bits", name, text)
	default:
		return 0, fail(op, badFormat, "%s says %q, a decimal number is needed", name, text)
	}
	return n, nil
}
