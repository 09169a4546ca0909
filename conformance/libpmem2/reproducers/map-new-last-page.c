/*
 * A mapping replaces another map in its last page
 * rows: pmem2_map_new/0#2
 * why: The range that is looked at ends with the last byte of the file: what lies behind it in the same page is silently replaced.
 * prints: pmem2_map_new: 0; the page of the map that was there said 'mine', says ''
 */
struct pmem2_vm_reservation *r = reserve(NULL, 4 * PAGE);
char *at = pmem2_vm_reservation_get_address(r);
mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
strcpy(at + 200, "mine");
struct pmem2_map *there, *m;
must(pmem2_map_from_existing(&there, source(file(PAGE)), at + 200, 100, PMEM2_GRANULARITY_PAGE), "pmem2_map_from_existing");
struct pmem2_config *cfg = config();
pmem2_config_set_vm_reservation(cfg, r, 0);
int e = pmem2_map_new(&m, cfg, source(file(100)));
printf("pmem2_map_new: %s; the page of the map that was there said 'mine', says '%s'\n", name(e), at + 200);
