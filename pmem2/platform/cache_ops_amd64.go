package platform

import (
	"fmt"
	"unsafe"
)

func detectCacheOps(s Settings) (CacheOps, error) {
	if s.ISA != "" && s.ISA != ISASSE2 {
		return CacheOps{}, fmt.Errorf("%q is none of those that this CPU has: %q", s.ISA, ISAs())
	}
	// CPUID leaf 7, EBX: bit 24 is CLWB, bit 23 CLFLUSHOPT. Every amd64 CPU has
	// CLFLUSH, SFENCE and MOVNTI.
	ops := CacheOps{ISA: ISASSE2, Instruction: "CLFLUSH", Flush: clflush, Fence: sfence, Copy: copyTemporal, Set: setTemporal}
	if maxLeaf, _, _, _ := cpuid(0, 0); maxLeaf >= 7 {
		_, ebx, _, _ := cpuid(7, 0)
		switch {
		case ebx&(1<<24) != 0 && !s.NoCLWB:
			ops.Instruction, ops.Flush = "CLWB", clwb
		case ebx&(1<<23) != 0 && !s.NoCLFLUSHOPT:
			ops.Instruction, ops.Flush = "CLFLUSHOPT", clflushopt
		}
	}
	flush := ops.Flush
	ops.Persist = func(p unsafe.Pointer, n uintptr) {
		flush(p, n)
		sfence()
	}
	if s.NoMOVNT {
		ops.CopyNT = func(dst, src unsafe.Pointer, n uintptr) {
			copyTemporal(dst, src, n)
			flush(dst, n)
		}
		ops.SetNT = func(dst unsafe.Pointer, c byte, n uintptr) {
			setTemporal(dst, c, n)
			flush(dst, n)
		}
		return ops, nil
	}
	ops.CopyNT = func(dst, src unsafe.Pointer, n uintptr) {
		if overlapsForward(dst, src, n) {
			copyBackwardNT(dst, src, n)
		} else {
			copyForwardNT(dst, src, n)
		}
		flushEdges(flush, dst, n)
	}
	ops.SetNT = func(dst unsafe.Pointer, c byte, n uintptr) {
		setWordsNT(dst, uint64(c)*0x0101010101010101, n)
		flushEdges(flush, dst, n)
	}
	return ops, nil
}

// ISAs returns the instruction sets that this CPU has for copies and sets, the best
// one first.
func ISAs() []ISA { return []ISA{ISASSE2} }

func copyTemporal(dst, src unsafe.Pointer, n uintptr) {
	if overlapsForward(dst, src, n) {
		copyBackward(dst, src, n)
	} else {
		copyForward(dst, src, n)
	}
}

func setTemporal(dst unsafe.Pointer, c byte, n uintptr) {
	setWords(dst, uint64(c)*0x0101010101010101, n)
}

func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)

//go:noescape
func clwb(p unsafe.Pointer, n uintptr)

//go:noescape
func clflushopt(p unsafe.Pointer, n uintptr)

//go:noescape
func clflush(p unsafe.Pointer, n uintptr)

func sfence()

//go:noescape
func copyForward(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func copyBackward(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func copyForwardNT(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func copyBackwardNT(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setWords(dst unsafe.Pointer, word uint64, n uintptr)

//go:noescape
func setWordsNT(dst unsafe.Pointer, word uint64, n uintptr)
