package seeds

import (
	"pmemlab/fuzz"
	"pmemlab/fuzz/model"
)

// A seed is an input of a target.
type seed struct {
	target string
	input  []byte
}

// maxSteps is how many operations an input of a sequence has at most.
const maxSteps = 16

// mapSeeds are the inputs of the target Map.
func mapSeeds(t Trace) (seeds []seed, err error) {
	for _, c := range t.Calls {
		if c.Op == NewMap && c.Request != nil {
			seeds = append(seeds, seed{"Map", fuzz.MapSeed(*c.Request)})
		}
	}
	return seeds, nil
}

// reservationSeeds are the inputs of the target Reservation: sequences between two moments at
// which there is no reservation.
func reservationSeeds(t Trace) ([]seed, error) {
	return spaceSeeds("Reservation", t, reservationStep, fuzz.ReservationSeed, func(k model.StepKind) bool { return k == model.NewReservation })
}

// existingSeeds are the inputs of the target Existing: sequences between two moments at which
// there is no map.
func existingSeeds(t Trace) ([]seed, error) {
	return spaceSeeds("Existing", t, existingStep, fuzz.ExistingSeed, func(k model.StepKind) bool { return k == model.MapExisting })
}

func spaceSeeds(target string, t Trace, step func(Call) (fuzz.SpaceStep, bool), make func([]fuzz.SpaceStep) ([]byte, int, error), about func(model.StepKind) bool) (seeds []seed, err error) {
	for _, steps := range episodes(t, step) {
		relevant := false
		for _, st := range steps {
			relevant = relevant || about(st.Kind)
		}
		if !relevant {
			continue
		}
		input, _, err := make(steps)
		if err != nil {
			return nil, err
		}
		if len(input) > 0 {
			seeds = append(seeds, seed{target, input})
		}
	}
	return seeds, nil
}

// reservationStep is what a call is to the target Reservation. A map that it can't make is made
// by a step that does nothing.
func reservationStep(c Call) (st fuzz.SpaceStep, ok bool) {
	st = fuzz.SpaceStep{Made: c.Made != None, At: c.At, Size: c.Size}
	st.Reservation, st.Map = int(c.On), int(c.With)
	st.Offset, st.Length = c.Offset, c.Length
	switch c.Op {
	case NewReservation:
		st.Kind, st.Offset = model.NewReservation, c.Addr
	case Extend:
		st.Kind = model.Extend
	case Shrink:
		st.Kind = model.Shrink
	case DeleteReservation:
		st.Kind = model.DeleteReservation
	case Find:
		st.Kind = model.FindMap
	case FindFirst:
		st.Kind = model.FindFirst
	case FindLast:
		st.Kind = model.FindLast
	case FindNext:
		st.Kind = model.FindNext
	case FindPrev:
		st.Kind = model.FindPrev
	case NewMap:
		q := c.Request
		if c.With == None || q.Reservation == nil {
			return st, c.Made != None
		}
		st.Kind, st.Reservation = model.MapAnonymous, int(c.With)
		if st.Length = q.Length; st.Length == 0 && q.Offset < q.Source.Size {
			st.Length = q.Source.Size - q.Offset
		}
		if q.Source.Kind == model.DeviceDAX && q.Source.Align > q.Machine.Page {
			st.Kind = model.MapDevice
		}
	case MapFromExisting:
		st.Kind, st.Offset, st.Granularity = model.MapExisting, c.Addr, c.Granularity
	case DeleteMap:
		st.Kind, st.Map = model.DeleteMap, int(c.On)
	default:
		return st, false
	}
	return st, true
}

// existingStep is what a call is to the target Existing.
func existingStep(c Call) (st fuzz.SpaceStep, ok bool) {
	st = fuzz.SpaceStep{Made: c.Made != None, At: c.At, Size: c.Size}
	st.Map = int(c.On)
	switch c.Op {
	case MapFromExisting:
		st.Kind, st.Offset, st.Length, st.Granularity = model.MapExisting, c.Addr, c.Length, c.Granularity
	case NewMap:
		st.Kind, st.Reservation, st.Length = model.MapAnonymous, -1, c.Size
		return st, c.Made != None
	case DeleteMap:
		st.Kind = model.DeleteMap
	default:
		return st, false
	}
	return st, true
}

// episodes cuts a trace into sequences that don't depend on each other, as long as they may be.
// What they have made they number on their own.
func episodes(t Trace, step func(Call) (fuzz.SpaceStep, bool)) (all [][]fuzz.SpaceStep) {
	type object struct {
		reservation bool
		n           int
	}
	live := map[object]bool{}
	var reservations, maps int // made so far
	var from [2]int            // made before the sequence
	var now []fuzz.SpaceStep
	quiet, quietFrom := 0, from // the end of the part of it after which nothing was left
	renumber := func(steps []fuzz.SpaceStep, r, m int) {
		for i := range steps {
			if s := &steps[i]; s.Reservation >= 0 {
				s.Reservation -= r
			}
			if s := &steps[i]; s.Map >= 0 {
				s.Map -= m
			}
		}
	}
	for _, c := range t.Calls {
		st, ok := step(c)
		if !ok {
			continue
		}
		if len(now) >= maxSteps && quiet > 0 {
			rest := append([]fuzz.SpaceStep(nil), now[quiet:]...)
			all = append(all, now[:quiet:quiet])
			renumber(rest, quietFrom[0]-from[0], quietFrom[1]-from[1])
			now, from, quiet = rest, quietFrom, 0
		}
		// What was deleted in an earlier sequence is nothing that this one can name.
		if st.Reservation >= 0 && st.Reservation < from[0] || st.Map >= 0 && st.Map < from[1] {
			continue
		}
		o := object{true, st.Reservation}
		if st.Kind == model.DeleteMap {
			o = object{false, st.Map}
		}
		if st.Reservation >= 0 {
			st.Reservation -= from[0]
		}
		if st.Map >= 0 {
			st.Map -= from[1]
		}
		now = append(now, st)
		switch {
		case st.Made && st.Kind == model.NewReservation:
			live[object{true, reservations}] = true
			reservations++
		case st.Made:
			live[object{false, maps}] = true
			maps++
		case c.OK && (st.Kind == model.DeleteMap || st.Kind == model.DeleteReservation):
			delete(live, o)
		}
		if len(live) == 0 {
			quiet, quietFrom = len(now), [2]int{reservations, maps}
		}
	}
	if len(now) > 0 {
		all = append(all, now)
	}
	return all
}
