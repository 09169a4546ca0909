package emu_test

import "slices"

// The reference: a machine in the other sense of the word, which writes to its media piece by
// piece, at any time, in any order that the rules leave, and is asked for everything that
// could be there. A piece is what one operation wrote in one aligned word of 8 bytes; the state
// of a unit, a line or a sector, is which pieces have reached the media. It follows all
// states at once.

// refPiece is what was written in a word at once.
type refPiece struct {
	step   int // of the operation that wrote it, or of the look that found it
	word   uint64
	bytes  []refByte // of what a look found those that differ
	nt     bool
	g      int // that stored it non-temporally
	atomic bool
}

type refByte struct {
	off uint64
	b   byte
}

// refState is which pieces of a unit are on the media.
type refState [2]uint64

func (s refState) has(i int) bool      { return s[i/64]>>(i%64)&1 != 0 }
func (s refState) with(i int) refState { s[i/64] |= 1 << (i % 64); return s }

type refUnit struct {
	pieces []refPiece
	states map[refState]bool
}

// refLines are the lines of the random programs: two are neighbours, of one sector.
var refLines = []uint64{0, 64, 4096}

// refMemory is what they hold, one after the other.
type refMemory [3 * 64]byte

func (m *refMemory) at(off uint64) *byte { return &m[slices.Index(refLines, off&^63)*64+int(off%64)] }

type refConfig struct {
	rules    string // "adr", "eadr", "arm64", "page"
	possible bool
}

type reference struct {
	refConfig
	step    int
	visible refMemory // what loads see
	known   refMemory // and what the machine knows of that
	units   map[uint64]*refUnit
	flushed [2]map[uint64]refState // by goroutine and unit: what its next fence completes
	loose   []uint64               // units with pieces of the last operation, under eADR
}

func newReference(c refConfig) *reference {
	return &reference{
		refConfig: c, units: map[uint64]*refUnit{}, flushed: [2]map[uint64]refState{{}, {}},
	}
}

func (r *reference) unitOf(off uint64) uint64 {
	if r.rules == "page" {
		return off / 512
	}
	return off / 64
}

func (r *reference) unit(off uint64) *refUnit {
	u := r.units[r.unitOf(off)]
	if u == nil {
		u = &refUnit{states: map[refState]bool{{}: true}}
		r.units[r.unitOf(off)] = u
	}
	return u
}

// linesIn are the offsets of the lines of [off, off+n) in which programs do anything.
func linesIn(off, n uint64) (lines []uint64) {
	for _, l := range refLines {
		if n > 0 && l < off+n && off < l+64 {
			lines = append(lines, l)
		}
	}
	return lines
}

func (r *reference) do(o litmusOp) {
	lines := linesIn(o.off, max(o.n, uint64(len(o.data))))
	if o.kind > opStore && o.kind != opLook {
		defer r.settle()()
	}
	switch o.kind {
	case opStore:
		r.see(o)
	case opLook:
		r.find(refLines...)
	case opCopy, opCopyNT:
		for _, l := range lines {
			r.find(l)
		}
		r.see(o)
		for _, l := range lines {
			from, to := max(l, o.off), min(l+64, o.off+uint64(len(o.data)))
			nt := o.kind == opCopyNT && to-from == 64 && (r.rules == "adr" || r.rules == "eadr")
			r.write(from, o.data[from-o.off:to-o.off], nt, o.g)
			if o.kind == opCopyNT && !nt {
				r.flush(o.g, l)
			}
		}
	case opFlush:
		for _, l := range lines {
			r.find(l)
			r.flush(o.g, l)
		}
	case opCLFlush:
		for _, l := range lines {
			r.find(l)
			r.flush(o.g, l)
			if r.rules != "arm64" && r.rules != "page" {
				// At once; without a word on those of other lines.
				r.arrive(r.unit(l), func(p refPiece) bool { return !p.nt || !r.possible && p.g == o.g })
			}
		}
	case opFence:
		r.fence(o.g)
	case opPersist:
		for _, l := range lines {
			r.find(l)
			r.flush(o.g, l)
		}
		r.fence(o.g)
	case opMsync:
		lines = linesIn(o.off&^4095, 4096)
		r.find(lines...)
		for _, l := range lines {
			if r.rules == "page" {
				r.arrive(r.unit(l), func(refPiece) bool { return true })
			}
			r.flush(o.g, l)
		}
		r.fence(o.g)
	}
}

func (r *reference) see(o litmusOp) {
	for i, b := range o.data {
		*r.visible.at(o.off + uint64(i)) = b
	}
}

// find is what a look at lines finds.
func (r *reference) find(lines ...uint64) {
	var found []refPiece
	for _, l := range lines {
		for w := l; w < l+64; w += 8 {
			p := refPiece{step: r.step + 1, word: w / 8, atomic: true}
			for at := w; at < w+8; at++ {
				if is := *r.visible.at(at); is != *r.known.at(at) {
					p.bytes = append(p.bytes, refByte{at, is})
				}
			}
			if p.bytes != nil {
				found = append(found, p)
			}
		}
	}
	if found != nil {
		r.pieces(found)
	}
}

// write is a store of data that the machine has made itself, in one line.
func (r *reference) write(off uint64, data []byte, nt bool, g int) {
	var stored []refPiece
	for i, b := range data {
		at := off + uint64(i)
		if i == 0 || at%8 == 0 {
			stored = append(stored, refPiece{step: r.step + 1, word: at / 8, nt: nt, g: g, atomic: r.rules == "page"})
		}
		p := &stored[len(stored)-1]
		p.bytes = append(p.bytes, refByte{at, b})
	}
	r.pieces(stored)
}

// pieces is what one operation wrote, or one look found, all of which is known then.
func (r *reference) pieces(all []refPiece) {
	done := r.settle()
	r.step++
	for _, p := range all {
		u := r.unit(p.word * 8)
		u.pieces = append(u.pieces, p)
		if r.rules == "eadr" && !p.nt {
			r.loose = append(r.loose, r.unitOf(p.word*8))
		}
		for _, b := range p.bytes {
			*r.known.at(b.off) = b.b
		}
	}
	done()
}

// settle ends the operation before. Under eADR a store of several words is one word after the
// other; by the end of it, all are there. The operation is over for certain when the next begins;
// what isn't proven before is that it was amid.
func (r *reference) settle() func() {
	loose := r.loose
	r.loose = nil
	for _, n := range loose {
		r.arrive(r.units[n], func(p refPiece) bool { return !p.nt })
	}
	return func() {
		if r.rules == "eadr" && (!r.possible || len(r.loose) == 1) {
			loose := r.loose
			r.loose = nil
			for _, n := range loose {
				r.arrive(r.units[n], func(p refPiece) bool { return !p.nt })
			}
		}
		for _, u := range r.units {
			r.persistAnything(u)
		}
	}
}

// flush is a write-back of the line by goroutine g, which counts from its next fence on.
func (r *reference) flush(g int, line uint64) {
	if r.rules == "page" {
		return
	}
	r.settle()()
	var covered refState
	u := r.unit(line)
	for i, p := range u.pieces {
		if !p.nt {
			covered = covered.with(i)
		}
	}
	r.flushed[g][r.unitOf(line)] = covered
}

func (r *reference) fence(g int) {
	if r.rules == "page" {
		return
	}
	r.settle()()
	for n, u := range r.units {
		covered := r.flushed[g][n]
		states := map[refState]bool{}
		for s := range u.states {
			for i, p := range u.pieces {
				if covered.has(i) || p.nt && p.g == g {
					s = s.with(i)
				}
			}
			states[s] = true
		}
		u.states = states
	}
	r.flushed[g] = map[uint64]refState{}
}

// arrive has the pieces on the media, in each state.
func (r *reference) arrive(u *refUnit, which func(refPiece) bool) {
	if u == nil {
		return
	}
	states := map[refState]bool{}
	for s := range u.states {
		for i, p := range u.pieces {
			if which(p) {
				s = s.with(i)
			}
		}
		states[s] = true
	}
	u.states = states
}

// persistAnything adds all states that come of those that there are when pieces get to the
// media by themselves.
func (r *reference) persistAnything(u *refUnit) {
	var todo []refState
	for s := range u.states {
		todo = append(todo, s)
	}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for i := range u.pieces {
			if s.has(i) || !r.mayPersist(u, s, i) {
				continue
			}
			next := s.with(i)
			if p := u.pieces[i]; p.atomic && !r.anyWord() {
				for k, q := range u.pieces {
					if q.step == p.step {
						next = next.with(k)
					}
				}
			}
			if !u.states[next] {
				u.states[next] = true
				todo = append(todo, next)
			}
		}
	}
}

// anyWord: each word has an order of its own.
func (r *reference) anyWord() bool { return r.possible || r.rules == "arm64" }

// mayPersist says that piece i can be the next one on the media.
func (r *reference) mayPersist(u *refUnit, s refState, i int) bool {
	p := u.pieces[i]
	for k, q := range u.pieces[:i] {
		var ordered bool
		switch {
		case p.nt != q.nt:
		case p.nt:
			ordered = p.word == q.word && p.g == q.g
		case r.anyWord():
			ordered = p.word == q.word
		default:
			ordered = q.step < p.step
		}
		if ordered && !s.has(k) {
			return false
		}
	}
	return true
}

// content is what the lines of a unit hold, one after the other, with the pieces of s.
func (u *refUnit) content(s refState, lines []uint64) string {
	var m refMemory
	for i, p := range u.pieces { // in the order in which they became visible
		if s.has(i) {
			for _, b := range p.bytes {
				*m.at(b.off) = b.b
			}
		}
	}
	var content []byte
	for _, l := range lines {
		first := slices.Index(refLines, l) * 64
		content = append(content, m[first:first+64]...)
	}
	return string(content)
}

// images are all contents of the lines that programs use, one after the other, if there
// aren't more than limit.
func (r *reference) images(limit int) map[string]bool {
	images := map[string]bool{"": true}
	for _, group := range r.byUnit() {
		contents := map[string]bool{}
		u := r.unit(group[0])
		for s := range u.states {
			if contents[u.content(s, group)] = true; len(contents) > limit {
				return nil
			}
		}
		if len(images)*len(contents) > limit {
			return nil
		}
		next := map[string]bool{}
		for a := range images {
			for b := range contents {
				next[a+b] = true
			}
		}
		images = next
	}
	return images
}

// byUnit are the lines, those of one unit together.
func (r *reference) byUnit() (groups [][]uint64) {
	for _, l := range refLines {
		if n := len(groups); n > 0 && r.unitOf(groups[n-1][0]) == r.unitOf(l) {
			groups[n-1] = append(groups[n-1], l)
		} else {
			groups = append(groups, []uint64{l})
		}
	}
	return groups
}
