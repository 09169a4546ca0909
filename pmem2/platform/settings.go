package platform

import (
	"math"
	"os"
	"strconv"
)

// Settings say which instructions the cache operations of a machine may use. The
// zero value is the best that the CPU has.
type Settings struct {
	// NoCLWB and NoCLFLUSHOPT leave these instructions out: CLFLUSH takes their
	// place if both are set. No effect on arm64.
	NoCLWB, NoCLFLUSHOPT bool
	// NoMOVNT leaves every non-temporal store out: CopyNT and SetNT then store in
	// the ordinary way and flush.
	NoMOVNT bool
	// MOVNTThreshold is the length in bytes from which on a copy or set without
	// a hint uses non-temporal stores: 0 is the default, 1 is always.
	MOVNTThreshold uint64
	// ISA is the instruction set that copies and sets are made with; "" is the
	// best that the CPU has.
	ISA ISA
}

// ISA is the instruction set of copies and sets.
type ISA string

// The instruction sets. A CPU has those that [ISAs] returns.
const (
	// ISAGeneric is Go alone, without non-temporal stores.
	ISAGeneric ISA = "generic"
	ISASSE2    ISA = "SSE2"
	ISAAVX2    ISA = "AVX2"
	ISAAVX512  ISA = "AVX-512"
	// ISAARM64 are the pairs of registers of arm64, STP and STNP.
	ISAARM64 ISA = "arm64"
)

// DefaultMOVNTThreshold is the length in bytes from which on copies and sets without
// a hint use non-temporal stores; libpmem2's is 256. On an Emerald Rapids with DRAM a
// durable copy of 256 bytes took 201 ns with them and 160 with ordinary stores and
// CLWB, one byte off a line 245 and 176; one of 512 bytes 214 against 236, of 640
// 233 against 250, of 1024 205 against 300 and of 4096 350 against 810.
const DefaultMOVNTThreshold = 320

// SettingsFromEnvironment are the settings that the environment variables of
// libpmem2(7) ask for: PMEM_NO_CLWB, PMEM_NO_CLFLUSHOPT and PMEM_NO_MOVNT, of which
// the value 1 counts and no other, and PMEM_MOVNT_THRESHOLD, a number of bytes of
// which 0 is always and what is no such number is ignored. [Host] has those from the
// start of the process.
func SettingsFromEnvironment() Settings {
	s := Settings{
		NoCLWB:       os.Getenv("PMEM_NO_CLWB") == "1",
		NoCLFLUSHOPT: os.Getenv("PMEM_NO_CLFLUSHOPT") == "1",
		NoMOVNT:      os.Getenv("PMEM_NO_MOVNT") == "1",
	}
	if n, err := strconv.ParseUint(os.Getenv("PMEM_MOVNT_THRESHOLD"), 10, 64); err == nil {
		s.MOVNTThreshold = max(n, 1)
	}
	return s
}

var hostMachine = func() Platform {
	h, err := NewHost(SettingsFromEnvironment())
	if err != nil { // the environment can't ask for what a CPU may lack
		panic(err)
	}
	return h
}()

// Host returns the machine that the process runs on: Linux, with sysfs at /sys and
// cache operations that follow [SettingsFromEnvironment] as it was when the process
// started. On other operating systems every call on it fails with ENOSYS.
func Host() Platform { return hostMachine }

// NewHost returns the machine that the process runs on, as [Host] does, with cache
// operations of its own that follow s and not the environment. The error says which
// setting this CPU can't follow.
func NewHost(s Settings) (Platform, error) {
	ops, err := newCacheOps(s)
	if err != nil {
		return nil, err
	}
	return newHost(ops), nil
}

// newCacheOps is the operations for each granularity. In BYTE and PAGE Flush has
// nothing to do: with BYTE the caches are protected, with PAGE the flush is msync,
// which is no cache operation.
func newCacheOps(s Settings) (*[GranularityPage + 1]CacheOps, error) {
	line, protected, err := detectCacheOps(s)
	if err != nil {
		return nil, err
	}
	from := uint64(DefaultMOVNTThreshold)
	switch {
	case s.NoMOVNT:
		from = math.MaxUint64
	case s.MOVNTThreshold != 0:
		from = s.MOVNTThreshold
	}
	line.NonTemporalFrom, protected.NonTemporalFrom = from, from
	all := &[GranularityPage + 1]CacheOps{
		GranularityByte:      protected,
		GranularityCacheLine: line,
		GranularityPage:      protected,
	}
	// What is cached is durable: nothing is gained by going past the cache.
	all[GranularityByte].NonTemporalFrom = math.MaxUint64
	return all, nil
}
