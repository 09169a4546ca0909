package pmem2_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/emu/fault"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// TestPageFlush: which msync calls a range of adjacent maps, with a hole between
// them, needs.
func TestPageFlush(t *testing.T) {
	s := newStage(t, emuDefault)
	src := s.source(s.file(pageCache, 2*page))
	r := s.reservation(8 * page)
	var first *pmem2.Map
	for _, at := range []uint64{0, 2, 5} { // pages 0-1, 2-3, a hole, 5-6
		cfg := config(pmem2.GranularityPage)
		cfg.SetVMReservation(r, at*page)
		m := s.newMap(cfg, src)
		if first == nil {
			first = m
		}
	}
	start := r.Address()
	for _, tc := range []struct {
		from, n uint64
		want    string
	}{
		{0, 0, ""},
		{0, 1, "0+1"},
		{page - 1, 1, "0+4096"},
		{page - 1, 2, "0+4097"},
		{5000, 10, "4096+914"},
		{2*page - 1, 2, "4096+4096 8192+1"},
		{0, 8 * page, "0+8192 8192+8192 20480+8192"},
		{4 * page, page, ""},
		{4*page + 1, page, "20480+1"},
		{7*page - 1, page, "24576+4096"},
	} {
		s.faults.Reset()
		s.faults.StartRecording(0)
		if err := first.Persist(platform.Bytes(start+uintptr(tc.from), tc.n)); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range s.faults.Log() {
			if c.Op != fault.OpMsync || c.Flags != platform.MsSync {
				t.Errorf("call %v", c)
			}
			if got != "" {
				got += " "
			}
			got += fmt.Sprintf("%d+%d", c.Addr-start, c.Length)
		}
		if got != tc.want {
			t.Errorf("Persist of %d bytes at %d: msync of %q, want %q", tc.n, tc.from, got, tc.want)
		}
	}
}

// TestMemoryOperations: all three, at each granularity, with each flag that may
// stand alone, for lengths around the non-temporal threshold.
func TestMemoryOperations(t *testing.T) {
	s := newStage(t, emuDefault)
	src := s.source(s.file(daxFS, 4*page))
	flags := []pmem2.MemFlags{0, pmem2.MemNoDrain, pmem2.MemNonTemporal, pmem2.MemTemporal, pmem2.MemWC, pmem2.MemWB, pmem2.MemNoFlush,
		pmem2.MemWC | pmem2.MemNoDrain, pmem2.MemWB | pmem2.MemNoFlush | pmem2.MemNoDrain}
	for _, g := range []pmem2.Granularity{pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityPage} {
		cfg := config(pmem2.GranularityPage)
		cfg.ForceGranularity(g)
		m := s.newMap(cfg, src)
		b := m.Bytes()
		for _, f := range flags {
			for _, n := range []int{0, 1, 7, 8, 255, 256, 257, page + 1} {
				want := make([]byte, n)
				for i := range want {
					want[i] = byte(i*7 + n)
				}
				if err := m.Memcpy(b[3:3+n], want, f); err != nil || !bytes.Equal(b[3:3+n], want) {
					t.Fatalf("%v, flags %#x: Memcpy of %d bytes: %v", g, f, n, err)
				}
				if err := m.Memmove(b[5:5+n], b[3:3+n], f); err != nil || !bytes.Equal(b[5:5+n], want) {
					t.Fatalf("%v, flags %#x: Memmove of %d bytes: %v", g, f, n, err)
				}
				if err := m.Memset(b[:n+8], byte(f), f); err != nil || !bytes.Equal(b[:n+8], bytes.Repeat([]byte{byte(f)}, n+8)) {
					t.Fatalf("%v, flags %#x: Memset of %d bytes: %v", g, f, n+8, err)
				}
			}
		}
		b[0] = 1
		for name, err := range map[string]error{
			"unknown flag":        m.Memset(b[:1], 2, 1<<6),
			"both kinds":          m.Memset(b[:1], 2, pmem2.MemTemporal|pmem2.MemNonTemporal),
			"both kinds, as WC":   m.Memset(b[:1], 2, pmem2.MemWB|pmem2.MemWC),
			"no flush":            m.Memset(b[:1], 2, pmem2.MemNoFlush|pmem2.MemNonTemporal),
			"no flush, as WC":     m.Memset(b[:1], 2, pmem2.MemNoFlush|pmem2.MemWC),
			"lengths that differ": m.Memmove(b[:1], []byte{2, 2}, 0),
		} {
			if !errors.Is(err, unix.EINVAL) || b[0] != 1 {
				t.Errorf("%v, %s: got %v, byte %d; want EINVAL and nothing stored", g, name, err, b[0])
			}
		}
	}
}

// TestSharesOps: maps of one granularity on one machine have one set of functions.
func TestSharesOps(t *testing.T) {
	s, other := newStage(t, emuDefault), newStage(t, emuDefault)
	on := func(s *stage, g pmem2.Granularity) *pmem2.Map {
		cfg := config(pmem2.GranularityPage)
		cfg.ForceGranularity(g)
		return s.newMap(cfg, s.source(s.file(daxFS, page)))
	}
	a := on(s, pmem2.GranularityCacheLine)
	for name, tc := range map[string]struct {
		m    *pmem2.Map
		want bool
	}{
		"itself":              {a, true},
		"another file":        {on(s, pmem2.GranularityCacheLine), true},
		"another granularity": {on(s, pmem2.GranularityPage), false},
		"another machine":     {on(other, pmem2.GranularityCacheLine), false},
		"nil":                 {nil, false},
	} {
		if got := a.SharesOps(tc.m); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}
