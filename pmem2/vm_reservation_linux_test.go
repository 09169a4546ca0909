package pmem2_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/pmem2"
)

var seed = flag.Uint64("seed", rand.Uint64(), "seed of the random tests")

// TestReservationEdges: the values at which the C library goes wrong. Nothing
// changes on an error.
func TestReservationEdges(t *testing.T) {
	s := newStage(t, emuDefault)
	for _, tc := range []struct {
		name string
		addr uintptr
		size uint64
		want string
	}{
		{"size 0", 0, 0, "PMEM2_E_LENGTH_OUT_OF_RANGE"},
		{"size 1", 0, 1, "PMEM2_E_LENGTH_UNALIGNED"},
		{"page - 1", 0, page - 1, "PMEM2_E_LENGTH_UNALIGNED"},
		{"page + 1", 0, page + 1, "PMEM2_E_LENGTH_UNALIGNED"},
		{"2^64 - page: rounding wraps", 0, -page & math.MaxUint64, "ENOMEM"},
		{"2^63", 0, 1 << 63, "ENOMEM"},
		{"2^47", 0, 1 << 47, "ENOMEM"},
		{"address 1", 1, page, "PMEM2_E_ADDRESS_UNALIGNED"},
		{"address and size wrong", 1, 1, "PMEM2_E_ADDRESS_UNALIGNED"},
		{"address + size wraps", 1 << 40, -page & math.MaxUint64, "ENOMEM"},
		{"the last page of all", ^uintptr(page - 1), page, "ENOMEM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := pmem2.NewVMReservation(tc.addr, tc.size, s.on())
			if r != nil || outcome(err) != tc.want {
				t.Errorf("got %v, %v; want none and %s", r, err, tc.want)
			}
		})
	}

	r := s.reservation(4 * page)
	src, _ := pmem2.SourceFromAnon(math.MaxUint64, s.on())
	for _, tc := range []struct {
		name string
		call func() error
		want string
	}{
		{"Extend to a wrapping size", func() error { return r.Extend(-page & math.MaxUint64) }, "ENOMEM"},
		{"Extend to a wrapping end", func() error { return r.Extend(-uint64(r.Address()) - 4*page) }, "ENOMEM"},
		{"Extend by 2^47", func() error { return r.Extend(1 << 47) }, "ENOMEM"},
		{"Extend by 1", func() error { return r.Extend(1) }, "PMEM2_E_LENGTH_UNALIGNED"},
		{"Extend by 0", func() error { return r.Extend(0) }, "0"},
		{"Shrink, offset at the end", func() error { return r.Shrink(4*page, page) }, "PMEM2_E_OFFSET_OUT_OF_RANGE"},
		{"Shrink, wrapping", func() error { return r.Shrink(page, -page&math.MaxUint64) }, "PMEM2_E_LENGTH_OUT_OF_RANGE"},
		{"Shrink by 0", func() error { return r.Shrink(0, 0) }, "PMEM2_E_LENGTH_OUT_OF_RANGE"},
		{"Shrink by all", func() error { return r.Shrink(0, 4*page) }, "PMEM2_E_NOSUPP"},
		{"Shrink the middle", func() error { return r.Shrink(page, page) }, "PMEM2_E_NOSUPP"},
		{"NewMap, offset + length wraps", func() error { return mapInto(r, -page&math.MaxUint64, 2*page, src) }, "PMEM2_E_ADDRESS_UNALIGNED"},
		{"NewMap, offset 2^63", func() error { return mapInto(r, 1<<63, page, src) }, "PMEM2_E_ADDRESS_UNALIGNED"},
		{"NewMap, the source's 2^64-1 bytes", func() error { return mapInto(r, 0, 0, src) }, "ENOMEM"},
		{"NewMap, one page too long", func() error { return mapInto(r, 0, 5*page, src) }, "PMEM2_E_ADDRESS_UNALIGNED"},
		{"NewMap, one page behind", func() error { return mapInto(r, 4*page, page, src) }, "PMEM2_E_ADDRESS_UNALIGNED"},
		{"NewMap, offset 1", func() error { return mapInto(r, 1, page, src) }, "PMEM2_E_OFFSET_UNALIGNED"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr, before := r.Address(), s.Outstanding()
			if err := tc.call(); outcome(err) != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if r.Address() != addr || r.Size() != 4*page || fmt.Sprint(s.Outstanding()) != fmt.Sprint(before) {
				t.Errorf("the reservation has changed: %#x, %d bytes; %q", r.Address(), r.Size(), s.Outstanding())
			}
		})
	}
}

func mapInto(r *pmem2.VMReservation, offset, length uint64, src *pmem2.Source) error {
	cfg := config(pmem2.GranularityPage)
	cfg.SetVMReservation(r, offset)
	cfg.SetLength(length)
	m, err := pmem2.NewMap(cfg, src)
	if err == nil {
		m.Delete()
	}
	return err
}

// TestReservationAlignment: the start suits large pages, and nothing around the
// range is taken.
func TestReservationAlignment(t *testing.T) {
	s := newStage(t, emuDefault)
	for size, alignment := range map[uint64]uintptr{
		page: 2 << 20, 2<<20 - page: 2 << 20, 2 << 20: 2 << 20, 1<<30 - page: 2 << 20,
		1 << 30: 1 << 30, 2 << 30: 1 << 30, 2<<30 + page: 1 << 30,
	} {
		r := s.reservation(size)
		if r.Address()%alignment != 0 || r.Size() != size {
			t.Errorf("%d bytes: address %#x, size %d; want a multiple of %#x", size, r.Address(), r.Size(), alignment)
		}
		want := fmt.Sprintf("[mapping of %d bytes at %#x: ---p anonymous]", size, r.Address())
		if got := fmt.Sprint(s.Outstanding()); got != want {
			t.Errorf("%d bytes: holds %s, want %s", size, got, want)
		}
		if err := r.Delete(); err != nil {
			t.Fatal(err)
		}
		if got := s.Outstanding(); len(got) != 0 {
			t.Errorf("%d bytes: after Delete holds %q", size, got)
		}
	}
}

// TestReservationOnAnOldKernel: one that takes MAP_FIXED_NOREPLACE for a hint maps
// elsewhere; that is ErrMappingExists, and nothing stays.
func TestReservationOnAnOldKernel(t *testing.T) {
	s := newStage(t, emu.Config{NoSharedValidate: true})
	taken := s.reservation(4 * page)
	before := fmt.Sprint(s.Outstanding())
	if r, err := pmem2.NewVMReservation(taken.Address(), page, s.on()); r != nil || !errors.Is(err, pmem2.ErrMappingExists) {
		t.Errorf("got %v, %v", r, err)
	}
	if after := fmt.Sprint(s.Outstanding()); after != before {
		t.Errorf("before %s, after %s", before, after)
	}
}

// TestReservationOfAnotherMachine: a source can't be mapped into it.
func TestReservationOfAnotherMachine(t *testing.T) {
	s, other := newStage(t, emuDefault), newStage(t, emuDefault)
	src, _ := pmem2.SourceFromAnon(page, s.on())
	if err := mapInto(other.reservation(page), 0, 0, src); !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v, want EINVAL", err)
	}
}

// TestReservationAgainstModel makes random calls on a reservation and holds each
// against a model that knows pages only.
func TestReservationAgainstModel(t *testing.T) {
	t.Logf("-seed=%d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 0))
	s := newStage(t, emuDefault)
	src := s.source(s.file(pageCache, 64*page))
	r := s.reservation(16 * page)
	start := r.Address()
	model := make([]*pmem2.Map, 16) // what lies at each page
	pages := func(n int) uint64 { return uint64(n) * page }

	for step := range 3000 {
		offset, length := rng.IntN(len(model)+2), rng.IntN(5)
		free := func(from, to int) bool {
			for _, m := range model[from:to] {
				if m != nil {
					return false
				}
			}
			return true
		}
		var got error
		want := "0"
		what := ""
		switch rng.IntN(6) {
		case 0, 1:
			length++
			what = fmt.Sprintf("NewMap at %d, %d pages", offset, length)
			cfg := config(pmem2.GranularityPage)
			cfg.SetVMReservation(r, pages(offset))
			cfg.SetLength(pages(length))
			var m *pmem2.Map
			m, got = pmem2.NewMap(cfg, src)
			switch {
			case offset+length > len(model):
				want = "PMEM2_E_ADDRESS_UNALIGNED"
			case !free(offset, offset+length):
				want = "PMEM2_E_MAPPING_EXISTS"
			default:
				for i := offset; i < offset+length; i++ {
					model[i] = m
				}
			}
		case 2, 3:
			what = fmt.Sprintf("Delete of the map found at %d, %d pages", offset, length)
			var found *pmem2.Map
			for i := offset; i < min(offset+max(length, 1), len(model)) && found == nil; i++ {
				found = model[i]
			}
			var m *pmem2.Map
			m, got = r.MapFind(pages(offset), pages(length))
			if m != found {
				t.Fatalf("step %d: %s: found %v, want %v", step, what, m, found)
			}
			if found == nil {
				want = "PMEM2_E_MAPPING_NOT_FOUND"
				break
			}
			got = m.Delete()
			for i := range model {
				if model[i] == m {
					model[i] = nil
				}
			}
		case 4:
			what = fmt.Sprintf("Extend by %d pages", length)
			if len(model)+length > 40 {
				continue
			}
			if got = r.Extend(pages(length)); got == nil {
				model = append(model, make([]*pmem2.Map, length)...)
			} else if errors.Is(got, pmem2.ErrMappingExists) {
				continue // somebody else's memory lies behind
			}
		case 5:
			what = fmt.Sprintf("Shrink at %d by %d pages", offset, length)
			got = r.Shrink(pages(offset), pages(length))
			switch {
			case offset >= len(model):
				want = "PMEM2_E_OFFSET_OUT_OF_RANGE"
			case length == 0 || offset+length > len(model):
				want = "PMEM2_E_LENGTH_OUT_OF_RANGE"
			case length == len(model) || offset != 0 && offset+length != len(model):
				want = "PMEM2_E_NOSUPP"
			case !free(offset, offset+length):
				want = "PMEM2_E_VM_RESERVATION_NOT_EMPTY"
			case offset == 0:
				model = model[length:]
				start += uintptr(pages(length))
			default:
				model = model[:offset]
			}
		}
		if outcome(got) != want {
			t.Fatalf("step %d: %s of %d: got %v, want %s", step, what, len(model), got, want)
		}
		if r.Address() != start || r.Size() != pages(len(model)) {
			t.Fatalf("step %d: %s: reservation at %#x of %d, want %#x of %d", step, what, r.Address(), r.Size(), start, pages(len(model)))
		}
		checkOrder(t, r, model)
	}
	for _, m := range model {
		if m != nil {
			m.Delete()
		}
	}
}

// checkOrder walks the reservation in both directions.
func checkOrder(t *testing.T, r *pmem2.VMReservation, model []*pmem2.Map) {
	t.Helper()
	var want []*pmem2.Map
	for _, m := range model {
		if m != nil && (len(want) == 0 || want[len(want)-1] != m) {
			want = append(want, m)
		}
	}
	at, err := r.MapFindFirst()
	for _, m := range want {
		if at != m {
			t.Fatalf("forwards: %v (%v), want %v", at, err, m)
		}
		at, err = r.MapFindNext(at)
	}
	if at != nil || !errors.Is(err, pmem2.ErrMappingNotFound) {
		t.Fatalf("forwards, at the end: %v, %v", at, err)
	}
	at, err = r.MapFindLast()
	for i := len(want) - 1; i >= 0; i-- {
		if at != want[i] {
			t.Fatalf("backwards: %v (%v), want %v", at, err, want[i])
		}
		at, err = r.MapFindPrev(at)
	}
	if at != nil || !errors.Is(err, pmem2.ErrMappingNotFound) {
		t.Fatalf("backwards, at the start: %v, %v", at, err)
	}
}

// TestManyGoroutines uses one config, one source and one reservation from many
// goroutines; the race detector and the stage's clean-up are the judges.
func TestManyGoroutines(t *testing.T) {
	s := newStage(t, emuDefault)
	src := s.source(s.file(daxFS, 4*page))
	const slots = 8
	r := s.reservation(slots * page)
	shared := config(pmem2.GranularityPage)
	var wg sync.WaitGroup
	for slot := range slots {
		wg.Go(func() {
			cfg := config(pmem2.GranularityPage)
			cfg.SetLength(page)
			cfg.SetVMReservation(r, uint64(slot)*page)
			for round := range 100 {
				in, err := pmem2.NewMap(cfg, src)
				if err != nil {
					t.Error(err)
					return
				}
				shared.SetLength(uint64(round%4+1) * page)
				free, err := pmem2.NewMap(shared, src)
				if err != nil {
					t.Error(err)
					return
				}
				if m, err := r.MapFind(uint64(slot)*page, 1); m != in || err != nil {
					t.Errorf("slot %d: found %v, %v", slot, m, err)
				}
				r.MapFindFirst()
				r.MapFindNext(in)
				if _, err := pmem2.NewMap(cfg, src); !errors.Is(err, pmem2.ErrMappingExists) {
					t.Errorf("slot %d, a second time: %v", slot, err)
				}
				if err := in.Persist(in.Bytes()); err != nil {
					t.Error(err)
				}
				if err := r.Delete(); !errors.Is(err, pmem2.ErrVMReservationNotEmpty) {
					t.Errorf("Delete with a map inside: %v", err)
				}
				if err := free.Delete(); err != nil {
					t.Error(err)
				}
				if err := in.Delete(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	// One map deleted by many: one of them succeeds.
	wg.Wait()
	m := s.newMap(config(pmem2.GranularityPage), src)
	deleted := make(chan error, slots)
	for range slots {
		wg.Go(func() { deleted <- m.Delete() })
	}
	wg.Wait()
	close(deleted)
	ok := 0
	for err := range deleted {
		if err == nil {
			ok++
		} else if !errors.Is(err, pmem2.ErrMappingNotFound) {
			t.Error(err)
		}
	}
	if ok != 1 {
		t.Errorf("%d of %d Deletes of one map succeeded", ok, slots)
	}
	if got := s.Outstanding(); len(got) != 2 { // the reservation and the file's descriptor
		t.Errorf("left: %q", got)
	}
}
