/*
 * A directory has a size
 * rows: pmem2_source_size/PMEM2_E_INVALID_FILE_TYPE#2
 * why: The page has a code for descriptors of the wrong type.
 * prints: pmem2_source_size: 0
 */
int fd = file(PAGE);
struct pmem2_source *src = source(fd);
become(fd, open("/", O_RDONLY | O_DIRECTORY));
size_t size;
printf("pmem2_source_size: %s\n", name(pmem2_source_size(src, &size)));
