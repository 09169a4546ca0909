package fuzz

import (
	"slices"
	"syscall"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// FlushSeed is a call that makes stores durable, as a program has made it.
type FlushSeed struct {
	Op             model.FlushOp
	Set            bool // of a set
	Existing       bool // of a map of existing memory
	Gone           bool // of a map that has been deleted
	Function       bool // that a getter returned
	Kind           model.Kind
	Granularity    pmem2.Granularity
	Size           uint64 // of the map
	Offset, Length uint64 // from its address on
	Sync           syscall.Errno
}

// Input is the input of the target Flush that is nearest to the call.
func (f FlushSeed) Input() []byte {
	const page = 4096
	in := flushInput{Op: byte(f.Op), Sync: 7, Sysfs: 31}
	for i := range in.Existing {
		in.Existing[i].Kind = 255
	}
	if f.Granularity == pmem2.GranularityByte && !f.Existing {
		in.Scene = 1
	}
	// The maps of a scene stand in the order in which it makes them.
	size := uint64(2 * page)
	switch {
	case f.Existing:
		in.Of, size = 13, f.Size
		if size == 0 || size > 16*page {
			size = 16 * page
		}
		source := byte(3) // anonymous
		switch {
		case f.Kind == model.DeviceDAX:
			source = 2
		case f.Kind == model.File && f.Granularity == pmem2.GranularityPage:
			source = 0
		case f.Kind == model.File:
			source = 1
		}
		in.Existing[0] = existingInput{Kind: byte(f.Granularity) + 3*3 + 12*source, Start: Exactly(0), Length: Exactly(size)}
	case f.Set && f.Granularity == pmem2.GranularityPage:
		in.Of = 10
	case f.Set:
		in.Of = 7
	case f.Kind == model.Anonymous:
		in.Of, size = 4, page+1
	case f.Kind == model.DeviceDAX:
		in.Of = 3
	case f.Granularity == pmem2.GranularityPage:
		in.Of, size = 0, 2*page+100
	default:
		in.Of, size = 2, 3*page-1
	}
	switch {
	case f.Gone:
		in.Call = 248
	case f.Function:
		in.Call = 1
	}
	if f.Sync != 0 {
		in.Sync = 1 + 8*byte(max(0, slices.Index(flushSync[:], f.Sync)))
	}
	offset := resized(f.Offset, f.Size, size, page)
	length := f.Length
	if end := f.Offset + f.Length; end-f.Size+page <= 2*page {
		length = size - offset + end - f.Size
	}
	in.Start, in.Length = Exactly(tidy(offset)), Exactly(tidy(length))
	return Encode(nil, &in)
}
