#include "textflag.h"

// Copies and sets of n bytes by aligned 8-byte words of the destination, with
// single bytes before the first word and after the last. STORE is the word
// store: MOVQ, or MOVNTIQ for a non-temporal one. Reads of the source may be
// unaligned; none leaves [src, src+n).
// Clobbers DI, SI, CX, DX, AX.

#define FORWARD(STORE) \
	MOVQ	dst+0(FP), DI \
	MOVQ	src+8(FP), SI \
	MOVQ	n+16(FP), CX \
head: \
	TESTQ	CX, CX \
	JZ	done \
	TESTQ	$7, DI \
	JZ	words \
	MOVB	(SI), AX \
	MOVB	AX, (DI) \
	INCQ	SI \
	INCQ	DI \
	DECQ	CX \
	JMP	head \
words: \
	MOVQ	CX, DX \
	SHRQ	$3, DX \
	JZ	tail \
word: \
	MOVQ	(SI), AX \
	STORE	AX, (DI) \
	ADDQ	$8, SI \
	ADDQ	$8, DI \
	DECQ	DX \
	JNZ	word \
tail: \
	ANDQ	$7, CX \
	JZ	done \
byte: \
	MOVB	(SI), AX \
	MOVB	AX, (DI) \
	INCQ	SI \
	INCQ	DI \
	DECQ	CX \
	JNZ	byte \
done: \
	RET

#define BACKWARD(STORE) \
	MOVQ	dst+0(FP), DI \
	MOVQ	src+8(FP), SI \
	MOVQ	n+16(FP), CX \
	ADDQ	CX, DI \
	ADDQ	CX, SI \
head: \
	TESTQ	CX, CX \
	JZ	done \
	TESTQ	$7, DI \
	JZ	words \
	DECQ	SI \
	DECQ	DI \
	MOVB	(SI), AX \
	MOVB	AX, (DI) \
	DECQ	CX \
	JMP	head \
words: \
	MOVQ	CX, DX \
	SHRQ	$3, DX \
	JZ	tail \
word: \
	SUBQ	$8, SI \
	SUBQ	$8, DI \
	MOVQ	(SI), AX \
	STORE	AX, (DI) \
	DECQ	DX \
	JNZ	word \
tail: \
	ANDQ	$7, CX \
	JZ	done \
byte: \
	DECQ	SI \
	DECQ	DI \
	MOVB	(SI), AX \
	MOVB	AX, (DI) \
	DECQ	CX \
	JNZ	byte \
done: \
	RET

#define SET(STORE) \
	MOVQ	dst+0(FP), DI \
	MOVQ	word+8(FP), AX \
	MOVQ	n+16(FP), CX \
head: \
	TESTQ	CX, CX \
	JZ	done \
	TESTQ	$7, DI \
	JZ	words \
	MOVB	AX, (DI) \
	INCQ	DI \
	DECQ	CX \
	JMP	head \
words: \
	MOVQ	CX, DX \
	SHRQ	$3, DX \
	JZ	tail \
word: \
	STORE	AX, (DI) \
	ADDQ	$8, DI \
	DECQ	DX \
	JNZ	word \
tail: \
	ANDQ	$7, CX \
	JZ	done \
byte: \
	MOVB	AX, (DI) \
	INCQ	DI \
	DECQ	CX \
	JNZ	byte \
done: \
	RET

// func copyForward(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyForward(SB), NOSPLIT, $0-24
	FORWARD(MOVQ)

// func copyBackward(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyBackward(SB), NOSPLIT, $0-24
	BACKWARD(MOVQ)

// func copyForwardNT(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyForwardNT(SB), NOSPLIT, $0-24
	FORWARD(MOVNTIQ)

// func copyBackwardNT(dst, src unsafe.Pointer, n uintptr)
TEXT ·copyBackwardNT(SB), NOSPLIT, $0-24
	BACKWARD(MOVNTIQ)

// func setWords(dst unsafe.Pointer, word uint64, n uintptr)
TEXT ·setWords(SB), NOSPLIT, $0-24
	SET(MOVQ)

// func setWordsNT(dst unsafe.Pointer, word uint64, n uintptr)
TEXT ·setWordsNT(SB), NOSPLIT, $0-24
	SET(MOVNTIQ)
