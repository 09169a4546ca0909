package pmemset_test

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

const (
	benchPage  = 4096
	benchParts = 10_000
	benchName  = "pmemset-bench"
)

// benchSource is a source of 64 pages of memory, on this machine.
func benchSource(tb testing.TB) (*pmemset.Source, *pmem2.Source) {
	tb.Helper()
	fd, err := unix.MemfdCreate(benchName, unix.MFD_CLOEXEC) //nolint:forbidigo // a file, which no platform makes
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { unix.Close(fd) })
	modelMustDo(unix.Ftruncate(fd, 64*benchPage))
	under := modelMust(pmem2.SourceFromFD(fd))
	src := modelMust(pmemset.SourceFromPMem2(under))
	tb.Cleanup(func() { src.Delete() })
	return src, under
}

// benchPlace is where the parts of a set lie.
type benchPlace struct {
	name       string
	configured bool
	older      bool // the way to map before 1.12
}

var benchPlaces = []benchPlace{{name: "library"}, {name: "library-1.11", older: true}, {name: "configured", configured: true}}

// benchSet is a set with room for benchParts parts and some.
func benchSet(tb testing.TB, configured bool) *pmemset.Set {
	tb.Helper()
	cfg := pmemset.NewConfig()
	modelMustDo(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage))
	if configured {
		r := modelMust(pmem2.NewVMReservation(0, 2*benchParts*benchPage))
		tb.Cleanup(func() { modelMustDo(r.Delete()) })
		modelMustDo(cfg.SetReservation(r))
	}
	set := modelMust(pmemset.New(cfg))
	tb.Cleanup(func() { set.Delete() })
	return set
}

// benchMapper returns what maps one page into set.
func (p benchPlace) mapper(set *pmemset.Set, src *pmemset.Source) func() pmemset.PartDescriptor {
	cfg := pmemset.NewMapConfig(set)
	modelMustDo(cfg.SetLength(benchPage))
	return func() pmemset.PartDescriptor {
		if p.older {
			return modelMust(pmemset.Map(src, cfg))
		}
		return modelMust(set.Map(src, cfg))
	}
}

// benchNth times mapping the nth part of a set, again and again, and removing it.
func (p benchPlace) benchNth(tb testing.TB, n, samples int) (mapping, removal time.Duration) {
	set := benchSet(tb, p.configured)
	src, _ := benchSource(tb)
	mapOne := p.mapper(set, src)
	for range n - 1 {
		mapOne()
	}
	var maps, removals []time.Duration
	for range samples {
		start := time.Now()
		d := mapOne()
		mapped := time.Now()
		modelMustDo(set.RemoveRange(d.Addr, 1))
		removals = append(removals, time.Since(mapped))
		maps = append(maps, mapped.Sub(start))
	}
	modelMustDo(set.Delete())
	return benchMedian(maps), benchMedian(removals)
}

func benchMedian(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkMapNth compares mapping the 10,000th part of a set with mapping the 10th.
func BenchmarkMapNth(b *testing.B) {
	for _, p := range benchPlaces {
		b.Run(p.name, func(b *testing.B) {
			var few, many, removeFew, removeMany time.Duration
			for b.Loop() {
				few, removeFew = p.benchNth(b, 10, 1000)
				many, removeMany = p.benchNth(b, benchParts, 1000)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(few), "ns/10th")
			b.ReportMetric(float64(many), "ns/10000th")
			b.ReportMetric(float64(many)/float64(few), "ratio")
			b.ReportMetric(float64(removeMany)/float64(removeFew), "removal-ratio")
		})
	}
}

// BenchmarkLookup looks parts up by address among 10,000.
func BenchmarkLookup(b *testing.B) {
	set := benchSet(b, true)
	src, _ := benchSource(b)
	mapOne := benchPlace{}.mapper(set, src)
	addrs := make([]uintptr, benchParts)
	for i := range addrs {
		addrs[i] = mapOne().Addr + 100
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	look := func(i int) {
		p, err := set.PartMapByAddress(addrs[i%benchParts])
		if err != nil {
			b.Fatal(err)
		}
		p.Drop()
	}
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			look(i)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		var start atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for i := int(start.Add(1)) * 1000; pb.Next(); i++ {
				look(i)
			}
		})
	})
	modelMustDo(set.Delete())
}

// BenchmarkData compares operations on memory through the set with those of the pmem2
// mapping itself.
func BenchmarkData(b *testing.B) {
	b.Setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE")
	set := benchSet(b, false)
	src, under := benchSource(b)
	part := modelMust(set.Map(src, nil)).Bytes()
	cfg := pmem2.NewConfig()
	modelMustDo(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage))
	m := modelMust(pmem2.NewMap(cfg, under))
	defer m.Delete()
	data := make([]byte, benchPage)
	for _, n := range []int{8, 64, benchPage} {
		for _, op := range []struct {
			name           string
			through, under func() error
		}{
			{"Persist", func() error { return set.Persist(part[:n]) }, func() error { return m.Persist(m.Bytes()[:n]) }},
			{"Memcpy", func() error { return set.Memcpy(part[:n], data[:n], 0) }, func() error { return m.Memcpy(m.Bytes()[:n], data[:n], 0) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", op.name, n), func(b *testing.B) {
				b.ReportAllocs()
				var alone, through time.Duration
				for b.Loop() {
					alone = benchPer(op.under)
					through = benchPer(op.through)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(testing.AllocsPerRun(100, func() { modelMustDo(op.through()) }), "allocs/op")
				b.ReportMetric(0, "B/op")
				b.ReportMetric(float64(alone)/benchBatch, "ns/pmem2")
				b.ReportMetric(float64(through)/benchBatch, "ns/set")
				b.ReportMetric(float64(through)/float64(alone), "ratio")
			})
		}
	}
	modelMustDo(set.Delete())
}

const benchBatch = 1000

// benchPer is the median time of benchBatch calls.
func benchPer(f func() error) time.Duration {
	var all []time.Duration
	for range 21 {
		start := time.Now()
		for range benchBatch {
			modelMustDo(f())
		}
		all = append(all, time.Since(start))
	}
	return benchMedian(all)
}

// BenchmarkRemoveRange removes one piece of a part map of 10,000 pieces.
func BenchmarkRemoveRange(b *testing.B) {
	for _, place := range []string{"last", "anywhere"} {
		b.Run(place, func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				set := benchSet(b, true)
				src, _ := benchSource(b)
				mapOne := benchPlace{}.mapper(set, src)
				modelMustDo(set.SetContiguousPartCoalescing(pmemset.CoalescingFull))
				var whole pmemset.PartDescriptor
				for range benchParts {
					whole = mapOne()
				}
				r := rand.New(rand.NewPCG(1, 1))
				for range 1000 {
					at := whole.Addr + uintptr(whole.Size) - 1
					if place == "anywhere" {
						// Only one: the part map isn't whole any more.
						at = whole.Addr + uintptr(r.Uint64N(whole.Size))
					}
					start := time.Now()
					modelMustDo(set.RemoveRange(at, 1))
					times = append(times, time.Since(start))
					if place == "last" {
						mapOne()
						continue
					}
					modelMustDo(set.RemoveRange(0, ^uint64(0)))
					break
				}
				modelMustDo(set.Delete())
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(benchMedian(times)), "ns/removal")
		})
	}
}

// TestBenchAddressSpace: mapping and removing leave the address space as it was, as the
// kernel tells it.
func TestBenchAddressSpace(t *testing.T) {
	const rounds = 4
	cycles := 2_500
	if testing.Short() {
		cycles = 500
	}
	for _, p := range benchPlaces {
		for _, coalescing := range []pmemset.Coalescing{pmemset.CoalescingNone, pmemset.CoalescingFull} {
			t.Run(fmt.Sprint(p.name, coalescing), func(t *testing.T) {
				set := benchSet(t, p.configured)
				src, _ := benchSource(t)
				mapOne := p.mapper(set, src)
				modelMustDo(set.SetContiguousPartCoalescing(coalescing))
				cycle := func() {
					first := mapOne()
					if coalescing != pmemset.CoalescingNone && (p.configured || !p.older) {
						mapOne()
						modelMustDo(set.RemoveRange(first.Addr, 1)) // a part map goes on without its start
						modelMustDo(set.RemoveRange(first.Addr+benchPage, 1))
						return
					}
					modelMustDo(set.RemoveRange(first.Addr, 1))
				}
				for range 100 {
					cycle()
				}
				// The Go runtime and the C library map now and then, too; what is lost in each
				// cycle is lost in every round.
				least := benchUse{mappings: math.MaxInt, bytes: math.MaxInt64}
				for range rounds {
					before := benchSpace(t)
					for range cycles {
						cycle()
					}
					after := benchSpace(t)
					least.mappings = min(least.mappings, after.mappings-before.mappings)
					least.bytes = min(least.bytes, after.bytes-before.bytes)
					if after.parts != 0 {
						t.Errorf("%d mappings of the file, want none", after.parts)
					}
				}
				if least.mappings > cycles/10 || least.bytes > int64(cycles/10*benchPage) {
					t.Errorf("%d cycles take %d mappings and %d bytes of address space", cycles, least.mappings, least.bytes)
				}
			})
		}
	}
}

// benchUse is what is mapped.
type benchUse struct {
	mappings, parts int
	bytes           int64 // that can't be accessed, as a reservation: outside Go's heap
}

func benchSpace(tb testing.TB) (u benchUse) {
	tb.Helper()
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var from, to uint64
		var perm string
		if _, err := fmt.Sscanf(s.Text(), "%x-%x %s", &from, &to, &perm); err != nil {
			tb.Fatal(err)
		}
		u.mappings++
		if strings.Contains(s.Text(), benchName) {
			u.parts++
		}
		if heap := uint64(0xc000000000); perm == "---p" && (from < heap || from >= heap+1<<38) {
			u.bytes += int64(to - from)
		}
	}
	return u
}
