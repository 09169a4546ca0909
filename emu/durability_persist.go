package emu

import (
	"pmemlab/emu/check"
	"pmemlab/pmem2/platform/vma"
)

// The most common operation, a persist of a line that nothing else waits for, takes a short
// way through the model: what it does in the end, without what lies between.

// hitLines is the mapping that was found last, if it's a plain one of persistent memory
// inside one span of the media.
type hitLines struct {
	entry vma.Entry[mapping]
	place uint64 // of the entry's first byte; noPage: there's none
}

// takeHit notes the mapping that was found for the short way.
func (d *durability) takeHit() {
	mp := d.hit.Value
	d.short.place = noPage
	if d.hitValid && mp.shared && !mp.lost && mp.obj.kept() == keptLines && mp.off>>spanBits == (mp.off+d.hit.Len-1)>>spanBits {
		d.short = hitLines{d.hit, d.media.place(mp.obj, mp.off)}
	}
}

// persistShort applies rec if it takes the short way.
func (d *durability) persistShort(rec *record) bool {
	addr := rec.addr
	in := uint64(addr - d.short.entry.Addr)
	if d.short.place == noPage || !d.hitValid || in >= d.short.entry.Len || uint64(rec.start-addr)+rec.total > lineSize || len(d.seen) > 0 {
		return false
	}
	off := d.short.place + in
	if !d.lines.Idle(rec.g, off) {
		return false
	}
	op := check.Op{Seq: eventSeq(rec.order), G: rec.g, Stack: d.stacks.key(&rec.callers)}
	page := d.media.page(off)
	known := &d.before
	if page != nil {
		known = (*[lineSize]byte)(page.data[off%pageSize:])
	} else {
		clear(known[:])
	}
	changed := !sameLine(known, &rec.line)
	if changed {
		if d.m.rec.exact || d.short.entry.Value.sync && d.short.entry.Value.obj.fs != nil || !d.checks.PersistFound(op, off) {
			return false
		}
	}
	d.lastSeq = op.Seq
	t := d.trace.add()
	mp := &d.short.entry.Value
	t.seq, t.g, t.addr, t.len, t.off = op.Seq, op.G, uint64(rec.start), rec.total, mp.off+in+uint64(rec.start-addr)
	t.object, t.stack, t.kind = int32(d.trace.object(mp.obj)), op.Stack, rec.by.kind()
	t.noEffect, t.fenced, t.n = false, true, 0
	if t.more != nil {
		t.more = nil
	}
	if changed {
		t.n, t.words = lineSize, changedWords(known, &rec.line)
		copyLine(&t.data, &rec.line)
		d.media.Write(off, rec.line[:])
	} else {
		d.checks.Persist(op, off, lineSize, rec.by.strength())
	}
	return true
}
