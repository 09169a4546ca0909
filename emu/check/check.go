package check

import "fmt"

// Op is one operation of the program.
type Op struct {
	// Seq orders operations; it is handed back in findings, which are sorted by it.
	Seq uint64
	// G is the goroutine, any number that tells it from others.
	G int64
	// Stack is a key of the caller's for the call stack of the operation, 0 being none.
	// Faults with the same stacks are one finding.
	Stack uint32
}

// How is how a change became known.
type How uint8

const (
	// Exact is an ordinary store that was seen in order.
	Exact How = iota
	// Found is content that differs from what was there: it was stored some time since
	// the line was last looked at, in an unknown order and by an unknown goroutine.
	Found
	// NonTemporal is a store that was seen, which waits for a fence of its goroutine and
	// needs no flush; in the page cache it is as Exact.
	// A CPU whose non-temporal stores are hints, as Arm's, has none.
	NonTemporal
)

// Kind is how lines are flushed.
type Kind uint8

const (
	Weak   Kind = iota // CLWB, CLFLUSHOPT, DC CVAP: counts from the goroutine's next fence on
	Strong             // CLFLUSH: counts at once
	None               // no instruction, as eADR needs none
)

// Config is the machine that a Checker judges by.
type Config struct {
	// EADR: what is in the CPU's caches is durable. It's no use to a page cache.
	EADR bool
	// Unit is the number of bytes that persist together: 64, which 0 stands for, a
	// cache line, or 512, a sector of the page cache, which only [Checker.Sync] makes
	// durable. New panics of others.
	Unit uint64
}

// Checker judges what a program does to persistent memory by the rules of this package. It
// is told of changes, flushes and fences in the order in which they became visible.
//
// Offsets and lengths are in bytes, of one address space; a range may end at 2⁶⁴ and
// panics if it wraps beyond. A range of no bytes is allowed everywhere and breaks no rule.
//
// A Checker isn't safe for concurrent use. It holds a few hundred bytes for each line that
// isn't durable and for the last few thousand that became so, and a bounded number of
// findings.
type Checker struct {
	eadr, pageCache bool
	unit            uint64

	exact bool
	// exactFrom is from when on all stores have been seen; 0 is the start.
	exactFrom uint64
	// forgot: a line was forgotten that somebody may yet flush with good reason.
	forgot bool

	now   uint64 // counts the calls
	table table
	// ring holds the lines with nothing at risk, the latest first, and some that had
	// nothing at risk once; inRing is how many.
	ring    line
	inRing  int
	free    *line
	numFree int
	found   []*line

	goroutines map[int64]*goroutine
	recent     [16]*goroutine // by the number's low bits
	// fenced is the goroutine that fenced last, otherFenced the one before it; nil is none.
	fenced, otherFenced *goroutine

	report report
}

// New returns a checker of memory all of which is durable.
func New(cfg Config) *Checker {
	if cfg.Unit == 0 {
		cfg.Unit = lineSize
	}
	if cfg.Unit != lineSize && cfg.Unit != 512 {
		panic(fmt.Sprintf("check: the unit is %d bytes, not 64 or 512", cfg.Unit))
	}
	c := &Checker{unit: cfg.Unit, pageCache: cfg.Unit != lineSize, goroutines: map[int64]*goroutine{}}
	c.eadr = cfg.EADR && !c.pageCache
	c.ring.prev, c.ring.next = &c.ring, &c.ring
	return c
}

// SetEADR changes [Config.EADR]. When it becomes true, all that is in the caches is durable.
func (c *Checker) SetEADR(on bool) {
	if c.pageCache || on == c.eadr {
		return
	}
	c.now++
	c.eadr = on
	if c.now > 1 {
		c.exactFrom = c.now // stores and flushes until now were judged by other rules
	}
	if on {
		for _, l := range c.lines(0, ^uint64(0)/lineSize) {
			l.durable(l.risk)
			c.settle(l)
		}
		c.trim()
	}
}

// Exact says whether all stores are being seen from now on, those that change nothing
// included ([Checker.Silent]). Only then waste is proven.
func (c *Checker) Exact(on bool) {
	if on && !c.exact && c.now > 0 {
		c.exactFrom = c.now + 1
	}
	c.exact = on
}

// Changed says that [off, off+n) has another content, all of its bytes. Of a Found change op
// is the flush or look that found it; its goroutine needn't be that of the store.
func (c *Checker) Changed(op Op, off, n uint64, how How) {
	c.now++
	if how == NonTemporal {
		if c.pageCache {
			how = Exact
		} else {
			c.goroutine(op.G).work = true
		}
	}
	if n == 0 {
		c.goroutine(op.G).work = true
		return
	}
	last := end(off, n)
	if off/lineSize == last/lineSize && how != NonTemporal && !c.eadr {
		if l := c.table.find(off / lineSize); l != nil && l.quiet() { // most are
			l.setup, l.gone, l.idle = 0, 0, 0
			l.touch(c.now, op.G, how == Found)
			l.addChange(change{op, bytes(l.no, off, last), how})
			return
		}
	}
	for no := off / lineSize; ; no++ {
		l := c.table.find(no)
		if l == nil && (!c.eadr || how == NonTemporal) {
			l = c.add(no)
		}
		if l != nil {
			c.change(l, change{op, bytes(no, off, last), how})
		}
		if no == last/lineSize {
			break
		}
	}
	c.trim()
}

// change is Changed for one line.
func (c *Checker) change(l *line, ch change) {
	if len(l.flushes) > 0 {
		c.checkOverwritten(l, ch)
	}
	l.overwrite(ch.mask)
	former := l.touched
	l.touch(c.now, ch.op.G, ch.how == Found)
	switch {
	case ch.how == NonTemporal:
		g, f := c.goroutine(ch.op.G), l.flushOf(ch.op.G)
		f.nt |= ch.mask
		f.ntOp, f.ntAt = ch.op, c.now
		if f.mark >= former { // else something else that g stored may need its flush
			f.mark, f.markOp = c.now, ch.op
		}
		g.list(l, f)
	case !c.eadr:
		l.addChange(ch)
	}
	c.settle(l)
}

// touch notes a store by g, or by an unknown goroutine.
func (l *line) touch(now uint64, g int64, unknown bool) {
	if unknown || l.touched > 0 && l.toucher != g {
		l.shared = true
	}
	l.touched, l.toucher = now, g
}

// Silent says that the content that [off, off+n) had was stored there again. That changes
// nothing, but a flush of it isn't waste: the program couldn't know. Op's next fence isn't either.
func (c *Checker) Silent(op Op, off, n uint64) {
	c.now++
	c.goroutine(op.G).work = true
	if n == 0 || c.eadr || c.pageCache {
		return
	}
	last := end(off, n)
	for no := off / lineSize; ; no++ {
		l := c.table.find(no)
		if l == nil {
			l = c.add(no)
		}
		l.touch(c.now, op.G, false)
		c.settle(l)
		c.trim()
		if no == last/lineSize {
			return
		}
	}
}

// Flush is a flush of the lines of [off, off+n).
func (c *Checker) Flush(op Op, off, n uint64, kind Kind) {
	c.now++
	g := c.goroutine(op.G)
	g.work = true
	if n > 0 {
		c.flush(g, op, off, n, kind)
	}
}

// Range is the bytes [Off, Off+Len).
type Range struct{ Off, Len uint64 }

// FlushAll is Flush of several ranges, of which none is empty, by one operation: it isn't waste
// if any part of it isn't. A finding of waste tells of the first.
func (c *Checker) FlushAll(op Op, kind Kind, ranges ...Range) {
	c.now++
	g := c.goroutine(op.G)
	g.work = true
	if len(ranges) == 0 {
		return
	}
	useful := false
	var before Op
	var mark uint64
	for _, r := range ranges {
		u, b, m := c.flushPart(g, op, r.Off, r.Len, kind)
		useful = useful || u
		if m > mark {
			before, mark = b, m
		}
	}
	if !useful {
		c.wastedFlush(op, ranges[0].Off, ranges[0].Len, before, mark)
	}
	c.trim()
}

// Persist is a flush of the lines of [off, off+n), and a fence.
func (c *Checker) Persist(op Op, off, n uint64, kind Kind) {
	c.now++
	g := c.goroutine(op.G)
	if n > 0 && c.persistLine(g, op, off, n, kind) {
		return
	}
	g.work = true
	if n > 0 {
		c.flush(g, op, off, n, kind)
	}
	c.now++
	c.fence(g, op)
}

// PersistFound is Changed of some of the line at off, how being Found, with a Persist of the line
// behind it, for the most common case: nothing is known of the line, and op's goroutine has
// flushed nothing else. Otherwise, and while all stores are being seen, it does nothing and returns
// false. The line isn't remembered: if nothing is stored before its next flush, that's a
// FlushOfCleanLine and not a FlushedTwice.
func (c *Checker) PersistFound(op Op, off uint64) bool {
	if c.exact || c.eadr || c.pageCache {
		return false
	}
	g := c.goroutine(op.G)
	if len(g.pending) > 0 || c.table.find(off/lineSize) != nil {
		return false
	}
	c.now += 2
	c.fencedBy(g, op)
	return true
}

// persistLine is the common case of Persist, cut short: one line that only g has stored to
// and flushed, and nothing else that the fence is for. It reports whether this is one.
func (c *Checker) persistLine(g *goroutine, op Op, off, n uint64, kind Kind) bool {
	no := off / lineSize
	if end(off, n)/lineSize != no || kind == None || c.eadr || c.pageCache || len(g.pending) > 0 {
		return false
	}
	l := c.table.find(no)
	if l == nil || l.risk == 0 || len(l.flushes) != 1 {
		return false
	}
	f := &l.flushes[0]
	if f.g != g.g || f.dead { // it has nothing pending, since g has nothing
		return false
	}
	f.op, f.at = op, c.now
	f.mark, f.markOp = c.now, op
	l.risk = 0
	l.changes = l.changes[:0]
	c.now++
	if !l.inRing {
		c.enter(l)
	}
	c.trim()
	c.fencedBy(g, op)
	return true
}

func (c *Checker) flush(g *goroutine, op Op, off, n uint64, kind Kind) {
	if useful, before, mark := c.flushPart(g, op, off, n, kind); !useful {
		c.wastedFlush(op, off, n, before, mark)
	}
	c.trim()
}

// flushPart is flush for a part of what op flushes. It says whether that was of use, and if it
// wasn't which operation had flushed it last, and when.
func (c *Checker) flushPart(g *goroutine, op Op, off, n uint64, kind Kind) (useful bool, before Op, mark uint64) {
	last := end(off, n)
	if c.pageCache || kind == None {
		c.idleFlush(op, off, last)
		return true, Op{}, 0
	}
	useful = c.eadr // whatever it does: a program may well be made for machines without
	for _, l := range c.lines(off/lineSize, last/lineSize) {
		if c.eadr {
			if f := l.of(op.G); f != nil && kind == Strong {
				f.strong = f.nt
			}
			continue
		}
		f := l.flushOf(op.G)
		needless := l.unflushed()|l.nonTemporal() == 0 && f.mark >= l.touched
		if needless && (kind == Weak || l.risk == 0) {
			if f.mark > mark {
				mark, before = f.mark, f.markOp
			}
			continue
		}
		useful = true
		f.op, f.at = op, c.now
		f.mark, f.markOp = c.now, op
		l.idle = 0
		switch {
		case kind == Strong:
			l.durable(l.risk)
			f.strong = f.nt
		case l.risk != 0:
			f.mask = l.risk
			g.list(l, f)
		}
		c.settle(l)
	}
	return useful, before, mark
}

// idleFlush is a flush of the bytes from off to last that can do nothing.
func (c *Checker) idleFlush(op Op, off, last uint64) {
	if c.eadr {
		return
	}
	for _, l := range c.lines(off/lineSize, last/lineSize) {
		m := l.unflushed() & bytes(l.no, off, last)
		if !c.pageCache {
			m &^= l.idle // reported
		}
		if m == 0 {
			continue
		}
		l.idle |= m
		l.idleOp = op
		if !c.pageCache {
			c.report.add(FlushLeftOutForEADR, true, l, m, l.changeOf(m).op, op, detail{})
		}
	}
}

// Sync is msync or fsync. In the page cache the sectors that the range touches are
// durable; elsewhere it's a flush and a fence. It is never waste, since it does more
// than this package sees.
func (c *Checker) Sync(op Op, off, n uint64) {
	c.now++
	g := c.goroutine(op.G)
	if n > 0 {
		perUnit := c.unit / lineSize
		first, last := off/c.unit*perUnit, end(off, n)/c.unit*perUnit+perUnit-1
		for _, l := range c.lines(first, last) {
			l.durable(l.risk)
			if !c.eadr && !c.pageCache {
				f := l.flushOf(op.G)
				f.mark, f.markOp = c.now, op
			}
			c.settle(l)
		}
	}
	g.work = true
	c.fence(g, op)
	g.work = true // a fence to be sure is no waste
	c.trim()
}

// FlushOutside is a flush of n bytes at addr where the machine has no mapping.
func (c *Checker) FlushOutside(op Op, addr, n uint64) {
	c.now++
	c.goroutine(op.G).work = true
	if n > 0 {
		end(addr, n)
		c.report.addRange(FlushOutsideMapping, true, addr, n, op, Op{}, detail{})
	}
}

// FlushPrivate is a flush of n bytes at addr where the machine has a private mapping, or of
// memory that another Checker is told of. It breaks no rule, and op's next fence isn't waste.
func (c *Checker) FlushPrivate(op Op, addr, n uint64) {
	c.now++
	c.goroutine(op.G).work = true
}

// Unmapped says that the last mapping of [off, off+n) is gone. That is no fault yet: what a
// fence or fsync makes durable afterwards is durable.
func (c *Checker) Unmapped(op Op, off, n uint64) {
	c.now++
	if n == 0 {
		return
	}
	last := end(off, n)
	var unmap *Op
	for _, l := range c.lines(off/lineSize, last/lineSize) {
		if m := l.atRisk() & bytes(l.no, off, last); m != 0 {
			if unmap == nil {
				unmap = &Op{}
				*unmap = op
			}
			l.gone |= m
			l.unmap = unmap
		}
	}
}

// Commit says that the program takes [off, off+n) for durable now; what names it.
func (c *Checker) Commit(op Op, off, n uint64, what string) {
	c.now++
	if n == 0 {
		return
	}
	last := end(off, n)
	for _, l := range c.lines(off/lineSize, last/lineSize) {
		if m := l.atRisk() & bytes(l.no, off, last); m != 0 {
			s, proven, m := c.judge(l, m)
			c.report.add(NotDurableAtCommit, proven, l, m, s.Change, op, detail{s: s, what: what})
		}
	}
}

// Clear forgets all findings and what is at risk of giving some, but not what is durable.
func (c *Checker) Clear() {
	c.report = report{}
	for _, l := range c.lines(0, ^uint64(0)/lineSize) {
		l.setup = l.atRisk()
	}
}

// end returns the last byte of a range that isn't empty.
func end(off, n uint64) uint64 {
	if off+n-1 < off {
		panic(fmt.Sprintf("check: %d bytes at %#x wrap around the end of the address space", n, off))
	}
	return off + n - 1
}
