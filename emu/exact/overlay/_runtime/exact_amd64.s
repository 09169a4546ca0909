//go:build linux

#include "go_asm.h"
#include "textflag.h"

// func exactCopy(dst unsafe.Pointer, src, n uintptr) bool
// A fault of it goes on at exactCopyFailed: the stack must be that of its entry.
TEXT runtime·exactCopy<ABIInternal>(SB), NOSPLIT|NOFRAME, $0-25
	CMPQ	CX, $24
	JNE	other
	MOVQ	(BX), R8
	MOVQ	8(BX), R9
	MOVQ	16(BX), R10
	MOVQ	R8, (AX)
	MOVQ	R9, 8(AX)
	MOVQ	R10, 16(AX)
	MOVL	$1, AX
	RET
other:
	CMPQ	CX, $8
	JNE	bytes
	MOVQ	(BX), R8
	MOVQ	R8, (AX)
	MOVL	$1, AX
	RET
bytes:
	MOVQ	AX, DI
	MOVQ	BX, SI
	REP;	MOVSB
	MOVL	$1, AX
	RET

// func exactCopyFailed()
TEXT runtime·exactCopyFailed<ABIInternal>(SB), NOSPLIT|NOFRAME, $0-0
	XORL	AX, AX
	RET

// exactclear records that memclrNoHeapPointers will clear BX bytes at AX, which it keeps.
TEXT exactclear(SB), NOSPLIT, $48-0
	TESTQ	BX, BX
	JEQ	none
	MOVQ	AX, 32(SP)
	MOVQ	BX, 40(SP)
	MOVQ	BP, CX
	MOVL	$1, DI
	CALL	runtime·exactStore<ABIInternal>(SB)
	MOVQ	32(SP), AX
	MOVQ	40(SP), BX
none:
	RET
