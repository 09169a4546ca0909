/*
 * An empty map is made, and can't be deleted
 * rows: pmem2_map_from_existing/0#1
 * why: The object and its entry in the registry are there until the process ends, and a map of the page can't be registered any more.
 * prints: pmem2_map_from_existing of 0 bytes: 0, pmem2_map_delete: PMEM2_E_MAPPING_NOT_FOUND
 */
int fd = file(PAGE);
void *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
struct pmem2_map *m;
printf("pmem2_map_from_existing of 0 bytes: %s, ", name(pmem2_map_from_existing(&m, source(fd), own, 0, PMEM2_GRANULARITY_PAGE)));
printf("pmem2_map_delete: %s\n", name(pmem2_map_delete(&m)));
