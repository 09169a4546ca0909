package persist

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
)

// block is a line or sector: what is durable of it for certain, and the writes since.
type block struct {
	off     uint64
	floor   []uint64 // durable for certain; words are little-endian
	now     []uint64 // with all writes: what is visible
	writes  []write  // in the order in which they became visible
	nts     int      // of them the non-temporal ones
	dirtyAt int      // index in Memory.dirty; -1: no writes
	limit   int      // the number of writes past which versions are forgotten
	forgot  bool     // some were
}

// write is what a store wrote in one aligned word.
type write struct {
	step      uint64 // the number of the store
	g         int64  // the goroutine, of non-temporal ones
	mask, val uint64 // val counts where mask has ones
	word      int
	nt        bool
	group     bool // that a part of the store persists without the rest isn't proven
	certain   bool // non-temporal: that it isn't durable isn't proven
}

func newBlock(size uint64) *block {
	n := int(size / wordSize)
	words := make([]uint64, 2*n)
	return &block{floor: words[:n:n], now: words[n:], dirtyAt: -1}
}

// begin makes b the block at off, all of whose content is durable.
func (b *block) begin(off uint64, content []byte) {
	b.off, b.limit, b.forgot = off, writesPerWord*len(b.now), false
	for i := range b.floor {
		b.floor[i] = binary.LittleEndian.Uint64(content[i*wordSize:])
	}
	copy(b.now, b.floor)
}

func putWords(p []byte, words []uint64) {
	for i, w := range words {
		binary.LittleEndian.PutUint64(p[i*wordSize:], w)
	}
}

// merge is old overwritten by w.
func (w *write) merge(old uint64) uint64 { return old&^w.mask | w.val&w.mask }

// put writes p at byte at, as w says, and returns the number of words of the store. An
// ordinary store of what is there already leaves no trace, unless non-temporal stores
// wait: the bytes could be theirs alone. What was only observed is what differs.
func (b *block) put(at uint64, p []byte, w write) int {
	n := 0
	for len(p) > 0 {
		w.word = int(at / wordSize)
		k := min(len(p), int(wordSize-at%wordSize))
		if k == wordSize {
			w.val, w.mask = binary.LittleEndian.Uint64(p), math.MaxUint64
		} else {
			w.val, w.mask = 0, 0
			for i := range k {
				shift := 8 * (at%wordSize + uint64(i))
				w.val |= uint64(p[i]) << shift
				w.mask |= 0xff << shift
			}
		}
		if w.group {
			w.mask &= bytesThatDiffer(w.val, b.now[w.word])
			w.val &= w.mask
		}
		p, at = p[k:], at+uint64(k)
		if next := w.merge(b.now[w.word]); next != b.now[w.word] || w.nt || b.nts > 0 && w.mask != 0 {
			b.now[w.word] = next
			b.writes = append(b.writes, w)
			if w.nt {
				b.nts++
			}
		}
		if w.mask != 0 {
			n++
		}
	}
	return n
}

// bytesThatDiffer has every bit set of the bytes that aren't the same in a and b.
func bytesThatDiffer(a, b uint64) uint64 {
	const low, high = 0x7f7f7f7f7f7f7f7f, 0x8080808080808080
	diff := a ^ b
	some := ((diff&low + low) | diff) & high // the highest bit of each byte that isn't 0
	return some >> 7 * 0xff
}

// harden makes durable the ordinary stores up to a given one, and the non-temporal ones of
// goroutine g if that is fencing. What was written earlier to the same bytes can't
// be seen any more. It says whether there were any.
func (b *block) harden(upTo uint64, g int64, fencing bool) (some bool) {
	var over [sectorSize / wordSize]uint64 // the bytes written by later durable writes
	keep := len(b.writes)
	for i := len(b.writes) - 1; i >= 0; i-- {
		w := b.writes[i]
		w.mask &^= over[w.word]
		hard := w.nt && fencing && w.g == g || !w.nt && w.step <= upTo
		if hard {
			b.floor[w.word] = w.merge(b.floor[w.word])
			over[w.word] |= w.mask
			some = true
		}
		if !hard && w.mask != 0 {
			keep--
			b.writes[keep] = w
		} else if w.nt {
			b.nts--
		}
	}
	b.writes = slices.Delete(b.writes, 0, keep)
	return some
}

// writesPerWord times the words of a block is how many writes it remembers.
const writesPerWord = 64

// forget makes one version of those of the older half of the ordinary stores that no
// flush tells apart; marks are the stores up to which there were flushes that wait for
// their fence. Nothing becomes durable, and what is left are versions that there were.
func (b *block) forget(marks []uint64) {
	if b.nts > 0 {
		return
	}
	half := len(b.writes) / 2
	slices.Sort(marks)
	epoch := func(w *write) int {
		n, _ := slices.BinarySearch(marks, w.step)
		return n
	}
	var kept []write
	for i := 0; i < half; {
		first, e := len(kept), epoch(&b.writes[i])
		for ; i < half && epoch(&b.writes[i]) == e; i++ {
			w := b.writes[i]
			w.group = true
			old := slices.IndexFunc(kept[first:], func(k write) bool { return k.word == w.word })
			if old < 0 {
				kept = append(kept, w)
				continue
			}
			k := &kept[first+old]
			k.val = w.merge(k.val)
			k.mask |= w.mask
		}
		for j := range kept[first:] {
			kept[first+j].step = b.writes[i-1].step
		}
	}
	b.writes = slices.Replace(b.writes, 0, half, kept...)
	b.limit = max(b.limit, 2*len(b.writes))
	b.forgot = true
}

// certain notes a CLFLUSH by g.
func (b *block) certain(g int64) {
	for i := range b.writes {
		if w := &b.writes[i]; w.nt && w.g == g {
			w.certain = true
		}
	}
}

// reading says which writes of a block go together.
type reading struct {
	words    bool // each word has an order of its own
	groups   bool // groups are there for certain
	certains bool // so are non-temporal stores that a CLFLUSH followed
}

// cut is a moment in the order of a block's ordinary stores: those up to one are durable,
// and any words of the one after.
type cut struct{ upTo, torn uint64 }

// cuts returns the moments, newest first, that between them cover all.
func (b *block) cuts(r reading) []cut {
	var steps []*write // one write of each
	for i := range b.writes {
		if w := &b.writes[i]; !w.nt && (len(steps) == 0 || steps[len(steps)-1].step != w.step) {
			steps = append(steps, w)
		}
	}
	if len(steps) == 0 {
		return []cut{{}}
	}
	var cuts []cut
	for c := len(steps); c >= 0; c-- {
		var at cut
		if c > 0 {
			at.upTo = steps[c-1].step
		}
		if c < len(steps) && !steps[c].group {
			at.torn = steps[c].step
		}
		if c > 0 && at.torn == 0 && !steps[c-1].group {
			continue // the next cut, with all words of the torn store, is this one
		}
		cuts = append(cuts, at)
		if c > 0 && r.groups {
			break
		}
	}
	return cuts
}

// maxOutcomes bounds the values of a word, so that the contents of a line count in 62 bits.
const maxOutcomes = 200

// source is a sequence of writes to one word that persist in their order: the ordinary
// ones, or the non-temporal ones of one goroutine. From least to most of them are there.
type source struct {
	nt          bool
	g           int64
	least, most int
	here        int
}

// outcomes returns the distinct values that a word can have, newest first, and whether
// they are all. The writes are those to the word.
func (b *block) outcomes(writes []write, c cut, r reading) (values []uint64, all bool) {
	type entry struct {
		*write
		source, nth int
	}
	var sources []source
	var entries []entry
	for i := range writes {
		w := &writes[i]
		if !w.nt && !r.words && w.step > c.upTo && w.step != c.torn {
			continue
		}
		s := slices.IndexFunc(sources, func(s source) bool { return s.nt == w.nt && s.g == w.g })
		if s < 0 {
			s = len(sources)
			sources = append(sources, source{nt: w.nt, g: w.g})
		}
		src := &sources[s]
		entries = append(entries, entry{w, s, src.most})
		src.most++
		if w.nt && w.certain && r.certains || !w.nt && !r.words && w.step <= c.upTo {
			src.least = src.most
		}
	}
	all = true
	add := func() {
		v := b.floor[writes[0].word]
		for _, e := range entries {
			if e.nth < sources[e.source].here {
				v = e.merge(v)
			}
		}
		switch {
		case slices.Contains(values, v):
		case len(values) < maxOutcomes:
			values = append(values, v)
		default:
			values[maxOutcomes-1], all = v, false // the oldest is worth more than one in between
		}
	}
	var choose func(int)
	choose = func(i int) {
		if i == len(sources) {
			add()
			return
		}
		s := &sources[i]
		for s.here = s.most; s.here >= s.least; s.here-- {
			choose(i + 1)
		}
	}
	choose(0)
	return values, all
}

// maxContents bounds the contents of a block that are listed one by one.
const maxContents = 1 << 16

// cells appends the contents that the block can have, if there's more than one, and
// tells whether they are all.
func (b *block) cells(cells []cell, r reading) ([]cell, bool) {
	writes := slices.Clone(b.writes)
	slices.SortStableFunc(writes, func(x, y write) int { return cmp.Compare(x.word, y.word) })
	var words [][]write // by word
	for len(writes) > 0 {
		n := 1
		for n < len(writes) && writes[n].word == writes[0].word {
			n++
		}
		words = append(words, writes[:n])
		writes = writes[n:]
	}

	all := !b.forgot
	product := func(c cut, words [][]write) []varying {
		vs := make([]varying, len(words))
		for i, ws := range words {
			values, complete := b.outcomes(ws, c, r)
			all = all && complete
			vs[i] = varying{ws[0].word, values}
		}
		return vs
	}
	if r.words {
		for len(words) > 0 { // line by line, also of sectors
			line, n := words[0][0].word/lineWords, 1
			for n < len(words) && words[n][0].word/lineWords == line {
				n++
			}
			cells = appendProduct(cells, b.off+uint64(line*lineSize), b.now[line*lineWords:][:lineWords],
				line*lineWords, product(cut{}, words[:n]))
			words = words[n:]
		}
		return cells, all
	}
	cuts := b.cuts(r)
	if len(cuts) == 1 && len(b.now) == lineWords {
		n := len(cells)
		if cells = appendProduct(cells, b.off, b.now, 0, product(cuts[0], words)); len(cells) == n {
			cells = b.appendCertain(cells)
		}
		return cells, all
	}

	list := lister{seen: map[string]struct{}{}}
	content := make([]byte, len(b.now)*wordSize)
	putWords(content, b.now)
	list.add(content)
	for _, c := range cuts {
		vs := product(c, words)
		n := uint64(1)
		for _, v := range vs {
			n *= uint64(len(v.values))
		}
		for i := range n {
			if len(list.contents) == maxContents-1 {
				all = false
				break
			}
			spell(content, vs, i)
			list.add(content)
		}
	}
	if !all {
		putWords(content, b.floor)
		list.add(content)
	}
	if len(list.contents) == 1 {
		return b.appendCertain(cells), all
	}
	return append(cells, cell{off: b.off, count: uint64(len(list.contents)), list: list.contents}), all
}

// appendCertain appends a cell with what is visible as its only content, if the media don't
// have that: non-temporal stores whose durability is proven, but not certain.
func (b *block) appendCertain(cells []cell) []cell {
	if slices.Equal(b.now, b.floor) {
		return cells
	}
	content := make([]byte, len(b.now)*wordSize)
	putWords(content, b.now)
	return append(cells, cell{off: b.off, count: 1, list: [][]byte{content}})
}

// appendProduct appends a cell whose words are independent of each other. Words of vs
// count from first on.
func appendProduct(cells []cell, off uint64, now []uint64, first int, vs []varying) []cell {
	vs = slices.DeleteFunc(vs, func(v varying) bool { return len(v.values) == 1 })
	if len(vs) == 0 {
		return cells
	}
	c := cell{off: off, count: 1, base: make([]byte, len(now)*wordSize), words: vs}
	putWords(c.base, now)
	for i := range vs {
		vs[i].word -= first
		c.count *= uint64(len(vs[i].values))
	}
	return append(cells, c)
}

// lister collects distinct contents.
type lister struct {
	contents [][]byte
	seen     map[string]struct{}
}

func (l *lister) add(content []byte) {
	if _, ok := l.seen[string(content)]; !ok {
		key := string(content)
		l.seen[key] = struct{}{}
		l.contents = append(l.contents, []byte(key))
	}
}

// cells of all dirty blocks, by offset, and whether they are complete.
func (m *Memory) cells(r reading) ([]cell, bool) {
	var cells []cell
	all := true
	blocks := slices.SortedFunc(slices.Values(m.dirty), func(a, b *block) int { return cmp.Compare(a.off, b.off) })
	for _, b := range blocks {
		var complete bool
		cells, complete = b.cells(cells, r)
		all = all && complete
	}
	return cells, all
}
