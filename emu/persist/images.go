package persist

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Images is a set of memory images: those that a power failure can leave. It's a product:
// memory is as it's visible, except for some cells, each of which has one of several
// contents, whatever the others have. It doesn't change when the memory does, and may be
// used by several goroutines at once.
type Images struct {
	cells    []cell
	complete bool
}

// cell is a line or sector that can have several contents: those in list, or
// base with each of the words having one of its values.
type cell struct {
	off   uint64
	count uint64
	list  [][]byte
	base  []byte
	words []varying
}

type varying struct {
	word   int
	values []uint64
}

// Proven returns the images that all sources agree a power failure now can leave, given
// what was recorded.
func (m *Memory) Proven() *Images {
	return m.images(reading{words: m.model == Arm64, groups: m.model == X86EADR, certains: true})
}

// Possible returns the images that any source allows, or that some order of what was
// only observed as changed allows: the proven ones, and more.
func (m *Memory) Possible() *Images { return m.images(reading{words: true}) }

func (m *Memory) images(r reading) *Images {
	cells, complete := m.cells(r)
	return &Images{cells, complete}
}

// Count is the number of images, or [math.MaxUint64] if it's that or more. There's
// always one: what is visible.
func (s *Images) Count() uint64 {
	n := uint64(1)
	for i := range s.cells {
		hi, lo := bits.Mul64(n, s.cells[i].count)
		if hi != 0 {
			return math.MaxUint64
		}
		n = lo
	}
	return n
}

// Complete says that no image was left out. A line can have too many contents: only the
// newest 200 values of a word, or 65,536 contents of a line whose stores are ordered, are
// kept, and the oldest.
func (s *Images) Complete() bool { return s.complete }

// Cells is the number of lines or sectors whose content isn't known.
func (s *Images) Cells() int { return len(s.cells) }

// Cell returns where the i-th cell begins, how long it is and how many contents it can have,
// both in bytes and counted from the newest (0, the visible one). Cells are in the order of
// their offsets.
func (s *Images) Cell(i int) (off uint64, size int, contents uint64) {
	c := &s.cells[i]
	return c.off, c.size(), c.count
}

// Content fills p, which is as long as the i-th cell, with one of its contents.
func (s *Images) Content(i int, version uint64, p []byte) {
	copy(p, s.cells[i].content(version, make([]byte, s.cells[i].size())))
}

// Join is the images of several memories that are one, none of whose lines have offsets in
// common: each image of one with each of the others.
func Join(sets ...*Images) *Images {
	all := &Images{complete: true}
	for _, s := range sets {
		all.cells = append(all.cells, s.cells...)
		all.complete = all.complete && s.complete
	}
	slices.SortFunc(all.cells, func(a, b cell) int { return cmp.Compare(a.off, b.off) })
	return all
}

// Keep is the images in which the cells that keep refuses are at their newest.
func (s *Images) Keep(keep func(off uint64, size int) bool) *Images {
	kept := &Images{complete: s.complete}
	for _, c := range s.cells {
		if keep(c.off, c.size()) {
			kept.cells = append(kept.cells, c)
		}
	}
	return kept
}

// Choice is the content of a cell.
type Choice struct {
	Cell    int
	Version uint64 // > 0: not the newest
}

// Setter puts content, the new content of a cell, at off in an image. The content is the
// caller's to read only until it returns.
type Setter func(off uint64, content []byte)

// Into is a [Setter] for an image in buf, whose first byte is that at base.
func Into(buf []byte, base uint64) Setter {
	return func(off uint64, content []byte) { copy(buf[off-base:], content) }
}

// All goes through all images, each once, those with the fewest cells that aren't at
// their newest content first: first what is visible, then those with one such cell, and so on. For each it has
// set change what differs from the one before, and yields the cells that aren't at
// their newest content, in a slice that is good until the next image.
//
// The image that set changes must hold what is visible outside the cells. Within them it may
// hold anything; when All has gone through it's what is visible, and if it was left
// early it's the last one yielded.
func (s *Images) All(set Setter) iter.Seq[[]Choice] {
	return func(yield func([]Choice) bool) {
		w := s.walk(set)
		w.yield = yield
		for k := 0; k <= len(s.cells); k++ {
			if !w.choose(0, k) {
				return
			}
		}
	}
}

// Apply has set make the image of choices, cells not named being at their newest.
func (s *Images) Apply(choices []Choice, set Setter) {
	var scratch []byte
	put := func(c Choice) {
		cell := &s.cells[c.Cell]
		if cell.list == nil && scratch == nil {
			scratch = make([]byte, sectorSize)
		}
		set(cell.off, cell.content(c.Version, scratch))
	}
	for i := range s.cells {
		c := Choice{Cell: i}
		if len(choices) > 0 && choices[0].Cell == i { // All and Sample yield them in order
			c, choices = choices[0], choices[1:]
		}
		put(c)
	}
	for _, c := range choices {
		put(c)
	}
}

// walk is a way through the images.
type walk struct {
	*Images
	set     Setter
	yield   func([]Choice) bool
	chosen  []Choice
	scratch []byte
}

// walk starts at what is visible.
func (s *Images) walk(set Setter) *walk {
	w := &walk{Images: s, set: set, chosen: make([]Choice, 0, len(s.cells)), scratch: make([]byte, sectorSize)}
	for i := range s.cells {
		w.put(i, 0)
	}
	return w
}

func (w *walk) put(i int, version uint64) {
	w.set(w.cells[i].off, w.cells[i].content(version, w.scratch))
}

// choose goes through the images in which k of the cells from first on aren't at their newest.
func (w *walk) choose(first, k int) bool {
	if k == 0 {
		return w.yield(w.chosen)
	}
	n := len(w.chosen)
	for i := first; i <= len(w.cells)-k; i++ {
		w.chosen = append(w.chosen, Choice{Cell: i})
		for v := uint64(1); v < w.cells[i].count; v++ {
			w.chosen[n].Version = v
			w.put(i, v)
			if !w.choose(i+1, k-1) {
				return false
			}
		}
		w.chosen = w.chosen[:n]
		w.put(i, 0)
	}
	return true
}

func (c *cell) size() int {
	if c.list != nil {
		return len(c.list[0])
	}
	return len(c.base)
}

// content returns a content of the cell, in scratch or not.
func (c *cell) content(version uint64, scratch []byte) []byte {
	if c.list != nil {
		return c.list[version]
	}
	scratch = scratch[:len(c.base)]
	copy(scratch, c.base)
	spell(scratch, c.words, version)
	return scratch
}

// spell writes the version-th of the products of the words' values to content; the 0th
// has the first value of each.
func spell(content []byte, words []varying, version uint64) {
	for i := range words {
		w := &words[i]
		n := uint64(len(w.values))
		binary.LittleEndian.PutUint64(content[w.word*wordSize:], w.values[version%n])
		version /= n
	}
}

// Sample goes through n distinct images, chosen at random, each as likely as any other:
// the same for the same seed. If there aren't more than n it is [Images.All]. Of 2⁶³ images and
// more it yields at most 2³¹. What [Images.All] says of set and of what is yielded holds
// here; the image is left at the last one yielded.
func (s *Images) Sample(seed uint64, n uint64, set Setter) iter.Seq[[]Choice] {
	if s.Count() <= n {
		return s.All(set)
	}
	return func(yield func([]Choice) bool) { s.sample(seed, n, set, yield) }
}

func (s *Images) sample(seed, n uint64, set Setter, yield func([]Choice) bool) {
	// The cells with the most contents are numbered together; a permutation of the
	// numbers makes the images distinct. The rest, if the number would overflow, is random.
	order := make([]int, len(s.cells))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch x, y := s.cells[a].count, s.cells[b].count; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	numbered, total := 0, uint64(1)
	for numbered < len(order) {
		hi, lo := bits.Mul64(total, s.cells[order[numbered]].count)
		if hi != 0 || lo > 1<<63 {
			break
		}
		total = lo
		numbered++
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	perm := newPermutation(total, rng)
	w := s.walk(set)
	versions := make([]uint64, len(s.cells))
	for i := range min(n, total) {
		x := perm.at(i)
		for j, cell := range order {
			count := s.cells[cell].count
			var v uint64
			if j < numbered {
				v, x = x%count, x/count
			} else {
				v = rng.Uint64N(count)
			}
			if v != versions[cell] {
				versions[cell] = v
				w.put(cell, v)
			}
		}
		w.chosen = w.chosen[:0]
		for cell, v := range versions {
			if v > 0 {
				w.chosen = append(w.chosen, Choice{cell, v})
			}
		}
		if !yield(w.chosen) {
			return
		}
	}
}

// permutation is a random permutation of the numbers below n: a Feistel network over the
// next power of four, walked until it's back below n.
type permutation struct {
	n    uint64
	half uint // bits
	keys [6]uint64
}

func newPermutation(n uint64, rng *rand.Rand) *permutation {
	p := &permutation{n: n, half: uint(bits.Len64(n-1)+1) / 2}
	for i := range p.keys {
		p.keys[i] = rng.Uint64()
	}
	return p
}

func (p *permutation) at(x uint64) uint64 {
	for {
		l, r := x>>p.half, x&(1<<p.half-1)
		for _, k := range p.keys {
			h, f := bits.Mul64(r^k, 0x9e3779b97f4a7c15)
			l, r = r, l^(h^f)&(1<<p.half-1)
		}
		if x = l<<p.half | r; x < p.n {
			return x
		}
	}
}
