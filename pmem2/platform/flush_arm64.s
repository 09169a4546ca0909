#include "textflag.h"

// Cleans of the cache lines of [p, p+n), from the line of p upwards, then
// DSB SY. n = 0 cleans nothing.
// The encodings of "DC CVAC, R0" and "DC CVAP, R0" are given as words.
// Clobbers R0-R3.

#define CLEAN(word) \
	MOVD	p+0(FP), R0 \
	MOVD	n+8(FP), R1 \
	MOVD	·cacheLine(SB), R2 \
	CBZ	R1, done \
	ADD	R0, R1, R1 \
	SUB	$1, R2, R3 \
	BIC	R3, R0, R0 \
loop: \
	WORD	$word \
	ADD	R2, R0, R0 \
	CMP	R1, R0 \
	BLO	loop \
done: \
	DSB	$15 \
	RET

// func flushCVAC(p unsafe.Pointer, n uintptr)
TEXT ·flushCVAC(SB), NOSPLIT, $0-16
	CLEAN(0xd50b7a20)

// func flushCVAP(p unsafe.Pointer, n uintptr)
TEXT ·flushCVAP(SB), NOSPLIT, $0-16
	CLEAN(0xd50b7c20)

// func flushNothing(p unsafe.Pointer, n uintptr)
TEXT ·flushNothing(SB), NOSPLIT, $0-16
	RET

// func persistNothing(p unsafe.Pointer, n uintptr)
TEXT ·persistNothing(SB), NOSPLIT, $0-16
	DSB	$15
	RET

// func dsb()
TEXT ·dsb(SB), NOSPLIT, $0-0
	DSB	$15
	RET

// func cacheType() uint64
TEXT ·cacheType(SB), NOSPLIT, $0-8
	MRS	CTR_EL0, R0
	MOVD	R0, ret+0(FP)
	RET
