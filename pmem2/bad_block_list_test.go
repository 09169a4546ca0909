package pmem2

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestBadBlocksAgainstBytes: which bytes of a source bad sectors name, looked up one
// unit at a time.
func TestBadBlocksAgainstBytes(t *testing.T) {
	const space, fileSize = 64, 48 // in units of the test
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 3000 {
		unit := uint64(1 << rng.IntN(3))
		var bad []sectors
		for at := uint64(0); at < space; {
			n := 1 + rng.Uint64N(6)
			if rng.IntN(3) == 0 {
				bad = append(bad, sectors{at, n})
			}
			at += n
		}
		// A file: units of the file to units of the device, anywhere, no two alike.
		places := rng.Perm(space / int(unit))
		var extents []extent
		where := map[uint64]uint64{} // file unit to device unit
		for at := uint64(0); at < fileSize; at += unit {
			if rng.IntN(4) == 0 {
				continue // a hole
			}
			p := uint64(places[at/unit]) * unit
			where[at] = p
			if n := len(extents); n > 0 && extents[n-1].logical+extents[n-1].length == at && extents[n-1].physical+extents[n-1].length == p {
				extents[n-1].length += unit
			} else {
				extents = append(extents, extent{at, p, unit})
			}
		}
		isBad := func(p uint64) bool {
			for _, b := range bad {
				if b.start < p+unit && p < b.start+b.length {
					return true
				}
			}
			return false
		}
		got := map[uint64]bool{}
		end := uint64(0)
		for i, b := range badBlocks(bad, extents, unit) {
			if b.Length == 0 || b.Offset%unit != 0 || b.Length%unit != 0 || i > 0 && b.Offset < end {
				t.Fatalf("round %d: %v after offset %d, unit %d", round, b, end, unit)
			}
			end = b.Offset + b.Length
			for at := b.Offset; at < end; at += unit {
				got[at] = true
			}
		}
		for at := uint64(0); at < fileSize; at += unit {
			p, mapped := where[at]
			if want := mapped && isBad(p); got[at] != want {
				t.Fatalf("round %d: offset %d: got %v, want %v\nbad %v\nextents %v", round, at, got[at], want, bad, extents)
			}
		}
	}
}

func TestBadBlocksOfADevice(t *testing.T) {
	device := extent{physical: 1000, length: 5000}
	for _, tc := range []struct {
		bad  []sectors
		want []BadBlock
	}{
		{nil, nil},
		{[]sectors{{0, 1000}}, nil}, // before it
		{[]sectors{{6000, 1}}, nil}, // behind it
		{[]sectors{{0, 1001}}, []BadBlock{{0, 1}}},
		{[]sectors{{5999, 100}}, []BadBlock{{4999, 1}}},
		{[]sectors{{0, 1 << 60}}, []BadBlock{{0, 5000}}},
		{[]sectors{{2000, 512}, {1000, 1}}, []BadBlock{{0, 1}, {1000, 512}}},
	} {
		if got := badBlocks(tc.bad, []extent{device}, 1); fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%v: got %v, want %v", tc.bad, got, tc.want)
		}
	}
}
