/*
 * A range that is registered already has another code than the page's
 * rows: pmem2_map_from_existing/PMEM2_E_MAPPING_EXISTS#1, pmem2_map_from_existing/PMEM2_E_MAP_EXISTS#1
 * why: PMEM2_E_MAP_EXISTS stands on no page: a program that looks for PMEM2_E_MAPPING_EXISTS takes this for an unknown error.
 * prints: the second time: PMEM2_E_MAP_EXISTS
 */
int fd = file(PAGE);
void *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
struct pmem2_map *m, *again;
must(pmem2_map_from_existing(&m, source(fd), own, PAGE, PMEM2_GRANULARITY_PAGE), "the first time");
printf("the second time: %s\n", name(pmem2_map_from_existing(&again, source(fd), own, PAGE, PMEM2_GRANULARITY_PAGE)));
