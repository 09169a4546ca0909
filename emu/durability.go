package emu

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"sync"

	"pmemlab/emu/check"
	"pmemlab/emu/exact"
	"pmemlab/emu/internal/goroutine"
	"pmemlab/emu/persist"
	"pmemlab/emu/trace"
	"pmemlab/pmem2/platform/vma"
)

// durability is what the machine remembers of its memory for the case that power fails:
// what is durable, what else may be, who flushed what. It's fed by replaying the
// recorder's ring, by looks and by system calls. The machine's mu guards all of it.
type durability struct {
	m       *Machine
	off     bool // nothing is remembered; the machine is a stage's
	media   media
	lines   *persist.Memory // device DAX, and files with DAX
	sectors *persist.Memory // files in the page cache
	checks  *check.Checker
	// Of exact mode: the records that wait for the stores before them, the stores, how many were
	// lost and how many changes none of them explains.
	held        []record
	unexplained uint64
	storesMu    sync.Mutex
	stores      []exact.Record // guarded by storesMu, as is lost
	lost        uint64
	sorted      []exact.Record // to be applied
	trace       traceBuffer
	stacks      stackTable

	// unsynced are the findings of commit points in the page cache.
	unsynced []Finding
	// running is the operation of each goroutine of which records are still to come.
	running map[int64]ranged
	lastSeq uint64         // of the event that was applied last
	before  [lineSize]byte // of the line in hand
	// seen are the pages that the records replayed last have found, one look's.
	seen  []*seenPage
	spare []*seenPage    // to be used again
	page  [pageSize]byte // see known

	faulted syncFaults
	// hit is the mapping that was found last; maps change with hitGone called.
	hit      vma.Entry[mapping]
	hitValid bool
	short    hitLines
}

// ranged is an operation on a range: the callers and what was asked for.
type ranged struct {
	stack uint32
	start uintptr
	total uint64
	// parts are what a flush has flushed of mappings before the one that it's in.
	parts []check.Range
}

func newDurability(m *Machine) *durability {
	d := &durability{m: m, running: map[int64]ranged{}}
	d.media.lastKey, d.short.place = noPage, noPage
	d.lines = persist.New(d.model(), &d.media)
	d.sectors = persist.New(persist.PageCache, &d.media)
	d.checks = check.New(check.Config{EADR: m.eadr, Unit: lineSize})
	return d
}

func (d *durability) model() persist.Model {
	switch {
	case d.m.cfg.Model == Arm64:
		return persist.Arm64
	case d.m.eadr:
		return persist.X86EADR
	}
	return persist.X86
}

// changeModel goes on with another model: the caches are inside the power-fail protected
// domain now, or not any more. What lies in them is durable for certain in either case, but
// for non-temporal stores, which count as found by the next look.
func (d *durability) changeModel() {
	d.lines.CLFlush(0, 0, everything.end)
	d.lines = persist.New(d.model(), &d.media)
	d.checks.SetEADR(d.m.eadr)
	for _, o := range d.m.objects {
		o.suspectAll = true
	}
}

// kept says in what way a power failure spares the bytes of o.
type kept int

const (
	keptNot     kept = iota // memory that is empty after a boot
	keptLines               // cache lines reach the media by themselves
	keptSectors             // the page cache writes sectors back
)

func (o *object) kept() kept {
	switch {
	case o == nil:
		return keptNot
	case o.class == classDevDax, o.class == classRegular && o.fs.cfg.DAX:
		return keptLines
	case o.class == classBlock, o.class == classRegular && o.fs.cfg.Type != Tmpfs:
		return keptSectors
	}
	return keptNot
}

// unit is how many bytes of o become durable together.
func (o *object) unit() uint64 {
	if o.kept() == keptSectors {
		return sectorSize
	}
	return lineSize
}

// home is the region that the bytes of o are on; nil of memory that has none.
func (o *object) home() *region {
	if o.fs != nil && o.kept() != keptNot {
		return o.fs.block.region
	}
	return o.region
}

// memory is the model that holds o; nil: none does.
func (d *durability) memory(o *object) *persist.Memory {
	switch o.kept() {
	case keptLines:
		return d.lines
	case keptSectors:
		return d.sectors
	}
	return nil
}

// find is what is mapped at addr.
func (d *durability) find(addr uintptr) (mp mapping, ok bool) {
	if !d.hitValid || addr < d.hit.Addr || uint64(addr-d.hit.Addr) >= d.hit.Len {
		d.hit, d.hitValid = d.m.maps.At(addr)
		d.takeHit()
		if !d.hitValid {
			return mapping{}, false
		}
	}
	return d.hit.Value.advance(uint64(addr - d.hit.Addr)), true
}

// replay applies the records of the ring that are complete. mu must be held.
func (m *Machine) replay() {
	r := &m.rec
	ring := r.ring.Load()
	if ring == nil {
		return
	}
	h := r.head.Load()
	for {
		rec := &ring[(h+1)%ringSize]
		if published(&rec.ready) != h+1 {
			break
		}
		h++
		m.mem.apply(rec)
	}
	r.head.Store(h)
}

// eventSeq is the number of the event that has a place in the order. Those right before and
// after are that of the change which the operation found and of the fence that's part of it.
func eventSeq(order uint64) uint64 { return 4*order + 2 }

// apply does with the model what rec says happened.
func (d *durability) apply(rec *record) {
	if rec.kind == recPersist && rec.first && d.persistShort(rec) {
		return
	}
	if len(d.seen) > 0 && rec.kind != recPage {
		d.observeSeen(d.lastSeq + 2)
	}
	op := check.Op{Seq: eventSeq(rec.order), G: rec.g}
	d.lastSeq = op.Seq
	run := ranged{start: rec.start, total: rec.total}
	switch {
	case rec.kind == recNothing || rec.kind == recSeen || rec.kind == recPage:
	case rec.first:
		run.stack = d.stacks.key(&rec.callers)
		if !rec.last(run) {
			d.running[rec.g] = run
		}
	default:
		run = d.running[rec.g]
		if rec.last(run) {
			delete(d.running, rec.g)
		}
	}
	op.Stack = run.stack
	switch rec.kind {
	case recPage:
		d.seen = append(d.seen, rec.page)
	case recFence:
		d.fence(op)
	case recOutside:
		d.unneeded(rec, op)
	case recSeen, recStore, recStoreNT, recFlush, recPersist, recNoFlush:
		d.line(rec, op, run)
	}
}

// last says whether rec is the last record of the operation run.
func (rec *record) last(run ranged) bool {
	return rec.addr+uintptr(rec.n) >= run.start+uintptr(run.total)
}

// line applies a record of a line.
func (d *durability) line(rec *record, op check.Op, run ranged) {
	addr := rec.addr &^ (lineSize - 1)
	mp, mapped := d.find(addr)
	mem := d.memory(mp.obj)
	if !mapped || mem == nil || !mp.shared || mp.lost {
		d.lineElsewhere(rec, op, run, mp, mapped)
		return
	}
	off := d.media.place(mp.obj, mp.off)
	switch rec.kind {
	case recSeen:
		d.observe(mem, op, off, &rec.line)
		return
	case recStore, recStoreNT:
		d.copied(mem, rec, op, off)
		return
	}
	if rec.kind == recPersist && mem == d.lines {
		if mem.Persist(op.G, off, &rec.line, &d.before) {
			t := d.trace.add()
			t.seq, t.g, t.addr, t.len, t.off = op.Seq, op.G, uint64(run.start), run.total, mp.off+uint64(run.start)-uint64(addr)
			t.object, t.stack, t.kind = int32(d.trace.object(mp.obj)), op.Stack, rec.by.kind()
			t.noEffect, t.fenced, t.n = false, true, 0
			if t.more != nil {
				t.more = nil
			}
			if !sameLine(&d.before, &rec.line) {
				t.n, t.words = lineSize, changedWords(&d.before, &rec.line)
				copyLine(&t.data, &rec.line)
				if d.m.rec.exact {
					d.unexplained++
				}
				if !d.checks.PersistFound(op, off) {
					d.changedLine(op, off, &d.before, &rec.line)
					d.checks.Persist(op, off, lineSize, rec.by.strength())
				}
				d.firstStore(mp)
				return
			}
			d.checks.Persist(op, off, lineSize, rec.by.strength())
			return
		}
	}
	if d.observe(mem, op, off, &rec.line) {
		d.firstStore(mp)
	}
	switch rec.by {
	case flushNone:
	case flushCLFLUSH:
		mem.CLFlush(op.G, off, lineSize)
	default:
		mem.Flush(op.G, off, lineSize)
	}
	last := rec.last(run)
	if !last && uint64(addr-d.hit.Addr)+lineSize < d.hit.Len {
		return
	}
	// The rules look at the operation as a whole, once they have its parts in all mappings.
	n := uint64(lineSize)
	if start := run.start &^ (lineSize - 1); start < addr {
		n = min(uint64(addr-start), mp.off-d.hitOffset()) + lineSize
	}
	part := check.Range{Off: off + lineSize - n, Len: n}
	switch {
	case mem == d.lines && last && len(run.parts) == 0: // most are
		d.checks.Flush(op, part.Off, part.Len, rec.by.strength())
	case mem == d.lines:
		run.parts = append(run.parts, part)
		fallthrough
	default:
		if !last {
			d.running[op.G] = run
			return
		}
		if len(run.parts) > 0 {
			d.checks.FlushAll(op, rec.by.strength(), run.parts...)
		} else {
			d.checks.FlushPrivate(op, uint64(run.start), run.total)
		}
	}
	d.flushEvent(rec, op, run, mp)
	if rec.kind == recPersist {
		op.Seq++
		d.fence(op)
	}
}

// hitOffset is the offset in its object at which the mapping that was found last begins.
func (d *durability) hitOffset() uint64 { return d.hit.Value.off }

// lineElsewhere is line for what a power failure doesn't spare anyway.
func (d *durability) lineElsewhere(rec *record, op check.Op, run ranged, mp mapping, mapped bool) {
	switch rec.kind {
	case recSeen, recStore, recStoreNT:
		return
	}
	if len(run.parts) > 0 && rec.last(run) { // it has begun in what a power failure spares
		d.checks.FlushAll(op, rec.by.strength(), run.parts...)
		o, at := d.media.at(run.parts[0].Off)
		d.event(&trace.Event{
			Seq: op.Seq, Kind: rec.by.kind(), G: op.G, Addr: uint64(run.start), Len: run.total,
			Object: d.trace.object(o), Off: at + uint64(run.start)%lineSize,
		}, op.Stack)
	}
	if !rec.first { // once for the operation
		return
	}
	e := trace.Event{
		Seq: op.Seq, Kind: rec.by.kind(), G: op.G, Addr: uint64(run.start), Len: run.total, Object: -1, NoEffect: true,
	}
	if mapped && mp.obj != nil {
		e.Object, e.Off = d.trace.object(mp.obj), mp.off
	}
	d.event(&e, op.Stack)
	if !mapped {
		d.checks.FlushOutside(op, uint64(run.start), run.total)
	} else {
		d.checks.FlushPrivate(op, uint64(run.start), run.total)
	}
	if rec.kind == recPersist {
		op.Seq++
		d.fence(op)
	}
}

func (d *durability) fence(op check.Op) {
	d.lines.Fence(op.G)
	d.checks.Fence(op)
	d.event(&trace.Event{Seq: op.Seq, Kind: trace.Fence, G: op.G, Object: -1}, op.Stack)
}

// unneeded applies a long flush that needs no instruction.
func (d *durability) unneeded(rec *record, op check.Op) {
	e := trace.Event{Seq: op.Seq, Kind: rec.by.kind(), G: op.G, Addr: uint64(rec.addr), Len: rec.n, Object: -1}
	if mp, ok := d.find(rec.addr); ok && mp.shared && mp.obj.kept() == keptLines {
		e.Object, e.Off = d.trace.object(mp.obj), mp.off
		n := min(rec.n, d.hit.Value.off+d.hit.Len-mp.off)
		d.checks.Flush(op, d.media.place(mp.obj, mp.off), n, check.None)
	} else {
		d.checks.FlushPrivate(op, uint64(rec.addr), rec.n)
	}
	d.event(&e, op.Stack)
}

func (d *durability) flushEvent(rec *record, op check.Op, run ranged, mp mapping) {
	off := d.hitOffset() // of a mapping that it doesn't begin in
	if run.start >= d.hit.Addr {
		off = mp.off + uint64(run.start) - uint64(rec.addr)
	}
	d.event(&trace.Event{
		Seq: op.Seq, Kind: rec.by.kind(), G: op.G, Addr: uint64(run.start), Len: run.total,
		Object: d.trace.object(mp.obj), Off: off,
	}, op.Stack)
}

// observe tells the model what a line holds, if that's news.
func (d *durability) observe(mem *persist.Memory, op check.Op, off uint64, line *[lineSize]byte) bool {
	var known [lineSize]byte
	mem.Visible(off, known[:])
	if known == *line {
		return false
	}
	o, _ := d.media.at(off)
	d.changed(op, off, known[:], line[:], o)
	mem.Observe(persist.Change{Off: off, Data: line[:]})
	return true
}

// changed tells the rules and the trace that bytes were found changed. Neither slice is kept.
func (d *durability) changed(op check.Op, off uint64, before, now []byte, o *object) {
	if d.m.rec.exact {
		d.unexplained++
	}
	if o.kept() == keptLines {
		for i := 0; i < len(now); i += lineSize {
			d.changedLine(op, off+uint64(i), (*[lineSize]byte)(before[i:]), (*[lineSize]byte)(now[i:]))
		}
	}
	_, at := d.media.at(off)
	for i := uint64(0); i < uint64(len(now)); i += lineSize {
		for from, to := range changedRuns((*[lineSize]byte)(before[i:]), (*[lineSize]byte)(now[i:])) {
			d.event(&trace.Event{
				Seq: op.Seq - 1, Kind: trace.Change, Object: d.trace.object(o), Off: at + i + from, Len: to - from, Data: now[i+from : i+to],
			}, 0)
		}
	}
}

// changedWords has a bit for each word of a line that differs.
func changedWords(before, now *[lineSize]byte) (words uint8) {
	for i := range lineWords {
		if binary.LittleEndian.Uint64(before[i*8:]) != binary.LittleEndian.Uint64(now[i*8:]) {
			words |= 1 << i
		}
	}
	return words
}

// runs are the ranges of a line whose words have a bit, in bytes.
func runs(words uint8) iter.Seq2[uint64, uint64] {
	return func(yield func(from, to uint64) bool) {
		for i := uint64(0); i < lineWords; i++ {
			from := i
			for i < lineWords && words>>i&1 != 0 {
				i++
			}
			if from < i && !yield(from*8, i*8) {
				return
			}
		}
	}
}

func changedRuns(before, now *[lineSize]byte) iter.Seq2[uint64, uint64] {
	return runs(changedWords(before, now))
}

// changedLine tells the rules which bytes of a line were found changed: of each word from the
// first one that differs to the last.
func (d *durability) changedLine(op check.Op, off uint64, before, now *[lineSize]byte) {
	op = check.Op{Seq: op.Seq - 1}
	for at := uint64(0); at < lineSize; {
		x := binary.LittleEndian.Uint64(before[at:]) ^ binary.LittleEndian.Uint64(now[at:])
		if x == 0 {
			at += 8
			continue
		}
		from := at + uint64(bits.TrailingZeros64(x)/8)
		to := at + 8 - uint64(bits.LeadingZeros64(x)/8)
		for at += 8; at < lineSize && to == at; at += 8 { // neighbours that changed are one range
			x := binary.LittleEndian.Uint64(before[at:]) ^ binary.LittleEndian.Uint64(now[at:])
			if x&0xff == 0 {
				break
			}
			to = at + 8 - uint64(bits.LeadingZeros64(x)/8)
		}
		d.checks.Changed(op, off+from, to-from, check.Found)
	}
}

// copied applies what the machine's copy and set have stored in a line.
func (d *durability) copied(mem *persist.Memory, rec *record, op check.Op, off uint64) {
	in := uint64(rec.addr) % lineSize
	data := rec.line[in : in+rec.n]
	kind, how := trace.Store, check.Exact
	if rec.kind == recStoreNT {
		kind, how = trace.StoreNT, check.NonTemporal
		mem.StoreNT(op.G, off+in, data)
	} else {
		mem.Store(off+in, data)
	}
	o, at := d.media.at(off + in)
	if mem == d.lines {
		d.checks.Changed(op, off+in, rec.n, how)
	}
	d.event(&trace.Event{
		Seq: op.Seq, Kind: kind, G: op.G, Addr: uint64(rec.addr), Len: rec.n,
		Object: d.trace.object(o), Off: at, Data: data,
	}, op.Stack)
	if mp, ok := d.find(rec.addr); ok {
		d.firstStore(mp)
	}
}

// known is what a page, which begins at place, is known to hold: good until the next call.
func (d *durability) known(mem *persist.Memory, place uint64) []byte {
	d.media.Read(place, d.page[:])
	mem.Overlay(place, d.page[:])
	return d.page[:]
}

// newSeen is room for a page that a look has found.
func (d *durability) newSeen() *seenPage {
	n := len(d.spare)
	if n == 0 {
		return &seenPage{}
	}
	s := d.spare[n-1]
	d.spare = d.spare[:n-1]
	return s
}

// observeSeen tells the model what a look has found.
func (d *durability) observeSeen(seq uint64) {
	var lines, sectors []persist.Change
	for _, c := range d.seen {
		o, _ := d.media.at(c.place)
		mem := d.memory(o)
		unit := uint64(lineSize)
		if mem == d.sectors {
			unit = sectorSize
		}
		known := d.known(mem, c.place)
		for i := uint64(0); i < pageSize; i += unit {
			was, is := known[i:i+unit], c.data[i:i+unit]
			if string(was) == string(is) {
				continue
			}
			d.changed(check.Op{Seq: seq + 1}, c.place+i, was, is, o)
			change := persist.Change{Off: c.place + i, Data: is}
			if mem == d.lines {
				lines = append(lines, change)
				d.foundStore(o, c.place+i)
			} else {
				sectors = append(sectors, change)
			}
		}
	}
	if len(lines) > 0 {
		d.lines.Observe(lines...)
	}
	if len(sectors) > 0 {
		d.sectors.Observe(sectors...)
	}
	d.spare = append(d.spare, d.seen...) // Observe has copied what it needs
	d.seen = d.seen[:0]
	if len(d.spare) > maxSpareSeen {
		clear(d.spare[maxSpareSeen:])
		d.spare = d.spare[:maxSpareSeen]
	}
}

// maxSpareSeen is how many pages are kept to be used again.
const maxSpareSeen = 256

// stackTable gives callers short names.
type stackTable struct {
	keys  map[[goroutine.Depth]uintptr]uint32
	lists [][goroutine.Depth]uintptr // by key - 1
	// recent are those that were asked for last, by a hash.
	recent [64]uint32
}

// key is the name of callers; 0 is none.
func (s *stackTable) key(callers *[goroutine.Depth]uintptr) uint32 {
	slot := &s.recent[(callers[0]^callers[1]>>3^callers[2]>>5^callers[3]>>7)%uintptr(len(s.recent))]
	if *slot != 0 && s.lists[*slot-1] == *callers {
		return *slot
	}
	k, ok := s.keys[*callers]
	if !ok {
		if s.keys == nil {
			s.keys = map[[goroutine.Depth]uintptr]uint32{}
		}
		s.lists = append(s.lists, *callers)
		k = uint32(len(s.lists))
		s.keys[*callers] = k
	}
	*slot = k
	return k
}
