package platform

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// ISAs returns the instruction sets that this CPU has for copies and sets, the best
// one first.
func ISAs() []ISA { return []ISA{ISAARM64} }

func detectCacheOps(s Settings) (CacheOps, error) {
	if s.ISA != "" && s.ISA != ISAARM64 {
		return CacheOps{}, fmt.Errorf("%q is none of those that this CPU has: %q", s.ISA, ISAs())
	}
	// DC CVAP cleans to the point of persistence where the CPU has it
	// (HWCAP_DCPOP); else DC CVAC cleans to the point of coherency, which is
	// what Linux itself then does for persistent memory.
	//
	// Every routine ends with DSB SY, since the goroutine may be on another
	// core by the time of its Fence, and a barrier orders only what its own
	// core did.
	line := uintptr(4) << (cacheType() >> 16 & 0xf) // CTR_EL0.DminLine: log2 of words
	clean, name := cleanCVAC, "DC CVAC"
	if cpu.ARM64.HasDCPOP {
		clean, name = cleanCVAP, "DC CVAP"
	}
	flush := func(p unsafe.Pointer, n uintptr) { clean(p, n, line) }
	return CacheOps{
		ISA:         ISAARM64,
		Instruction: name,
		Flush:       flush,
		Fence:       dsb,
		Persist:     flush,
		Copy:        copyTemporal,
		Set:         setTemporal,
		// STNP is a hint that promises nothing about the point of
		// persistence, so that the whole range is cleaned.
		CopyNT: func(dst, src unsafe.Pointer, n uintptr) {
			copyTemporal(dst, src, n)
			flush(dst, n)
		},
		SetNT: func(dst unsafe.Pointer, c byte, n uintptr) {
			setTemporal(dst, c, n)
			flush(dst, n)
		},
	}, nil
}

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

func cacheType() uint64

//go:noescape
func cleanCVAP(p unsafe.Pointer, n, line uintptr)

//go:noescape
func cleanCVAC(p unsafe.Pointer, n, line uintptr)

func dsb()

//go:noescape
func copyForward(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func copyBackward(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setWords(dst unsafe.Pointer, word uint64, n uintptr)
