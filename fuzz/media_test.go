package fuzz

import (
	"slices"
	"testing"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

func FuzzMedia(f *testing.F) { native(f, Media) }

// TestMediaSeeds: a seed does what the program did, by the same end of the target's source.
func TestMediaSeeds(t *testing.T) {
	made, err := newMediaInstance()
	if err != nil {
		t.Fatal(err)
	}
	i := made.(*mediaInstance)
	const page = 4096
	for _, c := range []struct {
		seed   MediaSeed
		off, n uint64 // of the last call
		bad    []model.Extent
	}{
		{MediaSeed{
			Source: model.Source{Kind: model.File, Size: 3*page + 100, Align: page}, Bad: []pmem2.BadBlock{{Offset: page, Length: page}},
			Calls: []MediaStep{{Call: MediaList}, {Call: MediaRead, Offset: 3 * page, Length: 100, Set: true}},
		}, 3 * page, 100, []model.Extent{{Start: page, Size: page}}},
		{MediaSeed{
			Source: model.Source{Kind: model.DeviceDAX, Size: 64 * mib, Align: 2 * mib, Access: model.ReadOnly}, DAX: true,
			Calls: []MediaStep{{Call: MediaWrite, Offset: 64*mib - 10, Length: 11}},
		}, mediaDevice - 10, 11, nil},
		{MediaSeed{
			Source: model.Source{Kind: model.File, Size: page, Align: page}, DAX: true, Append: true,
			Calls: []MediaStep{{Call: MediaClear, Offset: 1 << 63, Length: 1<<64 - 1}},
		}, 1 << 63, 1<<64 - 1, nil},
	} {
		if _, err := i.Run(c.seed.Input()); err != nil {
			t.Fatal(err)
		}
		got, want := i.try.steps[len(i.try.steps)-1], c.seed.Calls[len(c.seed.Calls)-1]
		if got.kind != byte(want.Call) || got.set != want.Set || got.off != c.off || got.n != c.n || !slices.Equal(i.try.bad, c.bad) {
			t.Errorf("%+v: got %+v, bad %v", c.seed, got, i.try.bad)
		}
		if m := i.try.media; m.Access != c.seed.Source.Access || m.AppendOnly != c.seed.Append || m.DAX != (c.seed.DAX && m.Kind == model.File) {
			t.Errorf("%+v: the source is %s, DAX %t", c.seed, i.try.words(), m.DAX)
		}
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}
