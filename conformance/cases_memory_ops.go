package conformance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// memoryCases are those of pmem2_get_memmove_fn(3).
func memoryCases() []Case {
	const page = "pmem2_get_memmove_fn/"
	cases := []Case{
		{
			Name: page + "flags",
			Rows: []string{page + "flags-zero-or-or"},
			Run:  memoryFlags,
		},
		{
			Name: page + "no drain",
			Rows: []string{page + "nodrain-skips-final-drain", page + "noflush-implies-nodrain"},
			Run:  memoryNoDrain,
		},
		{
			Name:  page + "non-temporal",
			Rows:  []string{page + "nontemporal", page + "wc"},
			Needs: []Need{NeedFile},
			Run:   memoryNonTemporal,
		},
		{
			Name:  page + "temporal",
			Rows:  []string{page + "temporal", page + "wb"},
			Needs: []Need{NeedFile},
			Run:   memoryTemporal,
		},
		{
			Name:  page + "exclusive flags",
			Rows:  []string{page + "exclusive-flags"},
			Needs: []Need{NeedFile},
			Run:   memoryExclusiveFlags,
		},
		{
			Name:  page + "over the border of two maps",
			Rows:  []string{page + "range-across-adjacent-maps"},
			Needs: []Need{NeedReservation},
			Run:   memoryAcrossMaps,
		},
		{
			Name:  page + "strategy by size",
			Rows:  []string{page + "strategy-guessed-from-size"},
			Needs: []Need{NeedFile},
			Run: func(t *T) {
				storesBySize(t, nil, byDefault, pmem2.GranularityCacheLine, pmem2.GranularityPage)
				storesBySize(t, nil, never, pmem2.GranularityByte) // nothing has to leave the caches
			},
		},
	}
	for _, op := range memoryOps {
		cases = append(cases, Case{
			Name: page + op.name + " as libc does it",
			Rows: []string{"pmem2_get_" + op.name + "_fn/(none)#1", "pmem2_get_" + op.name + "_fn/same-result-as-libc"},
			Run:  op.random,
		}, Case{
			Name: page + op.name + ", one function",
			Rows: []string{"pmem2_get_" + op.name + "_fn/never-null-same-function"},
			Run:  func(t *T) { getterGivesOneFunction(t, op.method+"Func()", op.getter) },
		})
	}
	return cases
}

// memoryOp is one of the three functions. A set takes its byte from the source.
type memoryOp struct {
	name, method string
	getter       func(m Map) any
	call         func(m Map, dst, src []byte, flags pmem2.MemFlags) error
	overlaps     bool // the ranges may
	store        eventKind
	storeNT      eventKind
}

var memoryOps = []memoryOp{
	{"memmove", "Memmove", func(m Map) any { return m.MemmoveFunc() },
		func(m Map, dst, src []byte, flags pmem2.MemFlags) error { return m.MemmoveFunc()(dst, src, flags) },
		true, evCopy, evCopyNT},
	{"memcpy", "Memcpy", func(m Map) any { return m.MemcpyFunc() },
		func(m Map, dst, src []byte, flags pmem2.MemFlags) error { return m.MemcpyFunc()(dst, src, flags) },
		false, evCopy, evCopyNT},
	{"memset", "Memset", func(m Map) any { return m.MemsetFunc() },
		func(m Map, dst, src []byte, flags pmem2.MemFlags) error {
			return m.MemsetFunc()(dst, append(src, 0xa5)[0], flags)
		},
		false, evSet, evSetNT},
}

// model does to memory what libc would.
func (op memoryOp) model(dst, src []byte) {
	if op.name != "memset" {
		copy(dst, src)
		return
	}
	c := append(src, 0xa5)[0]
	for i := range dst {
		dst[i] = c
	}
}

const (
	nonTemporalFlags = pmem2.MemNonTemporal | pmem2.MemWC
	temporalFlags    = pmem2.MemTemporal | pmem2.MemWB
	allMemFlags      = pmem2.MemNoDrain | pmem2.MemNonTemporal | pmem2.MemTemporal | pmem2.MemWC | pmem2.MemWB | pmem2.MemNoFlush
)

// memFlagNames are in the order of their values.
var memFlagNames = []string{"NODRAIN", "NONTEMPORAL", "TEMPORAL", "WC", "WB", "NOFLUSH"}

func flagsName(flags pmem2.MemFlags) string {
	if flags == 0 {
		return "no flags"
	}
	var names []string
	for i, name := range memFlagNames {
		if flags&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if rest := flags &^ allMemFlags; rest != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(rest)))
	}
	return strings.Join(names, "|")
}

// exclusive reports whether flags exclude each other: WC is another name of
// NONTEMPORAL, and WB of TEMPORAL; with NOFLUSH stores are ordinary.
func exclusive(flags pmem2.MemFlags) bool {
	return flags&nonTemporalFlags != 0 && flags&(temporalFlags|pmem2.MemNoFlush) != 0
}

// memFlagSets are all combinations that are allowed, or all that aren't.
func memFlagSets(excluding bool) (sets []pmem2.MemFlags) {
	for f := range allMemFlags + 1 {
		if exclusive(f) == excluding {
			sets = append(sets, f)
		}
	}
	return sets
}

// random does seeded operations and compares the whole of the map with a model of it.
func (op memoryOp) random(t *T) {
	const seed, longest = 20260101, 9000
	page := t.Page()
	size := max(tracedPages*page, 4*longest)
	rng := rand.New(rand.NewPCG(seed, uint64(len(op.name))))
	outside := pattern(longest+64, 5)
	sets := memFlagSets(false)
	for _, g := range granularities {
		t.Force(g.String())
		fd, model := t.PatternFile(size, byte(g))
		m := t.MapAs(mapSpec{}, t.Source(fd))
		memory := m.Bytes()
		rounds := 1500
		if g == pmem2.GranularityPage {
			rounds = 300 // a disk takes its time
		}
		for i := range rounds {
			n := rng.IntN(longest + 1)
			switch i % 3 {
			case 0:
				n = rng.IntN(300)
			case 1:
				n = i / 3 % 600 // every short length
			}
			to := rng.IntN(int(size) - n + 1)
			flags := sets[rng.IntN(len(sets))]
			src, want := op.source(rng, memory, model, outside, to, n)
			op.model(model[to:to+n], want)
			err := op.call(m, memory[to:to+n], src, flags)
			if err != nil {
				t.Must(err, "%s(%d bytes at %d, %s) at %v", op.method, n, to, flagsName(flags), g)
			}
			if string(memory) != string(model) {
				checkBytes(t, memory, model, "the map after %s(%d bytes at %d, %s) at %v, operation %d of seed %d",
					op.method, n, to, flagsName(flags), g, i, seed)
			}
		}
		t.Must(m.Persist(memory), "Persist(the map) at %v", g)
		t.Note(op.method, "%d operations of 0 to %d bytes at %v, each compared; seed %d", rounds, longest, g, seed)
		checkFile(t, fd, 0, model, "the file at %v", g)
		t.Delete(m)
	}
	checkBytes(t, outside, pattern(longest+64, 5), "the source")
}

// source chooses n bytes for an operation on [to, to+n) of the map: in the map, also
// close by so that they overlap if the operation allows that, or outside. want is
// what they are.
func (op memoryOp) source(rng *rand.Rand, memory, model, outside []byte, to, n int) (src, want []byte) {
	from := rng.IntN(len(memory) - n + 1)
	if op.overlaps && rng.IntN(2) == 0 {
		reach := min(n, 200) + 1
		from = min(max(to+rng.IntN(2*reach)-reach, 0), len(memory)-n)
	}
	apart := from+n <= to || to+n <= from
	if (!apart && !op.overlaps) || rng.IntN(4) == 0 {
		from = rng.IntN(64)
		return outside[from : from+n : from+n], outside[from : from+n : from+n]
	}
	return memory[from : from+n : from+n], slices.Clone(model[from : from+n])
}

// memoryFlags gives each set of flags to each function: they mean the same.
func memoryFlags(t *T) {
	page := t.Page()
	src := pattern(8192, 3)
	eachGranularity(t, func(tr *trace, g pmem2.Granularity, m Map, fd int) {
		for _, flags := range memFlagSets(false) {
			for _, n := range []uint64{8, 200, 5000} {
				var first []eventKind
				for i, op := range memoryOps {
					dst := m.Bytes()[page-100 : page-100+n]
					tr.take()
					t.mustQuietly(op.call(m, dst, src[:n], flags), "%s(%d bytes, %s) at %v", op.method, n, flagsName(flags), g)
					got := tr.take()
					want := make([]byte, n)
					op.model(want, src[:n])
					checkBytes(t, dst, want, "the map after %s(%s)", op.method, flagsName(flags))
					checkMemoryFlags(t, g, got, dst, flags, op)
					kinds := asCopies(got)
					if i == 0 {
						first = kinds
					}
					t.Check(slices.Equal(kinds, first), "with %s at %v %s of %d bytes asks the machine for %v, %s for %v",
						flagsName(flags), g, op.method, n, kinds, memoryOps[0].method, first)
				}
			}
		}
		t.Note("Memmove, Memcpy, Memset", "the same under each of %d sets of flags at %v", len(memFlagSets(false)), g)
		checkFile(t, fd, page-100, m.Bytes()[page-100:page+5000], "the file at %v", g)
	})
}

// asCopies are the kinds with those of a set told as those of a copy.
func asCopies(es events) []eventKind {
	kinds := es.kinds()
	for i, k := range kinds {
		switch k {
		case evSet:
			kinds[i] = evCopy
		case evSetNT:
			kinds[i] = evCopyNT
		}
	}
	return kinds
}

// checkMemoryFlags expects what flags promise: the lines or pages of dst are reached
// unless NOFLUSH is there, and there is a fence at the end unless one of NODRAIN and
// NOFLUSH is.
func checkMemoryFlags(t *T, g pmem2.Granularity, got events, dst []byte, flags pmem2.MemFlags, op memoryOp) {
	call := fmt.Sprintf("%s(%s)", op.method, flagsName(flags))
	if t.unseen() {
		if g == pmem2.GranularityPage && flags&pmem2.MemNoFlush == 0 {
			checkReached(t, g, got, dst, call)
		}
		return
	}
	stores := got.of(op.store, op.storeNT)
	t.Check(len(stores) > 0 && len(stores) == len(got.of(evCopy, evCopyNT, evSet, evSetNT)),
		"%s asks the machine for %v", call, got)
	covered := uint64(0)
	for _, e := range stores {
		t.Check(e.Addr >= addressOf(dst) && e.Addr+uintptr(e.N) <= addressOf(dst)+uintptr(len(dst)),
			"%s of %d bytes at %#x: %v lies outside", call, len(dst), addressOf(dst), e)
		covered += e.N
	}
	t.Check(covered == uint64(len(dst)), "%s of %d bytes stores %d: %v", call, len(dst), covered, got)
	switch {
	case flags&nonTemporalFlags != 0:
		t.Check(len(got.of(op.store)) == 0, "%s asks for ordinary stores: %v", call, got)
	case flags&(temporalFlags|pmem2.MemNoFlush) != 0:
		t.Check(len(got.of(op.storeNT)) == 0, "%s asks for non-temporal stores: %v", call, got)
	}
	if flags&pmem2.MemNoFlush != 0 {
		t.Check(len(got) == len(stores), "%s asks for more than stores: %v", call, got)
		return
	}
	checkReached(t, g, got, dst, call)
	switch {
	case g == pmem2.GranularityPage:
	case flags&pmem2.MemNoDrain != 0:
		t.Check(len(got.of(evFence)) == 0, "%s at %v has a fence: %v", call, g, got)
	default:
		checkDrained(t, g, got, call)
	}
	// What is flushed before it is stored isn't flushed.
	if i := slices.IndexFunc(got, func(e event) bool { return e.Kind == evFlush || e.Kind == evMsync }); i >= 0 {
		t.Check(len(got[i:].of(op.store, op.storeNT)) == 0, "%s stores behind a flush: %v", call, got)
	}
}

// memoryNoDrain is about a file with DAX, where a drain is something of its own.
func memoryNoDrain(t *T) {
	t.withoutEADR()
	tr := t.Trace()
	o := t.made(t.Env.DAXFile(tracedPages * t.Page()))
	src := t.Source(t.Open(o, platform.ORdwr))
	content := pattern(65536, 1)
	for _, force := range []string{"", "BYTE"} {
		t.Force(force)
		m := t.MapAs(mapSpec{}, src)
		g := m.StoreGranularity()
		t.Check(force != "" || g == pmem2.GranularityCacheLine, "the granularity of a file with DAX is %v", g)
		for _, op := range memoryOps {
			for _, n := range []int{8, 64, 255, 256, 5000, 40000} {
				dst := m.Bytes()[60 : 60+n]
				for _, hint := range []pmem2.MemFlags{0, pmem2.MemTemporal, pmem2.MemNonTemporal} {
					call := fmt.Sprintf("%s(%d bytes, %s)", op.method, n, flagsName(pmem2.MemNoDrain|hint))
					tr.take()
					t.mustQuietly(op.call(m, dst, content[:n], pmem2.MemNoDrain|hint), "%s at %v", call, g)
					got := tr.take()
					checkMemoryFlags(t, g, got, dst, pmem2.MemNoDrain|hint, op)
					t.Check(t.unseen() || got[len(got)-1].Kind != evFence, "%s at %v ends with a fence: %v", call, g, got)
					t.mustQuietly(m.Drain(), "Drain()")
					checkEvents(t, tr.take(), "Drain()", evFence)
					t.mustQuietly(op.call(m, dst, content[:n], hint), "%s(%d bytes, %s) at %v", op.method, n, flagsName(hint), g)
					checkDrained(t, g, tr.take(), op.method)
					if n == 5000 {
						t.Note(call, "asks the machine for %v, without NODRAIN for a fence as well", got)
					}
				}
				for _, flags := range []pmem2.MemFlags{pmem2.MemNoFlush, pmem2.MemNoFlush | pmem2.MemTemporal, pmem2.MemNoFlush | pmem2.MemNoDrain} {
					tr.take()
					t.mustQuietly(op.call(m, dst, content[:n], flags), "%s(%d bytes, %s) at %v", op.method, n, flagsName(flags), g)
					got := tr.take()
					checkEvents(t, got, op.method, op.store)
					if n == 5000 {
						t.Note(op.method+"(5000 bytes, "+flagsName(flags)+")", "asks the machine for %v", got)
					}
				}
			}
		}
		t.Delete(m)
	}
}

// memoryNonTemporal sees that the machine's non-temporal routine is asked, with WC as
// with NONTEMPORAL.
func memoryNonTemporal(t *T) {
	src := pattern(65536, 1)
	eachGranularity(t, func(tr *trace, g pmem2.Granularity, m Map, _ int) {
		for _, op := range memoryOps {
			for _, n := range []int{1, 8, 64, 255, 4096, 40000} {
				dst := m.Bytes()[:n]
				var got [2]events
				for i, flags := range []pmem2.MemFlags{pmem2.MemNonTemporal, pmem2.MemWC} {
					tr.take()
					t.mustQuietly(op.call(m, dst, src[:n], flags), "%s(%d bytes, %s) at %v", op.method, n, flagsName(flags), g)
					got[i] = tr.take()
					checkMemoryFlags(t, g, got[i], dst, flags, op)
					if n%cacheLine == 0 && !t.foreign() {
						t.Check(len(got[i].of(op.storeNT)) > 0, "%s(%d bytes, %s) asks for no non-temporal store: %v",
							op.method, n, flagsName(flags), got[i])
					}
				}
				if n == 4096 {
					t.Note(op.method+"(4096 bytes, NONTEMPORAL)", "asks the machine for %v, and so with WC", got[0])
				}
				t.Check(slices.Equal(got[0], got[1]), "%s(%d bytes) at %v with NONTEMPORAL asks for %v, with WC for %v",
					op.method, n, g, got[0], got[1])
			}
		}
	})
}

// memoryTemporal sees that the machine's ordinary routine is asked, with WB as with
// TEMPORAL, however long the range.
func memoryTemporal(t *T) {
	src := pattern(65536, 1)
	eachGranularity(t, func(tr *trace, g pmem2.Granularity, m Map, _ int) {
		for _, op := range memoryOps {
			for _, n := range []int{1, 64, 256, 4096, 65536} {
				dst := m.Bytes()[:n]
				var got [2]events
				for i, flags := range []pmem2.MemFlags{pmem2.MemTemporal, pmem2.MemWB} {
					tr.take()
					t.mustQuietly(op.call(m, dst, src[:n], flags), "%s(%d bytes, %s) at %v", op.method, n, flagsName(flags), g)
					got[i] = tr.take()
					checkMemoryFlags(t, g, got[i], dst, flags, op)
				}
				if n == 65536 {
					t.Note(op.method+"(65536 bytes, TEMPORAL)", "asks the machine for %v, and so with WB", got[0])
				}
				t.Check(slices.Equal(got[0], got[1]), "%s(%d bytes) at %v with TEMPORAL asks for %v, with WB for %v",
					op.method, n, g, got[0], got[1])
			}
		}
	})
}

func memoryExclusiveFlags(t *T) {
	sets := memFlagSets(true)
	for bit := allMemFlags + 1; bit != 0; bit <<= 1 { // there are no such flags
		sets = append(sets, bit, bit|pmem2.MemTemporal)
	}
	src := pattern(5000, 9)
	eachGranularity(t, func(tr *trace, g pmem2.Granularity, m Map, fd int) {
		before := slices.Clone(m.Bytes())
		for _, op := range memoryOps {
			for _, flags := range sets {
				for _, n := range []int{0, 8, 5000} {
					err := op.call(m, m.Bytes()[:n], src[:n], flags)
					t.expectQuietly("-EINVAL", err, "%s(%d bytes, %s) at %v", op.method, n, flagsName(flags), g)
					t.Check(strings.Contains(err.Error(), fmt.Sprintf("%#x", uint32(flags))),
						"the error doesn't tell the flags %#x: %v", uint32(flags), err)
				}
			}
			t.Note(op.method+" with each of "+strconv.Itoa(len(sets))+" sets of flags", "-EINVAL at %v", g)
		}
		t.Check(len(tr.take()) == 0, "the machine was asked for something")
		checkBytes(t, m.Bytes(), before, "the map")
		checkFile(t, fd, 0, before, "the file")
	})
}

func memoryAcrossMaps(t *T) {
	page := t.Page()
	tr := t.Trace()
	src := pattern(2*page, 7)
	for _, g := range granularities {
		t.Force(g.String())
		r := t.Reservation(0, 4*page)
		var fds [2]int
		var content [2][]byte
		var maps [2]Map
		for i := range maps {
			fds[i], content[i] = t.PatternFile(2*page, byte(i))
			maps[i] = t.MapAs(mapSpec{in: r, at: uint64(i) * 2 * page}, t.Source(fds[i]))
		}
		t.Check(t.Lib.SharesFunctions(maps[0], maps[1]), "two maps at %v don't have the same functions", g)
		for i, op := range memoryOps {
			for _, flags := range []pmem2.MemFlags{0, pmem2.MemNonTemporal, pmem2.MemTemporal} {
				for _, n := range []uint64{100, page, 2 * page} {
					off := 2*page - n/2 + uint64(i)
					dst := platform.Bytes(r.Address()+uintptr(off), n)
					want := slices.Concat(content[0], content[1])
					op.model(want[off:off+n], src[:n])
					tr.take()
					t.mustQuietly(op.call(maps[i%2], dst, src[:n], flags), "%s(%d bytes over the border, %s) at %v", op.method, n, flagsName(flags), g)
					got := tr.take()
					checkMemoryFlags(t, g, got, dst, flags, op)
					if g == pmem2.GranularityPage {
						first := maps[1].Address() - uintptr(unitUp(n/2-uint64(i), page))
						checkSyncs(t, got, first, uint64(maps[1].Address()-first), maps[1].Address(), n-n/2+uint64(i))
					}
					content[0], content[1] = want[:2*page], want[2*page:]
					checkBytes(t, t.ReadFile(fds[0], 0, 2*page), content[0], "the first file")
					checkBytes(t, t.ReadFile(fds[1], 0, 2*page), content[1], "the second file")
				}
			}
			t.Note(op.method+" over the border", "bytes in both files, at %v", g)
		}
		t.Delete(maps[0])
		t.Delete(maps[1])
		t.Delete(r)
	}
}
