#include "textflag.h"
#include "args_amd64.h"

// Copies and sets with the 16-byte vectors of SSE2. See copy_amd64.h.

#define W 16
#define TWOISX
#define V0 X0
#define V1 X1
#define V2 X2
#define V3 X3
#define V4 X4
#define V5 X5
#define V6 X6
#define V7 X7
#define V8 X8
#define LD MOVOU
#define ST MOVOU
#define NT MOVNTO
#define LDX MOVOU
#define STX MOVOU
#define UPPER
#define LOADLINE \
	MOVOU	(SI), X0 \
	MOVOU	16(SI), X1 \
	MOVOU	32(SI), X2 \
	MOVOU	48(SI), X3
#define NTLINE \
	MOVNTO	X0, (DI) \
	MOVNTO	X1, 16(DI) \
	MOVNTO	X2, 32(DI) \
	MOVNTO	X3, 48(DI)
#define NTLINESET \
	MOVNTO	X0, (DI) \
	MOVNTO	X0, 16(DI) \
	MOVNTO	X0, 32(DI) \
	MOVNTO	X0, 48(DI)
#define FETCH \
	PREFETCHT1	(AHEAD+0)(SI) \
	PREFETCHT1	(AHEAD+64)(SI)
#define SPREAD \
	MOVQ	AX, X0 \
	PUNPCKLQDQ	X0, X0

#define COPY ·copyBytesSSE2<>
#define COPYNT ·copyLinesSSE2<>
#define SET ·setBytesSSE2<>
#define SETNT ·setLinesSSE2<>

#include "copy_amd64.h"

// func copySSE2(dst, src unsafe.Pointer, n uintptr)
TEXT ·copySSE2(SB), NOSPLIT, $0-24
	COPYARGS
	JMP	COPY(SB)

// func setSSE2(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setSSE2(SB), NOSPLIT, $0-24
	SETARGS
	JMP	SET(SB)

// func copySSE2NTCLFLUSH(dst, src unsafe.Pointer, n uintptr)
TEXT ·copySSE2NTCLFLUSH(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_CLFLUSH, R13
	JMP	COPYNT(SB)

// func setSSE2NTCLFLUSH(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setSSE2NTCLFLUSH(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_CLFLUSH, R13
	JMP	SETNT(SB)

// func copySSE2NTCLFLUSHOPT(dst, src unsafe.Pointer, n uintptr)
TEXT ·copySSE2NTCLFLUSHOPT(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_CLFLUSHOPT, R13
	JMP	COPYNT(SB)

// func setSSE2NTCLFLUSHOPT(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setSSE2NTCLFLUSHOPT(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_CLFLUSHOPT, R13
	JMP	SETNT(SB)

// func copySSE2NTCLWB(dst, src unsafe.Pointer, n uintptr)
TEXT ·copySSE2NTCLWB(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_CLWB, R13
	JMP	COPYNT(SB)

// func setSSE2NTCLWB(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setSSE2NTCLWB(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_CLWB, R13
	JMP	SETNT(SB)

// func copySSE2NT(dst, src unsafe.Pointer, n uintptr)
TEXT ·copySSE2NT(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_NOTHING, R13
	JMP	COPYNT(SB)

// func setSSE2NT(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setSSE2NT(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_NOTHING, R13
	JMP	SETNT(SB)
