package platform

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// ISAs returns the instruction sets that this CPU has for copies and sets, the best
// one first.
func ISAs() []ISA { return []ISA{ISAARM64, ISAGeneric} }

// cacheLine is the unit of the cleans in bytes, a power of two: CTR_EL0.DminLine is
// the logarithm of its words.
var cacheLine = uintptr(4) << (cacheType() >> 16 & 0xf)

// clean is an instruction that cleans a cache line.
type clean int

const (
	// byCVAC cleans to the point of coherency, which is what Linux itself does
	// for persistent memory where there is no DC CVAP.
	byCVAC clean = iota
	// byCVAP cleans to the point of persistence; CPUs with HWCAP_DCPOP have it.
	byCVAP
	byNothing // of granularities that need no flush
)

// cleans are the routines of each instruction. STNP is a hint that promises nothing
// about the point of persistence, so that what it stored is cleaned too.
var cleans = [...]struct {
	name           string
	flush, persist func(p unsafe.Pointer, n uintptr)
	plain, hinted  routines
}{
	byCVAC: {
		"DC CVAC", flushCVAC, flushCVAC,
		routines{copyPairsCVAC, setPairsCVAC}, routines{copyPairsNTCVAC, setPairsNTCVAC},
	},
	byCVAP: {
		"DC CVAP", flushCVAP, flushCVAP,
		routines{copyPairsCVAP, setPairsCVAP}, routines{copyPairsNTCVAP, setPairsNTCVAP},
	},
	byNothing: {
		"", flushNothing, persistNothing,
		routines{copyPairs, setPairs}, routines{copyPairsNT, setPairsNT},
	},
}

// detectCacheOps makes two sets of operations: for a domain that ends at the memory
// controller, and for one where nothing has to be flushed.
func detectCacheOps(s Settings) (line, protected CacheOps, err error) {
	isa, err := chooseISA(s)
	if err != nil {
		return line, protected, err
	}
	by := byCVAC
	if cpu.ARM64.HasDCPOP {
		by = byCVAP
	}
	return newOps(s, isa, by), newOps(s, isa, byNothing), nil
}

func newOps(s Settings, isa ISA, by clean) CacheOps {
	c := &cleans[by]
	ops := CacheOps{ISA: isa, Instruction: c.name, Flush: c.flush, Fence: dsb, Persist: c.persist}
	switch {
	case isa == ISAGeneric:
		ops.Copy, ops.Set = generic.copy, generic.set
		ops.CopyNT, ops.SetNT = generic.flushed(c.flush)
	case s.NoMOVNT:
		ops.Copy, ops.Set = copyPairs, setPairs
		ops.CopyNT, ops.SetNT = c.plain.copy, c.plain.set
	default:
		ops.Copy, ops.Set = copyPairs, setPairs
		ops.CopyNT, ops.SetNT = c.hinted.copy, c.hinted.set
	}
	return ops
}
