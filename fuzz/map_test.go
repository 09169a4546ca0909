package fuzz

import (
	"testing"

	"pmemlab/fuzz/model"
)

// TestMapFound runs inputs that have shown bugs, by what they say.
func TestMapFound(t *testing.T) {
	const appendOnly = 5 // of a machine's objects
	for name, in := range map[string]mapInput{
		// A path allows no mapping, so that EACCES isn't because the file is append-only.
		"a path refused": {Object: appendOnly, Access: 252 + byte(model.PathOnly), Granularity: 31, Answer: 13, Prot: 7},
		// The granularity is looked at before a mapping is moved to its place.
		"granularity before mremap": {Object: 4, Granularity: 2, Answer: 22, Reserve: 31, Size: Exactly(1 << 20), Room: Exactly(2 << 20)},
	} {
		i, err := Map.New()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := i.Run(Encode(nil, &in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := i.(*mapInstance).try
		if o := got.object; o == nil || o.source.AppendOnly != (in.Object == appendOnly) || got.want.Result == model.OK {
			t.Errorf("%s: %s: want an input that is refused", name, got.words())
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
}
