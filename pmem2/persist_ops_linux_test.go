package pmem2_test

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"pmemlab/emu"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// tracedCPU is a machine that notes what its cache operations and msync are asked.
type tracedCPU struct {
	*stage
	base   uintptr // of the mapping; addresses are noted relative to it
	events []string
	ops    [3]platform.CacheOps
}

func newTracedCPU(s *stage) *tracedCPU {
	c := &tracedCPU{stage: s}
	for g := range c.ops {
		real := s.CacheOps(platform.Granularity(g))
		note := func(what string, p unsafe.Pointer, n uintptr) {
			c.events = append(c.events, fmt.Sprintf("%s %d+%d", what, uintptr(p)-c.base, n))
		}
		flushed := func(p unsafe.Pointer, n uintptr) {
			if real.Instruction != "" && n > 0 {
				note("flush", p, n)
			}
		}
		c.ops[g] = platform.CacheOps{
			Flush:           func(p unsafe.Pointer, n uintptr) { flushed(p, n); real.Flush(p, n) },
			NonTemporalFrom: real.NonTemporalFrom,
			Persist: func(p unsafe.Pointer, n uintptr) {
				flushed(p, n)
				c.events = append(c.events, "fence")
				real.Persist(p, n)
			},
			Fence: func() { c.events = append(c.events, "fence"); real.Fence() },
			Copy:  func(d, src unsafe.Pointer, n uintptr) { note("copy", d, n); real.Copy(d, src, n) },
			CopyNT: func(d, src unsafe.Pointer, n uintptr) {
				note("copyNT", d, n)
				real.CopyNT(d, src, n)
			},
			Set:   func(d unsafe.Pointer, b byte, n uintptr) { note("set", d, n); real.Set(d, b, n) },
			SetNT: func(d unsafe.Pointer, b byte, n uintptr) { note("setNT", d, n); real.SetNT(d, b, n) },
		}
	}
	return c
}

func (c *tracedCPU) CacheOps(g platform.Granularity) *platform.CacheOps { return &c.ops[g] }

func (c *tracedCPU) Msync(addr uintptr, n uint64, flags int) error {
	c.events = append(c.events, fmt.Sprintf("msync %d+%d", addr-c.base, n))
	return c.stage.Msync(addr, n, flags)
}

// TestWhatIsExecuted: which cache operations each call comes to, in their order, at
// each granularity.
func TestWhatIsExecuted(t *testing.T) {
	const b, cl, pg = pmem2.GranularityByte, pmem2.GranularityCacheLine, pmem2.GranularityPage
	for _, tc := range []struct {
		granularity pmem2.Granularity
		call        string
		n           int // bytes at offset 100
		flags       pmem2.MemFlags
		want        string
	}{
		{b, "persist", 10, 0, "fence"},
		{b, "flush", 10, 0, ""},
		{b, "drain", 0, 0, "fence"},
		{cl, "persist", 10, 0, "flush 100+10, fence"},
		{cl, "persist", 0, 0, "fence"},
		{cl, "flush", 10, 0, "flush 100+10"},
		{cl, "drain", 0, 0, "fence"},
		{pg, "persist", 10, 0, "msync 0+110, fence"},
		{pg, "flush", 10, 0, "msync 0+110"},
		{pg, "drain", 0, 0, "fence"},

		{cl, "memset", 319, 0, "set 100+319, flush 100+319, fence"},
		{cl, "memset", 320, 0, "setNT 100+320, fence"},
		{cl, "memcpy", 319, 0, "copy 100+319, flush 100+319, fence"},
		{cl, "memcpy", 320, 0, "copyNT 100+320, fence"},
		{cl, "memmove", 320, 0, "copyNT 100+320, fence"},
		{cl, "memset", 0, 0, "fence"},
		{cl, "memcpy", 0, 0, "fence"},
		{b, "memmove", 0, 0, "fence"},
		{cl, "memset", 0, pmem2.MemNoDrain, ""},
		{cl, "memset", 0, pmem2.MemNoFlush, ""},
		{b, "memset", 1000, 0, "set 100+1000, fence"},
		{b, "memcpy", 1000, 0, "copy 100+1000, fence"},
		{pg, "memset", 10, 0, "set 100+10, msync 0+110, fence"},
		{pg, "memset", 320, 0, "setNT 100+320, msync 0+420, fence"},

		{cl, "memset", 10, pmem2.MemNoDrain, "set 100+10, flush 100+10"},
		{cl, "memset", 320, pmem2.MemNoDrain, "setNT 100+320"},
		{pg, "memset", 10, pmem2.MemNoDrain, "set 100+10, msync 0+110"},
		{cl, "memset", 1, pmem2.MemNonTemporal, "setNT 100+1, fence"},
		{cl, "memcpy", 1, pmem2.MemWC, "copyNT 100+1, fence"},
		{b, "memcpy", 1, pmem2.MemWC, "copyNT 100+1, fence"},
		{cl, "memset", 1000, pmem2.MemTemporal, "set 100+1000, flush 100+1000, fence"},
		{cl, "memcpy", 1000, pmem2.MemWB, "copy 100+1000, flush 100+1000, fence"},
		{cl, "memset", 1000, pmem2.MemNoFlush, "set 100+1000"},
		{pg, "memcpy", 1000, pmem2.MemNoFlush, "copy 100+1000"},
		{b, "memcpy", 1000, pmem2.MemNoFlush, "copy 100+1000"},
		{cl, "memset", 1000, pmem2.MemNonTemporal | pmem2.MemNoDrain, "setNT 100+1000"},
	} {
		t.Run(fmt.Sprintf("%v %s %d %#x", tc.granularity, tc.call, tc.n, tc.flags), func(t *testing.T) {
			cpu := newTracedCPU(newStage(t, emu.Config{CPU: platform.Settings{
				MOVNTThreshold: platform.DefaultMOVNTThreshold, // whatever the environment says
			}}))
			src, err := pmem2.SourceFromFD(cpu.file(daxFS, page), pmem2.On(cpu))
			if err != nil {
				t.Fatal(err)
			}
			cfg := config(pmem2.GranularityPage)
			cfg.ForceGranularity(tc.granularity)
			m := cpu.newMap(cfg, src)
			cpu.base = m.Address()
			dst, from := m.Bytes()[100:100+tc.n], make([]byte, tc.n)
			err = map[string]func() error{
				"persist": func() error { return m.Persist(dst) },
				"flush":   func() error { return m.Flush(dst) },
				"drain":   m.Drain,
				"memset":  func() error { return m.Memset(dst, 1, tc.flags) },
				"memcpy":  func() error { return m.Memcpy(dst, from, tc.flags) },
				"memmove": func() error { return m.Memmove(dst, from, tc.flags) },
			}[tc.call]()
			if got := strings.Join(cpu.events, ", "); err != nil || got != tc.want {
				t.Errorf("executes %q (%v), want %q", got, err, tc.want)
			}
		})
	}
}
