/*
 * A range that wraps is taken for one inside the mapping
 * rows: pmem2_deep_flush/PMEM2_E_DEEP_FLUSH_RANGE#2
 * why: A length that was computed wrongly (end - start below 0) is answered with success, and nothing was flushed.
 * prints: pmem2_deep_flush of 2^64-1 bytes: 0
 */
struct pmem2_map *m = map(source(file(4 * PAGE)));
printf("pmem2_deep_flush of 2^64-1 bytes: %s\n", name(pmem2_deep_flush(m, pmem2_map_get_address(m), -1UL)));
