// The copies and sets of amd64, once for every instruction set: each
// copy_ISA_amd64.s defines the vector that they move and includes this file.
//
//	W            bytes of a vector: 16, 32 or 64
//	V0 … V8      vector registers
//	LD, ST, NT   load, store and non-temporal store of one vector
//	LDX, STX     load and store of 16 bytes (X0), and of 32 (Y0) with HALFVECTOR
//	HALFVECTOR   defined if W is 64: 33 to 64 bytes are two halves of a vector
//	TWOISX       defined if W is 16: two vectors are X0 and X1
//	UPPER        VZEROUPPER where vectors are wider than 16 bytes
//	LOADLINE, NTLINE, NTLINESET
//	             the 64 bytes at (SI) to V0 …; these to (DI); V0 to all of (DI)
//	FETCH        prefetch of the 8*W bytes AHEAD of SI, a line at a time
//	SPREAD       the word AX to every word of V0
//	COPY, COPYNT, SET, SETNT
//	             the names of the routines
//
// What no store here does is to split a word, which is 8 bytes at a multiple of
// 8, that lies wholly inside the destination: the bytes before the first and
// after the last word are stored by themselves, in naturally aligned pieces of
// 4, 2 and 1, and every store of words goes to a multiple of 8 and is a multiple
// of 8 long. Intel and AMD promise that an aligned access of 8 bytes is atomic,
// and of 16 aligned ones where there is AVX. Of wider accesses they say that
// one may be carried out as several. Every implementation carries them out
// as one for each cache line, or as halves and quarters of the vector: as the
// address is a multiple of 8 all of these begin and end between two words. So a
// word has its old content or its new one.
//
// Some words are stored twice, with the same final content.
//
// No byte outside [dst, dst+n) is written and none outside [src, src+n) is read.
// Up to 8*W bytes are in registers before the first is stored, so overlap
// doesn't matter; longer copies have a direction.

// COPY copies DX bytes from SI to DI.
// Clobbers AX, CX, DX, SI, DI, R8-R12 and vectors; above 63 bytes BX, R13 too.
TEXT COPY(SB), NOSPLIT, $0-0
	MOVQ	DI, AX
	ORQ	DX, AX
	XORL	CX, CX	// bytes before the first word
	XORL	R12, R12	// bytes after the last
	TESTQ	$7, AX
	JNZ	edges
words:
	CMPQ	DX, $16
	JB	one
	CMPQ	DX, $32
	JA	over32
	LDX	(SI), X0
	LDX	-16(SI)(DX*1), X1
	STX	X0, (DI)
	STX	X1, -16(DI)(DX*1)
	JMP	finish
one:
	TESTQ	DX, DX
	JZ	finish
	MOVQ	(SI), AX
	MOVQ	AX, (DI)
finish:
	MOVL	CX, AX
	ORL	R12, AX
	JNZ	ends
	RET

over32:
#ifdef HALFVECTOR
	CMPQ	DX, $64
	JA	over64
	LDX	(SI), Y0
	LDX	-32(SI)(DX*1), Y1
	STX	Y0, (DI)
	STX	Y1, -32(DI)(DX*1)
	UPPER
	JMP	finish
over64:
#endif
#ifndef TWOISX
	CMPQ	DX, $(2*W)
	JA	over2
	LD	(SI), V0
	LD	-W(SI)(DX*1), V1
	ST	V0, (DI)
	ST	V1, -W(DI)(DX*1)
	UPPER
	JMP	finish
over2:
#endif
	CMPQ	DX, $(4*W)
	JA	over4
	LD	(SI), V0
	LD	W(SI), V1
	LD	-(2*W)(SI)(DX*1), V2
	LD	-W(SI)(DX*1), V3
	ST	V0, (DI)
	ST	V1, W(DI)
	ST	V2, -(2*W)(DI)(DX*1)
	ST	V3, -W(DI)(DX*1)
	UPPER
	JMP	finish
over4:
	CMPQ	DX, $(8*W)
	JA	over8
	LD	(SI), V0
	LD	W(SI), V1
	LD	(2*W)(SI), V2
	LD	(3*W)(SI), V3
	LD	-(4*W)(SI)(DX*1), V4
	LD	-(3*W)(SI)(DX*1), V5
	LD	-(2*W)(SI)(DX*1), V6
	LD	-W(SI)(DX*1), V7
	ST	V0, (DI)
	ST	V1, W(DI)
	ST	V2, (2*W)(DI)
	ST	V3, (3*W)(DI)
	ST	V4, -(4*W)(DI)(DX*1)
	ST	V5, -(3*W)(DI)(DX*1)
	ST	V6, -(2*W)(DI)(DX*1)
	ST	V7, -W(DI)(DX*1)
	UPPER
	JMP	finish

over8:
	MOVQ	DI, AX
	SUBQ	SI, AX
	CMPQ	AX, DX
	JB	backward	// dst starts inside [src, src+n)

	// Upwards. The last four vectors and the first one are loaded before
	// anything is stored, and stored after the loop of aligned ones.
	LD	(SI), V8
	LD	-(4*W)(SI)(DX*1), V4
	LD	-(3*W)(SI)(DX*1), V5
	LD	-(2*W)(SI)(DX*1), V6
	LD	-W(SI)(DX*1), V7
	MOVQ	DI, R13
	LEAQ	-(4*W)(DI)(DX*1), BX
	MOVQ	DI, AX
	NEGQ	AX
	ANDQ	$(W-1), AX
	ADDQ	AX, DI
	ADDQ	AX, SI
	PCALIGN	$32
up:
	LD	(SI), V0
	LD	W(SI), V1
	LD	(2*W)(SI), V2
	LD	(3*W)(SI), V3
	ST	V0, (DI)
	ST	V1, W(DI)
	ST	V2, (2*W)(DI)
	ST	V3, (3*W)(DI)
	ADDQ	$(4*W), SI
	ADDQ	$(4*W), DI
	CMPQ	DI, BX
	JB	up
	ST	V4, (BX)
	ST	V5, W(BX)
	ST	V6, (2*W)(BX)
	ST	V7, (3*W)(BX)
	ST	V8, (R13)
	UPPER
	JMP	finish

backward:
	LD	-W(SI)(DX*1), V8
	LD	(SI), V4
	LD	W(SI), V5
	LD	(2*W)(SI), V6
	LD	(3*W)(SI), V7
	LEAQ	(4*W)(DI), BX
	ADDQ	DX, DI
	ADDQ	DX, SI
	MOVQ	DI, R13
	MOVQ	DI, AX
	ANDQ	$(W-1), AX
	SUBQ	AX, DI
	SUBQ	AX, SI
	PCALIGN	$32
down:
	LD	-W(SI), V0
	LD	-(2*W)(SI), V1
	LD	-(3*W)(SI), V2
	LD	-(4*W)(SI), V3
	ST	V0, -W(DI)
	ST	V1, -(2*W)(DI)
	ST	V2, -(3*W)(DI)
	ST	V3, -(4*W)(DI)
	SUBQ	$(4*W), SI
	SUBQ	$(4*W), DI
	CMPQ	DI, BX
	JA	down
	ST	V4, -(4*W)(BX)
	ST	V5, -(3*W)(BX)
	ST	V6, -(2*W)(BX)
	ST	V7, -W(BX)
	ST	V8, -W(R13)
	UPPER
	JMP	finish

	// What isn't in a word is loaded before and stored after the words.
edges:
	CMPQ	DX, $8
	JB	tiny
	MOVQ	(SI), R8
	MOVQ	-8(SI)(DX*1), R9
	MOVQ	DI, R10
	LEAQ	(DI)(DX*1), R11
	MOVL	DI, CX
	NEGL	CX
	ANDL	$7, CX
	ADDQ	CX, DI
	ADDQ	CX, SI
	SUBQ	CX, DX
	MOVL	DX, R12
	ANDL	$7, R12
	ANDQ	$-8, DX
	JMP	words
ends:
	TESTL	$1, CX
	JZ	first2
	MOVB	R8, (R10)
	SHRQ	$8, R8
	INCQ	R10
first2:
	TESTL	$2, CX
	JZ	first4
	MOVW	R8, (R10)
	SHRQ	$16, R8
	ADDQ	$2, R10
first4:
	TESTL	$4, CX
	JZ	last
	MOVL	R8, (R10)
last:
	TESTL	R12, R12
	JZ	done
	SUBQ	R12, R11
	MOVL	$8, CX
	SUBL	R12, CX
	SHLL	$3, CX
	SHRQ	CX, R9
	TESTL	$4, R12
	JZ	last2
	MOVL	R9, (R11)
	SHRQ	$32, R9
	ADDQ	$4, R11
last2:
	TESTL	$2, R12
	JZ	last1
	MOVW	R9, (R11)
	SHRQ	$16, R9
	ADDQ	$2, R11
last1:
	TESTL	$1, R12
	JZ	done
	MOVB	R9, (R11)
done:
	RET

	// Fewer than 8 bytes: no word is wholly among them.
tiny:
	CMPQ	DX, $4
	JB	tiny2
	MOVL	(SI), AX
	MOVL	-4(SI)(DX*1), CX
	MOVL	AX, (DI)
	MOVL	CX, -4(DI)(DX*1)
	RET
tiny2:
	CMPQ	DX, $2
	JB	tiny1
	MOVWLZX	(SI), AX
	MOVWLZX	-2(SI)(DX*1), CX
	MOVW	AX, (DI)
	MOVW	CX, -2(DI)(DX*1)
	RET
tiny1:
	TESTQ	DX, DX
	JZ	done
	MOVBLZX	(SI), AX
	MOVB	AX, (DI)
	RET

// WRITEBACK flushes the line of addr with the instruction that R13 says.
#define WRITEBACK(addr, opt, old, end) \
	CMPL	R13, $BY_CLFLUSHOPT \
	JE	opt \
	JB	old \
	CMPL	R13, $BY_NOTHING \
	JE	end \
	CLWB	addr \
	JMP	end \
opt: \
	CLFLUSHOPT	addr \
	JMP	end \
old: \
	CLFLUSH	addr \
end:

// BATCH copies 8 vectors upwards with non-temporal stores.
#define BATCH \
	LD	(SI), V0 \
	LD	W(SI), V1 \
	LD	(2*W)(SI), V2 \
	LD	(3*W)(SI), V3 \
	LD	(4*W)(SI), V4 \
	LD	(5*W)(SI), V5 \
	LD	(6*W)(SI), V6 \
	LD	(7*W)(SI), V7 \
	NT	V0, (DI) \
	NT	V1, W(DI) \
	NT	V2, (2*W)(DI) \
	NT	V3, (3*W)(DI) \
	NT	V4, (4*W)(DI) \
	NT	V5, (5*W)(DI) \
	NT	V6, (6*W)(DI) \
	NT	V7, (7*W)(DI) \
	ADDQ	$(8*W), SI \
	ADDQ	$(8*W), DI

// HUGE is the length in bytes from which on copies fetch the source AHEAD of the
// loop. The processor's own prefetcher stops at each page. On an Emerald Rapids 64
// MiB gained 2 to 9 % by it, 16 MiB nothing, and 1 MiB lost 3 %.
#define HUGE 33554432
#define AHEAD 8192

// COPYNT copies DX bytes from SI to DI, whole cache lines with non-temporal
// stores. What is left of the first and the last line is stored in the ordinary
// way and flushed, as R13 says; a line is flushed once.
TEXT COPYNT(SB), NOSPLIT, $0-0
	MOVQ	DI, AX
	SUBQ	SI, AX
	CMPQ	AX, DX
	JB	backward

	MOVL	DI, CX
	NEGL	CX
	ANDL	$63, CX
	JZ	lines
	CMPQ	CX, DX
	CMOVQHI	DX, CX
	LEAQ	(DI)(CX*1), R14
	LEAQ	(SI)(CX*1), R15
	MOVQ	DX, BX
	SUBQ	CX, BX
	MOVQ	CX, DX
	CALL	COPY(SB)
	WRITEBACK(-1(R14), firstopt, firstold, first)
	MOVQ	R14, DI
	MOVQ	R15, SI
	MOVQ	BX, DX
lines:
	CMPQ	DX, $HUGE
	JB	batches
	SUBQ	$(8*W+AHEAD), DX
	PCALIGN	$32
ahead:
	FETCH
	BATCH
	SUBQ	$(8*W), DX
	JAE	ahead
	ADDQ	$(8*W+AHEAD), DX
batches:
	SUBQ	$(8*W), DX
	JB	fewlines
	PCALIGN	$32
up:
	BATCH
	SUBQ	$(8*W), DX
	JAE	up
fewlines:
	ADDQ	$(8*W-64), DX
	JNC	nolines
line:
	LOADLINE
	NTLINE
	ADDQ	$64, SI
	ADDQ	$64, DI
	SUBQ	$64, DX
	JAE	line
nolines:
	UPPER
	ADDQ	$64, DX
	JZ	done
	MOVQ	DI, R14
	CALL	COPY(SB)
	WRITEBACK((R14), lastopt, lastold, done)
	RET

backward:
	LEAQ	(DI)(DX*1), CX
	ANDL	$63, CX
	JZ	downlines
	CMPQ	CX, DX
	CMOVQHI	DX, CX
	MOVQ	DI, R14
	MOVQ	SI, R15
	MOVQ	DX, BX
	SUBQ	CX, BX
	ADDQ	BX, DI
	ADDQ	BX, SI
	MOVQ	CX, DX
	CALL	COPY(SB)
	LEAQ	(R14)(BX*1), AX
	WRITEBACK((AX), downlastopt, downlastold, downlast)
	MOVQ	R14, DI
	MOVQ	R15, SI
	MOVQ	BX, DX
downlines:
	ADDQ	DX, DI
	ADDQ	DX, SI
	SUBQ	$(8*W), DX
	JB	downfew
	PCALIGN	$32
down:
	LD	-W(SI), V0
	LD	-(2*W)(SI), V1
	LD	-(3*W)(SI), V2
	LD	-(4*W)(SI), V3
	LD	-(5*W)(SI), V4
	LD	-(6*W)(SI), V5
	LD	-(7*W)(SI), V6
	LD	-(8*W)(SI), V7
	NT	V0, -W(DI)
	NT	V1, -(2*W)(DI)
	NT	V2, -(3*W)(DI)
	NT	V3, -(4*W)(DI)
	NT	V4, -(5*W)(DI)
	NT	V5, -(6*W)(DI)
	NT	V6, -(7*W)(DI)
	NT	V7, -(8*W)(DI)
	SUBQ	$(8*W), SI
	SUBQ	$(8*W), DI
	SUBQ	$(8*W), DX
	JAE	down
downfew:
	ADDQ	$(8*W-64), DX
	JNC	downnone
downline:
	SUBQ	$64, SI
	SUBQ	$64, DI
	LOADLINE
	NTLINE
	SUBQ	$64, DX
	JAE	downline
downnone:
	UPPER
	ADDQ	$64, DX
	JZ	downdone
	SUBQ	DX, DI
	SUBQ	DX, SI
	MOVQ	DI, R14
	CALL	COPY(SB)
	WRITEBACK((R14), downfirstopt, downfirstold, downdone)
	RET

// SET fills DX bytes at DI with the word AX.
// Clobbers CX, DX, DI, R8, R11 and vectors.
TEXT SET(SB), NOSPLIT, $0-0
	MOVQ	DI, CX
	ORQ	DX, CX
	TESTQ	$7, CX
	JNZ	edges
words:
	CMPQ	DX, $16
	JB	one
	SPREAD
	CMPQ	DX, $32
	JA	over32
	STX	X0, (DI)
	STX	X0, -16(DI)(DX*1)
	UPPER
	RET
one:
	TESTQ	DX, DX
	JZ	done
	MOVQ	AX, (DI)
done:
	RET

over32:
#ifdef HALFVECTOR
	CMPQ	DX, $64
	JA	over64
	STX	Y0, (DI)
	STX	Y0, -32(DI)(DX*1)
	UPPER
	RET
over64:
#endif
#ifndef TWOISX
	CMPQ	DX, $(2*W)
	JA	over2
	ST	V0, (DI)
	ST	V0, -W(DI)(DX*1)
	UPPER
	RET
over2:
#endif
	LEAQ	(DI)(DX*1), R8
	CMPQ	DX, $(4*W)
	JA	over4
	ST	V0, (DI)
	ST	V0, W(DI)
	ST	V0, -(2*W)(R8)
	ST	V0, -W(R8)
	UPPER
	RET
over4:
	ST	V0, (DI)
	SUBQ	$(4*W), R8
	ADDQ	$W, DI
	ANDQ	$-W, DI
	CMPQ	DI, R8
	JAE	tail
	PCALIGN	$32
up:
	ST	V0, (DI)
	ST	V0, W(DI)
	ST	V0, (2*W)(DI)
	ST	V0, (3*W)(DI)
	ADDQ	$(4*W), DI
	CMPQ	DI, R8
	JB	up
tail:
	ST	V0, (R8)
	ST	V0, W(R8)
	ST	V0, (2*W)(R8)
	ST	V0, (3*W)(R8)
	UPPER
	RET

edges:
	CMPQ	DX, $8
	JB	tiny
	LEAQ	(DI)(DX*1), R11
	MOVL	DI, CX
	NEGL	CX
	ANDL	$7, CX
	SUBQ	CX, DX
	TESTL	$1, CX
	JZ	first2
	MOVB	AX, (DI)
	INCQ	DI
first2:
	TESTL	$2, CX
	JZ	first4
	MOVW	AX, (DI)
	ADDQ	$2, DI
first4:
	TESTL	$4, CX
	JZ	last
	MOVL	AX, (DI)
	ADDQ	$4, DI
last:
	MOVL	DX, CX
	ANDL	$7, CX
	ANDQ	$-8, DX
	SUBQ	CX, R11
	TESTL	$4, CX
	JZ	last2
	MOVL	AX, (R11)
	ADDQ	$4, R11
last2:
	TESTL	$2, CX
	JZ	last1
	MOVW	AX, (R11)
	ADDQ	$2, R11
last1:
	TESTL	$1, CX
	JZ	words
	MOVB	AX, (R11)
	JMP	words
tiny:
	CMPQ	DX, $4
	JB	tiny2
	MOVL	AX, (DI)
	MOVL	AX, -4(DI)(DX*1)
	RET
tiny2:
	CMPQ	DX, $2
	JB	tiny1
	MOVW	AX, (DI)
	MOVW	AX, -2(DI)(DX*1)
	RET
tiny1:
	TESTQ	DX, DX
	JZ	done
	MOVB	AX, (DI)
	RET

// SETNT is SET as COPYNT is COPY.
TEXT SETNT(SB), NOSPLIT, $0-0
	MOVL	DI, CX
	NEGL	CX
	ANDL	$63, CX
	JZ	lines
	CMPQ	CX, DX
	CMOVQHI	DX, CX
	LEAQ	(DI)(CX*1), R14
	MOVQ	DX, BX
	SUBQ	CX, BX
	MOVQ	CX, DX
	CALL	SET(SB)
	WRITEBACK(-1(R14), firstopt, firstold, first)
	MOVQ	R14, DI
	MOVQ	BX, DX
lines:
	SPREAD
	SUBQ	$(8*W), DX
	JB	fewlines
	PCALIGN	$32
up:
	NT	V0, (DI)
	NT	V0, W(DI)
	NT	V0, (2*W)(DI)
	NT	V0, (3*W)(DI)
	NT	V0, (4*W)(DI)
	NT	V0, (5*W)(DI)
	NT	V0, (6*W)(DI)
	NT	V0, (7*W)(DI)
	ADDQ	$(8*W), DI
	SUBQ	$(8*W), DX
	JAE	up
fewlines:
	ADDQ	$(8*W-64), DX
	JNC	nolines
line:
	NTLINESET
	ADDQ	$64, DI
	SUBQ	$64, DX
	JAE	line
nolines:
	UPPER
	ADDQ	$64, DX
	JZ	done
	MOVQ	DI, R14
	CALL	SET(SB)
	WRITEBACK((R14), lastopt, lastold, done)
	RET
