/*
 * An offset at the end of the file is -EINVAL, one behind it PMEM2_E_MAP_RANGE
 * rows: pmem2_map_new/-EINVAL#1
 * why: The library has forgotten the case and mmap refuses a length of 0: a raw errno where the page has a code.
 * prints: offset 4096 of 4096: -EINVAL, offset 8192: PMEM2_E_MAP_RANGE
 */
struct pmem2_source *src = source(file(PAGE));
struct pmem2_config *cfg = config();
struct pmem2_map *m;
pmem2_config_set_offset(cfg, PAGE);
printf("offset 4096 of 4096: %s, ", name(pmem2_map_new(&m, cfg, src)));
pmem2_config_set_offset(cfg, 2 * PAGE);
printf("offset 8192: %s\n", name(pmem2_map_new(&m, cfg, src)));
