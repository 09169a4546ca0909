package check

import "math/bits"

// What is known of one cache line, and the table of those of which anything is.

const lineSize = 64

// maxChanges is how many changes of one line are told apart; later ones join the last.
const maxChanges = 4

// maxMarks is how many goroutines' flushes of one line are remembered beyond need.
const maxMarks = 8

// maxClean is how many lines are remembered of which every byte is durable.
const maxClean = 4096

// A line is 64 aligned bytes; a set of them is a mask, the lowest bit being the first byte.
type line struct {
	no uint64 // its offset is 64 times this

	// risk are the bytes that ordinary stores changed and that aren't durable; changes say
	// which did, the oldest first, each byte being in that which stored it last.
	risk    uint64
	changes []change
	flushes []flush // at most one of each goroutine that is alive

	setup uint64 // bytes at risk that Clear excused
	gone  uint64 // bytes at risk when unmap deleted their mapping
	unmap *Op
	idle  uint64 // bytes at risk for which idleOp, a flush, could do nothing
	// idleOp is the last such flush.
	idleOp Op

	// touched is when the line was stored to last, be it silently, and toucher is who did;
	// shared if another goroutine did too, or an unknown one.
	touched uint64
	toucher int64
	shared  bool

	listed     int // flushes that are in their goroutine's list
	prev, next *line
	inRing     bool
	entered    uint64 // when it entered the ring
}

// change is the bytes that an operation changed.
type change struct {
	op   Op
	mask uint64
	how  How
}

// flush is what a goroutine's next fence makes durable of a line, and when the goroutine
// last flushed it.
type flush struct {
	g    int64
	op   Op     // the last flush that wasn't redundant
	at   uint64 // its time
	mask uint64 // of the bytes at risk those with the content that was flushed

	nt     uint64 // the goroutine's non-temporal bytes
	ntOp   Op     // its last non-temporal store
	ntAt   uint64
	strong uint64 // of nt those that a CLFLUSH of the goroutine followed

	// mark is when the goroutine last wrote back all that it can have stored: that it
	// does so again is redundant unless the line was touched since.
	mark   uint64
	markOp Op

	listed bool
	dead   bool // the goroutine is gone
}

// unflushed returns the bytes at risk whose content no flush has covered.
func (l *line) unflushed() uint64 {
	m := l.risk
	for i := range l.flushes {
		m &^= l.flushes[i].mask
	}
	return m
}

func (l *line) nonTemporal() uint64 {
	var m uint64
	for i := range l.flushes {
		m |= l.flushes[i].nt
	}
	return m
}

func (l *line) atRisk() uint64 { return l.risk | l.nonTemporal() }

// quiet reports whether nothing of l is at risk, and no goroutine holds it.
func (l *line) quiet() bool { return l.risk == 0 && l.listed == 0 && l.nonTemporal() == 0 }

// of returns what is known of g's flushes, nil if nothing is.
func (l *line) of(g int64) *flush {
	for i := range l.flushes {
		if f := &l.flushes[i]; f.g == g && !f.dead {
			return f
		}
	}
	return nil
}

// flushOf returns the place for g's flushes.
func (l *line) flushOf(g int64) *flush {
	if f := l.of(g); f != nil {
		return f
	}
	for i := range l.flushes {
		f := &l.flushes[i]
		spare := f.mask|f.nt == 0 && !f.listed
		if spare && (f.dead || f.mark < l.touched || len(l.flushes) >= maxMarks) {
			*f = flush{g: g}
			return f
		}
	}
	l.flushes = append(l.flushes, flush{g: g})
	return &l.flushes[len(l.flushes)-1]
}

// overwrite says that the bytes of m have another content now: nothing that was known of
// the former one counts.
func (l *line) overwrite(m uint64) {
	for i := range l.flushes {
		f := &l.flushes[i]
		f.mask &^= m
		f.nt &^= m
		f.strong &^= m
	}
	l.risk &^= m
	l.setup &^= m
	l.gone &^= m
	l.idle &^= m
	l.dropChanges(m)
}

// durable says that of the bytes at risk those of m are durable.
func (l *line) durable(m uint64) {
	for i := range l.flushes {
		l.flushes[i].mask &^= m
	}
	l.risk &^= m
	if l.risk == 0 {
		l.changes = l.changes[:0]
		return
	}
	l.dropChanges(m)
}

func (l *line) dropChanges(m uint64) {
	n := 0
	for i := range l.changes {
		c := &l.changes[i]
		if c.mask &^= m; c.mask != 0 {
			if n != i {
				l.changes[n] = *c
			}
			n++
		}
	}
	l.changes = l.changes[:n]
}

// addChange notes who changed the bytes of m, which overwrite has been told of.
func (l *line) addChange(c change) {
	l.risk |= c.mask
	if n := len(l.changes); n > 0 {
		last := &l.changes[n-1]
		same := last.op.Stack == c.op.Stack && c.op.Stack != 0 && last.op.G == c.op.G && last.how == c.how
		if same || n == maxChanges {
			last.mask |= c.mask
			return
		}
	}
	l.changes = append(l.changes, c)
}

// changeOf returns the oldest change of the bytes of m, which are at risk.
func (l *line) changeOf(m uint64) change {
	for _, c := range l.changes {
		if c.mask&m != 0 {
			return c
		}
	}
	return change{}
}

// settled reports whether whoever stored to the line has flushed it since: a further flush
// would be redundant.
func (l *line) settled() bool {
	if l.shared {
		return false
	}
	f := l.of(l.toucher)
	return f != nil && f.mark >= l.touched
}

// span returns the range of bytes from the first to the last of m, which isn't 0.
func (l *line) span(m uint64) (off, n uint64) {
	first := bits.TrailingZeros64(m)
	return l.no*lineSize + uint64(first), uint64(bits.Len64(m) - first)
}

// bytes returns the mask of the bytes of line no from first to last.
func bytes(no, first, last uint64) uint64 {
	m := ^uint64(0)
	if first > no*lineSize {
		m <<= first - no*lineSize
	}
	if end := no*lineSize + lineSize - 1; last < end {
		m &= ^uint64(0) >> (end - last)
	}
	return m
}

// table finds lines by number: open addressing, which costs less than a map where lines
// come and go with each store.
type table struct {
	slots []slot
	n     int
	shift uint
}

type slot struct {
	no uint64
	l  *line
}

const minSlots = 1 << 8

func (t *table) home(no uint64) int { return int(no * 0x9e3779b97f4a7c15 >> t.shift) }

func (t *table) find(no uint64) *line {
	if t.n == 0 {
		return nil
	}
	for i := t.home(no); ; i = (i + 1) & (len(t.slots) - 1) {
		if s := &t.slots[i]; s.l == nil || s.no == no {
			return s.l
		}
	}
}

// add adds a line that isn't there.
func (t *table) add(l *line) {
	if 2*(t.n+1) > len(t.slots) {
		t.resize(max(minSlots, 2*len(t.slots)))
	}
	t.n++
	t.put(l)
}

func (t *table) put(l *line) {
	i := t.home(l.no)
	for t.slots[i].l != nil {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = slot{l.no, l}
}

// remove removes a line that is there.
func (t *table) remove(no uint64) {
	mask := len(t.slots) - 1
	i := t.home(no)
	for t.slots[i].no != no || t.slots[i].l == nil {
		i = (i + 1) & mask
	}
	for j := i; ; { // what follows without a gap moves up, unless its home lies behind the gap
		j = (j + 1) & mask
		s := t.slots[j]
		if s.l == nil {
			break
		}
		if home := t.home(s.no); (j-home)&mask >= (j-i)&mask {
			t.slots[i] = s
			i = j
		}
	}
	t.slots[i] = slot{}
	t.n--
	if len(t.slots) > 16*maxClean && 16*t.n < len(t.slots) {
		t.resize(len(t.slots) / 2)
	}
}

func (t *table) resize(n int) {
	old := t.slots
	t.slots = make([]slot, n)
	t.shift = 64 - uint(bits.TrailingZeros(uint(n)))
	for _, s := range old {
		if s.l != nil {
			t.put(s.l)
		}
	}
}
