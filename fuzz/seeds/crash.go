package seeds

import (
	"pmemlab/fuzz"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// crashSeeds are the inputs of the target Crash: what is stored through one map or set, and
// what makes it durable.
func crashSeeds(t Trace) (seeds []seed, err error) {
	type owner struct {
		set bool
		n   Object
	}
	steps := map[owner][]fuzz.CrashSeedStep{}
	granularity := map[owner]pmem2.Granularity{}
	var order []owner
	for _, c := range t.Calls {
		st := fuzz.CrashSeedStep{Offset: offsetIn(c.Of, c.Addr), Length: c.Length}
		switch c.Op {
		case Memmove, Memcpy, Memset:
			st.Kind = model.CrashCopy
			if c.Flags&pmem2.MemNonTemporal != 0 {
				st.Kind = model.CrashCopyNT
			}
		case Flush:
			st.Kind = model.CrashFlush
		case Persist:
			st.Kind = model.CrashPersist
		case Drain:
			st.Kind, st.Offset, st.Length = model.CrashFence, 0, 0
		case DeepFlush:
			st.Kind = model.CrashMsync
		default:
			continue
		}
		if c.Length == 0 {
			st.Offset = 0
		}
		o := owner{c.Of.Set, c.On}
		if steps[o] == nil {
			order = append(order, o)
		}
		steps[o] = append(steps[o], st)
		if granularity[o] = c.Of.Granularity; !c.OK {
			granularity[o] = pmem2.GranularityCacheLine
		}
	}
	for _, o := range order {
		stores := false
		for _, st := range steps[o] {
			stores = stores || st.Kind == model.CrashCopy || st.Kind == model.CrashCopyNT
		}
		if stores && len(steps[o]) > 1 {
			seeds = append(seeds, seed{"Crash", fuzz.CrashSeed(granularity[o], steps[o])})
		}
	}
	return seeds, nil
}
