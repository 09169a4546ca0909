/*
 * A TCG plugin for qemu-user that watches the cache operations of a guest. Between
 * the two system calls below, which no kernel has, it looks at each store, load
 * and cache instruction of the calling thread, and writes one line of counts.
 * The few declarations it needs of qemu's plugin interface are here, since its
 * header is in no package beside qemu itself.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct tb;
struct insn;
enum { NO_REGS = 0, MEM_RW = 3 };

#ifndef API
#define API 1 /* qemu 7 and 8; 3 is qemu 9.1 and later */
#endif
__attribute__((visibility("default"))) int qemu_plugin_version = API;

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct tb *));
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct insn *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_vcpu_mem_cb(struct insn *, void (*)(unsigned, uint32_t, uint64_t, void *), int, int, void *);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
	uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern size_t qemu_plugin_tb_n_insns(const struct tb *);
extern struct insn *qemu_plugin_tb_get_insn(const struct tb *, size_t);
extern size_t qemu_plugin_insn_size(const struct insn *);
#if API < 3
extern const void *qemu_plugin_insn_data(const struct insn *);
#else
extern size_t qemu_plugin_insn_data(const struct insn *, void *, size_t);
#endif
extern unsigned qemu_plugin_mem_size_shift(uint32_t);
extern _Bool qemu_plugin_mem_is_store(uint32_t);

/* The guest's system calls: begin(dst, n, src, lo, hi, sp) and end(id). Stores and
 * loads count as outside in [lo, hi), which is the memory that dst and src are in,
 * and stores as elsewhere if they are neither there nor near sp. */
enum { BEGIN = 0x7000, END };

enum { CLWB, CLFLUSHOPT, CLFLUSH, SFENCE, MOVNT, CVAC, CVAP, DSB, STNP, OPCODES };
static const char *names[OPCODES] = {"clwb", "clflushopt", "clflush", "sfence", "movnt", "cvac", "cvap", "dsb", "stnp"};

static FILE *out;
static int arm;
static volatile int active = -1; /* the vcpu between begin and end */
static uint64_t dst, n, src, lo, hi, sp;
static uint64_t stores, narrow, split, outside, elsewhere, loads_outside, counts[OPCODES];

static void on_mem(unsigned vcpu, uint32_t info, uint64_t addr, void *unused)
{
	if ((int)vcpu != active)
		return;
	uint64_t size = 1ull << qemu_plugin_mem_size_shift(info), end = addr + size;
	int in_arena = end > lo && addr < hi;
	if (!qemu_plugin_mem_is_store(info)) {
		if (in_arena && (addr < src || end > src + n))
			loads_outside++;
		return;
	}
	if (!in_arena) {
		if (addr < sp - 8192 || addr > sp + 8192)
			elsewhere++;
		return;
	}
	if (addr < dst || end > dst + n) {
		outside++;
		return;
	}
	stores++;
	uint64_t word = addr & ~7ull;
	if (size < 8) {
		if (word >= dst && word + 8 <= dst + n)
			narrow++;
	} else if (addr & 7) {
		split++;
	}
}

static void on_exec(unsigned vcpu, void *op)
{
	if ((int)vcpu == active)
		counts[(uintptr_t)op]++;
}

static int opcode_arm(const uint8_t *p, size_t size)
{
	if (size != 4)
		return -1;
	uint32_t w = p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
	if ((w & ~0x1fu) == 0xd50b7a20)
		return CVAC;
	if ((w & ~0x1fu) == 0xd50b7c20)
		return CVAP;
	if (w == 0xd5033f9f)
		return DSB;
	if ((w & 0xffc00000) == 0xa8000000)
		return STNP;
	return -1;
}

static int opcode_x86(const uint8_t *p, size_t size)
{
	const uint8_t *end = p + size;
	int opsize = 0;
	while (p < end && (*p == 0x66 || *p == 0xf2 || *p == 0xf3 || (*p & 0xf0) == 0x40))
		opsize |= *p++ == 0x66;
	if (end - p >= 3 && p[0] == 0xc5 && (p[1] & 3) == 1)
		return p[2] == 0xe7 ? MOVNT : -1;
	if (end - p >= 4 && p[0] == 0xc4 && (p[1] & 0x1f) == 1 && (p[2] & 3) == 1)
		return p[3] == 0xe7 ? MOVNT : -1;
	if (end - p < 3 || p[0] != 0x0f)
		return -1;
	if (p[1] == 0xc3 || (p[1] == 0xe7 && opsize))
		return MOVNT;
	if (p[1] != 0xae)
		return -1;
	int memory = p[2] < 0xc0;
	switch (p[2] >> 3 & 7) {
	case 6:
		return memory && opsize ? CLWB : -1;
	case 7:
		return !memory ? SFENCE : opsize ? CLFLUSHOPT : CLFLUSH;
	}
	return -1;
}

static void on_translate(plugin_id id, struct tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);
	for (size_t i = 0; i < count; i++) {
		struct insn *insn = qemu_plugin_tb_get_insn(tb, i);
		size_t size = qemu_plugin_insn_size(insn);
#if API < 3
		const uint8_t *bytes = qemu_plugin_insn_data(insn);
#else
		uint8_t bytes[16];
		size = qemu_plugin_insn_data(insn, bytes, sizeof bytes);
#endif
		int op = arm ? opcode_arm(bytes, size) : opcode_x86(bytes, size);
		if (op >= 0)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_exec, NO_REGS, (void *)(uintptr_t)op);
		qemu_plugin_register_vcpu_mem_cb(insn, on_mem, NO_REGS, MEM_RW, NULL);
	}
}

static void on_syscall(plugin_id id, unsigned vcpu, int64_t num, uint64_t a1, uint64_t a2, uint64_t a3,
	uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
	if (num == BEGIN) {
		dst = a1, n = a2, src = a3, lo = a4, hi = a5, sp = a6;
		stores = narrow = split = outside = elsewhere = loads_outside = 0;
		memset(counts, 0, sizeof counts);
		active = vcpu;
	} else if (num == END && (int)vcpu == active) {
		active = -1;
		fprintf(out, "%llu stores=%llu narrow=%llu split=%llu outside=%llu elsewhere=%llu loads_outside=%llu",
			(unsigned long long)a1, (unsigned long long)stores, (unsigned long long)narrow, (unsigned long long)split,
			(unsigned long long)outside, (unsigned long long)elsewhere, (unsigned long long)loads_outside);
		for (int i = 0; i < OPCODES; i++)
			fprintf(out, " %s=%llu", names[i], (unsigned long long)counts[i]);
		fputc('\n', out);
		fflush(out);
	}
}

/* The first member of what qemu tells is the name of the guest's architecture. */
__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const char *const *info, int argc, char **argv)
{
	if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || !(out = fopen(argv[0] + 4, "w"))) {
		fputs("the plugin takes one argument, out=FILE\n", stderr);
		return -1;
	}
	arm = strcmp(*info, "aarch64") == 0;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
	return 0;
}
