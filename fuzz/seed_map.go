package fuzz

import (
	"slices"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// MapSeed is the input of the target Map that is nearest to a request: its source is the one
// of the target's that has most in common with the request's.
func MapSeed(q model.MapRequest) []byte {
	const page = 4096
	in := mapInput{Size: Exactly(q.Source.Size)}
	switch m := q.Machine; {
	case m.EADR:
		in.Machine = 1
	case m.NoValidate:
		in.Machine = 2
	}
	size, align := q.Source.Size, uint64(page)
	switch s := q.Source; {
	case s.Kind == model.Anonymous:
		in.Object = 6
	case s.Kind == model.DeviceDAX && s.Align > 2*mib:
		in.Object, size, align = 2, 2<<30, 1<<30
	case s.Kind == model.DeviceDAX && s.Align > page:
		in.Object, size, align = 0, 16*mib, 2*mib
	case s.Kind == model.DeviceDAX:
		in.Object, size = 1, mib
	case s.AppendOnly:
		in.Object, size = 5, mib
	case q.Machine.Sync:
		in.Object = 3
	default:
		in.Object = 4
	}
	if q.Source.Kind != model.Anonymous && q.Source.Access != model.ReadWrite {
		in.Access = 224 + byte(q.Source.Access)
	}
	if q.GranularitySet {
		in.Granularity = [...]byte{pmem2.GranularityByte: 2, pmem2.GranularityCacheLine: 1, pmem2.GranularityPage: 9}[q.Granularity]
	}
	if q.IsForced {
		in.Forced = 243 + byte(q.Forced)
	}
	if q.Sharing == pmem2.Private {
		in.Sharing = 4
	}
	if q.Prot != pmem2.ProtRead|pmem2.ProtWrite {
		in.Prot = 3 | byte(q.Prot>>29)<<2
	}
	in.Answer = nearestAnswer(answers{q.Machine.AnswerSync, q.Machine.AnswerPlain, q.Machine.AnswerMove})
	// What ends about where the source does is to do so in the target's, too.
	offset, length := resized(q.Offset, q.Source.Size, size, align), q.Length
	if end := q.Offset + q.Length; q.Length != 0 && end-q.Source.Size+align <= 2*align {
		length = size - offset + end - q.Source.Size
	}
	in.Offset, in.Length = Exactly(offset), Exactly(length)
	if r := q.Reservation; r != nil {
		in.Reserve, in.Room, in.At = 31, Exactly(r.Size), Exactly(r.Offset)
		switch {
		case r.Deleted:
			in.Reserve = reserveDeleted
		case len(r.Taken) > 0:
			in.Reserve, in.Taken = reserveTaken, Exactly(r.Taken[0].Start-r.Addr)
		}
	}
	return Encode(nil, &in)
}

// resized is an offset as near to the end of one size as it was to that of another.
func resized(offset, from, to, align uint64) uint64 {
	if offset-from+align <= 2*align {
		return offset - from + to
	}
	return offset
}

// nearestAnswer is the place in mapAnswers of the ones that are the same, or fail the same calls.
func nearestAnswer(a answers) byte {
	if a == (answers{}) {
		return 0
	}
	if n := slices.Index(mapAnswers[:], a); n >= 0 {
		return byte(n)
	}
	return byte(max(0, slices.IndexFunc(mapAnswers[:], func(b answers) bool {
		return (a.sync == 0) == (b.sync == 0) && (a.plain == 0) == (b.plain == 0) && (a.move == 0) == (b.move == 0)
	})))
}
