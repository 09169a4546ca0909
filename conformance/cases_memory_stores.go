package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// What the library is told by its environment when it's loaded: which instructions
// flush, and which stores copies and sets are made of. What is seen here is which of
// the machine's routines run, and the instruction that the machine names.

const childDataPath = "data path"

// dataCall is a call that dataPathInChild makes.
type dataCall struct {
	Force string // PMEM2_FORCE_GRANULARITY
	Op    string // "flush", "persist", or the name of one of memoryOps
	Flags pmem2.MemFlags
	N     int // bytes, from the beginning of the map
}

func (c dataCall) String() string {
	s := fmt.Sprintf("%s of %d bytes", c.Op, c.N)
	if c.Flags != 0 {
		s += ", " + flagsName(c.Flags)
	}
	return s + " at " + c.Force
}

// dataPathSeen is what a child has seen.
type dataPathSeen struct {
	Events []events // of each call
	// PlainNT tells whether the machine says that its CopyNT and SetNT, at each
	// granularity, do without non-temporal stores.
	PlainNT [pmem2.GranularityPage + 1]bool
}

// dataPathInChild makes dataCalls in a map of its own.
func dataPathInChild(t *T, args json.RawMessage) any {
	var calls []dataCall
	t.suite(json.Unmarshal(args, &calls), "arguments")
	// It's too late to say this.
	for _, name := range []string{"PMEM_NO_CLWB", "PMEM_NO_CLFLUSHOPT", "PMEM_NO_MOVNT", "PMEM_MOVNT_THRESHOLD"} {
		value := "1"
		if os.Getenv(name) == "1" {
			value = "0"
		}
		t.suite(os.Setenv(name, value), "set %s", name)
	}
	tr := t.Trace()
	src := pattern(1<<17, 1)
	maps := map[string]Map{}
	var seen dataPathSeen
	for _, c := range calls {
		if maps[c.Force] == nil {
			t.Force(c.Force)
			maps[c.Force] = t.MapAs(mapSpec{}, t.FileSource(uint64(len(src))))
		}
		m := maps[c.Force]
		dst := m.Bytes()[:c.N]
		tr.take()
		var err error
		switch i := slices.IndexFunc(memoryOps, func(op memoryOp) bool { return op.name == c.Op }); {
		case i >= 0:
			op := memoryOps[i]
			err = op.call(m, dst, src[:c.N], c.Flags)
			want := make([]byte, c.N)
			op.model(want, src[:c.N])
			checkBytes(t, dst, want, "the map after %v", c)
		case c.Op == "flush":
			err = m.Flush(dst)
		case c.Op == "persist":
			err = m.Persist(dst)
		default:
			t.Brokenf("no operation %q", c.Op)
		}
		t.mustQuietly(err, "%v", c)
		seen.Events = append(seen.Events, tr.take())
	}
	t.Note("flush, persist, copies and sets", "%d calls", len(calls))
	with, err := platform.NewHost(platform.Settings{})
	t.suite(err, "machine")
	without, err := platform.NewHost(platform.Settings{NoMOVNT: true})
	t.suite(err, "machine")
	for _, g := range granularities {
		ops, with, without := t.Machine().CacheOps(g), with.CacheOps(g), without.CacheOps(g)
		same := sameCode(with.CopyNT, without.CopyNT) || sameCode(with.SetNT, without.SetNT)
		if same || !with.NonTemporal || without.NonTemporal {
			t.Brokenf("the routines of machines with and without non-temporal stores can't be told apart at %v", g)
		}
		seen.PlainNT[g] = !ops.NonTemporal
	}
	return seen
}

// sameCode reports whether two functions have the same code.
func sameCode(f, g any) bool { return reflect.ValueOf(f).Pointer() == reflect.ValueOf(g).Pointer() }

// dataPath makes calls in a child process with these variables of the environment.
func dataPath(t *T, env []string, calls []dataCall) (seen dataPathSeen) {
	if t.unseen() {
		runtime.Goexit()
	}
	t.Child(childRun{Function: childDataPath, Args: calls, Env: env, Value: &seen})
	if len(seen.Events) != len(calls) {
		t.Brokenf("%d calls have %d results", len(calls), len(seen.Events))
	}
	return seen
}

// Thresholds: no length reaches it; the library's own, which no page tells, somewhere
// above a cache line and not above a page. (C's is 256.)
const (
	never     = 1 << 30
	byDefault = -1
)

// storesBySize expects, in a process with env, that copies and sets without a hint
// are non-temporal from a length on at these granularities, and that hints win.
func storesBySize(t *T, env []string, from int, at ...pmem2.Granularity) {
	onX86(t, "non-temporal stores")
	lengths := []int{1, 7, 8, 63, 64, 100, 255, 256, 257, 319, 320, 511, 512, 1024, 4096, 65536, from - 1, from, from + 1}
	lengths = slices.DeleteFunc(lengths, func(n int) bool { return n < 1 || n > 1<<17 })
	slices.Sort(lengths)
	lengths = slices.Compact(lengths)
	var calls []dataCall
	for _, g := range at {
		for _, op := range memoryOps {
			for _, n := range lengths {
				for _, flags := range []pmem2.MemFlags{0, pmem2.MemNoDrain, pmem2.MemTemporal, pmem2.MemNonTemporal} {
					calls = append(calls, dataCall{g.String(), op.name, flags, n})
				}
			}
		}
	}
	seen := dataPath(t, env, calls)
	if from == byDefault {
		for i, got := range seen.Events {
			if calls[i].Flags == 0 && len(got.of(evCopyNT, evSetNT)) > 0 {
				from = calls[i].N
				break
			}
		}
		t.Check(from > 64 && from <= 4096, "without a hint copies are non-temporal from %d bytes on, want more than 64 and not more than 4096", from)
	}
	for i, got := range seen.Events {
		c := calls[i]
		nt := c.N >= from
		switch {
		case c.Flags&temporalFlags != 0:
			nt = false
		case c.Flags&nonTemporalFlags != 0:
			nt = true
		}
		stores, other := got.of(evCopyNT, evSetNT), got.of(evCopy, evSet)
		t.Check((len(stores) > 0) == nt && (len(other) > 0) == !nt,
			"with %q %v asks the machine for %v; want non-temporal stores: %t", env, c, got, nt)
	}
	for _, g := range at {
		t.Check(!seen.PlainNT[g], "with %q the machine has no non-temporal stores at %v", env, g)
	}
	t.Note("copies and sets without a hint", "non-temporal from %d bytes on at %v", from, at)
}

// noNonTemporal expects that a process with env has no non-temporal store.
func noNonTemporal(t *T, env ...string) {
	onX86(t, "non-temporal stores")
	var calls []dataCall
	for _, g := range granularities {
		for _, op := range memoryOps {
			for _, n := range []int{1, 8, 64, 100, 255, 256, 4096, 65536} {
				for _, flags := range []pmem2.MemFlags{0, pmem2.MemNonTemporal, pmem2.MemWC} {
					calls = append(calls, dataCall{g.String(), op.name, flags, n})
				}
			}
		}
	}
	seen := dataPath(t, env, calls)
	for i, got := range seen.Events {
		c := calls[i]
		nt := got.of(evCopyNT, evSetNT)
		t.Check(len(nt) == 0 || c.Flags != 0, "with %q %v asks the machine for %v", env, c, got)
		// A library may leave it to the machine's routine, if that does without.
		for _, e := range nt {
			t.Check(seen.PlainNT[e.Granularity], "with %q %v has non-temporal stores: %v", env, c, got)
		}
	}
	for _, g := range granularities {
		t.Check(seen.PlainNT[g], "with %q the machine has non-temporal stores at %v", env, g)
	}
	t.Note("copies and sets of 1 to 65536 bytes", "no non-temporal store")
}

// flushesBy expects every flush of a process with env to be made by one instruction.
func flushesBy(t *T, want string, env ...string) {
	const line = "CACHE_LINE"
	calls := []dataCall{{line, "flush", 0, 1}}
	for _, n := range []int{1, 64, 100, 255, 256, 4096, 65536} {
		calls = append(calls, dataCall{line, "flush", 0, n}, dataCall{line, "persist", 0, n})
		for _, op := range memoryOps {
			calls = append(calls, dataCall{line, op.name, 0, n}, dataCall{line, op.name, pmem2.MemTemporal, n})
		}
	}
	seen := dataPath(t, env, calls)
	for i, got := range seen.Events {
		c := calls[i]
		flushes := got.of(evFlush)
		if c.Op == "flush" || c.Op == "persist" || c.Flags == pmem2.MemTemporal {
			t.Check(len(flushes) > 0, "with %q %v flushes nothing: %v", env, c, got)
		}
		for _, e := range flushes {
			t.Check(e.By == want, "with %q %v flushes by %s, want %s", env, c, e.By, want)
		}
	}
	t.Note("flush, persist, copies and sets of 1 to 65536 bytes", "every flush by %s", want)
}
