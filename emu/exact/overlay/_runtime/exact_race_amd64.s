//go:build race

// What race_amd64.s calls instead of the race detector's C functions. Its racecalladdr<>
// jumps to the functions of loads and stores when the address may be watched, with the
// address in SI, and a range's size in DX. Its racecallatomic<> jumps to those of
// sync/atomic, with the address of the arguments in CX.

#include "go_asm.h"
#include "textflag.h"

// The frame of each holds the room that a Go function needs for its register arguments
// (addr in AX, n in BX, fp in CX, skip in DI), and makes BP a frame pointer whose first
// caller is the instrumented code.

TEXT __tsan_read(SB), NOSPLIT, $32-0
	MOVQ	SI, AX
	XORL	BX, BX
	CALL	runtime·exactLoad<ABIInternal>(SB)
	RET

TEXT __tsan_read_pc(SB), NOSPLIT|NOFRAME, $0-0
	JMP	__tsan_read(SB)

TEXT __tsan_read_range(SB), NOSPLIT, $32-0
	TESTQ	DX, DX
	JEQ	none
	MOVQ	SI, AX
	MOVQ	DX, BX
	CALL	runtime·exactLoad<ABIInternal>(SB)
none:
	RET

TEXT __tsan_write(SB), NOSPLIT, $32-0
	MOVQ	SI, AX
	XORL	BX, BX
	MOVQ	BP, CX
	XORL	DI, DI
	CALL	runtime·exactStore<ABIInternal>(SB)
	RET

// From racewritepc: the function of the runtime that called it comes first.
TEXT __tsan_write_pc(SB), NOSPLIT, $32-0
	MOVQ	SI, AX
	XORL	BX, BX
	MOVQ	BP, CX
	MOVL	$1, DI
	CALL	runtime·exactStore<ABIInternal>(SB)
	RET

// From instrumented code CX is its return address, from racewriterangepc1 the start of a
// function of the runtime; then two callers are the runtime's, the second that function.
TEXT __tsan_write_range(SB), NOSPLIT, $32-0
	TESTQ	DX, DX
	JEQ	none
	XORL	DI, DI
	CMPQ	CX, 8(BP)
	JEQ	direct
	MOVL	$2, DI
direct:
	MOVQ	SI, AX
	MOVQ	DX, BX
	MOVQ	BP, CX
	CALL	runtime·exactStore<ABIInternal>(SB)
none:
	RET

TEXT __tsan_func_enter(SB), NOSPLIT|NOFRAME, $0-0
	RET

TEXT __tsan_func_exit(SB), NOSPLIT|NOFRAME, $0-0
	RET

// exactatomic does the operation AX where it may have to be recorded. It's part of
// racecallatomic<>.
TEXT exactatomic(SB), NOSPLIT, $32-0
	MOVQ	CX, BX
	MOVQ	BP, CX
	CALL	runtime·exactAtomic<ABIInternal>(SB)
	RET

TEXT __tsan_go_atomic32_load(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVL	(DI), AX
	MOVL	AX, 8(CX)
	RET

TEXT __tsan_go_atomic32_store(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVL	8(CX), AX
	XCHGL	AX, (DI)
	RET

TEXT __tsan_go_atomic32_exchange(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVL	8(CX), AX
	XCHGL	AX, (DI)
	MOVL	AX, 16(CX)
	RET

TEXT __tsan_go_atomic32_fetch_add(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVL	8(CX), AX
	LOCK
	XADDL	AX, (DI)
	MOVL	AX, 16(CX)
	RET

TEXT __tsan_go_atomic32_fetch_and(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVL	(DI), AX
again:
	MOVL	8(CX), DX
	ANDL	AX, DX
	LOCK
	CMPXCHGL	DX, (DI)
	JNE	again
	MOVL	AX, 16(CX)
	RET

TEXT __tsan_go_atomic32_fetch_or(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVL	(DI), AX
again:
	MOVL	8(CX), DX
	ORL	AX, DX
	LOCK
	CMPXCHGL	DX, (DI)
	JNE	again
	MOVL	AX, 16(CX)
	RET

TEXT __tsan_go_atomic32_compare_exchange(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVL	8(CX), AX
	MOVL	12(CX), DX
	LOCK
	CMPXCHGL	DX, (DI)
	SETEQ	16(CX)
	RET

TEXT __tsan_go_atomic64_load(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVQ	(DI), AX
	MOVQ	AX, 8(CX)
	RET

TEXT __tsan_go_atomic64_store(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVQ	8(CX), AX
	XCHGQ	AX, (DI)
	RET

TEXT __tsan_go_atomic64_exchange(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVQ	8(CX), AX
	XCHGQ	AX, (DI)
	MOVQ	AX, 16(CX)
	RET

TEXT __tsan_go_atomic64_fetch_add(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVQ	8(CX), AX
	LOCK
	XADDQ	AX, (DI)
	MOVQ	AX, 16(CX)
	RET

TEXT __tsan_go_atomic64_fetch_and(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVQ	(DI), AX
again:
	MOVQ	8(CX), DX
	ANDQ	AX, DX
	LOCK
	CMPXCHGQ	DX, (DI)
	JNE	again
	MOVQ	AX, 16(CX)
	RET

TEXT __tsan_go_atomic64_fetch_or(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVQ	(DI), AX
again:
	MOVQ	8(CX), DX
	ORQ	AX, DX
	LOCK
	CMPXCHGQ	DX, (DI)
	JNE	again
	MOVQ	AX, 16(CX)
	RET

TEXT __tsan_go_atomic64_compare_exchange(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	(CX), DI
	MOVQ	8(CX), AX
	MOVQ	16(CX), DX
	LOCK
	CMPXCHGQ	DX, (DI)
	SETEQ	24(CX)
	RET
