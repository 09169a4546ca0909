package check

import (
	"cmp"
	"slices"
)

// Which lines are remembered.

// lines returns the lines of which anything is known, from first to last. The slice is
// good until the next call.
func (c *Checker) lines(first, last uint64) []*line {
	c.found = c.found[:0]
	if last-first < uint64(len(c.table.slots)) {
		for no := first; ; no++ {
			if l := c.table.find(no); l != nil {
				c.found = append(c.found, l)
			}
			if no == last {
				return c.found
			}
		}
	}
	for _, s := range c.table.slots {
		if s.l != nil && first <= s.no && s.no <= last {
			c.found = append(c.found, s.l)
		}
	}
	slices.SortFunc(c.found, func(a, b *line) int { return cmp.Compare(a.no, b.no) })
	return c.found
}

// add adds a line of which nothing was known.
func (c *Checker) add(no uint64) *line {
	l := c.free
	if l == nil {
		l = &line{}
	} else {
		c.free = l.next
		c.numFree--
		*l = line{changes: l.changes[:0], flushes: l.flushes[:0]}
	}
	l.no = no
	c.table.add(l)
	return l
}

// settle puts l into the ring if nothing of it is at risk.
func (c *Checker) settle(l *line) {
	if !l.inRing && l.quiet() {
		c.enter(l)
	}
}

func (c *Checker) enter(l *line) {
	l.inRing, l.entered = true, c.now
	l.prev, l.next = &c.ring, c.ring.next
	l.prev.next, l.next.prev = l, l
	c.inRing++
}

func (c *Checker) leave(l *line) {
	l.prev.next, l.next.prev = l.next, l.prev
	l.inRing = false
	c.inRing--
}

// trim forgets the lines with nothing at risk past the bound, those first that weren't
// stored to for long. Nothing may hold a line across it.
func (c *Checker) trim() {
	if c.inRing > maxClean || c.eadr || c.pageCache {
		c.forget()
	}
}

func (c *Checker) forget() {
	keep := maxClean
	if c.eadr || c.pageCache { // no rule asks about them
		keep = 0
	}
	for c.inRing > keep {
		l := c.ring.prev
		c.leave(l)
		switch {
		case !l.quiet():
			continue // it enters again when it is
		case l.touched > l.entered:
			c.enter(l) // it has been in use
			continue
		case !l.settled():
			c.forgot = true
		}
		c.table.remove(l.no)
		if c.numFree < maxClean {
			l.next, c.free = c.free, l
			c.numFree++
		}
	}
}
