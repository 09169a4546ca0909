package platform

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

var environment = []string{"PMEM_NO_CLWB", "PMEM_NO_CLFLUSHOPT", "PMEM_NO_MOVNT", "PMEM_MOVNT_THRESHOLD"}

// TestSettingsFromEnvironment: of a switch the value 1 counts and no other.
func TestSettingsFromEnvironment(t *testing.T) {
	for _, tc := range []struct {
		env  string // variables and values
		want Settings
	}{
		{"", Settings{}},
		{"PMEM_NO_CLWB=1", Settings{NoCLWB: true}},
		{"PMEM_NO_CLFLUSHOPT=1", Settings{NoCLFLUSHOPT: true}},
		{"PMEM_NO_MOVNT=1", Settings{NoMOVNT: true}},
		{
			"PMEM_NO_CLWB=1;PMEM_NO_CLFLUSHOPT=1;PMEM_NO_MOVNT=1;PMEM_MOVNT_THRESHOLD=4096",
			Settings{NoCLWB: true, NoCLFLUSHOPT: true, NoMOVNT: true, MOVNTThreshold: 4096},
		},
		{"PMEM_NO_CLWB=0;PMEM_NO_CLFLUSHOPT=2;PMEM_NO_MOVNT=", Settings{}},
		{"PMEM_NO_CLWB=01;PMEM_NO_CLFLUSHOPT=true;PMEM_NO_MOVNT=yes", Settings{}},
		{"PMEM_NO_CLWB= 1;PMEM_NO_CLFLUSHOPT=1 ;PMEM_NO_MOVNT=11", Settings{}},
		{"PMEM_MOVNT_THRESHOLD=", Settings{}},
		{"PMEM_MOVNT_THRESHOLD=0", Settings{MOVNTThreshold: 1}},
		{"PMEM_MOVNT_THRESHOLD=1", Settings{MOVNTThreshold: 1}},
		{"PMEM_MOVNT_THRESHOLD=255", Settings{MOVNTThreshold: 255}},
		{"PMEM_MOVNT_THRESHOLD=18446744073709551615", Settings{MOVNTThreshold: math.MaxUint64}},
		{"PMEM_MOVNT_THRESHOLD=18446744073709551616", Settings{}},
		{"PMEM_MOVNT_THRESHOLD=-1", Settings{}},
		{"PMEM_MOVNT_THRESHOLD=4k", Settings{}},
		{"PMEM_MOVNT_THRESHOLD= 8", Settings{}},
		{"PMEM_MOVNT_THRESHOLD=0x100", Settings{}},
	} {
		t.Run(tc.env, func(t *testing.T) {
			for _, name := range environment {
				t.Setenv(name, "")
			}
			for pair := range strings.SplitSeq(tc.env, ";") {
				if name, value, ok := strings.Cut(pair, "="); ok {
					if !slices.Contains(environment, name) {
						t.Fatalf("no such variable: %s", name)
					}
					t.Setenv(name, value)
				}
			}
			if got := SettingsFromEnvironment(); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// TestNonTemporalFrom: the length from which on non-temporal stores are used.
func TestNonTemporalFrom(t *testing.T) {
	for _, tc := range []struct {
		settings Settings
		want     uint64
	}{
		{Settings{}, DefaultMOVNTThreshold},
		{Settings{MOVNTThreshold: 1}, 1},
		{Settings{MOVNTThreshold: 1 << 20}, 1 << 20},
		{Settings{NoMOVNT: true}, math.MaxUint64},
		{Settings{NoMOVNT: true, MOVNTThreshold: 1}, math.MaxUint64},
	} {
		h, err := NewHost(tc.settings)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range []Granularity{GranularityByte, GranularityCacheLine, GranularityPage} {
			want := tc.want
			if g == GranularityByte { // what is cached is durable
				want = math.MaxUint64
			}
			if got := h.CacheOps(g).NonTemporalFrom; got != want {
				t.Errorf("%+v, %v: from %d on, want %d", tc.settings, g, got, want)
			}
		}
	}
}

// TestNewHost: without an ISA in the settings the best one is used, each that ISAs
// lists can be had, and any other is an error that names it and them.
func TestNewHost(t *testing.T) {
	h, err := NewHost(Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := h.CacheOps(GranularityCacheLine).ISA, ISAs()[0]; got != want {
		t.Errorf("the default is %q, want %q", got, want)
	}
	if !slices.Contains(ISAs(), ISAGeneric) {
		t.Errorf("%q is missing from %q", ISAGeneric, ISAs())
	}
	for _, isa := range []ISA{ISAGeneric, ISASSE2, ISAAVX2, ISAAVX512, ISAARM64, "MMX", "avx2", " "} {
		h, err := NewHost(Settings{ISA: isa})
		if slices.Contains(ISAs(), isa) {
			if err != nil {
				t.Errorf("%q: %v", isa, err)
			} else if got := h.CacheOps(GranularityPage).ISA; got != isa {
				t.Errorf("%q is asked for, %q is used", isa, got)
			}
			continue
		}
		if err == nil || h != nil {
			t.Errorf("%q, which the CPU lacks: %v, %v", isa, h, err)
			continue
		}
		for _, part := range []string{fmt.Sprintf("%q", isa), fmt.Sprintf("%q", ISAs())} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: the error %q doesn't say %s", isa, err, part)
			}
		}
	}
}

// TestCacheOpsComplete: no function is missing, whatever the settings.
func TestCacheOpsComplete(t *testing.T) {
	for _, isa := range ISAs() {
		for i := range 8 {
			s := Settings{ISA: isa, NoCLWB: i&1 != 0, NoCLFLUSHOPT: i&2 != 0, NoMOVNT: i&4 != 0}
			h, err := NewHost(s)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range []Granularity{GranularityByte, GranularityCacheLine, GranularityPage} {
				o := h.CacheOps(g)
				if o.Flush == nil || o.Fence == nil || o.Persist == nil || o.Copy == nil || o.CopyNT == nil || o.Set == nil || o.SetNT == nil {
					t.Errorf("%+v, %v: a function is nil: %+v", s, g, o)
				}
			}
		}
	}
}
