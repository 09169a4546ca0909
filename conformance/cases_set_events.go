package conformance

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

const eventPage = "pmemset_config_set_event_callback/"

// setEventCases are those of pmemset_config_set_event_callback(3) that are about the
// callback and about the events of the functions that work on memory.
func setEventCases() []Case {
	const page = eventPage
	return []Case{{
		Name: page + "stores the callback",
		Rows: []string{page + "stores-callback"},
		Run:  setCallbackIsStored,
	}, {
		Name: page + "its argument",
		Rows: []string{page + "arg-passed-each-time"},
		Run:  setCallbackArgument,
	}, {
		Name: page + "each event", Needs: []Need{NeedReservation},
		Rows: []string{page + "called-on-each-event", page + "zero-means-success"},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				in := t.Reservation(0, mib)
				set, r := t.SetWithEvents(t.SetConfigIn(in))
				takeSetSteps(t, setSteps(t, g, set, in, r), set, r)
				// The same without a callback.
				set = t.Set(t.SetConfigIn(in))
				takeSetSteps(t, setSteps(t, g, set, in, &SetEvents{}), set, nil)
			})
		},
	}, {
		Name: page + "results that don't count", Needs: []Need{NeedReservation},
		Rows: []string{
			page + "nonzero-only-where-supported", page + "flush-result-ignored",
			page + "drain-result-ignored", page + "copy-result-ignored",
		},
		Run: func(t *T) {
			t.EachGeneration(func(g Generation) {
				in := t.Reservation(0, mib)
				set, r := t.SetWithEvents(t.SetConfigIn(in))
				r.Answer = func(SetEvent) error { return ErrCallback }
				takeSetSteps(t, setSteps(t, g, set, in, r), set, r)
			})
		},
	}, {
		Name: page + "results that don't count, at every granularity",
		Rows: []string{page + "flush-result-ignored", page + "drain-result-ignored", page + "copy-result-ignored"},
		Run:  setResultsAreIgnored,
	}, {
		Name: page + "in the calls alone", Needs: []Need{NeedReservation},
		Rows: []string{page + "only-during-user-calls"},
		Run:  setEventsDuringCalls,
	}, {
		Name: page + "type and data", Needs: []Need{NeedReservation},
		Rows: []string{page + "type-and-union"},
		Run:  func(t *T) { t.EachGeneration(func(g Generation) { setEventData(t, g) }) },
	}, {
		Name: page + "members of the first generation", Needs: []Need{NeedReservation},
		Rows: []string{page + "gen3-context-members"},
		Run:  func(t *T) { t.InGenerations(func(g Generation) { setEventData(t, g) }, PartsAPI) },
	}, {
		Name: page + "members of the second generation", Needs: []Need{NeedReservation},
		Rows: []string{page + "gen2-context-members"},
		Run:  func(t *T) { t.InGenerations(func(g Generation) { setEventData(t, g) }, MapAPI) },
	}, {
		Name: page + "calls at the same time", Needs: []Need{NeedFile},
		Rows: []string{page + "no-thread-safety-of-ctx-data"},
		Run:  setEventsAtOnce,
	}, {
		Name: page + "flush and persist",
		Rows: []string{page + "flush-before-work", page + "flush-carries-addr-len", page + "persist-flush-then-drain"},
		Run:  setEventsOfFlush,
	}, {
		Name: page + "drain",
		Rows: []string{page + "drain-after-work"},
		Run:  setEventsOfDrain,
	}, {
		Name: page + "memory operations",
		Rows: []string{
			page + "copy-move-set-before-work", page + "copy-move-set-carry-arguments",
			page + "single-drain-at-end", page + "no-inner-events",
		},
		Run: setEventsOfStores,
	}}
}

// setStep is a call, what comes of it, and the events that it has.
type setStep struct {
	name   string
	call   func() error
	want   string
	events []string
}

// setSteps are calls of each kind, to be made in that order; the set and the reservation
// that it has are empty. In events R is where the reservation begins, own what is copied
// from, B the second part map.
func setSteps(t *T, g Generation, set Set, in Reservation, names *SetEvents) []setStep {
	removal := func(events ...string) []string {
		if g == PartsAPI { // which has none
			return nil
		}
		return events
	}
	path, src := t.SetFile(192 * kib)
	own := pattern(1000, 3)
	names.Name("R", in.Address())
	names.Name("own", addressOf(own))
	var a, b pmemset.PartDescriptor
	mapAs := func(d *pmemset.PartDescriptor, name string, offset uint64) func() error {
		return func() (err error) {
			*d, err = g.Map(t, set, src, offset, 64*kib)
			names.Name(name, d.Addr)
			return err
		}
	}
	coalesce := func(c pmemset.Coalescing) func() error {
		return func() error { return set.SetContiguousPartCoalescing(c) }
	}
	bytes := func(off, n uint64) []byte { return a.Bytes()[off : off+n] }
	return []setStep{
		{"Map", mapAs(&a, "R", 0), "0", []string{"PART_ADD R 64K"}},
		{"Map(an odd length)", func() error { _, err := g.Map(t, set, src, 0, 64*kib+1); return err }, "PMEMSET_E_LENGTH_UNALIGNED", nil},
		{"Persist", func() error { return set.Persist(bytes(100, 200)) }, "0", []string{"FLUSH R+100 200", "DRAIN"}},
		{"Flush", func() error { return set.Flush(bytes(0, 64*kib)) }, "0", []string{"FLUSH R 64K"}},
		{"Drain", set.Drain, "0", []string{"DRAIN"}},
		{"Memcpy", func() error { return set.Memcpy(bytes(0, 1000), own, 0) }, "0", []string{"COPY R own 1000", "DRAIN"}},
		{"Memmove", func() error { return set.Memmove(bytes(64, 100), bytes(0, 100), pmem2.MemNoDrain) }, "0",
			[]string{"MOVE R+64 R 100 NODRAIN"}},
		{"Memset", func() error { return set.Memset(bytes(kib, 10), 0xee, pmem2.MemNoFlush) }, "0", []string{"SET R+1K 0xee 10 NOFLUSH"}},
		{"Memset(flags that exclude each other)",
			func() error {
				return set.Memset(bytes(0, 10), 1, pmem2.MemTemporal|pmem2.MemNonTemporal)
			}, "-EINVAL", nil},
		{"what was stored", func() error { return setStepsStored(t, a.Bytes(), own, path) }, "0", nil},
		{"DeepFlush", func() error { return set.DeepFlush(bytes(0, 64*kib)) }, "0", nil},
		{"StoreGranularity", func() error { _, err := set.StoreGranularity(); return err }, "0", nil},
		{"look-ups", func() error { t.CheckParts(set, a); return nil }, "0", nil},
		{"SetContiguousPartCoalescing", coalesce(pmemset.CoalescingFull), "0", nil},
		{"Map behind", mapAs(&a, "R", 64*kib), "0", []string{"PART_ADD R 128K"}},
		{"SetContiguousPartCoalescing", coalesce(pmemset.CoalescingNone), "0", nil},
		{"Map another", mapAs(&b, "B", 128*kib), "0", []string{"PART_ADD B 64K"}},
		{"RemoveRange(a part of a part map)", func() error { return set.RemoveRange(a.Addr+64*kib+5, 1) }, "0",
			removal("REMOVE_RANGE R+65541 1")},
		{"RemovePartMap", func() error {
			m, err := set.PartMapByAddress(a.Addr)
			t.mustQuietly(err, "PartMapByAddress()")
			return set.RemovePartMap(m)
		}, "0", removal("PART_REMOVE R 64K")},
		{"RemoveRange", func() error { return set.RemoveRange(b.Addr, b.Size) }, "0", removal("REMOVE_RANGE B 64K", "PART_REMOVE B 64K")},
		{"RemoveRange(nothing there)", func() error { return set.RemoveRange(b.Addr, b.Size) }, "PMEMSET_E_CANNOT_FIND_PART_MAP",
			removal("REMOVE_RANGE B 64K")},
		{"Persist(without parts)", func() error { return set.Persist(own) }, "0", []string{"FLUSH own 1000", "DRAIN"}},
		{"Map again", mapAs(&a, "R", 0), "0", []string{"PART_ADD R 64K"}},
		{"the bytes of the file", func() error { return setStepsStored(t, a.Bytes(), own, path) }, "0", nil},
		{"Delete", set.Delete, "0", nil},
	}
}

// setStepsStored looks for what the steps have stored.
func setStepsStored(t *T, b, own []byte, path string) error {
	want := make([]byte, 2*kib)
	copy(want, own)
	copy(want[64:], own[:100])
	for i := range 10 {
		want[kib+i] = 0xee
	}
	checkBytes(t, b[:2*kib], want, "the part")
	fd := t.Open(t.FileAt(path), 0)
	checkFile(t, fd, 0, want, "the file")
	t.Close(fd)
	return nil
}

// takeSetSteps makes the calls and compares the events, if r isn't nil.
func takeSetSteps(t *T, steps []setStep, set Set, r *SetEvents) {
	for _, s := range steps {
		t.Expect(s.want, s.call(), "%s", s.name)
		if r != nil {
			t.Events(set, r, s.events...)
		}
	}
}

func setCallbackIsStored(t *T) {
	t.EachGeneration(func(g Generation) {
		var first, second SetEvents
		_, src := t.SetFile(64 * kib)
		use := func(set Set) {
			b := t.SetMap(g, set, src, 0, 0).Bytes()
			t.Must(set.Persist(b[:64]), "Persist()")
			t.Must(set.Memset(b[:64], 1, 0), "Memset()")
		}
		told := func(what string, inFirst, inSecond int) {
			a, b := len(first.Take()), len(second.Take())
			t.Note("events to the first and to the second callback, "+what, "%d, %d", a, b)
			t.Check(a == inFirst && b == inSecond, "%s: %d events to the first callback and %d to the second, want %d and %d",
				what, a, b, inFirst, inSecond)
		}
		const all = 5 // PART_ADD, FLUSH, DRAIN, SET, DRAIN
		cfg := t.SetConfig()
		before := t.Set(cfg)
		t.Must(cfg.SetEventCallback(first.take), "SetEventCallback(the first)")
		withFirst := t.Set(cfg)
		t.Must(cfg.SetEventCallback(second.take), "SetEventCallback(the second)")
		withSecond := t.Set(cfg)
		t.Must(cfg.SetEventCallback(nil), "SetEventCallback(none)")
		without := t.Set(cfg)
		t.Must(cfg.SetEventCallback(nil), "SetEventCallback(none) again")
		use(before)
		told("a set made before there was a callback", 0, 0)
		use(withFirst)
		told("a set made with the first", all, 0)
		use(withSecond)
		told("a set made with the second", 0, all)
		use(without)
		told("a set made without", 0, 0)
		t.Delete(cfg)
		use(withFirst)
		told("a set made with the first, whose config is deleted", all, 0)
	})
}

func setCallbackArgument(t *T) {
	t.Note("types", "in Go what a callback needs is in the closure: it is checked that each set calls its own")
	t.EachGeneration(func(g Generation) {
		_, src := t.SetFile(64 * kib)
		got := map[*int][]SetEvent{}
		args := [2]*int{new(int), new(int)}
		sets := map[*int][]Set{}
		for _, arg := range args {
			cfg := t.SetConfig()
			t.Must(cfg.SetEventCallback(func(e SetEvent) error {
				got[arg] = append(got[arg], e)
				return nil
			}), "SetEventCallback()")
			sets[arg] = []Set{t.Set(cfg), t.Set(cfg)}
		}
		for round := range 3 {
			for _, arg := range args {
				for _, set := range sets[arg] {
					clear(got)
					b := t.SetMap(g, set, src, 0, 0).Bytes()
					t.mustQuietly(set.Persist(b[:100]), "Persist()")
					t.mustQuietly(set.Memset(b[:100], byte(round), pmem2.MemNoDrain), "Memset()")
					t.mustQuietly(set.Drain(), "Drain()")
					t.Check(len(got) == 1 && len(got[arg]) == 5, "the events come to %d callbacks, %d to that of the set, want 5", len(got), len(got[arg]))
					for _, e := range got[arg] {
						t.Check(e.Set == set, "the event %v comes with another set", e.Type)
					}
				}
			}
		}
		t.Note("events of four sets with two callbacks", "each to its own, with its set")
	})
}

// setResultsAreIgnored sees that the work is done though the callback says no.
func setResultsAreIgnored(t *T) {
	tr := t.Trace()
	src := pattern(5000, 1)
	t.EachGeneration(func(g Generation) {
		for _, at := range granularities {
			t.Force(at.String())
			set, r := t.SetWithEvents()
			r.Answer = func(SetEvent) error { return ErrCallback }
			_, file := t.SetFile(partSize(t))
			b := t.SetMap(g, set, file, 0, 0).Bytes()[100:5100]
			expect := func(call string, check func(got events), want ...string) {
				check(tr.take())
				var names []string
				for _, e := range r.Take() {
					names = append(names, eventNames[e.Type])
				}
				t.Check(slices.Equal(names, want), "%s: the events are %q, want %q", call, names, want)
			}
			reached := func(call string, drained bool) func(got events) {
				return func(got events) {
					checkReached(t, at, got, b, call)
					if drained {
						checkDrained(t, at, got, call)
					}
				}
			}
			r.Take()
			tr.take()
			t.Must(set.Flush(b), "Flush()")
			expect("Flush", reached("Flush", false), "FLUSH")
			t.Must(set.Drain(), "Drain()")
			expect("Drain", func(got events) { checkDrained(t, at, got, "Drain") }, "DRAIN")
			t.Must(set.Persist(b), "Persist()")
			expect("Persist", reached("Persist", true), "FLUSH", "DRAIN")
			for i, op := range setOps {
				src := pattern(5000, byte(i))
				want := slices.Clone(src)
				op.model(want, src)
				t.Must(op.call(set, b, src, 0), "%s()", op.method)
				expect(op.method, reached(op.method, true), eventNames[op.event], "DRAIN")
				checkBytes(t, b, want, "the part after %s", op.method)
			}
			t.Must(set.Memcpy(b, src, pmem2.MemNoDrain), "Memcpy(NODRAIN)")
			expect("Memcpy(NODRAIN)", reached("Memcpy", false), "COPY")
			checkBytes(t, b, src, "the part after Memcpy")
		}
	})
}

// goroutine names the one that calls.
func goroutine() string {
	b := make([]byte, 64)
	name, _, _ := strings.Cut(string(b[:runtime.Stack(b, false)]), " [")
	return name
}

func setEventsDuringCalls(t *T) {
	t.EachGeneration(func(g Generation) {
		var mu sync.Mutex
		var strays []string
		told := 0
		var calling atomic.Bool
		caller := goroutine()
		in := t.Reservation(0, mib)
		set, r := t.SetWithEvents(t.SetConfigIn(in))
		r.Answer = func(e SetEvent) error {
			mu.Lock()
			defer mu.Unlock()
			told++
			if in := goroutine(); in != caller || !calling.Load() {
				strays = append(strays, fmt.Sprintf("%v in %s, which isn't in a call of the library", e.Type, in))
			}
			return nil
		}
		for _, s := range setSteps(t, g, set, in, r) {
			calling.Store(true)
			err := s.call()
			calling.Store(false)
			t.Expect(s.want, err, "%s", s.name)
		}
		runtime.GC()
		mu.Lock()
		defer mu.Unlock()
		t.Note("events in "+caller, "%d, and %d elsewhere", told, len(strays))
		t.Check(len(strays) == 0, "there was %s", strings.Join(strays, ", "))
		t.Check(told >= 13, "there were %d events", told)
	})
}

// setEventData compares all that events hold: what isn't the event's own is empty.
func setEventData(t *T, g Generation) {
	for i, name := range []string{
		"COPY", "MOVE", "SET", "FLUSH", "DRAIN", "PERSIST", "REMOVE_RANGE", "PART_ADD", "PART_REMOVE", "SDS_UPDATE", "BADBLOCK", "BADBLOCKS_CLEARED",
	} {
		t.Check(eventNames[pmemset.EventType(i)] == name, "event %d is %s, want %s", i, eventNames[pmemset.EventType(i)], name)
	}
	own := t.FileSource(64 * kib)
	src := t.SetSourceOf(own)
	set, r := t.SetWithEvents(t.SetConfigIn(t.Reservation(0, mib)))
	from := pattern(300, 1)
	expect := func(call string, want ...SetEvent) {
		got := r.Take()
		for i := range want {
			want[i].Set = set
		}
		t.Check(slices.Equal(got, want), "%s: the events are %+v, want %+v", call, got, want)
		t.Note(call, "%d events with their data", len(want))
	}
	drain := SetEvent{Type: pmemset.EventDrain}
	for round := range 2 { // without parts, and with one
		b := pattern(4096, 1)
		if round == 1 {
			d := t.SetMap(g, set, src, 0, 0)
			expect("Map", SetEvent{Type: pmemset.EventPartAdd, Addr: d.Addr, Len: d.Size, Added: d, PMem2Source: own})
			b = d.Bytes()
		}
		addr := addressOf(b)
		t.Must(set.Memcpy(b[10:310], from, pmem2.MemNonTemporal), "Memcpy()")
		expect("Memcpy", SetEvent{Type: pmemset.EventCopy, Dst: addr + 10, Src: addressOf(from), Len: 300, Flags: pmem2.MemNonTemporal}, drain)
		t.Must(set.Memmove(b[20:30], b[25:35], pmem2.MemWB|pmem2.MemNoDrain), "Memmove()")
		expect("Memmove", SetEvent{Type: pmemset.EventMove, Dst: addr + 20, Src: addr + 25, Len: 10, Flags: pmem2.MemWB | pmem2.MemNoDrain})
		t.Must(set.Memset(b[:7], 0xfe, pmem2.MemTemporal), "Memset()")
		expect("Memset", SetEvent{Type: pmemset.EventSet, Dst: addr, Value: 0xfe, Len: 7, Flags: pmem2.MemTemporal}, drain)
		t.Must(set.Flush(b[1:100]), "Flush()")
		expect("Flush", SetEvent{Type: pmemset.EventFlush, Addr: addr + 1, Len: 99})
		t.Must(set.Persist(b[2:3]), "Persist()")
		expect("Persist", SetEvent{Type: pmemset.EventFlush, Addr: addr + 2, Len: 1}, drain)
		t.Must(set.Drain(), "Drain()")
		expect("Drain", drain)
	}
	d := t.PartMaps(set)[0]
	t.Must(set.RemoveRange(d.Addr+5, 6), "RemoveRange()")
	if g == PartsAPI {
		expect("RemoveRange")
		return
	}
	expect("RemoveRange", SetEvent{Type: pmemset.EventRemoveRange, Addr: d.Addr + 5, Len: 6},
		SetEvent{Type: pmemset.EventPartRemove, Addr: d.Addr, Len: d.Size})
}

// setEventsAtOnce has goroutines work on memory of their own, of which the callback
// reads and writes what its event is about.
func setEventsAtOnce(t *T) {
	const workers, rounds, size = 4, 50, 1000
	t.EachGeneration(func(g Generation) {
		for _, mapped := range []bool{false, true} {
			var mu sync.Mutex
			var memory []byte
			regions := map[uintptr]int{} // of each destination its worker
			var wrong []string
			counts := map[pmemset.EventType]int{}
			set, r := t.SetWithEvents()
			r.Answer = func(e SetEvent) error {
				mu.Lock()
				counts[e.Type]++
				worker, known := regions[e.Dst]
				mu.Unlock()
				if e.Type == pmemset.EventSet && known {
					b := memory[worker*size:][:size]
					if b[0] != 0 || e.Value != byte(worker+1) || e.Len != size {
						mu.Lock()
						wrong = append(wrong, fmt.Sprintf("SET of worker %d: value %d, %d bytes, found %d", worker, e.Value, e.Len, b[0]))
						mu.Unlock()
					}
					b[size-1] = 0xff // it is the worker's goroutine
				}
				return nil
			}
			memory = make([]byte, workers*size)
			added := 0
			if mapped {
				_, src := t.SetFile(64 * kib)
				memory = t.SetMap(g, set, src, 0, 0).Bytes()
				added = 1
			}
			for w := range workers {
				regions[addressOf(memory[w*size:])] = w
			}
			errs := make([]error, workers)
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					b := memory[w*size:][:size]
					for range rounds {
						clear(b)
						if err := set.Memset(b, byte(w+1), pmem2.MemNoDrain); err != nil {
							errs[w] = err
						}
						if b[0] != byte(w+1) || b[size-1] != byte(w+1) {
							errs[w] = fmt.Errorf("the bytes are %d and %d", b[0], b[size-1])
						}
						if err := set.Persist(b); err != nil {
							errs[w] = err
						}
					}
				})
			}
			wg.Wait()
			for w, err := range errs {
				t.Check(err == nil, "worker %d: %v", w, err)
			}
			t.Check(wrong == nil, "%v", wrong)
			want := map[pmemset.EventType]int{
				pmemset.EventSet: workers * rounds, pmemset.EventFlush: workers * rounds, pmemset.EventDrain: workers * rounds,
				pmemset.EventPartAdd: added,
			}
			for kind, n := range want {
				t.Check(counts[kind] == n, "there were %d events %v, want %d", counts[kind], kind, n)
			}
			t.Note("goroutines on memory of their own", "%d, with %d calls each; a part is mapped: %t", workers, 2*rounds, mapped)
		}
	})
}
