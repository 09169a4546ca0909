package persist

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

// fullMedia are media on which every byte that wasn't written is odd.
type fullMedia struct {
	blockMedia
	reads map[uint64]int // by offset
}

func (f fullMedia) Read(off uint64, p []byte) {
	f.reads[off]++
	if f.blockMedia[off] != nil {
		f.blockMedia.Read(off, p)
		return
	}
	for i := range p {
		p[i] = byte(off+uint64(i)) | 1
	}
}

// TestInitialContent reads and overwrites parts of lines that had content.
func TestInitialContent(t *testing.T) {
	for _, model := range models {
		calls := map[uint64]int{}
		m := New(model, fullMedia{blockMedia{}, calls})
		at := m.blockSize - 3 // over the end of a block
		p, want := make([]byte, 9), make([]byte, 9)
		read := func(f func(uint64, []byte)) []byte { f(at, p); return p }
		for i := range want {
			want[i] = byte(at+uint64(i)) | 1
		}
		if got := read(m.Visible); !bytes.Equal(got, want) {
			t.Errorf("%v: before any store %x, want %x", model, got, want)
		}
		clear(calls)
		m.Store(at+2, []byte{0, 2})
		m.Store(at+2, []byte{0, 4})
		reads := 1
		if model == X86EADR {
			reads = 2 // it was durable, and forgotten, in between
		}
		if len(calls) != 2 || calls[0] != reads || calls[m.blockSize] != reads {
			t.Errorf("%v: the media were read %v times", model, calls)
		}
		if got := read(m.Durable); model != X86EADR && !bytes.Equal(got, want) {
			t.Errorf("%v: durable before the flush is %x, want %x", model, got, want)
		}
		want[2], want[3] = 0, 4
		if got := read(m.Visible); !bytes.Equal(got, want) {
			t.Errorf("%v: visible is %x, want %x", model, got, want)
		}
		m.Sync(0, at+2, 2)
		if got := read(m.Durable); !bytes.Equal(got, want) {
			t.Errorf("%v: durable is %x, want %x", model, got, want)
		}
		if n := m.Proven().Count(); n != 1 || m.Proven().Cells() != 0 {
			t.Errorf("%v: %d images after the sync", model, n)
		}
	}
}

// TestRanges flushes ranges that touch a line or just don't, with few and with many dirty
// lines, at either end of the address space.
func TestRanges(t *testing.T) {
	const top = math.MaxUint64 - 63 // the last line
	for _, c := range []struct {
		line, off, n uint64
		covers       bool
	}{
		{64, 64, 0, false}, {64, 64, 1, true}, {64, 127, 1, true}, {64, 128, 1, false}, {64, 63, 1, false},
		{64, 63, 2, true}, {64, 0, 64, false}, {64, 0, 65, true}, {64, 0, math.MaxUint64, true}, {64, 127, 1 << 40, true},
		{64, 128, 1 << 63, false}, {0, 0, 1, true}, {0, 1, math.MaxUint64, true}, {0, 64, math.MaxUint64 - 63, false},
		{top, top, 64, true}, {top, math.MaxUint64, 1, true}, {top, top - 1, 1, false}, {top, 0, math.MaxUint64, true},
		{top, top - 64, 64, false}, {1 << 63, 1<<63 - 1, 1, false}, {1 << 63, 1<<63 - 1, 2, true}, {1 << 63, 1 << 63, 1 << 63, true},
		{1<<63 - 64, 1 << 63, 1 << 63, false}, {1<<63 - 64, 1<<63 - 1, 1, true},
	} {
		for _, others := range []int{0, 40} {
			for _, flush := range []string{"flush", "clflush", "sync"} {
				m := New(X86, nil)
				m.Store(c.line, word(1))
				for i := range others {
					m.Store(1<<20+uint64(i)*64, word(1))
				}
				switch flush {
				case "flush":
					m.Flush(1, c.off, c.n)
					m.Fence(1)
				case "clflush":
					m.CLFlush(1, c.off, c.n)
				case "sync":
					m.Sync(1, c.off, c.n)
				}
				p := make([]byte, 1)
				m.Durable(c.line, p)
				if (p[0] == 1) != c.covers {
					t.Errorf("%s of %#x bytes at %#x with %d other lines: line %#x is durable: %v, want %v",
						flush, c.n, c.off, others, c.line, p[0] == 1, c.covers)
				}
			}
		}
	}
}

func TestWrapAroundPanics(t *testing.T) {
	m := New(X86, nil)
	for name, f := range map[string]func(){
		"Store":   func() { m.Store(math.MaxUint64, []byte{1, 2}) },
		"StoreNT": func() { m.StoreNT(0, math.MaxUint64-6, make([]byte, 8)) },
		"Observe": func() { m.Observe(Change{math.MaxUint64, []byte{1, 2}}) },
		"Flush":   func() { m.Flush(0, 2, math.MaxUint64) },
		"CLFlush": func() { m.CLFlush(0, 1<<63, 1<<63+1) },
		"Sync":    func() { m.Sync(0, math.MaxUint64, 2) },
		"Visible": func() { m.Visible(math.MaxUint64, make([]byte, 2)) },
		"Durable": func() { m.Durable(math.MaxUint64, make([]byte, 2)) },
		"New":     func() { New(PageCache+1, nil) },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.HasPrefix(fmt.Sprint(r), "persist: ") {
					t.Errorf("%s: %v, want a panic that says why", name, r)
				}
			}()
			f()
		}()
	}
	m.Store(math.MaxUint64, []byte{1}) // the last byte is fine
	if n := m.Proven().Count(); n != 2 {
		t.Errorf("%d images after a store to the last byte, want 2", n)
	}
}

// TestNothing does what does nothing.
func TestNothing(t *testing.T) {
	for _, model := range models {
		m := New(model, nil)
		m.Store(0, nil)
		m.StoreNT(0, 0, nil)
		m.Observe()
		m.Observe(Change{0, make([]byte, 64)}, Change{128, nil})
		m.Store(0, word(0)) // what is there
		m.Flush(0, 0, 64)
		m.CLFlush(0, 0, 64)
		m.Fence(0)
		m.Exit(0)
		m.Settle()
		if s := m.Possible(); s.Count() != 1 || s.Cells() != 0 || !s.Complete() {
			t.Errorf("%v: %d images, %d cells", model, s.Count(), s.Cells())
		}
	}
}

// TestSettle ends a long store under eADR: from then on it's durable.
func TestSettle(t *testing.T) {
	m := New(X86EADR, nil)
	m.Store(56, bytes.Repeat([]byte{1}, 16)) // two lines
	if n := m.Proven().Count(); n != 4 {
		t.Errorf("%d images amid the store, want 4", n)
	}
	m.Settle()
	p := make([]byte, 16)
	m.Durable(56, p)
	if n := m.Proven().Count(); n != 1 || p[0] != 1 || p[15] != 1 {
		t.Errorf("%d images after it, want 1; durable: %x", n, p)
	}
	m.Store(56, bytes.Repeat([]byte{2}, 8))
	if n := m.Proven().Count(); n != 1 || len(m.inFlight) != 0 {
		t.Errorf("%d images after a store of a word, want 1; %d lines are in flight", n, len(m.inFlight))
	}
}

// TestOverwritten makes a store durable that hides all that waited: nothing is left to
// wait for.
func TestOverwritten(t *testing.T) {
	m := New(X86, nil)
	m.StoreNT(1, 0, word(1))
	m.Store(0, word(2))
	m.CLFlush(2, 0, 1)
	if s := m.Possible(); s.Count() != 1 || len(m.dirty) != 0 {
		t.Errorf("%d images, %d dirty lines", s.Count(), len(m.dirty))
	}
}

// TestExit flushes for a goroutine that is gone, whose number another gets.
func TestExit(t *testing.T) {
	m := New(X86, nil)
	m.Store(0, word(1))
	m.StoreNT(1, 64, word(1))
	m.Flush(1, 0, 64)
	m.Exit(1)
	m.Fence(1)
	if n := m.Proven().Count(); n != 4 {
		t.Errorf("%d images, want 4", n)
	}
}

// TestManyLines fences more lines than a spare map holds, twice.
func TestManyLines(t *testing.T) {
	m := New(X86, nil)
	for round := range 2 {
		for i := range uint64(3 * maxSpare) {
			m.Store(i*64, word(byte(round+1)))
		}
		m.Flush(1, 0, 3*maxSpare*64)
		if n := m.Proven().Cells(); n != 3*maxSpare {
			t.Errorf("round %d: %d cells before the fence", round, n)
		}
		m.Fence(1)
		if n := m.Proven().Cells(); n != 0 || len(m.dirty) != 0 {
			t.Errorf("round %d: %d cells after the fence", round, n)
		}
		m.Store(0, word(9))
		m.Flush(1, 0, 1)
		m.Fence(1)
		if n := len(m.fences[1]); n != 0 {
			t.Errorf("round %d: %d lines wait after the fence", round, n)
		}
	}
}

func TestModelString(t *testing.T) {
	for m, want := range map[Model]string{X86: "x86", X86EADR: "x86-eadr", Arm64: "arm64", PageCache: "page-cache", 9: "model(9)"} {
		if m.String() != want {
			t.Errorf("%d: %q, want %q", uint8(m), m, want)
		}
	}
}

// TestPersist compares Persist, where it's allowed, with what it stands for.
func TestPersist(t *testing.T) {
	one, two := [lineSize]byte{1}, [lineSize]byte{1, 2}
	for _, c := range []struct {
		name        string
		before      func(m *Memory)
		changed, ok bool
	}{
		{"clean", func(*Memory) {}, true, true},
		{"the same", func(m *Memory) { m.Store(0, one[:]); m.Sync(1, 0, 1) }, false, true},
		{"another content", func(m *Memory) { m.Store(0, two[:]); m.Sync(1, 0, 1) }, true, true},
		{"another line is dirty", func(m *Memory) { m.Store(64, two[:]) }, true, true},
		{"another goroutine's flush", func(m *Memory) { m.Store(64, two[:]); m.Flush(2, 64, 1) }, true, true},
		{"the line is dirty", func(m *Memory) { m.Store(0, two[:]) }, false, false},
		{"the goroutine's flush waits", func(m *Memory) { m.Store(64, two[:]); m.Flush(1, 64, 1) }, false, false},
		{"the goroutine's store waits", func(m *Memory) { m.StoreNT(1, 64, two[:]) }, false, false},
	} {
		for _, model := range []Model{X86, X86EADR, Arm64} {
			m, want := New(model, nil), New(model, nil)
			c.before(m)
			c.before(want)
			var before [lineSize]byte
			ok := m.Persist(1, 0, &one, &before)
			changed := ok && before != one
			if model == X86 && (changed != c.changed || ok != c.ok) {
				t.Errorf("%s: changed %t, done %t; want %t, %t", c.name, changed, ok, c.changed, c.ok)
			}
			if !ok {
				continue
			}
			want.Observe(Change{0, one[:]})
			want.Flush(1, 0, 64)
			want.Fence(1)
			for name, read := range map[string][2]func(uint64, []byte){
				"visible": {m.Visible, want.Visible}, "durable": {m.Durable, want.Durable},
			} {
				var got, wanted [128]byte
				read[0](0, got[:])
				read[1](0, wanted[:])
				if got != wanted {
					t.Errorf("%v, %s: %s is %x, want %x", model, c.name, name, got, wanted)
				}
			}
			if got, want := m.Proven().Count(), want.Proven().Count(); got != want {
				t.Errorf("%v, %s: %d images, want %d", model, c.name, got, want)
			}
		}
	}
}

// TestDiscard: what was written to whole lines of the range is gone, also for a fence to come.
func TestDiscard(t *testing.T) {
	for _, model := range models {
		m := New(model, nil)
		size := m.blockSize
		for i := range uint64(4) {
			m.StoreNT(1, i*size, word(7))
		}
		m.Sync(1, 0, 4*size)
		m.Fence(1)
		for i := range uint64(4) {
			m.StoreNT(1, i*size, word(8))
			m.Flush(1, i*size, 8)
		}
		m.Settle()
		m.Discard(1, 3*size-1) // the second and the third
		if pending := m.Pending(size, 2*size); pending {
			t.Errorf("%v: discarded lines are pending", model)
		}
		if pending := m.Pending(0, size); !pending && model != X86EADR {
			t.Errorf("%v: the line before isn't pending", model)
		}
		m.Fence(1)
		m.Sync(1, 0, 4*size)
		for i, want := range []byte{8, 7, 7, 8} {
			p := make([]byte, 1)
			if m.Durable(uint64(i)*size, p); p[0] != want {
				t.Errorf("%v: block %d is %d, want %d", model, i, p[0], want)
			}
		}
	}
}

// TestFencesOfManyGoroutines: what waits for no fence isn't kept.
func TestFencesOfManyGoroutines(t *testing.T) {
	m := New(X86, nil)
	m.Store(0, word(1))
	m.Flush(-1, 0, 8)
	for g := range int64(10 * maxSpare) {
		m.Store(64, word(byte(g)))
		m.Flush(g, 64, 8)
		m.Fence(g)
	}
	if len(m.fences) > maxSpare+1 || len(m.spare) > maxSpare || len(m.blocks) > 2 {
		t.Errorf("%d goroutines, %d spare and %d blocks are held", len(m.fences), len(m.spare), len(m.blocks))
	}
	m.Fence(-1)
	if m.Pending(0, 8) {
		t.Error("the first goroutine's flush was forgotten")
	}
}
