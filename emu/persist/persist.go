package persist

import (
	"fmt"
	"maps"
)

// Model is what stands between a store and the media.
type Model uint8

const (
	X86       Model = iota // ADR: caches are lost, what has left them is kept
	X86EADR                // caches are kept; write-combining buffers aren't
	Arm64                  // caches are lost; words of a line have no order
	PageCache              // memory is a cache of sectors, written back at any time
)

var modelNames = [...]string{"x86", "x86-eadr", "arm64", "page-cache"}

func (m Model) String() string {
	if int(m) < len(modelNames) {
		return modelNames[m]
	}
	return fmt.Sprintf("model(%d)", uint8(m))
}

// A block is the unit whose writes are ordered among themselves, at most, and which is
// independent of all others: a cache line, or a sector of the page cache.
const (
	wordSize   = 8
	lineSize   = 64
	sectorSize = 512
	lineWords  = lineSize / wordSize
)

// Memory is the memory of a machine as a power failure sees it: for each line what is
// durable for certain, and what has been written since. It is fed with what a program
// did, in the order in which that became visible, and says at any moment what a power
// failure at this moment could leave.
//
// Offsets and lengths are in bytes; a range may end at 2⁶⁴ and panics if it wraps beyond.
// Goroutines are named by any number that tells them apart.
//
// A Memory isn't safe for concurrent use: the order of the calls is the order of the
// operations. What it holds grows with the lines that aren't durable and with the writes
// to them, to a bound: past 512 in a line (4096 in a sector) the older of
// them are taken together, and [Images.Complete] says so. The bound doesn't hold for lines with
// non-temporal stores that wait for a fence.
type Memory struct {
	model     Model
	media     Media
	blockSize uint64
	spare     []*block // clean ones, to be used again
	scratch   [sectorSize]byte
	blocks    map[uint64]*block
	dirty     []*block // those with writes that aren't durable for certain, in any order

	// op numbers the stores, from 1 on.
	op uint64
	// fences holds for each goroutine what its next fence makes durable: of a block the
	// stores up to the given one, and the goroutine's own non-temporal stores.
	fences map[int64]map[*block]uint64
	// inFlight is what the last operation wrote under X86EADR, if it was more than a word.
	inFlight []*block
}

// Media is what is durable for certain. Only the [Memory] that it was given to may write
// to it, except in lines or sectors that the Memory holds no writes of.
type Media interface {
	// Read fills p with the content at off, a whole line or sector.
	Read(off uint64, p []byte)
	// Write stores p at off, a whole line or sector.
	Write(off uint64, p []byte)
}

// New returns a memory whose content, all of it durable, is that of media. What becomes
// durable is written there at once. nil is media of the memory's own, all zeroes.
func New(model Model, media Media) *Memory {
	if int(model) >= len(modelNames) {
		panic(fmt.Sprintf("persist: no such model: %v", model))
	}
	m := &Memory{
		model:     model,
		media:     media,
		blockSize: lineSize,
		blocks:    map[uint64]*block{},
		fences:    map[int64]map[*block]uint64{},
	}
	if model == PageCache {
		m.blockSize = sectorSize
	}
	if media == nil {
		m.media = blockMedia{}
	}
	return m
}

// blockMedia holds blocks by offset.
type blockMedia map[uint64][]byte

func (b blockMedia) Read(off uint64, p []byte) {
	if copy(p, b[off]) == 0 {
		clear(p)
	}
}

func (b blockMedia) Write(off uint64, p []byte) { b[off] = append(b[off][:0], p...) }

// Store is an ordinary store of data, by any goroutine. Each aligned 8-byte word of it is
// written at once; in which order they are, if it has several, is unknown.
func (m *Memory) Store(off uint64, data []byte) {
	if len(data) == 0 {
		return
	}
	m.write(off, data, write{group: m.model == PageCache})
}

// StoreNT is a non-temporal store of data by goroutine g. Arm64 and PageCache take it for
// an ordinary one: Arm's are hints, and the page cache isn't the media anyway.
func (m *Memory) StoreNT(g int64, off uint64, data []byte) {
	if m.model == Arm64 || m.model == PageCache {
		m.Store(off, data)
		return
	}
	if len(data) == 0 {
		return
	}
	m.write(off, data, write{nt: true, g: g})
}

// Change is content that was found in memory: Data at Off.
type Change struct {
	Off  uint64
	Data []byte
}

// Observe tells what one look at the memory found, where it may have changed. What
// differs from the content so far was stored since, in an order that nobody saw: the
// words of a line that changed came all or not at all (proven), or some (possible). Under
// X86EADR the content that was found is proven, and any mix with the former one is
// possible. The changes are apart.
func (m *Memory) Observe(changes ...Change) {
	m.Settle()
	m.op++
	words := 0
	for _, c := range changes {
		words += m.put(c.Off, c.Data, write{step: m.op, group: true})
	}
	m.visible(words)
}

// Flush is CLWB or CLFLUSHOPT on x86, and DC CVAP on Arm, of the lines of [off, off+n) by
// goroutine g: the goroutine's next [Memory.Fence] makes durable what has been stored in
// them so far, by whomever.
func (m *Memory) Flush(g int64, off, n uint64) {
	m.Settle()
	if m.model != X86 && m.model != Arm64 {
		return
	}
	m.each(off, n, func(b *block) { m.fence(g)[b] = m.op })
}

// CLFlush is CLFLUSH of the lines of [off, off+n) by goroutine g: what has been stored in
// them so far, by whomever, is durable before any later store. That the non-temporal ones of g
// are too isn't settled: images without them are possible, not proven. On
// Arm64 it is [Memory.Flush].
func (m *Memory) CLFlush(g int64, off, n uint64) {
	switch m.model {
	case Arm64:
		m.Flush(g, off, n)
	case X86, X86EADR:
		m.Settle()
		m.each(off, n, func(b *block) {
			b.certain(g)
			m.harden(b, m.op, 0, false)
		})
	}
}

// Fence is SFENCE, MFENCE or DSB SY by goroutine g: what the goroutine has flushed is
// durable, with the content of the time of the flush, and so are its non-temporal stores.
func (m *Memory) Fence(g int64) {
	m.Settle()
	for b, upTo := range m.fences[g] {
		m.harden(b, upTo, g, true)
	}
	if len(m.fences[g]) > maxSpare {
		delete(m.fences, g)
	}
	clear(m.fences[g])
}

// maxSpare is how large a map may be that is emptied and kept, not dropped.
const maxSpare = 256

// Sync is msync or fsync of [off, off+n) by goroutine g. In the page cache the sectors
// that the range touches are durable; elsewhere it's a flush and a fence.
func (m *Memory) Sync(g int64, off, n uint64) {
	if m.model == PageCache {
		m.each(off, n, func(b *block) { m.harden(b, m.op, 0, false) })
		return
	}
	m.Flush(g, off, n)
	m.Fence(g)
}

// Exit says that goroutine g is gone: nothing of what it flushed or stored non-temporally
// without a fence will become durable by a fence.
func (m *Memory) Exit(g int64) { delete(m.fences, g) }

// Settle ends the last operation. Under X86EADR the words of a store of several become
// visible one by one: until the next operation, or this, the images include those of a
// power failure amid the store. Otherwise it does nothing.
func (m *Memory) Settle() {
	for _, b := range m.inFlight {
		m.harden(b, m.op, 0, false)
	}
	m.inFlight = m.inFlight[:0]
}

// Visible reads what loads see at off into p.
func (m *Memory) Visible(off uint64, p []byte) {
	m.read(off, p, func(b *block) []uint64 { return b.now })
}

// Overlay puts what loads see in [off, off+len(p)), whole lines or sectors, and isn't durable
// for certain, over p, which holds what the media do.
func (m *Memory) Overlay(off uint64, p []byte) {
	m.each(off, uint64(len(p)), func(b *block) { putWords(p[b.off-off:], b.now) })
}

// Durable reads what is durable at off for certain into p. All of memory read so is one
// of the possible images.
func (m *Memory) Durable(off uint64, p []byte) {
	m.read(off, p, func(b *block) []uint64 { return b.floor })
}

// write adds a store of several words, which w describes.
func (m *Memory) write(off uint64, data []byte, w write) {
	m.Settle()
	m.op++
	w.step = m.op
	m.visible(m.put(off, data, w))
}

// visible ends a store of so many words: under X86EADR one word is durable at once.
func (m *Memory) visible(words int) {
	if words == 1 {
		m.Settle()
	}
}

// put writes data word by word, as w says, and returns how many words that were.
func (m *Memory) put(off uint64, data []byte, w write) int {
	checkRange(off, uint64(len(data)))
	words := 0
	for len(data) > 0 {
		at := off % m.blockSize
		part := data[:min(uint64(len(data)), m.blockSize-at)]
		b := m.block(off - at)
		words += b.put(at, part, w)
		if len(b.writes) > 0 {
			m.touched(b, w)
		} else { // nothing but what was there
			delete(m.blocks, b.off/m.blockSize)
			m.spare = append(m.spare, b)
		}
		data = data[len(part):]
		off += uint64(len(part))
	}
	return words
}

// touched notes that b has a new write, of the kind of w.
func (m *Memory) touched(b *block, w write) {
	if b.dirtyAt < 0 {
		b.dirtyAt = len(m.dirty)
		m.dirty = append(m.dirty, b)
	}
	switch {
	case w.nt:
		f := m.fence(w.g)
		if _, ok := f[b]; !ok {
			f[b] = 0 // none of the ordinary stores
		}
	case m.model == X86EADR:
		m.inFlight = append(m.inFlight, b)
	}
	if len(b.writes) > b.limit {
		var marks []uint64
		for _, f := range m.fences {
			if upTo := f[b]; upTo > 0 {
				marks = append(marks, upTo)
			}
		}
		b.forget(marks)
	}
}

// harden makes durable the ordinary stores of b up to a given one, and the non-temporal
// ones of goroutine g if that is fencing.
func (m *Memory) harden(b *block, upTo uint64, g int64, fencing bool) {
	if b.dirtyAt < 0 {
		return
	}
	if b.harden(upTo, g, fencing) {
		p := m.scratch[:m.blockSize]
		putWords(p, b.floor)
		m.media.Write(b.off, p)
	}
	if len(b.writes) == 0 {
		m.drop(b)
	}
}

// drop forgets b, which is durable or isn't to be any more.
func (m *Memory) drop(b *block) {
	last := m.dirty[len(m.dirty)-1]
	m.dirty[b.dirtyAt], last.dirtyAt = last, b.dirtyAt
	m.dirty = m.dirty[:len(m.dirty)-1]
	b.dirtyAt = -1
	delete(m.blocks, b.off/m.blockSize)
	for _, f := range m.fences {
		delete(f, b)
	}
	if len(m.spare) < maxSpare {
		m.spare = append(m.spare, b)
	}
}

// Discard forgets what was written to the lines or sectors that begin in [off, off+n) and isn't
// durable: what is on the media stays, and is what is visible.
func (m *Memory) Discard(off, n uint64) {
	m.Settle()
	m.each(off, n, func(b *block) {
		if b.off >= off {
			b.writes, b.nts = b.writes[:0], 0
			m.drop(b)
		}
	})
}

// Pending says whether anything in [off, off+n) isn't durable for certain.
func (m *Memory) Pending(off, n uint64) bool {
	m.Settle()
	pending := false
	m.each(off, n, func(*block) { pending = true })
	return pending
}

// Idle says whether nothing waits: neither of the line at off, nor of what g has flushed or
// stored non-temporally. A line that is changed, flushed by g and fenced by g then leaves nothing
// to be known but what it holds, which may be written to the media at once.
func (m *Memory) Idle(g int64, off uint64) bool {
	return m.model != PageCache && len(m.inFlight) == 0 && (len(m.fences) == 0 || len(m.fences[g]) == 0) &&
		(len(m.dirty) == 0 || m.blocks[off/lineSize] == nil)
}

// Persist is [Memory.Observe] of content, that of the line at off, with a Flush of the line
// and a Fence by g, for the case in which that needs no memory of its own: nothing of the line
// and nothing that g flushed or stored non-temporally waits. Otherwise it does
// nothing and returns false. before is what the line held.
func (m *Memory) Persist(g int64, off uint64, content, before *[lineSize]byte) (ok bool) {
	if !m.Idle(g, off) {
		return false
	}
	m.media.Read(off, before[:])
	if *before != *content {
		m.op++
		m.media.Write(off, content[:])
	}
	return true
}

// fence returns what the next fence of g makes durable.
func (m *Memory) fence(g int64) map[*block]uint64 {
	f := m.fences[g]
	if f == nil {
		if len(m.fences) >= maxSpare { // of goroutines that may be gone
			maps.DeleteFunc(m.fences, func(_ int64, f map[*block]uint64) bool { return len(f) == 0 })
		}
		f = map[*block]uint64{}
		m.fences[g] = f
	}
	return f
}

// each calls f with the dirty blocks that [off, off+n) touches; f may clean them.
func (m *Memory) each(off, n uint64, f func(*block)) {
	checkRange(off, n)
	if n == 0 || len(m.dirty) == 0 {
		return
	}
	first, last := off/m.blockSize, (off+n-1)/m.blockSize
	if last-first < uint64(len(m.dirty)) {
		for i := first; ; i++ {
			if b := m.blocks[i]; b != nil && b.dirtyAt >= 0 {
				f(b)
			}
			if i == last {
				return
			}
		}
	}
	for i := len(m.dirty) - 1; i >= 0; i-- { // a cleaned one is replaced by one that was seen
		if b := m.dirty[i]; first <= b.off/m.blockSize && b.off/m.blockSize <= last {
			f(b)
		}
	}
}

// block returns the block at off, its first byte.
func (m *Memory) block(off uint64) *block {
	b := m.blocks[off/m.blockSize]
	if b == nil {
		if n := len(m.spare); n > 0 {
			b, m.spare = m.spare[n-1], m.spare[:n-1]
		} else {
			b = newBlock(m.blockSize)
		}
		p := m.scratch[:m.blockSize]
		m.media.Read(off, p)
		b.begin(off, p)
		m.blocks[off/m.blockSize] = b
	}
	return b
}

func (m *Memory) read(off uint64, p []byte, of func(*block) []uint64) {
	checkRange(off, uint64(len(p)))
	buf := m.scratch[:m.blockSize]
	for len(p) > 0 {
		at := off % m.blockSize
		if b := m.blocks[off/m.blockSize]; b != nil {
			putWords(buf, of(b))
		} else {
			m.media.Read(off-at, buf)
		}
		n := copy(p, buf[at:])
		p = p[n:]
		off += uint64(n)
	}
}

func checkRange(off, n uint64) {
	if n > 0 && off+n-1 < off {
		panic(fmt.Sprintf("persist: %d bytes at %#x wrap around the end of the address space", n, off))
	}
}
