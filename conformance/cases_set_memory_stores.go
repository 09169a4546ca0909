package conformance

import (
	"encoding/json"
	"slices"

	"pmemlab/pmem2"
)

const childSetStores = "stores of a set"

// setStoresInChild makes the calls in parts of each generation. What it returns is what
// the machine was asked for, by generation and call.
func setStoresInChild(t *T, args json.RawMessage) any {
	var calls []dataCall
	t.suite(json.Unmarshal(args, &calls), "arguments")
	tr := t.Trace()
	src := pattern(1<<16, 1)
	var seen [][]events
	t.EachGeneration(func(g Generation) {
		sets := map[string]Set{}
		memory := map[string][]byte{}
		var asked []events
		for _, c := range calls {
			if sets[c.Force] == nil {
				t.Force(c.Force)
				set := t.Set()
				_, file := t.SetFile(uint64(len(src)))
				sets[c.Force], memory[c.Force] = set, t.SetMap(g, set, file, 0, 0).Bytes()
			}
			i := slices.IndexFunc(setOps, func(op setOp) bool { return op.name == c.Op })
			if i < 0 {
				t.Brokenf("no operation %q", c.Op)
			}
			op, dst := setOps[i], memory[c.Force][:c.N]
			tr.take()
			t.mustQuietly(op.call(sets[c.Force], dst, src[:c.N:c.N], c.Flags), "%v", c)
			asked = append(asked, tr.take())
			want := make([]byte, c.N)
			op.model(want, src[:c.N:c.N])
			checkBytes(t, dst, want, "the part after %v", c)
		}
		seen = append(seen, asked)
	})
	return seen
}

// setStoresBySize expects copies and sets without a hint to be non-temporal from the
// length on that the library has chosen, or the environment; at BYTE never.
func setStoresBySize(t *T) {
	onX86(t, "non-temporal stores")
	for _, c := range []struct {
		env  []string
		from int
	}{
		{nil, byDefault},
		{[]string{"PMEM_MOVNT_THRESHOLD=1000"}, 1000},
		{[]string{"PMEM_MOVNT_THRESHOLD=0"}, 1},
		{[]string{"PMEM_MOVNT_THRESHOLD=1000000"}, never},
	} {
		var calls []dataCall
		for _, at := range granularities {
			for _, op := range setOps {
				for _, n := range []int{1, 63, 64, 255, 256, 257, 512, 999, 1000, 1001, 4096, 65536} {
					for _, flags := range []pmem2.MemFlags{0, pmem2.MemNoDrain} {
						calls = append(calls, dataCall{at.String(), op.name, flags, n})
					}
				}
			}
		}
		var seen [][]events
		t.Child(childRun{Function: childSetStores, Args: calls, Env: c.env, Value: &seen})
		for i, g := range Generations() {
			checkStoresBySize(t, g, c.env, c.from, calls, seen[i])
		}
	}
}

func checkStoresBySize(t *T, g Generation, env []string, from int, calls []dataCall, seen []events) {
	if from == byDefault {
		from = never
		for i, got := range seen {
			if len(got.of(evCopyNT, evSetNT)) > 0 {
				from = min(from, calls[i].N)
			}
		}
		t.Check(from > 64 && from <= 4096, "without a hint copies are non-temporal from %d bytes on, want more than 64 and not more than 4096", from)
	}
	for i, got := range seen {
		c := calls[i]
		nt := c.N >= from && c.Force != pmem2.GranularityByte.String()
		stores, other := got.of(evCopyNT, evSetNT), got.of(evCopy, evSet)
		t.Check((len(stores) > 0) == nt && (len(other) > 0) == !nt,
			"%s, with %q: %v asks the machine for %v; want non-temporal stores: %t", g.Name(), env, c, got, nt)
	}
	if from < never {
		t.Note("copies and sets without a hint, "+g.Name(), "non-temporal from %d bytes on, but not at BYTE", from)
	}
}
