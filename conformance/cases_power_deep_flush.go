package conformance

import (
	"strconv"
	"strings"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// powerDeepFlushCases are the rows about failures of the power that the hardware doesn't
// survive unharmed.
func powerDeepFlushCases() []Case {
	const page, unsafe = "pmem2_deep_flush/", "libpmem2_unsafe_shutdown/"
	return []Case{{
		Name: page + "unwritten stores, and the hardware fails", Needs: []Need{NeedDIMM},
		Rows: []string{page + "most-reliable-domain"},
		Run:  func(t *T) { deepFlushOutlives(t, powerMaps, false) },
	}, {
		Name: page + "persisted data, and the hardware fails", Needs: []Need{NeedDIMM},
		Rows: []string{page + "no-reliance-on-adr"},
		Run:  func(t *T) { deepFlushOutlives(t, powerMaps, true) },
	}, {
		Name: unsafe + "the domain is flushed",
		Rows: []string{unsafe + "domain-flushed-on-power-failure"},
		Run:  domainIsFlushed,
	}, {
		Name: unsafe + "what can be corrupted", Needs: []Need{NeedDIMM, NeedDevDax, NeedFSDax},
		Rows: []string{unsafe + "may-corrupt-any-file-part"},
		Run:  unsafeShutdownCorrupts,
	}, {
		Name: unsafe + "bookkeeping", Needs: []Need{NeedDIMM, NeedDevDax, NeedFSDax},
		Rows: []string{unsafe + "deep-flush-for-bookkeeping"},
		Run:  bookkeepingOutlives,
	}}
}

// deepFlushOutlives expects what was flushed deeply to outlive a failure of the hardware,
// and what was persisted only not to.
func deepFlushOutlives(t *T, memory powerMemory, persisted bool) {
	memory(t, func(p *powered) {
		deep := []span{{0, 1}, {64, 200}, {8192 - 10, 1000}, {powerSize - 1, 1}}
		for i, s := range deep {
			p.fill(byte(i), s)
			if persisted {
				t.mustQuietly(p.Persist(s.of(p.b)), "Persist(%v)", s)
			}
			t.Must(p.DeepFlushRange(addressOf(p.b)+uintptr(s.off), uint64(s.n)), "%s: DeepFlush(%v)", p.what, s)
			p.checkDurable(Failure{Unsafe: true}, "and the hardware fails, behind DeepFlush", s)
			p.checkDurable(p.anyOrder(), "behind DeepFlush", s)
		}
		if p.g != pmem2.GranularityPage { // msync is a deep flush
			s := span{20000, 500}
			p.fill(9, s)
			t.Must(p.Persist(s.of(p.b)), "%s: Persist(%v)", p.what, s)
			p.checkCanLose(Failure{Unsafe: true}, "and the hardware fails, behind Persist", s)
		}
		p.checkDurable(Failure{Unsafe: true}, "and the hardware fails, later", deep...)
	})
}

// domainIsFlushed expects what has entered the power-fail protected domain to be there
// after each failure that the hardware survives, also after the next one.
func domainIsFlushed(t *T) {
	powerMaps(t, func(p *powered) {
		older, newer := span{4096, 3000}, span{100, 500}
		p.fill(1, older)
		t.Must(p.Persist(older.of(p.b)), "%s: Persist(%v)", p.what, older)
		p.fill(2, newer)
		t.Must(p.Flush(newer.of(p.b)), "%s: Flush(%v)", p.what, newer)
		t.Must(p.Drain(), "Drain()")
		for _, f := range []Failure{p.anyOrder(), {Again: true}} {
			p.checkDurable(f, "with data in the domain", older, newer)
		}
		if p.g == pmem2.GranularityByte {
			visible := span{8192, 5000}
			p.fill(3, visible)
			for _, f := range []Failure{{}, {Again: true}} {
				p.checkDurable(f, "with data in the caches, which are in the domain", older, newer, visible)
			}
		}
	})
}

// persistedIn is memory of an object, from an offset on, with data that was persisted.
func persistedIn(t *T, o Object, what string, offset, length uint64) *powered {
	m := t.MapAs(mapSpec{offset: offset, length: length}, t.Source(t.Open(o, platform.ORdwr)))
	t.Check(m.StoreGranularity() != pmem2.GranularityPage, "%s: the granularity is %v", what, m.StoreGranularity())
	p := &powered{storing: byGetters{m}, t: t, what: what, g: m.StoreGranularity(), o: o, b: m.Bytes()}
	p.fill(5, span{0, 1000})
	t.Must(p.Persist(p.b[:1000]), "%s: Persist(1000 bytes)", what)
	return p
}

// unsafeShutdownCorrupts expects data that was persisted to be lost when the hardware
// fails: of a device, of a file, of two files at once, of a part of a file.
func unsafeShutdownCorrupts(t *T) {
	t.Force("")
	s := span{0, 1000}
	device := persistedIn(t, makeDevice(t), "device DAX", 0, 0)
	file := persistedIn(t, makeDAXFile(t), "file with DAX", 0, 0)
	second := persistedIn(t, makeDAXFile(t), "second file with DAX", 0, 0)
	for _, p := range []*powered{device, file, second} {
		p.checkDurable(p.anyOrder(), "behind Persist", s)
		p.checkCanLose(Failure{Unsafe: true}, "and the hardware fails, behind Persist", s)
	}
	both := false
	t.PowerFails(Failure{Unsafe: true}, func(left [][]byte) bool {
		both = file.lost(left[0], []span{s}) != "" && second.lost(left[1], []span{s}) != ""
		return !both
	}, file, second)
	t.Check(both, "the hardware fails, and never two files lose data")
	t.Note("two files with DAX: the hardware fails", "both can lose data")

	o := makeDAXFile(t)
	part := persistedIn(t, o, "part of a file with DAX", powerSize/2, powerSize/4)
	lost, elsewhere := false, false
	whole := &powered{t: t, what: "file with DAX", o: o, b: make([]byte, powerSize)}
	copy(whole.b[powerSize/2:], part.b)
	t.PowerFails(Failure{Unsafe: true}, func(left [][]byte) bool {
		lost = lost || whole.lost(left[0], []span{{powerSize / 2, 1000}}) != ""
		elsewhere = elsewhere || whole.lost(left[0], []span{{0, powerSize / 2}, {powerSize / 2 * 3 / 2, powerSize / 4}}) != ""
		return true
	}, whole)
	t.Check(lost, "the hardware fails, and the part of a file that is mapped never loses data")
	t.Check(!elsewhere, "the hardware fails, and the part of a file that nobody wrote changes")
	t.Note("part of a file with DAX: the hardware fails", "it can lose data")
}

// bookkeepingOutlives stores what the detection needs, flushes it deeply and has the
// hardware fail: the count before is there, and tells from the count behind.
func bookkeepingOutlives(t *T) {
	t.Force("")
	for _, place := range powerPlaces[:2] {
		t.inTurn("place", place.name, func() {
			r := emu.Region{DIMMs: []emu.DIMM{{ID: "8680-00000021", DirtyShutdowns: 41}, {ID: "8680-00000022", DirtyShutdowns: 1}}}
			made := t.Env.DevDaxOn
			if place.needs[0] == NeedFSDax {
				made = t.Env.DAXFileOn
			}
			o := t.made(made(powerSize, r))
			p := persistedIn(t, o, place.name, 0, powerSize)
			src := t.Source(t.Open(o, platform.ORdwr))
			usc, err := src.DeviceUSC()
			t.Must(err, "DeviceUSC()")
			n, err := src.ReadDeviceID(nil)
			t.Must(err, "ReadDeviceID(nil)")
			id := make([]byte, n)
			_, err = src.ReadDeviceID(id)
			t.Must(err, "ReadDeviceID()")
			text := strconv.FormatUint(usc, 10) + " " + string(id)
			book := span{8192, len(text)}
			copy(book.of(p.b), text)
			t.Must(p.Persist(book.of(p.b)), "Persist(the bookkeeping)")
			p.checkCanLose(Failure{Unsafe: true}, "and the hardware fails, behind Persist of the bookkeeping", book)
			t.Must(p.DeepFlushRange(addressOf(p.b)+uintptr(book.off), uint64(book.n)), "DeepFlush(the bookkeeping)")
			p.checkDurable(Failure{Unsafe: true}, "and the hardware fails, behind DeepFlush of the bookkeeping", book)
			t.Check(strings.HasPrefix(string(book.of(p.b)), "42 "), "the bookkeeping is %q, want one of the count 42", text)
		})
	}
}
