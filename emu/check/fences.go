package check

// Goroutines, and what their fences make durable.

type fence struct {
	op Op
	at uint64
}

// goroutine is what is known of one.
type goroutine struct {
	g       int64
	pending []*line // with a flush of it that is listed
	// work: it did something that a fence is good for, since the last one.
	work  bool
	fence fence // its last
}

// list adds l to those that the goroutine's next fence looks at.
func (g *goroutine) list(l *line, f *flush) {
	if !f.listed {
		f.listed = true
		l.listed++
		g.pending = append(g.pending, l)
	}
}

// maxGoroutines is how many goroutines are known before those that left nothing
// without a fence are forgotten.
const maxGoroutines = 4096

func (c *Checker) goroutine(g int64) *goroutine {
	r := &c.recent[uint64(g)%uint64(len(c.recent))]
	if *r != nil && (*r).g == g {
		return *r
	}
	gr := c.goroutines[g]
	if gr == nil {
		if n := len(c.goroutines); n >= maxGoroutines && n&(n-1) == 0 {
			for _, old := range c.goroutines {
				if !old.work {
					c.drop(old)
				}
			}
		}
		gr = &goroutine{g: g}
		c.goroutines[g] = gr
	}
	*r = gr
	return gr
}

func (c *Checker) drop(g *goroutine) {
	delete(c.goroutines, g.g)
	if r := &c.recent[uint64(g.g)%uint64(len(c.recent))]; *r == g {
		*r = nil
	}
}

// Fence is a fence: what op's goroutine flushed is durable, and so are its non-temporal
// stores.
func (c *Checker) Fence(op Op) {
	c.now++
	c.fence(c.goroutine(op.G), op)
}

func (c *Checker) fence(g *goroutine, op Op) {
	if len(g.pending) > 0 {
		c.complete(g)
	}
	if !g.work && !c.eadr && !c.pageCache {
		proven := c.exact && g.fence.at >= c.exactFrom
		c.report.addRange(FenceWithoutEffect, proven, 0, 0, op, g.fence.op, detail{})
	}
	c.fencedBy(g, op)
}

func (c *Checker) fencedBy(g *goroutine, op Op) {
	g.work = false
	g.fence = fence{op, c.now}
	if c.fenced == g {
		return
	}
	if c.fenced != nil && c.fenced.g != g.g {
		c.otherFenced = c.fenced
	}
	c.fenced = g
}

// complete makes durable what g has pending.
func (c *Checker) complete(g *goroutine) {
	for _, l := range g.pending {
		f := l.of(g.g)
		f.listed = false
		l.listed--
		f.nt, f.strong = 0, 0
		if f.mask != 0 {
			l.durable(f.mask)
		}
		c.settle(l)
	}
	g.pending = g.pending[:0]
	if cap(g.pending) > maxClean {
		g.pending = nil
	}
	c.trim()
}

// Exit says that goroutine g is gone: no fence makes durable what it left without one.
func (c *Checker) Exit(g int64) {
	c.now++
	gr := c.goroutines[g]
	if gr == nil {
		return
	}
	for _, l := range gr.pending {
		f := l.of(g)
		f.listed = false
		f.dead = true
		l.listed--
		c.settle(l)
	}
	c.drop(gr)
	c.trim()
}
