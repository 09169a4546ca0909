package check_test

import (
	"testing"

	"pmemlab/emu/check"
)

func op(seq uint64, g int64) check.Op { return check.Op{Seq: seq, G: g, Stack: 1} }

func BenchmarkPersist(b *testing.B) {
	for _, bench := range []struct {
		name  string
		lines uint64
	}{{"one-line", 1}, {"1000-lines", 1000}, {"1000000-lines", 1_000_000}} {
		b.Run(bench.name, func(b *testing.B) {
			c := check.New(check.Config{})
			b.ReportAllocs()
			for i := range uint64(b.N) {
				off := i % bench.lines * 64
				c.Changed(op(i, 1), off, 8, check.Exact)
				c.Persist(op(i, 1), off, 8, check.Weak)
			}
		})
	}
	b.Run("two-goroutines", func(b *testing.B) {
		c := check.New(check.Config{})
		for i := range uint64(b.N) {
			g := int64(i & 1)
			off := i & 1 * 64
			c.Changed(op(i, g), off, 8, check.Exact)
			c.Persist(op(i, g), off, 8, check.Weak)
		}
	})
	b.Run("nt-4k", func(b *testing.B) {
		c := check.New(check.Config{})
		for i := range uint64(b.N) {
			c.Changed(op(i, 1), 0, 4096, check.NonTemporal)
			c.Fence(op(i, 1))
		}
	})
}
