package emu_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pmemlab/emu"
	"pmemlab/pmem2"
)

// counterCase is a program with a payload and a flag that says it's there: with says
// whether the payload is persisted before the flag.
func exploreFlag(t *testing.T, persistPayload bool, opts emu.ExploreOptions, recovery func(c *emu.Crashed, b []byte) error) *emu.Exploration {
	t.Helper()
	opts.Setup = func(m *emu.Machine) error {
		m.AddDevDax(emu.DevDax{Size: 2 << 20})
		return m.Err()
	}
	workload := func(r *emu.Run) error {
		d, err := r.DevDax("/dev/dax0.0")
		if err != nil {
			return err
		}
		mp := mapDevice(t, r.Machine, d)
		b := mp.Bytes()
		for i := range 3 {
			binary.LittleEndian.PutUint64(b[1024:], uint64(i)+7)
			if persistPayload {
				err = errors.Join(err, mp.Persist(b[1024:1032]))
			}
			binary.LittleEndian.PutUint64(b[64*i:], 1)
			err = errors.Join(err, mp.Persist(b[64*i:64*i+8]))
			r.Ack(fmt.Sprint(i))
		}
		return errors.Join(err, mp.Delete())
	}
	check := func(c *emu.Crashed) error {
		d, err := c.DevDax("/dev/dax0.0")
		if err != nil {
			return err
		}
		mp := mapDevice(t, c.Machine, d)
		defer mp.Delete()
		b := mp.Bytes()
		if recovery != nil {
			if err := recovery(c, b); err != nil {
				return err
			}
		}
		for i := range 3 {
			set := b[64*i] == 1
			if !set && len(c.Acks) > i {
				return fmt.Errorf("flag %d was acknowledged and is lost", i)
			}
			if set && binary.LittleEndian.Uint64(b[1024:]) < uint64(i)+7 {
				return fmt.Errorf("flag %d without its payload", i)
			}
		}
		return nil
	}
	x, err := emu.Explore(workload, nil, check, opts)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestExplore(t *testing.T) {
	for _, inProcess := range []bool{true, false} {
		t.Run(fmt.Sprintf("in process %t", inProcess), func(t *testing.T) {
			x := exploreFlag(t, true, emu.ExploreOptions{InProcess: inProcess, Test: t.Name()}, nil)
			t.Logf("%d points, %d images", x.Points, x.Images)
			for _, f := range x.Findings {
				t.Error(f)
			}
		})
		t.Run(fmt.Sprintf("bug, in process %t", inProcess), func(t *testing.T) {
			x := exploreFlag(t, false, emu.ExploreOptions{InProcess: inProcess, Test: t.Name()}, nil)
			t.Logf("%d points, %d images", x.Points, x.Images)
			if len(x.Findings) == 0 {
				t.Error("nothing was found")
			}
			for _, f := range x.Findings {
				t.Log(f)
			}
		})
	}
	t.Run("crashing", func(t *testing.T) {
		x := exploreFlag(t, true, emu.ExploreOptions{Test: t.Name()}, func(c *emu.Crashed, b []byte) error {
			if b[0] == 1 {
				os.Exit(3)
			}
			return nil
		})
		if len(x.Findings) == 0 || !strings.Contains(x.Findings[0].Err.Error(), "exit status 3") {
			t.Error(x.Findings)
		}
		for _, f := range x.Findings {
			t.Log(f)
		}
	})
}

var _ = pmem2.GranularityPage
