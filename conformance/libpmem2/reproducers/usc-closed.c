/*
 * The count of a closed descriptor is said to be not supported
 * rows: pmem2_source_device_usc/-errno#1
 * why: The page promises fstat's errno.
 * prints: pmem2_source_device_usc: PMEM2_E_NOSUPP
 */
int fd = file(PAGE);
struct pmem2_source *src = source(fd);
close(fd);
uint64_t usc = 0;
printf("pmem2_source_device_usc: %s\n", name(pmem2_source_device_usc(src, &usc)));
