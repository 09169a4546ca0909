package pmem2_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// squatter is another thread that maps a page of its own at an address as soon
// as nothing is mapped there: what the kernel may do for any mmap in the process.
type squatter struct {
	t      *testing.T
	addr   uintptr
	landed bool
}

const marker = 0x5a

// squat makes every platform call of the stage give the squatter a chance.
func (s *stage) squat(addr uintptr) *squatter {
	sq := &squatter{t: s.t, addr: addr}
	s.faults.SetHook(func(fault.Call) { sq.try() })
	s.t.Cleanup(func() {
		s.faults.SetHook(nil)
		if sq.landed {
			platform.Host().Munmap(addr, page)
		}
	})
	return sq
}

func (sq *squatter) try() {
	if sq.landed {
		return
	}
	flags := platform.MapPrivate | platform.MapAnonymous | platform.MapFixedNoreplace
	_, err := platform.Host().Mmap(sq.addr, page, platform.ProtRead|platform.ProtWrite, flags, -1, 0)
	switch {
	case err == nil:
		sq.landed = true
		platform.Bytes(sq.addr, 1)[0] = marker
	case !errors.Is(err, unix.EEXIST):
		sq.t.Errorf("mmap at %#x: %v", sq.addr, err)
	}
}

// lost reports whether the squatter's page is gone.
func (sq *squatter) lost() bool { return sq.landed && platform.Bytes(sq.addr, 1)[0] != marker }

// mapBesideSquatter maps a page-cache file, for which the kernel refuses MAP_SYNC,
// into a reservation while a squatter waits for the place.
func mapBesideSquatter(t *testing.T) *squatter {
	s := newStage(t, emuDefault)
	src := s.source(s.file(pageCache, page))
	r := s.reservation(4 * page)
	cfg := config(pmem2.GranularityPage)
	cfg.SetVMReservation(r, page)
	sq := s.squat(r.Address() + page)
	m, err := pmem2.NewMap(cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Delete() })
	return sq
}
