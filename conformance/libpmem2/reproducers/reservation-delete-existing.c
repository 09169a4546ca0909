/*
 * A reservation is deleted with a map of the caller's own mapping in it
 * rows: pmem2_vm_reservation_delete/0#1
 * why: The memory of the map is unmapped under it: the next store is a fault. A map from pmem2_map_new would have been seen.
 * prints: delete with a map in it: 0, its memory is unmapped: yes
 */
struct pmem2_vm_reservation *r = reserve(NULL, MIB);
char *own = pmem2_vm_reservation_get_address(r);
mmap(own, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
struct pmem2_map *m;
must(pmem2_map_from_existing(&m, source(file(PAGE)), own, PAGE, PMEM2_GRANULARITY_PAGE), "pmem2_map_from_existing");
int e = pmem2_vm_reservation_delete(&r);
printf("delete with a map in it: %s, its memory is unmapped: %s\n", name(e), is_free(own, PAGE) ? "yes" : "no");
