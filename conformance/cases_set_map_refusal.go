package conformance

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setMapRefusalCases checks what makes mapping fail besides the lack of a place and
// the size of the source.
func setMapRefusalCases() []Case {
	return slices.Concat(
		onEachMapPage("no addresses", setMapNoAddresses, bothMaps, "PMEMSET_E_CANNOT_ALLOCATE_INTERNAL_STRUCTURE#1"),
		onEachMapPage("invalid granularity", setMapInvalidGranularity, bothMaps, "PMEMSET_E_GRANULARITY_NOT_SUPPORTED#1"),
		onEachMapPage("libpmem2 refuses", setMapBelow, bothMaps, "PMEMSET_E_INVALID_PMEM2_MAP#1"),
		onEachMapPage("length unaligned", setMapLengthUnaligned, bothMaps, "PMEMSET_E_LENGTH_UNALIGNED#1"),
		onEachMapPage("length unaligned in a reservation", setMapLengthUnalignedInReservation, bothMaps, "PMEMSET_E_LENGTH_UNALIGNED#2"),
		onEachMapPage("length unaligned, coalescing", setMapLengthUnalignedCoalescing, bothMaps, "PMEM2_E_LENGTH_UNALIGNED#1"),
		onEachMapPage("another granularity", setMapOtherGranularity, bothMaps, "PMEMSET_E_GRANULARITY_MISMATCH#1"),
		[]Case{
			setMapCase("offset above 2^63-1", setMapOffsetRefusedBefore, bothMaps, "PMEMSET_E_INVALID_OFFSET_VALUE#1"),
			setPartCase("offset above 2^63-1", setPartOffsetRefused, "PMEMSET_E_INVALID_OFFSET_VALUE#1"),
		},
	)
}

// setMapNoAddresses has the kernel give no addresses to a reservation of the library's:
// to a new one, and to one that is to be extended.
func setMapNoAddresses(t *T, g Generation) {
	const code = "PMEMSET_E_CANNOT_ALLOCATE_INTERNAL_STRUCTURE"
	o := t.made(t.Env.File(64 * kib))
	faulty := fault.Wrap(t.Machine())
	before := t.Lib
	t.Lib = t.subject.On(faulty)
	defer func() { t.Lib = before }()
	src := t.XSetSource(o.Path(), g.Growing())
	for _, errno := range []string{"ENOMEM", "EAGAIN"} {
		refuse := func(set Set, events *SetEvents, length uint64) {
			plan := "(" + errno + " (Op mmap mremap))"
			faulty.Set(fault.MustParse(plan))
			t.Note("address space", "%s", plan)
			cause := t.NoSetMap(code, g, set, src, 0, length)
			faulty.Set()
			t.Check(cause == "-"+errno, "below it is %q from libpmem2, want -%s", cause, errno)
			t.CheckFileSize(o.Path(), 64*kib, "after the failure")
			t.Events(set, events)
		}
		set, events := t.SetWithEvents()
		for _, length := range []uint64{64 * kib, 128 * kib} {
			refuse(set, events, length)
		}
		_, err := set.StoreGranularity()
		t.Expect("PMEMSET_E_NO_PART_MAPPED", err, "StoreGranularity()")
		a := t.SetMap(g, set, src, 0, 64*kib)
		events.Take()
		t.Coalesce(set, coalesceFull)
		refuse(set, events, 64*mib)
		t.CheckParts(set, a)
		// Nothing of the failure is left.
		t.Coalesce(set, coalesceNone)
		t.CheckParts(set, a, t.SetMap(g, set, src, 0, 64*kib))
		t.Delete(set)
	}
}

func setMapInvalidGranularity(t *T, g Generation) {
	_, src := t.SetFile(64 * kib)
	cfg := t.NewSetConfig()
	for _, keep := range []pmem2.Granularity{pmem2.GranularityPage, pmem2.GranularityByte} {
		t.Must(cfg.SetRequiredStoreGranularity(keep), "SetRequiredStoreGranularity(%v)", keep)
		for _, bad := range []pmem2.Granularity{-1, 3, 999} {
			t.Expect("PMEMSET_E_GRANULARITY_NOT_SUPPORTED", cfg.SetRequiredStoreGranularity(bad), "SetRequiredStoreGranularity(%d)", int(bad))
		}
		t.Force("PAGE")
		set := t.Set(cfg)
		if keep == pmem2.GranularityPage {
			t.CheckParts(set, t.SetMap(g, set, src, 0, 64*kib))
			continue
		}
		cause := t.NoSetMap("PMEMSET_E_INVALID_PMEM2_MAP", g, set, src, 0, 64*kib)
		t.Check(cause == "PMEM2_E_GRANULARITY_NOT_SUPPORTED", "below it is %q from libpmem2", cause)
	}
}

// setLogs keeps what the library logs.
type setLogs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *setLogs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns what was logged since the last time.
func (l *setLogs) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// SetLogs has the library log for the rest of the case.
func (t *T) SetLogs() *setLogs {
	l := &setLogs{}
	t.Sets().SetLogger(slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelError})))
	t.Cleanup(func() { t.Sets().SetLogger(nil) })
	return l
}

// setMapBelow has libpmem2 refuse what pmemset has no code for.
func setMapBelow(t *T, g Generation) {
	const code = "PMEMSET_E_INVALID_PMEM2_MAP"
	o := t.made(t.Env.File(64 * kib))
	src := t.SetSource(o.Path())
	readOnly := t.SetSourceOf(t.Source(t.Open(o, platform.ORdonly)))
	logs := t.SetLogs()
	t.Force("PAGE")
	page := t.Page()
	for _, c := range []struct {
		what           string
		src            SetSource
		require        pmem2.Granularity
		offset, length uint64
		want           string
	}{
		{"offset 100", src, pmem2.GranularityPage, 100, page, "PMEM2_E_OFFSET_UNALIGNED"},
		{"an offset of a page and a byte", src, pmem2.GranularityPage, page + 1, page, "PMEM2_E_OFFSET_UNALIGNED"},
		{"an offset of a byte less than a page", src, pmem2.GranularityPage, page - 1, page, "PMEM2_E_OFFSET_UNALIGNED"},
		{"a descriptor open for reading", readOnly, pmem2.GranularityPage, 0, 64 * kib, "PMEM2_E_NO_ACCESS"},
		{"BYTE of storage that has PAGE", src, pmem2.GranularityByte, 0, 64 * kib, "PMEM2_E_GRANULARITY_NOT_SUPPORTED"},
		{"CACHE_LINE of storage that has PAGE", src, pmem2.GranularityCacheLine, 0, 64 * kib, "PMEM2_E_GRANULARITY_NOT_SUPPORTED"},
	} {
		t.Note("mapping", "%s", c.what)
		cfg := t.NewSetConfig()
		t.Must(cfg.SetRequiredStoreGranularity(c.require), "SetRequiredStoreGranularity(%v)", c.require)
		set, events := t.SetWithEvents(cfg)
		logs.take()
		cause := t.NoSetMap(code, g, set, c.src, c.offset, c.length)
		t.Check(cause == c.want, "%s: below it is %q from libpmem2, want %s", c.what, cause, c.want)
		t.Events(set, events)
		said := logs.take()
		t.Note("logs", "%s", said)
		t.Check(strings.Contains(said, code) && strings.Contains(said, c.want), "%s: the logs say neither %s nor %s: %q", c.what, code, c.want, said)
		if c.require == pmem2.GranularityPage {
			t.CheckParts(set, t.SetMap(g, set, src, 0, 64*kib))
		}
	}
}

func setMapLengthUnaligned(t *T, g Generation) {
	path, _ := t.SetFile(64 * kib)
	set, events := t.SetWithEvents()
	page := t.Page()
	for _, src := range []SetSource{t.SetSource(path), t.XSetSource(path, g.Growing()), t.XSetSource(path, g.Fixed())} {
		for _, length := range []uint64{1, 100, page - 1, page + 1, 64*kib - 1} {
			t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 0, length)
		}
	}
	// Where the file would have to grow, too.
	growing := t.XSetSource(path, g.Growing())
	for _, length := range []uint64{64*kib + 1, 128*kib - 1, 128*kib + 512} {
		t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, growing, 0, length)
		t.CheckFileSize(path, 64*kib, "after the failure")
	}
	t.CheckParts(set)
	t.Events(set, events)
}

func setMapLengthUnalignedInReservation(t *T, g Generation) {
	p := t.placed(g, 128*kib)
	for _, c := range coalescings {
		for _, length := range []uint64{1, 100, t.Page() + 1, 128*kib + 1} {
			p.refuse("PMEMSET_E_LENGTH_UNALIGNED", c, length)
		}
	}
	p.put(coalesceNone, 128*kib, 0, 128*kib)
	for _, c := range coalescings { // a place wouldn't help
		p.refuse("PMEMSET_E_LENGTH_UNALIGNED", c, 100)
	}
	checkReservation(t, p.r, p.r.Address(), 128*kib)
}

func setMapLengthUnalignedCoalescing(t *T, g Generation) {
	_, src := t.SetFile(128 * kib)
	for _, c := range []pmemset.Coalescing{coalesceFull, coalesceOpp} {
		set := t.Set()
		t.Coalesce(set, c)
		a := t.SetMap(g, set, src, 0, 64*kib)
		for _, length := range []uint64{1, 100, t.Page() - 1, t.Page() + 1} {
			t.NoSetMap("PMEMSET_E_LENGTH_UNALIGNED", g, set, src, 0, length)
		}
		t.CheckParts(set, a)
	}
}

// setMapOtherGranularity maps a second part that has another granularity than the set,
// wherever it would lie.
func setMapOtherGranularity(t *T, g Generation) {
	const code = "PMEMSET_E_GRANULARITY_MISMATCH"
	path, _ := t.SetFile(64 * kib)
	src := t.XSetSource(path, g.Growing())
	r := t.Reservation(0, mib)
	for _, cfg := range []SetConfig{t.SetConfig(), t.SetConfigIn(r)} {
		for _, c := range coalescings {
			t.Force("CACHE_LINE")
			set, events := t.SetWithEvents(cfg)
			t.Coalesce(set, c)
			a := t.SetMap(g, set, src, 0, 64*kib)
			events.Take()
			for _, other := range []string{"PAGE", "BYTE"} {
				t.Force(other)
				t.NoSetMap(code, g, set, src, 0, 64*kib)
				t.NoSetMap(code, g, set, src, 64*kib, 64*kib)
				t.CheckFileSize(path, 64*kib, "after the failure")
				checkSetGranularity(t, set, pmem2.GranularityCacheLine)
			}
			t.Events(set, events)
			t.Force("CACHE_LINE")
			parts := t.PartMaps(set)
			t.Check(slices.Equal(parts, []pmemset.PartDescriptor{a}), "the part maps are %s, want %s", partsText(parts), partText(a))
			if r.Address() == a.Addr {
				checkBlank(t, a.Addr+uintptr(a.Size), mib-a.Size)
			}
			t.SetMap(g, set, src, 0, 64*kib)
			t.Delete(set)
		}
	}
}

// offsetsAbove are above 2^63-1.
var offsetsAbove = []uint64{1 << 63, 1<<63 + 4096, math.MaxUint64 - 4095, math.MaxUint64}

// setMapOffsetRefusedBefore: the config refuses such an offset, and keeps the one it has.
func setMapOffsetRefusedBefore(t *T, g Generation) {
	src, _, content := t.patternSetFile(128*kib, 3)
	set := t.Set()
	cfg := t.MapConfig(set, 64*kib, 64*kib)
	for _, bad := range offsetsAbove {
		t.Expect("PMEMSET_E_OFFSET_OUT_OF_RANGE", cfg.SetOffset(bad), "SetOffset(%#x)", bad)
		var d pmemset.PartDescriptor
		var err error
		if g == MapAPI {
			d, err = t.Sets().Map(src, cfg)
		} else {
			d, err = set.Map(src, cfg)
		}
		t.Must(err, "%s with the offset from before", g.call())
		checkPart(t, d, content[64*kib:], "the part")
	}
}

// setPartOffsetRefused: a part takes any offset, and mapping refuses it.
func setPartOffsetRefused(t *T, g Generation) {
	const code = "PMEMSET_E_INVALID_OFFSET_VALUE"
	path, file := t.SetFile(64 * kib)
	_, temporary := t.TemporarySetSource()
	set, events := t.SetWithEvents()
	for _, s := range []struct {
		what string
		src  SetSource
	}{{"a file", file}, {"a file that grows", t.XSetSource(path, g.Growing())}, {"a temporary file", temporary}} {
		for _, offset := range offsetsAbove {
			for _, length := range []uint64{0, 100, 64 * kib, 1 << 63, -offset} {
				part, err := t.Sets().NewPart(set, s.src, offset, length)
				t.Must(err, "NewPart(%s, offset %#x, length %#x)", s.what, offset, length)
				_, err = part.Map()
				t.Expect(code, err, "Part.Map(%s, offset %#x, length %#x)", s.what, offset, length)
				t.Delete(part)
			}
		}
		_, err := g.Map(t, set, s.src, math.MaxInt64, 64*kib)
		t.Note(fmt.Sprintf("Part.Map(%s, offset 2^63-1)", s.what), "%s", t.Lib.Outcome(err))
		t.Check(err != nil && t.Lib.Outcome(err) != code, "at an offset of 2^63-1 the outcome is %s", t.Lib.Outcome(err))
	}
	t.CheckFileSize(path, 64*kib, "at the end")
	t.CheckParts(set)
	t.Events(set, events)
}
