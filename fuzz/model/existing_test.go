package model

import (
	"math/rand/v2"
	"testing"

	"pmemlab/pmem2"
)

// TestExisting are ranges beside one of 16 bytes at 1 MiB and one of 4 KiB at the top.
func TestExisting(t *testing.T) {
	const at, top = 1 << 20, 1<<64 - 4096
	taken := []Extent{{at, 16}, {top, 4096}}
	for _, row := range []struct {
		addr, length uint64
		g            pmem2.Granularity
		want         Result
	}{
		{at - 16, 16, 0, OK},
		{at - 16, 17, 0, Fails(pmem2.ErrMappingExists)},
		{at + 15, 1, 1, Fails(pmem2.ErrMappingExists)},
		{at + 16, 1, 2, OK},
		{at - 1, 1 << 21, 0, Fails(pmem2.ErrMappingExists)},
		{at + 16, top - at - 16, 0, OK},
		{at + 16, top - at - 15, 0, Fails(pmem2.ErrMappingExists)},
		{1<<64 - 1, 1, 0, Fails(pmem2.ErrMappingExists)},
		{1<<64 - 1, 2, 0, Fails(pmem2.ErrLengthOutOfRange)},
		{at, 1<<64 - at + 1, 0, Fails(pmem2.ErrLengthOutOfRange)},
		{at, 0, 0, Fails(pmem2.ErrLengthOutOfRange)},
		{0, 0, 0, Fails(pmem2.ErrLengthOutOfRange)},
		{0, 1<<64 - 1, 0, Fails(pmem2.ErrAddressNull)},
		{at, 1, 3, Fails(pmem2.ErrGranularityNotSupported)},
		{0, 0, -1, Fails(pmem2.ErrGranularityNotSupported)},
	} {
		if got := Existing(row.addr, row.length, row.g, taken); got != row.want {
			t.Errorf("%#x bytes at %#x, granularity %d: got %v, want %v", row.length, row.addr, int(row.g), got, row.want)
		}
	}
	if got := Existing(top, 4096, 0, nil); got != OK {
		t.Errorf("up to the top: got %v, want success", got)
	}
}

// TestExistingIsTotal: what is registered never wraps and never overlaps.
func TestExistingIsTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	number := func() uint64 { return -(r.Uint64() % 2) ^ r.Uint64()>>(r.Uint64()%64) }
	for range 20000 {
		e, o := Extent{number(), number()}, Extent{r.Uint64()>>1 + 1, r.Uint64()>>1 + 1}
		if Existing(e.Start, e.Size, 0, []Extent{o}) != OK {
			continue
		}
		last, oLast := e.Start+(e.Size-1), o.Start+(o.Size-1)
		if e.Start == 0 || e.Size == 0 || last < e.Start || e.Start <= oLast && o.Start <= last {
			t.Fatalf("%#x bytes at %#x are taken beside %#x at %#x", e.Size, e.Start, o.Size, o.Start)
		}
	}
}
