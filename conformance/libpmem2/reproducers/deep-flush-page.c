/*
 * At PAGE granularity a deep flush does nothing, whatever happens to the pages
 * rows: pmem2_deep_flush/-errno#2
 * why: The page promises that the range is on the medium when 0 is returned. Where only msync can do that, no msync is called.
 * prints: nothing is mapped there any more; pmem2_deep_flush: 0
 */
struct pmem2_map *m = map(source(file(4 * PAGE))); /* a file without DAX: PAGE */
void *addr = pmem2_map_get_address(m);
memset(addr, 1, 4 * PAGE);
munmap(addr, 4 * PAGE); /* msync would be ENOMEM */
printf("nothing is mapped there any more; pmem2_deep_flush: %s\n", name(pmem2_deep_flush(m, addr, 4 * PAGE)));
