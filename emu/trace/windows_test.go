package trace

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu/persist"
)

func (w Window) describe() string {
	end := fmt.Sprint(w.To)
	if w.Open {
		end += "…"
	}
	return fmt.Sprintf("%d:%#x+%#x %v %d-%s", w.Object, w.Off, w.Len, w.Risk, w.From, end)
}

func TestWindowsGolden(t *testing.T) {
	for _, x := range exampleLogs {
		var b strings.Builder
		for _, w := range x.log().Windows() {
			fmt.Fprintln(&b, w.describe())
		}
		golden(t, x.name+".windows", []byte(b.String()))
	}
}

// TestWindows has rows of one rule each. Events are numbered from 1.
func TestWindows(t *testing.T) {
	ev := func(k Kind, g int64, off, n uint64) Event {
		e := Event{Kind: k, G: g, Off: off, Len: n}
		if k.IsStore() {
			e.Data = make([]byte, n)
		}
		if k == Fence {
			e.Object = -1
		}
		return e
	}
	st := func(off uint64) Event { return ev(Store, 1, off, 8) }
	fence := func(g int64) Event { return ev(Fence, g, 0, 0) }
	futile := func(e Event) Event { e.NoEffect = true; return e }
	second := func(e Event) Event { e.Object = 1; return e }
	cached := func(e Event) Event { e.Object = 2; return e }
	for _, row := range []struct {
		name   string
		events []Event
		want   string
	}{
		{"nothing", nil, ""},
		{"flushed and fenced", []Event{st(0), ev(CLWB, 1, 0, 8), fence(1)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unfenced 2-3"},
		{"never flushed", []Event{st(0), fence(1)}, "0:0x0+0x40 unflushed 1-2…"},
		{"never fenced", []Event{st(0), ev(CLFLUSHOPT, 1, 0, 8)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unfenced 2-2…"},
		{"another's fence", []Event{st(0), ev(DCCVAP, 1, 0, 8), fence(2)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unfenced 2-3…"},
		{"flushed by another", []Event{st(0), ev(CLWB, 2, 0, 8), fence(1), fence(2)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unfenced 2-4"},
		{"stored after the flush", []Event{st(0), ev(CLWB, 1, 0, 8), st(8), fence(1), ev(CLWB, 1, 0, 8), fence(1)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unfenced 2-3, 0:0x0+0x40 unflushed 3-5, 0:0x0+0x40 unfenced 5-6"},
		{"flushed by two", []Event{st(0), ev(CLWB, 1, 0, 8), ev(CLWB, 2, 0, 8), fence(2)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unfenced 2-4"},
		{"CLFLUSH", []Event{st(0), ev(CLFLUSH, 1, 0, 8), st(0)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unflushed 3-3…"},
		{"no flush", []Event{st(0), ev(NoFlush, 1, 0, 8), fence(1)}, "0:0x0+0x40 unflushed 1-3…"},
		{"non-temporal", []Event{ev(StoreNT, 1, 0, 8), fence(2), fence(1)}, "0:0x0+0x40 unfenced 1-3"},
		{"non-temporal and CLFLUSH", []Event{ev(StoreNT, 1, 0, 8), ev(CLFLUSH, 1, 0, 8)}, "0:0x0+0x40 unfenced 1-2…"},
		{"non-temporal by two", []Event{ev(StoreNT, 1, 0, 8), ev(StoreNT, 2, 8, 8), fence(1), fence(2)}, "0:0x0+0x40 unfenced 1-4"},
		{"non-temporal by two to the same bytes", []Event{ev(StoreNT, 1, 0, 8), ev(StoreNT, 2, 0, 8), fence(1), fence(2)}, "0:0x0+0x40 unfenced 1-4"},
		{"both kinds", []Event{ev(StoreNT, 1, 0, 8), st(8), fence(1), ev(CLWB, 1, 0, 8), fence(1)}, "0:0x0+0x40 unfenced 1-2, 0:0x0+0x40 unflushed 2-4, 0:0x0+0x40 unfenced 4-5"},
		{"a change", []Event{ev(Change, 0, 0, 8), ev(CLWB, 1, 0, 1), fence(1)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unfenced 2-3"},
		{"two lines of one store", []Event{st(60), ev(CLWB, 1, 60, 8), fence(1)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unfenced 2-3, 0:0x40+0x40 unflushed 1-2, 0:0x40+0x40 unfenced 2-3"},
		{"many lines of one store", []Event{ev(Store, 1, 60, 200), ev(CLWB, 1, 60, 200), fence(1)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unfenced 2-3, 0:0x40+0xc0 unflushed 1-2, 0:0x40+0xc0 unfenced 2-3, 0:0x100+0x40 unflushed 1-2, 0:0x100+0x40 unfenced 2-3"},
		{"non-temporal over an ordinary one", []Event{st(8), ev(StoreNT, 1, 0, 64), fence(1)}, "0:0x0+0x40 unflushed 1-3"},
		{"ordinary over a non-temporal one", []Event{ev(StoreNT, 1, 8, 8), ev(Store, 2, 0, 16), ev(CLWB, 2, 0, 8), fence(2)}, "0:0x0+0x40 unfenced 1-2, 0:0x0+0x40 unflushed 2-3, 0:0x0+0x40 unfenced 3-4"},
		{"a change over a non-temporal one", []Event{ev(StoreNT, 1, 8, 8), ev(Change, 2, 0, 64), ev(CLWB, 2, 0, 8), fence(2)}, "0:0x0+0x40 unfenced 1-2, 0:0x0+0x40 unflushed 2-3, 0:0x0+0x40 unfenced 3-4…"},
		{"one flushed of two lines", []Event{st(60), ev(CLWB, 1, 60, 4), fence(1)}, "0:0x0+0x40 unflushed 1-2, 0:0x0+0x40 unfenced 2-3, 0:0x40+0x40 unflushed 1-3…"},
		{"a flush of more", []Event{st(64), ev(CLWB, 1, 0, 4096), fence(1)}, "0:0x40+0x40 unflushed 1-2, 0:0x40+0x40 unfenced 2-3"},
		{"msync", []Event{st(4090), ev(Msync, 1, 0, 1)}, "0:0xfc0+0x40 unflushed 1-2, 0:0x1000+0x40 unflushed 1-2…"},
		{"msync fences what it's of alone", []Event{st(0), second(st(0)), ev(CLWB, 1, 0, 8), second(ev(CLWB, 1, 0, 8)), ev(Msync, 1, 8192, 1)}, "0:0x0+0x40 unflushed 1-3, 0:0x0+0x40 unfenced 3-5, 1:0x0+0x40 unflushed 2-4, 1:0x0+0x40 unfenced 4-5…"},
		{"fsync", []Event{st(0), st(1 << 20), ev(Fsync, 1, 0, 0)}, "0:0x0+0x40 unflushed 1-3, 0:0x100000+0x40 unflushed 2-3"},
		{"fsync and another's non-temporal", []Event{ev(StoreNT, 2, 0, 8), ev(Fsync, 1, 0, 0)}, "0:0x0+0x40 unfenced 1-2…"},
		{"the page cache", []Event{cached(st(0)), cached(ev(CLWB, 1, 0, 8)), cached(ev(CLFLUSH, 1, 0, 8)), fence(1), cached(ev(Msync, 1, 0, 8))}, "2:0x0+0x200 unflushed 1-5"},
		{"non-temporal to the page cache", []Event{cached(ev(StoreNT, 1, 510, 8)), fence(1), cached(ev(Fsync, 1, 0, 0))}, "2:0x0+0x400 unflushed 1-3"},
		{"a fence is for all objects", []Event{st(0), second(st(0)), ev(CLWB, 1, 0, 8), second(ev(CLWB, 1, 0, 8)), fence(1)}, "0:0x0+0x40 unflushed 1-3, 0:0x0+0x40 unfenced 3-5, 1:0x0+0x40 unflushed 2-4, 1:0x0+0x40 unfenced 4-5"},
		{"without effect", []Event{st(0), futile(st(64)), futile(ev(CLWB, 1, 0, 8)), ev(CLWB, 1, 0, 8), futile(fence(1))}, "0:0x0+0x40 unflushed 1-4, 0:0x0+0x40 unfenced 4-5…"},
		{"bytes of none", []Event{ev(Store, 1, 0, 0), ev(DeepFlush, 1, 0, 8), ev(Map, 1, 0, 8)}, ""},
	} {
		l := &Log{Objects: []Object{{Unit: 64}, {}, {Unit: 512}}, Events: row.events}
		for i := range l.Events {
			l.Events[i].Seq = uint64(i + 1)
		}
		var got []string
		for _, w := range l.Windows() {
			got = append(got, w.describe())
		}
		if s := strings.Join(got, ", "); s != row.want {
			t.Errorf("%s: got\n%s\nwant\n%s", row.name, s, row.want)
		}
	}
}

// TestWindowsAreThoseOfTheModel compares with the persistence model: a line is in a window
// after an event if and only if something in it isn't durable for certain.
func TestWindowsAreThoseOfTheModel(t *testing.T) {
	seed := uint64(11)
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var atRisk, durable int
	for n := range 400 {
		unit, model := uint64(lineSize), persist.X86
		if n%2 == 1 {
			unit, model = sectorSize, persist.PageCache
		}
		l := &Log{Objects: []Object{{Size: 4096, Unit: unit}}}
		m := persist.New(model, nil)
		pending := map[uint64]string{} // by line: after which events it's at risk
		const size = 4 * sectorSize
		for i := range 60 {
			e := Event{Kind: Kind(1 + rnd.IntN(int(Fsync))), G: rnd.Int64N(3), Off: rnd.Uint64N(size - 200), Len: 1 + rnd.Uint64N(150), Seq: uint64(i)}
			if e.Kind == Change && n%3 > 0 { // a change and a non-temporal store of the same bytes: not in one log
				e.Kind = StoreNT
			}
			if e.Kind == StoreNT && n%3 == 0 {
				e.Kind = Change
			}
			if e.Kind == Fence || rnd.IntN(4) == 0 {
				e = Event{Kind: Fence, Object: -1, G: e.G, Seq: e.Seq}
			}
			if e.Kind.IsStore() {
				e.Data = make([]byte, e.Len)
				for j := range e.Data {
					e.Data[j] = byte(i + 1)
				}
			}
			l.Events = append(l.Events, e)
			switch e.Kind {
			case Store, Change:
				m.Store(e.Off, e.Data)
			case StoreNT:
				m.StoreNT(e.G, e.Off, e.Data)
			case CLWB, CLFLUSHOPT, DCCVAP:
				m.Flush(e.G, e.Off, e.Len)
			case CLFLUSH:
				m.CLFlush(e.G, e.Off, e.Len)
			case Fence:
				m.Fence(e.G)
			case Msync, Fsync:
				m.Sync(e.G, 0, 8192)
			}
			for off := uint64(0); off < size; off += unit {
				if m.Pending(off, unit) {
					pending[off] += fmt.Sprint(" ", i)
					atRisk++
				} else {
					durable++
				}
			}
		}
		got := map[uint64]string{}
		windows := l.Windows()
		for off := uint64(0); off < size; off += unit {
			for i := range l.Events {
				if slices.ContainsFunc(windows, func(w Window) bool {
					return w.Off <= off && off < w.Off+w.Len && w.From <= uint64(i) && (uint64(i) < w.To || w.Open)
				}) {
					got[off] += fmt.Sprint(" ", i)
				}
			}
			if got[off] != pending[off] {
				t.Fatalf("log %d, %v, line %#x: at risk after events\n%s, want\n%s\nof %d events", n, model, off, got[off], pending[off], len(l.Events))
			}
		}
	}
	if atRisk < 1000 || durable < 1000 {
		t.Errorf("%d lines at risk and %d durable: too few to tell", atRisk, durable)
	}
}

// TestWindowsOfMuch has stores and flushes of many lines, which cost no more than few.
func TestWindowsOfMuch(t *testing.T) {
	l := &Log{Objects: []Object{{Size: 1 << 40, Unit: 64}}}
	big := make([]byte, 1<<20)
	for i := range uint64(2000) {
		l.Events = append(l.Events,
			Event{Seq: 3 * i, Kind: Store, Off: i << 30, Len: 1 << 20, Data: big},
			Event{Seq: 3*i + 1, Kind: CLWB, Off: 0, Len: 1 << 41},
			Event{Seq: 3*i + 2, Kind: Fence, Object: -1})
	}
	if got := len(l.Windows()); got != 4000 {
		t.Errorf("got %d windows, want 4000", got)
	}
}
