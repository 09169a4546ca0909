//go:build amd64 || arm64

package pagescan_test

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Stores of all kinds, with the garbage collector at work, against a copy that takes from
// the memory just what scans report.
func TestShadow(t *testing.T) {
	const pages, minScans, minStores = 128, 1000, 50_000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := newScanner(t)
	m := newMemory(t, pages)
	m.arm(s)
	src := newMemory(t, 1)
	copy(src.bytes(), bytes.Repeat([]byte("scan"), int(pageSize)/4))

	var (
		stop   atomic.Bool
		stores atomic.Int64
		wg     sync.WaitGroup
	)
	// Each writer has a quarter of the memory, so that plain stores don't race.
	const quarter = pages / 4
	part := func(i uint64) []byte { return m.bytes()[i*quarter*pageSize : (i+1)*quarter*pageSize] }
	for i, store := range []func(r *rand.Rand, b []byte){
		func(r *rand.Rand, b []byte) { b[r.IntN(len(b))] = byte(r.Uint32()) },
		func(r *rand.Rand, b []byte) {
			p := (*uint64)(unsafe.Pointer(&b[r.IntN(len(b)/8)*8]))
			if old := atomic.AddUint64(p, r.Uint64()); old&1 == 0 {
				atomic.CompareAndSwapUint64(p, old, r.Uint64())
			}
		},
		func(r *rand.Rand, b []byte) {
			from, to := r.IntN(len(b)/2), len(b)/2+r.IntN(len(b)/2)
			copy(b[to:], b[from:from+r.IntN(9000)])
			clear(b[from : from+r.IntN(200)])
		},
		func(r *rand.Rand, b []byte) {
			from := r.IntN(len(b) - int(pageSize))
			_, err := unix.Pread(src.fd, b[from:from+r.IntN(int(pageSize))], 0)
			if err != nil {
				t.Error(err)
			}
		},
	} {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for b := part(uint64(i)); !stop.Load(); runtime.Gosched() {
				for range 10 {
					store(r, b)
				}
				stores.Add(10)
			}
		})
	}
	wg.Go(func() {
		for n := 0; !stop.Load(); n++ {
			if n%8 == 0 {
				runtime.GC()
			}
			runtime.Gosched()
		}
	})

	shadow := make([]byte, m.n)
	take := func() (n uint64) {
		must(t, s.Scan(m.addr(0), m.n, true, func(addr uintptr, size uint64) {
			copyPages(shadow, m, uint64(addr-m.addr(0)), size)
			n += size
		}))
		return n
	}
	var copied uint64
	scans := 0
	for ; scans < minScans || stores.Load() < minStores; scans++ {
		copied += take()
		runtime.Gosched()
	}
	stop.Store(true)
	wg.Wait()
	copied += take()
	if again := take(); again != 0 {
		t.Errorf("the last scan: got %d bytes, want 0", again)
	}
	if !bytes.Equal(shadow, m.bytes()) {
		for i := range uint64(pages) {
			if at := i * pageSize; !bytes.Equal(shadow[at:at+pageSize], m.bytes()[at:at+pageSize]) {
				t.Errorf("page %d differs", i)
			}
		}
	}
	t.Logf("%d stores, %d scans, %d pages copied", stores.Load(), scans, copied/pageSize)
}

// copyPages reads what others store at the same time, on purpose.
//
//go:norace
func copyPages(shadow []byte, m memory, off, n uint64) {
	for i := off; i < off+n; i += 8 {
		*(*uint64)(unsafe.Pointer(&shadow[i])) = *(*uint64)(unsafe.Add(m.base, i))
	}
}

// Scanners in parallel, each with ranges of its own, and one that they share.
func TestConcurrentUse(t *testing.T) {
	s := newScanner(t)
	shared := newMemory(t, 64)
	shared.arm(s)
	for i := range uint64(64) {
		*shared.at(i) = 1
	}
	var found [64]atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		m := newMemory(t, 64)
		wg.Go(func() {
			for i := range 50 {
				m.arm(s)
				*m.at(uint64(i)) = 1
				if got := m.scan(s, true); len(got) != i+1 {
					t.Errorf("round %d: got %v, want %d pages", i, got, i+1)
				}
				if err := s.Disarm(m.addr(0), m.n); err != nil {
					t.Error(err)
				}
				for _, page := range shared.scan(s, true) {
					found[page].Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i := range found {
		if n := found[i].Load(); n != 1 {
			t.Errorf("page %d of the shared range: found %d times, want 1", i, n)
		}
	}
}
