package pmemset_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmemset"
)

// sdsRows is what follows from the data of a source: whether they name the device it
// lies on, and its count, how many mappings they record, and whether the source has
// some in this process.
var sdsRows = []struct {
	sameDevice, sameCount bool
	refs                  int32
	live                  bool
	want                  pmemset.PartState
	id                    string // recorded while it is mapped
	usc                   uint64
}{
	{true, true, 0, false, pmemset.PartStateOK, scenePmemID, scenePmemUSC},
	{true, true, 0, true, pmemset.PartStateOK, scenePmemID, scenePmemUSC},
	{true, true, 1, true, pmemset.PartStateOKButAlreadyOpen, scenePmemID, scenePmemUSC},
	{true, true, 1, false, pmemset.PartStateOKButInterrupted, scenePmemID, scenePmemUSC},
	{true, true, 3, true, pmemset.PartStateOKButAlreadyOpen, scenePmemID, scenePmemUSC},
	{true, true, math.MaxInt32 - 1, false, pmemset.PartStateOKButInterrupted, scenePmemID, scenePmemUSC},
	{true, false, 0, false, pmemset.PartStateOK, scenePmemID, scenePmemUSC},
	{true, false, 0, true, pmemset.PartStateOK, scenePmemID, scenePmemUSC},
	{true, false, 1, false, pmemset.PartStateCorrupted, scenePmemID, 7},
	{true, false, 1, true, pmemset.PartStateCorrupted, scenePmemID, 7},
	{false, true, 0, false, pmemset.PartStateOK, scenePmemID, scenePmemUSC},
	{false, true, 0, true, pmemset.PartStateOK, scenePmemID, scenePmemUSC},
	{false, false, 0, false, pmemset.PartStateOK, scenePmemID, scenePmemUSC},
	{false, false, 0, true, pmemset.PartStateOK, scenePmemID, scenePmemUSC},
	{false, true, 1, false, pmemset.PartStateIndeterminate, sceneOtherID, scenePmemUSC},
	{false, true, 1, true, pmemset.PartStateIndeterminate, sceneOtherID, scenePmemUSC},
	{false, false, 1, false, pmemset.PartStateIndeterminate, sceneOtherID, 7},
	{false, false, 2, true, pmemset.PartStateIndeterminate, sceneOtherID, 7},
}

// The state of a source, refused or accepted, and what is recorded then.
func TestSDSStates(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		for _, row := range sdsRows {
			sds := sceneSDS(sceneOtherID, 7, row.refs)
			if row.sameDevice {
				sds = sceneSDS(scenePmemID, 7, row.refs)
			}
			if row.sameCount {
				sds.USC = scenePmemUSC
			}
			for _, acceptable := range []pmemset.PartState{row.want, sceneAllStates, sceneAllStates &^ row.want, 0} {
				s.Run(fmt.Sprintf("%+v accepting %v", row, acceptable), func(t *testing.T) {
					outer := s.T
					s.T = t
					defer func() { s.T = outer }()
					s.judges(sds, row.live, row.want, acceptable, sceneSDS(row.id, row.usc, row.refs))
				})
			}
		}
	})
}

// judges maps a source with these data and compares the state, and the data as they
// are recorded then but for the one mapping.
func (s *scenePmem) judges(sds pmemset.SDS, live bool, want, acceptable pmemset.PartState, recorded pmemset.SDS) {
	s.Helper()
	set, src := s.set(nil, s.accepting(acceptable)), s.newSource()
	if live { // mapped before it has such data, which never count this
		s.maps(set, src, 0, 4*sceneK)
	}
	s.sent()
	state := s.sds(src, sds)
	if acceptable&want == 0 {
		s.refuses("UNDESIRABLE_PART_STATE", set, src, 0, 64*sceneK)
		s.state(state, want)
		s.events()
		return
	}
	s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
	s.state(state, want)
	mapped := recorded
	mapped.RefCount++
	if got := s.stored(); got != mapped {
		s.Errorf("mapped: %d %d, want %d %d", got.USC, got.RefCount, mapped.USC, mapped.RefCount)
	}
	s.removesAt(set, s.bases["A"])
	if got := s.stored(); got != recorded {
		s.Errorf("unmapped: %d %d, want %d %d", got.USC, got.RefCount, recorded.USC, recorded.RefCount)
	}
	s.must(set.Delete())
	text := "SDS_UPDATE " + strings.TrimRight(string(mapped.ID[:]), "\x00")
	s.events("PART_ADD A 64K", fmt.Sprint(text, " ", mapped.USC, " ", mapped.RefCount),
		"PART_REMOVE A 64K", fmt.Sprint(text, " ", mapped.USC, " ", recorded.RefCount))
}

// A count that can't rise refuses the mapping, and stays.
func TestSDSCountIsFull(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil, s.accepting(sceneAllStates)), s.newSource()
		state := s.sds(src, sceneSDS(scenePmemID, scenePmemUSC, math.MaxInt32-1))
		d := s.maps(set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOKButInterrupted)
		s.sent()
		s.refuses("EOVERFLOW", set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOKButAlreadyOpen)
		s.removesAt(set, d.Addr)
		if got := s.stored().RefCount; got != math.MaxInt32-1 {
			s.Errorf("%d mappings recorded, want %d", got, math.MaxInt32-1)
		}
	})
}

// Data are set once, need no variable for the state, and not the program's struct.
func TestSDSSetOnce(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil), s.newSource()
		sds := sceneSDS(scenePmemID, 3, 0)
		s.must(src.SetSDS(sds, nil))
		sds.RefCount = 9
		var state pmemset.PartState
		s.outcome("the second SetSDS", src.SetSDS(sceneSDS(scenePmemID, 10, 1), &state), "SDS_ALREADY_SET")
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
		s.outcome("SetSDS of a mapped source", src.SetSDS(pmemset.SDS{}, &state), "SDS_ALREADY_SET")
		s.events("PART_ADD A 64K", "SDS_UPDATE "+scenePmemID+" 10 1")
		s.state(&state, 0)

		// The callback may do with its copy as it likes.
		s.hook = func(_ *pmemset.Set, e *pmemset.Event) error {
			if e.SDS != nil {
				*e.SDS = pmemset.SDS{RefCount: 77}
			}
			return nil
		}
		s.maps(set, src, 0, 64*sceneK)
		s.hook = nil
		s.maps(set, src, 0, 64*sceneK)
		if got := s.stored().RefCount; got != 3 {
			s.Errorf("%d mappings recorded, want 3", got)
		}

		for _, src := range []*pmemset.Source{nil, {}, s.newSource()} {
			s.must(src.Delete())
			s.outcome("SetSDS of a source that can't be used", src.SetSDS(sds, &state), "EINVAL")
		}
	})
}

// What a program finds at its next start, which has stored what each event carried.
func TestSDSNextStart(t *testing.T) {
	for _, tc := range []struct {
		name  string
		clean bool             // everything was unmapped
		next  func(*scenePmem) // before the next start
		moved bool             // and it lies on another device then
		want  pmemset.PartState
	}{
		{name: "clean", clean: true, want: pmemset.PartStateOK},
		{name: "clean, unsafe shutdown later", clean: true, next: func(s *scenePmem) { s.count(12) }, want: pmemset.PartStateOK},
		{name: "clean, moved", clean: true, moved: true, want: pmemset.PartStateOK},
		{name: "power failure that the hardware survives", want: pmemset.PartStateOKButInterrupted},
		{name: "unsafe shutdown", next: func(s *scenePmem) { s.count(11) }, want: pmemset.PartStateCorrupted},
		{name: "count lowered", next: func(s *scenePmem) { s.count(9) }, want: pmemset.PartStateCorrupted},
		{name: "moved", moved: true, want: pmemset.PartStateIndeterminate},
		{name: "unsafe shutdown, moved", next: func(s *scenePmem) { s.count(11) }, moved: true, want: pmemset.PartStateIndeterminate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sceneOnPmem(t, "G3", func(s *scenePmem) {
				set, src := s.set(nil), s.newSource()
				s.sds(src, pmemset.SDS{})
				s.maps(set, src, 0, 64*sceneK)
				s.maps(set, src, 64*sceneK, 64*sceneK)
				if tc.clean {
					s.must(set.Delete())
				}
				stored := s.stored()
				if tc.next != nil {
					tc.next(s)
				}
				path := s.path
				if tc.moved {
					path = s.other()
				}
				s.sent()

				set, src = s.set(nil), s.fixed(path)
				state := s.sds(src, stored)
				_, err := s.mapAt(set, src, 0, 64*sceneK)
				s.state(state, tc.want)
				if tc.want == pmemset.PartStateOK {
					s.outcome("mapping", err, "0")
					return
				}
				s.outcome("mapping", err, "UNDESIRABLE_PART_STATE")
				s.events()

				// Once it has recovered the data, the program says that nothing is mapped.
				stored.RefCount = 0
				src = s.fixed(path)
				state = s.sds(src, stored)
				s.maps(set, src, 0, 64*sceneK)
				s.state(state, pmemset.PartStateOK)
				if got := s.stored().RefCount; got != 1 {
					s.Errorf("%d mappings recorded, want 1", got)
				}
			})
		})
	}
}

// Each source of a file has a count of its own.
func TestSDSSourcesOfOneFile(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set := s.set(nil)
		var sources []*pmemset.Source
		for i := range 3 {
			src := s.newSource()
			state := s.sds(src, pmemset.SDS{})
			for j := range i + 1 {
				s.maps(set, src, 0, 64*sceneK)
				want := pmemset.PartStateOKButAlreadyOpen
				if j == 0 {
					want = pmemset.PartStateOK
				}
				s.state(state, want)
				if got := s.stored().RefCount; got != int32(j+1) {
					s.Errorf("source %d, mapping %d: %d recorded", i, j, got)
				}
			}
			sources = append(sources, src)
		}
		s.sent()
		s.must(set.Delete())
		last := map[*pmemset.Source]int32{}
		for _, e := range s.log {
			if before, seen := last[e.Source]; seen && e.SDS.RefCount != before-1 {
				s.Errorf("%d mappings are recorded after %d", e.SDS.RefCount, before)
			}
			last[e.Source] = e.SDS.RefCount
		}
		for i, src := range sources {
			if n, ok := last[src]; n != 0 || !ok {
				s.Errorf("source %d: %d recorded at the end", i, n)
			}
		}
	})
}

// Mappings of one source count together, whatever the set.
func TestSDSOneSourceInTwoSets(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		one, two, src := s.set(nil), s.set(nil), s.newSource()
		state := s.sds(src, pmemset.SDS{})
		s.mapsAt("A: 64K", one, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOK)
		s.mapsAt("B: 64K", two, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOKButAlreadyOpen)
		s.must(one.Delete())
		s.mapsAt("C: 64K", two, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOKButAlreadyOpen)
		s.removesAt(two, s.bases["B"])
		s.must(two.Delete())
		update := "SDS_UPDATE " + scenePmemID + " 10 "
		s.events(
			"PART_ADD A 64K", update+"1", "PART_ADD B 64K", update+"2", update+"1",
			"PART_ADD C 64K", update+"2", "PART_REMOVE B 64K", update+"1", update+"0")
	})
}

// A source whose data are known and one without in one part map: each removal counts
// where it belongs.
func TestSDSBesideOthers(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src, plain := s.set(nil), s.newSource(), s.newSource()
		s.coalescing(set, pmemset.CoalescingFull)
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK) // before it has data
		state := s.sds(src, sceneSDS(scenePmemID, scenePmemUSC, 5))
		s.mapsAt("A 128K", set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOKButAlreadyOpen)
		s.mapsAt("A 192K", set, plain, 0, 64*sceneK)
		s.mapsAt("A 256K", set, src, 0, 64*sceneK)
		s.sent()
		update := "SDS_UPDATE " + scenePmemID + " 10 "
		s.removes("0", set, s.bases["A"]+64*sceneK, 128*sceneK)
		s.events("REMOVE_RANGE A+64K 128K", update+"6")
		s.removes("0", set, s.bases["A"], 1)
		s.events("REMOVE_RANGE A 1", "PART_REMOVE A 64K")
		s.removes("0", set, s.bases["A"]+192*sceneK, 1)
		s.events("REMOVE_RANGE A+192K 1", "PART_REMOVE A+192K 64K", update+"5")
		// Nothing of it is mapped any more.
		s.refuses("UNDESIRABLE_PART_STATE", set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOKButInterrupted)
	})
}

// Device data that can't be read leave the state alone.
func TestSDSUnreadable(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		set, src := s.set(nil, s.accepting(sceneAllStates)), s.newSource()
		state := s.sds(src, pmemset.SDS{})
		sysfs := s.emu.Sysfs()
		count, id := s.dimms[0]+"/nfit/dirty_shutdown", s.dimms[1]+"/nfit/id"
		for _, tc := range []struct {
			edit func() error
			want string
		}{
			{func() error { return sysfs.Fail(count, syscall.EIO) }, "EIO"},
			{func() error { return errors.Join(sysfs.Fail(count, 0), sysfs.Set(count, "many\n")) }, "EINVAL"},
			{func() error { return sysfs.Set(count, "18446744073709551615\n") }, "ERANGE"},
			{func() error { return sysfs.Remove(count) }, "SDS_NOSUPP"},
			{func() error { return errors.Join(sysfs.Set(count, "4\n"), sysfs.Fail(id, syscall.EACCES)) }, "EACCES"},
			{func() error { return errors.Join(sysfs.Fail(id, 0), sysfs.Remove(id)) }, "SDS_NOSUPP"},
			{func() error { return sysfs.Set(id, strings.Repeat("x", 500)+"\n") }, "SDS_DEVICE_ID_LEN_TOO_BIG"}, // 13 before it
		} {
			s.must(tc.edit())
			*state = 77
			s.refuses(tc.want, set, src, 0, 64*sceneK)
			s.state(state, 77)
		}
		s.events()
		s.must(sysfs.Set(id, strings.Repeat("x", 499)+"\n"))
		s.maps(set, src, 0, 64*sceneK)
		s.state(state, pmemset.PartStateOK)
		if got, want := s.stored(), sceneSDS("8680-56341200"+strings.Repeat("x", 499), 10, 1); got != want {
			s.Errorf("stored: %q %d %d", got.ID[:], got.USC, got.RefCount)
		}
	})
}

// Counts of several threads come in the order of their changes: what is stored last is
// true.
func TestSDSOrderOfUpdates(t *testing.T) {
	sceneOnPmem(t, "G3", func(s *scenePmem) {
		const threads, rounds = 8, 25
		src := s.newSource()
		s.must(src.SetSDS(pmemset.SDS{}, nil))
		var mu sync.Mutex
		var counts []int32
		s.hook = func(_ *pmemset.Set, e *pmemset.Event) error {
			if e.Type != pmemset.EventSDSUpdate {
				return nil
			}
			for range 3 {
				runtime.Gosched() // what comes later may overtake
			}
			mu.Lock()
			counts = append(counts, e.SDS.RefCount)
			mu.Unlock()
			return nil
		}
		sets := []*pmemset.Set{s.set(nil), s.set(nil)}
		all := make([][]pmemset.PartDescriptor, threads)
		phase := func(work func(thread int) error) []int32 {
			s.Helper()
			counts = nil
			var group sync.WaitGroup
			failures := make([]error, threads)
			for i := range threads {
				group.Go(func() { failures[i] = work(i) })
			}
			group.Wait()
			s.must(errors.Join(failures...))
			return counts
		}
		expect := func(what string, got []int32, n int, last int32, ordered func(a, b int32) bool) {
			s.Helper()
			if len(got) != n || got[n-1] != last {
				s.Fatalf("%s: %d updates, the last with %v, want %d and %d", what, len(got), got[max(0, len(got)-1):], n, last)
			}
			for i := 1; i < n && ordered != nil; i++ {
				if !ordered(got[i-1], got[i]) {
					s.Errorf("%s: an update with %d follows one with %d", what, got[i], got[i-1])
				}
			}
		}
		up := func(a, b int32) bool { return a <= b }
		down := func(a, b int32) bool { return a >= b }

		got := phase(func(i int) error {
			for range rounds {
				d, err := s.mapAt(sets[i%2], src, 0, 4*sceneK)
				if err != nil {
					return err
				}
				all[i] = append(all[i], d)
			}
			return nil
		})
		expect("mapping", got, threads*rounds, threads*rounds, up)
		got = phase(func(i int) error {
			for _, d := range all[i] {
				if err := sets[i%2].RemoveRange(d.Addr, d.Size); err != nil {
					return err
				}
			}
			return nil
		})
		expect("removing", got, threads*rounds, 0, down)
		got = phase(func(i int) error {
			for range rounds {
				d, err := s.mapAt(sets[i%2], src, 0, 4*sceneK)
				if err == nil {
					err = sets[i%2].RemoveRange(d.Addr, d.Size)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		expect("both", got, 2*threads*rounds, 0, nil)
		for _, n := range got {
			if n < 0 || n > threads {
				s.Errorf("both: an update with %d", n)
			}
		}
	})
}

// An unsafe shutdown of any NVDIMM counts, also of more than 32 bits together.
func TestSDSCountsAllDIMMs(t *testing.T) {
	sceneEmulated(t, "G3", func(s *scene) {
		dimms := []emu.DIMM{{ID: "8680-00000001", DirtyShutdowns: math.MaxUint32}, {ID: "8680-00000002", DirtyShutdowns: 1}}
		dax := s.emu.AddDevDax(emu.DevDax{Size: 4 * sceneM, Region: emu.Region{DIMMs: dimms}})
		fd := s.open(dax.Path(), syscall.O_RDWR)
		defer s.machine.Close(fd)
		lower, err := pmem2.SourceFromFD(fd, pmem2.On(s.machine))
		s.must(err)
		for i, usc := range []uint64{1 << 32, 1<<32 + 1} {
			src, err := pmemset.SourceFromPMem2(lower)
			s.must(err)
			state := s.sds(src, sceneSDS("8680-000000018680-00000002", 1<<32, 1))
			set := s.set(nil, s.accepting(sceneAllStates))
			d := s.maps(set, src, 0, 2*sceneM)
			s.state(state, []pmemset.PartState{pmemset.PartStateOKButInterrupted, pmemset.PartStateCorrupted}[i])
			if n, err := lower.DeviceUSC(); n != usc || err != nil {
				s.Errorf("the device's count is %d, %v, want %d", n, err, usc)
			}
			s.removesAt(set, d.Addr)
			s.keep(src)
			s.must(s.emu.Sysfs().Set(dax.DIMMPaths()[1]+"/nfit/dirty_shutdown", "2\n"))
		}
	})
}

func TestPartStateString(t *testing.T) {
	for state, want := range map[pmemset.PartState]string{
		0: "none", 1: "INDETERMINATE", 2: "OK", 4: "OK_BUT_ALREADY_OPEN", 8: "OK_BUT_INTERRUPTED", 16: "CORRUPTED",
		2 | 4: "OK|OK_BUT_ALREADY_OPEN", 1 | 16: "INDETERMINATE|CORRUPTED", 32: "invalid bits", 2 | 64: "OK|invalid bits",
		1 << 63: "invalid bits",
	} {
		if got := state.String(); got != want {
			t.Errorf("%d: got %q, want %q", uint64(state), got, want)
		}
	}
}

// A count that no event can have told is refused, and leaves the source without one.
func TestSDSNegativeCount(t *testing.T) {
	m := emu.NewMachine(emu.Config{})
	fs := m.AddFS(emu.FS{Size: 1 << 30, DAX: true})
	src, err := pmemset.XSourceFromFile(fs.Path("f"), pmemset.SourceFileCreateIfNeeded, pmemset.On(m))
	if err != nil {
		t.Fatal(err)
	}
	for _, count := range []int32{-1, math.MinInt32} {
		if err := src.SetSDS(pmemset.SDS{RefCount: count}, nil); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d: got %v, want EINVAL", count, err)
		}
	}
	if err := src.SetSDS(pmemset.SDS{}, nil); err != nil {
		t.Errorf("after that: %v", err)
	}
	if err := errors.Join(src.Delete(), m.Shutdown()); err != nil {
		t.Error(err)
	}
}
