/*
 * A granularity that there isn't aborts the process
 * rows: pmem2_map_from_existing/(abort)#1
 * why: The setter of a config answers the same mistake with an error code.
 * prints: (dies of SIGABRT)
 */
int fd = file(PAGE);
void *own = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
struct pmem2_map *m;
printf("%s\n", name(pmem2_map_from_existing(&m, source(fd), own, PAGE, 999)));
