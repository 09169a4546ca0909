package emu

import (
	"errors"
	"slices"
	"testing"

	"pmemlab/emu/trace"
)

func TestPackTrace(t *testing.T) {
	l := &trace.Log{Objects: []trace.Object{{Name: "/dev/dax0.0", Unit: 64}}, Dropped: 5}
	for i := range uint64(100) {
		l.Events = append(l.Events, trace.Event{Seq: i, Kind: trace.Fence, Object: -1})
	}
	for _, c := range []struct{ limit, events int }{{1 << 20, 100}, {2000, 50}, {1000, 25}, {150, 1}} {
		stream, err := packTrace(l, c.limit)
		if err != nil {
			t.Errorf("%d bytes: %v", c.limit, err)
			continue
		}
		got, err := unpackTrace(stream, int64(c.limit))
		if err != nil {
			t.Errorf("%d bytes: %v", c.limit, err)
			continue
		}
		same := func(a, b trace.Event) bool { return a.Seq == b.Seq && a.Kind == b.Kind }
		if len(got.Events) != c.events || got.Dropped != 5+100-uint64(c.events) ||
			!slices.EqualFunc(got.Events, l.Events[100-c.events:], same) {
			t.Errorf("%d bytes: %d events, %d dropped; want the newest %d", c.limit, len(got.Events), got.Dropped, c.events)
		}
		if _, err := unpackTrace(stream, 20); !errors.Is(err, errTraceTooLong) {
			t.Errorf("%d bytes, read with 20: got %v, want %v", c.limit, err, errTraceTooLong)
		}
	}
	if _, err := packTrace(l, 20); !errors.Is(err, errTraceTooLong) {
		t.Errorf("20 bytes, less than the header: got %v, want %v", err, errTraceTooLong)
	}
	if len(l.Events) != 100 || l.Dropped != 5 {
		t.Errorf("packTrace has changed the log: %d events, %d dropped", len(l.Events), l.Dropped)
	}
}
