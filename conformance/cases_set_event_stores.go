package conformance

import (
	"fmt"
	"slices"

	"pmemlab/pmem2"
)

// The events of the functions that work on memory: what lies before them, and behind.

// eachTellingPart is eachPart for sets with a callback.
func eachTellingPart(t *T, f func(p setPart)) {
	eachPart(t, func(p setPart) {
		if p.tells {
			f(p)
		}
	})
}

func setEventsOfFlush(t *T) {
	eachTellingPart(t, func(p setPart) {
		for _, r := range oddRanges(t.Page()) {
			b := p.b[r.off : r.off+r.n]
			for _, c := range []struct {
				name string
				call func([]byte) error
				end  bool // there is a DRAIN
			}{{"Flush", p.set.Flush, false}, {"Persist", p.set.Persist, true}} {
				call := fmt.Sprintf("%s(%d bytes at %d) at %v", c.name, r.n, r.off, p)
				t.mustQuietly(c.call(b), "%s", call)
				got := p.tr.take()
				t.Check(len(got) > 0 && got[0].Kind == "FLUSH", "%s doesn't begin with FLUSH: %v", call, got)
				t.Check(got[0].Addr == addressOf(b) && got[0].N == uint64(len(b)), "%s: the event is %v", call, got[0])
				work := got[1:]
				if c.end {
					last := len(work) - 1
					t.Check(last >= 0 && work[last].Kind == "DRAIN", "%s doesn't end with DRAIN: %v", call, got)
					work = work[:last]
				}
				_, told := work.apart()
				t.Check(len(told) == 0, "%s has more events: %v", call, told)
				// All of the work lies behind the first event, and before the last.
				checkReached(t, p.granularity, work, b, call)
				if c.end {
					checkDrained(t, p.granularity, work, call)
				}
			}
		}
		t.Note("Flush, Persist", "FLUSH, the work, and DRAIN behind Persist, at %v", p)
	})
}

func setEventsOfDrain(t *T) {
	eachTellingPart(t, func(p setPart) {
		for range 3 {
			t.mustQuietly(p.set.Drain(), "Drain() at %v", p)
			got := p.tr.take()
			t.Check(len(got) > 0 && got[len(got)-1].Kind == "DRAIN", "Drain at %v doesn't end with DRAIN: %v", p, got)
			work := got[:len(got)-1]
			checkDrained(t, p.granularity, work, "Drain")
			t.Check(len(work.of(evFence)) == len(work), "Drain at %v has %v", p, got)
			t.mustQuietly(p.set.Persist(p.b[10:200]), "Persist() at %v", p)
			got = p.tr.take()
			work, told := got[:len(got)-1].apart()
			checkReached(t, p.granularity, work, p.b[10:200], "Persist")
			checkDrained(t, p.granularity, work, "Persist")
			t.Check(got[len(got)-1].Kind == "DRAIN" && len(told) == 1, "Persist at %v has %v", p, got)
		}
		t.Note("Drain, Persist", "DRAIN comes behind the work, at %v", p)
	})
}

func setEventsOfStores(t *T) {
	const n = 3000
	src := pattern(n, 9)
	t.EachGeneration(func(g Generation) {
		for _, at := range granularities {
			t.Force(at.String())
			set, r := t.SetWithEvents()
			_, file := t.SetFile(partSize(t))
			whole := t.SetMap(g, set, file, 0, 0).Bytes()
			b := whole[100 : 100+n]
			var seen [][]byte
			r.Answer = func(SetEvent) error {
				seen = append(seen, slices.Clone(b))
				return nil
			}
			r.Take()
			r.Name("A", addressOf(b))
			r.Name("B", addressOf(src))
			for _, op := range setOps {
				for _, flags := range memFlagSets(false) {
					before := pattern(n, byte(flags))
					copy(b, before)
					want := slices.Clone(before)
					op.model(want, src)
					seen = nil
					t.mustQuietly(op.call(set, b, src, flags), "%s(%s) at %v", op.method, flagsName(flags), at)
					op.checkTold(t, set, r, src, flags)
					checkBytes(t, seen[0], before, "%s(%s) at %v: the destination at the event", op.method, flagsName(flags), at)
					if len(seen) > 1 {
						checkBytes(t, seen[1], want, "%s(%s) at %v: the destination at DRAIN", op.method, flagsName(flags), at)
					}
					checkBytes(t, b, want, "%s(%s) at %v: the destination", op.method, flagsName(flags), at)
				}
				t.Note(op.method, "its event before the work, DRAIN behind it, nothing else, at %v", at)
			}
			seen = nil
			for _, n := range []int{0, 1, 64, 100} {
				t.Must(set.Memmove(b[50:50+n], b[:n:n], pmem2.MemNoDrain), "Memmove(%d bytes)", n)
				t.Events(set, r, fmt.Sprintf("MOVE A+50 A %d NODRAIN", n))
			}
		}
	})
}
