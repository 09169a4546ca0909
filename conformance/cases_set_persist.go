package conformance

import (
	"fmt"
	"slices"
	"strings"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// setPersistCases are those of pmemset_persist(3), pmemset_flush(3) and
// pmemset_drain(3). As with maps, that bytes are durable is seen by what the machine
// was asked for.
func setPersistCases() []Case {
	persist := setRange{"Persist", "pmemset_persist", Set.Persist, Map.Persist, true}
	flush := setRange{"Flush", "pmemset_flush", Set.Flush, Map.Flush, false}
	return slices.Concat(persist.cases("pmem-or-ordinary-file"),
		flush.cases("flushes-range", "chooses-mechanism", "system-call-at-page"),
		[]Case{
			{
				Name: "pmemset_persist/flush, then drain",
				Rows: []string{"pmemset_persist/flush-plus-drain"},
				Run:  setPersistIsFlushAndDrain,
			},
			{
				Name: "pmemset_flush/by instructions",
				Rows: []string{"pmemset_flush/instructions-at-cache-line", "pmemset_flush/chooses-mechanism"},
				Run:  setFlushesByInstructions,
			},
			{
				Name: "pmemset_drain/drains",
				Rows: []string{"pmemset_drain/drains-set", "pmemset_drain/same-rules-as-pmem2-drain"},
				Run:  setDrainIsAFence,
			},
			{
				Name: "pmemset_drain/succeeds",
				Rows: []string{"pmemset_drain/0#1", "pmemset_drain/always-zero"},
				Run:  setDrainSucceeds,
			},
			{
				Name: "pmemset_drain/without parts",
				Rows: []string{"pmemset_drain/0#1", "pmemset_drain/0#2", "pmemset_drain/always-zero"},
				Run: func(t *T) {
					withoutParts(t, func(set Set, r *SetEvents, what string) {
						t.Must(set.Drain(), "Drain() of %s", what)
						if r != nil {
							t.Events(set, r, "DRAIN")
						}
					})
				},
			},
		})
}

// setPart is a part map of a file's own, and what it takes to look at it.
type setPart struct {
	generation  Generation
	granularity pmem2.Granularity
	set         Set
	fd          int
	b           []byte // all of it
	tr          *trace
	tells       bool // the set has a callback, which tells the trace
}

func (p setPart) String() string {
	s := fmt.Sprintf("%v, %s", p.granularity, p.generation.Name())
	if p.tells {
		s += ", with a callback"
	}
	return s
}

// tell is a callback that writes events between what the machine is asked for, with
// their names, and the addresses that they have first.
func (tr *trace) tell(e SetEvent) error {
	addr := e.Addr
	switch e.Type {
	case pmemset.EventCopy, pmemset.EventMove, pmemset.EventSet:
		addr = e.Dst
	}
	tr.add(event{Kind: eventKind(eventNames[e.Type]), Addr: addr, N: e.Len})
	return nil
}

// apart is what the machine was asked for, and what the callback was told.
func (es events) apart() (machine, told events) {
	for _, e := range es {
		if slices.Contains([]eventKind{evFlush, evFence, evMsync, evCopy, evCopyNT, evSet, evSetNT}, e.Kind) {
			machine = append(machine, e)
		} else {
			told = append(told, e)
		}
	}
	return machine, told
}

// from are the events with addresses that count from base.
func (es events) from(base uintptr) (all events) {
	for _, e := range es {
		if e.Addr != 0 {
			e.Addr -= base
		}
		all = append(all, e)
	}
	return all
}

// partSize is how many bytes the parts of eachPart and eachDAXPart have.
func partSize(t *T) uint64 { return tracedPages * t.Page() }

// eachPart calls f with a part of each generation at each granularity, which is forced,
// on a machine that is traced: first of a set without a callback, then of one with.
func eachPart(t *T, f func(p setPart)) {
	tr := t.Trace()
	t.EachGeneration(func(g Generation) {
		for _, at := range granularities {
			t.Force(at.String())
			path, src := t.SetFile(partSize(t))
			p := setPart{generation: g, granularity: at, tr: tr, fd: t.Open(t.FileAt(path), platform.ORdwr)}
			t.WriteFile(p.fd, 0, pattern(partSize(t), byte(at)))
			for _, p.tells = range []bool{false, true} {
				cfg := t.SetConfig()
				if p.tells {
					t.Must(cfg.SetEventCallback(tr.tell), "SetEventCallback()")
				}
				p.set = t.Set(cfg)
				p.b = t.SetMap(g, p.set, src, 0, 0).Bytes()
				checkSetGranularity(t, p.set, at)
				tr.take()
				f(p)
			}
		}
	})
}

// setRange is persist or flush: both take a range.
type setRange struct {
	name, page string
	call       func(s Set, b []byte) error
	ofMap      func(m Map, b []byte) error
	drains     bool
}

func (c setRange) cases(reaches ...string) []Case {
	rows := []string{c.page + "/0#1", c.page + "/always-zero"}
	for _, row := range reaches {
		rows = append(rows, c.page+"/"+row)
	}
	sameRules := []string{c.page + "/same-rules-as-pmem2-" + strings.ToLower(c.name)}
	return []Case{
		{Name: c.page + "/reaches the range", Rows: rows, Run: c.reaches},
		{Name: c.page + "/kinds of files", Rows: rows, Run: func(t *T) {
			c.reachesIn(t, "a file", Env.File)
			c.reachesIn(t, "a file that is no persistent memory", Env.OrdinaryFile)
		}},
		{
			Name: c.page + "/persistent memory", Rows: rows, Needs: []Need{NeedFSDax, NeedDevDax},
			Run: func(t *T) {
				c.reachesIn(t, "a file with DAX", Env.DAXFile)
				c.reachesIn(t, "a device DAX", func(env Env, _ uint64) (Object, error) { return env.DevDax(daxSize, daxAlign) })
			},
		},
		{
			Name: c.page + "/without parts", Rows: []string{c.page + "/0#1", c.page + "/0#2", c.page + "/always-zero"},
			Run: c.withoutParts,
		},
		{Name: c.page + "/as libpmem2 does it", Rows: sameRules, Run: c.asMap},
		{Name: c.page + "/over the borders of parts", Rows: sameRules, Needs: []Need{NeedReservation}, Run: c.acrossParts},
		{
			Name: c.page + "/a failing msync", Rows: append(sameRules, c.page+"/always-zero"),
			Needs: []Need{NeedFaultInjection}, Run: c.msyncFails,
		},
	}
}

// check expects what the machine was asked for to be the work of one call on b.
func (c setRange) check(t *T, at pmem2.Granularity, got events, b []byte) {
	checkReached(t, at, got, b, c.name)
	kinds := map[pmem2.Granularity][]eventKind{
		pmem2.GranularityCacheLine: {evFlush}, pmem2.GranularityPage: {evMsync},
	}[at]
	if c.drains { // at PAGE there may be a fence or none
		kinds = append(kinds, evFence)
		checkDrained(t, at, got, c.name)
	}
	t.Check(len(got.of(kinds...)) == len(got), "%s at %v asks the machine for %v", c.name, at, got)
	if at == pmem2.GranularityCacheLine {
		checkLines(t, got.of(evFlush), b, c.name)
	}
}

func (c setRange) reaches(t *T) {
	told := []eventKind{"FLUSH"}
	if c.drains {
		told = append(told, "DRAIN")
	}
	eachPart(t, func(p setPart) {
		content := t.ReadFile(p.fd, 0, partSize(t))
		ranges := oddRanges(t.Page())
		for i, r := range ranges {
			b := p.b[r.off : r.off+r.n]
			for k := range b {
				b[k] = byte(k + i)
				content[r.off+uint64(k)] = byte(k + i)
			}
			t.mustQuietly(c.call(p.set, b), "%s(%d bytes at %d) at %v", c.name, r.n, r.off, p)
			got, events := p.tr.take().apart()
			c.check(t, p.granularity, got, b)
			if p.tells {
				checkEvents(t, events, c.name, told...)
			}
			checkBytes(t, p.b, content, "the part after %s", c.name)
		}
		t.Note(c.name, "%d ranges are reached at %v", len(ranges), p)
		checkFile(t, p.fd, 0, content, "the file at %v", p)
	})
}

// reachesIn is about a source as it is, without a granularity that is forced.
func (c setRange) reachesIn(t *T, what string, file func(Env, uint64) (Object, error)) {
	t.Force("")
	tr := t.Trace()
	o := t.made(file(t.Env, partSize(t)))
	t.EachGeneration(func(g Generation) {
		set := t.Set()
		b := t.SetMap(g, set, t.SetSource(o.Path()), 0, 0).Bytes()
		at, err := set.StoreGranularity()
		t.Must(err, "StoreGranularity()")
		for i, r := range oddRanges(t.Page()) {
			b := b[r.off : r.off+r.n]
			copy(b, pattern(r.n, byte(i)))
			tr.take()
			t.mustQuietly(c.call(set, b), "%s(%d bytes at %d of %s) at %v", c.name, r.n, r.off, what, at)
			c.check(t, at, tr.take(), b)
			checkBytes(t, b, pattern(r.n, byte(i)), "%s after %s", what, c.name)
		}
		t.Note(c.name, "ranges of %s are reached at %v", what, at)
	})
}

// withoutParts calls f with sets that have no part, with a callback and without: new
// ones, and those that had one once.
func withoutParts(t *T, f func(set Set, r *SetEvents, what string)) {
	emptied := func(g Generation, set Set) Set {
		_, src := t.SetFile(partSize(t))
		d := t.SetMap(g, set, src, 0, 0)
		t.Must(set.RemoveRange(d.Addr, d.Size), "RemoveRange()")
		t.CheckParts(set)
		return set
	}
	set, r := t.SetWithEvents()
	f(t.Set(), nil, "a new set")
	f(set, r, "a new set with a callback")
	t.EachGeneration(func(g Generation) {
		for _, at := range granularities {
			t.Force(at.String())
			f(emptied(g, t.Set()), nil, fmt.Sprintf("a set whose part at %v is removed", at))
			set, r := t.SetWithEvents()
			emptied(g, set)
			r.Take()
			f(set, r, fmt.Sprintf("a set with a callback whose part at %v is removed", at))
		}
	})
}

func (c setRange) withoutParts(t *T) {
	withoutParts(t, func(set Set, r *SetEvents, what string) {
		own := pattern(5000, 1)
		for _, n := range []int{0, 1, 64, 4999} {
			t.Must(c.call(set, own[1:1+n]), "%s(%d bytes of the program's own) of %s", c.name, n, what)
			if r == nil {
				continue
			}
			r.Name("own", addressOf(own[1:]))
			if want := []string{"FLUSH own " + amount(uint64(n))}; c.drains {
				t.Events(set, r, append(want, "DRAIN")...)
			} else {
				t.Events(set, r, want...)
			}
		}
		checkBytes(t, own, pattern(5000, 1), "the program's own memory")
	})
}

// asMap compares with a map of the same file.
func (c setRange) asMap(t *T) {
	eachPart(t, func(p setPart) {
		m := t.MapAs(mapSpec{}, t.Source(p.fd))
		ranges := oddRanges(t.Page())
		for _, r := range ranges {
			p.tr.take()
			t.mustQuietly(c.ofMap(m, m.Bytes()[r.off:r.off+r.n]), "%s(%d bytes at %d) of a map at %v", c.name, r.n, r.off, p)
			want := p.tr.take().from(m.Address())
			t.mustQuietly(c.call(p.set, p.b[r.off:r.off+r.n]), "%s(%d bytes at %d) of a set at %v", c.name, r.n, r.off, p)
			got, _ := p.tr.take().apart()
			t.Check(slices.Equal(got.from(addressOf(p.b)), want), "%s(%d bytes at %d) at %v asks the machine for %v, with a map for %v",
				c.name, r.n, r.off, p, got.from(addressOf(p.b)), want)
		}
		t.Note(c.name, "with %d ranges the same as with a map, at %v", len(ranges), p)
		t.Delete(m)
	})
}

// acrossParts has two part maps side by side, the second of two parts, a page of
// nothing, and a third part map.
func (c setRange) acrossParts(t *T) {
	page := t.Page()
	tr := t.Trace()
	t.EachGeneration(func(g Generation) {
		for _, at := range granularities {
			t.Force(at.String())
			r := t.Reservation(0, 8*page)
			set := t.Set(t.SetConfigIn(r))
			path, src := t.SetFile(8 * page)
			at0 := r.Address()
			t.SetMap(g, set, src, 0, 2*page)
			second := t.SetMap(g, set, src, 4*page, page)
			t.Coalesce(set, pmemset.CoalescingFull)
			t.SetMap(g, set, src, 7*page, page)
			t.Coalesce(set, pmemset.CoalescingNone)
			gap := t.SetMap(g, set, src, 0, page)
			third := t.SetMap(g, set, src, 2*page, page)
			t.Must(set.RemoveRange(gap.Addr, 1), "RemoveRange()")
			t.CheckParts(set, pmemset.PartDescriptor{Addr: at0, Size: 2 * page},
				pmemset.PartDescriptor{Addr: second.Addr, Size: 2 * page}, third)
			t.Check(second.Addr == at0+uintptr(2*page) && third.Addr == at0+uintptr(5*page), "the part maps aren't side by side")

			b := platform.Bytes(at0+uintptr(page+100), 3*page-150)
			copy(b, pattern(uint64(len(b)), 7))
			tr.take()
			t.Must(c.call(set, b), "%s over the borders of parts at %v", c.name, at)
			got := tr.take()
			checkReached(t, at, got, b, c.name)
			if c.drains {
				checkDrained(t, at, got, c.name)
			}
			if at == pmem2.GranularityPage {
				b := platform.Bytes(at0+uintptr(3*page+5), 2*page+10)
				t.Must(c.call(set, b), "%s over a page without a part", c.name)
				checkSyncs(t, tr.take(), at0+uintptr(3*page), page, third.Addr, 15)
			}
			fd := t.Open(t.FileAt(path), platform.ORdonly)
			checkFile(t, fd, page+100, b[:page-100], "the first part")
			checkFile(t, fd, 4*page, b[page-100:2*page-100], "the second part")
			checkFile(t, fd, 7*page, b[2*page-100:], "the part behind it")
			t.Delete(set)
		}
	})
}

// msyncFails is what C ends the process for.
func (c setRange) msyncFails(t *T) {
	page := t.Page()
	t.EachGeneration(func(g Generation) {
		for _, tells := range []bool{false, true} {
			for _, errno := range []string{"EIO", "ENOMEM", "ENOSPC"} {
				path, _ := t.SetFile(4 * page)
				t.Lib = t.Inject("(" + errno + " (And (Op msync) (OnIndex 1)))")
				set := t.Set()
				if tells {
					set, _ = t.SetWithEvents()
				}
				b := t.SetMap(g, set, t.SetSource(path), 0, 0).Bytes()[page-10 : page+10]
				checkSetGranularity(t, set, pmem2.GranularityPage)
				copy(b, "stored before a call")
				t.Must(c.call(set, b), "%s(20 bytes), the first msync", c.name)
				t.Expect("-"+errno, c.call(set, b), "%s(20 bytes), the second", c.name)
				t.Must(c.call(set, b), "%s(20 bytes), the third", c.name)
				t.Check(string(b) == "stored before a call", "the bytes are now %q", b)
			}
		}
	})
}

// setPersistIsFlushAndDrain compares what the machine is asked for, and the events.
func setPersistIsFlushAndDrain(t *T) {
	eachPart(t, func(p setPart) {
		ranges := oddRanges(t.Page())
		for _, r := range ranges {
			b := p.b[r.off : r.off+r.n]
			p.tr.take()
			t.mustQuietly(p.set.Persist(b), "Persist(%d bytes at %d) at %v", r.n, r.off, p)
			persist := p.tr.take()
			t.mustQuietly(p.set.Flush(b), "Flush(%d bytes at %d) at %v", r.n, r.off, p)
			flush := p.tr.take()
			t.mustQuietly(p.set.Drain(), "Drain() at %v", p)
			drain := p.tr.take()
			t.Check(slices.Equal(persist, slices.Concat(flush, drain)), "Persist(%d bytes at %d) at %v is %v; Flush and Drain are %v and %v",
				r.n, r.off, p, persist, flush, drain)
			machine, told := persist.apart()
			checkReached(t, p.granularity, machine, b, "Persist")
			checkDrained(t, p.granularity, machine, "Persist")
			if p.tells {
				checkEvents(t, told, "Persist", "FLUSH", "DRAIN")
			}
		}
		t.Note("Persist", "as Flush and Drain with %d ranges, at %v", len(ranges), p)
	})
}

// eachDAXPart calls f with a part of a file with DAX, in each generation, with the
// granularity that it has and at BYTE.
func eachDAXPart(t *T, f func(p setPart)) {
	t.withoutEADR()
	tr := t.Trace()
	t.EachGeneration(func(g Generation) {
		o := t.made(t.Env.DAXFile(partSize(t)))
		for _, at := range []pmem2.Granularity{pmem2.GranularityCacheLine, pmem2.GranularityByte} {
			force := ""
			if at == pmem2.GranularityByte {
				force = "BYTE"
			}
			t.Force(force)
			p := setPart{generation: g, granularity: at, tr: tr, fd: t.Open(o, platform.ORdwr)}
			for _, p.tells = range []bool{false, true} {
				cfg := t.SetConfig()
				if p.tells {
					t.Must(cfg.SetEventCallback(tr.tell), "SetEventCallback()")
				}
				p.set = t.Set(cfg)
				p.b = t.SetMap(g, p.set, t.SetSource(o.Path()), 0, 0).Bytes()
				checkSetGranularity(t, p.set, at)
				tr.take()
				f(p)
			}
		}
	})
}

func setFlushesByInstructions(t *T) {
	eachDAXPart(t, func(p setPart) {
		for _, r := range oddRanges(t.Page()) {
			b := p.b[r.off : r.off+r.n]
			t.mustQuietly(p.set.Flush(b), "Flush(%d bytes at %d) at %v", r.n, r.off, p)
			got, _ := p.tr.take().apart()
			if p.granularity == pmem2.GranularityByte || r.n == 0 {
				t.Check(len(got) == 0, "Flush(%d bytes) at %v asks the machine for %v", r.n, p, got)
				continue
			}
			checkLines(t, got, b, "Flush")
			for _, e := range got {
				t.Check(e.Kind == evFlush && e.By != "", "Flush at %v asks the machine for %v", p, e)
			}
			t.Note(fmt.Sprintf("Flush(%d bytes at %d) at %v", r.n, r.off, p), "asks the machine for %v", got.from(addressOf(p.b)))
		}
	})
}

func setDrainIsAFence(t *T) {
	eachDAXPart(t, func(p setPart) {
		// A second part of the set, far from the first.
		other := t.SetMap(p.generation, p.set, t.SetSourceOf(t.Source(p.fd)), 0, 0).Bytes()
		m := t.MapAs(mapSpec{}, t.Source(p.fd))
		for _, n := range []int{0, 1, 100, 5000} {
			t.mustQuietly(p.set.Flush(p.b[:n]), "Flush(%d bytes) at %v", n, p)
			t.mustQuietly(p.set.Flush(other[60:60+n]), "Flush(%d bytes of another part) at %v", n, p)
			got, _ := p.tr.take().apart()
			t.Check(len(got.of(evFence)) == 0, "Flush at %v has a fence: %v", p, got)
			t.Must(p.set.Drain(), "Drain() at %v", p)
			got = p.tr.take()
			want := []eventKind{evFence}
			if p.tells {
				want = append(want, "DRAIN")
			}
			checkEvents(t, got, "Drain()", want...)
		}
		t.mustQuietly(m.Drain(), "Drain() of a map")
		ofMap := p.tr.take()
		t.mustQuietly(p.set.Drain(), "Drain() of the set")
		got, _ := p.tr.take().apart()
		t.Check(slices.Equal(got, ofMap), "Drain of a set at %v asks the machine for %v, of a map for %v", p, got, ofMap)
		t.Delete(m)
	})
}

func setDrainSucceeds(t *T) {
	eachPart(t, func(p setPart) {
		copy(p.b, "to be drained")
		t.Must(p.set.Flush(p.b[:13]), "Flush(13 bytes) at %v", p)
		p.tr.take()
		t.Must(p.set.Drain(), "Drain() at %v", p)
		t.Must(p.set.Drain(), "Drain() at %v again", p)
		got, told := p.tr.take().apart()
		t.Check(len(got.of(evFence)) == len(got), "Drain at %v asks for %v", p, got)
		t.Check(p.granularity == pmem2.GranularityPage || len(got) == 2, "two Drain at %v ask for %v", p, got)
		if p.tells {
			checkEvents(t, told, "two Drain", "DRAIN", "DRAIN")
		}
		checkFile(t, p.fd, 0, []byte("to be drained"), "the file")
	})
}
