//go:build gc

#include "textflag.h"

// func word(off uintptr) uintptr
TEXT ·word(SB), NOSPLIT|NOFRAME, $0-16
	MOVD off+0(FP), R0
	MOVD (g)(R0), R1
	MOVD R1, ret+8(FP)
	RET

// func callers(skip int, pcs *[Depth]uintptr)
//
// R29 points to a pair of words on the stack: the R29 of the caller, the return address.
// Here it's that of the Go function which called, for this one makes no frame. The pair
// of a function stands from 8 bytes below its stack pointer on.
//
// R0 counts what is left to skip, then on below 0. R0 to R6 are clobbered.
TEXT ·callers(SB), NOSPLIT|NOFRAME, $0-16
	MOVD skip+0(FP), R0
	MOVD pcs+8(FP), R1
	MOVD 8(g), R2             // the end of the stack
	SUB  $16, R2              // the last place for a pair
	MOVD RSP, R3
	SUB  $16, R3              // pairs stand above
	MOVD R29, R4
	MOVD $8, R5               // how many are still to be found

next:
	CMP  R3, R4
	BLS  zero
	CMP  R2, R4
	BHI  zero
	TST  $7, R4
	BNE  zero
	MOVD 8(R4), R6
	CBZ  R6, zero
	MOVD R4, R3
	MOVD (R4), R4
	SUBS $1, R0
	BPL  next
	MOVD R6, (R1)
	ADD  $8, R1
	SUB  $1, R5
	CBNZ R5, next
	RET

zero:
	MOVD ZR, (R1)
	ADD  $8, R1
	SUB  $1, R5
	CBNZ R5, zero
	RET
