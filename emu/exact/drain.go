package exact

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// Kind is what a [Record] is.
type Kind uint8

// The kinds of records. The numbers are the overlay's.
const (
	// Scalar is a store of a variable that isn't a struct or an array of several: its size
	// isn't known.
	Scalar Kind = iota + 1
	// Block is a store of a range whose length is known: an assignment of a struct or an
	// array, copy, append, clear of a slice, or a coalesced scalar.
	Block
	// Atomic is an operation of sync/atomic that stored something.
	Atomic

	ticket
)

// String returns the kind's name: "scalar".
func (k Kind) String() string {
	switch k {
	case Scalar:
		return "scalar"
	case Block:
		return "block"
	case Atomic:
		return "atomic"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Record is one store.
type Record struct {
	// Seq is its number in the sequence of [Ticket]; some numbers are left out.
	Seq  uint64
	G    int64 // the goroutine
	Kind Kind
	Addr uintptr
	// Size is how many bytes were stored; 0: that's unknown, Data ends with the last
	// byte that changed, or after one byte.
	Size uint64
	// Data is what was stored, from Addr on; nil: it couldn't be read, as the memory was
	// gone or bad, or there was no memory to keep it. It may be kept.
	Data []byte
	// Late: a Drain had told the store already, with its number and the old content, as
	// the goroutine stood right before the instruction. Now it's done. The number is
	// that of the moment when this was noticed, before the goroutine's next store, atomic
	// operation, release of a lock or ticket.
	Late bool
	// PCs are the return addresses of the calls that led to the store, the innermost
	// first, zeros after the last: for [runtime.CallersFrames].
	PCs [4]uintptr
}

// entry is a slot with what didn't fit in it.
type entry struct {
	slot
	data []byte
	// limit is how many bytes of a scalar's window may be its own.
	limit   int
	dropped bool // it's part of a later one
	joined  []byte
}

var records struct {
	draining sync.Mutex // held while Drain calls back

	mu    sync.Mutex
	all   []entry // collected, not yet told
	spare []entry // the memory of the last ones
	last  uint64  // the number of the last one collected
	lost  uint64  // as of the last Drain
	next  slot
	buf   []byte
}

// maxSpare is how many entries are kept for the next Drain.
const maxSpare = 1 << 16

// Drain calls f for each store so far that wasn't told before, in order of Seq, and returns
// how many stores since the last call are missing: while the log is full (see [SetLimit]),
// stores are counted only. Call it often: what is drained is free again.
//
// A store that a goroutine was about to do, and may or may not have done, is told with
// what's in memory; see [Record.Late]. Several calls come one after another. f may call
// anything here but Drain.
func Drain(f func(Record)) (lost uint64) {
	if !Enabled() {
		return 0
	}
	records.draining.Lock()
	defer records.draining.Unlock()
	collect()
	records.mu.Lock()
	all := records.all
	records.all, records.spare = records.spare, nil
	total := hooks.lost()
	lost, records.lost = total-records.lost, total
	records.mu.Unlock()

	limitWindows(all)
	coalesce(all)
	var bytes arena
	for i := range all {
		if e := &all[i]; !e.dropped && e.kind != ticket {
			f(e.record(&bytes))
		}
	}
	if cap(all) <= maxSpare {
		clear(all)
		records.mu.Lock()
		records.spare = all[:0]
		records.mu.Unlock()
	}
	return lost
}

// arena gives small pieces of memory.
type arena []byte

func (a *arena) copyOf(parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if cap(*a)-len(*a) < n {
		*a = make([]byte, 0, max(n, 1<<15))
	}
	start := len(*a)
	for _, p := range parts {
		*a = append(*a, p...)
	}
	return (*a)[start:len(*a):len(*a)]
}

// The functions that run for every record aren't instrumented: they'd be slower than the
// rest, and nothing that is watched is theirs.

// collect takes all that's in the log.
//
//go:norace
func collect() {
	records.mu.Lock()
	defer records.mu.Unlock()
	if records.buf == nil {
		records.buf = make([]byte, 4096)
	}
	to := hooks.seq()
	// What was stored until a content was taken is needed to judge the content.
	until, extended := uint64(0), false
	for {
		got := hooks.next(to, &records.next, &records.buf[0], uintptr(len(records.buf)))
		switch got {
		case nextNone:
			if extended || until <= to+1 {
				return
			}
			to, extended = min(until-1, hooks.seq()), true
		case nextBusy:
			runtime.Gosched()
		case nextMore:
			records.buf = make([]byte, 2*records.next.n)
		case nextGot:
			if len(records.all) == cap(records.all) {
				left := max(to, records.last) - records.last // some numbers have no record
				records.all = slices.Grow(records.all, int(min(max(left, 64), 1<<20)))
			}
			records.all = append(records.all, entry{slot: records.next, limit: int(records.next.width)})
			e := &records.all[len(records.all)-1]
			records.last = e.seq
			until = max(until, e.until)
			if e.kind == Block && e.n > uintptr(len(e.old)+len(e.new)) && e.flags&noValue == 0 {
				e.data = append([]byte(nil), records.buf[:e.n]...)
			}
		}
	}
}

// record makes what the caller sees.
//
//go:norace
func (e *entry) record(bytes *arena) Record {
	r := Record{Seq: e.seq, G: int64(e.goid), Kind: e.kind, Addr: e.addr, Size: uint64(e.n), Late: e.flags&late != 0, PCs: userPCs(e.pcs)}
	switch {
	case e.joined != nil:
		r.Kind, r.Data, r.Size = Block, e.joined, uint64(len(e.joined))
	case e.flags&noValue != 0:
	case e.kind == Scalar:
		r.Data = bytes.copyOf(e.new[:e.extent()])
	case e.data != nil:
		r.Data = e.data
	default:
		r.Data = bytes.copyOf(e.old[:min(e.n, 24)], e.new[:max(e.n, 24)-24])
	}
	return r
}

// extent is how many bytes a scalar has at least: up to the last one that changed.
func (e *entry) extent() int {
	n := e.limit
	for n > 1 && e.old[n-1] == e.new[n-1] {
		n--
	}
	return n
}

// limitWindows finds scalars whose window another goroutine stored to between the two times
// that it was read: what begins inside it isn't part of the scalar.
//
//go:norace
func limitWindows(all []entry) {
	var open []*entry // those whose content was taken after the present number
	for i := range all {
		e := &all[i]
		if e.kind == ticket {
			continue
		}
		keep := open[:0]
		for _, o := range open {
			if o.until <= e.seq {
				continue
			}
			keep = append(keep, o)
			if o.goid != e.goid {
				o.limitTo(e.addr)
				e.limitTo(o.addr)
			}
		}
		open = keep
		if e.until > e.seq+1 {
			open = append(open, e)
		}
	}
}

// limitTo ends a scalar's window before addr.
func (e *entry) limitTo(addr uintptr) {
	if e.kind == Scalar && addr > e.addr && addr-e.addr < uintptr(e.limit) {
		e.limit = int(addr - e.addr)
	}
}
