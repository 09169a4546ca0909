package emu

import (
	"cmp"
	"errors"
	"maps"
	"runtime"
	"slices"
	"syscall"

	"pmemlab/emu/exact"
	"pmemlab/emu/internal/pagescan"
	"pmemlab/emu/trace"
	"pmemlab/pmem2/platform/vma"
)

// Looks. A look finds what plain stores have changed since the last one: it asks the kernel
// which pages of the mappings were written to, and compares these. Where the kernel
// can't say, all that an object holds is compared.

// seenPage is a page as a look found it.
type seenPage struct {
	place uint64
	data  [pageSize]byte
}

// watching is what a machine knows of writes to its mappings.
type watching struct {
	scanner *pagescan.Scanner // nil: there's none, or not yet
	tried   bool
	armed   []extent // addresses whose written pages the scanner tells: sorted and apart
	swap    bool     // the host has swap space
	// Room for a page that is read, twice.
	page, again [pageSize]byte
	// off: looks compare everything, by order of the configuration.
	off bool
}

// begin is the recorder's begin for those who hold mu.
func (m *Machine) beginLocked() (*record, uint64) {
	r := &m.rec
	ring := r.ring.Load()
	if ring == nil {
		r.ring.CompareAndSwap(nil, new([ringSize]record))
		ring = r.ring.Load()
	}
	if r.tail.Load()-r.head.Load() >= ringSize*3/4 {
		m.emptyRing()
	}
	t := r.tail.Add(1)
	for t-r.head.Load() > ringSize {
		m.emptyRing()
		runtime.Gosched()
	}
	rec := &ring[t%ringSize]
	rec.order = r.order(t)
	return rec, t
}

// catchUp replays all that was recorded before. mu must be held.
func (m *Machine) catchUp() {
	upTo := m.gather()
	if m.rec.exact {
		m.applyStores(upTo)
	}
	if len(m.mem.seen) > 0 {
		m.mem.observeSeen(m.mem.lastSeq + 2)
	}
}

// gather empties the ring of all that was recorded before. In exact mode it's held then, and
// upTo is the number up to which nothing more will come. mu must be held.
func (m *Machine) gather() (upTo uint64) {
	r := &m.rec
	if r.exact {
		upTo = exact.Ticket()
	}
	for tail := r.tail.Load(); ; runtime.Gosched() {
		m.emptyRing()
		if r.head.Load() >= tail {
			return upTo
		}
	}
}

// tick catches up, and returns a number for an event that comes after all that was recorded.
// mu must be held.
func (m *Machine) tick() uint64 {
	rec, t := m.beginLocked()
	rec.kind = recNothing
	seq := eventSeq(rec.order)
	publish(&rec.ready, t)
	m.catchUp()
	return seq
}

// scanner is the machine's page scanner, or nil. mu must be held.
func (m *Machine) scanner() *pagescan.Scanner {
	w := &m.watch
	if !w.tried && !w.off {
		w.tried = true
		w.scanner, _ = pagescan.New() // an error is a kernel or a sandbox without it
		w.swap = hasSwap()
	}
	return w.scanner
}

// Look compares all memory that may have been written to since the last look with what is
// known of it. Crash, CrashStates and Findings do it by themselves.
func (m *Machine) Look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.look(nil, everything)
	m.mem.event(&trace.Event{Seq: m.tick(), Kind: trace.Look, Object: -1}, 0)
}

// everything is all offsets of an object.
var everything = extent{0, 1<<64 - 1}

// look finds the changes in [x.start, x.end) of o; o is nil for all objects. mu must be held.
func (m *Machine) look(o *object, x extent) {
	m.catchUp()
	for range maxLooks {
		if !m.lookOnce(o, x) {
			break
		}
	}
	m.catchUp()
}

// maxLooks is how often a look is repeated to find a moment in which nobody writes.
const maxLooks = 4

// lookOnce looks at the pages that may have been written to, and says whether any had.
func (m *Machine) lookOnce(only *object, x extent) bool {
	found := false
	written, all := m.writtenPages(only, x)
	// By number, so that what is random by a seed is the same whenever the history is.
	for _, o := range byNumber(written) {
		for _, p := range written[o] {
			for off := p.start; off < p.end; off += pageSize {
				found = m.seePage(o, off) || found
			}
		}
	}
	m.catchUp() // else what was just found would be found again
	for _, o := range byNumber(all) {
		past := false
		for _, p := range cutExtents(all[o], written[o]) {
			for off := p.start; off < p.end; off += pageSize {
				past = m.seePage(o, off) || past
			}
		}
		if past {
			found = true
			m.mem.event(&trace.Event{
				Seq: m.tick(), Kind: trace.Mark, Object: -1, Text: o.name + " was changed past the machine, by a system call or another mapping",
			}, 0)
		}
	}
	return found
}

// byNumber are the objects that are the keys of m.
func byNumber[V any](m map[*object]V) []*object {
	return slices.SortedFunc(maps.Keys(m), func(a, b *object) int { return cmp.Compare(a.number, b.number) })
}

// writtenPages lists the pages in [x.start, x.end) of each object, or of one, that may have
// been written to since the last time, and for those that may have been changed past the
// machine all pages. They count as looked at from then on.
func (m *Machine) writtenPages(only *object, x extent) (pages, all map[*object][]extent) {
	pages, all = map[*object][]extent{}, map[*object][]extent{}
	take := func(o *object, p extent) {
		if p.start = max(p.start, x.start); p.start < min(p.end, x.end) {
			p.end = min(p.end, x.end)
			pages[o] = append(pages[o], pagesOf(p.start, p.end-p.start))
		}
	}
	complete := m.scanMappings(only, x, take)
	for _, o := range m.objects {
		if only != nil && o != only || o.kept() == keptNot || o.keeper < 0 {
			continue
		}
		if o.suspectAll || !complete && o.mapped {
			o.suspectAll = o.suspectAll && x != everything
			for _, p := range m.dataPages(o) {
				take(o, p)
			}
		} else if x == everything && m.changedPast(o, len(pages[o]) > 0) {
			all[o] = m.dataPages(o)
		}
		for _, p := range o.suspects {
			take(o, p)
		}
		o.suspects = cutExtents(o.suspects, []extent{x})
	}
	for o, xs := range pages {
		pages[o] = addExtents(xs, nil)
	}
	return pages, all
}

// dataPages are those that hold data, and those that did at the last look.
func (m *Machine) dataPages(o *object) []extent {
	xs, err := written(o.keeper)
	if err != nil {
		return nil
	}
	for _, n := range o.spans {
		sp := m.mem.media.spans[n]
		for i := range sp.pages {
			xs = append(xs, extent{sp.off + i*pageSize, sp.off + (i+1)*pageSize})
		}
	}
	return addExtents(xs, nil)
}

// pastCompared is how large an object may be that's compared as a whole though stores to it
// explain that it has changed, in bytes of data.
const pastCompared = 1 << 20

// changedPast says whether o may have been changed past the machine since the last time. The
// host counts a system call on a descriptor and the first store to a page alike as a change of
// the file, so that of a large object that was stored to it can't be known.
func (m *Machine) changedPast(o *object, stored bool) bool {
	at, data, err := changeTime(o.keeper)
	if err != nil {
		return false
	}
	first, changed := o.changeTime == 0, at != o.changeTime
	o.changeTime = at
	return changed && (first || !stored) || (changed || recent(at)) && data <= pastCompared
}

// scanMappings calls take for the pages that were written to through the shared mappings.
// It returns false if the kernel can't tell.
func (m *Machine) scanMappings(only *object, x extent, take func(*object, extent)) bool {
	s := m.scanner()
	if s == nil {
		return false
	}
	for e := range m.maps.All() {
		mp := e.Value
		if !mp.shared || mp.lost || mp.obj.kept() == keptNot || only != nil && mp.obj != only {
			continue
		}
		lo, hi := max(x.start, mp.off), min(x.end, mp.off+e.Len)
		if lo >= hi {
			continue
		}
		in := extent{uint64(e.Addr) + (lo-mp.off)&^(pageSize-1), uint64(e.Addr) + roundUp(hi-mp.off, pageSize)}
		if !m.arm(s, addresses(e.Addr, e.Len)) {
			mp.obj.suspectAll = true
			continue
		}
		err := s.Scan(uintptr(in.start), in.end-in.start, true, func(addr uintptr, n uint64) {
			off := mp.off + uint64(addr-e.Addr)
			take(mp.obj, extent{off, off + n})
		})
		if err != nil {
			mp.obj.suspectAll = true
		}
		if m.watch.swap {
			m.takeAbsent(s, e, take)
		}
	}
	return true
}

// takeAbsent takes the pages of a mapping that hold data and aren't in the page table: the
// kernel doesn't remember of what it has swapped out whether it was written to.
func (m *Machine) takeAbsent(s *pagescan.Scanner, e vma.Entry[mapping], take func(*object, extent)) {
	mp := e.Value
	data, err := written(mp.obj.keeper)
	if err != nil {
		mp.obj.suspectAll = true
		return
	}
	err = s.Absent(e.Addr, e.Len, func(addr uintptr, n uint64) {
		off := mp.off + uint64(addr-e.Addr)
		for _, x := range overlapping(data, extent{off, off + n}) {
			take(mp.obj, x)
		}
	})
	if err != nil {
		mp.obj.suspectAll = true
	}
}

// arm has the scanner tell the writes to the addresses x from now on.
func (m *Machine) arm(s *pagescan.Scanner, x extent) bool {
	for _, rest := range cutExtents([]extent{x}, m.watch.armed) {
		err := s.Arm(uintptr(rest.start), rest.end-rest.start)
		if err != nil && !errors.Is(err, syscall.EPERM) { // EPERM: it can't ever be written to
			return false
		}
		m.watch.armed = addExtents(m.watch.armed, []extent{rest})
	}
	return true
}

// armAlike arms all of the mappings in [addr, addr+n), if anything was armed ever: what is in
// part armed is several mappings to the kernel, which mremap doesn't take together.
// mu must be held.
func (m *Machine) armAlike(addr uintptr, n uint64) {
	s := m.watch.scanner
	if s == nil {
		return
	}
	for e := range m.maps.Overlapping(addr, max(n, 1)) {
		if e.Value.shared && e.Value.obj.kept() != keptNot {
			m.watch.armed = cutExtents(m.watch.armed, []extent{addresses(e.Addr, e.Len)})
			m.arm(s, addresses(e.Addr, e.Len)) // without, mremap says what it can't do
		}
	}
}

// leaving notes what was written through the mappings in [addr, addr+n), which are about
// to go. mu must be held.
func (m *Machine) leaving(addr uintptr, n uint64) {
	if n == 0 {
		return
	}
	m.catchUp()
	m.mem.hitValid = false
	m.unwatchStores(addr, n)
	s := m.watch.scanner
	if m.mem.off {
		s = m.scanner()
	}
	for e := range m.maps.Overlapping(addr, n) {
		mp := e.Value
		if !mp.shared || mp.lost || mp.obj.kept() == keptNot {
			continue
		}
		switch {
		case s == nil && m.mem.off: // all that holds data
			if xs, err := written(mp.obj.keeper); err == nil {
				for _, x := range xs {
					m.touch(mp.obj, x)
				}
			}
			continue
		case s == nil: // nobody has looked yet
			mp.obj.suspectAll = true
			continue
		}
		err := s.Present(e.Addr, e.Len, func(addr uintptr, n uint64) {
			off := mp.off + uint64(addr-e.Addr)
			if m.mem.off {
				m.touch(mp.obj, extent{off, off + n})
				return
			}
			mp.obj.suspects = append(mp.obj.suspects, extent{off, off + n})
		})
		if err != nil {
			mp.obj.suspectAll = true
		}
		mp.obj.suspects = addExtents(mp.obj.suspects, nil)
	}
	m.unwatch(addr, n)
}

// unwatch notes that the scanner doesn't tell of writes to [addr, addr+n) any more: another
// mapping is there, or none.
func (m *Machine) unwatch(addr uintptr, n uint64) {
	m.watch.armed = cutExtents(m.watch.armed, []extent{addresses(addr, n)})
}

// seePage records what the page of o at off holds, and says whether that's news.
func (m *Machine) seePage(o *object, off uint64) bool {
	page, again := &m.watch.page, &m.watch.again
	if !m.readPage(o, off, page) {
		return false
	}
	place := m.mem.media.place(o, off)
	// If someone writes after this the page counts as written again.
	if string(m.mem.known(m.mem.memory(o), place)) == string(page[:]) && m.rec.tail.Load() == m.rec.head.Load() {
		return false
	}
	for {
		rec, t := m.beginLocked()
		m.readPage(o, off, again) // after its place was taken, as of lines
		if *again == *page {
			seen := m.mem.newSeen()
			seen.place, seen.data = place, *page
			rec.kind, rec.page, rec.first, rec.g = recPage, seen, false, 0
			publish(&rec.ready, t)
			return true
		}
		*page = *again
		rec.kind = recNothing
		publish(&rec.ready, t)
	}
}

// readPage reads a page of the object's memory; what is behind its end is zero. It doesn't
// take memory for holes.
func (m *Machine) readPage(o *object, off uint64, page *[pageSize]byte) bool {
	if o.keeper < 0 {
		return false
	}
	n, err := m.host.Pread(o.keeper, page[:], int64(off))
	if err != nil {
		return false
	}
	clear(page[n:])
	return true
}
