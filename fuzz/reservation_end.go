package fuzz

import (
	"fmt"
	"strings"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// end looks for all maps once more, deletes all, and looks whether anything stays.
func (i *spaceInstance) end() error {
	s := &i.space
	for r := range s.Reservations {
		if err := i.walk(r); err != nil {
			return err
		}
	}
	steps := len(i.steps)
	if err := i.try(model.Step{Kind: model.CancelDelete}); err != nil {
		return err
	}
	for n := range s.Maps {
		if s.Maps[n].Deleted {
			continue
		}
		if err := i.try(model.Step{Kind: model.DeleteMap, Map: n}); err != nil {
			return err
		}
	}
	for r := range s.Reservations {
		if s.Reservations[r].Deleted {
			continue
		}
		if err := i.try(model.Step{Kind: model.DeleteReservation, Reservation: r}); err != nil {
			return err
		}
	}
	for len(s.Others) > 0 {
		if err := i.try(model.Step{Kind: model.Vacate, Offset: s.Others[0].Start, Length: s.Others[0].Size}); err != nil {
			return err
		}
	}
	i.steps = i.steps[:steps]
	// Nor does the library know of a map any more.
	if err := i.claim(s.Lo, arenaSize-arenaLo); err != nil || !i.top {
		return err
	}
	return i.claim(1<<63, 1<<63)
}

// claim finds out whether a map is registered in a range.
func (i *spaceInstance) claim(addr, n uint64) error {
	m, err := pmem2.MapFromExisting(i.device, uintptr(addr), n, pmem2.GranularityByte)
	if err != nil {
		return fmt.Errorf("all is deleted, but a map is still registered: %w", err)
	}
	return m.Delete()
}

// walk goes from map to map through a reservation, as the model does.
func (i *spaceInstance) walk(r int) error {
	s := &i.space
	if s.Reservations[r].Deleted {
		return nil
	}
	st := model.Step{Kind: model.FindFirst, Reservation: r}
	for want := s.Outcome(st); want.Map >= 0; want = s.Outcome(st) {
		if err := i.try(st); err != nil {
			return err
		}
		i.steps = i.steps[:len(i.steps)-1]
		st = model.Step{Kind: model.FindNext, Reservation: r, Map: want.Map}
	}
	return nil
}

// abandon gives up what an input that has shown something wrong has made, as well as can be,
// and the arena: something may be left in it.
func (i *spaceInstance) abandon() {
	_ = i.prepared.Cancel()
	for _, m := range i.maps {
		_ = m.Delete()
	}
	for _, r := range i.reservations {
		_ = r.Delete()
	}
	i.arena = takeArena()
	i.enter()
}

func describeArea(a model.Area) string {
	what := [...]string{"a placeholder", "anonymous memory", "the device", "the program's own"}[a.What]
	return fmt.Sprintf("%s of %#x bytes at %#x", what, a.Size, a.Start)
}

// words say what was done.
func (i *spaceInstance) words() string {
	var b strings.Builder
	for _, st := range i.steps {
		b.WriteString(describeStep(st))
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ") + ": "
}

// describeStep says a step in words.
func describeStep(st model.Step) string {
	r := fmt.Sprintf("reservation %d: ", st.Reservation)
	switch st.Kind {
	case model.NewReservation:
		return fmt.Sprintf("a reservation of %#x bytes at %#x", st.Length, st.Offset)
	case model.Extend:
		return r + fmt.Sprintf("extend by %#x", st.Length)
	case model.Shrink:
		return r + fmt.Sprintf("shrink by %#x at %#x", st.Length, st.Offset)
	case model.DeleteReservation:
		return r + "delete"
	case model.MapAnonymous:
		return r + fmt.Sprintf("map %#x anonymous bytes at %#x", st.Length, st.Offset)
	case model.MapDevice:
		return r + fmt.Sprintf("map %#x bytes of the device at %#x", st.Length, st.Offset)
	case model.MapExisting:
		return fmt.Sprintf("a map of %#x existing bytes at %#x, granularity %d", st.Length, st.Offset, int(st.Granularity))
	case model.DeleteMap:
		return fmt.Sprintf("delete map %d", st.Map)
	case model.FindMap:
		return r + fmt.Sprintf("find a map in %#x bytes at %#x", st.Length, st.Offset)
	case model.FindFirst:
		return r + "find the first map"
	case model.FindLast:
		return r + "find the last map"
	case model.FindNext:
		return r + fmt.Sprintf("find the map behind map %d", st.Map)
	case model.FindPrev:
		return r + fmt.Sprintf("find the map before map %d", st.Map)
	case model.FindFree:
		return r + fmt.Sprintf("find %#x free bytes aligned to %#x", st.Length, st.Align)
	case model.PrepareDelete:
		return fmt.Sprintf("prepare to delete maps %v", st.Maps)
	case model.CommitDelete:
		return "commit that"
	case model.CancelDelete:
		return "cancel that"
	case model.Occupy:
		return fmt.Sprintf("the program maps %#x bytes at %#x", st.Length, st.Offset)
	case model.Vacate:
		return fmt.Sprintf("the program unmaps %#x bytes at %#x", st.Length, st.Offset)
	}
	return "nothing"
}
