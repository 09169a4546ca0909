#include "textflag.h"

// Loads and stores that may fault. The first instruction of loadByte and of storeByte is
// the only one that can; a signal that comes there, and nowhere else, ends the access: the
// handler leaves its number in the upper and its si_code in the lower half of AX and goes
// on at answer. All other signals are for the handler that was there before.
//
// Offsets: siginfo has si_code at 8; ucontext has AX at 144 and the program counter at
// 168 (40 bytes before the registers, AX the 14th and RIP the 17th of them).

// func load(addr uintptr) uint64
TEXT ·load(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ addr+0(FP), BX
	XORL AX, AX
	JMP  loadByte<>(SB)

TEXT loadByte<>(SB), NOSPLIT|NOFRAME, $0-16
	MOVB (BX), CX
	JMP  answer<>(SB)

// func store(addr uintptr) uint64
TEXT ·store(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ addr+0(FP), BX
	XORL AX, AX
	MOVL $0x5a, CX
	JMP  storeByte<>(SB)

TEXT storeByte<>(SB), NOSPLIT|NOFRAME, $0-16
	MOVB CX, (BX)
	JMP  answer<>(SB)

TEXT answer<>(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ AX, ret+8(FP)
	RET

// The signal handler: DI the number, SI the siginfo, DX the ucontext. It has the kernel's
// calling convention and is called on the alternate stack.
TEXT handler<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ 168(DX), AX
	LEAQ loadByte<>(SB), CX
	CMPQ AX, CX
	JEQ  ours
	LEAQ storeByte<>(SB), CX
	CMPQ AX, CX
	JEQ  ours
	CMPL DI, $7
	JEQ  bus
	MOVQ ·oldSegv(SB), AX
	JMP  AX
bus:
	MOVQ ·oldBus(SB), AX
	JMP  AX
ours:
	MOVL DI, AX
	SHLQ $32, AX
	MOVL 8(SI), CX
	ORQ  CX, AX
	MOVQ AX, 144(DX)
	LEAQ answer<>(SB), CX
	MOVQ CX, 168(DX)
	RET // to the restorer

// What the kernel makes the handler return to: rt_sigreturn.
TEXT restorer<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ $15, AX
	SYSCALL
	INT  $3

// func entries() (handler, restorer uintptr)
TEXT ·entries(SB), NOSPLIT, $0-16
	LEAQ handler<>(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ restorer<>(SB), AX
	MOVQ AX, restorer+8(FP)
	RET
