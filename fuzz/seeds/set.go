package seeds

import (
	"slices"
	"syscall"

	"pmemlab/fuzz"
)

// setSeeds are the inputs of the target Set: one for each set of a case, or for two that share
// a reservation.
func setSeeds(t Trace) (seeds []seed, err error) {
	done := map[Object]bool{}
	for i, c := range t.Calls {
		if c.Op != NewSet || !c.OK || done[c.Made] {
			continue
		}
		sets := []Object{c.Made}
		if c.With != None {
			for _, other := range t.Calls[i+1:] {
				if other.Op == NewSet && other.OK && other.With == c.With && len(sets) < 2 && other.Size == c.Size {
					sets = append(sets, other.Made)
				}
			}
		}
		for _, s := range sets {
			done[s] = true
		}
		p := fuzz.SetProgram{
			Sets: len(sets), Reservation: c.Size, Granularity: c.Granularity, Listens: c.Listens,
			Steps: setSteps(t, sets, c.With),
		}
		if len(p.Steps) == 0 {
			continue
		}
		input, err := fuzz.SetSeed(p)
		if err != nil {
			return nil, err
		}
		seeds = append(seeds, seed{"Set", input})
	}
	return seeds, nil
}

// setSteps are the steps of a trace that are about some sets, or map into their reservation.
func setSteps(t Trace, sets []Object, reservation Object) (steps []fuzz.SetStep) {
	held := longHeld(t)
	for _, c := range t.Calls {
		st := fuzz.SetStep{Set: slices.Index(sets, c.On), Addr: c.Addr, Offset: c.Offset, Length: c.Length}
		if c.Op == NewMap {
			if reservation == None || c.With != reservation || len(steps) == 0 {
				continue
			}
			st.Kind, st.Set, st.Length = fuzz.SetMapsForeign, 0, c.Size
			steps = append(steps, st)
			continue
		}
		if st.Set < 0 {
			continue
		}
		switch c.Op {
		case MapPart:
			st.Kind, st.Way, st.Size, st.At, st.Until = fuzz.SetMaps, c.Way, c.File.Size, c.At, c.At+c.Size
			st.File, st.Answer = fileOf(c.File), answerOf(c.Answered)
		case Coalescing:
			st.Kind = fuzz.SetCoalesces
		case RemoveRange:
			st.Kind = fuzz.SetRemoves
		case Hold:
			st.Kind, st.Addr, st.Handle = fuzz.SetHolds, c.At, int(c.Made)
			if !held[c.Made] {
				continue
			}
		case Drop:
			st.Kind, st.Handle = fuzz.SetDrops, int(c.With)
			if !held[c.With] {
				continue
			}
		case RemovePart:
			st.Kind, st.Handle = fuzz.SetRemovesPart, int(c.With)
		case LookUp:
			st.Kind = fuzz.SetLooksUp
		default:
			continue
		}
		steps = append(steps, st)
	}
	// The end of an input looks at all there is: nothing but a look isn't news.
	for len(steps) > 0 && !slices.ContainsFunc(steps, func(s fuzz.SetStep) bool { return s.Kind != fuzz.SetLooksUp }) {
		steps = nil
	}
	return steps
}

// longHeld are the references to part maps that are held while something happens, or by which
// a part map is removed. The others only look.
func longHeld(t Trace) map[Object]bool {
	long, open := map[Object]bool{}, map[Object]bool{}
	for _, c := range t.Calls {
		switch c.Op {
		case Hold:
			open[c.Made] = true
		case Drop:
			if !open[c.With] {
				long[c.With] = true // it is dropped twice
			}
			delete(open, c.With)
		case RemovePart:
			long[c.With] = true
		case MapPart, RemoveRange, DeleteSet, Coalescing:
			for h := range open {
				long[h] = true
			}
		}
	}
	delete(long, None)
	return long
}

// fileOf is the source of the target that is like a program's.
func fileOf(f *File) fuzz.SetFile {
	switch {
	case f.Device:
		return fuzz.SetDeviceDAX
	case f.Temporary && f.DAX:
		return fuzz.SetTemporaryFile
	case f.Temporary:
		return fuzz.SetTemporaryPageFile
	case f.ReadOnly:
		return fuzz.SetReadOnlyFile
	case f.FromPMem2 && f.DAX:
		return fuzz.SetPMem2File
	case f.Flagged:
		return fuzz.SetFlaggedFile
	case f.DAX:
		return fuzz.SetDAXFile
	}
	return fuzz.SetPageFile
}

// answerOf is what the kernel answered in place of doing what it was asked.
func answerOf(a answered) fuzz.SetAnswer {
	switch {
	case a.fallocate == syscall.EOPNOTSUPP:
		return fuzz.SetNoFallocate
	case a.fallocate != 0:
		return fuzz.SetDiskFull
	case a.plain != 0:
		return fuzz.SetMmapRefused
	case a.move != 0:
		return fuzz.SetMremapRefused
	}
	return fuzz.SetDone
}
