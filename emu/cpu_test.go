package emu

import (
	"strings"
	"testing"

	"pmemlab/pmem2/platform"
)

// TestConfigCPU: the machine's operations are those that a host with these settings
// has, and what the host's CPU can't do is said.
func TestConfigCPU(t *testing.T) {
	for _, s := range []platform.Settings{
		{}, {NoCLWB: true}, {NoCLFLUSHOPT: true}, {NoCLWB: true, NoCLFLUSHOPT: true}, {NoMOVNT: true}, {MOVNTThreshold: 77},
		{ISA: platform.ISAGeneric},
	} {
		host := platform.Host()
		if s != (platform.Settings{}) {
			var err error
			if host, err = platform.NewHost(s); err != nil {
				t.Fatal(err)
			}
		}
		m := NewMachine(Config{CPU: s})
		for _, g := range []platform.Granularity{platform.GranularityByte, platform.GranularityCacheLine, platform.GranularityPage} {
			got, want := m.CacheOps(g), host.CacheOps(g)
			if got.Instruction != want.Instruction || got.ISA != want.ISA || got.NonTemporalFrom != want.NonTemporalFrom {
				t.Errorf("%+v, %v: %s, %s, non-temporal from %d; want %s, %s, %d", s, g,
					got.Instruction, got.ISA, got.NonTemporalFrom, want.Instruction, want.ISA, want.NonTemporalFrom)
			}
		}
		if err := m.Err(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
		if err := m.Shutdown(); err != nil {
			t.Error(err)
		}
	}
	m := NewMachine(Config{CPU: platform.Settings{ISA: "abacus"}})
	defer m.Shutdown()
	if err := m.Err(); err == nil || !strings.Contains(err.Error(), "Config.CPU") || !strings.Contains(err.Error(), "abacus") {
		t.Errorf("an instruction set that no CPU has: %v", err)
	}
	if m.CacheOps(platform.GranularityCacheLine).Copy == nil {
		t.Error("the machine has no operations then")
	}
}
