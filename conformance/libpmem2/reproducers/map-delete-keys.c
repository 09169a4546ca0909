/*
 * After about 1,000 maps of the caller's own mapping a later error aborts the process
 * rows: pmem2_map_delete/(abort)#1
 * why: Each such map leaves a pthread key behind, of 1024 that a process has. A map that got none deletes key 0, the one of the messages.
 * prints: map_new: 0, map_delete: 0, the next error: (dies of SIGABRT)
 */
int fd = file(PAGE);
void *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
struct pmem2_source *src = source(fd);
struct pmem2_config *cfg = config();
struct pmem2_map *m;
pmem2_config_set_offset(cfg, -1UL); /* a first message */
for (int i = 0; i < 1024; i++) {
	must(pmem2_map_from_existing(&m, src, own, PAGE, PMEM2_GRANULARITY_PAGE), "pmem2_map_from_existing");
	must(pmem2_map_delete(&m), "pmem2_map_delete");
}
printf("map_new: %s, ", name(pmem2_map_new(&m, cfg, src)));
printf("map_delete: %s, the next error: ", name(pmem2_map_delete(&m)));
fflush(stdout);
printf("%s\n", name(pmem2_config_set_offset(cfg, -1UL)));
