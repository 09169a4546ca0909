/*
 * A failing msync aborts the process in pmem2_get_flush_fn's function
 * rows: pmem2_get_flush_fn/(abort)#1
 * why: An I/O error of the medium under an ordinary file takes the whole process down; it can neither be reported nor be survived.
 * prints: (dies of SIGABRT)
 */
struct pmem2_map *m = map(source(file(4 * PAGE)));
char *addr = pmem2_map_get_address(m);
addr[0] = 1;
munmap(addr, 4 * PAGE); /* now msync fails */
pmem2_get_flush_fn(m)(addr, 1);
printf("goes on\n");
