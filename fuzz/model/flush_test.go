package model

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"pmemlab/pmem2"
)

const (
	bytewise = pmem2.GranularityByte
	linewise = pmem2.GranularityCacheLine
	pagewise = pmem2.GranularityPage
	top      = 1<<64 - 4096 // address of the last page
)

// TestFlushes: edges that the pages tell.
func TestFlushes(t *testing.T) {
	file := func(at, n uint64, g pmem2.Granularity) Mapped {
		return Mapped{Taken: Extent{at, n}, Size: n, Kind: File, Granularity: g}
	}
	two := []Mapped{file(0x10000, 0x2000, pagewise), file(0x14000, 0x1000, pagewise)}
	side := []Mapped{file(0x10800, 0x400, pagewise), file(0x10c00, 0x1000, pagewise)}
	line := []Mapped{file(0x10000, 0x2000, linewise)}
	dax := []Mapped{{Taken: Extent{0x10000, 0x2000}, Size: 0x2000, Kind: DeviceDAX, Granularity: bytewise}}
	short := []Mapped{{Taken: Extent{0x10000, 0x2000}, Size: 0x1001, Kind: File, Granularity: linewise}}
	set := slices.Clone(two)
	set[0].Set, set[1].Set = 1, 1
	for _, tc := range []struct {
		name string
		q    FlushRequest
		want Flushed
	}{
		{"over a hole", FlushRequest{Op: CallFlush, Maps: two, Range: Extent{0x11fff, 0x2002}}, Flushed{
			Fence: MayFence, Synced: []Extent{{0x11000, 0x1000}, {0x14000, 0x1000}},
		}},
		{"a hole", FlushRequest{Op: CallFlush, Maps: two, Range: Extent{0x12000, 0x2000}}, Flushed{Fence: MayFence}},
		{"nothing", FlushRequest{Op: CallFlush, Maps: two, Range: Extent{0x10000, 0}}, Flushed{Fence: MayFence}},
		{"maps in one page", FlushRequest{Op: CallFlush, Maps: side, Range: Extent{0x10bff, 2}}, Flushed{
			Fence: MayFence, Synced: []Extent{{0x10000, 0x1000}, {0x10000, 0x1000}},
		}},
		{"the second sync fails", FlushRequest{Op: CallFlush, Maps: two, Range: Extent{0x10000, 0x5000}, FailingSync: 1, SyncErrno: syscall.EIO}, Flushed{
			Fence: MayFence, Synced: []Extent{{0x10000, 0x2000}}, Result: FailsWith(syscall.EIO),
		}},
		{"the last page of all", FlushRequest{Op: CallFlush, Maps: []Mapped{file(top, 4096, pagewise)}, Range: Extent{top + 4095, 1}}, Flushed{
			Fence: MayFence, Synced: []Extent{{top, 4096}},
		}},
		{"the end of a line", FlushRequest{Op: CallFlush, Maps: line, Range: Extent{0x1003f, 1}}, Flushed{Lines: []Extent{{0x10000, 64}}}},
		{"over the end of a line", FlushRequest{Op: CallPersist, Maps: line, Range: Extent{0x1003f, 2}}, Flushed{
			Fence: Fenced, Lines: []Extent{{0x10000, 128}},
		}},
		{"persist nothing", FlushRequest{Op: CallPersist, Maps: line, Range: Extent{0x1003f, 0}}, Flushed{Fence: Fenced}},
		{"drain", FlushRequest{Op: CallDrain, Maps: line}, Flushed{Fence: Fenced}},
		{"persist bytes", FlushRequest{Op: CallPersist, Maps: dax, Range: Extent{0x10000, 1}}, Flushed{Fence: Fenced}},
		{"deep flush of device DAX", FlushRequest{Op: CallDeepFlush, Maps: dax, Range: Extent{0x11fff, 1}, Region: Region{Attr: Attr{Text: "1\n"}}}, Flushed{
			Fence: Fenced, Lines: []Extent{{0x11fc0, 64}}, DeepAttr: true,
		}},
		{"it may not be written", FlushRequest{Op: CallDeepFlush, Maps: dax, Range: Extent{0x10000, 1}, Region: Region{Attr: Attr{Text: "1\n"}, Answer: syscall.EACCES}}, Flushed{
			Fence: Fenced, Lines: []Extent{{0x10000, 64}}, DeepAttr: true,
		}},
		{"no region", FlushRequest{Op: CallDeepFlush, Maps: dax, Range: Extent{0x10000, 1}, Region: Region{Missing: true}}, Flushed{
			Result: Fails(pmem2.ErrDaxRegionNotFound), Fence: Fenced, Lines: []Extent{{0x10000, 64}}, Unsaid: true,
		}},
		{"deep flush behind the size", FlushRequest{Op: CallDeepFlush, Maps: short, Range: Extent{0x11001, 1}}, Flushed{
			Result: Fails(pmem2.ErrDeepFlushRange),
		}},
		{"deep flush of the last byte", FlushRequest{Op: CallDeepFlush, Maps: short, Range: Extent{0x11000, 1}}, Flushed{
			Fence: MayFence, Synced: []Extent{{0x11000, 0x1000}},
		}},
		{"deep flush wraps", FlushRequest{Op: CallDeepFlush, Maps: line, Range: Extent{0x10001, 1<<64 - 1}}, Flushed{
			Result: Fails(pmem2.ErrDeepFlushRange),
		}},
		{"deep flush before the map", FlushRequest{Op: CallDeepFlush, Maps: line, Range: Extent{0xffff, 2}}, Flushed{
			Result: Fails(pmem2.ErrDeepFlushRange),
		}},
		{"deep flush of a set", FlushRequest{Op: CallDeepFlush, Maps: set, OfSet: 1, Range: Extent{0xffff, 1<<64 - 2}}, Flushed{
			Fence: MayFence, Synced: []Extent{{0x10000, 0x2000}, {0x14000, 0x1000}},
		}},
		{"of no part of it", FlushRequest{Op: CallDeepFlush, Maps: two, OfSet: 1, Range: Extent{0x10000, 1}}, Flushed{Fence: MayFence}},
		{"a map that is gone", FlushRequest{Op: CallDrain, Maps: line, Gone: true}, Flushed{Result: Fails(pmem2.ErrMappingNotFound)}},
	} {
		tc.q.Of, tc.q.Page, tc.q.Line = tc.q.Maps[0], 4096, 64
		got := Flushes(tc.q)
		if got.Result != tc.want.Result || !slices.Equal(got.Lines, tc.want.Lines) || !slices.Equal(got.Synced, tc.want.Synced) ||
			got.Fence != tc.want.Fence || got.DeepAttr != tc.want.DeepAttr || got.Unsaid != tc.want.Unsaid {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// TestFlushesTotal: any call has one outcome, what is flushed or synced holds the range and
// no unit without a byte of it, and a range is durable after a persist that succeeds.
func TestFlushesTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	number := func() uint64 {
		v := r.Uint64() >> r.IntN(64)
		if r.IntN(2) == 0 {
			return -v
		}
		return v
	}
	for range 100000 {
		var maps []Mapped
		at := uint64(0)
		for range r.IntN(4) + 1 {
			start := at + r.Uint64N(1<<14)
			n := r.Uint64N(1<<14) + 1
			maps = append(maps, Mapped{
				Taken: Extent{start, n}, Size: r.Uint64N(n) + 1, Kind: Kind(r.IntN(3)), Granularity: pmem2.Granularity(r.IntN(3)), Set: r.IntN(2),
			})
			at = start + n
		}
		q := FlushRequest{
			Op: FlushOp(r.IntN(4)), Maps: maps, Of: maps[0], OfSet: r.IntN(2), Page: 4096, Line: 64, FailingSync: r.IntN(4), SyncErrno: syscall.EIO,
			Range: Extent{number(), number()},
		}
		if q.Op != CallDeepFlush {
			q.Range = Extent{r.Uint64N(1 << 16), r.Uint64N(1 << 16)}
		}
		f := Flushes(q)
		for _, e := range f.Synced {
			if e.Start%4096 != 0 || e.Size%4096 != 0 || e.Size == 0 {
				t.Fatalf("%+v: syncs %+v, which aren't pages", q, e)
			}
		}
		for _, e := range f.Lines {
			if e.Start%64 != 0 || e.Size%64 != 0 || e.Size == 0 || e.Size-min(e.Size, 126) > q.Range.Size {
				t.Fatalf("%+v: flushes %+v", q, e)
			}
		}
		if q.Op != CallPersist || f.Result != OK || q.Range.Size == 0 {
			continue
		}
		addr := q.Range.Start + r.Uint64N(q.Range.Size)
		mapped := slices.ContainsFunc(maps, func(m Mapped) bool { return m.Taken.Holds(addr) })
		if (mapped || q.Of.Granularity != pagewise) && !f.Durable(addr, q.Of.Granularity) {
			t.Fatalf("%+v: the byte at %#x isn't durable: %+v", q, addr, f)
		}
	}
}
