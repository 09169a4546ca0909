package emu

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/emu/check"
	"pmemlab/emu/persist"
	"pmemlab/emu/trace"
)

// CrashFinding is a state that a power failure can leave and that the program can't cope with.
type CrashFinding struct {
	// Err is what recovery or the check said, or how they ended.
	Err error
	// Point is when power failed, and Acks is what had been acknowledged.
	Point Point
	Acks  []string
	// Lost are the lines that power failed too early for, as few as still are wrong. With none
	// the program can't cope with a failure at this moment whatever is durable.
	Lost []LostLine
	// Names are what file systems say that isn't the newest of names, sizes and attributes: "file
	// /mnt/pmem0/a isn't there". They hadn't got to the media; fsync, or msync of a file there,
	// would have seen to it.
	Names []string
	// Proven: see [Machine.CrashStates].
	Proven bool
	// Count is how many states were wrong for what looks like the same reason: the same thing
	// missing at the same places in the source.
	Count int
	// Image is the state, to be saved, or booted from.
	Image *Image
}

// reason is what findings with one cause have in common.
func (f *CrashFinding) reason() string {
	s := ""
	if len(f.Lost) == 0 {
		s = f.Point.What + cause(f.Err)
	}
	for _, l := range f.Lost {
		s += l.Missing
		for _, frames := range [...][]trace.Frame{l.Store, l.Seen, l.Flush, l.Fence} {
			s += "|"
			for _, frame := range frames[:min(len(frames), 2)] {
				s += frame.String() + " "
			}
		}
	}
	return s
}

// LostLine is a line of a state that isn't at its newest content.
type LostLine struct {
	Line
	// Missing is what would have made it durable: "flush", "fence", "fence by the goroutine that
	// flushed", "msync"; or "order", if that was still to come and something else was durable
	// too early.
	Missing string
	// Store are the callers of the store, the innermost first, if it was seen: otherwise it
	// came before the operation at Seen.
	Store, Seen []trace.Frame
	// Flush are those of the last flush of it, and Fence those of another goroutine's fence.
	Flush, Fence []trace.Frame
}

// String says in a line what is lost, and what was missing where.
func (l LostLine) String() string {
	s := l.Line.String() + ": missing " + l.Missing
	for i, frames := range [...][]trace.Frame{l.Store, l.Seen, l.Flush, l.Fence} {
		if len(frames) > 0 {
			s += fmt.Sprintf(", %s %s", [...]string{"stored at", "stored before", "flushed at", "fenced elsewhere at"}[i], frames[0])
		}
	}
	return s
}

// String tells all of it in a few lines.
func (f CrashFinding) String() string {
	var b strings.Builder
	kind := "proven"
	if !f.Proven {
		kind = "possible"
	}
	fmt.Fprintf(&b, "power failure before %s", f.Point.What)
	if f.Point.What == "end" {
		b.Reset()
		b.WriteString("power failure at the end")
	}
	if len(f.Point.Callers) > 0 {
		fmt.Fprintf(&b, " at %s", f.Point.Callers[0])
	}
	fmt.Fprintf(&b, " (event %d, %d acknowledged, %s): %v", f.Point.Seq, len(f.Acks), kind, f.Err)
	if f.Count > 1 {
		fmt.Fprintf(&b, " (%d times)", f.Count)
	}
	for _, l := range f.Lost {
		fmt.Fprintf(&b, "\n\tlost %s", l)
	}
	for _, name := range f.Names {
		fmt.Fprintf(&b, "\n\t%s: missing fsync or msync", name)
	}
	return b.String()
}

// Log is the trace until the failure, with the lost lines pointed out, or if there are none the
// moment.
func (f *CrashFinding) Log() *trace.Log {
	l := f.Image.Trace()
	title, _, _ := strings.Cut(f.Err.Error(), "\n")
	for _, lost := range f.Lost {
		o := slices.IndexFunc(l.Objects, func(o trace.Object) bool { return o.Name == lost.Object })
		l.Guilty = append(l.Guilty, trace.Guilty{Object: o, Off: lost.Off, Len: lost.Len, Seq: f.Point.Seq, Title: title, Text: lost.String()})
	}
	if len(f.Lost) == 0 {
		l.Guilty = append(l.Guilty, trace.Guilty{Object: -1, Seq: f.Point.Seq, Title: title, Text: f.String()})
	}
	return l
}

// found makes a finding of a wrong image: reduced, explained, kept.
func (x *explorer) found(p *crashPoint, image chosen, failure error) error {
	lost := slices.Clone(image.choices)
	for i := len(lost) - 1; i >= 0 && len(lost) > 1; i-- {
		fewer := slices.Delete(slices.Clone(lost), i, i+1)
		f, err := tryOne(x.crew[0], chosen{fewer})
		if err != nil {
			return err
		}
		if f != nil {
			lost, failure = fewer, f
		}
	}
	if len(lost) > 0 { // also nothing lost may be wrong
		f, err := tryOne(x.crew[0], chosen{})
		if err != nil {
			return err
		}
		if f != nil && cause(f) == cause(failure) {
			lost, failure = nil, f
		}
	}
	version := *p.version
	version.stage = nil
	version.pages = clonePages(version.pages)
	img := &Image{
		states:  &CrashStates{trace: func() *trace.Log { return nil }},
		version: &version, choices: lost,
	}
	log := x.m.traceUpTo(p.Seq)
	img.states.trace = func() *trace.Log { l := *log; return &l }
	f := CrashFinding{Err: failure, Point: p.Point, Acks: p.acks, Image: img, Proven: !x.opts.Possible || x.proven(&version, lost)}
	x.m.mu.Lock()
	for _, c := range lost {
		f.Lost = append(f.Lost, x.m.mem.lostLine(img, c, p.Point))
	}
	x.m.mu.Unlock()
	f.Names = p.newest.missingIn(version.boot)
	f.Count = 1
	reason := f.reason()
	i, ok := x.reasons[reason]
	if !ok && len(f.Names) > 0 { // with the newest names nothing was wrong
		reason += "|names"
		i, ok = x.reasons[reason]
	}
	if !ok {
		i = len(x.result.Findings)
	}
	p.wrong = append(p.wrong, wrongImage{lost, cause(failure), i})
	if ok {
		old := &x.result.Findings[i]
		if f.Count = old.Count + 1; f.Proven && !old.Proven { // the proven one is worth more
			*old = f
		}
		old.Count = f.Count
		return nil
	}
	if x.reasons == nil {
		x.reasons = map[string]int{}
	}
	x.reasons[reason] = i
	x.result.Findings = append(x.result.Findings, f)
	if len(x.result.Findings) >= x.opts.MaxFindings {
		x.ended = true
	}
	return nil
}

// proven says whether the content of the lost lines is among the proven ones too.
func (x *explorer) proven(v *crashVersion, lost []choice) bool {
	x.m.mu.Lock()
	images := x.m.mem.images(false)
	x.m.mu.Unlock()
	for _, c := range lost {
		off, size, _ := v.images.Cell(c.Cell)
		want, got := make([]byte, size), make([]byte, size)
		v.images.Content(c.Cell, c.Version, want)
		if !contains(images, off, want, got) {
			return false
		}
	}
	return true
}

func contains(images *persist.Images, off uint64, want, scratch []byte) bool {
	for i := range images.Cells() {
		at, size, contents := images.Cell(i)
		if at != off || size != len(want) {
			continue
		}
		for v := range min(contents, 1<<16) {
			images.Content(i, v, scratch)
			if string(scratch) == string(want) {
				return true
			}
		}
	}
	return false
}

func clonePages(pages map[int]map[uint64]*mediaPage) map[int]map[uint64]*mediaPage {
	all := map[int]map[uint64]*mediaPage{}
	for number, of := range pages {
		all[number] = map[uint64]*mediaPage{}
		for i, p := range of {
			page := *p
			all[number][i] = &page
		}
	}
	return all
}

// lostLine explains a choice. The machine's mu must be held.
func (d *durability) lostLine(img *Image, c choice, p Point) LostLine {
	l := LostLine{Line: img.line(c)}
	if l.Len == sectorSize {
		l.Missing, l.Seen = "msync", p.Callers
		return l
	}
	off, _, _ := img.version.images.Cell(c.Cell)
	s := d.checks.Line(off)
	l.Store, l.Flush, l.Fence = d.stacks.frames(s.Change.Stack), d.stacks.frames(s.Flush.Stack), d.stacks.frames(s.Fence.Stack)
	switch s.State {
	case check.NeverFlushed:
		l.Missing = "flush"
	case check.NotFenced:
		l.Missing = "fence"
	case check.FencedElsewhere:
		l.Missing = "fence by the goroutine that flushed"
	default:
		l.Missing = "order"
	}
	if l.Store == nil {
		l.Seen = p.Callers
		if e := d.trace.after(s.Change.Seq); e != 0 {
			l.Seen = d.stacks.frames(e)
		}
	}
	return l
}

// after is the callers of the first operation at or after an event; 0 is none.
func (b *traceBuffer) after(seq uint64) uint32 {
	for i := range b.entries {
		t := &b.entries[(b.next+i)%len(b.entries)]
		if seq > 0 && t.seq >= seq && t.stack != 0 && !t.kind.IsStore() {
			return t.stack
		}
	}
	return 0
}

// leftOpen says what a recovery has left open on the stage's machine, or nil.
func (s *stage) leftOpen() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.m.maps.Len() == 0 && len(s.m.fds) == 0 {
		return nil
	}
	return fmt.Errorf("recovery or check left behind: %d descriptors, %d mappings", len(s.m.fds), s.m.maps.Len())
}
