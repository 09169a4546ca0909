package fuzz

import (
	"syscall"
	"testing"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// TestMapSeeds: a seed asks for what the request does, of the target's nearest source.
func TestMapSeeds(t *testing.T) {
	made, err := newMapInstance()
	if err != nil {
		t.Fatal(err)
	}
	i := made.(*mapInstance)
	const rw, page = pmem2.ProtRead | pmem2.ProtWrite, 4096
	for _, c := range []struct {
		ask            model.MapRequest
		offset, length uint64 // that are asked of the target's source
	}{
		{model.MapRequest{Source: model.Source{Kind: model.File, Size: 16 * page}, Offset: page, Length: page, Prot: rw}, page, page},
		{model.MapRequest{Source: model.Source{Kind: model.Anonymous, Size: 100}, Prot: pmem2.ProtRead, GranularitySet: true}, 0, 0},
		// The end of the source is the end of the target's: of 16 MiB.
		{model.MapRequest{Source: model.Source{Kind: model.DeviceDAX, Size: 4 * mib, Align: 2 * mib}, Offset: 2 * mib, Length: 2*mib + 1, Prot: rw}, 14 * mib, 2*mib + 1},
		{model.MapRequest{Source: model.Source{Kind: model.DeviceDAX, Size: 4 * mib, Align: 2 * mib}, Length: 4 * mib, Prot: rw}, 0, 16 * mib},
		{model.MapRequest{
			Source: model.Source{Kind: model.File, Size: page, Access: model.ReadOnly}, Offset: 1 << 62, Prot: rw, Sharing: pmem2.Private,
			Granularity: pmem2.GranularityCacheLine, GranularitySet: true, IsForced: true, Forced: pmem2.GranularityPage,
			Machine: model.Machine{EADR: true, AnswerPlain: syscall.ENODEV},
		}, 1 << 62, 0},
	} {
		if _, err := i.Run(MapSeed(c.ask)); err != nil {
			t.Fatal(err)
		}
		got, want := i.try.q, c.ask
		want.Offset, want.Length = c.offset, c.length
		want.Source.Size, want.Source.Align, want.Machine = got.Source.Size, got.Source.Align, got.Machine
		if got != want {
			t.Errorf("%+v: got %+v", c.ask, got)
		}
		if m := c.ask.Machine; got.Machine.EADR != m.EADR || got.Machine.AnswerPlain != m.AnswerPlain {
			t.Errorf("%+v: got the machine %+v", c.ask, got.Machine)
		}
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}

// TestSpaceSeeds: a sequence has the same result at addresses of the target's own, in any arena.
func TestSpaceSeeds(t *testing.T) {
	const base, page = 0x7f1200340000, 4096
	step := func(k model.StepKind, r, m int, offset, length uint64) SpaceStep {
		return SpaceStep{Step: model.Step{Kind: k, Reservation: r, Map: m, Offset: offset, Length: length}}
	}
	at := func(s SpaceStep, at, size uint64) SpaceStep {
		s.Made, s.At, s.Size = true, at, size
		return s
	}
	wraps := step(model.Extend, 0, -1, 0, 1<<64-(base+16*page))
	wraps.At, wraps.Size = base, 16*page
	steps := []SpaceStep{
		at(step(model.NewReservation, -1, -1, base, 16*page), base, 16*page),
		step(model.NewReservation, -1, -1, base+8*page, page), // it is taken
		at(step(model.MapAnonymous, 0, -1, 2*page, page), base+2*page, page),
		step(model.FindMap, 0, -1, 2*page, page),
		step(model.FindNext, 0, 0, 0, 0),
		wraps,
		step(model.DeleteReservation, 0, -1, 0, 0), // there is a map in it
		step(model.DeleteMap, -1, 0, 0, 0),
		step(model.DeleteReservation, 0, -1, 0, 0),
	}
	first, done, err := ReservationSeed(steps)
	if err != nil || done != len(steps) || len(first) != len(steps)*reservationOpSize {
		t.Fatalf("%d of %d steps are done, in %d bytes, %v", done, len(steps), len(first), err)
	}
	takeArena() // the next one is another
	again, _, err := ReservationSeed(steps)
	if err != nil || string(again) != string(first) {
		t.Errorf("in another arena got %q (%v), want %q", again, err, first)
	}
	made, err := newReservationInstance()
	if err != nil {
		t.Fatal(err)
	}
	i := made.(*spaceInstance)
	if _, err := i.Run(first); err != nil {
		t.Error(err)
	}
	for n, st := range i.steps {
		if st.Kind != steps[n].Kind {
			t.Errorf("step %d is %s, want %v", n, describeStep(st), steps[n])
		}
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}
