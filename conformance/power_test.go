package conformance

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"unsafe" // the operations of a faulty machine take pointers, as all do

	"pmemlab/conformance/report"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Faults of libraries that only a power failure shows. Where one leaves something out it
// runs on a machine that does.

// neglectful is a machine that doesn't do everything that it's asked for.
type neglectful struct {
	platform.Platform
	ops       [pmem2.GranularityPage + 1]*platform.CacheOps
	msync     func() (skip bool)
	writeAttr func() (skip bool)
	mmapFlags int // cleared
}

// neglect changes the operations of a machine.
func neglect(p platform.Platform, change func(real, ops *platform.CacheOps)) *neglectful {
	no := func() bool { return false }
	n := &neglectful{Platform: p, msync: no, writeAttr: no}
	for g := range n.ops {
		real := p.CacheOps(platform.Granularity(g))
		ops := *real
		change(real, &ops)
		n.ops[g] = &ops
	}
	return n
}

func (n *neglectful) CacheOps(g platform.Granularity) *platform.CacheOps { return n.ops[g] }

func (n *neglectful) Msync(addr uintptr, length uint64, flags int) error {
	if n.msync() {
		return nil
	}
	return n.Platform.Msync(addr, length, flags)
}

func (n *neglectful) WriteAttr(path, text string) error {
	if n.writeAttr() {
		return nil
	}
	return n.Platform.WriteAttr(path, text)
}

func (n *neglectful) Mmap(addr uintptr, length uint64, prot, flags, fd int, off int64) (uintptr, error) {
	return n.Platform.Mmap(addr, length, prot, flags&^n.mmapFlags, fd, off)
}

// onNeglectful is the Go library on such a machine.
func onNeglectful(change func(real, ops *platform.CacheOps), more func(n *neglectful)) func(Library, platform.Platform) Library {
	return func(_ Library, p platform.Platform) Library {
		n := neglect(p, change)
		if more != nil {
			more(n)
		}
		return Go.On(n)
	}
}

func unchanged(_, _ *platform.CacheOps) {}

// torn makes copies of half words.
func torn(real, ops *platform.CacheOps) {
	halves := func(store func(dst, src unsafe.Pointer, n uintptr)) func(dst, src unsafe.Pointer, n uintptr) {
		return func(dst, src unsafe.Pointer, n uintptr) {
			for i := uintptr(0); i < n; i += wordSize / 2 {
				store(unsafe.Add(dst, i), unsafe.Add(src, i), min(wordSize/2, n-i))
			}
		}
	}
	ops.Copy, ops.CopyNT = halves(real.Copy), halves(real.CopyNT)
}

// otherwise is a library whose maps and sets store in another way: a fault for each call,
// nil for none.
type otherwise struct {
	Library
	machine platform.Platform
	persist func(s storing, b []byte) error
	copy    func(s storing, op powerOp, dst, src []byte, flags pmem2.MemFlags) error
	// around is instead of them, of a map alone.
	around func(m Map, machine platform.Platform) Map
}

func (l otherwise) NewMap(cfg PMem2Config, src Source) (Map, error) {
	m, err := l.Library.NewMap(cfg, src)
	switch {
	case err != nil:
		return nil, err
	case l.around != nil:
		return l.around(m, l.machine), nil
	}
	return otherMap{m, l.of(byGetters{m})}, nil
}

func (otherwise) SharesFunctions(_, _ Map) bool { return true }

func (l otherwise) Sets() SetLibrary { return otherSets{l.Library.Sets(), l} }

// of are the faulty calls.
func (l otherwise) of(s storing) otherStoring { return otherStoring{s, l} }

type otherStoring struct {
	storing
	l otherwise
}

func (s otherStoring) Persist(b []byte) error {
	if s.l.persist == nil {
		return s.storing.Persist(b)
	}
	return s.l.persist(s.storing, b)
}

func (s otherStoring) copy(op powerOp, dst, src []byte, flags pmem2.MemFlags) error {
	if s.l.copy == nil {
		return op.call(s.storing, dst, src, flags)
	}
	return s.l.copy(s.storing, op, dst, src, flags)
}

func (s otherStoring) Memmove(dst, src []byte, flags pmem2.MemFlags) error {
	return s.copy(powerOps[0], dst, src, flags)
}

func (s otherStoring) Memcpy(dst, src []byte, flags pmem2.MemFlags) error {
	return s.copy(powerOps[1], dst, src, flags)
}

func (s otherStoring) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	return s.copy(powerOps[2], dst, []byte{c}, flags)
}

type otherMap struct {
	Map
	s otherStoring
}

func (m otherMap) PersistFunc() func([]byte) error { return m.s.Persist }
func (m otherMap) MemmoveFunc() func(dst, src []byte, flags pmem2.MemFlags) error {
	return m.s.Memmove
}
func (m otherMap) MemcpyFunc() func(dst, src []byte, flags pmem2.MemFlags) error { return m.s.Memcpy }
func (m otherMap) MemsetFunc() func(dst []byte, c byte, flags pmem2.MemFlags) error {
	return m.s.Memset
}

type otherSets struct {
	SetLibrary
	l otherwise
}

type otherSet struct {
	Set
	s otherStoring
}

func (l otherSets) NewSet(cfg SetConfig) (Set, error) {
	s, err := l.SetLibrary.NewSet(cfg)
	if err != nil {
		return nil, err
	}
	return otherSet{s, l.l.of(s)}, nil
}

func (l otherSets) NewMapConfig(set Set) (MapConfig, error) {
	return l.SetLibrary.NewMapConfig(set.(otherSet).Set)
}

func (l otherSets) NewPart(set Set, src SetSource, offset, length uint64) (Part, error) {
	return l.SetLibrary.NewPart(set.(otherSet).Set, src, offset, length)
}

func (s otherSet) Persist(b []byte) error { return s.s.Persist(b) }
func (s otherSet) Memmove(dst, src []byte, flags pmem2.MemFlags) error {
	return s.s.Memmove(dst, src, flags)
}
func (s otherSet) Memcpy(dst, src []byte, flags pmem2.MemFlags) error {
	return s.s.Memcpy(dst, src, flags)
}
func (s otherSet) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	return s.s.Memset(dst, c, flags)
}

// otherFlags is a library that takes some flags for others.
func otherFlags(change func(pmem2.MemFlags) pmem2.MemFlags) func(Library, platform.Platform) Library {
	return func(l Library, _ platform.Platform) Library {
		return otherwise{Library: l, copy: func(s storing, op powerOp, dst, src []byte, flags pmem2.MemFlags) error {
			return op.call(s, dst, src, change(flags))
		}}
	}
}

// shadowed is a map whose memory is a copy. Persisting it writes one line after the other.
type shadowed struct {
	Map
	shadow []byte
	line   func(p unsafe.Pointer)
}

func shadow(m Map, machine platform.Platform) Map {
	return shadowed{m, make([]byte, m.Size()), func(p unsafe.Pointer) {
		if m.StoreGranularity() == pmem2.GranularityPage {
			_ = machine.Msync(uintptr(p)&^(uintptr(machine.PageSize())-1), machine.PageSize(), platform.MsSync)
		} else {
			machine.CacheOps(m.StoreGranularity()).Persist(p, cacheLine)
		}
	}}
}

func (m shadowed) Bytes() []byte { return m.shadow }

func (m shadowed) write(b []byte) error {
	off := addressOf(b) - addressOf(m.shadow)
	for at := range unitsOf(0, uint64(off)+uint64(len(b)), cacheLine) {
		line := span{at * cacheLine, cacheLine}
		real := line.of(m.Map.Bytes())
		copy(real, line.of(m.shadow))
		m.line(unsafe.Pointer(unsafe.SliceData(real)))
	}
	return nil
}

func (m shadowed) PersistFunc() func([]byte) error { return m.write }
func (m shadowed) FlushFunc() func([]byte) error   { return m.write }

// ownDrain is a map that flushes when it's drained, by the map's own drain.
type ownDrain struct {
	Map
	last *[]byte
}

func (m ownDrain) FlushFunc() func([]byte) error {
	return func(b []byte) error {
		*m.last = b
		return nil
	}
}

func (m ownDrain) DrainFunc() func() error {
	return func() error {
		b := *m.last
		*m.last = nil
		return m.PersistFunc()(b)
	}
}

// powerFault is a fault with rows that it breaks.
type powerFault struct {
	name string
	on   func(Library, platform.Platform) Library
	rows []string
}

func powerFaults() []powerFault {
	const persist, flush, drain = "pmem2_get_persist_fn/", "pmem2_get_flush_fn/", "pmem2_get_drain_fn/"
	const unsafeShutdown, move, deep = "libpmem2_unsafe_shutdown/", "pmem2_get_memmove_fn/", "pmem2_deep_flush/"
	const setMove, setDrain, setDeep = "pmemset_memmove/", "pmemset_drain/", "pmemset_deep_flush/"
	durable := []string{
		persist + "durable-on-return", persist + "unwritten-stores-get-written", persist + "several-flushes-one-drain",
		flush + "drain-or-persist-completes-it", flush + "unwritten-stores-get-written",
		drain + "like-waiting-for-flushes", drain + "one-call-for-shared-drain", drain + "flushes-not-reordered-after",
		move + "flushed-on-return", "pmem2_get_memcpy_fn/flushed-on-return", "pmem2_get_memset_fn/flushed-on-return",
		move + "equals-memmove-plus-persist", move + "nodrain-then-one-drain", move + "noflush-needs-later-flush",
		move + "remaining-flags-are-hints", unsafeShutdown + "domain-flushed-on-power-failure",
		"pmemset_persist/persists-range", setDrain + "after-discontiguous-flushes", setDrain + "orders-flushed-stores",
		setMove + "flushed-on-return", "pmemset_memcpy/flushed-on-return", "pmemset_memset/flushed-on-return",
		setMove + "equals-memmove-plus-persist", setMove + "nodrain-then-one-drain", setMove + "noflush-needs-later-flush",
		setMove + "hints-only",
	}
	deepFlushes := []string{
		deep + "most-reliable-domain", deep + "no-reliance-on-adr", unsafeShutdown + "deep-flush-for-bookkeeping",
		setDeep + "most-reliable-domain", setDeep + "no-reliance-on-adr",
	}
	persisted := []string{persist + "durable-on-return", "pmemset_persist/persists-range", persist + "unwritten-stores-get-written"}
	return []powerFault{
		{name: "no fence", rows: durable, on: onNeglectful(func(real, ops *platform.CacheOps) {
			ops.Fence = func() {}
			ops.Persist = real.Flush
		}, nil)},
		{name: "no flush", rows: slices.DeleteFunc(slices.Clone(durable), func(row string) bool {
			// Where non-temporal stores do without one, there's nothing to miss.
			return strings.HasSuffix(row, "/equals-memmove-plus-persist")
		}), on: onNeglectful(func(real, ops *platform.CacheOps) {
			ops.Flush = func(unsafe.Pointer, uintptr) {}
			ops.Persist = func(unsafe.Pointer, uintptr) { real.Fence() }
		}, nil)},
		{name: "no fence at BYTE", rows: []string{
			move + "flushed-on-return", "pmem2_get_memcpy_fn/flushed-on-return", "pmem2_get_memset_fn/flushed-on-return",
			setMove + "flushed-on-return", "pmemset_memcpy/flushed-on-return", "pmemset_memset/flushed-on-return",
		}, on: onNeglectful(unchanged, func(n *neglectful) { n.ops[pmem2.GranularityByte].Fence = func() {} })},
		{name: "one line short", rows: persisted, on: onNeglectful(func(real, ops *platform.CacheOps) {
			ops.Flush = func(p unsafe.Pointer, n uintptr) { real.Flush(p, max(n, 65)-64) }
			ops.Persist = func(p unsafe.Pointer, n uintptr) { real.Persist(p, max(n, 65)-64) }
		}, nil)},
		{name: "the first line only", rows: persisted, on: onNeglectful(func(real, ops *platform.CacheOps) {
			ops.Persist = func(p unsafe.Pointer, n uintptr) { real.Persist(p, min(n, 1)) }
		}, nil)},
		{name: "no msync", rows: slices.Concat(persisted, deepFlushes), on: onNeglectful(unchanged, func(n *neglectful) {
			n.msync = func() bool { return true }
		})},
		{name: "no MAP_SYNC", rows: persisted, on: onNeglectful(unchanged, func(n *neglectful) { n.mmapFlags = platform.MapSync })},
		{name: "no deep flush", rows: deepFlushes, on: onNeglectful(unchanged, func(n *neglectful) {
			n.writeAttr = func() bool { return true }
		})},
		{name: "flush drains", rows: []string{flush + "not-durable-by-itself"}, on: onNeglectful(func(real, ops *platform.CacheOps) {
			ops.Flush = real.Persist
		}, nil)},
		{name: "half words", on: onNeglectful(torn, nil), rows: []string{
			move + "eight-byte-stores", move + "replaces-series-of-8-byte-stores",
			setMove + "eight-byte-stores", setMove + "replaces-series-of-8-byte-stores",
		}},
		{name: "drain comes late", rows: []string{drain + "flushes-not-reordered-after", setDrain + "orders-flushed-stores"},
			on: onNeglectful(func(real, ops *platform.CacheOps) {
				waiting := false
				ops.Fence = func() { waiting = true }
				ops.Flush = func(p unsafe.Pointer, n uintptr) {
					real.Flush(p, n)
					if waiting {
						waiting = false
						real.Fence()
					}
				}
			}, nil)},
		{name: "persist is a deep flush", rows: []string{unsafeShutdown + "may-corrupt-any-file-part"},
			on: func(l Library, _ platform.Platform) Library {
				return otherwise{Library: l, persist: func(s storing, b []byte) error {
					return s.DeepFlushRange(addressOf(b), uint64(len(b)))
				}}
			}},
		{name: "NOFLUSH flushes", rows: []string{move + "noflush-no-flush", setMove + "noflush-no-flush"},
			on: otherFlags(func(f pmem2.MemFlags) pmem2.MemFlags { return f &^ pmem2.MemNoFlush })},
		{name: "NODRAIN doesn't flush", rows: []string{move + "nodrain-then-one-drain", setMove + "nodrain-then-one-drain"},
			on: otherFlags(func(f pmem2.MemFlags) pmem2.MemFlags {
				if f&pmem2.MemNoDrain != 0 {
					return pmem2.MemNoFlush
				}
				return f
			})},
		{name: "a hint leaves out the drain", rows: []string{move + "remaining-flags-are-hints", setMove + "hints-only"},
			on: otherFlags(func(f pmem2.MemFlags) pmem2.MemFlags {
				if f&pmem2.MemWC != 0 {
					return f | pmem2.MemNoDrain
				}
				return f
			})},
		{name: "copies from the front", rows: []string{move + "equals-memmove-plus-persist", setMove + "equals-memmove-plus-persist"},
			on: func(l Library, _ platform.Platform) Library {
				return otherwise{Library: l, copy: func(s storing, op powerOp, dst, src []byte, flags pmem2.MemFlags) error {
					for i := range min(len(dst), len(src)) {
						dst[i] = src[i]
					}
					return s.Persist(dst)
				}}
			}},
		{name: "the memory is a copy", rows: []string{
			"libpmem2/persist-is-not-transactional", persist + "not-atomic", persist + "stores-may-persist-earlier",
			flush + "not-atomic", flush + "stores-may-be-written-earlier",
		}, on: func(l Library, p platform.Platform) Library { return otherwise{Library: l, machine: p, around: shadow} }},
		{name: "a drain for the last flush", rows: []string{
			drain + "one-call-for-shared-drain", drain + "like-waiting-for-flushes", persist + "several-flushes-one-drain",
		}, on: func(l Library, p platform.Platform) Library {
			return otherwise{Library: l, around: func(m Map, _ platform.Platform) Map { return ownDrain{m, new([]byte)} }}
		}},
	}
}

// casesOf are the cases of rows.
func casesOf(rows []string) []Case {
	return slices.DeleteFunc(slices.Concat(powerCases(), setPowerCases()), func(c Case) bool {
		return !slices.ContainsFunc(c.Rows, func(row string) bool { return slices.Contains(rows, row) })
	})
}

// TestPowerFaultsAreFound has for each row that takes a power failure a fault that breaks it.
func TestPowerFaultsAreFound(t *testing.T) {
	needsLinux(t)
	missing := map[string]bool{}
	for _, r := range Rows() {
		if r.Needs == NeedCrash {
			missing[r.ID] = true
		}
	}
	if len(missing) != 44 {
		t.Errorf("%d rows need a power failure, want 44", len(missing))
	}
	for _, fault := range powerFaults() {
		t.Run(fault.name, func(t *testing.T) {
			run := runCases(t, planted{fault.name, fault.on}, Emulated(), casesOf(fault.rows)...)
			for _, row := range fault.rows {
				got := rowOf(t, run, row)
				if got.Status != report.Fail || !strings.Contains(got.Reason, "power fail") &&
					!strings.Contains(got.Reason, "the hardware fails") && !strings.Contains(got.Reason, "asks") && !strings.Contains(got.Reason, "the memory") {
					t.Errorf("%s: %s (%s), want a failure for what is lost", row, got.Status, got.Reason)
				}
				delete(missing, row)
			}
			if wrong := suiteErrors(run); wrong != nil {
				t.Errorf("suite errors %q, want none", wrong)
			}
		})
	}
	for row := range missing {
		t.Errorf("no fault breaks %s", row)
	}
}

// fewStates is a place that knows only the newest state.
type fewStates struct {
	Env
	err error
}

func (e fewStates) PowerFails(f Failure, objects ...Object) (iter.Seq2[[][]byte, error], bool, error) {
	states, _, err := e.Env.(PowerFailure).PowerFails(f, objects...)
	return func(yield func([][]byte, error) bool) {
		for left, err := range states {
			yield(left, errors.Join(err, e.err))
			return
		}
	}, false, err
}

// noStates is a place where the power never fails.
type noStates struct{ Env }

func (noStates) PowerFails(Failure, ...Object) (iter.Seq2[[][]byte, error], bool, error) {
	return func(func([][]byte, error) bool) {}, true, nil
}

// TestPlacesWhosePowerFails: one that doesn't know all states can't hold against a library
// that it hasn't seen one; one that's broken holds nothing against it.
func TestPlacesWhosePowerFails(t *testing.T) {
	needsLinux(t)
	const exists, never = "pmem2_get_flush_fn/not-durable-by-itself", "pmem2_get_persist_fn/durable-on-return"
	for _, row := range []struct {
		name   string
		env    func(Env) Env
		exists report.Status
		never  report.Status
		reason string
	}{
		{"all states", func(e Env) Env { return e }, report.Pass, report.Pass, ""},
		{"one state", func(e Env) Env { return fewStates{Env: e} }, report.NotSupported, report.Pass, "not every state"},
		{"an error", func(e Env) Env { return fewStates{Env: e, err: errors.New("no generator")} }, report.Error, report.Error, "no generator"},
		{"no state", func(e Env) Env { return noStates{e} }, report.Error, report.Error, "no state is left"},
		{"no failure", func(e Env) Env { return struct{ Env }{e} }, report.Error, report.Error, "no PowerFails"},
	} {
		t.Run(row.name, func(t *testing.T) {
			run := runCases(t, Go, fakeTarget{Target: Emulated(), env: row.env}, casesOf([]string{exists, never})...)
			wantRow(t, run, exists, row.exists, row.reason)
			if row.never == report.Pass {
				row.reason = ""
			}
			wantRow(t, run, never, row.never, row.reason)
		})
	}
}
