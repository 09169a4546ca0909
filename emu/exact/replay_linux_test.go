package exact_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"pmemlab/emu/exact"
)

// replay applies a record to a copy of memory.
func replay(t testing.TB, image []byte, base uintptr, r exact.Record) {
	if r.Data == nil || r.Size != 0 && uint64(len(r.Data)) != r.Size {
		t.Errorf("record %+v: want data of its size", r)
	}
	copy(image[r.Addr-base:], r.Data)
}

// TestReplay stores from 8 goroutines, each in its own words, all in all lines, and in
// shared ones under a lock and with atomics, beside the garbage collector and drains. Each
// also stores a counter, whose order must be its own.
func TestReplay(t *testing.T) {
	const (
		goroutines = 8
		stores     = 150_000
		size       = 1 << 20
	)
	mem := watch(t, size)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	image := bytes.Clone(mem)
	base := addr(mem)
	last := make([]uint32, goroutines)
	records, atomics, lates := 0, 0, 0
	take := func() {
		all := drain(t)
		for _, r := range all {
			replay(t, image, base, r)
			records++
			if r.Kind == exact.Atomic {
				atomics++
			}
			if r.Late {
				lates++
			}
			off := r.Addr - base
			if g := off / 64; off%64 == 0 && g < goroutines && !r.Late {
				var word [4]byte
				copy(word[:], image[off:])
				n := binary.LittleEndian.Uint32(word[:])
				// A drain may tell a store before it's done, hence with the value before.
				if n != last[g]+1 && n != last[g] {
					t.Errorf("goroutine %d: counter %d after %d", g, n, last[g])
				}
				last[g] = n
			}
		}
	}
	stop := make(chan struct{})
	var beside, wg sync.WaitGroup
	beside.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
				take()
			}
		}
	})
	var mu sync.Mutex
	var garbage [goroutines][]byte
	for g := range goroutines {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(g)))
			counter := at[uint32](mem, 64*g)
			for n := range stores {
				v := r.Uint64()
				line := 64 * (64 + r.IntN(size/64-64))
				switch own := mem[line+8*g : line+8*g+8]; v % 16 {
				case 0:
					*counter++
				case 1:
					own[v>>8%8] = byte(v >> 16)
				case 2:
					copy(own[v>>8%8:], own)
				case 3:
					clear(own[v>>8%8:])
				case 4:
					binary.LittleEndian.PutUint64(own, v)
				case 5:
					atomic.AddUint64(at[uint64](mem, 64*32+int(v>>8%8)*8), v)
				case 6:
					atomic.SwapUint32(at[uint32](mem, 64*33), uint32(v>>8))
				case 7:
					mu.Lock()
					*at[uint64](mem, 64*34+int(v>>8%8)*8) = v
					copy(mem[64*36+int(v>>8%100):], mem[64*40:64*41])
					mu.Unlock()
				case 8:
					*at[pair](mem, 64*48+16*g) = pair{v, v + 1}
				case 9:
					garbage[g] = make([]byte, 100+v>>8%4000)
				default:
					*at[uint64](own, 0) = v
				}
				if n%5000 == 0 {
					exact.Ticket()
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	beside.Wait()
	take()
	if i := firstDifference(image, mem); i >= 0 {
		t.Errorf("replay differs from memory first at %d: got %x, want %x", i, image[i:][:min(16, size-i)], mem[i:][:min(16, size-i)])
	}
	t.Logf("%d records, %d of atomics, %d late", records, atomics, lates)
	if records < 1_000_000 || atomics < 100_000 {
		t.Errorf("got %d records, %d of them atomics; want at least 1000000 and 100000", records, atomics)
	}
	for g := range goroutines {
		if want := *at[uint32](mem, 64*g); last[g] != want || want == 0 {
			t.Errorf("goroutine %d: last counter in the records %d, want %d", g, last[g], want)
		}
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// TestAtomicsInOrder: the records of atomics are in the order of the operations.
func TestAtomicsInOrder(t *testing.T) {
	mem := watch(t, 4096)
	const goroutines, times = 4, 50_000
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range times {
				at[atomic.Uint64](mem, 64).Add(1)
			}
		})
	}
	wg.Wait()
	all := drain(t)
	if len(all) != goroutines*times {
		t.Fatalf("got %d records, want %d", len(all), goroutines*times)
	}
	for i, r := range all {
		if got := binary.LittleEndian.Uint64(r.Data); got != uint64(i)+1 {
			t.Fatalf("atomic %d: got %d, want %d", i, got, i+1)
		}
	}
}
