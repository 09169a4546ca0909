/*
 * The device of a closed descriptor is said to be not supported
 * rows: pmem2_source_device_id/-errno#1
 * why: The page promises fstat's errno: a pool's unsafe-shutdown check goes on without a device id.
 * prints: pmem2_source_device_id: PMEM2_E_NOSUPP
 */
int fd = file(PAGE);
struct pmem2_source *src = source(fd);
close(fd);
size_t len = 0;
printf("pmem2_source_device_id: %s\n", name(pmem2_source_device_id(src, NULL, &len)));
