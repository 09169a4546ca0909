package seeds

import (
	"pmemlab/fuzz"
	"pmemlab/fuzz/model"
)

// flushSeeds are the inputs of the target Flush.
func flushSeeds(t Trace) (seeds []seed, err error) {
	ops := map[Op]model.FlushOp{
		Flush: model.CallFlush, Persist: model.CallPersist, Drain: model.CallDrain, DeepFlush: model.CallDeepFlush,
	}
	for _, c := range t.Calls {
		op, ok := ops[c.Op]
		if !ok {
			continue
		}
		f := fuzz.FlushSeed{
			Op: op, Set: c.Of.Set, Existing: c.Of.Existing, Gone: c.Of.Gone, Function: c.Of.Function, Kind: c.Of.Kind,
			Granularity: c.Of.Granularity, Size: c.Of.Size, Offset: offsetIn(c.Of, c.Addr), Length: c.Length, Sync: c.Of.Sync,
		}
		if end := c.Addr + c.Length; c.Length >= 1<<47 && end+1<<20 < 2<<20 { // to the end of all addresses
			f.Length = end - f.Offset
		}
		if op == model.CallDrain {
			f.Offset, f.Length = 0, 0
		}
		if c.Length == 0 && op != model.CallDeepFlush { // a slice of nothing has any address
			f.Offset = 0
		}
		seeds = append(seeds, seed{"Flush", f.Input()})
	}
	return seeds, nil
}

// offsetIn is where an address is in a map, or beside it. Any other is luck: it becomes one a
// page behind the map, or one that nothing is at.
func offsetIn(of Memory, addr uint64) uint64 {
	const page, beside = 4096, 16 << 12
	switch offset := addr - of.Addr; {
	case offset+beside <= of.Size+2*beside:
		return offset
	case addr >= 1<<63:
		return 1 << 63
	}
	return of.Size + page
}

// memorySeeds are the inputs of the target Memory.
func memorySeeds(t Trace) (seeds []seed, err error) {
	ops := map[Op]model.MemOp{Memmove: model.MoveBytes, Memcpy: model.CopyBytes, Memset: model.SetBytes}
	for _, c := range t.Calls {
		op, ok := ops[c.Op]
		if !ok {
			continue
		}
		inside := c.Src-c.Of.Addr < c.Of.Size
		m := fuzz.MemorySeed{
			Op: op, Function: c.Of.Function, Granularity: c.Of.Granularity, Flags: c.Flags, Length: c.Length, Source: c.Source,
			Dst: offsetIn(c.Of, c.Addr), Src: offsetIn(c.Of, c.Src), Apart: !inside && op != model.SetBytes, Sync: c.Of.Sync,
		}
		if op == model.SetBytes {
			m.Value, m.Src = c.Value, m.Dst
		}
		if m.Apart || c.Source == 0 { // where it lies is luck
			m.Src = 0
		}
		if c.Length == 0 {
			m.Dst, m.Src = 0, 0
		}
		seeds = append(seeds, seed{"Memory", m.Input()})
	}
	return seeds, nil
}
