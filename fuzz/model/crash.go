package model

import "encoding/binary"

// CrashRules say what stands between stores and the media.
type CrashRules int

// The rules: of x86, of x86 whose caches are kept, of Armv8, and of the page cache.
const (
	CrashADR CrashRules = iota
	CrashEADR
	CrashArm64
	CrashPages
)

// CrashKind is what an operation does.
type CrashKind int

// The operations. A store is what a compiler makes of an assignment: nobody sees it until a
// look, or an operation on its line. The machine's own copies are seen.
const (
	CrashStore CrashKind = iota
	CrashCopy
	CrashCopyNT  // whole lines non-temporally, the rest flushed
	CrashFlush   // CLWB, CLFLUSHOPT or DC CVAP
	CrashCLFlush // on Arm the same as CrashFlush
	CrashFence
	CrashPersist // a flush and a fence
	CrashMsync   // of the pages of the range
	CrashWrite   // pwrite: a store that the kernel makes
	CrashLook    // at everything
	CrashCheck   // at the pages of the range: is it durable?
)

// CrashOp is an operation of goroutine By, 0 or 1.
type CrashOp struct {
	Kind CrashKind
	By   int
	Off  uint64
	N    uint64 // bytes, but of what has Data
	Data []byte
}

// CrashMemory is memory of which a power failure leaves something, kept by the rules as they
// are written: a machine in the other sense of the word. What one operation wrote in an
// aligned word of 8 bytes is a piece, and pieces get to the media one by one, at any time,
// in any order that the rules leave. The state of a unit, a line or a sector, is which of its
// pieces are there. All states are followed at once: a new piece doubles those in which
// it may be the next, and what makes pieces durable rules out the states without.
//
// In the beginning all is zero and durable.
type CrashMemory struct {
	CrashConfig
	step           int
	visible, known crashWords // what loads see, and what of that was looked at
	units          [maxCrashLines]crashUnit
	unitOf         [maxCrashLines]int // of each line
	count          int                // of units
	loose          []int              // units of the pieces of the last operation, with eADR
	over           bool               // there are too many states
}

// CrashConfig is what a CrashMemory is.
type CrashConfig struct {
	Rules CrashRules
	// Possible takes what some source of the rules allows, or some order of stores that
	// nobody saw: any word at any of its values. Else what all agree on is taken.
	Possible bool
	// NonTemporal says that the machine has non-temporal stores, Strong that all its flushes
	// are CLFLUSH.
	NonTemporal, Strong bool
	// Lines are the offsets of the lines that programs use, in order: at most 4.
	Lines []uint64
	// Limit is how many states a unit can have, or all memory contents.
	Limit int
}

const (
	maxCrashLines = 4
	crashLine     = 64
	lineWords     = crashLine / 8
	maxPieces     = 128
)

// crashWords are the words of all lines, one line after the other.
type crashWords [maxCrashLines * lineWords]uint64

// CrashContent are the words of a unit: of its line, or its lines.
type CrashContent [2 * lineWords]uint64

// crashPiece is what was written in a word at once.
type crashPiece struct {
	word      int // of all memory
	val, mask uint64
	step      int // of the store, or the look that found it
	nt        bool
	by        int // that stored it non-temporally
}

// crashSet is a set of pieces of a unit.
type crashSet [maxPieces / 64]uint64

func (s crashSet) with(i int) crashSet        { s[i/64] |= 1 << (i % 64); return s }
func (s crashSet) has(i int) bool             { return s[i/64]>>(i%64)&1 != 0 }
func (s crashSet) holds(o crashSet) bool      { return o[0]&^s[0]|o[1]&^s[1] == 0 }
func (s crashSet) and(o crashSet) crashSet    { return crashSet{s[0] | o[0], s[1] | o[1]} }
func (s crashSet) common(o crashSet) crashSet { return crashSet{s[0] & o[0], s[1] & o[1]} }

type crashUnit struct {
	first, lines int // lines
	pieces       []crashPiece
	states       []crashSet
	flushed      [2]crashSet // by goroutine: what its next fence completes
}

// NewCrashMemory returns memory whose lines are all zero.
func NewCrashMemory(c CrashConfig) *CrashMemory {
	m := &CrashMemory{CrashConfig: c}
	for i, off := range c.Lines {
		if i > 0 && m.unit(c.Lines[i-1]) == m.unit(off) {
			m.units[m.count-1].lines++
		} else {
			m.units[m.count] = crashUnit{first: i, lines: 1}
			m.count++
		}
		m.unitOf[i] = m.count - 1
	}
	m.Clear()
	return m
}

// unit is the number of the unit of an offset. Where each word has an order of its own a
// sector is as good as its lines.
func (m *CrashMemory) unit(off uint64) uint64 {
	if m.Rules == CrashPages && !m.Possible {
		return off / 512
	}
	return off / crashLine
}

// Clear makes all zero and durable.
func (m *CrashMemory) Clear() {
	m.step, m.over, m.loose = 0, false, m.loose[:0]
	m.visible, m.known = crashWords{}, crashWords{}
	for i := range m.count {
		u := &m.units[i]
		u.pieces, u.states, u.flushed = u.pieces[:0], append(u.states[:0], crashSet{}), [2]crashSet{}
	}
}

// lines are the first and the last line with a byte in [off, off+n), as numbers; last < first
// if there is none.
func (m *CrashMemory) lines(off, n uint64) (first, last int) {
	for first < len(m.Lines) && m.Lines[first]+crashLine <= off {
		first++
	}
	last = first - 1
	for n > 0 && last+1 < len(m.Lines) && m.Lines[last+1] < off+n {
		last++
	}
	return first, last
}

// Do does an operation. It returns false if there are too many states from then on: what
// the memory says is nothing then, until Clear.
func (m *CrashMemory) Do(o CrashOp) bool {
	if o.Data != nil {
		o.N = uint64(len(o.Data))
	}
	first, last := m.lines(o.Off, o.N)
	switch o.Kind {
	case CrashStore:
		m.see(o)
	case CrashLook:
		m.find(0, len(m.Lines)-1)
	case CrashCheck:
		m.find(m.pages(o.Off, o.N))
		m.Settle()
	case CrashCopy, CrashCopyNT:
		for l := first; l <= last; l++ {
			m.find(l, l)
		}
		m.see(o)
		for l := first; l <= last; l++ {
			from, to := max(m.Lines[l], o.Off), min(m.Lines[l]+crashLine, o.Off+o.N)
			data := o.Data[from-o.Off : to-o.Off]
			nt := o.Kind == CrashCopyNT && len(data) == crashLine && m.NonTemporal
			m.write(from, data, nt, o.By)
			if o.Kind == CrashCopyNT && !nt {
				m.flush(o.By, l, m.Strong)
			}
		}
	case CrashWrite:
		m.find(m.pages(o.Off, o.N))
		m.see(o)
		m.write(o.Off, o.Data, false, 0)
	case CrashFlush, CrashCLFlush, CrashPersist:
		for l := first; l <= last; l++ {
			m.find(l, l)
			m.flush(o.By, l, o.Kind == CrashCLFlush || m.Strong)
		}
		if o.Kind == CrashPersist {
			m.fence(o.By)
		}
	case CrashFence:
		m.fence(o.By)
	case CrashMsync:
		first, last = m.pages(o.Off, o.N)
		m.find(first, last)
		for l := first; l <= last; l++ {
			m.flush(o.By, l, false)
			if m.Rules == CrashPages {
				m.require(l, func(*crashPiece) bool { return true })
			}
		}
		m.fence(o.By)
	}
	return !m.over
}

// pages are the lines in the pages of a range.
func (m *CrashMemory) pages(off, n uint64) (first, last int) {
	end := (off + n + 4095) &^ 4095
	off &^= 4095
	return m.lines(off, end-off)
}

// see has loads see what o stores.
func (m *CrashMemory) see(o CrashOp) {
	for i, b := range o.Data {
		m.visible.put(m.at(o.Off+uint64(i)), b)
	}
}

// at is the place of a byte in the lines, one after the other.
func (m *CrashMemory) at(off uint64) int {
	l, _ := m.lines(off, 1)
	return l*crashLine + int(off-m.Lines[l])
}

func (w *crashWords) put(at int, b byte) {
	shift := at % 8 * 8
	w[at/8] = w[at/8]&^(0xff<<shift) | uint64(b)<<shift
}

// find is what a look at lines finds: of each word the bytes that differ.
func (m *CrashMemory) find(first, last int) {
	var found []crashPiece
	for w := first * lineWords; w < (last+1)*lineWords; w++ {
		if diff := m.visible[w] ^ m.known[w]; diff != 0 {
			p := crashPiece{word: w, val: m.visible[w]}
			for b := range 8 {
				if byteMask := uint64(0xff) << (8 * b); diff&byteMask != 0 {
					p.mask |= byteMask
				}
			}
			found = append(found, p)
		}
	}
	if found != nil {
		m.wrote(found, true)
	}
}

// write is a store that the machine makes itself. In the page cache a sector has the whole
// of it or nothing.
func (m *CrashMemory) write(off uint64, data []byte, nt bool, by int) {
	var stored []crashPiece
	for i, b := range data {
		at := m.at(off + uint64(i))
		if n := len(stored); n == 0 || stored[n-1].word != at/8 {
			stored = append(stored, crashPiece{word: at / 8, nt: nt, by: by})
		}
		p := &stored[len(stored)-1]
		shift := at % 8 * 8
		p.val |= uint64(b) << shift
		p.mask |= 0xff << shift
	}
	m.wrote(stored, m.Rules == CrashPages)
}

// wrote is what one store wrote, or one look found. Together: those of a unit get to the media
// at once.
func (m *CrashMemory) wrote(pieces []crashPiece, together bool) {
	m.Settle()
	m.step++
	for len(pieces) > 0 {
		unit := m.unitOf[pieces[0].word/lineWords]
		n := 1
		for n < len(pieces) && m.unitOf[pieces[n].word/lineWords] == unit {
			n++
		}
		m.add(unit, pieces[:n], together && !m.anyWord())
		pieces = pieces[n:]
	}
	if !m.Possible || len(m.loose) == 1 {
		m.Settle() // what was found is there, and one word is there at once
	}
}

// add adds pieces of one step to a unit.
func (m *CrashMemory) add(unit int, pieces []crashPiece, together bool) {
	u := &m.units[unit]
	if m.over || len(u.pieces)+len(pieces) > maxPieces {
		m.over = true
		return
	}
	before := len(u.pieces)
	for i := range pieces {
		p := pieces[i]
		p.step = m.step
		m.known[p.word] = m.known[p.word]&^p.mask | p.val&p.mask
		u.pieces = append(u.pieces, p)
		if m.Rules == CrashEADR && !p.nt {
			m.loose = append(m.loose, unit)
		}
	}
	for i := before; i < len(u.pieces); i++ {
		next := crashSet{}.with(i)
		for ; together && i+1 < len(u.pieces); i++ {
			next = next.with(i + 1)
		}
		need := m.need(u, i)
		for _, s := range u.states {
			if s.holds(need) {
				u.states = append(u.states, s.and(next))
			}
		}
		if m.over = len(u.states) > m.Limit; m.over {
			return
		}
	}
}

// anyWord: each word has an order of its own.
func (m *CrashMemory) anyWord() bool { return m.Possible || m.Rules == CrashArm64 }

// need are the pieces that have to be on the media before piece i.
func (m *CrashMemory) need(u *crashUnit, i int) (need crashSet) {
	p := &u.pieces[i]
	for k := range i {
		q := &u.pieces[k]
		var ordered bool
		switch {
		case p.nt != q.nt: // in no order
		case p.nt: // those of one goroutine to one word
			ordered = p.word == q.word && p.by == q.by
		case m.anyWord():
			ordered = p.word == q.word
		default:
			ordered = q.step < p.step
		}
		if ordered {
			need = need.with(k)
		}
	}
	return need
}

// require has pieces on the media for certain: there is no state without.
func (m *CrashMemory) require(line int, which func(*crashPiece) bool) {
	u := &m.units[m.unitOf[line]]
	var all crashSet
	for i := range u.pieces {
		if which(&u.pieces[i]) {
			all = all.with(i)
		}
	}
	u.require(all)
}

func (u *crashUnit) require(all crashSet) {
	n := 0
	for _, s := range u.states {
		if s.holds(all) {
			u.states[n] = s
			n++
		}
	}
	u.states = u.states[:n]
}

// Settle ends the last operation. With eADR a store of several words is one after the
// other, and by the end all are there; that it is over is certain when the next begins.
func (m *CrashMemory) Settle() {
	for _, unit := range m.loose {
		m.require(m.units[unit].first, func(p *crashPiece) bool { return !p.nt })
	}
	m.loose = m.loose[:0]
}

// flush is a write-back of a line. It covers ordinary stores, by whomever, and counts from
// the next fence of its goroutine on. CLFLUSH counts at once; whether it is a word on
// non-temporal stores of its own goroutine isn't settled.
func (m *CrashMemory) flush(by, line int, strong bool) {
	m.Settle()
	if m.Rules == CrashPages {
		return
	}
	u := &m.units[m.unitOf[line]]
	for i := range u.pieces {
		if !u.pieces[i].nt {
			u.flushed[by] = u.flushed[by].with(i)
		}
	}
	if strong && m.Rules != CrashArm64 {
		m.require(line, func(p *crashPiece) bool { return !p.nt || !m.Possible && p.by == by })
	}
}

// fence completes the flushes and the non-temporal stores of its own goroutine.
func (m *CrashMemory) fence(by int) {
	m.Settle()
	for i := range m.count {
		u := &m.units[i]
		all := u.flushed[by]
		for k := range u.pieces {
			if p := &u.pieces[k]; p.nt && p.by == by {
				all = all.with(k)
			}
		}
		u.require(all)
		u.flushed[by] = crashSet{}
	}
}

// Units is how many units there are.
func (m *CrashMemory) Units() int { return m.count }

// LinesOf unit i: the number of the first, and how many.
func (m *CrashMemory) LinesOf(i int) (first, n int) { return m.units[i].first, m.units[i].lines }

// Contents fills to with what unit i can hold, whatever others do, and numbers it.
func (m *CrashMemory) Contents(i int, to map[CrashContent]int) {
	clear(to)
	u := &m.units[i]
	for _, s := range u.states {
		c := u.content(s)
		if _, ok := to[c]; !ok {
			to[c] = len(to)
		}
	}
}

// content is what u holds with the pieces of s: of the same bytes the last that became visible.
func (u *crashUnit) content(s crashSet) (c CrashContent) {
	for i := range u.pieces {
		if p := &u.pieces[i]; s.has(i) {
			w := &c[p.word-u.first*lineWords]
			*w = *w&^p.mask | p.val&p.mask
		}
	}
	return c
}

// Visible is what loads see of unit i.
func (m *CrashMemory) Visible(i int) (c CrashContent) {
	u := &m.units[i]
	copy(c[:u.lines*lineWords], m.visible[u.first*lineWords:])
	return c
}

// Durable is what is on the media for certain of unit i, and whether everything is that was
// looked at.
func (m *CrashMemory) Durable(i int) (c CrashContent, all bool) {
	u := &m.units[i]
	certain := u.states[0]
	for _, s := range u.states {
		certain = certain.common(s)
	}
	all = true
	for k := range u.pieces {
		all = all && certain.has(k)
	}
	return u.content(certain), all
}

// Loses says whether unit i can be anything but what loads see.
func (m *CrashMemory) Loses(i int) bool {
	u, visible := &m.units[i], m.Visible(i)
	for _, s := range u.states {
		if u.content(s) != visible {
			return true
		}
	}
	return false
}

// ContentOf reads the n lines from line first on of an image of memory, which programs use.
func (c CrashConfig) ContentOf(image []byte, first, n int) (content CrashContent) {
	for i := range n {
		line := image[c.Lines[first+i]:][:crashLine]
		for w := range lineWords {
			content[i*lineWords+w] = binary.LittleEndian.Uint64(line[w*8:])
		}
	}
	return content
}
