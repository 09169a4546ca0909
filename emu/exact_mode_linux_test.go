package emu_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pmemlab/emu"
	"pmemlab/emu/exact"
)

// TestExactMode builds the tests of this package for exact mode and runs those that need it.
func TestExactMode(t *testing.T) {
	if exact.Enabled() {
		t.Skip("this is the process that is built so")
	}
	if testing.Short() {
		t.Skip("it compiles the standard library")
	}
	if runtime.GOARCH != "amd64" {
		t.Skipf("exact mode isn't there for %s", runtime.GOARCH)
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there's no go command")
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "./exact/overlay", "-o", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	test := exec.Command("go", "test", "-vet=off", "-count=1", "-run", "^TestExact|^TestExplore$|^TestCrashStates$", ".")
	test.Env = append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=-race -tags=netgo,osusergo -overlay="+filepath.Join(dir, "overlay.json"))
	out, err := test.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// needExact skips what an ordinary build can't show.
func needExact(t *testing.T) {
	t.Helper()
	if !exact.Enabled() {
		t.Skip("TestExactMode runs it in a build that records all stores")
	}
}

// flagFirst is a program with the order wrong inside a line: the flag is stored before
// what it vouches for. One persist follows, so that no flush or fence is missing.
func flagFirst(t *testing.T, opts emu.ExploreOptions) *emu.Exploration {
	t.Helper()
	opts.InProcess, opts.Test = true, t.Name()
	opts.Setup = func(m *emu.Machine) error {
		m.AddDevDax(emu.DevDax{Size: 2 << 20})
		return m.Err()
	}
	x, err := emu.Explore(func(r *emu.Run) error {
		d, err := r.DevDax("/dev/dax0.0")
		if err != nil {
			return err
		}
		mp := mapDevice(t, r.Machine, d)
		b := mp.Bytes()
		b[0] = 1
		binary.LittleEndian.PutUint64(b[8:], 7)
		err = mp.Persist(b[:16])
		r.Ack("7")
		return errors.Join(err, mp.Delete())
	}, nil, func(c *emu.Crashed) error {
		d, err := c.DevDax("/dev/dax0.0")
		if err != nil {
			return err
		}
		mp := mapDevice(t, c.Machine, d)
		defer mp.Delete()
		b := mp.Bytes()
		switch v := binary.LittleEndian.Uint64(b[8:]); {
		case b[0] == 1 && v != 7:
			return fmt.Errorf("the flag vouches for %d", v)
		case b[0] != 1 && len(c.Acks) > 0:
			return errors.New("what was acknowledged is lost")
		}
		return nil
	}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestExactOrder: an order inside a line that only exact mode has seen. Without it the bug is
// possible, since nobody saw which store came first; with it it's proven, and the stores are named.
func TestExactOrder(t *testing.T) {
	for _, eadr := range []bool{false, true} {
		t.Run(fmt.Sprintf("eADR %t", eadr), func(t *testing.T) {
			proven := flagFirst(t, emu.ExploreOptions{Machine: emu.Config{EADR: eadr}}).Findings
			possible := flagFirst(t, emu.ExploreOptions{Machine: emu.Config{EADR: eadr}, Possible: true}).Findings
			if exact.Enabled() {
				if len(proven) != 1 || !proven[0].Proven {
					t.Fatalf("with all stores seen: %v", proven)
				}
				text := fmt.Sprint(proven[0], proven[0].Point.Callers)
				if !strings.Contains(text, "exact_mode_linux_test.go:") {
					t.Errorf("the finding doesn't name the source: %s", text)
				}
			} else if len(proven) != 0 {
				t.Errorf("what nobody saw is proven: %v", proven)
			}
			if len(possible) == 0 || !exact.Enabled() && possible[0].Proven {
				t.Errorf("among the possible states: %v", possible)
			}
		})
	}
}

// TestExactExplainsMemory: what the machine made of the recorded stores is what is in memory,
// with goroutines that store, flush, copy and allocate at once.
func TestExactExplainsMemory(t *testing.T) {
	needExact(t)
	const goroutines, stores, size = 8, 130_000, 512 << 10
	m := emu.NewMachine(emu.Config{})
	dax, mp := mapDax(t, m, 2<<20)
	b := mp.Bytes()[:size]
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
			}
		}
	}()
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			own := b[g*size/goroutines:][:size/goroutines]
			var keep []byte
			for i := range stores {
				at := rng.IntN(len(own)-256) &^ 7
				switch i % 8 {
				case 0:
					own[at] = byte(i)
				case 1:
					copy(own[at:], keep)
				case 2:
					if i%64 == 2 {
						_ = mp.Persist(own[at : at+8])
					}
					fallthrough
				case 3:
					keep = append([]byte(nil), own[at:at+1+rng.IntN(200)]...)
				default:
					binary.LittleEndian.PutUint64(own[at:], rng.Uint64())
				}
			}
		})
	}
	wg.Wait()
	close(done)
	if changes, lost := m.Unexplained(); changes != 0 || lost != 0 {
		t.Errorf("%d changes that no store explains, %d stores lost", changes, lost)
	}
	states, err := m.CrashStates(emu.CrashOptions{Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	for img, err := range states.All() { // the first is the newest
		if err != nil {
			t.Fatal(err)
		}
		p, err := img.Bytes(dax.Path())
		if err != nil {
			t.Fatal(err)
		}
		if len(img.Lost()) == 0 && string(p[:size]) != string(b) {
			t.Error("what the machine knows isn't what is in memory")
		}
		break
	}
	if err := errors.Join(states.Close(), mp.Delete(), m.Shutdown()); err != nil {
		t.Error(err)
	}
}
