package emu

import (
	"unsafe"

	"pmemlab/emu/check"
	"pmemlab/emu/internal/goroutine"
	"pmemlab/emu/trace"
	"pmemlab/pmem2/platform/vma"
)

// Long operations aren't recorded line by line: they are rare, and what they flush has mostly
// not changed. They take the machine's mu, look at what they are about and tell the model at once.

// bulk is how many bytes make an operation long.
const bulk = 16 << 10

// pieces are the mappings of lines in [first, last], cut to these.
func (d *durability) pieces(first, last uintptr) []vma.Entry[mapping] {
	var all []vma.Entry[mapping]
	for e := range d.m.maps.Overlapping(first, uint64(last-first)+lineSize) {
		all = append(all, e)
	}
	return all
}

// flushBulk is flushLines of a long range.
func (r *recorder) flushBulk(p unsafe.Pointer, n uintptr, by flushKind, fence bool, g int64, callers *[goroutine.Depth]uintptr) {
	m := r.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.catchUp()
	d := m.mem
	first, last := linesOf(p, n)
	told := false
	for _, e := range d.pieces(first, last) {
		mp := e.Value
		if mp.obj.kept() != keptLines || !mp.shared || mp.lost {
			continue
		}
		told = true
		m.look(mp.obj, extent{mp.off, mp.off + e.Len})
		op := check.Op{Seq: m.tick(), G: g, Stack: d.stacks.key(callers)}
		place := d.media.place(mp.obj, mp.off)
		switch by {
		case flushNone:
		case flushCLFLUSH:
			d.lines.CLFlush(g, place, e.Len)
		default:
			d.lines.Flush(g, place, e.Len)
		}
		d.checks.Flush(op, place, e.Len, by.strength())
		d.event(&trace.Event{
			Seq: op.Seq, Kind: by.kind(), G: g, Addr: uint64(e.Addr), Len: e.Len, Object: d.trace.object(mp.obj), Off: mp.off,
		}, op.Stack)
	}
	op := check.Op{Seq: m.tick(), G: g, Stack: d.stacks.key(callers)}
	if !told {
		if _, ok := m.maps.At(uintptr(p)); ok {
			d.checks.FlushPrivate(op, uint64(uintptr(p)), uint64(n))
		} else {
			d.checks.FlushOutside(op, uint64(uintptr(p)), uint64(n))
		}
		d.event(&trace.Event{
			Seq: op.Seq, Kind: by.kind(), G: g, Addr: uint64(uintptr(p)), Len: uint64(n), Object: -1, NoEffect: true,
		}, op.Stack)
	}
	if fence {
		op.Seq++
		d.fence(op)
	}
}

// storingBulk is storing of a long range: what was there before is looked at.
func (r *recorder) storingBulk(p unsafe.Pointer, n uintptr) {
	m := r.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.catchUp()
	first, last := linesOf(p, n)
	for _, e := range m.mem.pieces(first, last) {
		if mp := e.Value; mp.obj.kept() != keptNot && mp.shared && !mp.lost {
			m.look(mp.obj, extent{mp.off, mp.off + e.Len})
		}
	}
}
