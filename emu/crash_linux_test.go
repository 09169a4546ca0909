package emu_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu"
	"pmemlab/emu/trace"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// mapDax maps all of a new device DAX of a machine.
func mapDax(t testing.TB, m *emu.Machine, size uint64) (*emu.DaxDevice, *pmem2.Map) {
	t.Helper()
	dax := m.AddDevDax(emu.DevDax{Size: size})
	return dax, mapDevice(t, m, dax)
}

func mapDevice(t testing.TB, m *emu.Machine, dax *emu.DaxDevice) *pmem2.Map {
	t.Helper()
	f, err := dax.Open(platform.ORdwr)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src, err := pmem2.SourceFromFD(f.FD(), pmem2.On(m))
	if err != nil {
		t.Fatal(err)
	}
	cfg := pmem2.NewConfig()
	if err := cfg.SetRequiredStoreGranularity(pmem2.GranularityPage); err != nil {
		t.Fatal(err)
	}
	mp, err := pmem2.NewMap(cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	return mp
}

// TestCrashStates: two lines, one of them flushed and fenced.
func TestCrashStates(t *testing.T) {
	m := emu.NewMachine(emu.Config{})
	dax, mp := mapDax(t, m, 2<<20)
	b := mp.Bytes()
	b[0] = 1
	if err := mp.Persist(b[:1]); err != nil {
		t.Fatal(err)
	}
	b[64], b[128] = 1, 1
	states, err := m.CrashStates(emu.CrashOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := states.Count(); n != 4 || !states.Complete() {
		t.Errorf("%d states, complete: %t; want 4, true", n, states.Complete())
	}
	var got []string
	for img, err := range states.All() {
		if err != nil {
			t.Fatal(err)
		}
		p, err := img.Bytes(dax.Path())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string([]byte{'0' + p[0], '0' + p[64], '0' + p[128]}))
		m2, err := img.Machine()
		if err != nil {
			t.Fatal(err)
		}
		d2, err := m2.DevDax(dax.Path())
		if err != nil {
			t.Fatal(err)
		}
		mp2 := mapDevice(t, m2, d2)
		if b2 := mp2.Bytes(); b2[0] != p[0] || b2[64] != p[64] || b2[128] != p[128] {
			t.Errorf("booted: %d%d%d, image %s", b2[0], b2[64], b2[128], got[len(got)-1])
		}
		if err := mp2.Delete(); err != nil {
			t.Error(err)
		}
		if err := m2.Shutdown(); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"111", "101", "110", "100"}; !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
	if err := states.Close(); err != nil {
		t.Error(err)
	}
	for _, f := range m.Findings() {
		t.Log(f)
	}
	m2, err := m.Crash(emu.CrashConfig{})
	if err != nil {
		t.Fatal(err)
	}
	d2, _ := m2.DevDax(dax.Path())
	mp2 := mapDevice(t, m2, d2)
	if b2 := mp2.Bytes(); b2[0] != 1 || b2[64] != 0 || b2[128] != 0 {
		t.Errorf("what was durable: %d%d%d", b2[0], b2[64], b2[128])
	}
	mp2.Delete()
	m2.Shutdown()
	mp.Delete()
	if err := m.Shutdown(); err != nil {
		t.Error(err)
	}
}
func BenchmarkTracedPersist(b *testing.B) {
	m := emu.NewMachine(emu.Config{})
	_, mp := mapDax(b, m, 2<<20)
	p := mp.Bytes()
	host := platform.Host().CacheOps(platform.GranularityCacheLine)
	b.Run("traced", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			q := p[i&16383*64:][:64]
			q[0]++
			_ = mp.Persist(q)
		}
	})
	b.Run("real", func(b *testing.B) {
		for i := range b.N {
			q := p[i&16383*64:][:64]
			q[0]++
			host.Persist(platform.Pointer(mp.Address()+uintptr(i&16383*64)), 64)
		}
	})
	mp.Delete()
	m.Shutdown()
}

// TestChangedPast: what system calls on a descriptor change is adopted by a look, which says so.
func TestChangedPast(t *testing.T) {
	for _, mapped := range []bool{false, true} {
		m := emu.NewMachine(emu.Config{})
		fs := m.AddFS(emu.FS{Size: 64 << 20, DAX: true})
		f, err := fs.Create("a", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var mp *pmem2.Map
		if mapped {
			src, err := pmem2.SourceFromFD(f.FD(), pmem2.On(m))
			if err != nil {
				t.Fatal(err)
			}
			cfg := pmem2.NewConfig()
			if err := cfg.SetRequiredStoreGranularity(pmem2.GranularityPage); err != nil {
				t.Fatal(err)
			}
			if mp, err = pmem2.NewMap(cfg, src); err != nil {
				t.Fatal(err)
			}
			mp.Bytes()[0] = 1
			if err := mp.Persist(mp.Bytes()[:1]); err != nil {
				t.Fatal(err)
			}
		}
		for i := range byte(3) {
			m.Look()
			if mapped {
				mp.Bytes()[4096] = i + 1
			}
			if _, err := unix.Pwrite(f.FD(), []byte{i + 1}, 8192+int64(i)*64); err != nil {
				t.Fatal(err)
			}
			states, err := m.CrashStates(emu.CrashOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for img, err := range states.All() { // the first is the newest
				if err != nil {
					t.Fatal(err)
				}
				b, err := img.Bytes(fs.Path("a"))
				if err != nil {
					t.Fatal(err)
				}
				if b[8192+int(i)*64] != i+1 {
					t.Errorf("mapped %t: write %d isn't known", mapped, i)
				}
				break
			}
			if err := states.Close(); err != nil {
				t.Error(err)
			}
		}
		said := 0
		for _, e := range m.Trace().Events {
			if e.Kind == trace.Mark && strings.Contains(e.Text, "past the machine") {
				said++
			}
		}
		if said != 3 {
			t.Errorf("mapped %t: it was said %d times, want 3", mapped, said)
		}
		if mapped {
			if err := mp.Delete(); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(f.Close(), m.Shutdown()); err != nil {
			t.Error(err)
		}
	}
}
