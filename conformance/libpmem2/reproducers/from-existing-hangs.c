/*
 * persist doesn't return for a map of the caller's own mapping
 * rows: pmem2_map_from_existing/api-usable-without-map-new
 * why: The page says that such a map can be used like any other; at PAGE granularity the first persist is the last.
 * prints: (no end after 2s)
 */
int fd = file(4 * PAGE);
char *own = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
struct pmem2_map *m;
must(pmem2_map_from_existing(&m, source(fd), own, 4 * PAGE, PMEM2_GRANULARITY_PAGE), "pmem2_map_from_existing");
own[0] = 1;
pmem2_get_persist_fn(m)(own, 100);
printf("returns\n");
