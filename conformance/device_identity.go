package conformance

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"pmemlab/pmem2/platform"
)

// daxDevice is a device DAX of a machine, as sysfs tells of it.
type daxDevice struct {
	path        string // as it was given
	rdev        uint64
	sysfs       string // "dev/char/252:0"
	region      string // "bus/nd/devices/region0", "" if it lies on none
	size, align uint64
	driver      string // "device_dax", "" if sysfs names none
}

// openedStat opens a path and tells what is there.
func openedStat(m platform.Platform, name string, flags int) (st platform.Stat, err error) {
	fd, err := m.Open(name, flags, 0)
	if err != nil {
		return st, fmt.Errorf("open %s: %w", name, err)
	}
	st, err = m.Fstat(fd)
	return st, errors.Join(err, m.Close(fd))
}

// identifyDevice looks at the device at a path. It is opened for reading only, and only
// when it is known for a device DAX: to open a watchdog would start it.
func identifyDevice(m platform.Platform, name string) (*daxDevice, error) {
	st, err := openedStat(m, name, platform.OPath)
	if err != nil {
		// One that the kernel uses as memory has no node.
		if driver := driverOf(m, "bus/dax/devices/"+path.Base(name)); driver != "" && driver != daxDriver {
			return nil, notByDevDax(name, driver)
		}
		return nil, err
	}
	if st.Type() != platform.SIFCHR {
		return nil, fmt.Errorf("%s is no device DAX: it is no character device (file type %#o)", name, st.Type())
	}
	d := &daxDevice{path: name, rdev: st.Rdev, sysfs: fmt.Sprintf("dev/char/%d:%d", st.Major(), st.Minor())}
	if !isDaxDevice(m, d.sysfs) {
		return nil, fmt.Errorf("%s is no device DAX: /sys/%s/subsystem isn't dax", name, d.sysfs)
	}
	if d.driver = driverOf(m, d.sysfs); d.driver != "" && d.driver != daxDriver {
		return nil, notByDevDax(name, d.driver)
	}
	opened, err := openedStat(m, name, platform.ORdonly)
	if err != nil {
		return nil, err
	}
	if opened.Rdev != d.rdev {
		return nil, fmt.Errorf("%s became another device", name)
	}
	d.region = regionOf(m, d.sysfs)
	if d.size, err = attrNumber(m, d.sysfs+"/size"); err != nil {
		return nil, err
	}
	if d.align, err = attrNumber(m, d.sysfs+"/align"); err != nil {
		return nil, err
	}
	if d.align == 0 || d.size < d.align {
		return nil, fmt.Errorf("%s has %d bytes and an alignment of %d", name, d.size, d.align)
	}
	return d, nil
}

// daxDriver is the driver of a device DAX that programs map.
const daxDriver = "device_dax"

// notByDevDax says that a device DAX is something else at the moment.
func notByDevDax(name, driver string) error {
	what := "its driver is " + driver + ", not " + daxDriver
	if driver == "kmem" {
		what = "the kernel uses it as system RAM: its driver is kmem"
	}
	return fmt.Errorf("%s can't be used: %s", name, what)
}

// isDaxDevice tells whether a directory of sysfs is one of a device DAX.
func isDaxDevice(m platform.Platform, sysfs string) bool {
	target, err := m.Readlink(sysfs + "/subsystem")
	return err == nil && path.Base(target) == "dax"
}

// driverOf is the driver that a device is bound to, "" if none.
func driverOf(m platform.Platform, sysfs string) string {
	target, err := m.Readlink(sysfs + "/driver")
	if err != nil {
		return ""
	}
	return path.Base(target)
}

var (
	busName    = regexp.MustCompile(`^ndbus[0-9]+$`)
	regionName = regexp.MustCompile(`^region[0-9]+$`)
)

// nvdimmPath is the bus and the region that a device lies on, by its link in sysfs, which
// leads through them: "bus/nd/devices/ndbus0", "bus/nd/devices/region0". Each is "" if it
// doesn't. (A region of CXL has the same name and is on no such bus.)
func nvdimmPath(m platform.Platform, sysfs string) (bus, region string) {
	target, err := m.Readlink(sysfs)
	if err != nil {
		return "", ""
	}
	for component := range strings.SplitSeq(target, "/") {
		switch {
		case busName.MatchString(component):
			bus = path.Join(ndDevices, component)
		case bus != "" && regionName.MatchString(component):
			return bus, path.Join(ndDevices, component)
		}
	}
	return bus, ""
}

// regionOf is the region of nvdimmPath.
func regionOf(m platform.Platform, sysfs string) string {
	_, region := nvdimmPath(m, sysfs)
	return region
}

// attrNumber is a number that sysfs tells, in decimal or with 0x.
func attrNumber(m platform.Platform, name string) (uint64, error) {
	text, err := m.ReadAttr(name)
	if err != nil {
		return 0, fmt.Errorf("read /sys/%s: %w", name, err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(text), 0, 64)
	if err != nil {
		return 0, fmt.Errorf("/sys/%s says %q, a number is needed", name, strings.TrimSpace(text))
	}
	return n, nil
}
