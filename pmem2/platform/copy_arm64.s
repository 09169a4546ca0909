#include "textflag.h"

// Copies and sets of n bytes by aligned 8-byte words of the destination, with
// single bytes before the first word and after the last, then DSB SY. Reads of
// the source may be unaligned; none leaves [src, src+n).
// Clobbers R0-R4.

// func copyForward(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyForward(SB), NOSPLIT, $0-24
	MOVD	dst+0(FP), R0
	MOVD	src+8(FP), R1
	MOVD	n+16(FP), R2
head:
	CBZ	R2, done
	TST	$7, R0
	BEQ	words
	MOVBU.P	1(R1), R3
	MOVB.P	R3, 1(R0)
	SUB	$1, R2, R2
	B	head
words:
	LSR	$3, R2, R4
	CBZ	R4, tail
word:
	MOVD.P	8(R1), R3
	MOVD.P	R3, 8(R0)
	SUB	$1, R4, R4
	CBNZ	R4, word
tail:
	AND	$7, R2, R2
	CBZ	R2, done
byte:
	MOVBU.P	1(R1), R3
	MOVB.P	R3, 1(R0)
	SUB	$1, R2, R2
	CBNZ	R2, byte
done:
	DSB	$15
	RET

// func copyBackward(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyBackward(SB), NOSPLIT, $0-24
	MOVD	dst+0(FP), R0
	MOVD	src+8(FP), R1
	MOVD	n+16(FP), R2
	ADD	R2, R0, R0
	ADD	R2, R1, R1
head:
	CBZ	R2, done
	TST	$7, R0
	BEQ	words
	MOVBU.W	-1(R1), R3
	MOVB.W	R3, -1(R0)
	SUB	$1, R2, R2
	B	head
words:
	LSR	$3, R2, R4
	CBZ	R4, tail
word:
	MOVD.W	-8(R1), R3
	MOVD.W	R3, -8(R0)
	SUB	$1, R4, R4
	CBNZ	R4, word
tail:
	AND	$7, R2, R2
	CBZ	R2, done
byte:
	MOVBU.W	-1(R1), R3
	MOVB.W	R3, -1(R0)
	SUB	$1, R2, R2
	CBNZ	R2, byte
done:
	DSB	$15
	RET

// func setWords(dst unsafe.Pointer, word uint64, n uintptr)
TEXT ·setWords(SB), NOSPLIT, $0-24
	MOVD	dst+0(FP), R0
	MOVD	word+8(FP), R3
	MOVD	n+16(FP), R2
head:
	CBZ	R2, done
	TST	$7, R0
	BEQ	words
	MOVB.P	R3, 1(R0)
	SUB	$1, R2, R2
	B	head
words:
	LSR	$3, R2, R4
	CBZ	R4, tail
word:
	MOVD.P	R3, 8(R0)
	SUB	$1, R4, R4
	CBNZ	R4, word
tail:
	AND	$7, R2, R2
	CBZ	R2, done
byte:
	MOVB.P	R3, 1(R0)
	SUB	$1, R2, R2
	CBNZ	R2, byte
done:
	DSB	$15
	RET
