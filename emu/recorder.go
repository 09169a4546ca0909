package emu

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"pmemlab/emu/exact"
	"pmemlab/emu/internal/goroutine"
	"pmemlab/pmem2/platform"
)

// The recorder is the hot half of the machine's memory of what its caches did: each
// operation leaves records in a ring, in the order in which the operations took
// place, and whoever finds the ring full, or wants to know, holds the machine's mu and
// replays them (durability.go). No operation takes a lock otherwise.
//
// A record of a line holds the line's content at the record's place in the order: it is
// read before the place is taken and again after, until both agree.

// recordKind is what a record says.
type recordKind uint8

const (
	recNothing recordKind = iota
	recFlush              // a line is flushed
	recPersist            // a line is flushed, and a fence follows at once
	recNoFlush            // a line is passed to the flush of a granularity that needs none
	recFence              //
	recSeen               // a line's content, before a copy
	recStore              // the bytes of a line in [addr, addr+n) were stored
	recStoreNT            // in a non-temporal way
	recOutside            // a flush of so many bytes, whose content isn't looked at
	recPage               // a page that a look found: page
)

// record is one of the ring.
type record struct {
	ready uint64 // the record's number, from 1 on, once all of it is there
	order uint64 // in which it was, among the stores too in exact mode
	kind  recordKind
	first bool // of its operation: callers, start and total count
	by    flushKind
	g     int64
	addr  uintptr // of a line; of stores the first byte
	n     uint64  // of stores: bytes
	// start and total are the operation's range, as it was asked for.
	start   uintptr
	total   uint64
	callers [goroutine.Depth]uintptr
	page    *seenPage
	line    [lineSize]byte // at a multiple of 8
}

const (
	lineSize  = 64
	lineWords = lineSize / 8
	// ringSize is the number of records, a power of two; when three quarters are taken
	// whoever adds one replays them.
	ringSize = 1 << 9
)

// recorder is the ring. Its zero value records nothing yet.
type recorder struct {
	m     *Machine
	exact bool // see exact_stores.go
	ring  atomic.Pointer[[ringSize]record]
	tail  atomic.Uint64 // records that were begun
	head  atomic.Uint64 // records that were replayed; changed with the machine's mu held
	// hook, if there is one, is called before each operation, by its goroutine.
	hook atomic.Pointer[func(operation)]
}

// operation is what a hook is told of.
type operation struct {
	what    string
	g       int64
	addr    uintptr
	n       uint64
	callers [goroutine.Depth]uintptr
}

// linesOf is the first and the last line that holds a byte of [p, p+n); n isn't 0.
func linesOf(p unsafe.Pointer, n uintptr) (first, last uintptr) {
	first = uintptr(p) &^ (lineSize - 1)
	end := uintptr(p) + n - 1
	if end < uintptr(p) {
		end = ^uintptr(0)
	}
	return first, end &^ (lineSize - 1)
}

// begin takes the next place of the ring.
//
//go:norace
func (r *recorder) begin() (*record, uint64) {
	ring := r.ring.Load()
	if ring == nil {
		r.ring.CompareAndSwap(nil, new([ringSize]record))
		ring = r.ring.Load()
	}
	if r.tail.Load()-r.head.Load() >= ringSize*3/4 {
		r.m.replayFull()
	}
	t := r.tail.Add(1)
	for t-r.head.Load() > ringSize {
		// Whoever holds mu may be waiting for this very record.
		if r.m.mu.TryLock() {
			r.m.emptyRing()
			r.m.mu.Unlock()
		}
		runtime.Gosched()
	}
	return &ring[t%ringSize], t
}

// order is the number that the n-th record has in the order of all operations and, where
// they are seen, stores.
//
//go:norace
func (r *recorder) order(n uint64) uint64 {
	if r.exact {
		return exact.Ticket()
	}
	return n
}

// readLine reads the line at addr; atomicity is that of aligned words.
//
//go:norace
//go:nocheckptr
func readLine(addr uintptr, line *[lineSize]byte) {
	copyLine(line, (*[lineSize]byte)(platform.Pointer(addr)))
}

// copyLine is *to = *from, in words and without a call.
//
//go:norace
//go:nocheckptr
func copyLine(to, from *[lineSize]byte) {
	t, f := (*[lineWords]uint64)(unsafe.Pointer(to)), (*[lineWords]uint64)(unsafe.Pointer(from))
	t[0], t[1], t[2], t[3] = f[0], f[1], f[2], f[3]
	t[4], t[5], t[6], t[7] = f[4], f[5], f[6], f[7]
}

// sameLine is *a == *b, in words and without a call.
//
//go:norace
//go:nocheckptr
func sameLine(a, b *[lineSize]byte) bool {
	x, y := (*[lineWords]uint64)(unsafe.Pointer(a)), (*[lineWords]uint64)(unsafe.Pointer(b))
	return (x[0]^y[0])|(x[1]^y[1])|(x[2]^y[2])|(x[3]^y[3])|(x[4]^y[4])|(x[5]^y[5])|(x[6]^y[6])|(x[7]^y[7]) == 0
}

// line begins a record of the line at addr, which is complete once its number t is stored
// in ready. If the line can't be read the fault is nearly always that of the first read,
// before anything was recorded.
//
//go:norace
func (r *recorder) line(kind recordKind, by flushKind, g int64, addr uintptr) (rec *record, t uint64) {
	var words [lineWords]uint64 // aligned
	before := (*[lineSize]byte)(unsafe.Pointer(&words))
	readLine(addr, before)
	for {
		rec, t = r.begin()
		rec.order = r.order(t)
		rec.read(t, addr)
		if sameLine(&rec.line, before) {
			break
		}
		copyLine(before, &rec.line) // something stores it right now
		rec.kind = recNothing
		publish(&rec.ready, t)
	}
	rec.kind, rec.by, rec.g, rec.addr, rec.n, rec.first = kind, by, g, addr, lineSize, false
	return rec, t
}

// read reads the line at addr into rec, the t-th record. If that's a fault, as of a bad block that
// came since the line was read last, the record says nothing: somebody may recover from it.
//
//go:norace
func (rec *record) read(t uint64, addr uintptr) {
	done := false
	defer func() {
		if !done {
			rec.kind = recNothing
			publish(&rec.ready, t)
		}
	}()
	readLine(addr, &rec.line)
	done = true
}

// opening makes rec the first record of an operation.
//
//go:norace
func (rec *record) opening(callers *[goroutine.Depth]uintptr, start unsafe.Pointer, total uintptr) {
	rec.first, rec.start, rec.total, rec.callers = true, uintptr(start), uint64(total), *callers
}

// maxUnneeded is how many lines of a flush that needs no instruction are looked at.
const maxUnneeded = 64

// flushed records a flush of [p, p+n), with a fence behind it or not.
//
//go:norace
func (r *recorder) flushed(p unsafe.Pointer, n uintptr, by flushKind, fence bool) {
	var callers [goroutine.Depth]uintptr
	goroutine.Callers(callersSkip, &callers)
	g := goroutine.ID()
	if n == 0 {
		if fence {
			r.fenced(g, &callers)
		}
		return
	}
	if hook := r.hook.Load(); hook != nil {
		(*hook)(operation{by.String(), g, uintptr(p), uint64(n), callers})
		if fence {
			r.flushLines(p, n, by, false, g, &callers)
			(*hook)(operation{"fence", g, 0, 0, callers})
			r.fenced(g, &callers)
			return
		}
	}
	r.flushLines(p, n, by, fence, g, &callers)
}

//go:norace
func (r *recorder) flushLines(p unsafe.Pointer, n uintptr, by flushKind, fence bool, g int64, callers *[goroutine.Depth]uintptr) {
	if n >= bulk {
		r.flushBulk(p, n, by, fence, g, callers)
		return
	}
	kind := recFlush
	first, last := linesOf(p, n)
	if by == flushNone {
		kind = recNoFlush
		if (last-first)/lineSize >= maxUnneeded {
			rec, t := r.begin()
			rec.order = r.order(t)
			rec.kind, rec.by, rec.g, rec.addr, rec.n = recOutside, by, g, uintptr(p), uint64(n)
			rec.opening(callers, p, n)
			publish(&rec.ready, t)
			if fence {
				r.fenced(g, callers)
			}
			return
		}
	} else if fence && first == last {
		kind = recPersist
	}
	for at := first; ; at += lineSize {
		rec, t := r.line(kind, by, g, at)
		if at == first {
			rec.opening(callers, p, n)
		}
		publish(&rec.ready, t)
		if at == last {
			break
		}
	}
	if fence && kind != recPersist {
		r.fenced(g, callers)
	}
}

// fenced records a fence of g.
//
//go:norace
func (r *recorder) fenced(g int64, callers *[goroutine.Depth]uintptr) {
	rec, t := r.begin()
	rec.order = r.order(t)
	rec.kind, rec.g, rec.addr, rec.n = recFence, g, 0, 0
	rec.opening(callers, nil, 0)
	publish(&rec.ready, t)
}

// fence is the recorder's half of a fence.
//
//go:norace
func (r *recorder) fence() {
	var callers [goroutine.Depth]uintptr
	goroutine.Callers(callersSkip, &callers)
	g := goroutine.ID()
	if hook := r.hook.Load(); hook != nil {
		(*hook)(operation{"fence", g, 0, 0, callers})
	}
	r.fenced(g, &callers)
}

// storing records what is in the lines of [p, p+n) before a copy changes them.
//
//go:norace
func (r *recorder) storing(p unsafe.Pointer, n uintptr) {
	if r.hook.Load() != nil {
		r.copying(p, n)
	}
	if n >= bulk {
		r.storingBulk(p, n)
		return
	}
	g := goroutine.ID()
	first, last := linesOf(p, n)
	for at := first; ; at += lineSize {
		rec, t := r.line(recSeen, flushNone, g, at)
		publish(&rec.ready, t)
		if at == last {
			return
		}
	}
}

// stored records what a copy has stored: with nonTemporal whole lines in that way, the rest
// with ordinary stores. What those stored was flushed by an instruction, or not.
//
//go:norace
func (r *recorder) stored(p unsafe.Pointer, n uintptr, nonTemporal bool, by flushKind) {
	var callers [goroutine.Depth]uintptr
	goroutine.Callers(callersSkip, &callers)
	g := goroutine.ID()
	first, last := linesOf(p, n)
	end := uintptr(p) + n
	for at := first; ; at += lineSize {
		from, to := max(at, uintptr(p)), at+lineSize
		if at == last {
			to = end
		}
		whole := to-from == lineSize
		kind := recStore
		if nonTemporal && whole {
			kind = recStoreNT
		}
		rec, t := r.line(kind, flushNone, g, at)
		if at == first {
			rec.opening(&callers, p, n)
		}
		rec.addr, rec.n = from, uint64(to-from)
		publish(&rec.ready, t)
		if by != flushNone && kind == recStore {
			rec, t := r.line(recFlush, by, g, at)
			rec.opening(&callers, platform.Pointer(from), to-from)
			publish(&rec.ready, t)
		}
		if at == last {
			return
		}
	}
}

// replayFull makes room in the ring.
func (m *Machine) replayFull() {
	m.mu.Lock()
	if m.rec.exact {
		m.catchUp()
	} else {
		m.replay()
	}
	m.mu.Unlock()
}

// emptyRing empties the ring as far as its records are complete. mu must be held.
func (m *Machine) emptyRing() {
	if m.rec.exact {
		m.holdRecords()
	} else {
		m.replay()
	}
}

// calling tells the hook of a system call that makes something durable or unmaps it.
func (r *recorder) calling(what string, addr uintptr, n uint64) {
	if hook := r.hook.Load(); hook != nil {
		var callers [goroutine.Depth]uintptr
		goroutine.Callers(callersSkip, &callers)
		(*hook)(operation{what, goroutine.ID(), addr, n, callers})
	}
}
