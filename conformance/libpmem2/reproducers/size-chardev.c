/*
 * /dev/zero has a size: 0
 * rows: pmem2_source_size/PMEM2_E_INVALID_FILE_TYPE#3
 * why: The page has a code for character devices that aren't DAX.
 * prints: pmem2_source_size: 0, size 0
 */
int fd = file(PAGE);
struct pmem2_source *src = source(fd);
become(fd, open("/dev/zero", O_RDWR));
size_t size = 1;
int r = pmem2_source_size(src, &size);
printf("pmem2_source_size: %s, size %zu\n", name(r), size);
