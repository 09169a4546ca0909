package conformance

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// persistCases are those of pmem2_get_persist_fn(3), pmem2_get_flush_fn(3) and
// pmem2_get_drain_fn(3) that take no power failure. That bytes are durable is seen by what
// the machine was asked for: each line of the range flushed and a fence behind, each page
// synced.
func persistCases() []Case {
	persist := rangeCall{"Persist", func(m Map) func([]byte) error { return m.PersistFunc() }, Map.Persist, true}
	flush := rangeCall{"Flush", func(m Map) func([]byte) error { return m.FlushFunc() }, Map.Flush, false}
	drain := func(m Map) any { return m.DrainFunc() }
	return slices.Concat(persist.cases("pmem2_get_persist_fn", "persists-range-of-map"),
		flush.cases("pmem2_get_flush_fn", "flushes-range-of-map"),
		[]Case{
			{
				Name: "pmem2_get_persist_fn/flush, then drain",
				Rows: []string{
					"pmem2_get_persist_fn/is-flush-then-drain", "pmem2_get_persist_fn/equivalent-to-flush-plus-drain-calls",
				},
				Run: persistIsFlushAndDrain,
			},
			{
				Name: "pmem2_get_drain_fn/drains",
				Rows: []string{"pmem2_get_drain_fn/drains-flushes-of-map"},
				Run:  drainIsAFence,
			},
			{
				Name: "pmem2_get_drain_fn/succeeds",
				Rows: []string{"pmem2_get_drain_fn/(none)#1"},
				Run:  drainSucceeds,
			},
			{
				Name: "pmem2_get_drain_fn/one function",
				Rows: []string{"pmem2_get_drain_fn/never-null", "pmem2_get_drain_fn/same-function-for-same-map"},
				Run:  func(t *T) { getterGivesOneFunction(t, "DrainFunc()", drain) },
			},
		})
}

// rangeCall is persist or flush: both take a range.
type rangeCall struct {
	name   string
	getter func(m Map) func([]byte) error
	method func(m Map, b []byte) error
	drains bool
}

func (c rangeCall) cases(page, reaches string) []Case {
	return []Case{
		{
			Name: page + "/reaches the range",
			Rows: []string{
				page + "/(none)#1", page + "/" + reaches, page + "/no-alignment-restriction", page + "/range-may-grow",
			},
			Run: c.reaches,
		},
		{
			Name:  page + "/a failing msync",
			Rows:  []string{page + "/(abort)#1"},
			Needs: []Need{NeedFile},
			Run:   c.msyncFails,
		},
		{
			Name:  page + "/over the border of two maps",
			Rows:  []string{page + "/range-across-adjacent-maps"},
			Needs: []Need{NeedReservation},
			Run:   c.acrossMaps,
		},
		{
			Name: page + "/one function",
			Rows: []string{page + "/never-null", page + "/same-function-for-same-map"},
			Run: func(t *T) {
				getterGivesOneFunction(t, c.name+"Func()", func(m Map) any { return c.getter(m) })
			},
		},
	}
}

// tracedPages is the size of the files below, in pages.
const tracedPages = 16

// eachGranularity calls f with a map of a file, on a machine that is traced, at each
// granularity. It is forced, so that every target has all three.
func eachGranularity(t *T, f func(tr *trace, g pmem2.Granularity, m Map, fd int)) {
	tr := t.Trace()
	for _, g := range granularities {
		t.Force(g.String())
		fd, _ := t.PatternFile(tracedPages*t.Page(), byte(g))
		m := t.MapAs(mapSpec{}, t.Source(fd))
		t.Check(m.StoreGranularity() == g, "the granularity is %v with %v forced", m.StoreGranularity(), g)
		tr.take()
		f(tr, g, m, fd)
		t.Delete(m)
	}
}

// oddRanges are offsets and lengths in the file, in bytes.
func oddRanges(page uint64) []struct{ off, n uint64 } {
	size := tracedPages * page
	return []struct{ off, n uint64 }{
		{0, 1}, {0, 64}, {60, 8}, {63, 1}, {63, 2}, {64, 64}, {1, 64}, {1, 127}, {100, 1000},
		{page - 96, 200}, {page + 904, 10}, {page - 1, 2}, {page, page}, {page + 1, page}, {123, 3*page + 7},
		{0, size}, {size - 1, 1}, {size - 65, 65}, {0, 0}, {777, 0}, {size - 1, 0},
	}
}

// checkReached expects all lines of b, or its pages, to be flushed, or synced.
func checkReached(t *T, g pmem2.Granularity, got events, b []byte, call string) {
	var have []uintptr
	unit := uintptr(cacheLine)
	switch g {
	case pmem2.GranularityByte:
		t.Check(len(got.of(evFlush, evMsync)) == 0, "%s at BYTE: the machine was asked for %v", call, got)
		return
	case pmem2.GranularityCacheLine:
		t.Check(len(got.of(evMsync)) == 0, "%s at CACHE_LINE: the machine was asked for %v", call, got)
		if t.unseen() {
			return
		}
		have = got.of(evFlush, evCopyNT, evSetNT).units(unit)
	case pmem2.GranularityPage:
		unit = uintptr(t.Page())
		t.Check(len(got.of(evFlush)) == 0, "%s at PAGE: the machine was asked for %v", call, got)
		have = got.of(evMsync).units(unit)
		for _, e := range got.of(evMsync) {
			t.Check(e.Addr%unit == 0, "%s: msync at %#x, which is no page's address", call, e.Addr)
		}
	}
	for _, want := range unitsOf(addressOf(b), uint64(len(b)), unit) {
		t.Check(slices.Contains(have, want), "%s of %d bytes at %#x: the %d bytes at %#x aren't reached by %v",
			call, len(b), addressOf(b), unit, want, got)
	}
}

// checkDrained expects a fence behind all that has to be drained, and none before. At
// PAGE msync has drained.
func checkDrained(t *T, g pmem2.Granularity, got events, call string) {
	if g == pmem2.GranularityPage || t.unseen() {
		return
	}
	n := len(got)
	t.Check(n > 0 && got[n-1].Kind == evFence, "%s at %v ends with no fence: %v", call, g, got)
	t.Check(len(got.of(evFence)) == 1, "%s at %v has fences before the last: %v", call, g, got)
}

func (c rangeCall) reaches(t *T) {
	page := t.Page()
	eachGranularity(t, func(tr *trace, g pmem2.Granularity, m Map, fd int) {
		content := t.ReadFile(fd, 0, tracedPages*page)
		function := c.getter(m)
		t.Check(function != nil, "%sFunc() is nil", c.name)
		for i, r := range oddRanges(page) {
			b := m.Bytes()[r.off : r.off+r.n]
			for k := range b {
				b[k] = byte(k + i)
				content[r.off+uint64(k)] = byte(k + i)
			}
			call := function
			if i%2 == 1 { // the method is the function called
				call = func(b []byte) error { return c.method(m, b) }
			}
			t.mustQuietly(call(b), "%s(%d bytes at %d) at %v", c.name, r.n, r.off, g)
			got := tr.take()
			t.Note(fmt.Sprintf("%s(%d bytes at %d) at %v", c.name, r.n, r.off, g), "asks the machine for %v", got)
			checkReached(t, g, got, b, c.name)
			if c.drains {
				checkDrained(t, g, got, c.name)
			} else if g != pmem2.GranularityPage {
				t.Check(len(got.of(evFence)) == 0, "%s at %v has a fence: %v", c.name, g, got)
			}
			checkBytes(t, m.Bytes()[:len(content)], content, "the map after %s", c.name)
		}
		checkFile(t, fd, 0, content, "the file at %v", g)
	})
}

func (c rangeCall) msyncFails(t *T) {
	page := t.Page()
	for _, errno := range []string{"EIO", "ENOMEM", "ENOSPC"} {
		t.Lib = t.Inject("(" + errno + " (And (Op msync) (OnIndex 1)))")
		m := t.MapAs(mapSpec{}, t.FileSource(4*page))
		t.Check(m.StoreGranularity() == pmem2.GranularityPage, "the granularity of a file is %v", m.StoreGranularity())
		b := m.Bytes()[page-10 : page+10]
		copy(b, "stored before a call")
		function := c.getter(m)
		t.Must(function(b), "%s(20 bytes), the first msync", c.name)
		t.Expect("-"+errno, function(b), "%s(20 bytes), the second", c.name)
		t.Must(c.method(m, b), "%s(20 bytes), the third", c.name)
		t.Check(string(b) == "stored before a call", "the bytes are now %q", b)
		t.Delete(m)
	}
	// Also in the second map of a range, and by the method.
	t.Lib = t.Inject("(EIO (And (Op msync) (OnIndex 1)))")
	r := t.Reservation(0, 2*page)
	src := t.FileSource(page)
	first, second := t.MapAs(mapSpec{in: r}, src), t.MapAs(mapSpec{in: r, at: page}, src)
	both := platform.Bytes(r.Address(), 2*page)
	t.Expect("-EIO", c.method(first, both), "%s(two maps)", c.name)
	t.Must(c.method(second, both), "%s(two maps) again", c.name)
	t.Delete(first)
	t.Delete(second)
	t.Delete(r)
}

// acrossMaps has two maps side by side, a page of nothing, and a third map.
func (c rangeCall) acrossMaps(t *T) {
	page := t.Page()
	tr := t.Trace()
	for _, g := range granularities {
		t.Force(g.String())
		r := t.Reservation(0, 8*page)
		firstFD, firstContent := t.PatternFile(2*page, 1)
		secondFD, secondContent := t.PatternFile(2*page, 2)
		first := t.MapAs(mapSpec{in: r}, t.Source(firstFD))
		second := t.MapAs(mapSpec{in: r, at: 2 * page}, t.Source(secondFD))
		third := t.MapAs(mapSpec{in: r, at: 5 * page}, t.FileSource(page))
		t.Check(t.Lib.SharesFunctions(first, second), "two maps at %v don't have the same functions", g)
		b := platform.Bytes(r.Address()+uintptr(page+100), 2*page)
		for i := range b {
			b[i] ^= 0xff
		}
		for i := range page - 100 {
			firstContent[page+100+i] ^= 0xff
		}
		for i := range page + 100 {
			secondContent[i] ^= 0xff
		}
		for _, m := range []Map{first, second} {
			tr.take()
			t.Must(c.getter(m)(b), "%s over the border of two maps at %v", c.name, g)
			got := tr.take()
			checkReached(t, g, got, b, c.name)
			if c.drains {
				checkDrained(t, g, got, c.name)
			}
			if g == pmem2.GranularityPage {
				checkSyncs(t, got, first.Address()+uintptr(page), page, second.Address(), page+100)
			}
		}
		if g == pmem2.GranularityPage {
			b := platform.Bytes(second.Address()+uintptr(page+5), 2*page)
			t.Must(c.getter(second)(b), "%s over a page without a map at %v", c.name, g)
			checkSyncs(t, tr.take(), second.Address()+uintptr(page), page, third.Address(), 5)
		}
		checkFile(t, firstFD, 0, firstContent, "the first file")
		checkFile(t, secondFD, 0, secondContent, "the second file")
		for _, m := range []Map{first, second, third} {
			t.Delete(m)
		}
		t.Delete(r)
	}
}

// checkSyncs expects two calls of msync, one for each of two maps: of n bytes at a,
// and of the page at b with a length that reaches m bytes.
func checkSyncs(t *T, got events, a uintptr, n uint64, b uintptr, m uint64) {
	syncs := got.of(evMsync)
	t.Note("machine", "%v", got)
	ok := len(syncs) == 2 && syncs[0].Addr == a && syncs[0].N == n &&
		syncs[1].Addr == b && syncs[1].N >= m && syncs[1].N <= unitUp(m, t.Page())
	t.Check(ok, "msync is called as %v, want one of %d bytes at %#x and one of %d bytes at %#x", got, n, a, m, b)
}

// unitUp is the multiple of unit at n or above.
func unitUp(n, unit uint64) uint64 { return (n + unit - 1) / unit * unit }

// persistIsFlushAndDrain compares what the machine is asked for.
func persistIsFlushAndDrain(t *T) {
	t.withoutEADR()
	tr := t.Trace()
	o := t.made(t.Env.DAXFile(tracedPages * t.Page()))
	src := t.Source(t.Open(o, platform.ORdwr))
	for _, force := range []string{"", "BYTE", "PAGE"} {
		t.Force(force)
		m := t.MapAs(mapSpec{}, src)
		g := m.StoreGranularity()
		t.Check(force != "" || g == pmem2.GranularityCacheLine, "the granularity of a file with DAX is %v", g)
		for _, r := range oddRanges(t.Page()) {
			b := m.Bytes()[r.off : r.off+r.n]
			tr.take()
			t.mustQuietly(m.PersistFunc()(b), "Persist(%d bytes at %d) at %v", r.n, r.off, g)
			persist := tr.take()
			t.mustQuietly(m.FlushFunc()(b), "Flush(%d bytes at %d) at %v", r.n, r.off, g)
			flush := tr.take()
			t.mustQuietly(m.DrainFunc()(), "Drain() at %v", g)
			drain := tr.take()
			t.Note(fmt.Sprintf("Persist(%d bytes at %d) at %v", r.n, r.off, g), "asks the machine for %v, as Flush and Drain do", persist)
			if both := slices.Concat(flush, drain); !slices.Equal(persist, both) {
				t.Failf("Persist(%d bytes at %d) at %v asks the machine for %v; Flush and Drain for %v", r.n, r.off, g, persist, both)
			}
			if r.n > 0 && g == pmem2.GranularityCacheLine {
				t.Check(t.unseen() || len(persist.of(evFlush)) > 0 && len(persist.of(evFence)) == 1, "Persist asks for %v", persist)
			}
		}
		t.Delete(m)
	}
}

func drainIsAFence(t *T) {
	tr := t.Trace()
	o := t.made(t.Env.DAXFile(tracedPages * t.Page()))
	src := t.Source(t.Open(o, platform.ORdwr))
	for _, force := range []string{"", "BYTE"} {
		t.Force(force)
		m := t.MapAs(mapSpec{}, src)
		for _, n := range []int{0, 1, 100, 5000} {
			t.Must(m.Flush(m.Bytes()[:n]), "Flush(%d bytes)", n)
			tr.take()
			t.Must(m.DrainFunc()(), "Drain() at %v", m.StoreGranularity())
			checkEvents(t, tr.take(), "Drain()", evFence)
		}
		t.Delete(m)
	}
}

func drainSucceeds(t *T) {
	eachGranularity(t, func(tr *trace, g pmem2.Granularity, m Map, fd int) {
		copy(m.Bytes(), "to be drained")
		t.Must(m.Flush(m.Bytes()[:13]), "Flush(13 bytes) at %v", g)
		tr.take()
		t.Must(m.DrainFunc()(), "Drain() at %v", g)
		t.Must(m.Drain(), "Drain() at %v again", g)
		got := tr.take()
		t.Check(len(got.of(evFlush, evMsync)) == 0, "Drain at %v asks for %v", g, got)
		t.Check(g == pmem2.GranularityPage || t.unseen() || len(got.of(evFence)) == 2, "two Drain at %v ask for %v", g, got)
		checkFile(t, fd, 0, []byte("to be drained"), "the file")
	})
}

// getterGivesOneFunction calls a getter a hundred times, the first times by several
// goroutines at once.
func getterGivesOneFunction(t *T, name string, getter func(m Map) any) {
	eachGranularity(t, func(_ *trace, g pmem2.Granularity, m Map, _ int) {
		given := atOnce(func() any { return getter(m) })
		for len(given) < 100 {
			given = append(given, getter(m))
		}
		for i, f := range given {
			t.Check(!isNilFunction(f), "%s at %v: call %d returns nil", name, g, i)
			t.Check(t.Lib.SameFunction(f, given[0]), "%s at %v: call %d returns another function than the first", name, g, i)
		}
		t.Note(name, "one function, a hundred times, at %v", g)
		// Of two maps alike the functions do the same.
		cfg, src := mapSpec{}.config(t), t.FileSource(t.Page())
		for range 100 {
			other, err := t.Lib.NewMap(cfg, src)
			t.mustQuietly(err, "NewMap()")
			t.Check(t.Lib.SharesFunctions(m, other), "the functions of two maps at %v don't do the same", g)
			given := atOnce(func() any { return getter(other) })
			given = append(given, getter(other))
			t.mustQuietly(other.Delete(), "Delete()")
			for _, f := range given {
				t.Check(t.Lib.SameFunction(f, given[0]), "%s at %v, called by several goroutines: another function", name, g)
			}
		}
	})
}

// atOnce calls f in some goroutines, as nearly at the same time as can be.
func atOnce(f func() any) []any {
	given := make([]any, 4)
	var ready atomic.Int32
	var wg sync.WaitGroup
	for i := range given {
		wg.Go(func() {
			ready.Add(1)
			for spins := 0; int(ready.Load()) < len(given); spins++ {
				if spins > 1000 { // there may be fewer CPUs
					runtime.Gosched()
				}
			}
			given[i] = f()
		})
	}
	wg.Wait()
	return given
}
