/*
 * In the rest of its last page a map isn't found
 * rows: pmem2_vm_reservation_map_find/PMEM2_E_MAPPING_NOT_FOUND#2
 * why: The page is taken, nothing else can be mapped there, and nobody is told by what. The manual page can be read either way.
 * prints: byte 99 of a map of 100 bytes: 0, byte 100: PMEM2_E_MAPPING_NOT_FOUND
 */
struct pmem2_vm_reservation *r = reserve(NULL, MIB);
struct pmem2_config *cfg = config();
struct pmem2_map *m;
pmem2_config_set_vm_reservation(cfg, r, 0);
must(pmem2_map_new(&m, cfg, source(file(100))), "pmem2_map_new");
printf("byte 99 of a map of 100 bytes: %s, ", name(pmem2_vm_reservation_map_find(r, 99, 1, &m)));
printf("byte 100: %s\n", name(pmem2_vm_reservation_map_find(r, 100, 1, &m)));
