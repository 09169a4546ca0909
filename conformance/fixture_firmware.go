package conformance

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"pmemlab/pmem2/platform"
)

// What firmware offers on one machine and not on the other, where the targets leave it as
// it is. A case that is about something else is not supported there.

// withoutEADR ends the case on a machine whose caches a power failure spares: it is about
// the granularity that there is otherwise.
func (t *T) withoutEADR() {
	if hasEADR(t.Machine()) {
		t.NotSupportedf("this machine has eADR; the case is about one that hasn't")
	}
}

// hasEADR tells whether all regions of a machine, of which there is one at least, have
// the caches in their persistence domain.
func hasEADR(m platform.Platform) bool {
	names, err := m.List(ndDevices)
	if err != nil {
		return false
	}
	regions := slices.DeleteFunc(names, func(n string) bool { return !regionName.MatchString(n) })
	return len(regions) > 0 && !slices.ContainsFunc(regions, func(n string) bool {
		domain, err := m.ReadAttr(path.Join(ndDevices, n, "persistence_domain"))
		return err != nil || strings.TrimSpace(domain) != "cpu_cache"
	})
}

// clearable ends the case unless the firmware clears errors of a device DAX, for this
// process.
func (t *T) clearable(o Object) {
	if why := lacksClearing(t.Machine(), o.SysfsDir()); why != "" {
		t.NotSupportedf("errors of %s can't be cleared: %s", o.Path(), why)
	}
}

func lacksClearing(m platform.Platform, sysfs string) string {
	bus, _ := nvdimmPath(m, sysfs)
	if bus == "" {
		return fmt.Sprintf("/sys/%s is on no nvdimm bus", sysfs)
	}
	attr := bus + "/commands"
	commands, err := m.ReadAttr(attr)
	if err != nil {
		return fmt.Sprintf("/sys/%s: %v", attr, err)
	}
	for _, need := range []string{"ars_cap", "clear_error"} {
		if !slices.Contains(strings.Fields(commands), need) {
			return fmt.Sprintf("/sys/%s is %q, without %s", attr, strings.TrimSpace(commands), need)
		}
	}
	if _, err := m.ReadAttr(sysfs + "/resource"); err != nil {
		return fmt.Sprintf("its physical address can't be read: /sys/%s/resource: %v", sysfs, err)
	}
	return ""
}
