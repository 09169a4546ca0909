package emu

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"pmemlab/emu/check"
	"pmemlab/emu/exact"
	"pmemlab/emu/internal/goroutine"
	"pmemlab/emu/trace"
)

// Exact mode: package exact tells all stores of the program to mapped memory, in one order
// with the machine's operations, whose records have numbers of the same sequence then. What
// looks and flushes still find changed is what the records don't explain.

// exactWatched are the ranges of all machines whose stores are told: the log is the process's.
var exactWatched struct {
	mu     sync.Mutex
	ranges []exactRange // sorted, apart
	lost   uint64
}

type exactRange struct {
	start, end uintptr
	m          *Machine
}

// watchStores has the stores to a mapping told. mu must be held.
func (m *Machine) watchStores(addr uintptr, n uint64, mp mapping) {
	if !m.rec.exact || mp.obj.kept() == keptNot || !mp.shared || mp.lost {
		return
	}
	exactWatched.mu.Lock()
	defer exactWatched.mu.Unlock()
	if err := exact.Watch(addr, n); err != nil {
		m.remember(fmt.Errorf("emu: exact mode: %w", err))
		return
	}
	at, _ := slices.BinarySearchFunc(exactWatched.ranges, addr, func(r exactRange, a uintptr) int { return cmp.Compare(r.start, a) })
	exactWatched.ranges = slices.Insert(exactWatched.ranges, at, exactRange{addr, addr + uintptr(n), m})
}

// unwatchStores ends that for what is mapped in [addr, addr+n). mu must be held.
func (m *Machine) unwatchStores(addr uintptr, n uint64) {
	if !m.rec.exact {
		return
	}
	if m.mem.off {
		m.noteReads(addr, n)
	}
	exactWatched.mu.Lock()
	err := exact.Unwatch(addr, n)
	exactWatched.mu.Unlock()
	if err != nil {
		m.remember(fmt.Errorf("emu: exact mode: %w", err))
	}
	collectStores()
	end := addr + uintptr(n)
	exactWatched.mu.Lock()
	defer exactWatched.mu.Unlock()
	var rest []exactRange
	for _, r := range exactWatched.ranges {
		if r.start >= end || r.end <= addr {
			rest = append(rest, r)
			continue
		}
		if r.start < addr {
			rest = append(rest, exactRange{r.start, addr, r.m})
		}
		if r.end > end {
			rest = append(rest, exactRange{end, r.end, r.m})
		}
	}
	exactWatched.ranges = rest
}

// collectStores hands the stores so far to their machines.
func collectStores() {
	exactWatched.mu.Lock()
	defer exactWatched.mu.Unlock()
	ranges := exactWatched.ranges
	lost := exact.Drain(func(r exact.Record) {
		i, found := slices.BinarySearchFunc(ranges, r.Addr, func(x exactRange, a uintptr) int {
			switch {
			case x.end <= a:
				return -1
			case x.start > a:
				return 1
			}
			return 0
		})
		if found && !ranges[i].m.mem.off {
			d := ranges[i].m.mem
			d.storesMu.Lock()
			d.stores = append(d.stores, r)
			d.storesMu.Unlock()
		}
	})
	if lost == 0 {
		return
	}
	for _, x := range ranges { // whose they were isn't known
		d := x.m.mem
		d.storesMu.Lock()
		d.lost += lost
		d.storesMu.Unlock()
	}
}

// holdRecords empties the ring; its records wait for the stores before them. mu must be held.
func (m *Machine) holdRecords() {
	r := &m.rec
	ring := r.ring.Load()
	if ring == nil {
		return
	}
	for {
		h := r.head.Load() + 1
		rec := &ring[h%ringSize]
		if published(&rec.ready) != h {
			return
		}
		m.mem.held = append(m.mem.held, *rec)
		r.head.Store(h)
	}
}

// applyStores applies records and stores in their order, up to a number. mu must be held.
func (m *Machine) applyStores(upTo uint64) {
	m.sortStores()
	for m.applyNext(upTo) != nil {
	}
}

// sortStores takes the stores so far, to be applied with the records. mu must be held.
func (m *Machine) sortStores() {
	collectStores()
	d := m.mem
	d.storesMu.Lock()
	d.sorted = append(d.sorted, d.stores...)
	d.stores = nil
	d.storesMu.Unlock()
	slices.SortFunc(d.held, func(a, b record) int { return cmp.Compare(a.order, b.order) })
	slices.SortStableFunc(d.sorted, func(a, b exact.Record) int { return cmp.Compare(a.Seq, b.Seq) })
}

// applied is what applyNext has applied: a store, or a record if it's nil.
type applied struct{ store *exact.Record }

// applyNext applies the next record or store, if its number is at most upTo; nil: there's
// none. mu must be held.
func (m *Machine) applyNext(upTo uint64) *applied {
	d := m.mem
	if len(d.sorted) > 0 && (len(d.held) == 0 || d.sorted[0].Seq < d.held[0].order) {
		r := d.sorted[0]
		if r.Seq > upTo {
			return nil
		}
		d.sorted = d.sorted[1:]
		d.store(&r)
		return &applied{&r}
	}
	if len(d.held) == 0 || d.held[0].order > upTo {
		return nil
	}
	rec := d.held[0]
	d.held = d.held[1:]
	d.apply(&rec)
	return &applied{}
}

// store applies a store of the program.
func (d *durability) store(r *exact.Record) {
	if len(d.seen) > 0 {
		d.observeSeen(d.lastSeq + 2)
	}
	var pcs [goroutine.Depth]uintptr
	copy(pcs[:], r.PCs[:])
	op := check.Op{Seq: eventSeq(r.Seq), G: r.G, Stack: d.stacks.key(&pcs)}
	d.lastSeq = max(d.lastSeq, op.Seq)
	addr := r.Addr
	for data := r.Data; len(data) > 0; {
		mp, ok := d.find(addr)
		mem := d.memory(mp.obj)
		if !ok || mem == nil || !mp.shared {
			return
		}
		n := min(uint64(len(data)), d.hit.Len-uint64(addr-d.hit.Addr))
		place, known := d.media.place(mp.obj, mp.off), make([]byte, n)
		mem.Visible(place, known)
		d.firstStore(mp)
		if mem == d.lines {
			d.exactChanges(op, place, known, data[:n])
		}
		mem.Store(place, data[:n])
		d.event(&trace.Event{
			Seq: op.Seq, Kind: trace.Store, G: op.G, Addr: uint64(addr), Len: n,
			Object: d.trace.object(mp.obj), Off: mp.off, Data: data[:n],
		}, op.Stack)
		data, addr = data[n:], addr+uintptr(n)
	}
}

// exactChanges tells the rules of a store: what it changed, or that it was silent.
func (d *durability) exactChanges(op check.Op, place uint64, before, now []byte) {
	if string(before) == string(now) {
		d.checks.Silent(op, place, uint64(len(now)))
		return
	}
	d.checks.Changed(op, place, uint64(len(now)), check.Exact)
}

// noteReads notes which lines a recovery has read in the mappings of [addr, addr+n), which are
// about to go. mu must be held.
func (m *Machine) noteReads(addr uintptr, n uint64) {
	for _, r := range exact.Reads(false) {
		for e := range m.maps.Overlapping(r.Addr, r.Len) {
			if e.Addr >= addr+uintptr(n) || e.Last() < addr || e.Value.obj.kept() == keptNot {
				continue
			}
			m.reads = append(m.reads, touchedPages{e.Value.obj, extent{e.Value.off, e.Value.off + e.Len}})
		}
	}
}

// Unexplained is, in exact mode, how many changes were found in memory that no recorded store
// explains: of assembly, of system calls, of another mapping (see package exact). What they
// were is in the trace, as [trace.Change]. A store that another goroutine is in the middle of
// during a look may count. Lost is how many stores there was no memory to record.
// Without exact mode both are zero.
func (m *Machine) Unexplained() (changes, lost uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.look(nil, everything)
	m.mem.storesMu.Lock()
	defer m.mem.storesMu.Unlock()
	return m.mem.unexplained, m.mem.lost
}
