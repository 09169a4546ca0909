/*
 * A map is made at the address NULL
 * rows: pmem2_map_from_existing/0#3
 * why: A pointer that was never set is taken for a mapping: the mistake shows at the first store, far from where it was made.
 * prints: pmem2_map_from_existing at NULL: 0, address (nil)
 */
struct pmem2_map *m;
printf("pmem2_map_from_existing at NULL: %s, ", name(pmem2_map_from_existing(&m, source(file(PAGE)), NULL, PAGE, PMEM2_GRANULARITY_PAGE)));
printf("address %p\n", pmem2_map_get_address(m));
