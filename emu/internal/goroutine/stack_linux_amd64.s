//go:build gc

#include "textflag.h"

// func word(off uintptr) uintptr
TEXT ·word(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ (TLS), AX
	MOVQ off+0(FP), CX
	MOVQ (AX)(CX*1), AX
	MOVQ AX, ret+8(FP)
	RET

// func callers(skip int, pcs *[Depth]uintptr)
//
// BP points to a pair of words on the stack: the BP of the caller, the return address.
// Here it's that of the Go function which called, for this one makes no frame.
//
// CX counts what is left to skip, then on below 0. AX, BX, CX, DX, DI, R8, R9 are clobbered.
TEXT ·callers(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ skip+0(FP), CX
	MOVQ pcs+8(FP), DI
	MOVQ (TLS), AX
	MOVQ 8(AX), R9            // the end of the stack
	SUBQ $16, R9              // the last place for a pair
	MOVQ SP, R8               // pairs stand above
	MOVQ BP, BX
	XORL DX, DX               // how many were found

next:
	CMPQ BX, R8
	JLS  fill
	CMPQ BX, R9
	JHI  fill
	TESTQ $7, BX
	JNZ  fill
	MOVQ 8(BX), AX
	TESTQ AX, AX
	JZ   fill
	MOVQ BX, R8
	MOVQ (BX), BX
	SUBQ $1, CX
	JPL  next
	MOVQ AX, (DI)(DX*8)
	INCQ DX
	CMPQ DX, $8
	JLT  next
	RET

fill:
	XORL AX, AX

zero:
	MOVQ AX, (DI)(DX*8)
	INCQ DX
	CMPQ DX, $8
	JLT  zero
	RET
