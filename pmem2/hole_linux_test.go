//go:build !naiveplacement

package pmem2_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// TestHoleNeverOpens: while a file is mapped over a placeholder there is no
// moment in which another thread's mmap could be given the place.
func TestHoleNeverOpens(t *testing.T) {
	for range 100 {
		t.Run("", func(t *testing.T) {
			if sq := mapBesideSquatter(t); sq.landed {
				t.Errorf("another thread's page was mapped into the reservation (lost: %v)", sq.lost())
			}
		})
	}
}

// holedMremap is a machine whose mremap unmaps its target and then fails, as a
// kernel that runs out of memory late does.
type holedMremap struct {
	*stage
	fails int // so many times
}

func (h *holedMremap) Mremap(addr uintptr, n, newN uint64, flags int, newAddr uintptr) (uintptr, error) {
	if h.fails == 0 {
		return h.stage.Mremap(addr, n, newN, flags, newAddr)
	}
	h.fails--
	if err := h.Munmap(newAddr, newN); err != nil {
		h.t.Error(err)
	}
	return 0, unix.ENOMEM
}

// mapIntoHole is all that a NewMap needs whose first mremap leaves a hole.
func mapIntoHole(t *testing.T) (*holedMremap, *pmem2.Config, *pmem2.Source, *pmem2.VMReservation) {
	h := &holedMremap{stage: newStage(t, emuDefault), fails: 1}
	src, err := pmem2.SourceFromFD(h.file(pageCache, page), pmem2.On(h))
	if err != nil {
		t.Fatal(err)
	}
	r, err := pmem2.NewVMReservation(0, 4*page, pmem2.On(h))
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(pmem2.GranularityPage)
	cfg.SetVMReservation(r, page)
	return h, cfg, src, r
}

// TestHoleIsPlugged: if mremap leaves a hole the placeholder is put back.
func TestHoleIsPlugged(t *testing.T) {
	h, cfg, src, r := mapIntoHole(t)
	if m, err := pmem2.NewMap(cfg, src); m != nil || !errors.Is(err, unix.ENOMEM) {
		t.Fatalf("got %v, %v; want no map and ENOMEM", m, err)
	}
	sq := &squatter{t: t, addr: r.Address() + page}
	if sq.try(); sq.landed {
		t.Fatal("after the failure there is a hole in the reservation")
	}

	// The same on the way back: by then the mapping is gone, so that the call
	// has done its work.
	m, err := pmem2.NewMap(cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	h.fails = 1
	if err := m.Delete(); err != nil {
		t.Fatal(err)
	}
	if sq.try(); sq.landed {
		t.Fatal("after Delete there is a hole in the reservation")
	}
	if err := m.Delete(); !errors.Is(err, pmem2.ErrMappingNotFound) {
		t.Errorf("second Delete: got %v", err)
	}
	if err := r.Delete(); err != nil {
		t.Error(err)
	}
}

// TestHolePluggedNamesWhatIsLeft: the mapping is gone and the placeholder back, but
// the fresh placeholder can't be unmapped: Delete has done its work and says so.
func TestHolePluggedNamesWhatIsLeft(t *testing.T) {
	h, cfg, src, r := mapIntoHole(t)
	h.fails = 0
	m, err := pmem2.NewMap(cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	h.fails = 1
	// The first munmap is the hole's.
	h.faults.Set(fault.MustParse("(ENOMEM (And (Op munmap) (Not (OnIndex 0))))"))
	err = m.Delete()
	h.faults.Set()
	if !errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "left behind") {
		t.Errorf("got %v, want ENOMEM and what is left behind", err)
	}
	h.leaks = true
	if err := m.Delete(); !errors.Is(err, pmem2.ErrMappingNotFound) {
		t.Errorf("second Delete: got %v", err)
	}
	if err := r.Delete(); err != nil {
		t.Error(err)
	}
}

// TestHoleTakenIsLeftAlone: if another thread's mmap is given the hole before it
// can be plugged, that thread's memory stays.
func TestHoleTakenIsLeftAlone(t *testing.T) {
	h, cfg, src, r := mapIntoHole(t)
	sq := h.squat(r.Address() + page)
	if _, err := pmem2.NewMap(cfg, src); !errors.Is(err, unix.ENOMEM) {
		t.Fatalf("got %v, want ENOMEM", err)
	}
	if !sq.landed || sq.lost() {
		t.Fatalf("the other thread's page: mapped %v, lost %v; want it mapped and kept", sq.landed, sq.lost())
	}
	h.faults.SetHook(nil)
	if err := r.Delete(); err != nil {
		t.Error(err)
	}
	sq.landed = false // went with the reservation
}

// TestHoleStress maps one file into reservations from 32 goroutines on ext4,
// whose failing mmap has unmapped what was there, while others map private memory
// wherever the kernel puts it and look whether it stays theirs.
func TestHoleStress(t *testing.T) {
	d := 5 * time.Second
	if testing.Short() {
		d = time.Second
	}
	dir, err := os.MkdirTemp(".", "ext4-")
	if err != nil {
		t.Skipf("needs a directory to write to, on ext4: %v", err)
	}
	defer os.RemoveAll(dir)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type != unix.EXT4_SUPER_MAGIC {
		t.Skipf("needs ext4; the file system here is of type %#x", st.Type)
	}
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := bytes.Repeat([]byte{0xee}, 4*page)
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}

	var (
		wg           sync.WaitGroup
		stop         atomic.Bool
		maps, others atomic.Int64
	)
	for range 32 {
		wg.Go(func() {
			src, err := pmem2.SourceFromFile(f)
			if err != nil {
				t.Error(err)
				return
			}
			r, err := pmem2.NewVMReservation(0, 16*page)
			if err != nil {
				t.Error(err)
				return
			}
			cfg := config(pmem2.GranularityPage)
			cfg.SetVMReservation(r, 4*page)
			for !stop.Load() {
				m, err := pmem2.NewMap(cfg, src)
				if err != nil {
					t.Error(err)
					break
				}
				if !bytes.Equal(m.Bytes(), content) {
					t.Error("the map doesn't show the file")
				}
				if err := m.Delete(); err != nil {
					t.Error(err)
					break
				}
				maps.Add(1)
			}
			if err := r.Delete(); err != nil {
				t.Error(err)
			}
		})
	}
	for id := range byte(4) {
		wg.Go(func() {
			host := platform.Host()
			for !stop.Load() {
				addr, err := host.Mmap(0, page, platform.ProtRead|platform.ProtWrite, platform.MapPrivate|platform.MapAnonymous, -1, 0)
				if err != nil {
					t.Error(err)
					return
				}
				mine := platform.Bytes(addr, page)
				mine[0], mine[page-1] = id+1, id+1
				for range 10 {
					if mine[0] != id+1 || mine[page-1] != id+1 {
						t.Errorf("private memory at %#x was overwritten", addr)
						return
					}
				}
				if err := host.Munmap(addr, page); err != nil {
					t.Error(err)
				}
				others.Add(1)
			}
		})
	}
	time.Sleep(d)
	stop.Store(true)
	wg.Wait()
	t.Logf("%d maps beside %d private mappings", maps.Load(), others.Load())
}
