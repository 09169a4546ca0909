package conformance

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unsafe" // the cache operations take pointers; here they are numbers to be noted

	"pmemlab/conformance/report"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// eventKind is what a machine was asked to do with stores.
type eventKind string

const (
	evFlush  eventKind = "flush"
	evFence  eventKind = "fence"
	evMsync  eventKind = "msync"
	evCopy   eventKind = "copy"
	evCopyNT eventKind = "copy, non-temporal"
	evSet    eventKind = "set"
	evSetNT  eventKind = "set, non-temporal"
)

// event is one thing that a machine was asked for.
type event struct {
	Kind eventKind
	Addr uintptr // a fence has none
	N    uint64
	By   string // the instruction of a flush
	// Granularity is that of the operations; msync has none.
	Granularity pmem2.Granularity
}

func (e event) String() string {
	if e.Kind == evFence {
		return string(e.Kind)
	}
	s := fmt.Sprintf("%s of %d bytes at %#x", e.Kind, e.N, e.Addr)
	if e.By != "" {
		s += " by " + e.By
	}
	return s
}

// trace is a machine that writes down what it is asked to do with stores: its cache
// operations and msync. Then it does so. Persist counts as a flush and a fence; a
// flush counts only where there is an instruction for it, since where there is none
// nothing is executed. Which instructions the routines of a machine really execute is
// checked by the tests of package platform, under an instruction tracer.
type trace struct {
	platform.Platform
	ops [pmem2.GranularityPage + 1]*platform.CacheOps

	mu     sync.Mutex
	events []event

	// moment, if there is one, is called before each operation that is noted, by its
	// goroutine; a flush and the fence behind it are two operations then.
	moment func()
}

// Trace puts the library of the case on a machine that writes down what it is asked
// for. Only what is made from here on is traced.
func (t *T) Trace() *trace {
	tr := newTrace(t.Machine())
	t.Lib = t.subject.On(tr)
	return tr
}

func newTrace(p platform.Platform) *trace {
	tr := &trace{Platform: p}
	for g := range tr.ops {
		tr.ops[g] = tr.traced(platform.Granularity(g))
	}
	return tr
}

// traced are the operations of one granularity with a note before each.
func (tr *trace) traced(g platform.Granularity) *platform.CacheOps {
	real := tr.Platform.CacheOps(g)
	if real == nil {
		return nil
	}
	note := func(kind eventKind, p unsafe.Pointer, n uintptr) {
		by := ""
		if kind == evFlush {
			if by = real.Instruction; by == "" || n == 0 {
				return
			}
		}
		tr.add(event{Kind: kind, Addr: uintptr(p), N: uint64(n), By: by, Granularity: g})
		if tr.moment != nil {
			tr.moment()
		}
	}
	ops := *real
	ops.Flush = func(p unsafe.Pointer, n uintptr) {
		note(evFlush, p, n)
		real.Flush(p, n)
	}
	ops.Fence = func() {
		note(evFence, nil, 0)
		real.Fence()
	}
	ops.Persist = func(p unsafe.Pointer, n uintptr) {
		note(evFlush, p, n)
		if tr.moment != nil {
			real.Flush(p, n)
			note(evFence, nil, 0)
			real.Fence()
			return
		}
		note(evFence, nil, 0)
		real.Persist(p, n)
	}
	ops.Copy = func(dst, src unsafe.Pointer, n uintptr) {
		note(evCopy, dst, n)
		real.Copy(dst, src, n)
	}
	ops.CopyNT = func(dst, src unsafe.Pointer, n uintptr) {
		note(evCopyNT, dst, n)
		real.CopyNT(dst, src, n)
	}
	ops.Set = func(dst unsafe.Pointer, c byte, n uintptr) {
		note(evSet, dst, n)
		real.Set(dst, c, n)
	}
	ops.SetNT = func(dst unsafe.Pointer, c byte, n uintptr) {
		note(evSetNT, dst, n)
		real.SetNT(dst, c, n)
	}
	return &ops
}

func (tr *trace) add(e event) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.events = append(tr.events, e)
}

// CacheOps is platform.CPU.CacheOps.
func (tr *trace) CacheOps(g platform.Granularity) *platform.CacheOps {
	if !g.Valid() {
		return nil
	}
	return tr.ops[g]
}

// Msync is platform.Memory.Msync. One without MS_SYNC makes nothing durable and
// isn't noted.
func (tr *trace) Msync(addr uintptr, length uint64, flags int) error {
	if flags == platform.MsSync {
		tr.add(event{Kind: evMsync, Addr: addr, N: length})
		if tr.moment != nil {
			tr.moment()
		}
	}
	return tr.Platform.Msync(addr, length, flags)
}

// unseen says, if the library is one whose instructions nobody sees, that what the case
// wants of them isn't checked. The case goes on with what is seen.
func (t *T) unseen() bool {
	if !t.foreign() {
		return false
	}
	t.conclude(report.NotSupported, "the library "+t.subject.Name()+" flushes, fences and stores by itself: its instructions aren't seen")
	return true
}

// take returns what was written down since it was last asked.
func (tr *trace) take() events {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	taken := tr.events
	tr.events = nil
	return taken
}

// events are what one call asked the machine for.
type events []event

func (es events) String() string {
	if len(es) == 0 {
		return "nothing"
	}
	texts := make([]string, len(es))
	for i, e := range es {
		texts[i] = e.String()
	}
	return strings.Join(texts, ", ")
}

// of are the events of some kinds, in order.
func (es events) of(kinds ...eventKind) (found events) {
	for _, e := range es {
		if slices.Contains(kinds, e.Kind) {
			found = append(found, e)
		}
	}
	return found
}

// kinds are those of the events, in order.
func (es events) kinds() []eventKind {
	all := []eventKind{}
	for _, e := range es {
		all = append(all, e.Kind)
	}
	return all
}

// units are the multiples of unit, an address each, that hold a byte of the events'
// ranges: the lines that were flushed, the pages that were synced.
func (es events) units(unit uintptr) []uintptr {
	var all []uintptr
	for _, e := range es {
		all = append(all, unitsOf(e.Addr, e.N, unit)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// unitsOf are the multiples of unit that hold a byte of [addr, addr+n).
func unitsOf(addr uintptr, n uint64, unit uintptr) (all []uintptr) {
	if n == 0 {
		return nil
	}
	for at := addr &^ (unit - 1); at <= addr+uintptr(n-1); at += unit {
		all = append(all, at)
	}
	return all
}

// cacheLine is the unit of flushes. On arm64 lines can be longer; what is flushed is
// then still whole units of these 64 bytes.
const cacheLine = 64

// checkEvents expects a call to have asked for events of these kinds, in this order,
// and for nothing else.
func checkEvents(t *T, got events, call string, want ...eventKind) {
	isSync := func(k eventKind) bool { return k == evMsync }
	if slices.ContainsFunc(want, func(k eventKind) bool { return !isSync(k) }) && t.unseen() {
		want = slices.DeleteFunc(want, func(k eventKind) bool { return !isSync(k) })
	}
	if !slices.Equal(got.kinds(), append([]eventKind{}, want...)) {
		t.Failf("%s: the machine was asked for %v, want %v", call, got, want)
	}
}

// checkLines expects exactly those lines to be in the events that hold a byte of b.
func checkLines(t *T, got events, b []byte, call string) {
	if t.unseen() {
		return
	}
	want := unitsOf(addressOf(b), uint64(len(b)), cacheLine)
	if have := got.units(cacheLine); !slices.Equal(have, want) {
		t.Failf("%s of %d bytes at %#x: reached are the lines at %#x, want those at %#x (%v)",
			call, len(b), addressOf(b), have, want, got)
	}
}

// addressOf is where a slice begins.
func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// isNilFunction reports whether f, a function of any type, is nil.
func isNilFunction(f any) bool {
	v := reflect.ValueOf(f)
	return !v.IsValid() || v.IsNil()
}
