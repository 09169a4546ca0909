package emu

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pmemlab/pmem2/platform"
)

// failingHost is a host whose mremap now and then fails after it has unmapped the
// target and what a smaller length leaves over, as one whose memory is short may.
type failingHost struct {
	platform.Platform
	rng *rand.Rand
}

func (h failingHost) Mremap(addr uintptr, n, newN uint64, flags int, newAddr uintptr) (uintptr, error) {
	if flags&platform.MremapFixed == 0 || h.rng.IntN(4) != 0 {
		return h.Platform.Mremap(addr, n, newN, flags, newAddr)
	}
	if err := h.Munmap(newAddr, newN); err != nil {
		return 0, err
	}
	if n > newN && h.rng.IntN(2) == 0 {
		if err := h.Munmap(addr+uintptr(newN), n-newN); err != nil {
			return 0, err
		}
	}
	return 0, syscall.ENOMEM
}

// TestTracking maps, unmaps and moves at random inside one reservation and compares
// what the machine knows with what the host's kernel says of the same memory.
func TestTracking(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	m := NewMachine(Config{})
	m.host = failingHost{m.host, rng}
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
	// Linux gives out the highest room there is: nobody else is given a hole this low.
	const low = 8 << 40
	arena, err := m.host.Mmap(low, (units+2)*unit, platform.ProtNone, anon&^platform.MapFixed, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	base := (arena + 2*unit - 1) &^ (2*unit - 1)
	done, refused, misaligned := 0, 0, 0
	for step := range 3000 {
		from, to := rng.IntN(units), rng.IntN(units)
		n := uint64(1+rng.IntN(4)) * unit
		n = min(n, uint64(units-from)*unit, uint64(units-to)*unit)
		a, b := base+uintptr(from*unit), base+uintptr(to*unit)
		var err error
		switch rng.IntN(6) {
		case 0, 1:
			_, err = m.Mmap(a, n, rw, platform.MapShared|platform.MapFixed, fds[rng.IntN(3)], int64(rng.IntN(6)*unit))
		case 2:
			// Filled again at once: the arena must stay ours.
			_, err = m.Mmap(a, n, platform.ProtNone, anon, -1, 0)
		default:
			newN := min(uint64(1+rng.IntN(4))*unit, uint64(units-to)*unit)
			// All of one mapping, else a part of one or of several.
			if e, ok := m.maps.At(a); ok && rng.IntN(2) == 0 {
				a, n, from = e.Addr, e.Len, int(e.Addr-base)/unit
				newN = min(n, uint64(units-to)*unit)
			}
			if from+int(n/unit) <= to || to+int(newN/unit) <= from {
				_, err = m.Mremap(a, n, newN, platform.MremapMaymove|platform.MremapFixed, b)
				if err == nil {
					_, err = m.Mmap(a, n, platform.ProtNone, anon|platform.MapFixedNoreplace, -1, 0)
				}
				if e, ok := m.maps.At(b); err == nil && ok && e.Value.lost {
					misaligned++
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
	t.Logf("%d steps, %d refused, %d moved device DAX away from its alignment", done, refused, misaligned)
	if refused == 0 || refused == done || misaligned == 0 {
		t.Errorf("of %d steps %d were refused, %d misaligned device DAX: the mix tests nothing", done, refused, misaligned)
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
		if e.Value.lost || strings.HasSuffix(want[i], fmt.Sprintf(" at %d", uint64(pastEnd))) {
			pos = pastEnd
		}
		got[i] = fmt.Sprintf("%s at %d", e.Value.obj.name, pos)
	}
	m.mu.Unlock()
	if !slices.Equal(got, want) {
		t.Fatalf("step %d:\n got %q\nwant %q", step, got, want)
	}
}
