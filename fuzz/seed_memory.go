package fuzz

import (
	"slices"
	"syscall"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// MemorySeed is a call that stores to memory, as a program has made it.
type MemorySeed struct {
	Op          model.MemOp
	Function    bool // that a getter returned
	Granularity pmem2.Granularity
	Flags       pmem2.MemFlags
	Value       byte
	Length      uint64
	Source      uint64 // length of the source
	// Dst is where the destination begins, Src where the source does, from one place on;
	// unless Apart, which says that the source is memory elsewhere.
	Dst, Src uint64
	Apart    bool
	Sync     syscall.Errno
}

// Input is the input of the target Memory that is nearest to the call.
func (f MemorySeed) Input() []byte {
	const none = 31 // no distance
	n := f.Length
	if n > memoryArena {
		n = n%(memoryArena/2) + memoryArena/4
	}
	most := memoryArena - n
	in := memoryInput{
		Op: byte(f.Op) + 3*byte(f.Granularity%3), Strange: 16, Value: f.Value,
		Length: Number{Anchor: byte(len(lengths)) + 1, Delta: none, Raw: n},
		Dst:    Number{Anchor: 2, Delta: none, Raw: min(f.Dst%(4*cacheLine), most)},
	}
	if n >= memoryArena {
		in.Length = Number{Anchor: byte(slices.Index(lengths[:], memoryArena/2)), Delta: none}
	}
	switch distance := f.Src - f.Dst; {
	case f.Apart:
		in.Strange, in.Src = 10, Number{Anchor: 9, Delta: none, Raw: min(f.Src%cacheLine, most)}
	case distance < n: // to the right of the destination
		in.Src = Number{Anchor: 7, Delta: none, Raw: distance}
	case -distance < n:
		in.Src = Number{Anchor: 8, Delta: none, Raw: -distance}
		in.Dst.Raw = min(in.Dst.Raw+n, most)
	default:
		in.Src = Number{Anchor: 5, Delta: none}
	}
	switch {
	case f.Source > f.Length && f.Op != model.SetBytes:
		in.Strange = 6
	case f.Source < f.Length && f.Op != model.SetBytes:
		in.Strange = 8
	case f.Function && !f.Apart:
		in.Strange = 17
	}
	if flags := f.Flags & 63; flags != 0 {
		in.Flags = byte(flags)<<2 | 1
	}
	if f.Flags > 63 {
		in.Strange = 2
	}
	if f.Sync != 0 {
		for in.Sync = 248; flushSync[int(in.Sync)%len(flushSync)] != f.Sync && in.Sync < 252; in.Sync++ {
		}
	}
	return Encode(nil, &in)
}
