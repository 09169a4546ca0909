package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pmemlab/conformance/report"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// Rows for cases of these tests.
const (
	setRow = "pmemset_config_new/creates-config"
)

// runSetCase runs one function as the case of setRow.
func runSetCase(t *testing.T, s Subject, f func(*T)) report.Row {
	t.Helper()
	run := runCases(t, s, Emulated(), Case{Name: "x/c", Rows: []string{setRow}, Run: f})
	if wrong := suiteErrors(run); wrong != nil {
		t.Errorf("suite errors %q, want none", wrong)
	}
	return rowOf(t, run, setRow)
}

func wantCase(t *testing.T, got report.Row, status report.Status, reason string) {
	t.Helper()
	if got.Status != status || !strings.Contains(got.Reason, reason) {
		t.Errorf("%s (%s), want %s (…%s…)", got.Status, got.Reason, status, reason)
	}
}

func TestOutcomeOfSets(t *testing.T) {
	lib := Go.On(platform.Host())
	below := &pmem2.Error{Code: pmem2.ErrMapRange}
	for _, row := range []struct {
		err         error
		want, cause string
	}{
		{nil, "0", ""},
		{&pmemset.Error{Code: pmemset.ErrPartExists}, "PMEMSET_E_PART_EXISTS", ""},
		{fmt.Errorf("%w: %w", &pmemset.Error{Code: pmemset.ErrInvalidPmem2Map}, below), "PMEMSET_E_INVALID_PMEM2_MAP", "PMEM2_E_MAP_RANGE"},
		{fmt.Errorf("%w: %w", below, pmemset.ErrInvalidPmem2Map), "PMEMSET_E_INVALID_PMEM2_MAP", "PMEM2_E_MAP_RANGE"},
		{below, "PMEM2_E_MAP_RANGE", "PMEM2_E_MAP_RANGE"},
		{&pmem2.Error{Errno: syscall.EACCES}, "-EACCES", "-EACCES"},
		{&pmemset.Error{Errno: syscall.EISDIR}, "-EISDIR", ""},
		{ErrCallback, "(callback)", ""},
		{fmt.Errorf("wrapped: %w", ErrCallback), "(callback)", ""},
		{errors.Join(ErrCallback, pmemset.ErrIOFail), "PMEMSET_E_IO_FAIL", ""},
		{errors.New("x"), "no code: x", ""},
	} {
		if got := lib.Outcome(row.err); got != row.want {
			t.Errorf("Outcome(%v) = %q, want %q", row.err, got, row.want)
		}
		if got := lib.Sets().Cause(row.err); got != row.cause {
			t.Errorf("Cause(%v) = %q, want %q", row.err, got, row.cause)
		}
	}
}

// withoutSets is a subject that has libpmem2 only.
type withoutSets struct{ Library }

func (withoutSets) Sets() SetLibrary { return nil }

func TestSubjectWithoutLibpmemset(t *testing.T) {
	subject := planted{"half", func(l Library, _ platform.Platform) Library { return withoutSets{l} }}
	wantCase(t, runSetCase(t, subject, func(c *T) { c.Set() }), report.NotSupported, "the subject half has none")
}

// TestNilObjects: what stands for NULL reaches the library as nil, whichever nil it is.
func TestNilObjects(t *testing.T) {
	wantCase(t, runSetCase(t, Go, func(c *T) {
		sets := c.Sets()
		for _, cfg := range []SetConfig{nil, sets.NilSetConfig()} {
			c.NoSet("-EINVAL", cfg, "none")
		}
		set := c.Set()
		_, src := c.SetFile(64 * kib)
		for _, none := range []SetSource{nil, sets.NilSetSource()} {
			c.NoSetMap("PMEMSET_E_INVALID_SOURCE_TYPE", MapAPI, set, none, 0, 0)
			c.NoSetMap("PMEMSET_E_INVALID_SOURCE_TYPE", Release112, set, none, 0, 0)
		}
		for _, none := range []MapConfig{nil, sets.NilMapConfig()} {
			d, err := set.Map(src, none)
			c.Must(err, "Map() without a config")
			c.Check(d.Size == 64*kib, "of the source %d bytes are mapped", d.Size)
			_, err = sets.Map(src, none)
			c.Expect("-EINVAL", err, "Map() without a config")
		}
		for _, none := range []Set{nil, sets.NilSet()} {
			cfg := c.MapConfig(none, 0, 0)
			_, err := sets.Map(src, cfg)
			c.Check(err != nil, "Map() by a config without a set succeeds")
		}
		none, err := sets.SourceFromPMem2(nil)
		c.gotNoSetSource("PMEMSET_E_INVALID_PMEM2_SOURCE", none, err, "SourceFromPMem2(nil)")
		_, err = set.PartMapByAddress(1)
		c.Expect("PMEMSET_E_CANNOT_FIND_PART_MAP", err, "PartMapByAddress(1)")
		m := set.FirstPartMap()
		c.Check(m != nil && m.Same(m) && !m.Same(nil) && !m.Same(sets.NilPartMap()), "a part map isn't the same as itself alone")
		m.Drop()
		sets.NilPartMap().Drop()
		for _, o := range []deleter{sets.NilSet(), sets.NilSetSource(), sets.NilMapConfig(), sets.NilPart()} {
			c.Delete(o)
		}
	}), report.Pass, "")
}

// TestGenerationsMapAlike: the same part, with the calls of each.
func TestGenerationsMapAlike(t *testing.T) {
	var names []string
	wantCase(t, runSetCase(t, Go, func(c *T) {
		c.EachGeneration(func(g Generation) {
			names = append(names, g.Name())
			path, _ := c.SetFile(64 * kib)
			c.WriteFile(c.Open(c.FileAt(path), platform.ORdwr), 0, pattern(64*kib, 3))
			set, events := c.SetWithEvents()
			growing, fixed := c.XSetSource(path, g.Growing()), c.XSetSource(path, g.Fixed())

			refused := map[Generation]string{Release112: "PMEMSET_E_SOURCE_FILE_IS_TOO_SMALL"}[g]
			if refused == "" {
				refused = "PMEMSET_E_INVALID_PMEM2_MAP"
			}
			c.NoSetMap(refused, g, set, fixed, 64*kib, 64*kib)
			c.CheckFileSize(path, 64*kib, "after a part that doesn't fit")
			c.CheckParts(set)
			a := c.SetMap(g, set, growing, 4*kib, 64*kib)
			c.CheckFileSize(path, 68*kib, "after a part that makes it grow")
			checkBytes(c, a.Bytes()[:60*kib], pattern(64*kib, 3)[4*kib:], "the part")
			c.CheckParts(set, a)
			b := c.SetMap(g, set, growing, 0, 4*kib)
			c.CheckParts(set, b, a)
			c.CheckParts(set, a, b)
			events.Name("A", a.Addr)
			events.Name("B", b.Addr)
			c.Events(set, events, "PART_ADD A 64K", "PART_ADD B 4K")
			c.Events(set, events)
			// All that was looked up has been dropped.
			c.Must(set.RemoveRange(a.Addr, 1), "RemoveRange()")
			c.CheckParts(set, b)
		})
	}), report.Pass, "")
	if want := []string{"parts-1.11", "map-api", "1.12.1"}; !slices.Equal(names, want) {
		t.Errorf("the generations are %q, want %q", names, want)
	}
}

func TestGenerationNames(t *testing.T) {
	known := map[string]bool{}
	for _, g := range Generations() {
		known[g.Name()] = true
	}
	for _, r := range Rows() {
		for _, e := range r.Editions {
			if r.Library == "pmemset" && !known[e] {
				t.Errorf("%s is of edition %q, which no generation is called", r.ID, e)
			}
		}
	}
}

// TestFailingGenerationIsNamed, and the ones behind it don't run.
func TestFailingGenerationIsNamed(t *testing.T) {
	var ran []Generation
	row := runSetCase(t, Go, func(c *T) {
		c.EachGeneration(func(g Generation) {
			ran = append(ran, g)
			c.Check(g != MapAPI, "no such luck")
		})
	})
	wantCase(t, row, report.Fail, "map-api: no such luck")
	if want := []Generation{PartsAPI, MapAPI}; !slices.Equal(ran, want) {
		t.Errorf("the generations that ran are %v, want %v", ran, want)
	}
	row = runSetCase(t, Go, func(c *T) {
		c.InGenerations(func(Generation) {}, Release112)
		c.Failf("later")
	})
	wantCase(t, row, report.Fail, "x/c [x86]: later")
}

// TestGenerationsCleanUp: what a generation has made is gone before the next; what was
// made before them stays.
func TestGenerationsCleanUp(t *testing.T) {
	var order []string
	say := func(what string) func() { return func() { order = append(order, what) } }
	run := func(f func(c *T)) {
		order = nil
		wantCase(t, runSetCase(t, Go, func(c *T) {
			c.Cleanup(say("first"))
			f(c)
		}), report.Pass, "")
	}
	run(func(c *T) {
		outer := c.Set()
		_, src := c.SetFile(64 * kib)
		c.EachGeneration(func(g Generation) {
			c.Cleanup(say(g.Name()))
			c.SetFile(64 * kib)
			c.Set()
			say("in " + g.Name())()
		})
		c.SetMap(Release112, outer, src, 0, 0)
		c.Cleanup(say("last"))
	})
	want := []string{"in parts-1.11", "parts-1.11", "in map-api", "map-api", "in 1.12.1", "1.12.1", "last", "first"}
	if !slices.Equal(order, want) {
		t.Errorf("the order is %q, want %q", order, want)
	}
}

// orderly is libpmemset that tells the order in which its objects go.
type orderly struct {
	SetLibrary
	gone *[]string
}

type orderlyLibrary struct {
	Library
	gone *[]string
}

func (l orderlyLibrary) Sets() SetLibrary { return orderly{l.Library.Sets(), l.gone} }

func (l orderlyLibrary) NewVMReservation(addr uintptr, size uint64) (Reservation, error) {
	r, err := l.Library.NewVMReservation(addr, size)
	return orderlyReservation{r, l.gone}, err
}

type orderlyReservation struct {
	Reservation
	gone *[]string
}

func (r orderlyReservation) Delete() error {
	*r.gone = append(*r.gone, "reservation")
	return r.Reservation.Delete()
}

func (l orderly) NewSet(cfg SetConfig) (Set, error) {
	s, err := l.SetLibrary.NewSet(cfg)
	return orderlySet{s, l.gone}, err
}

type orderlySet struct {
	Set
	gone *[]string
}

func (s orderlySet) Delete() error {
	*s.gone = append(*s.gone, "set")
	return s.Set.Delete()
}

func (l orderly) SourceFromFile(path string) (SetSource, error) {
	s, err := l.SetLibrary.SourceFromFile(path)
	return orderlySource{s, l.gone}, err
}

type orderlySource struct {
	SetSource
	gone *[]string
}

func (s orderlySource) Delete() error {
	*s.gone = append(*s.gone, "source")
	return s.SetSource.Delete()
}

// TestSetsGoBeforeWhatTheyUse, whatever was made first.
func TestSetsGoBeforeWhatTheyUse(t *testing.T) {
	for _, row := range []struct {
		name string
		make func(c *T)
		want []string
	}{
		{"reservation, source, set", func(c *T) { c.Reservation(0, mib); c.SetFile(1); c.Set() }, []string{"set", "source", "reservation"}},
		{"reservation, set, source", func(c *T) { c.Reservation(0, mib); c.Set(); c.SetFile(1) }, []string{"set", "source", "reservation"}},
		{"sets between sources", func(c *T) { c.SetFile(1); c.Set(); c.SetFile(1); c.Set() }, []string{"set", "set", "source", "source"}},
		{"source without a set", func(c *T) { c.SetFile(1) }, []string{"source"}},
		{"in a generation", func(c *T) {
			c.InGenerations(func(Generation) { c.Set(); c.SetFile(1); c.Failf("halfway") }, MapAPI)
		}, []string{"set", "source"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var gone []string
			subject := planted{"orderly", func(l Library, _ platform.Platform) Library { return orderlyLibrary{l, &gone} }}
			runSetCase(t, subject, row.make)
			if !slices.Equal(gone, row.want) {
				t.Errorf("they go in the order %q, want %q", gone, row.want)
			}
		})
	}
}

func TestAmount(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 1: "1", 1023: "1023", 1024: "1K", 1025: "1025", 96 * kib: "96K", mib: "1M", mib + kib: "1025K",
		3 * gib: "3G", 1 << 63: "8589934592G", 1<<64 - 1: "18446744073709551615",
	} {
		if got := amount(n); got != want {
			t.Errorf("amount(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestEventTexts(t *testing.T) {
	const a, b = uintptr(1) << 40, uintptr(1)<<40 + 64*kib
	r := &SetEvents{}
	r.Name("A", a)
	r.Name("B", b)
	sds := &pmemset.SDS{USC: 10, RefCount: 1}
	for _, row := range []struct {
		e    SetEvent
		want string
	}{
		{SetEvent{Type: pmemset.EventCopy, Dst: a + 4*kib, Src: b, Len: 64}, "COPY A+4K B 64"},
		{SetEvent{Type: pmemset.EventMove, Dst: a, Src: b, Len: 64, Flags: pmem2.MemNoDrain | pmem2.MemNoFlush}, "MOVE A B 64 NODRAIN|NOFLUSH"},
		{SetEvent{Type: pmemset.EventSet, Dst: a, Value: 255, Len: 2 * mib}, "SET A 0xff 2M"},
		{SetEvent{Type: pmemset.EventFlush, Addr: b + 1, Len: 1}, "FLUSH B+1 1"},
		{SetEvent{Type: pmemset.EventDrain, Addr: b, Len: 1}, "DRAIN"},
		{SetEvent{Type: pmemset.EventPersist, Addr: a, Len: 1}, "PERSIST A 1"},
		{SetEvent{Type: pmemset.EventRemoveRange, Addr: a - 64*kib, Len: 1<<64 - 1}, "REMOVE_RANGE A-64K 18446744073709551615"},
		{SetEvent{Type: pmemset.EventPartAdd, Addr: b + gib - 1, Len: 96 * kib}, "PART_ADD B+1073741823 96K"},
		{SetEvent{Type: pmemset.EventPartRemove, Addr: b + gib, Len: 0}, fmt.Sprintf("PART_REMOVE %#x 0", b+gib)},
		{SetEvent{Type: pmemset.EventPartRemove, Addr: a - gib, Len: 0}, fmt.Sprintf("PART_REMOVE %#x 0", a-gib)},
		{SetEvent{Type: pmemset.EventSDSUpdate, SDS: sds}, "SDS_UPDATE usc 10 ref 1"},
		{SetEvent{Type: pmemset.EventSDSUpdate}, "SDS_UPDATE without an SDS"},
		{SetEvent{Type: pmemset.EventBadBlock, BadBlock: pmem2.BadBlock{Offset: 64 * kib, Length: 4 * kib}}, "BADBLOCK 64K 4K"},
		{SetEvent{Type: pmemset.EventBadBlocksCleared}, "BADBLOCKS_CLEARED"},
		{SetEvent{Type: 12}, "event 12"},
		{SetEvent{Type: -1}, "event -1"},
	} {
		if got := r.text(row.e); got != row.want {
			t.Errorf("%+v is told as %q, want %q", row.e, got, row.want)
		}
	}
}

// TestEventsOfGo: what package pmemset tells reaches the case whole.
func TestEventsOfGo(t *testing.T) {
	wantCase(t, runSetCase(t, Go, func(c *T) {
		own := c.FileSource(64 * kib)
		set, events := c.SetWithEvents()
		d := c.SetMap(Release112, set, c.SetSourceOf(own), 0, 0)
		events.Name("A", d.Addr)
		told := c.Events(set, events, "PART_ADD A 64K")
		c.Check(told[0].PMem2Source == own, "the source of the part is %v, want %v", told[0].PMem2Source, own)
		c.Check(told[0].Added == d, "added is %s, want %s", partText(told[0].Added), partText(d))
		b := d.Bytes()
		c.Must(set.Memcpy(b[4*kib:5*kib], b[:kib], pmem2.MemNoDrain), "Memcpy()")
		c.Must(set.Memmove(b[1:64], b[:63], 0), "Memmove()")
		c.Must(set.Memset(b[:100], 7, pmem2.MemNoFlush), "Memset()")
		c.Must(set.Flush(b[:4*kib]), "Flush()")
		c.Must(set.Drain(), "Drain()")
		c.Must(set.Persist(b), "Persist()")
		c.Events(set, events, "COPY A+4K A 1K NODRAIN", "MOVE A+1 A 63", "DRAIN", "SET A 0x7 100 NOFLUSH",
			"FLUSH A 4K", "DRAIN", "FLUSH A 64K", "DRAIN")
		c.Must(set.RemoveRange(d.Addr+1, 1), "RemoveRange()")
		c.Events(set, events, "REMOVE_RANGE A+1 1", "PART_REMOVE A 64K")
		other := c.Set()
		_, src := c.SetFile(kib * 64)
		c.SetMap(Release112, set, src, 0, 0)
		c.Events(other, events) // the event is of set: this is wrong
	}), report.Fail, "comes with another set than the one that was called")
}

// TestBadBlockEventsOfGo: those that a callback answers.
func TestBadBlockEventsOfGo(t *testing.T) {
	wantCase(t, runSetCase(t, Go, func(c *T) {
		o := c.made(c.Env.DAXFile(64 * kib))
		fd := c.Open(o, platform.ORdwr)
		c.WriteFile(fd, 0, pattern(64*kib, 1))
		c.suite(c.Env.AddBadBlock(o, 4*kib, 512), "bad block")
		src := c.SetSource(o.Path())
		c.Must(src.SetBadBlockDetection(true), "SetBadBlockDetection(true)")
		set, events := c.SetWithEvents()
		events.Answer = func(e SetEvent) error {
			if e.Type == pmemset.EventBadBlock {
				c.Must(e.Source.ClearBadBlock(e.BadBlock), "ClearBadBlock()")
				return nil
			}
			return ErrCallback
		}
		c.NoSetMap("(callback)", Release112, set, src, 0, 0)
		told := events.Take()
		c.Check(len(told) == 2 && told[0].Type == pmemset.EventBadBlock && told[1].Type == pmemset.EventBadBlocksCleared,
			"told are %d events, want a bad block and its clearing", len(told))
		c.Check(told[0].Source == src && told[1].Source == src, "the events are of another source")
		c.Check(told[0].BadBlock.Length > 0, "the bad block has no length")
	}), report.Pass, "")
}

// TestEventsAreKept: the recording is the case's own, and a callback can answer.
func TestEventsAreKept(t *testing.T) {
	r := &SetEvents{}
	sds := pmemset.SDS{USC: 1}
	if err := r.take(SetEvent{Type: pmemset.EventSDSUpdate, SDS: &sds}); err != nil {
		t.Errorf("without an answer the callback returns %v", err)
	}
	sds.USC = 2
	r.Answer = func(e SetEvent) error {
		if e.Type == pmemset.EventBadBlocksCleared {
			return ErrCallback
		}
		return nil
	}
	if err := r.take(SetEvent{Type: pmemset.EventBadBlocksCleared}); err != ErrCallback {
		t.Errorf("the callback returns %v, want what it was told to", err)
	}
	all := r.Take()
	if len(all) != 2 || all[0].SDS.USC != 1 {
		t.Errorf("recorded are %d events, want 2, the first with a copy of its SDS", len(all))
	}
	if left := r.Take(); left != nil {
		t.Errorf("after that %v is left", left)
	}
}

// Faults of a libpmemset that cases must find.

type faultySets struct {
	SetLibrary
	set func(Set) Set
}

type faultyLibrary struct {
	Library
	set func(Set) Set
}

func (l faultyLibrary) Sets() SetLibrary { return faultySets{l.Library.Sets(), l.set} }

func (l faultySets) NewSet(cfg SetConfig) (Set, error) {
	s, err := l.SetLibrary.NewSet(cfg)
	if s == nil {
		return nil, err
	}
	return l.set(s), err
}

type misplacing struct{ Set }

func (s misplacing) Map(src SetSource, cfg MapConfig) (pmemset.PartDescriptor, error) {
	d, err := s.Set.Map(src, cfg)
	d.Size++
	return d, err
}

type handsOutParts struct{ Set }

func (s handsOutParts) Map(src SetSource, cfg MapConfig) (pmemset.PartDescriptor, error) {
	d, err := s.Set.Map(src, cfg)
	if err != nil {
		d.Addr = 1
	}
	return d, err
}

type unsorted struct{ Set }

func (s unsorted) NextPartMap(m PartMap) PartMap {
	if next := s.Set.NextPartMap(m); next == nil {
		return s.FirstPartMap()
	}
	return s.Set.NextPartMap(m)
}

type removing struct{ Set }

func (s removing) Map(src SetSource, cfg MapConfig) (pmemset.PartDescriptor, error) {
	d, err := s.Set.Map(src, cfg)
	if err != nil {
		_ = s.RemoveRange(0, 1<<63)
	}
	return d, err
}

func TestFaultsOfSetsAreFound(t *testing.T) {
	for _, row := range []struct {
		name   string
		set    func(Set) Set
		status report.Status
		reason string
	}{
		{"none", func(s Set) Set { return s }, report.Pass, ""},
		{"another descriptor", func(s Set) Set { return misplacing{s} }, report.Fail, "and the set has"},
		{"a descriptor with the error", func(s Set) Set { return handsOutParts{s} }, report.Fail, "fails and returns the descriptor"},
		{"part maps without end", func(s Set) Set { return unsorted{s} }, report.Fail, "the set has more yet"},
		{"a failure that removes", func(s Set) Set { return removing{s} }, report.Fail, "it makes none"},
	} {
		t.Run(row.name, func(t *testing.T) {
			subject := planted{row.name, func(l Library, _ platform.Platform) Library { return faultyLibrary{l, row.set} }}
			wantCase(t, runSetCase(t, subject, func(c *T) {
				_, src := c.SetFile(64 * kib)
				set := c.Set()
				d := c.SetMap(Release112, set, src, 0, 0)
				c.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", Release112, set, src, 0, 1)
				c.CheckParts(set, d)
			}), row.status, row.reason)
		})
	}
}
