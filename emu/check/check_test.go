package check_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pmemlab/emu/check"
)

func TestLine(t *testing.T) {
	at := func(seq uint64, g int64) check.Op { return check.Op{Seq: seq, G: g, Stack: uint32(seq)} }
	for _, test := range []struct {
		name, program string
		want          check.Status
	}{
		{"never stored to", "1 fence", check.Status{}},
		{"persisted", "1 store 0 8; 1 persist 0 8", check.Status{}},
		{"stored", "1 store 4 8; 1 store 20 1", check.Status{State: check.NeverFlushed, Off: 4, Len: 17, Change: at(1, 1)}},
		{"found", "2 found 8 8", check.Status{State: check.NeverFlushed, Off: 8, Len: 8, How: check.Found, Change: at(1, 2)}},
		{"flushed", "1 store 8 8; 2 flush 8 8", check.Status{State: check.NotFenced, Off: 8, Len: 8, Change: at(1, 1), Flush: at(2, 2)}},
		{"flushed, and stored since", "1 store 8 8; 2 flush 8 8; 3 store 0 8",
			check.Status{State: check.NeverFlushed, Off: 0, Len: 8, Change: at(3, 3)}},
		{"fenced by another", "1 store 8 8; 2 flush 8 8; 1 fence",
			check.Status{State: check.FencedElsewhere, Off: 8, Len: 8, Change: at(1, 1), Flush: at(2, 2), Fence: at(3, 1)}},
		{"non-temporal", "1 nt 0 100", check.Status{State: check.NotFenced, Len: 64, How: check.NonTemporal, Change: at(1, 1)}},
		{"no instruction", "1 store 0 8; 1 noflush 0 8", check.Status{State: check.NeverFlushed, Len: 8, Change: at(1, 1), Flush: at(2, 1)}},
		{"setup is as durable as it is", "1 store 0 8; clear", check.Status{State: check.NeverFlushed, Len: 8, Change: at(1, 1)}},
		{"the later of two flushes", "1 store 0 8; 1 flush 0 8; 2 flush 0 8",
			check.Status{State: check.NotFenced, Len: 8, Change: at(1, 1), Flush: at(3, 2)}},
		{"the fifth change joins the fourth", "1 store 0 1; 1 store 1 1; 1 store 2 1; 1 store 3 1; 1 store 4 1; 1 store 0 4",
			check.Status{State: check.NeverFlushed, Len: 5, Change: at(4, 1)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := run(t, test.program)
			if got := c.Line(63); got != test.want {
				t.Errorf("%s:\n got %+v\nwant %+v", test.program, got, test.want)
			}
			if got := c.Line(1 << 40); got != (check.Status{}) {
				t.Errorf("another line: got %+v, want durable", got)
			}
		})
	}
}

func TestSameStacksAreOneFinding(t *testing.T) {
	c := check.New(check.Config{})
	for i := range uint64(5) {
		c.Changed(check.Op{Seq: 10 + i, Stack: 7}, 1000-64*i, 4, check.Exact)
	}
	c.Changed(check.Op{Seq: 20, Stack: 8}, 4096, 4, check.Exact)
	want := []string{"store-never-flushed 1000+4 10,0 ×5", "store-never-flushed 4096+4 20,0"}
	var got []string
	for _, f := range c.Findings() {
		got = append(got, spell(f))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	c = check.New(check.Config{})
	for i := range uint64(3) {
		c.Fence(check.Op{Seq: 1 + i, G: int64(i)})
		c.Changed(check.Op{Seq: 1 + i}, 0, 1, check.Exact)
		c.Commit(check.Op{Seq: 1 + i}, 0, 1, strings.Repeat("x", int(i)/2))
	}
	counts := map[check.Rule][]uint64{}
	for _, f := range c.Findings() {
		counts[f.Rule] = append(counts[f.Rule], f.Count)
	}
	if got := counts[check.FenceWithoutEffect]; !slices.Equal(got, []uint64{3}) {
		t.Errorf("fences: got counts %v, want one finding of 3", got)
	}
	if got := counts[check.NotDurableAtCommit]; !slices.Equal(got, []uint64{2, 1}) {
		t.Errorf("commits of two names: got counts %v, want 2 and 1", got)
	}
}

func TestTexts(t *testing.T) {
	for _, test := range []struct{ program, want string }{
		{"1 store 0 8", "8 bytes at 0x0, stored by goroutine 1, were never flushed: persist them after the store"},
		{"1 found 64 8", "8 bytes at 0x40, found changed by a store that wasn't seen, were never flushed: persist them after the store"},
		{"page: 1 store 0 8; 1 persist 0 8", "8 bytes at 0x0, stored by goroutine 1, were flushed from the CPU's caches, which doesn't take them out of the page cache: msync or fsync them"},
		{"1 store 0 8; 2 flush 0 8", "8 bytes at 0x0, stored by goroutine 1, were flushed by goroutine 2, which never fenced: drain after the flush"},
		{"3 nt 0 8", "8 bytes at 0x0, stored non-temporally by goroutine 3, wait for a fence of this goroutine, which never came: drain after the copy"},
		{"1 store 0 8; 2 flush 0 8; 3 private; 3 fence", "8 bytes at 0x0 were flushed by goroutine 2, and only goroutine 3 fenced, which doesn't order them: drain in goroutine 2"},
		{"2 nt 0 8; 3 private; 3 fence", "8 bytes at 0x0 were stored non-temporally by goroutine 2, and only goroutine 3 fenced, which doesn't order them: drain in goroutine 2"},
		{"1 store 0 8; 1 commit 0 8; 1 persist 0 8", `8 bytes at 0x0, stored by goroutine 1, are taken for durable at "here", but were never flushed: persist them before it`},
		{"1 store 0 8; 1 flush 0 8; 2 private; 2 fence; 1 commit 0 8; 1 fence", `8 bytes at 0x0, stored by goroutine 1, are taken for durable at "here", but were fenced by another goroutine only (2): persist them before it`},
		{"2 store 0 8; 2 flush 0 8; 2 store 0 8; 1 persist 0 8; 2 fence", "8 bytes at 0x0 were flushed or stored non-temporally by goroutine 2 and overwritten before its fence: drain before storing anew, or leave out the first flush"},
		{"1 outside 4096 8", "goroutine 1 flushed 8 bytes at 0x1000, where nothing is mapped: flush inside the mapping only"},
		{"1 store 0 8; 2 noflush 0 8", "8 bytes at 0x0 were flushed by goroutine 2 without an instruction, but this machine has no eADR: use the granularity that the machine has"},
		{"1 store 0 8; 1 flush 0 8; 2 unmap 0 8", "8 bytes at 0x0, stored by goroutine 1, were flushed, but not fenced when goroutine 2 deleted the mapping, and later: persist them before"},
		{"1 nt 0 8; 2 unmap 0 8", "8 bytes at 0x0, stored non-temporally by goroutine 1, were not fenced when goroutine 2 deleted the mapping, and later: persist them before"},
		{"1 persist 0 8", "goroutine 1 flushed 8 bytes at 0x0, no line of which had been stored to: leave out the flush"},
		{"1 store 0 8; 1 persist 0 8; 1 persist 0 8", "goroutine 1 flushed 8 bytes at 0x0 a second time with the same content: leave out one of the flushes"},
		{"1 fence", "goroutine 1 fenced without having flushed anything since its last fence: leave out the fence, or drain in the goroutine that flushed"},
	} {
		findings := run(t, test.program).Findings()
		if len(findings) == 0 || findings[0].Text != test.want {
			t.Errorf("%s:\n got %+v\nwant %q", test.program, findings, test.want)
		}
	}
}

func TestClear(t *testing.T) {
	c := run(t, "exact: 1 fence; 1 store 0 8; 1 nt 64 8; 1 store 128 8; 1 flush 128 8; 1 outside 0 8; clear")
	if got := c.Findings(); len(got) > 0 {
		t.Fatalf("after Clear: got %v, want none", got)
	}
	c.Persist(op(10, 1), 0, 8, check.Weak) // no waste: the state is kept
	if got := c.Findings(); len(got) > 0 {
		t.Errorf("a flush of what is dirty since before Clear: got %v, want none", got)
	}
	for _, off := range []uint64{0, 64, 128} {
		if got := c.Line(off); got.State != check.Durable {
			t.Errorf("line at %d: got %+v, want durable", off, got)
		}
	}
}

func TestLoses(t *testing.T) {
	var waste []check.Rule
	for _, r := range check.Rules() {
		if !r.Loses() {
			waste = append(waste, r)
		}
	}
	if want := []check.Rule{check.FlushOfCleanLine, check.FlushedTwice, check.FenceWithoutEffect}; !slices.Equal(waste, want) {
		t.Errorf("rules that lose nothing: got %v, want %v", waste, want)
	}
}

func TestSetEADR(t *testing.T) {
	c := run(t, "1 store 0 8; 1 flush 0 8; 1 store 64 8; 1 nt 128 8")
	c.SetEADR(true)
	for off, want := range map[uint64]check.State{0: check.Durable, 64: check.Durable, 128: check.NotFenced} {
		if got := c.Line(off).State; got != want {
			t.Errorf("line at %d with eADR: got state %d, want %d", off, got, want)
		}
	}
	c.Fence(op(9, 1))
	c.SetEADR(false)
	if got := c.Findings(); len(got) > 0 {
		t.Errorf("got %v, want none", got)
	}

	page := run(t, "page: 1 store 0 8")
	page.SetEADR(true)
	if got := page.Line(0).State; got != check.NeverFlushed {
		t.Errorf("page cache with eADR: got state %d, want %d: it's no cache of the CPU", got, check.NeverFlushed)
	}
}

// TestForgottenLines: a line that was forgotten counts as one that was never stored to, and
// that is only called proven if nobody can have reason to flush it.
func TestForgottenLines(t *testing.T) {
	const many = 5000
	store := func(c *check.Checker, g int64, off uint64) { c.Changed(op(1, g), off, 8, check.Exact) }
	persist := func(c *check.Checker, g int64, off uint64) { c.Persist(op(1, g), off, 8, check.Weak) }
	alone := func(c *check.Checker, off uint64) { store(c, 1, off); persist(c, 1, off) }
	for _, test := range []struct {
		name   string
		line   func(c *check.Checker, off uint64)
		off    uint64
		rule   check.Rule
		proven bool
	}{
		{"remembered", alone, many * 64, check.FlushedTwice, true},
		{"forgotten", alone, 64, check.FlushOfCleanLine, true},
		{"goroutine 1 may flush it yet", func(c *check.Checker, off uint64) { store(c, 1, off); persist(c, 2, off) },
			64, check.FlushOfCleanLine, false},
		{"goroutine 1 may flush it again", func(c *check.Checker, off uint64) { alone(c, off); store(c, 1, off); persist(c, 2, off) },
			64, check.FlushOfCleanLine, false},
		{"the former of two may flush it yet", func(c *check.Checker, off uint64) { store(c, 1, off); store(c, 2, off); persist(c, 2, off) },
			64, check.FlushOfCleanLine, false},
	} {
		c := check.New(check.Config{})
		c.Exact(true)
		for i := uint64(1); i <= many; i++ {
			test.line(c, i*64)
		}
		persist(c, 1, test.off)
		got := c.Findings()
		if len(got) != 1 || got[0].Rule != test.rule || got[0].Proven != test.proven {
			t.Errorf("%s: got %+v, want %s, proven %v", test.name, got, test.rule, test.proven)
		}
	}

	// One that is in use isn't forgotten.
	c := check.New(check.Config{})
	c.Exact(true)
	for i := uint64(0); i <= 4500; i++ {
		if i%1000 == 0 {
			alone(c, 0)
		}
		alone(c, 64+i*64)
	}
	persist(c, 1, 0)
	if got := c.Findings(); len(got) != 1 || got[0].Rule != check.FlushedTwice {
		t.Errorf("in use: got %+v, want %s", got, check.FlushedTwice)
	}
}

// TestScatteredLines: whatever comes and goes, what is at risk stays.
func TestScatteredLines(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	c := check.New(check.Config{})
	dirty := map[uint64]bool{}
	for i := range uint64(60_000) {
		off := rng.Uint64N(1<<26) &^ 63
		c.Changed(op(i, 1), off, 8, check.Exact)
		c.Persist(op(i, 1), off, 8, check.Weak)
		delete(dirty, off)
		if i%50 == 0 {
			c.Changed(op(i, 1), off, 8, check.Exact)
			dirty[off] = true
		}
	}
	for off := range dirty {
		if got := c.Line(off).State; got != check.NeverFlushed {
			t.Errorf("line at %#x: got state %d, want %d", off, got, check.NeverFlushed)
		}
	}
	if got := c.Findings(); len(got) != 1 || got[0].Count != uint64(len(dirty)) {
		t.Errorf("got %+v, want one finding of %d lines", got, len(dirty))
	}
}

// TestSameStackIsOneChange: a loop that fills a line is one change of it.
func TestSameStackIsOneChange(t *testing.T) {
	for _, test := range []struct {
		name string
		op   check.Op
		how  check.How
		want uint64
	}{
		{"same stack", check.Op{Seq: 2, G: 1, Stack: 1}, check.Exact, 1},
		{"another stack", check.Op{Seq: 2, G: 1, Stack: 2}, check.Exact, 2},
		{"another goroutine", check.Op{Seq: 2, G: 2, Stack: 1}, check.Exact, 2},
		{"known otherwise", check.Op{Seq: 2, G: 1, Stack: 1}, check.Found, 2},
		{"no stacks", check.Op{Seq: 2, G: 1}, check.Exact, 2},
	} {
		first := op(1, 1)
		if test.op.Stack == 0 {
			first.Stack = 0
		}
		c := check.New(check.Config{})
		c.Changed(first, 0, 8, check.Exact)
		c.Changed(test.op, 8, 8, test.how)
		c.Commit(op(3, 1), 8, 8, "")
		c.Persist(op(4, 1), 0, 8, check.Weak)
		if got := c.Findings(); len(got) != 1 || got[0].First.Seq != test.want {
			t.Errorf("%s: got %+v, want operation %d as the change", test.name, got, test.want)
		}
	}
}

// TestManyLines goes through the table in all ways, past what it starts with.
func TestManyLines(t *testing.T) {
	const n = 40_000
	c := check.New(check.Config{})
	c.Changed(op(1, 1), 32, n*64, check.NonTemporal)
	c.Changed(op(2, 2), 1<<40, n*64, check.Exact)
	c.Flush(op(3, 2), 0, math.MaxUint64, check.Weak)
	c.Fence(op(4, 2))
	for _, off := range []uint64{0, n / 2 * 64, n * 64} {
		if got := c.Line(off).State; got != check.FencedElsewhere {
			t.Errorf("line at %d: got state %d, want %d", off, got, check.FencedElsewhere)
		}
	}
	for i := range uint64(n) {
		if got := c.Line(1<<40 + i*64).State; got != check.Durable {
			t.Fatalf("line %d: got state %d, want durable", i, got)
		}
	}
	findings := c.Findings()
	if len(findings) != 1 || findings[0].Count != n+1 || findings[0].Off != 32 || findings[0].Len != 32 {
		t.Errorf("got %+v, want one finding of %d lines, the first 32 bytes at 32", findings, n+1)
	}
	c.Fence(op(5, 1))
	if got := c.Findings(); len(got) > 0 {
		t.Errorf("after the fence: got %+v, want none", got)
	}
	c.Changed(op(6, 1), 1<<41, 8, check.Exact)
	if got := c.Findings(); len(got) != 1 || got[0].Off != 1<<41 {
		t.Errorf("one store more: got %+v, want one finding at %d", got, uint64(1)<<41)
	}
}

func TestOverflow(t *testing.T) {
	c := check.New(check.Config{})
	for i := range uint32(10_100) {
		for range 2 {
			c.Fence(check.Op{Seq: 1, G: int64(i), Stack: i})
		}
	}
	// The second fence of each has the first as its related one.
	if got, want := len(c.Findings()), 10_000; got != want {
		t.Errorf("got %d findings, want %d", got, want)
	}
	if got, want := c.Overflow(), uint64(2*10_100-10_000-1); got != want {
		t.Errorf("got %d left out, want %d", got, want)
	}
	c.Clear()
	if got := c.Overflow(); got != 0 {
		t.Errorf("after Clear: got %d left out, want 0", got)
	}
}

// TestManyGoroutines: those that left nothing may be forgotten, the others not.
func TestManyGoroutines(t *testing.T) {
	c := check.New(check.Config{})
	c.Exact(true)
	c.Changed(op(1, 1), 0, 8, check.Exact)
	c.Flush(op(2, 1), 0, 8, check.Weak)
	c.FlushPrivate(op(2, 2), 0, 8)
	for g := int64(3); g < 20_000; g++ {
		c.Changed(op(3, g), 64, 8, check.Exact)
		c.Persist(op(3, g), 64, 8, check.Weak)
	}
	c.Fence(op(4, 1))
	c.Fence(op(4, 2))
	if got := c.Findings(); len(got) > 0 {
		t.Errorf("got %+v, want none", got)
	}
}

func TestPanics(t *testing.T) {
	c := check.New(check.Config{Unit: 64})
	for name, f := range map[string]func(){
		"unit":    func() { check.New(check.Config{Unit: 4096}) },
		"changed": func() { c.Changed(op(1, 1), 8, math.MaxUint64-6, check.Exact) },
		"silent":  func() { c.Silent(op(1, 1), math.MaxUint64, 2) },
		"flush":   func() { c.Flush(op(1, 1), math.MaxUint64, 2, check.Weak) },
		"persist": func() { c.Persist(op(1, 1), math.MaxUint64, 2, check.Weak) },
		"sync":    func() { c.Sync(op(1, 1), math.MaxUint64, 2) },
		"outside": func() { c.FlushOutside(op(1, 1), math.MaxUint64, 2) },
		"commit":  func() { c.Commit(op(1, 1), math.MaxUint64, 2, "") },
		"unmap":   func() { c.Unmapped(op(1, 1), math.MaxUint64, 2) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	c.Changed(op(1, 1), math.MaxUint64, 1, check.Exact)
	c.Persist(op(2, 1), 0, math.MaxUint64, check.Strong)
	c.Sync(op(3, 1), math.MaxUint64-100, 101)
	if got := c.Line(math.MaxUint64); got.State != check.Durable {
		t.Errorf("the last byte: got %+v, want durable", got)
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, kind := range []check.Kind{check.Weak, check.Strong, check.None} {
		for _, eadr := range []bool{false, true} {
			c := check.New(check.Config{EADR: eadr})
			c.Exact(true)
			i := uint64(0)
			round := func() {
				i++
				for l := range uint64(8) {
					g := int64(l % 2)
					c.Changed(op(i, g), l*64, 8, check.How(i%3))
					c.Changed(op(i, g), l*64+60, 8, check.Exact)
					c.Persist(op(i, g), l*64, 128, kind)
					c.Flush(op(i, 3), 0, 64*i%512, kind)
				}
				c.Changed(op(i, 1), i*1024, 1000, check.NonTemporal)
				c.Fence(op(i, 1))
				c.Fence(op(i, 3))
				c.Sync(op(i, 3), i*1024, 1024)
			}
			for range 2000 {
				round()
			}
			if got := testing.AllocsPerRun(1000, round); got != 0 {
				t.Errorf("kind %d, eADR %v: got %v allocations per round, want 0", kind, eadr, got)
			}
		}
	}
}

// TestFlushAll: one operation's flush of several ranges is waste only if all of it is.
func TestFlushAll(t *testing.T) {
	a, b := check.Range{Off: 0, Len: 64}, check.Range{Off: 1 << 20, Len: 128}
	for _, test := range []struct {
		name   string
		stored []check.Range
		want   int
	}{{"none", nil, 1}, {"the first", []check.Range{a}, 0}, {"the second", []check.Range{b}, 0}, {"both", []check.Range{a, b}, 0}} {
		c := check.New(check.Config{})
		for i, r := range test.stored {
			c.Changed(op(uint64(i), 1), r.Off, r.Len, check.Exact)
		}
		c.FlushAll(op(8, 1), check.Weak, a, b)
		c.Fence(op(9, 1))
		if got := c.Findings(); len(got) != test.want {
			t.Errorf("%s stored: findings %v, want %d", test.name, got, test.want)
		}
	}
}
