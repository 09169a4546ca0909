package platform

import "testing"

// TestCacheOpsAreShared: one struct for each granularity, whoever asks.
func TestCacheOpsAreShared(t *testing.T) {
	seen := map[*CacheOps]Granularity{}
	for _, g := range []Granularity{GranularityByte, GranularityCacheLine, GranularityPage} {
		ops := Host().CacheOps(g)
		if again := Host().CacheOps(g); ops != again {
			t.Errorf("%v: two structs", g)
		}
		if other, ok := seen[ops]; ok {
			t.Errorf("%v and %v share one struct", g, other)
		}
		seen[ops] = g
		if flushes := ops.Instruction != ""; flushes != (g == GranularityCacheLine) {
			t.Errorf("%v: instruction %q", g, ops.Instruction)
		}
	}
}
