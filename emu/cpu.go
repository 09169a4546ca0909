package emu

import "pmemlab/pmem2/platform"

// CacheOps returns the machine's operations for stores of granularity g: one struct
// for each machine and granularity. An invalid granularity has none: nil.
func (m *Machine) CacheOps(g platform.Granularity) *platform.CacheOps {
	if !g.Valid() {
		return nil
	}
	return m.ops[g]
}

// newCacheOps wraps the operations of the host's CPU. What they do to memory are the
// very instructions that a real machine runs, also for another model of CPU: a model
// differs in what may be lost, which is recorded around these calls.
func newCacheOps(host *platform.CacheOps) *platform.CacheOps {
	ops := *host
	return &ops
}
