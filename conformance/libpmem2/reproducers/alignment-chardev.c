/*
 * /dev/zero has an alignment
 * rows: pmem2_source_alignment/PMEM2_E_INVALID_FILE_TYPE#1
 * why: The kind of file is remembered from the time when the source was made.
 * prints: pmem2_source_alignment: 0
 */
int fd = file(PAGE);
struct pmem2_source *src = source(fd);
become(fd, open("/dev/zero", O_RDWR));
size_t alignment = 0;
printf("pmem2_source_alignment: %s\n", name(pmem2_source_alignment(src, &alignment)));
