/*
 * Flags that exclude each other are taken without a word
 * rows: pmem2_get_memmove_fn/exclusive-flags
 * why: The page leaves the result undefined; a debug build says nothing of it either. The ruling is an error.
 * prints: NONTEMPORAL|TEMPORAL copies 'new'
 */
struct pmem2_map *m = map(source(file(PAGE)));
char *addr = pmem2_map_get_address(m);
pmem2_get_memmove_fn(m)(addr, "new", 4, PMEM2_F_MEM_NONTEMPORAL | PMEM2_F_MEM_TEMPORAL);
printf("NONTEMPORAL|TEMPORAL copies '%s'\n", addr);
