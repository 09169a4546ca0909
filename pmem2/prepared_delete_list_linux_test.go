package pmem2_test

import (
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2"
)

// TestPreparedDeleteOwnsItsList: what is deleted are the maps that were given to
// PrepareDelete, whatever the caller does with the slice afterwards: with another map in
// its place, one that is in use would be taken for deleted.
func TestPreparedDeleteOwnsItsList(t *testing.T) {
	for name, edit := range map[string]func(list []*pmem2.Map, other *pmem2.Map){
		"another map": func(list []*pmem2.Map, other *pmem2.Map) { list[0] = other },
		"nil":         func(list []*pmem2.Map, _ *pmem2.Map) { clear(list) },
		"swapped":     func(list []*pmem2.Map, _ *pmem2.Map) { list[0], list[1] = list[1], list[0] },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, emu.Config{})
			maps := s.sideBySide(1, 2, 3)
			list, other := []*pmem2.Map{maps[0], maps[1]}, maps[2]
			d, err := pmem2.PrepareDelete(list...)
			if err != nil {
				t.Fatal(err)
			}
			edit(list, other)
			if gone, err := d.Commit(); !gone || err != nil {
				t.Errorf("Commit: %t, %v", gone, err)
			}
			for i, live := range []bool{false, false, true} {
				if got := maps[i].Address() != 0; got != live {
					t.Errorf("map %d: live is %t, want %t", i, got, live)
				}
			}
			fillWith(other.Bytes(), 9) // it is there
		})
	}
}
