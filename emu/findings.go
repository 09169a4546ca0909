package emu

import (
	"cmp"
	"fmt"
	"slices"
	"syscall"
	"unsafe"

	"pmemlab/emu/check"
	"pmemlab/emu/trace"
)

// Finding is a fault of a program that the checker has found: see package check for the
// rules.
type Finding struct {
	Rule check.Rule
	// Proven: it follows from what was seen. Otherwise a store that nobody saw could
	// explain it.
	Proven bool
	// Object is the path of the device or file, "" if the fault isn't about its bytes: then
	// Off is an address, or 0.
	Object   string
	Off, Len uint64 // in bytes
	// Count is how often it happened with the same callers.
	Count uint64
	// Text says what is wrong and what mends it.
	Text string
	// Seq is the number of the event in the trace, and Callers were its callers, the
	// innermost first; Related are those of the other event that it has to do with.
	Seq              uint64
	Callers, Related []trace.Frame
}

// String tells all of it in a few lines.
func (f Finding) String() string {
	s := fmt.Sprintf("%s: %s", f.Rule, f.Text)
	if f.Object != "" {
		s += fmt.Sprintf(" (%d bytes at %#x of %s)", f.Len, f.Off, f.Object)
	}
	if !f.Proven {
		s += " (possible)"
	}
	if f.Count > 1 {
		s += fmt.Sprintf(", %d times", f.Count)
	}
	for i, frames := range [...][]trace.Frame{f.Callers, f.Related} {
		for _, frame := range frames[:min(len(frames), 3)] {
			s += fmt.Sprintf("\n\t%s%s %s", [...]string{"", "related: "}[i], frame, frame.Func)
		}
	}
	return s
}

// Findings looks at all memory and returns what the program has done wrong so far, as if it
// ended here: in the order of the events.
func (m *Machine) Findings() []Finding {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.look(nil, everything)
	return m.mem.findings()
}

// ClearFindings forgets what was found so far: what comes before isn't judged.
func (m *Machine) ClearFindings() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.look(nil, everything)
	m.mem.checks.Clear()
	m.mem.unsynced = nil
}

func (d *durability) findings() []Finding {
	var all []Finding
	for _, f := range d.checks.Findings() {
		g := Finding{
			Rule: f.Rule, Proven: f.Proven, Off: f.Off, Len: f.Len, Count: f.Count, Text: f.Text,
			Seq: f.First.Seq, Callers: d.stacks.frames(f.First.Stack), Related: d.stacks.frames(f.Related.Stack),
		}
		if sp := f.Off >> spanBits; f.Rule != check.FlushOutsideMapping && sp < uint64(len(d.media.spans)) && d.media.spans[sp] != nil && f.Len > 0 {
			o, off := d.media.at(f.Off)
			g.Object, g.Off = o.name, off
		}
		all = append(all, g)
	}
	all = append(all, d.unsynced...)
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

// maxUnsynced is how many different findings of commit points in the page cache are kept.
const maxUnsynced = 10000

// commitSectors is check.Checker.Commit for [off, off+n) of a file in the page cache, which only msync and
// fsync make durable. mu must be held.
func (d *durability) commitSectors(op check.Op, o *object, off, n uint64, what string) {
	text := fmt.Sprintf("the bytes are taken for durable at %q, but are in the page cache only: msync or fsync them before it", what)
	for at := off &^ (sectorSize - 1); at < off+n; at += sectorSize {
		if !d.sectors.Pending(d.media.place(o, at), 1) {
			continue
		}
		from, to := max(at, off), min(at+sectorSize, off+n)
		f := Finding{
			Rule: check.NotDurableAtCommit, Proven: true, Object: o.name, Off: from, Len: to - from, Count: 1, Text: text,
			Seq: op.Seq, Callers: d.stacks.frames(op.Stack),
		}
		i := slices.IndexFunc(d.unsynced, func(g Finding) bool {
			return g.Text == f.Text && g.Object == f.Object && slices.Equal(g.Callers, f.Callers)
		})
		switch {
		case i >= 0:
			d.unsynced[i].Count++
		case len(d.unsynced) < maxUnsynced:
			d.unsynced = append(d.unsynced, f)
		}
	}
}

// NotDurable is the error of [Machine.Durable]: a line that a power failure could lose.
type NotDurable struct {
	Line Line
	// Status says how far the line has come, and Store, Flush and Fence who did what to
	// it, as far as that's known.
	Status              check.Status
	Store, Flush, Fence []trace.Frame
}

// Error says what is missing, and after what.
func (e *NotDurable) Error() string {
	text := "emu: " + e.Line.String() + " isn't durable: "
	switch e.Status.State {
	case check.NotFenced:
		text += "flushed, and not fenced since"
	case check.FencedElsewhere:
		text += "flushed, and fenced by another goroutine only"
	default:
		text += "not flushed since it was stored"
	}
	for i, frames := range [...][]trace.Frame{e.Store, e.Flush, e.Fence} {
		if len(frames) > 0 {
			text += fmt.Sprintf("; %s at %s", [...]string{"stored", "flushed", "fenced"}[i], frames[0])
		}
	}
	return text
}

// Durable says whether the bytes of b, which is mapped memory, are durable for certain, with
// the content that they have now: nil, or a [NotDurable] about the first line that isn't. An
// error that wraps EINVAL says that some of b isn't a shared mapping of this machine's memory.
func (m *Machine) Durable(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.eachPlace(b, func(o *object, off, n uint64) error {
		m.look(o, pagesOf(off, n))
		mem := m.mem.memory(o)
		mem.Settle()
		unit := o.unit()
		for at := off &^ (unit - 1); at < off+n; at += unit {
			place := m.mem.media.place(o, at)
			if !mem.Pending(place, 1) {
				continue
			}
			e := &NotDurable{Line: Line{Object: o.name, Off: at, Len: unit}}
			if o.kept() == keptLines {
				s := m.mem.checks.Line(place)
				e.Status = s
				e.Store, e.Flush, e.Fence = m.mem.stacks.frames(s.Change.Stack), m.mem.stacks.frames(s.Flush.Stack), m.mem.stacks.frames(s.Fence.Stack)
			}
			return e
		}
		return nil
	})
}

// CommitPoint says that the program promises at this point that what is in b is durable: it's
// a finding if it isn't for certain, and the trace has the remark what. An error that wraps
// EINVAL says that some of b isn't a shared mapping of this machine's memory.
func (m *Machine) CommitPoint(what string, b ...[]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	op := m.mem.op()
	for _, b := range b {
		err := m.eachPlace(b, func(o *object, off, n uint64) error {
			m.look(o, pagesOf(off, n))
			if o.kept() == keptLines {
				m.mem.checks.Commit(op, m.mem.media.place(o, off), n, what)
			} else {
				m.mem.commitSectors(op, o, off, n, what)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	m.mem.event(&trace.Event{Seq: m.tick(), Kind: trace.Mark, G: op.G, Object: -1, Text: what}, op.Stack)
	return nil
}

// eachPlace calls f with where b lies. mu must be held.
func (m *Machine) eachPlace(b []byte, f func(o *object, off, n uint64) error) error {
	addr, n := uintptr(unsafe.Pointer(unsafe.SliceData(b))), uint64(len(b))
	m.catchUp()
	for n > 0 {
		e, ok := m.maps.At(addr)
		if !ok || !e.Value.shared || e.Value.lost || e.Value.obj.kept() == keptNot {
			return fmt.Errorf("emu: the byte at %#x isn't in a shared mapping of persistent memory of this machine: %w", addr, syscall.EINVAL)
		}
		at := uint64(addr - e.Addr)
		k := min(n, e.Len-at)
		if err := f(e.Value.obj, e.Value.off+at, k); err != nil {
			return err
		}
		addr, n = addr+uintptr(k), n-k
	}
	return nil
}
