package conformance

import (
	"os"
	"slices"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// libraryForceCases are about PMEM2_FORCE_GRANULARITY.
func libraryForceCases() []Case {
	return []Case{
		{
			Name: "libpmem2/forced granularity chooses the method",
			Rows: []string{"libpmem2/force-granularity-selects-method", "libpmem2/force-granularity-skips-detection"},
			Run: func(t *T) {
				src := t.FileSource(tracedPages * t.Page())
				forcedMethod(t, src, pmem2.GranularityPage)
			},
		},
		{
			Name:  "libpmem2/forced granularity with DAX and eADR",
			Rows:  []string{"libpmem2/force-granularity-skips-detection", "libpmem2/force-granularity-selects-method"},
			Needs: []Need{NeedFSDax, NeedEADR},
			Run: func(t *T) {
				t.suite(t.Env.SetEADR(true), "set eADR")
				src := t.Source(t.Open(t.made(t.Env.DAXFile(tracedPages*t.Page())), platform.ORdwr))
				forcedMethod(t, src, pmem2.GranularityByte)
			},
		},
		{
			Name: "libpmem2/values of a forced granularity",
			Rows: []string{"libpmem2/force-granularity-values", "libpmem2/force-granularity-case-insensitive"},
			Run: func(t *T) {
				t.Force("")
				forcedValues(t, t.FileSource(t.Page()), pmem2.GranularityPage)
			},
		},
		{
			// Of a file without DAX nobody can tell PAGE from a value that is ignored.
			Name:  "libpmem2/values of a forced granularity with DAX",
			Rows:  []string{"libpmem2/force-granularity-values", "libpmem2/force-granularity-case-insensitive"},
			Needs: []Need{NeedFSDax},
			Run: func(t *T) {
				t.Force("")
				t.withoutEADR()
				o := t.made(t.Env.DAXFile(t.Page()))
				forcedValues(t, t.Source(t.Open(o, platform.ORdwr)), pmem2.GranularityCacheLine)
			},
		},
		{
			Name: "libpmem2/forced granularity is read for each map",
			Rows: []string{"libpmem2/force-granularity-read-per-map", "libpmem2/force-granularity-changeable-until-map"},
			Run:  forcedPerMap,
		},
	}
}

// checkMethod expects the functions of a map to be those of a granularity.
func checkMethod(t *T, tr *trace, m Map, g pmem2.Granularity) {
	checkGranularity(t, m, g, "the map")
	b := m.Bytes()[60:68]
	tr.take()
	t.Must(m.Persist(b), "Persist(8 bytes) at %v", g)
	got := tr.take()
	switch g {
	case pmem2.GranularityByte:
		checkEvents(t, got, "Persist", evFence)
	case pmem2.GranularityCacheLine:
		checkEvents(t, got, "Persist", evFlush, evFence)
	case pmem2.GranularityPage:
		checkEvents(t, got.of(evMsync, evFlush), "Persist", evMsync)
	}
	checkReached(t, g, got, b, "Persist")
}

// forcedMethod forces each granularity for maps of a source that has another one.
func forcedMethod(t *T, file Source, detected pmem2.Granularity) {
	tr := t.Trace()
	fd, err := file.FD()
	t.Must(err, "FD()")
	src := t.Source(fd) // on the machine that is traced
	for _, force := range granularities {
		t.Force(force.String())
		m := t.MapAs(mapSpec{}, src)
		checkMethod(t, tr, m, force)
		t.Delete(m)
		t.Force("")
		m = t.MapAs(mapSpec{}, src)
		checkMethod(t, tr, m, detected)
		t.Delete(m)
	}
}

// forcedValues forces all sorts of values for maps of a source that has a granularity
// of its own.
func forcedValues(t *T, src Source, detected pmem2.Granularity) {
	for _, row := range []struct {
		values []string
		want   pmem2.Granularity
	}{
		{[]string{"BYTE", "byte", "Byte", "bYtE"}, pmem2.GranularityByte},
		{[]string{"CACHE_LINE", "cache_line", "Cache_Line", "cACHE_lINE"}, pmem2.GranularityCacheLine},
		{[]string{"PAGE", "page", "Page", "pAgE"}, pmem2.GranularityPage},
		// Anything else counts as unset.
		{[]string{"FOO", " BYTE", "BYTE ", "BYTES", "0", "1", "CACHE LINE", "CACHE-LINE", "\tCACHE_LINE", strings.Repeat("BYTE", 1000)}, detected},
	} {
		for _, value := range row.values {
			t.Force(value)
			m := t.MapAs(mapSpec{}, src)
			t.Check(m.StoreGranularity() == row.want, "with %.20q the granularity is %v, want %v", value, m.StoreGranularity(), row.want)
			t.Delete(m)
		}
	}
	t.suite(os.Setenv(forceGranularity, ""), "set %s", forceGranularity) // put back as after Force
	t.Check(t.MapAs(mapSpec{}, src).StoreGranularity() == detected, "the empty value doesn't count as unset")
}

func forcedPerMap(t *T) {
	tr := t.Trace()
	src := t.FileSource(t.Page())
	var maps []Map
	want := []pmem2.Granularity{
		pmem2.GranularityByte, pmem2.GranularityPage, pmem2.GranularityCacheLine, pmem2.GranularityPage, pmem2.GranularityByte,
	}
	for i, force := range []string{"BYTE", "PAGE", "CACHE_LINE", "", "BYTE"} {
		// Neither the source nor the config has read it.
		cfg := t.Config()
		t.Force(force)
		m := t.Map(cfg, src)
		checkMethod(t, tr, m, want[i])
		maps = append(maps, m)
		for k, earlier := range maps { // and those that are there keep what they have
			checkMethod(t, tr, earlier, want[k])
		}
	}
	for _, m := range slices.Backward(maps) {
		t.Delete(m)
	}
}
