/*
 * The NUMA node of a directory: no region
 * rows: pmem2_source_numa_node/PMEM2_E_INVALID_FILE_TYPE#1
 * why: As with the size and the alignment the descriptor's type isn't looked at again.
 * prints: pmem2_source_numa_node: PMEM2_E_DAX_REGION_NOT_FOUND
 */
int fd = file(PAGE), node = 0;
struct pmem2_source *src = source(fd);
become(fd, open("/", O_RDONLY | O_DIRECTORY));
printf("pmem2_source_numa_node: %s\n", name(pmem2_source_numa_node(src, &node)));
