package exact_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu/exact"
)

var sink uint64

// cpu is the CPU time of the process in nanoseconds: on a busy machine the time of the
// wall says little.
func cpu(b *testing.B) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHooks measures a store, a load and an atomic of watched memory and elsewhere.
// The times of drains are left out, but not those of first touching the memory of the log.
func BenchmarkHooks(b *testing.B) {
	mem := watch(b, 4096)
	drop := func() { exact.Drain(func(exact.Record) {}) }
	for _, row := range []struct {
		name string
		m    []byte
	}{{"watched", mem}, {"elsewhere", make([]byte, 4096)}} {
		p := at[[512]uint64](row.m, 0)
		for _, op := range []struct {
			name string
			run  func(n int)
		}{
			{"store", func(n int) {
				for i := range n {
					p[i%512] = 1
				}
			}},
			{"load", func(n int) {
				sum := uint64(0)
				for i := range n {
					sum += p[i%512]
				}
				sink = sum
			}},
			{"atomic", func(n int) {
				for i := range n {
					atomic.AddUint64(&p[i%512], 1)
				}
			}},
			{"2 goroutines", func(n int) {
				var wg sync.WaitGroup
				for g := range 2 {
					wg.Go(func() {
						for range n / 2 {
							p[256*g] = 1
						}
					})
				}
				wg.Wait()
			}},
		} {
			b.Run(op.name+"/"+row.name, func(b *testing.B) {
				drop()
				spent := 0.0
				for left := b.N; left > 0; left -= 100_000 {
					start := cpu(b)
					op.run(min(left, 100_000))
					spent += cpu(b) - start
					drop()
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(spent/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// BenchmarkDrain measures a drain, per record.
func BenchmarkDrain(b *testing.B) {
	mem := watch(b, 4096)
	p := at[[512]uint64](mem, 0)
	spent := 0.0
	for left := b.N; left > 0; left -= 50_000 {
		for i := range min(left, 50_000) {
			p[i%512] = uint64(i)
		}
		start := cpu(b)
		exact.Drain(func(exact.Record) {})
		spent += cpu(b) - start
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(spent/float64(b.N), "cpu-ns/op")
}
