/*
 * Writing behind the end makes the file longer
 * rows: pmem2_source_pwrite_mcsafe/PMEM2_E_LENGTH_OUT_OF_RANGE#2
 * why: The page promises that nothing past the end is written. On device DAX the same call stores past the mapping.
 * prints: pmem2_source_pwrite_mcsafe at 8192 of 4096: 0, the file has 8195 bytes
 */
int fd = file(PAGE);
struct stat st;
int r = pmem2_source_pwrite_mcsafe(source(fd), "new", 3, 2 * PAGE);
fstat(fd, &st);
printf("pmem2_source_pwrite_mcsafe at 8192 of 4096: %s, the file has %ld bytes\n", name(r), (long)st.st_size);
