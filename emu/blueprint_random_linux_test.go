package emu

import (
	"fmt"
	"math/rand/v2"

	"testing"

	"pmemlab/pmem2/platform"
)

// TestBlueprintRandom changes a machine at random and builds it again.
func TestBlueprintRandom(t *testing.T) {
	// The first one punches a hole for a bad block behind the end of a file.
	for _, seed := range []uint64{14207876507529093719, rand.Uint64()} {
		t.Logf("seed %d", seed)
		changeAndRebuild(t, rand.New(rand.NewPCG(seed, 1)))
	}
}

func changeAndRebuild(t *testing.T, rng *rand.Rand) {
	for range 15 {
		m := NewMachine(Config{NoClearError: rng.IntN(4) == 0})
		dax := m.AddDevDax(DevDax{Size: 4 << 20, Align: 4096})
		var all []*FileSystem
		for range 1 + rng.IntN(2) {
			all = append(all, m.AddFS(FS{Size: 2 << 20, Type: FSType(rng.IntN(2)), DAX: rng.IntN(2) == 0, VirtioPmem: rng.IntN(4) == 0}))
		}
		bus, err := m.Open("/dev/ndctl0", platform.ORdwr, 0)
		must(t, err)
		r := func() uint64 { return uint64(rng.IntN(2<<20)) &^ uint64([3]int{511, 4095, 0}[rng.IntN(3)]) }
		for range 5 + rng.IntN(40) {
			fs := all[rng.IntN(len(all))]
			name := [...]string{"a", "b", "d/a", "d/b", "d/e/f", "d", "d/e"}[rng.IntN(7)]
			// Any of these may be refused, which is fine.
			switch rng.IntN(9) {
			case 0, 1, 2:
				if f, err := fs.Open(name, platform.ORdwr|platform.OCreat, 0o600); err == nil {
					_ = m.Fallocate(f.FD(), platform.FallocKeepSize*uint32(rng.IntN(2)), int64(r()), int64(r()/4))
					_, _ = m.Pwrite(f.FD(), make([]byte, r()/16), int64(r()))
					if rng.IntN(2) == 0 {
						_ = m.Fallocate(f.FD(), platform.FallocKeepSize|platform.FallocPunchHole, int64(r()), int64(r()/4))
					}
					must(t, f.Close())
				}
			case 3:
				_ = fs.Mkdir(name)
			case 4:
				_ = fs.Remove(name)
			case 5:
				_ = fs.Truncate(name, r())
			case 6:
				_ = fs.AddBadBlock(name, r(), 1+r()/16)
			case 7:
				_ = [...]*Device{&dax.Device, fs.BlockDevice()}[rng.IntN(2)].AddBadBlock(r(), 1+r()/64)
			case 8:
				reg := m.regions[rng.IntN(len(m.regions))]
				_, _ = m.ClearError(bus, reg.start+reg.infoBlock+r()&^255, (1+r()/16)&^255+256)
			}
		}
		must(t, m.Close(bus))
		checkRebuilt(t, m, nil)
	}
}

func BenchmarkBlueprint(b *testing.B) {
	for _, c := range []struct {
		name string
		add  func(m *Machine)
	}{
		{"device DAX", func(m *Machine) { m.AddDevDax(DevDax{Size: 64 << 20}) }},
		{"file system with 10 files", func(m *Machine) {
			fs := m.AddFS(FS{Size: 64 << 20, DAX: true})
			for i := range 10 {
				f, err := fs.Create(fmt.Sprintf("dir/%d", i), 1<<20)
				must(b, err, f.Close())
			}
		}},
	} {
		m := NewMachine(Config{})
		c.add(m)
		plan := planOf(b, m)
		b.Run("tell/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				planOf(b, m)
			}
		})
		b.Run("check/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(b, errOf(plan.check()))
			}
		})
		b.Run("build/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				built, err := plan.build()
				must(b, err, built.Shutdown())
			}
		})
		must(b, m.Shutdown())
	}
}
