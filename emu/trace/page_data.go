package trace

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// maxLoneLines is how many lines of the same events have a row each.
const maxLoneLines = 8

// pageLimits are what a page holds at most: events, and bytes of the data of one and of all.
type pageLimits struct{ events, eventData, data int }

var usualLimits = pageLimits{events: 400_000, eventData: 512, data: 16 << 20}

// A page is what the page's script is given, as JSON: rows and events refer to others by
// index, and times are indexes of events.
type page struct {
	log *Log

	Kinds   []string     `json:"kinds"` // by number, the first is ""
	Objects []pageObject `json:"objects"`
	Gs      []int64      `json:"gs"` // goroutines as they first appear
	Frames  []string     `json:"frames"`
	Stacks  [][]int      `json:"stacks"` // of frames, the innermost first
	Rows    []pageRow    `json:"rows"`
	Events  []pageEvent  `json:"events"`
	Windows []pageWindow `json:"windows"`
	Guilty  []pageGuilty `json:"guilty"`

	// before is how many events of the log come before the first here.
	before int
	pieces [][]span // by object
	first  [][]int  // the first row of each piece
	stacks map[string]int
	frames map[Frame]int
	gs     map[int64]int
}

type pageObject struct {
	Name string `json:"name"`
	Size exact  `json:"size"`
	Unit uint64 `json:"unit"`
}

// exact is a number that JavaScript is given as one if it can hold it, else as text.
type exact uint64

func (x exact) MarshalJSON() ([]byte, error) {
	if x < 1<<53 {
		return strconv.AppendUint(nil, uint64(x), 10), nil
	}
	return []byte(`"0x` + strconv.FormatUint(uint64(x), 16) + `"`), nil
}

// A pageRow is n bytes at off of an object: a line, or many.
type pageRow struct {
	object int
	off, n uint64
}

func (r pageRow) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{r.object, exact(r.off), exact(r.n)})
}

type pageEvent struct {
	seq       uint64
	kind      Kind
	g, object int
	row, rows int // the rows that it reaches; of row -1 none
	off, n    uint64
	addr      uint64
	stack     int // -1: none
	noEffect  bool
	text      string
	data      string // hexadecimal, perhaps not all
}

func (e pageEvent) MarshalJSON() ([]byte, error) {
	v := []any{
		exact(e.seq), int(e.kind), e.g, e.object, e.row, e.rows, exact(e.off), exact(e.n),
		"0x" + strconv.FormatUint(e.addr, 16), e.stack, e.noEffect, e.text, e.data,
	}
	switch { // most have neither text nor data
	case e.data == "" && e.text == "" && !e.noEffect:
		v = v[:10]
	case e.data == "":
		v = v[:12]
	}
	return json.Marshal(v)
}

// A pageWindow ends at -1 if it's open.
type pageWindow struct {
	row      int
	risk     Risk
	from, to int
}

func (w pageWindow) MarshalJSON() ([]byte, error) {
	return json.Marshal([4]int{w.row, int(w.risk), w.from, w.to})
}

type pageGuilty struct {
	Row   int    `json:"row"`
	Rows  int    `json:"rows"`
	At    int    `json:"at"` // the event, -1 if there's none
	Title string `json:"title"`
	Text  string `json:"text"`
	Where string `json:"where"`
}

func newPage(l *Log, limits pageLimits) *page {
	p := &page{
		log: l, Kinds: kindNames[:], stacks: map[string]int{}, frames: map[Frame]int{}, gs: map[int64]int{},
		Objects: []pageObject{}, Gs: []int64{}, Frames: []string{}, Stacks: [][]int{},
		Rows: []pageRow{}, Events: []pageEvent{}, Windows: []pageWindow{}, Guilty: []pageGuilty{},
	}
	for _, o := range l.Objects {
		p.Objects = append(p.Objects, pageObject{o.Name, exact(o.Size), o.unit()})
	}
	end := p.choose(limits.events)
	p.layRows(end)
	for i := p.before; i < end; i++ {
		e := &l.Events[i]
		data := e.Data[:min(len(e.Data), limits.eventData, limits.data)]
		limits.data -= len(data)
		p.Events = append(p.Events, p.event(e, data))
	}
	p.addWindows(end)
	for _, g := range l.Guilty {
		row, rows := p.rowsOf(g.Object, l.guiltySpan(g))
		p.Guilty = append(p.Guilty, pageGuilty{row, rows, p.indexOf(g.Seq), g.Title, g.Text, l.where(g)})
	}
	return p
}

// choose sets the first event of the page, of most, and returns the end.
func (p *page) choose(most int) (end int) {
	n := len(p.log.Events)
	if n <= most {
		return n
	}
	end = n
	if len(p.log.Guilty) > 0 && p.log.Guilty[0].Seq != 0 {
		at, _ := slices.BinarySearchFunc(p.log.Events, p.log.Guilty[0].Seq, bySeq)
		end = max(most, min(n, at+most/2))
	}
	p.before = end - most
	return end
}

func bySeq(e Event, seq uint64) int {
	if e.Seq < seq {
		return -1
	}
	return int(min(e.Seq-seq, 1))
}

// indexOf is the first event of the page from seq on, the number of them if all come
// before it, and -1 if it's before them all or seq is 0.
func (p *page) indexOf(seq uint64) int {
	if seq == 0 || len(p.Events) == 0 || p.before > 0 && seq < p.Events[0].seq {
		return -1
	}
	i, _ := slices.BinarySearchFunc(p.log.Events, seq, bySeq)
	return min(i-p.before, len(p.Events))
}

func (l *Log) guiltySpan(g Guilty) span {
	if g.Object < 0 {
		return span{}
	}
	return around(g.Off, max(g.Len, 1), l.Objects[g.Object].unit())
}

// layRows makes rows of the lines that were stored to, in the whole log, or are guilty, and of
// one line for each other range of the page that would have none.
func (p *page) layRows(end int) {
	l := p.log
	n := len(l.Objects)
	covered, cuts := make([][]span, n), make([][]span, n)
	for i := range l.Events {
		e := &l.Events[i]
		s := l.reach(e)
		switch {
		case s.from == s.to || e.Kind == Fsync:
		case e.Kind.IsStore() && (i >= p.before && i < end || !e.NoEffect):
			covered[e.Object] = append(covered[e.Object], s)
			cuts[e.Object] = append(cuts[e.Object], l.inner(e))
		case e.Kind.IsFlush() || e.Kind == Msync:
			cuts[e.Object] = append(cuts[e.Object], s)
		}
	}
	for _, g := range l.Guilty {
		if s := l.guiltySpan(g); s.from < s.to {
			covered[g.Object] = append(covered[g.Object], s)
		}
	}
	p.pieces = make([][]span, n)
	for o := range p.pieces {
		p.pieces[o] = cut(covered[o], cuts[o])
	}
	var lone []*Event
	for i := p.before; i < end; i++ {
		e := &l.Events[i]
		if s := l.reach(e); s.from < s.to && (e.Kind.IsFlush() || e.Kind == Msync) {
			if first, end := within(p.pieces[e.Object], s); first == end {
				lone = append(lone, e)
			}
		}
	}
	for _, e := range lone {
		s := l.reach(e)
		covered[e.Object] = append(covered[e.Object], span{s.from, s.from + l.Objects[e.Object].unit()})
	}
	p.first = make([][]int, n)
	for o := range p.pieces {
		if len(lone) > 0 {
			p.pieces[o] = cut(covered[o], cuts[o])
		}
		unit := l.Objects[o].unit()
		for _, s := range p.pieces[o] {
			p.first[o] = append(p.first[o], len(p.Rows))
			if s.to-s.from > maxLoneLines*unit {
				p.Rows = append(p.Rows, pageRow{o, s.from, s.to - s.from})
				continue
			}
			for off := s.from; off < s.to; off += unit {
				p.Rows = append(p.Rows, pageRow{o, off, min(unit, s.to-off)})
			}
		}
		p.first[o] = append(p.first[o], len(p.Rows))
	}
}

// rowsOf returns the first row in s and how many there are; -1 and 0 without any.
func (p *page) rowsOf(object int, s span) (row, rows int) {
	if s.from == s.to {
		return -1, 0
	}
	first, end := within(p.pieces[object], s)
	if first == end {
		return -1, 0
	}
	row = p.first[object][first]
	return row, p.first[object][end] - row
}

func (p *page) event(e *Event, data []byte) pageEvent {
	v := pageEvent{
		seq: e.Seq, kind: e.Kind, object: e.Object, off: e.Off, n: e.Len, addr: e.Addr,
		stack: p.stack(e.Callers), noEffect: e.NoEffect, text: e.Text, row: -1,
	}
	g, ok := p.gs[e.G]
	if !ok {
		g = len(p.Gs)
		p.gs[e.G] = g
		p.Gs = append(p.Gs, e.G)
	}
	v.g = g
	if e.Kind.IsStore() || e.Kind.IsFlush() || e.Kind == Msync || e.Kind == Fsync {
		v.row, v.rows = p.rowsOf(e.Object, p.log.reach(e))
	}
	v.data = hex.EncodeToString(data)
	return v
}

// stack returns the index of callers, -1 without any.
func (p *page) stack(callers []Frame) int {
	if len(callers) == 0 {
		return -1
	}
	stack := make([]int, len(callers))
	var key strings.Builder
	for i, f := range callers {
		n, ok := p.frames[f]
		if !ok {
			n = len(p.Frames)
			p.frames[f] = n
			p.Frames = append(p.Frames, f.Func+"\n"+f.String())
		}
		stack[i] = n
		key.WriteString(strconv.Itoa(n) + " ")
	}
	n, ok := p.stacks[key.String()]
	if !ok {
		n = len(p.Stacks)
		p.stacks[key.String()] = n
		p.Stacks = append(p.Stacks, stack)
	}
	return n
}

// addWindows adds the windows of the rows, those of the whole log cut to the page's events.
func (p *page) addWindows(end int) {
	for _, w := range p.log.follow(p.pieces) {
		from, to := max(w.from-p.before, 0), w.to-p.before
		if w.open || w.to >= end {
			to = -1
		}
		if w.from >= end || !w.open && w.to < p.before {
			continue
		}
		first := p.first[w.line.object]
		for row := first[w.line.piece]; row < first[w.line.piece+1]; row++ {
			p.Windows = append(p.Windows, pageWindow{row, w.risk, from, to})
		}
	}
}
