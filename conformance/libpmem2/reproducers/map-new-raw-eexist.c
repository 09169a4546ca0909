/*
 * A place that a map of pmem2_map_from_existing has taken is -EEXIST
 * rows: pmem2_map_new/-EEXIST#1
 * why: The same place taken by pmem2_map_new is PMEM2_E_MAPPING_EXISTS, as the page says. There is no message either.
 * prints: taken by pmem2_map_from_existing: -EEXIST
 */
struct pmem2_vm_reservation *r = reserve(NULL, PAGE);
int fd = file(PAGE);
struct pmem2_map *there, *m;
must(pmem2_map_from_existing(&there, source(fd), pmem2_vm_reservation_get_address(r), PAGE, PMEM2_GRANULARITY_PAGE), "from_existing");
struct pmem2_config *cfg = config();
pmem2_config_set_vm_reservation(cfg, r, 0);
printf("taken by pmem2_map_from_existing: %s\n", name(pmem2_map_new(&m, cfg, source(fd))));
