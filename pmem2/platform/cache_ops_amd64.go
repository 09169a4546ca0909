package platform

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// writeBack is an instruction that flushes a cache line; the numbers are those of
// args_amd64.h.
type writeBack int

const (
	byCLFLUSH writeBack = iota
	byCLFLUSHOPT
	byCLWB
	byNothing // of granularities that need no flush
)

// flushes are the routines of each instruction.
var flushes = [...]struct {
	name           string
	flush, persist func(p unsafe.Pointer, n uintptr)
}{
	byCLFLUSH:    {"CLFLUSH", flushCLFLUSH, persistCLFLUSH},
	byCLFLUSHOPT: {"CLFLUSHOPT", flushCLFLUSHOPT, persistCLFLUSHOPT},
	byCLWB:       {"CLWB", flushCLWB, persistCLWB},
	byNothing:    {"", flushNothing, persistNothing},
}

// vectors are the routines of each instruction set; copyNT and setNT are indexed by
// the instruction that flushes the lines which they store in the ordinary way.
//
// AVX-512 is there since it is more than 5 % ahead of AVX2, measured on an Emerald
// Rapids (family 6, model 207): ordinary copies of 512 bytes to 16 KiB inside the
// cache by 10 to 25 %, non-temporal ones of 16 MiB by 6 to 7 %. MOVDIR64B isn't: there
// it set 1 MiB in 74 µs where the others took 46 and 64 MiB in 5.5 ms against 3.1, and
// its copies took 5 to 40 % longer.
var vectors = map[ISA]struct {
	routines
	copyNT [byNothing + 1]copyFunc
	setNT  [byNothing + 1]setFunc
}{
	ISASSE2: {
		routines{copySSE2, setSSE2},
		[...]copyFunc{copySSE2NTCLFLUSH, copySSE2NTCLFLUSHOPT, copySSE2NTCLWB, copySSE2NT},
		[...]setFunc{setSSE2NTCLFLUSH, setSSE2NTCLFLUSHOPT, setSSE2NTCLWB, setSSE2NT},
	},
	ISAAVX2: {
		routines{copyAVX2, setAVX2},
		[...]copyFunc{copyAVX2NTCLFLUSH, copyAVX2NTCLFLUSHOPT, copyAVX2NTCLWB, copyAVX2NT},
		[...]setFunc{setAVX2NTCLFLUSH, setAVX2NTCLFLUSHOPT, setAVX2NTCLWB, setAVX2NT},
	},
	ISAAVX512: {
		routines{copyAVX512, setAVX512},
		[...]copyFunc{copyAVX512NTCLFLUSH, copyAVX512NTCLFLUSHOPT, copyAVX512NTCLWB, copyAVX512NT},
		[...]setFunc{setAVX512NTCLFLUSH, setAVX512NTCLFLUSHOPT, setAVX512NTCLWB, setAVX512NT},
	},
}

// ISAs returns the instruction sets that this CPU and its operating system, which
// has to save the registers, have for copies and sets, the best one first.
func ISAs() []ISA {
	isas := []ISA{ISASSE2, ISAGeneric}
	if cpu.X86.HasAVX2 {
		isas = append([]ISA{ISAAVX2}, isas...)
	}
	if cpu.X86.HasAVX512F {
		isas = append([]ISA{ISAAVX512}, isas...)
	}
	return isas
}

// flushInstruction is the best instruction that the CPU has and s allows. CPUID
// leaf 7, EBX: bit 24 is CLWB, bit 23 CLFLUSHOPT. Every amd64 CPU has CLFLUSH,
// SFENCE and MOVNTI.
func flushInstruction(s Settings) writeBack {
	if maxLeaf, _, _, _ := cpuid(0, 0); maxLeaf >= 7 {
		_, ebx, _, _ := cpuid(7, 0)
		switch {
		case ebx&(1<<24) != 0 && !s.NoCLWB:
			return byCLWB
		case ebx&(1<<23) != 0 && !s.NoCLFLUSHOPT:
			return byCLFLUSHOPT
		}
	}
	return byCLFLUSH
}

// detectCacheOps makes two sets of operations: for a domain that ends at the memory
// controller, and for one where nothing has to be flushed.
//
// Flush and Fence may be two calls although a goroutine can go on on another core in
// between. CLWB, CLFLUSHOPT and non-temporal stores are ordered by SFENCE and MFENCE, and by
// every locked instruction too. The core that a goroutine leaves executes locked
// instructions in the scheduler, and in the kernel if the thread moves, before
// another can take the goroutine up, so that what was flushed there is on its way
// to the power-fail protected domain ahead of all that follows on the other.
func detectCacheOps(s Settings) (line, protected CacheOps, err error) {
	isa, err := chooseISA(s)
	if err != nil {
		return line, protected, err
	}
	return newOps(s, isa, flushInstruction(s)), newOps(s, isa, byNothing), nil
}

func newOps(s Settings, isa ISA, by writeBack) CacheOps {
	f := flushes[by]
	ops := CacheOps{ISA: isa, Instruction: f.name, Flush: f.flush, Fence: sfence, Persist: f.persist}
	v, ok := vectors[isa]
	if !ok {
		v.routines = generic
	}
	ops.Copy, ops.Set = v.copy, v.set
	switch {
	case ok && !s.NoMOVNT:
		ops.CopyNT, ops.SetNT, ops.NonTemporal = v.copyNT[by], v.setNT[by], true
	case by == byNothing:
		ops.CopyNT, ops.SetNT = v.copy, v.set
	default:
		ops.CopyNT, ops.SetNT = v.flushed(f.flush)
	}
	return ops
}
