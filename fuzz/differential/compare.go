//go:build libpmem2

package main

import (
	"fmt"
	"strings"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// difference is a call of which came something else in C than is right.
type difference struct {
	plan  *plan
	call  *call
	index int
	want  seen // what the model wants, and Go does
	c     seen
	died  string // how the process has ended instead of returning
}

// compare tells every difference between what C does and what is right, and says whether it
// got to the end. It stops where one of them has succeeded and the other failed: what follows
// is of another state.
func compare(p *plan, c outcome, tell func(difference)) (ended bool) {
	for i := range p.calls {
		d := difference{plan: p, call: &p.calls[i], index: i, want: p.want[i]}
		if i >= len(c.Seen) {
			d.died = c.Died
			tell(d)
			return false
		}
		d.c = c.Seen[i]
		if d.c == d.want {
			continue
		}
		if d.lucky() {
			return false
		}
		tell(d)
		if d.c.Skipped || (d.c.Result == model.OK) != (d.want.Result == model.OK) {
			return false
		}
	}
	return true
}

// lucky says whether one had room for a mapping and the other hadn't, which depends on what
// else there is in its process.
func (d *difference) lucky() bool {
	one, other := d.want.Result, d.c.Result
	return d.call.op == opMap && (one == noRoom && other == model.OK || one == model.OK && other == noRoom) &&
		d.call.request.Doubtful(lengthOf(&d.call.request))
}

// count is how often a plan makes a call.
func (p *plan) count(o op) (n int) {
	for i := range p.calls {
		if p.calls[i].op == o {
			n++
		}
	}
	return n
}

// wrong is the first call of which Go doesn't make what the model wants, or none.
func wrong(p *plan, o outcome) int {
	for i := range p.calls {
		if o.Seen[i] != p.want[i] {
			return i
		}
	}
	return none
}

// words say what came of a call.
func (s seen) words(o op) string {
	var b strings.Builder
	switch {
	case s.Skipped:
		return "no object to call it on"
	case s.Result != model.OK:
		return s.Result.String()
	case len(numberNames) <= int(o) || numberNames[o] == nil:
		return "success"
	}
	for i, name := range numberNames[o] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %#x", name, s.Numbers[i])
	}
	return b.String()
}

// words say what is called.
func (c *call) words() string {
	var b strings.Builder
	b.WriteString(opNames[c.op])
	q := &c.request
	switch c.op {
	case opSource:
		if q.Source.Kind == model.Anonymous {
			return fmt.Sprintf("pmem2_source_from_anon(%#x)", q.Source.Size)
		}
		fmt.Fprintf(&b, " of a file of %#x bytes, access %d", q.Source.Size, q.Source.Access)
		if q.Source.AppendOnly {
			b.WriteString(", append-only")
		}
	case opMap:
		fmt.Fprintf(&b, " of a source of %#x bytes, offset %#x, length %#x", q.Source.Size, q.Offset, q.Length)
		if q.GranularitySet {
			fmt.Fprintf(&b, ", granularity %v", q.Granularity)
		}
		if q.Sharing == pmem2.Private {
			b.WriteString(", private")
		}
		fmt.Fprintf(&b, ", protection %#x", uint32(q.Prot))
		if r := q.Reservation; r != nil {
			fmt.Fprintf(&b, ", at offset %#x of a reservation of %#x bytes", r.Offset, r.Size)
		}
	case opExisting:
		fmt.Fprintf(&b, "(%#x, %#x, granularity %d)", c.addr, c.length, c.fine)
	case opReserve:
		fmt.Fprintf(&b, "(%#x, %#x)", c.addr, c.length)
	case opExtend:
		fmt.Fprintf(&b, "(%#x) of %#x bytes", c.length, c.was.Size)
	case opShrink, opFind:
		fmt.Fprintf(&b, "(%#x, %#x) of %#x bytes", c.offset, c.length, c.was.Size)
	case opCopy, opSet, opPersist, opFlush, opDeepFlush:
		fmt.Fprintf(&b, "(%#x, %#x bytes, flags %#x)", c.offset, c.length, uint32(c.flags))
	case opSize, opAlignment, opUnmap, opFindFirst, opFindLast, opFindNext, opFindPrev, opUnreserve, opContent, opKept:
	}
	return b.String()
}

// outcome is what C makes of the call.
func (d *difference) outcome() string {
	if d.died != "" {
		return d.died
	}
	return d.c.words(d.call.op)
}

// words say what the difference is.
func (d *difference) words() string {
	return d.call.words() + ": C has " + d.outcome() + ", right is " + d.want.words(d.call.op)
}
