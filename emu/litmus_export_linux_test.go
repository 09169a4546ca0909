package emu

import "pmemlab/pmem2/platform"

// CacheOpsOf are cache operations of the machine that use the instructions of p: for tests of
// programs that flush in several ways, which [Machine.CacheOps] never gives one machine.
func (m *Machine) CacheOpsOf(p platform.Platform, g platform.Granularity) *platform.CacheOps {
	return m.newCacheOps(p.CacheOps(g))
}
