package emu

import (
	"pmemlab/emu/check"
	"pmemlab/emu/internal/goroutine"
	"pmemlab/emu/trace"
	"pmemlab/pmem2/platform/vma"
)

// What system calls do to what is durable. All of it needs the machine's mu held.

// op is an operation of the running goroutine that takes place now.
func (d *durability) op() check.Op {
	var pcs [goroutine.Depth]uintptr
	goroutine.Callers(2, &pcs)
	return check.Op{Seq: d.m.tick(), G: goroutine.ID(), Stack: d.stacks.key(&pcs)}
}

// mapped notes a new mapping.
func (d *durability) mapped(addr uintptr, n uint64, mp mapping) {
	d.hitValid = false
	d.m.watchStores(addr, n, mp)
	if mp.obj.kept() == keptNot || !mp.shared || d.off {
		return
	}
	mp.obj.mapped = true
	d.mappedSync(addr, mp.obj)
	no := d.trace.object(mp.obj)
	if o := &d.trace.objects[no]; o.Addr == 0 {
		o.Addr, o.MapLen, o.MapOff = uint64(addr), n, mp.off
	}
	op := d.op()
	d.event(&trace.Event{Seq: op.Seq, Kind: trace.Map, G: op.G, Addr: uint64(addr), Len: n, Object: no, Off: mp.off}, op.Stack)
}

// unmapped notes that mappings went.
func (d *durability) unmapped(gone []vma.Entry[mapping]) {
	d.hitValid = false
	if d.off {
		return
	}
	for _, e := range gone {
		mp := e.Value
		if mp.obj.kept() == keptNot || !mp.shared || mp.lost {
			continue
		}
		op := d.op()
		if mp.obj.kept() == keptLines {
			d.checks.Unmapped(op, d.media.place(mp.obj, mp.off), e.Len)
		}
		d.event(&trace.Event{
			Seq: op.Seq, Kind: trace.Unmap, G: op.G, Addr: uint64(e.Addr), Len: e.Len, Object: d.trace.object(mp.obj), Off: mp.off,
		}, op.Stack)
	}
}

// synced does what msync(2) of [addr, addr+n) does.
func (d *durability) synced(addr uintptr, n uint64) {
	var all []vma.Entry[mapping]
	for e := range d.m.maps.Overlapping(addr, n) {
		if e.Value.shared && e.Value.obj.kept() != keptNot {
			all = append(all, e)
		}
	}
	for _, e := range all {
		d.sync(e.Value.obj, extent{e.Value.off, e.Value.off + e.Len}, trace.Event{Kind: trace.Msync, Addr: uint64(e.Addr)})
	}
}

// sync makes the bytes x of o durable, and all that was done to names and sizes before. e says by what call.
func (d *durability) sync(o *object, x extent, e trace.Event) {
	if d.off {
		return
	}
	d.m.look(o, x)
	op := d.op()
	mem := d.memory(o)
	d.media.place(o, x.start) // one span at least
	for _, n := range o.spans {
		sp := d.media.spans[n]
		lo, hi := max(x.start, sp.off), min(x.end, sp.off+1<<spanBits)
		if lo > hi {
			continue
		}
		place := n<<spanBits | lo&(1<<spanBits-1)
		mem.Sync(op.G, place, hi-lo)
		if mem == d.lines {
			d.checks.Sync(op, place, hi-lo)
		}
	}
	e.Seq, e.G, e.Len, e.Object, e.Off = op.Seq, op.G, x.end-x.start, d.trace.object(o), x.start
	d.event(&e, op.Stack)
	if o.fs != nil {
		o.fs.commit()
		d.faulted.forget(o, x) // the kernel makes the pages read-only again
	}
	if r := o.home(); r != nil {
		r.deepEpoch++ // the kernel flushes what is on the way to the media, too
	}
}

// written does what pwrite(2) of p to o at off has done; what the program stored there
// before was looked at. It's a store: that the kernel flushes on the way is no promise, and
// fsync, by whomever, is what makes it durable.
func (d *durability) written(o *object, off uint64, p []byte) {
	mem := d.memory(o)
	if mem == nil || len(p) == 0 {
		return
	}
	if d.off {
		d.m.touch(o, extent{off, off + uint64(len(p))})
		return
	}
	op := d.op()
	place := d.media.place(o, off)
	mem.Store(place, p)
	if mem == d.lines {
		d.checks.Changed(op, place, uint64(len(p)), check.Exact)
	}
	d.event(&trace.Event{
		Seq: op.Seq, Kind: trace.Store, G: op.G, Len: uint64(len(p)), Object: d.trace.object(o), Off: off,
		Data: append([]byte(nil), p...),
	}, op.Stack)
}

// zeroed does what cutting [from, to) of o off, or punching a hole there, has done: the
// bytes are zero, which is a matter of the file's metadata.
func (d *durability) zeroed(o *object, from, to uint64) {
	if mem := d.memory(o); mem != nil && from < to && !d.off {
		d.m.catchUp()
		unit := o.unit()
		lost := extent{from, to}
		waiting := d.waiting(o, lost)
		for _, n := range o.spans {
			sp := d.media.spans[n]
			lo, hi := max(from, sp.off), min(to, sp.off+1<<spanBits)
			if lo >= hi {
				continue
			}
			// What is left of a line or sector at the edges is as durable as it was.
			begin, end := roundUp(lo, unit), hi&^(unit-1)
			for _, x := range [...]extent{{lo, min(begin, hi)}, {max(end, begin), hi}} {
				if place := n<<spanBits | x.start&(1<<spanBits-1); x.start < x.end && mem.Pending(place, 1) {
					mem.Store(place, make([]byte, x.end-x.start))
				}
			}
			if begin < end {
				mem.Discard(n<<spanBits|begin&(1<<spanBits-1), end-begin)
			}
		}
		o.keepLost(lost, waiting, d.media.cut(o, from, to))
	}
	o.suspects = cutExtents(o.suspects, []extent{{from, to}})
}

// adopt takes what the memory of o holds in x for durable: something other than the
// program changed it.
func (d *durability) adopt(o *object, x extent) {
	d.m.altered++
	mem := d.memory(o)
	if mem == nil || d.off {
		return
	}
	d.m.catchUp()
	var page [pageSize]byte
	for off := x.start &^ (pageSize - 1); off < x.end; off += pageSize {
		if !d.m.readPage(o, off, &page) {
			continue
		}
		lo, hi := max(x.start, off), min(x.end, off+pageSize)
		place := d.media.place(o, lo)
		mem.Discard(place, hi-lo)
		d.media.Write(place, page[lo-off:hi-off])
	}
}

// deepFlushes does what writes to the attributes deep_flush have done since the last time.
func (d *durability) deepFlushes() {
	for _, r := range d.m.regions {
		if n := r.deepFlush.Load(); n != r.deepSeen && !d.off {
			r.deepSeen = n
			d.deepFlushed(r)
		}
	}
}

func (d *durability) deepFlushed(r *region) {
	op := d.op()
	r.deepEpoch++
	d.event(&trace.Event{Seq: op.Seq, Kind: trace.DeepFlush, G: op.G, Object: -1, Text: r.dir + "/deep_flush"}, op.Stack)
}

// firstStore: the first store to a page through a mapping with MAP_SYNC is a write fault, at
// which the kernel commits what was done to the file (dax_finish_sync_fault). That the
// store went through mp is certain if all mappings of the file have MAP_SYNC.
func (d *durability) firstStore(mp mapping) {
	o := mp.obj
	if !mp.sync || o.fs == nil || !d.faulted.first(o, mp.off) || len(o.fs.versions) == 0 {
		return
	}
	for e := range d.m.maps.All() {
		if mp := e.Value; mp.obj == o && mp.shared && !mp.sync {
			return
		}
	}
	o.fs.commitInode(o)
}

// foundStore is firstStore of a store that a look has found in o, at place in the common space.
func (d *durability) foundStore(o *object, place uint64) {
	if o.fs == nil {
		return
	}
	_, off := d.media.at(place)
	for e := range d.m.maps.All() {
		if mp := e.Value; mp.obj == o && mp.shared && mp.sync && off-mp.off < e.Len {
			mp.off = off
			d.firstStore(mp)
			return
		}
	}
}

// mappedSync notes that o was mapped at addr: if it's the only mapping, all its pages will fault.
func (d *durability) mappedSync(addr uintptr, o *object) {
	for e := range d.m.maps.All() {
		if e.Value.obj == o && e.Value.shared && e.Addr != addr {
			return
		}
	}
	d.faulted.forget(o, everything)
}
