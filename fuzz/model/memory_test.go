package model

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"

	"pmemlab/pmem2"
)

// TestMemory: edges that the page tells.
func TestMemory(t *testing.T) {
	const noDrain, noFlush, nt, wb = pmem2.MemNoDrain, pmem2.MemNoFlush, pmem2.MemNonTemporal, pmem2.MemWB
	invalid := Stored{Result: FailsWith(syscall.EINVAL)}
	const b, l, p = bytewise, linewise, pagewise
	for _, tc := range []struct {
		name string
		q    MemRequest
		want Stored
	}{
		{"below the threshold", MemRequest{Length: 255, Granularity: l}, Stored{Bytes: true, Flush: true, Fence: Fenced}},
		{"at the threshold", MemRequest{Length: 256, Granularity: l}, Stored{Bytes: true, NonTemporal: true, Flush: true, Fence: Fenced}},
		{"at BYTE", MemRequest{Length: 256, Granularity: b}, Stored{Bytes: true, Fence: Fenced}},
		{"at BYTE with a flag", MemRequest{Length: 1, Granularity: b, Flags: nt}, Stored{Bytes: true, NonTemporal: true, Fence: Fenced}},
		{"at PAGE", MemRequest{Length: 1, Granularity: p}, Stored{Bytes: true, Sync: true, Fence: MayFence}},
		{"at PAGE, no drain", MemRequest{Length: 1, Granularity: p, Flags: noDrain}, Stored{Bytes: true, Sync: true, Fence: MayFence}},
		{"at PAGE, no flush", MemRequest{Length: 1, Granularity: p, Flags: noFlush}, Stored{Bytes: true}},
		{"no drain", MemRequest{Length: 1, Flags: noDrain, Granularity: l}, Stored{Bytes: true, Flush: true}},
		{"no flush", MemRequest{Length: 256, Flags: noFlush, Granularity: l}, Stored{Bytes: true}},
		{"write back", MemRequest{Length: 256, Flags: wb, Granularity: l}, Stored{Bytes: true, Flush: true, Fence: Fenced}},
		{"nothing", MemRequest{Granularity: l}, Stored{Fence: Fenced}},
		{"nothing, no drain", MemRequest{Flags: noDrain, Granularity: l}, Stored{}},
		{"flags that exclude each other", MemRequest{Flags: nt | wb, Granularity: l}, invalid},
		{"non-temporal without a flush", MemRequest{Flags: nt | noFlush, Granularity: l}, invalid},
		{"an unknown flag", MemRequest{Flags: 64, Granularity: l}, invalid},
		{"msync fails", MemRequest{Length: 1, Granularity: p, SyncErrno: syscall.EIO}, Stored{
			Result: FailsWith(syscall.EIO), Bytes: true, Sync: true, Fence: MayFence,
		}},
	} {
		q := tc.q
		q.Source, q.NonTemporal, q.Threshold = q.Length, true, 256
		if got := Memory(q); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, tc.want)
		}
		if q.Op, q.Source = SetBytes, 0; Memory(q) != tc.want {
			t.Errorf("%s: a set is %+v, want %+v", tc.name, Memory(q), tc.want)
		}
		if q.Op, q.Source = CopyBytes, q.Length+1; Memory(q) != invalid {
			t.Errorf("%s: with another length of the source %+v, want %+v", tc.name, Memory(q), invalid)
		}
	}
}

// TestMemoryTotal: what is refused does nothing, what has no non-temporal stores uses none,
// and without flags all is as durable as after a persist.
func TestMemoryTotal(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 100000 {
		n := r.Uint64() >> r.IntN(64)
		q := MemRequest{
			Op: MemOp(r.IntN(3)), Length: n, Source: n + uint64(r.IntN(8)/7), Flags: pmem2.MemFlags(r.Uint32() >> r.IntN(32)),
			Granularity: pmem2.Granularity(r.IntN(3)), NonTemporal: r.IntN(2) == 0, Threshold: r.Uint64() >> r.IntN(64),
		}
		s := Memory(q)
		switch {
		case s.Result != OK && s != (Stored{Result: s.Result}):
			t.Fatalf("%+v: refused with %+v", q, s)
		case s.NonTemporal && !q.NonTemporal:
			t.Fatalf("%+v: %+v", q, s)
		case s.Result == OK && q.Flags == 0:
			f := Flushes(FlushRequest{
				Op: CallPersist, Of: Mapped{Granularity: q.Granularity}, Range: Extent{4096, n}, Page: 4096, Line: 64,
				Maps: []Mapped{{Taken: Extent{4096, max(n, 1)}}},
			})
			if s.Flush != (len(f.Lines) > 0) || s.Sync != (len(f.Synced) > 0) || s.Fence != f.Fence {
				t.Fatalf("%+v: %+v, and a persist is %+v", q, s, f)
			}
		}
	}
}

// TestMove: each byte is where it has to be.
func TestMove(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	before := make([]byte, 64)
	for range 10000 {
		for i := range before {
			before[i] = byte(r.Uint32())
		}
		got, want := bytes.Clone(before), bytes.Clone(before)
		dst, src := r.Uint64N(64), r.Uint64N(64)
		n := r.Uint64N(65 - max(dst, src))
		Move(got, before, dst, src, n)
		for i := range n {
			want[dst+i] = before[src+i]
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes from %d to %d: got %x, want %x", n, src, dst, got, want)
		}
	}
}
