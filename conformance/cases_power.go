package conformance

import (
	"fmt"
	"slices"

	"pmemlab/pmem2"
)

// powerCases are the rows of libpmem2 that take a power failure to be checked.
func powerCases() []Case {
	const persist, flush, drain = "pmem2_get_persist_fn/", "pmem2_get_flush_fn/", "pmem2_get_drain_fn/"
	return slices.Concat([]Case{{
		Name: persist + "the power fails behind it",
		Rows: []string{persist + "durable-on-return"},
		Run:  func(t *T) { persistIsDurable(t, powerMaps) },
	}, {
		Name: persist + "the power fails amid it",
		Rows: []string{persist + "not-atomic", "libpmem2/persist-is-not-transactional"},
		Run:  func(t *T) { rangeCallIsNotAtomic(t, "Persist", storing.Persist) },
	}, {
		Name: persist + "what wasn't written yet",
		Rows: []string{persist + "unwritten-stores-get-written"},
		Run:  func(t *T) { persistWritesAll(t) },
	}, {
		Name: persist + "the power fails before it",
		Rows: []string{persist + "stores-may-persist-earlier", flush + "stores-may-be-written-earlier"},
		Run:  storesMayPersistEarlier,
	}, {
		Name: persist + "flushes apart, then one drain",
		Rows: []string{persist + "several-flushes-one-drain"},
		Run:  flushesAndOneDrain,
	}, {
		Name: flush + "the power fails behind it",
		Rows: []string{flush + "not-durable-by-itself"},
		Run:  flushIsNotDurable,
	}, {
		Name: flush + "the power fails amid it",
		Rows: []string{flush + "not-atomic"},
		Run:  func(t *T) { rangeCallIsNotAtomic(t, "Flush", storing.Flush) },
	}, {
		Name: flush + "then drain or persist",
		Rows: []string{flush + "drain-or-persist-completes-it", flush + "unwritten-stores-get-written"},
		Run:  flushAndCompletion,
	}, {
		Name: drain + "order",
		Rows: []string{drain + "flushes-not-reordered-after"},
		Run:  func(t *T) { drainOrders(t, powerMaps) },
	}, {
		Name: drain + "waits for every flush",
		Rows: []string{drain + "like-waiting-for-flushes"},
		Run:  drainWaits,
	}, {
		Name: drain + "one for two maps",
		Rows: []string{drain + "one-call-for-shared-drain"},
		Run:  oneDrainForTwoMaps,
	}}, powerMemoryCases(powerMaps, "pmem2_get_memmove_fn", "pmem2_get_%s_fn/"), powerDeepFlushCases())
}

// powerSpans are ranges that don't meet in a line, at borders of lines and pages.
func powerSpans() []span {
	return []span{
		{0, 1}, {64, 64}, {191, 2}, {257, 127}, {512 + 60, 8}, {4096 - 1, 2}, {8192 - 96, 200},
		{12289, 1000}, {16384, 4096}, {28672 + 123, 8192 + 7}, {powerSize - 65, 1}, {powerSize - 1, 1},
	}
}

// persistIsDurable persists one range after the other, each alone unwritten.
func persistIsDurable(t *T, memory powerMemory) {
	memory(t, func(p *powered) {
		done := []span{}
		for i, s := range powerSpans() {
			p.fill(byte(i), s)
			t.mustQuietly(p.Persist(s.of(p.b)), "%s: Persist(%v)", p.what, s)
			done = append(done, s)
			p.checkDurable(p.anyOrder(), "behind Persist", done...)
		}
		// What was durable already, and nothing.
		for _, s := range []span{{64, 64}, {5, 0}} {
			t.mustQuietly(p.Persist(s.of(p.b)), "%s: Persist(%v)", p.what, s)
			p.checkDurable(p.anyOrder(), "behind Persist of what was durable", done...)
		}
	})
}

// persistWritesAll has many lines unwritten, of which some were flushed before.
func persistWritesAll(t *T) {
	powerMaps(t, func(p *powered) {
		whole := span{100, 9 * 4096}
		at := []span{{100, 8}, {200, 64}, {1000, 300}, {4096, 1}, {8000, 500}, {20000, 64}, {whole.off + whole.n - 1, 1}}
		p.fill(1, at...)
		t.Must(p.Flush(at[2].of(p.b)), "Flush(%v)", at[2])
		p.fill(2, at[2], at[4])
		t.Must(p.Persist(whole.of(p.b)), "%s: Persist(%v)", p.what, whole)
		p.checkDurable(p.anyOrder(), "behind Persist of the range around", whole)
	})
}

// threeUnits are three lines, and at PAGE three pages, that are stored as a whole.
func (p *powered) threeUnits() []span {
	if p.g == pmem2.GranularityPage {
		return []span{{0, 512}, {4096, 512}, {8192, 512}}
	}
	return []span{{0, cacheLine}, {cacheLine, cacheLine}, {2 * cacheLine, cacheLine}}
}

// mix says which of the units are new in what is left, a bit for each: the others hold what
// they held before, zeroes.
func (p *powered) mix(left []byte, units []span) (mix int, wrong string) {
	if left == nil {
		if p.g == pmem2.GranularityPage {
			return 0, "" // nobody has synced the file
		}
		return 0, "the file is missing or too short"
	}
	for i, u := range units {
		is := u.of(left)
		switch {
		case string(is) == string(u.of(p.b)):
			mix |= 1 << i
		case slices.ContainsFunc(is, func(b byte) bool { return b != 0 }):
			return 0, fmt.Sprintf("the %v hold neither what was stored nor what was there before", u)
		}
	}
	return mix, ""
}

// checkMixes expects every mix of the units to have been left.
func (p *powered) checkMixes(seen map[int]bool, all bool, units []span, when string) {
	for mix := range 1 << len(units) {
		p.found(seen[mix], all, "%s: the power fails %s, and of %d units never exactly those of the mask %#b are durable",
			p.what, when, len(units), mix)
	}
	p.t.Note(fmt.Sprintf("%s: the power fails %s", p.what, when), "any of %d units may be durable", len(units))
}

// rangeCallIsNotAtomic expects a failure amid a call to leave any part of its range. With
// eADR all of it is durable before the call.
func rangeCallIsNotAtomic(t *T, name string, call func(p storing, b []byte) error) {
	powerMaps(t, func(p *powered) {
		units := p.threeUnits()
		last := units[len(units)-1]
		p.fill(1, units...)
		seen := map[int]bool{}
		all := p.atEachMoment(Failure{}, name, func() error { return call(p.storing, p.b[:last.off+last.n]) },
			func(left [][]byte) string {
				mix, wrong := p.mix(left[0], units)
				seen[mix] = true
				return wrong
			})
		if p.g == pmem2.GranularityByte {
			t.Check(len(seen) == 1 && seen[7], "%s: the power fails amid %s, and what was visible is lost: %v", p.what, name, seen)
			return
		}
		p.checkMixes(seen, all, units, "amid "+name)
	})
}

// storesMayPersistEarlier expects any of some stores to be durable before any call.
func storesMayPersistEarlier(t *T) {
	powerMaps(t, func(p *powered) {
		units := p.threeUnits()
		p.fill(1, units...)
		seen := map[int]bool{}
		wrong := ""
		all := t.PowerFails(Failure{}, func(left [][]byte) bool {
			var mix int
			mix, wrong = p.mix(left[0], units)
			seen[mix] = true
			return wrong == ""
		}, p)
		t.Check(wrong == "", "%s: the power fails before any call, and %s", p.what, wrong)
		if p.g == pmem2.GranularityByte {
			t.Check(len(seen) == 1 && seen[7], "%s: the power fails before any call, and what was visible is lost: %v", p.what, seen)
			return
		}
		p.checkMixes(seen, all, units, "before any call")
	})
}

// apart are ranges without a line in common, nor a page.
var apart = []span{{10, 50}, {4096 + 200, 300}, {20000, 5000}}

func flushesAndOneDrain(t *T) {
	powerMaps(t, func(p *powered) {
		p.fill(1, apart...)
		for _, s := range apart {
			t.Must(p.Flush(s.of(p.b)), "%s: Flush(%v)", p.what, s)
		}
		t.Must(p.Drain(), "Drain()")
		p.checkDurable(p.anyOrder(), "behind several Flush and one Drain", apart...)
		// Stores and flushes by turns.
		for i, s := range apart {
			p.fill(byte(100+i), s)
			t.Must(p.Flush(s.of(p.b)), "%s: Flush(%v)", p.what, s)
		}
		t.Must(p.Drain(), "Drain()")
		p.checkDurable(p.anyOrder(), "behind stores and Flush by turns, and one Drain", apart...)
	})
}

// flushIsNotDurable expects flushed data to need more where instructions flush. (msync of
// pages waits for them; with eADR there's nothing to wait for.)
func flushIsNotDurable(t *T) {
	seen := false
	powerMaps(t, func(p *powered) {
		if p.g != pmem2.GranularityCacheLine {
			return
		}
		seen = true
		for i, s := range []span{{0, 1}, {4096 + 64, 64}, {8192 + 10, 1000}} {
			p.fill(byte(i), s)
			t.mustQuietly(p.Flush(s.of(p.b)), "%s: Flush(%v)", p.what, s)
			p.checkCanLose(Failure{}, "behind Flush", s)
			t.mustQuietly(p.Drain(), "Drain()")
		}
	})
	if !seen {
		t.NotSupportedf("no memory at CACHE_LINE")
	}
}

func flushAndCompletion(t *T) {
	powerMaps(t, func(p *powered) {
		for i, s := range powerSpans() {
			p.fill(byte(i), s)
			t.mustQuietly(p.Flush(s.of(p.b)), "%s: Flush(%v)", p.what, s)
			if i%2 == 0 {
				t.mustQuietly(p.Drain(), "Drain()")
				p.checkDurable(p.anyOrder(), "behind Flush and Drain", s)
			} else {
				t.mustQuietly(p.Persist(s.of(p.b)), "Persist(%v)", s)
				p.checkDurable(p.anyOrder(), "behind Flush and Persist", s)
			}
		}
		whole := span{0, 9 * 4096}
		p.fill(77, span{3, 1}, span{700, 80}, span{9000, 4096}, span{9*4096 - 1, 1})
		t.Must(p.Flush(whole.of(p.b)), "%s: Flush(%v)", p.what, whole)
		t.Must(p.Drain(), "Drain()")
		p.checkDurable(p.anyOrder(), "behind Flush of the range around and Drain", whole)
	})
}

// drainOrders expects what is flushed behind a drain never to be durable without what was
// flushed before it.
func drainOrders(t *T, memory powerMemory) {
	memory(t, func(p *powered) {
		for i, s := range []struct{ first, second span }{
			{span{0, 8}, span{4096, 8}},
			{span{64, 200}, span{10000, 64}},
			{span{16384 + 8, 8}, span{16384 + 64, 8}}, // neighbours
			{span{powerSize - 64, 64}, span{100, 1}},
		} {
			p.fill(byte(2*i), s.first)
			t.mustQuietly(p.Flush(s.first.of(p.b)), "%s: Flush(%v)", p.what, s.first)
			t.mustQuietly(p.Drain(), "Drain()")
			p.fill(byte(2*i+1), s.second)
			p.atEachMoment(p.anyOrder(), "a second Flush", func() error { return p.Flush(s.second.of(p.b)) }, func(left [][]byte) string {
				if wrong := p.lost(left[0], []span{s.first}); wrong != "" {
					return "behind the Drain of a first, " + wrong
				}
				return ""
			})
			t.mustQuietly(p.Drain(), "Drain()")
			p.checkDurable(p.anyOrder(), "behind the second Drain", s.first, s.second)
		}
	})
}

// drainWaits flushes many ranges.
func drainWaits(t *T) {
	powerMaps(t, func(p *powered) {
		for i := range 100 {
			s := span{i * 300, 1 + i}
			p.fill(byte(i), s)
			t.mustQuietly(p.Flush(s.of(p.b)), "%s: Flush(%v)", p.what, s)
		}
		t.Must(p.Drain(), "Drain()")
		p.checkDurable(p.anyOrder(), "behind 100 Flush and one Drain", span{0, 100 * 300})
	})
}

// oneDrainForTwoMaps drains by the function of the one map what was flushed in both.
func oneDrainForTwoMaps(t *T) {
	powerMaps(t, func(p *powered) {
		q := p.another()
		first, second := p.storing.(byGetters).Map, q.storing.(byGetters).Map
		t.Check(t.Lib.SharesFunctions(first, second), "%s: two maps don't have the same functions", p.what)
		for i, by := range []*powered{p, q} {
			s := apart[i]
			p.fill(byte(i), s)
			q.fill(byte(i+50), s)
			t.Must(p.Flush(s.of(p.b)), "%s: Flush(%v) in a map", p.what, s)
			t.Must(q.Flush(s.of(q.b)), "%s: Flush(%v) in another", p.what, s)
			t.Must(by.Drain(), "Drain() of the one")
			p.checkDurable(p.anyOrder(), "behind one Drain for two maps", s)
			q.checkDurable(q.anyOrder(), "behind one Drain for two maps", s)
		}
	})
}
