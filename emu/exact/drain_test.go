package exact

import "testing"

// TestLimitWindows: what another goroutine stored beside a scalar, between the two times
// that its window was read, isn't the scalar's.
func TestLimitWindows(t *testing.T) {
	scalar := func(seq, until, g uint64, addr uintptr) entry {
		return entry{slot: slot{seq: seq, until: until, goid: g, addr: addr, kind: Scalar, width: 24}, limit: 24}
	}
	for _, row := range []struct {
		name   string
		all    []entry
		limits []int
	}{
		{"alone", []entry{scalar(1, 9, 1, 8)}, []int{24}},
		{"a neighbour", []entry{scalar(1, 9, 1, 8), scalar(2, 3, 2, 16)}, []int{8, 24}},
		{"a neighbour before", []entry{scalar(1, 9, 1, 12), scalar(2, 3, 2, 8)}, []int{24, 4}},
		{"two", []entry{scalar(1, 9, 1, 8), scalar(2, 3, 2, 24), scalar(3, 4, 2, 16)}, []int{8, 24, 24}},
		{"one's own", []entry{scalar(1, 9, 1, 8), scalar(2, 3, 1, 16)}, []int{24, 24}},
		{"too late", []entry{scalar(1, 2, 1, 8), scalar(2, 3, 2, 16)}, []int{24, 24}},
		{"the last that isn't in it", []entry{scalar(1, 3, 1, 8), scalar(3, 4, 2, 16)}, []int{24, 24}},
		{"the same place", []entry{scalar(1, 9, 1, 8), scalar(2, 3, 2, 8)}, []int{24, 24}},
		{"far away", []entry{scalar(1, 9, 1, 8), scalar(2, 3, 2, 32)}, []int{24, 24}},
	} {
		limitWindows(row.all)
		for i, want := range row.limits {
			if got := row.all[i].limit; got != want {
				t.Errorf("%s: limit of store %d: got %d, want %d", row.name, i, got, want)
			}
		}
	}
}
