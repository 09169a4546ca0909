//go:build race

package exact_test

import (
	"bytes"
	"runtime"
	"testing"
	"unsafe"

	"pmemlab/emu/exact"
)

// TestLateStores: a drain comes between the hook of a store and the store.
func TestLateStores(t *testing.T) {
	for _, row := range []struct {
		name  string
		hook  func(mem []byte)
		store []byte
		want  []string
	}{
		{"scalar", func(m []byte) { runtime.RaceWrite(unsafe.Pointer(&m[8])) }, []byte{1},
			[]string{"scalar +8 size 0 01 late"}},
		{"small block", func(m []byte) { runtime.RaceWriteRange(unsafe.Pointer(&m[8]), 9) }, []byte("123456789"),
			[]string{"block +8 size 9 313233343536373839 late"}},
		{"big block", func(m []byte) { runtime.RaceWriteRange(unsafe.Pointer(&m[8]), 100) }, bytes.Repeat([]byte{7}, 100),
			[]string{"block +8 size 100 " + string(bytes.Repeat([]byte("07"), 100)) + " late"}},
		{"silent", func(m []byte) { runtime.RaceWrite(unsafe.Pointer(&m[8])) }, []byte{0}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			mem := watch(t, 4096)
			// Another goroutine drains without a lock that this one would release.
			var turn int32
			go func() {
				for loadTurn(&turn) != 1 {
					runtime.Gosched()
				}
				if got := drain(t); len(got) != 1 || got[0].Late || bytes.ContainsFunc(got[0].Data, func(r rune) bool { return r != 0 }) {
					t.Errorf("drain before the store: got %v, want one record with zeros", show(addr(mem), got))
				}
				setTurn(&turn, 2)
			}()
			row.hook(mem)
			setTurn(&turn, 1)
			for loadTurn(&turn) != 2 {
				runtime.Gosched()
			}
			for i, v := range row.store {
				storeRaw(&mem[8+i], v)
			}
			exact.Ticket()
			wantRecords(t, mem, row.want...)
		})
	}
}

//go:norace
//go:noinline
func loadTurn(p *int32) int32 { return *p }

//go:norace
//go:noinline
func setTurn(p *int32, v int32) { *p = v }

// TestNeighbours: another goroutine stores next to a store whose content isn't taken yet.
func TestNeighbours(t *testing.T) {
	mem := watch(t, 4096)
	var turn int32
	go func() {
		for loadTurn(&turn) != 1 {
			runtime.Gosched()
		}
		*at[uint64](mem, 16) = 2
		setTurn(&turn, 2)
	}()
	*at[uint64](mem, 8) = 1
	setTurn(&turn, 1)
	for loadTurn(&turn) != 2 {
		runtime.Gosched()
	}
	exact.Ticket()
	wantRecords(t, mem, "scalar +8 size 0 01", "scalar +16 size 0 02")
}
