package conformance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setMemoryCases are those of pmemset_memmove(3).
func setMemoryCases() []Case {
	const page = "pmemset_memmove/"
	cases := []Case{
		{Name: page + "flags", Rows: []string{page + "flags-zero-or-or"}, Run: setMemoryFlags},
		{Name: page + "no drain", Rows: []string{page + "nodrain-skips-final-drain"}, Run: setMemoryNoDrain},
		{
			Name: page + "no flush",
			Rows: []string{page + "noflush-implies-nodrain", "pmemset_config_set_event_callback/(text)#2"},
			Run:  setMemoryNoFlush,
		},
		{
			Name: page + "non-temporal", Needs: []Need{NeedFile},
			Rows: []string{page + "nontemporal", page + "wc"},
			Run: func(t *T) {
				setMemoryHint(t, pmem2.MemNonTemporal, pmem2.MemWC, func(op setOp) eventKind { return op.storeNT })
			},
		},
		{
			Name: page + "temporal", Needs: []Need{NeedFile},
			Rows: []string{page + "temporal", page + "wb"},
			Run: func(t *T) {
				setMemoryHint(t, pmem2.MemTemporal, pmem2.MemWB, func(op setOp) eventKind { return op.store })
			},
		},
		{
			Name: page + "exclusive flags", Needs: []Need{NeedFile},
			Rows: []string{page + "exclusive-pairs"}, Run: setMemoryExclusiveFlags,
		},
		{
			Name: page + "strategy by size", Needs: []Need{NeedFile},
			Rows: []string{page + "strategy-guessed-from-size"}, Run: setStoresBySize,
		},
	}
	for _, op := range setOps {
		function := "pmemset_" + op.name + "/"
		cases = append(cases, Case{
			Name: page + op.name + " as libc does it", Needs: []Need{NeedReservation},
			Rows: []string{function + "(none)#1", function + "same-result-as-libc", function + "returns-dest"},
			Run:  op.random,
		}, Case{
			Name: page + op.name + " without parts",
			Rows: []string{function + "(SIGSEGV)#1"},
			Run:  op.withoutParts,
		})
	}
	return cases
}

// setOp is one of the three functions.
type setOp struct {
	memoryOp
	call  func(s Set, dst, src []byte, flags pmem2.MemFlags) error
	event pmemset.EventType
}

var setOps = []setOp{
	{memoryOps[0], Set.Memmove, pmemset.EventMove},
	{memoryOps[1], Set.Memcpy, pmemset.EventCopy},
	{memoryOps[2], func(s Set, dst, src []byte, flags pmem2.MemFlags) error {
		return s.Memset(dst, fillOf(src), flags)
	}, pmemset.EventSet},
}

// fillOf is the byte that a set takes from the source, as memoryOp.model does.
func fillOf(src []byte) byte {
	if len(src) == 0 {
		return 0xa5
	}
	return src[0]
}

// told is the event with which a call begins, as Events has it, if dst is called A and
// src B.
func (op setOp) told(src []byte, flags pmem2.MemFlags) string {
	n := amount(uint64(len(src)))
	switch op.event {
	case pmemset.EventMove:
		return "MOVE A B " + n + flagsSuffix(flags)
	case pmemset.EventCopy:
		return "COPY A B " + n + flagsSuffix(flags)
	}
	return fmt.Sprintf("SET A %#x %s", fillOf(src), n) + flagsSuffix(flags)
}

// random does seeded operations on two part maps side by side, of which one is of two
// parts, and compares all of it with a model.
func (op setOp) random(t *T) {
	t.Note("types", "in Go the functions don't return the destination: it is checked that they have written there")
	const seed, longest = 20261122, 9000
	t.EachGeneration(func(g Generation) {
		page := t.Page()
		outside := pattern(longest+64, 5)
		sets := memFlagSets(false)
		for _, at := range granularities {
			t.Force(at.String())
			r := t.Reservation(0, 16*page)
			set := t.Set(t.SetConfigIn(r))
			path, src := t.SetFile(16 * page)
			fd := t.Open(t.FileAt(path), platform.ORdwr)
			model := pattern(12*page, byte(at))
			t.WriteFile(fd, 0, model)
			// The file's pages 0 to 4, 4 to 7 and 7 to 12, in two part maps.
			t.SetMap(g, set, src, 0, 4*page)
			t.SetMap(g, set, src, 4*page, 3*page)
			t.Coalesce(set, pmemset.CoalescingFull)
			t.SetMap(g, set, src, 7*page, 5*page)
			t.CheckParts(set, pmemset.PartDescriptor{Addr: r.Address(), Size: 4 * page},
				pmemset.PartDescriptor{Addr: r.Address() + uintptr(4*page), Size: 8 * page})
			memory := platform.Bytes(r.Address(), 12*page)
			rng := rand.New(rand.NewPCG(seed, uint64(len(op.name))))
			rounds := 900
			if at == pmem2.GranularityPage {
				rounds = 90 // a disk takes its time
			}
			for i := range rounds {
				n := rng.IntN(longest + 1)
				switch i % 3 {
				case 0:
					n = rng.IntN(300)
				case 1:
					n = i / 3 // short lengths, one after the other
				}
				to := rng.IntN(len(memory) - n + 1)
				if i%5 == 0 { // over a border
					border := []int{4, 7}[rng.IntN(2)] * int(page)
					to = max(border-rng.IntN(n+1), 0)
				}
				flags := sets[rng.IntN(len(sets))]
				src, want := op.source(rng, memory, model, outside, to, n)
				op.model(model[to:to+n], want)
				call := fmt.Sprintf("%s(%d bytes at %d, %s) at %v", op.method, n, to, flagsName(flags), at)
				t.mustQuietly(op.call(set, memory[to:to+n], src, flags), "%s", call)
				if string(memory) != string(model) {
					checkBytes(t, memory, model, "the parts after %s, operation %d of seed %d", call, i, seed)
				}
			}
			t.Must(set.Persist(memory), "Persist(the parts) at %v", at)
			t.Note(op.method, "%d operations of 0 to %d bytes at %v, each compared; seed %d", rounds, longest, at, seed)
			checkFile(t, fd, 0, model, "the file at %v", at)
			t.Delete(set)
		}
		checkBytes(t, outside, pattern(longest+64, 5), "the source")
	})
}

// withoutParts works on the program's own memory.
func (op setOp) withoutParts(t *T) {
	flags := memFlagSets(false)
	withoutParts(t, func(set Set, r *SetEvents, what string) {
		for i, f := range flags {
			for _, n := range []int{0, 1, 255, 4000} {
				dst, src := make([]byte, n+2), pattern(uint64(n), byte(i))
				t.mustQuietly(op.call(set, dst[1:1+n], src, f), "%s(%d bytes, %s) of %s", op.method, n, flagsName(f), what)
				want := make([]byte, n+2)
				op.model(want[1:1+n], src)
				checkBytes(t, dst, want, "the destination after %s(%s) of %s", op.method, flagsName(f), what)
				if r == nil {
					continue
				}
				r.names = []placeName{{"A", addressOf(dst[1:])}, {"B", addressOf(src)}}
				op.checkTold(t, set, r, src, f)
			}
		}
		if op.overlaps {
			for _, shift := range []int{1, 63, 500} {
				b, want := pattern(2000, 1), pattern(2000, 1)
				copy(want[1000:], want[1000-shift:2000-shift])
				t.mustQuietly(op.call(set, b[1000:], b[1000-shift:2000-shift], 0), "%s(ranges that overlap) of %s", op.method, what)
				checkBytes(t, b, want, "the memory after %s", op.method)
			}
		}
		t.Note(op.method+" of "+what, "as libc does it with each of %d sets of flags", len(flags))
	})
}

// checkTold expects the events of one call.
func (op setOp) checkTold(t *T, set Set, r *SetEvents, src []byte, flags pmem2.MemFlags) {
	want := []string{op.told(src, flags)}
	if flags&(pmem2.MemNoDrain|pmem2.MemNoFlush) == 0 {
		want = append(want, "DRAIN")
	}
	var got []string
	for _, e := range r.Take() {
		got = append(got, r.text(e))
		t.Check(e.Set == set, "%s comes with another set than the one that was called", r.text(e))
	}
	t.Check(slices.Equal(got, want), "%s(%s): the events are %q, want %q", op.method, flagsName(flags), got, want)
}

// checkCall calls a function on a part, and expects what flags promise.
func (op setOp) checkCall(t *T, p setPart, dst, src []byte, flags pmem2.MemFlags) (machine events) {
	call := fmt.Sprintf("%s(%d bytes, %s) at %v", op.method, len(dst), flagsName(flags), p)
	p.tr.take()
	t.mustQuietly(op.call(p.set, dst, src, flags), "%s", call)
	all := p.tr.take()
	machine, told := all.apart()
	checkMemoryFlags(t, p.granularity, machine, dst, flags, op.memoryOp)
	want := make([]byte, len(dst))
	op.model(want, src)
	checkBytes(t, dst, want, "the part after %s", call)
	if p.tells {
		kinds := []eventKind{eventKind(eventNames[op.event])}
		if flags&(pmem2.MemNoDrain|pmem2.MemNoFlush) == 0 {
			kinds = append(kinds, "DRAIN")
			t.Check(all[len(all)-1].Kind == "DRAIN", "%s: DRAIN isn't at the end of %v", call, all)
		}
		checkEvents(t, told, call, kinds...)
		t.Check(all[0].Kind == kinds[0] && told[0].Addr == addressOf(dst) && told[0].N == uint64(len(dst)),
			"%s doesn't begin with its event: %v", call, all)
	}
	return machine
}

// setMemoryFlags gives each set of flags to each function: they mean the same.
func setMemoryFlags(t *T) {
	page := t.Page()
	src := pattern(5000, 3)
	sets := memFlagSets(false)
	eachPart(t, func(p setPart) {
		for _, flags := range sets {
			for _, n := range []uint64{8, 5000} {
				var first []eventKind
				for i, op := range setOps {
					got := asCopies(op.checkCall(t, p, p.b[page-100:][:n], src[:n:n], flags))
					if i == 0 {
						first = got
					}
					t.Check(slices.Equal(got, first), "with %s at %v %s of %d bytes asks the machine for %v, %s for %v",
						flagsName(flags), p, op.method, n, got, setOps[0].method, first)
				}
			}
		}
		t.Note("Memmove, Memcpy, Memset", "the same under each of %d sets of flags at %v", len(sets), p)
		checkFile(t, p.fd, page-100, p.b[page-100:page+5000], "the file at %v", p)
	})
}

// setMemoryNoDrain is about a file with DAX, where a drain is something of its own.
func setMemoryNoDrain(t *T) {
	src := pattern(40000, 1)
	eachDAXPart(t, func(p setPart) {
		for _, op := range setOps {
			for _, n := range []int{8, 64, 255, 256, 5000, 40000} {
				dst, src := p.b[60:60+n], src[:n:n]
				for _, hint := range []pmem2.MemFlags{0, pmem2.MemTemporal, pmem2.MemNonTemporal} {
					got := op.checkCall(t, p, dst, src, hint|pmem2.MemNoDrain)
					t.Check(len(got.of(evFence)) == 0, "%s(NODRAIN) at %v has a fence: %v", op.method, p, got)
					t.mustQuietly(p.set.Drain(), "Drain()")
					machine, _ := p.tr.take().apart()
					checkEvents(t, machine, "Drain()", evFence)
					drained := op.checkCall(t, p, dst, src, hint)
					t.Check(slices.Equal(drained.kinds(), append(got.kinds(), evFence)), "%s at %v asks the machine for %v, with NODRAIN for %v",
						op.method, p, drained, got)
				}
			}
			t.Note(op.method+"(NODRAIN)", "no fence, and without NODRAIN one at the end, at %v", p)
		}
	})
}

// setMemoryNoFlush sees that with NOFLUSH there is nothing but stores, nor a DRAIN.
func setMemoryNoFlush(t *T) {
	src := pattern(5000, 1)
	eachPart(t, func(p setPart) {
		for _, op := range setOps {
			for _, n := range []int{1, 64, 255, 5000} {
				for _, with := range []pmem2.MemFlags{0, pmem2.MemNoDrain, pmem2.MemTemporal, pmem2.MemWB} {
					got := op.checkCall(t, p, p.b[60:60+n], src[:n:n], pmem2.MemNoFlush|with)
					checkEvents(t, got, op.method+"(NOFLUSH)", op.store)
				}
			}
			t.Note(op.method+"(NOFLUSH)", "stores only, at %v", p)
		}
		t.Must(p.set.Persist(p.b[60:5060]), "Persist() at %v", p)
		got, _ := p.tr.take().apart()
		checkReached(t, p.granularity, got, p.b[60:5060], "Persist")
	})
	// The events once more, as they are told, and the outcome.
	t.InGenerations(func(g Generation) {
		set, r := t.SetWithEvents()
		_, file := t.SetFile(partSize(t))
		b := t.SetMap(g, set, file, 0, 0).Bytes()
		r.Take()
		r.Name("A", addressOf(b))
		r.Name("B", addressOf(src))
		for _, op := range setOps {
			for _, flags := range []pmem2.MemFlags{0, pmem2.MemNoDrain, pmem2.MemNoFlush, pmem2.MemNoFlush | pmem2.MemNoDrain} {
				t.Must(op.call(set, b[:5000], src, flags), "%s(5000 bytes, %s)", op.method, flagsName(flags))
				want := []string{op.told(src, flags)}
				if flags == 0 {
					want = append(want, "DRAIN")
				}
				t.Events(set, r, want...)
			}
		}
	}, Release112)
}

// setMemoryHint sees that all stores are of one kind, with either of two flags that
// mean the same.
func setMemoryHint(t *T, flag, same pmem2.MemFlags, stores func(op setOp) eventKind) {
	src := pattern(40000, 1)
	eachPart(t, func(p setPart) {
		for _, op := range setOps {
			for _, n := range []int{1, 64, 255, 4096, 40000} {
				dst, src := p.b[64:64+n], src[:n:n]
				got, other := op.checkCall(t, p, dst, src, flag), op.checkCall(t, p, dst, src, same)
				t.Check(len(got.of(stores(op))) > 0, "%s(%d bytes, %s) at %v has no %s: %v", op.method, n, flagsName(flag), p, stores(op), got)
				t.Check(slices.Equal(got, other), "%s(%d bytes) at %v with %s asks for %v, with %s for %v",
					op.method, n, p, flagsName(flag), got, flagsName(same), other)
			}
			t.Note(op.method+"("+flagsName(flag)+")", "%s at %v, with %s as well", stores(op), p, flagsName(same))
		}
	})
}

func setMemoryExclusiveFlags(t *T) {
	sets := memFlagSets(true)
	for bit := allMemFlags + 1; bit != 0; bit <<= 1 { // there are no such flags
		sets = append(sets, bit, bit|pmem2.MemTemporal)
	}
	src := pattern(5000, 9)
	refused := func(set Set, b []byte, what string) {
		before := slices.Clone(b)
		for _, op := range setOps {
			for _, flags := range sets {
				for _, n := range []int{0, 8, 5000} {
					err := op.call(set, b[:n], src[:n:n], flags)
					t.expectQuietly("-EINVAL", err, "%s(%d bytes, %s) of %s", op.method, n, flagsName(flags), what)
					t.Check(strings.Contains(err.Error(), fmt.Sprintf("%#x", uint32(flags))),
						"the error doesn't tell the flags %#x: %v", uint32(flags), err)
				}
			}
			t.Note(op.method+" with each of "+strconv.Itoa(len(sets))+" sets of flags", "-EINVAL of %s", what)
		}
		checkBytes(t, b, before, "the memory")
	}
	eachPart(t, func(p setPart) {
		refused(p.set, p.b, fmt.Sprintf("a set at %v", p))
		got := p.tr.take()
		t.Check(len(got) == 0, "there was %v", got)
	})
	set, r := t.SetWithEvents()
	refused(set, pattern(5000, 1), "a set without parts")
	t.Events(set, r)
}
