package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// setLibraryCases are those of libpmemset(7): that it goes together with libpmem2, and
// the debug build, which PMEMSET_DEBUG=1 stands for, with what it logs.
func setLibraryCases() []Case {
	const page = "libpmemset/"
	file := []Need{NeedFile, NeedReservation}
	cases := []Case{{
		Name: page + "together with libpmem2", Needs: file,
		Rows: []string{page + "links-with-pmem2"},
		Run:  setBesideLibpmem2,
	}, {
		Name: page + "no log without debugging", Needs: file,
		Rows: []string{page + "log-only-in-debug-build"},
		Run:  setLogWithoutDebugging,
	}, {
		Name: page + "log level 0", Needs: file,
		Rows: []string{page + "log-level-default-zero"},
		Run: func(t *T) {
			for _, level := range []string{"", "PMEMSET_LOG_LEVEL=0", "PMEMSET_LOG_LEVEL=", "PMEMSET_LOG_LEVEL=much"} {
				env := []string{"PMEMSET_DEBUG=1"}
				if level != "" {
					env = append(env, level)
				}
				lines, _ := setLogged(t, env...)
				t.Check(lines == nil, "with %q the log has %q", env, lines)
			}
			lines, _ := setLogAt(t, 1) // to see that something would be logged
			t.Check(len(lines) > 0, "at level 1 nothing is logged")
		},
	}, {
		Name: page + "log level 1", Needs: file,
		Rows: []string{page + "log-level-1-errors"},
		Run: func(t *T) {
			lines, w := setLogAt(t, 1)
			t.Check(len(lines) == len(w.Errors), "there are %d failures and %d lines: %q", len(w.Errors), len(lines), lines)
			for i, text := range w.Errors {
				t.Check(strings.HasSuffix(lines[i], text), "line %d is %q, the error %q", i, lines[i], text)
			}
			t.Note("level 1", "%s", lines[0])
		},
	}, {
		Name: page + "log level 2", Needs: file,
		Rows: []string{page + "log-level-2-basic-operations"},
		Run: func(t *T) {
			added, w := setAddedAtLevel(t, 2)
			for _, what := range append(slices.Clone(w.Mapped), w.Made...) {
				tells := func(line string) bool {
					return !slices.ContainsFunc(strings.Fields(what), func(word string) bool { return !strings.Contains(line, word) })
				}
				t.Check(slices.ContainsFunc(added, tells), "no line tells of %s, which was mapped or made: %q", what, added)
			}
			for _, addr := range w.Removed {
				n := 0
				for _, line := range added {
					if strings.Contains(line, addr) {
						n++
					}
				}
				t.Check(n >= 2, "%d lines tell that the part at %s was mapped and removed: %q", n, addr, added)
			}
		},
	}, {
		Name: page + "log level 3", Needs: file,
		Rows: []string{page + "log-level-3-call-trace"},
		Run: func(t *T) {
			added, _ := setAddedAtLevel(t, 3)
			names := map[string]bool{}
			for _, line := range added {
				for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" :(),", r) }) {
					names[word] = true
				}
			}
			for _, name := range setWorkloadCalls {
				t.Check(names[name], "nothing names %s: %q", name, added)
			}
		},
	}, {
		Name: page + "log level 4", Needs: file,
		Rows: []string{page + "log-level-4-developer"},
		Run: func(t *T) {
			added, _ := setAddedAtLevel(t, 4)
			t.Check(len(added) > 0, "at level 4 there is no more than at 3")
			added, _ = setAddedAtLevel(t, 5) // there is no such level
			t.Check(len(added) == 0, "at level 5 there is more than at 4: %q", added)
		},
	}, {
		Name: page + "log on standard error", Needs: file,
		Rows: []string{page + "log-goes-to-stderr"},
		Run: func(t *T) {
			for _, env := range [][]string{{"PMEMSET_LOG_LEVEL=1"}, {"PMEMSET_LOG_LEVEL=4"}, {"PMEMSET_LOG_LEVEL=1", "PMEMSET_LOG_FILE="}} {
				lines, w := setLogged(t, append(env, "PMEMSET_DEBUG=1")...)
				for _, text := range w.Errors {
					t.Check(slices.ContainsFunc(lines, func(line string) bool { return strings.HasSuffix(line, text) }),
						"with %q the error %q isn't on standard error", env, text)
				}
			}
		},
	}, {
		Name: page + "log file", Needs: file,
		Rows: []string{page + "log-file"},
		Run:  setLogFile,
	}}
	return cases
}

// setBesideLibpmem2 works with both libraries on one file, in one reservation.
func setBesideLibpmem2(t *T) {
	t.EachGeneration(func(g Generation) {
		fd, content := t.PatternFile(256*kib, 4)
		own := t.Source(fd)
		r := t.Reservation(0, mib)
		m := t.MapAs(mapSpec{in: r, at: 64 * kib, length: 128 * kib}, own)
		set := t.Set(t.SetConfigIn(r))
		before := t.SetMap(g, set, t.SetSourceOf(own), 0, 64*kib)
		behind := t.SetMap(g, set, t.SetSourceOf(own), 64*kib, 128*kib)
		t.Check(before.Addr == r.Address(), "the first part is %s, not in front of the map", partText(before))
		t.Check(behind.Addr == r.Address()+192*kib, "the second part is %s, not behind the map", partText(behind))
		found, err := r.MapFind(0, 1)
		t.Must(err, "MapFind() of the part")
		t.Check(found.Address() == before.Addr && found.Size() == before.Size, "libpmem2 finds a map of %d bytes at %#x", found.Size(), found.Address())
		gr, err := set.StoreGranularity()
		t.Must(err, "StoreGranularity()")
		t.Check(gr == m.StoreGranularity(), "the set has the granularity %v, the map %v", gr, m.StoreGranularity())

		// What the one stores, the other sees.
		t.Must(set.Memset(before.Bytes()[100:200], 1, 0), "Memset() in the set")
		t.Must(m.Memset(m.Bytes()[150:250], 2, 0), "Memset() in the map")
		t.Must(m.Memcpy(behind.Bytes()[:50], before.Bytes()[100:150], 0), "Memcpy() from part to part by the map's function")
		for i := range content {
			switch {
			case i >= 150 && i < 250:
				content[i] = 2
			case i >= 100 && i < 200, i >= 64*kib && i < 64*kib+50:
				content[i] = 1
			}
		}
		checkBytes(t, before.Bytes(), content[:64*kib], "the first part")
		checkBytes(t, m.Bytes(), content[:128*kib], "the map")
		checkBytes(t, behind.Bytes(), content[64*kib:192*kib], "the second part")
		checkFile(t, fd, 0, content, "the file")

		// Errors keep apart.
		_, err = set.PartMapByAddress(m.Address())
		t.Expect("PMEMSET_E_CANNOT_FIND_PART_MAP", err, "PartMapByAddress(the map's)")
		t.Expect("PMEM2_E_VM_RESERVATION_NOT_EMPTY", r.Delete(), "Delete() of the reservation")
		t.NoMapAs("PMEM2_E_MAPPING_EXISTS", mapSpec{in: r, length: t.Page()}, own)
		t.Must(set.RemoveRange(r.Address(), mib), "RemoveRange() of the whole reservation")
		checkMapped(t, m.Address(), m.Size(), "rw-s")
		t.Delete(m)
		t.Delete(set)
		checkEmpty(t, r)
		t.Delete(r)
	})
}

const childSetWorkload = "workload of a set"

// setWorkload is what setWorkloadInChild has done.
type setWorkload struct {
	Errors  []string // the texts of the failures
	Mapped  []string // addresses of parts, as logs have them
	Removed []string // those of Mapped that were removed from their set
	Made    []string // paths of files that were created, or that have grown and the size
}

// setWorkloadCalls are functions that the workload calls, by the names that errors have
// them by.
var setWorkloadCalls = []string{
	"NewConfig", "SetRequiredStoreGranularity", "SetAcceptableStates", "SetEventCallback", "New", "SetContiguousPartCoalescing",
	"SourceFromFile", "XSourceFromFile", "Alignment", "SetSDS", "NewMapConfig", "SetOffset", "SetLength", "NewPart", "Part.Map",
	"Map", "StoreGranularity", "FirstPartMap", "NextPartMap", "PartMapByAddress", "Descriptor", "Drop", "RemovePartMap",
	"RemoveRange", "Persist", "Flush", "Drain", "DeepFlush", "Memmove", "Memcpy", "Memset", "Delete",
}

// setWorkloadInChild maps, stores, fails, removes and deletes, in each generation.
func setWorkloadInChild(t *T, _ json.RawMessage) any {
	var w setWorkload
	failed := func(err error) {
		t.Check(err != nil, "a call that should fail succeeds")
		w.Errors = append(w.Errors, err.Error())
	}
	note := func(list *[]string, d pmemset.PartDescriptor) { *list = append(*list, fmt.Sprintf("%#x", d.Addr)) }
	page := t.Page()
	t.Force("CACHE_LINE")
	t.EachGeneration(func(g Generation) {
		cfg := t.NewSetConfig()
		_, err := t.Sets().NewSet(cfg)
		failed(err)
		failed(cfg.SetAcceptableStates(0x40))
		t.Must(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), "SetRequiredStoreGranularity(PAGE)")
		t.Must(cfg.SetEventCallback(func(SetEvent) error { return nil }), "SetEventCallback()")
		set := t.Set(cfg)
		_, err = set.StoreGranularity()
		failed(err)
		_, file := t.SetFile(8 * page)
		path := t.FreshPath()
		created := t.XSetSource(path, pmemset.SourceFileCreateIfNeeded|g.Growing())
		w.Made = append(w.Made, path)
		_, err = file.Alignment()
		t.Must(err, "Alignment()")
		t.Must(file.SetSDS(pmemset.SDS{}, nil), "SetSDS()")
		failed(file.SetSDS(pmemset.SDS{}, nil))

		_, plain := t.SetFile(8 * page)
		low := t.SetMap(g, set, created, 0, 3*page)
		w.Made = append(w.Made, path+" "+strconv.FormatUint(3*page, 10))
		high := t.SetMap(g, set, plain, page, 2*page)
		note(&w.Mapped, low)
		note(&w.Mapped, high)
		_, err = g.Map(t, set, plain, 0, 100)
		failed(err)
		failed(set.SetContiguousPartCoalescing(7))
		// What is found to be impossible on the way is no failure.
		r := t.Reservation(0, 8*page)
		beside := t.Set(t.SetConfigIn(r))
		t.Coalesce(beside, pmemset.CoalescingOpportunistic)
		note(&w.Mapped, t.SetMap(g, beside, plain, 0, page))
		t.MapAs(mapSpec{in: r, at: page}, t.FileSource(page))
		note(&w.Mapped, t.SetMap(g, beside, plain, 0, page))

		b := high.Bytes()
		t.Must(set.Memset(b, 3, 0), "Memset()")
		t.Must(set.Memcpy(b[:100], b[200:300], 0), "Memcpy()")
		t.Must(set.Memmove(b[10:110], b[:100], 0), "Memmove()")
		t.Must(set.Flush(b[:1]), "Flush()")
		t.Must(set.Drain(), "Drain()")
		t.Must(set.Persist(b[:1]), "Persist()")
		t.Must(set.DeepFlush(b), "DeepFlush()")

		_, err = set.PartMapByAddress(0x999)
		failed(err)
		first := set.FirstPartMap()
		set.NextPartMap(first).Drop()
		first.Drop()
		m := t.at(set, low.Addr)
		_ = m.Descriptor()
		failed(set.RemoveRange(low.Addr, 1))
		t.Must(set.RemovePartMap(m), "RemovePartMap()")
		note(&w.Removed, low)
		t.Must(set.RemoveRange(high.Addr, 1), "RemoveRange()")
		note(&w.Removed, high)
		failed(set.RemoveRange(high.Addr, 1))
		t.Delete(set)
		failed(set.Drain())
		t.Delete(cfg)
	})
	return w
}

// setLogged runs the workload with these variables and returns the lines of its
// standard error, whatever is on its standard output being wrong.
func setLogged(t *T, env ...string) (lines []string, w setWorkload) {
	end := t.Child(childRun{Function: childSetWorkload, Env: env, Value: &w})
	t.Check(end.Stdout == "", "with %q there is %q on standard output", env, tail(end.Stdout))
	if len(w.Errors) < 20 || len(w.Mapped) != 12 || len(w.Removed) != 6 || len(w.Made) != 6 {
		t.Brokenf("the workload says %+v", w)
	}
	lines = linesOf(t, end.Stderr)
	for _, texts := range [][]string{lines, w.Errors, w.Made} {
		for i, text := range texts {
			texts[i] = directoryName.ReplaceAllString(text, "…")
		}
	}
	return lines, w
}

// directoryName is what differs from process to process in the path of a file.
var directoryName = regexp.MustCompile(testDirPrefix + "[0-9]+")

// setLogAt is the log of a level, on standard error.
func setLogAt(t *T, level int) ([]string, setWorkload) {
	lines, w := setLogged(t, "PMEMSET_DEBUG=1", "PMEMSET_LOG_LEVEL="+strconv.Itoa(level))
	t.Note("level "+strconv.Itoa(level), "%d lines on standard error", len(lines))
	return lines, w
}

// setAddedAtLevel is what the log of a level has beyond that of the level before, of
// which it has everything.
func setAddedAtLevel(t *T, level int) ([]string, setWorkload) {
	before, _ := setLogAt(t, level-1)
	lines, w := setLogAt(t, level)
	added, lacking := more(lines, before)
	t.Check(lacking == "", "at level %d there is no %q, which is there at %d", level, lacking, level-1)
	if len(added) > 0 {
		t.Note("added at level "+strconv.Itoa(level), "%s", added[0])
	}
	return added, w
}

func setLogWithoutDebugging(t *T) {
	dir := t.TempDir()
	for i, env := range [][]string{
		{"PMEMSET_LOG_LEVEL=1"},
		{"PMEMSET_LOG_LEVEL=4"},
		{"PMEMSET_LOG_LEVEL=4", "PMEMSET_LOG_FILE=" + filepath.Join(dir, "log")},
		{"PMEMSET_LOG_LEVEL=15", "PMEMSET_LOG_FILE=" + filepath.Join(dir, "log-")},
		{"PMEMSET_LOG_LEVEL=4", "PMEMSET_DEBUG=0"},
		{"PMEMSET_LOG_LEVEL=4", "PMEMSET_DEBUG="},
		{"PMEMSET_LOG_LEVEL=4", "PMEMSET_DEBUG=2"},
		{"PMEMSET_LOG_LEVEL=4", "PMEMSET_DEBUG=yes"},
		{"PMEMSET_LOG_LEVEL=4", "PMEM2_DEBUG=1"}, // libpmem2's, which has a log of its own
	} {
		lines, _ := setLogged(t, env...)
		t.Check(lines == nil, "without debugging (%d), with %q, the log has %q", i, env, lines)
	}
	left, err := os.ReadDir(dir)
	t.suite(err, "read a directory")
	t.Check(len(left) == 0, "without debugging there is a file %v", left)
	// The other way round, libpmem2 has no part in this log.
	both, _ := setLogged(t, "PMEMSET_DEBUG=1", "PMEMSET_LOG_LEVEL=3", "PMEM2_DEBUG=1")
	alone, _ := setLogAt(t, 3)
	extra, lacking := more(both, alone)
	t.Check(extra == nil && lacking == "", "with debugging of libpmem2, too, there is %q in the log, and there isn't %q", extra, lacking)
}

func setLogFile(t *T) {
	dir := t.TempDir()
	onStderr, _ := setLogAt(t, 3)
	same := func(path, what string) {
		text, err := os.ReadFile(path)
		t.Check(err == nil, "%s: %v", what, err)
		lines := linesOf(t, directoryName.ReplaceAllString(string(text), "…"))
		extra, lacking := more(lines, onStderr)
		t.Check(extra == nil && lacking == "", "%s has %q, which the log on standard error hasn't, and lacks %q", what, extra, lacking)
		t.Note(what, "%d lines", len(lines))
	}
	path := filepath.Join(dir, "log")
	for _, what := range []string{"a fresh log file", "a log file that was there"} {
		lines, _ := setLogged(t, "PMEMSET_DEBUG=1", "PMEMSET_LOG_LEVEL=3", "PMEMSET_LOG_FILE="+path)
		t.Check(lines == nil, "with a log file there is %q on standard error", lines)
		same(path, what)
		// The next one begins it anew.
		t.suite(os.WriteFile(path, []byte(strings.Repeat("old\n", 10000)), 0o600), "write a file")
	}
	left, err := os.ReadDir(dir)
	t.suite(err, "read a directory")
	t.Check(len(left) == 1, "there are the files %v", left)
}
