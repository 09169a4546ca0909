/*
 * A reservation that is too small has another code than the page's
 * rows: pmem2_map_new/PMEM2_E_ADDRESS_UNALIGNED#3, pmem2_map_new/PMEM2_E_LENGTH_OUT_OF_RANGE#1
 * why: The page names PMEM2_E_ADDRESS_UNALIGNED for it and has no PMEM2_E_LENGTH_OUT_OF_RANGE.
 * prints: 2 pages into 1: PMEM2_E_LENGTH_OUT_OF_RANGE
 */
struct pmem2_config *cfg = config();
struct pmem2_map *m;
pmem2_config_set_vm_reservation(cfg, reserve(NULL, PAGE), 0);
printf("2 pages into 1: %s\n", name(pmem2_map_new(&m, cfg, source(file(2 * PAGE)))));
