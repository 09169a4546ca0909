package pmemset_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// concurrentCaller is a set whose callback calls back into the set, with what that takes.
type concurrentCaller struct {
	*concurrentMachine
	set     atomic.Pointer[pmemset.Set]
	sets    []*pmemset.Set // that there have been; under mu
	mu      sync.Mutex
	plain   *pmemset.Source // of a file
	counted *pmemset.Source // with shutdown data
	bad     *pmemset.Source // that looks for bad blocks
	hook    func(*pmemset.Set, *pmemset.Event)
}

const concurrentBadFile = "bad"

func newConcurrentCaller(tb testing.TB) *concurrentCaller {
	c := &concurrentCaller{concurrentMachine: newConcurrentMachine(tb)}
	c.plain = c.source("plain", 4*concurrentPage)
	c.counted = c.source("counted", 4*concurrentPage)
	modelMustDo(c.counted.SetSDS(pmemset.SDS{}, nil))
	c.bad = c.source(concurrentBadFile, 4*concurrentPage)
	modelMustDo(c.bad.PwriteMCSafe(make([]byte, 4*concurrentPage), 0)) // only what is allocated can be bad
	modelMustDo(c.bad.SetBadBlockDetection(true))
	c.renew()
	tb.Cleanup(func() {
		for _, s := range c.sets {
			if err := s.Delete(); err != nil {
				tb.Errorf("Delete: %v", err)
			}
		}
	})
	return c
}

// renew makes a new set the one that is used.
func (c *concurrentCaller) renew() {
	cfg := pmemset.NewConfig()
	modelMustDo(cfg.SetRequiredStoreGranularity(pmem2.GranularityPage))
	modelMustDo(cfg.SetEventCallback(func(s *pmemset.Set, e *pmemset.Event) error {
		if e.Type == pmemset.EventBadBlock {
			if err := e.Source.ClearBadBlock(e.BadBlock); err != nil {
				c.Errorf("ClearBadBlock: %v", err)
			}
		}
		c.hook(s, e)
		return nil
	}))
	set := modelMust(pmemset.New(cfg))
	c.mu.Lock()
	c.sets = append(c.sets, set)
	c.mu.Unlock()
	c.set.Store(set)
}

// damage gives the file a bad block.
func (c *concurrentCaller) damage() {
	modelMustDo(c.fs.AddBadBlock(concurrentBadFile, concurrentPage, concurrentPage))
}

// concurrentTriggers are calls by the events that they send, among others. Their data
// isn't the set's, so that the callback may do what it likes to the parts.
var concurrentTriggers = map[pmemset.EventType]func(*concurrentCaller, *pmemset.Set) error{
	pmemset.EventCopy: func(_ *concurrentCaller, s *pmemset.Set) error { return s.Memcpy(make([]byte, 8), make([]byte, 8), 0) },
	pmemset.EventMove: func(_ *concurrentCaller, s *pmemset.Set) error { return s.Memmove(make([]byte, 8), make([]byte, 8), 0) },
	pmemset.EventSet:  func(_ *concurrentCaller, s *pmemset.Set) error { return s.Memset(make([]byte, 8), 1, 0) },
	pmemset.EventFlush: func(_ *concurrentCaller, s *pmemset.Set) error {
		return errors.Join(s.Flush(make([]byte, 8)), s.Persist(make([]byte, 8)))
	},
	pmemset.EventDrain:       func(_ *concurrentCaller, s *pmemset.Set) error { return s.Drain() },
	pmemset.EventRemoveRange: func(_ *concurrentCaller, s *pmemset.Set) error { return concurrentRemoveLowest(s) },
	pmemset.EventPartRemove: func(_ *concurrentCaller, s *pmemset.Set) error {
		p := s.FirstPartMap()
		defer p.Drop()
		return s.RemovePartMap(p)
	},
	pmemset.EventPartAdd:   func(c *concurrentCaller, s *pmemset.Set) error { return concurrentErr(s.Map(c.plain, nil)) },
	pmemset.EventSDSUpdate: func(c *concurrentCaller, s *pmemset.Set) error { return concurrentErr(s.Map(c.counted, nil)) },
	pmemset.EventBadBlock:  func(c *concurrentCaller, s *pmemset.Set) error { c.damage(); return concurrentErr(s.Map(c.bad, nil)) },
	pmemset.EventBadBlocksCleared: func(c *concurrentCaller, s *pmemset.Set) error {
		c.damage()
		return concurrentErr(s.Map(c.bad, nil))
	},
}

func concurrentErr[T any](_ T, err error) error { return err }

func concurrentRemoveLowest(s *pmemset.Set) error {
	p := s.FirstPartMap()
	d := p.Descriptor()
	p.Drop()
	return s.RemoveRange(d.Addr, d.Size)
}

// concurrentActions are what a callback does to its own set, by name.
var concurrentActions = map[string]func(*concurrentCaller, *pmemset.Set) error{
	"map":           func(c *concurrentCaller, s *pmemset.Set) error { return concurrentErr(s.Map(c.plain, nil)) },
	"map and count": func(c *concurrentCaller, s *pmemset.Set) error { return concurrentErr(s.Map(c.counted, nil)) },
	"map the oldest way": func(c *concurrentCaller, s *pmemset.Set) error {
		part, err := pmemset.NewPart(s, c.plain, 0, concurrentPage)
		if err != nil {
			return err
		}
		return concurrentErr(part.Map())
	},
	"remove the last part": func(_ *concurrentCaller, s *pmemset.Set) error { return concurrentRemoveLast(s) },
	"remove everything":    func(_ *concurrentCaller, s *pmemset.Set) error { return s.RemoveRange(0, math.MaxUint64) },
	"look up": func(_ *concurrentCaller, s *pmemset.Set) error {
		for p := s.FirstPartMap(); p != nil; {
			if d := p.Descriptor(); d.Size != 0 {
				q, err := s.PartMapByAddress(d.Addr)
				if err != nil {
					if _, deleted := s.StoreGranularity(); errors.Is(deleted, syscall.EINVAL) {
						return deleted // meanwhile
					}
				}
				if err != nil || !q.Same(p) {
					return errors.New("a part map isn't where it says it is")
				}
				q.Drop()
			}
			next := s.NextPartMap(p)
			p.Drop()
			p = next
		}
		return nil
	},
	"coalesce": func(_ *concurrentCaller, s *pmemset.Set) error {
		return s.SetContiguousPartCoalescing(pmemset.CoalescingOpportunistic)
	},
	"granularity": func(_ *concurrentCaller, s *pmemset.Set) error { return concurrentErr(s.StoreGranularity()) },
	"persist":     func(_ *concurrentCaller, s *pmemset.Set) error { return s.Persist(make([]byte, 8)) },
	"deep flush":  func(_ *concurrentCaller, s *pmemset.Set) error { return s.DeepFlushRange(0, math.MaxUint64) },
	"delete":      func(_ *concurrentCaller, s *pmemset.Set) error { return s.Delete() },
}

func concurrentRemoveLast(s *pmemset.Set) error {
	var p *pmemset.PartMap
	for next := s.FirstPartMap(); next != nil; next = s.NextPartMap(p) {
		p.Drop()
		p = next
	}
	defer p.Drop()
	return s.RemovePartMap(p)
}

// TestConcurrentCallbackReentry has the callback do everything to its own set in each
// kind of event: all of it works, and the call that sent the event as well, unless the
// callback has taken away what it was about.
func TestConcurrentCallbackReentry(t *testing.T) {
	for event, trigger := range concurrentTriggers {
		for name, action := range concurrentActions {
			t.Run(event.String()+"/"+name, func(t *testing.T) {
				c := newConcurrentCaller(t)
				c.hook = func(*pmemset.Set, *pmemset.Event) {}
				set := c.set.Load()
				for range 4 {
					modelMust(set.Map(c.plain, nil))
				}
				calls := 0
				var inside error
				c.hook = func(s *pmemset.Set, e *pmemset.Event) {
					if e.Type != event || calls > 0 {
						return
					}
					calls++
					inside = action(c, s)
				}
				concurrentWithin(time.Minute, func() {
					err := trigger(c, set)
					var allowed []error
					switch {
					case name == "delete":
						allowed = []error{syscall.EINVAL}
					case name == "remove everything" && event == pmemset.EventRemoveRange:
						allowed = []error{pmemset.ErrCannotFindPartMap}
					}
					if err != nil && !slices.ContainsFunc(allowed, func(a error) bool { return errors.Is(err, a) }) {
						t.Errorf("%v: %v", event, err)
					}
				})
				if calls != 1 || inside != nil {
					t.Errorf("the callback has acted %d times: %v", calls, inside)
				}
				if name == "delete" {
					if _, err := set.StoreGranularity(); !errors.Is(err, syscall.EINVAL) {
						t.Errorf("the set that was deleted: %v", err)
					}
				}
				// Whatever has happened, the set, or a new one, works.
				if name == "delete" {
					c.renew()
					set = c.set.Load()
				}
				modelMust(set.Map(c.counted, nil))
				modelMustDo(set.RemoveRange(0, math.MaxUint64))
			})
		}
	}
}

// TestConcurrentCallbacks has many goroutines do the same at the same time; the set is
// deleted now and then.
func TestConcurrentCallbacks(t *testing.T) {
	d := 2 * time.Second
	if testing.Short() {
		d = 300 * time.Millisecond
	}
	c := newConcurrentCaller(t)
	events, actions := concurrentKeys(concurrentTriggers), concurrentKeys(concurrentActions)
	slices.Sort(events)
	slices.Sort(actions)
	c.damage() // which nobody repeats: it would tear pages out of what is mapped
	events = slices.DeleteFunc(events, func(e pmemset.EventType) bool { return e >= pmemset.EventBadBlock })
	var count atomic.Int32 // of the newest shutdown data
	var saving atomic.Bool
	var seen [pmemset.EventBadBlocksCleared + 1]atomic.Int64
	act := func(s *pmemset.Set, r *rand.Rand) error {
		action := actions[r.IntN(len(actions))]
		if action == "delete" {
			if r.IntN(8) != 0 {
				return nil
			}
			c.renew()
		}
		return concurrentActions[action](c, s)
	}
	c.hook = func(s *pmemset.Set, e *pmemset.Event) {
		if e.Type == pmemset.EventSDSUpdate {
			if !saving.CompareAndSwap(false, true) {
				t.Error("two updates of shutdown data at the same time")
			}
			runtime.Gosched()
			count.Store(e.SDS.RefCount)
			saving.Store(false)
		}
		n := seen[e.Type].Add(1)
		if r := rand.New(rand.NewPCG(uint64(e.Type), uint64(n))); r.IntN(3) == 0 { // so it ends
			c.accept(act(s, r))
		}
	}
	if err := concurrentErr(c.set.Load().Map(c.bad, nil)); err != nil {
		t.Errorf("mapping what had a bad block: %v", err)
	}
	concurrentWithin(d+time.Minute, func() {
		end := time.Now().Add(d)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(2, uint64(i)))
				for n := 0; (n < 50 || time.Now().Before(end)) && !t.Failed(); n++ {
					set := c.set.Load()
					if r.IntN(2) == 0 {
						c.accept(concurrentTriggers[events[r.IntN(len(events))]](c, set))
					} else {
						c.accept(act(set, r))
					}
					if r.IntN(20) == 0 { // or there would be too much
						_ = set.RemoveRange(0, math.MaxUint64)
					}
				}
			})
		}
		wg.Wait()
	})
	for e := range seen {
		if n := seen[e].Load(); n == 0 && pmemset.EventType(e) != pmemset.EventPersist {
			t.Errorf("no event %v", pmemset.EventType(e))
		}
	}
	for _, s := range c.sets {
		s.Delete()
	}
	if n := count.Load(); n != 0 {
		t.Errorf("when all sets are deleted the newest shutdown data count %d mappings", n)
	}
}

func concurrentKeys[K comparable, V any](m map[K]V) (ks []K) {
	for k := range m {
		ks = append(ks, k)
	}
	return ks
}

// accept fails the test if err is none that the others at work explain.
func (c *concurrentCaller) accept(err error) {
	for _, ok := range []error{
		nil, syscall.EINVAL, pmemset.ErrPartMapPossibleUseAfterDrop, pmemset.ErrCannotFindPartMap,
		pmemset.ErrNoPartMapped, pmemset.ErrPartNotFound,
	} {
		if errors.Is(err, ok) {
			return
		}
	}
	c.Errorf("%v", err)
}
