/* The C side of the comparison: calls through the pointers that libpmem2 gives out. */
#include <libpmem2.h>

#include "worker.h"

static pmem2_persist_fn persist;
static pmem2_memcpy_fn copy;
static pmem2_memset_fn set;

/* Of the rows that map: in the order of MAP, MAP_OFFSET, MAP_GRANULARITY. */
static struct pmem2_config *configs[3];
static struct pmem2_source *small, *large;

static void die2(const char *what)
{
	printf("error %s: %s\n", what, pmem2_errormsg());
	exit(1);
}

static struct pmem2_config *config(enum pmem2_granularity g)
{
	struct pmem2_config *cfg;
	if (pmem2_config_new(&cfg) || pmem2_config_set_required_store_granularity(cfg, g))
		die2("config");
	return cfg;
}

static void map_data(int fd, void *at)
{
	struct pmem2_vm_reservation *rsv;
	struct pmem2_source *src;
	struct pmem2_map *map;
	struct pmem2_config *cfg = config(PMEM2_GRANULARITY_CACHE_LINE);
	if (pmem2_vm_reservation_new(&rsv, at, data_size))
		die2("reservation");
	if (pmem2_source_from_fd(&src, fd) || pmem2_config_set_vm_reservation(cfg, rsv, 0))
		die2("source");
	if (pmem2_map_new(&map, cfg, src))
		die2("map of data");
	if (pmem2_map_get_store_granularity(map) != PMEM2_GRANULARITY_CACHE_LINE) {
		printf("error the granularity is %d, not that of a cache line\n", (int)pmem2_map_get_store_granularity(map));
		exit(1);
	}
	data = pmem2_map_get_address(map);
	persist = pmem2_get_persist_fn(map);
	copy = pmem2_get_memcpy_fn(map);
	set = pmem2_get_memset_fn(map);

	configs[0] = config(PMEM2_GRANULARITY_PAGE);
	configs[1] = config(PMEM2_GRANULARITY_PAGE);
	configs[2] = config(PMEM2_GRANULARITY_BYTE);
	if (pmem2_config_set_offset(configs[1], 1))
		die2("offset");
	if (pmem2_source_from_fd(&small, map_small) || pmem2_source_from_fd(&large, map_large))
		die2("source");
}

static const char *variants(const struct command *c) { (void)c; return "libpmem2"; }

static int run(const struct command *c, long n)
{
	static const int refusals[] = {0, PMEM2_E_OFFSET_UNALIGNED, PMEM2_E_GRANULARITY_NOT_SUPPORTED};
	char *dst = data + c->shift;
	const size_t size = c->size;
	struct pmem2_map *map;
	int ret = 0;

	switch (c->op) {
	case PERSIST:
		for (; n > 0; n--) {
			for (size_t i = 0; i < size; i += 64)
				*(volatile uint64_t *)(dst + i) = (uint64_t)n;
			persist(dst, size);
		}
		return 0;
	case MEMCPY:
		for (; n > 0; n--)
			copy(dst, source, size, 0);
		return 0;
	case MEMSET:
		for (; n > 0; n--)
			set(dst, FILL, size, 0);
		return 0;
	case MAP: {
		struct pmem2_source *src = size == 4096 ? small : large;
		for (; n > 0; n--)
			if (pmem2_map_new(&map, configs[0], src) || pmem2_map_delete(&map)) {
				printf("error map: %s\n", pmem2_errormsg());
				return -1;
			}
		return 0;
	}
	default: {
		struct pmem2_config *cfg = configs[c->op - MAP];
		for (; n > 0; n--)
			if ((ret = pmem2_map_new(&map, cfg, large)) == 0)
				break;
		if (ret == refusals[c->op - MAP])
			return 0;
		printf("error pmem2_map_new returned %d, want %d\n", ret, refusals[c->op - MAP]);
		return -1;
	}
	}
}
