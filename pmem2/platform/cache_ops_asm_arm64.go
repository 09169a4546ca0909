package platform

import "unsafe"

// The assembly. Functions whose name ends in an instruction clean the range with it.

//go:noescape
func copyPairs(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setPairs(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyPairsCVAC(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setPairsCVAC(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyPairsCVAP(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setPairsCVAP(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyPairsNT(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setPairsNT(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyPairsNTCVAC(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setPairsNTCVAC(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyPairsNTCVAP(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setPairsNTCVAP(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func flushCVAC(p unsafe.Pointer, n uintptr)

//go:noescape
func flushCVAP(p unsafe.Pointer, n uintptr)

//go:noescape
func flushNothing(p unsafe.Pointer, n uintptr)

//go:noescape
func persistNothing(p unsafe.Pointer, n uintptr)

func dsb()

func cacheType() uint64
