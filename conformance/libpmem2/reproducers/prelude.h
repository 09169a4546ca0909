/* What the reproducers share: each is the body of main. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libpmem2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <linux/fs.h>
#include <signal.h>
#include <unistd.h>

/* name is the code or errno that a call returned. */
static const char *name(int r) {
	static char number[32];
#define CODE(c) if (r == c) return #c;
	CODE(PMEM2_E_NOSUPP) CODE(PMEM2_E_INVALID_FILE_HANDLE) CODE(PMEM2_E_INVALID_FILE_TYPE)
	CODE(PMEM2_E_MAP_RANGE) CODE(PMEM2_E_MAPPING_EXISTS) CODE(PMEM2_E_OFFSET_UNALIGNED)
	CODE(PMEM2_E_MAPPING_NOT_FOUND) CODE(PMEM2_E_DAX_REGION_NOT_FOUND) CODE(PMEM2_E_LENGTH_OUT_OF_RANGE)
	CODE(PMEM2_E_NO_ACCESS) CODE(PMEM2_E_MAP_EXISTS) CODE(PMEM2_E_DEEP_FLUSH_RANGE)
#undef CODE
	if (r < 0 && r > -4096) {
		snprintf(number, sizeof(number), "-%s", strerrorname_np(-r));
		return number;
	}
	snprintf(number, sizeof(number), "%d", r);
	return number;
}

static void must(int r, const char *what) {
	if (r != 0) {
		printf("%s: %s\n", what, name(r));
		exit(1);
	}
}

/* A file of n bytes, a source of it, a config that takes any granularity, a map. */
static int file(size_t n) {
	int fd = memfd_create("reproducer", 0);
	if (fd < 0 || ftruncate(fd, n) != 0)
		exit(1);
	return fd;
}

static struct pmem2_source *source(int fd) {
	struct pmem2_source *src;
	must(pmem2_source_from_fd(&src, fd), "pmem2_source_from_fd");
	return src;
}

static struct pmem2_config *config(void) {
	struct pmem2_config *cfg;
	must(pmem2_config_new(&cfg), "pmem2_config_new");
	must(pmem2_config_set_required_store_granularity(cfg, PMEM2_GRANULARITY_PAGE), "granularity");
	return cfg;
}

static struct pmem2_map *map(struct pmem2_source *src) {
	struct pmem2_map *m;
	must(pmem2_map_new(&m, config(), src), "pmem2_map_new");
	return m;
}

static struct pmem2_vm_reservation *reserve(void *addr, size_t n) {
	struct pmem2_vm_reservation *r;
	must(pmem2_vm_reservation_new(&r, addr, n), "pmem2_vm_reservation_new");
	return r;
}

/* An address with n free bytes behind it, a multiple of 2 MiB. */
static char *room(size_t n) {
	char *p = mmap(NULL, n + (4 << 20), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	munmap(p, n + (4 << 20));
	return (char *)(((unsigned long)p + (2 << 20)) & ~((2UL << 20) - 1));
}

/* is_free reports whether nothing is mapped in n bytes at addr. */
static int is_free(void *addr, size_t n) {
	void *p = mmap(addr, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (p == MAP_FAILED)
		return 0;
	munmap(p, n);
	return p == addr;
}

static void become(int fd, int other) {
	if (dup2(other, fd) < 0)
		exit(1);
}

#define MIB (1UL << 20)
#define PAGE 4096UL
