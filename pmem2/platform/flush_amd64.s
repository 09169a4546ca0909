#include "textflag.h"

// Flushes of [p, p+n), one instruction for each 64-byte line that holds a byte
// of the range, from the line of p upwards. n = 0 flushes nothing.
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
done: \
	RET

// func clwb(p unsafe.Pointer, n uintptr)
TEXT ·clwb(SB), NOSPLIT, $0-16
	FLUSH(CLWB)

// func clflushopt(p unsafe.Pointer, n uintptr)
TEXT ·clflushopt(SB), NOSPLIT, $0-16
	FLUSH(CLFLUSHOPT)

// func clflush(p unsafe.Pointer, n uintptr)
TEXT ·clflush(SB), NOSPLIT, $0-16
	FLUSH(CLFLUSH)

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
