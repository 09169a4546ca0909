package platform

import "unsafe"

// The assembly. Functions whose name ends in NT and an instruction flush with that
// one what they can't store in a non-temporal way; NT alone flushes nothing.

//go:noescape
func copySSE2(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setSSE2(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copySSE2NTCLFLUSH(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setSSE2NTCLFLUSH(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copySSE2NTCLFLUSHOPT(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setSSE2NTCLFLUSHOPT(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copySSE2NTCLWB(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setSSE2NTCLWB(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copySSE2NT(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setSSE2NT(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyAVX2(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setAVX2(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyAVX2NTCLFLUSH(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setAVX2NTCLFLUSH(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyAVX2NTCLFLUSHOPT(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setAVX2NTCLFLUSHOPT(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyAVX2NTCLWB(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setAVX2NTCLWB(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyAVX2NT(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setAVX2NT(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyAVX512(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setAVX512(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyAVX512NTCLFLUSH(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setAVX512NTCLFLUSH(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyAVX512NTCLFLUSHOPT(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setAVX512NTCLFLUSHOPT(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyAVX512NTCLWB(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setAVX512NTCLWB(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func copyAVX512NT(dst, src unsafe.Pointer, n uintptr)

//go:noescape
func setAVX512NT(dst unsafe.Pointer, c byte, n uintptr)

//go:noescape
func flushCLWB(p unsafe.Pointer, n uintptr)

//go:noescape
func flushCLFLUSHOPT(p unsafe.Pointer, n uintptr)

//go:noescape
func flushCLFLUSH(p unsafe.Pointer, n uintptr)

//go:noescape
func flushNothing(p unsafe.Pointer, n uintptr)

//go:noescape
func persistCLWB(p unsafe.Pointer, n uintptr)

//go:noescape
func persistCLFLUSHOPT(p unsafe.Pointer, n uintptr)

//go:noescape
func persistCLFLUSH(p unsafe.Pointer, n uintptr)

//go:noescape
func persistNothing(p unsafe.Pointer, n uintptr)

func sfence()

func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)
