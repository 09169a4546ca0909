package pmem2_test

import (
	"fmt"
	"os"
	"testing"

	"pmemlab/pmem2"
)

// forcedMap maps size bytes of a tmpfs file as if they were persistent memory.
func forcedMap(tb testing.TB, size int64, g pmem2.Granularity) *pmem2.Map {
	tb.Helper()
	src, err := pmem2.SourceFromFile(sharedMemoryFile(tb, size))
	if err != nil {
		tb.Fatal(err)
	}
	cfg := config(pmem2.GranularityPage)
	cfg.ForceGranularity(g)
	m, err := pmem2.NewMap(cfg, src)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { m.Delete() })
	return m
}

// BenchmarkPersist makes a store to each cache line durable.
func BenchmarkPersist(b *testing.B) {
	pmem := forcedMap(b, 1<<20, pmem2.GranularityCacheLine)
	for _, n := range []int{8, 64, 256, 4096, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			dst := pmem.Bytes()[:n]
			for b.Loop() {
				for at := 0; at < n; at += 64 {
					dst[at]++
				}
				if err := pmem.Persist(dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMemcpy and BenchmarkMemset store durably.
func BenchmarkMemcpy(b *testing.B) {
	benchmarkStores(b, func(pmem *pmem2.Map, dst, src []byte) error { return pmem.Memcpy(dst, src, 0) })
}

func BenchmarkMemset(b *testing.B) {
	benchmarkStores(b, func(pmem *pmem2.Map, dst, _ []byte) error { return pmem.Memset(dst, 1, 0) })
}

func benchmarkStores(b *testing.B, store func(pmem *pmem2.Map, dst, src []byte) error) {
	const most = 1 << 20
	pmem, src := forcedMap(b, most+4096, pmem2.GranularityCacheLine), make([]byte, most)
	for _, n := range []int{8, 64, 255, 256, 4096, most} {
		for _, off := range []int{0, 1} {
			b.Run(fmt.Sprintf("%d+%d", n, off), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				for b.Loop() {
					if err := store(pmem, pmem.Bytes()[off:off+n], src[:n]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestDataPathDoesNotAllocate: at no granularity, with no flags.
func TestDataPathDoesNotAllocate(t *testing.T) {
	if os.Getenv("PMEM2_DEBUG") == "1" {
		t.Skip("PMEM2_DEBUG=1: the log allocates")
	}
	src := make([]byte, 4096)
	for _, g := range []pmem2.Granularity{pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityPage} {
		m := forcedMap(t, 8192, g)
		b := m.Bytes()
		persist, memcpy := m.PersistFunc(), m.MemcpyFunc()
		for name, f := range map[string]func(){
			"Persist":            func() { m.Persist(b[5:100]) },
			"Flush":              func() { m.Flush(b) },
			"Drain":              func() { m.Drain() },
			"Memcpy":             func() { m.Memcpy(b[:100], src[:100], 0) },
			"Memmove":            func() { m.Memmove(b[1:4097], src, 0) },
			"Memmove, temporal":  func() { m.Memmove(b[1:4097], src, pmem2.MemTemporal|pmem2.MemNoDrain) },
			"Memset":             func() { m.Memset(b, 1, 0) },
			"Memset, no flush":   func() { m.Memset(b, 1, pmem2.MemNoFlush) },
			"Memset, WC":         func() { m.Memset(b[:8], 1, pmem2.MemWC) },
			"from the stack":     func() { var small [64]byte; small[3] = b[0]; m.Memcpy(b[:64], small[:], 0) },
			"DeepFlush":          func() { m.DeepFlush(b) },
			"PersistFunc":        func() { m.PersistFunc() },
			"what a getter gave": func() { persist(b[:64]); memcpy(b[:64], src[:64], 0) },
		} {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%v, %s: %v allocations", g, name, n)
			}
		}
	}
}
