package conformance

import (
	"slices"
	"strings"
	"testing"

	"pmemlab/conformance/report"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

func TestUnitsOf(t *testing.T) {
	for _, row := range []struct {
		addr uintptr
		n    uint64
		want []uintptr
	}{
		{4096, 0, nil},
		{4096, 1, []uintptr{4096}},
		{4096, 64, []uintptr{4096}},
		{4096, 65, []uintptr{4096, 4160}},
		{4095, 1, []uintptr{4032}},
		{4095, 2, []uintptr{4032, 4096}},
		{4156, 8, []uintptr{4096, 4160}},
	} {
		if got := unitsOf(row.addr, row.n, 64); !slices.Equal(got, row.want) {
			t.Errorf("%d bytes at %d: %v, want %v", row.n, row.addr, got, row.want)
		}
	}
	es := events{{Kind: evFlush, Addr: 60, N: 8}, {Kind: evFlush, Addr: 0, N: 64}}
	if got, want := es.units(64), []uintptr{0, 64}; !slices.Equal(got, want) {
		t.Errorf("units of two flushes: %v, want %v", got, want)
	}
}

// TestTraceWritesDownAndDoes calls each operation of each granularity.
func TestTraceWritesDownAndDoes(t *testing.T) {
	needsLinux(t)
	tr := newTrace(platform.Host())
	if tr.CacheOps(-1) != nil || tr.CacheOps(3) != nil {
		t.Error("there are operations for granularities that there aren't")
	}
	addr, err := tr.Mmap(0, 8192, readWrite, placeholderFlags, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Munmap(addr, 8192)
	p, q := platform.Pointer(addr), platform.Pointer(addr+4096)
	memory := platform.Bytes(addr, 8192)
	for _, g := range granularities {
		ops := tr.CacheOps(g)
		if ops != tr.CacheOps(g) {
			t.Errorf("%v: other operations each time", g)
		}
		flushes := []eventKind{evFlush}
		if ops.Instruction == "" {
			flushes = nil
		}
		for _, row := range []struct {
			name string
			call func()
			want []eventKind
		}{
			{"Flush", func() { ops.Flush(p, 8) }, flushes},
			{"Flush of nothing", func() { ops.Flush(p, 0) }, nil},
			{"Fence", ops.Fence, []eventKind{evFence}},
			{"Persist", func() { ops.Persist(p, 8) }, append(slices.Clone(flushes), evFence)},
			{"Set", func() { ops.Set(q, 7, 100) }, []eventKind{evSet}},
			{"Copy", func() { ops.Copy(p, q, 50) }, []eventKind{evCopy}},
			{"SetNT", func() { ops.SetNT(q, 9, 100) }, []eventKind{evSetNT}},
			{"CopyNT", func() { ops.CopyNT(p, q, 20) }, []eventKind{evCopyNT}},
		} {
			tr.take()
			row.call()
			got := tr.take()
			if !slices.Equal(got.kinds(), append([]eventKind{}, row.want...)) {
				t.Errorf("%s at %v: %v, want %v", row.name, g, got, row.want)
			}
			for _, e := range got {
				if e.Granularity != g || e.Kind == evFlush && (e.Addr != addr || e.N != 8 || e.By != ops.Instruction) {
					t.Errorf("%s at %v: %+v", row.name, g, e)
				}
			}
		}
		if memory[19] != 9 || memory[20] != 7 || memory[49] != 7 || memory[4096+99] != 9 {
			t.Errorf("%v: the operations weren't done: %v", g, memory[:64])
		}
		clear(memory)
	}
	for _, flags := range []int{platform.MsSync, 0} {
		if err := tr.Msync(addr, 4096, flags); err != nil {
			t.Errorf("msync with flags %d: %v", flags, err)
		}
	}
	if got := tr.take(); len(got) != 1 || got[0] != (event{Kind: evMsync, Addr: addr, N: 4096}) {
		t.Errorf("two msync, one of them MS_SYNC: %v", got)
	}
}

// faultyMaps is the Go library with maps that a fault is planted in.
type faultyMaps struct {
	Library
	plant func(m Map) Map
}

func (l faultyMaps) NewMap(cfg PMem2Config, src Source) (Map, error) {
	m, err := l.Library.NewMap(cfg, src)
	if err != nil {
		return nil, err
	}
	return l.plant(m), nil
}

func (l faultyMaps) SharesFunctions(a, b Map) bool {
	return l.Library.SharesFunctions(a.(plantedMap).healthy(), b.(plantedMap).healthy())
}

type plantedMap interface{ healthy() Map }

// lossy does less, or more, than it should. Each field that is set takes the place of
// a function.
type lossy struct {
	Map
	persist, flush func(b []byte) error
	drain          func() error
	memset         func(dst []byte, c byte, flags pmem2.MemFlags) error
	fresh          bool // getters return another function each time
}

func (m *lossy) healthy() Map { return m.Map }

func (m *lossy) Persist(b []byte) error { return m.PersistFunc()(b) }
func (m *lossy) Flush(b []byte) error   { return m.FlushFunc()(b) }
func (m *lossy) Drain() error           { return m.DrainFunc()() }

func (m *lossy) PersistFunc() func(b []byte) error {
	if m.persist != nil {
		return m.persist
	}
	return m.Map.PersistFunc()
}

func (m *lossy) FlushFunc() func(b []byte) error {
	if m.flush != nil {
		return m.flush
	}
	if m.fresh {
		return m.Map.Flush
	}
	return m.Map.FlushFunc()
}

func (m *lossy) DrainFunc() func() error {
	if m.drain != nil {
		return m.drain
	}
	return m.Map.DrainFunc()
}

func (m *lossy) MemsetFunc() func(dst []byte, c byte, flags pmem2.MemFlags) error {
	if m.memset != nil {
		return m.memset
	}
	return m.Map.MemsetFunc()
}

// TestPlantedDataPathFaultsAreFound has for each fault the row that must fail, and
// one that must not.
func TestPlantedDataPathFaultsAreFound(t *testing.T) {
	const (
		persists  = "pmem2_get_persist_fn/persists-range-of-map"
		samePers  = "pmem2_get_persist_fn/same-function-for-same-map"
		flushes   = "pmem2_get_flush_fn/flushes-range-of-map"
		drains    = "pmem2_get_drain_fn/drains-flushes-of-map"
		sets      = "pmem2_get_memset_fn/same-result-as-libc"
		flags     = "pmem2_get_memmove_fn/flags-zero-or-or"
		exact     = "libpmem2/granularity-cache-line-flushes-lines"
		sameFlush = "pmem2_get_flush_fn/same-function-for-same-map"
	)
	cases := slices.DeleteFunc(Cases(), func(c Case) bool {
		return !slices.ContainsFunc(c.Rows, func(id string) bool {
			return slices.Contains([]string{persists, samePers, flushes, drains, sets, flags, exact, sameFlush}, id)
		})
	})
	for _, row := range []struct {
		name         string
		plant        func(m Map) Map
		fails, holds string
		reason       string
	}{
		{"nothing", func(m Map) Map { return &lossy{Map: m} }, "", persists, ""},
		{"persist forgets the last byte", func(m Map) Map {
			return &lossy{Map: m, persist: func(b []byte) error { return m.Persist(b[:max(len(b), 1)-1]) }}
		}, persists, drains, "aren't reached"},
		{"persist doesn't drain", func(m Map) Map { return &lossy{Map: m, persist: m.Flush} }, persists, flushes, "ends with no fence"},
		{"persist drains first", func(m Map) Map {
			return &lossy{Map: m, persist: func(b []byte) error { _ = m.Drain(); return m.Flush(b) }}
		}, persists, flushes, "ends with no fence"},
		{"persist of all", func(m Map) Map {
			return &lossy{Map: m, persist: func([]byte) error { return m.Persist(m.Bytes()) }}
		}, exact, persists, "reached are the lines at"},
		{"flush drains", func(m Map) Map { return &lossy{Map: m, flush: m.Persist} }, flushes, persists, "has a fence"},
		{"flush writes", func(m Map) Map {
			return &lossy{Map: m, flush: func(b []byte) error { m.Bytes()[0]++; return m.Flush(b) }}
		}, flushes, persists, "byte 0 is"},
		{"no drain", func(m Map) Map { return &lossy{Map: m, drain: func() error { return nil }} }, drains, persists, "the machine was asked for nothing"},
		{"another function each time", func(m Map) Map { return &lossy{Map: m, fresh: true} }, sameFlush, samePers, "another function"},
		{"a byte too many", func(m Map) Map {
			return &lossy{Map: m, memset: func(dst []byte, c byte, f pmem2.MemFlags) error {
				if n := len(dst); n < cap(dst) && n > 0 {
					dst = dst[:n+1]
				}
				return m.Memset(dst, c, f)
			}}
		}, sets, persists, "the map after Memset"},
		{"NOFLUSH flushes", func(m Map) Map {
			return &lossy{Map: m, memset: func(dst []byte, c byte, f pmem2.MemFlags) error { return m.Memset(dst, c, f&^pmem2.MemNoFlush) }}
		}, flags, sets, "asks for more than stores"},
	} {
		t.Run(row.name, func(t *testing.T) {
			subject := planted{row.name, func(l Library, _ platform.Platform) Library { return faultyMaps{l, row.plant} }}
			run := runCases(t, subject, Emulated(), cases...)
			wantRow(t, run, row.holds, report.Pass, "")
			if row.fails != "" {
				wantRow(t, run, row.fails, report.Fail, row.reason)
				return
			}
			for _, r := range run.Rows {
				if r.Status != report.Pass {
					t.Errorf("%s: %s (%s)", r.ID, r.Status, r.Reason)
				}
			}
		})
	}
	if !strings.Contains(events(nil).String(), "nothing") {
		t.Error("no events aren't told as nothing")
	}
}
