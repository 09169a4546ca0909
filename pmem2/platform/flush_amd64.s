#include "textflag.h"

// Flushes of [p, p+n), one instruction for each 64-byte line that holds a byte
// of the range, from the line of p upwards; a persist ends with SFENCE. n = 0
// flushes nothing.
// Clobbers AX, CX.

#define FLUSH(op) \
	MOVQ	p+0(FP), AX \
	MOVQ	n+8(FP), CX \
	TESTQ	CX, CX \
	JZ	done \
	ADDQ	AX, CX \
	ANDQ	$~63, AX \
loop: \
	op	(AX) \
	ADDQ	$64, AX \
	CMPQ	AX, CX \
	JB	loop \
done:

// func flushCLWB(p unsafe.Pointer, n uintptr)
TEXT ·flushCLWB(SB), NOSPLIT, $0-16
	FLUSH(CLWB)
	RET

// func flushCLFLUSHOPT(p unsafe.Pointer, n uintptr)
TEXT ·flushCLFLUSHOPT(SB), NOSPLIT, $0-16
	FLUSH(CLFLUSHOPT)
	RET

// func flushCLFLUSH(p unsafe.Pointer, n uintptr)
TEXT ·flushCLFLUSH(SB), NOSPLIT, $0-16
	FLUSH(CLFLUSH)
	RET

// func flushNothing(p unsafe.Pointer, n uintptr)
TEXT ·flushNothing(SB), NOSPLIT, $0-16
	RET

// func persistCLWB(p unsafe.Pointer, n uintptr)
TEXT ·persistCLWB(SB), NOSPLIT, $0-16
	FLUSH(CLWB)
	SFENCE
	RET

// func persistCLFLUSHOPT(p unsafe.Pointer, n uintptr)
TEXT ·persistCLFLUSHOPT(SB), NOSPLIT, $0-16
	FLUSH(CLFLUSHOPT)
	SFENCE
	RET

// func persistCLFLUSH(p unsafe.Pointer, n uintptr)
TEXT ·persistCLFLUSH(SB), NOSPLIT, $0-16
	FLUSH(CLFLUSH)
	SFENCE
	RET

// func persistNothing(p unsafe.Pointer, n uintptr)
TEXT ·persistNothing(SB), NOSPLIT, $0-16
	SFENCE
	RET

// func sfence()
TEXT ·sfence(SB), NOSPLIT, $0-0
	SFENCE
	RET

// func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL	leaf+0(FP), AX
	MOVL	sub+4(FP), CX
	CPUID
	MOVL	AX, eax+8(FP)
	MOVL	BX, ebx+12(FP)
	MOVL	CX, ecx+16(FP)
	MOVL	DX, edx+20(FP)
	RET
