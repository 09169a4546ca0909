package conformance

import (
	"path"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// libraryCases are those of libpmem2(7).
func libraryCases() []Case {
	return slices.Concat(librarySourceCases(), libraryGranularityCases(), libraryForceCases(),
		libraryCPUCases(), libraryLogCases())
}

func librarySourceCases() []Case {
	return []Case{
		{
			Name: "libpmem2/kinds of sources",
			Rows: []string{"libpmem2/sources-fd-or-anon"},
			Run:  librarySources,
		},
		{
			Name:  "libpmem2/no handles",
			Rows:  []string{"libpmem2/sources-no-handle-in-2.1.1"},
			Needs: []Need{NeedFile},
			Run:   libraryHasNoHandles,
		},
		{
			Name:  "libpmem2/config needed",
			Rows:  []string{"libpmem2/config-object-always-needed"},
			Needs: []Need{NeedFile},
			Run: func(t *T) {
				fd := t.FileFD(t.Page())
				for _, src := range []Source{t.Source(fd), t.AnonSource(t.Page())} {
					t.NoMap("-EINVAL", t.Lib.NilConfig(), src, "no config")
				}
				checkUnmapped(t, fd)
			},
		},
		{
			Name: "libpmem2/granularity is the only setting needed",
			Rows: []string{"libpmem2/granularity-only-mandatory-setting", "libpmem2/optional-length-offset-sharing"},
			Run:  libraryOptionalSettings,
		},
		{
			Name:  "libpmem2/what a map tells",
			Rows:  []string{"libpmem2/map-carries-address-size-granularity"},
			Needs: []Need{NeedReservation},
			Run:   libraryMapTells,
		},
		{
			Name: "libpmem2/functions of a map",
			Rows: []string{"libpmem2/flush-functions-come-from-map"},
			Run:  libraryFunctions,
		},
		{
			Name: "libpmem2/nothing belongs to a thread",
			Rows: []string{"libpmem2/destructor-in-main-thread"},
			Run:  libraryThreads,
		},
	}
}

func librarySources(t *T) {
	page := t.Page()
	fd, content := t.PatternFile(page, 4)
	file := t.MapAs(mapSpec{}, t.Source(fd))
	memory := t.MapAs(mapSpec{}, t.AnonSource(page))
	checkBytes(t, file.Bytes(), content, "the map of the file")
	checkBytes(t, memory.Bytes(), make([]byte, page), "the map of memory")
	for i, m := range []Map{file, memory} {
		at := uint64(i) * 100
		m.Bytes()[at] = 0x77
		t.Must(m.Persist(m.Bytes()[at:at+1]), "Persist(1 byte)")
		t.Check(m.Bytes()[at] == 0x77, "the byte written is %#x", m.Bytes()[at])
	}
	content[0] = 0x77
	checkFile(t, fd, 0, content, "the file")
}

// libraryHasNoHandles looks for what would make a source of a handle, or give one.
func libraryHasNoHandles(t *T) {
	var makers []string
	for name := range methods(t.Lib) {
		if strings.HasPrefix(name, "SourceFrom") {
			makers = append(makers, name)
		}
	}
	slices.Sort(makers)
	t.Note("what makes a source", "%q", makers)
	t.Check(slices.Equal(makers, []string{"SourceFromAnon", "SourceFromFD"}), "sources are made by %q", makers)
	for _, src := range []Source{t.FileSource(t.Page()), t.AnonSource(t.Page())} {
		for name := range methods(src) {
			t.Check(!strings.Contains(name, "Handle"), "a source has a method %s", name)
		}
	}
}

// methods are the names of the methods of what stands in an interface.
func methods(v any) map[string]bool {
	names := map[string]bool{}
	for i := range reflect.TypeOf(v).NumMethod() {
		names[reflect.TypeOf(v).Method(i).Name] = true
	}
	return names
}

func libraryOptionalSettings(t *T) {
	page := t.Page()
	fd, content := t.PatternFile(1<<20, 2)
	src := t.Source(fd)
	cfg := t.NewConfig()
	t.NoMap("PMEM2_E_GRANULARITY_NOT_SET", cfg, src, "a fresh config")
	t.Must(cfg.SetLength(page), "SetLength(a page)")
	t.Must(cfg.SetOffset(page), "SetOffset(a page)")
	t.Must(cfg.SetSharing(pmem2.Shared), "SetSharing(SHARED)")
	t.NoMap("PMEM2_E_GRANULARITY_NOT_SET", cfg, src, "a config with all but the granularity")

	whole := t.Map(t.Config(), src)
	t.Check(whole.Size() == 1<<20, "with the granularity alone the size is %d, not that of the file", whole.Size())
	checkBytes(t, whole.Bytes(), content, "the map")
	checkMapped(t, whole.Address(), 1<<20, "rw-s")

	// Each of the others alone.
	refine := func(what string, set func(c PMem2Config) error) Map {
		c := t.Config()
		t.Must(set(c), "%s", what)
		return t.Map(c, src)
	}
	m := refine("SetLength(two pages)", func(c PMem2Config) error { return c.SetLength(2 * page) })
	checkBytes(t, m.Bytes(), content[:2*page], "the map of a length")
	m = refine("SetOffset(three pages)", func(c PMem2Config) error { return c.SetOffset(3 * page) })
	checkBytes(t, m.Bytes(), content[3*page:], "the map from an offset on")
	m = refine("SetSharing(PRIVATE)", func(c PMem2Config) error { return c.SetSharing(pmem2.Private) })
	checkBytes(t, m.Bytes(), content, "the private map")
	m.Bytes()[0]++
	checkFile(t, fd, 0, content, "the file after a store to the private map")
}

func libraryMapTells(t *T) {
	page := t.Page()
	r := t.Reservation(0, 64*page)
	for i, g := range granularities {
		t.Force(g.String())
		for _, s := range []mapSpec{{}, {length: 2 * page}, {in: r, at: uint64(16 * i * int(page)), offset: page}} {
			fd := t.FileFD(4 * page)
			m := t.MapAs(s, t.Source(fd))
			entry := checkMappedOnce(t, fd)
			t.Note("the map's address, size and granularity", "%#x, %d, %v", m.Address(), m.Size(), m.StoreGranularity())
			t.Check(m.Address() == entry.Start, "Address is %#x, the file is mapped at %#x", m.Address(), entry.Start)
			t.Check(m.Size() == uint64(entry.End-entry.Start), "Size is %d, the file is mapped as %v", m.Size(), entry)
			t.Check(m.StoreGranularity() == g, "StoreGranularity is %v with %v forced", m.StoreGranularity(), g)
			t.Delete(m)
		}
	}
}

// libraryFunctions has a map of each granularity: its functions fit it, and differ
// from those of the others.
func libraryFunctions(t *T) {
	tr := t.Trace()
	var maps []Map
	for _, g := range granularities {
		t.Force(g.String())
		maps = append(maps, t.MapAs(mapSpec{}, t.FileSource(4*t.Page())))
	}
	t.Force("")
	src := pattern(100, 1)
	for i, m := range maps {
		g := granularities[i]
		for k, other := range maps {
			t.Check(t.Lib.SharesFunctions(m, other) == (i == k), "functions of maps at %v and %v: the same: %t",
				g, granularities[k], i != k)
		}
		b := m.Bytes()[:100]
		for _, c := range []struct {
			name   string
			err    func() error
			drains bool
		}{
			{"Persist", func() error { return m.PersistFunc()(b) }, true},
			{"Flush", func() error { return m.FlushFunc()(b) }, false},
			{"Memmove", func() error { return m.MemmoveFunc()(b, src, pmem2.MemTemporal) }, true},
			{"Memcpy", func() error { return m.MemcpyFunc()(b, src, pmem2.MemTemporal) }, true},
			{"Memset", func() error { return m.MemsetFunc()(b, 1, pmem2.MemTemporal) }, true},
		} {
			tr.take()
			t.Must(c.err(), "%sFunc()(100 bytes) at %v", c.name, g)
			got := tr.take()
			checkReached(t, g, got, b, c.name)
			if c.drains {
				checkDrained(t, g, got, c.name)
			}
		}
		t.Must(m.DrainFunc()(), "DrainFunc()() at %v", g)
	}
}

// libraryThreads lets threads fail and end. In C that leaves a buffer behind unless
// the thread ends in an orderly way.
func libraryThreads(t *T) {
	t.Note("types", "nothing belongs to a thread: the text is part of the error; there is no destructor")
	c := t.NewConfig()
	var first []error
	collected := make(chan bool, 50)
	for i := range 50 {
		ended := make(chan error)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			ended <- c.SetOffset(1<<63 + uint64(i))
		}()
		err := <-ended
		t.Expect("PMEM2_E_OFFSET_OUT_OF_RANGE", err, "SetOffset(2^63+%d) on a thread that ends", i)
		if i < 3 {
			first = append(first, err)
			continue
		}
		if e, ok := err.(*pmem2.Error); ok {
			runtime.SetFinalizer(e, func(*pmem2.Error) { collected <- true })
		}
	}
	for i, err := range first {
		t.Check(t.foreign() || strings.Contains(err.Error(), []string{"9223372036854775808", "9223372036854775809", "9223372036854775810"}[i]),
			"the text of an error whose thread has ended is %q", err)
	}
	if _, ok := first[0].(*pmem2.Error); !ok {
		return
	}
	// All but the last are garbage: nothing keeps what a thread was told.
	gone := 0
	for deadline := time.After(10 * time.Second); gone < 46; {
		runtime.GC()
		select {
		case <-collected:
			gone++
		case <-deadline:
			t.Failf("%d of 47 errors of threads that have ended are still kept", 47-gone)
		}
	}
	t.Note("47 errors of threads that have ended", "not kept by the library")
}

func libraryGranularityCases() []Case {
	return []Case{
		{
			Name: "libpmem2/PAGE is a system call",
			Rows: []string{"libpmem2/granularity-page-uses-system-call"},
			Run:  libraryPageSync,
		},
		{
			Name: "libpmem2/CACHE_LINE flushes lines",
			Rows: []string{"libpmem2/granularity-cache-line-flushes-lines", "libpmem2/granularity-cache-line-needs-barrier"},
			Run:  libraryLineFlush,
		},
		{
			Name: "libpmem2/BYTE needs a barrier only",
			Rows: []string{"libpmem2/granularity-byte-no-flush", "libpmem2/granularity-byte-barrier-remains"},
			// The row's own eADR is that of a file with DAX.
			Needs: []Need{NeedFSDax},
			Run:   libraryByteFence,
		},
		{
			Name: "libpmem2/effective and required granularity",
			Rows: []string{"libpmem2/granularity-finer-than-requested-accepted", "libpmem2/granularity-coarser-than-requested-refused"},
			Run:  libraryGranularityPairs,
		},
		{
			Name: "libpmem2/granularity of ordinary files",
			Rows: []string{"libpmem2/granularity-ordinary-file-is-page", "libpmem2/granularity-coarser-than-requested-refused"},
			Run: func(t *T) {
				t.Force("")
				fd := t.FileFD(4 * t.Page())
				src := t.Source(fd)
				m := t.MapAs(mapSpec{}, src)
				checkGranularity(t, m, pmem2.GranularityPage, "an ordinary file")
				t.Delete(m)
				for _, g := range granularities[:2] {
					t.NoMapAs("PMEM2_E_GRANULARITY_NOT_SUPPORTED", mapSpec{require: &g}, src)
					checkUnmapped(t, fd)
				}
			},
		},
		{
			Name:  "libpmem2/granularity with DAX",
			Rows:  []string{"libpmem2/granularity-dax-without-eadr-is-cache-line"},
			Needs: []Need{NeedDevDax},
			Run: func(t *T) {
				t.withoutEADR()
				_, _, device := t.Device()
				file := t.Source(t.Open(t.made(t.Env.DAXFile(4<<20)), platform.ORdwr))
				checkGranularity(t, t.MapAs(mapSpec{}, device), pmem2.GranularityCacheLine, "device DAX")
				checkGranularity(t, t.MapAs(mapSpec{}, file), pmem2.GranularityCacheLine, "a file with DAX")
			},
		},
		{
			Name:  "libpmem2/granularity with DAX and eADR",
			Rows:  []string{"libpmem2/granularity-dax-with-eadr-is-byte"},
			Needs: []Need{NeedDevDax, NeedFSDax, NeedSysfsEdit},
			Run:   libraryEADR,
		},
	}
}

func libraryPageSync(t *T) {
	t.Force("")
	tr := t.Trace()
	m := t.MapAs(mapSpec{}, t.FileSource(tracedPages*t.Page()))
	page := t.Page()
	for _, r := range []struct{ off, n, first, pages uint64 }{
		{page + 904, 10, 1, 1}, // the row's own, with pages of 4096 bytes
		{0, 1, 0, 1},
		{page - 1, 2, 0, 2},
		{3 * page, 2 * page, 3, 2},
		{3*page + 1, 2 * page, 3, 3},
		{15 * page, page, 15, 1},
	} {
		b := m.Bytes()[r.off : r.off+r.n]
		for _, call := range []struct {
			name string
			of   func([]byte) error
		}{{"Persist", m.Persist}, {"Flush", m.Flush}} {
			tr.take()
			t.Must(call.of(b), "%s(%d bytes at %d)", call.name, r.n, r.off)
			got := tr.take()
			t.Note("machine", "%v", got)
			syncs := got.of(evMsync)
			t.Check(len(syncs) == 1 && len(got.of(evFlush)) == 0, "%s of %d bytes at %d asks for %v; want one msync and no flush",
				call.name, r.n, r.off, got)
			t.Check(syncs[0].Addr == m.Address()+uintptr(r.first*page) && unitUp(syncs[0].N, page) == r.pages*page,
				"%s of %d bytes at %d asks for %v; want the %d pages at %#x", call.name, r.n, r.off, got, r.pages, m.Address()+uintptr(r.first*page))
		}
	}
}

// libraryLineFlush expects exactly the lines of a range, and a fence at the end of
// persist.
func libraryLineFlush(t *T) {
	t.withoutEADR()
	t.Force("")
	tr := t.Trace()
	src := t.Source(t.Open(t.made(t.Env.DAXFile(tracedPages*t.Page())), platform.ORdwr))
	m := t.MapAs(mapSpec{}, src)
	checkGranularity(t, m, pmem2.GranularityCacheLine, "a file with DAX")
	for _, r := range oddRanges(t.Page()) {
		b := m.Bytes()[r.off : r.off+r.n]
		tr.take()
		t.Must(m.Flush(b), "Flush(%d bytes at %d)", r.n, r.off)
		flush := tr.take()
		checkLines(t, flush.of(evFlush), b, "Flush")
		t.Check(t.unseen() || len(flush) == len(flush.of(evFlush)), "Flush asks for more than flushes: %v", flush)
		t.Must(m.Persist(b), "Persist(%d bytes at %d)", r.n, r.off)
		persist := tr.take()
		checkLines(t, persist.of(evFlush), b, "Persist")
		checkDrained(t, pmem2.GranularityCacheLine, persist, "Persist")
		t.Check(t.unseen() || len(persist) == len(persist.of(evFlush))+1, "Persist asks for more than flushes and a fence: %v", persist)
	}
	// The row's own: two lines for 8 bytes.
	tr.take()
	t.Must(m.Flush(m.Bytes()[60:68]), "Flush(bytes 60 to 67)")
	got := tr.take()
	t.Note("machine", "%v", got)
	t.Check(t.unseen() || slices.Equal(got.units(cacheLine), []uintptr{m.Address(), m.Address() + cacheLine}), "bytes 60 to 67 are flushed as %v", got)
}

func libraryByteFence(t *T) {
	t.Force("")
	t.suite(t.Env.SetEADR(true), "set eADR")
	tr := t.Trace()
	src := t.Source(t.Open(t.made(t.Env.DAXFile(tracedPages*t.Page())), platform.ORdwr))
	m := t.MapAs(mapSpec{}, src)
	checkGranularity(t, m, pmem2.GranularityByte, "a file with DAX and eADR")
	for _, r := range oddRanges(t.Page()) {
		b := m.Bytes()[r.off : r.off+r.n]
		tr.take()
		t.Must(m.Flush(b), "Flush(%d bytes at %d)", r.n, r.off)
		checkEvents(t, tr.take(), "Flush")
		t.Must(m.Persist(b), "Persist(%d bytes at %d)", r.n, r.off)
		checkEvents(t, tr.take(), "Persist", evFence)
		t.Must(m.Memset(b, 1, 0), "Memset(%d bytes at %d)", r.n, r.off)
		got := tr.take()
		t.Check(len(got.of(evFlush, evMsync)) == 0, "Memset at BYTE flushes: %v", got)
	}
	t.Must(m.Drain(), "Drain()")
	checkEvents(t, tr.take(), "Drain", evFence)
}

func libraryGranularityPairs(t *T) {
	fd := t.FileFD(4 * t.Page())
	src := t.Source(fd)
	for _, have := range granularities {
		t.Force(have.String())
		for _, required := range granularities {
			s := mapSpec{require: &required}
			if have > required {
				t.NoMapAs("PMEM2_E_GRANULARITY_NOT_SUPPORTED", s, src)
				checkUnmapped(t, fd)
				continue
			}
			m := t.MapAs(s, src)
			checkGranularity(t, m, have, "a file")
			t.Delete(m)
		}
	}
}

var regionEntry = regexp.MustCompile(`^region[0-9]+$`)

// libraryEADR switches each region off in turn: one without eADR is enough.
func libraryEADR(t *T) {
	_, _, device := t.Device()
	file := t.Source(t.Open(t.made(t.Env.DAXFile(4<<20)), platform.ORdwr))
	check := func(want pmem2.Granularity, when string) {
		for _, src := range []Source{device, file} {
			m := t.MapAs(mapSpec{}, src)
			checkGranularity(t, m, want, "persistent memory, "+when)
			t.Delete(m)
		}
	}
	t.suite(t.Env.SetEADR(true), "set eADR")
	check(pmem2.GranularityByte, "all regions with eADR")
	const dir = "bus/nd/devices"
	names, err := t.Machine().List(dir)
	t.suite(err, "list %s", dir)
	names = slices.DeleteFunc(names, func(name string) bool { return !regionEntry.MatchString(name) })
	if len(names) < 2 {
		t.Brokenf("the machine has the regions %q; want two at least", names)
	}
	for _, name := range names {
		attr := path.Join(dir, name, "persistence_domain")
		t.suite(t.Env.Sysfs().Set(attr, "memory_controller\n"), "set %s", attr)
		check(pmem2.GranularityCacheLine, name+" without eADR")
		t.suite(t.Env.Sysfs().Set(attr, "cpu_cache\n"), "set %s", attr)
		check(pmem2.GranularityByte, name+" with eADR again")
	}
	t.suite(t.Env.SetEADR(false), "set no eADR")
	check(pmem2.GranularityCacheLine, "no region with eADR")
}
