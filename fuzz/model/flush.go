package model

import (
	"syscall"

	"pmemlab/pmem2"
)

// FlushOp is a way to make stores durable.
type FlushOp int

// The ways: pmem2_get_flush_fn(3), pmem2_get_persist_fn(3), pmem2_get_drain_fn(3) and
// pmem2_deep_flush(3), and their likes of libpmemset.
const (
	CallFlush FlushOp = iota
	CallPersist
	CallDrain
	CallDeepFlush
)

// Mapped is a map of the process.
type Mapped struct {
	Taken       Extent // addresses; they may end with the last one that there is
	Size        uint64 // as pmem2_map_get_size(3) tells it, of Taken from the start
	Kind        Kind
	Granularity pmem2.Granularity
	Set         int // of which it is a part; 0: of none
}

// Region is what sysfs tells of the region of a device DAX.
type Region struct {
	Missing bool
	Find    syscall.Errno // of looking for it
	Attr    Attr          // deep_flush
	Answer  syscall.Errno // of writing that
}

// FlushRequest is a call that makes stores durable.
type FlushRequest struct {
	Op    FlushOp
	Maps  []Mapped // all there are, by address; no two share one
	Of    Mapped   // whose function is called; of a set it is the first part
	OfSet int      // the set whose function is called; 0: it is that of the map
	Gone  bool     // the map has been deleted
	Range Extent   // may wrap only for a deep flush
	// Page and Line are how many bytes are synced and flushed together.
	Page, Line uint64
	// The n-th call of msync fails with an errno; 0: none does.
	FailingSync int
	SyncErrno   syscall.Errno
	Region      Region
}

// Fencing is whether a fence follows.
type Fencing int

// A fence must not be there, has to be, or makes no difference.
const (
	NotFenced Fencing = iota
	Fenced
	MayFence
)

// Flushed is what a call must do.
type Flushed struct {
	Result   Result
	Lines    []Extent // flushed by an instruction: whole lines
	Synced   []Extent // by msync, one call each: whole pages
	Fence    Fencing
	DeepAttr bool // deep_flush of the region is written
	// Unsaid: what else was done when this went wrong no page says.
	Unsaid bool
}

// Flushes is what the call must do.
func Flushes(q FlushRequest) (f Flushed) {
	if q.Gone {
		return Flushed{Result: Fails(pmem2.ErrMappingNotFound)}
	}
	switch {
	case q.Op == CallDeepFlush && q.OfSet != 0:
		q.deepFlushSet(&f)
	case q.Op == CallDeepFlush:
		q.deepFlush(&f, q.Of, q.Range)
	default:
		q.flush(&f)
	}
	return f
}

// flush is flush, drain, and both.
func (q *FlushRequest) flush(f *Flushed) {
	g := q.Of.Granularity
	if q.Op != CallFlush {
		f.Fence = Fenced // at BYTE, too, it orders stores
	}
	if g == pmem2.GranularityPage {
		f.Fence = MayFence
	}
	if q.Op == CallDrain || q.Range.Size == 0 {
		return
	}
	switch g {
	case pmem2.GranularityCacheLine:
		f.Lines = append(f.Lines, q.Range.Rounded(q.Line))
	case pmem2.GranularityPage:
		for _, m := range q.Maps {
			if part := m.Taken.Common(q.Range); part.Size > 0 && !q.sync(f, part) {
				return
			}
		}
	}
}

// sync is msync of a range.
func (q *FlushRequest) sync(f *Flushed, part Extent) bool {
	f.Synced = append(f.Synced, part.Rounded(q.Page))
	if len(f.Synced) == q.FailingSync {
		f.Result = FailsWith(q.SyncErrno)
	}
	return f.Result == OK
}

// deepFlush is the deep flush of a range of a map.
func (q *FlushRequest) deepFlush(f *Flushed, m Mapped, r Extent) {
	off := r.Start - m.Taken.Start
	switch {
	case off > m.Size || r.Size > m.Size-off: // before the map off wraps
		f.Result = Fails(pmem2.ErrDeepFlushRange)
	case m.Kind == Anonymous:
		f.Result = Fails(pmem2.ErrNoSupp)
	case r.Size == 0:
		f.Fence = MayFence
	case m.Kind == File:
		if f.Fence == NotFenced {
			f.Fence = MayFence
		}
		q.sync(f, r)
	default:
		f.Lines, f.Fence = append(f.Lines, r.Rounded(q.Line)), Fenced
		q.tellRegion(f)
	}
}

// tellRegion tells the region of a device DAX to bring all to the media.
func (q *FlushRequest) tellRegion(f *Flushed) {
	switch r := q.Region; {
	case r.Find != 0:
		f.Result = FailsWith(r.Find)
	case r.Missing:
		f.Result = Fails(pmem2.ErrDaxRegionNotFound)
	default:
		told, result := DeepFlush(r.Attr, r.Answer)
		f.DeepAttr, f.Result = f.DeepAttr || told, result
	}
	f.Unsaid = f.Result != OK
}

// deepFlushSet is pmemset_deep_flush(3): what of each part lies in the range, until one fails.
func (q *FlushRequest) deepFlushSet(f *Flushed) {
	f.Fence = MayFence
	r := q.Range
	if r.Size > 0 && r.Start+(r.Size-1) < r.Start {
		r.Size = -r.Start // there is nothing behind the last address
	}
	for _, m := range q.Maps {
		visible := Extent{m.Taken.Start, m.Size}
		if part := visible.Common(r); m.Set == q.OfSet && part.Size > 0 {
			if q.deepFlush(f, m, part); f.Result != OK {
				return
			}
		}
	}
}

// Durable says whether a byte at addr that was stored before the call is durable after it, on
// a map of granularity g.
func (f *Flushed) Durable(addr uint64, g pmem2.Granularity) bool {
	for _, e := range f.Synced {
		if e.Holds(addr) {
			return f.Result == OK
		}
	}
	for _, e := range f.Lines {
		if e.Holds(addr) && f.Fence == Fenced {
			return true
		}
	}
	return g == pmem2.GranularityByte
}

// Common is what two extents share; either may end with the last address, but not behind.
func (e Extent) Common(o Extent) Extent {
	if e.Size == 0 || o.Size == 0 {
		return Extent{}
	}
	first := max(e.Start, o.Start)
	last := min(e.Start+(e.Size-1), o.Start+(o.Size-1))
	if first > last {
		return Extent{}
	}
	return Extent{first, last - first + 1}
}

// Rounded are the units that hold a byte of e, which isn't empty; a unit is a power of two.
func (e Extent) Rounded(unit uint64) Extent {
	first := e.Start &^ (unit - 1)
	last := (e.Start + (e.Size - 1)) | (unit - 1)
	return Extent{first, last - first + 1}
}

// Holds says whether addr lies in e.
func (e Extent) Holds(addr uint64) bool { return addr-e.Start < e.Size }
