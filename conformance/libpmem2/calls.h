//go:build libpmem2

#ifndef PMEMLAB_LIBPMEM2_CALLS_H
#define PMEMLAB_LIBPMEM2_CALLS_H 1

#include <libpmem2.h>
#include <stdint.h>

/*
 * enter says that until leave the library is called on this thread, for the machine with
 * that number. catch_signals has a fatal signal in between kill the process, whatever Go
 * does about signals elsewhere.
 */
void libpmem2_enter(uintptr_t machine);
void libpmem2_leave(void);
void libpmem2_catch_signals(void);

/* An address as a pointer, and something that isn't NULL and that nobody may use. */
static inline void *as_pointer(uintptr_t addr) { return (void *)addr; }
static char nothing_there;
static inline void *nothing(void) { return &nothing_there; }

/* cgo calls no pointers to functions. */
static inline uintptr_t persist_of(struct pmem2_map *m) { return (uintptr_t)pmem2_get_persist_fn(m); }
static inline uintptr_t flush_of(struct pmem2_map *m) { return (uintptr_t)pmem2_get_flush_fn(m); }
static inline uintptr_t drain_of(struct pmem2_map *m) { return (uintptr_t)pmem2_get_drain_fn(m); }
static inline uintptr_t memmove_of(struct pmem2_map *m) { return (uintptr_t)pmem2_get_memmove_fn(m); }
static inline uintptr_t memcpy_of(struct pmem2_map *m) { return (uintptr_t)pmem2_get_memcpy_fn(m); }
static inline uintptr_t memset_of(struct pmem2_map *m) { return (uintptr_t)pmem2_get_memset_fn(m); }

static inline void call_range(uintptr_t f, const void *p, size_t n) { ((pmem2_persist_fn)f)(p, n); }
static inline void call_drain(uintptr_t f) { ((pmem2_drain_fn)f)(); }
static inline void *call_copy(uintptr_t f, void *d, const void *s, size_t n, unsigned flags) { return ((pmem2_memcpy_fn)f)(d, s, n, flags); }
static inline void *call_set(uintptr_t f, void *d, int c, size_t n, unsigned flags) { return ((pmem2_memset_fn)f)(d, c, n, flags); }
static inline void perror_text(const char *text) { pmem2_perror("%s", text); }

#endif
