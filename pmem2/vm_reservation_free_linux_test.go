package pmem2_test

import (
	"math/rand/v2"
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2"
)

// placed makes a map of n bytes at an offset of a reservation.
func placed(t *testing.T, src *pmem2.Source, r *pmem2.VMReservation, offset, n uint64) *pmem2.Map {
	t.Helper()
	cfg := pmem2.NewConfig()
	for _, err := range []error{
		cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetLength(n), cfg.SetVMReservation(r, offset),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := pmem2.NewMap(cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestFindFreeIsFirstFit holds FindFree against an array of pages through random maps,
// deletions one by one and side by side, shrinks and extensions.
func TestFindFreeIsFirstFit(t *testing.T) {
	const page, pages, rounds = 4096, 96, 6000
	machine := emu.NewMachine(emu.Config{})
	fs := machine.AddFS(emu.FS{Size: 1 << 30, Type: emu.Tmpfs})
	f, err := fs.Create("f", pages*page)
	if err != nil {
		t.Fatal(err)
	}
	src, err := pmem2.SourceFromFD(f.FD(), pmem2.On(machine))
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 7))
		r, err := pmem2.NewVMReservation(0, pages*page, pmem2.On(machine))
		if err != nil {
			t.Fatal(err)
		}
		owner := make([]*pmem2.Map, pages) // by page
		must := func(err error) {
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		free := func(from, n int) bool {
			for i := from; i < from+n; i++ {
				if i >= len(owner) || owner[i] != nil {
					return false
				}
			}
			return true
		}
		drop := func(maps ...*pmem2.Map) {
			for i := range owner {
				for _, m := range maps {
					if owner[i] == m {
						owner[i] = nil
					}
				}
			}
		}
		for round := range rounds {
			n := 1 + random.IntN(1+random.IntN(12))
			align := 1 << random.IntN(1+random.IntN(4))
			got, ok := r.FindFree(uint64(n)*page, uint64(align)*page)
			want, found := 0, false
			for i := range owner {
				if (uint64(r.Address())/page+uint64(i))%uint64(align) == 0 && free(i, n) {
					want, found = i, true
					break
				}
			}
			if ok != found || ok && got != uint64(want)*page {
				t.Fatalf("seed %d, round %d: %d pages aligned to %d: got page %d, %t, want %d, %t", seed, round, n, align, got/page, ok, want, found)
			}
			switch dice := random.IntN(10); {
			case dice < 5 && ok:
				m := placed(t, src, r, got, uint64(n)*page)
				for i := range n {
					owner[want+i] = m
				}
			case dice < 8:
				if m := owner[random.IntN(len(owner))]; m != nil {
					drop(m)
					must(m.Delete())
				}
			case dice == 8:
				var run []*pmem2.Map
				for i := random.IntN(len(owner)); i < len(owner) && owner[i] != nil && len(run) < 4; i++ {
					if m := owner[i]; len(run) == 0 || run[len(run)-1] != m {
						run = append(run, m)
					}
				}
				if len(run) > 0 {
					d, err := pmem2.PrepareDelete(run...)
					must(err)
					gone, err := d.Commit()
					must(err)
					if !gone {
						t.Fatal("Commit succeeds and the maps aren't gone")
					}
					drop(run...)
				}
			case len(owner) > pages/2 && owner[0] == nil && random.IntN(4) == 0:
				must(r.Shrink(0, page))
				owner = owner[1:]
			case len(owner) > pages/2 && owner[len(owner)-1] == nil && random.IntN(2) == 0:
				must(r.Shrink(uint64(len(owner)-1)*page, page))
				owner = owner[:len(owner)-1]
			case len(owner) < pages:
				if r.Extend(page) == nil {
					owner = append(owner, nil)
				}
			}
		}
		for _, m := range owner {
			if m != nil && m.Address() != 0 {
				must(m.Delete())
			}
		}
		must(r.Delete())
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(src.Delete())
	must(f.Close())
	must(machine.Shutdown())
}

func TestFindFreeRefuses(t *testing.T) {
	r, err := pmem2.NewVMReservation(0, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		length, alignment uint64
		ok                bool
	}{
		{4096, 4096, true}, {8 << 20, 2 << 20, true}, {8<<20 + 4096, 4096, false}, {0, 4096, false}, {4096, 0, false},
		{4096, 12288, false}, {1 << 63, 4096, false}, {^uint64(0), 4096, false}, {4096, 1 << 46, false},
	} {
		if _, ok := r.FindFree(row.length, row.alignment); ok != row.ok {
			t.Errorf("%d bytes aligned to %d: got %t, want %t", row.length, row.alignment, ok, row.ok)
		}
	}
	if err := r.Delete(); err != nil {
		t.Fatal(err)
	}
	for what, r := range map[string]*pmem2.VMReservation{"nil": nil, "empty": {}, "deleted": r} {
		if _, ok := r.FindFree(4096, 4096); ok {
			t.Errorf("a reservation that is %s has room", what)
		}
	}
}

// TestFindFreeBelowTheTop: a map that the program has made itself can reach to the last
// byte of the address space, or nearly. What lies behind its end isn't free: what wraps
// round would hand out an offset outside the reservation.
func TestFindFreeBelowTheTop(t *testing.T) {
	const size, before = 1 << 20, 64 << 10
	s := newStage(t, emu.Config{})
	src := s.source(s.file(pageCache, size))
	for _, short := range []uint64{0, 1, 4096} { // of the top
		r := s.reservation(size)
		at := r.Address() + before
		m, err := pmem2.MapFromExisting(src, at, -uint64(at)-short, pmem2.GranularityPage)
		if err != nil {
			t.Fatal(err)
		}
		for _, length := range []uint64{before + 4096, 2 * before, size, before, 4096, 2 * before, before + 1, 1} {
			offset, ok := r.FindFree(length, 4096)
			if want := length <= before; ok != want || offset != 0 {
				t.Errorf("%d bytes below a map that ends %d bytes below the top: got %#x, %t, want 0, %t", length, short, offset, ok, want)
			}
		}
		if err := m.Delete(); err != nil {
			t.Fatal(err)
		}
		if offset, ok := r.FindFree(size, 4096); !ok || offset != 0 {
			t.Errorf("all of it, when the map is gone: got %#x, %t", offset, ok)
		}
	}
}
