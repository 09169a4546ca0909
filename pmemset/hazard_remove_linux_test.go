package pmemset_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"pmemlab/pmemset"
)

// hazardRemovals are the ways to remove the part map at d.
var hazardRemovals = []struct {
	name   string
	remove func(*scene, *pmemset.Set, pmemset.PartDescriptor) error
}{
	{"RemovePartMap", func(s *scene, set *pmemset.Set, d pmemset.PartDescriptor) error {
		p, err := set.PartMapByAddress(d.Addr)
		if err != nil {
			return err
		}
		defer p.Drop()
		return set.RemovePartMap(p)
	}},
	{"RemoveRange", func(_ *scene, set *pmemset.Set, d pmemset.PartDescriptor) error {
		return set.RemoveRange(d.Addr, d.Size)
	}},
}

// TestHazardFlushInPartRemove: in PART_REMOVE the memory can still be used, so what is
// stored there can still be made durable, also if it is all that the set has: an
// operation that does nothing and says nothing would lose a program's last stores.
func TestHazardFlushInPartRemove(t *testing.T) {
	operations := []struct {
		name string
		work func(*pmemset.Set, []byte) error
	}{
		{"Persist", func(set *pmemset.Set, b []byte) error { b[0]++; return set.Persist(b) }},
		{"Flush", func(set *pmemset.Set, b []byte) error { b[0]++; return set.Flush(b) }},
		{"Memcpy", func(set *pmemset.Set, b []byte) error { return set.Memcpy(b, make([]byte, len(b)), 0) }},
		{"Memmove", func(set *pmemset.Set, b []byte) error { return set.Memmove(b, make([]byte, len(b)), 0) }},
		{"Memset", func(set *pmemset.Set, b []byte) error { return set.Memset(b, 7, 0) }},
		{"DeepFlush", func(set *pmemset.Set, b []byte) error { b[0]++; return set.DeepFlush(b) }},
	}
	for _, row := range []struct {
		name         string
		before, then int  // other parts
		alone        bool // the callback removes them before it does anything else
	}{
		{"the only part", 0, 0, false}, {"the last of two", 1, 0, false}, {"the first of two", 0, 1, false},
		{"of three", 1, 1, false}, {"of three, the others gone", 1, 1, true},
	} {
		for _, removal := range hazardRemovals {
			t.Run(row.name+"/"+removal.name, func(t *testing.T) {
				hazardEach(t, "G2 G3", func(s *scene, h *hazard) {
					src, set := s.file(), s.set(s.reservation(8*sceneM))
					for range row.before {
						s.maps(set, src, 0, 64*sceneK)
					}
					s.coalescing(set, pmemset.CoalescingFull)
					if row.before > 0 {
						s.coalescing(set, pmemset.CoalescingNone)
					}
					s.maps(set, src, sceneM, 64*sceneK)
					s.coalescing(set, pmemset.CoalescingFull)
					d := s.maps(set, src, 2*sceneM, 64*sceneK)
					s.coalescing(set, pmemset.CoalescingNone)
					for range row.then {
						s.maps(set, src, 0, 64*sceneK)
					}
					told := 0
					s.hook = func(set *pmemset.Set, e *pmemset.Event) error {
						if e.Type != pmemset.EventPartRemove || e.Addr != d.Addr {
							return nil
						}
						told++
						if row.alone {
							s.removes("0", set, 1, 1<<63)
						}
						for _, op := range operations {
							for _, at := range []uint64{0, 64*sceneK - 32, d.Size - 64} {
								addr, b := d.Addr+uintptr(at), d.Bytes()[at:at+64]
								var y synced
								h.on(y.before)
								err := op.work(set, b)
								h.off()
								if n := y.missed(addr, b); err != nil || n > 0 {
									s.Errorf("%s of 64 bytes at %d in PART_REMOVE: %v, %d bytes aren't flushed", op.name, at, err, n)
								}
							}
						}
						return nil
					}
					s.must(removal.remove(s, set, d))
					s.hook = nil
					if told != 1 {
						s.Errorf("PART_REMOVE has been sent %d times", told)
					}
					if n := s.mappedOf(d); n != 0 {
						s.Errorf("%d bytes are still mapped", n)
					}
				})
			})
		}
	}
}

// TestHazardHangingFlush: storage that takes its time to answer a deep flush holds up
// nothing but the removal of what the set has.
func TestHazardHangingFlush(t *testing.T) {
	for _, removal := range hazardRemovals {
		t.Run(removal.name, func(t *testing.T) {
			hazardEach(t, "all", func(s *scene, h *hazard) {
				src, set, other := s.file(), s.set(nil), s.set(nil)
				d := s.maps(set, src, 0, 64*sceneK)
				hangs, release, second := make(chan struct{}), make(chan struct{}), make(chan struct{})
				msyncs := make(chan int, 1)
				msyncs <- 0
				h.on(func(c hazardCall) error {
					if c.op != "msync" || uint64(c.addr-d.Addr) >= d.Size {
						return nil
					}
					n := <-msyncs
					msyncs <- n + 1
					switch n {
					case 0:
						close(hangs)
						<-release
					case 1:
						close(second)
					}
					return nil
				})
				defer h.off()
				flushed, removed := make(chan error, 1), make(chan error, 1)
				go func() { flushed <- set.DeepFlush(d.Bytes()) }()
				concurrentWithin(time.Minute, func() { <-hangs })
				goesOn := func() {
					p := set.FirstPartMap()
					p.Drop()
					if q, err := set.PartMapByAddress(d.Addr); err != nil {
						s.Errorf("the part that is being flushed can't be found: %v", err)
					} else if q.Drop(); p == nil || q.Descriptor() != (pmemset.PartDescriptor{}) {
						s.Error("a reference that has been dropped tells of a part map, or there is none")
					}
					for _, set := range []*pmemset.Set{set, other} {
						if _, err := s.mapAt(set, src, sceneM, 64*sceneK); err != nil {
							s.Errorf("Map: %v", err)
						}
					}
					e, err := s.mapAt(other, src, sceneM, 64*sceneK)
					if err == nil {
						err = removal.remove(s, other, e)
					}
					if err != nil {
						s.Errorf("removing from another set: %v", err)
					}
				}
				concurrentWithin(time.Minute, goesOn)
				go func() { removed <- removal.remove(s, set, d) }()
				concurrentWithin(time.Minute, func() {
					<-second // the removal's own flush
					for range 20 {
						runtime.Gosched()
						// A look-up's reference would make the removal fail rather than wait.
						if _, err := s.mapAt(set, src, sceneM, 64*sceneK); err != nil {
							s.Errorf("Map: %v", err)
						}
						_, _ = set.StoreGranularity()
					}
				})
				select {
				case err := <-removed:
					s.Errorf("a part has been removed while it is flushed: %v", err)
					removed <- err
				default:
				}
				if n := s.mappedOf(d); n != d.Size {
					s.Errorf("%d of %d bytes are mapped while they are flushed", n, d.Size)
				}
				close(release)
				concurrentWithin(time.Minute, func() { s.must(<-flushed); s.outcome("the removal", <-removed, "0") })
				if n := s.mappedOf(d); n != 0 {
					s.Errorf("%d bytes stay mapped", n)
				}
			})
		})
	}
}

// TestHazardMapsDeletedByTheProgram: maps in the configured reservation can be found
// there, and deleted, by the program. The set's Delete must take the rest away, and all
// of them off the counts.
func TestHazardMapsDeletedByTheProgram(t *testing.T) {
	const pieces = 4
	for mask := range 1 << pieces {
		t.Run(fmt.Sprintf("%04b", mask), func(t *testing.T) {
			sceneOnPmem(t, "all", func(p *scenePmem) {
				src, r := p.newSource(), p.reservation(sceneM)
				p.sds(src, pmemset.SDS{})
				set := p.set(r)
				p.coalescing(set, pmemset.CoalescingFull)
				var d pmemset.PartDescriptor
				for range pieces {
					d = p.maps(set, src, 0, 64*sceneK)
				}
				for i := range uint64(pieces) {
					if mask>>i&1 == 0 {
						continue
					}
					m, err := r.MapFind(i*64*sceneK, 1)
					p.must(err)
					p.must(m.Delete())
				}
				p.must(set.Delete())
				if n := p.mappedOf(d); n != 0 {
					p.Errorf("%d bytes stay mapped", n)
				}
				if m, err := r.MapFindFirst(); err == nil {
					p.Errorf("the map at offset %d of the reservation stays", m.Address()-r.Address())
				}
				if offset, ok := r.FindFree(sceneM, 4096); !ok || offset != 0 {
					p.Errorf("the reservation isn't free: %d, %t", offset, ok)
				}
				p.countsNone(src)
			})
		})
	}
}
