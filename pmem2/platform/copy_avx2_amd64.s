#include "textflag.h"
#include "args_amd64.h"

// Copies and sets with the 32-byte vectors of AVX2. See copy_amd64.h.

#define W 32
#define V0 Y0
#define V1 Y1
#define V2 Y2
#define V3 Y3
#define V4 Y4
#define V5 Y5
#define V6 Y6
#define V7 Y7
#define V8 Y8
#define LD VMOVDQU
#define ST VMOVDQU
#define NT VMOVNTDQ
#define LDX VMOVDQU
#define STX VMOVDQU
#define UPPER VZEROUPPER
#define LOADLINE \
	VMOVDQU	(SI), Y0 \
	VMOVDQU	32(SI), Y1
#define NTLINE \
	VMOVNTDQ	Y0, (DI) \
	VMOVNTDQ	Y1, 32(DI)
#define NTLINESET \
	VMOVNTDQ	Y0, (DI) \
	VMOVNTDQ	Y0, 32(DI)
#define FETCH \
	PREFETCHT1	(AHEAD+0)(SI) \
	PREFETCHT1	(AHEAD+64)(SI) \
	PREFETCHT1	(AHEAD+128)(SI) \
	PREFETCHT1	(AHEAD+192)(SI)
#define SPREAD \
	VMOVQ	AX, X0 \
	VPBROADCASTQ	X0, Y0

#define COPY ·copyBytesAVX2<>
#define COPYNT ·copyLinesAVX2<>
#define SET ·setBytesAVX2<>
#define SETNT ·setLinesAVX2<>

#include "copy_amd64.h"

// func copyAVX2(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyAVX2(SB), NOSPLIT, $0-24
	COPYARGS
	JMP	COPY(SB)

// func setAVX2(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setAVX2(SB), NOSPLIT, $0-24
	SETARGS
	JMP	SET(SB)

// func copyAVX2NTCLFLUSH(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyAVX2NTCLFLUSH(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_CLFLUSH, R13
	JMP	COPYNT(SB)

// func setAVX2NTCLFLUSH(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setAVX2NTCLFLUSH(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_CLFLUSH, R13
	JMP	SETNT(SB)

// func copyAVX2NTCLFLUSHOPT(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyAVX2NTCLFLUSHOPT(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_CLFLUSHOPT, R13
	JMP	COPYNT(SB)

// func setAVX2NTCLFLUSHOPT(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setAVX2NTCLFLUSHOPT(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_CLFLUSHOPT, R13
	JMP	SETNT(SB)

// func copyAVX2NTCLWB(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyAVX2NTCLWB(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_CLWB, R13
	JMP	COPYNT(SB)

// func setAVX2NTCLWB(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setAVX2NTCLWB(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_CLWB, R13
	JMP	SETNT(SB)

// func copyAVX2NT(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyAVX2NT(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_NOTHING, R13
	JMP	COPYNT(SB)

// func setAVX2NT(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setAVX2NT(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_NOTHING, R13
	JMP	SETNT(SB)
