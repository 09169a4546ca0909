package pmemset_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmem2/platform/ledger"
	"pmemlab/pmemset"
)

// concurrentMachine is a machine with a file system on which everything that is taken is
// counted.
type concurrentMachine struct {
	testing.TB
	emu *emu.Machine
	fs  *emu.FileSystem
	*ledger.Ledger
}

// newConcurrentMachine returns a machine that must have got everything back in the end.
func newConcurrentMachine(tb testing.TB) *concurrentMachine {
	tb.Helper()
	m := &concurrentMachine{TB: tb, emu: emu.NewMachine(emu.Config{})}
	m.Ledger = ledger.New(m.emu)
	m.fs = m.emu.AddFS(emu.FS{Size: 64 << 20, DAX: true})
	tb.Cleanup(func() {
		for _, held := range m.Outstanding() {
			tb.Errorf("left behind: %s", held)
		}
		if err := m.emu.Shutdown(); err != nil {
			tb.Error(err)
		}
	})
	return m
}

// source is a source of a new file of size bytes; it lives until the test has ended.
func (m *concurrentMachine) source(name string, size uint64) *pmemset.Source {
	m.Helper()
	f, err := m.fs.Create(name, size)
	if err != nil {
		m.Fatal(err)
	}
	f.Close()
	src, err := pmemset.XSourceFromFile(m.fs.Path(name), pmemset.SourceFileTruncateIfNeeded, pmemset.On(m.Ledger))
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { src.Delete() })
	return src
}

// concurrentWithin ends the tests with all stacks if f takes too long: nothing can be
// cleaned up then.
func concurrentWithin(limit time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		debug.SetTraceback("all")
		panic(fmt.Sprintf("a deadlock: no end after %v", limit))
	}
}

const (
	concurrentPage       = 4096
	concurrentGoroutines = 64
)

// concurrentCase is a way to use a set from many goroutines.
type concurrentCase struct {
	name        string
	reservation bool // a configured one, with room for some of the parts, for two sets and the program
	coalescing  bool // is switched about; part maps are then shared by goroutines
	callback    bool
	wild        bool // everybody removes everything; nobody touches the memory
}

// TestConcurrentSet has 64 goroutines use one set. What each writes into its own part
// must stay there until it removes it, and no error may come that the manual pages don't
// give for what it does.
func TestConcurrentSet(t *testing.T) {
	cases := []concurrentCase{
		{name: "parts", callback: true},
		{name: "coalescing", coalescing: true},
		{name: "reservation", reservation: true},
		{name: "coalescing in a reservation", reservation: true, coalescing: true, callback: true},
		{name: "wild", coalescing: true, wild: true, callback: true},
		{name: "wild in a reservation", reservation: true, coalescing: true, wild: true},
	}
	total := 5 * time.Second
	if testing.Short() {
		total = time.Second
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			concurrentWithin(total+time.Minute, func() { c.run(t, total/time.Duration(len(cases))) })
		})
	}
}

// concurrentRun is one of these under way.
type concurrentRun struct {
	concurrentCase
	*concurrentMachine
	sets   []*pmemset.Set
	shared *pmemset.Source // of which each goroutine has a range
	end    time.Time
	// mapped counts the map calls that worked, added and removed the events.
	mapped, added, removed, failures atomic.Int64
}

func (c concurrentCase) run(t *testing.T, d time.Duration) {
	r := &concurrentRun{concurrentCase: c, concurrentMachine: newConcurrentMachine(t)}
	r.shared = r.source("shared", 0)
	sources := make([]*pmemset.Source, concurrentGoroutines)
	for i := range sources {
		sources[i] = r.source(fmt.Sprint("own", i), 4*concurrentPage)
	}
	cfg := pmemset.NewConfig()
	modelMustDo(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage))
	if c.callback {
		modelMustDo(cfg.SetEventCallback(r.hear))
	}
	var wg sync.WaitGroup
	sets := 1
	r.end = time.Now().Add(d)
	if c.reservation {
		sets = 2
		reservation := modelMust(pmem2.NewVMReservation(0, concurrentGoroutines*concurrentPage, pmem2.On(r.Ledger)))
		defer func() {
			if err := reservation.Delete(); err != nil {
				t.Errorf("the configured reservation: %v", err)
			}
		}()
		modelMustDo(cfg.SetReservation(reservation))
		wg.Go(func() { r.mapForeign(reservation) })
	}
	for range sets {
		set := modelMust(pmemset.New(cfg))
		defer set.Delete()
		r.sets = append(r.sets, set)
	}
	for i := range sources {
		wg.Go(func() {
			w := &concurrentWorker{
				concurrentRun: r, set: r.sets[i%sets], number: i, source: sources[i], Rand: rand.New(rand.NewPCG(1, uint64(i))),
			}
			w.work()
		})
	}
	wg.Wait()
	for _, set := range r.sets {
		if err := set.RemoveRange(0, math.MaxUint64); c.wild && err != nil && !errors.Is(err, pmemset.ErrCannotFindPartMap) ||
			!c.wild && !errors.Is(err, pmemset.ErrCannotFindPartMap) {
			t.Errorf("removing what is left: %v", err)
		}
		if p := set.FirstPartMap(); p != nil {
			t.Errorf("in the end the set has %+v", p.Descriptor())
		}
		if _, err := set.StoreGranularity(); !errors.Is(err, pmemset.ErrNoPartMapped) {
			t.Errorf("granularity in the end: %v", err)
		}
	}
	if c.callback && r.added.Load() != r.mapped.Load() {
		t.Errorf("%d parts mapped, %d events of that", r.mapped.Load(), r.added.Load())
	}
	if r.mapped.Load() < concurrentGoroutines {
		t.Errorf("only %d parts were mapped", r.mapped.Load())
	}
	t.Logf("%d parts mapped, %d removals, %d refusals", r.mapped.Load(), r.removed.Load(), r.failures.Load())
}

// goesOn says whether there is more to do: for a time, and until something was done.
func (r *concurrentRun) goesOn() bool {
	return !r.Failed() && (time.Now().Before(r.end) || r.mapped.Load() < concurrentGoroutines)
}

// mapForeign maps something into the reservation and deletes it, as the program may.
func (r *concurrentRun) mapForeign(reservation *pmem2.VMReservation) {
	f, err := r.fs.Create("foreign", concurrentPage)
	if err != nil {
		r.Error(err)
		return
	}
	defer f.Close()
	src := modelMust(pmem2.SourceFromFD(f.FD(), pmem2.On(r.Ledger)))
	g := rand.New(rand.NewPCG(3, 3))
	for r.goesOn() {
		cfg := pmem2.NewConfig()
		modelMustDo(errors.Join(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetLength(concurrentPage),
			cfg.SetVMReservation(reservation, g.Uint64N(concurrentGoroutines)*concurrentPage)))
		m, err := pmem2.NewMap(cfg, src)
		if err == nil {
			err = m.Delete()
		}
		if err != nil && !errors.Is(err, pmem2.ErrMappingExists) {
			r.Errorf("the program's own mapping: %v", err)
		}
		runtime.Gosched()
	}
}

// hear looks up what each event is about.
func (r *concurrentRun) hear(set *pmemset.Set, e *pmemset.Event) error {
	at := e.Addr
	if e.Type == pmemset.EventPartAdd {
		r.added.Add(1)
		at = e.Added.Addr
	}
	if p, err := set.PartMapByAddress(at); err == nil {
		p.Descriptor()
		p.Drop()
	} else if !errors.Is(err, pmemset.ErrCannotFindPartMap) {
		r.Errorf("looking up in %v: %v", e.Type, err)
	} else if e.Type == pmemset.EventPartAdd && !r.wild {
		// Nobody but the caller removes it.
		r.Errorf("%+v isn't there at PART_ADD", e.Added)
	}
	return nil
}

// concurrentWorker is one goroutine.
type concurrentWorker struct {
	*concurrentRun
	*rand.Rand
	set    *pmemset.Set
	number int
	source *pmemset.Source
}

// ok reports whether err is nil, and fails the test if it is none of those allowed.
func (w *concurrentWorker) ok(what string, err error, allowed ...pmemset.Code) bool {
	if err == nil {
		return true
	}
	for _, code := range allowed {
		if errors.Is(err, code) {
			w.failures.Add(1)
			return false
		}
	}
	w.Errorf("%s: %v", what, err)
	return false
}

func (w *concurrentWorker) work() {
	for w.goesOn() {
		if w.coalescing && w.IntN(4) == 0 {
			w.ok("coalescing", w.set.SetContiguousPartCoalescing(pmemset.Coalescing(w.IntN(3))))
		}
		src, offset := w.source, uint64(w.IntN(3))*concurrentPage
		length := uint64(1+w.IntN(2)) * concurrentPage
		if w.IntN(3) == 0 {
			src, offset = w.shared, uint64(w.number)*4*concurrentPage+offset // it grows
		}
		d, err := w.mapPart(src, offset, length)
		if !w.ok("mapping", err, w.refusals()...) {
			w.look()
			continue
		}
		w.mapped.Add(1)
		at := d.Addr + uintptr(d.Size-length)
		if w.wild {
			w.look()
			w.removeSomething(at)
			continue
		}
		w.use(at, length)
		w.remove(at, length)
	}
}

// refusals are what a map call may end with.
func (w *concurrentWorker) refusals() (codes []pmemset.Code) {
	if w.coalescing {
		codes = append(codes, pmemset.ErrCannotCoalesceParts)
	}
	if w.reservation {
		codes = append(codes, pmemset.ErrCannotFitPartMap)
	}
	return codes
}

// mapPart maps in one of the three ways.
func (w *concurrentWorker) mapPart(src *pmemset.Source, offset, length uint64) (pmemset.PartDescriptor, error) {
	cfg := pmemset.NewMapConfig(w.set)
	modelMustDo(errors.Join(cfg.SetOffset(offset), cfg.SetLength(length)))
	switch {
	case src == w.source && w.IntN(2) == 0: // it is large enough
		return w.set.Map(src, cfg)
	case w.IntN(2) == 0:
		return pmemset.Map(src, cfg)
	}
	part, err := pmemset.NewPart(w.set, src, offset, length)
	if err != nil {
		return pmemset.PartDescriptor{}, err
	}
	return part.Map()
}

// use writes into the goroutine's own part, does this and that, and reads it again.
func (w *concurrentWorker) use(at uintptr, length uint64) {
	stamp := w.Uint64()
	b := platform.Bytes(at, length)
	data := binary.LittleEndian.AppendUint64(nil, stamp)
	w.ok("Memcpy", w.set.Memcpy(b[:8], data, 0))
	w.ok("Memmove", w.set.Memmove(b[length-8:], data, pmemset.MemNoDrain))
	w.ok("Drain", w.set.Drain())
	for range 3 {
		switch w.IntN(5) {
		case 0:
			w.ok("Persist", w.set.Persist(b))
		case 1:
			w.ok("DeepFlush", w.set.DeepFlush(b))
		case 2:
			w.ok("DeepFlushRange", w.set.DeepFlushRange(at-concurrentPage, 4*concurrentPage))
		case 3:
			if g, err := w.set.StoreGranularity(); err != nil || g != pmem2.GranularityCacheLine {
				w.Errorf("granularity %v, %v", g, err)
			}
		case 4:
			w.look()
		}
	}
	p, err := w.set.PartMapByAddress(at + uintptr(length-1))
	if w.ok("looking up the goroutine's own part", err) {
		if d := p.Descriptor(); d.Addr > at || d.Addr+uintptr(d.Size) < at+uintptr(length) || !w.coalescing && d.Size != length {
			w.Errorf("the goroutine's %d bytes at %#x are in %+v", length, at, d)
		}
		p.Drop()
	}
	if first, last := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[length-8:]); first != stamp || last != stamp {
		w.Errorf("the goroutine's part at %#x holds %#x … %#x, want %#x", at, first, last, stamp)
	}
}

// remove removes the goroutine's own part, as soon as nobody looks at it.
func (w *concurrentWorker) remove(at uintptr, length uint64) {
	for !w.Failed() {
		if w.coalescing || w.IntN(2) == 0 {
			from := at + uintptr(w.Uint64N(length))
			if w.ok("RemoveRange", w.set.RemoveRange(from, 1+w.Uint64N(uint64(at)+length-uint64(from))), pmemset.ErrPartMapPossibleUseAfterDrop) {
				break
			}
		} else {
			p, err := w.set.PartMapByAddress(at)
			if !w.ok("looking up what is to be removed", err) {
				return
			}
			if w.ok("RemovePartMap", w.set.RemovePartMap(p), pmemset.ErrPartMapPossibleUseAfterDrop) {
				break
			}
			p.Drop()
		}
		runtime.Gosched()
	}
	w.removed.Add(1)
}

// look goes along some part maps.
func (w *concurrentWorker) look() {
	p := w.set.FirstPartMap()
	for range w.IntN(4) {
		next := w.set.NextPartMap(p)
		d, e := p.Descriptor(), next.Descriptor()
		// The first can't go, nor start later; the second can't, either.
		if p != nil && next != nil && d.Addr >= e.Addr {
			w.Errorf("%+v comes before %+v", d, e)
		}
		p.Drop()
		p = next
	}
	p.Drop()
}

// removeSomething removes what may be anybody's.
func (w *concurrentWorker) removeSomething(at uintptr) {
	inUse, gone := pmemset.ErrPartMapPossibleUseAfterDrop, pmemset.ErrCannotFindPartMap
	switch w.IntN(4) {
	case 0:
		w.ok("RemoveRange", w.set.RemoveRange(at-concurrentPage, w.Uint64N(8*concurrentPage)), inUse, gone)
	case 1:
		w.ok("RemoveRange of all", w.set.RemoveRange(0, math.MaxUint64), inUse, gone)
	default:
		p, err := w.set.PartMapByAddress(at)
		if !w.ok("looking up", err, gone) {
			return
		}
		if w.ok("RemovePartMap", w.set.RemovePartMap(p), inUse) {
			if err := w.set.RemovePartMap(p); !errors.Is(err, syscall.EINVAL) {
				w.Errorf("removing with a reference that is gone: %v", err)
			}
		}
		p.Drop()
	}
	w.removed.Add(1)
}
