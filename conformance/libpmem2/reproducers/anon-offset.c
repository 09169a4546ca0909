/*
 * The offset of an anonymous source isn't ignored
 * rows: pmem2_source_from_anon/(text)#1, pmem2_source_from_anon/(text)#2, pmem2_source_from_anon/offset-ignored
 * why: The page says that it is; one config for files and anonymous memory works for some offsets only.
 * prints: offset 100: PMEM2_E_OFFSET_UNALIGNED, offset 8192 of 8192 with length 8192: PMEM2_E_MAP_RANGE
 */
struct pmem2_source *src;
pmem2_source_from_anon(&src, 2 * PAGE);
struct pmem2_config *cfg = config();
struct pmem2_map *m;
pmem2_config_set_offset(cfg, 100);
printf("offset 100: %s, ", name(pmem2_map_new(&m, cfg, src)));
pmem2_config_set_offset(cfg, 2 * PAGE);
pmem2_config_set_length(cfg, 2 * PAGE);
printf("offset 8192 of 8192 with length 8192: %s\n", name(pmem2_map_new(&m, cfg, src)));
