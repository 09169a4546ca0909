package emu_test

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/pmem2/platform"
)

// TestLitmusConcurrent has goroutines store, flush, fence and copy, on lines of their own and on
// shared ones, while others look, enumerate and map. In the end all is persisted, and a power
// failure has to leave exactly what is in memory.
func TestLitmusConcurrent(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 300
	}
	for name, cfg := range map[string]emu.Config{
		"adr": {}, "eadr": {EADR: true}, "arm64": {Model: emu.Arm64}, "no PAGEMAP_SCAN": {NoPageScan: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", *litmusSeed)
			r := newRig(t, cfg, onDaxFile)
			const (
				writers = 4
				own     = 2 * 4096 // bytes of each writer, shared ones behind them
				shared  = writers * own
			)
			var working, watching sync.WaitGroup
			var stop atomic.Bool
			watching.Go(func() {
				for i := 0; !stop.Load(); i++ {
					switch i % 6 {
					case 0:
						r.m.Look()
					case 1:
						r.m.Findings()
					case 2:
						r.m.Trace()
					case 3:
						_ = r.m.Durable(r.mem[:own])
					default:
						s, err := r.m.CrashStates(emu.CrashOptions{Possible: i%2 == 0, Max: 4})
						if err != nil {
							t.Error(err)
							return
						}
						for _, err := range s.All() {
							if err != nil {
								t.Error(err)
							}
						}
						if err := s.Close(); err != nil {
							t.Error(err)
						}
					}
				}
			})
			watching.Go(func() {
				fd, err := r.m.Open(r.path, platform.ORdwr, 0)
				if err != nil {
					t.Error(err)
					return
				}
				defer r.m.Close(fd)
				for i := 0; !stop.Load(); i++ {
					at, err := r.m.Mmap(0, rigSize, platform.ProtRead|platform.ProtWrite, platform.MapShared, fd, 0)
					if err != nil {
						t.Error(err)
						return
					}
					// Through another mapping of the same bytes: a page that nobody else stores to.
					p := platform.Pointer(at + shared + 4096)
					*(*byte)(p) = byte(i)
					r.ops.Flush(p, 1)
					if err := r.m.Munmap(at, rigSize); err != nil {
						t.Error(err)
					}
				}
				r.ops.Fence()
			})
			for g := range writers {
				working.Go(func() {
					rng := rand.New(rand.NewPCG(*litmusSeed, uint64(g)))
					src := make([]byte, 4096)
					for range rounds {
						for i := range src[:256] {
							src[i] = byte(rng.IntN(256))
						}
						off := uint64(g*own + rng.IntN(own-256))
						p, n := r.at(off), uintptr(1+rng.IntN(256))
						switch rng.IntN(9) {
						case 0, 1:
							copy(r.mem[off:], src[:n])
						case 2:
							r.ops.Copy(p, unsafe.Pointer(&src[0]), n)
						case 3:
							r.ops.CopyNT(p, unsafe.Pointer(&src[0]), n)
						case 4:
							r.ops.Flush(p, n)
						case 5:
							r.ops.Fence()
						case 6:
							r.ops.Persist(p, n)
						case 7: // words that all store to
							word := (*uint64)(r.at(shared + uint64(8*rng.IntN(16))))
							atomic.StoreUint64(word, rng.Uint64())
							r.ops.Flush(unsafe.Pointer(word), 8)
						case 8:
							r.ops.SetNT(p, byte(n), n)
						}
					}
					r.ops.Flush(r.at(uint64(g*own)), own)
					r.ops.Flush(r.at(shared), 128)
					r.ops.Fence()
				})
			}
			working.Wait()
			stop.Store(true)
			watching.Wait()
			r.ops.Persist(r.at(shared), 2*4096) // of words that were stored after a writer's last flush, nothing is left
			s, err := r.m.CrashStates(emu.CrashOptions{Possible: true})
			must(t, err)
			if n := s.Count(); n != 1 {
				t.Errorf("%d states after everything was persisted, want 1", n)
			}
			must(t, s.Close())
			m, err := r.m.Crash(emu.CrashConfig{})
			must(t, err)
			r.used = nil
			for off := uint64(0); off < shared+2*4096; off += 64 {
				r.used = append(r.used, off)
			}
			got, want := []byte(r.booted(t, m)), []byte(r.content(r.mem))
			if !bytes.Equal(got, want) {
				for i := range got {
					if got[i] != want[i] {
						t.Fatalf("byte %#x after the power failure: got %d, want %d", i, got[i], want[i])
					}
				}
			}
		})
	}
}
