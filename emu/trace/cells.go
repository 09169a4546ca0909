package trace

import (
	"cmp"
	"slices"
)

const (
	lineSize   = 64
	sectorSize = 512
	pageSize   = 4096
	wordSize   = 8
)

// unit is the size of what is durable or not by itself: a cache line or a sector.
func (o Object) unit() uint64 {
	if o.Unit == sectorSize {
		return sectorSize
	}
	return lineSize
}

// A span is the bytes [from, to) of an object.
type span struct{ from, to uint64 }

// around is the span of whole units that hold a byte of [off, off+n).
func around(off, n, unit uint64) span {
	if n == 0 {
		return span{}
	}
	return span{off &^ (unit - 1), (off + n + unit - 1) &^ (unit - 1)}
}

// reach is what e reaches of its object, in whole lines, sectors or pages: nothing without
// an object or a range.
func (l *Log) reach(e *Event) span {
	switch {
	case e.Object < 0 || e.Object >= len(l.Objects):
		return span{}
	case e.Kind == Fsync:
		return span{0, maxOffset}
	case checkRange(e.Off, e.Len) != nil:
		return span{}
	case e.Kind == Msync:
		return around(e.Off, e.Len, pageSize)
	}
	return around(e.Off, e.Len, l.Objects[e.Object].unit())
}

// inner is the lines that e, a store to cache lines, fills: its bytes in others are apart.
func (l *Log) inner(e *Event) span {
	from, to := (e.Off+lineSize-1)&^(lineSize-1), (e.Off+e.Len)&^(lineSize-1)
	if l.Objects[e.Object].unit() != lineSize || from > to {
		return span{}
	}
	return span{from, to} // perhaps none, between two
}

// cut divides what the covered spans cover at the ends of all spans: each of cuts has
// a piece whole or not at all. The pieces rise.
func cut(covered, cuts []span) []span {
	type edge struct {
		at    uint64
		depth int
	}
	edges := make([]edge, 0, 2*(len(covered)+len(cuts)))
	for _, s := range covered {
		edges = append(edges, edge{s.from, 1}, edge{s.to, -1})
	}
	for _, s := range cuts {
		edges = append(edges, edge{s.from, 0}, edge{s.to, 0})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var pieces []span
	depth := 0
	for i, e := range edges {
		depth += e.depth
		if depth > 0 && i+1 < len(edges) && edges[i+1].at > e.at {
			pieces = append(pieces, span{e.at, edges[i+1].at})
		}
	}
	return pieces
}

// within returns which of pieces, as [first, end), lie in s, at whose ends they're cut.
func within(pieces []span, s span) (first, end int) {
	at := func(off uint64) int {
		i, _ := slices.BinarySearchFunc(pieces, off, func(p span, off uint64) int { return cmp.Compare(p.from, off) })
		return i
	}
	first = at(s.from)
	return first, max(first, at(s.to))
}
