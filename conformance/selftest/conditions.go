package selftest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"pmemlab/pmem2/platform"
)

// otherwise makes the faults that set puts in.
func otherwise(set func(f *faults)) func() *faults {
	return func() *faults {
		f := &faults{}
		set(f)
		return f
	}
}

// answers makes a library of which a call answers to instead of from, nil being success,
// where all the conditions hold.
func answers(call string, from, to error, when ...func(f *faults) bool) func() *faults {
	return otherwise(func(f *faults) {
		f.after = map[string]func(error) error{call: func(err error) error {
			if !errors.Is(err, from) {
				return err
			}
			for _, holds := range when {
				if !holds(f) {
					return err
				}
			}
			return to
		}}
	})
}

// busUnreadable: the nd bus can't be listed in sysfs, where libndctl begins.
func busUnreadable(f *faults) bool {
	_, err := f.on.List("bus/nd/devices")
	return err != nil
}

func busReadable(f *faults) bool { return !busUnreadable(f) }

// noNamespace: there is no namespace and no dax device on the nd bus.
func noNamespace(f *faults) bool {
	names, err := f.on.List("bus/nd/devices")
	return err == nil && !slices.ContainsFunc(names, func(name string) bool {
		return strings.HasPrefix(name, "namespace") || strings.HasPrefix(name, "dax")
	})
}

// devFileDamaged: the dev file of some block device has no newline, which C takes ill
// whatever device it asks about.
func devFileDamaged(f *faults) bool {
	devices, _ := f.on.List("dev/block")
	for _, d := range devices {
		text, err := f.on.ReadAttr("dev/block/" + d + "/dev")
		if err == nil && !strings.HasSuffix(text, "\n") {
			return true
		}
	}
	return false
}

// isDevice reports whether a source is of a device DAX, or another character device.
func (s *source) isDevice() bool { return s.fileType() == platform.SIFCHR }

// node is the path under /dev of a device, as sysfs names it.
func (s *source) node() string {
	st, err := s.f.on.Fstat(s.descriptor)
	if err != nil {
		return ""
	}
	link, err := s.f.on.Readlink(fmt.Sprintf("dev/char/%d:%d", st.Major(), st.Minor()))
	if err != nil {
		return ""
	}
	return "/dev/" + path.Base(link)
}

func (s *source) isFile() bool { return s.fileType() == platform.SIFREG }

func (s *source) fileType() uint32 {
	if s.descriptor < 0 {
		return 0
	}
	st, err := s.f.on.Fstat(s.descriptor)
	if err != nil {
		return 0
	}
	return st.Type()
}

// crash is the end of a C program: a load of what isn't mapped. The suite takes it for
// a memory fault of the subject.
func crash() { lastWords.Store(uint32(platform.Bytes(4096, 1)[0])) }

// lastWords is where crash stores, so that it isn't optimized away.
var lastWords atomic.Uint32
