/*
 * The limit: bare loops of the instructions that the rows come down to, written for
 * their rows alone: whole lines, or a destination one byte behind a line.
 */
#define _GNU_SOURCE
#include "worker.h"

static void map_data(int fd, void *at)
{
	data = mmap(at, data_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		die("mmap of data");
}

static int map_and_unmap(const struct command *c, long n)
{
	for (; n > 0; n--) {
		void *p = mmap(NULL, c->size, PROT_READ | PROT_WRITE, MAP_SHARED, map_file(c->size), 0);
		if (p == MAP_FAILED || munmap(p, c->size) != 0)
			die("mmap or munmap");
	}
	return 0;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

enum flush { CLWB, CLFLUSHOPT, CLFLUSH };
static enum flush flush; /* the best that the CPU has */

#define FLUSH_LINE(insn, p) __asm__ volatile(insn " %0" : "+m"(*(volatile char *)(p)))

static void flush_edge(char *p)
{
	switch (flush) {
	case CLWB: FLUSH_LINE("clwb", p); break;
	case CLFLUSHOPT: FLUSH_LINE("clflushopt", p); break;
	case CLFLUSH: FLUSH_LINE("clflush", p); break;
	}
}

/* A way to fill, or to copy to, n whole lines. */
typedef void store_lines(char *dst, const char *src, size_t n);

struct way {
	const char *name;
	store_lines *store;
};

#define EACH(W) _Pragma("GCC unroll 4") for (int i = 0; i < 64; i += (W))

/* One width of register: a set takes its value from the first bytes of src. */
#define WIDTH(NAME, TARGET, VEC, LOAD, STORE, STREAM) \
TARGET static void set_nt_##NAME(char *dst, const char *src, size_t n) \
{ \
	VEC v = LOAD((const VEC *)src); \
	for (; n > 0; n--, dst += 64) \
		EACH((int)sizeof(VEC)) STREAM((VEC *)(dst + i), v); \
} \
TARGET static void copy_nt_##NAME(char *dst, const char *src, size_t n) \
{ \
	for (; n > 0; n--, dst += 64, src += 64) \
		EACH((int)sizeof(VEC)) STREAM((VEC *)(dst + i), LOAD((const VEC *)(src + i))); \
} \
FLUSHED(NAME, TARGET, VEC, LOAD, STORE, clwb) \
FLUSHED(NAME, TARGET, VEC, LOAD, STORE, clflushopt) \
FLUSHED(NAME, TARGET, VEC, LOAD, STORE, clflush)

/* Ordinary stores and a flush of each line, at once or after all the stores. */
#define FLUSHED(NAME, TARGET, VEC, LOAD, STORE, INSN) \
TARGET static void set_each_##NAME##_##INSN(char *dst, const char *src, size_t n) \
{ \
	VEC v = LOAD((const VEC *)src); \
	for (; n > 0; n--, dst += 64) { \
		EACH((int)sizeof(VEC)) STORE((VEC *)(dst + i), v); \
		FLUSH_LINE(#INSN, dst); \
	} \
} \
TARGET static void copy_each_##NAME##_##INSN(char *dst, const char *src, size_t n) \
{ \
	for (; n > 0; n--, dst += 64, src += 64) { \
		EACH((int)sizeof(VEC)) STORE((VEC *)(dst + i), LOAD((const VEC *)(src + i))); \
		FLUSH_LINE(#INSN, dst); \
	} \
} \
TARGET static void set_then_##NAME##_##INSN(char *dst, const char *src, size_t n) \
{ \
	VEC v = LOAD((const VEC *)src); \
	for (size_t at = 0; at < n * 64; at += 64) \
		EACH((int)sizeof(VEC)) STORE((VEC *)(dst + at + i), v); \
	for (; n > 0; n--, dst += 64) \
		FLUSH_LINE(#INSN, dst); \
} \
TARGET static void copy_then_##NAME##_##INSN(char *dst, const char *src, size_t n) \
{ \
	for (size_t at = 0; at < n * 64; at += 64) \
		EACH((int)sizeof(VEC)) STORE((VEC *)(dst + at + i), LOAD((const VEC *)(src + at + i))); \
	for (; n > 0; n--, dst += 64) \
		FLUSH_LINE(#INSN, dst); \
}

#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f")))
#define MOVDIR64B __attribute__((target("movdir64b")))

WIDTH(sse2, , __m128i, _mm_loadu_si128, _mm_store_si128, _mm_stream_si128)
WIDTH(avx2, AVX2, __m256i, _mm256_loadu_si256, _mm256_store_si256, _mm256_stream_si256)
#define STREAM512(p, v) _mm512_stream_si512((void *)(p), v)
WIDTH(avx512, AVX512, __m512i, _mm512_loadu_si512, _mm512_store_si512, STREAM512)

/* Eight loads, then eight stores: fewer turns of the memory bus. */
AVX512 static void copy_nt_avx512x8(char *dst, const char *src, size_t n)
{
	for (; n >= 8; n -= 8, dst += 512, src += 512) {
		__m512i v[8];
		_Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) v[i] = _mm512_loadu_si512(src + 64 * i);
		_Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) STREAM512(dst + 64 * i, v[i]);
	}
	copy_nt_avx512(dst, src, n);
}

MOVDIR64B static void set_movdir64b(char *dst, const char *src, size_t n)
{
	for (; n > 0; n--, dst += 64)
		_movdir64b(dst, src);
}

MOVDIR64B static void copy_movdir64b(char *dst, const char *src, size_t n)
{
	for (; n > 0; n--, dst += 64, src += 64)
		_movdir64b(dst, src);
}

/*
 * Four pages at once, a quarter of a KiB of each in turn, and what is left as above: the
 * prefetchers follow each page on its own.
 */
AVX512 static void copy_nt_avx512_pages(char *dst, const char *src, size_t n)
{
	for (; n >= 256; n -= 256, dst += 16384, src += 16384)
		for (size_t at = 0; at < 4096; at += 256)
			_Pragma("GCC unroll 4") for (size_t page = at; page < 16384; page += 4096)
				copy_nt_avx512(dst + page, src + page, 4);
	copy_nt_avx512x8(dst, src, n);
}

#define PLAIN(OP, NAME, LABEL) \
	{{LABEL "+CLWB", OP##_each_##NAME##_clwb}, {LABEL ", then CLWB", OP##_then_##NAME##_clwb}}, \
	{{LABEL "+CLFLUSHOPT", OP##_each_##NAME##_clflushopt}, {LABEL ", then CLFLUSHOPT", OP##_then_##NAME##_clflushopt}}, \
	{{LABEL "+CLFLUSH", OP##_each_##NAME##_clflush}, {LABEL ", then CLFLUSH", OP##_then_##NAME##_clflush}}

static const struct way plain_sets[][2] = {PLAIN(set, sse2, "SSE2"), PLAIN(set, avx2, "AVX2"), PLAIN(set, avx512, "AVX-512")};
static const struct way plain_copies[][2] = {PLAIN(copy, sse2, "SSE2"), PLAIN(copy, avx2, "AVX2"), PLAIN(copy, avx512, "AVX-512")};

/* What this CPU has. */
static struct ways {
	struct way way[8];
	unsigned n;
	char names[256];
} sets, copies;

static char fill[64];

static void add(struct ways *w, const char *name, store_lines *store)
{
	w->way[w->n++] = (struct way){name, store};
	if (w->names[0])
		strcat(w->names, ";");
	strcat(w->names, name);
}

__attribute__((constructor)) static void detect(void)
{
	unsigned a = 0, b = 0, c = 0, d = 0;
	__get_cpuid_count(7, 0, &a, &b, &c, &d);
	flush = b & (1u << 24) ? CLWB : b & (1u << 23) ? CLFLUSHOPT : CLFLUSH;
	__builtin_cpu_init();
	unsigned widest = 0;
	add(&sets, "SSE2 NT", set_nt_sse2);
	add(&copies, "SSE2 NT", copy_nt_sse2);
	if (__builtin_cpu_supports("avx2")) {
		widest = 1;
		add(&sets, "AVX2 NT", set_nt_avx2);
		add(&copies, "AVX2 NT", copy_nt_avx2);
	}
	if (__builtin_cpu_supports("avx512f")) {
		widest = 2;
		add(&sets, "AVX-512 NT", set_nt_avx512);
		add(&copies, "AVX-512 NT", copy_nt_avx512);
		add(&copies, "AVX-512 NT x8", copy_nt_avx512x8);
		add(&copies, "AVX-512 NT, 4 pages", copy_nt_avx512_pages);
	}
	if (c & (1u << 28)) {
		add(&sets, "MOVDIR64B", set_movdir64b);
		add(&copies, "MOVDIR64B", copy_movdir64b);
	}
	for (int i = 0; i < 2; i++) {
		const struct way *s = &plain_sets[widest * 3 + flush][i], *p = &plain_copies[widest * 3 + flush][i];
		add(&sets, s->name, s->store);
		add(&copies, p->name, p->store);
	}
	memset(fill, FILL, sizeof(fill));
}

static const char *variants(const struct command *c)
{
	switch (c->op) {
	case PERSIST: return flush == CLWB ? "CLWB" : flush == CLFLUSHOPT ? "CLFLUSHOPT" : "CLFLUSH";
	case MEMCPY: return copies.names;
	case MEMSET: return sets.names;
	case MAP: return "mmap+munmap";
	default: return "";
	}
}

#define PERSISTS(INSN) \
	for (; n > 0; n--) { \
		for (size_t i = 0; i < size; i += 64) \
			*(volatile uint64_t *)(dst + i) = (uint64_t)n; \
		for (size_t i = 0; i < size; i += 64) \
			FLUSH_LINE(INSN, dst + i); \
		_mm_sfence(); \
	} \
	return 0

static int run(const struct command *c, long n)
{
	char *dst = data + c->shift;
	const size_t size = c->size;
	/* With a destination at 1: 63 bytes, whole lines, one byte. */
	const size_t head = c->shift ? 63 : 0, lines = (size - head) / 64;

	if (c->op == MAP)
		return map_and_unmap(c, n);
	if (c->op == PERSIST) {
		switch (flush) {
		case CLWB: PERSISTS("clwb");
		case CLFLUSHOPT: PERSISTS("clflushopt");
		case CLFLUSH: PERSISTS("clflush");
		}
	}
	const struct ways *ways = c->op == MEMCPY ? &copies : &sets;
	if (c->op > MEMSET || c->shift > 1 || size % 64 != 0 || size == 0 || c->variant >= ways->n) {
		printf("error no limit for %s of %zu bytes at %zu by way %u\n", op_names[c->op], size, c->shift, c->variant);
		return -1;
	}
	const char *const from = c->op == MEMCPY ? source : fill;
	store_lines *const store = ways->way[c->variant].store;
	for (; n > 0; n--) {
		if (head) {
			memcpy(dst, from, 32);
			memcpy(dst + 31, from + 31, 32);
			dst[size - 1] = c->op == MEMCPY ? from[size - 1] : FILL;
		}
		store(dst + head, from + (c->op == MEMCPY ? head : 0), lines);
		if (head) {
			flush_edge(dst);
			flush_edge(dst + size - 1);
		}
		_mm_sfence();
	}
	return 0;
}

#else

static const char *variants(const struct command *c) { return c->op == MAP ? "mmap+munmap" : ""; }

static int run(const struct command *c, long n)
{
	if (c->op == MAP)
		return map_and_unmap(c, n);
	printf("error there is no limit for this architecture\n");
	return -1;
}

#endif
