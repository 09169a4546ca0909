package check

import (
	"cmp"
	"fmt"
	"slices"
)

// Finding is what is wrong with the program: one or several faults of the same rule at the
// same places in the source.
type Finding struct {
	Rule Rule
	// Proven: it follows from what was seen; otherwise it's only possible.
	Proven bool
	// Off and Len are the bytes that the first fault is about: of a line from the first
	// to the last byte concerned; of a flush what was to be flushed; of a fence nothing.
	Off, Len uint64
	// Count is the number of faults: lines, or of rules about waste, operations.
	Count uint64
	// First and Related are the operations of the first fault, as the rule describes them.
	// Related is zero if there is none.
	First, Related Op
	// Text is one sentence: what is wrong and what mends it.
	Text string
}

// State is how far a line has come on its way to the media.
type State uint8

const (
	Durable         State = iota
	NeverFlushed          // no flush has covered the change
	NotFenced             // flushed, or stored non-temporally; its goroutine hasn't fenced since
	FencedElsewhere       // nor since, but another goroutine has
)

// Status is what is known of a line: of those of its bytes that are furthest from durable.
type Status struct {
	State State
	// Off and Len are these bytes, from the first to the last.
	Off, Len uint64
	// How is how the change became known.
	How How
	// Change is the oldest operation that changed any of the bytes.
	Change Op
	// Flush is the last flush that covered them; of NeverFlushed one that could do
	// nothing, if there was. Zero is none.
	Flush Op
	// Fence is the last fence of another goroutine since.
	Fence Op
}

// Line returns the status of the line that holds the byte at off.
func (c *Checker) Line(off uint64) Status {
	l := c.table.find(off / lineSize)
	if l == nil {
		return Status{}
	}
	m := l.atRisk()
	if m == 0 {
		return Status{}
	}
	s, _, m := c.judge(l, m)
	s.Off, s.Len = l.span(m)
	return s
}

// judge returns the status of those bytes of m, all at risk, that are furthest from
// durable, whether it's certain that they aren't, and which they are.
func (c *Checker) judge(l *line, m uint64) (Status, bool, uint64) {
	if u := l.unflushed() & m; u != 0 {
		ch := l.changeOf(u)
		s := Status{State: NeverFlushed, How: ch.how, Change: ch.op}
		if l.idle&u != 0 {
			s.Flush = l.idleOp
		}
		return s, true, u
	}
	// Flushed bytes: by the last of the flushes and non-temporal stores, certain ones first.
	var last *flush
	var at, of uint64
	var nt, proven bool
	take := func(f *flush, isNT, isProven bool, time, mask uint64) {
		if mask != 0 && (last == nil || isProven && !proven || isProven == proven && time > at) {
			last, nt, proven, at, of = f, isNT, isProven, time, mask
		}
	}
	for i := range l.flushes {
		f := &l.flushes[i]
		take(f, false, true, f.at, f.mask&m)
		take(f, true, true, f.ntAt, f.nt&^f.strong&m)
		take(f, true, false, f.ntAt, f.strong&m)
	}
	s := Status{State: NotFenced}
	if nt {
		s.How, s.Change = NonTemporal, last.ntOp
	} else {
		ch := l.changeOf(of)
		s.How, s.Change, s.Flush = ch.how, ch.op, last.op
	}
	other := c.fenced
	if other != nil && other.g == last.g {
		other = c.otherFenced
	}
	if other != nil && other.fence.at > at {
		s.State, s.Fence = FencedElsewhere, other.fence.op
	}
	return s, proven, of
}

// checkOverwritten looks for flushed bytes of l that ch overwrites.
func (c *Checker) checkOverwritten(l *line, ch change) {
	for i := range l.flushes {
		f := &l.flushes[i]
		own := ch.op.G == f.g && !f.dead
		if !own && ch.how != Found {
			continue
		}
		if m := f.mask & ch.mask; m != 0 {
			c.report.add(OverwrittenBeforeDurable, own, l, m, ch.op, f.op, detail{})
		}
		if m := f.nt & ch.mask; m != 0 {
			c.report.add(OverwrittenBeforeDurable, false, l, m, ch.op, f.ntOp, detail{})
		}
	}
}

// wastedFlush is a flush of lines without need, of which the goroutine flushed some before,
// at the time mark; 0: it didn't.
func (c *Checker) wastedFlush(op Op, off, n uint64, before Op, mark uint64) {
	rule, proven := FlushOfCleanLine, c.exact && c.exactFrom == 0 && !c.forgot
	if mark > 0 {
		rule, proven = FlushedTwice, c.exact && mark >= c.exactFrom
	}
	c.report.addRange(rule, proven, off, n, op, before, detail{})
}

// Findings returns what is wrong so far, by the Seq of First, of Related, the rule and the
// offset. What is at risk now is judged as if the program ended here; that
// changes nothing, and a later call judges anew.
func (c *Checker) Findings() []Finding {
	all := c.report.clone()
	for _, f := range c.atEnd() {
		all.count(f)
	}
	list := make([]Finding, len(all.list))
	for i, f := range all.list {
		list[i] = f.Finding
		list[i].Text = f.text()
	}
	slices.SortStableFunc(list, compare)
	return list
}

func compare(a, b Finding) int {
	return cmp.Or(cmp.Compare(a.First.Seq, b.First.Seq), cmp.Compare(a.Related.Seq, b.Related.Seq),
		cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Off, b.Off))
}

// Overflow returns how many faults were left out of the findings so far, since there are
// findings enough: 10,000 with different rules or stacks.
func (c *Checker) Overflow() uint64 { return c.report.overflow }

// atEnd returns what is at risk, as faults.
func (c *Checker) atEnd() []fault {
	var faults []fault
	for _, l := range c.lines(0, ^uint64(0)/lineSize) {
		m := l.atRisk() &^ l.setup
		if !c.pageCache {
			m &^= l.idle // those are reported
		}
		for m != 0 {
			part := m
			if gone := m & l.gone; gone != 0 {
				part = gone
			}
			s, proven, part := c.judge(l, part)
			m &^= part
			f := fault{Finding: Finding{Proven: proven, First: s.Change, Related: s.Flush}, detail: detail{s: s}}
			switch {
			case part&l.gone != 0:
				f.Rule, f.Related = UnmappedBeforeDurable, *l.unmap
			case s.State == NeverFlushed:
				f.Rule = StoreNeverFlushed
			case s.State == NotFenced:
				f.Rule = FlushedNeverFenced
			default:
				f.Rule, f.Related = FencedByAnother, s.Fence
				if s.How != NonTemporal {
					f.First = s.Flush
				}
			}
			f.Off, f.Len = l.span(part)
			faults = append(faults, f)
		}
	}
	slices.SortStableFunc(faults, func(a, b fault) int { return compare(a.Finding, b.Finding) })
	return faults
}

// maxFindings bounds the findings that are told apart.
const maxFindings = 10_000

// report is the findings so far.
type report struct {
	list     []fault
	index    map[key]int
	overflow uint64
}

// fault is a finding and what its text needs.
type fault struct {
	Finding
	detail
}

type detail struct {
	s    Status
	what string
}

// key is what faults of one finding have in common.
type key struct {
	rule           Rule
	proven         bool
	first, related uint32
	what           string
}

// add adds a fault that is about the bytes of m in l.
func (r *report) add(rule Rule, proven bool, l *line, m uint64, first, related Op, d detail) {
	off, n := l.span(m)
	r.addRange(rule, proven, off, n, first, related, d)
}

func (r *report) addRange(rule Rule, proven bool, off, n uint64, first, related Op, d detail) {
	r.count(fault{Finding{Rule: rule, Proven: proven, Off: off, Len: n, First: first, Related: related}, d})
}

func (r *report) count(f fault) {
	k := key{f.Rule, f.Proven, f.First.Stack, f.Related.Stack, f.what}
	i, ok := r.index[k]
	if !ok {
		if len(r.list) >= maxFindings {
			r.overflow++
			return
		}
		if r.index == nil {
			r.index = map[key]int{}
		}
		i = len(r.list)
		r.index[k] = i
		r.list = append(r.list, f)
	}
	r.list[i].Count++
}

func (r *report) clone() *report {
	c := &report{list: slices.Clone(r.list), index: make(map[key]int, len(r.index))}
	for k, i := range r.index {
		c.index[k] = i
	}
	return c
}

// text is the finding in a sentence.
func (f *fault) text() string {
	where := fmt.Sprintf("%d bytes at %#x", f.Len, f.Off)
	g, by := f.First.G, f.Related.G
	switch f.Rule {
	case StoreNeverFlushed:
		if f.Related != (Op{}) {
			return fmt.Sprintf("%s, %s, were flushed from the CPU's caches, which doesn't take them out of the page cache: msync or fsync them", where, f.changed())
		}
		return fmt.Sprintf("%s, %s, were never flushed: persist them after the store", where, f.changed())
	case FlushedNeverFenced:
		if f.s.How == NonTemporal {
			return fmt.Sprintf("%s, %s, wait for a fence of this goroutine, which never came: drain after the copy", where, f.changed())
		}
		return fmt.Sprintf("%s, %s, were flushed by goroutine %d, which never fenced: drain after the flush", where, f.changed(), by)
	case FencedByAnother:
		done := "flushed"
		if f.s.How == NonTemporal {
			done = "stored non-temporally"
		}
		return fmt.Sprintf("%s were %s by goroutine %d, and only goroutine %d fenced, which doesn't order them: drain in goroutine %d", where, done, g, by, g)
	case NotDurableAtCommit:
		return fmt.Sprintf("%s, %s, are taken for durable at %q, but were %s: persist them before it", where, f.changed(), f.what, f.missing())
	case OverwrittenBeforeDurable:
		return fmt.Sprintf("%s were flushed or stored non-temporally by goroutine %d and overwritten before its fence: drain before storing anew, or leave out the first flush", where, by)
	case FlushOutsideMapping:
		return fmt.Sprintf("goroutine %d flushed %s, where nothing is mapped: flush inside the mapping only", g, where)
	case FlushLeftOutForEADR:
		return fmt.Sprintf("%s were flushed by goroutine %d without an instruction, but this machine has no eADR: use the granularity that the machine has", where, by)
	case UnmappedBeforeDurable:
		return fmt.Sprintf("%s, %s, were %s when goroutine %d deleted the mapping, and later: persist them before", where, f.changed(), f.missing(), by)
	case FlushOfCleanLine:
		return fmt.Sprintf("goroutine %d flushed %s, no line of which had been stored to: leave out the flush", g, where)
	case FlushedTwice:
		return fmt.Sprintf("goroutine %d flushed %s a second time with the same content: leave out one of the flushes", g, where)
	case FenceWithoutEffect:
		return fmt.Sprintf("goroutine %d fenced without having flushed anything since its last fence: leave out the fence, or drain in the goroutine that flushed", g)
	}
	return string(f.Rule)
}

// changed says how the bytes got their content.
func (d *detail) changed() string {
	switch d.s.How {
	case Found:
		return "found changed by a store that wasn't seen"
	case NonTemporal:
		return fmt.Sprintf("stored non-temporally by goroutine %d", d.s.Change.G)
	}
	return fmt.Sprintf("stored by goroutine %d", d.s.Change.G)
}

// missing says what keeps the bytes from being durable.
func (d *detail) missing() string {
	switch {
	case d.s.State == NeverFlushed:
		return "never flushed"
	case d.s.State == FencedElsewhere:
		return fmt.Sprintf("fenced by another goroutine only (%d)", d.s.Fence.G)
	case d.s.How == NonTemporal:
		return "not fenced"
	}
	return "flushed, but not fenced"
}
