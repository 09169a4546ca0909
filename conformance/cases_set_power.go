package conformance

import "slices"

// setPowerCases are the rows of libpmemset that take a power failure to be checked.
func setPowerCases() []Case {
	const persist, drain, deep = "pmemset_persist/", "pmemset_drain/", "pmemset_deep_flush/"
	return slices.Concat([]Case{{
		Name: persist + "the power fails behind it",
		Rows: []string{persist + "persists-range"},
		Run:  func(t *T) { persistIsDurable(t, powerParts) },
	}, {
		Name: drain + "one for flushes of two parts",
		Rows: []string{drain + "after-discontiguous-flushes"},
		Run:  oneDrainForTwoParts,
	}, {
		Name: drain + "order",
		Rows: []string{drain + "orders-flushed-stores"},
		Run:  func(t *T) { drainOrders(t, powerParts) },
	}, {
		Name: deep + "unwritten stores, and the hardware fails", Needs: []Need{NeedDIMM},
		Rows: []string{deep + "most-reliable-domain"},
		Run:  func(t *T) { deepFlushOutlives(t, powerParts, false) },
	}, {
		Name: deep + "persisted data, and the hardware fails", Needs: []Need{NeedDIMM},
		Rows: []string{deep + "no-reliance-on-adr"},
		Run:  func(t *T) { deepFlushOutlives(t, powerParts, true) },
	}}, powerMemoryCases(powerParts, "pmemset_memmove", "pmemset_%s/"))
}

// oneDrainForTwoParts flushes ranges of two parts and drains once.
func oneDrainForTwoParts(t *T) {
	powerParts(t, func(p *powered) {
		q := p.another()
		for i := range 2 {
			p.fill(byte(i), apart...)
			q.fill(byte(i+50), apart...)
			for _, s := range apart {
				t.mustQuietly(p.Flush(s.of(p.b)), "%s: Flush(%v) in a part", p.what, s)
				t.mustQuietly(p.Flush(s.of(q.b)), "%s: Flush(%v) in another", p.what, s)
			}
			t.mustQuietly(p.Drain(), "Drain()")
			p.checkDurable(p.anyOrder(), "behind Flush in two parts and one Drain", apart...)
			q.checkDurable(q.anyOrder(), "behind Flush in two parts and one Drain", apart...)
		}
	})
}
