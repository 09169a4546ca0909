/*
 * A map may reach over the end of the address space
 * rows: pmem2_map_from_existing/0#2
 * why: Nothing that is computed with such a map is right; a range check elsewhere may hold for any address.
 * prints: pmem2_map_from_existing of 2^64-4096 bytes: 0, size 18446744073709547520
 */
int fd = file(PAGE);
void *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
struct pmem2_map *m;
printf("pmem2_map_from_existing of 2^64-4096 bytes: %s, ", name(pmem2_map_from_existing(&m, source(fd), own, -PAGE, PMEM2_GRANULARITY_PAGE)));
printf("size %zu\n", pmem2_map_get_size(m));
