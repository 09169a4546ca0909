#include "textflag.h"

// Copies and sets with pairs of 8-byte registers: STP, or STNP for the
// non-temporal hint. A pair is stored to a multiple of 8, and the architecture
// treats it as two accesses of 8 bytes, each of them single-copy atomic when it
// is aligned. So a word, which is 8 bytes at a multiple of 8, that lies wholly
// inside the destination has its old content or its new one. The bytes before the
// first and after the last word are stored in naturally aligned pieces of 1, 2
// and 4. No byte outside [dst, dst+n) is written and none outside
// [src, src+n) is read. Nothing is stored twice.
//
// Every routine ends with DSB SY, since the goroutine may be on another core by
// the time of its Fence, and a barrier orders only what its own core did.
//
// R0 is dst, R1 src or the byte of a set, R2 n. Clobbers R0-R14.

// LINEUP and LINEDOWN store R3 … R10 at R0 and at R0-64.
#define LINEUP \
	STP	(R3, R4), (R0) \
	STP	(R5, R6), 16(R0) \
	STP	(R7, R8), 32(R0) \
	STP	(R9, R10), 48(R0)
#define LINEDOWN \
	STP	(R3, R4), -64(R0) \
	STP	(R5, R6), -48(R0) \
	STP	(R7, R8), -32(R0) \
	STP	(R9, R10), -16(R0)

// The same with STNP, which the assembler doesn't know: 0xa8000000, the offset
// in words at bit 15, the second register at 10, the base at 5, the first at 0.
#define LINEUPNT \
	WORD	$0xa8001003 \ // STNP	(R3, R4), (R0)
	WORD	$0xa8011805 \ // STNP	(R5, R6), 16(R0)
	WORD	$0xa8022007 \ // STNP	(R7, R8), 32(R0)
	WORD	$0xa8032809 // STNP	(R9, R10), 48(R0)
#define LINEDOWNNT \
	WORD	$0xa83c1003 \ // STNP	(R3, R4), -64(R0)
	WORD	$0xa83d1805 \ // STNP	(R5, R6), -48(R0)
	WORD	$0xa83e2007 \ // STNP	(R7, R8), -32(R0)
	WORD	$0xa83f2809 // STNP	(R9, R10), -16(R0)

#define COPY(up, down) \
	SUB	R1, R0, R3 \
	CMP	R2, R3 \
	BLO	backward \
	NEG	R0, R3 \
	AND	$7, R3, R3 \
	CMP	R2, R3 \
	BHI	bytes \
	SUB	R3, R2, R2 \
	TBZ	$0, R3, head2 \
	MOVBU.P	1(R1), R4 \
	MOVB.P	R4, 1(R0) \
head2: \
	TBZ	$1, R3, head4 \
	MOVHU.P	2(R1), R4 \
	MOVH.P	R4, 2(R0) \
head4: \
	TBZ	$2, R3, lines \
	MOVWU.P	4(R1), R4 \
	MOVW.P	R4, 4(R0) \
lines: \
	SUBS	$64, R2, R2 \
	BLO	pairs \
line: \
	LDP	(R1), (R3, R4) \
	LDP	16(R1), (R5, R6) \
	LDP	32(R1), (R7, R8) \
	LDP	48(R1), (R9, R10) \
	up \
	ADD	$64, R1, R1 \
	ADD	$64, R0, R0 \
	SUBS	$64, R2, R2 \
	BHS	line \
pairs: \
	TBZ	$5, R2, pair \
	LDP.P	32(R1), (R3, R4) \
	LDP	-16(R1), (R5, R6) \
	STP.P	(R3, R4), 32(R0) \
	STP	(R5, R6), -16(R0) \
pair: \
	TBZ	$4, R2, word \
	LDP.P	16(R1), (R3, R4) \
	STP.P	(R3, R4), 16(R0) \
word: \
	TBZ	$3, R2, bytes \
	MOVD.P	8(R1), R3 \
	MOVD.P	R3, 8(R0) \
bytes: \
	TBZ	$2, R2, tail2 \
	MOVWU.P	4(R1), R3 \
	MOVW.P	R3, 4(R0) \
tail2: \
	TBZ	$1, R2, tail1 \
	MOVHU.P	2(R1), R3 \
	MOVH.P	R3, 2(R0) \
tail1: \
	TBZ	$0, R2, done \
	MOVBU.P	1(R1), R3 \
	MOVB.P	R3, 1(R0) \
	B	done \
backward: \
	ADD	R2, R0, R0 \
	ADD	R2, R1, R1 \
	AND	$7, R0, R3 \
	CMP	R2, R3 \
	BHI	downbytes \
	SUB	R3, R2, R2 \
	TBZ	$0, R3, downtail2 \
	MOVBU.W	-1(R1), R4 \
	MOVB.W	R4, -1(R0) \
downtail2: \
	TBZ	$1, R3, downtail4 \
	MOVHU.W	-2(R1), R4 \
	MOVH.W	R4, -2(R0) \
downtail4: \
	TBZ	$2, R3, downlines \
	MOVWU.W	-4(R1), R4 \
	MOVW.W	R4, -4(R0) \
downlines: \
	SUBS	$64, R2, R2 \
	BLO	downpairs \
downline: \
	LDP	-64(R1), (R3, R4) \
	LDP	-48(R1), (R5, R6) \
	LDP	-32(R1), (R7, R8) \
	LDP	-16(R1), (R9, R10) \
	down \
	SUB	$64, R1, R1 \
	SUB	$64, R0, R0 \
	SUBS	$64, R2, R2 \
	BHS	downline \
downpairs: \
	TBZ	$5, R2, downpair \
	LDP.W	-32(R1), (R3, R4) \
	LDP	16(R1), (R5, R6) \
	STP.W	(R3, R4), -32(R0) \
	STP	(R5, R6), 16(R0) \
downpair: \
	TBZ	$4, R2, downword \
	LDP.W	-16(R1), (R3, R4) \
	STP.W	(R3, R4), -16(R0) \
downword: \
	TBZ	$3, R2, downbytes \
	MOVD.W	-8(R1), R3 \
	MOVD.W	R3, -8(R0) \
downbytes: \
	TBZ	$2, R2, downhead2 \
	MOVWU.W	-4(R1), R3 \
	MOVW.W	R3, -4(R0) \
downhead2: \
	TBZ	$1, R2, downhead1 \
	MOVHU.W	-2(R1), R3 \
	MOVH.W	R3, -2(R0) \
downhead1: \
	TBZ	$0, R2, done \
	MOVBU.W	-1(R1), R3 \
	MOVB.W	R3, -1(R0) \
done:

// SET fills with the byte R1.
#define SET(up) \
	MOVD	$0x0101010101010101, R3 \
	MUL	R1, R3, R3 \
	MOVD	R3, R4 \
	MOVD	R3, R5 \
	MOVD	R3, R6 \
	MOVD	R3, R7 \
	MOVD	R3, R8 \
	MOVD	R3, R9 \
	MOVD	R3, R10 \
	NEG	R0, R1 \
	AND	$7, R1, R1 \
	CMP	R2, R1 \
	BHI	bytes \
	SUB	R1, R2, R2 \
	TBZ	$0, R1, head2 \
	MOVB.P	R3, 1(R0) \
head2: \
	TBZ	$1, R1, head4 \
	MOVH.P	R3, 2(R0) \
head4: \
	TBZ	$2, R1, lines \
	MOVW.P	R3, 4(R0) \
lines: \
	SUBS	$64, R2, R2 \
	BLO	pairs \
line: \
	up \
	ADD	$64, R0, R0 \
	SUBS	$64, R2, R2 \
	BHS	line \
pairs: \
	TBZ	$5, R2, pair \
	STP.P	(R3, R4), 32(R0) \
	STP	(R3, R4), -16(R0) \
pair: \
	TBZ	$4, R2, word \
	STP.P	(R3, R4), 16(R0) \
word: \
	TBZ	$3, R2, bytes \
	MOVD.P	R3, 8(R0) \
bytes: \
	TBZ	$2, R2, tail2 \
	MOVW.P	R3, 4(R0) \
tail2: \
	TBZ	$1, R2, tail1 \
	MOVH.P	R3, 2(R0) \
tail1: \
	TBZ	$0, R2, done \
	MOVB.P	R3, 1(R0) \
done:

#define COPYARGS \
	MOVD	dst+0(FP), R0 \
	MOVD	src+8(FP), R1 \
	MOVD	n+16(FP), R2 \
	MOVD	R0, R11 \
	ADD	R0, R2, R12

#define SETARGS \
	MOVD	dst+0(FP), R0 \
	MOVBU	c+8(FP), R1 \
	MOVD	n+16(FP), R2 \
	MOVD	R0, R11 \
	ADD	R0, R2, R12

// CLEAN cleans the lines of [R11, R12), the range as the caller gave it.
#define CLEAN(word) \
	CMP	R12, R11 \
	BEQ	cleaned \
	MOVD	·cacheLine(SB), R13 \
	SUB	$1, R13, R14 \
	BIC	R14, R11, R11 \
clean: \
	WORD	$word \
	ADD	R13, R11, R11 \
	CMP	R12, R11 \
	BLO	clean \
cleaned:

// The encodings of "DC CVAC, R11" and "DC CVAP, R11".
#define CVAC 0xd50b7a2b
#define CVAP 0xd50b7c2b

// func copyPairs(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyPairs(SB), NOSPLIT, $0-24
	COPYARGS
	COPY(LINEUP, LINEDOWN)
	DSB	$15
	RET

// func setPairs(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setPairs(SB), NOSPLIT, $0-24
	SETARGS
	SET(LINEUP)
	DSB	$15
	RET

// func copyPairsCVAC(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyPairsCVAC(SB), NOSPLIT, $0-24
	COPYARGS
	COPY(LINEUP, LINEDOWN)
	CLEAN(CVAC)
	DSB	$15
	RET

// func setPairsCVAC(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setPairsCVAC(SB), NOSPLIT, $0-24
	SETARGS
	SET(LINEUP)
	CLEAN(CVAC)
	DSB	$15
	RET

// func copyPairsCVAP(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyPairsCVAP(SB), NOSPLIT, $0-24
	COPYARGS
	COPY(LINEUP, LINEDOWN)
	CLEAN(CVAP)
	DSB	$15
	RET

// func setPairsCVAP(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setPairsCVAP(SB), NOSPLIT, $0-24
	SETARGS
	SET(LINEUP)
	CLEAN(CVAP)
	DSB	$15
	RET

// func copyPairsNT(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyPairsNT(SB), NOSPLIT, $0-24
	COPYARGS
	COPY(LINEUPNT, LINEDOWNNT)
	DSB	$15
	RET

// func setPairsNT(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setPairsNT(SB), NOSPLIT, $0-24
	SETARGS
	SET(LINEUPNT)
	DSB	$15
	RET

// func copyPairsNTCVAC(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyPairsNTCVAC(SB), NOSPLIT, $0-24
	COPYARGS
	COPY(LINEUPNT, LINEDOWNNT)
	CLEAN(CVAC)
	DSB	$15
	RET

// func setPairsNTCVAC(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setPairsNTCVAC(SB), NOSPLIT, $0-24
	SETARGS
	SET(LINEUPNT)
	CLEAN(CVAC)
	DSB	$15
	RET

// func copyPairsNTCVAP(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyPairsNTCVAP(SB), NOSPLIT, $0-24
	COPYARGS
	COPY(LINEUPNT, LINEDOWNNT)
	CLEAN(CVAP)
	DSB	$15
	RET

// func setPairsNTCVAP(dst unsafe.Pointer, c byte, n uintptr)
TEXT ·setPairsNTCVAP(SB), NOSPLIT, $0-24
	SETARGS
	SET(LINEUPNT)
	CLEAN(CVAP)
	DSB	$15
	RET
