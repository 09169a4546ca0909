package pmem2

import (
	"os"
	"strings"
	"syscall"
)

// granularity is the store granularity of a fresh mapping and the reason for it:
// see NewMap.
func (r request) granularity(synced bool, s *settings) (Granularity, string) {
	switch {
	case r.sharing == Private:
		return GranularityByte, "private mapping"
	case r.source.fd < 0:
		return GranularityByte, "anonymous memory"
	case s.forcedSet:
		return s.forced, "forced by the config"
	}
	if g, ok := forcedByEnvironment(); ok {
		return g, "forced by PMEM2_FORCE_GRANULARITY"
	}
	if !synced {
		return GranularityPage, "MAP_SYNC refused"
	}
	if outside := r.source.outsideEADR(); outside != "" {
		return GranularityCacheLine, outside
	}
	return GranularityByte, "eADR"
}

// forcedByEnvironment is the value of PMEM2_FORCE_GRANULARITY as it is now.
func forcedByEnvironment() (Granularity, bool) {
	value := os.Getenv("PMEM2_FORCE_GRANULARITY")
	switch {
	case value == "":
	case strings.EqualFold(value, "BYTE"):
		return GranularityByte, true
	case strings.EqualFold(value, "CACHE_LINE"), strings.EqualFold(value, "CACHELINE"):
		return GranularityCacheLine, true
	case strings.EqualFold(value, "PAGE"):
		return GranularityPage, true
	}
	return 0, false
}

// isRegion says whether a name on the nvdimm bus is that of a region: region0.
func isRegion(name string) bool {
	number, found := strings.CutPrefix(name, "region")
	_, errno := parseDecimal(number)
	return found && errno != syscall.EINVAL
}

// outsideEADR is "" if the CPU caches are protected against a power failure:
// there is a region on the nvdimm bus, and the persistence domain of each is
// cpu_cache. Else it says why not. What can't be read counts as not protected:
// a needless flush costs time, a missing one costs data.
func (s *Source) outsideEADR() string {
	names, err := s.machine.List("bus/nd/devices")
	if err != nil {
		return "no nvdimm bus in sysfs: " + err.Error()
	}
	found := false
	for _, name := range names {
		if !isRegion(name) {
			continue
		}
		domain, err := s.machine.ReadAttr("bus/nd/devices/" + name + "/persistence_domain")
		if err != nil {
			return "persistence domain of " + name + ": " + err.Error()
		}
		if domain = strings.TrimSuffix(domain, "\n"); domain != "cpu_cache" {
			return "persistence domain of " + name + " is " + domain
		}
		found = true
	}
	if !found {
		return "no region on the nvdimm bus"
	}
	return ""
}
