/*
 * A map isn't found if the range is long enough
 * rows: pmem2_vm_reservation_map_find/earliest-intersecting
 * why: offset 1 and the largest length are meant to be "anything from here on"; the end wraps.
 * prints: from 1 on, 2^64-1 bytes: PMEM2_E_MAPPING_NOT_FOUND, 2 MiB: 0
 */
struct pmem2_vm_reservation *r = reserve(NULL, 2 * MIB);
struct pmem2_config *cfg = config();
struct pmem2_map *m;
pmem2_config_set_vm_reservation(cfg, r, 0);
must(pmem2_map_new(&m, cfg, source(file(2 * PAGE))), "pmem2_map_new");
printf("from 1 on, 2^64-1 bytes: %s, ", name(pmem2_vm_reservation_map_find(r, 1, -1UL, &m)));
printf("2 MiB: %s\n", name(pmem2_vm_reservation_map_find(r, 1, 2 * MIB, &m)));
