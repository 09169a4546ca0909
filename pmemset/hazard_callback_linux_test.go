package pmemset_test

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"pmemlab/pmemset"
)

// hazardExits are the ways in which a callback can fail to return.
var hazardExits = []struct {
	name string
	exit func()
}{
	{"panic", func() { panic(hazardPanic{}) }},
	{"Goexit", runtime.Goexit},
}

type hazardPanic struct{}

// leaves calls f in a goroutine of its own, which a callback may end. It reports whether
// f has returned; a panic of another kind goes on.
func (s *scene) leaves(f func() error) (returned bool, err error) {
	concurrentWithin(time.Minute, func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				if reason := recover(); reason != nil && reason != (hazardPanic{}) {
					panic(reason)
				}
			}()
			err = f()
			returned = true
		}()
		<-done
	})
	return returned, err
}

// countsNone expects the source's shutdown data to count no mapping: one more than they
// have is what the next one is told.
func (s *scene) countsNone(src *pmemset.Source) {
	s.Helper()
	set := s.set(nil, s.accepting(sceneAllStates))
	s.must(src.SetBadBlockDetection(false))
	s.maps(set, src, 0, 64*sceneK)
	if got := s.stored().RefCount - 1; got != 0 {
		s.Errorf("the shutdown data count %d mappings, want none", got)
	}
	s.must(set.Delete())
	if got := s.stored().RefCount; got != 0 {
		s.Errorf("in the end the shutdown data count %d mappings, want none", got)
	}
}

// hazardStage is a set with a part map of two mappings and one of one, all of one source
// with shutdown data.
type hazardStage struct {
	*scenePmem
	h           *hazard
	set         *pmemset.Set
	src         *pmemset.Source // of all parts
	fresh       *pmemset.Source // of none; looks for bad blocks, and will find one
	long, short pmemset.PartDescriptor
}

// hazardCalls are calls that send events.
var hazardCalls = []struct {
	name string
	call func(*hazardStage) error
}{
	{"Map", func(g *hazardStage) error { _, err := g.mapAt(g.set, g.fresh, 0, 64*sceneK); return err }},
	{"RemovePartMap", func(g *hazardStage) error { return hazardRemovals[0].remove(g.scene, g.set, g.long) }},
	{"RemoveRange of a part map", func(g *hazardStage) error { return g.set.RemoveRange(g.short.Addr, 1) }},
	{"RemoveRange of a mapping", func(g *hazardStage) error { return g.set.RemoveRange(g.long.Addr, 1) }},
	{"RemoveRange of everything", func(g *hazardStage) error { return g.set.RemoveRange(1, 1<<63) }},
	{"RemovePartMap, refused", func(g *hazardStage) error {
		g.h.on(func(c hazardCall) error {
			if c.op == "mremap" && c.addr == g.long.Addr {
				return syscall.EAGAIN
			}
			return nil
		})
		defer g.h.off()
		if err := hazardRemovals[0].remove(g.scene, g.set, g.long); sceneOutcome(err) != "EAGAIN" {
			g.Errorf("a removal that the kernel refuses: %v", err)
		}
		return nil
	}},
	{"Delete", func(g *hazardStage) error { return g.set.Delete() }},
	{"Persist", func(g *hazardStage) error { return g.set.Persist(g.long.Bytes()) }},
	{"Flush", func(g *hazardStage) error { return g.set.Flush(g.long.Bytes()) }},
	{"Drain", func(g *hazardStage) error { return g.set.Drain() }},
	{"Memcpy", func(g *hazardStage) error { return g.set.Memcpy(g.long.Bytes()[:64], make([]byte, 64), 0) }},
	{"Memmove", func(g *hazardStage) error { return g.set.Memmove(g.long.Bytes()[:64], make([]byte, 64), 0) }},
	{"Memset", func(g *hazardStage) error { return g.set.Memset(g.long.Bytes()[:64], 1, 0) }},
}

func newHazardStage(p *scenePmem, h *hazard) *hazardStage {
	p.Helper()
	p.hook = nil
	g := &hazardStage{scenePmem: p, h: h, set: p.roomySet(), src: p.newSource(), fresh: p.newSource()}
	p.sds(g.src, pmemset.SDS{})
	p.sds(g.fresh, pmemset.SDS{})
	p.coalescing(g.set, pmemset.CoalescingFull)
	p.maps(g.set, g.src, sceneM, 64*sceneK)
	g.long = p.maps(g.set, g.src, 2*sceneM, 64*sceneK)
	p.coalescing(g.set, pmemset.CoalescingNone)
	g.short = p.maps(g.set, g.src, 3*sceneM, 64*sceneK)
	return g
}

// TestHazardCallbackEnds has a callback panic, or end its goroutine, in each event of
// each call. No lock stays held, no mapping is lost or counted twice or not at all, no
// reference is left: the set works, and what Delete leaves is nothing.
func TestHazardCallbackEnds(t *testing.T) {
	sceneOnPmem(t, "all", func(p *scenePmem) {
		h := p.hazard(p.emu)
		for _, c := range hazardCalls {
			ended := map[pmemset.EventType]bool{}
			for _, x := range hazardExits {
				for k, last := 0, false; !last; k++ {
					g := newHazardStage(p, h)
					if c.name == "Map" {
						p.must(p.bad(0, 4*sceneK))
						p.must(g.fresh.SetBadBlockDetection(true))
					}
					events, in := 0, pmemset.EventType(-1)
					p.hook = func(_ *pmemset.Set, e *pmemset.Event) error {
						if events++; events == k+1 {
							in, ended[e.Type] = e.Type, true
							x.exit()
						}
						if e.Type == pmemset.EventBadBlock {
							return e.Source.ClearBadBlock(e.BadBlock)
						}
						return nil
					}
					returned, err := p.leaves(func() error { return c.call(g) })
					if in == pmemset.EventPartAdd && c.name == "Map" && p.stored().RefCount != 1 {
						p.Errorf("%s in PART_ADD: no SDS_UPDATE follows", x.name)
					}
					if last = events <= k; returned != last || err != nil {
						p.Errorf("%s, %s in event %d of %d: returned %t, %v", c.name, x.name, k, events, returned, err)
					}
					p.hook = func(_ *pmemset.Set, e *pmemset.Event) error {
						if e.Type == pmemset.EventBadBlock {
							return e.Source.ClearBadBlock(e.BadBlock)
						}
						return nil
					}
					what := fmt.Sprintf("%s, %s in event %d", c.name, x.name, k)
					concurrentWithin(time.Minute, func() { g.worksAndGoes(what, c.name == "Delete") })
					if p.Failed() {
						return
					}
				}
			}
			if wants := hazardEvents(p.gen, c.name); !slices.Equal(concurrentSorted(ended), wants) {
				p.Errorf("%s: ended in %v, want %v", c.name, concurrentSorted(ended), wants)
			}
		}
	})
}

func concurrentSorted(m map[pmemset.EventType]bool) []pmemset.EventType {
	all := concurrentKeys(m)
	slices.Sort(all)
	return all
}

// hazardEvents are the kinds of events of each call.
func hazardEvents(gen sceneGeneration, call string) []pmemset.EventType {
	if call == "Map" {
		return []pmemset.EventType{
			pmemset.EventPartAdd, pmemset.EventSDSUpdate, pmemset.EventBadBlock, pmemset.EventBadBlocksCleared,
		}
	}
	all := map[string][]pmemset.EventType{
		"RemovePartMap":             {pmemset.EventPartRemove, pmemset.EventSDSUpdate},
		"RemoveRange of a part map": {pmemset.EventRemoveRange, pmemset.EventPartRemove, pmemset.EventSDSUpdate},
		"RemoveRange of a mapping":  {pmemset.EventRemoveRange, pmemset.EventSDSUpdate},
		"RemoveRange of everything": {pmemset.EventRemoveRange, pmemset.EventPartRemove, pmemset.EventSDSUpdate},
		"RemovePartMap, refused":    {pmemset.EventPartAdd, pmemset.EventPartRemove},
		"Delete":                    {pmemset.EventSDSUpdate},
		"Persist":                   {pmemset.EventFlush, pmemset.EventDrain},
		"Flush":                     {pmemset.EventFlush},
		"Drain":                     {pmemset.EventDrain},
		"Memcpy":                    {pmemset.EventCopy, pmemset.EventDrain},
		"Memmove":                   {pmemset.EventMove, pmemset.EventDrain},
		"Memset":                    {pmemset.EventSet, pmemset.EventDrain},
	}[call]
	if !gen.removals {
		all = slices.DeleteFunc(all, func(e pmemset.EventType) bool {
			return e == pmemset.EventRemoveRange || e == pmemset.EventPartRemove ||
				e == pmemset.EventPartAdd
		})
	}
	slices.Sort(all)
	return all
}

// worksAndGoes uses the set, unless it has been deleted, and takes everything away.
func (g *hazardStage) worksAndGoes(what string, deleted bool) {
	if !deleted {
		// Whatever is mapped must be known, and nobody hold a reference.
		var all []pmemset.PartDescriptor
		var size, listed uint64
		for p := g.set.FirstPartMap(); p != nil; {
			d := p.Descriptor()
			all, size = append(all, d), size+d.Size
			for _, first := range []pmemset.PartDescriptor{g.long, g.short} {
				if start, end := max(d.Addr, first.Addr), min(d.Addr+uintptr(d.Size), first.Addr+uintptr(first.Size)); start < end {
					listed += uint64(end - start)
				}
			}
			next := g.set.NextPartMap(p)
			p.Drop()
			p = next
		}
		if n := g.mappedOf(all...); n != size {
			g.Errorf("%s: %d of the %d bytes of the part maps are mapped", what, n, size)
		}
		if n := g.mappedOf(g.long, g.short); n != listed {
			g.Errorf("%s: of the first part maps %d bytes are mapped, %d are known", what, n, listed)
		}
		d := g.maps(g.set, g.fresh, 4*sceneM, 64*sceneK)
		if err := g.set.DeepFlush(d.Bytes()); err != nil && sceneOutcome(err) != "DEEP_FLUSH_FAIL" {
			g.Errorf("%s: DeepFlush: %v", what, err)
		}
		g.must(g.set.Persist(d.Bytes()))
		if err := g.set.RemoveRange(1, 1<<63); err != nil {
			g.Errorf("%s: removing everything: %v", what, err)
		}
		if p := g.set.FirstPartMap(); p != nil {
			g.Errorf("%s: a part map stays: %+v", what, p.Descriptor())
		}
	}
	g.must(g.set.Delete())
	if n := g.mappedOf(g.long, g.short); n != 0 {
		g.Errorf("%s: %d bytes stay mapped", what, n)
	}
	g.countsNone(g.src)
	g.countsNone(g.fresh)
	g.must(g.src.Delete())
	g.must(g.fresh.Delete())
	if g.Failed() {
		g.Logf("that was: %s", what)
	}
}

// TestHazardPartMapsOnce: a Part whose mapping has been made is consumed, though the
// callback that is told of it doesn't return. Mapped again, it would be in the set twice.
func TestHazardPartMapsOnce(t *testing.T) {
	for _, row := range []struct {
		in     pmemset.EventType
		second string // outcome of the second call
	}{
		{pmemset.EventBadBlock, "0"}, {pmemset.EventBadBlocksCleared, "0"},
		{pmemset.EventPartAdd, "EINVAL"}, {pmemset.EventSDSUpdate, "EINVAL"},
	} {
		for _, x := range hazardExits {
			t.Run(row.in.String()+"/"+x.name, func(t *testing.T) {
				sceneOnPmem(t, "G1", func(p *scenePmem) {
					p.must(p.bad(0, 4*sceneK))
					set, src := p.set(nil), p.newSource()
					p.sds(src, pmemset.SDS{})
					p.must(src.SetBadBlockDetection(true))
					part, err := pmemset.NewPart(set, src, 0, 64*sceneK)
					p.must(err)
					ended := false
					p.hook = func(_ *pmemset.Set, e *pmemset.Event) error {
						if e.Type == pmemset.EventBadBlock {
							if err := e.Source.ClearBadBlock(e.BadBlock); err != nil {
								p.Errorf("ClearBadBlock: %v", err)
							}
						}
						if e.Type == row.in && !ended {
							ended = true
							x.exit()
						}
						return nil
					}
					for i, want := range []string{"", row.second} {
						returned, err := p.leaves(func() error { _, err := part.Map(); return err })
						if returned != (i == 1) || returned && sceneOutcome(err) != want {
							p.Errorf("call %d: returned %t, %v; want %s", i, returned, err, want)
						}
					}
					if n := len(p.list(set)); n != 1 {
						p.Errorf("there are %d part maps, want 1", n)
					}
					p.must(set.Delete())
					p.countsNone(src)
				})
			})
		}
	}
}

// TestHazardDeleteInPartRemove: a callback that deletes the set in PART_REMOVE, and may
// not even return, leaves nothing of it mapped: nobody could find it any more.
func TestHazardDeleteInPartRemove(t *testing.T) {
	returns := struct {
		name string
		exit func()
	}{"returns", func() {}}
	for _, x := range append(slices.Clone(hazardExits), returns) {
		for _, removal := range hazardRemovals {
			t.Run(x.name+"/"+removal.name, func(t *testing.T) {
				sceneOnPmem(t, "G2 G3", func(p *scenePmem) {
					g := newHazardStage(p, p.hazard(p.emu))
					p.hook = func(set *pmemset.Set, e *pmemset.Event) error {
						if e.Type == pmemset.EventPartRemove {
							if err := set.Delete(); err != nil {
								p.Errorf("Delete: %v", err)
							}
							if n := p.mapped(e.Addr, e.Len); n != e.Len {
								p.Errorf("%d of %d bytes are mapped in PART_REMOVE", n, e.Len)
							}
							x.exit()
						}
						return nil
					}
					returned, err := p.leaves(func() error { return removal.remove(p.scene, g.set, g.long) })
					if returned != (x.name == "returns") || err != nil {
						p.Errorf("%s: returned %t, %v", removal.name, returned, err)
					}
					if n := p.mappedOf(g.long, g.short); n != 0 {
						p.Errorf("%d bytes of a deleted set are mapped", n)
					}
					p.countsNone(g.src)
				})
			})
		}
	}
}
