#include "textflag.h"

// Cleans of the cache lines of [p, p+n), from the line of p upwards, then
// DSB SY. line is a power of two. n = 0 cleans nothing.
// The encodings of "DC CVAC, R0" and "DC CVAP, R0" are given as words.
// Clobbers R0-R2.

#define CLEAN(word) \
	MOVD	p+0(FP), R0 \
	MOVD	n+8(FP), R1 \
	MOVD	line+16(FP), R2 \
	CBZ	R1, done \
	ADD	R0, R1, R1 \
	SUB	$1, R2, R3 \
	BIC	R3, R0, R0 \
loop: \
	WORD	$word \
	ADD	R2, R0, R0 \
	CMP	R1, R0 \
	BLO	loop \
	DSB	$15 \
done: \
	RET

// func cleanCVAC(p unsafe.Pointer, n, line uintptr)
TEXT ·cleanCVAC(SB), NOSPLIT, $0-24
	CLEAN(0xd50b7a20)

// func cleanCVAP(p unsafe.Pointer, n, line uintptr)
TEXT ·cleanCVAP(SB), NOSPLIT, $0-24
	CLEAN(0xd50b7c20)

// func dsb()
TEXT ·dsb(SB), NOSPLIT, $0-0
	DSB	$15
	RET

// func cacheType() uint64
TEXT ·cacheType(SB), NOSPLIT, $0-8
	MRS	CTR_EL0, R0
	MOVD	R0, ret+0(FP)
	RET
