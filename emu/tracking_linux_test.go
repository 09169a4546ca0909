package emu

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pmemlab/pmem2/platform"
)

// TestTracking maps, unmaps and moves at random inside one reservation and compares
// what the machine knows with what the host's kernel says of the same memory.
func TestTracking(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	m := NewMachine(Config{})
	fs := m.AddFS(FS{Size: 64 << 20, DAX: true})
	small := m.AddDevDax(DevDax{Size: 8 << 20, Align: 4 << 10})
	large := m.AddDevDax(DevDax{Size: 8 << 20})
	var fds []int
	for _, open := range []func() (*File, error){
		func() (*File, error) { return fs.Create("f", 8<<20) },
		func() (*File, error) { return small.Open(platform.ORdwr) },
		func() (*File, error) { return large.Open(platform.ORdwr) },
	} {
		f, err := open()
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, f.FD())
	}
	const (
		unit  = 1 << 20 // so that device DAX of 2 MiB is cut wrongly half of the time
		units = 24
		rw    = platform.ProtRead | platform.ProtWrite
		anon  = platform.MapPrivate | platform.MapAnonymous | platform.MapNoreserve | platform.MapFixed
	)
	arena, err := m.host.Mmap(0, (units+2)*unit, platform.ProtNone, anon&^platform.MapFixed, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	base := (arena + 2*unit - 1) &^ (2*unit - 1)
	done, refused := 0, 0
	for step := range 3000 {
		from, to := rng.IntN(units), rng.IntN(units)
		n := uint64(1+rng.IntN(4)) * unit
		n = min(n, uint64(units-from)*unit, uint64(units-to)*unit)
		a, b := base+uintptr(from*unit), base+uintptr(to*unit)
		var err error
		switch rng.IntN(4) {
		case 0, 1:
			_, err = m.Mmap(a, n, rw, platform.MapShared|platform.MapFixed, fds[rng.IntN(3)], int64(rng.IntN(6)*unit))
		case 2:
			// Filled again at once: the arena must stay ours.
			_, err = m.Mmap(a, n, platform.ProtNone, anon, -1, 0)
		case 3:
			if from+int(n/unit) <= to || to+int(n/unit) <= from {
				_, err = m.Mremap(a, n, n, platform.MremapMaymove|platform.MremapFixed, b)
				if err == nil {
					_, err = m.Mmap(a, n, platform.ProtNone, anon|platform.MapFixedNoreplace, -1, 0)
				}
			}
		}
		if done++; err != nil {
			refused++
			// A late refusal leaves a hole. Fill it.
			for u := range units {
				m.host.Mmap(base+uintptr(u*unit), unit, platform.ProtNone, anon&^platform.MapFixed|platform.MapFixedNoreplace, -1, 0)
			}
		}
		if step%50 == 0 {
			compareWithHost(t, m, base, units*unit, step)
		}
	}
	compareWithHost(t, m, base, units*unit, done)
	t.Logf("%d steps, %d refused", done, refused)
	if refused == 0 || refused == done {
		t.Errorf("%d of %d steps were refused: the mix tests nothing", refused, done)
	}
	m.mu.Lock()
	m.forget(base, units*unit)
	m.mu.Unlock()
	if err := m.host.Munmap(arena, (units+2)*unit); err != nil {
		t.Error(err)
	}
	for _, fd := range fds {
		m.Close(fd)
	}
	if err := m.Shutdown(); err != nil {
		t.Error(err)
	}
}

// compareWithHost compares the tracked mappings in [base, base+n) with /proc/self/maps,
// page by page of 1 MiB: which memfd, at which offset.
func compareWithHost(t *testing.T, m *Machine, base uintptr, n uint64, step int) {
	t.Helper()
	const unit = 1 << 20
	want := make([]string, n/unit)
	file, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var lo, hi, off, ino uint64
		var perms, dev string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s %x %s %d", &lo, &hi, &perms, &off, &dev, &ino); err != nil {
			continue
		}
		_, name, ok := strings.Cut(lines.Text(), "/memfd:pmemlab:")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, " (deleted)")
		for at := max(lo, uint64(base)); at < min(hi, uint64(base)+n); at += unit {
			pos := off + at - lo
			if pos >= pastEnd {
				pos = pastEnd
			}
			want[(at-uint64(base))/unit] = fmt.Sprintf("%s at %d", name, pos)
		}
	}
	got := make([]string, n/unit)
	m.mu.Lock()
	for i := range got {
		at := base + uintptr(i*unit)
		e, ok := m.maps.At(at)
		if !ok || e.Value.obj == nil {
			continue
		}
		pos := e.Value.off + uint64(at-e.Addr)
		// The memfd of a device is left where its end is passed by an offset that the
		// device was never mapped at.
		if strings.HasSuffix(want[i], fmt.Sprintf(" at %d", uint64(pastEnd))) {
			pos = pastEnd
		}
		got[i] = fmt.Sprintf("%s at %d", e.Value.obj.name, pos)
	}
	m.mu.Unlock()
	if !slices.Equal(got, want) {
		t.Fatalf("step %d:\n got %q\nwant %q", step, got, want)
	}
}
