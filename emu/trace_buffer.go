package emu

import (
	"reflect"
	"runtime"
	"strings"
	"sync"

	"pmemlab/emu/internal/goroutine"
	"pmemlab/emu/trace"
)

// traceBuffer holds the newest events. Its memory is bounded: the oldest make room.
type traceBuffer struct {
	limit   int // 0: defaultTrace; negative: none
	entries []traceEntry
	next    int // of a full buffer: the oldest
	dropped uint64
	objects []trace.Object
	numbers map[*object]int
	last    *object // number of the last one asked for
	lastNo  int
}

// defaultTrace is how many events are held.
const defaultTrace = 1 << 16

// traceEntry is an event, in little room.
type traceEntry struct {
	seq            uint64
	g              int64
	addr, len, off uint64
	object         int32
	stack          uint32
	kind           trace.Kind
	noEffect       bool
	fenced         bool  // a fence follows
	words          uint8 // of a flush with data: those that it found changed
	n              uint8 // of data
	more           *traceMore
	data           [lineSize]byte
}

// traceMore is what few events have.
type traceMore struct {
	text string
	data []byte
}

// add makes an event the newest one.
func (b *traceBuffer) add() *traceEntry {
	limit := b.limit
	if limit == 0 {
		limit = defaultTrace
	}
	if len(b.entries) < max(limit, 1) {
		b.entries = append(b.entries, traceEntry{})
		return &b.entries[len(b.entries)-1]
	}
	t := &b.entries[b.next]
	if b.next++; b.next == len(b.entries) {
		b.next = 0
	}
	b.dropped++
	return t
}

// event adds e, whose data is copied, to the trace.
func (d *durability) event(e *trace.Event, stack uint32) {
	t := d.trace.add()
	t.seq, t.g, t.addr, t.len, t.off = e.Seq, e.G, e.Addr, e.Len, e.Off
	t.object, t.stack, t.kind, t.noEffect, t.n, t.more = int32(e.Object), stack, e.Kind, e.NoEffect, 0, nil
	t.fenced = false
	switch {
	case len(e.Data) > lineSize:
		t.more = &traceMore{e.Text, append([]byte(nil), e.Data...)}
	case e.Text != "":
		t.more = &traceMore{text: e.Text}
		fallthrough
	default:
		t.n = uint8(copy(t.data[:], e.Data))
	}
}

// object is the number of o in the log.
func (b *traceBuffer) object(o *object) int {
	if o == b.last && o != nil {
		return b.lastNo
	}
	n, ok := b.numbers[o]
	if !ok {
		if b.numbers == nil {
			b.numbers = map[*object]int{}
		}
		n = len(b.objects)
		b.numbers[o] = n
		b.objects = append(b.objects, trace.Object{Name: o.name, Unit: o.unit()})
	}
	b.last, b.lastNo = o, n
	return n
}

// log is the events as they are handed out.
func (b *traceBuffer) log(stacks *stackTable) *trace.Log {
	l := &trace.Log{Dropped: b.dropped, Objects: append([]trace.Object(nil), b.objects...)}
	frames := map[uint32][]trace.Frame{}
	for o, n := range b.numbers {
		l.Objects[n].Size = o.lastSize()
	}
	if b.limit < 0 {
		l.Dropped += uint64(len(b.entries))
		return l
	}
	l.Events = make([]trace.Event, 0, len(b.entries))
	for i := range b.entries {
		t := &b.entries[(b.next+i)%len(b.entries)]
		e := trace.Event{
			Seq: t.seq, Kind: t.kind, G: t.g, Addr: t.addr, Len: t.len, Object: int(t.object), Off: t.off, NoEffect: t.noEffect,
		}
		switch {
		case t.n > 0 && t.kind.IsFlush(): // it found the line changed
			for from, to := range runs(t.words) {
				l.Events = append(l.Events, trace.Event{
					Seq: t.seq - 1, Kind: trace.Change, Object: e.Object, Off: t.off&^(lineSize-1) + from, Len: to - from,
					Data: append([]byte(nil), t.data[from:to]...),
				})
			}
		case t.n > 0:
			e.Data = append([]byte(nil), t.data[:t.n]...)
		}
		if t.more != nil {
			e.Text = t.more.text
			if t.more.data != nil {
				e.Data = t.more.data
			}
		}
		if t.stack != 0 {
			if _, ok := frames[t.stack]; !ok {
				frames[t.stack] = stacks.frames(t.stack)
			}
			e.Callers = frames[t.stack]
		}
		l.Events = append(l.Events, e)
		if t.fenced {
			l.Events = append(l.Events, trace.Event{Seq: t.seq + 1, Kind: trace.Fence, G: t.g, Object: -1, Callers: e.Callers})
		}
	}
	return l
}

// frames are the callers that a key stands for, the innermost first: those of the program,
// without the machine's own and the libraries' on it.
func (s *stackTable) frames(key uint32) []trace.Frame {
	if key == 0 {
		return nil
	}
	pcs := s.lists[key-1]
	var all []trace.Frame
	own := 0 // frames before the first one that isn't the standard library's
	for _, f := range goroutine.Frames(pcs[:]) {
		if f.Function == "" || isLibrary(f.Function) {
			continue
		}
		if own == len(all) && strings.HasPrefix(f.File, standardLibrary()) {
			own++
		}
		all = append(all, trace.Frame{Func: f.Function, File: f.File, Line: f.Line})
	}
	if own < len(all) {
		all = all[own:]
	}
	return all
}

// standardLibrary is the folder that its files were compiled in, or something that no file is
// in if the paths were trimmed.
var standardLibrary = sync.OnceValue(func() string {
	file, _ := runtime.FuncForPC(reflect.ValueOf(strings.HasPrefix).Pointer()).FileLine(0)
	if dir, ok := strings.CutSuffix(file, "strings/strings.go"); ok && dir != "" {
		return dir
	}
	return "\x00"
})

// isLibrary: a frame inside the machine or the libraries says nothing to the author
// of a program. Their own tests are programs.
func isLibrary(function string) bool {
	for _, p := range [...]string{
		"pmemlab/emu.(*Machine).", "pmemlab/emu.(*Run).", "pmemlab/emu.(*recorder).", "pmemlab/emu.(*durability).", "pmemlab/pmem2.(*Map).",
		"pmemlab/pmem2.(*VMReservation).", "pmemlab/pmemset.(*", "runtime.", "testing.",
	} {
		if strings.HasPrefix(function, p) {
			return true
		}
	}
	return false
}

// Trace returns what the machine has recorded of the operations of its caches: the newest
// events, and how many older ones there was no room for. [Config.TraceEvents] says how many
// there is room for.
func (m *Machine) Trace() *trace.Log {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.catchUp()
	return m.mem.trace.log(&m.mem.stacks)
}

// traceUpTo is Trace without the events after one.
func (m *Machine) traceUpTo(seq uint64) *trace.Log {
	l := m.Trace()
	for len(l.Events) > 0 && l.Events[len(l.Events)-1].Seq > seq {
		l.Events = l.Events[:len(l.Events)-1]
	}
	return l
}

// Mark adds a remark to the trace.
func (m *Machine) Mark(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mark(text)
}

// mark returns the number of the event. mu must be held.
func (m *Machine) mark(text string) uint64 {
	op := m.mem.op()
	m.mem.event(&trace.Event{Seq: op.Seq, Kind: trace.Mark, G: op.G, Object: -1, Text: text}, op.Stack)
	return op.Seq
}
