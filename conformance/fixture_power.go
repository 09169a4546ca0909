package conformance

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// What cases about power failures work with: memory of every kind that can be lost, and
// what a failure leaves of it.

// powerPlace is a kind of memory.
type powerPlace struct {
	name  string
	g     pmem2.Granularity
	needs []Need
	make  func(t *T) Object
}

// powerSize is how many bytes of an object are mapped; a device has one with its
// alignment.
const powerSize = daxAlign

func makeDevice(t *T) Object  { return t.made(t.Env.DevDax(powerSize, daxAlign)) }
func makeDAXFile(t *T) Object { return t.made(t.Env.DAXFile(powerSize)) }
func makeFile(t *T) Object    { return t.made(t.Env.File(powerSize)) }

var powerPlaces = []powerPlace{
	{"device DAX", pmem2.GranularityCacheLine, []Need{NeedDevDax}, makeDevice},
	{"file with DAX", pmem2.GranularityCacheLine, []Need{NeedFSDax}, makeDAXFile},
	{"file without DAX", pmem2.GranularityPage, []Need{NeedFile}, makeFile},
	{"device DAX, eADR", pmem2.GranularityByte, []Need{NeedDevDax, NeedEADR}, makeDevice},
	{"file with DAX, eADR", pmem2.GranularityByte, []Need{NeedFSDax, NeedEADR}, makeDAXFile},
}

// storing is what makes stores durable: a map, or a set.
type storing interface {
	Persist(b []byte) error
	Flush(b []byte) error
	Drain() error
	Memmove(dst, src []byte, flags pmem2.MemFlags) error
	Memcpy(dst, src []byte, flags pmem2.MemFlags) error
	Memset(dst []byte, c byte, flags pmem2.MemFlags) error
	DeepFlushRange(addr uintptr, n uint64) error
}

// byGetters is a map by the functions that its getters return.
type byGetters struct{ Map }

func (m byGetters) Persist(b []byte) error { return m.PersistFunc()(b) }
func (m byGetters) Flush(b []byte) error   { return m.FlushFunc()(b) }
func (m byGetters) Drain() error           { return m.DrainFunc()() }
func (m byGetters) Memmove(dst, src []byte, flags pmem2.MemFlags) error {
	return m.MemmoveFunc()(dst, src, flags)
}
func (m byGetters) Memcpy(dst, src []byte, flags pmem2.MemFlags) error {
	return m.MemcpyFunc()(dst, src, flags)
}
func (m byGetters) Memset(dst []byte, c byte, flags pmem2.MemFlags) error {
	return m.MemsetFunc()(dst, c, flags)
}

// powered is memory that a power failure leaves something of: a map, or a part of a
// set. It holds zeroes when a case gets it, and nothing of it was made durable.
type powered struct {
	storing
	t    *T
	what string // "device DAX, CACHE_LINE"
	g    pmem2.Granularity
	o    Object
	b    []byte // from the beginning of the object
	tr   *trace
	// another is more memory at the same place, of an object of its own, that the same
	// calls are for.
	another func() *powered
}

// powerMemory calls f with memory at each place that the target has.
type powerMemory func(t *T, f func(p *powered))

// powerMaps are maps of libpmem2.
func powerMaps(t *T, f func(p *powered)) {
	eachPowerPlace(t, func(tr *trace, place powerPlace) {
		var made func() *powered
		made = func() *powered {
			o := place.make(t)
			m := t.MapAs(mapSpec{}, t.Source(t.Open(o, platform.ORdwr)))
			t.Check(m.StoreGranularity() == place.g, "%s: the granularity is %v, want %v", place.name, m.StoreGranularity(), place.g)
			return &powered{storing: byGetters{m}, t: t, what: place.name, g: place.g, o: o, b: m.Bytes(), tr: tr, another: made}
		}
		f(made())
	})
}

// powerParts are parts of sets of libpmemset, of each generation.
func powerParts(t *T, f func(p *powered)) {
	t.EachGeneration(func(g Generation) {
		eachPowerPlace(t, func(tr *trace, place powerPlace) {
			set := t.Set()
			t.Coalesce(set, pmemset.CoalescingNone)
			var made func() *powered
			made = func() *powered {
				o := place.make(t)
				d := t.SetMap(g, set, t.SetSource(o.Path()), 0, powerSize)
				checkSetGranularity(t, set, place.g)
				return &powered{storing: set, t: t, what: place.name, g: place.g, o: o, b: d.Bytes(), tr: tr, another: made}
			}
			f(made())
		})
	})
}

// eachPowerPlace calls f at each place that the target has. What f makes is gone before
// the next.
func eachPowerPlace(t *T, f func(tr *trace, place powerPlace)) {
	t.Force("")
	seen := 0
	for _, place := range powerPlaces {
		if slices.ContainsFunc(place.needs, func(n Need) bool { return lacks(t.target, t.variant, n) != "" }) {
			continue
		}
		seen++
		t.inTurn("place", place.name, func() {
			lib := t.Lib
			t.Cleanup(func() { t.Lib = lib })
			if slices.Contains(place.needs, NeedEADR) {
				t.suite(t.Env.SetEADR(true), "switch eADR on")
				t.Cleanup(func() { _ = t.Env.SetEADR(false) })
			}
			f(t.Trace(), place)
		})
	}
	if seen == 0 {
		t.NotSupportedf("there is no memory that outlives a power failure")
	}
}

// PowerFails shows what a power failure now could leave of the memory, nil where a file is
// missing or too short, until look returns false. all says that it's everything that
// could be left.
func (t *T) PowerFails(f Failure, look func(left [][]byte) bool, memory ...*powered) (all bool) {
	power, ok := t.Env.(PowerFailure)
	if !ok {
		t.Brokenf("the target has the need %q, and its Env no PowerFails", NeedCrash)
	}
	var objects []Object
	for _, p := range memory {
		objects = append(objects, p.o)
	}
	states, all, err := power.PowerFails(f, objects...)
	t.suite(err, "power failure")
	shown := 0
	for contents, err := range states {
		t.suite(err, "power failure")
		left := make([][]byte, len(memory))
		for i, p := range memory {
			if len(contents[i]) >= len(p.b) {
				left[i] = contents[i][:len(p.b)]
			}
		}
		shown++
		if !look(left) {
			break
		}
	}
	if shown == 0 {
		t.Brokenf("the power fails, and no state is left")
	}
	return all
}

// span is n bytes of the memory, from off on.
type span struct{ off, n int }

func (s span) of(b []byte) []byte { return b[s.off : s.off+s.n : s.off+s.n] }

func (s span) String() string { return fmt.Sprintf("%d bytes at %d", s.n, s.off) }

func spansText(spans []span) string {
	var texts []string
	for _, s := range spans {
		texts = append(texts, s.String())
	}
	return strings.Join(texts, ", ")
}

// fill stores new content into spans, as a program does; it differs from zero everywhere.
func (p *powered) fill(seed byte, spans ...span) {
	for _, s := range spans {
		copy(s.of(p.b), pattern(uint64(s.n), seed))
	}
}

// anyOrder is a failure that can come amid stores of any order. With eADR an order that
// nobody saw says nothing: which stores are durable is which are visible.
func (p *powered) anyOrder() Failure { return Failure{Possible: p.g != pmem2.GranularityByte} }

// checkDurable expects spans to outlive every failure with what they hold now.
func (p *powered) checkDurable(f Failure, when string, spans ...span) {
	wrong := ""
	p.t.PowerFails(f, func(left [][]byte) bool {
		wrong = p.lost(left[0], spans)
		return wrong == ""
	}, p)
	if wrong != "" {
		p.t.Failf("%s: the power fails %s, and %s", p.what, when, wrong)
	}
	p.t.Note(fmt.Sprintf("%s: the power fails %s", p.what, when), "of %s nothing is lost", spansText(spans))
}

// lost says what of the spans isn't in what is left, or "".
func (p *powered) lost(left []byte, spans []span) string {
	if left == nil {
		return "the file is missing or too short"
	}
	for _, s := range spans {
		was, is := s.of(p.b), s.of(left)
		for i := range was {
			if was[i] != is[i] {
				return fmt.Sprintf("of the %v byte %d is %#x, want %#x", s, s.off+i, is[i], was[i])
			}
		}
	}
	return ""
}

// checkCanLose expects a failure that loses a byte of the span.
func (p *powered) checkCanLose(f Failure, when string, s span) {
	found := false
	all := p.t.PowerFails(f, func(left [][]byte) bool {
		found = p.lost(left[0], []span{s}) != ""
		return !found
	}, p)
	p.found(found, all || f.Unsafe, "%s: the power fails %s, and of the %v nothing can be lost", p.what, when, s)
	p.t.Note(fmt.Sprintf("%s: the power fails %s", p.what, when), "of the %v something can be lost", s)
}

// found is about a state that is wanted. If not all states were seen it's no fault that
// none was it.
func (p *powered) found(found, all bool, format string, args ...any) {
	if !found && !all {
		p.t.NotSupportedf("not every state that a power failure can leave is known here: "+format, args...)
	}
	p.t.Check(found, format, args...)
}

// atEachMoment makes a call and has the power fail before each operation of it, and behind
// the last. look says what is wrong with what is left, or "".
func (p *powered) atEachMoment(f Failure, what string, call func() error, look func(left [][]byte) string, memory ...*powered) (all bool) {
	all = true
	wrong := ""
	failure := func() {
		if wrong != "" {
			return
		}
		every := p.t.PowerFails(f, func(left [][]byte) bool {
			wrong = look(left)
			return wrong == ""
		}, append([]*powered{p}, memory...)...)
		all = all && every
	}
	p.tr.moment = failure
	err := call()
	p.tr.moment = nil
	p.t.mustQuietly(err, "%s: %s", p.what, what)
	failure()
	if wrong != "" {
		p.t.Failf("%s: the power fails amid or behind %s, and %s", p.what, what, wrong)
	}
	return all
}
