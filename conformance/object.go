package conformance

import "pmemlab/pmem2/platform"

// object is an Object that is opened by its path.
type object struct {
	machine platform.Platform
	path    string
	sysfs   string
	flags   int // beyond those of Open
}

func (o object) Path() string     { return o.path }
func (o object) SysfsDir() string { return o.sysfs }

func (o object) Open(flags int) (int, error) {
	return o.machine.Open(o.path, flags|o.flags, 0o600)
}
