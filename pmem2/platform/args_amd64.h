// The arguments of the copies and sets, and the instruction that R13 names.

#define COPYARGS \
	MOVQ	dst+0(FP), DI \
	MOVQ	src+8(FP), SI \
	MOVQ	n+16(FP), DX

#define SETARGS \
	MOVQ	dst+0(FP), DI \
	MOVBQZX	c+8(FP), AX \
	MOVQ	n+16(FP), DX \
	MOVQ	$0x0101010101010101, CX \
	IMULQ	CX, AX

// As in cache_ops_amd64.go.
#define BY_CLFLUSH 0
#define BY_CLFLUSHOPT 1
#define BY_CLWB 2
#define BY_NOTHING 3
