/*
 * A map is made in the last page of another one
 * rows: pmem2_map_from_existing/0#4
 * why: The page belongs to the other map, which unmaps it when it is deleted: the next store is a fault.
 * prints: pmem2_map_from_existing at byte 100 of a map of 100 bytes: 0, its memory is unmapped: yes
 */
struct pmem2_map *there, *m;
must(pmem2_map_new(&there, config(), source(file(100))), "pmem2_map_new");
char *at = pmem2_map_get_address(there);
printf("pmem2_map_from_existing at byte 100 of a map of 100 bytes: %s, ", name(pmem2_map_from_existing(&m, source(file(PAGE)), at + 100, 100, PMEM2_GRANULARITY_PAGE)));
must(pmem2_map_delete(&there), "pmem2_map_delete");
printf("its memory is unmapped: %s\n", is_free(at, PAGE) ? "yes" : "no");
