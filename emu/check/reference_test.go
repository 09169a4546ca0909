package check_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu/check"
)

// event is a call of a Checker.
type event struct {
	call   string
	op     check.Op
	off, n uint64
	how    check.How
	kind   check.Kind
}

func (e event) String() string {
	return fmt.Sprintf("%d: g%d %s [%d,+%d) how %d kind %d", e.op.Seq, e.op.G, e.call, e.off, e.n, e.how, e.kind)
}

func (e event) covers(b uint64) bool     { return e.n > 0 && e.off <= b && b-e.off < e.n }
func (e event) coversLine(l uint64) bool { return e.coversUnit(l*64, 64) }
func (e event) coversUnit(b, unit uint64) bool {
	return e.n > 0 && e.off/unit <= b/unit && b/unit <= (e.off+e.n-1)/unit
}
func (e event) fences() bool { return e.call == "fence" || e.call == "sync" }

func apply(c *check.Checker, e event) {
	switch e.call {
	case "changed":
		c.Changed(e.op, e.off, e.n, e.how)
	case "silent":
		c.Silent(e.op, e.off, e.n)
	case "flush":
		c.Flush(e.op, e.off, e.n, e.kind)
	case "persist":
		c.Persist(e.op, e.off, e.n, e.kind)
	case "fence":
		c.Fence(e.op)
	case "sync":
		c.Sync(e.op, e.off, e.n)
	case "outside":
		c.FlushOutside(e.op, e.off, e.n)
	case "private":
		c.FlushPrivate(e.op, e.off, e.n)
	case "unmapped":
		c.Unmapped(e.op, e.off, e.n)
	case "commit":
		c.Commit(e.op, e.off, e.n, "here")
	case "exit":
		c.Exit(e.op.G)
	case "clear":
		c.Clear()
	default:
		panic(e.call)
	}
}

// reference judges a program byte by byte, from its whole history each time. What it keeps
// apart from that is only which flushes were redundant.
type reference struct {
	cfg    check.Config
	exact  bool
	events []event
	t      int // those before are the history
	useful map[int]map[uint64]bool
	mark   map[[2]int64]int // by line and goroutine: 1 + the event
	faults []check.Finding
	known  [192]int8 // atRisk's answers: 0 is none yet, 1 yes, -1 no
}

const none = -1

// lastChange returns the event that stored byte b last.
func (r *reference) lastChange(b uint64) int {
	for i := r.t - 1; i >= 0; i-- {
		if e := r.events[i]; e.call == "changed" && e.covers(b) {
			return i
		}
	}
	return none
}

func (r *reference) pageCache() bool        { return r.cfg.Unit == 512 }
func (r *reference) nonTemporal(i int) bool { return r.events[i].how == check.NonTemporal }

// fenced reports whether goroutine g fenced after event i.
func (r *reference) fenced(i int, g int64) bool {
	for _, e := range r.events[i+1 : r.t] {
		if e.op.G == g && e.call == "exit" {
			return false
		}
		if e.op.G == g && e.fences() {
			return true
		}
	}
	return false
}

// atRisk reports whether the last change of b isn't durable.
func (r *reference) atRisk(b uint64) bool {
	if r.known[b] == 0 {
		r.known[b] = -1
		if r.findRisk(b) {
			r.known[b] = 1
		}
	}
	return r.known[b] > 0
}

func (r *reference) findRisk(b uint64) bool {
	i := r.lastChange(b)
	if i == none {
		return false
	}
	if r.nonTemporal(i) {
		return !r.fenced(i, r.events[i].op.G)
	}
	if r.cfg.EADR && !r.pageCache() {
		return false
	}
	for j := i + 1; j < r.t; j++ {
		e := r.events[j]
		switch {
		case e.call == "sync" && (e.coversLine(b/64) || r.pageCache() && e.coversUnit(b, 512)):
			return false
		case r.pageCache():
		case e.call == "flush" && e.coversLine(b/64) && e.kind == check.Strong:
			return false
		case e.call == "flush" && e.coversLine(b/64) && e.kind == check.Weak && r.fenced(j, e.op.G):
			return false
		}
	}
	return true
}

func (r *reference) ntRisk(b uint64) bool { return r.atRisk(b) && r.nonTemporal(r.lastChange(b)) }

// flushedBy reports whether g flushed byte b, at risk by an ordinary store.
func (r *reference) flushedBy(b uint64, g int64) bool {
	if !r.atRisk(b) || r.ntRisk(b) || r.pageCache() {
		return false
	}
	for _, e := range r.events[r.lastChange(b)+1 : r.t] {
		if e.call == "flush" && e.kind != check.None && e.op.G == g && e.coversLine(b/64) {
			return true
		}
	}
	return false
}

func (r *reference) unflushed(b uint64) bool {
	return r.atRisk(b) && !r.ntRisk(b) && !slices.ContainsFunc(goroutines, func(g int64) bool { return r.flushedBy(b, g) })
}

// strong reports whether the goroutine of b's non-temporal store flushed it with CLFLUSH.
func (r *reference) strong(b uint64) bool {
	i := r.lastChange(b)
	for _, e := range r.events[i+1 : r.t] {
		if e.call == "flush" && e.kind == check.Strong && e.op.G == r.events[i].op.G && e.coversLine(b/64) {
			return true
		}
	}
	return false
}

// since reports whether there was a call of a kind for b since its last change.
func (r *reference) since(b uint64, call string, is func(event) bool) bool {
	return slices.ContainsFunc(r.events[r.lastChange(b)+1:r.t], func(e event) bool { return e.call == call && is(e) })
}

func (r *reference) idle(b uint64) bool {
	return r.unflushed(b) && r.since(b, "flush", func(e event) bool {
		return e.covers(b) && (e.kind == check.None || r.pageCache())
	})
}

func (r *reference) gone(b uint64) bool {
	return r.since(b, "unmapped", func(e event) bool { return e.covers(b) })
}
func (r *reference) setup(b uint64) bool {
	return r.since(b, "clear", func(event) bool { return true })
}

func (r *reference) filter(bytes []uint64, is func(uint64) bool) []uint64 {
	var out []uint64
	for _, b := range bytes {
		if is(b) {
			out = append(out, b)
		}
	}
	return out
}

func (r *reference) line(l uint64) []uint64 {
	var bytes []uint64
	for b := l * 64; b < l*64+64; b++ {
		bytes = append(bytes, b)
	}
	return r.filter(bytes, r.atRisk)
}

// oldest returns the oldest event that changed one of the bytes last.
func (r *reference) oldest(bytes []uint64) int {
	i := r.t
	for _, b := range bytes {
		i = min(i, r.lastChange(b))
	}
	return i
}

// last returns the last event that is such, and its operation.
func (r *reference) last(is func(int, event) bool) (int, check.Op) {
	for i := r.t - 1; i >= 0; i-- {
		if is(i, r.events[i]) {
			return i, r.events[i].op
		}
	}
	return none, check.Op{}
}

// during returns what the history before event i says.
func (r *reference) during(i int) *reference {
	past := *r
	past.t = i
	past.known = [192]int8{}
	return &past
}

func (r *reference) judge(l uint64, bytes []uint64) (s check.Status, proven bool, of []uint64) {
	if u := r.filter(bytes, r.unflushed); len(u) > 0 {
		ch := r.events[r.oldest(u)]
		s = check.Status{State: check.NeverFlushed, How: ch.how, Change: ch.op}
		if slices.ContainsFunc(u, r.idle) {
			_, s.Flush = r.last(func(i int, e event) bool {
				past := r.during(i)
				return e.call == "flush" && (e.kind == check.None || r.pageCache()) &&
					slices.ContainsFunc(past.line(l), func(b uint64) bool {
						return e.covers(b) && past.unflushed(b) && (r.pageCache() || !past.idle(b))
					})
			})
		}
		return s, true, u
	}
	at := none
	var by int64
	for _, g := range goroutines {
		flushed, _ := r.last(func(i int, e event) bool { return e.call == "flush" && e.op.G == g && r.useful[i][l] })
		stored, _ := r.last(func(i int, e event) bool {
			return e.call == "changed" && e.op.G == g && r.nonTemporal(i) && e.coversLine(l)
		})
		own := func(b uint64) bool { return r.ntRisk(b) && r.events[r.lastChange(b)].op.G == g }
		for _, c := range []struct {
			at     int
			proven bool
			of     []uint64
		}{
			{flushed, true, r.filter(bytes, func(b uint64) bool { return r.flushedBy(b, g) })},
			{stored, true, r.filter(bytes, func(b uint64) bool { return own(b) && !r.strong(b) })},
			{stored, false, r.filter(bytes, func(b uint64) bool { return own(b) && r.strong(b) })},
		} {
			if len(c.of) > 0 && (of == nil || c.proven && !proven || c.proven == proven && c.at > at) {
				at, proven, of, by = c.at, c.proven, c.of, g
			}
		}
	}
	s.State = check.NotFenced
	if e := r.events[at]; e.call == "changed" {
		s.How, s.Change = check.NonTemporal, e.op
	} else {
		ch := r.events[r.oldest(of)]
		s.How, s.Change, s.Flush = ch.how, ch.op, e.op
	}
	if i, o := r.last(func(_ int, e event) bool { return e.fences() && e.op.G != by }); i > at {
		s.State, s.Fence = check.FencedElsewhere, o
	}
	return s, proven, of
}

func (r *reference) add(rule check.Rule, proven bool, bytes []uint64, first, related check.Op) {
	lo, hi := slices.Min(bytes), slices.Max(bytes)
	r.faults = append(r.faults, check.Finding{Rule: rule, Proven: proven, Off: lo, Len: hi - lo + 1, First: first, Related: related})
}

// step judges event t and makes it history.
func (r *reference) step(lines uint64) {
	t, e := r.t, r.events[r.t]
	judged := !r.pageCache() && !r.cfg.EADR
	for l := range lines {
		touched, _ := r.last(func(_ int, e event) bool {
			return (e.call == "changed" || e.call == "silent") && e.coversLine(l)
		})
		key := [2]int64{int64(l), e.op.G}
		in := r.filter(r.line(l), e.covers)
		switch e.call {
		case "changed":
			for _, g := range goroutines {
				dead := slices.ContainsFunc(r.events[:t], func(e event) bool { return e.call == "exit" && e.op.G == g })
				own := e.op.G == g && !dead
				if !own && e.how != check.Found {
					continue
				}
				if m := r.filter(in, func(b uint64) bool { return r.flushedBy(b, g) }); len(m) > 0 {
					_, o := r.last(func(i int, e event) bool { return e.call == "flush" && e.op.G == g && r.useful[i][l] })
					r.add(check.OverwrittenBeforeDurable, own, m, e.op, o)
				}
				nt := func(b uint64) bool { return r.ntRisk(b) && r.events[r.lastChange(b)].op.G == g }
				if m := r.filter(in, nt); len(m) > 0 {
					_, o := r.last(func(i int, e event) bool {
						return e.call == "changed" && e.op.G == g && r.nonTemporal(i) && e.coversLine(l)
					})
					r.add(check.OverwrittenBeforeDurable, false, m, e.op, o)
				}
			}
			if e.coversLine(l) && r.nonTemporal(t) && r.mark[key] >= touched+1 {
				r.mark[key] = t + 1
			}
		case "flush":
			idle := e.kind == check.None || r.pageCache()
			if m := r.filter(in, func(b uint64) bool { return r.unflushed(b) && !r.idle(b) }); idle && judged && len(m) > 0 {
				r.add(check.FlushLeftOutForEADR, true, m, r.events[r.oldest(m)].op, e.op)
			}
			if idle || !judged || !e.coversLine(l) || touched == none {
				continue
			}
			all := r.line(l)
			needless := len(r.filter(all, func(b uint64) bool { return r.unflushed(b) || r.ntRisk(b) })) == 0 && r.mark[key] >= touched+1
			if needless && (e.kind == check.Weak || len(all) == 0) {
				continue
			}
			if r.useful[t] == nil {
				r.useful[t] = map[uint64]bool{}
			}
			r.useful[t][l] = true
		case "sync":
			if e.coversLine(l) && touched != none {
				r.mark[key] = t + 1
			}
		case "commit":
			if len(in) > 0 {
				s, proven, of := r.judge(l, in)
				r.add(check.NotDurableAtCommit, proven, of, s.Change, e.op)
			}
		}
	}
	if e.call == "flush" && judged && e.kind != check.None && e.n > 0 && r.useful[t] == nil {
		before, rule := 0, check.FlushOfCleanLine
		for l := range lines {
			if e.coversLine(l) {
				before = max(before, r.mark[[2]int64{int64(l), e.op.G}])
			}
		}
		f := check.Finding{Rule: rule, Proven: r.exact, Off: e.off, Len: e.n, First: e.op}
		if before > 0 {
			f.Rule, f.Related = check.FlushedTwice, r.events[before-1].op
		}
		r.faults = append(r.faults, f)
	}
	for l := range r.useful[t] {
		r.mark[[2]int64{int64(l), e.op.G}] = t + 1
	}
	switch {
	case e.call == "outside" && e.n > 0:
		r.faults = append(r.faults, check.Finding{Rule: check.FlushOutsideMapping, Proven: true, Off: e.off, Len: e.n, First: e.op})
	case e.call == "fence" && judged:
		from, o := r.last(func(_ int, p event) bool { return p.fences() && p.op.G == e.op.G })
		start := max(from, 0)
		if !slices.ContainsFunc(r.events[start:t], func(p event) bool {
			work := p.n == 0 && p.call == "changed" || p.call == "changed" && p.how == check.NonTemporal
			work = work || slices.Contains([]string{"flush", "silent", "outside", "private", "sync"}, p.call)
			return p.op.G == e.op.G && work
		}) {
			r.faults = append(r.faults, check.Finding{Rule: check.FenceWithoutEffect, Proven: r.exact, First: e.op, Related: o})
		}
	case e.call == "clear":
		r.faults = nil
	}
	r.t++
	r.known = [192]int8{}
}

// findings returns the faults, with those at the end.
func (r *reference) findings(lines uint64) []check.Finding {
	for l := range lines {
		left := r.filter(r.line(l), func(b uint64) bool { return !r.setup(b) && (r.pageCache() || !r.idle(b)) })
		for len(left) > 0 {
			part := left
			gone := r.filter(left, r.gone)
			if len(gone) > 0 {
				part = gone
			}
			s, proven, part := r.judge(l, part)
			left = r.filter(left, func(b uint64) bool { return !slices.Contains(part, b) })
			switch {
			case len(gone) > 0:
				_, o := r.last(func(i int, e event) bool {
					return e.call == "unmapped" && slices.ContainsFunc(r.during(i).line(l), e.covers)
				})
				r.add(check.UnmappedBeforeDurable, proven, part, s.Change, o)
			case s.State == check.NeverFlushed:
				r.add(check.StoreNeverFlushed, proven, part, s.Change, s.Flush)
			case s.State == check.NotFenced:
				r.add(check.FlushedNeverFenced, proven, part, s.Change, s.Flush)
			case s.How == check.NonTemporal:
				r.add(check.FencedByAnother, proven, part, s.Change, s.Fence)
			default:
				r.add(check.FencedByAnother, proven, part, s.Flush, s.Fence)
			}
		}
	}
	return r.faults
}

var goroutines = []int64{1, 2}

// program returns a program of up to 10 operations on 3 lines and its configuration.
func program(rng *rand.Rand) (cfg check.Config, exact bool, events []event) {
	switch rng.IntN(8) {
	case 0:
		cfg.EADR = true
	case 1:
		cfg.Unit = 512
	}
	exact = rng.IntN(2) == 0
	calls := []string{"changed", "changed", "changed", "changed", "changed", "flush", "flush", "flush", "flush", "flush",
		"fence", "fence", "fence", "persist", "persist", "commit", "unmapped", "silent", "exit"}
	if rng.IntN(4) == 0 {
		calls = append(calls, "sync", "clear", "outside", "private")
	}
	gone := map[int64]bool{}
	length := uint64(2 + rng.IntN(9))
	for seq := uint64(1); seq <= length; seq++ {
		e := event{call: calls[rng.IntN(len(calls))], op: check.Op{Seq: seq, G: goroutines[rng.IntN(2)], Stack: uint32(seq)}}
		if rng.IntN(20) > 0 {
			e.off, e.n = uint64(32*max(0, rng.IntN(11)-5)), uint64(8*(1+rng.IntN(3)))
			if rng.IntN(5) == 0 {
				e.n = uint64(1 + rng.IntN(int(192-e.off)))
			}
		}
		e.how, e.kind = check.How(rng.IntN(3)), check.Kind(max(0, rng.IntN(5)-2))
		if gone[e.op.G] {
			continue
		}
		gone[e.op.G] = e.call == "exit"
		events = append(events, e)
	}
	return cfg, exact, events
}

func canonical(fs []check.Finding, ops bool) string {
	var rows []string
	for _, f := range fs {
		if !ops {
			f.First, f.Related = check.Op{}, check.Op{}
		}
		for range max(1, f.Count) {
			rows = append(rows, fmt.Sprintf("%s proven=%v first=%d related=%d", f.Rule, f.Proven, f.First.Seq, f.Related.Seq))
		}
	}
	slices.Sort(rows)
	return strings.Join(rows, "\n")
}

// ranges compares what merging lines leaves: the first fault's range.
func ranges(got, want []check.Finding) error {
	for _, f := range got {
		first := slices.IndexFunc(want, func(w check.Finding) bool {
			return w.Rule == f.Rule && w.Proven == f.Proven && w.First == f.First && w.Related == f.Related
		})
		if first < 0 || want[first].Off != f.Off || want[first].Len != f.Len {
			return fmt.Errorf("%s: got %d bytes at %d, want as in %+v", f.Rule, f.Len, f.Off, want)
		}
	}
	return nil
}

func TestAgreesWithReference(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	const n = 20_000
	seen := map[string]int{}
	for range n {
		cfg, exact, events := program(rng)
		c := check.New(cfg)
		c.Exact(exact)
		r := &reference{cfg: cfg, exact: exact, useful: map[int]map[uint64]bool{}, mark: map[[2]int64]int{}}
		changes := 0
		for _, e := range events {
			apply(c, e)
			if cfg.Unit == 512 && e.how == check.NonTemporal {
				e.how = check.Exact // the page cache is memory like any other
			}
			if e.call == "changed" && e.n > 0 {
				changes++
			}
			if e.call == "persist" {
				e.call = "flush"
				r.events = append(r.events, e)
				e.call = "fence"
			}
			r.events = append(r.events, e)
		}
		for r.t < len(r.events) {
			r.step(3)
		}
		for l := range uint64(3) {
			var want check.Status
			if bytes := r.line(l); len(bytes) > 0 {
				var of []uint64
				want, _, of = r.judge(l, bytes)
				want.Off, want.Len = of[0], of[len(of)-1]-of[0]+1
			}
			got := c.Line(l*64 + 5)
			if changes > 4 {
				want.Change, want.How, got.Change, got.How = check.Op{}, 0, check.Op{}, 0
			}
			if got != want {
				t.Fatalf("%+v exact %v:\n%v\nline %d: got %+v, want %+v", cfg, exact, lines(events), l, got, want)
			}
		}
		want := r.findings(3)
		got := c.Findings()
		if again := c.Findings(); !slices.Equal(got, again) {
			t.Fatalf("%v\nfindings, asked for again: got %v, want %v", lines(events), again, got)
		}
		if !slices.IsSortedFunc(got, func(a, b check.Finding) int {
			return cmp.Or(cmp.Compare(a.First.Seq, b.First.Seq), cmp.Compare(a.Related.Seq, b.Related.Seq))
		}) {
			t.Fatalf("%v\nnot sorted: %v", lines(events), got)
		}
		ops := changes <= 4
		if g, w := canonical(got, ops), canonical(want, ops); g != w {
			t.Fatalf("%+v exact %v:\n%v\ngot:\n%s\nwant:\n%s", cfg, exact, lines(events), g, w)
		}
		if err := ranges(got, want); ops && err != nil {
			t.Fatalf("%+v exact %v:\n%v\n%v", cfg, exact, lines(events), err)
		}
		for _, f := range got {
			seen[fmt.Sprint(f.Rule, f.Proven)]++
		}
	}
	for _, rule := range check.Rules() {
		if seen[fmt.Sprint(rule, true)] < n/1000 {
			t.Errorf("%s was found in %d programs, which shows little: %v", rule, seen[fmt.Sprint(rule, true)], seen)
		}
	}
}

func lines(events []event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}
