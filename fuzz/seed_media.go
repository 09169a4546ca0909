package fuzz

import (
	"slices"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// MediaCall is a call that accesses media.
type MediaCall byte

// The calls.
const (
	MediaRead   MediaCall = mediaRead
	MediaWrite  MediaCall = mediaWrite
	MediaList   MediaCall = mediaList // a context
	MediaNext   MediaCall = mediaNext
	MediaClear  MediaCall = mediaClear
	MediaDetect MediaCall = mediaDetect
)

// MediaSeed are calls on one source, as a program has made them.
type MediaSeed struct {
	Source model.Source
	DAX    bool
	Append bool // open with O_APPEND
	Bad    []pmem2.BadBlock
	Calls  []MediaStep
}

// MediaStep is one of them.
type MediaStep struct {
	Call           MediaCall
	Set            bool // by libpmemset
	Clears         bool // the callback clears what it is told of
	Offset, Length uint64
	Answer         model.Kernel
}

// Input is the input of the target Media that is nearest to the calls.
func (s MediaSeed) Input() []byte {
	const page = 4096
	size := s.Source.Size
	scene := mediaScene{Access: mediaAccess(s.Source.Access, s.Append)}
	switch {
	case s.Source.Kind == model.Anonymous:
		scene.Object, size = 6, page
	case s.Source.Kind == model.DeviceDAX && s.Source.Align == page:
		scene.Object, size = 4, mediaFilePages*page
	case s.Source.Kind == model.DeviceDAX:
		scene.Object, size = 5, mediaDevice
	default:
		if s.DAX {
			scene.Object = 1
		}
		if size > mediaFilePages*page {
			if size = (mediaFilePages-1)*page + size%page; size%page == 0 {
				size += page
			}
		}
		scene.Size = Exactly(size)
	}
	place := func(v uint64) uint64 { return placeIn(v, s.Source.Size, size) }
	n := 0
	for _, b := range s.Bad {
		if start := place(b.Offset); n < mostBad && start < size {
			scene.Bad[n].Start, scene.Bad[n].Length = Exactly(start), Exactly(min(b.Length, size-start))
			n++
		}
	}
	scene.Count = byte(n)
	input := Encode(nil, &scene)
	for _, c := range s.Calls[:min(len(s.Calls), mostMediaOps)] {
		op := mediaOp{Kind: byte(slices.Index(mediaKinds[:], byte(c.Call))), Value: 'x'}
		if c.Set {
			op.How = 1
		}
		if c.Call == MediaDetect && c.Clears {
			op.Value = 2
		}
		if i := slices.Index(mediaAnswers[:], c.Answer); i > 0 {
			op.Answer = byte(i)
		}
		off := place(c.Offset)
		length := c.Length
		if end := c.Offset + length; end >= length && length < 1<<40 { // the end keeps its place, too
			length = max(place(end), off) - off
		}
		op.Offset, op.Length = Exactly(off), Exactly(length)
		input = Encode(input, &op)
	}
	return input
}

// placeIn is where in a source of size to something is that was at v of one of size from: as far
// from the beginning, or from the end.
func placeIn(v, from, to uint64) uint64 {
	const beside = 16 << 12
	switch distance := v - from; {
	case from == to:
		return v
	case distance+beside <= 2*beside: // by the end
		if to < beside && distance > beside {
			return to + max(distance, -to)
		}
		return to + distance
	case v < to || v >= 1<<40:
		return v
	}
	return v % to
}

// mediaAccess is the byte of a scene that asks for an open mode.
func mediaAccess(a model.Access, appends bool) byte {
	i := 0
	for k, how := range mediaAccesses {
		if how.access == a && how.append == appends {
			i = k
			break
		}
	}
	if i == 0 {
		return 0
	}
	for b := byte(208); ; b++ {
		if int(b)%len(mediaAccesses) == i {
			return b
		}
	}
}

// mediaSeeds are sequences that get far.
func mediaSeeds() [][]byte {
	const page = 4096
	calls := []MediaStep{
		{Call: MediaRead, Length: page},
		{Call: MediaRead, Offset: page + 100, Length: 2 * page, Set: true},
		{Call: MediaList},
		{Call: MediaWrite, Offset: page, Length: page},
		{Call: MediaDetect, Set: true, Clears: true},
		{Call: MediaClear, Offset: 2 * page, Length: page},
		{Call: MediaNext, Set: true},
		{Call: MediaRead, Length: 4 * page},
	}
	bad := []pmem2.BadBlock{{Offset: page + 512, Length: 512}, {Offset: 2*page + 1024, Length: 1}}
	var seeds [][]byte
	for _, s := range []MediaSeed{
		{Source: model.Source{Kind: model.File, Size: 4 * page, Align: page}},
		{Source: model.Source{Kind: model.File, Size: 4 * page, Align: page}, DAX: true},
		{Source: model.Source{Kind: model.DeviceDAX, Size: 16 * page, Align: page}, DAX: true},
		{Source: model.Source{Kind: model.DeviceDAX, Size: mediaDevice, Align: 2 * mib}, DAX: true},
		{Source: model.Source{Kind: model.DeviceDAX, Size: 16 * page, Align: page, Access: model.ReadOnly}, DAX: true},
		{Source: model.Source{Kind: model.Anonymous, Size: page, Align: page}},
	} {
		s.Bad, s.Calls = bad, calls
		seeds = append(seeds, s.Input())
	}
	return seeds
}
