#include "textflag.h"
#include "args_amd64.h"

// Copies and sets with the 64-byte vectors of AVX-512F. See copy_amd64.h.

#define W 64
#define HALFVECTOR
#define V0 Z0
#define V1 Z1
#define V2 Z2
#define V3 Z3
#define V4 Z4
#define V5 Z5
#define V6 Z6
#define V7 Z7
#define V8 Z8
#define LD VMOVDQU64
#define ST VMOVDQU64
#define NT VMOVNTDQ
#define LDX VMOVDQU
#define STX VMOVDQU
#define UPPER VZEROUPPER
#define LOADLINE \
	VMOVDQU64	(SI), Z0
#define NTLINE \
	VMOVNTDQ	Z0, (DI)
#define NTLINESET \
	VMOVNTDQ	Z0, (DI)
#define FETCH \
	PREFETCHT1	(AHEAD+0)(SI) \
	PREFETCHT1	(AHEAD+64)(SI) \
	PREFETCHT1	(AHEAD+128)(SI) \
	PREFETCHT1	(AHEAD+192)(SI) \
	PREFETCHT1	(AHEAD+256)(SI) \
	PREFETCHT1	(AHEAD+320)(SI) \
	PREFETCHT1	(AHEAD+384)(SI) \
	PREFETCHT1	(AHEAD+448)(SI)
#define SPREAD \
	VPBROADCASTQ	AX, Z0

#define COPY ·copyBytesAVX512<>
#define COPYNT ·copyLinesAVX512<>
#define SET ·setBytesAVX512<>
#define SETNT ·setLinesAVX512<>

#include "copy_amd64.h"

// func copyAVX512(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyAVX512(SB), NOSPLIT, $0-24
	COPYARGS
	JMP	COPY(SB)

// func setAVX512(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setAVX512(SB), NOSPLIT, $0-24
	SETARGS
	JMP	SET(SB)

// func copyAVX512NTCLFLUSH(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyAVX512NTCLFLUSH(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_CLFLUSH, R13
	JMP	COPYNT(SB)

// func setAVX512NTCLFLUSH(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setAVX512NTCLFLUSH(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_CLFLUSH, R13
	JMP	SETNT(SB)

// func copyAVX512NTCLFLUSHOPT(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyAVX512NTCLFLUSHOPT(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_CLFLUSHOPT, R13
	JMP	COPYNT(SB)

// func setAVX512NTCLFLUSHOPT(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setAVX512NTCLFLUSHOPT(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_CLFLUSHOPT, R13
	JMP	SETNT(SB)

// func copyAVX512NTCLWB(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyAVX512NTCLWB(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_CLWB, R13
	JMP	COPYNT(SB)

// func setAVX512NTCLWB(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setAVX512NTCLWB(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_CLWB, R13
	JMP	SETNT(SB)

// func copyAVX512NT(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyAVX512NT(SB), NOSPLIT, $0-24
	COPYARGS
	MOVL	$BY_NOTHING, R13
	JMP	COPYNT(SB)

// func setAVX512NT(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setAVX512NT(SB), NOSPLIT, $0-24
	SETARGS
	MOVL	$BY_NOTHING, R13
	JMP	SETNT(SB)
