package exact_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu/exact"
)

func TestSwitchAndRanges(t *testing.T) {
	mem := watch(t, 3*4096)
	if !exact.SetRecording(false) {
		t.Error("recording at the start: got off, want on")
	}
	mem[0] = 1
	if exact.SetRecording(true) {
		t.Error("recording after it was turned off: got on, want off")
	}
	mem[1] = 1
	wantRecords(t, mem, "scalar +1 size 0 01")

	for _, r := range []exact.Range{{addr(mem), 0}, {addr(mem) + 4096, 1}, {addr(mem) - 1, 2}, {addr(mem) + 3*4096 - 1, 5}, {^uintptr(0), 9}} {
		if err := exact.Watch(r.Addr, r.Len); err == nil {
			t.Errorf("Watch(%#x, %d): got nil, want an error", r.Addr, r.Len)
		}
	}
	// The middle goes, and comes back as a range of its own.
	if err := exact.Unwatch(addr(mem)+4096, 4096); err != nil {
		t.Fatal(err)
	}
	mem[4095], mem[4096], mem[8191], mem[8192] = 1, 1, 1, 1
	wantRecords(t, mem, "scalar +4095 size 0 01", "scalar +8192 size 0 01")
	if err := exact.Watch(addr(mem)+4096, 4096); err != nil {
		t.Fatal(err)
	}
	mem[4096] = 2
	wantRecords(t, mem, "scalar +4096 size 0 02")
}

func TestManyRanges(t *testing.T) {
	mem := watch(t, 4096)
	if err := exact.Unwatch(addr(mem), 4096); err != nil {
		t.Fatal(err)
	}
	for i := range 64 {
		if err := exact.Watch(addr(mem)+uintptr((i*37%64)*64), 32); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for i := range 64 {
		mem[64*i+31], mem[64*i+32] = 1, 1
		want = append(want, fmt.Sprintf("scalar +%d size 0 01", 64*i+31))
	}
	wantRecords(t, mem, want...)
}

func TestReads(t *testing.T) {
	const n = 5 << 20 // more than one bit of the sums
	mem := watch(t, n)
	base := addr(mem)
	check := func(reset bool, want ...exact.Range) {
		t.Helper()
		got := exact.Reads(reset)
		for i := range got {
			got[i].Addr -= base
		}
		if !slices.Equal(got, want) {
			t.Errorf("reads: got %v, want %v", got, want)
		}
	}
	var sum byte
	check(true)
	sum += mem[64]
	mem[640] = 1
	check(false, exact.Range{Addr: 64, Len: 64})
	sum += mem[130]
	check(true, exact.Range{Addr: 64, Len: 128})
	check(true)
	sum += byte(atomic.LoadUint32(at[uint32](mem, 256)))
	atomic.StoreUint32(at[uint32](mem, 512), 1)
	check(true, exact.Range{Addr: 256, Len: 64})
	atomic.AddUint32(at[uint32](mem, 512), 1)
	atomic.CompareAndSwapUint32(at[uint32](mem, 1024), 5, 6)
	check(true, exact.Range{Addr: 512, Len: 64}, exact.Range{Addr: 1024, Len: 64})
	sum += mem[n-1]
	sum += mem[2<<20]
	copy(make([]byte, 200), mem[3<<20+10:])
	check(true, exact.Range{Addr: 2 << 20, Len: 64}, exact.Range{Addr: 3 << 20, Len: 256}, exact.Range{Addr: n - 64, Len: 64})
	// Unaligned, over the end of a line; and a word of unknown size near the end.
	sum += byte(*at[uint64](mem, 61))
	check(true, exact.Range{Addr: 0, Len: 128})
	if bytes.Equal(mem[4096:4106], mem[8192:8202]) {
		sum++
	}
	check(true, exact.Range{Addr: 4096, Len: 64}, exact.Range{Addr: 8192, Len: 64})
	// What is cut away is forgotten, a line that both parts share isn't.
	sum += mem[64] + mem[128] + mem[640]
	if err := exact.Unwatch(base, 130); err != nil {
		t.Fatal(err)
	}
	if err := exact.Unwatch(base+640, 64); err != nil {
		t.Fatal(err)
	}
	sum += mem[704]
	check(true, exact.Range{Addr: 128, Len: 64}, exact.Range{Addr: 704, Len: 64})
	check(true)
	_ = sum
}

// TestUnreadable: the hook reads memory that can't be read, and the program's own fault
// stays the program's.
func TestUnreadable(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(8192); err != nil {
		t.Fatal(err)
	}
	needOverlay(t)
	mem, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	if err := exact.Watch(addr(mem), 8192); err != nil {
		t.Fatal(err)
	}
	defer exact.Unwatch(addr(mem), 8192)
	mem[4095] = 1 // the window would reach the next page
	mem[4096] = 2
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	fault := func(store func()) (err any) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() { err = recover() }()
		store()
		return nil
	}
	for name, store := range []func(){
		func() { copy(mem[4200:], make([]byte, 300)) },
		func() { mem[5000] = 1 },
		func() { atomic.AddUint64(at[uint64](mem, 4104), 1) },
	} {
		if _, ok := fault(store).(interface{ Addr() uintptr }); !ok {
			t.Errorf("store %d beyond the end of the file: got no fault, want one", name)
		}
	}
	mem[0] = 3
	var got []string
	for _, r := range drain(t) {
		got = append(got, fmt.Sprintf("%v +%d %x", r.Kind, r.Addr-addr(mem), r.Data))
	}
	// The atomic has faulted before it was recorded.
	want := []string{"scalar +4095 01", "scalar +4096 02", "block +4200 ", "scalar +5000 ", "scalar +0 03"}
	if !slices.Equal(got, want) {
		t.Errorf("records: got %q, want %q", got, want)
	}
}

// TestFull: what the log has no room for is counted, and then there's room again.
func TestFull(t *testing.T) {
	for _, n := range []uint64{exact.MinLimit - 1, exact.MaxLimit + 1} {
		if err := exact.SetLimit(n); err == nil {
			t.Errorf("SetLimit(%d): got nil, want an error", n)
		}
	}
	mem := watch(t, 1<<20)
	src := make([]byte, len(mem))
	if err := exact.SetLimit(exact.MinLimit); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := exact.SetLimit(exact.DefaultLimit); err != nil {
			t.Error(err)
		}
	}()
	for _, row := range []struct {
		name    string
		times   int
		store   func(i int)
		tickets uint64 // for which there's no room either
	}{
		{"long ones", 20, func(int) { copy(mem, src) }, 0},
		{"short ones", 200_000, func(i int) { mem[i%4096] = byte(i) }, 2},
	} {
		for i := range row.times {
			row.store(i)
		}
		before := exact.Ticket()
		if again := exact.Ticket(); (again == before) != (row.tickets > 0) {
			t.Errorf("%s: tickets: got %d, %d, want %d repeated", row.name, before, again, row.tickets)
		}
		n := 0
		lost := exact.Drain(func(r exact.Record) { n++ })
		if lost <= row.tickets || n == 0 || uint64(n)+lost != uint64(row.times)+row.tickets {
			t.Errorf("%s: got %d records and %d lost, want some of each, %d together", row.name, n, lost, uint64(row.times)+row.tickets)
		}
		mem[0]++
		if got := drain(t); len(got) != 1 {
			t.Errorf("%s: after a drain got %d records, want 1", row.name, len(got))
		}
		if next := exact.Ticket(); next <= before {
			t.Errorf("%s: ticket after a drain: got %d, want more than %d", row.name, next, before)
		}
	}
}
