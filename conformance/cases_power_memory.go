package conformance

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/pmem2"
)

// powerMemoryCases are the rows of a page about copies that take a power failure to be
// checked; of is how the ids of a function's rows begin.
func powerMemoryCases(memory powerMemory, page, of string) (cases []Case) {
	row := func(op, name string) string { return fmt.Sprintf(of, op) + name }
	hints := map[string]string{"pmem2_get_memmove_fn": "remaining-flags-are-hints"}[page]
	if hints == "" {
		hints = "hints-only"
	}
	for _, op := range powerOps {
		cases = append(cases, Case{
			Name: page + "/the power fails behind " + op.name,
			Rows: []string{row(op.name, "flushed-on-return")},
			Run:  func(t *T) { copyIsDurable(t, memory, op) },
		})
	}
	for _, c := range []struct {
		name string
		rows []string
		run  func(t *T, memory powerMemory)
	}{
		{"memmove, and libc's with persist", []string{"equals-memmove-plus-persist"}, copyIsMoveAndPersist},
		{"words", []string{"eight-byte-stores"}, copyStoresWords},
		{"the power fails amid memmove", []string{"replaces-series-of-8-byte-stores"}, copyTearsNoWord},
		{"no drain, then one drain", []string{"nodrain-then-one-drain"}, copiesAndOneDrain},
		{"no flush", []string{"noflush-no-flush"}, copyWithoutFlush},
		{"no flush, then a flush", []string{"noflush-needs-later-flush"}, copyFlushedLater},
		{"hints", []string{hints}, copyHints},
	} {
		rows := slices.Clone(c.rows)
		for i := range rows {
			rows[i] = row("memmove", rows[i])
		}
		cases = append(cases, Case{
			Name: page + "/" + c.name + ", durability",
			Rows: rows,
			Run:  func(t *T) { c.run(t, memory) },
		})
	}
	return cases
}

// powerOp is one of the three functions, of a map or of a set. A set takes its byte from
// the source, of which there is one at least.
type powerOp struct {
	name string
	call func(p storing, dst, src []byte, flags pmem2.MemFlags) error
}

var powerOps = []powerOp{
	{"memmove", storing.Memmove},
	{"memcpy", storing.Memcpy},
	{"memset", func(p storing, dst, src []byte, flags pmem2.MemFlags) error { return p.Memset(dst, src[0], flags) }},
}

// want is what the destination holds then.
func (op powerOp) want(src []byte) []byte {
	if op.name != "memset" {
		return src
	}
	return []byte(strings.Repeat(string(src[:1]), len(src)))
}

// powerHints are the sets of flags that have hints only.
func powerHints() []pmem2.MemFlags {
	return slices.DeleteFunc(memFlagSets(false), func(f pmem2.MemFlags) bool {
		return f&(pmem2.MemNoFlush|pmem2.MemNoDrain) != 0
	})
}

// copy makes a call of op and checks what is visible then.
func (p *powered) copy(op powerOp, s span, seed byte, flags pmem2.MemFlags) {
	src := pattern(uint64(s.n), seed)
	p.t.mustQuietly(op.call(p.storing, s.of(p.b), src, flags), "%s: %s(%v, %s)", p.what, op.name, s, flagsName(flags))
	checkBytes(p.t, s.of(p.b), op.want(src), "%s: the memory behind %s(%v, %s)", p.what, op.name, s, flagsName(flags))
}

// copySpans are ranges of every length that is copied in a way of its own.
func copySpans() []span {
	return []span{
		{0, 1}, {64, 8}, {128 + 60, 8}, {256, 64}, {512 + 3, 100}, {1024, 256}, {2048 + 17, 1025},
		{8192 - 33, 5000}, {powerSize - 300, 300},
	}
}

// copyIsDurable expects what was copied without NODRAIN and NOFLUSH to be durable.
func copyIsDurable(t *T, memory powerMemory, op powerOp) {
	memory(t, func(p *powered) {
		for i, s := range copySpans() {
			for j, flags := range []pmem2.MemFlags{0, pmem2.MemNonTemporal, pmem2.MemTemporal} {
				p.copy(op, s, byte(3*i+j), flags)
				p.checkDurable(p.anyOrder(), "behind "+op.name+", "+flagsName(flags), s)
			}
		}
	})
}

// copyIsMoveAndPersist makes the same moves, by the call and by hand, and compares what
// failures leave of both.
func copyIsMoveAndPersist(t *T, memory powerMemory) {
	const n = 16384 // of which every byte is compared
	memory(t, func(p *powered) {
		q := p.another()
		for _, m := range []*powered{p, q} {
			m.fill(9, span{0, n})
			t.mustQuietly(m.Persist(m.b[:n]), "Persist()")
		}
		for _, c := range []struct{ to, from, n int }{
			{0, 8192, 100}, {100, 64, 3000}, {64, 100, 3000}, {5000, 5001, 1}, {4096, 4104, 8}, {8000, 7990, 4096}, {300, 300, 64},
		} {
			what := fmt.Sprintf("memmove of %d bytes from %d to %d", c.n, c.from, c.to)
			t.mustQuietly(p.Memmove(p.b[c.to:][:c.n], p.b[c.from:][:c.n], 0), "%s: %s", p.what, what)
			copy(q.b[c.to:][:c.n], q.b[c.from:][:c.n])
			t.mustQuietly(q.Persist(q.b[c.to:][:c.n]), "%s: Persist()", p.what)
			checkBytes(t, p.b[:n], q.b[:n], "%s: the memory behind %s", p.what, what)
			var left [2]map[string]bool
			for i, m := range []*powered{p, q} {
				left[i] = map[string]bool{}
				t.PowerFails(Failure{}, func(l [][]byte) bool {
					if l[0] != nil {
						l[0] = l[0][:n]
					}
					left[i][string(l[0])] = true
					return len(left[i]) < 100
				}, m)
			}
			same := len(left[0]) == len(left[1])
			for content := range left[0] {
				same = same && left[1][content]
			}
			t.Check(same, "%s: behind %s a power failure leaves %d contents, behind copy and Persist %d, and not the same",
				p.what, what, len(left[0]), len(left[1]))
		}
		t.Note(p.what, "memmove leaves what copy and Persist leave")
	})
}

// wordSize is what a store is at least, if everything is divisible by it.
const wordSize = 8

// copyStoresWords expects the machine to be asked for whole words only, and for all of
// them. Which stores the machine makes of that is checked where its routines are.
func copyStoresWords(t *T, memory powerMemory) {
	memory(t, func(p *powered) {
		p.fill(200, span{0, 16384})
		t.mustQuietly(p.Persist(p.b[:16384]), "Persist()")
		for i, n := range []int{8, 16, 56, 64, 72, 136, 264, 1000, 4104} {
			for _, off := range []int{0, 8, 4096 - 64} {
				for _, flags := range []pmem2.MemFlags{0, pmem2.MemNonTemporal, pmem2.MemTemporal, pmem2.MemNoFlush} {
					s := span{off, n}
					src := pattern(uint64(n), byte(i))
					p.tr.take()
					t.mustQuietly(p.Memmove(s.of(p.b), src, flags), "%s: Memmove(%v, %s)", p.what, s, flagsName(flags))
					checkWords(t, p.tr.take(), s.of(p.b), fmt.Sprintf("%s: Memmove(%v, %s)", p.what, s, flagsName(flags)))
					checkBytes(t, s.of(p.b), src, "%s: the memory", p.what)
				}
			}
		}
		t.Note(p.what, "copies of 8 to 4104 bytes are asked of the machine in words of 8")
		t.mustQuietly(p.Persist(p.b[:16384]), "Persist()") // what was copied with NOFLUSH
		for _, s := range []span{{0, 8}, {56, 8}, {4096 - 16, 32}} {
			p.noWordIsTorn(s)
		}
	})
}

// checkWords expects stores of words to all of b.
func checkWords(t *T, got events, b []byte, call string) {
	stores := got.of(evCopy, evCopyNT, evSet, evSetNT)
	for _, e := range stores {
		t.Check(e.Addr%wordSize == 0 && e.N%wordSize == 0, "%s asks for a %v, which is no whole number of words", call, e)
	}
	want := unitsOf(addressOf(b), uint64(len(b)), wordSize)
	t.Check(slices.Equal(stores.units(wordSize), want), "%s of %d bytes at %#x asks the machine for %v, want a store to each word",
		call, len(b), addressOf(b), got)
}

// noWordIsTorn overwrites a span word by word and has the power fail at each moment of it.
func (p *powered) noWordIsTorn(s span) {
	seed := byte(1)
	for _, flags := range []pmem2.MemFlags{0, pmem2.MemNoDrain, pmem2.MemNonTemporal, pmem2.MemTemporal, pmem2.MemNoFlush} {
		old := slices.Clone(s.of(p.b))
		src := pattern(uint64(s.n), seed)
		seed += 20
		what := fmt.Sprintf("Memmove(%v, %s)", s, flagsName(flags))
		p.atEachMoment(p.anyOrder(), what, func() error { return p.Memmove(s.of(p.b), src, flags) },
			func(left [][]byte) string {
				if left[0] == nil {
					return "the file is missing or too short"
				}
				is := s.of(left[0])
				for i := 0; i < s.n; i += wordSize {
					word := string(is[i : i+wordSize])
					if word != string(old[i:i+wordSize]) && word != string(src[i:i+wordSize]) {
						return fmt.Sprintf("the word at %d is %x, want %x or %x", s.off+i, word, old[i:i+wordSize], src[i:i+wordSize])
					}
				}
				return ""
			})
		p.t.mustQuietly(p.Persist(s.of(p.b)), "Persist()")
	}
	p.t.Note(fmt.Sprintf("%s: Memmove(%v)", p.what, s), "whenever the power fails, each word is the old or the new one")
}

// copyTearsNoWord expects each word to be the old or the new one whenever the power fails,
// and the new one behind the call.
func copyTearsNoWord(t *T, memory powerMemory) {
	memory(t, func(p *powered) {
		for i, s := range []span{{64, 8}, {120, 16}, {4096 + 40, 40}} {
			p.fill(byte(90+i), s)
			t.mustQuietly(p.Persist(s.of(p.b)), "Persist()")
			p.noWordIsTorn(s)
			p.copy(powerOps[0], s, byte(150+i), 0)
			p.checkDurable(p.anyOrder(), "behind Memmove", s)
		}
	})
}

func copiesAndOneDrain(t *T, memory powerMemory) {
	memory(t, func(p *powered) {
		seed := byte(0)
		for _, op := range powerOps {
			for _, hint := range powerHints() {
				for _, s := range apart {
					seed++
					p.copy(op, s, seed, hint|pmem2.MemNoDrain)
				}
				t.mustQuietly(p.Drain(), "Drain()")
				p.checkDurable(p.anyOrder(), fmt.Sprintf("behind three %s, %s, and one Drain", op.name, flagsName(hint|pmem2.MemNoDrain)), apart...)
			}
		}
	})
}

// noFlushes are the sets of flags with NOFLUSH.
func noFlushes() []pmem2.MemFlags {
	return slices.DeleteFunc(memFlagSets(false), func(f pmem2.MemFlags) bool { return f&pmem2.MemNoFlush == 0 })
}

// copyWithoutFlush expects nothing but ordinary stores, which a failure can lose, but for
// eADR.
func copyWithoutFlush(t *T, memory powerMemory) {
	memory(t, func(p *powered) {
		seed := byte(0)
		for _, op := range powerOps {
			for _, flags := range noFlushes() {
				for _, s := range []span{{8, 8}, {8192 - 100, 300}} {
					seed++
					p.tr.take()
					p.copy(op, s, seed, flags)
					got := p.tr.take()
					for _, e := range got {
						t.Check(e.Kind == evCopy || e.Kind == evSet, "%s: %s(%v, %s) asks the machine for %v, want ordinary stores only",
							p.what, op.name, s, flagsName(flags), got)
					}
					when := "behind " + op.name + ", " + flagsName(flags)
					if p.g == pmem2.GranularityByte {
						p.checkDurable(Failure{}, when, s)
					} else {
						p.checkCanLose(Failure{}, when, s)
					}
					t.mustQuietly(p.Persist(s.of(p.b)), "Persist()")
				}
			}
		}
	})
}

// copyFlushedLater flushes what was copied without, in each way.
func copyFlushedLater(t *T, memory powerMemory) {
	later := []struct {
		name string
		call func(p *powered, b []byte) error
	}{
		{"Persist", func(p *powered, b []byte) error { return p.Persist(b) }},
		{"Flush and Drain", func(p *powered, b []byte) error {
			if err := p.Flush(b); err != nil {
				return err
			}
			return p.Drain()
		}},
		{"DeepFlush", func(p *powered, b []byte) error { return p.DeepFlushRange(addressOf(b), uint64(len(b))) }},
		{"Memmove onto itself", func(p *powered, b []byte) error { return p.Memmove(b, b, 0) }},
	}
	memory(t, func(p *powered) {
		seed := byte(0)
		for _, op := range powerOps {
			for _, l := range later {
				for _, s := range []span{{8, 8}, {8192 - 100, 300}} {
					seed += 3
					p.copy(op, s, seed, pmem2.MemNoFlush)
					if p.g != pmem2.GranularityByte {
						p.checkCanLose(Failure{}, "behind "+op.name+", NOFLUSH", s)
					}
					t.mustQuietly(l.call(p, s.of(p.b)), "%s: %s(%v)", p.what, l.name, s)
					p.checkDurable(p.anyOrder(), "behind "+op.name+", NOFLUSH, and "+l.name, s)
				}
			}
		}
	})
}

// copyHints expects each hint to leave the same, data and durability.
func copyHints(t *T, memory powerMemory) {
	memory(t, func(p *powered) {
		seed := byte(0)
		for _, op := range powerOps {
			for _, hint := range powerHints() {
				for _, s := range []span{{512 + 3, 100}, {8192 - 33, 2000}} {
					seed++
					p.copy(op, s, seed, hint)
					p.checkDurable(p.anyOrder(), "behind "+op.name+", "+flagsName(hint), s)
					seed++
					p.copy(op, s, seed, hint|pmem2.MemNoDrain)
					t.mustQuietly(p.Drain(), "Drain()")
					p.checkDurable(p.anyOrder(), "behind "+op.name+", "+flagsName(hint|pmem2.MemNoDrain)+", and Drain", s)
				}
			}
		}
	})
}
