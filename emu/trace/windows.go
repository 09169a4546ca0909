package trace

import (
	"cmp"
	"fmt"
	"slices"
)

// Risk is what a line lacks to be durable.
type Risk uint8

// What a line can lack.
const (
	// Unflushed: something was stored, or found changed, that nothing has flushed.
	Unflushed Risk = iota + 1
	// Unfenced: all of it is flushed or was stored non-temporally, and no fence of the
	// same goroutine has come since.
	Unfenced
)

// String returns "unflushed" or "unfenced".
func (r Risk) String() string {
	switch r {
	case Unflushed:
		return "unflushed"
	case Unfenced:
		return "unfenced"
	}
	return fmt.Sprintf("risk(%d)", uint8(r))
}

// Window is a time in which lines weren't durable.
type Window struct {
	Object int
	// Off and Len are in bytes: whole lines, or sectors, that have the same events.
	Off, Len uint64
	Risk     Risk
	// From and To are the events that began it and ended it. A window that follows
	// another begins at the event that ended that one.
	From, To uint64
	// Open: nothing ended it. To is the last event of the log.
	Open bool
}

// Windows returns when each line was at risk, in the order of objects, offsets and time: from
// a store or a change on until it was certainly durable. What isn't in a window hasn't been
// written since the log began, or is durable.
//
// A flush covers what was stored in its lines before it, by whomever, and counts from
// the next fence of its own goroutine on. CLFLUSH counts at once, but not for
// non-temporal stores: they wait for the fence of theirs. Msync and fsync make what
// they reach durable; at cache lines (Unit 64) they're a flush and a fence, so what another
// goroutine stored non-temporally waits on. Sectors of the page cache (Unit 512) become
// durable by them alone. NoFlush and deep flush change nothing here, nor do events with
// NoEffect or those that no machine records. A store that's durable makes earlier ones
// to the same bytes so; it counts even if it stores what was there. A change begins where
// it was found: when it was stored, nobody saw.
func (l *Log) Windows() []Window {
	pieces := make([][]span, len(l.Objects))
	covered, cuts := make([][]span, len(l.Objects)), make([][]span, len(l.Objects))
	for i := range l.Events {
		e := &l.Events[i]
		s := l.reach(e)
		switch {
		case s.from == s.to || e.NoEffect:
		case e.Kind.IsStore():
			covered[e.Object] = append(covered[e.Object], s)
			cuts[e.Object] = append(cuts[e.Object], l.inner(e))
		case e.Kind.IsFlush() || e.Kind == Msync:
			cuts[e.Object] = append(cuts[e.Object], s)
		}
	}
	for i := range pieces {
		pieces[i] = cut(covered[i], cuts[i])
	}
	found := l.follow(pieces)
	windows := make([]Window, len(found))
	for i, w := range found {
		p := pieces[w.line.object][w.line.piece]
		windows[i] = Window{
			Object: w.line.object, Off: p.from, Len: p.to - p.from, Risk: w.risk,
			From: l.Events[w.from].Seq, To: l.Events[w.to].Seq, Open: w.open,
		}
	}
	return windows
}

// A pieceWindow is a window by the index of a piece and of events.
type pieceWindow struct {
	line     lineID
	risk     Risk
	from, to int
	open     bool
}

type lineID struct{ object, piece int }

// A line is the state of one that isn't durable. Moments are the index of an event, plus 1.
type line struct {
	id      lineID
	writes  []write       // not durable, in their order
	flushed int           // ordinary stores before it are flushed
	by      map[int64]int // goroutines whose fence makes durable what was before a moment
	risk    Risk
	since   int
}

// A write is what is left of a store: bytes that no later one has made irrelevant.
type write struct {
	moment int
	bytes  uint64 // a bit for each of the line
	kind   Kind   // StoreNT, Change, or Store for all others
	g      int64  // of a non-temporal one
}

type follower struct {
	log    *Log
	pieces [][]span
	live   []map[int]*line // by object and piece: those at risk
	// waiting are the lines that the next fence of a goroutine may make durable.
	waiting map[int64]map[*line]bool
	windows []pieceWindow
}

// follow returns the windows of pieces of the objects, in order.
func (l *Log) follow(pieces [][]span) []pieceWindow {
	f := &follower{log: l, pieces: pieces, live: make([]map[int]*line, len(l.Objects)), waiting: map[int64]map[*line]bool{}}
	for i := range f.live {
		f.live[i] = map[int]*line{}
	}
	for i := range l.Events {
		if !l.Events[i].NoEffect {
			f.step(i)
		}
	}
	for _, lines := range f.live {
		for _, x := range lines {
			f.windows = append(f.windows, pieceWindow{x.id, x.risk, x.since, len(l.Events) - 1, true})
		}
	}
	slices.SortFunc(f.windows, func(a, b pieceWindow) int {
		return cmp.Or(a.line.object-b.line.object, a.line.piece-b.line.piece, a.from-b.from)
	})
	return f.windows
}

func (f *follower) step(i int) {
	e := &f.log.Events[i]
	if e.Kind == Fence {
		f.fence(e.G, -1, i)
		return
	}
	s := f.log.reach(e)
	if s.from == s.to {
		return
	}
	cached := f.log.Objects[e.Object].unit() == sectorSize
	switch {
	case e.Kind.IsStore():
		f.store(e, s, i, e.Kind == StoreNT && !cached)
	case e.Kind == Msync || e.Kind == Fsync:
		f.each(e.Object, s, func(x *line) {
			if cached {
				x.writes = nil
				f.judge(x, i)
			} else {
				f.flush(x, e.G, i)
			}
		})
		if !cached {
			f.fence(e.G, e.Object, i)
		}
	case e.Kind == CLFLUSH && !cached:
		f.each(e.Object, s, func(x *line) {
			x.harden(i, func(write) bool { return false })
			f.judge(x, i)
		})
	case e.Kind.IsFlush() && e.Kind != NoFlush && !cached:
		f.each(e.Object, s, func(x *line) {
			f.flush(x, e.G, i)
			f.judge(x, i)
		})
	}
}

func (f *follower) store(e *Event, s span, i int, nt bool) {
	first, end := within(f.pieces[e.Object], s)
	for p := first; p < end; p++ {
		x := f.live[e.Object][p]
		if x == nil {
			x = &line{id: lineID{e.Object, p}}
			f.live[e.Object][p] = x
		}
		w := write{i + 1, bytesOf(e, f.pieces[e.Object][p]), Store, 0}
		switch {
		case nt:
			w.kind, w.g = StoreNT, e.G
			f.await(x, e.G)
		case e.Kind == Change:
			w.kind = Change
		}
		// The same bytes of an earlier store are at risk no longer than these.
		x.drop(func(old write) uint64 {
			if nt && old.kind != StoreNT {
				return 0
			}
			return w.covers(old)
		})
		x.writes = append(x.writes, w)
		f.judge(x, i)
	}
}

// bytesOf is which bytes of the line p a store holds: of more lines, and of a sector, all.
func bytesOf(e *Event, p span) uint64 {
	if p.to-p.from != lineSize {
		return ^uint64(0)
	}
	from, to := max(e.Off, p.from)-p.from, min(e.Off+e.Len, p.to)-p.from
	return ^uint64(0) >> (lineSize - (to - from)) << from
}

// covers is which bytes of an earlier write w makes irrelevant once it's durable: of a
// change it isn't known which bytes were stored, so that it's none of a non-temporal one.
func (w write) covers(old write) uint64 {
	if w.kind == Change && old.kind == StoreNT {
		return 0
	}
	return w.bytes
}

// drop takes bytes from the writes and forgets those without any.
func (x *line) drop(bytes func(write) uint64) {
	kept := x.writes[:0]
	for _, w := range x.writes {
		if w.bytes &^= bytes(w); w.bytes != 0 {
			kept = append(kept, w)
		}
	}
	x.writes = kept
}

// harden makes durable the ordinary stores up to a moment and the non-temporal ones that
// are named, and with them what was stored to the same bytes before.
func (x *line) harden(upTo int, named func(write) bool) {
	var over, overNT uint64 // what later durable stores cover of ordinary and of other ones
	for i := len(x.writes) - 1; i >= 0; i-- {
		w := &x.writes[i]
		hard := w.moment <= upTo
		if w.kind == StoreNT {
			hard = named(*w)
			w.bytes &^= overNT
		} else {
			w.bytes &^= over
		}
		if hard {
			over |= w.bytes
			overNT |= w.covers(write{kind: StoreNT})
			w.bytes = 0
		}
	}
	x.drop(func(write) uint64 { return 0 })
}

// flush notes a flush of x that the next fence of goroutine g completes.
func (f *follower) flush(x *line, g int64, i int) {
	if x.by == nil {
		x.by = map[int64]int{}
	}
	x.by[g], x.flushed = i, i
	f.await(x, g)
}

func (f *follower) await(x *line, g int64) {
	if f.waiting[g] == nil {
		f.waiting[g] = map[*line]bool{}
	}
	f.waiting[g][x] = true
}

// fence completes what goroutine g has flushed and stored non-temporally, of one object
// or, at -1, of all.
func (f *follower) fence(g int64, object, i int) {
	for x := range f.waiting[g] {
		if object >= 0 && x.id.object != object {
			continue
		}
		delete(f.waiting[g], x)
		x.harden(x.by[g], func(w write) bool { return w.g == g })
		delete(x.by, g)
		f.judge(x, i)
	}
}

// judge says what x lacks after event i, and ends and begins windows.
func (f *follower) judge(x *line, i int) {
	var risk Risk
	for _, w := range x.writes {
		if risk = max(risk, Unfenced); w.kind != StoreNT && w.moment > x.flushed {
			risk = Unflushed
			break
		}
	}
	if risk == x.risk {
		return
	}
	if x.risk != 0 {
		f.windows = append(f.windows, pieceWindow{x.id, x.risk, x.since, i, false})
	}
	x.risk, x.since = risk, i
	if risk == 0 {
		delete(f.live[x.id.object], x.id.piece)
	}
}

// each calls do for the lines at risk in s.
func (f *follower) each(object int, s span, do func(*line)) {
	first, end := within(f.pieces[object], s)
	live := f.live[object]
	if end-first > len(live) {
		for p, x := range live {
			if first <= p && p < end {
				do(x)
			}
		}
		return
	}
	for p := first; p < end; p++ {
		if x := live[p]; x != nil {
			do(x)
		}
	}
}
