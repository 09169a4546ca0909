//go:build amd64 || arm64

package pagescan_test

import (
	"fmt"
	"testing"
)

var sizes = []struct {
	name  string
	bytes uint64
}{{"1GiB", 1 << 30}, {"1TiB", 1 << 40}}

// spread are the numbers of n pages, spread evenly.
func spread(m memory, n uint64) (pages []uint64) {
	for i := range n {
		pages = append(pages, i*(m.n/pageSize/n))
	}
	return pages
}

func BenchmarkScan(b *testing.B) {
	for _, size := range sizes {
		for _, written := range []uint64{0, 1, 100, 10000} {
			b.Run(fmt.Sprintf("%s/%d-written-of-10000", size.name, written), func(b *testing.B) {
				s := newScanner(b)
				m := newMemory(b, size.bytes/pageSize)
				m.arm(s)
				pages := spread(m, 10000)
				for _, i := range pages {
					*m.at(i) = 1
				}
				visited := uint64(0)
				visit := func(_ uintptr, n uint64) { visited += n / pageSize }
				must(b, s.Scan(m.addr(0), m.n, true, visit))
				visited = 0
				b.ResetTimer()
				for range b.N {
					b.StopTimer()
					for i := range written {
						*m.at(pages[i*10000/written]) = 2
					}
					b.StartTimer()
					must(b, s.Scan(m.addr(0), m.n, true, visit))
				}
				if want := written * uint64(b.N); visited != want {
					b.Errorf("got %d pages, want %d", visited, want)
				}
			})
		}
	}
}

func BenchmarkScanOnePage(b *testing.B) {
	s := newScanner(b)
	m := newMemory(b, 1<<18)
	m.arm(s)
	for b.Loop() {
		*m.at(7) = 1
		must(b, s.Scan(m.addr(7), pageSize, true, func(uintptr, uint64) {}))
	}
}

func BenchmarkArm(b *testing.B) {
	for _, size := range sizes {
		for _, present := range []uint64{0, 10000} {
			b.Run(fmt.Sprintf("%s/%d-present", size.name, present), func(b *testing.B) {
				s := newScanner(b)
				m := newMemory(b, size.bytes/pageSize)
				for _, i := range spread(m, present) {
					*m.at(i) = 1
				}
				for b.Loop() {
					m.arm(s)
					must(b, s.Disarm(m.addr(0), m.n))
				}
			})
		}
	}
}

// The first store to a page after a scan that protected it, and a store after that.
func BenchmarkStore(b *testing.B) {
	const pages = 1 << 14
	s := newScanner(b)
	m := newMemory(b, pages)
	m.arm(s)
	round := func(v byte) {
		for i := range uint64(pages) {
			*m.at(i) = v
		}
	}
	round(1)
	for name, protect := range map[string]bool{"first": true, "later": false} {
		b.Run(name, func(b *testing.B) {
			b.StopTimer()
			for range b.N {
				if protect {
					must(b, s.Scan(m.addr(0), m.n, true, func(uintptr, uint64) {}))
				}
				b.StartTimer()
				round(2)
				b.StopTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/pages, "ns/store")
		})
	}
}
